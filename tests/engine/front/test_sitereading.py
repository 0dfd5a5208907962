# SPDX-License-Identifier: MIT
"""What a site tells of itself is taken in within bounds, or the site is told as one that cannot be asked, and why."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine.front.sitereading import MOST
from tests.support.fronts import order
from tests.support.lyingsite import HAS, NODE, OUTLET, PDU, LyingSite, events, reply, slowly
from tests.support.process import Daemon, eventually

MUCH = 150 * 1024  # KiB that a front may need more for what is too much
Lie = Callable[[], bytes | Iterable[bytes]]


def front_of(daemon: Callable[..., Daemon], site: LyingSite, **options: Any) -> Daemon:
    """Start a front of a site; it has a PDU of its own."""
    front = daemon({"own": {"driver": "dummy"}}, nodes={"mine": {"hostname": "own", "port": 1}}, start=False)
    front.configure({**front.settings, "sites": {"berlin": {"url": site.url, **options}}})
    front.start()
    return front


def told(front: Daemon) -> str:
    """Return why the site cannot be asked, as soon as that is known."""

    def reason() -> Any:
        known = front.http("/api/v1/sites").json["sites"][0]["reason"]
        return known if known and "not been reached yet" not in known else None

    return str(eventually(reason, 120))


def peak(front: Daemon) -> int:
    """Return the most memory that a daemon has had, in KiB."""
    assert front.process is not None
    status = Path(f"/proc/{front.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def is_well(front: Daemon) -> None:
    """Check that everything else is served."""
    assert front.power("on", "own", 1).status == 200
    for path in ("/api/v1/nodes", "/api/v1/pdus", "/api/v1/outlets", "/api/v1/groups", "/metrics", "/healthz"):
        assert front.http(path).status == 200
    assert order(front, alias="berlin/board1").status == 503
    assert " ERROR " not in front.log_text(), front.log_text()


def endless(beginning: bytes, piece: bytes) -> Lie:
    return lambda: itertools.chain([beginning], itertools.repeat(piece * max(1, 65536 // len(piece))))


def in_turn(*replies: bytes) -> Lie:
    turns = itertools.cycle(replies)
    return lambda: next(turns)


def head(**headers: str) -> bytes:
    return reply(b"", **{"Content_Length": "", **headers})


def lists(**lies: object) -> dict[str, Lie]:
    """Return lies about some lists."""
    return {f"GET /api/v1/{name}?": lambda said=said: reply(said) for name, said in lies.items()}  # type: ignore[misc]


NEXT = '</api/v1/outlets?after=p1&limit=1000>; rel="next"'
PAGE = reply([{key: OUTLET[key] for key in ("pdu", "port", "state")}] * 1000, Link=NEXT)
REST = reply([0] * (MOST - 999), Link=NEXT)  # with the page before it one more than may be; none of them is looked at
NESTED = reply(b"[" * 500_000)

LIES: dict[str, tuple[dict[str, Lie], str]] = {
    "endless": ({"GET /api/v1/pdus": endless(head(Content_Length=str(10**12)), b" ")}, "more than 8388608 bytes"),
    "chunks": (
        {"GET /api/v1/nodes": endless(head(Transfer_Encoding="chunked"), b"10000\r\n" + b" " * 65536 + b"\r\n")},
        "more than 8388608 bytes",
    ),
    "one chunk": (
        {"GET /api/v1/nodes": endless(head(Transfer_Encoding="chunked") + b"fffffffffff\r\n", b"[")},
        "more than 8388608 bytes",
    ),
    "negative": ({"GET /api/v1/pdus": lambda: head(Content_Length="-5")}, "the answer is not HTTP"),
    "head": ({"GET /api/v1/pdus": endless(b"HTTP/1.1 200 OK\r\nX: ", b"y")}, "the answer is not HTTP"),
    "line": ({"GET /api/v1/events": endless(next(iter(events())) + b"data: ", b"{")}, "a line of the answer has more"),
    "pages": ({"GET /api/v1/outlets": in_turn(PAGE, REST)}, "it has too much to tell of its outlets"),
    "elsewhere": (
        {"GET ": lambda: reply(b"", 302, Location="http://127.0.0.1:1/secrets")},
        "it leads elsewhere (302): http://127.0.0.1:1/secrets",
    ),
    "ailing": ({"GET ": lambda: reply(b"oops", 500, "text/html")}, "it answers 500"),
    "nested": ({"GET /api/v1/groups": lambda: NESTED}, "is not JSON"),
    "not a number": ({"GET /api/v1/pdus": lambda: reply(b'[{"name": "p1", "watts": NaN}]')}, "is not JSON"),
    "object": (lists(pdus={"a": 1}), "not understood"),
    "numbers": (lists(outlets=[1, 2]), "not understood"),
    "name": (lists(nodes=[NODE | {"name": "a\nb"}]), "not understood"),
    "long name": (lists(pdus=[PDU | {"name": "p" * 2000}]), "not understood"),
    "port": (lists(outlets=[OUTLET | {"port": "9" * 2000}]), "not understood"),
    "group": ({"GET /api/v1/groups": lambda: reply(["board1"])}, "not understood"),
    "word": ({"GET /api/v1/events": lambda: events({"kind": 5})}, "not understood"),
    "event": ({"GET /api/v1/events": lambda: events({"kind": "outlet", "outlet": []})}, "not understood"),
    "why": (
        {"GET ": lambda: reply({"detail": "no\x1b[31m" + "!" * 100_000}, 403, "application/problem+json")},
        "it refuses the token of this front: no\\x1b[31m!!!",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_has_no_end_or_makes_no_sense_is_told(daemon: Callable[..., Daemon], lie: str) -> None:
    lies, words = LIES[lie]
    with LyingSite(lies) as site:
        front = front_of(daemon, site)
        before = peak(front)
        reason = told(front)
        assert words in reason and len(reason) < 5000, reason
        is_well(front)
        assert peak(front) - before < MUCH
        site.lies.clear()
        assert eventually(lambda: front.http("/api/v1/sites").json["sites"][0]["reachable"], 60)
        assert front.http("/api/v1/nodes/berlin%2Fboard1").json["state"] == "on"


def test_a_site_that_says_one_byte_a_second_holds_up_nobody(daemon: Callable[..., Daemon]) -> None:
    whole = reply(HAS["/api/v1/sites"])
    with LyingSite({"GET /api/v1/sites": lambda: slowly(whole)}) as site:
        front = front_of(daemon, site)
        is_well(front)
        assert "not been reached yet" in front.http("/api/v1/sites").json["sites"][0]["reason"]
        site.lies = {"GET /api/v1/events": lambda: slowly(whole)}
        assert "not reached" not in front.log_text() or told(front)


def test_an_older_daemon_that_tells_less_is_a_site(daemon: Callable[..., Daemon]) -> None:
    """It has no ``/api/v1/sites``, tells nothing of readings and inlets, and more of what nobody knows."""
    told = {key: PDU[key] for key in ("name", "driver", "state", "requests")} | {"humidity": [5]}
    outlet = {key: OUTLET[key] for key in ("pdu", "port", "state")} | {"colour": {"led": "red"}}
    node = {"name": "board1", "feeds": [outlet]}
    older = {"GET /api/v1/sites": lambda: reply({"detail": "no such page"}, 404, "application/problem+json")}
    with LyingSite({**older, **lists(pdus=[told], outlets=[outlet], nodes=[node])}) as site:
        front = front_of(daemon, site)
        assert eventually(lambda: front.http("/api/v1/sites").json["sites"][0]["reachable"])
        pdu = next(each for each in front.http("/api/v1/pdus").json if each["name"] == "berlin/p1")
        assert (pdu["state"], pdu["readable"], pdu["inlets"], pdu["watts"]) == ("ready", False, [], None)
        found = front.http("/api/v1/nodes/berlin%2Fboard1").json
        assert (found["state"], found["source"], found["locked"], found["age"]) == ("on", "none", False, None)
        assert " ERROR " not in front.log_text()


def test_a_clock_that_is_an_hour_ahead_is_told_and_corrected(daemon: Callable[..., Daemon]) -> None:
    with LyingSite(ahead=3600) as site:
        front = front_of(daemon, site)
        assert eventually(lambda: front.http("/api/v1/sites").json["sites"][0]["reachable"])
        eventually(lambda: "berlin: its clock is +3600 s off ours" in front.log_text())
        assert front.http("/api/v1/nodes/berlin%2Fboard1").json["age"] < 60


def test_a_flood_of_reloads_and_strange_events_is_bounded(daemon: Callable[..., Daemon]) -> None:
    request: dict[str, Any] = {"kind": "ended", "action": "on", "target": "x", "client": "c" * 5000, "nodes": []}
    request |= {"state": "done", "reason": None, "error": None, "command": None}
    strange = [
        json.dumps({**request, "id": number, "request": number, "outlets": [f"p{number}:1"]}).encode()
        for number in range(2000)
    ]
    ports = [{"kind": "outlet", "outlet": OUTLET | {"port": str(number)}} for number in range(3000)]
    flood = [*strange, *ports, *[{"kind": "reload"}] * 1000]
    with LyingSite({"GET /api/v1/events": lambda: events(*flood)}) as site:
        front = front_of(daemon, site)
        assert eventually(lambda: site.asked.count("GET /api/v1/sites") > 3, 60)
        is_well_served = front.http("/metrics").text
        assert 'pdu="berlin/p7"' not in is_well_served and front.power("on", "own", 1).status == 200
        assert len(front.http("/api/v1/outlets?limit=1000").json) <= 3000
        assert site.asked.count("GET /api/v1/sites") < 60, "it is loaded anew for each of a thousand events"
