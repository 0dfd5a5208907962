# SPDX-License-Identifier: MIT
"""Commands over nodes at sites that say what a test wants: what each is asked for, and what is told of each node.

What becomes of commands at sites that are as they should be is in `test_siteorders` and `test_siteviews`.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from pdudaemon.engine.front.sitemirror import Translation
from pdudaemon.engine.front.siteorders import SiteRequest
from pdudaemon.errors import NotDone, PDUDaemonError, RequestError
from pdudaemon.power import Action, Outlet, Phase, Reading, Request, Target
from pdudaemon.ranges import folded
from pdudaemon.server import sitecommands
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.sitecommands import BEGINNING, LONGEST, LONGEST_QUERY, _Beginning, _LocalPart, _pieces
from pdudaemon.server.siteorders import LATE, LOOKING
from pdudaemon.server.switching import Entry, Telling
from tests.support.lyingsite import NODE, OUTLET, PDU, LyingSite, lines, problem, reply
from tests.support.pair import Pair, asked
from tests.support.process import Daemon, Reply, eventually

FEEDS = [{**OUTLET, "port": str(port), "nodes": [f"board{port}"]} for port in range(1, 5)]
NODES = [{**NODE, "name": f"board{port}", "feeds": [feed]} for port, feed in enumerate(FEEDS, 1)]
META = {"meta": {"command": 7, "count": 1}}


def told(name: str, **more: Any) -> dict[str, Any]:
    """Return what a site tells of one of its nodes."""
    said = {"action": "Power on", "node-name": name, "missing": False, "success": True, "error": None, **more}
    return {"type": "commands", "id": name, "attributes": said}


class Lab:
    """A front with a PDU of its own, and two sites that say what a test wants."""

    def __init__(self, stack: ExitStack, front: Daemon) -> None:
        self._lies = {
            "GET /api/v1/nodes": lambda: reply(NODES),
            "GET /api/v1/outlets": lambda: reply(FEEDS),
            "GET /api/v1/pdus": lambda: reply([{**PDU, "outlets": 4}]),
        }
        self.sites = {name: stack.enter_context(LyingSite({**self._lies})) for name in ("berlin", "munich")}
        self.front = front
        self.begin()
        sites = {name: {"url": site.url} for name, site in self.sites.items()}
        front.configure({**front.settings, "sites": sites, "nodes": {"mine": {"hostname": "own", "port": 1}}})
        front.start()
        stack.callback(front.kill)
        eventually(lambda: [each["reachable"] for each in front.http("/api/v1/sites").json["sites"]] == [True, True])

    def begin(self) -> None:
        """Have the sites say nothing but who they are."""
        for name, site in self.sites.items():
            site.lies = {**self._lies}
            site.lies["GET /api/v1/sites"] = lambda name=name: reply({"daemons": [name], "names": name, "sites": []})  # type: ignore[misc]
            site.questions.clear()

    def ask(self, nodes: str, method: str = "PATCH", more: str = "") -> tuple[Reply, dict[str, dict[str, Any]]]:
        """Return an answer, and what it says of each node."""
        reply = self.front.http(f"/?nodes={nodes}{more}", method)
        assert reply.status == 200, reply.text
        return reply, {each["id"]: each["attributes"] for each in reply.json["data"]}

    def asked(self, site: str) -> list[dict[str, str]]:
        """Return the words by which a site was asked for something of nodes, question by question."""
        words = []
        for method, _, target in (each.asked.partition(" ") for each in self.sites[site].questions):
            if target.startswith("/?") and method == "GET":
                words.append(target[2:])
        words += [each.body.decode() for each in self.sites[site].questions if each.asked.endswith(" /")]
        return [{word: said[0] for word, said in parse_qs(each).items()} for each in words]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack, Daemon(tmp_path_factory.mktemp("front"), {"own": {"driver": "dummy"}}))


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.begin()
    return shared


def test_names_are_asked_for_as_many_at_a_time_as_fit() -> None:
    assert [*_pieces([])] == [] and [*_pieces(["a"])] == [["a"]]
    many = [f"n{number}" for number in range(100_000)]
    assert [*_pieces(many)] == [many]  # which is short: n[0-99999]
    odd = [f"{number:x}-{'x' * (number % 50)}-node-{number * 7919 % 1000}z" for number in range(1000)]
    pieces = [*_pieces(odd)]
    assert [name for piece in pieces for name in piece] == odd and len(pieces) > 2
    assert max(len(folded(piece)) for piece in pieces) <= LONGEST_QUERY
    long = ["x" * (LONGEST_QUERY + 1), "y" * (LONGEST_QUERY + 1)]
    assert [*_pieces(long)] == [[long[0]], [long[1]]]


def test_each_site_is_asked_for_the_states_of_its_own(lab: Lab) -> None:
    lab.sites["berlin"].lies["GET /?"] = lambda: lines(
        META,
        told("board2", running=False, success=True),
        told("board1", running=True),
        told("board3", running=None, success=False, error="the device cannot tell"),
        told("board4", success=False),
    )
    lab.sites["munich"].lies["GET /?"] = lambda: lines(META, told("board1", running=True))
    answer, found = lab.ask("mine,berlin/board[1-4],munich/board[1-2]", "GET", "&wait=7")
    assert [*found] == ["mine", *(f"berlin/board{n}" for n in (1, 2, 3, 4)), "munich/board1", "munich/board2"]
    assert [each.get("running") for each in found.values()] == [False, True, False, None, None, True, None]
    assert [each["node-name"] for each in found.values()] == [*found]
    assert found["munich/board2"]["error"] == "munich: it says nothing of it"
    assert found["berlin/board3"]["error"] == "the device cannot tell" and "X-Command-Id" not in answer.headers
    assert lab.asked("berlin") == [{"nodes": "board[1-4]", "wait": "7"}]
    assert lab.asked("munich") == [{"nodes": "board[1-2]", "wait": "7"}]


def test_a_site_that_does_not_know_says_why(lab: Lab) -> None:
    lab.sites["berlin"].lies["GET /?"] = lambda: reply({"detail": "no"}, 503)
    _, found = lab.ask("berlin/board1,mine", "GET")
    assert found["mine"]["success"] and found["berlin/board1"]["running"] is None
    assert not found["berlin/board1"]["success"] and found["berlin/board1"]["error"].startswith("berlin")


def test_a_command_has_the_numbers_of_its_parts(lab: Lab) -> None:
    said = lines(META, told("board1", request=17), told("board2", request=18))
    lab.sites["berlin"].lies["PATCH /"] = lambda: said
    lab.sites["munich"].lies["PATCH /"] = lambda: lines({"meta": {"command": 12}}, told("board1", request=3))
    answer, found = lab.ask("mine,munich/board1,berlin/board[1-2]")
    own = answer.headers["X-Command-Id"].partition(",")[0]
    assert own.isdigit() and answer.headers["X-Command-Id"] == f"{own},berlin/7,munich/12"
    assert answer.headers["Location"] == f"/api/v1/commands/{own},berlin/7,munich/12"
    assert [each["success"] for each in found.values()] == [True] * 4, found
    assert [each["request"] for each in found.values()][1:] == ["munich/3", "berlin/17", "berlin/18"]
    assert [each["nodes"] for each in lab.asked("berlin") + lab.asked("munich")] == ["board[1-2]", "board1"]
    answer, found = lab.ask("berlin/board[1-2]")
    assert answer.headers["X-Command-Id"] == "berlin/7" and [*found] == ["berlin/board1", "berlin/board2"]


def test_a_part_that_is_refused_leaves_the_others(lab: Lab) -> None:
    lab.sites["berlin"].lies["PATCH /"] = lambda: problem("forbidden", "not for you", 403)
    lab.sites["munich"].lies["PATCH /"] = lambda: lines({"meta": {"command": 12}}, told("board1", request=3))
    answer, found = lab.ask("berlin/board1,munich/board1")
    assert answer.headers["X-Command-Id"] == "munich/12"
    assert [each["success"] for each in found.values()] == [False, True]
    assert found["berlin/board1"]["error"] == "berlin: not for you" and "pending" not in found["berlin/board1"]


def test_lines_come_as_soon_as_each_is_known(lab: Lab) -> None:
    lab.sites["berlin"].lies["PATCH /"] = lambda: lines(META, told("board1", request=17))
    answer = lab.front.http("/?nodes=berlin/board1,mine", "PATCH", Accept="application/x-ndjson")
    first, *rest = map(json.loads, answer.text.splitlines())
    assert first["meta"]["command"] == answer.headers["X-Command-Id"] and first["meta"]["count"] == 2
    assert {each["id"] for each in rest} == {"berlin/board1", "mine"}


def test_who_hears_lines_waits_for_no_site_for_long(lab: Lab) -> None:
    """That it is accepted, in part, is told although a site has not said yet whether it accepts its own."""
    go_on = threading.Event()

    def late() -> Iterator[bytes]:
        assert go_on.wait(60)
        yield lines(META, told("board1", request=17))

    lab.sites["berlin"].lies["PATCH /"] = late
    lab.sites["munich"].lies["PATCH /"] = lambda: lines({"meta": {"command": 12}}, told("board1", request=3))
    with socket.create_connection(("127.0.0.1", lab.front.port), timeout=60) as client, client.makefile("rb") as stream:
        client.sendall(
            b"PATCH /?nodes=berlin/board1,munich/board1 HTTP/1.1\r\nAccept: application/x-ndjson\r\n"
            b"Connection: close\r\n\r\n"
        )
        head = dict(line.decode().strip().split(": ", 1) for line in [*iter(stream.readline, b"\r\n")][1:])
        assert head["X-Command-Id"] == "munich/12" and head["Location"] == "/api/v1/commands/munich/12"
        entries = [json.loads(stream.read(int(stream.readline(), 16) + 2)) for _ in range(2)]
        assert entries[0]["meta"]["command"] == "munich/12" and entries[1]["id"] == "munich/board1"
        go_on.set()
        rest = stream.read()
    assert b'"id":"berlin/board1"' in rest and rest.endswith(b"\r\n0\r\n\r\n")


class Told(Telling):
    """What is told of some nodes, as a test looks at it."""

    def __init__(self, exchange: HTTPExchange, names: list[str]) -> None:
        super().__init__(exchange, Action.ON, names)
        self.began: list[int | str | None] = []
        self.last: list[Entry] = []

    def _spelled(self, name: str, answer: Reading | PDUDaemonError | None, request: Request | None) -> Entry:
        return {"name": name, "told": str(answer), **({} if request is None else {"request": request.number})}

    def _first(self) -> None:
        self.began.append(self.command)

    def _last(self, entries: list[Entry]) -> None:
        self.last = entries


class Silent:
    """A site whose thread says nothing. What it was given is in ``given``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.translation = Translation(name, prefix=True)
        self.given: list[tuple[Any, ...]] = []

    def switch_nodes(self, *given: Any) -> None:
        self.given.append(given)


