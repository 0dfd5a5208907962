# SPDX-License-Identifier: MIT
"""Reads a configuration file into one checked, frozen `Config`, with all faults told at once.

Files of the existing daemon are read unchanged. A fault of the file or of the daemon section is fatal; a fault of a
PDU, a node or a group disables that one alone, so that a sloppy entry does not darken a farm: whoever asks for it is
told why. Keys that nobody knows are warnings. Nothing here talks to a device or makes a driver.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdudaemon.config import nodes, topology
from pdudaemon.config.credentials import resolved, unseen
from pdudaemon.config.model import LEVELS, Config, DaemonOptions, ListenerOptions, PDUConfig, locked
from pdudaemon.config.nodes import Node
from pdudaemon.config.topology import Topology
from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions, legacy
from pdudaemon.drivers.hooks import Traits
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.power import Outlet
from pdudaemon.settings import declared, has_half, near, read, secret_values, without

_COMMENT = re.compile(r"^[ \t]*(?:#|//).*$", re.MULTILINE)  # JSON has no line that begins so

_OLD_OPTIONS = {"driver", "retries", "retrydelay"}  # what the existing daemon, too, knows of every PDU


def load(path: str, overrides: Mapping[str, object] | None = None, checking: bool = False) -> Config:
    """Read and check a file; ``overrides`` are daemon settings from the command line, not None.

    Without a path, what ``overrides`` say is all there is. ``checking``: nobody will be served by it, so that what only
    the service can see is a warning. Raises: ConfigError with every fault and warning of the whole file, if one of the
    faults is fatal.
    """
    return _Reading(path, checking).config(overrides or {})


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys stood there more than once, and which have half a character (escaped)."""

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        super().__init__()
        self.twice: set[str] = set()
        self.halves: set[str] = set()
        for key, value in pairs:
            if has_half(key):
                key = key.encode(errors="backslashreplace").decode()
                self.halves.add(key)
            if key in self:
                self.twice.add(key)
            self[key] = value


