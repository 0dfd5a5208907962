# SPDX-License-Identifier: MIT
"""A command of nodes has an ID, by which ``pduclient cancel`` takes back what has not begun."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, commands, reply, result
from tests.support.client import PLACES, TOKEN, ask, client
from tests.support.process import eventually
from tests.support.terminal import terminal

HINT = "command 7 goes on; pduclient cancel 7 takes back what has not begun"
USAGE = "Usage: pduclient cancel ID [options]\n"


def command(*nodes: tuple[str, str, str | None], state: str = "running") -> dict[str, Any]:
    """Return a command's document; of each node the name, the state and the reason."""
    listed = [{"name": name, "request": n, "state": now, "reason": why} for n, (name, now, why) in enumerate(nodes, 40)]
    return {"id": 7, "action": "off", "state": state, "nodes": listed}


# Ctrl-C, and what else leaves a command behind


def test_interrupt_tells_the_command() -> None:
    with StreamServer(result("node01", "power_on"), count=3, command=7, end=End.HOLD) as server:
        with terminal(server.url, "on node[01-03]") as client:
            eventually(lambda: "1 of 3" in client.screen)
            client.process.send_signal(signal.SIGINT)
            ran = client.end()
        assert (ran.code, ran.out) == (130, "node01 Starting\n")
        assert ran.err.endswith(f"\r\x1b[Kpduclient: node[02-03]: not known: interrupted: {HINT}\n")
        with terminal(server.url, "restart -y node[01-03] --json") as client:
            eventually(lambda: "1 of 3" in client.screen)
            client.process.send_signal(signal.SIGINT)
            document = json.loads(client.end().out)
        assert document["id"] == 7 and document["error"] == f"node[02-03]: not known: interrupted: {HINT}"


def test_a_stream_that_breaks_off_tells_the_command() -> None:
    with StreamServer(result("a", "power_off"), count=2, command=7, end=End.RESET) as server:
        ran = ask(server.url, "off a,b")
        assert (ran.code, ran.err) == (1, f"pduclient: b: not known: Connection reset by peer; {HINT}\n")
    with StreamServer(result("a", "power_off"), count=2, command=7, end=End.HOLD) as server:
        ran = ask(server.url, "off a,b --timeout 0.2")
        assert (ran.code, ran.err) == (1, f"pduclient: b: not known: no answer within 0.2 s; {HINT}\n")


@pytest.mark.parametrize("odd", ["7", -1, 10**18, True, [7]])
def test_an_id_that_is_none_is_not_told(odd: object) -> None:
    with StreamServer(result("a", "power_off"), count=2, command=odd, end=End.SHORT) as server:
        ran = ask(server.url, "off a,b --json")
        assert "cancel" not in ran.err and "id" not in json.loads(ran.out)


def test_the_id_of_a_command_that_has_ended_stands_in_json_alone() -> None:
    meta = {"command": 7}
    for server in (StreamServer(result("a", "power_on"), command=7), PowerServer(commands(result("a"), meta=meta))):
        with server:
            ran = ask(server.url, "on a --json")
            assert (ran.code, json.loads(ran.out)["id"], ran.err) == (0, 7, "")
            assert ask(server.url, "on a") == (0, "a Starting\n", "")


# pduclient cancel


@pytest.mark.parametrize(
    ("document", "code", "out"),
    [
        (
            command(("node01", "done", None), ("node02", "cancelled", None), state="ended"),
            0,
            "node01 Done\nnode02 Cancelled\n",
        ),
        (
            command(("a", "cancelled", "request 40 was cancelled"), ("node02", "running", "apc7: the off is sent")),
            1,
            "a      Cancelled (request 40 was cancelled)\nnode02 Already begun (apc7: the off is sent)\n",
        ),
        (command(("a", "accepted", None)), 1, "a Already begun\n"),
        (command(("a", "failed", "no"), ("b", "given up", None), state="ended"), 0, "a Failed (no)\nb Given up\n"),
    ],
)
def test_cancel(document: dict[str, Any], code: int, out: str) -> None:
    with PowerServer(reply(document)) as server:
        assert ask(server.url, "cancel 7") == (code, out, "")
        assert server.asked == ["DELETE /api/v1/commands/7"]
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        ran = ask(f"{server.url}/power", "cancel --json 7")
        assert (ran.code, json.loads(ran.out), ran.err) == (code, document, "")
        assert server.asked[1] == "DELETE /power/api/v1/commands/7"


