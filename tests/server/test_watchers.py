# SPDX-License-Identifier: MIT
"""Who watches costs a socket; who is slow, silent, gone, or may not watch any more costs nobody else anything."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.engine.events import ROOM
from pdudaemon.server import protocols
from pdudaemon.server.access import Access
from pdudaemon.server.connections import Connections
from pdudaemon.server.listener import Listener
from pdudaemon.server.orders import Orders
from pdudaemon.server.refusals import Refusals
from tests.support.process import Daemon, eventually
from tests.support.rack import Rack
from tests.support.tokens import SECRET, good, later
from tests.support.watching import Watching

PDUS = {f"pdu{number}": {"driver": "dummy"} for number in range(4)}


def threads(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len([*Path(f"/proc/{daemon.process.pid}/task").iterdir()])


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len([*Path(f"/proc/{daemon.process.pid}/fd").iterdir()])


def test_many_watch_with_one_thread(daemon: Callable[..., Daemon]) -> None:
    started = daemon(PDUS, max_connections=400, max_connections_per_address=400)
    started.power("on", "pdu0", 1)
    watching = [Watching(started, sse=number % 2 == 0) for number in range(300)]
    before = threads(started)
    for number in range(1, 5):
        started.power("on", "pdu0", number)
    for each in watching:
        each.until(lambda event: event["kind"] == "ended" and event["request"] == 5)
        assert [event["request"] for event in each.events if event["kind"] == "ended"] == [2, 3, 4, 5]
    assert threads(started) <= before + 1
    for each in watching:
        each.close()
    eventually(lambda: descriptors(started) < 60)  # though nothing happens


class House:
    """All that serves clients, in this process, with little room for what they have not read."""

    def __init__(self, folder: Path, client_timeout: float) -> None:
        self.rack = Rack(folder, {"a": {}}, client_timeout=client_timeout)
        config = self.rack.dispatcher.config
        self.orders = Orders(self.rack.dispatcher)
        self.connections = Connections(
            config.daemon, partial(protocols.speech, self.orders), self.orders.hand_over, self.rack.dispatcher.work
        )
        self.rack.dispatcher.led_by(self.connections)
        self.listener = Listener(
            ListenerOptions({"protocol": "http", "port": 0}), Access(), Refusals(lambda when, call: None)
        )
        self.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.connections.start()
        self.connections.add(self.listener)

    def watch(self, after: int | None = None) -> socket.socket:
        """Return the connection of somebody who watches, and has little room as well."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(self.listener.server_address)
        query = "" if after is None else f"?after={after}"
        client.sendall(f"GET /api/v1/events{query} HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n".encode())
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        return client

    def publish(self, word: object, length: int = 1000) -> None:
        """Have an event happen, and be long."""
        self.rack.dispatcher.events.pdu("a", "ready", f"{word} {'x' * length}", None)

    def close(self) -> None:
        self.orders.watchers.close()
        self.connections.remove(self.listener)
        self.connections.close(1)
        self.rack.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[[float], House]]:
    houses: list[House] = []

    def make(client_timeout: float) -> House:
        houses.append(House(tmp_path, client_timeout))
        return houses[-1]

    yield make
    for each in houses:
        each.close()


def heard(client: socket.socket, until: str = "") -> list[dict[str, Any]]:
    """Return what a client hears until the end, or a reason."""
    received = b""
    while not (until and until.encode() in received and received.endswith(b"\n")) and (more := client.recv(65536)):
        received += more
    lines = received.decode().partition("\r\n\r\n")[2].splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def test_who_does_not_read_is_closed_and_told_where_to_go_on(house: Callable[[float], House]) -> None:
    lab = house(6)
    deaf, reading = lab.watch(), lab.watch()
    for number in range(200):
        lab.publish(number)
    assert [event["reason"].split()[0] for event in heard(reading, "199 x")] == [f"{n}" for n in range(200)]
    reading.close()
    lab.publish("meanwhile")
    eventually(lambda: not lab.orders.watchers._watchers)
    lab.publish("last")
    told = heard(deaf)
    assert told[-1]["kind"] == "end" and "too slow" in told[-1]["reason"]
    assert told[-1]["id"] == told[-2]["id"]
    again = heard(lab.watch(told[-1]["id"]), "last x")
    assert [event["id"] for event in told[:-1] + again] == [*range(told[0]["id"], again[-1]["id"] + 1)]
    deaf.close()


