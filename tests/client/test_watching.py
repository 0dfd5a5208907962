# SPDX-License-Identifier: MIT
"""``pduclient watch``, against a stand-in that tells of events: as lines, as documents, and on a screen."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pexpect
import pytest

from tests.devices.openflight import EventServer, PowerServer, reply
from tests.support.client import ENTRY, NOWHERE, PLACES, PROGRAM, ask, client
from tests.support.ports import free_ports
from tests.support.process import PDUCLIENT, Daemon, eventually

FEED = {"pdu": "apc7", "port": "3", "name": None, "nodes": ["board7"], "state": "off", "source": "device", "age": 5.0}
NODES: list[dict[str, Any]] = [
    {
        "name": "board7",
        "groups": [],
        "feeds": [{**FEED, "watts": None}],
        "state": "off",
        "source": "device",
        "age": 5.0,
    },
    {"name": "server", "groups": [], "feeds": [], "state": "unknown", "source": "none", "age": None},
]
REQUEST = {"request": 17, "action": "reboot", "target": "board7 (apc7:3)", "outlets": ["apc7:3"], "nodes": ["board7"]}
REQUEST |= {"client": "127.0.0.1:4711 (anna)", "command": None, "reason": None, "state": "queued", "time": 1.7e9}
ACCEPTED = {**REQUEST, "id": 101, "kind": "accepted"}
TRIED = {**REQUEST, "id": 102, "kind": "tried", "action": "off", "state": "running", "reason": "apc7: no answer"}
FAILED = {**REQUEST, "id": 103, "kind": "ended", "state": "failed", "reason": "apc7: no answer", "owed": ["apc7:3"]}
ON = {"id": 104, "time": 1.7e9, "kind": "outlet", "outlet": {**FEED, "state": "on", "age": 0.0, "watts": 12.5}}
STUCK = {"id": 105, "time": 1.7e9, "kind": "pdu", "pdu": "apc7", "state": "stuck", "reason": "busy", "reachable": None}
AWAY = {"id": 106, "time": 1.7e9, "kind": "pdu", "pdu": "apc7", "state": "ready", "reason": None, "reachable": False}
RELOAD = {"id": 107, "time": 1.7e9, "kind": "reload"}
STAGGERED = {**REQUEST, "id": 108, "kind": "waiting", "action": "on", "state": "waiting", "due": 1.7e9 + 40.0}
STAGGERED |= {"reason": "staggered: to be switched on in 40 s"}
EVENTS = (ACCEPTED, STAGGERED, TRIED, {}, FAILED, ON, STUCK, AWAY, RELOAD)
LINES = [
    "2023-11-14 22:13:20  board7 #17 reboot: accepted by 127.0.0.1 (anna)",
    "2023-11-14 22:13:20  board7 #17 on: waiting (staggered: to be switched on in 40 s)",
    "2023-11-14 22:13:20  board7 #17 off at apc7:3: failed (apc7: no answer)",
    "2023-11-14 22:13:20  board7 #17 reboot: failed, the on is owed (apc7: no answer)",
    "2023-11-14 22:13:20  board7 (apc7:3) on 12.5 W",
    "2023-11-14 22:13:20  apc7 stuck (busy)",
    "2023-11-14 22:13:20  apc7 unreachable",
    "2023-11-14 22:13:20  the configuration was reloaded",
]


class Watching:
    """The client while it watches; what it says so far."""

    def __init__(self, url: str, *words: str) -> None:
        self.process = PDUCLIENT.start(
            ["watch", f"--url={url}", *words],
            {**NOWHERE, "TZ": "UTC", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        self.results = io.TextIOWrapper(self.process.stdout)
        self.others = io.TextIOWrapper(self.process.stderr)

    def line(self) -> str:
        """Return the next line of its results."""
        return self.results.readline().rstrip("\n")

    def said(self) -> str:
        """Return the next line that is no result."""
        return self.others.readline().rstrip("\n")

    def close(self) -> None:
        """End it, if it has not."""
        self.process.kill()
        self.process.wait(60)
        self.results.close()
        self.others.close()


@contextmanager
def watching(server: EventServer, *words: str) -> Iterator[Watching]:
    """Run the client until the server has it on its list, and end it."""
    before = len(server.requests)
    made = Watching(server.url, *words)
    try:
        eventually(lambda: any("/api/v1/nodes" in each.target for each in server.requests[before:]))
        yield made
    finally:
        made.close()


def test_lines() -> None:
    with EventServer(NODES) as server, watching(server) as client:
        server.tell(*EVENTS)
        assert [client.line() for _ in LINES] == LINES
        client.process.send_signal(signal.SIGINT)
        assert (client.process.wait(60), client.line(), client.said()) == (0, "", "")
        assert server.asked[0] == "GET /api/v1/events" and "last-event-id" not in server.watching[0].headers


def test_documents() -> None:
    with EventServer(NODES) as server, watching(server, "--json") as client:
        server.tell(*EVENTS)
        assert [json.loads(client.line()) for _ in LINES] == [event for event in EVENTS if event]


def test_some_nodes() -> None:
    with EventServer(NODES[1:]) as server, watching(server, "@lab", "serv*") as client:
        server.tell(ACCEPTED, ON, STUCK, {**ACCEPTED, "nodes": ["server"]}, RELOAD)
        assert client.line() == LINES[0].replace("board7", "server") and client.line() == LINES[-1]
        assert server.asked[:2] == [f"GET /api/v1/{kind}=%40lab%2Cserv%2A{more}" for kind, more in KINDS]


KINDS = (("events?node", ""), ("nodes?names", "&limit=1000"))


def test_nodes_that_come_with_another_configuration() -> None:
    with EventServer(NODES[1:]) as server, watching(server, "*") as client:
        server.nodes = NODES
        server.tell(RELOAD)
        assert client.line() == LINES[-1]
        eventually(lambda: sum("/api/v1/nodes" in line for line in server.asked) == 2)
        server.tell(ACCEPTED)
        assert client.line() == LINES[0]


def test_a_server_that_is_away_for_a_while() -> None:
    with EventServer(NODES) as server, watching(server) as client:
        server.tell(ACCEPTED)
        assert client.line() == LINES[0]
        server.hang_up()
        assert client.said().endswith("; trying again")
        assert client.said() == f"pduclient: {server.url}: there again"
        assert server.watching[1].headers["last-event-id"] == "101"
        server.tell(TRIED)
        assert client.line() == LINES[2]
        server.tell({"id": 102, "time": 1.0, "kind": "end", "reason": "you do not read"})
        assert client.said() == "pduclient: you do not read; trying again"
        eventually(lambda: len(server.watching) == 3)
        assert server.watching[2].headers["last-event-id"] == "102"


def test_a_reader_that_leaves() -> None:
    with EventServer(NODES) as server, watching(server) as client:
        client.results.close()
        server.tell(*EVENTS)
        assert (client.process.wait(60), client.said()) == (0, "")


def test_what_cannot_be_watched() -> None:
    ran = client("watch", "--url=http://127.0.0.1:1")
    assert ran == (2, "", f"pduclient: http://127.0.0.1:1: Connection refused\n{PLACES}")
    with PowerServer({"": reply({"detail": "there is nothing at '/api/v1/events'"}, "404 Not Found")}) as server:
        assert "the server does not know of this" in ask(server.url, "watch").err
    with PowerServer({"": reply({"detail": "no"}, "401 Unauthorized", "application/problem+json")}) as server:
        assert ask(server.url, "watch").err == f"pduclient: {server.url}: token refused: no\n{ENTRY}"


@pytest.mark.parametrize(
    "event",
    [
        {"id": "\x1b[2J", "time": "\x1b[2J", "kind": "accepted", "nodes": ["\x1b[2J" * 99], "action": "\x1b[2J"},
        {"id": 1, "time": 1e300, "kind": "outlet", "outlet": {"pdu": "\x1b", "port": 7, "state": "\x1b", "nodes": [1]}},
        {"id": 1, "time": 1, "kind": "pdu", "pdu": {"\x1b": 1}, "state": "\x1b[2J" * 500, "reason": "\x1b[2J" * 9999},
        {"id": 10**400, "time": None, "kind": "ended", "nodes": None, "target": "\x1b[2J", "reason": ["\x1b[2J"]},
    ],
)
def test_a_server_that_means_harm(event: dict[str, Any]) -> None:
    with EventServer(NODES) as server, watching(server) as client:
        server.tell(event)
        line = client.line()
        assert line.isprintable() and 10 < len(line) < 4000


@pytest.mark.parametrize("event", [{"kind": "outlet"}, {"kind": "pdu"}, {"kind": "ended", "nodes": 7}, 7, [], "x"])
def test_an_event_that_is_not_understood(event: Any) -> None:
    with EventServer(NODES) as server, watching(server) as client:
        server.tell(event or {"kind": "outlet", "outlet": 7})
        assert client.said() == "pduclient: the answer is not understood; trying again"


def test_a_real_daemon_that_is_killed_and_comes_back(daemon: Callable[..., Daemon]) -> None:
    """It is watched from before until after, with the device's own state of what it is told to switch."""
    (port,) = free_ports(1)
    nodes = {f"node{n}": {"hostname": "rack", "port": n} for n in (1, 2, 3)}
    lab = daemon({}, nodes=nodes, start=False, port=port)
    lab.settings["pdus"] = {"rack": {"driver": "dummy", "file": str(lab.folder / "outlets"), "outlets": 3}}
    lab.configure(lab.settings)
    (lab.folder / "outlets").write_text("{}")
    lab.start()
    client = Watching(f"http://127.0.0.1:{port}", "node[1-2]")
    lines: list[str] = []
    says: list[str] = []
    readers = [
        threading.Thread(target=found.extend, args=(stream,), daemon=True)
        for found, stream in ((lines, client.results), (says, client.others))
    ]
    for reader in readers:
        reader.start()

    def told(node: str, words: str) -> bool:
        """Switch until that is told: the client may not watch yet."""
        assert lab.http(f"/power/control/on?alias={node}").status == 200
        assert lab.http("/power/control/on?alias=node3").status == 200
        return any(line[21:].startswith(node) and words in line for line in [*lines])

    try:
        eventually(lambda: told("node1", "on: accepted by 127.0.0.1") and told("node1", "on: done"))
        lab.kill()
        eventually(lambda: any("trying again" in line for line in [*says]))
        lab.start()
        eventually(lambda: told("node2", "(rack:2) on") and told("node2", "on: done"), 40)
        assert says[-1] == f"pduclient: http://127.0.0.1:{port}: there again\n"
        assert not any("node3" in line for line in lines)
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait(60) == 0
    finally:
        client.process.kill()
        for reader in readers:
            reader.join(5)
        client.close()


