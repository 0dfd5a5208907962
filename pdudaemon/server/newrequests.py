# SPDX-License-Identifier: MIT
"""``POST /api/v1/requests``: have something switched, said in JSON. ``hostname`` and ``port``, or ``alias``, make one
request; ``nodes`` and ``groups`` a command, accepted as one, of which each node is told.

201: it is done; 202: it is accepted, and no more was to be waited for; 200: that was so before, by the same ``key``.
Whatever else has become of it is an error, whose document has the request or the command as well: a success is done.
"""

from __future__ import annotations

import time
from functools import partial

from pdudaemon.config.options import LONGEST_WAIT
from pdudaemon.errors import PDUDaemonError, RequestError
from pdudaemon.power import Action, Outcome, Reading, Request
from pdudaemon.server import orders
from pdudaemon.server.control import became, feeds
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.jsonbody import BadField, Fields
from pdudaemon.server.messages import Answer
from pdudaemon.server.naming import read_first
from pdudaemon.server.sitecommands import carry_out
from pdudaemon.server.switching import Entry, Telling
from pdudaemon.settings import near

FIELDS = ("action", "hostname", "port", "alias", "nodes", "groups", "delay", "wait", "key", "soft", "hard")
ACTIONS = {**{each.value: each for each in Action if each is not Action.STATUS}, "restart": Action.REBOOT}
_TARGETS = ("hostname", "alias", "nodes", "groups")


def create(exchange: HTTPExchange, _: str) -> None:
    """Serve a ``POST``. Called by the selector's thread."""
    began = time.time()
    given = Fields(exchange.body, exchange.head.headers.get("content-type", ""), FIELDS)
    action = _action(given)
    delay = given.seconds("delay", exchange.config.daemon.max_delay)
    wait = given.seconds("wait", LONGEST_WAIT)
    soft, hard = _softly(exchange, given, action)
    key = _key(exchange, given)
    targets = [name for name in _TARGETS if name in given]
    if not targets:
        raise BadField("nodes", "say what is to be switched: nodes, groups, alias, or hostname and port")
    if len(targets) > 1 and targets != ["nodes", "groups"]:
        raise BadField(targets[1], f"cannot be given beside {targets[0]}")
    if "port" in given and targets != ["hostname"]:
        raise BadField("port", f"cannot be given beside {targets[0]}")
    if targets[0] in ("nodes", "groups"):
        switch = partial(_command, exchange, given, action, delay, wait, key, began, soft, hard)
        exchange.connection.connections.later(partial(exchange.give, switch))
        return
    postponed = (delay or 0.0) + (soft or 0.0)
    asked = _order(exchange, given, action)._replace(wait=wait, postponed=postponed, key=key, soft=soft, hard=hard)
    if delay is not None:
        asked = asked._replace(delay=delay)

    def told(request: Request, trouble: PDUDaemonError | None) -> None:
        headers = {"X-Request-Id": str(request.number), "Location": f"/api/v1/requests/{request.number}"}
        if trouble is not None:
            exchange.refuse(trouble, headers, {"request": request.number, **feeds(request)})
            return
        status = 200 if key and request.accepted < began else 202 if request.ended is None else 201
        exchange.answer(Answer(status, {**became(exchange, request), **feeds(request)}, headers))

    exchange.orders.carry_out(asked, exchange.client, exchange, told)


def _action(given: Fields) -> Action:
    word = given.text("action")
    if word is None:
        raise BadField("action", f"is missing: {', '.join(ACTIONS)}")
    if word not in ACTIONS:
        raise BadField("action", f"{word[:20]!r} is none of {', '.join(ACTIONS)}{near(word, ACTIONS)}")
    return ACTIONS[word]


def _softly(exchange: HTTPExchange, given: Fields, action: Action) -> tuple[float | None, bool]:
    soft = given.seconds("soft", exchange.config.daemon.max_delay)
    hard = given.truth("hard")
    try:
        orders.check_softly(action, soft, hard)
    except RequestError as error:
        field, _, text = str(error).partition(": ")
        raise BadField(field, text) from None
    return soft, hard is not False


def _key(exchange: HTTPExchange, given: Fields) -> str:
    header = exchange.head.headers.get("idempotency-key", "").strip().strip('"')
    field = given.text("key") or ""
    if header and field and header != field:
        raise BadField("key", "differs from the header Idempotency-Key")
    try:
        return orders.key({"key": header or field})
    except RequestError as error:
        raise BadField("key", str(error).removeprefix("key: ")) from None


