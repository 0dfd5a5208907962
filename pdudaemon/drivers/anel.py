# SPDX-License-Identifier: MIT
"""ANEL NET-PwrCtrl: HOME (three sockets), ADV, IO and PRO (eight), by their web pages.

Source: ANEL's forum (URL commands; layout of ``strg.cfg`` for HOME and PRO); public tools for ADV and HUT.
Tested: against a fake only.
Quirks: orders want user name and password one after the other in the URL, with nothing between them, hence no blanks in
either; ``strg.cfg`` wants a login by Basic. A refused login comes with status 200, and locks everybody out for 3 s. A
locked socket cannot be switched. What an order is answered differs, so the state is read back. Asked by several at a
time, a device now and then answers nonsense: it is asked once more. Names of sockets are told with the states;
temperatures are not read.

    "anel.lab": {"driver": "anel_netpwrctrlhome"},
    "anel-rack": {"driver": "anel_netpwrctrlpro", "ip": "192.0.2.60:8080", "username": "pdu", "password": "secret"}
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import NamedTuple

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_REALM = "NET-CONTROL"
_REFUSED = "User or password error."
_STATES = {"1": State.ON, "0": State.OFF}


class Layout(NamedTuple):
    """Where ``strg.cfg`` has the word ``end``, name, state and lock of the first socket, and how far on is the next."""

    end: int
    name: int
    state: int
    locked: int
    step: int


_LONG = Layout(end=58, name=10, state=20, locked=30, step=1)  # HOME, PRO
_SHORT = Layout(end=40, name=0, state=1, locked=2, step=5)  # ADV, IO
_TYPE = 8  # the field of the long layout that has the letter of the model
_MODELS = {"H": "NET-PwrCtrl HOME", "P": "NET-PwrCtrl PRO"}
_VERSION = re.compile(r"NET-PWRCTRL_(\S+)")


_ASK_PORT, _TELL_PORT = 75, 77  # of UDP, as delivered
_UDP_SECONDS = 1.0
_ONE_AT_A_TIME = threading.Lock()  # who asks by UDP is answered at one port
_TOLD = re.compile(r"(.*),([01])")


class Socket(NamedTuple):
    """What a device says about a socket."""

    name: str
    state: State
    locked: bool
    source: str


class Anel(WebDevice):
    """The row of a model is its number of sockets; which layout it has is seen from what it says."""

    models = {"anel_netpwrctrlhome": 3, "anel_netpwrctrladv": 8, "anel_netpwrctrlio": 8, "anel_netpwrctrlpro": 8}
    ports = Numbered(lambda row: row)
    stable_names = True

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

    def read_outlets(self) -> list[OutletReading]:
        sockets = self._sockets(*range(1, self.row + 1))
        return [OutletReading(str(number), label(each.name), each.state) for number, each in sockets.items()]

    def identify(self) -> Identity:
        source, fields, layout = self._fields()
        if layout is None:
            raise TransientError(f"{source}: the answer does not tell who the device is")
        if layout is not _LONG:
            return Identity("ANEL")
        version = _VERSION.match(fields[0])
        return Identity("ANEL", _MODELS.get(fields[_TYPE], ""), firmware=version[1] if version else "")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the realm of its login. Names are told without one by UDP, where that is switched on."""
        answer = pages.get("/strg.cfg")
        if answer is None or _REALM not in answer.headers.get("WWW-Authenticate", ""):
            return None
        outlets = told_by_udp(pages.host, deadline)
        word = "anel_netpwrctrlhome" if len(outlets) == cls.models["anel_netpwrctrlhome"] else "anel_netpwrctrlpro"
        return Recognised({"driver": word, **place_of(pages)}, Identity("ANEL"), outlets, LOGIN)

    def _socket(self, number: int) -> Socket:
        return self._sockets(number)[number]

    def _sockets(self, *numbers: int) -> dict[int, Socket]:
        with contextlib.suppress(TransientError):  # what it says the second time counts
            return self._read(*numbers)
        return self._read(*numbers)

    def _read(self, *numbers: int) -> dict[int, Socket]:
        source, fields, layout = self._fields()
        sockets = {}
        for number in numbers:
            if layout is None:
                raise TransientError(f"{source}: the answer does not tell the state of socket {number}")
            offset = layout.step * (number - 1)
            name, state, locked = (fields[at + offset] for at in (layout.name, layout.state, layout.locked))
            if state not in _STATES or locked not in _STATES:
                raise TransientError(f"{source}: the answer does not tell the state of socket {number}")
            sockets[number] = Socket(name, _STATES[state], locked == "1", source)
        return sockets

    def _fields(self) -> tuple[str, list[str], Layout | None]:
        """Return whose answer it is, as errors begin, what it holds, and where that has what."""
        answer = self._get("/strg.cfg")
        fields = [field.strip() for field in answer.text.split(";")]
        layouts = (layout for layout in (_LONG, _SHORT) if fields[layout.end : layout.end + 1] == ["end"])
        return answer.source, fields, next(layouts, None)

    def _get(self, target: str) -> Response:
        client = Client(self.host, self.deadline, username=self.username, password=self.password)
        answer = client.request("GET", target)
        if answer.text.strip() == _REFUSED:
            raise LoginRefused(f"login refused by {answer.source}")
        return answer


def told_by_udp(host: str, deadline: Deadline, ports: tuple[int, int] = (_ASK_PORT, _TELL_PORT)) -> list[OutletReading]:
    """Return the sockets that a device tells of by UDP; none if that is switched off, or the port not ours to use."""
    with _ONE_AT_A_TIME, socket.socket(type=socket.SOCK_DGRAM) as line:
        line.settimeout(deadline.within(_UDP_SECONDS).remaining())
        try:
            line.bind(("", ports[1]))
            line.connect((host, ports[0]))
            line.send(b"wer da?\r\n")
            said = line.recv(1000).decode("latin-1")
        except OSError:
            return []
    if not said.startswith("NET-PwrCtrl"):
        return []
    fields = said.split(":")
    sockets = [found for each in fields if (found := _TOLD.fullmatch(each.strip()))]
    return [OutletReading(str(n), label(each[1]), _STATES[each[2]]) for n, each in enumerate(sockets, 1)]
