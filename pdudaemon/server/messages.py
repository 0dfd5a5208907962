# SPDX-License-Identifier: MIT
"""HTTP/1.1 messages: a `Reader` takes requests from the bytes that have come, an `Answer` is rendered.

The parser is our own because the standard library's reads from a file, and makes an e-mail message of each head, which
takes longer than all the rest of a request. It knows no socket.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from pdudaemon import __version__
from pdudaemon.errors import RequestError

LONGEST_LINE = 65536
LONGEST_HEAD = 4 * 65536
LONGEST_BODY = 65536
MOST_HEADERS = 100
LONGEST_KNOWN = 1024  # bytes of a head that is kept, and how many are
MOST_KNOWN = 512

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(r"[0-9]{1,10}")
_ONCE = frozenset(
    ("authorization", "content-length", "content-type", "host", "idempotency-key", "last-event-id", "origin")
)
"""Headers that say one thing: twice, each of two readers could take another one of them (RFC 9112, 3.2 and 6.3)."""

_ORIGIN = re.compile(r"https?://[^/?]*/?", re.IGNORECASE)


class Misdirected(RequestError):
    """Not a request of this API: no such path, method or parameter, or not HTTP as it should be.

    ``field`` is what of a JSON body is at fault, if anything is.
    """

    kind = "misdirected"

    def __init__(
        self, http_status: int, text: str, headers: Mapping[str, str] | None = None, field: str | None = None
    ) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.headers = headers or {}
        self.field = field


@dataclass
class Head:
    """The first line of a request and its headers, by their names in lower case; several lines of one are one list.

    One object serves all requests that begin with the same bytes: nothing of it changes, but that whoever serves it
    leaves there what it means, ``found`` and ``words``: see `routes`.
    """

    method: str = "GET"
    target: str = "/"
    version: str = "HTTP/1.1"
    headers: Mapping[str, str] = field(default_factory=dict)
    found: tuple[Any, str] | None = None
    words: Mapping[str, str] | None = None

    @functools.cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @functools.cached_property
    def wants_json(self) -> bool:
        return self.path.startswith("/api/") or "json" in self.headers.get("accept", "")

    @functools.cached_property
    def keeps_alive(self) -> bool:
        """Whether another request may follow on the connection."""
        return self.version != "HTTP/1.0" and "close" not in self.headers.get("connection", "").lower()

    @functools.cached_property
    def expects_continue(self) -> bool:
        """Whether the client sends its body only when it is asked for."""
        return self.headers.get("expect", "").lower() == "100-continue"

    @functools.cached_property
    def length(self) -> int:
        """The length of the body. Raises: Unreadable if it has none that is taken here."""
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not _LENGTH.fullmatch(length) or int(length) > LONGEST_BODY:
            raise Unreadable(413, f"a body must have a Content-Length of at most {LONGEST_BODY}", self)
        return int(length)

    @functools.cached_property
    def of_browser(self) -> bool:
        """Whether a browser sent it, perhaps because a page of strangers made it do so."""
        shown = self.headers.get("sec-fetch-site") or self.headers.get("origin") or self.headers.get("referer")
        return bool(shown) or self.headers.get("user-agent", "").startswith("Mozilla/")


class Unreadable(Misdirected):
    """Where the next request begins cannot be known: the connection is closed after the answer.

    ``head`` is as much of it as was read.
    """

    def __init__(self, http_status: int, text: str, head: Head | None = None) -> None:
        super().__init__(http_status, text)
        self.head = head or Head()


@dataclass
class Answer:
    """What goes back: a text, an object that becomes JSON, or just bytes.

    Of a ``stream`` more comes in pieces; they are ``chunked``, or end with the connection, as HTTP/1.0 has it.
    """

    status: int
    body: str | bytes | dict[str, Any] | list[Any]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    stream: bool = False
    chunked: bool = True


class Reader:
    """Takes one request after the other from what has been received. ``head`` is that of the request under way."""

    def __init__(self) -> None:
        self.head = Head()
        self._complete = False  # whether the head is
        self._length = 0  # of the body
        self._searched = 0

    def take(self, received: bytearray, ended: bool) -> bytes | None:
        """Take the next request off the beginning of ``received``; return its body, None if it has not come whole.

        ``ended`` says that nothing more will come. Raises: Unreadable.
        """
        if not self._complete and not self._take_head(received):
            if ended and received:
                raise Unreadable(400, "the request is not whole")
            return None
        length = self._length
        if len(received) < length:
            if ended:
                raise Unreadable(400, "the body is shorter than its Content-Length", self.head)
            return None
        body = bytes(received[:length])
        del received[:length]
        self._complete = False
        return body

    @property
    def awaits_body(self) -> bool:
        """Whether the head has come, and the body has not."""
        return self._complete

    def _take_head(self, received: bytearray) -> bool:
        while received.startswith((b"\r", b"\n")):  # empty lines before a request are passed over: RFC 9112, 2.2
            del received[:1]
        end = _END_OF_HEAD.search(received, max(0, self._searched - 3))
        if end is None:
            self._searched = len(received)
            _check_beginning(received)
            return False
        text = bytes(received[: end.start()])
        del received[: end.end()]
        self._searched = 0
        self.head = head = _known(text) if len(text) <= LONGEST_KNOWN else _head(text)
        self._length = head.length
        self._complete = True
        return True


def _check_beginning(received: bytearray) -> None:
    """Refuse what cannot become a head any more. Raises: Unreadable."""
    first, newline, _ = received.partition(b"\n")
    if len(first) > LONGEST_LINE:
        raise Unreadable(414, "the first line is too long")
    if newline:
        head = _of_line(bytes(first))
        if received.count(b"\n") > MOST_HEADERS + 1:
            raise Unreadable(431, f"there are more than {MOST_HEADERS} headers", head)
        if len(received) > LONGEST_HEAD:
            raise Unreadable(431, "the head is too long", head)


def _head(text: bytes) -> Head:
    """Return the head that a text is. Raises: Unreadable."""
    first, *lines = text.split(b"\n")
    head = _of_line(first)
    if len(lines) > MOST_HEADERS:
        raise Unreadable(431, f"there are more than {MOST_HEADERS} headers", head)
    if len(text) > LONGEST_HEAD:
        raise Unreadable(431, "the head is too long", head)
    headers: dict[str, str] = {}
    head = replace(head, headers=headers)
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        name, value = name.lower(), value.strip()
        if len(line) > LONGEST_LINE or not colon or not name or name != name.strip():
            raise Unreadable(431 if len(line) > LONGEST_LINE else 400, "a header is not one of HTTP", head)
        before = headers.get(name)
        if before is not None and before != value:
            if name in _ONCE:
                raise Unreadable(400, f"two headers {name} that differ", head)
            value = f"{before}, {value}"  # several lines are one list: RFC 9110, 5.3
        headers[name] = value
    return head


# Clients ask for the same again and again: so the head that they send is the one that they sent before.
_known = functools.lru_cache(MOST_KNOWN)(_head)


def _of_line(line: bytes) -> Head:
    """Return a head by its first line. Raises: Unreadable."""
    if len(line) > LONGEST_LINE:
        raise Unreadable(414, "the first line is too long")
    words = line.decode(errors="replace").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise Unreadable(400, "the first line is not one of HTTP")
    method, target, version = words
    if not version.startswith("HTTP/1."):
        raise Unreadable(505, f"{version[:20]} is not spoken here")
    absolute = _ORIGIN.match(target)  # the form for proxies, which servers must take too: RFC 9112, 3.2.2
    return Head(method, f"/{target[absolute.end() :]}" if absolute else target, version)


def rendered(answer: Answer, method: str, alive: bool) -> bytes:
    """Return all that is sent for an answer, in one piece; of a stream, the head."""
    if isinstance(answer.body, bytes):
        body = answer.body
    else:
        body = f"{answer.body if isinstance(answer.body, str) else json.dumps(answer.body)}\n".encode()
    lines = "".join([f"{name}: {value}\r\n" for name, value in answer.headers.items()])
    if not answer.stream:
        lines += f"Content-Length: {len(body)}\r\n"
    elif answer.chunked:
        lines += "Transfer-Encoding: chunked\r\n"
    head = _beginning(answer.status, int(time.time())) + lines + _rest(answer.content_type, alive)
    return head.encode("latin-1", "replace") + (b"" if method == "HEAD" else body)


def chunk(line: bytes) -> bytes:
    """Return a piece of a stream as it is sent."""
    return b"%x\r\n%b\r\n" % (len(line), line)


LAST_CHUNK = b"0\r\n\r\n"


@functools.lru_cache(maxsize=4)
def _beginning(status: int, second: int) -> str:
    date = formatdate(second, usegmt=True)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: pdudaemon/{__version__}\r\nDate: {date}\r\n"


@functools.lru_cache
def _rest(content_type: str, alive: bool) -> str:
    close = "" if alive else "Connection: close\r\n"
    return f"Content-Type: {content_type}\r\nCache-Control: no-store\r\n{close}\r\n"
