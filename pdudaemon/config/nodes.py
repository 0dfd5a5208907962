# SPDX-License-Identifier: MIT
"""Nodes and groups: names for what is switched.

A node has one or several feeds, each an outlet: a board with one plug (which the section ``aliases`` has always held),
a server with two power supplies. A group is a name for nodes. A faulty node stays, disabled, so that whoever asks for
it is told why; of a faulty group nothing stays, so that nothing is switched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.jsonfile import Object
from pdudaemon.errors import RequestError
from pdudaemon.power import Outlet
from pdudaemon.ranges import expanded, is_name
from pdudaemon.settings import near, reason, seconds

Outlets = Callable[[str, str | int], Outlet]
"""Returns the outlet that a PDU's name and a port name. Raises: RequestError."""

Staggers = Mapping[Outlet, tuple[tuple[str, float], ...]]
"""By outlet the groups that it belongs to whose ons are staggered, each with the seconds between two ons."""

DEEPEST = 50
"""How far groups may be within groups."""

_STAGGER = seconds(0, 3600)
_ONLY = "letters, digits and _ . - only"


@dataclass(frozen=True)
class Node:
    """A name and its feeds, in the order in which they are switched on. ``fault`` says why it is disabled."""

    name: str
    feeds: tuple[Outlet, ...] = ()
    locked: bool = False
    fault: str = ""
    reason: str = ""  # why it is locked

    def __str__(self) -> str:
        if [feed.pdu for feed in self.feeds] == [self.name]:
            return self.name
        return f"{self.name} ({', '.join(map(str, self.feeds))})"


def check_name(name: str) -> str:
    """Return why a text cannot be the name of a node, nothing if it can be."""
    if is_name(name):
        return ""
    return f"not a valid node name: {_ONLY}"


def node(name: str, entry: object, location: Location, outlet: Outlets, faults: Faults) -> Node:
    """Return the node that an entry describes: a hostname and a port, or ``feeds``; disabled if it has faults."""
    known = faults.at(location)
    if known:
        return Node(name, fault="; ".join(f"{each.key}: {each.text}" if each.key else each.text for each in known))
    try:
        _check_keys(entry, location, faults)
        return _node(name, entry, outlet)
    except RequestError as error:
        faults.add(location, "", str(error))
        return Node(name, fault=str(error))


def _check_keys(entry: object, location: Location, faults: Faults) -> None:
    """Warn of unknown keys of a node and its feeds. Raises: RequestError for those that it has more than once."""
    if not isinstance(entry, Object):
        return
    faults.check_keys(location, entry, {}, ("hostname", "port", "feeds", "locked"))
    duplicates = entry.duplicates | entry.inner
    if isinstance(entry.get("feeds"), list):
        for key in sorted({"hostname", "port"} & {*entry}):
            faults.warn(location, key, "has no effect beside feeds")
        for number, feed in enumerate(entry["feeds"]):
            if isinstance(feed, Object):
                faults.check_keys(location.within(f"feeds[{number}]"), feed, {}, ("hostname", "port"))
                duplicates = duplicates | feed.duplicates
    if duplicates:
        raise RequestError("; ".join(f"{key}: duplicate key" for key in sorted(duplicates)))


def _node(name: str, entry: object, outlet: Outlets) -> Node:
    if not isinstance(entry, dict):
        raise RequestError("must be a JSON object with hostname and port, or feeds")
    locked: Any = entry.get("locked", False)
    why = ""
    if isinstance(locked, dict) and [*locked] == ["reason"]:
        try:
            locked, why = True, reason(locked["reason"])
        except ValueError as error:
            raise RequestError(f"locked: {error}") from None
    if not isinstance(locked, bool):
        raise RequestError(f"locked: {locked!r} is neither true nor false, nor an object with a reason")
    feeds = entry.get("feeds", [entry])
    if not isinstance(feeds, list) or not feeds:
        raise RequestError("feeds: must be a list of at least one hostname and port")
    found = tuple(_feed(feed, outlet) for feed in feeds)
    if len({*found}) < len(found):
        raise RequestError("feeds: the same outlet more than once")
    return Node(name, found, locked, reason=why)


