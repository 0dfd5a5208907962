# SPDX-License-Identifier: MIT
"""What Home Assistant is told by MQTT, so that it finds outlets and nodes as switches, with their watts.

The names of its fields, and the topics that it reads them from, are those of its documentation on MQTT discovery.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pdudaemon import __version__
from pdudaemon.drivers.readings import Identity

_SENSORS = (
    ("watts", "power", "W", "power", "measurement"),
    ("watt_hours", "energy", "Wh", "energy", "total_increasing"),
)


@dataclass(frozen=True)
class Found:
    """Something that can be switched, or only be looked at if it is ``locked``.

    ``topic`` spells the topics of the words of its ``place``; ``pdu`` is empty for a node. ``readings`` are by quantity
    or None; ``device`` is what it belongs to, see `device`.
    """

    topic: Callable[..., str]
    place: tuple[str, ...]
    name: str
    pdu: str
    locked: bool
    readings: dict[str, Any]
    device: dict[str, Any]

    def announced(self, number: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield kind, id and description of what Home Assistant is to have of it; ``number`` is the id of the first."""
        available = [{"topic": self.topic("status")}]
        available += [{"topic": self.topic("pdu", self.pdu, "status")}] if self.pdu else []
        shared = {
            "availability": available,
            "availability_mode": "all",
            "device": self.device,
            "origin": {"name": "pdudaemon", "sw_version": __version__},
        }
        state = {
            "name": self.name,
            "unique_id": number,
            "object_id": number,
            "state_topic": self.topic(*self.place, "state"),
            "value_template": "{{ 'None' if value == 'unknown' else value }}",
            "payload_on": "on",
            "payload_off": "off",
            **shared,
        }
        if not self.locked:
            state |= {"command_topic": self.topic(*self.place, "set"), "state_on": "on", "state_off": "off"}
        yield "binary_sensor" if self.locked else "switch", number, state
        for word, named, unit, device_class, state_class in _SENSORS:
            if self.readings.get(word) is not None:
                yield (
                    "sensor",
                    f"{number}_{word}",
                    {
                        "name": f"{self.name} {named}",
                        "unique_id": f"{number}_{word}",
                        "object_id": f"{number}_{word}",
                        "state_topic": self.topic(*self.place, "readings"),
                        "value_template": f"{{{{ value_json.{word} }}}}",
                        "unit_of_measurement": unit,
                        "device_class": device_class,
                        "state_class": state_class,
                        **shared,
                    },
                )


def device(topic: str, pdu: str, identity: Identity | None) -> dict[str, Any]:
    """Return what Home Assistant knows a PDU as, with what it says that it is; an empty name: all nodes together."""
    told: dict[str, Any] = {"identifiers": [object_id(topic, "pdu", pdu)], "name": pdu or "nodes"}
    if identity is not None:
        words = {"manufacturer": "maker", "model": "model", "sw_version": "firmware"}
        told |= {name: value for name, word in words.items() if (value := getattr(identity, word))}
    return told


def object_id(*words: str) -> str:
    """Return an id of letters, digits, ``_`` and ``-``, another one for other words."""
    return "_".join(re.sub(r"[^A-Za-z0-9]", lambda found: f"-{ord(found[0]):x}-", word) for word in words)
