# SPDX-License-Identifier: MIT
"""`Pages`: what the web servers of one address show to anybody, each page fetched once, for whoever recognises devices.

Several drivers look at the same pages to see whether a device is one of theirs. No login is ever sent here, whatever
a server asks for, nothing is followed elsewhere, and a server that does not answer is not asked again.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from typing import Any

from pdudaemon.errors import DeviceError, DeviceTimeout
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response, split, tolerant
from pdudaemon.transports.tcp import PinnedContext

_PATIENCE, _OF_A_SILENT_HOST = 3.0, 1.0  # seconds for one page
_AT_ONCE = 0.5  # seconds within which a host refuses a connection
_ANY_STATUS = range(100, 600)
_NOT_WEB = (22, 23, 1234, 9999, 17494)  # where others listen, to whom a request of HTTP may mean something
_NO_PAGE = "/no-such-page-of-any-device"

Asked = tuple[int, bool, str, str, str]


class Pages:
    """The pages of one address, a host or ``host:port``; with a port, that server is the only one there is.

    Belongs to one thread. ``deadline`` is that of all of them together.
    """

    def __init__(self, address: str, deadline: Deadline) -> None:
        self.address = address
        self.host, port = split(address, 0)
        self.port = port or None
        self.silent = False  # the first server that was asked did not even refuse, so nothing else may be there
        self._deadline = deadline
        self._fetched: dict[Asked, Response | None] = {}
        self.fingerprints: dict[int, str] = {}
        """SHA-256 of the certificate of each server that was reached by TLS, by port."""
        self._dead: set[tuple[int, bool]] = set()

    def get(self, path: str, *, port: int = 80, secure: bool = False, quiet: float | None = None) -> Response | None:
        """Return the answer to a GET, whatever its status; None if there is none. ``quiet``: see `Client.request`."""
        return self._ask("GET", path, port, secure, quiet=quiet)

    def post(self, path: str, json: object, *, port: int = 80, secure: bool = False) -> Response | None:
        """Return the answer to a question in JSON that changes nothing, whatever its status; None if there is none."""
        return self._ask("POST", path, port, secure, json=json)

    def json(self, path: str, *, port: int = 80, secure: bool = False) -> dict[str, Any]:
        """Return the object that a page is, empty if it is none."""
        return object_of(self.get(path, port=port, secure=secure))

    def wants_login(self, path: str, *, port: int = 80, secure: bool = False, json: object = None) -> bool:
        """Whether this page, and not every page, is there for who logs in alone; of a question in JSON likewise."""

        def asked(path: str) -> Response | None:
            if json is None:
                return self.get(path, port=port, secure=secure)
            return self.post(path, json, port=port, secure=secure)

        answer = asked(path)
        other = asked(_NO_PAGE) if answer is not None and answer.status == 401 else None
        return answer is not None and other is not None and other.status != 401

    @property
    def server(self) -> str:
        """How the server calls itself that has answered, in its own words; empty if none has."""
        answers = (answer.headers.get("Server") or "a web server" for answer in self._fetched.values() if answer)
        return next(answers, "")

    def _ask(self, method: str, path: str, port: int, secure: bool, **more: Any) -> Response | None:
        port = self.port or port
        asked = (port, secure, method, path, repr(more))
        if (port, secure) in self._dead or port in _NOT_WEB:
            return None
        if asked not in self._fetched:
            first = not any(each[:2] == asked[:2] for each in self._fetched)
            begun = time.monotonic()
            try:
                self._fetched[asked] = self._answer(method, path, port, secure, more)
                self._dead.add((port, not secure))  # a port speaks TLS or it does not
            except DeviceError as error:
                if first or isinstance(error, DeviceTimeout):
                    self._dead.add((port, secure))
                self.silent = self.silent or (not self._fetched and time.monotonic() - begun > _AT_ONCE)
                self._fetched[asked] = None
        return self._fetched[asked]

    def _answer(self, method: str, path: str, port: int, secure: bool, more: dict[str, Any]) -> Response:
        deadline = self._deadline.within(_OF_A_SILENT_HOST if self.silent else _PATIENCE)
        noting = _Noting(ssl.PROTOCOL_TLS_CLIENT) if secure else None
        client = Client(self.host, deadline, port=port, secure=noting and tolerant(noting))
        answer = client.request(method, path, also=_ANY_STATUS, **more)
        if noting is not None:
            self.fingerprints[port] = noting.fingerprint
        return answer


class _Noting(PinnedContext):
    """TLS with any certificate, of which the fingerprint is kept."""

    def refusal(self, presented: bytes | None) -> str:
        self.fingerprint = hashlib.sha256(presented or b"").hexdigest()
        return ""


def object_of(answer: Response | None) -> dict[str, Any]:
    """Return the object that a good answer is, empty if it is none."""
    try:
        found = answer.json() if answer is not None and 200 <= answer.status < 300 else {}
    except DeviceError:
        return {}
    return found if isinstance(found, dict) else {}
