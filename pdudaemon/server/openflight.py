# SPDX-License-Identifier: MIT
"""The HTTP API of OpenFlight Power's power-server, as its client and existing scripts know it.

``GET``, ``PATCH``, ``DELETE`` and ``PUT /?nodes=…&groups=…`` are status, on, off and restart; ``GET /nodes`` and ``GET
/groups`` list what there is. The answer is 200 whatever became of the nodes: each has an entry that says so.

Beyond the original: ``error`` and, for requests, ``request`` (the id) in each entry, and ``pending`` (true) while that
goes on; ``meta`` with the groups that there are not; ``wait=`` seconds; the id of the command in ``X-Command-Id``; and
for who accepts ``application/x-ndjson`` a line for each node as soon as it is known, after one whose ``meta`` has the
id and their names in order.

A command is accepted as one. It switches each outlet once: nodes that share one are one request, and each is told what
became of its own.
"""

from __future__ import annotations

import functools
import html
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pdudaemon.config.model import LONGEST_WAIT, Config
from pdudaemon.engine.queries import Look
from pdudaemon.errors import Denied, Locked, NotDone, PDUDaemonError, RequestError, both
from pdudaemon.power import Action, Command, Outcome, Outlet, Reading, Request, State, Submission, Target
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer
from pdudaemon.server.naming import read_first
from pdudaemon.server.orders import REBOOT_DELAY, check_may, duration, key

log = logging.getLogger("pdud.openflight")

PATHS = ("/", "/nodes", "/groups")
PATIENCE = 55.0
"""Longest wait in seconds that is not asked for: OpenFlight's client gives up after 60."""

MOST_GUESSES = 10
"""Most nodes in a request for its wrong names to be compared with the right ones, which takes milliseconds for each."""

LINES = "application/x-ndjson"
_SAFE = {"X-Content-Type-Options": "nosniff"}
_HTML = "text/html;charset=utf-8"
_NAMES = {Action.ON: "power_on", Action.OFF: "power_off", Action.REBOOT: "restart", Action.STATUS: "status"}

_BY_OUTLET = (Outcome.FAILED, Outcome.GIVEN_UP, Outcome.SUPERSEDED)
"""How requests end whose every outlet has a result of its own."""

Entry = dict[str, Any]


def not_found(exchange: HTTPExchange, _: str) -> Answer:
    """Answer a method that is not for these paths, as recorded."""
    log.warning("%s %s from %s: nothing was done", exchange.head.method, exchange.path, exchange.client)
    return Answer(404, b"<h1>Not Found</h1>", _SAFE, _HTML)


def forbidden(error: Denied, authorization: str) -> Answer:
    """Return the refusal as recorded; a header says why, which the body does not."""
    why = f' error="invalid_token", error_description="{error}"' if authorization else ""
    headers = {"WWW-Authenticate": f"Bearer{why}"} if error.http_status == 401 else {}
    return Answer(403, b"Forbidden", {**_SAFE, **headers}, _HTML)


def _not_understood(text: str) -> Answer:
    return Answer(400, html.escape(text, quote=False).encode(), _SAFE, _HTML)


def nodes(exchange: HTTPExchange, _: str) -> Answer:
    """``GET /nodes``: every node, in the order of the configuration."""
    found = exchange.config.nodes
    return _data({"type": "nodes", "id": name, "attributes": {"name": name}} for name in found)


def groups(exchange: HTTPExchange, _: str) -> Answer:
    """``GET /groups``: every group with its nodes."""
    found = exchange.config.groups
    return _data(
        {"type": "groups", "id": name, "attributes": {"name": name, "nodes": members}}
        for name, members in found.items()
    )


def command(action: Action) -> Callable[[HTTPExchange, str], Answer | None]:
    """Return what serves an action on ``/``."""

    def serve(exchange: HTTPExchange, _: str) -> Answer | None:
        config = exchange.config
        word = "nodes"
        try:
            wait = duration(exchange.words, "wait", LONGEST_WAIT)
            idempotency_key = key(exchange.words)
            names, missing = config.named(exchange.words.get(word, ""))
            word = "groups"
            members, absent = config.named("", exchange.words.get(word, ""))
        except RequestError as error:
            return _not_understood(str(error))
        except ValueError as error:
            return _not_understood(f"Unrecognised {word} syntax: {error}")
        if wait is None:
            wait = PATIENCE if action is Action.STATUS else min(PATIENCE, config.daemon.wait)
        meta = {"missing-groups": missing + absent} if missing or absent else {}
        telling = _Telling(exchange, action, list(dict.fromkeys(names + members)), meta)
        targets = telling.targets()

        def go_on() -> Answer | None:
            resolved = telling.resolved(targets)
            if action is Action.STATUS:
                _look(telling, resolved, wait)
            else:
                _carry_out(telling, resolved, wait, idempotency_key)
            return None

        later = functools.partial(exchange.connection.connections.later, functools.partial(exchange.give, go_on))
        if not read_first(exchange.dispatcher, exchange, targets.values(), later):
            go_on()
        return None

    return serve


