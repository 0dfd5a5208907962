# SPDX-License-Identifier: MIT
"""OpenFlight Power's ``topology.yaml``, translated into what a configuration file could have said itself.

Each of its nodes becomes a PDU with the driver ``platform`` and one port, `PORT`. Beyond what OpenFlight knows there
are ``groups``; for a platform ``parallel`` (how many of its nodes may act at a time); for a platform, and for a node,
which has the last word, some of what every PDU can be given: `OPTIONS`.

YAML is read without its guesses: ``off`` is a word, ``01`` keeps its zero, and only nothing (``a:``, ``~``) is null.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdudaemon.config.nodes import misnamed
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.drivers.platform import PORT, Platform
from pdudaemon.errors import ConfigError
from pdudaemon.settings import has_half, near, read

SECTIONS = ("static_nodes", "platforms", "groups")
OPENFLIGHT = Path("/opt/flight/etc/power-server/topology.yaml")
"""Where OpenFlight Power itself keeps the file."""

MOST_WRITTEN_OUT = 5_000_000
"""Keys and values that a file may amount to once its aliases and merges are written out: far more than a site has."""

COMMANDS = ("power_on", "power_off", "restart", "status")
OPTIONS = ("timeout", "retries", "retrydelay", "verify", "min_interval")
"""Keys of `PDUOptions` that a platform and a node may have. A variable of the platform by such a name is a variable."""

_PLATFORM_KEYS = (*COMMANDS, "variables", "status_off_exit_code", "status_transient_exit_code", "parallel", *OPTIONS)
_TRUTHS = {"yes": True, "on": True, "no": False, "off": False}  # of YAML, beside those of JSON
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Topology:
    """The sections ``pdus``, ``nodes`` and ``groups`` that a file amounts to, and what is wrong with it.

    ``faults`` are those of a node, by its name; ``stray`` are lines for those of a platform.
    """

    path: str
    pdus: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    stray: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def load(path: str) -> Topology:
    """Read a file. Raises: ConfigError for what concerns all of it; faults of a node or platform are in the result."""
    whole = _parsed(path)
    topology = Topology(path)
    if whole.get("nodes") and "static_nodes" not in whole:  # as OpenFlight's own README has it
        whole = {"static_nodes" if key == "nodes" else key: section for key, section in whole.items()}
        topology.warnings.append(f"{path}: nodes: is read as static_nodes, which is what this section is called")
    elif whole.get("nodes"):
        topology.stray.append(f"{path}: nodes: is not read beside static_nodes: one of them holds all nodes")
    for key in whole:
        if key not in SECTIONS and not (key == "nodes" and whole[key]):
            topology.warnings.append(f"{path}: {key}: nothing is known of this key{near(key, SECTIONS)}")
    platforms, nodes, groups = (_section(path, whole, name) for name in ("platforms", "static_nodes", "groups"))
    usable = {name: _platform(topology, name, entry) for name, entry in platforms.items()}
    for name, entry in nodes.items():
        _add_node(topology, name, entry, usable)
    topology.groups = groups
    return topology


def _section(path: str, whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = whole.get(name)
    if name == "platforms" and name not in whole:
        raise ConfigError(f"{path}: platforms: is missing{near(name, whole)}")
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{path}: {name}: must be a map")
    return section or {}


def _platform(topology: Topology, name: str, entry: object) -> dict[str, Any]:
    """Return the settings that all nodes of a platform share, and its ``variables``; none if it has faults."""
    where = f"{topology.path}: platforms.{name}"
    if not isinstance(entry, dict):
        topology.stray.append(f"{where}: must be a map")
        return {}
    for key in entry:
        if key not in _PLATFORM_KEYS:
            topology.warnings.append(f"{where}.{key}: nothing is known of this key{near(key, _PLATFORM_KEYS)}")
    given = {key: value for key, value in entry.items() if key in _PLATFORM_KEYS and value is not None}
    variables = given.pop("variables", [])
    faults = []
    if not isinstance(variables, list) or not all(isinstance(each, str) for each in variables):
        faults.append(("variables", "must be a list of names"))
        variables = []
    for variable in variables:
        if not _SHELL_NAME.fullmatch(variable):
            faults.append(("variables", f"{variable!r} cannot be the name of a shell variable"))
    settings = {"driver": "platform", "platform": name, "folder": str(Path(topology.path).resolve().parent), **given}
    settings |= _options(given)
    wrong = read(Platform, settings)[1]
    faults += ((wrong or Platform.faults(settings)) | read(PDUOptions, settings)[1]).items()
    topology.stray += [f"{where}.{key}: {fault}" for key, fault in faults]
    return {} if faults else {**settings, "variables": variables}


def _options(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a map says of every PDU's options, in words that they know."""
    given = {key: keys[key] for key in OPTIONS if keys.get(key) is not None}
    if isinstance(given.get("verify"), str):
        given["verify"] = _TRUTHS.get(given["verify"].lower(), given["verify"])
    return given