class Asked:
    """A command over nodes at sites whose threads say nothing, and what is told of it."""

    def __init__(self, pair: Pair, exchange: HTTPExchange, sites: Mapping[Silent, list[str]]) -> None:
        targets = {name: Target(name, (Outlet("x", "1"),)) for names in sites.values() for name in names}
        parts = {site: {name: targets[name] for name in names} for site, names in sites.items()}
        known: Any = exchange.dispatcher.sites
        known.all, known.parts = sites, lambda *_: parts
        self.telling = Told(exchange, [*targets])
        self.pair, self.exchange, self.targets = pair, exchange, targets

    def carry_out(self, wait: float) -> None:
        sitecommands.carry_out(self.telling, self.targets, 0.0, wait, wait, "key", None, True)


class Sites:
    """The sites of a dispatcher."""

    all: Mapping[Silent, list[str]]

    def __iter__(self) -> Iterator[Silent]:
        return iter(self.all)


@pytest.fixture
def asking() -> Iterator[Any]:
    """A function that makes a command over names at silent sites."""
    orders: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=SimpleNamespace(), sites=Sites()))
    with asked(orders, "PATCH / HTTP/1.1") as (pair, exchange):
        yield lambda **sites: Asked(
            pair, exchange, {Silent(name): [f"{name}/{each}" for each in names] for name, names in sites.items()}
        )


