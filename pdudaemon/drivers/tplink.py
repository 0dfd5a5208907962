# SPDX-License-Identifier: MIT
"""TP-Link Kasa plugs and strips (KP303, KP105, HS105, HS300 and so on), by their own protocol in the local network.

A port is the name that an outlet has in the Kasa app (its alias), or else its number, from 1; a single plug is 1.

Source: python-kasa and its recorded answers of devices.
Tested: with tplink-smarthome-simulator, and against a fake.
Quirks: newer firmware of some models speaks another protocol (KLAP) and refuses connections to port 9999: the driver
``kasa`` is for these. Requests for an outlet's name and for its number are carried out one at a time, but count as
requests for two ports. An outlet that is ``locked`` by its name or its number is not switched by the other one either.
Meters of a strip are asked one by one; one that has no meter says so at the first.

    "strip": {"driver": "tplink", "ip": "192.0.2.70"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pdudaemon.drivers.kasabase import STATES, KasaDevice, Outlet, identity_of, outlets_of, reading
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import ConnectionRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import LIMIT, Connection, in_words

_KEY = 171
_CONTEXT = "context"
_NUMBERS = {state: number for number, state in STATES.items()}


class TPLink(KasaDevice):
    """One command for each connection."""

    models = {"tplink": None}

    port = tcp_port(9999)

    def port_interaction(self, command: str, port_number: int | str) -> None:
        wanted = State(command)
        outlet = self.outlet(port_number)
        self.check_lock(outlet)
        order = {"system": {"set_relay_state": {"state": _NUMBERS[wanted]}}}
        self._ask({**_only(outlet), **order}, f"switching {outlet.alias!r}")

    def read_outlets(self) -> list[OutletReading]:
        readings = []
        metered = True
        for outlet in self.outlets():
            drawn = self._drawn(outlet) if metered else None
            metered = drawn is not None  # either all outlets have a meter or none
            readings.append(reading(outlet, drawn or {}))
        return readings

    def identify(self) -> Identity:
        return identity_of(self._ask({"system": {"get_sysinfo": {}}}, "asking who it is"))

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its answer to the question who it is, which needs no login."""
        if pages.port and pages.server:
            return None
        settings = {"driver": "tplink", **port_of(pages)}
        asked = cls(pages.host, settings)
        asked.deadline = deadline
        return Recognised(settings, asked.identify(), asked.read_outlets())

    def _drawn(self, outlet: Outlet) -> dict[str, Any] | None:
        """Return what an outlet draws, None if it has no meter."""
        try:
            return self._ask(
                {**_only(outlet), "emeter": {"get_realtime": {}}}, f"reading the meter of {outlet.alias!r}"
            )
        except PermanentError:
            return None

    @property
    def peer(self) -> str:
        return in_words(self.host, self.port)

    def outlets(self) -> list[Outlet]:
        step = "asking for the outlets"
        device = self._ask({"system": {"get_sysinfo": {}}}, step)
        try:
            return outlets_of(device)
        except (KeyError, TypeError):
            raise TransientError(f"{self.peer} answered nonsense at {step}") from None

    def _ask(self, order: Mapping[str, Any], step: str) -> dict[str, Any]:
        """Return what the device answers to the one command of an order."""
        ((module, commands),) = ((key, value) for key, value in order.items() if key != _CONTEXT)
        (command,) = commands
        message = json.dumps(order, separators=(",", ":")).encode()
        try:
            with Connection(self.host, self.port, self.deadline) as connection:
                connection.send(len(message).to_bytes(4) + bytes(_encrypted(message)), step)
                size = int.from_bytes(connection.receive_exactly(4, step))
                if size > LIMIT:
                    raise TransientError(f"{connection.peer} sends too much at {step}")
                said = bytes(_decrypted(connection.receive_exactly(size, step)))
        except ConnectionRefused as error:
            newer = "newer firmware speaks another protocol: the driver for it is kasa"
            raise ConnectionRefused(f"{error}; {newer}") from None
        try:
            part = json.loads(said)[module]
            answer: dict[str, Any] = part.get(command, part)  # of a module that it has not, the error alone
            refused = answer["err_code"]
        except (AttributeError, ValueError, KeyError, TypeError):
            raise TransientError(f"{self.peer} answered nonsense at {step}") from None
        if refused:
            raise PermanentError(f"{self.peer} refused {step}: error {refused}")
        return answer


def _only(outlet: Outlet) -> dict[str, Any]:
    """Return what makes an order one for an outlet of several."""
    return {_CONTEXT: {"child_ids": [outlet.id]}} if outlet.id else {}


def _encrypted(plain: bytes) -> Iterator[int]:
    key = _KEY
    for byte in plain:
        key ^= byte
        yield key


def _decrypted(cipher: bytes) -> Iterator[int]:
    key = _KEY
    for byte in cipher:
        yield key ^ byte
        key = byte
