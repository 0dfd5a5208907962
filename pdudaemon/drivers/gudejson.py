# SPDX-License-Identifier: MIT
"""Gude Expert Power Control with the JSON pages that all current models have; ``gude1202`` reads them as well.

These are 1104, 1105, 1202, 1292, 8001, 8021, 8031, 8035, 8041, 8045, 8080, 8221, 8225, 8226, 8291, 8311, 8314, 8316,
87-1210, 87-1310 and their relatives with relays (ENC2191, 7214).

Source: Gude's description of the HTTP interface; public tools of Gude and others.
Tested: against a fake. Which models have which page, and the meters of outlets, are from documentation, untried.
Quirks: an order rides on the question for the state, so one exchange does both. An outlet that is not there is ignored,
hence the look at how many there are. Meters of outlets are known by the outlet's name. While somebody else uses the
pages, old firmware answers with words. The login of new firmware must be set to *Basic Compatible*; without a login,
leave ``username`` out.

    "rack1": {"driver": "gude_json", "ip": "192.0.2.83"},
    "rack2": {"driver": "gude_json", "ip": "192.0.2.84", "username": "admin", "password": "secret", "protocol": "https",
              "ca_file": "/etc/ssl/certs/lab.pem"}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

_PAGES = ("/statusjsn.js", "/status.json")  # the name that all firmware knows; the one that might come in its place
_OUTPUTS, _VALUES, _DESCRIPTIONS, _GROUPS = 0x1, 0x4000, 0x10000, 0x800000
_STATES = {"1": State.ON, "0": State.OFF}
_QUANTITIES = {  # what a meter measures, and its unit: what that is here, in which unit of ours
    ("ActivePower", "W"): ("watts", 1.0),
    ("Voltage", "V"): ("volts", 1.0),
    ("Current", "A"): ("amps", 1.0),
    ("FwdActEnergy", "kWh"): ("watt_hours", 1000.0),
}


class GudeJSON(SecureWebDevice):
    """One page tells all, and takes orders."""

    models = {"gude_json": None}
    ports = Numbered(48, at_most=True)
    stable_names = True

    username = Setting(text, "", "user name, if the device wants a login")
    password = Setting(text, "", "password of that user", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        source, found = self._outputs(f"&cmd=1&p={port_number}&s={int(wanted is State.ON)}")
        if self._of(source, found, port_number) is not wanted:
            self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: int) -> State:
        return self._of(*self._outputs(), port_number)

    def read_outlets(self) -> list[OutletReading]:
        source, said = self._page(_OUTPUTS | _VALUES | _DESCRIPTIONS | _GROUPS)
        found = outlets(source, said)
        names = [outlet.name for outlet in found]
        drawn = {name: each for name, each in _drawn(said) if names.count(name) == 1}
        return [replace(outlet, **drawn.get(outlet.name or "", {})) for outlet in found]

    def read_inlets(self) -> list[InletReading]:
        _, said = self._page(_OUTPUTS | _VALUES | _DESCRIPTIONS)
        return [*meters(said)]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        settings = {"driver": "gude_json", **place_of(pages)}
        for page in _PAGES:
            target = f"{page}?components={_OUTPUTS}"
            if isinstance(pages.json(target).get("outputs"), list):
                return Recognised(settings, Identity("Gude"), outlets(address, pages.json(target)))
        if pages.wants_login(f"{_PAGES[0]}?components={_OUTPUTS}"):
            return Recognised(settings, Identity("Gude"), wants=LOGIN)
        return None

    @staticmethod
    def _of(source: str, found: list[OutletReading], port: int) -> State:
        if port > len(found):
            raise PermanentError(f"{source}: the device has no outlet {port}, but {len(found)}")
        return found[port - 1].state or State.UNKNOWN

    def _outputs(self, order: str = "") -> tuple[str, list[OutletReading]]:
        source, said = self._page(_OUTPUTS, order)
        return source, outlets(source, said)

    def _page(self, components: int, order: str = "") -> tuple[str, Any]:
        """Return whose answer it is, as errors begin, and some components of the device after an order."""
        client = self.client(self.username, self.password)
        for page in _PAGES:
            also = (404,) if page != _PAGES[-1] else ()
            answer = client.request("GET", f"{page}?components={components}{order}", also=also)
            if answer.status != 404:
                break
        if "blocked by another user" in answer.text:
            raise TransientError(f"{answer.source}: the device is blocked by another user")
        return answer.source, answer.json()


def outlets(source: str, said: Any) -> list[OutletReading]:
    """Return what a page tells of the outlets. Raises: TransientError, beginning with whose answer it is."""
    try:
        return [
            OutletReading(str(port), label(outlet.get("name")), _STATES[str(outlet["state"])])
            for port, outlet in enumerate(said["outputs"], 1)
        ]
    except (AttributeError, LookupError, TypeError):
        raise TransientError(f"{source}: the answer does not tell the state of the ports") from None


def meters(said: Any) -> Iterator[InletReading]:
    """Yield what the meters of lines read."""
    try:
        for described, values in zip(said["sensor_descr"], said["sensor_values"], strict=False):
            for properties, value in zip(described["properties"], values["values"], strict=False):
                found = _measured(described.get("fields", []), value)
                if "watts" in found:
                    yield InletReading(label(properties["name"]) or "?", **found, kind="inlet")
    except (AttributeError, LookupError, TypeError):
        return  # a model without meters, or with others than these


def _drawn(said: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names of members of groups, and what their meters read: a model that measures outlets has such groups."""
    try:
        for described, values in zip(said["sensor_descr"], said["sensor_values"], strict=False):
            groups = described.get("groups", [])
            for properties, value in zip(described["properties"], values["values"], strict=False):
                for group, members, read in zip(groups, properties.get("groups", []), value, strict=False):
                    for member, fields in zip(members, read, strict=False):
                        if (name := label(member.get("name"))) and (found := _measured(group["fields"], fields)):
                            yield name, found
    except (AttributeError, LookupError, TypeError):
        return


def _measured(fields: Any, values: Any) -> dict[str, Any]:
    """Return what a meter reads; what its fields are is told by name and unit, not by place."""
    meanings = [_QUANTITIES.get((field["name"], field["unit"])) for field in fields]
    return {
        meaning[0]: quantity(value["v"], meaning[1])
        for meaning, value in zip(meanings, values, strict=False)
        if meaning
    }
