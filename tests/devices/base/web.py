# SPDX-License-Identifier: MIT
"""Devices with a web server: requests and answers, one conversation played, and a server's side of Basic and Digest."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from http import HTTPStatus
from typing import NamedTuple

from tests.devices.base.device import Device, Mood

NONCE = "60dc0fb0"


class Request(NamedTuple):
    """What a client asked; header names in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What it gets."""

    status: int
    body: str = ""
    headers: tuple[str, ...] = ()


class WebDevice(Device):
    """A device with a small web server: one request for each connection. With ``login``, it asks for Basic."""

    def __init__(self, mood: Mood = Mood.WELL, login: str = "") -> None:
        super().__init__(mood)
        self.login = login
        self.requests: list[Request] = []

    def answer(self, request: Request) -> Answer:
        """Act on a request that was let in."""
        raise NotImplementedError

    def converse(self, connection: socket.socket) -> None:
        request = self._request(connection)
        if self.mood is Mood.GARBLED:
            self.send(connection, b"\x05\x00pow\xff\xfe\r\n\r\n")
            return
        answer = self._judged(request)
        body = answer.body.encode()
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Content-Length: {len(body)}"]
        self.send(connection, "\r\n".join([*lines, "Connection: close", *answer.headers, "", ""]).encode() + body)

    def send(self, connection: socket.socket, data: bytes) -> None:
        pieces = 10 if self.mood is Mood.SLOW else 1  # whole status pages: by the byte they would take seconds
        size = len(data) // pieces + 1
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
            if self.mood is Mood.SLOW:
                self.closing.wait(0.003)

    def _judged(self, request: Request) -> Answer:
        if self.mood is Mood.BUSY:
            return Answer(503)
        expected = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and request.headers.get("authorization") != expected:
            return Answer(401, headers=('WWW-Authenticate: Basic realm="PDU"',))
        with self.lock:
            try:
                return self.answer(request)
            except (ValueError, KeyError):  # no question that it knows, as those are that look for other devices
                return Answer(400)

    def _request(self, connection: socket.socket) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.receive(connection)
            if data.startswith(b"\x16"):
                raise ValueError("TLS, where HTTP is spoken")  # a web server hangs up
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in rest)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        while len(body) < int(headers.get("content-length", 0)):
            body += self.receive(connection)
        self.requests.append(Request(method, target, headers, body))
        return self.requests[-1]


class ScriptedWeb(WebDevice):
    """Plays one side of a conversation: expects each ``METHOD target body`` to the letter."""

    def __init__(self, exchanges: list[tuple[str, str]]) -> None:
        super().__init__()
        self.exchanges = list(exchanges)

    def answer(self, request: Request) -> Answer:
        asked, said = self.exchanges[0]
        if f"{request.method} {request.target} {request.body.decode()}".rstrip() != asked:
            return Answer(400)
        self.exchanges.pop(0)
        status, _, body = said.partition(" ")
        return Answer(int(status), body)


def challenge(realm: str, algorithm: str) -> Answer:
    """Return the 401 that asks for a login by Digest."""
    words = f'qop="auth", realm="{realm}", nonce="{NONCE}", algorithm={algorithm}'
    return Answer(401, headers=(f"WWW-Authenticate: Digest {words}",))


def let_in(request: Request, realm: str, algorithm: str, username: str, password: str) -> bool:
    """Whether a request has the login that `challenge` asks for."""
    scheme, _, words = request.headers.get("authorization", "").partition(" ")
    said = {
        name: re.sub(r"\\(.)", r"\1", quoted) or plain
        for name, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', words)
    }

    def digest(*parts: str) -> str:
        return hashlib.new(algorithm.replace("-", ""), ":".join(parts).encode()).hexdigest()

    ha1, ha2 = digest(username, realm, password), digest(request.method, request.target)
    expected = digest(ha1, NONCE, said.get("nc", ""), said.get("cnonce", ""), "auth", ha2)
    right = {"username": username, "realm": realm, "nonce": NONCE, "uri": request.target, "response": expected}
    return scheme == "Digest" and {name: said.get(name) for name in right} == right