def test_who_reads_too_late_hears_of_the_gap(house: Callable[[float], House]) -> None:
    lab = house(60)
    slow = lab.watch()
    for number in range(ROOM + 500):
        lab.publish(number, 20)
        if number == 400:
            eventually(lambda: any(each.connection.unsent for each in lab.orders.watchers._watchers))
    told = heard(slow, f"{ROOM + 499} x")
    kinds = [event["kind"] for event in told]
    assert kinds.count("gap") == 1
    gap = kinds.index("gap")
    before, after = [event["id"] for event in told[:gap]], [event["id"] for event in told[gap + 1 :]]
    assert before == [*range(before[0], before[-1] + 1)] and after == [*range(after[0], after[-1] + 1)]
    assert told[gap]["id"] == after[0] - 1 > before[-1]
    slow.close()


def test_who_would_watch_when_all_is_told_that_it_is_over_hears_so(
    house: Callable[[float], House],
) -> None:
    lab = house(60)
    watching = lab.watch()
    assert lab.orders.watchers.close()
    for each in (watching, lab.watch()):
        (told,) = heard(each)
        assert (told["kind"], told["reason"]) == ("end", "the daemon is stopping")
        assert told["id"] == lab.rack.dispatcher.events.last and abs(told["time"] - time.time()) < 60
        each.close()


def test_a_heartbeat_is_heard_where_nothing_happens(daemon: Callable[..., Daemon]) -> None:
    started = daemon(PDUS)
    with Watching(started, "?kind=reload", sse=True) as sse, Watching(started, "?kind=reload") as lines:
        assert sse.more() and sse.others[0].startswith("retry: ")
        began = time.monotonic()
        assert sse.more() and sse.others[1] == ":\n\n"
        assert lines.more() and lines.others == ["\n"]
        assert time.monotonic() - began > 5  # not busily


def test_a_token_that_expires_ends_the_stream(daemon: Callable[..., Daemon]) -> None:
    started = daemon(PDUS, secret=SECRET)
    with Watching(started, Authorization=f"Bearer {good(exp=later(8))}") as watching:
        assert watching.rest()[-1]["reason"] == "the token has expired"


def test_a_token_that_a_reload_revokes_is_told_nothing_more(daemon: Callable[..., Daemon]) -> None:
    started = daemon(PDUS, secret=SECRET)
    started.token = good(sub="root")
    with Watching(started, Authorization=f"Bearer {good(sub='ci-7')}") as watching, Watching(started) as other:
        started.settings["daemon"]["revoked"] = ["ci-7"]
        started.configure(started.settings)
        assert started.process is not None
        started.process.send_signal(signal.SIGHUP)
        other.until("reload")
        assert started.power("on", "pdu0", 1).status == 200
        rest = watching.rest()
        assert [event["kind"] for event in rest if event["kind"] != "reload"] == ["end"], rest
        assert rest[-1]["reason"] == "the token has been revoked"
        other.until("ended")


def test_without_a_watcher_the_ring_wakes_nobody(daemon: Callable[..., Daemon]) -> None:
    started = daemon(PDUS)
    with Watching(started) as watching:
        started.power("on", "pdu0", 1)
        watching.until("ended")
    assert started.process is not None
    status = Path(f"/proc/{started.process.pid}/task")

    def switches() -> dict[str, str]:
        return {each.name: (each / "comm").read_text() + (each / "schedstat").read_text() for each in status.iterdir()}

    def asleep() -> bool:
        before = switches()
        time.sleep(1.5)
        return switches() == before

    eventually(asleep, 60)


@pytest.mark.parametrize("sse", [True, False])
def test_a_watcher_that_begins_as_the_daemon_stops_is_told(daemon: Callable[..., Daemon], sse: bool) -> None:
    started = daemon({"slow": {"driver": "dummy", "slow": 6}})
    started.power("on", "slow", 1, wait=0)
    eventually(lambda: started.http("/api/v1/requests/1").json["state"] == "running")
    with Watching(started, sse=sse) as watching:
        started.stop()
        assert [event["kind"] for event in watching.rest()][-1] == "end"
        assert {"tried", "ended"} <= {*watching.kinds}  # what still happened
