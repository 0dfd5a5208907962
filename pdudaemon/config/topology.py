# SPDX-License-Identifier: MIT
"""OpenFlight Power's ``topology.yaml``, translated into what a configuration file could have said itself.

Each of its nodes becomes a PDU with the driver ``platform`` and one port, `PORT`. Beyond what OpenFlight knows there
are ``groups``; for a platform ``parallel`` (how many of its nodes may act at a time); for a platform, and for a node,
which has the last word, some of what every PDU can be given: `OPTIONS`.

A platform may name a ``driver`` in place of scripts: then its keys, and those of a node, are the settings of that one.
In texts that are no secrets ``{name}`` stands for the name of the node: ``ip: "{name}-bmc"``.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdudaemon.config import rows, yamlfile
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.nodes import check_name
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions
from pdudaemon.drivers.platform import PORT, Platform
from pdudaemon.settings import Setting, declared, near, read

SECTIONS = ("static_nodes", "platforms", "groups")
OPENFLIGHT = Path("/opt/flight/etc/power-server/topology.yaml")
"""Where OpenFlight Power itself keeps the file."""

COMMANDS = ("power_on", "power_off", "power_soft", "restart", "status", "read")
OPTIONS = ("timeout", "retries", "retrydelay", "verify", "min_interval", "refresh", "poll", "stagger")
"""Keys of `PDUOptions` that a platform and a node may have. A variable of the platform by such a name is a variable."""

_entries = itertools.count()
_SCRIPT_KEYS = (*COMMANDS, "variables", "status_off_exit_code", "status_transient_exit_code", "parallel")
_PLATFORM_KEYS = ("driver", *_SCRIPT_KEYS, *OPTIONS)
_TRUTHS = {"yes": True, "on": True, "no": False, "off": False}  # of YAML, beside those of JSON
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Topology:
    """The sections ``pdus``, ``nodes`` and ``groups`` that a file amounts to; each PDU has a node of its name."""

    path: str = ""
    pdus: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    """The entry that a node comes from, as it is written, if that stands for many."""

    def location(self, name: str) -> Location:
        """Return where a node is in the file."""
        found = Location(self.path).within("static_nodes").within(name)
        return found.one_of(self.rows[name]) if name in self.rows else found


def load(path: str, faults: Faults) -> Topology:
    """Read a file, and add what is wrong with it. Raises: ConfigError where that concerns all of it."""
    whole = yamlfile.read(path, faults, "static_nodes and platforms")
    file = Location(path)
    if whole.get("nodes") and "static_nodes" not in whole:  # as OpenFlight's own README has it
        whole = {"static_nodes" if key == "nodes" else key: section for key, section in whole.items()}
        faults.warn(file, "nodes", "is read as static_nodes, which is what this section is called")
    elif whole.get("nodes"):
        faults.add(file, "nodes", "is not read beside static_nodes: one of them holds all nodes")
    faults.check_keys(file, (key for key in whole if key != "nodes" or not whole[key]), {}, SECTIONS)
    platforms, nodes, groups = (_section(file, whole, name, faults) for name in ("platforms", "static_nodes", "groups"))
    usable = {name: _platform(file, name, entry, faults) for name, entry in platforms.items()}
    topology = Topology(path, groups=groups)
    for written, whole in nodes.items():
        try:
            spread = [*rows.spread(written, whole)]
        except ValueError as error:
            faults.add(topology.location(written), "", str(error))
            spread = [(written, whole)]
        for name, entry in spread:
            if name in topology.nodes:
                faults.add(topology.location(name), "", "there is a node of this name already")
            if name != written:
                topology.rows[name] = written
            _add_node(topology, name, entry, usable, faults)
            give_way()
    return topology


def give_way() -> None:
    """Let another thread go on, if one waits: that of a daemon which reloads 10,000 nodes must not hold up clients.

    The interpreter would do so every 5 ms, and an answer takes several turns. Five entries take one; to give way for
    each would make a start longer by a half.
    """
    if next(_entries) % 5 == 0:
        time.sleep(0)


def _section(file: Location, whole: Mapping[str, Any], name: str, faults: Faults) -> dict[str, Any]:
    section = whole.get(name)
    if name == "platforms" and name not in whole:
        faults.stop(file.within(name), f"is missing{near(name, whole)}")
    if section is not None and not isinstance(section, dict):
        faults.stop(file.within(name), "must be a map")
    return section or {}


def _platform(file: Location, name: str, entry: object, faults: Faults) -> dict[str, Any]:
    """Return the settings that all nodes of a platform share, and its ``variables``; none if it has faults."""
    location = file.within("platforms").within(name)
    if not isinstance(entry, dict):
        faults.add(location, "", "must be a map")
        return {}
    if entry.get("driver") is not None:
        return _driven(location, entry, faults)
    faults.check_keys(location, entry, {}, _PLATFORM_KEYS)
    given = {key: value for key, value in entry.items() if key in _PLATFORM_KEYS and value is not None}
    variables = given.pop("variables", [])
    if not isinstance(variables, list) or not all(isinstance(each, str) for each in variables):
        faults.add(location, "variables", "must be a list of names")
        variables = []
    for variable in variables:
        if not _SHELL_NAME.fullmatch(variable):
            faults.add(location, "variables", f"{variable!r} cannot be the name of a shell variable")
    folder = str(Path(location.file).resolve().parent)
    settings = {"driver": "platform", "platform": name, "folder": folder, **given, **_shared(location, given)}
    wrong = read(Platform, settings)[1]
    for key, text in ((wrong or Platform.faults(settings)) | read(PDUOptions, settings)[1]).items():
        faults.add(location, key, text)
    return {} if faults.at(location) else {**settings, "variables": variables}


def _driven(location: Location, entry: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Return the settings that all nodes of a platform with a driver share; none if it has faults."""
    try:
        driver = strategies.find(str(entry["driver"]))
    except ValueError as error:
        faults.add(location, "driver", str(error))
        return {}
    known = _settings(driver)
    if issubclass(driver, Platform) or not known:
        faults.add(location, "driver", f"{entry['driver']} is none for a platform")
    for key in sorted({*_SCRIPT_KEYS} & entry.keys() - known.keys()):
        faults.add(location, key, f"contradicts the driver {entry['driver']}: a platform has scripts or a driver")
    faults.check_keys(location, entry, known, _PLATFORM_KEYS)
    given = {key: value for key, value in entry.items() if key in known and value is not None}
    settings = {"driver": str(entry["driver"]), **given, **_shared(location, entry)}
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}  # others stand elsewhere
    for key, text in (read(driver, plain)[1] | read(PDUOptions, plain)[1]).items():
        if key in plain:
            faults.add(location, key, text)
    return {} if faults.at(location) else settings


