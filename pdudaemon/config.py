# SPDX-License-Identifier: MIT
"""From a configuration file to one checked, frozen `Config`, with all faults told at once.

Files of the existing daemon are read unchanged. A fault of the file or of the daemon section is fatal; a fault of a PDU
or an alias disables that one alone, so that a sloppy entry does not darken a farm: whoever asks for it is told why.
Keys that nobody knows are warnings. Nothing here talks to a device or makes a driver.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.power import Outlet, Target
from pdudaemon.settings import Options, Setting, choice, declared, integer, near, read, seconds, secret_values, text

PROTOCOLS = ("tcp", "http", "both")
LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR")


class DaemonOptions(Options):
    """The ``daemon`` section. The last group are bounds: what is beyond one is refused or answered early, and told."""

    hostname = Setting(text, "127.0.0.1", "address to listen on; `0.0.0.0` or `::` for all")
    port = Setting(integer(0, 65535), 16421, "TCP port to listen on")
    listener = Setting(choice(*PROTOCOLS), "tcp", "protocol spoken there; `both` tells them apart by the first bytes")
    logging_level = Setting(choice(*LEVELS), "INFO", "least level that is logged")
    dbname = Setting(text, "pdudaemon", "file of the store, below the state directory if relative")
    wait = Setting(seconds(0, 3600), 60.0, "how long an answer waits for the result; 0: accepted is enough", unit="s")
    fsync = Setting(
        choice("reboot", "all"), "reboot", "what must be on the disk itself first: the off of a reboot, or all requests"
    )
    resume_age = Setting(
        seconds(0, 86400 * 365), 600.0, "an on or off overdue by more than this is not resumed at a start", unit="s"
    )
    give_up = Setting(seconds(0, 86400 * 365), 3600.0, "how long a failing on half of a reboot is kept up", unit="s")
    max_delay = Setting(seconds(0, 86400), 3600.0, "longest `delay` of a request", unit="s")
    max_connections = Setting(integer(1, 100000), 1000, "connections at a time, of all listeners")
    client_timeout = Setting(seconds(0.1, 3600), 30.0, "time for a client to send a whole request", unit="s")
    max_waiters = Setting(integer(0, 100000), 512, "requests that may wait for their result, in all")
    max_waiters_per_pdu = Setting(integer(0, 100000), 32, "requests that may wait for their result, for one PDU")
    max_queue = Setting(integer(1, 1000000), 1000, "requests accepted and not ended, for one PDU")
    history = Setting(integer(0, 10000000), 10000, "ended requests that are remembered")


class ListenerOptions(Options):
    """One entry of ``daemon.listeners``, which replaces ``hostname``, ``port`` and ``listener``."""

    protocol = Setting(choice(*PROTOCOLS), "tcp", "protocol spoken there", required=True)
    hostname = Setting(text, "127.0.0.1", "address to listen on")
    port = Setting(integer(0, 65535), 16421, "TCP port to listen on")


@dataclass(frozen=True)
class PDUConfig:
    """One entry of ``pdus``. ``fault`` says why it is disabled; ``driver`` is then None."""

    name: str
    settings: Mapping[str, Any]
    options: PDUOptions
    driver: type[PDUDriver] | None
    secrets: tuple[str, ...] = ()
    fault: str = ""

    @property
    def driver_name(self) -> str:
        return str(self.settings.get("driver", ""))

    @property
    def readable(self) -> bool:
        """Whether the state of its ports can be read from the device."""
        return self.driver is not None and self.driver.reads_state(self.settings)

    def outlet(self, port: str) -> Outlet:
        """Return the outlet that a port, spelled in any way, names. Raises: RequestError if there is none."""
        if self.driver is None:
            raise RequestError(f"{self.name}: disabled by its configuration: {self.fault}")
        try:
            return Outlet(self.name, self.driver.canonical_port(port, self.settings))
        except ValueError as error:
            raise RequestError(f"{self.name}: {error}") from None


@dataclass(frozen=True)
class Config:
    """All of a configuration. ``faults`` and ``warnings`` are lines for people, of what did not prevent it."""

    path: str
    daemon: DaemonOptions
    listeners: tuple[ListenerOptions, ...]
    pdus: Mapping[str, PDUConfig]
    aliases: Mapping[str, Outlet | str]
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def target(self, hostname: str, port: str) -> Target:
        """Return the target that a PDU's name and a port name. Raises: RequestError, saying what is wrong."""
        pdu = self.pdus.get(hostname)
        if pdu is None:
            raise RequestError(f"there is no PDU {hostname!r}{near(hostname, self.pdus)}")
        outlet = pdu.outlet(port)
        return Target(str(outlet), (outlet,))

    def alias(self, name: str) -> Target:
        """Return the target that an alias names. Raises: RequestError, saying what is wrong."""
        found = self.aliases.get(name)
        if found is None:
            raise RequestError(f"there is no alias {name!r}{near(name, self.aliases)}")
        if isinstance(found, str):
            raise RequestError(f"alias {name!r} is disabled by its configuration: {found}")
        return Target(f"{name} ({found})", (found,))


def load(path: str, overrides: Mapping[str, object] | None = None) -> Config:
    """Read and check a file; ``overrides`` are daemon settings from the command line, not None.

    Raises: ConfigError with every fault of the whole file, if one of them is fatal.
    """
    return _Reading(path).config(overrides or {})


