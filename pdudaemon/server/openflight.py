# SPDX-License-Identifier: MIT
"""The HTTP API of OpenFlight Power's power-server, as its client and existing scripts know it.

``GET``, ``PATCH``, ``DELETE`` and ``PUT /?nodes=…&groups=…`` are status, on, off and restart; ``GET /nodes`` and ``GET
/groups`` list what there is. The answer is 200 whatever became of the nodes: each has an entry that says so.

Beyond the original: ``error`` and, for requests, ``request`` (the id) in each entry, and ``pending`` (true) while that
goes on; ``meta`` with the groups that there are not; ``wait=`` seconds; and for who accepts ``application/x-ndjson`` a
line for each node as soon as it is known, after one whose ``meta`` has their names in order.

A command switches each outlet once: nodes that share one are one request, and each is told what became of its own.
"""

from __future__ import annotations

import functools
import html
import itertools
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pdudaemon.config.model import LONGEST_WAIT, Config
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.errors import (
    Denied,
    DeviceTimeout,
    Locked,
    NotDone,
    PDUDaemonError,
    RequestError,
    both,
)
from pdudaemon.power import (
    Action,
    Outcome,
    Outlet,
    Reading,
    Request,
    State,
    Target,
    together,
)
from pdudaemon.server.httpmessage import Answer, Exchange, Route
from pdudaemon.server.listener import REBOOT_DELAY, duration

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

NOT_FOUND = Answer(404, b"<h1>Not Found</h1>", _SAFE, _HTML)

Entry = dict[str, Any]


def forbidden(error: Denied, authorization: str) -> Answer:
    """Return the refusal as recorded; a header says why, which the body does not."""
    why = f' error="invalid_token", error_description="{error}"' if authorization else ""
    headers = {"WWW-Authenticate": f"Bearer{why}"} if error.http_status == 401 else {}
    return Answer(403, b"Forbidden", {**_SAFE, **headers}, _HTML)


def _not_understood(text: str) -> Answer:
    return Answer(400, html.escape(text, quote=False).encode(), _SAFE, _HTML)


def nodes(exchange: Exchange, _: str) -> Answer:
    """``GET /nodes``: every node, in the order of the configuration."""
    found = exchange.listener.dispatcher.config.nodes
    return _data({"type": "nodes", "id": name, "attributes": {"name": name}} for name in found)


def groups(exchange: Exchange, _: str) -> Answer:
    """``GET /groups``: every group with its nodes."""
    found = exchange.listener.dispatcher.config.groups
    return _data(
        {"type": "groups", "id": name, "attributes": {"name": name, "nodes": members}}
        for name, members in found.items()
    )


def _command(action: Action) -> Route:
    def answered(exchange: Exchange, _: str) -> Answer:
        config = exchange.listener.dispatcher.config
        try:
            wait = duration(exchange.words, "wait", LONGEST_WAIT)
        except RequestError as error:
            return _not_understood(str(error))
        try:
            word = "nodes"
            names, missing = config.named(exchange.words.get(word, ""))
            word = "groups"
            members, absent = config.named("", exchange.words.get(word, ""))
        except ValueError as error:
            return _not_understood(f"Unrecognised {word} syntax: {error}")
        wanted = list(dict.fromkeys(names + members))
        meta = {"missing-groups": missing + absent} if missing or absent else {}
        if wait is None:
            wait = PATIENCE if action is Action.STATUS else min(PATIENCE, config.daemon.wait)
        entries = _carried_out(exchange, action, wanted, wait)
        if LINES in exchange.accept:
            first: Entry = {"meta": {"count": len(wanted), "names": wanted, **meta}}
            return Answer(200, b"", dict(_SAFE), LINES, itertools.chain([first], entries))
        by_name = {entry["id"]: entry for entry in entries}
        return _data((by_name[name] for name in wanted), meta)

    return Route(answered, switches=action is not Action.STATUS)


COMMANDS: Mapping[str, Route] = {
    "GET": _command(Action.STATUS),
    "HEAD": _command(Action.STATUS),
    "PATCH": _command(Action.ON),
    "DELETE": _command(Action.OFF),
    "PUT": _command(Action.REBOOT),
}


def _carried_out(exchange: Exchange, action: Action, names: Collection[str], wait: float) -> Iterator[Entry]:
    """Have requests accepted, and yield an entry for each node as soon as it is known what became of it."""
    dispatcher = exchange.listener.dispatcher
    targets: dict[str, Target] = {}
    refused = []
    for name in names:
        try:
            if len(names) > MOST_GUESSES and not dispatcher.config.knows(name):
                raise RequestError(f"there is no alias or node {name!r}")
            targets[name] = dispatcher.config.node(name)
            if action is not Action.STATUS and targets[name].locked:
                raise Locked(targets[name].locked)
        except PDUDaemonError as error:
            targets.pop(name, None)
            refused.append(_refused(exchange, action, name, error))
    if action is Action.STATUS:
        return itertools.chain(refused, _states(dispatcher, targets, wait))
    told = _commanded(exchange, action, targets, wait)
    next(told)  # by now all are accepted, or refused: the rest is told as it comes in
    return itertools.chain(refused, told)