def test_a_site_whose_thread_says_nothing_is_told_of_all_the_same(asking: Any) -> None:
    for wait, seconds in ((7.0, 7.0), (0.0, LOOKING)):
        asked = asking(berlin=["a", "b"], munich=["c"])
        before = time.monotonic()
        asked.carry_out(wait)
        left = asked.pair.connection.deadline - seconds - LATE
        assert before <= left <= time.monotonic() and not asked.telling.began
        asked.exchange.late()
        asked.pair.thread.done_later.pop()()
        assert asked.telling.began == [None]
        assert asked.telling.last == [
            {"name": name, "told": f"{name}: there is no answer from the thread of its site"}
            for name in ("berlin/a", "berlin/b", "munich/c")
        ]


def test_of_a_part_that_is_here_is_left_what_nobody_has_told_of(asking: Any) -> None:
    whole = Told(asking(berlin=["a"]).exchange, ["berlin/a", "mine", "other"])
    part = _LocalPart(whole, ["mine", "other"], _Beginning(whole, [""]))
    assert part.left() == ["mine", "other"]
    part.entry("mine", None)
    assert part.left() == ["other"] and whole.left() == ["berlin/a", "other"]


def test_a_command_begins_when_all_parts_have_or_some_take_long(asking: Any) -> None:
    asked = asking(berlin=["a"], munich=["c"])
    asked.carry_out(7.0)
    ((when, begin),) = asked.pair.thread.planned
    assert abs(when - BEGINNING - time.monotonic()) < 60 and not asked.pair.thread.done_later
    (berlin, munich) = asked.exchange.dispatcher.sites
    ((_, _, nodes, targets, lines_too, began, told_of),) = munich.given
    assert (nodes, [*targets], lines_too) == ("c", ["c"], True)
    began("12")
    assert not asked.telling.began
    begin()
    asked.pair.thread.done_later.pop()()
    assert asked.telling.began == ["munich/12"]
    berlin.given[0][5]("7")
    assert asked.telling.began == ["munich/12"], "once"
    request = SiteRequest(Action.ON, targets["c"], 0.0, "", 0.0, Phase.ON, record={"id": "munich/3"})
    told_of("c", NotDone("it goes on"), request)
    assert asked.telling.left() == ["berlin/a"]
    berlin.given[0][6]("a", RequestError("refused"), None)
    assert asked.telling.last == [
        {"name": "berlin/a", "told": "refused"},
        {"name": "munich/c", "told": "it goes on", "request": "munich/3"},
    ]


def test_more_names_than_a_site_takes_are_refused(asking: Any) -> None:
    asked = asking(berlin=[f"{number:x}{'y' * 300}{number * 7919 % 1000}z" for number in range(200)], munich=["c"])
    assert len(folded([name.removeprefix("berlin/") for name in asked.targets])) > LONGEST
    asked.carry_out(7.0)
    (berlin, munich) = asked.exchange.dispatcher.sites
    assert not berlin.given and asked.telling.left() == ["munich/c"] and not asked.telling.began
    munich.given[0][5]("12")
    assert asked.telling.began == ["munich/12"]
    munich.given[0][6]("c", None, None)
    assert asked.telling.last[0]["told"] == "berlin: these are too many names for one command"
