# SPDX-License-Identifier: MIT
"""Cleware USB-Switch 4 and 8, as Cleware's USBaccess library speaks with them. Reports stream, and lag behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base import hid
from tests.devices.base.device import Case, Mood

NAMES = ["ClewareUsbSwitch4", "ClewareUsbSwitch8"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.WRONG_PASSWORD, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
SERIAL = 407123
SHARED = "63813"


class Cleware(hid.Gadget):
    """What both have: a memory with the true serial number, and reports that tell of some time ago."""

    def __init__(self, product: int, ports: int, serial: int, shared: bool, release: int, mood: Mood) -> None:
        name = "USB-Switch"
        super().__init__(0x0D50, product, SHARED if shared else f"{serial:x}", name, release, mood)
        self.memory = f"{serial:07X}".encode().rjust(15, b"\xff").ljust(64, b"\xff")
        self.outlets = {str(number): "off" for number in range(1, ports + 1)}
        self.misses = 0  # so many orders are lost
        self.stale: list[bytes] = []
        self.read_at: int | None = None

    def heard(self, report: bytes) -> None:
        self.stale = [self.state()] * (6 if self.mood is Mood.SLOW else 3)
        self.stale[1] = bytes([self.stale[1][0] & 0x7F]) + self.stale[1][1:]  # not valid
        self.read_at = report[1] if len(report) == 2 and report[0] == 2 else None
        if self.read_at is not None:
            return
        if self.misses and self.is_order(report):
            self.misses -= 1
        else:
            self.act(report)

    def report(self) -> bytes:
        if self.stale:
            return self.stale.pop(0)
        state = self.state()
        if self.read_at is None:
            return state
        return state[:4] + bytes([self.read_at, self.memory[self.read_at]])

    def is_order(self, report: bytes) -> bool:
        """Whether a report is one that switches."""
        raise NotImplementedError

    def act(self, report: bytes) -> None:
        """Switch, or whatever else the report asks for."""
        raise NotImplementedError

    def state(self) -> bytes:
        """Return a report of six bytes."""
        raise NotImplementedError


class Switch4(Cleware):
    """Action 0, switch 0x10 and up, 1 or 0. Two bits for each port, of which the lower one says whether it is on."""

    def __init__(
        self, serial: int = SERIAL, shared: bool = False, release: int = 0x12, mood: Mood = Mood.WELL, ports: int = 4
    ) -> None:
        super().__init__(0x0008, ports, serial, shared, release, mood)

    def is_order(self, report: bytes) -> bool:
        return report[0] == 0

    def act(self, report: bytes) -> None:
        port = str(report[1] - 0x10 + 1)
        if report[0] == 0 and len(report) == 3 and port in self.outlets:
            self.outlets[port] = "on" if (report[2] == 1) != (self.release < 4) else "off"

    def state(self) -> bytes:
        on = [(state == "on") != (self.release < 4) for state in self.outlets.values()]
        bits = sum(1 << 2 * index for index, each in enumerate(on) if each)
        bits |= sum(1 << 2 * index - 1 for index in range(1, len(on)))  # which others there are
        return bytes([0x80 | bits, 0, 0, 0, 0, 0]) if self.release >= 10 else bytes([0x80, 0, bits, 0, 0, 0])


class Switch8(Cleware):
    """Action 3 with data and mask, action 6 with the number of the question, which the reports have from then on."""

    def __init__(
        self,
        serial: int = SERIAL,
        shared: bool = False,
        release: int = 0x10,
        mood: Mood = Mood.WELL,
        seven_bit: bool = False,
    ) -> None:
        super().__init__(0x0030, 8, serial, shared, release, mood)
        self.seven_bit = seven_bit
        self.question = 0
        self.changed = 0  # since the last question
        self.told_changed = 0

    def is_order(self, report: bytes) -> bool:
        return self.decoded(report)[0] == 3

    def decoded(self, report: bytes) -> tuple[int, bytes]:
        """Return the action and the four bytes that follow, put together again where the device wants 7 bits."""
        if not self.seven_bit:
            return report[0], report[1:]
        rest = bytes(byte | (report[0] >> 3 - place & 1) << 7 for place, byte in enumerate(report[1:]))
        return report[0] >> 4, rest

    def act(self, report: bytes) -> None:
        action, rest = self.decoded(report)
        if action == 3 and len(rest) == 4:
            data, mask = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:], "big")
            for port in self.outlets:
                bit = 1 << int(port) - 1
                state = "on" if data & bit else "off"
                if mask & bit and self.outlets[port] != state:
                    self.outlets[port] = state
                    self.changed |= bit
        elif action == 6:
            self.question = rest[0]
            self.told_changed, self.changed = self.changed, 0

    def state(self) -> bytes:
        bits = sum(1 << int(port) - 1 for port, state in self.outlets.items() if state == "on")
        if self.release < 7:
            bits ^= 0xFFFF
        return bytes([0x88, self.question, *self.told_changed.to_bytes(2, "big"), *bits.to_bytes(2, "big")])


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Attach a device with the serial number that they all share, and another one."""
    kind = {"ClewareUsbSwitch4": Switch4, "ClewareUsbSwitch8": Switch8}[name]
    device = kind(shared=True, mood=mood)
    with hid.attached(kind(serial=77), device):
        settings = {"driver": name, "serial": SERIAL}
        identity = ("Cleware", "USB-Switch", str(SERIAL), str(device.release))
        bad = ["0", str(len(device.outlets) + 1), "a"]
        yield Case(device, "switch", settings, [*device.outlets], bad, identity=identity)
