# SPDX-License-Identifier: MIT
"""The web: what fake devices with a web server share, and lighttpd, a web server that nobody here wrote."""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.devices.device import Device, Mood
from tests.support.ports import free_ports
from tests.support.process import eventually


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
            return self.answer(request)

    def _request(self, connection: socket.socket) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.receive(connection)
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


CGI = """
import json, os, sys
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0)).decode()
names = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "HTTP_HOST", "HTTP_X_CSRF", "REMOTE_USER", "AUTH_TYPE")
sys.stdout.write("Content-Type: application/json\\r\\n\\r\\n")
json.dump({"body": body, **{name: os.environ.get(name, "") for name in names}}, sys.stdout)
"""

CONFIGURATION = """
server.document-root = "{root}/www"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{root}/errors"
server.modules = ("mod_auth", "mod_authn_file", "mod_cgi", "mod_redirect", "mod_openssl")
cgi.assign = (".py" => "{python}")
url.redirect = ("^/moved$" => "http://127.0.0.1:{port}/open.py?password=hunter2")
$SERVER["socket"] == "127.0.0.1:{tls_port}" {{ ssl.engine = "enable" ssl.pemfile = "{root}/server.pem" }}
$HTTP["url"] =~ "^/basic" {{
    auth.backend = "plain"
    auth.backend.plain.userfile = "{root}/plain"
    auth.require = ("/basic" => ("method" => "basic", "realm" => "PDU", "require" => "valid-user"))
}}
$HTTP["url"] =~ "^/md5" {{
    auth.backend = "htdigest"
    auth.backend.htdigest.userfile = "{root}/md5"
    auth.require = ("/md5" => (
        "method" => "digest", "realm" => "PDU", "require" => "valid-user", "algorithm" => "MD5"
    ))
}}
$HTTP["url"] =~ "^/sha256" {{
    auth.backend = "htdigest"
    auth.backend.htdigest.userfile = "{root}/sha256"
    auth.require = ("/sha256" => (
        "method" => "digest", "realm" => "PDU", "require" => "valid-user", "algorithm" => "SHA-256"
    ))
}}
"""


class Lighttpd(NamedTuple):
    """A running server: ``/open.py`` answers all, ``/basic.py``, ``/md5.py``, ``/sha256.py`` want admin:s3cret pass."""

    port: int
    tls_port: int
    certificate: str

    username = "admin"
    password = "s3cret: pass"


@contextmanager
def lighttpd(folder: Path) -> Iterator[Lighttpd]:
    """Run lighttpd with a self-signed certificate for 127.0.0.1; skip the test where it is not installed."""
    if not shutil.which("lighttpd") or not shutil.which("openssl"):
        pytest.skip("needs the Debian packages lighttpd, lighttpd-mod-openssl and openssl")
    www = folder / "www"
    www.mkdir()
    for name in ("open", "basic", "md5", "sha256"):
        (www / f"{name}.py").write_text(CGI)
    (www / "big").write_bytes(b"x" * 5_000_000)
    secret = f"admin:PDU:{Lighttpd.password}".encode()
    (folder / "plain").write_text(f"admin:{Lighttpd.password}\n")
    (folder / "md5").write_text(f"admin:PDU:{hashlib.md5(secret).hexdigest()}\n")
    (folder / "sha256").write_text(f"admin:PDU:{hashlib.sha256(secret).hexdigest()}\n")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    self_signed(key, certificate)
    (folder / "server.pem").write_text(key.read_text() + certificate.read_text())
    port, tls_port = free_ports(2)
    conf = folder / "lighttpd.conf"
    conf.write_text(CONFIGURATION.format(root=folder, port=port, tls_port=tls_port, python=sys.executable))
    with listening(["lighttpd", "-D", "-f", str(conf)], port):
        yield Lighttpd(port, tls_port, str(certificate))


def self_signed(key: Path, certificate: Path) -> None:
    """Make a key and a certificate for 127.0.0.1, with openssl."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)


@contextmanager
def listening(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; yield when it listens (found out without connecting); end it by its own pid."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    drained = threading.Thread(target=process.stdout.read, daemon=True)
    drained.start()

    def listens() -> bool:
        assert process.poll() is None, f"{command[0]} ended at once"
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)

    try:
        eventually(listens, 10)
        yield process
    finally:
        process.terminate()
        process.wait(10)
        drained.join(5)
        process.stdout.close()
