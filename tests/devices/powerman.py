# SPDX-License-Identifier: MIT
"""A powerman server, as powermand 2.3.27 answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Device, Mood

NAMES = ["powerman"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]


class Powermand(Device):
    """Four nodes; of those in ``unknown`` their device tells no state, those in ``failing`` it does not switch."""

    greeting = b"001 2.3.27\r\n"

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = dict.fromkeys(("node1", "node2", "node10", "gw-1"), "off")
        self.unknown: set[str] = set()
        self.failing: set[str] = set()
        self.telemetry = False

    def converse(self, connection: socket.socket) -> None:
        if self.mood is Mood.GARBLED:
            self.send(connection, b"\x05\x00pow\xff\xfe\r\n\r\n")
            return
        self.send(connection, self.greeting + b"powerman> ")
        data = b""
        expands = False
        while True:
            while b"\n" not in data:
                data += self.receive(connection)
            line, _, data = data.partition(b"\n")
            command, _, nodes = line.decode().partition(" ")
            if command == "quit":
                self.send(connection, b"101 Goodbye\r\n")
                return
            if command == "exprange":
                expands = not expands
                said = [f"105 Hostrange expansion {'ON' if expands else 'OFF'}"]
            else:
                with self.lock:
                    said = self.answer(command, nodes, expands)
            self.send(connection, "".join(f"{each}\r\n" for each in said).encode() + b"powerman> ")

    def answer(self, command: str, nodes: str, expands: bool) -> list[str]:
        """Carry out a command on one node, or on all."""
        if self.mood is Mood.BUSY:
            return ["208 Command in progress"]
        if command not in ("on", "off", "status") or (command != "status" and not nodes):
            return ["201 Unknown command"]
        if nodes and nodes not in self.outlets:
            return [f"209 No such nodes: {nodes}"]
        meant = [nodes] if nodes else [*self.outlets]
        said = [f"305 send(d0): '{command} {node}\\n'" for node in meant] if self.telemetry else []
        if command != "status":
            if self.mood is Mood.REFUSING:
                return [*said, "213 Command cannot be handled by power control device(s)"]
            if nodes in self.failing:
                why = "308 d0: action timed out waiting for expected response"
                return [*said, why, "210 Command completed with errors"]
            self.outlets[nodes] = command
            return [*said, "102 Command completed successfully"]
        states = {node: "unknown" if node in self.unknown else self.outlets[node] for node in meant}
        if expands:
            said += [f"303 {node}: {state}" for node, state in states.items()]
        else:
            by_state = {word: ",".join(n for n in meant if states[n] == word) for word in ("on", "off", "unknown")}
            said += [f"302 {word + ':':8} {those}" for word, those in by_state.items()]
        return [*said, "103 Query complete"]


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a server."""
    with Powermand(mood) as device:
        settings = {"driver": name, "port": device.port}
        bad = ["node[1-2]", "node1,node2", "a b", "-x", "node1;quit", "*"]
        identity = ("", "powerman", "", "2.3.27")
        yield Case(device, "127.0.0.1", settings, [*device.outlets], bad, identity=identity)
