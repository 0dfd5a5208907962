# SPDX-License-Identifier: MIT
"""Consoles over telnet: a login, a terminal with its echo, and one session at a time."""

from __future__ import annotations

import socket
import threading
import time

from tests.devices.base.device import Device, Mood


class Left(Exception):
    """The client has logged out."""


class Console(Device):
    """A console with one session, which it keeps for a while when a client just goes."""

    keep = 60.0  # seconds
    negotiation = b""

    def __init__(self, outlets: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, outlets + 1)}
        self.logouts = 0
        self._taken_until = 0.0

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY or time.monotonic() < self._taken_until:
            return
        if self.mood is Mood.GARBLED:
            while not self.closing.wait(0.005):  # all at once: a driver looks through it each time that some comes
                connection.sendall(b"\x7e\x00\x9d~{" * 16384)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.terminal = Terminal(self, connection)
        if self.negotiation:
            connection.sendall(self.negotiation)
        self.log_in()
        with self.lock:
            self._taken_until = float("inf")
        try:
            self.session()
        except Left:
            self.logouts += 1
            self._taken_until = 0.0
        except OSError:
            self._taken_until = time.monotonic() + self.keep
            raise

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send; slowly, but not as slowly as a short answer could be: there are many screens to a dialogue."""
        if self.mood is not Mood.SLOW:
            connection.sendall(data)
            return
        for start in range(0, len(data), 120):
            connection.sendall(data[start : start + 120])
            self.closing.wait(0.002)

    def log_in(self) -> None:
        """Ask who it is, until that is right."""
        raise NotImplementedError

    def session(self) -> None:
        """Do as the client says. Raises: Left."""
        raise NotImplementedError


class Terminal:
    """The keys of one client, with their echo: of those that came together, in one, unless the device is slow."""

    echoes = True

    def __init__(self, device: Device, connection: socket.socket) -> None:
        self._device = device
        self._connection = connection
        self._keys = bytearray()
        self._return = False
        self._echo = ""

    def write(self, text: str) -> None:
        """Show some text, after what is to be echoed."""
        self._device.send(self._connection, f"{self._echo}{text}".encode())
        self._echo = ""

    def hear(self) -> None:
        """Wait until something is typed, and leave it to be read."""
        if not self._keys:
            self._keys += self._device.receive(self._connection)

    def key(self) -> str:
        """Return the next key; telnet's own bytes and what follows a carriage return are passed over."""
        while True:
            byte = self._byte()
            if byte == 0xFF:
                if self._byte() in range(0xFB, 0xFF):
                    self._byte()
            elif not (self._return and byte in b"\n\0"):
                self._return = byte == 13
                return chr(byte)

    def line(self, stars: bool = False, keys: str = "") -> str:
        """Return the next line; or one of ``keys`` at once, if it is the first."""
        text = ""
        while (key := self.key()) != "\r":
            if not text and key in keys:
                return key
            text += key
            if self.echoes:
                self._echo += "*" if stars else key
                if self._device.mood is Mood.SLOW:
                    self.write("")
        self.write("\r\n")
        return text

    def _byte(self) -> int:
        while not self._keys:
            if self._echo:
                self.write("")
            self._keys += self._device.receive(self._connection)
        return self._keys.pop(0)


class Terminals(Console):
    """A console whose sessions have a terminal each: a client may come while the last one's login is still refused."""

    def __init__(self, outlets: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(outlets, mood)
        self._own = threading.local()

    @property
    def terminal(self) -> Terminal:
        terminal: Terminal = self._own.terminal
        return terminal

    @terminal.setter
    def terminal(self, terminal: Terminal) -> None:
        self._own.terminal = terminal
