# SPDX-License-Identifier: MIT
"""ANEL NET-PwrCtrl: HOME (three sockets), ADV, IO and PRO (eight), by their web pages.

Source: ANEL's forum (URL commands; layout of ``strg.cfg`` for HOME and PRO); public tools for ADV and HUT.
Tested: against a fake only.
Quirks: orders want user name and password one after the other in the URL, with nothing between them, hence no blanks in
either; ``strg.cfg`` wants a login by Basic. A refused login comes with status 200, and locks everybody out for 3 s. A
locked socket cannot be switched. What an order is answered differs, so the state is read back. Asked by several at a
time, a device now and then answers nonsense: it is asked once more.

    "anel.lab": {"driver": "anel_netpwrctrlhome"},
    "anel-rack": {"driver": "anel_netpwrctrlpro", "ip": "192.0.2.60:8080", "username": "pdu", "password": "secret"}
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice, login
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.http import Client, Response

_REFUSED = "User or password error."
_STATES = {"1": State.ON, "0": State.OFF}


class Layout(NamedTuple):
    """Where ``strg.cfg`` has the word ``end``, state and lock of the first socket, and how far on those of the next."""

    end: int
    state: int
    locked: int
    step: int


_LAYOUTS = (Layout(end=58, state=20, locked=30, step=1), Layout(end=40, state=1, locked=2, step=5))  # HOME PRO; ADV IO


class Socket(NamedTuple):
    """What a device says about a socket."""

    state: State
    locked: bool
    source: str


class Anel(WebDevice):
    """The row of a model is its number of sockets; which layout it has is seen from what it says."""

    models = {"anel_netpwrctrlhome": 3, "anel_netpwrctrladv": 8, "anel_netpwrctrlio": 8, "anel_netpwrctrlpro": 8}
    ports = Numbered(lambda row: row)

    username, password = login("admin", "anel", "the web pages")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        login = (self.username + self.password).replace("%", "%25")
        self._get(f"/?Sw_{command}={port_number},{login}")
        socket = self._socket(port_number)
        if socket.state is not wanted and socket.locked:
            raise PermanentError(f"{socket.source}: socket {port_number} is locked")
        if socket.state is not wanted:
            self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        return self._socket(port_number).state

    def _socket(self, number: int) -> Socket:
        with contextlib.suppress(TransientError):  # what it says the second time counts
            return self._read(number)
        return self._read(number)

    def _read(self, number: int) -> Socket:
        answer = self._get("/strg.cfg")
        fields = [field.strip() for field in answer.text.split(";")]
        for layout in _LAYOUTS:
            if fields[layout.end : layout.end + 1] == ["end"]:
                offset = layout.step * (number - 1)
                state, locked = fields[layout.state + offset], fields[layout.locked + offset]
                if state in _STATES and locked in _STATES:
                    return Socket(_STATES[state], locked == "1", answer.source)
        raise TransientError(f"{answer.source}: the answer does not tell the state of socket {number}")

    def _get(self, target: str) -> Response:
        client = Client(self.host, self.deadline, username=self.username, password=self.password)
        answer = client.request("GET", target)
        if answer.text.strip() == _REFUSED:
            raise PermanentError(f"login refused by {answer.source}")
        return answer