def _order(exchange: HTTPExchange, given: Fields, action: Action) -> orders.Order:
    config = exchange.config
    hostname, port, alias = given.text("hostname"), given.word("port"), given.text("alias")
    if hostname is not None and port is None:
        raise BadField("port", "is missing")
    words = {name: value for name, value in (("hostname", hostname), ("port", port), ("alias", alias)) if value}
    try:
        return orders.order(config, action.value, words)
    except RequestError as error:
        if type(error) is not RequestError:
            raise
        field = "alias" if hostname is None else "hostname" if hostname not in config.pdus else "port"
        raise BadField(field, str(error).removeprefix(f"{field} "), 422) from None


def _command(
    exchange: HTTPExchange,
    given: Fields,
    action: Action,
    delay: float | None,
    wait: float | None,
    key: str,
    began: float,
    soft: float | None,
    hard: bool,
) -> None:
    """Have a command carried out. Called by a thread of the pool."""
    config = exchange.config
    names: dict[str, None] = {}
    for field in ("nodes", "groups"):
        value = given.texts(field)
        texts = [value] if isinstance(value, str) else value or []
        for text in texts:
            try:
                found, missing = config.named(text) if field == "nodes" else config.named("", text)
            except ValueError as error:
                raise BadField(field, str(error)) from None
            if missing:
                raise BadField(field, f"there is no group {missing[0][:50]!r}{near(missing[0], config.groups)}", 422)
            names |= dict.fromkeys(found)
    if not names:
        raise BadField("nodes" if "nodes" in given else "groups", "stands for no node", 422)
    patience = config.daemon.wait if wait is None else wait
    telling = _Telling(exchange, action, [*names], bool(patience), began if key else None)
    targets = telling.targets()
    usual = orders.REBOOT_DELAY if action is Action.REBOOT else 0.0

    def go_on() -> None:
        resolved = telling.resolved(targets)
        seconds = patience + (delay or 0.0) + (soft or 0.0)
        carry_out(telling, resolved, usual if delay is None else delay, patience, seconds, key, soft, hard)

    later = partial(exchange.connection.connections.later, partial(exchange.give, go_on))
    if not read_first(exchange.dispatcher, exchange, targets.values(), later):
        go_on()


class _Telling(Telling):
    """All nodes are told of at the end. ``waited``: for the result; ``began``: when the client asked, if by a key."""

    def __init__(
        self, exchange: HTTPExchange, action: Action, names: list[str], waited: bool, began: float | None
    ) -> None:
        super().__init__(exchange, action, names)
        self._waited = waited
        self._began = began
        self._errors: list[PDUDaemonError] = []
        self._before = False  # whether this was accepted before

    def _spelled(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None) -> Entry:
        error = answer if isinstance(answer, PDUDaemonError) else None
        if error is not None:
            self._errors.append(error)
        if request is not None and self._began is not None:
            self._before = request.accepted < self._began  # as all of a command was
        if request is None:
            state = "refused"
        elif error is None and self._waited:
            state = Outcome.DONE.value
        else:
            state = "accepted" if request.ended is None or request.outcome is None else request.outcome.value
        return {
            "name": name,
            "request": None if request is None else request.number,
            "state": state,
            "ended": None if request is None else request.ended,
            "reason": _reason(request) if error is None else error.told.removeprefix(f"{name}: "),
        }

    def _last(self, entries: list[Entry]) -> None:
        told = {"command": self.command, "action": self.action.value, "nodes": entries}
        headers: dict[str, str] = {}
        if self.command is not None:
            headers = {"X-Command-Id": str(self.command), "Location": f"/api/v1/commands/{self.command}"}
        if self._errors and (self._waited or self.command is None):
            worst = max(map(_understood, self._errors), key=lambda error: error.http_status)
            self.exchange.refuse(worst, headers, told)
        else:
            status = 200 if self._before else 201 if self._waited else 202
            self.exchange.answer(Answer(status, told, headers))


def _reason(request: Request | None) -> str | None:
    """Return how softly a machine was switched off, if that was asked for."""
    return request.soft.said or None if request is not None and request.soft is not None else None


def _understood(error: PDUDaemonError) -> PDUDaemonError:
    """Return an error as this API tells it: what there is not is no fault of the daemon's."""
    return BadField("nodes", error.told, 422) if type(error) is RequestError else error
