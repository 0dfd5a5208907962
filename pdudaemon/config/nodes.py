# SPDX-License-Identifier: MIT
"""Nodes and groups: names for what is switched.

A node has one or several feeds, each an outlet: a board with one plug (which the section ``aliases`` has always held),
a server with two power supplies. A group is a name for nodes. Faults are kept with what they disable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pdudaemon.errors import RequestError
from pdudaemon.power import Outlet
from pdudaemon.ranges import expanded, is_name
from pdudaemon.settings import near

Outlets = Callable[[str, str | int], Outlet]
"""Returns the outlet that a PDU's name and a port name. Raises: RequestError."""


@dataclass(frozen=True)
class Node:
    """A name and its feeds, in the order in which they are switched on. ``fault`` says why it is disabled."""

    name: str
    feeds: tuple[Outlet, ...] = ()
    locked: bool = False
    fault: str = ""

    def __str__(self) -> str:
        if [feed.pdu for feed in self.feeds] == [self.name]:
            return self.name
        return f"{self.name} ({', '.join(map(str, self.feeds))})"


def misnamed(name: str) -> str:
    """Return why a text cannot be the name of a node, nothing if it can be."""
    if is_name(name):
        return ""
    only = "is no name for a node: letters, digits and _ . - only"
    return f"{only}; ranges are not expanded here" if "[" in name else only


def node(name: str, entry: object, outlet: Outlets) -> Node:
    """Return the node that an entry of ``nodes`` or ``aliases`` describes: a hostname and a port, or ``feeds``."""
    try:
        if not isinstance(entry, dict):
            raise RequestError("must be a JSON object with hostname and port, or feeds")
        locked = entry.get("locked", False)
        if not isinstance(locked, bool):
            raise RequestError(f"locked: {locked!r} is neither true nor false")
        feeds = entry.get("feeds", [entry])
        if not isinstance(feeds, list) or not feeds:
            raise RequestError("feeds: must be a list of at least one hostname and port")
        found = [_feed(feed, outlet) for feed in feeds]
        if len({*found}) < len(found):
            raise RequestError("feeds: one of them stands there more than once")
    except RequestError as error:
        return Node(name, fault=str(error))
    return Node(name, tuple(found), locked)


def _feed(feed: object, outlet: Outlets) -> Outlet:
    hostname, port = (feed.get("hostname"), feed.get("port")) if isinstance(feed, dict) else (None, None)
    if not isinstance(hostname, str) or isinstance(port, bool) or not isinstance(port, str | int):
        raise RequestError("must have a hostname and a port")
    return outlet(hostname, port)


def groups(
    section: Mapping[str, Any], twice: Collection[str], nodes: Mapping[str, Node]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield the name, the members, and what is wrong with each group of a section; those in ``twice`` have none.

    A group is a text of names and ranges, or a list of such; ``@other`` stands for the members of another group.
    """
    for name in section:
        try:
            if not is_name(name):
                raise ValueError("is no name for a group: letters, digits and _ . - only")
            members = tuple(_members(name, section, twice, ()))
        except ValueError as error:
            yield name, (), str(error)
            continue
        unknown = [member for member in members if member not in nodes]
        yield name, members, f"there is no node {unknown[0]!r}{near(unknown[0], nodes)}" if unknown else ""


DEEPEST = 50
"""How far groups may be within groups."""


def _members(name: str, section: Mapping[str, Any], twice: Collection[str], way: tuple[str, ...]) -> list[str]:
    if name in way:
        raise ValueError(f"is a part of itself: {' -> '.join((*way, name))}")
    if len(way) > DEEPEST:
        raise ValueError(f"has more than {DEEPEST} groups within each other")
    if name not in section:
        raise ValueError(f"there is no group {name!r}{near(name, section)}")
    if name in twice:
        raise ValueError(f"{f'group {name!r} ' if way else ''}stands there more than once")
    entry = section[name]
    texts = entry if isinstance(entry, list) else [entry]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a text of names and ranges, or a list of such")
    return expanded(",".join(texts), lambda other: _members(other, section, twice, (*way, name)))
