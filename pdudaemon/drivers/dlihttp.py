# SPDX-License-Identifier: MIT
"""Digital Loggers power controllers by their web pages: Web Power Switch II to 7, LPC, EPCR, DIN Relay III.

Source: public tools for these devices.
Tested: against a fake, with the pages and the logins of three generations.
Quirks: what a page looks like differs from firmware to firmware: a table with names and states, a comment with all
states and locks, or neither of them, and a page of its own for that. Newer firmware wants no Basic but the login of its
form, which never sends the password itself. An order is answered with a page, whatever came of it, so the state is read
back. Passwords of old: ``1234``, ``4321``, ``admin``.

    "rack1": {"driver": "dli_http", "ip": "192.0.2.82", "password": "secret"}
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, by_bit, label
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_INDEX = "/index.htm"
_REDIRECTED = (301, 302, 303)
_CHALLENGE = re.compile(r"""<input\b[^>]*\bname=["']?Challenge["']?[^>]*\bvalue=["']?([^"'\s>]+)""", re.IGNORECASE)
_COMMENT = re.compile(r"<!--\s*state=([0-9a-f]{1,4})(?:\s+lock=([0-9a-f]{1,4}))?", re.IGNORECASE)
_STATUS = re.compile(r"""<div\b[^>]*\bid=["']?state["']?[^>]*>\s*([0-9a-f]{1,4})\s*<""", re.IGNORECASE)


@dataclass(frozen=True)
class _Page:
    """What the device told: its outlets by number, and the numbers of those that are locked."""

    states: dict[int, State]
    names: dict[int, str] = field(default_factory=dict)
    locked: frozenset[int] = frozenset()


class DLIHttp(SecureWebDevice):
    """Each action logs in anew, where a form wants that."""

    models = {"dli_http": None}
    ports = Numbered(8, at_most=True)

    username, password = login("admin", "1234", "the web pages")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the form of its login, unless it is one that is better asked by `dli_rest`."""
        first = pages.get("/")
        if first is None or "login.tgi" not in first.text or not _CHALLENGE.search(first.text):
            return None
        if pages.wants_login("/restapi/"):
            return None
        return Recognised({"driver": "dli_http", **place_of(pages)}, Identity("Digital Loggers"), wants=LOGIN)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        client, headers = self._let_in()
        page = self._read(client, headers)
        self._of(page, port_number)
        if port_number in page.locked:
            raise PermanentError(f"outlet {port_number} is locked at the device")
        client.request("GET", f"/outlet?{port_number}={wanted.upper()}", headers=headers, also=_REDIRECTED)
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        return self._of(self._read(*self._let_in()), port_number)

    def read_outlets(self) -> list[OutletReading]:
        page = self._read(*self._let_in())
        return [OutletReading(str(port), label(page.names.get(port)), state) for port, state in page.states.items()]

    @staticmethod
    def _of(page: _Page, port: int) -> State:
        if port not in page.states:
            raise PermanentError(f"the device has no outlet {port}")
        return page.states[port]

    def _let_in(self) -> tuple[Client, dict[str, str]]:
        """Return a client, and the headers by which the device knows it."""
        client = self.client(self.username, self.password)
        answer = client.request("GET", "/", also=_REDIRECTED)
        found = _CHALLENGE.search(answer.text)
        if found is None:
            return client, {}
        # The proof covers the password, which is never sent itself; what it is made by is theirs to choose.
        words = f"{found[1]}{self.username}{self.password}{found[1]}".encode()
        proof = hashlib.md5(words, usedforsecurity=False).hexdigest()
        form = {"Username": self.username, "Password": proof}
        answer = client.request("POST", "/login.tgi", form=form, also=_REDIRECTED)
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0].strip()
        if not cookie:
            raise LoginRefused(f"login refused by {answer.source}")
        return client, {"Cookie": cookie}

    def _read(self, client: Client, headers: dict[str, str]) -> _Page:
        answer = client.request("GET", _INDEX, headers=headers)
        if page := _page(answer):
            return page
        answer = client.request("GET", "/status", headers=headers, also=(404,))
        if not (found := _STATUS.search(answer.text)):
            raise TransientError(f"{answer.source}: the answer does not tell the state of the outlets")
        return _Page(by_bit(int(found[1], 16), 8))


def _page(answer: Response) -> _Page | None:
    """Return what the first page tells, if it tells of outlets."""
    table = _Table(answer.text)
    comment = _COMMENT.search(answer.text)
    locks = by_bit(int(comment[2] or "0", 16), 8) if comment else {}
    locked = frozenset(port for port, state in locks.items() if state is State.ON)
    if table.states:
        return _Page(table.states, table.names, locked)
    return _Page(by_bit(int(comment[1], 16), 8), {}, locked) if comment else None


class _Table(HTMLParser):
    """The rows of a page that begin with a number, a name and a state."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.states: dict[int, State] = {}
        self.names: dict[int, str] = {}
        self._cells: list[str] = []
        self.feed(page)
        self._end_row()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self._end_row()
        elif tag == "td":
            self._cells.append("")

    def handle_data(self, data: str) -> None:
        if self._cells:
            self._cells[-1] += data

    def _end_row(self) -> None:
        number, name, state, *_ = [*map(str.strip, self._cells), "", "", ""]
        if number.isdecimal() and len(number) < 3 and state.lower() in ("on", "off"):
            self.states[int(number)] = State(state.lower())
            self.names[int(number)] = name
        self._cells = []
