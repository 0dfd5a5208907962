# SPDX-License-Identifier: MIT
"""Devices with ESPHome firmware and its ``mqtt`` component, through an MQTT broker; a port is a switch of the device.

Source: ESPHome's documentation (MQTT Client Component).
Tested: through mosquitto with a fake device, and a fake broker, with the releases 1 and 2 of paho-mqtt.
Quirks: ``topic`` is the device's ``topic_prefix``, which is its name unless set. A port is a switch's object id. The
broker keeps states, which count while the device is online; one without a birth and a will message cannot be read. A
switch that is already as asked says nothing more. Sensors go by ``sensors``, in W, V and A; energy comes without its
unit, and is not told.

    "relays": {"driver": "esphome-mqtt", "ip": "broker.lab", "username": "pdu", "password": "secret"},
    "bench": {"driver": "esphome-mqtt", "ip": "192.0.2.90", "topic": "lab/bench",
              "sensors": {"relay_1": {"watts": "relay_1_power"}}}
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.mqttdevice import MQTTDevice, availability
from pdudaemon.drivers.readings import OutletReading, quantity
from pdudaemon.drivers.sensors import faults as wrong_ports
from pdudaemon.drivers.sensors import sensors
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.transports.mqtt import Message

_QUIET = 0.5  # seconds without another message after which the broker has told what it has kept
_LONGER = 4  # times as many, where it has told less than the last time
_SETTLED = 1.0  # seconds in which a switch that was already as asked would have said otherwise
_STATES = {"ON": State.ON, "OFF": State.OFF}


class ESPHomeMQTT(MQTTDevice):
    """What a device says of a switch is kept, and its availability with it."""

    models = {"esphome-mqtt": None}
    ports = Named(r"[a-z0-9_-]{1,100}", "the object id of a switch: small letters, digits, _ and - only")

    sensors = sensors('{"relay_1": {"watts": "relay_1_power"}}')

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._known = 0  # of how many topics the broker has told all that it has

    @hook
    def faults(self) -> dict[str, str]:
        found = {**super().faults(), **wrong_ports(self.sensors, self.canonical_port)}
        if any("watt_hours" in each for each in self.sensors.values()):
            found["sensors"] = "watt_hours: a sensor's unit does not come by MQTT, and that of energy differs"
        return found

    def port_interaction(self, command: str, port_number: str | int) -> None:
        topic, wanted, step = self._state(port_number), command.upper(), f"switching {command}"
        with self.session(topic, self._status) as exchange:
            kept = exchange.gather(_QUIET, lambda said: {topic, self._status} <= {*said}, "reading the state")

            def as_asked() -> bool | None:
                """Whether it was so already, as the broker has it; None: it is not known to be."""
                there = availability(kept.get(self._status, ""))
                if there is False:
                    raise exchange.gone()
                return True if there and kept.get(topic) == wanted else None

            def told(message: Message) -> bool | None:
                """Whether that was so already, once it is known, or is so now; what was kept may come late."""
                if not message.retained and (message.topic, message.text) == (topic, wanted):
                    return False
                kept[message.topic] = message.text
                return as_asked()

            already = as_asked()
            exchange.say(f"{self.device}/switch/{port_number}/command", wanted, step)
            if already or exchange.wait_for(told, step):
                said = exchange.gather(_SETTLED, lambda said: topic in said, step).get(topic, wanted)
                if said != wanted:
                    raise TransientError(f"{exchange.source}: {port_number} is {said[:40]!r} after {step}")

    def port_status(self, port_number: str | int) -> State:
        topic = self._state(port_number)
        source, kept = self._told(topic, enough={topic, self._status})
        if topic not in kept:
            raise TransientError(f"{source}: the broker knows of no switch {port_number}")
        return _STATES.get(kept[topic], State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        source, kept = self._told(self._state("+"), f"{self.device}/sensor/+/state")
        before, after = self._state("+").split("+")
        ports = [topic.removeprefix(before).removesuffix(after) for topic in kept if topic.startswith(before)]
        if not ports:
            raise TransientError(f"{source}: the broker knows of no switch")
        return [
            OutletReading(port, None, _STATES.get(kept[self._state(port)], State.UNKNOWN), **self._drawn(port, kept))
            for port in ports
        ]

    def _drawn(self, port: str, kept: Mapping[str, str]) -> dict[str, float | None]:
        measures = {self.canonical_port(each): names for each, names in self.sensors.items()}.get(port, {})
        return {name: quantity(kept.get(f"{self.device}/sensor/{of}/state")) for name, of in measures.items()}

    def _told(self, *topics: str, enough: Set[str] = frozenset()) -> tuple[str, dict[str, str]]:
        """Return whose states they are, and what the broker has kept. Raises: TransientError if that may be old."""
        with self.session(*topics, self._status) as exchange:
            step = "reading the state"
            kept = exchange.gather(_QUIET, lambda said: bool(enough) and enough <= {*said}, step)
            known = max(2, self._known if not enough else 0)
            kept |= exchange.gather(_LONGER * _QUIET, lambda said: len({*kept, *said}) >= known, step)
            if not enough:
                self._known = len(kept)
            there = availability(kept.get(self._status, ""))
            if there is None:
                raise TransientError(f"{exchange.source}: the broker does not know whether it is there")
            if not there:
                raise exchange.gone()
            return exchange.source, kept

    @property
    def _status(self) -> str:
        return f"{self.device}/status"

    def _state(self, port: str | int) -> str:
        return f"{self.device}/switch/{port}/state"
