# SPDX-License-Identifier: MIT
"""Devices with Tasmota firmware, by its web commands.

Source: Tasmota documentation (Commands: Power, SetOption26, StateText; Web requests).
Tested: against a fake only.
Quirks: a device with one relay calls it ``POWER``, without a number, unless SetOption26 is 1. A login can only go in
the query of the URL; it is sent when user name and password are both set. Old firmware refuses it with status 200.
``Status 0`` tells all: names are FriendlyName; a meter that does not tell relays apart is one of the whole device.

    "plug5": {"driver": "tasmota", "ip": "192.0.2.15", "port_count": 4, "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Numbered, PDUDriver, counted
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, text
from pdudaemon.transports.deadline import Deadline, current
from pdudaemon.transports.http import Client
from pdudaemon.transports.pages import Pages, object_of

_WH_PER_KWH = 1000.0
_MOST_RELAYS = 64
_WANTS = f"{LOGIN}, and port_count, the number of relays"


class Tasmota(WebDevice):
    """The row of a device is its number of relays, or the setting that says it."""

    username = Setting(text, "", "user name of the web pages (`admin`)")
    password = Setting(text, "", "password of the web pages", secret=True)
    port_count = Setting(integer(1, _MOST_RELAYS), 1, "number of relays, counted from 1; for the driver `tasmota` only")

    models = {"sonoff_s20_tasmota": 1, "brennenstuhl_wspl01_tasmota": 2, "tasmota": port_count}
    ports = Numbered(lambda row: row)
    stable_names = True

    def port_interaction(self, command: str, port_number: int) -> None:
        self._ask(port_number, command)

    def port_status(self, port_number: int) -> State:
        return self._ask(port_number)

    def read_outlets(self) -> list[OutletReading]:
        source, said = self._everything()
        found = outlets(source, said, self._relays())
        if not found:
            raise TransientError(f"{source}: the answer does not tell the state of any relay")
        return found

    def read_inlets(self) -> list[InletReading]:
        """Of a device with some relays and one meter."""
        return inlets(self._everything()[1], self._relays())

    def identify(self) -> Identity:
        return identity(self._everything()[1])

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        answer = pages.get("/cm?cmnd=Status 0")
        said = parts(object_of(answer))
        if answer is not None and b"Need user=" in answer.body:
            return Recognised({"driver": "tasmota", **place_of(pages)}, Identity(model="Tasmota"), wants=_WANTS)
        if not (said["StatusSTS"] and said["StatusFWR"]):
            return None
        try:
            found = outlets(address, said, range(1, _MOST_RELAYS + 1))
        except DeviceError:  # it has other words for on and off
            found = []
        count = {"port_count": len(found)} if len(found) > 1 else {}
        return Recognised({"driver": "tasmota", **place_of(pages), **count}, identity(said), found)

    def _relays(self) -> range:
        return range(1, (self.port_count if isinstance(self.row, Setting) else self.row) + 1)

    def _everything(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return whose answer it is, as errors begin, and all that the device says of itself, by parts of it."""
        source, said = _answered(Client(self.host, self.deadline), self.username, self.password, "Status 0")
        return source, parts(said)

    def _ask(self, relay: int, wanted: str = "") -> State:
        client = Client(self.host, self.deadline)
        return _asked(client, self.username, self.password, relay, wanted)


class TasmotaBase(PDUDriver):
    """What drivers written for the existing daemon build on: ``port_count`` relays; accepts nothing.

    Settings: ``ip``, if it is not the name of the PDU; ``username`` and ``password``.
    """

    port_count = 0

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        self.hostname = hostname
        self.settings = settings
        self.ip = str(settings.get("ip") or hostname)
        self.username = str(settings.get("username") or "")
        self.password = str(settings.get("password") or "")
        super().__init__()

    def port_interaction(self, command: str, port_number: Any) -> None:
        self._ask(port_number, State(command))

    def port_status(self, port_number: Any) -> State:
        return self._ask(port_number)

    def _ask(self, port_number: Any, wanted: str = "") -> State:
        relay = counted(port_number, self.port_count)
        return _asked(Client(self.ip, current()), self.username, self.password, relay, wanted)


def _asked(client: Client, username: str, password: str, relay: int, wanted: str) -> State:
    """Ask a device for the state of a relay, having switched it first if it is ``wanted`` to be something."""
    source, answer = _answered(client, username, password, f"Power{relay} {wanted}".rstrip())
    said = power(answer, relay)
    if said is None:
        raise TransientError(f"{source}: the answer does not tell the state of relay {relay}")
    state = state_of(source, said)
    if wanted and state != wanted:
        raise TransientError(f"{source}: relay {relay} is {state} after being switched {wanted}")
    return state


