# SPDX-License-Identifier: MIT
"""Digital Loggers power controllers with the REST-style API: Web Power Switch Pro, DIN Relay IV, EPC7, MNPC.

The API must be allowed on the page *External APIs*; a user who is no admin needs a grant there.

Source: Digital Loggers' description of the REST-style API; public clients of it. Meters and identity: from memory.
Tested: against a fake, with and without TLS; meters and identity from documentation, untried.
Quirks: outlets are counted from 0 on the wire, from 1 here and on the case. ``state`` there is only a wish:
``physical_state`` is what the relay does, and it lags by delays that the owner may have set. The device's own cycle
leaves an outlet off that was off, so a reboot is off, delay, on. With HTTP shut it redirects:
``protocol`` is https then.

    "rack1": {"driver": "dli_rest", "ip": "192.0.2.80", "password": "secret"},
    "rack2": {"driver": "dli_rest", "ip": "192.0.2.81", "password": "secret", "protocol": "https", "insecure": true}
"""

from __future__ import annotations

import re
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Response
from pdudaemon.transports.pages import Pages

_OUTLETS = "/restapi/relay/outlets"
_HEADERS = {"Accept": "application/json", "X-CSRF": "x"}
_REALM = re.compile(r"realm=\"?(DLI |Power Controller)")
_LAG = 10.0  # seconds that a relay may take to follow
_METER = re.compile(r"(.*?)[\s,:_-]*\(?(V|A|W|kWh)\)?")
_QUANTITIES = {"V": ("volts", 1.0), "A": ("amps", 1.0), "W": ("watts", 1.0), "kWh": ("watt_hours", 1000.0)}


class DLIRest(SecureWebDevice):
    """A path with ``all;`` or ``=`` in it is answered with 207 and one flat list."""

    models = {"dli_rest": None}
    ports = Numbered(64, at_most=True)

    username, password = login("admin", "1234", "the API")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        order = {"value": "true" if wanted is State.ON else "false"}
        self._ask("PUT", f"{_OUTLETS}/{port_number - 1}/state/", order)
        self.confirm(port_number, wanted, within=_LAG)

    def port_status(self, port_number: int) -> State:
        answer = self._ask("GET", f"{_OUTLETS}/{port_number - 1}/physical_state/")
        said = answer.json()
        if not isinstance(said, bool):
            raise TransientError(f"{answer.source}: the answer does not tell the state of outlet {port_number}")
        return State.ON if said else State.OFF

    def read_outlets(self) -> list[OutletReading]:
        answer = self._ask("GET", f"{_OUTLETS}/all;/=name,physical_state/")
        pairs = _pairs(answer.json())
        if not pairs or not all(isinstance(on, bool) for _, on in pairs):
            raise TransientError(f"{answer.source}: the answer does not tell of the outlets")
        return [
            OutletReading(str(port), label(name), State.ON if on else State.OFF)
            for port, (name, on) in enumerate(pairs, 1)
        ]

    def read_inlets(self) -> list[InletReading]:
        answer = self._ask("GET", "/restapi/meter/values/all;/=name,value/", also=(404,))
        if answer.status == 404:  # a model without meters
            return []
        measured: dict[str, dict[str, float | None]] = {}
        for name, value in _pairs(answer.json()):
            if isinstance(name, str) and (found := _METER.fullmatch(name)):
                meaning, unit = _QUANTITIES[found[2]]
                measured.setdefault(label(found[1]) or "total", {})[meaning] = quantity(value, unit)
        return [InletReading(name, **each, kind="inlet") for name, each in measured.items()]

    def identify(self) -> Identity:
        said = self._ask("GET", "/restapi/config/=hostname,version,serial/").json()
        _, version, serial = said if isinstance(said, list) and len(said) == 3 else ("", "", "")
        return Identity("Digital Loggers", "", label(serial) or "", label(version) or "")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the realm of its login."""
        answer = pages.get(f"{_OUTLETS}/")
        if answer is None or not _REALM.search(answer.headers.get("WWW-Authenticate", "")):
            return None
        return Recognised({"driver": "dli_rest", **place_of(pages)}, Identity("Digital Loggers"), wants=LOGIN)

    def _ask(self, method: str, path: str, order: dict[str, str] | None = None, also: tuple[int, ...] = ()) -> Response:
        client = self.client(self.username, self.password)
        return client.request(method, path, form=order, headers=_HEADERS, also=also)


def _pairs(said: Any) -> list[tuple[Any, Any]]:
    """Return what a flat list holds two by two; nothing if it is no such list."""
    if not isinstance(said, list) or len(said) % 2:
        return []
    return [*zip(said[::2], said[1::2], strict=True)]
