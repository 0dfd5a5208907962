# SPDX-License-Identifier: MIT
"""Devices on a serial line: behind a real pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import threading
import tty
from typing import Self

from tests.devices.base.device import Mood


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