def _answered(client: Client, username: str, password: str, command: str) -> tuple[str, dict[str, Any]]:
    """Give a command; return whose answer it is, as errors begin, and the answer."""
    words = {"cmnd": command}
    if username and password:
        words |= {"user": username, "password": password}
    query = urllib.parse.urlencode(words, quote_via=urllib.parse.quote)
    response = client.request("GET", f"/cm?{query}", also=[401] if "user" in words else [])
    if response.status == 401:
        raise LoginRefused(f"login refused by {response.source} (401)")
    answer = response.json()
    if not isinstance(answer, dict):
        raise TransientError(f"{response.source}: the answer is not a JSON object")
    if "WARNING" in answer:
        if "Need user" in str(answer["WARNING"]):
            raise LoginRefused(f"{response.source}: login refused")
        raise PermanentError(f"{response.source}: {answer['WARNING']}")
    if answer.get("Command") in ("Unknown", "Error"):
        raise PermanentError(f"{response.source}: the device does not know the command {command!r}")
    return response.source, answer


def parts(said: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parts that count of what a device says of itself, for ``Status 0``; empty ones that are not there."""
    names = ("Status", "StatusFWR", "StatusNET", "StatusSTS", "StatusSNS")
    return {name: found if isinstance(found := said.get(name), dict) else {} for name in names}


def identity(said: Mapping[str, Mapping[str, Any]]) -> Identity:
    """Return who a device says it is."""
    firmware, mac = label(said["StatusFWR"].get("Version")), label(said["StatusNET"].get("Mac"))
    return Identity(model="Tasmota", serial=mac or "", firmware=firmware or "")


def outlets(source: str, said: Mapping[str, Mapping[str, Any]], relays: range) -> list[OutletReading]:
    """Return what is said of those of some relays that there are. Raises: PermanentError."""
    states = {relay: text for relay in relays if (text := power(said["StatusSTS"], relay)) is not None}
    names = said["Status"].get("FriendlyName")
    energy = _Energy(said, len(states))
    return [
        OutletReading(
            str(relay),
            label(names[relay - 1]) if isinstance(names, list) and len(names) >= relay else None,
            state_of(source, text),
            watts=energy.of_relay("Power", relay),
            volts=energy.of_relay("Voltage", relay),
            amps=energy.of_relay("Current", relay),
            watt_hours=energy.of_relay("Total", relay, _WH_PER_KWH),
        )
        for relay, text in states.items()
    ]


def inlets(said: Mapping[str, Mapping[str, Any]], relays: range) -> list[InletReading]:
    """Return what a device with some relays and one meter says of that."""
    energy = _Energy(said, sum(power(said["StatusSTS"], relay) is not None for relay in relays))
    watts = energy.of_all("Power")
    if watts is None:
        return []
    amps, watt_hours = energy.of_all("Current"), energy.of_all("Total", _WH_PER_KWH)
    return [InletReading("total", watts, energy.of_all("Voltage"), amps, watt_hours)]


def power(said: Mapping[str, Any], relay: int) -> object:
    """Return what is said of a relay, None if nothing."""
    return said.get(f"POWER{relay}", said.get("POWER") if relay == 1 else None)


def state_of(source: str, said: object) -> State:
    """Return the state that a word means. Raises: PermanentError, if it is one of the user's own."""
    try:
        return State(str(said).lower())
    except ValueError:
        raise PermanentError(f"{source}: the state is {said!r}; set StateText to OFF and ON") from None


class _Energy:
    """What the meter says: lists with a value for each relay, or single values, of the one relay or of all."""

    def __init__(self, said: Mapping[str, Mapping[str, Any]], relays: int) -> None:
        energy = said["StatusSNS"].get("ENERGY")
        self._said: Mapping[str, Any] = energy if isinstance(energy, dict) else {}
        self._single = relays == 1
        self._each = isinstance(self._said.get("Power"), list)

    def of_relay(self, name: str, relay: int, unit: float = 1.0) -> float | None:
        """Return a quantity of a relay; all of them have one voltage."""
        value = self._said.get(name)
        if isinstance(value, list):
            return quantity(value[relay - 1], unit) if len(value) >= relay else None
        return quantity(value, unit) if self._single or (self._each and name == "Voltage") else None

    def of_all(self, name: str, unit: float = 1.0) -> float | None:
        """Return a quantity of the device as a whole, None if it is that of its relay or relays."""
        return None if self._single or self._each else quantity(self._said.get(name), unit)
