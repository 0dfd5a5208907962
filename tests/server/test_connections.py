# SPDX-License-Identifier: MIT
"""`Connections` with listeners, clients and a rack of PDUs: whoever is good is served, whatever the others do."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import json
import logging
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.engine import carrier
from pdudaemon.power import Request, Step
from pdudaemon.server import protocols
from pdudaemon.server.access import Access
from pdudaemon.server.connections import Connection, Connections, Exchange
from pdudaemon.server.listener import Listener
from pdudaemon.server.orders import Orders
from pdudaemon.server.refusals import Refusals
from tests.support.process import eventually
from tests.support.rack import Rack

PATIENCE = 60.0
ON = "/power/control/on?hostname={}&port={}"


class House:
    """A rack with a listener in front of it that speaks both protocols, served by a thread of its own."""

    def __init__(self, folder: Path, **daemon: Any) -> None:
        self.rack = Rack(folder, {"left": {"outlets": 1000}, "right": {"outlets": 1000}}, **daemon)
        self.orders = Orders(self.rack.dispatcher)
        options = self.rack.dispatcher.config.daemon
        self.served = Connections(
            options, functools.partial(protocols.speech, self.orders), self.orders.hand_over, self.rack.dispatcher.work
        )
        self.rack.dispatcher.led_by(self.served)
        self.listener = Listener(
            ListenerOptions({"protocol": "both", "port": 0}), Access(), Refusals(lambda when, call: None)
        )
        self.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.served.start()
        self.served.add(self.listener)
        self._clients = contextlib.ExitStack()

    def client(self, address: str = "127.0.0.1", buffer: int = 0) -> socket.socket:
        """Return a new connection from an address, with a small receive buffer if one is given."""
        client = self._clients.enter_context(socket.socket())
        client.settimeout(PATIENCE)
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.bind((address, 0))
        client.connect(self.listener.server_address)
        return client

    def text(self, request: str, address: str = "127.0.0.1") -> str:
        """Return the answer to a text."""
        with self.client(address) as client:
            client.sendall(request.encode())
            return everything(client).decode()

    def end(self) -> None:
        """End all."""
        self.served.remove(self.listener)
        for name in [*self.rack.held]:
            self.rack.let_go(name)
        assert self.served.close(0)
        self.rack.stop()
        self._clients.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Return a function that makes a house with some settings of the daemon."""
    made: list[House] = []

    def make(**daemon: Any) -> House:
        made.append(House(tmp_path, **daemon))
        return made[-1]

    yield make
    for each in made:
        each.end()


def get(path: str, *headers: str) -> bytes:
    """Return a request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: lab", *headers, "", ""]).encode()


def everything(client: socket.socket) -> bytes:
    """Return all that comes until the connection is closed, in whichever way."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while more := client.recv(65536):
            received += more
    return received


def answer(stream: Any) -> tuple[int, bytes]:
    """Read one answer of HTTP: its status and its body."""
    status = int(stream.readline().split()[1])
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b": ")
        if name == b"Content-Length":
            length = int(value)
    return status, stream.read(length)


def test_one_address_that_takes_all_connections_it_can_leaves_the_others_served(house: Callable[..., House]) -> None:
    lab = house(max_connections=40)
    greedy = [lab.client("127.0.0.2") for _ in range(60)]
    assert eventually(lambda: len(lab.served._open) >= 10)
    turned_away = eventually(lambda: refused(greedy, 50))
    assert lab.text("left 1 on", "127.0.0.3") == "ack\n"
    kept = next(client for client in greedy if client not in turned_away)
    kept.sendall(b"left 2 on\n")
    assert everything(kept) == b"ack\n"


def refused(clients: list[socket.socket], count: int) -> list[socket.socket]:
    """Return those whose connections are closed, once there are so many; never are there more."""
    found = [client for client in clients if closed(client)]
    assert len(found) <= count
    return found if len(found) == count else []


def closed(client: socket.socket) -> bool:
    """Whether a client that has sent nothing finds its connection closed. Those that are kept say nothing."""
    client.settimeout(0.02)
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        client.settimeout(PATIENCE)


