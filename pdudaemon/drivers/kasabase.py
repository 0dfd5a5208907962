# SPDX-License-Identifier: MIT
"""What the drivers for TP-Link's plugs and strips have in common: an outlet goes by its name or by its number.

Source: python-kasa and its recorded answers of devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.drivers.ports import decimal
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Lock, locked_ports, locks

_MILLI = 0.001
_WH_PER_KWH = 1000.0
_LONGEST_NAME = 100

STATES = {1: State.ON, 0: State.OFF}
"""States as devices tell them."""


class Outlet(NamedTuple):
    """One outlet as the device tells it; ``id`` is empty for a plug that has only this one."""

    number: int
    alias: str
    id: str
    state: State


class KasaDevice(NetworkDevice):
    """Asks for the outlets each time, since names may change."""

    stable_names = True

    @hook
    def canonical_port(self, port: str) -> str:
        """Take any name that people can give; it is only compared with those of the device, never sent."""
        if not (0 < len(port) <= _LONGEST_NAME and port.isprintable() and port == port.strip()):
            raise ValueError(f"{port!r} is not a port: the name of an outlet, or its number")
        return decimal(port)

    def port_status(self, port_number: int | str) -> State:
        return self.outlet(port_number).state

    def outlets(self) -> list[Outlet]:
        """Ask the device which outlets it has."""
        raise NotImplementedError

    @property
    def peer(self) -> str:
        """The device, as errors begin."""
        return self.host

    def outlet(self, port: int | str) -> Outlet:
        """Return the one outlet that a port means. Raises: PermanentError if that is none, or more than one."""
        outlets = self.outlets()
        named = [outlet for outlet in outlets if decimal(outlet.alias) == str(port)]
        if len(named) == 1:
            return named[0]
        if named:
            raise PermanentError(f"{self.peer} has more than one outlet {port!r}; use their numbers")
        if isinstance(port, int) and 1 <= port <= len(outlets):
            return outlets[port - 1]
        there = ", ".join(f"{outlet.number} {outlet.alias!r}" for outlet in outlets)
        raise PermanentError(f"{self.peer} has no outlet {port!r}: it has {there}")

    def check_lock(self, outlet: Outlet) -> None:
        """Refuse an outlet that is locked by any of its names; only the device knows which belong together."""
        lock = locks.convert(self.settings.get("locked") or False)
        names = {str(outlet.number), decimal(outlet.alias), outlet.id}
        whole = lock.ports if isinstance(lock, Lock) else lock
        if whole is True or not names.isdisjoint(map(decimal, locked_ports(lock))):
            where = f"{self.peer}: outlet {outlet.number} {outlet.alias!r}"
            why = f": {lock.reason}" if isinstance(lock, Lock) else ""
            raise PermanentError(f"{where} is locked by the configuration{why}")


def outlets_of(device: Mapping[str, Any]) -> list[Outlet]:
    """Return the outlets of a ``get_sysinfo``. Raises: KeyError, TypeError if it does not tell them."""
    if not device.get("children"):
        return [Outlet(1, device["alias"], "", STATES[device["relay_state"]])]
    return [
        Outlet(number, child["alias"], _full(child["id"], device), STATES[child["state"]])
        for number, child in enumerate(device["children"], 1)
    ]


def identity_of(device: Mapping[str, Any], serial: str = "deviceId", firmware: str = "sw_ver") -> Identity:
    """Return who a device says it is, by what it calls that."""
    return Identity("TP-Link", *(label(device.get(key)) or "" for key in ("model", serial, firmware)))


def reading(outlet: Outlet, drawn: Mapping[str, Any]) -> OutletReading:
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
        watt_hours=either("energy_wh" if "energy_wh" in drawn else "total_wh", 1.0, "total", _WH_PER_KWH),
    )


def _full(child: str, device: Mapping[str, Any]) -> str:
    """Return the whole id of an outlet, of which some firmware tells the last two digits only."""
    whole: str = device["deviceId"] + child if len(child) == 2 else child
    return whole
