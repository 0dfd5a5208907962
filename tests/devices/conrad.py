# SPDX-License-Identifier: MIT
"""Conrad relay cards in a cascade behind a real pty: frames of four bytes, passed on from card to card to the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.pty import PtyDevice

NAMES = ["conrad197720"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY]

NOP, SETUP, GET_PORT, SET_PORT, GET_OPTION, SET_OPTION, SET_SINGLE, DEL_SINGLE, TOGGLE = range(9)


def frame(command: int, address: int, data: int) -> bytes:
    """Return a frame with its checksum."""
    return bytes([command, address, data, command ^ address ^ data])


class Card:
    """One card: it has no address before the initialisation."""

    def __init__(self, cascade: Cascade, first: int) -> None:
        self.cascade = cascade
        self.ports = [str(number) for number in range(first, first + 8)]
        self.address = 0
        self.option = 1
        self.waiting = b""

    def take(self, data: bytes) -> bytes:
        """Take some bytes; return what goes on to the next card, or to the host."""
        self.waiting += data
        said = b""
        while len(self.waiting) >= 4:
            whole, self.waiting = self.waiting[:4], self.waiting[4:]
            said += self.answer(whole)
        return said

    def answer(self, whole: bytes) -> bytes:
        """Act on one frame."""
        command, address, data, check = whole
        if check != command ^ address ^ data:
            return frame(255, self.address, 0)
        if command == SETUP:
            self.address = address
            return frame(254, address, 1) + frame(SETUP, (address + 1) % 256, 0)
        if command > TOGGLE or address not in (0, self.address):
            return whole
        if address == 0:
            said = self.execute(command, data) if self.option & 1 else b""
            return said + (frame(NOP, 0, 0) if self.option & 2 else whole)
        return self.execute(command, data)

    def execute(self, command: int, data: int) -> bytes:
        """Carry out a command and return the answer."""
        outlets = self.cascade.outlets
        if command == NOP or (self.cascade.mood is Mood.REFUSING and command != GET_OPTION):
            return frame(255, self.address, 0)
        if command == GET_OPTION:
            return frame(251, self.address, self.option)
        if command == SET_OPTION:
            self.option = data
            return frame(250, self.address, 0)
        for bit, port in enumerate(self.ports):
            if command == SET_PORT:
                outlets[port] = "on" if data >> bit & 1 else "off"
            elif command != GET_PORT and data >> bit & 1 and not self.cascade.stuck:
                other = "off" if outlets[port] == "on" else "on"
                outlets[port] = {SET_SINGLE: "on", DEL_SINGLE: "off", TOGGLE: other}[command]
        states = sum(1 << bit for bit, port in enumerate(self.ports) if outlets[port] == "on")
        return frame(255 - command, self.address, 0 if command == SET_PORT else states)


class Cascade(PtyDevice):
    """Some cards in a ring with the host."""

    def __init__(self, cards: int, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(cards * 8)}
        self.cards = [Card(self, first * 8) for first in range(cards)]
        self.stuck = False  # answers and switches nothing

    def heard(self, data: bytes) -> None:
        self.sessions += 1
        for card in self.cards:
            data = card.take(data)
        if self.mood is Mood.GARBLED:
            data = bytes(byte ^ 0x55 if at % 4 == 3 else byte for at, byte in enumerate(data))
        if data:
            self.send(data)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run two cards."""
    with Cascade(2, mood) as device:
        settings = {"driver": name, "device": device.path}
        yield Case(device, "farm", settings, [*device.outlets], ["2040", "-1", "K1"])