def _number(digits: str) -> int | float:
    """Return a number of the file; what has more digits than Python reads is infinite, and a fault where it stands."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


@dataclass
class _Reading:
    """One pass over a file, collecting what is wrong with it on the way."""

    path: str
    checking: bool = False
    fatal: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def config(self, overrides: Mapping[str, object]) -> Config:
        whole = self._file()
        daemon_keys = self._section(whole, "daemon", required=False)
        daemon_keys.update(overrides)
        known = declared(DaemonOptions)
        self._unknown("daemon", daemon_keys, [*known, "listeners"])
        for key in daemon_keys:
            if key in known and known[key].obsolete:
                self.warnings.append(f"{self.path}: daemon.{key}: means nothing any more: {known[key].obsolete}")
        values, wrong = read(DaemonOptions, daemon_keys)
        self.fatal += [f"{self.path}: daemon.{key}: {fault}" for key, fault in wrong.items()]
        level = daemon_keys.get("logging_level")
        if isinstance(level, str) and level.strip() and level.upper() not in LEVELS:
            self.warnings.append(f"{self.path}: daemon.logging_level: {level!r} is no level: taken as ERROR")
        daemon = DaemonOptions(values)
        listeners = self._listeners(daemon_keys, daemon)
        added = self._topology(daemon.topology)
        pdus = self._pdus(self._section(whole, "pdus", required=not daemon.topology), added)
        found: dict[str, Node] = {}
        for name in ("aliases", "nodes"):
            found.update(self._nodes(self.path, name, self._section(whole, name, required=False), pdus, found, {}))
        told = {name: added.faults.get(name) or pdus[name].fault for name in added.nodes}
        found.update(self._nodes(added.path, "static_nodes", _Object(added.nodes.items()), pdus, found, told))
        groups = self._groups(self._section(whole, "groups", required=False), added, found)
        self._unknown("", whole, ["daemon", "pdus", "aliases", "nodes", "groups"])
        if self.fatal:
            raise ConfigError(*self.fatal, *self.faults, warnings=tuple(self.warnings))
        return Config(
            self.path or added.path,
            daemon,
            listeners,
            pdus,
            found,
            groups,
            frozenset(locked(pdus, found)),
            faults=tuple(self.faults),
            warnings=tuple(self.warnings),
        )

    def _topology(self, path: str) -> Topology:
        if not path:
            return Topology("")
        try:
            added = topology.load(str(Path(self.path).parent / path))
        except ConfigError as error:
            self.fatal += error.faults
            return Topology(path)
        self.faults += added.stray
        self.warnings += added.warnings
        return added

    def _file(self) -> _Object:
        if not self.path:
            return _Object(())
        try:
            text = Path(self.path).read_text(encoding="utf-8-sig")
            text = _COMMENT.sub(lambda line: " " * len(line[0]), text)
            whole = json.loads(text, object_pairs_hook=_Object, parse_int=_number)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None
        except json.JSONDecodeError as error:
            raise ConfigError(f"{self.path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}: not valid UTF-8 at byte {error.start}") from None
        except RecursionError:
            raise ConfigError(f"{self.path}: not usable JSON: nested too deeply") from None
        if not isinstance(whole, _Object):
            raise ConfigError(f"{self.path}: must be a JSON object with the sections daemon, pdus and aliases")
        return whole

    def _section(self, whole: _Object, name: str, required: bool = True) -> _Object:
        section = whole.get(name)
        if name in whole.twice:
            self.fatal.append(f"{self.path}: {name}: stands there more than once")
        if section is None and not required:
            return _Object(())
        if not isinstance(section, _Object):
            missing = "must be a JSON object" if name in whole else f"is missing{near(name, whole)}"
            self.fatal.append(f"{self.path}: {name}: {missing}")
            return _Object(())
        for key in sorted(section.halves):
            self.faults.append(f"{self.path}: {name}.{key}: has half a character")
            del section[key]
        if name == "daemon":
            self.fatal += [f"{self.path}: {name}.{key}: stands there more than once" for key in sorted(section.twice)]
        return section

    def _listeners(self, keys: Mapping[str, Any], daemon: DaemonOptions) -> tuple[ListenerOptions, ...]:
        if "listeners" not in keys:
            one = {"protocol": daemon.listener, "hostname": daemon.hostname, "port": daemon.port}
            return (ListenerOptions(one),)
        entries = keys["listeners"]
        if not isinstance(entries, list) or not entries:
            self.fatal.append(f"{self.path}: daemon.listeners: must be a list of at least one listener")
            return ()
        for key in sorted({"hostname", "port", "listener"} & {*keys}):
            self.warnings.append(f"{self.path}: daemon.{key}: has no effect beside daemon.listeners")
        found = []
        for number, entry in enumerate(entries):
            where = f"daemon.listeners[{number}]"
            if not isinstance(entry, _Object):
                self.fatal.append(f"{self.path}: {where}: must be a JSON object")
                continue
            self._unknown(where, entry, declared(ListenerOptions))
            self.fatal += [f"{self.path}: {where}.{key}: stands there more than once" for key in sorted(entry.twice)]
            wrong = read(ListenerOptions, entry)[1]
            self.fatal += [f"{self.path}: {where}.{key}: {fault}" for key, fault in wrong.items()]
            found.append(ListenerOptions(entry))
        return tuple(found)

    def _pdus(self, section: _Object, added: Topology) -> dict[str, PDUConfig]:
        pdus = {}
        for name, entry in section.items():
            fault = "stands there more than once" if name in section.twice else ""
            pdus[name] = self._pdu(f"{self.path}: pdus.{name}", name, entry, fault)
        for name, settings in added.pdus.items():
            where = f"{added.path}: static_nodes.{name}"
            if name in pdus:
                added.faults[name] = "there is a PDU of this name already"
                self.faults.append(f"{where}: {added.faults[name]}")
            else:
                pdus[name] = self._pdu(where, name, _Object(settings.items()), added.faults.get(name, ""))
        return pdus

    def _pdu(self, where: str, name: str, entry: object, fault: str) -> PDUConfig:
        """Check one PDU; ``where`` says where it stands, ``fault`` what is known to be wrong with it."""
        faults: list[tuple[str, str]] = []
        settings = entry if isinstance(entry, _Object) else _Object(())
        driver, traits = None, Traits()
        options: dict[str, Any] = {}
        try:
            found = _Object(resolved(settings, Path(self.path).parent, self.checking).items())
            found.twice, settings = settings.twice, found
        except (ValueError, RecursionError) as error:
            fault = fault or (str(error) if isinstance(error, ValueError) else "is nested too deeply")
        if fault:
            faults.append(("", fault))
        if not name or not name.isprintable() or len(name) > 250:
            faults.append(("", "is no name for a PDU"))
        if not isinstance(entry, _Object):
            faults.append(("", "must be a JSON object"))
        elif not fault:
            faults += [(key, "stands there more than once") for key in sorted(settings.twice)]
            options, wrong = read(PDUOptions, settings)
            if "driver" not in wrong:
                try:
                    driver = strategies.find(settings["driver"])
                    if legacy(driver):
                        wrong = self._left_to_driver(where, wrong)
                    else:
                        for key in declared(PDUOptions) | declared(driver):
                            if settings.get(key, "") is None:  # old files have null for what is not set
                                del settings[key]
                        options = {**driver.defaults, **options}
                    wrong |= self._driver_faults(name, driver, settings)
                    if not wrong:
                        traits = hooks.traits(driver, settings)
                        wrong = self._option_faults(where, driver, settings, options, traits)
                except ValueError as error:
                    wrong["driver"] = str(error)
            faults += wrong.items()
        hidden = unseen(settings)
        self.warnings += [f"{where}.{key}: only the service can see this credential" for key in sorted(hidden)]
        secrets = secret_values(driver or PDUDriver, settings)
        shown = [(key, without(secrets, " ".join(fault.split()))) for key, fault in faults if key not in hidden]
        lines = [f"{where}{key and '.'}{key}: {fault}" for key, fault in shown]
        self.faults += lines
        usable = None if lines else driver
        return PDUConfig(
            name,
            settings,
            PDUOptions(options if usable else {}),
            usable,
            secrets,
            "; ".join(line.partition(": ")[2] for line in lines),
            traits if usable else Traits(),
        )

    def _driver_faults(self, name: str, driver: type[PDUDriver], settings: Mapping[str, Any]) -> dict[str, str]:
        own = declared(driver)
        if own:  # a driver written for the existing daemon declares nothing: every key may be one of its own
            self._unknown(f"pdus.{name}", settings, [*declared(PDUOptions), *own])
        return hooks.faults(driver, settings)

    def _option_faults(
        self, where: str, driver: type[PDUDriver], settings: Mapping[str, Any], options: dict[str, Any], traits: Traits
    ) -> dict[str, str]:
        """Return what is wrong with the options of every PDU beyond their types, with this driver."""
        wrong = {}
        if options.get("verify") and not traits.reads_state:
            wrong["verify"] = "the state of this PDU cannot be read, so it cannot be verified"
            if legacy(driver):
                wrong = self._left_to_driver(where, wrong)
                del options["verify"]
        ports = options.get("locked")
        for port in ports if isinstance(ports, tuple) else ():
            try:
                hooks.canonical_port(driver, port, settings)
            except ValueError as error:
                wrong["locked"] = str(error)
        return wrong

    def _left_to_driver(self, where: str, wrong: Mapping[str, str]) -> dict[str, str]:
        """Return those faults that are faults for a driver of the existing daemon as well, and warn of the others.

        What that daemon does not know of every PDU may mean something else to such a driver.
        """
        for key in wrong.keys() - _OLD_OPTIONS:
            self.warnings.append(f"{where}.{key}: {wrong[key]}; left to the driver, and not an option of ours")
        return {key: fault for key, fault in wrong.items() if key in _OLD_OPTIONS}

    def _nodes(
        self,
        path: str,
        where: str,
        section: _Object,
        pdus: Mapping[str, PDUConfig],
        others: Mapping[str, Node],
        told: Mapping[str, str],
    ) -> dict[str, Node]:
        """Check a section of nodes or aliases, whose names may not be those of others; ``told`` are known faults."""

        def outlet(hostname: str, port: str | int) -> Outlet:
            if hostname not in pdus:
                raise RequestError(f"there is no PDU {hostname!r}{near(hostname, pdus)}")
            return pdus[hostname].outlet(port)

        found: dict[str, Node] = {}
        for name, entry in section.items():
            keys = self._node_keys(f"{where}.{name}", entry)
            twice = "stands there more than once" if name in section.twice or name in others else ""
            misnamed = nodes.misnamed(name) if where == "nodes" else ""
            fault = told.get(name) or twice or misnamed or keys
            one = Node(name, fault=fault) if fault else nodes.node(name, entry, outlet)
            if one.fault and not told.get(name):
                self.faults.append(f"{path}: {where}.{name}: {one.fault}")
            found[name] = one
        return found

    def _node_keys(self, where: str, entry: object) -> str:
        """Warn of stray keys of a node and its feeds; return what is wrong with the keys."""
        if not isinstance(entry, _Object):
            return ""
        self._unknown(where, entry, ("hostname", "port", "feeds", "locked"))
        twice = entry.twice
        if isinstance(entry.get("feeds"), list):
            for key in sorted({"hostname", "port"} & {*entry}):
                self.warnings.append(f"{self.path}: {where}.{key}: has no effect beside feeds")
            for number, feed in enumerate(entry["feeds"]):
                if isinstance(feed, _Object):
                    self._unknown(f"{where}.feeds[{number}]", feed, ("hostname", "port"))
                    twice = twice | feed.twice
        return "; ".join(f"{key}: stands there more than once" for key in sorted(twice))

    def _groups(self, section: _Object, added: Topology, found: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
        """Check all groups. One of which it cannot be said what is in it is left out, so that nothing is switched."""
        groups: dict[str, tuple[str, ...]] = {}
        twice = section.twice | (section.keys() & added.groups.keys())
        for name, members, fault in nodes.groups({**section, **added.groups}, twice, found):
            if fault:
                self.faults.append(f"{added.path if name in added.groups else self.path}: groups.{name}: {fault}")
            if members or not fault:
                groups[name] = members
        return groups

    def _unknown(self, where: str, given: Iterable[str], known: Iterable[str]) -> None:
        known = list(known)
        for key in given:
            if key not in known:
                place = f"{where}.{key}" if where else key
                self.warnings.append(f"{self.path}: {place}: nothing is known of this key{near(key, known)}")