def _settings(driver: type[PDUDriver]) -> dict[str, Setting[Any]]:
    return {key: setting for key, setting in declared(driver).items() if not setting.obsolete}


def _of_node(shared: Mapping[str, Any], location: Location, keys: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Return the settings of a node whose platform has a driver."""
    known = _settings(strategies.find(shared["driver"]))
    faults.check_keys(location, keys, known, ("platform", "locked", *OPTIONS))
    settings: dict[str, Any] = {}
    name = location.path.partition(".")[2]
    for key, value in shared.items():
        named = isinstance(value, str) and key in known and not known[key].secret
        settings[key] = value.replace("{name}", name) if named else value
    settings |= {key: value for key, value in keys.items() if key in known and value is not None}
    return settings | _options(keys)


def _shared(location: Location, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a platform says of the options of its nodes, whose ons are staggered together."""
    given = _options(keys)
    return {**given, "stagger_with": location.path} if "stagger" in given else given


def _options(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a map says of every PDU's options, in words that they know."""
    given = {key: keys[key] for key in OPTIONS if keys.get(key) is not None}
    if isinstance(given.get("verify"), str):
        given["verify"] = _TRUTHS.get(given["verify"].lower(), given["verify"])
    return given


def _add_node(
    topology: Topology, name: str, entry: object, platforms: Mapping[str, dict[str, Any]], faults: Faults
) -> None:
    location = topology.location(name)
    keys = entry if isinstance(entry, dict) else {}
    platform = keys.get("platform")
    settings: dict[str, Any] = {"driver": "platform", "platform": str(platform or "missing")}
    topology.pdus[name] = settings
    topology.nodes[name] = {"hostname": name, "port": PORT}
    found = platforms.get(platform) if isinstance(platform, str) else None
    if fault := check_name(name):
        faults.add(location, "", fault)
    elif entry is not None and keys is not entry:
        faults.add(location, "", "must be a map")
    elif platform is None:
        faults.add(location, "", "platform: is missing")
    elif found is None:
        faults.add(location, "", f"platform: there is no platform {platform!r:.200}{near(str(platform), platforms)}")
        settings["platform"] = "missing"
    elif not found:
        faults.add(location, "", f"platforms.{platform} has faults")
    else:
        lock = str(keys.get("locked") or "no")
        if lock.lower() not in ("no", "false", "off"):
            plain = lock.lower() in ("yes", "true", "on", "1") or not isinstance(keys["locked"], str)
            topology.nodes[name]["locked"] = True if plain else {"reason": lock}
        if found["driver"] != "platform":
            topology.pdus[name] = _of_node(found, location, keys, faults)
            return
        settings |= found
        variables = settings.pop("variables")
        settings |= {key: value for key, value in _options(keys).items() if key not in variables}
        settings["values"] = values = {}
        for variable in variables:
            value = name if variable == "name" else keys.get(variable)
            if isinstance(value, dict | list):
                faults.add(location, "", f"{variable}: must be a text or a number")
                return
            # A script that writes ${bmc:-...} provides for the absence itself.
            if value is None and not any(f"${{{variable}:" in settings.get(command, "") for command in COMMANDS):
                faults.warn(location, "", f"has no {variable}, which its platform {platform} names: it is empty")
            values[variable] = "" if value is None else value
