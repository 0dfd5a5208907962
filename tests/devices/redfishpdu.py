# SPDX-License-Identifier: MIT
"""A rack PDU with Redfish, in the form of DMTF's mock-up of one, and of the examples in OCP's guide to rack PDUs.

``three_phases`` has what those have of mains with three phases, which tell nothing as a whole, and an outlet that can
neither be switched nor measured, but is there for whoever follows the wires.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer
from tests.devices.redfish import PASSWORD, USER, RedfishService, link

NAMES = ["redfish_pdu"]
MOODS = [*Mood]
PDU = "/redfish/v1/PowerEquipment/RackPDUs"

THREE_PHASES: dict[str, Any] = {
    "PolyPhaseVoltage": {
        "Line1ToLine2": {"Reading": 202.8},
        "Line2ToLine3": {"Reading": 203.8},
        "Line3ToLine1": {"Reading": 205.3},
        "Line1ToNeutral": {"Reading": 117.8},
        "Line2ToNeutral": {"Reading": 116.6},
        "Line3ToNeutral": {"Reading": 118.5},
    },
    "PolyPhaseCurrentAmps": {
        "Line1": {"Reading": 8.02},
        "Line2": {"Reading": 8.66},
        "Line3": {"Reading": 6.91},
        "Neutral": {"Reading": 2.74},
    },
    "PolyPhasePowerWatts": {
        "Line1ToLine2": {"Reading": 738.9},
        "Line1ToNeutral": {"Reading": 198.4},
        "Line2ToNeutral": {"Reading": 231.5},
        "Line3ToNeutral": {"Reading": 58.1},
    },
}


class RackPDU(RedfishService):
    """Some outlets. ``expands``: tells them all at once. ``short``: targets without ``Actions``, as the mock-up has them."""

    def __init__(self, mood: Mood = Mood.WELL, pdus: tuple[str, ...] = ("1",), expands: bool = True) -> None:
        super().__init__(mood)
        self.outlets = dict.fromkeys(("A1", "A2", "A3", "B1"), "off")
        self.names = {"A1": "web server", "A2": "db"}
        self.pdus = pdus
        self.expands = expands
        self.short = True
        self.locked: set[str] = set()
        self.moving: set[str] = set()
        self.obeys = True
        self.three_phases = False

    def resources(self) -> dict[str, dict[str, Any]]:
        there: dict[str, dict[str, Any]] = {
            "/redfish/v1/": {
                "PowerEquipment": link("/redfish/v1/PowerEquipment"),
                "ProtocolFeaturesSupported": {"ExpandQuery": {"NoLinks": self.expands, "MaxLevels": 1}},
            },
            "/redfish/v1/PowerEquipment": {"RackPDUs": link(PDU)},
            PDU: {"Members": [link(f"{PDU}/{each}") for each in self.pdus]},
        }
        for pdu in self.pdus:
            here = f"{PDU}/{pdu}"
            there[here] = {
                **link(here),
                "Id": pdu,
                "Manufacturer": "Contoso",
                "Model": "ZAP4000",
                "SerialNumber": "29347ZT536",
                "FirmwareVersion": "4.3.0",
                "Outlets": link(f"{here}/Outlets"),
                "Mains": link(f"{here}/Mains"),
                "Metrics": link(f"{here}/Metrics"),
            }
            there[f"{here}/Metrics"] = {
                "Id": "Metrics",
                "PowerWatts": {"Reading": 6438},
                "EnergykWh": {"Reading": 56438},
            }
            there[f"{here}/Mains"] = {"Members": [link(f"{here}/Mains/AC1")]}
            there[f"{here}/Mains/AC1"] = {
                **link(f"{here}/Mains/AC1"),
                "Id": "AC1",
                "Voltage": {"Reading": 202.4},
                "CurrentAmps": {"Reading": 5.19},
                "PowerWatts": {"Reading": 937.4, "PowerFactor": 0.93},
                "EnergykWh": {"Reading": 325.675},
            }
            if self.three_phases:
                there[f"{here}/Mains/AC1"] = {**link(f"{here}/Mains/AC1"), "Id": "AC1", **THREE_PHASES}
            there[f"{here}/Outlets"] = {"Members": [link(f"{here}/Outlets/{each}") for each in self.outlets]}
            for port in self.outlets:
                there[f"{here}/Outlets/{port}"] = self.outlet(f"{here}/Outlets/{port}", port)
            if self.three_phases:
                there[f"{here}/Outlets"]["Members"].append(link(f"{here}/Outlets/C1"))
                there[f"{here}/Outlets/C1"] = {**link(f"{here}/Outlets/C1"), "Id": "C1", "Name": "Outlet C1"}
        return there

    def outlet(self, path: str, port: str) -> dict[str, Any]:
        """Return an outlet."""
        target = f"{path}/Outlet.PowerControl" if self.short else f"{path}/Actions/Outlet.PowerControl"
        return {
            **link(path),
            "Id": port,
            "Name": f"Outlet {port}",
            "UserLabel": self.names.get(port, ""),
            "PowerState": self.outlets[port].capitalize(),
            "PowerStateInTransition": port in self.moving,
            "PowerEnabled": True,
            "PowerControlLocked": port in self.locked,
            "Voltage": {"Reading": 117.5},
            "CurrentAmps": {"Reading": 1.68},
            "PowerWatts": {"Reading": 197.4} if port != "B1" else None,
            "EnergykWh": {"Reading": 36166},
            "Actions": {"#Outlet.PowerControl": {"target": target}},
        }

    def act(self, path: str, body: dict[str, Any]) -> Answer | None:
        middle = "" if self.short else "Actions/"
        found = re.fullmatch(rf"{PDU}/[^/]+/Outlets/(\w+)/{middle}Outlet\.PowerControl", path)
        if found is None or found[1] not in self.outlets:
            return None
        if self.mood is Mood.REFUSING:
            return self.error(403, "Base.1.8.InsufficientPrivilege", "The account may not do that")
        if body.get("PowerState") not in ("On", "Off"):
            return self.error(400, "Base.1.8.ActionParameterValueNotInList", "PowerState is not one of On, Off")
        if self.obeys:
            self.outlets[found[1]] = body["PowerState"].lower()
        return Answer(204)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a PDU."""
    with RackPDU(mood) as device:
        settings: dict[str, Any] = {"driver": name, "ip": f"127.0.0.1:{device.port}", "protocol": "http"}
        settings |= {"username": USER, "password": PASSWORD}
        drawn = {"watts": 197.4, "volts": 117.5, "amps": 1.68, "watt_hours": 36166000}
        readings: dict[str, dict[str, float]] = {port: {**drawn} for port in device.outlets}
        del readings["B1"]["watts"]
        yield Case(
            device,
            "rack",
            settings,
            [*device.outlets],
            ["a b", "-1", "x/y", "..", ""],
            [PASSWORD],
            names=device.names,
            readings=readings,
            inlets={
                "total": {"watts": 6438, "watt_hours": 56438000},
                "AC1": {"watts": 937.4, "volts": 202.4, "amps": 5.19, "watt_hours": 325675},
            },
            identity=("Contoso", "ZAP4000", "29347ZT536", "4.3.0"),
        )