def _add_node(topology: Topology, name: str, entry: object, platforms: Mapping[str, dict[str, Any]]) -> None:
    keys = entry if isinstance(entry, dict) else {}
    platform = keys.get("platform")
    settings: dict[str, Any] = {"driver": "platform", "platform": str(platform or "missing")}
    topology.pdus[name] = settings
    topology.nodes[name] = {"hostname": name, "port": PORT}
    found = platforms.get(platform) if isinstance(platform, str) else None
    if misnamed(name):
        topology.faults[name] = misnamed(name)
    elif entry is not None and keys is not entry:
        topology.faults[name] = "must be a map"
    elif platform is None:
        topology.faults[name] = "platform: is missing"
    elif found is None:
        topology.faults[name] = f"platform: there is no platform {platform!r:.200}{near(str(platform), platforms)}"
        settings["platform"] = "missing"
    elif not found:
        topology.faults[name] = f"platforms.{platform} has faults"
    else:
        settings |= found
        if str(keys.get("locked") or "no").lower() not in ("no", "false", "off"):
            topology.nodes[name]["locked"] = True
        variables = settings.pop("variables")
        settings |= {key: value for key, value in _options(keys).items() if key not in variables}
        settings["values"] = values = {}
        for variable in variables:
            value = name if variable == "name" else keys.get(variable)
            if isinstance(value, dict | list):
                topology.faults[name] = f"{variable}: must be a text or a number"
                return
            # A script that writes ${bmc:-...} provides for the absence itself.
            if value is None and not any(f"${{{variable}:" in settings.get(command, "") for command in COMMANDS):
                topology.warnings.append(
                    f"{topology.path}: static_nodes.{name}: has no {variable}, which its platform"
                    f" {platform} names: it is empty"
                )
            values[variable] = "" if value is None else value


def _parsed(path: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"{path}: to read it the package PyYAML is needed (Debian: python3-yaml)") from None

    resolvers = {
        first: [each for each in known if each[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    class Loader(yaml.SafeLoader):
        """Knows texts, null and merges. A key is a text, whatever it looks like, and stands there once."""

        yaml_implicit_resolvers = resolvers

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self._sizes: dict[Any, int] = {}  # of maps and lists that are complete, as if written out
            self._looked_at = 0

        def compose_sequence_node(self, anchor: Any) -> Any:
            node = super().compose_sequence_node(anchor)
            self._count(node, node.value)
            return node

        def compose_mapping_node(self, anchor: Any) -> Any:
            """Return a map in which what it merges stands already: no release of PyYAML has to know how."""
            node = super().compose_mapping_node(anchor)
            own: dict[str, tuple[Any, Any]] = {}
            sources: list[Any] = []
            merges = False
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or not key.value or has_half(key.value):
                    raise yaml.composer.ComposerError(None, None, "a key that is no text", key.start_mark)
                merge = key.tag == "tag:yaml.org,2002:merge"
                if merges if merge else key.value in own:
                    raise yaml.composer.ComposerError(None, None, f"{key.value!r} twice", key.start_mark)
                if merge:
                    merges, sources = True, self._sources(value)
                else:
                    key.tag = "tag:yaml.org,2002:str"
                    own[key.value] = key, value
            merged: dict[str, tuple[Any, Any]] = {}
            for source in sources:
                for key, value in source.value:
                    merged.setdefault(key.value, (key, value))
            node.value = [*{**merged, **own}.values()]
            self._count(node, itertools.chain.from_iterable(node.value), sum(len(source.value) for source in sources))
            return node

        def _sources(self, value: Any) -> list[Any]:
            """Return the maps that are merged, each once, the first before the others."""
            listed = isinstance(value, yaml.SequenceNode)
            sources = {id(each): each for each in (value.value if listed else [value])}
            for each in sources.values():
                if not isinstance(each, yaml.MappingNode):
                    wanted = "a mapping" if listed else "a mapping or list of mappings"
                    problem = f"expected {wanted} for merging, but found {each.id}"
                    raise yaml.composer.ComposerError(None, None, problem, each.start_mark)
                if each not in self._sizes:
                    raise yaml.composer.ComposerError(None, None, "a map merged into itself", each.start_mark)
            return [*sources.values()]

        def _count(self, node: Any, parts: Iterable[Any], looked_at: int = 0) -> None:
            """Bound what a node amounts to, and all the work of merging, so that a short file cannot hang a reload."""
            self._sizes[node] = size = 1 + sum(self._sizes.get(part, 1) for part in parts)
            self._looked_at += looked_at
            if size > MOST_WRITTEN_OUT or self._looked_at > MOST_WRITTEN_OUT:
                raise yaml.composer.ComposerError(None, None, "aliases and merges make too much of it", node.start_mark)

    try:
        whole = yaml.load(Path(path).read_text(encoding="utf-8-sig"), Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid UTF-8 at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(whole, dict):
        raise ConfigError(f"{path}: must be a map with the keys static_nodes and platforms")
    return whole
