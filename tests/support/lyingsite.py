# SPDX-License-Identifier: MIT
"""A site that says what a test wants: all of it true, or lies, slowly, or without an end.

And what asks it as the thread of a site does, in the loop of a test.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pdudaemon.engine.front.sitemirror import Translation
from pdudaemon.power import Action, Target
from pdudaemon.transports.asking import Asker

Answer = bytes | Iterable[bytes]
JSON = "application/json"
OUTLET = {"pdu": "p1", "port": "1", "name": None, "nodes": ["board1"], "locked": False, "reason": None, "state": "on"}
OUTLET |= {"source": "device", "time": 1.0, "age": 1.0, "watts": None, "volts": None, "amps": None, "watt_hours": None}
OUTLET |= {"readings_age": None}
PDU = {"name": "p1", "driver": "dummy", "state": "ready", "reason": None, "readable": True, "requests": 0}
PDU |= {"reachable": True, "outlets": 1, "watts": None, "age": 1.0, "inlets": []}
NODE = {"name": "board1", "groups": [], "feeds": [OUTLET], "state": "on", "source": "device", "time": 1.0, "age": 1.0}
NODE |= {"locked": False, "reason": None, "last_request": None}
HAS: dict[str, Any] = {
    "/api/v1/sites": {"daemons": ["a-site"], "names": "a-site-1", "sites": []},
    "/api/v1/pdus": [PDU],
    "/api/v1/outlets": [OUTLET],
    "/api/v1/nodes": [NODE],
    "/api/v1/groups": {"rack1": ["board1"]},
}


def reply(body: object, status: int = 200, content_type: str = JSON, ahead: float = 0.0, **headers: str) -> bytes:
    """Return an answer of a daemon whose clock is some seconds ``ahead``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"Server": "pdudaemon/2.0.0", "Date": formatdate(time.time() + ahead, usegmt=True)}
    told |= {"Content-Type": content_type, "Content-Length": str(len(content))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in told.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + content


def events(*said: object, ahead: float = 0.0, every: float = 5.0) -> Iterable[bytes]:
    """Yield a stream of events, which goes on for as long as anybody listens."""
    yield reply(b"", content_type="text/event-stream", ahead=ahead, Content_Length="") + b"id: 1\n\n"
    for each in said:
        yield b"data: " + (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n\n"
    while True:
        time.sleep(every)
        yield b": heartbeat\n\n"


def slowly(answer: bytes, seconds: float = 1.0) -> Iterable[bytes]:
    """Yield an answer byte by byte."""
    for number in range(len(answer)):
        yield answer[number : number + 1]
        time.sleep(seconds)


def lines(*said: object, status: int = 200) -> bytes:
    """Return an answer of JSON, an object a line."""
    return reply(b"".join(json.dumps(each).encode() + b"\n" for each in said), status, "application/x-ndjson")


def problem(kind: str, detail: str, status: int, **more: object) -> bytes:
    """Return an answer that says why something is not done."""
    said = {"type": f"urn:pdudaemon:{kind}", "detail": detail, **more}
    return reply(said, status, "application/problem+json")


def cut(answer: bytes, where: int = -1) -> Iterable[bytes]:
    """Yield an answer up to some byte, where the connection ends."""
    yield answer[:where]
    raise ConnectionError


def in_turn(*answers: Answer) -> Callable[[], Answer]:
    """Return what gives one answer after the other; the last from then on."""
    left = [*answers]
    return lambda: left.pop(0) if len(left) > 1 else left[0]


class Question(NamedTuple):
    """What the site was asked: ``asked`` is "METHOD target"; the names of headers are in lower case."""

    asked: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class LyingSite:
    """``lies`` has answers by the beginnings of "METHOD target", made anew for each; the rest is true."""

    def __init__(self, lies: dict[str, Callable[[], Answer]] | None = None, ahead: float = 0.0) -> None:
        self.lies = lies or {}
        self.asked: list[str] = []
        self.questions: list[Question] = []
        self._ahead = ahead
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> LyingSite:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()  # who is about to accept would do so for whoever has the descriptor next
        self._server.close()
        for each in self._open:  # which are closed by who serves them
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def answer(self, question: str) -> Answer:
        """Return what is said to "METHOD target"."""
        for beginning, lie in self.lies.items():
            if question.startswith(beginning):
                return lie()
        path = question.partition(" ")[2].partition("?")[0]
        if path == "/api/v1/events":
            return events(ahead=self._ahead)
        found = HAS.get(path)
        return reply({"detail": "no"}, 404, ahead=self._ahead) if found is None else reply(found, ahead=self._ahead)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as lines:
            while first := lines.readline().decode():
                headers = {}
                while line := lines.readline().strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = lines.read(int(headers.get("content-length", 0)))
                self.asked.append(question := " ".join(first.split()[:2]))
                self.questions.append(Question(question, headers, body))
                said = self.answer(question)
                for piece in (said,) if isinstance(said, bytes) else said:
                    connection.sendall(piece)


class Known:
    """What asks a site. ``doubts`` counts how often it was doubted that it answers at all; ``done`` has what is known
    to be switched by an answer: the number at the site, the target and the action."""

    name = "berlin"
    trouble = ""

    def __init__(self, url: str, prefix: bool = True) -> None:
        where = urlsplit(url)
        self.asker = Asker(str(where.hostname), where.port or 0, "")
        self.translation = Translation(self.name, prefix)
        self.doubts = 0
        self.done: list[tuple[str, Target, Action]] = []

    def doubt(self) -> None:
        self.doubts += 1

    def switched(self, number: str, target: Target, action: Action) -> None:
        self.done.append((number, target, action))