def test_a_bound_for_each_address_that_is_given_is_the_one_that_counts(house: Callable[..., House]) -> None:
    lab = house(max_connections=40, max_connections_per_address=2)
    greedy = [lab.client("127.0.0.2") for _ in range(5)]
    eventually(lambda: refused(greedy, 3))
    assert lab.text("left 1 on", "127.0.0.3") == "ack\n"


def test_who_leaves_and_comes_back_while_nobody_looks_is_not_refused(house: Callable[..., House]) -> None:
    """A listener is ready before the connection that is closed is: what has come is taken in before anybody is refused."""
    lab = house(max_connections_per_address=2)
    for port in range(1, 20):
        staying, leaving = lab.client(), lab.client()
        eventually(lambda: len(lab.served._open) == 2)
        busy = threading.Event()
        lab.served.call(functools.partial(busy.wait, PATIENCE))
        other = lab.client("127.0.0.2")
        leaving.close()
        back = lab.client()
        busy.set()
        back.sendall(f"left {port} on\n".encode())
        assert everything(back) == b"ack\n"
        for each in (staying, other, back):
            each.close()
        eventually(lambda: not lab.served._open)


def test_who_has_left_makes_room_for_others_from_there(house: Callable[..., House]) -> None:
    lab = house(max_connections_per_address=1)
    for port in range(1, 20):
        eventually(lambda: not lab.served._open)
        assert lab.text(f"left {port} on") == "ack\n"
    eventually(lambda: not lab.served._acceptor.open)


def test_one_address_that_fills_a_queue_leaves_it_open_to_the_others(house: Callable[..., House]) -> None:
    lab = house(max_queue=1000, max_queue_per_address=5)
    lab.rack.hold("left", "500")
    answers = [lab.text(f"left {port} on wait=0", "127.0.0.2") for port in range(1, 10)]
    assert answers[:5] == ["ack\n"] * 5
    assert all("its queue is full for 127.0.0.2" in refused for refused in answers[5:])
    assert lab.text("left 20 on wait=0", "127.0.0.3") == "ack\n"
    lab.rack.let_go("left")
    eventually(lambda: lab.text("left 21 on", "127.0.0.2") == "ack\n")


def test_who_does_not_read_is_closed_and_costs_little(house: Callable[..., House]) -> None:
    """What he has asked for ahead is not answered before he has read what there is."""
    lab = house(client_timeout=4)
    lab.rack.pdus |= {f"more{number}": {"driver": "dummy"} for number in range(500)}
    lab.rack.dispatcher.reload(lab.rack.config())
    deaf = lab.client("127.0.0.2", buffer=4096)
    deaf.sendall(get("/api/v1/pdus") * 1000)
    (held,) = eventually(lambda: [each for each in lab.served._open.values() if each.unsent])
    most = 0

    def gone() -> bool:
        nonlocal most
        most = max(most, sum(len(data) for data in held.unsent))
        return held not in lab.served._open.values()

    eventually(gone)
    assert most < 1_000_000
    assert lab.text("left 1 on", "127.0.0.3") == "ack\n"


def test_a_large_answer_arrives_whole_in_parts(house: Callable[..., House]) -> None:
    lab = house()
    lab.rack.pdus |= {f"more{number}": {"driver": "dummy"} for number in range(900)}
    lab.rack.dispatcher.reload(lab.rack.config())
    slow = lab.client(buffer=4096)
    slow.sendall(get("/api/v1/pdus") + get("/healthz", "Connection: close"))
    eventually(lambda: any(each.unsent for each in lab.served._open.values()))
    with slow.makefile("rb", buffering=1000) as stream:
        status, body = answer(stream)
        assert status == 200 and [pdu["name"] for pdu in json.loads(body)] == [*lab.rack.pdus]
        assert answer(stream) == (200, b"ok\n")
        assert stream.read() == b""


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_that_has_shut_its_side_is_answered(house: Callable[..., House], waits: bool) -> None:
    lab = house()
    if waits:
        lab.rack.hold("left", "9")
    requests = (b"left 1 on", b"left 2 on\nleft 3 on\n", get(ON.format("left", 4)))
    clients = [lab.client() for _ in requests]
    for client, request in zip(clients, requests, strict=True):
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
    if waits:
        eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] >= 4)
        lab.rack.let_go("left")
    one, two, three = (everything(client) for client in clients)
    assert (one, two) == (b"ack\n", b"ack\nack\n")
    assert three.startswith(b"HTTP/1.1 200 ") and three.endswith(b"OK - accepted request\n")
    eventually(lambda: not lab.served._open)


