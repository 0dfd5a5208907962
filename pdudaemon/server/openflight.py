# SPDX-License-Identifier: MIT
"""The HTTP API of OpenFlight Power's power-server, as its client and existing scripts know it.

``GET``, ``PATCH``, ``DELETE`` and ``PUT /?nodes=…&groups=…`` are status, on, off and restart; ``GET /nodes`` and ``GET
/groups`` list what there is. The answer is 200 whatever became of the nodes: each has an entry that says so.

Beyond the original: ``error`` and, for requests, ``request`` (the id) in each entry, ``pending`` (true) while that
goes on, and ``reason``, what came of a machine that was asked to shut down; ``meta`` with the groups that there are
not; ``wait=`` seconds; the id of the command in ``X-Command-Id``; and for who accepts ``application/x-ndjson`` a line
for each node as soon as it is known, after one whose ``meta`` has the id and their names in order.

A command is accepted as one. It switches each outlet once: nodes that share one are one request, and each is told what
became of its own.
"""

from __future__ import annotations

import functools
import html
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from pdudaemon.config.model import Config
from pdudaemon.config.nodes import Node
from pdudaemon.config.options import LONGEST_WAIT
from pdudaemon.engine.queries import Look
from pdudaemon.errors import Denied, NotDone, PDUDaemonError, RequestError
from pdudaemon.power import Action, Reading, Request, State, Target
from pdudaemon.server import sitecommands
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer
from pdudaemon.server.naming import read_first
from pdudaemon.server.orders import REBOOT_DELAY, duration, key, softly
from pdudaemon.server.sitecommands import carry_out
from pdudaemon.server.siteorders import Passed
from pdudaemon.server.switching import Entry, Telling

log = logging.getLogger("pdud.openflight")

PATHS = ("/", "/nodes", "/groups")
PATIENCE = 55.0
"""Longest wait in seconds that is not asked for: OpenFlight's client gives up after 60."""

LINES = "application/x-ndjson"
_SAFE = {"X-Content-Type-Options": "nosniff"}
_HTML = "text/html;charset=utf-8"
_NAMES = {Action.ON: "power_on", Action.OFF: "power_off", Action.REBOOT: "restart", Action.STATUS: "status"}


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
            soft, hard = softly(exchange.words, action, config.daemon.max_delay)
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
                delay = REBOOT_DELAY if action is Action.REBOOT else 0.0
                seconds = wait + (soft or 0.0)
                carry_out(telling, resolved, delay, wait, seconds, idempotency_key, soft, hard)
            return None

        later = functools.partial(exchange.connection.connections.later, functools.partial(exchange.give, go_on))
        if not read_first(exchange.dispatcher, exchange, targets.values(), later):
            go_on()
        return None

    return serve


class _Telling(Telling):
    """A line for each node as soon as it is known, or all of them at the end."""

    def __init__(self, exchange: HTTPExchange, action: Action, names: Sequence[str], meta: Entry) -> None:
        super().__init__(exchange, action, names)
        self.meta = meta
        self._headers = dict(_SAFE)
        self._lines = exchange.accepts_lines(LINES)

    def _spelled(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None) -> Entry:
        return _entry(self.config, self.action, name, answer, request)

    def _first(self) -> None:
        if self.command is not None:
            self._headers |= {"X-Command-Id": str(self.command), "Location": f"/api/v1/commands/{self.command}"}
        if self._lines:
            self.exchange.begin_lines(self._headers, LINES)
            first = {} if self.command is None else {"command": self.command}
            self.exchange.line({"meta": {**first, "count": len(self.names), "names": self.names, **self.meta}})

    def _next(self, entry: Entry) -> None:
        if self._lines:
            self.exchange.line(entry)

    def _last(self, entries: list[Entry]) -> None:
        if self._lines:
            self.exchange.end_lines()
        else:
            self.exchange.answer(_data(entries, self.meta, self._headers))


def _look(telling: _Telling, targets: Mapping[str, Target], wait: float) -> None:
    """Have the states of nodes asked for, and tell each."""
    targets = sitecommands.look(telling, targets, wait)
    looks = [Look(target.outlets, functools.partial(telling.entry, name)) for name, target in targets.items()]
    telling.exchange.dispatcher.ask(looks)

    def late() -> None:
        telling.exchange.dispatcher.give_up(looks, wait)

    telling.exchange.within(wait, late)
    telling.begin()


def _entry(
    config: Config,
    action: Action,
    name: str,
    answer: Reading | PDUDaemonError | None,
    request: Request | None = None,
) -> Entry:
    """Return what is told of a node; ``answer`` None: done."""
    if isinstance(answer, Passed):
        return {"type": "commands", "id": name, "attributes": dict(answer.attributes)}
    node = config.nodes.get(name)
    pdu = config.pdus.get(node.feeds[0].pdu if node.feeds else name) if node else None
    error = answer.told.removeprefix(f"{name}: ") if isinstance(answer, PDUDaemonError) else None
    told: Entry = {}
    how = ""
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
        how = _how(request, node) if success else ""
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
        **({"reason": how} if how else {}),
        **({"request": request.number} if request else {}),
        **({"pending": True} if isinstance(answer, NotDone) or (request and request.ended is None) else {}),
    }
    return {"type": "commands", "id": name, "attributes": attributes}


def _how(request: Request | None, node: Node | None) -> str:
    """Return what came of a machine that was asked to shut down, empty if that was not wanted."""
    if request is None or request.soft is None or node is None:
        return ""
    said = [f"{outlet} {said}" for outlet, said in request.soft.became.items() if outlet in node.feeds]
    return request.soft.said if len(request.soft.became) == 1 else "; ".join(said)


def _data(entries: Iterable[Entry], meta: Entry | None = None, headers: Mapping[str, str] = _SAFE) -> Answer:
    whole = {"data": [*entries], **({"meta": meta} if meta else {})}
    return Answer(200, json.dumps(whole, separators=(",", ":")).encode(), dict(headers))
