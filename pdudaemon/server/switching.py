# SPDX-License-Identifier: MIT
"""Commands over several nodes: accepted as one, and each node told of once, whichever way they come in.

A command switches each outlet once: nodes that share one are one request, and each is told what became of its own.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pdudaemon.errors import Locked, PDUDaemonError, RequestError, both
from pdudaemon.power import Action, Command, Outcome, Outlet, Reading, Request, Submission, Target
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.naming import resolved
from pdudaemon.server.orders import check_may

log = logging.getLogger("pdud.http")

MOST_GUESSES = 10
"""Most nodes in a request for its wrong names to be compared with the right ones, which takes milliseconds for each."""

_BY_OUTLET = (Outcome.FAILED, Outcome.GIVEN_UP, Outcome.SUPERSEDED)
"""How requests end whose every outlet has a result of its own."""

Entry = dict[str, Any]


class Telling:
    """What is told of the nodes of one command: an entry for each. `entry` may be called by any thread.

    Those that say how it is told are called with a lock held: ``_first`` when all has been accepted or refused,
    ``_next`` for each entry from then on, those before among them; but for ``_last``, for all entries, in order.
    """

    def __init__(self, exchange: HTTPExchange, action: Action, names: Sequence[str]) -> None:
        self.exchange = exchange
        self.config = exchange.config
        self.action = action
        self.names = names
        self.command: int | str | None = None
        self._entries: dict[str, Entry] = {}
        self._begun = False
        self._ended = False
        self._lock = threading.Lock()

    def _spelled(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None) -> Entry:
        """Return what is told of a node; ``answer`` None: done."""
        raise NotImplementedError

    def _first(self) -> None:
        """Begin to tell; ``command`` is the id of it, if anything was accepted."""

    def _next(self, entry: Entry) -> None:
        """Tell of a node."""

    def _last(self, entries: list[Entry]) -> None:
        """All has been told."""
        raise NotImplementedError

    def targets(self) -> dict[str, Target]:
        """Return the targets of the names that have one; of the others it is told why not."""
        found = {}
        for name in self.names:
            try:
                if len(self.names) > MOST_GUESSES and not self.config.knows(name):
                    raise RequestError(f"there is no alias or node {name!r}")
                target = self.config.node(name)
                check_may(self.exchange, self.action, target)
                if self.action is not Action.STATUS and target.locked:
                    raise Locked(target.locked)
                found[name] = target
            except PDUDaemonError as error:
                self.refuse(name, error)
        return found

    def resolved(self, targets: Mapping[str, Target]) -> dict[str, Target]:
        """Return targets by their ports, and not by names on the device; of others it is told why there is none."""
        found = {}
        for name, target in targets.items():
            try:
                found[name] = resolved(
                    self.exchange.dispatcher, target, self.exchange.rights, switching=self.action is not Action.STATUS
                )
            except PDUDaemonError as error:
                self.refuse(name, error)
        return found

    def refuse(self, name: str, error: PDUDaemonError) -> None:
        """Tell why nothing is done with a node."""
        if self.action is not Action.STATUS:
            log.warning("%s %s from %s: %s", self.action, name, self.exchange.client, error)
        self.entry(name, error)

    def begin(self, command: int | str | None = None) -> None:
        """Everything that is wanted has been accepted, or refused: begin to tell. ``command`` is the id of it."""
        with self._lock:
            self.command = command
            self._begun = True
            self._first()
            for entry in self._entries.values():
                self._next(entry)
        self._end_if_whole()

    def entry(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None = None) -> None:
        """Tell what became of a node, once; None: done."""
        entry = self._spelled(name, answer, request)
        with self._lock:
            if name in self._entries or self._ended:
                return
            self._entries[name] = entry
            if self._begun:
                self._next(entry)
        self._end_if_whole()

    def left(self) -> list[str]:
        """Return the names of the nodes of which nothing has been told."""
        with self._lock:
            return [name for name in self.names if name not in self._entries]

    def _end_if_whole(self) -> None:
        with self._lock:
            if self._ended or not self._begun or len(self._entries) < len(self.names):
                return
            self._ended = True
        self._last([self._entries[name] for name in self.names])


def carry_out(
    telling: Telling,
    targets: Mapping[str, Target],
    delay: float,
    wait: float,
    seconds: float,
    idempotency_key: str,
    soft: float | None = None,
    hard: bool = True,
) -> None:
    """Have nodes switched, and tell what becomes of each; after some ``seconds`` what there is to tell by then.

    ``wait`` 0: accepted is enough. ``soft`` and ``hard`` are as in a `Submission`. May take as long as there are nodes.
    """
    exchange, action = telling.exchange, telling.action
    dispatcher, client = exchange.dispatcher, exchange.client

    def tell(names: Sequence[str], request: Request, trouble: PDUDaemonError | None) -> None:
        for name in names:
            telling.entry(name, _own(targets[name], request, trouble), request)

    sharing = _sharing(targets)
    wanted = [
        Submission(
            action,
            Target.joined([targets[name] for name in names]),
            delay,
            str(client),
            client.address,
            functools.partial(tell, names) if wait else None,
            tuple(names),
            soft=soft,
            hard=hard,
        )
        for names in sharing
    ]
    command = Command(action, str(client), time.time(), tuple(telling.names), idempotency_key)
    accepted: dict[Request, list[str]] = {}
    for names, request in zip(sharing, dispatcher.submit(wanted, command), strict=True):
        if isinstance(request, Request):
            accepted[request] = names
        else:
            for name in names:
                telling.refuse(name, request)

    def late() -> None:
        left = {*telling.left()}
        for request, names in accepted.items():
            if not left.isdisjoint(names):
                tell(names, request, dispatcher.so_far(request, seconds))

    if wait:
        exchange.within(seconds, late)
    telling.begin(command.id if accepted else None)
    if not wait:
        for request, names in accepted.items():
            tell(names, request, None)


def _sharing(targets: Mapping[str, Target]) -> list[list[str]]:
    """Return the names in order, those together that have outlets in common, if only by way of others."""
    found: dict[Outlet, list[str]] = {}  # those that an outlet belongs to; a list is shared by all its outlets
    for name, target in targets.items():
        first, *others = {id(names): names for o in target.outlets if (names := found.get(o))}.values() or ([],)
        for each in itertools.chain([name], *others):
            first.append(each)
            found.update(dict.fromkeys(targets[each].outlets, first))
    return [*{id(names): names for names in found.values()}.values()]


def _own(target: Target, request: Request, trouble: PDUDaemonError | None) -> PDUDaemonError | None:
    """Return what became of a node by what became of the request that it may share with others; None: done."""
    told = [request.results[outlet] for outlet in target.outlets if outlet in request.results]
    if trouble is not None and request.outcome in _BY_OUTLET and len(told) == len(target.outlets):
        own = [error for error in told if error is not None]
        return functools.reduce(both, own) if own else None
    return trouble
