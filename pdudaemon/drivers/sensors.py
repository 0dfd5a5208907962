# SPDX-License-Identifier: MIT
"""Meters that are things of their own beside a switch: which sensor measures what of which outlet, and in which unit.

Home Assistant and ESPHome have no rule for that, so the configuration says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pdudaemon.drivers.readings import quantity
from pdudaemon.settings import Kind, Setting, near

Sensors = dict[str, dict[str, str]]
"""Port -> quantity of an outlet, such as ``watts`` -> name of a sensor."""

_UNITS = {  # quantity -> what devices call a unit -> what that is in ours
    "watts": {"mW": 0.001, "W": 1.0, "kW": 1000.0},
    "volts": {"mV": 0.001, "V": 1.0},
    "amps": {"mA": 0.001, "A": 1.0},
    "watt_hours": {"Wh": 1.0, "kWh": 1000.0, "MWh": 1000000.0},
}


def _sensors(value: object) -> Sensors:
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise ValueError("is not an object of ports, each with an object of sensors")
    for port, measures in value.items():
        for name, sensor in measures.items():
            if name not in _UNITS:
                raise ValueError(f"port {port}: {name!r} is none of {', '.join(_UNITS)}{near(name, _UNITS)}")
            if not isinstance(sensor, str) or not sensor:
                raise ValueError(f"port {port}: {sensor!r} is not the name of a sensor")
    return {port: dict(measures) for port, measures in value.items()}


def sensors(example: str) -> Setting[Sensors]:
    """Declare which sensors measure the outlets; the name of one is as in the ``example``."""
    kind = Kind("object of ports with `watts`, `volts`, `amps`, `watt_hours`", _sensors)
    return Setting(kind, {}, f"sensors that measure an outlet, by port: `{example}`")


def faults(given: Sensors, canonical_port: Callable[[str], str]) -> dict[str, str]:
    """Return what is wrong with the ports of the setting ``sensors``, as the hook of that name does."""
    try:
        for port in given:
            canonical_port(port)
    except ValueError as error:
        return {"sensors": str(error)}
    return {}


def measured(measures: Mapping[str, str], told: Callable[[str], tuple[object, str]]) -> dict[str, float | None]:
    """Return the quantities of an outlet, by name; ``told`` returns the value of a sensor and its unit.

    A unit that measures something else is as good as no value.
    """
    found: dict[str, float | None] = {}
    for name, sensor in measures.items():
        value, unit = told(sensor)
        scale = _UNITS[name].get(unit)
        found[name] = None if scale is None else quantity(value, scale)
    return found
