# SPDX-License-Identifier: MIT
"""Roles: names for what the holder of a token may switch or see, as the section ``roles`` has them.

A token carries the names of its roles, and no more: what they mean is what the configuration says at each request. A
role that cannot be understood allows nothing; one that names something that there is not allows the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.jsonfile import Object
from pdudaemon.config.nodes import Node, Outlets
from pdudaemon.errors import RequestError
from pdudaemon.power import Action, Outlet
from pdudaemon.ranges import expanded, is_literal, is_name, matching
from pdudaemon.settings import near

EVERY = "*"

_KEYS = ("nodes", "pdus", "may")
_COMMA = re.compile(r",(?![^\[\]]*\])")  # outside brackets
_NUMBERS = re.compile(r"[0-9]+-[0-9]+")


@dataclass(frozen=True)
class Role:
    """What a role covers, and what ``may`` be done with that; looking is always among it.

    ``feeds`` are the outlets of its ``nodes``, ``ports`` single ones; ``pdus`` are covered as a whole, and with
    ``every_pdu`` also those that are not configured any more.
    """

    nodes: frozenset[str] = frozenset()
    feeds: frozenset[Outlet] = frozenset()
    ports: frozenset[Outlet] = frozenset()
    pdus: frozenset[str] = frozenset()
    every_pdu: bool = False
    may: frozenset[Action] = frozenset()

    def covers(self, outlet: Outlet) -> bool:
        """Whether an outlet belongs to the role."""
        return outlet in self.feeds or self.covers_port(outlet)

    def covers_port(self, outlet: Outlet) -> bool:
        """Whether an outlet belongs to the role whatever node it feeds."""
        return self.every_pdu or outlet.pdu in self.pdus or outlet in self.ports


def roles(
    section: Mapping[str, Any],
    duplicates: Iterable[str],
    nodes: Mapping[str, Node],
    groups: Mapping[str, tuple[str, ...]],
    pdus: Mapping[str, Any],
    outlet: Outlets,
    location: Callable[[str], Location],
    faults: Faults,
    elsewhere: Callable[[str], bool] = lambda _: False,
) -> dict[str, Role]:
    """Return the roles by their names. ``outlet`` returns that of a PDU and a port; ``pdus`` are the PDUs' names.

    Of a name that may be ``elsewhere``, at a site, it is no fault that there is none.
    """
    found = {}
    for name, entry in section.items():
        where = location(name)
        try:
            if not is_name(name):
                raise ValueError("not a valid role name: letters, digits and _ . - only")
            if name in duplicates:
                raise ValueError("duplicate key")
            found[name] = _Reader(nodes, groups, pdus, outlet, where, faults, elsewhere).role(entry)
        except ValueError as error:
            faults.add(where, "", str(error))
            found[name] = Role()
    return found


class _Reader:
    """Reads one role, noting what it names that there is not."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        groups: Mapping[str, tuple[str, ...]],
        pdus: Mapping[str, Any],
        outlet: Outlets,
        location: Location,
        faults: Faults,
        elsewhere: Callable[[str], bool],
    ) -> None:
        self._elsewhere = elsewhere
        self._named_elsewhere = False
        self._nodes = nodes
        self._groups = groups
        self._pdus = pdus
        self._outlet = outlet
        self._location = location
        self._faults = faults

    def role(self, entry: object) -> Role:
        """Return the role that an entry describes. Raises: ValueError."""
        if not isinstance(entry, Object):
            raise ValueError("must be a JSON object with nodes or pdus, and may")
        self._faults.check_keys(self._location, entry, {}, _KEYS)
        if entry.duplicates:
            raise ValueError(f"{min(entry.duplicates)}: duplicate key")
        may = _actions(entry.get("may"))
        nodes = self._node_names(_texts("nodes", entry.get("nodes")))
        feeds = {feed for name in nodes for feed in self._nodes[name].feeds}
        pdus: set[str] = set()
        ports: set[Outlet] = set()
        items = _texts("pdus", entry.get("pdus"))
        for item in items:
            self._add(item, pdus, ports)
        if not (nodes or pdus or ports or EVERY in items or self._named_elsewhere):
            self._missing("", "", "names no node and no PDU that there is")
        return Role(
            frozenset(nodes),
            frozenset(feeds),
            frozenset(ports),
            frozenset(pdus),
            EVERY in items,
            may,
        )

    def _node_names(self, texts: Iterable[str]) -> list[str]:
        def members(group: str) -> Iterable[str]:
            named = [group] if is_literal(group) else matching(group, self._groups)
            if not named or named[0] not in self._groups:
                self._missing(group, "nodes", f"there is no group {group!r}{near(group, self._groups)}")
            return [name for each in named for name in self._groups.get(each, ())]

        found: list[str] = []
        for text in texts:
            try:
                if text == EVERY or text in self._nodes:
                    found += self._nodes if text == EVERY else [text]
                else:
                    found += expanded(text, members, self._nodes, sites=True)
            except ValueError as error:
                raise ValueError(f"nodes: {error}") from None
        for name in dict.fromkeys(found):
            if name not in self._nodes:
                self._missing(name, "nodes", f"there is no node {name!r}{near(name, self._nodes)}")
        return [name for name in dict.fromkeys(found) if name in self._nodes]

    def _add(self, item: str, pdus: set[str], ports: set[Outlet]) -> None:
        """Add what an item of ``pdus`` stands for: a PDU, or ``PDU:PORTS``."""
        if item == EVERY:
            pdus.update(self._pdus)
            return
        if item in self._pdus:
            pdus.add(item)
            return
        colons = [match.start() for match in re.finditer(":", item)]  # which a PDU's name may have as well
        at = next(
            (at for at in colons if item[:at] in self._pdus),
            colons[-1] if colons else len(item),
        )
        try:
            names = [item[:at]] if item[:at] in self._pdus else expanded(item[:at], sites=True)
            wanted = _ports(item[at + 1 :])
        except ValueError as error:
            raise ValueError(f"pdus: {error}") from None
        for name in names:
            if name not in self._pdus:
                self._missing(name, "pdus", f"there is no PDU {name!r}{near(name, self._pdus)}")
            elif at == len(item):
                pdus.add(name)
            else:
                self._add_ports(name, wanted, ports)

    def _add_ports(self, pdu: str, wanted: Iterable[str], ports: set[Outlet]) -> None:
        for port in wanted:
            try:
                ports.add(self._outlet(pdu, port))
            except RequestError as error:
                self._missing("", "pdus", str(error))

    def _missing(self, name: str, key: str, text: str) -> None:
        if name and self._elsewhere(name):
            self._named_elsewhere = True
            return
        self._faults.add(self._location, key, text)


def _ports(text: str) -> list[str]:
    """Return the ports that a text stands for: one, or ``1-4``, or one with brackets. Raises: ValueError."""
    if _NUMBERS.fullmatch(text):
        text = f"[{text}]"
    return expanded(text) if "[" in text else [text]


def _actions(given: object) -> frozenset[Action]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"may: must be a list of some of {', '.join(Action)}")
    for word in given:
        if word not in tuple(Action):
            raise ValueError(f"may: {word!r} is none of {', '.join(Action)}{near(str(word), [*Action])}")
    return frozenset(map(Action, given)) | {Action.STATUS}


def _texts(key: str, given: object) -> list[str]:
    """Return the items of a text, or of a list of texts, whose items are taken as they are or as a text's."""
    texts: list[Any] = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key}: must be a text, or a list of texts")
    return [item.strip() for text in texts for item in _COMMA.split(text) if item.strip()]
