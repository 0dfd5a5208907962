# SPDX-License-Identifier: MIT
"""A wire between a driver and its device that at some point of what the device says does something else with it.

`Wire` is one of TCP, `Line` one that a device behind a pseudo terminal gets.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from tests.devices.base.device import Device
from tests.devices.base.pty import PtyDevice

PIECE = 65536


class Wire(Device):
    """Carries all bytes to a device and back, over any number of connections, until ``after`` of those from the device.

    Then ``act`` is done with what comes next and the client's connection; ``None`` carries on for ever, and ``carried``
    is how many there were. What is sent to the client beyond the device's own words is counted in ``made_up``.
    """

    def __init__(
        self, port: int, after: int = 0, act: Callable[[Wire, socket.socket, bytes], None] | None = None
    ) -> None:
        super().__init__()
        self.device_port = port
        self.after = after
        self.act = act
        self.carried = 0
        self.made_up = 0
        self.acted = False

    def converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(("127.0.0.1", self.device_port)) as device:
            self._connections.append(device)
            there = threading.Thread(target=self._carry, args=(connection, device), daemon=True)
            there.start()
            try:
                self._answer(connection, device)
            finally:
                for each in (device, connection):
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                there.join(5)

    def _carry(self, connection: socket.socket, device: socket.socket) -> None:
        try:
            while data := connection.recv(4096):
                device.sendall(data)
            device.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _answer(self, connection: socket.socket, device: socket.socket) -> None:
        while data := device.recv(4096):
            left = self.after - self.carried
            if self.act is None or self.acted or left >= len(data):
                connection.sendall(data)
                self.carried += len(data)
                continue
            connection.sendall(data[:left])
            self.carried += left
            self.acted = True
            self.act(self, connection, data[left:])

    def pour(self: Any, connection: Any, data: bytes) -> None:
        """Send the same for ever, or until nobody takes it any more."""
        whole = data * (PIECE // len(data))
        while not self.closing.is_set():
            connection.sendall(whole)
            self.made_up += len(whole)


class Line:
    """The same for a serial line, of which a wire's acts know no more than that they send: with `sendall`."""

    def __init__(self, device: PtyDevice, after: int = 0, act: Callable[[Any, Any, bytes], None] | None = None) -> None:
        self.device = device
        self.after = after
        self.act = act
        self.carried = 0
        self.made_up = 0
        self.acted = False
        self.closing = device.closing
        os.set_blocking(device._device, False)
        vars(device)["send"] = self.send

    def send(self, data: bytes) -> None:
        """Send what the device says, or something else."""
        left = self.after - self.carried
        if self.act is None or self.acted or left >= len(data):
            self.sendall(data)
            self.carried += len(data)
            return
        self.sendall(data[:left])
        self.carried += left
        self.acted = True
        with contextlib.suppress(ConnectionError):
            self.act(self, self, data[left:])

    def sendall(self, data: bytes) -> None:
        """Send some bytes, as fast as they are taken."""
        while data and not self.closing.is_set():
            try:
                data = data[os.write(self.device._device, data) :]
            except BlockingIOError:
                self.closing.wait(0.005)

    pour = Wire.pour


def cut(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Close."""
    raise ConnectionError


def reset(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Close as who crashes does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RD)  # so that who reads from it lets go of it: else it stays open
    connection.close()
    raise ConnectionError


def silence(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Say nothing more."""
    wire.closing.wait(60)


def garbage(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Say something random, a screenful for each word of the device."""
    connection.sendall(random.Random(len(rest)).randbytes(3000))
    raise ConnectionError


def nulls(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Pour zeros."""
    wire.pour(connection, bytes(1000))


def lines(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Pour lines that mean nothing."""
    wire.pour(connection, b"0: garbage, on\r\n")


def text(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Pour a line that has no end."""
    wire.pour(connection, b"garbage ")


def again(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Say what the device has said just now, for ever."""
    wire.pour(connection, rest)


def echo(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Say it twice, once, and be the device again."""
    connection.sendall(rest + rest)


def blanks(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Put many blanks in, and be the device again: what it says is whole, and a pattern may take minutes for it."""
    connection.sendall(b" " * 30000 + rest)


def digits(wire: Wire, connection: socket.socket, rest: bytes) -> None:
    """Do so with digits, which are a number that is too long."""
    connection.sendall(b"1" * 30000 + rest)


ACTS = [cut, reset, silence, garbage, nulls, lines, text, again, echo, blanks, digits]
ON_A_LINE = [silence, garbage, nulls, lines, text, again, echo]
