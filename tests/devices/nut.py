# SPDX-License-Identifier: MIT
"""A server of Network UPS Tools with a switched PDU behind it, as upsd 2.8.0 answers."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["nut"]
MOODS = [*Mood]
PASSWORD = 'ups\\"7 x'


class Upsd(Device):
    """A PDU of three outlets, and a second one behind it with one. ``tracks``: it knows SET TRACKING."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"1": "off", "2": "off", "3": "off", "2.1": "off"}
        self.variables = {
            "device.mfr": "EATON",
            "device.model": "ePDU MA 00U-C IN",
            "device.serial": "ADO1",
            "ups.firmware": "1.2",
            "input.voltage": "230.1",
            "input.realpower": "230",
            "outlet.count": "3",
            "outlet.1.desc": 'Router "one" \\ two',
            "outlet.1.realpower": "12.5",
            "outlet.1.current": "0.11",
            "outlet.2.name": "Web",
            "outlet.2.energy": "1234",
        }
        self.group: tuple[str, ...] = ()  # the outlets of its group
        self.tracks = True
        self.late = 1  # how often an order is said to be pending
        self.outcome = "SUCCESS"

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.GARBLED:
            self.send(connection, b"\x05\x00pow\xff\xfe\n\n")
            return
        data = b""
        session: dict[str, str] = {}
        while True:
            while b"\n" not in data:
                data += self.receive(connection)
            line, _, data = data.partition(b"\n")
            with self.lock:
                said = self.answer(shlex.split(line.decode()), session)
            self.send(connection, f"{said}\n".encode())
            if line == b"LOGOUT":
                return

    def answer(self, words: list[str], session: dict[str, str]) -> str:
        """Carry out a command."""
        match words:
            case ["LOGOUT"]:
                return "OK Goodbye"
            case ["USERNAME" | "PASSWORD" as key, value]:
                session[key] = value
                return "OK"
            case ["SET", "TRACKING", "ON"]:
                session["tracks"] = "yes"
                return "OK" if self.tracks else "ERR INVALID-ARGUMENT"
            case ["GET", "TRACKING", _]:
                self.late -= 1
                return "PENDING" if self.late >= 0 else self.outcome
            case ["LIST", "UPS"]:
                return 'BEGIN LIST UPS\nUPS other "not there"\nUPS epdu "ePDU of row 1"\nEND LIST UPS'
            case ["LIST" | "GET" | "INSTCMD", *rest] if "epdu" not in rest:
                return "ERR UNKNOWN-UPS"
            case ["LIST" | "GET" | "INSTCMD", *_] if self.mood is Mood.BUSY:
                return "ERR DATA-STALE"
            case ["LIST", "VAR", ups]:
                lines = [f"VAR {ups} {name} {self.quoted(value)}" for name, value in self.all().items()]
                return "\n".join([f"BEGIN LIST VAR {ups}", *lines, f"END LIST VAR {ups}"])
            case ["GET", "VAR", ups, name]:
                value = self.all().get(name)
                return "ERR VAR-NOT-SUPPORTED" if value is None else f"VAR {ups} {name} {self.quoted(value)}"
            case ["INSTCMD", _, command]:
                return self.command(command, session)
        return "ERR UNKNOWN-COMMAND"

    def command(self, command: str, session: dict[str, str]) -> str:
        """Carry out an instant command."""
        if not session.get("USERNAME"):
            return "ERR USERNAME-REQUIRED"
        password = "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD
        if (session["USERNAME"], session.get("PASSWORD")) != ("pdu", password) or self.mood is Mood.REFUSING:
            return "ERR ACCESS-DENIED"
        if (
            self.group
            and (whole := re.fullmatch(r"outlet\.group\.1\.load\.(on|off)", command))
            and self.outcome == "SUCCESS"
        ):
            self.outlets |= dict.fromkeys(self.group, whole[1])
            return "OK TRACKING 2DDC5036-F665-4D29-BE4C-0374D091D263" if self.tracks else "OK"
        found = re.fullmatch(r"(?:device\.(\d+)\.)?outlet\.(\d+)\.load\.(on|off)", command)
        port = found and (f"{found[1]}.{found[2]}" if found[1] else found[2])
        if not found or port not in self.outlets:
            return "ERR CMD-NOT-SUPPORTED"
        if self.outcome == "SUCCESS":
            self.outlets[port] = found[3]
        self.late = 1
        return "OK TRACKING 2DDC5036-F665-4D29-BE4C-0374D091D263" if self.tracks else "OK"

    def all(self) -> dict[str, str]:
        """Return all variables."""
        states = {}
        for port, state in self.outlets.items():
            device, _, number = port.rpartition(".")
            states[f"device.{device}.outlet.{number}.status" if device else f"outlet.{number}.status"] = state
        groups = {f"outlet.{port}.groupid": "7" for port in self.group}
        groups |= {"outlet.group.1.id": "7", "outlet.group.1.name": "Storage"} if self.group else {}
        return {**self.variables, **groups, **states, "outlet.status": "on"}

    @staticmethod
    def quoted(value: str) -> str:
        """Return a value as the protocol has it."""
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a server."""
    with Upsd(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": device.port, "username": "pdu", "password": PASSWORD}
        bad = ["0", "-1", "x", "1.2.3", "1.", ".1", "1 load.off", "2.0"]
        readings = {"1": {"watts": 12.5, "amps": 0.11}, "2": {"watt_hours": 1234.0}}
        yield Case(
            device,
            "epdu",
            settings,
            ["1", "2", "3", "2.1"],
            bad,
            [PASSWORD],
            names={"1": 'Router "one" \\ two', "2": "Web"},
            readings=readings,
            inlets={"total": {"watts": 230.0, "volts": 230.1}},
            identity=("EATON", "ePDU MA 00U-C IN", "ADO1", "1.2"),
        )