def _feed(feed: object, outlet: Outlets) -> Outlet:
    hostname, port = (feed.get("hostname"), feed.get("port")) if isinstance(feed, dict) else (None, None)
    if hostname is None or port is None:
        raise RequestError("must have a hostname and a port")
    if not isinstance(hostname, str):
        raise RequestError(f"hostname: {hostname!r} is not a text")
    if isinstance(port, bool) or not isinstance(port, str | int):
        raise RequestError(f"port: {port!r} is neither a text nor a whole number")
    return outlet(hostname, port)


def groups(
    section: Mapping[str, Any],
    duplicates: Collection[str],
    nodes: Collection[str],
    location: Callable[[str], Location],
    faults: Faults,
    elsewhere: Callable[[str], bool] = lambda _: False,
    ready: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return the names in each group: a text of names and ranges, or a list of such; ``@other`` stands for a group.

    ``location`` says where a group is: there may be several files. One of which it cannot be said what is in it, or in
    a group that it names, is left out. One with a node that there is not stays. Names of nodes and groups may be
    ``elsewhere``, at a site; those of its groups that are known are ``ready``.
    """
    found: dict[str, tuple[str, ...]] = {}
    known: dict[str, list[str]] = {}
    for name in section:
        try:
            if not is_name(name):
                raise ValueError(f"not a valid group name: {_ONLY}")
            found[name] = tuple(_members(name, section, duplicates, nodes, (), elsewhere, ready or {}, known))
        except ValueError as error:
            faults.add(location(name), "", str(error))
            continue
        unknown = next((each for each in found[name] if each not in nodes and not elsewhere(each)), None)
        if unknown is not None:
            faults.add(location(name), "", f"there is no node {unknown!r}{near(unknown, nodes)}")
    return found


def _members(
    name: str,
    section: Mapping[str, Any],
    duplicates: Collection[str],
    nodes: Collection[str],
    way: tuple[str, ...],
    elsewhere: Callable[[str], bool],
    ready: Mapping[str, tuple[str, ...]],
    known: dict[str, list[str]],
) -> list[str]:
    """Return the names in a group. ``known`` are groups that have been looked at: each is once, however often named."""
    if name in known:
        return known[name]
    if name in way:
        raise ValueError(f"is a part of itself: {' -> '.join((*way, name))}")
    if len(way) > DEEPEST:
        raise ValueError(f"has more than {DEEPEST} groups within each other")
    if name not in section and (name in ready or (way and elsewhere(name))):
        return [*ready.get(name, ())]
    if name not in section:
        raise ValueError(f"there is no group {name!r}{near(name, section)}")
    if name in duplicates:
        raise ValueError(f"duplicate group {name!r}" if way else "duplicate key")
    entry = section[name]
    if isinstance(entry, Object) and entry.duplicates:
        raise ValueError(f"{min(entry.duplicates)}: duplicate key")
    entry = entry.get("nodes") if isinstance(entry, dict) else entry
    texts: list[Any] = entry if isinstance(entry, list) else [entry]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a text of names and ranges, a list of such, or an object that has them as nodes")

    def members(other: str) -> list[str]:
        return _members(other, section, duplicates, nodes, (*way, name), elsewhere, ready, known)

    found = itertools.chain.from_iterable(expanded(text, members, nodes, sites=True) for text in texts)
    known[name] = [*dict.fromkeys(found)]
    return known[name]


def staggers(
    section: Mapping[str, Any],
    found: Mapping[str, tuple[str, ...]],
    nodes: Mapping[str, Node],
    location: Callable[[str], Location],
    faults: Faults,
) -> Staggers:
    """Return which groups that have their ons staggered an outlet belongs to."""
    rows: dict[Outlet, list[tuple[str, float]]] = {}
    for group, entry in section.items():
        if not isinstance(entry, dict):
            continue
        faults.check_keys(location(group), entry, {}, ("nodes", "stagger"))
        try:
            between = _STAGGER.convert(entry.get("stagger", 0))
        except ValueError as error:
            faults.add(location(group), "stagger", str(error))
            continue
        members = {feed for member in found.get(group, ()) if member in nodes for feed in nodes[member].feeds}
        for outlet in members if between else ():
            rows.setdefault(outlet, []).append((f"group {group}", between))
    return {outlet: tuple(each) for outlet, each in rows.items()}
