# SPDX-License-Identifier: MIT
"""A stand-in for the servers of node power that pduclient talks to: OpenFlight's own, and a streaming one as ours is."""

from __future__ import annotations

import json
import random
import socket
import ssl
import struct
import threading
from enum import StrEnum
from typing import Any

from tests.devices.base.web import Request, WebDevice


class End(StrEnum):
    """How a stream ends."""

    WELL = "well"
    SHORT = "short"  # as if it were well, with results missing
    CLOSE = "close"  # the connection is closed without the end of the stream
    HALF = "half"  # closed in the middle of a line
    RESET = "reset"
    HOLD = "hold"  # nothing more comes, and the connection stays


def reply(body: object, status: str = "200 OK", kind: str = "application/json", *headers: str) -> bytes:
    """Return an answer in one piece; a body that is no text is sent as JSON."""
    data = (body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "X-Content-Type-Options: nosniff", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(data)}", "", ""]).encode() + data


def result(name: str, action: str = "status", **attributes: Any) -> dict[str, Any]:
    """Return an entry of ``data``: a node that did it, and is on, unless the attributes say otherwise."""
    running = {"running": attributes.get("success", True) or None} if action == "status" else {}
    usual = {"action": action, "node-name": name, "platform": "sim", "missing": False, "success": True, **running}
    return {"type": "commands", "id": name, "attributes": {**usual, "error": None, **attributes}}


def cluster(count: int, **attributes: Any) -> list[dict[str, Any]]:
    """Return results of node01 and so on, in no order."""
    results = [result(f"node{number:02}", **attributes) for number in range(1, count + 1)]
    return random.sample(results, count)


def commands(*results: dict[str, Any], **more: Any) -> bytes:
    """Return the answer that OpenFlight's server gives to a command."""
    return reply({"data": list(results), **more})


class PowerServer(WebDevice):
    """Answers each request with what its first line, without the protocol, or "" is given for."""

    def __init__(self, replies: dict[str, bytes] | bytes, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.replies = {"": replies} if isinstance(replies, bytes) else replies
        self.context = context
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """The first lines of the requests, without the protocol."""
        return [f"{request.method} {request.target}" for request in self.requests]

    def converse(self, connection: socket.socket) -> None:
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        self._request(connection)
        self.say(connection)
        if self.context:
            connection.close()

    def say(self, connection: socket.socket) -> None:
        """Answer the request just received."""
        connection.sendall(self.replies.get(self.asked[-1]) or self.replies.get("", reply("?", "404 Not Found")))


class StreamServer(PowerServer):
    """Answers with one result after the other, ``pause`` seconds apart, as they come in."""

    def __init__(
        self,
        *results: dict[str, Any],
        count: int | None = None,
        names: list[str] | None = None,
        missing_groups: list[str] | None = None,
        command: object = None,
        pause: float = 0,
        end: End = End.WELL,
    ) -> None:
        super().__init__({})
        meta: dict[str, Any] = {"count": len(results) if count is None else count}
        if names:
            meta["names"] = names
        if missing_groups:
            meta["missing-groups"] = missing_groups
        if command is not None:
            meta["command"] = command
        self.lines = [json.dumps(line).encode() + b"\n" for line in ({"meta": meta}, *results)]
        self.pause = pause
        self.end = end

    def say(self, connection: socket.socket) -> None:
        head = ["HTTP/1.1 200 OK", "Content-Type: application/x-ndjson", "Transfer-Encoding: chunked", "", ""]
        connection.sendall("\r\n".join(head).encode())
        for line in self.lines:
            connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
            self.closing.wait(self.pause)
        if self.end in (End.WELL, End.SHORT):
            connection.sendall(b"0\r\n\r\n")
        elif self.end is End.HALF:
            connection.sendall(b'50\r\n{"type":"comm')
        elif self.end is End.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while self.end is End.HOLD:
            self.receive(connection)


class EventServer(PowerServer):
    """Answers for what there is, and tells whoever watches of each event, until it is to hang up."""

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        super().__init__({})
        self.nodes = nodes
        self.told: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self._calls = 0

    @property
    def watching(self) -> list[Request]:
        """The requests of those who watch, or did."""
        return [request for request in self.requests if request.target.startswith("/api/v1/events")]

    def tell(self, *events: dict[str, Any]) -> None:
        """Tell whoever watches; an empty event is a heartbeat."""
        with self.changed:
            self.told += events
            self.changed.notify_all()

    def hang_up(self) -> None:
        """Close the connections of all who watch now."""
        with self.changed:
            self._calls += 1
            self.changed.notify_all()

    def say(self, connection: socket.socket) -> None:
        target = self.requests[-1].target
        if not target.startswith("/api/v1/events"):
            connection.sendall(reply(self.nodes) if target.startswith("/api/v1/nodes") else reply("?", "404 Not Found"))
            return
        head = ["HTTP/1.1 200 OK", "Content-Type: application/x-ndjson", "Transfer-Encoding: chunked", "", ""]
        connection.sendall("\r\n".join(head).encode())
        with self.changed:
            place, calls = len(self.told), self._calls
            while self._calls == calls and not self.closing.is_set():
                if len(self.told) == place:
                    self.changed.wait(1)
                for event in self.told[place:]:
                    line = json.dumps(event).encode() * bool(event) + b"\n"
                    connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
                place = len(self.told)
