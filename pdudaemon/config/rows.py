# SPDX-License-Identifier: MIT
"""Many nodes in one entry: a name with ranges, ``"node[001-512]"``, and what each of them has in lists or ranges too.

A value is the same for all nodes, unless it is a list, or a text with ranges: these have one for each, in the order of
the names. A ``hostname`` and a ``port`` together may have fewer: ``pdu[01-32]`` and ``[1-16]`` are 512 outlets, those
of the first PDU first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pdudaemon.config.jsonfile import Object
from pdudaemon.ranges import expanded

_FEEDS = "feeds"
_MEANT = re.compile(r"\[[0-9][0-9,/-]*(\]|$)")
"""What is meant as a range in a ``hostname`` or ``port``, though it may be none."""


def spread(name: str, entry: object) -> Iterator[tuple[str, Any]]:
    """Yield the name and the entry of each node that an entry stands for. Raises: ValueError, before the first."""
    if "[" not in name:
        return iter([(name, entry)])
    names = expanded(name)
    if not isinstance(entry, Mapping):
        return zip(names, itertools.repeat(entry))
    return zip(names, _rows(entry, len(names)), strict=True)


def _rows(entry: Mapping[str, Any], count: int) -> list[Object]:
    columns: dict[str, list[Any]] = {}
    if {"hostname", "port"} <= entry.keys():
        columns["hostname"], columns["port"] = _outlets(entry["hostname"], entry["port"], count)
    others = [key for key in entry if key != _FEEDS and key not in columns]
    columns |= {key: _column(key, entry[key], count) for key in others}
    feeds = entry.get(_FEEDS)
    if isinstance(feeds, list) and feeds:
        several = [_rows(feed, count) if isinstance(feed, Mapping) else [feed] * count for feed in feeds]
        columns[_FEEDS] = [list(row) for row in zip(*several, strict=True)]
    elif _FEEDS in entry:
        columns[_FEEDS] = [feeds] * count
    rows = [Object((key, column[place]) for key, column in columns.items()) for place in range(count)]
    for row in rows:
        row.duplicates |= getattr(entry, "duplicates", set())
    return rows


def _column(key: str, value: object, count: int) -> list[Any]:
    """Return the value of each node."""
    found = _listed(value)
    if found is None:
        return [value] * count
    if len(found) != count:
        raise ValueError(f"{key}: {len(found)} values for {count} nodes")
    return found


def _outlets(hostname: object, port: object, count: int) -> tuple[list[Any], list[Any]]:
    hosts, ports = (_values(key, value) for key, value in (("hostname", hostname), ("port", port)))
    if len(hosts) * len(ports) == count:
        pairs = [*itertools.product(hosts, ports)]
    else:
        every = (values * count if len(values) == 1 else values for values in (hosts, ports))
        pairs = [*zip(*every, strict=False)]
        if not {len(hosts), len(ports)} <= {1, count}:
            raise ValueError(f"hostname and port: {len(hosts)} and {len(ports)} values for {count} nodes")
    return [host for host, _ in pairs], [each for _, each in pairs]


def _values(key: str, value: object) -> list[Any]:
    """Return the values of a ``hostname`` or ``port``: what looks like ranges has to be some."""
    found = _listed(value)
    if found is None and isinstance(value, str) and _MEANT.search(value):
        try:
            found = expanded(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return [value] if found is None else found


def _listed(value: object) -> list[Any] | None:
    """Return the values that a list or a text with ranges stands for; None: it is one value, whatever is in it."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str) or "[" not in value or (any(mark in value for mark in ",!&^@") and "," not in value):
        return None
    try:
        return expanded(value)
    except ValueError:  # a text that only looks like it, such as a password
        return None
