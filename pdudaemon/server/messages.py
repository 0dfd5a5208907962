# SPDX-License-Identifier: MIT
"""HTTP/1.1 messages: the `Head` of a request, the words of its query and its form, and an `Answer`.

The parser is our own because the standard library's reads from a file, and makes an e-mail message of each head, which
takes longer than all the rest of a request. It knows no socket: see `pdudaemon.server.http`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from pdudaemon.errors import RequestError
from pdudaemon.settings import near

LONGEST_LINE = 65536
LONGEST_HEAD = 4 * 65536
LONGEST_BODY = 65536
MOST_HEADERS = 100
LONGEST_KNOWN = 1024  # bytes of a head that is kept, and how many are
MOST_KNOWN = 512
FORM = "application/x-www-form-urlencoded"

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
        if "transfer-encoding" in self.headers:
            raise Unreadable(411, "a body must have a Content-Length, and no Transfer-Encoding", self)
        if not (length.isascii() and length.isdigit()):
            raise Unreadable(400, f"Content-Length: {length[:20]!r} is no length", self)
        if len(length) > 10 or int(length) > LONGEST_BODY:
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
        self.head = replace(head or Head())  # a copy: other requests may begin in the same way
        self.head.keeps_alive = False


@dataclass
class Answer:
    """What goes back: a text, an object that becomes JSON, or just bytes: of JSON, if no ``content_type`` says what of.

    Of a ``stream`` more comes in pieces; they are ``chunked``, or end with the connection, as HTTP/1.0 has it.
    """

    status: int
    body: str | bytes | dict[str, Any] | list[Any]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    stream: bool = False
    chunked: bool = True


def check_beginning(received: bytearray) -> None:
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


def parsed(text: bytes) -> Head:
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


known = functools.lru_cache(MOST_KNOWN)(parsed)
"""Clients ask for the same again and again: the head that they send is the one that they sent before."""


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


def words(head: Head, body: bytes, takes: tuple[str, ...] | None, last_counts: bool) -> Mapping[str, str]:
    """Return the words of a query and a form.

    Where the ``last_counts``, as for OpenFlight, a form may come with any method. Of the legacy routes, as the existing
    daemon takes them, the first counts that is not blank. A POST, which that one has not, and the API take no word
    twice, and what says what it ``takes`` no other word. Raises: RequestError.
    """
    pairs = parse_qsl(head.target.partition("?")[2], keep_blank_values=True)
    if body and (head.method in ("POST", "PATCH", "PUT") or last_counts):
        if head.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
            pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        elif not last_counts:
            raise RequestError(f"a body must be {FORM}")
    if key := head.headers.get("idempotency-key", "").strip().strip('"'):  # draft-ietf-httpapi-idempotency-key-header
        if any(word == "key" and value.strip() not in ("", key) for word, value in pairs):
            differs = "key: differs from the header Idempotency-Key"
            raise (Misdirected(400, differs) if last_counts or takes is not None else RequestError(differs))
        pairs = [pair for pair in pairs if pair[0] != "key"]
        pairs.append(("key", key))
    if last_counts:
        return dict(pairs)
    given = 0
    found: dict[str, str] = {}
    for word, value in pairs:
        if value.strip():
            given += 1
            found.setdefault(word, value)
    if len(found) < given and (head.path.startswith("/api/") or head.method == "POST"):
        twice = "a parameter is given more than once"
        raise RequestError(twice) if takes is None else Misdirected(400, twice)
    if takes is not None:
        found.pop("key", None)  # it may come with whatever a client asks for
        for word in found:
            if word not in takes:
                raise Misdirected(400, f"unknown parameter {word[:50]!r}{near(word, takes)}")
    if not body:
        head.words = found
    return found


def chunk(line: bytes) -> bytes:
    """Return a piece of a stream as it is sent."""
    return b"%x\r\n%b\r\n" % (len(line), line)


LAST_CHUNK = b"0\r\n\r\n"
