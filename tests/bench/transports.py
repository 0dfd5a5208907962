# SPDX-License-Identifier: MIT
"""One on and one off by a driver over each transport, against the same bytes exchanged bare.

The device is a fake in this process. What the driver exchanges with it is recorded once, and then repeated by nothing
but a socket, a terminal or `subprocess.call`. Left out are ssh, where a login takes longer than all else, and HID and
libusb, whose fakes have no bytes that travel.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import termios
import threading
import tty
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from types import ModuleType
from typing import Any

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.transports.deadline import Deadline
from tests.bench.latency import take_turns
from tests.bench.report import Bench
from tests.devices import devantecheth, gude, modbustcp, netio4, netiojson, numato, snmp, tasmota
from tests.devices.base.device import Case, Mood

TIMES = "on or off, ms"
OVER = {  # what a row is called -> family, driver, the setting that says where
    "http, two requests": (netiojson, "netiojson", "port"),
    "http, no login": (tasmota, "tasmota", "ip"),
    "tcp": (devantecheth, "devantech_eth008", "port"),
    "tcp, Modbus": (modbustcp, "modbustcp", "port"),
    "telnet": (netio4, "netio4", "telnetport"),
    "telnet, by pexpect": (gude, "gude1202", "telnetport"),
    "snmp": (snmp, "snmpv2c", "snmpport"),
    "serial line": (numato, "NumatoUSB8", "device"),
}
COMMAND = "command"
Segments = list[list[bytearray]]
"""What went over one connection: from the driver, from the device, from the driver, and so on."""


def measure(bench: Bench) -> None:
    """Act by driver and bare in turn, for each transport."""
    for row, (family, name, where) in OVER.items():
        with ExitStack() as stack:
            case: Case = stack.enter_context(family.case(name, Mood.WELL))
            driven = partial(_drive, strategies.find(name), case)
            bare = _bare(stack, family, case, where, driven)
            ways: dict[str, Callable[[], object]] = {f"{row}: driver": driven, f"{row}: bare": bare}
            for _ in range(bench.rounds):
                take_turns(bench, TIMES, ways)
    case = Case(None, "local", {"cmd_on": "true", "cmd_off": "false || true"}, ["1"], [])
    ways = {
        f"{COMMAND}: driver": partial(_drive, strategies.find("localcmdline"), case),
        f"{COMMAND}: bare": lambda: [subprocess.call(text, shell=True) for text in ("true", "false || true")],
    }
    for _ in range(bench.rounds):
        take_turns(bench, TIMES, ways)
    rows = [f"{row}: {way}" for row in (*OVER, COMMAND) for way in ("driver", "bare")]
    bench.table(rows, [TIMES], ("p50", "p99"))
    for row in (*OVER, COMMAND):
        pairs = zip(
            bench.values[f"{row}: driver", TIMES, "p50"], bench.values[f"{row}: bare", TIMES, "p50"], strict=True
        )
        print(f"  {row:30} driver per bare  {' '.join(f'{one / other:.2f}' for one, other in pairs)}")


def _drive(kind: type[PDUDriver], case: Case, **settings: Any) -> None:
    """Switch the first port on and off, as a worker does."""
    driver = kind(case.hostname, {**case.settings, **settings})
    for command in ("on", "off"):
        driver.deadline = Deadline(10)
        driver.handle(command, int(case.ports[0]) if case.ports[0].isdecimal() else case.ports[0])


def _bare(stack: ExitStack, family: ModuleType, case: Case, where: str, driven: Callable[..., None]) -> Any:
    if where == "device":
        before = len(case.device.received)
        driven()
        return partial(_over_terminal, case.device.path, bytes(case.device.received[before:]))
    kind = socket.SOCK_DGRAM if family is snmp else socket.SOCK_STREAM
    with Tap(case.device.port, kind) as tap:
        driven(**{where: f"127.0.0.1:{tap.port}" if where == "ip" else tap.port})
    return partial(_repeat, kind, case.device.port, tap.connections)


def _repeat(kind: socket.SocketKind, port: int, connections: list[Segments]) -> None:
    """Exchange the same bytes once more."""
    for segments in connections:
        # Some devices say a little more or less, or close a little sooner, than when they were recorded.
        with socket.socket(type=kind) as connection, contextlib.suppress(ConnectionError):
            connection.settimeout(5)
            connection.connect(("127.0.0.1", port))
            for sent, received in segments:
                if sent:
                    connection.sendall(sent)
                left = len(received)
                while left > 0:
                    data = connection.recv(65536)
                    if not data:
                        break
                    left -= len(data)


def _over_terminal(path: str, sent: bytes) -> None:
    """Send each line of two actions to a device that ends its answers with a prompt."""
    lines = sent.split(b"\r")[:-1]
    half = len(lines) // 2
    for action in (lines[:half], lines[half:]):
        with closing(_Terminal(path)) as terminal:
            for line in action:
                terminal.ask(line + b"\r")


class _Terminal:
    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._descriptor)
        termios.tcflush(self._descriptor, termios.TCIOFLUSH)

    def ask(self, line: bytes) -> None:
        os.write(self._descriptor, line)
        received = b""
        while not received.endswith(b">"):
            received += os.read(self._descriptor, 4096)

    def close(self) -> None:
        os.close(self._descriptor)


class Tap:
    """Stands between a driver and its device, and keeps what goes through."""

    def __init__(self, device: int, kind: socket.SocketKind) -> None:
        self.connections: list[Segments] = []
        self._device = device
        self._kind = kind
        self._socket = socket.socket(type=kind)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Tap:
        if self._kind is socket.SOCK_STREAM:
            self._socket.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close() if self._kind is socket.SOCK_DGRAM else self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(1)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                if self._kind is socket.SOCK_DGRAM:
                    self._datagram()
                else:
                    self._connection(self._socket.accept()[0])
            except OSError:
                return  # the end

    def _datagram(self) -> None:
        sent, client = self._socket.recvfrom(65536)
        if not sent:
            raise OSError
        with socket.socket(type=self._kind) as device:
            device.connect(("127.0.0.1", self._device))
            device.send(sent)
            received = device.recv(65536)
        self.connections.append([[bytearray(sent), bytearray(received)]])
        self._socket.sendto(received, client)

    def _connection(self, client: socket.socket) -> None:
        segments: Segments = []
        self.connections.append(segments)
        with client, socket.create_connection(("127.0.0.1", self._device)) as device:
            while True:
                for ready in select.select([client, device], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    from_device = ready is device
                    if not segments or (not from_device and segments[-1][1]):
                        segments.append([bytearray(), bytearray()])
                    segments[-1][from_device] += data
                    (client if from_device else device).sendall(data)
