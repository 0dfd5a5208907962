# SPDX-License-Identifier: MIT
"""YAML without its guesses: ``off`` is a word, ``01`` keeps its zero, and only nothing (``a:``, ``~``) is null.

Keys are texts, and duplicates are faults. Merges (``<<``) are written out here, so that they mean the same with every
release of PyYAML, and bounded, so that a short file cannot hang a reload.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from pdudaemon.config import textfile
from pdudaemon.config.faults import Faults, Location
from pdudaemon.settings import has_surrogate

MOST_WRITTEN_OUT = 5_000_000
"""Keys and values that a file may amount to once its aliases and merges are written out: far more than a site has."""


def read(path: str, faults: Faults, keys: str) -> dict[str, Any]:
    """Return the map that a file holds; ``keys`` says, for people, what of. Raises: ConfigError."""
    try:
        import yaml
    except ImportError:
        faults.stop(Location(path), "to read it the package PyYAML is needed (Debian: python3-yaml)")

    resolvers = {
        first: [each for each in known if each[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    class Loader(yaml.SafeLoader):
        """Knows texts, null and merges. A key is a text, whatever it looks like, and there is only one of it."""

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
            """Return a map into which all that it merges is written out: no release of PyYAML has to know how."""
            node = super().compose_mapping_node(anchor)
            own: dict[str, tuple[Any, Any]] = {}
            sources: list[Any] = []
            merges = False
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or not key.value or has_surrogate(key.value):
                    raise yaml.composer.ComposerError(None, None, "a key that is not a text", key.start_mark)
                merge = key.tag == "tag:yaml.org,2002:merge"
                if merges if merge else key.value in own:
                    raise yaml.composer.ComposerError(None, None, f"duplicate key {key.value!r}", key.start_mark)
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

    text = textfile.read(path, faults)
    try:
        whole = yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        position = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        faults.stop(Location(f"{path}{position}"), f"not valid YAML: {error.problem}")
    except RecursionError:
        faults.stop(Location(path), "not usable YAML: nested too deeply")
    except yaml.YAMLError as error:
        faults.stop(Location(path), f"not valid YAML: {' '.join(str(error).split())}")
    if not isinstance(whole, dict):
        faults.stop(Location(path), f"must be a map of {keys}")
    faults.read(path, lambda: _lines(yaml.compose(text, yaml.SafeLoader)))
    return whole


def _lines(top: Any) -> dict[str, int]:
    """Return the line of every key of the outer three maps of a document, by its path; deeper nothing is told."""
    found: dict[str, int] = {}
    nodes = [("", top)]
    for way, node in nodes:
        for key, value in node.value if node.id == "mapping" and way.count(".") < 2 else ():
            path = f"{way}.{key.value}" if way else str(key.value)
            found[path] = key.start_mark.line + 1
            nodes.append((path, value))
    return found