def test_there_is_no_such_command() -> None:
    for answer in (reply("?", "404 Not Found"), reply({"title": "x"}, "404 Not Found", "application/problem+json")):
        with PowerServer(answer) as server:
            error = f"{server.url}: there is no command 7"
            assert ask(server.url, "cancel 7") == (1, "", f"pduclient: {error}\n")
            ran = ask(server.url, "cancel 7 --json")
            assert json.loads(ran.out) == {"command": "cancel", "ok": False, "error": error} and ran.code == 1


def test_cancel_that_fails() -> None:
    with PowerServer(reply({"detail": f"not for {TOKEN}"}, "403 Forbidden", "application/problem+json")) as server:
        ran = ask(server.url, "cancel 7")
        assert ran == (2, "", f"pduclient: {server.url}: not allowed: not for (token)\n")
    with PowerServer(reply({"id": 7})) as server:
        assert ask(server.url, "cancel 7") == (2, "", f"pduclient: {server.url}: the answer is not understood\n")
    deep = '{"nodes": [], "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    with PowerServer(reply(deep)) as server:
        ran = ask(server.url, "cancel 7 --json")
        assert (ran.code, ran.err) == (2, f"pduclient: {server.url}: the answer is not understood\n")
    url = "http://127.0.0.1:1"
    assert client("cancel", "7", "--url", url) == (2, "", f"pduclient: {url}: Connection refused\n{PLACES}")
    with StreamServer(end=End.HOLD) as server:
        server.lines = []
        with terminal(server.url, "cancel 7") as waiting:
            eventually(lambda: server.asked)
            waiting.process.send_signal(signal.SIGINT)
            assert waiting.end() == (130, "", "pduclient: interrupted\n")


@pytest.mark.parametrize(
    ("words", "err"),
    [
        ("cancel", f"{USAGE}pduclient: error: insufficient arguments for command 'cancel'\n"),
        ("cancel 7 8", f"{USAGE}pduclient: error: excess arguments for command 'cancel'\n"),
        ("cancel 7 --fold", f"{USAGE}pduclient: error: unrecognized arguments: --fold\n"),
        ("cancel node01", "pduclient: 'node01' is not the ID of a command, which is a number\n"),
        ("cancel 7/../8", "pduclient: '7/../8' is not the ID of a command, which is a number\n"),
    ],
)
def test_what_cannot_be_cancelled(words: str, err: str) -> None:
    assert client(*words.split()) == (2, "", err)


def test_help() -> None:
    ran = client("cancel", "-h")
    assert (ran.code, ran.err) == (0, "") and ran.out.startswith(USAGE)
    assert "|cancel -h" in client("help").out and max(map(len, ran.out.splitlines())) < 80


# The key


def test_each_run_that_switches_has_a_key_of_its_own() -> None:
    with PowerServer(commands(result("a"))) as server:
        for words in ("on a", "off a", "restart a", "on a"):
            assert ask(server.url, words).err == ""
        keys = [request.headers["idempotency-key"] for request in server.requests]
        assert len({*keys}) == 4 and all(len(key) == 36 for key in keys)
        assert ask(server.url, "on -v a").err == f"pduclient: key: {server.requests[-1].headers['idempotency-key']}\n"
        for words in ("status -v a", "status --key k a"):
            assert ask(server.url, words).err == "" and "idempotency-key" not in server.requests[-1].headers


def test_a_key_that_is_given() -> None:
    with PowerServer(commands(result("a"))) as server:
        assert ask(server.url, "on a --key k:1/2").code == 0
        assert server.requests[0].headers["idempotency-key"] == "k:1/2"
        for key in ("'a b'", "a\\\nX-Evil:1", "k" * 256, "'\N{MICRO SIGN}'"):
            ran = ask(server.url, f"on a --key {key}")
            assert (ran.code, ran.out) == (2, "") and "a key is made of" in ran.err
        assert len(server.asked) == 1