def test_what_was_sent_ahead_is_answered_in_order_behind_what_waits(house: Callable[..., House]) -> None:
    lab = house()
    lab.rack.hold("left", "9")
    client = lab.client()
    paths = [ON.format("left", 1), "/healthz", ON.format("nobody", 1), ON.format("right", 2), "/nothing"]
    client.sendall(b"".join(map(get, paths)))
    text = lab.client()
    text.sendall(b"left 3 on\nleft 0 on\nright 4 on\n")
    eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] >= 3)
    lab.rack.let_go("left")
    with client.makefile("rb") as stream:
        assert [answer(stream)[0] for _ in paths] == [200, 200, 503, 200, 404]
    first, second, third = everything(text).splitlines()
    assert (first, third) == (b"ack", b"ack") and second.startswith(b"nack: left: ")


@pytest.mark.parametrize("rest", [b"\n", b"\r\n", b"\n\n \r\n"])
def test_an_empty_line_behind_a_text_keeps_nobody_waiting(house: Callable[..., House], rest: bytes) -> None:
    """Old clients read until the connection is closed."""
    lab = house(client_timeout=3600)
    client = lab.client()
    client.sendall(b"left 1 on\n" + rest)
    assert everything(client) == b"ack\n"
    lab.rack.hold("left", "9")
    client = lab.client()
    client.sendall(b"left 2 on")
    eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] >= 2)
    client.sendall(rest)
    eventually(lambda: any(each.received or not each.exchange for each in lab.served._open.values()))
    lab.rack.let_go("left")
    assert everything(client) == b"ack\n"


def test_who_waits_hears_the_last_words(tmp_path: Path) -> None:
    lab = House(tmp_path)
    lab.rack.hold("left", "9")
    text, http = lab.client(), lab.client()
    text.sendall(b"left 1 on\n")
    http.sendall(get(ON.format("left", 2)))
    eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] == 3)
    lab.served.remove(lab.listener)
    lab.rack.dispatcher.close(0, lambda: lab.served.close(30))
    assert everything(text).startswith(b"nack: accepted as request ")
    assert everything(http).startswith(b"HTTP/1.1 503 ")
    lab.rack.let_go("left")


@pytest.mark.parametrize("moment", ["head", "waiting", "answered"])
def test_who_vanishes_costs_nothing(house: Callable[..., House], moment: str) -> None:
    lab = house()
    if moment == "waiting":
        lab.rack.hold("left", "9")
    before = len(os.listdir("/proc/self/fd"))
    for port in range(1, 30):
        client = lab.client("127.0.0.2")
        request = get(ON.format("left", port))
        client.sendall(request[:20] if moment == "head" else request)
        if moment == "waiting":
            eventually(lambda wanted=port + 1: lab.rack.dispatcher.snapshot()[0]["requests"] >= wanted)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    eventually(lambda: not lab.served._open and not lab.served._acceptor.open)
    if moment == "waiting":
        assert lab.text("right 1 on") == "ack\n"
        lab.rack.let_go("left")
        eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] == 0)
        assert len(lab.rack.seen["left"]) == 30  # what was accepted is carried out
    assert lab.text("left 40 on") == "ack\n"
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize("request_", [b"left 1 on\n", b"left 1 on", get(ON.format("left", 1), "Connection: close")])
def test_bytes_one_by_one_are_a_request_like_any_other(house: Callable[..., House], request_: bytes) -> None:
    lab = house()
    client = lab.client()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in request_:
        client.sendall(bytes([byte]))
    received = everything(client)
    assert received == b"ack\n" or received.startswith(b"HTTP/1.1 200 ")
    assert lab.rack.seen["left"] == "o"


