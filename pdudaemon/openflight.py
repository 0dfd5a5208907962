# SPDX-License-Identifier: MIT
"""The HTTP API of OpenFlight Power's power-server, as its client and existing scripts know it.

``GET``, ``PATCH``, ``DELETE`` and ``PUT /?nodes=…&groups=…`` are status, on, off and restart; ``GET /nodes`` and ``GET
/groups`` list what there is. The answer is 200 whatever became of the nodes: each has an entry that says so.

Beyond the original: ``error`` and, for requests, ``request`` (the id) in each entry; ``meta`` with the groups that
there are not; ``wait=`` seconds; and for who accepts ``application/x-ndjson`` a line for each node as soon as it is
known, after one whose ``meta`` has their names in order.
"""

from __future__ import annotations

import html
import itertools
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pdudaemon.config import Config
from pdudaemon.dispatcher import Dispatcher
from pdudaemon.errors import Denied, DeviceTimeout, PDUDaemonError, RequestError
from pdudaemon.httpmessage import Answer, Exchange, Route
from pdudaemon.listener import LONGEST_WAIT, REBOOT_DELAY, duration
from pdudaemon.power import Action, Outlet, Reading, Request, State, Target, together

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
        entries = _carried_out(exchange, action, wanted, PATIENCE if wait is None else wait)
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
    requests: dict[str, Request] = {}
    refused = []
    delay = REBOOT_DELAY if action is Action.REBOOT else 0.0
    for name in names:
        try:
            if len(names) > MOST_GUESSES and name not in dispatcher.config.nodes:
                raise RequestError(f"there is no alias or node {name!r}")
            targets[name] = dispatcher.config.node(name)
            if action is not Action.STATUS:
                requests[name] = dispatcher.submit(action, targets[name], delay, exchange.client)
        except PDUDaemonError as error:
            targets.pop(name, None)
            if action is not Action.STATUS:
                log.warning("%s %s from %s: %s", _NAMES[action], name, exchange.client, error)
            refused.append(_entry(dispatcher.config, action, name, error))
    if action is Action.STATUS:
        return itertools.chain(refused, _states(dispatcher, targets, wait))
    return itertools.chain(refused, _results(dispatcher, action, requests, wait))


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


def _results(dispatcher: Dispatcher, action: Action, requests: Mapping[str, Request], wait: float) -> Iterator[Entry]:
    names = {request: name for name, request in requests.items()}
    for request, answer in dispatcher.gather([*names], wait):
        if isinstance(request, Request):
            trouble = answer if isinstance(answer, PDUDaemonError) else None
            yield _entry(dispatcher.config, action, names.pop(request), trouble, request)
    for request, name in names.items():
        late = DeviceTimeout(f"accepted as request {request.id}, but not done within {wait:g} s")
        yield _entry(dispatcher.config, action, name, late, request)


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
    }
    return {"type": "commands", "id": name, "attributes": attributes}


def _data(entries: Iterable[Entry], meta: Entry | None = None) -> Answer:
    whole = {"data": [*entries], **({"meta": meta} if meta else {})}
    return Answer(200, json.dumps(whole, separators=(",", ":")).encode(), dict(_SAFE))
