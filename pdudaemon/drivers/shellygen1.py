# SPDX-License-Identifier: MIT
"""Shelly relays and plugs of the first generation (1, 1PM, 1L, 2, 2.5, 4Pro, Plug, Plug S, EM), by HTTP.

Source: Shelly's description of the API of the first generation; recorded answers of devices.
Tested: against a fake, with and without a password.
Quirks: outlets are counted from 0. A login is off by default, and by Basic. A 2 or 2.5 that is set up for a shutter has
no relays. A Shelly 2 has one meter for both its relays, which is told as that of the PDU; the watts of a Shelly 1 are a
number that its owner has written down, so they are not told.

    "plug": {"driver": "shelly_gen1", "ip": "192.0.2.68"},
    "192.0.2.69": {"driver": "shelly_gen1", "password": "secret"}
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import Recognised, place_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_LAST_RELAY = 3
_WATT_MINUTE = 1 / 60
_NOT_MEASURED = ("SHSW-1", "SHSW-L")  # the models that tell what they were told
_STATES: dict[object, State] = {True: State.ON, False: State.OFF}


class ShellyGen1(WebDevice):
    """Each relay is a page, which takes orders; one page tells of all."""

    models = {"shelly_gen1": None}
    ports = Numbered(_LAST_RELAY, first=0, at_most=True)
    stable_names = True

    username = Setting(text, "admin", "user name, if the device has a password")
    password = Setting(text, "", "password of the device, if it has one", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        answer = self._get(f"/relay/{port_number}?turn={command}", also=(404,))
        if (found := self._state(answer, port_number)) is not State(command):
            raise TransientError(f"{answer.source}: relay {port_number} is {found} after {command}")

    def port_status(self, port_number: int) -> State:
        return self._state(self._get(f"/relay/{port_number}", also=(404,)), port_number)

    def read_outlets(self) -> list[OutletReading]:
        source, status = self._object("/status")
        relays = _dicts(status.get("relays"))
        if not relays:
            raise PermanentError(f"{source}: the device has no relays; is it set up for a shutter, or a lamp?")
        meters = self._meters(status)
        _, settings = self._object("/settings")
        drawn = meters if len(meters) == len(relays) and _type(settings) not in _NOT_MEASURED else [{}] * len(relays)
        named = _dicts(settings.get("relays"))
        names = [label(each.get("name")) for each in named] if len(named) == len(relays) else [None] * len(relays)
        return [
            OutletReading(str(number), name, _STATES.get(relay.get("ison"), State.UNKNOWN), **each)
            for number, (relay, each, name) in enumerate(zip(relays, drawn, names, strict=True))
        ]

    def read_inlets(self) -> list[InletReading]:
        _, status = self._object("/status")
        meters, relays = self._meters(status), _dicts(status.get("relays"))
        if len(meters) != 1 or len(relays) < 2:
            return []
        return [InletReading("total", watts=meters[0]["watts"], watt_hours=meters[0]["watt_hours"])]

    def identify(self) -> Identity:
        return _identity(self._object("/shelly")[1])

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the page that says so to anybody."""
        who = pages.json("/shelly")
        if "gen" in who or not (isinstance(who.get("type"), str) and isinstance(who.get("auth"), bool)):
            return None
        status, settings = ({}, {}) if who["auth"] else (pages.json("/status"), pages.json("/settings"))
        named = _dicts(settings.get("relays"))
        outlets = [
            OutletReading(str(number), label(name.get("name")), _STATES.get(relay.get("ison"), State.UNKNOWN))
            for number, (relay, name) in enumerate(zip(_dicts(status.get("relays")), named, strict=False))
        ]
        wants = "password" if who["auth"] else ""
        return Recognised({"driver": "shelly_gen1", **place_of(pages)}, _identity(who), outlets, wants)

    @staticmethod
    def _meters(status: dict[str, Any]) -> list[dict[str, float | None]]:
        """Return what is measured; energy is counted in watt-minutes, of an EM in watt-hours."""
        better = [
            {
                "watts": quantity(each.get("power")),
                "volts": quantity(each.get("voltage")),
                "amps": quantity(each.get("current")),
                "watt_hours": quantity(each.get("total")),
            }
            for each in _dicts(status.get("emeters"))
            if each.get("is_valid") is not False
        ]
        return better or [
            {"watts": quantity(each.get("power")), "watt_hours": quantity(each.get("total"), _WATT_MINUTE)}
            for each in _dicts(status.get("meters"))
            if each.get("is_valid") is not False
        ]

    def _state(self, answer: Response, relay: int) -> State:
        if answer.status == 404:
            raise PermanentError(f"{answer.source}: there is no relay {relay}, unless it is set up for a shutter (404)")
        said = answer.json()
        if not isinstance(said, dict) or not isinstance(said.get("ison"), bool):
            raise TransientError(f"{answer.source}: the answer does not tell the state of relay {relay}")
        return _STATES[said["ison"]]

    def _object(self, path: str) -> tuple[str, dict[str, Any]]:
        """Return whose answer it is, as errors begin, and the object that it is."""
        answer = self._get(path)
        said = answer.json()
        if not isinstance(said, dict):
            raise TransientError(f"{answer.source}: the answer is not a JSON object")
        return answer.source, said

    def _get(self, target: str, also: Iterable[int] = ()) -> Response:
        username = self.username if self.password else ""
        client = Client(self.host, self.deadline, username=username, password=self.password)
        return client.request("GET", target, also=[*also])


def _identity(said: dict[str, Any]) -> Identity:
    model, mac, firmware = (label(said.get(key)) or "" for key in ("type", "mac", "fw"))
    return Identity("Shelly", model, mac, firmware)


def _dicts(said: object) -> list[dict[str, Any]]:
    return [each for each in said if isinstance(each, dict)] if isinstance(said, list) else []


def _type(settings: dict[str, Any]) -> str:
    device = settings.get("device")
    return str(device.get("type")) if isinstance(device, dict) else ""
