# SPDX-License-Identifier: MIT
"""Commands over nodes of which some are at sites: each site gets its part, as one command, and all are told as one.

A command over several sites is accepted by each of them for itself: there is no all or nothing between sites. Its id
is that of its parts, ``berlin/7,munich/12``, so that nobody has to remember what it is made of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pdudaemon.engine.front.siteorders import SiteRequest, Wanted
from pdudaemon.errors import PDUDaemonError, RequestError, Unanswered
from pdudaemon.power import State, Target
from pdudaemon.ranges import folded
from pdudaemon.server import switching
from pdudaemon.server.siteorders import LATE, LOOKING, Passed, note, wanted
from pdudaemon.server.switching import Telling

if TYPE_CHECKING:
    from pdudaemon.engine.front.site import Site

LONGEST = 50_000  # characters of names that a site takes in one command
LONGEST_QUERY = 8000  # and in one question
BEGINNING = 3.0  # seconds for all sites to accept their parts, after which those that have are told of


class _Beginning:
    """Has a telling begin when each part has been accepted or refused, or some of them let everybody wait."""

    def __init__(self, telling: Telling, places: list[str]) -> None:
        """``places`` are the sites, in order, and an empty text for here."""
        self._telling = telling
        self._left = len(places)
        self._numbers = dict.fromkeys(places, "")
        self._lock = threading.Lock()
        self._begun = False

    def began(self, site: str, number: str | None) -> None:
        """A part has been accepted, by the number that its site gave it, or refused. Any thread."""
        with self._lock:
            self._left -= 1
            if number is not None:
                self._numbers[site] = f"{site}/{number}" if site else number
            if self._left:
                return
        self.begin()

    def begin(self) -> None:
        """Begin, once."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
            number = ",".join(filter(None, self._numbers.values())) or None
        self._telling.begin(number)


class _LocalPart(Telling):
    """The nodes of a command that are here."""

    def __init__(self, whole: Telling, names: list[str], beginning: _Beginning) -> None:
        super().__init__(whole.exchange, whole.action, names)
        self._whole = whole
        self._beginning = beginning
        self.entry = whole.entry  # type: ignore[method-assign]

    def begin(self, command: int | str | None = None) -> None:
        self._beginning.began("", None if command is None else str(command))

    def left(self) -> list[str]:
        names = {*self.names}
        return [name for name in self._whole.left() if name in names]


def carry_out(
    telling: Telling,
    targets: Mapping[str, Target],
    delay: float,
    wait: float,
    seconds: float,
    idempotency_key: str,
    soft: float | None,
    hard: bool,
) -> None:
    """Have nodes switched, wherever they are, and tell what becomes of each: see `switching.carry_out`."""
    exchange = telling.exchange
    dispatcher = exchange.dispatcher
    parts = dispatcher.sites.parts(targets, dispatcher.config)
    here = parts.pop(None, {})
    if not parts:
        switching.carry_out(telling, targets, delay, wait, seconds, idempotency_key, soft, hard)
        return
    places = [""] if here else []
    beginning = _Beginning(telling, [*places, *(site.name for site in dispatcher.sites if site in parts)])
    patience = (seconds if wait else LOOKING) + LATE

    def late() -> None:
        for name in telling.left():
            telling.entry(name, Unanswered(f"{name}: there is no answer from the thread of its site"))
        beginning.begin()

    exchange.within(patience, late)
    order = wanted(exchange.client, telling.action.value, {}, idempotency_key, wait, seconds, delay, soft, hard)
    for site, some in parts.items():
        if site is not None:
            _part(telling, site, some, order, beginning)
    if here:
        part = _LocalPart(telling, [*here], beginning)
        switching.carry_out(part, here, delay, wait, seconds, idempotency_key, soft, hard)
    connections = exchange.connection.connections
    connections.call(lambda: connections.at(time.monotonic() + BEGINNING, partial(connections.later, beginning.begin)))


def _part(telling: Telling, site: Site, targets: Mapping[str, Target], order: Wanted, beginning: _Beginning) -> None:
    ours = {site.translation.theirs(name): name for name in targets}
    text = folded(ours)
    try:
        if len(text) > LONGEST:
            raise RequestError(f"{site.name}: these are too many names for one command")

        def told(name: str, error: PDUDaemonError | None, request: SiteRequest | None) -> None:
            note(telling.exchange.client.text, telling.action, ours[name], request, error)
            if request is None and error is not None:
                telling.refuse(ours[name], error)
            else:
                telling.entry(ours[name], error, request)

        theirs = {name: targets[our] for name, our in ours.items()}
        lines = not telling.exchange.path.startswith("/api/")  # where each is told of as soon as it is known
        began = partial(beginning.began, site.name)
        site.switch_nodes(order, telling.action, text, theirs, lines, began, told)
    except PDUDaemonError as error:
        for name in targets:
            telling.refuse(name, error)
        beginning.began(site.name, None)


def look(telling: Telling, targets: Mapping[str, Target], wait: float) -> dict[str, Target]:
    """Have sites asked for the states of their nodes, and tell each; return the targets that are here."""
    dispatcher = telling.exchange.dispatcher
    parts = dispatcher.sites.parts(targets, dispatcher.config)
    here = parts.pop(None, {})
    for site, some in parts.items():
        if site is None:
            continue
        ours = {site.translation.theirs(name): name for name in some}
        for names in _pieces([*ours]):
            site.ask_states(names, wait, partial(_tell, telling, ours), LATE / 2)
    return here


def _pieces(names: list[str]) -> Iterator[list[str]]:
    """Yield names, as many at a time as fit into a question."""
    while names:
        most = len(names)
        while most > 1 and len(folded(names[:most])) > LONGEST_QUERY:
            most //= 2
        yield names[:most]
        names = names[most:]


def _tell(telling: Telling, ours: Mapping[str, str], name: str, said: Mapping[str, object] | PDUDaemonError) -> None:
    if isinstance(said, PDUDaemonError):
        telling.entry(ours[name], said)
        return
    running = said.get("running")
    state = State.ON if running is True else State.OFF if running is False else State.UNKNOWN
    telling.entry(ours[name], Passed(state, "device", None, (), {**said, "node-name": ours[name]}))
