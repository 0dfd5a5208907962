# SPDX-License-Identifier: MIT
"""What a site answers to an order, a status or a question may be anything: who asked is told so in words, in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.support.fronts import order
from tests.support.lyingsite import LyingSite, reply, slowly
from tests.support.process import Daemon, Reply, eventually

ANSWERS: dict[str, Callable[[], bytes | Iterable[bytes]]] = {
    "list": lambda: reply([]),
    "number": lambda: reply(7),
    "no id": lambda: reply({"state": "done"}, 201),
    "odd id": lambda: reply({"id": {"x": 1}, "state": "done", "ended": 1.0}, 201),
    "odd outlets": lambda: reply({"id": 1, "state": "done", "ended": 1.0, "outlets": 5}, 201),
    "another state": lambda: reply({"id": 1, "state": "exploded", "ended": 1.0}, 201),
    "html": lambda: reply(b"<h1>Welcome", 200, "text/html"),
    "empty": lambda: reply(b""),
    "nested": lambda: reply(b"[" * 300_000),
    "ailing": lambda: reply(b"oops", 500, "text/html"),
    "elsewhere": lambda: reply(b"", 307, Location="http://127.0.0.1:1/"),
    "odd problem": lambda: reply([1], 409, "application/problem+json"),
    "no problem": lambda: reply({"type": 5, "detail": {}}, 503, "application/problem+json"),
    "wrong kind": lambda: reply(
        {"type": "urn:pdudaemon:moon", "detail": "x" * 100_000}, 422, "application/problem+json"
    ),
    "lines": lambda: reply(b'{"meta": 5}\n[]\nx\n', 200, "application/x-ndjson"),
    "deep lines": lambda: reply(b"[" * 300_000 + b"\n", 200, "application/x-ndjson"),
    "huge": lambda: itertools.chain([reply(b"", 201, Content_Length=str(10**12))], itertools.repeat(b" " * 65536)),
    "slow": lambda: slowly(reply({"id": 1, "state": "done"}, 201), 0.5),
    "closed": lambda: b"",
    "no http": lambda: b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, LyingSite]]:
    with LyingSite() as site:
        front = Daemon(tmp_path_factory.mktemp("lied-to"), {"own": {"driver": "dummy"}})
        front.configure({**front.settings, "sites": {"berlin": {"url": site.url}}})
        front.start()
        yield front, site
        front.stop()


LATE = ("closed", "slow")  # after so long that one may wait for them


@pytest.mark.parametrize(
    "answer", [pytest.param(each, marks=pytest.mark.long if each in LATE else ()) for each in ANSWERS]
)
def test_an_answer_that_makes_no_sense_is_told_as_not_known(lab: tuple[Daemon, LyingSite], answer: str) -> None:
    front, site = lab
    site.lies = {}
    eventually(lambda: front.http("/api/v1/sites").json["sites"][0]["reachable"], 60)
    orders = ("POST ", "PATCH ", "GET /?", "GET /power", "GET /api/v1/requests", "GET /api/v1/commands", "DELETE ")
    site.lies = dict.fromkeys((*orders, "GET /api/v1/pdus/"), ANSWERS[answer])

    def check(told: Reply, *codes: int) -> None:
        assert told.status in codes and len(told.text) < 12_000, f"{told.status} {told.text[:2000]}"
        assert "internal error" not in told.text and "Traceback" not in told.text, told.text

    check(order(front, alias="berlin/board1", wait=0.5), 409, 422, 502, 503, 504)
    check(order(front, nodes="berlin/board1", wait=0.5), 409, 422, 502, 503, 504)
    nodes = front.http("/?nodes=berlin/board1&wait=0.5", "PATCH")
    check(nodes, 200)
    entry = nodes.json["data"][0]["attributes"]
    assert entry["success"] is False and entry["error"], nodes.text
    check(front.http("/?nodes=berlin/board1&wait=0.5"), 200)
    check(front.http("/power/control/status?alias=berlin/board1&wait=0.5"), 422, 502, 503, 504)
    assert front.tcp("berlin/board1 on wait=0.5\n").startswith("nack: ")
    check(front.http("/api/v1/requests/berlin/1"), 409, 422, 502, 503, 504)
    check(front.http("/api/v1/commands/berlin/1"), 404, 409, 422, 502, 503, 504)
    history = front.http("/api/v1/requests")
    check(history, 200)
    check(front.http("/api/v1/pdus/berlin%2Fp1"), 200)
    check(front.http("/api/v1/pdus/berlin%2Fp1/watts"), 409, 422, 502, 503, 504)
    assert front.power("on", "own", 1).status == 200 and " ERROR " not in front.log_text(), front.log_text()
