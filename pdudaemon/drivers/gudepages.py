# SPDX-License-Identifier: MIT
"""Older Gude Expert Power Control by their web pages.

``gude_ov``: EPC 8x, 24x, 2x6, 8080, 8316, and 1202 with old firmware; ``gude_http``: those of eight ports before them.

Source: public tools for these devices.
Tested: against a fake.
Quirks: a page is all there is. ``gude_ov`` hides the states in the head of one, of some firmware without the numbers of
the ports, so that their order counts. An order is answered with a page, whatever came of it, so the state is read back.
While somebody else uses the pages, the device answers with words.

    "rack1": {"driver": "gude_ov", "ip": "192.0.2.85"},
    "rack2": {"driver": "gude_http", "ip": "192.0.2.86", "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import Recognised, place_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client
from pdudaemon.transports.pages import Pages

_PORT = re.compile(r"Power\s+Port\s+([0-9]{1,2})\s+(ON|OFF)\b", re.IGNORECASE)
_META = re.compile(r"(?:.*?([0-9]{1,2}))?\s*,\s*([01])\s*")


class _Pages(NamedTuple):
    """Where a model is told to switch, and where it tells of its ports."""

    order: str
    states: str


class GudePages(WebDevice):
    """Pages for people."""

    models = {"gude_ov": _Pages("/ov.html", "/ov.html"), "gude_http": _Pages("/switch.html", "/")}
    ports = Numbered(24, at_most=True)

    username = Setting(text, "", "user name, if the device wants a login")
    password = Setting(text, "", "password of that user", secret=True)

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the page with the states, where anybody may see that."""
        for name, row in cls.models.items():
            answer = pages.get(row.states)
            states = _Page(answer.text).states() if answer is not None and answer.status == 200 else {}
            if states:
                return Recognised({"driver": name, **place_of(pages)}, Identity("Gude"), stated(states))
        return None

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self._get(f"{self.row.order}?cmd=1&p={port_number}&s={int(wanted is State.ON)}")
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        found = self._states()
        if port_number not in found:
            raise PermanentError(f"the device has no port {port_number}, but {len(found)}")
        return found[port_number]

    def read_outlets(self) -> list[OutletReading]:
        return stated(self._states())

    def _states(self) -> dict[int, State]:
        source, page = self._get(self.row.states)
        if not (found := page.states()):
            raise TransientError(f"{source}: the page does not tell the state of the ports")
        return found

    def _get(self, target: str) -> tuple[str, _Page]:
        """Return whose answer it is, as errors begin, and a page."""
        client = Client(self.host, self.deadline, username=self.username, password=self.password)
        answer = client.request("GET", target)
        page = _Page(answer.text)
        if "blocked by another user" in page.text:
            raise TransientError(f"{answer.source}: the device is blocked by another user")
        return answer.source, page


class _Page(HTMLParser):
    """A page: its text, and what its head says in ``powerstate``."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._said: list[str] = []
        self._hidden: list[str] = []
        self.feed(page)

    @property
    def text(self) -> str:
        """All that people see, in one line."""
        return " ".join(" ".join(self._said).split())

    def states(self) -> dict[int, State]:
        """Return the states of the ports, by their numbers or in their order."""
        found: dict[int, State] = {}
        for content in self._hidden:
            for number, bit in _META.findall(content):
                found[int(number or len(found) + 1)] = State.ON if bit == "1" else State.OFF
        return found or {int(number): State(word.lower()) for number, word in _PORT.findall(self.text)}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "meta" and (said.get("http-equiv") or "").lower() == "powerstate":
            self._hidden.append(said.get("content") or "")

    def handle_data(self, data: str) -> None:
        self._said.append(data)
