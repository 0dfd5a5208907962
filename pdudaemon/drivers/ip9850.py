# SPDX-License-Identifier: MIT
"""Aviosys IP Power 9850, which has four outlets, by its web commands.

Source: the commands that the existing PDUDaemon sends; Aviosys manual of the IP Power 9258S for the answers.
Tested: against a fake only.
Quirks: a login can only go in the query of the URL. A refused one is answered with status 200 and ``401`` in the page.
Outlets are told as ``p61=1``, in either case and with anything between them; a command that is not answered so is
checked by reading the state back.

    "desk": {"driver": "ip9850", "ip": "192.0.2.50", "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, stated
from pdudaemon.drivers.recognition import Recognised, place_of
from pdudaemon.errors import LoginRefused, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_OUTLETS = 4
_STATES = {"1": State.ON, "0": State.OFF}
_VALUES = {state: value for value, state in _STATES.items()}
_OUTLET = re.compile(r"\bp6(\d)\s*=\s*([01])\b", re.IGNORECASE)
_REFUSED = re.compile(r"(?<![\w.=])401(?!\w|\.\d)")  # counts only in a page that tells of no outlet


class IP9850(WebDevice):
    """Every command is a query, and every answer may tell of the outlets."""

    models = {"ip9850": None}
    ports = Numbered(_OUTLETS)

    username, password = login("", "", "the web pages")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        _, states = self._ask({"cmd": "setpower", f"p6{port_number}": _VALUES[wanted]})
        if states.get(port_number) is not wanted:
            self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        source, states = self._ask({"cmd": "getpower"})
        if port_number not in states:
            raise TransientError(f"{source}: the answer does not tell the state of outlet {port_number}")
        return states[port_number]

    def read_outlets(self) -> list[OutletReading]:
        source, states = self._ask({"cmd": "getpower"})
        if not states:
            raise TransientError(f"{source}: the answer does not tell the state of any outlet")
        return stated({outlet: state for outlet, state in states.items() if 1 <= outlet <= _OUTLETS})

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its answer to a question; one that wants a login says the same as any other device."""
        answer = pages.get("/set.cmd?cmd=getpower")
        states = _states(answer) if answer is not None else {}
        if {*states} != {*range(1, _OUTLETS + 1)}:
            return None
        return Recognised({"driver": "ip9850", **place_of(pages)}, Identity("Aviosys"), stated(states))

    def _ask(self, words: Mapping[str, str]) -> tuple[str, dict[int, State]]:
        """Send a command; return whose answer it is, as errors begin, and the states of the outlets that it has."""
        login = {key: value for key, value in (("user", self.username), ("pass", self.password)) if value}
        query = urllib.parse.urlencode({**login, **words}, quote_via=urllib.parse.quote)
        answer = Client(self.host, self.deadline).request("GET", f"/set.cmd?{query}")
        states = _states(answer)
        if not states and _REFUSED.search(answer.text):
            raise LoginRefused(f"login refused by {answer.source} (401 in the page)")
        return answer.source, states


def _states(answer: Response) -> dict[int, State]:
    """Return the states of the outlets that an answer tells of."""
    return {int(outlet): _STATES[value] for outlet, value in _OUTLET.findall(answer.text)}
