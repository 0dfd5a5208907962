# SPDX-License-Identifier: MIT
"""Reads a configuration file into one checked, frozen `Config`, with all faults told at once.

Files of the existing daemon are read unchanged. A fault of the file or of the daemon section is fatal; a fault of a
PDU, a node or a group disables that one alone, so that a sloppy entry does not darken a farm: whoever asks for it is
told why. Unknown keys are warnings. Nothing here talks to a device or makes a driver.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pdudaemon.config import credentials, groupsfile, jsonfile, nodes, roles, rows, sites, topology
from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.groupsfile import GroupsFile
from pdudaemon.config.jsonfile import Object
from pdudaemon.config.model import Config, PDUConfig, Sections, locked
from pdudaemon.config.nodes import Node
from pdudaemon.config.options import LEVELS, DaemonOptions, ListenerOptions
from pdudaemon.config.pdus import pdu
from pdudaemon.config.sites import SiteOptions
from pdudaemon.config.topology import Topology, give_way
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.power import Outlet
from pdudaemon.settings import Options, declared, near, read

LISTENER_FILES = ("certificate", "key", "client_ca", "socket")

O = TypeVar("O", bound=Options)  # noqa: E741


def load(path: str, overrides: Mapping[str, object] | None = None, checking: bool = False) -> Config:
    """Read and check a file; ``overrides`` are daemon settings from the command line, not None.

    Without a path, what ``overrides`` say is all there is. ``checking``: nobody will be served by it, so that what only
    the service can see is a warning. Raises: ConfigError with every fault and warning of the whole file, if one of the
    faults is fatal.
    """
    return _Reader(path, checking).config(overrides or {})


class _Reader:
    """One pass over a file, collecting what is wrong with it on the way."""

    def __init__(self, path: str, checking: bool) -> None:
        self.file = Location(path)
        self.checking = checking
        self.faults = Faults()
        self._sites: Mapping[str, SiteOptions] = {}
        self._files: dict[tuple[str, str], str] = {}  # of what the folder beside the file has

    def config(self, overrides: Mapping[str, object]) -> Config:
        path = self.file.file
        whole, self._files = jsonfile.read_all(path, self.faults) if path else (Object(), {})
        given = self._section(whole, "daemon", required=False)
        daemon = self._daemon(given, overrides)
        listeners = self._listeners(given, daemon)
        added = self._topology(daemon.topology)
        known = self._section(whole, "sites", required=False)
        self._sites = sites.sites(known, functools.partial(self._location, "sites"), self.faults, self.checking)
        pdus = self._pdus(self._section(whole, "pdus", required=not (daemon.topology or known)), added)
        found: dict[str, Node] = {}
        for name in ("aliases", "nodes"):
            self._add_nodes(name, self._section(whole, name, required=False), found, pdus)
        self._add_topology_nodes(added, found, pdus)
        every = self._section(whole, "groups", required=False)
        shell = self._groups_file(daemon.groups_file)
        groups, staggers = self._groups(every, added, shell, found)
        section = self._section(whole, "roles", required=False)
        location = functools.partial(self._location, "roles")
        granted = roles.roles(
            section, section.duplicates, found, groups, pdus, _outlets(pdus), location, self.faults, self._elsewhere
        )
        broker = self._broker(self._section(whole, "mqtt")) if "mqtt" in whole else None
        for name in broker.roles if broker is not None else ():
            if name not in granted:
                self.faults.add(self.file.within("mqtt"), "roles", f"there is no role {name!r}{near(name, granted)}")
        self.faults.check_keys(self.file, whole, {}, ("daemon", "mqtt", "sites", *jsonfile.SECTIONS))
        if self.faults.any_fatal:
            raise self.faults.error()
        return Config(
            path or added.path,
            daemon,
            listeners,
            pdus,
            found,
            groups,
            granted,
            staggers,
            dict(locked(pdus, found)),
            broker,
            self._sites,
            Sections({**every, **added.groups}, frozenset(every.duplicates | (every.keys() & added.groups)), section),
            faults=self.faults.lines,
            warnings=self.faults.warnings,
        )

    def _elsewhere(self, name: str) -> bool:
        """Whether a name may be that of something at a site, which nobody knows yet."""
        return bool(sites.owner(name, self._sites)) or not all(each.prefix for each in self._sites.values())

    def _location(self, section: str, name: str) -> Location:
        return Location(self._files.get((section, name), self.file.file)).within(section).within(name)

    def _section(self, whole: Object, name: str, required: bool = True) -> Object:
        section = whole.get(name)
        if name in whole.duplicates:
            self.faults.add(self.file, name, "duplicate key", fatal=True)
        if section is None and not required:
            return Object()
        if not isinstance(section, Object):
            text = "must be a JSON object" if name in whole else f"is missing{near(name, whole)}"
            self.faults.add(self.file, name, text, fatal=True)
            return Object()
        for key in sorted(section.surrogates):
            self.faults.add(self.file.within(name), key, "not valid Unicode: a lone surrogate")
            del section[key]
        return section

    def _options(self, location: Location, owner: type[O], given: Object, *others: str) -> O:
        """Return the options that are given; ``others`` are keys beside them. All faults of them are fatal."""
        self.faults.check_keys(location, given, declared(owner), others)
        for key in sorted(given.duplicates | given.inner):
            self.faults.add(location, key, "duplicate key", fatal=True)
        values, wrong = read(owner, given)
        for key, text in wrong.items():
            self.faults.add(location, key, text, fatal=True)
        return owner(values)

    def _daemon(self, given: Object, overrides: Mapping[str, object]) -> DaemonOptions:
        given.update(overrides)
        location = self.file.within("daemon")
        daemon = self._options(location, DaemonOptions, given, "listeners")
        level = given.get("logging_level")
        if isinstance(level, str) and level.strip() and level.upper() not in LEVELS:
            self.faults.warn(location, "logging_level", f"{level!r} is not a logging level: taken as ERROR")
        return daemon

    def _listeners(self, given: Object, daemon: DaemonOptions) -> tuple[ListenerOptions, ...]:
        if "listeners" not in given:
            one = {"protocol": daemon.listener, "hostname": daemon.hostname, "port": daemon.port}
            return (ListenerOptions(one),)
        entries, location = given["listeners"], self.file.within("daemon")
        if not isinstance(entries, list) or not entries:
            self.faults.add(location, "listeners", "must be a list of at least one listener", fatal=True)
            return ()
        for key in sorted({"hostname", "port", "listener"} & {*given}):
            self.faults.warn(location, key, "has no effect beside daemon.listeners")
        found = []
        places: dict[object, int] = {}
        for number, entry in enumerate(entries):
            if isinstance(entry, Object):
                self._complete_paths(entry)
                for key in sorted({"hostname", "port"} & {*entry}) if entry.get("socket") else ():
                    self.faults.warn(location.within(f"listeners[{number}]"), key, "has no effect beside socket")
                place = location.within(f"listeners[{number}]")
                found.append(listener := self._options(place, ListenerOptions, entry))
                if (listener.socket or listener.port) and not self.faults.at(place):
                    first = places.setdefault(listener.socket or (listener.hostname, listener.port), number)
                    if first != number:
                        self.faults.add(place, "", f"listens where listeners[{first}] does", fatal=True)
            else:
                self.faults.add(location, f"listeners[{number}]", "must be a JSON object", fatal=True)
        return tuple(found)

    def _complete_paths(self, entry: Object) -> None:
        """Let the files of a listener be looked for beside the configuration."""
        for key in LISTENER_FILES:
            if isinstance(entry.get(key), str) and entry[key]:
                entry[key] = str(Path(self.file.file).parent / os.path.expandvars(entry[key]))

    def _broker(self, given: Object) -> BrokerOptions | None:
        """Return the options of the section ``mqtt``; None if a part of it stands where only the service can see it."""
        location, folder = self.file.within("mqtt"), Path(self.file.file).parent
        try:
            whole = Object(credentials.resolved(given, folder, self.checking).items())
        except (ValueError, RecursionError) as error:
            self.faults.add(location, "", str(error), fatal=True)
            return None
        whole.duplicates, whole.inner = given.duplicates, given.inner
        if isinstance(whole.get("ca_file"), str) and whole["ca_file"]:
            whole["ca_file"] = str(folder / os.path.expandvars(whole["ca_file"]))
        for key in sorted(unseen := credentials.placeholders(whole)):
            self.faults.warn(location, key, "only the service can see this credential")
        options = self._options(location, BrokerOptions, whole)
        return None if unseen else options

    def _topology(self, path: str) -> Topology:
        if not path:
            return Topology()
        path = str(Path(self.file.file).parent / path)
        try:
            return topology.load(path, self.faults)
        except ConfigError:  # why is among the faults, of which there may be more
            return Topology(path)

    def _pdus(self, section: Object, added: Topology) -> dict[str, PDUConfig]:
        pdus = {}
        for name, entry in section.items():
            location = self._location("pdus", name)
            if name in section.duplicates:
                self.faults.add(location, "", "duplicate key")
            pdus[name] = pdu(name, entry, location, self.faults, self.checking)
            give_way()
        for name, settings in added.pdus.items():
            location = added.location(name)
            if name in pdus:
                self.faults.add(location, "", "there is a PDU of this name already")
            else:
                pdus[name] = pdu(name, Object(settings.items()), location, self.faults, self.checking)
            give_way()
        return pdus

    def _add_nodes(self, kind: str, section: Object, found: dict[str, Node], pdus: Mapping[str, PDUConfig]) -> None:
        """Add what a section, ``aliases`` or ``nodes``, holds to what is found already."""
        for written, whole in section.items():
            place = self._location(kind, written)
            if written in section.duplicates:
                self.faults.add(place, "", "duplicate key")
            for name, entry in self._rows(place, written, whole) if kind == "nodes" else [(written, whole)]:
                location = place
                if name != written:
                    location = Location(place.file).within(kind).within(name).one_of(written)
                if name in found:
                    self.faults.add(location, "", "there is an alias or node of this name already")
                elif kind == "nodes" and not self.faults.at(location) and (fault := nodes.check_name(name)):
                    self.faults.add(location, "", fault)
                found[name] = nodes.node(name, entry, location, _outlets(pdus), self.faults)
                give_way()

    def _rows(self, location: Location, name: str, entry: object) -> list[tuple[str, Any]]:
        """Return the nodes that an entry stands for, with theirs; as it is if that cannot be said."""
        try:
            return [*rows.spread(name, entry)]
        except ValueError as error:
            self.faults.add(location, "", str(error))
            return [(name, entry)]

    def _add_topology_nodes(self, added: Topology, found: dict[str, Node], pdus: Mapping[str, PDUConfig]) -> None:
        for name, entry in added.nodes.items():
            location = added.location(name)
            if name in found and not self.faults.at(location):
                self.faults.add(location, "", "there is an alias or node of this name already")
            found[name] = nodes.node(name, entry, location, _outlets(pdus), self.faults)
            give_way()

    def _groups_file(self, path: str) -> GroupsFile:
        if not path:
            return GroupsFile()
        path = str(Path(self.file.file).parent / path)
        try:
            return groupsfile.load(path, self.faults)
        except ConfigError:  # as above
            return GroupsFile()

    def _groups(
        self, section: Object, added: Topology, shell: GroupsFile, found: Mapping[str, Node]
    ) -> tuple[dict[str, tuple[str, ...]], nodes.Staggers]:
        """Return the groups, and whose ons are staggered."""
        shared = shell.groups(found, self.faults)

        def location(name: str) -> Location:
            if name in added.groups:
                return Location(added.path).within("groups").within(name)
            return self._location("groups", name)

        every = {**section, **added.groups}
        twice = shared.keys() & every.keys()
        for name in twice:
            self.faults.add(shell.location(name), "", f"duplicate key: it is in {location(name).file} as well")
        ready = {name: members for name, members in shared.items() if name not in twice}
        duplicates = section.duplicates | (section.keys() & added.groups.keys()) | twice
        groups = nodes.groups(every, duplicates, found, location, self.faults, self._elsewhere, ready)
        return {**ready, **groups}, nodes.staggers(every, groups, found, location, self.faults)


def _outlets(pdus: Mapping[str, PDUConfig]) -> nodes.Outlets:
    def outlet(hostname: str, port: str | int) -> Outlet:
        if hostname not in pdus:
            raise RequestError(f"there is no PDU {hostname!r}{near(hostname, pdus)}")
        return pdus[hostname].outlet(port)

    return outlet
