# SPDX-License-Identifier: MIT
"""MSNswitch and its twins ezOutlet and ViewPort (Mega System UIS-3xx, UIS-522, UIS-622): two outlets.

Each generation of firmware is a driver: ``msnswitch`` (pages with Basic; the oldest ones too), ``msnswitch_622`` (the
UIS-622 with firmware A6xx, a form and a cookie), ``msnswitch_api`` (firmware 3207 and later, JSON).

Source: public clients of all three.
Tested: against a fake only.
Quirks: the state is the same piece of XML at all pages, in one of several spellings. The JSON takes the password with
each request, and only from addresses that its owner has listed. An outlet that can only be reset cannot stay off. What
restarts a modem by itself (UIS) may switch an outlet behind our back.

    "modem": {"driver": "msnswitch", "ip": "192.0.2.98", "password": "secret"},
    "router": {"driver": "msnswitch_api", "ip": "192.0.2.99", "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import re
import time
import zlib
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, OutletReading, label, stated
from pdudaemon.drivers.recognition import LOGIN, WAYS, Recognised, locked, reached
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import LIMIT, Response
from pdudaemon.transports.pages import Pages

_OUTLETS = 2
_STATUS = re.compile(r"<outlet_status>([\s01,]*)</outlet_status>")
_TOKEN = re.compile(r"""<[^>]*\bid=["']?csrftoken["']?[^>]*\bvalue=["']?([^"'\s>]+)""", re.IGNORECASE)
_STATES = {"1": State.ON, "0": State.OFF}
_PAGES = ("/xml/outlet_status.xml", "/outlet_status.xml")
_MAKER = Identity("Mega System")
_BIT = {"on": "1", "off": "0"}


class MSNSwitch(SecureWebDevice):
    """Pages with Basic. The oldest firmware has them at other places."""

    models = {"msnswitch": None}
    ports = Numbered(_OUTLETS)

    username, password = login("admin", "admin", "the web pages")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take one with pages for one by its state, which most often only who logs in may see."""
        if cls is not MSNSwitch:
            return None
        for port, secure in WAYS:
            for page in _PAGES:
                answer = pages.get(page, port=port, secure=secure)
                if answer is not None and answer.status == 200 and _STATUS.search(answer.text):
                    settings = {"driver": "msnswitch", **reached(pages, secure)}
                    return Recognised(settings, _MAKER, stated(states_of(answer)), LOGIN)
        if (how := locked(pages, *_PAGES)) is None:
            return None
        return Recognised({"driver": "msnswitch", **how}, _MAKER, wants=LOGIN)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        query = f"target={port_number}&control={_BIT[command]}"
        self._found(f"/cgi-bin/control.cgi?{query}", f"/control.cgi?{query}")
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        return self._states()[port_number]

    def read_outlets(self) -> list[OutletReading]:
        return stated(self._states())

    def _states(self) -> dict[int, State]:
        return states_of(self._found(*_PAGES))

    def _found(self, *places: str) -> Response:
        """Return the first page that is there."""
        client = self.client(self.username, self.password)
        for place in places:
            answer = client.request("GET", place, also=(404,) if place != places[-1] else ())
            if answer.status != 404:
                break
        return answer


class MSNSwitch622(MSNSwitch):
    """A session with a cookie; an order wants a token out of a page."""

    models = {"msnswitch_622": None}

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        headers = self._let_in()
        token = ""
        for place in ("/status.asp", "/index.asp"):
            page = self.client().request("GET", place, headers=headers, also=(404,))
            if page.status != 404 and (found := _TOKEN.search(page.text)):
                token = found[1]
                break
        if not token:
            raise TransientError(f"{page.source}: the page has no csrftoken")
        order = f"target={port_number}&control={_BIT[command]}&time={int(time.time() * 1000)}&csrftoken={token}"
        self.client().request("GET", f"/cgi-bin/control.cgi?{order}", headers=headers)
        self.confirm(port_number, wanted, within=3)

    def _states(self) -> dict[int, State]:
        return states_of(self.client().request("GET", "/xml/outlet_status.xml", headers=self._let_in()))

    def _let_in(self) -> dict[str, str]:
        """Return the headers by which the device knows us."""
        form = {"user": self.username, "password": self.password}
        answer = self.client().request("POST", "/goform/login", form=form, also=(302, 401, 403))
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        if answer.status in (401, 403) or not cookie:
            raise LoginRefused(f"login refused by {answer.source}")
        return {"Cookie": cookie}


class MSNSwitchAPI(MSNSwitch):
    """JSON, which has names as well."""

    models = {"msnswitch_api": None}
    stable_names = True

    def port_interaction(self, command: str, port_number: int) -> None:
        if command == "off" and self._outlets()[port_number - 1].get("reset_only") is True:
            raise PermanentError(f"outlet {port_number} can be reset, but cannot stay off")
        self._post("control", target=f"outlet{port_number}", action=command)
        self.confirm(port_number, State(command), within=3)

    def read_outlets(self) -> list[OutletReading]:
        return [
            OutletReading(str(port), label(outlet.get("name")), _truth(outlet.get("status")))
            for port, outlet in enumerate(self._outlets(), 1)
        ]

    def _states(self) -> dict[int, State]:
        return {port: _truth(outlet.get("status")) for port, outlet in enumerate(self._outlets(), 1)}

    def _outlets(self) -> list[dict[str, Any]]:
        source, said = self._post("status")
        status = said.get("status")
        outlets = status.get("outlet") if isinstance(status, dict) else None
        found = [each for each in outlets if isinstance(each, dict)] if isinstance(outlets, list) else []
        if len(found) < _OUTLETS:
            raise TransientError(f"{source}: the answer does not tell of the outlets")
        return found[:_OUTLETS]

    def _post(self, what: str, **order: str) -> tuple[str, dict[str, Any]]:
        form = {"user": self.username, "password": self.password, **order}
        answer = self.client().request("POST", f"/api/{what}", form=form)
        said = _unpacked(answer).json()
        if not isinstance(said, dict):
            raise TransientError(f"{answer.source}: the answer is not a JSON object")
        return answer.source, said


def states_of(answer: Response) -> dict[int, State]:
    """Return the states in the XML, in whichever spelling. Raises: TransientError."""
    found = re.findall("[01]", "".join(_STATUS.findall(answer.text)))
    if len(found) != _OUTLETS:
        raise TransientError(f"{answer.source}: the answer does not tell the state of the outlets")
    return {port: _STATES[bit] for port, bit in enumerate(found, 1)}


def _truth(said: object) -> State:
    return {True: State.ON, False: State.OFF}.get(said, State.UNKNOWN) if isinstance(said, bool) else State.UNKNOWN


def _unpacked(answer: Response) -> Response:
    """Return an answer that may have been compressed, unasked."""
    if not answer.body.startswith(b"\x1f\x8b"):
        return answer
    try:
        body = zlib.decompressobj(wbits=31).decompress(answer.body, LIMIT)
    except zlib.error:
        raise TransientError(f"{answer.source}: the answer cannot be unpacked") from None
    return Response(answer.status, answer.headers, body, answer.source)