def state_folder() -> Path:
    """Return where a relative ``dbname`` lives: systemd's state directory, else the user's own by XDG."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "pdudaemon"


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys stood there more than once."""

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        super().__init__()
        self.twice: set[str] = set()
        for key, value in pairs:
            if key in self:
                self.twice.add(key)
            self[key] = value


@dataclass
class _Reading:
    """One pass over a file, collecting what is wrong with it on the way."""

    path: str
    fatal: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def config(self, overrides: Mapping[str, object]) -> Config:
        whole = self._file()
        daemon_keys = self._section(whole, "daemon", required=False)
        daemon_keys.update(overrides)
        known = declared(DaemonOptions)
        self._unknown("daemon", daemon_keys, [*known, "listeners"])
        values, wrong = read(DaemonOptions, daemon_keys)
        self.fatal += [f"{self.path}: daemon.{key}: {fault}" for key, fault in wrong.items()]
        daemon = DaemonOptions(values)
        listeners = self._listeners(daemon_keys, daemon)
        pdus = self._pdus(self._section(whole, "pdus"))
        aliases = self._aliases(self._section(whole, "aliases", required=False), pdus)
        self._unknown("", whole, ["daemon", "pdus", "aliases"])
        if self.fatal:
            raise ConfigError(*self.fatal, *self.faults)
        return Config(
            self.path, daemon, listeners, pdus, aliases, faults=tuple(self.faults), warnings=tuple(self.warnings)
        )

    def _file(self) -> _Object:
        try:
            whole = json.loads(Path(self.path).read_text(encoding="utf-8-sig"), object_pairs_hook=_Object)
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
            values, wrong = read(ListenerOptions, entry)
            self.fatal += [f"{self.path}: {where}.{key}: {fault}" for key, fault in wrong.items()]
            found.append(ListenerOptions(values))
        return tuple(found)

    def _pdus(self, section: _Object) -> dict[str, PDUConfig]:
        return {name: self._pdu(name, entry, name in section.twice) for name, entry in section.items()}

    def _pdu(self, name: str, entry: object, twice: bool) -> PDUConfig:
        faults: list[tuple[str, str]] = []
        settings = entry if isinstance(entry, _Object) else _Object(())
        driver = None
        if twice:
            faults.append(("", "stands there more than once"))
        if not name or not name.isprintable() or len(name) > 250:
            faults.append(("", "is no name for a PDU"))
        if settings is not entry:
            faults.append(("", "must be a JSON object"))
        else:
            faults += [(key, "stands there more than once") for key in sorted(settings.twice)]
            wrong = read(PDUOptions, settings)[1]
            if "driver" not in wrong:
                try:
                    driver = strategies.find(settings["driver"])
                    wrong |= self._driver_faults(name, driver, settings)
                except ValueError as error:
                    wrong["driver"] = str(error)
            faults += wrong.items()
        lines = [f"{'.'.join(filter(None, ('pdus', name, key)))}: {fault}" for key, fault in faults]
        self.faults += [f"{self.path}: {line}" for line in lines]
        return PDUConfig(
            name,
            settings,
            PDUOptions({} if lines else settings),
            None if lines else driver,
            secret_values(driver or PDUDriver, settings),
            "; ".join(lines),
        )

    def _driver_faults(self, name: str, driver: type[PDUDriver], settings: Mapping[str, Any]) -> dict[str, str]:
        own = declared(driver)
        if own:  # a driver written for the existing daemon declares nothing: every key may be one of its own
            self._unknown(f"pdus.{name}", settings, [*declared(PDUOptions), *own])
        wrong = read(driver, settings)[1] or driver.faults(settings)
        if settings.get("verify") is True and not wrong and not driver.reads_state(settings):
            wrong["verify"] = "the state of this PDU cannot be read, so it cannot be verified"
        return wrong

    def _aliases(self, section: _Object, pdus: Mapping[str, PDUConfig]) -> dict[str, Outlet | str]:
        found: dict[str, Outlet | str] = {}
        for name, entry in section.items():
            try:
                if name in section.twice:
                    raise RequestError("stands there more than once")
                found[name] = _alias(entry, pdus)
            except RequestError as error:
                found[name] = str(error)
                self.faults.append(f"{self.path}: aliases.{name}: {error}")
        return found

    def _unknown(self, where: str, given: Iterable[str], known: Iterable[str]) -> None:
        known = list(known)
        for key in given:
            if key not in known:
                place = f"{where}.{key}" if where else key
                self.warnings.append(f"{self.path}: {place}: nothing is known of this key{near(key, known)}")


def _alias(entry: object, pdus: Mapping[str, PDUConfig]) -> Outlet:
    if not isinstance(entry, _Object):
        raise RequestError("must be a JSON object with hostname and port")
    hostname, port = entry.get("hostname"), entry.get("port")
    if not isinstance(hostname, str) or isinstance(port, bool) or not isinstance(port, str | int):
        raise RequestError("must have a hostname and a port")
    if hostname not in pdus:
        raise RequestError(f"there is no PDU {hostname!r}{near(hostname, pdus)}")
    return pdus[hostname].outlet(str(port))