def frames(shown: str) -> list[str]:
    """Return what a terminal was shown, one drawing after the other, without the signs that move about and colour."""
    return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part).replace("\r\n", "\n") for part in shown.split("\x1b[H")[1:]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_screen(number: signal.Signals) -> None:
    environment = {**NOWHERE, "TERM": "xterm", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    with EventServer(NODES) as server:
        words = [*PROGRAM[1:], "watch", f"--url={server.url}"]
        shown = ""
        screen = pexpect.spawn(PROGRAM[0], words, env=environment, encoding="utf-8", dimensions=(12, 60), timeout=60)
        try:

            def look() -> str:
                nonlocal shown
                with suppress(pexpect.TIMEOUT, pexpect.EOF):
                    shown += screen.read_nonblocking(65536, 0.1)
                return frames(shown)[-1] if frames(shown) else ""

            eventually(lambda: "1 off, 1 unknown" in look())
            assert re.search(
                r"\nNODE    STATE    WATTS  AGE\nboard7  off          -  \d+ s\nserver  unknown      -    -", look()
            )
            server.tell(ACCEPTED, STAGGERED)
            eventually(lambda: re.search(r"\nboard7 .* on: waiting 3\d s", look()))
            server.tell(FAILED, ON)
            eventually(lambda: "1 on, 1 unknown" in look())
            assert re.search(r"\nboard7  on        12.5  \d+ s  reboot: failed, the on is owed", look())
            assert LINES[0][:59] in look() and "\x1b[32mon" in shown and "\x1b[31mfailed" in shown
            assert all(len(line) < 60 for line in look().split("\n"))
            bare = {**FEED, "port": "9", "nodes": [], "state": "on", "age": 0.0}
            server.tell({**ACCEPTED, "nodes": [], "outlets": ["apc7:9"]}, {**ON, "outlet": bare})
            eventually(lambda: re.search(r"\napc7:9  on .* reboot: accepted", look()))
            server.hang_up()
            eventually(lambda: "trying again" in look())
            eventually(lambda: len(server.watching) == 2 and "trying again" not in look())
            screen.setwinsize(5, 30)
            eventually(lambda: "and 1 more" in look() and len(look().split("\n")) <= 5)
            screen.kill(number)
            screen.expect(pexpect.EOF)
            assert (shown + screen.before).endswith("\x1b[?25h\x1b[?1049l")
            screen.close()
            assert screen.exitstatus == 0
        finally:
            screen.close(force=True)
