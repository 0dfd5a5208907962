# SPDX-License-Identifier: MIT
"""``pduclient pdus``, ``outlets``, ``show`` and ``history``, against a stand-in that speaks the shapes of the API."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.devices.openflight import PowerServer, reply
from tests.support.client import TOKEN, ask, client

OUTLET: dict[str, Any] = {
    "pdu": "apc7",
    "port": "3",
    "name": "router",
    "nodes": ["board7"],
    "locked": False,
    "reason": None,
    "state": "on",
    "source": "device",
    "time": 1.0,
    "age": 4.2,
    "watts": 12.34,
    "volts": 230.0,
    "amps": 0.05,
    "watt_hours": None,
    "readings_age": 4.2,
}
OUTLETS = [
    OUTLET,
    {**OUTLET, "port": "10", "name": None, "nodes": ["n10", "n9"], "state": "off", "source": "commanded", "watts": 0},
    {**OUTLET, "port": "11", "name": "core", "nodes": [], "locked": True, "reason": "core switch", "age": 7300},
    {**OUTLET, "port": "12", "name": "", "nodes": [], "state": "unknown", "source": "none", "age": None, "watts": None},
]
PDU: dict[str, Any] = {
    "name": "apc7",
    "driver": "apc_rpdu2",
    "state": "ready",
    "reason": None,
    "readable": True,
    "requests": 2,
    "reachable": True,
    "outlets": 24,
    "watts": 312.7,
    "age": 31,
}
NODE: dict[str, Any] = {
    "name": "board7",
    "groups": ["demo", "rack1"],
    "feeds": [OUTLET],
    "state": "on",
    "source": "device",
    "time": 1.0,
    "age": 4.2,
    "locked": False,
    "reason": None,
    "last_request": None,
}
REQUEST: dict[str, Any] = {
    "id": 17,
    "action": "reboot",
    "target": "board7 (apc7:3)",
    "state": "failed",
    "accepted": 1_700_000_000.0,
    "ended": 1_700_000_012.0,
    "client": "127.0.0.1:4711 (anna)",
    "reason": "apc7: connection refused",
    "command": None,
}
OLD = reply({"title": "Not Found", "detail": "there is nothing at '/x'"}, "404 Not Found", "application/problem+json")
STRANGE = reply("<h1>Not Found</h1>", "404 Not Found", "text/html;charset=utf-8")


def test_pdus() -> None:
    stuck = {**PDU, "name": "b", "state": "stuck", "reason": "still at it", "watts": None, "age": None, "outlets": None}
    away = {**PDU, "name": "c", "reachable": False, "reason": "no answer", "requests": 0}
    with PowerServer({"GET /api/v1/pdus?limit=1000": reply([PDU, stuck, away])}) as server:
        assert ask(server.url, "pdus") == (
            0,
            "PDU   DRIVER     STATE        OUTLETS  WATTS   AGE  WAITING  REASON\n"
            "apc7  apc_rpdu2  ready             24    313  31 s        2\n"
            "b     apc_rpdu2  stuck              -      -     -        2  still at it\n"
            "c     apc_rpdu2  unreachable       24    313  31 s        0  no answer\n",
            "",
        )
        assert ask(server.url, "pdus --names").out == "apc7\nb\nc\n"
        document = {"command": "pdus", "ok": True, "pdus": [PDU, stuck, away], "error": None}
        assert json.loads(ask(server.url, "pdus --json").out) == document
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_pdus_of_an_older_daemon() -> None:
    """It has the list, and knows less."""
    old = {word: PDU[word] for word in ("name", "driver", "state", "reason", "readable", "requests")}
    with PowerServer({"GET /api/v1/pdus?limit=1000": reply([old])}) as server:
        heading, line = ask(server.url, "pdus").out.splitlines()
        assert line.split() == ["apc7", "apc_rpdu2", "ready", "-", "-", "-", "2"] and "REASON" not in heading


def test_pdus_in_pages() -> None:
    pages = [[{**PDU, "name": f"pdu {n:04}"} for n in range(begin, end)] for begin, end in ((0, 1000), (1000, 1500))]
    replies = {"GET /api/v1/pdus?limit=1000": pages[0], "GET /api/v1/pdus?limit=1000&after=pdu%200999": pages[1]}
    with PowerServer({first: reply(page) for first, page in replies.items()}) as server:
        names = ask(server.url, "pdus --names").out.splitlines()
        assert names == [f"pdu {n:04}" for n in range(1500)] and len(server.asked) == 2


def test_outlets() -> None:
    identity = {"maker": "APC", "model": "AP7921", "serial": "ZA1", "firmware": "3.9.2", "driver": "apc_rpdu2"}
    inlets = [{"name": None, "kind": "total", "watts": 312.7, "volts": 231.0, "amps": 1.35, "watt_hours": 5}]
    whole = {**PDU, "identity": identity, "inlets": inlets, "outlets": OUTLETS}
    with PowerServer({"GET /api/v1/pdus/apc7": reply(whole), "GET /api/v1/pdus/apc7?fresh=1": reply(whole)}) as server:
        ran = ask(server.url, "outlets apc7")
        assert ran == (
            0,
            "PORT  NAME    NODE     STATE          WATTS  AGE  REMARK\n"
            "3     router  board7   on              12.3  4 s\n"
            "10            n[9-10]  off (as told)      0  4 s\n"
            "11    core             on              12.3  2 h  locked: core switch\n"
            "12                     unknown            -    -\n",
            "",
        )
        ran = ask(server.url, "outlets apc7 --fresh -v")
        made = "apc7: apc_rpdu2, APC, AP7921, serial ZA1, firmware 3.9.2, ready\ntotal: 313 W, 231 V, 1.4 A\n\nPORT"
        assert ran.out.startswith(made) and server.asked[1] == "GET /api/v1/pdus/apc7?fresh=1"
        document = {"command": "outlets", "ok": True, "pdu": whole, "error": None}
        assert json.loads(ask(server.url, "outlets apc7 --json").out) == document


def test_show() -> None:
    replies = {"GET /api/v1/nodes/board7": NODE, "GET /api/v1/requests?node=board7&limit=5": [REQUEST]}
    with PowerServer({first: reply(page) for first, page in replies.items()}) as server:
        ran = ask(server.url, "show board7", TZ="UTC")
        assert ran == (
            0,
            "board7: on, 4 s ago; in @demo, @rack1\n"
            "\n"
            "PDU   PORT  NAME    STATE  WATTS  AGE\n"
            "apc7  3     router  on      12.3  4 s\n"
            "\n"
            "ID  ACCEPTED             ACTION  TARGET  STATE   TOOK  CLIENT            REASON\n"
            "17  2023-11-14 22:13:20  reboot  board7  failed  12 s  127.0.0.1 (anna)  apc7: connection refused\n",
            "",
        )
        document = {"command": "show", "ok": True, "node": NODE, "requests": [REQUEST], "error": None}
        assert json.loads(ask(server.url, "show board7 --json").out) == document
    locked = {**NODE, "locked": True, "reason": "mine", "groups": [], "age": None, "state": "unknown"}
    replies = {"GET /api/v1/nodes/board7": locked, "GET /api/v1/requests?node=board7&limit=5": []}
    with PowerServer({first: reply(page) for first, page in replies.items()}) as server:
        lines = ask(server.url, "show board7").out.splitlines()
        assert lines[:2] == ["board7: unknown", "locked: mine"] and lines[-1].startswith("Nothing has been asked")


def test_history() -> None:
    done = {**REQUEST, "id": 18, "action": "on", "state": "done", "reason": None, "ended": None}
    with PowerServer({"": reply([done, REQUEST])}) as server:

        def asked(words: str) -> dict[str, str]:
            ran = ask(server.url, f"history {words}")
            assert (ran.code, ran.err) == (0, "")
            assert [line.split()[0] for line in ran.out.splitlines()] == ["ID", "17", "18"]
            target = urlsplit(server.requests[-1].target)
            assert target.path == "/api/v1/requests"
            return {word: values[-1] for word, values in parse_qs(target.query).items()}

        assert asked("") == {"limit": "50"}
        assert asked("'board[1-7]!board3' -x x --limit 7".replace(" -x x", "")) == {
            "limit": "7",
            "node": "board[1-7]!board3",
        }
        assert asked("--failed") == {"limit": "50", "state": "failed,given up,expired,interrupted"}
        now = time.time()
        assert abs(float(asked("--since 2h")["since"]) - (now - 7200)) < 60
        assert abs(float(asked("--until 90min")["until"]) - (now - 5400)) < 60
        since = time.localtime(float(asked("--since yesterday")["since"]))
        assert (since.tm_hour, since.tm_min, since.tm_sec) == (0, 0, 0)
        assert asked("--since 2026-11-30T14:00:00+01:00")["since"] == "1796043600.0"
        assert asked("--since 2026-11-30T13:00:00Z --until 2026-11-30T13:00:00Z")["until"] == "1796043600.0"
    with PowerServer({"": reply([])}) as server:
        assert ask(server.url, "history") == (0, "", "pduclient: nothing of that kind is remembered\n")
        for words, fault in (
            ("--since tomorrow", "'tomorrow' is no time such as 2h, yesterday,"),
            ("--since 2026-13-01", "'2026-13-01' is no time"),
            ("--limit 0", "'0' is not within 1 and 1000"),
            ("--limit x", "'x' is not within 1 and 1000"),
        ):
            ran = ask(server.url, f"history {words}")
            assert (ran.code, ran.out) == (2, "") and fault in ran.err


@pytest.mark.parametrize("words", ["outlets apc7", "show board7", "history board7"])
@pytest.mark.parametrize(
    "answer",
    [
        OLD,
        STRANGE,
        reply({"detail": "unknown parameter 'node'"}, "400 Bad Request", "application/problem+json"),
    ],
)
def test_a_server_that_does_not_know_of_this(words: str, answer: bytes) -> None:
    with PowerServer({"": answer}) as server:
        ran = ask(server.url, words)
        assert (ran.code, ran.out) == (2, "") and len(ran.err.splitlines()) == 1
        why = "the server does not know of this; it takes a PDUDaemon that is as new as this pduclient\n"
        assert ran.err.startswith(f"pduclient: {server.url}: {words.split()[0]}") and ran.err.endswith(why)


def test_what_there_is_not() -> None:
    gone = reply({"detail": "there is no PDU 'apc7'"}, "404 Not Found", "application/problem+json")
    with PowerServer({"": gone}) as server:
        hint = "pduclient: pduclient pdus names those that there are\n"
        assert ask(server.url, "outlets apc7") == (1, "", f"pduclient: {server.url}: there is no PDU 'apc7'\n{hint}")
        assert ask(server.url, "outlets ../x").code == 1 and server.asked[-1] == "GET /api/v1/pdus/..%2Fx"
        document = json.loads(ask(server.url, "show b --json").out)
        assert document == {"command": "show", "ok": False, "error": f"{server.url}: there is no PDU 'apc7'"}


@pytest.mark.parametrize("words", ["pdus", "outlets a", "show a", "history", "outlets a -v --fresh"])
@pytest.mark.parametrize(
    "body",
    [
        "7",
        '"x"',
        "{}",
        "[7]",
        '[{"name": "\x7f"}]',
        '{"outlets": [7]}',
        "[" * 100000,
        json.dumps({"name": ["\x1b[2J"], "driver": {}, "state": "\x1b[2J" * 900, "outlets": [{**OUTLET, "nodes": 7}]}),
        json.dumps([{**PDU, "name": "\x1b[2J" * 500, "watts": "\x1b[2J", "age": 1e308, "requests": [1], "reason": {}}]),
        json.dumps({**NODE, **PDU, "outlets": [{**OUTLET, "name": "\x1b]0;x\x07" * 900, "port": 7, "age": -1e400}]}),
        json.dumps([{**REQUEST, "id": "\x1b[2J", "accepted": 1e300, "ended": "\x1b[2J", "client": ["\x1b[2J"]}]),
    ],
)
def test_a_server_that_means_harm(words: str, body: str) -> None:
    with PowerServer({"": reply(body)}) as server:
        ran = ask(server.url, words)
        assert ran.code in (0, 2) and "Traceback" not in ran.err
        assert all(line.isprintable() and len(line) < 4000 for line in [*ran.out.splitlines(), *ran.err.splitlines()])


def test_usage() -> None:
    for words in ("outlets", "show", "show a b", "pdus x", "pdus --fold", "history --fresh"):
        ran = client(*words.split(), "--url=http://127.0.0.1:1")
        assert (ran.code, ran.out) == (2, "") and ran.err.startswith(f"Usage: pduclient {words.split()[0]}")
    for word in ("pdus", "outlets", "show", "history", "watch"):
        ran = client(word, "-h")
        assert (ran.code, ran.err) == (0, "") and max(map(len, ran.out.splitlines())) < 80
        assert client("help", word) == ran
