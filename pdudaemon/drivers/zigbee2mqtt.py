# SPDX-License-Identifier: MIT
"""Zigbee plugs and relays behind zigbee2mqtt, through an MQTT broker.

Source: zigbee2mqtt's documentation (MQTT topics and messages).
Tested: through mosquitto with a fake device, and a fake broker, with the releases 1 and 2 of paho-mqtt.
Quirks: a PDU is one device, by its friendly name; port ``1`` is its ``state``, and ``l2`` the ``state_l2`` of one with
several. What is kept of it may be old, so it is asked each time, and an order is done when the device has answered. A
device that has left the network does not answer; that is known at once if zigbee2mqtt's availability is switched on.

    "lamp": {"driver": "zigbee2mqtt", "ip": "broker.lab", "topic": "bench/lamp", "password": "secret",
             "username": "pdu"},
    "double": {"driver": "zigbee2mqtt", "ip": "192.0.2.90", "base": "zigbee2mqtt-2"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.mqttdevice import Exchange, MQTTDevice, availability, object_in, wrong_topics
from pdudaemon.drivers.ports import decimal
from pdudaemon.drivers.readings import OutletReading, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.mqtt import Message

_KEY = re.compile(r"state(?:_([a-z0-9_]+))?")
_STATES = {"ON": State.ON, "OFF": State.OFF}
_WH_PER_KWH = 1000.0


class Zigbee2MQTT(MQTTDevice):
    """All that is known of a device is one JSON object."""

    models = {"zigbee2mqtt": None}
    ports = Named(r"1|[a-z][a-z0-9_]{0,30}", "1, or what follows `state_` at the device, such as l2 or left", decimal)

    base = Setting(text, "zigbee2mqtt", "zigbee2mqtt's `base_topic`")

    @hook
    def faults(self) -> dict[str, str]:
        return {**super().faults(), **wrong_topics(base=self.base)}

    def port_interaction(self, command: str, port_number: str | int) -> None:
        key = _key(port_number)
        self._ask("set", {key: command.upper()}, f"switching {command}", {key: command.upper()})

    def port_status(self, port_number: str | int) -> State:
        key = _key(port_number)
        return _STATES.get(str(self._ask("get", {key: ""}, "reading the state", {key: None})[key]), State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        said = self._ask("get", {"state": ""}, "reading the state", {})
        found = [
            OutletReading(port, None, _STATES[str(value)], **_drawn(said, port))
            for name, value in said.items()
            if (match := _KEY.fullmatch(name)) and str(value) in _STATES
            for port in [match[1] or "1"]
        ]
        if not found:
            raise PermanentError(f"{self.device} has nothing that is on or off")
        return found

    def _ask(
        self, verb: str, order: Mapping[str, str], step: str, wanted: Mapping[str, str | None]
    ) -> Mapping[str, Any]:
        """Ask, or order, something; return what the device then says, once ``wanted`` is in it (None: of any value)."""
        place, log = f"{self.base}/{self.device}", f"{self.base}/bridge/logging"

        def told(exchange: Exchange, message: Message) -> Mapping[str, Any] | None:
            said = object_in(message.text)
            if message.topic in (f"{place}/availability", f"{self.base}/bridge/state"):
                if availability(message.text) is False:
                    raise exchange.gone()
                return None
            if message.topic == log:
                words = str(said.get("message"))
                if said.get("level") == "error" and f"'{self.device}'" in words and not message.retained:
                    raise TransientError(f"{exchange.source}: {' '.join(words.split())[:200]}")
                return None
            if message.retained or not said:
                return None
            fits = all(name in said and value in (None, said[name]) for name, value in wanted.items())
            return said if fits and any(_KEY.fullmatch(name) for name in said) else None

        with self.session(place, f"{place}/availability", f"{self.base}/bridge/state", log) as exchange:
            exchange.say(f"{place}/{verb}", json.dumps(order), step)
            return exchange.wait_for(lambda message: told(exchange, message), step)


def _key(port: str | int) -> str:
    return "state" if str(port) == "1" else f"state_{port}"


def _drawn(said: Mapping[str, Any], port: str) -> dict[str, float | None]:
    """Return what a device says that an outlet draws: of each of several, if it has more than one."""
    of = "" if port == "1" else f"_{port}"
    names = {"watts": "power", "volts": "voltage", "amps": "current"}
    drawn = {name: quantity(said.get(f"{key}{of}")) for name, key in names.items()}
    return {**drawn, "watt_hours": quantity(said.get(f"energy{of}"), _WH_PER_KWH)}
