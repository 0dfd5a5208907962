# SPDX-License-Identifier: MIT
"""TP-Link Kasa plugs and strips: JSON under the XOR cipher of port 9999, one command for each connection."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Device, Mood

NAMES = ["tplink"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
PORTS_ARE_NAMES = True  # whatever people call an outlet is a port

DEVICE_ID = "80067AC4FDBD41C54C55896BFA07EA8F1AB4B4D1"


def scrambled(text: str) -> bytes:
    """Return a text as it goes over the wire, without its length."""
    out = [171]
    for byte in text.encode():
        out.append(byte ^ out[-1])
    return bytes(out[1:])


def plain(data: bytes) -> str:
    """Return the text of what came over the wire."""
    return bytes(byte ^ before for byte, before in zip(data, bytes([171]) + data, strict=False)).decode()


class Plug(Device):
    """A device with outlets of some names; without names, a single plug. ``short``: it tells ids of two digits."""

    def __init__(self, *aliases: str, mood: Mood = Mood.WELL, short: bool = False) -> None:
        super().__init__(mood)
        self.aliases = aliases
        self.outlets = {str(number): "off" for number in range(1, max(1, len(aliases)) + 1)}
        self.short = short
        self.padding = ""  # more for the device to say
        self.realtime: dict[str, Any] | None = None  # what the meter of an outlet says, if there are any
        self.error = -3 if mood is Mood.REFUSING else 0

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.BUSY:
            return
        size = int.from_bytes(self.exactly(connection, 4), "big")
        request = json.loads(plain(self.exactly(connection, size)))
        if self.mood is Mood.GARBLED:
            self.send(connection, b"\0\0\0\x09not at all")
            return
        with self.lock:
            said = {"emeter": self.meter(request)} if "emeter" in request else {"system": self.answer(request)}
            answer = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
        data = scrambled(answer)
        self.send(connection, len(data).to_bytes(4, "big") + data)

    def exactly(self, connection: socket.socket, size: int) -> bytes:
        """Receive so many bytes."""
        data = b""
        while len(data) < size:
            data += self.receive(connection, size - len(data))
        return data

    def send(self, connection: socket.socket, data: bytes) -> None:
        pieces = 5 if self.mood is Mood.SLOW else 1
        size = len(data) // pieces + 1
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
            if self.mood is Mood.SLOW:
                self.closing.wait(0.01)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a request."""
        ((command, words),) = request["system"].items()
        if command == "get_sysinfo":
            return {command: self.info()}
        if command != "set_relay_state":
            return {command: {"err_code": -2, "err_msg": "member not support"}}
        if self.mood is Mood.REFUSING:
            return {command: {"err_code": self.error}}
        ids = request.get("context", {}).get("child_ids", [])
        if bool(ids) != bool(self.aliases):
            return {command: {"err_code": -14}}
        for port in self.outlets:
            if not self.aliases or DEVICE_ID + self.number(port) in ids:
                self.outlets[port] = "on" if words["state"] == 1 else "off"
        return {command: {"err_code": 0}}

    def meter(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read the meter of one outlet."""
        ids = request.get("context", {}).get("child_ids", [])
        if request["emeter"] != {"get_realtime": {}} or len(ids) != bool(self.aliases):
            return {"get_realtime": {"err_code": -2}}
        if self.realtime is None:
            return {"err_code": -1, "err_msg": "module not support"}
        return {"get_realtime": {**self.realtime, "err_code": 0}}

    @staticmethod
    def number(port: str) -> str:
        """Return the end of an outlet's id."""
        return f"{int(port) - 1:02}"

    def info(self) -> dict[str, Any]:
        """Return what the device has itself."""
        states = {port: int(state == "on") for port, state in self.outlets.items()}
        about = {"err_code": 0, "sw_ver": "1.0.3", "deviceId": DEVICE_ID, "padding": self.padding}
        if not self.aliases:
            return {**about, "model": "HS105(US)", "alias": "Bench lamp", "relay_state": states["1"]}
        begin = "" if self.short else DEVICE_ID
        children = [
            {"id": begin + self.number(port), "state": states[port], "alias": alias, "on_time": 0}
            for port, alias in zip(self.outlets, self.aliases, strict=True)
        ]
        return {**about, "model": "KP303(UK)", "alias": "Strip", "child_num": len(children), "children": children}


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a strip of three; its address is the name of the PDU."""
    with Plug("Plug 1", "Plug 2", "board farm/3", mood=mood) as device:
        device.realtime = {"voltage_mv": 230123, "current_ma": 51, "power_mw": 11700, "total_wh": 734}
        drawn = {"watts": 11.7, "volts": 230.123, "amps": 0.051, "watt_hours": 734}
        yield Case(
            device,
            "127.0.0.1",
            {"driver": name, "port": device.port},
            [*device.outlets],
            [" ", "Plug\t1", " 1", "x" * 101],
            names=dict(zip(device.outlets, device.aliases, strict=True)),
            readings=dict.fromkeys(device.outlets, drawn),
            identity=("TP-Link", "KP303(UK)", DEVICE_ID, "1.0.3"),
        )