def _refused(exchange: Exchange, action: Action, name: str, error: PDUDaemonError) -> Entry:
    if action is not Action.STATUS:
        log.warning("%s %s from %s: %s", _NAMES[action], name, exchange.client, error)
    return _entry(exchange.listener.dispatcher.config, action, name, error)


def _commanded(exchange: Exchange, action: Action, targets: Mapping[str, Target], wait: float) -> Iterator[Entry]:
    """Yield an empty entry when all are accepted or refused, then one for each node. Takes its seat for all of that."""
    dispatcher = exchange.listener.dispatcher
    delay = REBOOT_DELAY if action is Action.REBOOT else 0.0
    requests: dict[Request, list[str]] = {}
    refused = []
    with dispatcher.seat() as seat:
        for names in _sharing(targets):
            try:
                whole = Target.joined([targets[name] for name in names])
                if wait:
                    seat.take({outlet.pdu for outlet in whole.outlets})
                requests[dispatcher.submit(action, whole, delay, exchange.client)] = names
            except PDUDaemonError as error:
                refused += [_refused(exchange, action, name, error) for name in names]
        yield {}
        yield from refused
        left = dict(requests)
        for request, answer in dispatcher.gather([*requests], wait, seat) if wait else ():
            if isinstance(request, Request):
                trouble = answer if isinstance(answer, PDUDaemonError) else None
                for name in left.pop(request):
                    yield _result(dispatcher.config, action, name, targets[name], request, trouble)
        for request, names in left.items():
            trouble = dispatcher.so_far(request, wait) if wait else None
            for name in names:
                yield _result(dispatcher.config, action, name, targets[name], request, trouble)


def _sharing(targets: Mapping[str, Target]) -> list[list[str]]:
    """Return the names in order, those together that have outlets in common, if only by way of others."""
    found: dict[Outlet, list[str]] = {}  # those that an outlet belongs to; a list is shared by all its outlets
    for name, target in targets.items():
        first, *others = {id(names): names for o in target.outlets if (names := found.get(o))}.values() or ([],)
        for each in itertools.chain([name], *others):
            first.append(each)
            found.update(dict.fromkeys(targets[each].outlets, first))
    return [*{id(names): names for names in found.values()}.values()]


def _states(dispatcher: Dispatcher, targets: Mapping[str, Target], wait: float) -> Iterator[Entry]:
    left = dict(targets)
    waiting: dict[Outlet, list[str]] = {}
    for name, target in targets.items():
        for outlet in target.outlets:
            waiting.setdefault(outlet, []).append(name)
    answers: dict[Outlet, Reading | PDUDaemonError] = {}

    def entry(name: str, late: PDUDaemonError | None = None) -> Entry:
        feeds = [(outlet, answers.get(outlet, late)) for outlet in left.pop(name).outlets]
        try:
            reading: Reading | PDUDaemonError = together([(outlet, each) for outlet, each in feeds if each is not None])
        except PDUDaemonError as error:
            reading = error
        return _entry(dispatcher.config, Action.STATUS, name, reading)

    for asked, answer in dispatcher.gather(waiting, wait):
        if isinstance(asked, Outlet) and answer is not None:
            answers[asked] = answer
            for name in waiting[asked]:
                if all(each in answers for each in left[name].outlets):
                    yield entry(name)
    for name in [*left]:
        yield entry(name, DeviceTimeout(f"no answer within {wait:g} s"))


def _result(
    config: Config, action: Action, name: str, target: Target, request: Request, trouble: PDUDaemonError | None
) -> Entry:
    """Return the entry for a node by what became of the request that it may share with others; None: done."""
    told = [request.results[outlet] for outlet in target.outlets if outlet in request.results]
    if trouble is not None and request.outcome in _BY_OUTLET and len(told) == len(target.outlets):
        own = [error for error in told if error is not None]
        trouble = functools.reduce(both, own) if own else None
    return _entry(config, action, name, trouble, request)


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


def _data(entries: Iterable[Entry], meta: Entry | None = None) -> Answer:
    whole = {"data": [*entries], **({"meta": meta} if meta else {})}
    return Answer(200, json.dumps(whole, separators=(",", ":")).encode(), dict(_SAFE))