@pytest.mark.parametrize(
    "beginning",
    [b"", b"G", b"GET /", b"GET / HTTP/1.1\r\nHost", b"le", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na"],
)
def test_who_never_ends_his_request_is_closed(house: Callable[..., House], beginning: bytes) -> None:
    lab = house(client_timeout=0.5)
    client = lab.client()
    client.sendall(beginning)
    received = everything(client)
    assert received == b"" or received.startswith(b"nack: ")
    assert not lab.rack.seen["left"]


def test_a_fault_with_one_client_is_the_end_of_that_connection_alone(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = house()
    speech = protocols.TextSpeech.take

    def faulty(self: protocols.TextSpeech) -> bool:
        if b"fault" in self._connection.received:
            raise ZeroDivisionError
        return speech(self)

    monkeypatch.setattr(protocols.TextSpeech, "take", faulty)
    other = lab.client()
    other.sendall(b"left 1")
    assert lab.text("fault\n") == ""
    other.sendall(b" on\n")
    assert everything(other) == b"ack\n"
    assert lab.text("left 2 on") == "ack\n"


def test_a_fault_that_belongs_to_nobody_does_not_end_the_thread(house: Callable[..., House]) -> None:
    lab = house()

    def fail() -> None:
        raise ZeroDivisionError

    for _ in range(3):
        lab.served.call(fail)
        lab.served.call(lambda: lab.served.at(0, fail))
    assert lab.text("left 1 on") == "ack\n"


def test_orders_that_cannot_be_handed_over_are_answered(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours must leave no client waiting for ever."""
    lab = house()
    with monkeypatch.context() as patch:
        patch.setattr(lab.rack.dispatcher, "submit", lambda wanted: 1 // 0)
        patch.setattr(lab.rack.dispatcher, "ask", lambda wanted: 1 // 0)
        assert lab.text("left 1 on").startswith("nack: internal error")
        assert lab.text("left 1 status").startswith("nack: internal error")
        client = lab.client()
        client.sendall(get(ON.format("left", 1)))
        with client.makefile("rb") as stream:
            assert answer(stream)[0] == 500
    assert lab.text("left 1 on") == "ack\n"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_nobody_is_lost(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lab = house()
    refused = threading.Event()
    accept = lab.listener.get_request

    def none_left() -> Any:
        refused.set()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lab.listener, "get_request", none_left)
    client = lab.client()
    client.sendall(b"left 1 on\n")
    assert refused.wait(PATIENCE)
    monkeypatch.setattr(lab.listener, "get_request", accept)
    assert everything(client) == b"ack\n"
    assert lab.text("left 2 on") == "ack\n"


def test_a_listener_that_goes_while_there_are_no_descriptors(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = house()
    other = Listener(ListenerOptions({"protocol": "tcp", "port": 0}), Access(), Refusals(lambda when, call: None))
    refused = threading.Event()

    def none_left() -> Any:
        refused.set()
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(other, "get_request", none_left)
    lab.served.add(other)
    with socket.create_connection(other.server_address):
        assert refused.wait(PATIENCE)
    lab.served.remove(other)
    assert other.fileno() == -1
    assert lab.text("left 1 on") == "ack\n"


def test_without_threads_what_takes_long_is_done_as_soon_as_there_is_one(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = house()
    client = lab.client()
    asked = threading.Event()

    def refuse(self: threading.Thread) -> None:
        asked.set()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        client.sendall(get("/healthz") + get("/api/v1/requests", "Connection: close"))
        assert asked.wait(PATIENCE)
    with client.makefile("rb") as stream:
        assert answer(stream) == (200, b"ok\n")
        assert answer(stream)[0] == 200


def test_random_bytes_end_nothing_and_leave_nothing(
    house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    lab = house(client_timeout=5)
    chance = random.Random(12)
    words = [
        b"GET ",
        b"/power/control/on?",
        b" HTTP/1.1\r\n",
        b"\r\n\r\n",
        b"\n",
        b"right ",
        b"7 ",
        b"o",
        b"key=",
        b"\0",
    ]
    words += [b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"99999999999", b"\xff\xfe", b"POST ", b"wait=0 "]
    before = len(os.listdir("/proc/self/fd"))
    with caplog.at_level(logging.ERROR):
        for _ in range(400):
            client = lab.client(f"127.0.0.{chance.randrange(2, 9)}")
            pieces = [
                chance.choice(words) if chance.random() < 0.8 else chance.randbytes(9)
                for _ in range(chance.randrange(1, 15))
            ]
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    client.sendall(piece)
                if chance.random() < 0.5:
                    client.shutdown(socket.SHUT_WR)
            client.close()
        assert lab.text("left 1 on") == "ack\n"
    eventually(lambda: not lab.served._open and len(os.listdir("/proc/self/fd")) <= before)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_client_is_known_by_the_connection_that_it_has(house: Callable[..., House]) -> None:
    """A late answer to one that has gone reaches nobody who has its descriptor since."""
    lab = house()
    lab.rack.hold("left", "9")
    gone = lab.client()
    gone.sendall(b"left 1 on\n")
    eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] == 2)
    (old,) = lab.served._open.values()
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    eventually(lambda: not lab.served._open)
    new = lab.client()
    (connection,) = eventually(lambda: [*lab.served._open.values()])
    assert isinstance(old, Connection) and connection is not old
    lab.rack.let_go("left")
    eventually(lambda: lab.rack.dispatcher.snapshot()[0]["requests"] == 0)
    new.sendall(b"right 1 on\n")
    assert everything(new) == b"ack\n"


def test_a_pdu_that_does_not_come_back_at_once_any_more_holds_up_no_client(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes back at once is switched by the thread that serves the clients."""
    monkeypatch.setattr(carrier, "PROMPT", 60.0)
    lab = house()
    for _ in range(carrier.TRUST):
        assert lab.text("left 1 on\n") == "ack\n"
    runner = lab.rack.dispatcher._fleet.runners["left"]
    eventually(lambda: runner._thread is None)
    before = lab.served._thread
    lab.rack.held["left"] = threading.Event()
    lab.rack.begun["left"].clear()
    waiting = lab.client()
    waiting.sendall(b"left 1 off\n")
    assert lab.rack.begun["left"].wait(60)
    for port in range(1, 4):
        assert lab.text(f"right {port} on\n") == "ack\n"
    assert runner._thread is before and before.name == "pdu left" and lab.served._thread.name == "connections"
    lab.rack.let_go("left")
    assert everything(waiting) == b"ack\n" and lab.rack.seen["left"][-1] == "f"
    assert lab.text("left 1 on\n") == "ack\n"


def unended(*kinds: type) -> list[object]:
    """Return what there is of requests in memory, or of other kinds, whether or not anybody needs it."""
    return [each for each in gc.get_objects() if isinstance(each, kinds or (Request, Step, Exchange))]


def test_a_request_leaves_nothing_to_be_looked_for_as_garbage(house: Callable[..., House]) -> None:
    """What refers to itself stays until the collector comes by, which takes time from everybody else."""
    lab = house()
    with lab.client() as client, client.makefile("rb") as stream:
        gc.collect()
        before = len(unended())  # of other tests
        gc.disable()
        try:
            for port in range(1, 20):
                client.sendall(get(ON.format("left", port)))
                assert answer(stream)[0] == 200
                assert lab.text(f"left {port} off") == "ack\n"
            eventually(lambda: len(unended()) <= before + 2)  # the worker has its last step until there is another
        finally:
            gc.enable()


def test_a_client_leaves_nothing_to_be_looked_for_as_garbage(house: Callable[..., House]) -> None:
    """A reload has what there is then never looked for again: each would leave the clients of some seconds for good."""
    lab = house(client_timeout=4)
    logging.disable()  # what is logged is kept by pytest
    gc.collect()
    before = len(unended(Connection))
    gc.disable()
    try:
        for port in range(1, 4):  # more that is refused is answered late
            assert lab.text(f"left {port} off") == "ack\n"
            for sent in (get(ON.format("left", port), "Connection: close"), b"left 1 o", b"GET / HT", b"", b"\xff\n"):
                with lab.client() as client:
                    client.sendall(sent)
            with lab.client() as client:
                client.sendall(get("/api/v1/events", "Accept: application/x-ndjson"))
                client.recv(1)
        eventually(lambda: len(unended(Connection)) <= before)
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def test_a_socket_that_somebody_else_has_closed_is_the_end_of_that_connection_alone(
    house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    lab = house()
    client = lab.client()
    eventually(lambda: len(lab.served._open) == 1)
    (connection,) = lab.served._open.values()
    ended = threading.Event()

    def end() -> None:
        os.dup2(os.open("/dev/null", os.O_RDONLY), connection.socket.fileno())  # which the selector does not know
        lab.served._drop(connection)
        ended.set()

    lab.served.call(end)
    assert ended.wait(PATIENCE) and not lab.served._open
    assert "Traceback" not in caplog.text and everything(client) == b""
    assert lab.text("left 1 on") == "ack\n"
