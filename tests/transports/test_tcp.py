# SPDX-License-Identifier: MIT
"""TCP connections against real sockets: exact reads, lines, one deadline, and errors that say what happened."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import LIMIT, Connection
from tests.devices.base.device import Device, Mood
from tests.support.process import nothing_left_behind


class Scene(Device):
    """A device that does what a test says."""

    def __init__(self, act: Callable[[Scene, socket.socket], None], mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.act = act

    def converse(self, connection: socket.socket) -> None:
        self.act(self, connection)

    def connection(self, seconds: float = 30) -> Connection:
        return Connection("127.0.0.1", self.port, Deadline(seconds))


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Any:
    with nothing_left_behind():
        yield


def in_pieces(device: Scene, connection: socket.socket) -> None:
    for piece in (b"ab", b"c\r\nd", b"ef\n", b"> rest"):
        connection.sendall(piece)
        device.closing.wait(0.02)


def test_exact_reads_lines_and_prompts() -> None:
    with Scene(in_pieces) as device, device.connection() as connection:
        assert connection.receive_exactly(1, "a step") == b"a"
        assert connection.receive_line("a step") == b"bc"
        assert connection.receive_line("a step") == b"def"
        assert connection.receive_until(b"> ", "a step") == b"> "
        assert connection.receive_exactly(4, "a step") == b"rest"
        assert connection.receive("a step") == b""
        with pytest.raises(TransientError, match=rf"^connection closed by 127.0.0.1:{device.port} at the end$"):
            connection.receive_exactly(1, "the end")


def test_what_is_sent_arrives_in_one_piece() -> None:
    def echo(device: Scene, connection: socket.socket) -> None:
        connection.sendall(b"%d" % len(device.receive(connection)))

    with Scene(echo) as device, device.connection() as connection:
        connection.send(b"x" * 1000, "a step")
        assert connection.receive("a step") == b"1000"


def test_refused() -> None:
    with (
        Scene(in_pieces, Mood.GONE) as device,
        pytest.raises(TransientError, match=rf"^connection refused by 127.0.0.1:{device.port}$"),
    ):
        Connection("127.0.0.1", device.port, Deadline(30)).__enter__()


def test_silence_ends_with_the_deadline() -> None:
    with Scene(in_pieces, Mood.DEAF) as device, device.connection() as connection:
        begun = time.monotonic()
        connection.deadline = Deadline(0.3)
        with pytest.raises(DeviceTimeout, match=rf"^no answer from 127.0.0.1:{device.port} at the login within 0.3 s$"):
            connection.receive_exactly(1, "the login")
        assert 0.1 < time.monotonic() - begun < 20
        with pytest.raises(DeviceTimeout, match="at the next step"):
            connection.send(b"x", "the next step")


def test_what_came_while_we_stood_still_is_an_answer() -> None:
    def answer(device: Scene, connection: socket.socket) -> None:
        device.receive(connection)
        connection.sendall(b"ok")
        device.receive(connection)

    with Scene(answer) as device, device.connection() as connection:
        connection.send(b"?", "a step")
        select.select([connection._socket], [], [], 60)
        connection.deadline = Deadline(0)
        assert connection.receive_exactly(2, "a step") == b"ok"
        with pytest.raises(DeviceTimeout):
            connection.receive("a step")


def test_who_never_stops_talking_is_listened_to_once_more_at_most() -> None:
    def talk(device: Scene, connection: socket.socket) -> None:
        while not device.closing.is_set():
            connection.sendall(b"x" * 4096)

    with Scene(talk) as device, device.connection() as connection:
        select.select([connection._socket], [], [], 60)
        connection.deadline = Deadline(0)
        assert connection.receive("a step")
        with pytest.raises(DeviceTimeout):
            connection.receive("a step")


def test_one_deadline_for_all_however_slowly_it_dribbles() -> None:
    def dribble(device: Scene, connection: socket.socket) -> None:
        while not device.closing.wait(0.02):
            connection.sendall(b"x")

    with Scene(dribble) as device, device.connection() as connection:
        connection.deadline = Deadline(0.4)
        begun = time.monotonic()
        with pytest.raises(DeviceTimeout):
            connection.receive_line("a step")
        assert time.monotonic() - begun < 20


def test_a_device_that_takes_nothing() -> None:
    def sleep(device: Scene, connection: socket.socket) -> None:
        device.closing.wait(60)

    with Scene(sleep) as device, device.connection() as connection:
        connection.deadline = Deadline(0.3)
        with pytest.raises(DeviceTimeout, match="at sending"):
            connection.send(b"x" * 50_000_000, "sending")


def test_reset() -> None:
    def reset(device: Scene, connection: socket.socket) -> None:
        device.receive(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with Scene(reset) as device, device.connection() as connection:
        connection.send(b"x", "a step")
        with pytest.raises(TransientError, match=r"^connection closed by .* at a step$"):
            connection.receive_exactly(1, "a step")


def test_endless_line() -> None:
    def talk(device: Scene, connection: socket.socket) -> None:
        while not device.closing.is_set():
            connection.sendall(b"x" * 4096)

    with Scene(talk) as device, device.connection() as connection:
        with pytest.raises(TransientError, match="sends too much at a step"):
            connection.receive_line("a step")
        assert len(connection.receive("a step")) <= LIMIT


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scene(in_pieces) as device:
        known = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, device.port)) for host in ("127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
        with Connection("pdu.example", device.port, Deadline(30)) as connection:
            assert connection.peer == f"pdu.example:{device.port}"
            assert connection.receive_exactly(2, "a step") == b"ab"


def test_a_dead_address_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    full = socket.create_server(("127.0.0.2", 0), backlog=0)  # never accepts: further connections hang
    port = full.getsockname()[1]
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.2", port))
    with Scene(in_pieces) as device:
        known = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", device.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
        with Connection("pdu.example", device.port, Deadline(4)) as connection:
            assert connection.receive_exactly(2, "a step") == b"ab"
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known[:1])
        with pytest.raises(DeviceTimeout, match=r"^no answer from pdu.example:1 at the connection within 0.2 s$"):
            Connection("pdu.example", 1, Deadline(0.2)).__enter__()
    for each in (*fillers, full):
        each.close()


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_names_that_no_resolver_takes(host: str) -> None:
    with pytest.raises(TransientError, match=r"^cannot resolve '"):
        Connection(host, 1, Deadline(30)).__enter__()


def test_an_ipv6_address_is_named_as_one() -> None:
    for host in ("2001:db8::1", "[2001:db8::1]"):
        assert Connection(host, 23, Deadline(30)).peer == "[2001:db8::1]:23"


def test_an_ipv6_address_in_brackets() -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with listening, Connection("[::1]", listening.getsockname()[1], Deadline(30)):
        listening.accept()[0].close()
