# SPDX-License-Identifier: MIT
"""``/ui/…``, and ``/`` for a browser: the files of the page, which shows what the API tells.

They hold nothing of anybody's, so they are for everyone whom the listener lets in, without a token: the page asks for
one. All its addresses are relative, so that it works behind a proxy that gives it a prefix.
"""

from __future__ import annotations

import functools
from importlib import resources
from urllib.parse import parse_qsl

from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Head, Misdirected

FOLDER = "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def concerned(head: Head) -> bool:
    """Whether a request is for the page: for ``/ui/``, or by a browser for ``/`` without ``nodes``, OpenFlight's."""
    path, _, query = head.target.partition("?")
    if head.method not in ("GET", "HEAD") or (path != "/" and not path.startswith("/ui/")):
        return False
    if path != "/":
        return True
    asks = {word for word, _ in parse_qsl(query, keep_blank_values=True)} & {"nodes", "groups"}
    return "text/html" in head.headers.get("accept", "").lower() and not asks


def file(exchange: HTTPExchange, name: str) -> Answer:
    """``/ui/NAME``: a file of the page; ``/`` and ``/ui/``: the page itself. Raises: Misdirected."""
    content = _files().get(name or "index.html")
    if content is None:
        raise Misdirected(404, f"there is nothing at {exchange.path!r}")
    if not exchange.path.startswith("/ui/"):
        content = content.replace(b'<base href="./">', b'<base href="ui/">')
    suffix = (name or "index.html")[(name or "index.html").rindex(".") :]
    return Answer(200, content, dict(_HEADERS), _TYPES[suffix])


@functools.cache
def _files() -> dict[str, bytes]:
    """Return the files by name."""
    folder = resources.files(__package__) / FOLDER
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.endswith(tuple(_TYPES))}
