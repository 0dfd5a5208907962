# SPDX-License-Identifier: MIT
"""TP-Link Kasa plugs and strips (KP303, KP105, HS105, HS300 and so on), by their own protocol in the local network.

A port is the name that an outlet has in the Kasa app (its alias), or else its number, from 1; a single plug is 1.

Source: python-kasa and its recorded answers of devices.
Tested: with tplink-smarthome-simulator, and against a fake.
Quirks: newer firmware of some models speaks another protocol (KLAP) and refuses connections to port 9999. Requests for
an outlet's name and for its number are carried out one at a time, but count as requests for two ports. An outlet that
is ``locked`` by its name or its number is not switched by the other one either. Meters of a strip are asked one by one;
one that has no meter says so at the first.

    "strip": {"driver": "tplink", "ip": "192.0.2.70"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Lock, locked_ports, locks
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import LIMIT, Connection, in_words

_KEY = 171
_CONTEXT = "context"
_MILLI = 0.001
_WH_PER_KWH = 1000.0
_STATES = {1: State.ON, 0: State.OFF}
_NUMBERS = {state: number for number, state in _STATES.items()}
_LONGEST_NAME = 100


class Outlet(NamedTuple):
    """One outlet as the device tells it; ``id`` is empty for a plug that has only this one."""

    number: int
    alias: str
    id: str
    state: State


class TPLink(NetworkDevice):
    """Asks for the outlets each time, since names may change."""

    models = {"tplink": None}
    stable_names = True

    port = tcp_port(9999)

    @hook
    def canonical_port(self, port: str) -> str:
        """Take any name that people can give; it is only compared with those of the device, never sent."""
        if not (0 < len(port) <= _LONGEST_NAME and port.isprintable() and port == port.strip()):
            raise ValueError(f"{port!r} is not a port: the name of an outlet, or its number")
        return _canonical(port)

    def port_interaction(self, command: str, port_number: int | str) -> None:
        wanted = State(command)
        outlet = self._outlet(port_number)
        self._check_lock(outlet)
        order = {"system": {"set_relay_state": {"state": _NUMBERS[wanted]}}}
        self._ask({**_only(outlet), **order}, f"switching {outlet.alias!r}")

    def port_status(self, port_number: int | str) -> State:
        return self._outlet(port_number).state

    def read_outlets(self) -> list[OutletReading]:
        readings = []
        metered = True
        for outlet in self._outlets():
            drawn = self._drawn(outlet) if metered else None
            metered = drawn is not None  # either all outlets have a meter or none
            readings.append(_reading(outlet, drawn or {}))
        return readings

    def identify(self) -> Identity:
        device = self._ask({"system": {"get_sysinfo": {}}}, "asking who it is")
        model, serial, firmware = (label(device.get(key)) or "" for key in ("model", "deviceId", "sw_ver"))
        return Identity("TP-Link", model, serial, firmware)

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
    def _peer(self) -> str:
        return in_words(self.host, self.port)

    def _outlet(self, port: int | str) -> Outlet:
        outlets = self._outlets()
        named = [outlet for outlet in outlets if _canonical(outlet.alias) == str(port)]
        if len(named) == 1:
            return named[0]
        if named:
            raise PermanentError(f"{self._peer} has more than one outlet {port!r}; use their numbers")
        if isinstance(port, int) and 1 <= port <= len(outlets):
            return outlets[port - 1]
        there = ", ".join(f"{outlet.number} {outlet.alias!r}" for outlet in outlets)
        raise PermanentError(f"{self._peer} has no outlet {port!r}: it has {there}")

    def _check_lock(self, outlet: Outlet) -> None:
        """Refuse an outlet that is locked by any of its names; only the device knows which belong together."""
        lock = locks.convert(self.settings.get("locked") or False)
        names = {str(outlet.number), _canonical(outlet.alias), outlet.id}
        whole = lock.ports if isinstance(lock, Lock) else lock
        if whole is True or not names.isdisjoint(map(_canonical, locked_ports(lock))):
            where = f"{self._peer}: outlet {outlet.number} {outlet.alias!r}"
            why = f": {lock.reason}" if isinstance(lock, Lock) else ""
            raise PermanentError(f"{where} is locked by the configuration{why}")

    def _outlets(self) -> list[Outlet]:
        step = "asking for the outlets"
        device = self._ask({"system": {"get_sysinfo": {}}}, step)
        try:
            if not device.get("children"):
                return [Outlet(1, device["alias"], "", _STATES[device["relay_state"]])]
            return [
                Outlet(number, child["alias"], _full(child["id"], device), _STATES[child["state"]])
                for number, child in enumerate(device["children"], 1)
            ]
        except (KeyError, TypeError):
            raise TransientError(f"{self._peer} answered nonsense at {step}") from None

    def _ask(self, order: Mapping[str, Any], step: str) -> dict[str, Any]:
        """Return what the device answers to the one command of an order."""
        ((module, commands),) = ((key, value) for key, value in order.items() if key != _CONTEXT)
        (command,) = commands
        message = json.dumps(order, separators=(",", ":")).encode()
        with Connection(self.host, self.port, self.deadline) as connection:
            connection.send(len(message).to_bytes(4) + bytes(_encrypted(message)), step)
            size = int.from_bytes(connection.receive_exactly(4, step))
            if size > LIMIT:
                raise TransientError(f"{connection.peer} sends too much at {step}")
            said = bytes(_decrypted(connection.receive_exactly(size, step)))
        try:
            part = json.loads(said)[module]
            answer: dict[str, Any] = part.get(command, part)  # of a module that it has not, the error alone
            refused = answer["err_code"]
        except (AttributeError, ValueError, KeyError, TypeError):
            raise TransientError(f"{connection.peer} answered nonsense at {step}") from None
        if refused:
            raise PermanentError(f"{connection.peer} refused {step}: error {refused}")
        return answer


def _only(outlet: Outlet) -> dict[str, Any]:
    """Return what makes an order one for an outlet of several."""
    return {_CONTEXT: {"child_ids": [outlet.id]}} if outlet.id else {}


def _reading(outlet: Outlet, drawn: Mapping[str, Any]) -> OutletReading:
    """Put together what an outlet says; its meter does so in whole units, with old firmware, or in thousandths."""

    def either(new: str, new_unit: float, old: str, old_unit: float = 1.0) -> float | None:
        return quantity(drawn[new], new_unit) if new in drawn else quantity(drawn.get(old), old_unit)

    return OutletReading(
        str(outlet.number),
        label(outlet.alias),
        outlet.state,
        watts=either("power_mw", _MILLI, "power"),
        volts=either("voltage_mv", _MILLI, "voltage"),
        amps=either("current_ma", _MILLI, "current"),
        watt_hours=either("total_wh", 1.0, "total", _WH_PER_KWH),
    )


def _canonical(port: str) -> str:
    return str(int(port)) if port.isdecimal() else port


def _full(child: str, device: Mapping[str, Any]) -> str:
    """Return the whole id of an outlet, of which some firmware tells the last two digits only."""
    whole: str = device["deviceId"] + child if len(child) == 2 else child
    return whole


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
