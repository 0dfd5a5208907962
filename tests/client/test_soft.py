# SPDX-License-Identifier: MIT
"""``--soft`` and ``--no-hard``: what is asked for, what became of it; and that a daemon which knows neither does nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.devices.openflight import PowerServer, commands, reply, result
from tests.support.client import TOKEN, ask, client
from tests.support.process import Daemon

PROBLEM = "application/problem+json"


def node(name: str, state: str, reason: str | None = None) -> dict[str, object]:
    return {"name": name, "request": 7, "state": state, "ended": None, "reason": reason}


def test_what_is_asked_for() -> None:
    answer = {"command": 12, "action": "off", "nodes": [node("a", "done", "it shut down by itself"), node("b", "done")]}
    with PowerServer({"POST /api/v1/requests": reply(answer, "201 Created")}) as server:
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
    answer = reply({"title": "x", "detail": "y", "command": 12, "nodes": nodes}, "504 Gateway Timeout", PROBLEM)
    with PowerServer(answer) as server:
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


def machine(folder: Path, heeds: bool, script: bool = True) -> dict[str, object]:
    """Return the settings of a machine whose power is a file, and what it was told another."""
    power, told = folder / "power", folder / "told"
    power.write_text("1")
    down = f'echo 0 > "{power}"' if heeds else ":"
    return {
        "driver": "platform",
        "power_on": f'echo on >> "{told}"; echo 1 > "{power}"',
        "power_off": f'echo off >> "{told}"; echo 0 > "{power}"',
        "status": f'[ "$(cat "{power}")" = 1 ] || exit 111',
        **({"power_soft": f'echo soft >> "{told}"; {down}'} if script else {}),
    }


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Daemon:
    """Return a daemon with a machine that shuts down, one that does not, and one that cannot be asked to."""
    made = daemon({}, start=False)
    for name in ("polite", "stubborn", "mute"):
        (made.folder / name).mkdir()
        made.settings["pdus"][name] = machine(made.folder / name, name == "polite", name != "mute")
        made.settings["nodes"][name] = {"hostname": name, "port": 1}
    made.configure(made.settings)
    made.start()
    return made


def told(lab: Daemon, name: str) -> list[str]:
    """Return what a machine was told, in order."""
    path = lab.folder / name / "told"
    return path.read_text().split() if path.exists() else []


def test_a_real_daemon_tells_which_of_both_it_was(lab: Daemon) -> None:
    ran = client("off", "polite", "stubborn", "--soft", "4", f"--url=http://127.0.0.1:{lab.port}")
    assert (ran.code, ran.out) == (0, "polite   Stopping\nstubborn Stopping\n")
    assert re.search(r"^pduclient: polite: shut down by itself after \d+ s$", ran.err, re.MULTILINE)
    assert "stubborn: did not shut down within 4 s: switched off hard\n" in ran.err
    assert (told(lab, "polite"), told(lab, "stubborn")) == (["soft"], ["soft", "off"])
    record = lab.http("/api/v1/requests/1").json
    assert (record["soft"], record["hard"]) == (4.0, True) and record["reason"].startswith("shut down by itself after ")


def test_a_real_daemon_leaves_it_at_asking(lab: Daemon) -> None:
    words = ("polite", "stubborn", "--soft", "0.5", "--no-hard", f"--url=http://127.0.0.1:{lab.port}")
    ran = client("restart", *words)
    assert ran.code == 1 and ran.out.split() == "polite Restarting stubborn Failed to restart".split()
    assert "stubborn port 1 did not shut down within 0.5 s: nothing was switched" in ran.err
    assert (told(lab, "polite"), told(lab, "stubborn")) == (["soft", "on"], ["soft"])


def test_a_real_daemon_switches_nothing_that_it_cannot_shut_down_first(lab: Daemon) -> None:
    ran = client("off", "mute", "--soft", "4", f"--url=http://127.0.0.1:{lab.port}")
    assert ran.code == 1 and "mute port 1 cannot be asked to shut down" in ran.err
    assert told(lab, "mute") == []


def test_a_real_daemon_tells_that_nobody_waits_so_long(lab: Daemon) -> None:
    ran = client("off", "polite", "--soft", "99999", f"--url=http://127.0.0.1:{lab.port}")
    assert ran.code == 2 and ran.err.endswith(": soft: is not within 0 and 3600 seconds; nothing was switched\n")
    assert "leave out --soft" not in ran.err and told(lab, "polite") == []


@pytest.mark.parametrize("words", ["soft=0.5", "soft=0.5&hard=false"])
def test_the_other_routes_take_the_same_words(lab: Daemon, words: str) -> None:
    hard = "hard" not in words
    reply = lab.http(f"/power/control/off?alias=stubborn&{words}")
    assert reply.status == (200 if hard else 502), reply.text
    assert told(lab, "stubborn") == ["soft", "off"][: 1 + hard]
    entry = lab.http(f"/?nodes=polite&{words}", "DELETE").json["data"][0]["attributes"]
    assert entry["success"] and told(lab, "polite") == ["soft"]


@pytest.mark.parametrize(
    ("path", "method", "why"),
    [
        ("/power/control/on?alias=polite&soft=1", "GET", "soft: is for off and reboot, not for on"),
        ("/power/control/off?alias=polite&hard=false", "GET", "hard: means nothing without soft"),
        ("/power/control/off?alias=polite&soft=1&hard=perhaps", "GET", "hard: 'perhaps' is none of true, "),
        ("/power/control/off?alias=polite&soft=x", "GET", "soft: "),
        ("/power/control/reboot?alias=mute&soft=1", "GET", "soft: mute port 1 cannot be asked to shut down"),
        ("/?nodes=polite&soft=1", "PATCH", "soft: is for off and reboot, not for on"),
        ("/?nodes=polite&hard=no", "DELETE", "hard: means nothing without soft"),
    ],
)
def test_what_makes_no_sense_is_refused(lab: Daemon, path: str, method: str, why: str) -> None:
    reply = lab.http(path, method)
    assert reply.status >= 400 and why in reply.text
    assert told(lab, "polite") == told(lab, "mute") == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"action": "on", "soft": 1}, "soft"),
        ({"action": "off", "soft": "1"}, "soft"),
        ({"action": "off", "soft": -1}, "soft"),
        ({"action": "off", "soft": 1, "hard": 0}, "hard"),
        ({"action": "off", "hard": False}, "hard"),
    ],
)
def test_fields_that_make_no_sense_are_refused(lab: Daemon, fields: dict[str, object], field: str) -> None:
    body = json.dumps({"nodes": "polite", **fields})
    reply = lab.http("/api/v1/requests", "POST", body, Content_Type="application/json")
    assert (reply.status, reply.json["field"]) == (400, field) and told(lab, "polite") == []


def test_usage() -> None:
    for words, fault in (
        ("on a --soft 9", "argument --soft: not for command 'on'"),
        ("off a --no-hard", "argument --no-hard: not without --soft SECONDS"),
        ("off a --soft soon", "argument --soft: 'soon' is not a number of seconds"),
    ):
        ran = client(*words.split(), "--url=http://127.0.0.1:1")
        assert (ran.code, ran.out) == (2, "") and fault in ran.err
