# SPDX-License-Identifier: MIT
"""``--soft`` and ``--no-hard``: what is asked for, what became of it; and that a daemon which knows neither does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.devices.openflight import PowerServer, commands, reply, result
from tests.support.client import TOKEN, ask, client
from tests.support.process import Daemon

PROBLEM = "application/problem+json"


def node(name: str, state: str, reason: str | None = None) -> dict[str, object]:
    return {"name": name, "request": 7, "state": state, "ended": None, "reason": reason}


def test_what_is_asked_for() -> None:
    told = {"command": 12, "action": "off", "nodes": [node("a", "done", "it shut down by itself"), node("b", "done")]}
    with PowerServer({"POST /api/v1/requests": reply(told, "201 Created")}) as server:
        ran = ask(server.url, "off a b --soft 120")
        assert ran == (0, "a Stopping\nb Stopping\n", "pduclient: a: it shut down by itself\n")
        request = server.requests[0]
        assert json.loads(request.body) == {"action": "off", "nodes": "a,b", "soft": 120.0}
        assert request.headers["content-type"] == "application/json" and len(request.headers["idempotency-key"]) == 36
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        words = "restart -g lab -x b --soft 2.5 --no-hard --timeout 9 --key k"
        assert ask(server.url, words).out == "a Restarting\nb Restarting\n"
        asked = {"action": "reboot", "nodes": "@lab!b", "soft": 2.5, "hard": False, "wait": 9.0}
        assert json.loads(server.requests[1].body) == asked
        assert server.requests[1].headers["idempotency-key"] == "k"
        ran = ask(server.url, "off -g lab --soft 1 --no-wait")
        assert ran.out == "12\n" and json.loads(server.requests[2].body)["groups"] == "lab"


def test_what_became_of_it() -> None:
    nodes = [
        node("a", "done"),
        node("b", "failed", "no answer"),
        node("c", "waiting", "asked"),
        node("d", "refused", "no"),
    ]
    told = reply({"title": "x", "detail": "y", "command": 12, "nodes": nodes}, "504 Gateway Timeout", PROBLEM)
    with PowerServer(told) as server:
        ran = ask(server.url, "off -f a b c d --soft 9")
        assert ran.out == "stopping: a\nunder way: c\nfailed to stop: b,d\n" and ran.code == 1
        assert ran.err == "pduclient: b: no answer\npduclient: c: asked\npduclient: d: no\n"
        assert json.loads(ask(server.url, "off a --soft 9 --json").out)["id"] == 12
    with PowerServer(reply({"command": 12, "nodes": [node("a", "accepted")]}, "202 Accepted")) as server:
        assert ask(server.url, "off a --soft 9 --no-wait") == (0, "12\n", "")


@pytest.mark.parametrize(
    "answer",
    [
        reply("<h1>Not Found</h1>", "404 Not Found", "text/html;charset=utf-8"),
        reply({"detail": "POST is not for this path: nothing was done"}, "405 Method Not Allowed", PROBLEM),
        reply({"detail": "soft: there is no such field", "field": "soft"}, "400 Bad Request", PROBLEM),
        reply({"detail": "locked"}, "403 Forbidden", PROBLEM),
        commands(result("a")),
        reply("?"),
    ],
)
@pytest.mark.parametrize("action", ["off", "restart"])
def test_a_server_that_does_not_know_of_this(action: str, answer: bytes) -> None:
    with PowerServer(answer) as server:
        ran = ask(server.url, f"{action} a --soft 9")
        assert (ran.code, ran.out) == (2, "") and ran.err.endswith("; nothing was switched\n")
        assert server.asked == ["POST /api/v1/requests"]


def test_the_daemon_switches_nothing_that_it_cannot_shut_down_first(daemon: Callable[..., Daemon]) -> None:
    lab = daemon({}, nodes={"board": {"hostname": "rack", "port": 1}}, start=False)
    lab.settings["pdus"] = {"rack": {"driver": "dummy", "file": str(lab.folder / "outlets")}}
    lab.configure(lab.settings)
    (lab.folder / "outlets").write_text('{"1": "on"}')
    lab.start()
    ran = client("off", "board", "--soft", "1", f"--url=http://127.0.0.1:{lab.port}")
    if ran.code:
        assert (ran.code, ran.out, lab.outlets()) == (2, "", {"1": "on"})
        assert "cannot shut machines down first: leave out --soft" in ran.err


def test_usage() -> None:
    for words, fault in (
        ("on a --soft 9", "argument --soft: not for command 'on'"),
        ("off a --no-hard", "argument --no-hard: not without --soft SECONDS"),
        ("off a --soft soon", "argument --soft: 'soon' is not a number of seconds"),
    ):
        ran = client(*words.split(), "--url=http://127.0.0.1:1")
        assert (ran.code, ran.out) == (2, "") and fault in ran.err
