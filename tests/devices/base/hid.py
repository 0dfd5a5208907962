# SPDX-License-Identifier: MIT
"""The package hidapi 0.14 with devices of ours attached: the module ``hid`` as it has it.

Nothing more than what programs use of it, but that in the same shape: what is returned, and what is raised, which says
no reason. So whether a device's node in /dev is ours to use is told to the package by the mood, too.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from tests.devices.base.device import Mood

_ports = itertools.count(1)


class Gadget:
    """A device on the bus. A subclass says in `heard` what it does with a report, and in `report` what it sends."""

    def __init__(
        self, vendor: int, product: int, serial: str, name: str = "", release: int = 0, mood: Mood = Mood.WELL
    ) -> None:
        self.vendor = vendor
        self.product = product
        self.serial = serial
        self.name = name
        self.release = release
        self.mood = mood
        self.outlets: dict[str, str] = {}
        self.received = bytearray()
        self.sessions = 0  # how often it was opened
        self.reads = 0
        self.held_by: Any = None  # the handle that has it open; 0 another program
        self.refuses = 0  # how often it is not to be had, since another program is about to let it go
        self.path = f"1-1.{next(_ports)}:1.0".encode()

    def heard(self, report: bytes) -> None:
        """Act on a report as the device gets it."""
        raise NotImplementedError

    def report(self) -> bytes:
        """Return the next report; nothing if there is none for now."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """Return what ``hid.enumerate`` has of it; strings cannot be read without access."""
        denied = self.mood is Mood.WRONG_PASSWORD
        return {
            "path": self.path,
            "vendor_id": self.vendor,
            "product_id": self.product,
            "serial_number": "" if denied else self.serial,
            "release_number": self.release,
            "manufacturer_string": "",
            "product_string": "" if denied else self.name,
            "usage_page": 0,
            "usage": 0,
            "interface_number": 0,
        }


class Scripted(Gadget):
    """Plays the device's side of a conversation of reports: expects each to the letter."""

    def __init__(
        self, vendor: int, product: int, serial: str, exchanges: list[tuple[str, str]], release: int = 0
    ) -> None:
        super().__init__(vendor, product, serial, release=release)
        self.exchanges = [(bytes.fromhex(asked).removeprefix(b"\0"), bytes.fromhex(said)) for asked, said in exchanges]
        self.played = 0
        self.says = b""

    def heard(self, report: bytes) -> None:
        asked, said = self.exchanges[self.played]
        if report == asked:
            self.played += 1
            self.says = said

    def report(self) -> bytes:
        said, self.says = self.says, b""
        return said


@contextmanager
def attached(*gadgets: Gadget) -> Iterator[None]:
    """Let hidapi be installed, and these devices be attached; in the end, that all were closed is checked."""

    def present() -> list[Gadget]:
        return [gadget for gadget in gadgets if gadget.mood is not Mood.GONE]

    def enumerate(vendor_id: int = 0, product_id: int = 0) -> list[dict[str, Any]]:
        return [
            gadget.info()
            for gadget in present()
            if vendor_id in (0, gadget.vendor) and product_id in (0, gadget.product)
            for _ in range(2)  # as versions do that list a device once for each of its uses
        ]

    class device:
        def __init__(self) -> None:
            self._gadget: Gadget | None = None

        def open_path(self, path: bytes) -> None:
            assert isinstance(path, bytes)
            for gadget in present():
                if gadget.path == path and gadget.refuses:
                    gadget.refuses -= 1
                    break
                if gadget.path == path and gadget.held_by is None:
                    if gadget.mood in (Mood.BUSY, Mood.WRONG_PASSWORD):
                        break
                    gadget.sessions += 1
                    gadget.held_by = self
                    self._gadget = gadget
                    return
            raise OSError("open failed")

        def close(self) -> None:
            if self._gadget is not None:
                self._gadget.held_by = None
                self._gadget = None

        def write(self, buff: Any) -> int:
            gadget = self._open()
            data = bytes(buff)
            if gadget.mood is Mood.GONE:
                return -1
            report = data[1:] if data[0] == 0 else data  # the number 0 is not sent
            gadget.received += report
            if gadget.mood is not Mood.DEAF:
                gadget.heard(report)
            return len(data)

        def read(self, max_length: int, timeout_ms: int = 0) -> list[int]:
            gadget = self._open()
            assert timeout_ms > 0, "a read that waits for ever"
            end = time.monotonic() + timeout_ms / 1000
            gadget.reads += 1
            if gadget.reads % 2 == 0 and gadget.mood is not Mood.DEAF:
                return []  # some devices send an empty packet after each report
            late = False
            while not late:
                late = time.monotonic() >= end  # what is there is read even so, however busy the machine is
                if gadget.mood is Mood.GONE:
                    raise OSError("read error")
                pause = {Mood.DEAF: timeout_ms / 1000, Mood.GARBLED: 0.01, Mood.SLOW: 0.004}.get(gadget.mood, 0.001)
                threading.Event().wait(pause)
                for _ in range(10 if late else 1):
                    report = b"" if gadget.mood is Mood.DEAF else gadget.report()
                    if report:
                        garbled = gadget.mood is Mood.GARBLED
                        return [byte & 0x5A if garbled else byte for byte in report[:max_length]]
            return []

        def error(self) -> str:
            return "Success"

        def _open(self) -> Gadget:
            if self._gadget is None:
                raise ValueError("not open")
            return self._gadget

    def denied(node: str) -> bool:
        return any(gadget.path.decode() == node and gadget.mood is Mood.WRONG_PASSWORD for gadget in gadgets)

    library = ModuleType("hid")
    vars(library).update(enumerate=enumerate, device=device)
    with mock.patch.dict(sys.modules, {"hid": library}), mock.patch("pdudaemon.transports.hid.denied", denied):
        yield
    assert not any(gadget.held_by for gadget in gadgets), "a device was left open"
