# SPDX-License-Identifier: MIT
"""Serial lines: fake devices behind a real pty, ser2net before one; and recorded conversations of any device."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.devices.device import Device, Mood
from tests.peers.http import listening
from tests.support.ports import free_ports

DATA = Path(__file__).parent.parent / "data"


def conversation(name: str) -> list[tuple[str, str]]:
    """Return the exchanges of ``tests/data/NAME.json`` as (sent to the device, its answer)."""
    return [(exchange["tx"], exchange["rx"]) for exchange in json.loads((DATA / f"{name}.json").read_text())]


class Scripted(Device):
    """Plays the device's side of a conversation of bytes: expects each to the letter."""

    def __init__(self, exchanges: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self.exchanges = exchanges
        self.played = 0

    def converse(self, connection: socket.socket) -> None:
        for asked, said in self.exchanges:
            heard = b""
            while len(heard) < len(asked):
                heard += self.receive(connection, len(asked) - len(heard))
            if heard != asked:
                return
            self.played += 1
            connection.sendall(said)


class PtyDevice:
    """A device behind a pseudo terminal. A subclass says in `heard` what it does with what comes."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        self.mood = mood
        self.outlets: dict[str, str] = {}
        self.received = bytearray()
        self.sessions = 0
        self.closing = threading.Event()
        self._device, self._terminal = pty.openpty()
        tty.setraw(self._terminal)
        self.path = os.ttyname(self._terminal)
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def heard(self, data: bytes) -> None:
        """Act on some bytes."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send as the mood has it: a slow device sends piece by piece."""
        step = 3 if self.mood is Mood.SLOW else len(data)
        for start in range(0, len(data), max(1, step)):
            os.write(self._device, data[start : start + step])
            if self.mood is Mood.SLOW:
                self.closing.wait(0.003)

    def __enter__(self) -> Self:
        if self.mood is Mood.BUSY:
            fcntl.flock(self._terminal, fcntl.LOCK_EX)  # as another program would hold it
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        os.write(self._wake[1], b"x")
        self._thread.join(5)
        for descriptor in (self._device, self._terminal, *self._wake):
            os.close(descriptor)

    def _run(self) -> None:
        while not self.closing.is_set():
            if self._device in select.select([self._device, self._wake[0]], [], [])[0]:
                data = os.read(self._device, 4096)
                self.received += data
                if self.mood is not Mood.DEAF:
                    self.heard(data)


@contextmanager
def ser2net(folder: Path, path: str) -> Iterator[tuple[int, int]]:
    """Run ser2net for a serial line; yield its ports for RFC 2217 and for plain TCP."""
    if not shutil.which("ser2net"):
        pytest.skip("needs the Debian package ser2net")
    rfc2217, plain = free_ports(2)
    conf = folder / "ser2net.yaml"
    line = f"connector: serialdev,{path},9600n81,local"
    conf.write_text(
        "%YAML 1.1\n---\n"
        f"connection: &c1\n  accepter: telnet(rfc2217),tcp,127.0.0.1,{rfc2217}\n  {line}\n"
        f"connection: &c2\n  accepter: tcp,127.0.0.1,{plain}\n  {line}\n"
    )
    with listening(["ser2net", "-n", "-d", "-c", str(conf)], plain):
        yield rfc2217, plain
