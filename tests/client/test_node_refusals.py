# SPDX-License-Identifier: MIT
"""Servers of nodes that refuse, are none, or mean harm."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.devices.flood import Flood
from tests.devices.openflight import PowerServer, StreamServer, reply, result
from tests.support.client import ENTRY, GOES_ON, PLACES, TOKEN, ask, client
from tests.support.sampling import some


def test_a_refused_request() -> None:
    text = "Unrecognised nodes syntax: 'a&lt;b' is not a valid name: letters, digits and _ . - only"
    with PowerServer(reply(text, "400 Bad Request", "text/html;charset=utf-8")) as server:
        ran = ask(server.url, "on 'a<b'")
        assert ran == (2, "", f"pduclient: {server.url}: {text.replace('&lt;', '<')}\n")


def test_no_server() -> None:
    with PowerServer(b"nack: not a request\n") as server:
        assert ask(server.url, "list") == (2, "", f"pduclient: {server.url}: the answer is not HTTP\n")
    with PowerServer(reply("<html>the door</html>", kind="text/html")) as server:
        ran = ask(server.url, "list")
        assert ran == (2, "", f"pduclient: {server.url}: the answer is not JSON; is this the server of the nodes?\n")
    for body in ("[]", '{"data":[{"id":7}]}', "{", '{"data":7}', '{"data":[{"id":"a","attributes":7}]}'):
        with PowerServer(reply(body)) as server:
            ran = ask(server.url, "off a")
            assert ran == (2, "", f"pduclient: {server.url}: the answer is not understood{GOES_ON}\n")
    ran = client("on", "a", "--url=http://a..b")
    assert ran == (2, "", f"pduclient: http://a..b: that is not a valid host name\n{PLACES}")


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (
            "401 Unauthorized",
            "application/problem+json",
            '{"title":"t","detail":"expired yesterday"}',
            "expired yesterday",
        ),
        ("401 Unauthorized", "text/plain", "", "401 Unauthorized"),
        ("403 Forbidden", "text/plain", "", "403 Forbidden"),
        ("401 Unauthorized", "text/plain", f"no good:\n  {TOKEN}\x1b[2J\n", "no good: (token)?[2J"),
    ],
)
def test_a_refused_token(status: str, kind: str, body: str, said: str) -> None:
    with PowerServer(reply(body, status, kind)) as server:
        ran = ask(server.url, "on a")
        assert ran == (2, "", f"pduclient: {server.url}: token refused: {said}\n{ENTRY}")
        ran = ask(server.url, "on a --json")
        assert json.loads(ran.out)["error"] == f"{server.url}: token refused: {said}"


def test_what_is_not_allowed() -> None:
    with PowerServer(reply({"detail": "ci may not switch a"}, "403 Forbidden", "application/problem+json")) as server:
        assert ask(server.url, "on a") == (2, "", f"pduclient: {server.url}: not allowed: ci may not switch a\n")


def test_why_a_token_is_refused() -> None:
    why = 'WWW-Authenticate: Bearer error="invalid_token", error_description="the token has expired"'
    with PowerServer(reply("Forbidden", "403 Forbidden", "text/html;charset=utf-8", why)) as server:
        assert ask(server.url, "on a") == (
            2,
            "",
            f"pduclient: {server.url}: token refused: the token has expired\n{ENTRY}",
        )


def test_what_a_server_says_does_no_harm() -> None:
    evil = result("a\x1b[2Jb", success=False, error=f"first\nsecond \x07 {TOKEN} \x9b1m")
    with StreamServer(evil) as server:
        ran = ask(server.url, "status x")
        assert ran == (1, "a?[2Jb Unknown\n", "pduclient: a?[2Jb: first second ? (token) ?1m\n")


HOSTILE = [
    {"data": [result("\x1b[2J" * 500, error="\x1b]0;x\x07" * 5000)]},
    {"data": [result("1a" * 60000)] * 2},
    {"data": [{"id": {"\x1b": 1}, "attributes": {"success": "\x1b[2J", "error": ["\x1b[2J"], "request": "\x1b[2J"}}]},
    {"data": [{"id": "a", "attributes": []}]},
    {"data": {"\x1b[2J": 1}},
    {"data": None, "meta": 5},
    {"data": [result("a")], "meta": {"command": 10**3000, "count": 1}},
    {"nodes": [{"name": "\x1b[2J" * 500, "state": "\x1b[2J" * 500, "reason": "\x1b]0;x\x07" * 5000}]},
    {"nodes": [{"name": 7, "state": ["\x1b[2J"], "reason": {"\x1b[2J": 1}}, {}]},
    {"nodes": 7},
    {"data": [result("a")], "meta": {"missing-groups": ["\x1b[2J"], "count": 1e999}},
    {"data": [], "meta": {"count": "9" * 5000}},
    [],
    "\x1b[2J",
]


BODIES = [*map(json.dumps, HOSTILE), "[" * 100000, '{"a":' * 100000, "9" * 5000, "\ufeff{}"]
KINDS = ["application/json", "application/x-ndjson"]
COMMANDS = ["status a", "list", "list -gv", "on a --json", "cancel 7"]


@pytest.mark.parametrize(("words", "kind", "body"), some(itertools.product(COMMANDS, KINDS, BODIES), 5))
def test_a_server_that_means_harm(words: str, kind: str, body: str) -> None:
    with PowerServer(reply(body, kind=kind)) as server:
        ran = ask(server.url, words)
        lines = [*ran.out.splitlines(), *ran.err.splitlines()]
        assert ran.code in (0, 1, 2) and "Traceback" not in ran.err
        assert all(line.isprintable() and len(line) < 4000 for line in lines)
        assert len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"["),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[", b"[],"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n", b"x"),
        (b'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{"meta":{"count":9e9}}\n', b" "),
        (b"HTTP/1.1 404 No\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_an_answer_without_an_end_is_left(beginning: bytes, rest: bytes) -> None:
    with Flood(beginning, rest) as server:
        ran = client("status", "a", f"--url=http://127.0.0.1:{server.port}")
        assert ran.code in (1, 2) and len(ran.err.splitlines()) == 1 and len(ran.err) < 2000, ran
        assert server.sent < 1 << 25
