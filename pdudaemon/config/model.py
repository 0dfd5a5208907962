# SPDX-License-Identifier: MIT
"""What a configuration amounts to: PDUs, nodes, groups and roles, and what a name in it leads to."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.jsonfile import Object
from pdudaemon.config.nodes import Node, Staggers
from pdudaemon.config.options import DaemonOptions, ListenerOptions
from pdudaemon.config.roles import Role
from pdudaemon.config.sites import SiteOptions
from pdudaemon.drivers.driver import PDUDriver, PDUOptions
from pdudaemon.drivers.hooks import Traits
from pdudaemon.errors import RequestError
from pdudaemon.power import BY_NAME, Outlet, Target
from pdudaemon.ranges import expanded, is_literal, matching
from pdudaemon.settings import Lock, locked_ports, near, without

MOST_FOUND = 4096  # targets that are remembered


def called(traits: Traits, port: str) -> str:
    """Return the name on the device by which a port of a PDU with some traits is spelled, empty if it is not."""
    by_name = traits.stable_names and port.startswith(BY_NAME)
    return " ".join(port.removeprefix(BY_NAME).split()) if by_name else ""


@dataclass(frozen=True)
class PDUConfig:
    """One entry of ``pdus``. ``fault`` says why it is disabled; ``driver`` is then None. Its repr has no secrets."""

    name: str
    settings: Mapping[str, Any] = field(repr=False)
    options: PDUOptions
    driver: type[PDUDriver] | None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    fault: str = ""
    traits: Traits = field(default_factory=Traits)

    @property
    def driver_name(self) -> str:
        return str(self.settings.get("driver", ""))

    @property
    def readable(self) -> bool:
        """Whether the state of its ports can be read from the device."""
        return self.traits.reads_state

    def called(self, port: str) -> str:
        """Return the name by which a port is spelled, empty if it is not."""
        return called(self.traits, port)

    def outlet(self, port: str | int) -> Outlet:
        """Return the outlet that a port, spelled in any way, names. Raises: RequestError if there is none.

        One that is spelled by its name on the device stays so: only the running daemon knows these.
        """
        if self.driver is None:
            raise RequestError(f"{self.name}: disabled by its configuration: {self.fault}")
        if name := self.called(str(port)):
            return Outlet(self.name, f"{BY_NAME}{name}")
        try:
            canonical = self.traits.canonical_port(str(port))
        except ValueError as error:
            named = "; it has no names for outlets that are sure to stay" if str(port).startswith(BY_NAME) else ""
            raise RequestError(f"{self.name}: {without(self.secrets, str(error))}{named}") from None
        return Outlet(self.name, canonical, port if self.traits.legacy else None)


@dataclass(frozen=True)
class Sections:
    """Sections as they are written, of which it is said anew what they stand for when more names are known.

    Groups in ``duplicates`` are there more than once.
    """

    groups: Mapping[str, Any] = field(default_factory=dict)
    duplicates: frozenset[str] = frozenset()
    roles: Object = field(default_factory=Object)


@dataclass(frozen=True)
class Config:
    """All of a configuration. ``faults`` and ``warnings`` are lines for people, of what did not prevent it.

    ``device_names`` is what the devices of `named_pdus` call their outlets: the running daemon keeps it up.

    ``nodes`` holds the aliases as well. ``locked`` are single outlets, with the reason; a PDU can be locked as a whole
    besides. ``broker``: the section ``mqtt``. ``sites`` are other daemons: what they have is not in here, but in what
    `pdudaemon.config.front` makes of this.
    """

    path: str
    daemon: DaemonOptions
    listeners: tuple[ListenerOptions, ...]
    pdus: dict[str, PDUConfig]
    nodes: Mapping[str, Node]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    staggers: Staggers = field(default_factory=dict)
    locked: Mapping[Outlet, str] = field(default_factory=dict)
    broker: BrokerOptions | None = None
    sites: Mapping[str, SiteOptions] = field(default_factory=dict)
    sections: Sections = field(default_factory=Sections, repr=False, compare=False)
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    mark: object = field(default_factory=object, init=False, repr=False, compare=False)
    """What targets know it by, that it is not kept alive by those that it remembers itself."""
    device_names: dict[Outlet, str] = field(default_factory=dict, repr=False, compare=False)
    found: dict[tuple[str, str | int], Target] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Targets that have been looked up, by a PDU's name and a port."""

    def reusing(self, before: Config) -> Config:
        """Return this configuration, with those PDUs of another one that are the same, and with all that is derived.

        So what is to be done for all PDUs is done before everybody has to wait, and little is left for the others.
        """
        for name, pdu in before.pdus.items():
            if self.pdus.get(name) == pdu:
                self.pdus[name] = pdu
            time.sleep(0)  # an answer must not wait for all of them
        _ = self.nodes_at, self.named_pdus, self.named_locks
        return self

    @property
    def secret_file(self) -> Path | None:
        """The file with the secret of tokens; None: none are asked for."""
        name = self.daemon.jwt_secret_file
        return Path(self.path).parent / os.path.expandvars(name) if name else None

    def target(self, hostname: str, port: str | int) -> Target:
        """Return the target that a PDU's name and a port name. Raises: RequestError, saying what is wrong.

        What was found is remembered in `found`, where a port was spelled as it is kept: there is an end to those.
        """
        pdu = self.pdus.get(hostname)
        if pdu is None:
            raise RequestError(f"there is no PDU {hostname!r}{near(hostname, self.pdus)}")
        outlet = pdu.outlet(port)
        target = Target(str(outlet), (outlet,), self._lock((outlet,)), (hostname, port), self.mark)
        if str(port) == outlet.port:
            if len(self.found) >= MOST_FOUND:
                self.found.clear()
            self.found[hostname, port] = target
        return target

    def node(self, name: str) -> Target:
        """Return the target that a node or an alias names. Raises: RequestError, saying what is wrong."""
        found = self.nodes.get(name)
        if found is None:
            group = "; it is the name of a group: pduclient -g, or groups=" if name in self.groups else ""
            raise RequestError(f"there is no alias or node {name!r}{group or near(name, self.nodes)}")
        if found.fault:
            raise RequestError(f"{name!r} is disabled by its configuration: {found.fault}")
        return Target(str(found), found.feeds, self._lock(found.feeds), (name,), self.mark)

    def current(self, target: Target) -> Target:
        """Return a target as it is here, wherever it was found. Raises: RequestError if there is none any more."""
        if target.parts:
            return Target.joined([self.current(part) for part in target.parts])
        if target.found_in is self.mark or not target.words:
            return target
        return self.target(*target.words) if len(target.words) == 2 else self.node(*target.words)

    def knows(self, name: str) -> bool:
        """Whether there is a node, alias or group of a name."""
        return name in self.nodes or name in self.groups

    def restarts(self, outlet: Outlet) -> bool:
        """Whether a reboot of an outlet is the device's own restart."""
        pdu = self.pdus.get(outlet.pdu)
        return pdu is not None and pdu.traits.restarts

    def named(self, names: str, groups: str = "") -> tuple[list[str], list[str]]:
        """Return the nodes that texts of ranges and of groups name, and the groups that there are not.

        A node that nobody knows is returned as well. Raises: ValueError.
        """
        missing: list[str] = []

        def members(group: str) -> Iterable[str]:
            if group == "*":
                return self.nodes
            if group not in self.groups and is_literal(group):
                missing.append(group)
            named = [group] if is_literal(group) else matching(group, self.groups)
            return itertools.chain.from_iterable(self.groups.get(name, ()) for name in named)

        sites = bool(self.sites)
        found = expanded(names, members, self.nodes, sites)
        for group in expanded(groups, nodes=self.groups, sites=sites):
            found += members(group)
        return list(dict.fromkeys(found)), missing

    def called(self, outlet: Outlet) -> str:
        """Return the name on the device by which an outlet is spelled, empty if it is by its port."""
        pdu = self.pdus.get(outlet.pdu) if outlet.port.startswith(BY_NAME) else None
        return "" if pdu is None else pdu.called(outlet.port)

    @functools.cached_property
    def nodes_at(self) -> Mapping[Outlet, tuple[str, ...]]:
        """The nodes and aliases that have an outlet for a feed, by outlet."""
        found: dict[Outlet, list[str]] = {}
        for node in self.nodes.values():
            for outlet in node.feeds:
                found.setdefault(outlet, []).append(node.name)
        return {outlet: tuple(names) for outlet, names in found.items()}

    @functools.cached_property
    def groups_of(self) -> Mapping[str, list[str]]:
        """The groups that a node is in, by node."""
        found: dict[str, list[str]] = {}
        for group, members in self.groups.items():
            for name in members:
                found.setdefault(name, []).append(group)
        return found

    @functools.cached_property
    def named_pdus(self) -> frozenset[str]:
        """The PDUs of which a node, a lock or a role spells an outlet by its name on the device."""
        roles = (role.feeds | role.ports for role in self.roles.values())
        every = itertools.chain(self.nodes_at, self.locked, *roles)
        return frozenset(outlet.pdu for outlet in every if self.called(outlet))

    @functools.cached_property
    def named_locks(self) -> frozenset[str]:
        """The PDUs of which an outlet is locked by its name on the device."""
        return frozenset(outlet.pdu for outlet in self.locked if self.called(outlet))

    def spellings(self, outlet: Outlet) -> tuple[Outlet, ...]:
        """Return an outlet as it may be spelled here: by its port, and by its name on the device if that is known."""
        name = self.device_names.get(outlet)
        return (outlet,) if name is None else (outlet, Outlet(outlet.pdu, f"{BY_NAME}{name}"))

    def nodes_of(self, outlet: Outlet) -> list[str]:
        """Return the nodes and aliases that an outlet feeds, however they spell it."""
        return [node for each in self.spellings(outlet) for node in self.nodes_at.get(each, ())]

    def lock_of(self, outlet: Outlet) -> str:
        """Return why an outlet may not be switched, empty if it may."""
        pdu = self.pdus.get(outlet.pdu)
        why = next((self.locked[each] for each in self.spellings(outlet) if each in self.locked), None)
        lock = None if pdu is None else pdu.options.locked
        if why is None and isinstance(lock, Lock) and lock.ports is True:
            why = lock.reason
        if why is None and lock is not True:
            return ""
        return f"{outlet} is locked by the configuration" + (f": {why}" if why else "")

    def _lock(self, outlets: Iterable[Outlet]) -> str:
        return next(filter(None, map(self.lock_of, outlets)), "")


def locked(pdus: Mapping[str, PDUConfig], nodes: Mapping[str, Node]) -> Iterator[tuple[Outlet, str]]:
    """Yield the outlets that are locked one by one, those of nodes and the ports of PDUs, each with the reason."""
    for node in nodes.values():
        if node.locked:
            yield from ((feed, node.reason) for feed in node.feeds)
    for pdu in pdus.values():
        lock = pdu.options.locked
        reason = lock.reason if isinstance(lock, Lock) else ""
        yield from ((pdu.outlet(port), reason) for port in locked_ports(lock))


def state_folder() -> Path:
    """Return where a relative ``dbname`` lives: systemd's state directory, else the user's own by XDG."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "pdudaemon"
