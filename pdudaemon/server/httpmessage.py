# SPDX-License-Identifier: MIT
"""HTTP/1.1 messages: a request is read as `Head` and body, an `Answer` is rendered.

The parser is our own because the standard library's makes an e-mail message of each head, which takes longer than all
the rest of a request.
"""

from __future__ import annotations

import functools
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from pdudaemon import __version__
from pdudaemon.errors import RequestError
from pdudaemon.server.listener import Listener

LONGEST_LINE = 65536
LONGEST_BODY = 65536
MOST_HEADERS = 100

_LENGTH = re.compile(r"[0-9]{1,10}")
_ORIGIN = re.compile(r"https?://[^/?]*/?", re.IGNORECASE)


class Misdirected(RequestError):
    """Not a request of this API: no such path, method or parameter, or not HTTP as it should be."""

    kind = "misdirected"

    def __init__(self, http_status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.headers = headers or {}


class Unreadable(Misdirected):
    """Where the next request begins cannot be known: the connection is closed after the answer."""


@dataclass
class Head:
    """The first line of a request and its headers, by their names in lower case."""

    method: str = "GET"
    target: str = "/"
    version: str = "HTTP/1.1"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may follow on the connection."""
        return self.version != "HTTP/1.0" and "close" not in self.headers.get("connection", "").lower()

    @property
    def accepts_json(self) -> bool:
        """Whether the client would have JSON."""
        return self.target.startswith("/api/") or "json" in self.headers.get("accept", "")


@dataclass
class Answer:
    """What goes back: a text, an object that becomes JSON, or just bytes. ``stream`` yields objects, one a line."""

    status: int
    body: str | bytes | dict[str, Any] | list[Any]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    stream: Iterator[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Exchange:
    """A request as a route sees it.

    ``client`` is its address, with the name in its token; ``words`` those of its query (and form), ``accept`` what it
    would have, ``json`` whether that is JSON.
    """

    listener: Listener
    client: str
    words: Mapping[str, str]
    accept: str
    json: bool


@dataclass(frozen=True)
class Route:
    """What answers a method of a path. One that ``switches`` nothing must say so: pages of strangers may ask for it."""

    answer: Callable[[Exchange, str], Answer]
    switches: bool = True


def read_head(stream: io.BufferedReader[Any], head: Head) -> bool:
    """Read a head; return False at the end of the connection. Raises: Unreadable."""
    line = stream.readline(LONGEST_LINE + 1)
    if not line:
        return False
    if len(line) > LONGEST_LINE:
        raise Unreadable(414, "the first line is too long")
    words = [word.decode(errors="replace") for word in line.split()]
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise Unreadable(400, "the first line is not one of HTTP")
    head.method, target, head.version = words
    absolute = _ORIGIN.match(target)  # the form for proxies, which servers must take too: RFC 9112, 3.2.2
    head.target = f"/{target[absolute.end() :]}" if absolute else target
    if not head.version.startswith("HTTP/1."):
        raise Unreadable(505, f"{head.version[:20]} is not spoken here")
    for _ in range(MOST_HEADERS):
        line = stream.readline(LONGEST_LINE + 1)
        if line in (b"\r\n", b"\n"):
            return True
        name, colon, value = line.decode("latin-1").partition(":")
        name = name.lower()
        if not line.endswith(b"\n") or not colon or not name or name != name.strip():
            raise Unreadable(431 if len(line) > LONGEST_LINE else 400, "a header is not one of HTTP")
        if name == "content-length" and head.headers.get(name, value.strip()) != value.strip():
            raise Unreadable(400, "two lengths are given")
        head.headers[name] = value.strip()
    raise Unreadable(431, f"there are more than {MOST_HEADERS} headers")


def read_body(stream: io.BufferedReader[Any], head: Head) -> bytes:
    """Read the body, whatever the method, so that the next request of the connection begins where it should."""
    length = head.headers.get("content-length", "0")
    usable = _LENGTH.fullmatch(length) and int(length) <= LONGEST_BODY
    if not usable or "transfer-encoding" in head.headers:
        raise Unreadable(413, f"a body must have a Content-Length of at most {LONGEST_BODY}")
    body = stream.read(int(length)) if length != "0" else b""
    if len(body) < int(length):
        raise Unreadable(400, "the body is shorter than its Content-Length")
    return body


def rendered(answer: Answer, method: str, alive: bool) -> bytes:
    """Return all that is sent for an answer, in one piece; of a stream, the head."""
    if isinstance(answer.body, bytes):
        body = answer.body
    else:
        body = f"{answer.body if isinstance(answer.body, str) else json.dumps(answer.body)}\n".encode()
    headers = {
        "Server": f"pdudaemon/{__version__}",
        "Date": _date(int(time.time())),
        **answer.headers,
        "Content-Type": answer.content_type,
        **({"Transfer-Encoding": "chunked"} if answer.stream else {"Content-Length": len(body)}),
        "Cache-Control": "no-store",
        **({} if alive else {"Connection": "close"}),
    }
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (b"" if method == "HEAD" else body)


def chunks(stream: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yield what is sent for a stream, line by line, and its end."""
    for each in stream:
        line = json.dumps(each, separators=(",", ":")).encode() + b"\n"
        yield b"%x\r\n%b\r\n" % (len(line), line)
    yield b"0\r\n\r\n"


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