class _Telling:
    """What is told of the nodes of one command: a line for each as soon as it is known, or all of them at the end.

    `entry` may be called by any thread.
    """

    def __init__(self, exchange: HTTPExchange, action: Action, names: Sequence[str], meta: Entry) -> None:
        self.exchange = exchange
        self.config = exchange.config
        self.action = action
        self.names = names
        self.meta = meta
        self._headers = dict(_SAFE)
        self._entries: dict[str, Entry] = {}
        self._begun = False
        self._ended = False
        self._lock = threading.Lock()

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
                found[name] = self.exchange.dispatcher.surveys.resolved(target, self.exchange.dispatcher.config)
            except PDUDaemonError as error:
                self.refuse(name, error)
        return found

    def refuse(self, name: str, error: PDUDaemonError) -> None:
        """Tell why nothing is done with a node."""
        if self.action is not Action.STATUS:
            log.warning("%s %s from %s: %s", _NAMES[self.action], name, self.exchange.client, error)
        self.entry(name, error)

    def begin(self, command: int | None = None) -> None:
        """Everything that is wanted has been accepted, or refused: begin to tell. ``command`` is the id of it."""
        with self._lock:
            self._begun = True
            if command is not None:
                self._headers |= {"X-Command-Id": str(command), "Location": f"/api/v1/commands/{command}"}
            if self._lines:
                self.exchange.begin_lines(self._headers, LINES)
                first = {} if command is None else {"command": command}
                self.exchange.line({"meta": {**first, "count": len(self.names), "names": self.names, **self.meta}})
                for entry in self._entries.values():
                    self.exchange.line(entry)
        self._end_if_whole()

    def entry(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None = None) -> None:
        """Tell what became of a node, once; None: done."""
        entry = _entry(self.config, self.action, name, answer, request)
        with self._lock:
            if name in self._entries or self._ended:
                return
            self._entries[name] = entry
            if self._begun and self._lines:
                self.exchange.line(entry)
        self._end_if_whole()

    def left(self) -> list[str]:
        """Return the names of the nodes of which nothing has been told."""
        with self._lock:
            return [name for name in self.names if name not in self._entries]

    @property
    def _lines(self) -> bool:
        return self.exchange.accepts_lines(LINES)

    def _end_if_whole(self) -> None:
        with self._lock:
            if self._ended or not self._begun or len(self._entries) < len(self.names):
                return
            self._ended = True
        if self._lines:
            self.exchange.end_lines()
        else:
            self.exchange.answer(_data((self._entries[name] for name in self.names), self.meta, self._headers))


def _carry_out(telling: _Telling, targets: Mapping[str, Target], wait: float, idempotency_key: str) -> None:
    """Have the nodes switched, and tell what becomes of each."""
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
            REBOOT_DELAY if action is Action.REBOOT else 0.0,
            str(client),
            client.address,
            functools.partial(tell, names) if wait else None,
            tuple(names),
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
    telling.begin(command.id if accepted else None)
    if not wait:
        for request, names in accepted.items():
            tell(names, request, None)
        return

    def late() -> None:
        left = {*telling.left()}
        for request, names in accepted.items():
            if not left.isdisjoint(names):
                tell(names, request, dispatcher.so_far(request, wait))

    exchange.within(wait, late)


def _look(telling: _Telling, targets: Mapping[str, Target], wait: float) -> None:
    """Have the states of nodes asked for, and tell each."""
    looks = [Look(target.outlets, functools.partial(telling.entry, name)) for name, target in targets.items()]
    telling.begin()
    telling.exchange.dispatcher.ask(looks)

    def late() -> None:
        telling.exchange.dispatcher.give_up(looks, wait)

    telling.exchange.within(wait, late)


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


def _entry(
    config: Config,
    action: Action,
    name: str,
    answer: Reading | PDUDaemonError | None,
    request: Request | None = None,
) -> Entry:
    """Return what is told of a node; ``answer`` None: done."""
    node = config.nodes.get(name)
    pdu = config.pdus.get(node.feeds[0].pdu if node.feeds else name) if node else None
    error = answer.told.removeprefix(f"{name}: ") if isinstance(answer, PDUDaemonError) else None
    told: Entry = {}
    if isinstance(answer, Reading):
        error = answer.mixed or None
        if answer.source == "none":
            error = "the device cannot tell, and nobody has switched it yet"
        elif answer.state is State.UNKNOWN:
            error = "the device does not know"
        elif answer.source != "device":
            error = f"the device cannot tell: it was last told to be {answer.state}"
        success = answer.source == "device" and answer.state is not State.UNKNOWN
        told["running"] = answer.state is State.ON if success else None
        if answer.mixed:
            told["mixed"] = True
    else:
        success = answer is None
        if action is Action.STATUS:
            told["running"] = None
    attributes: Entry = {
        "action": _NAMES[action],
        "node-name": name,
        "platform": "missing" if pdu is None else pdu.settings.get("platform") or pdu.driver_name,
        "missing": node is None,
        "success": success,
        **told,
        "error": error,
        **({"request": request.id} if request else {}),
        **({"pending": True} if request and (isinstance(answer, NotDone) or request.ended is None) else {}),
    }
    return {"type": "commands", "id": name, "attributes": attributes}


def _data(entries: Iterable[Entry], meta: Entry | None = None, headers: Mapping[str, str] = _SAFE) -> Answer:
    whole = {"data": [*entries], **({"meta": meta} if meta else {})}
    return Answer(200, json.dumps(whole, separators=(",", ":")).encode(), dict(headers))
