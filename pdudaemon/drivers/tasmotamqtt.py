# SPDX-License-Identifier: MIT
"""Devices with Tasmota firmware through an MQTT broker: for those that the daemon does not reach, but the broker does.

Source: Tasmota's documentation (MQTT, Commands).
Tested: through mosquitto with a fake device, and a fake broker, with the releases 1 and 2 of paho-mqtt.
Quirks: a port is the number of a relay. ``topic`` and ``full_topic`` are what the device has under these names. Each
order and question is answered by the device itself, so nothing that the broker has kept counts but that the device is
offline. Names, states and meters come by ``STATUS 0``.

    "plug7": {"driver": "tasmota-mqtt", "ip": "broker.lab", "username": "pdu", "password": "secret"},
    "strip": {"driver": "tasmota-mqtt", "ip": "192.0.2.90", "topic": "tasmota_8A13FF", "relays": 4}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers import tasmota
from pdudaemon.drivers.driver import Numbered, hook
from pdudaemon.drivers.mqttdevice import Exchange, MQTTDevice, availability, object_in
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, text
from pdudaemon.transports.mqtt import Message, is_topic

_USUAL = "%prefix%/%topic%/"
_FIELDS = ("%prefix%", "%topic%")


class TasmotaMQTT(MQTTDevice):
    """Orders go to ``cmnd``, answers come from ``stat``, and ``tele`` says whether the device is there."""

    models = {"tasmota-mqtt": None}

    relays = Setting(integer(1, 64), 1, "number of relays, counted from 1")
    ports = Numbered(relays)
    full_topic = Setting(text, _USUAL, "the device's `FullTopic`")
    stable_names = True

    @hook
    def faults(self) -> dict[str, str]:
        whole = all(field in self.full_topic for field in _FIELDS) and is_topic(self.full_topic)
        wrong = {} if whole else {"full_topic": f"{self.full_topic[:100]!r} has not both {' and '.join(_FIELDS)} in it"}
        return {**super().faults(), **wrong}

    def port_interaction(self, command: str, port_number: int) -> None:
        state = self._power(port_number, command.upper())
        if state != command:
            raise TransientError(f"relay {port_number} is {state} after being switched {command}")

    def port_status(self, port_number: int) -> State:
        return self._power(port_number)

    def read_outlets(self) -> list[OutletReading]:
        source, said = self._everything()
        return tasmota.outlets(source, said, range(1, self.relays + 1))

    def read_inlets(self) -> list[InletReading]:
        return tasmota.inlets(self._everything()[1], range(1, self.relays + 1))

    def identify(self) -> Identity:
        return tasmota.identity(self._everything()[1])

    def _power(self, relay: int, wanted: str = "") -> State:
        """Switch a relay if it is ``wanted`` to be something; return what it then is."""
        step = f"POWER{relay} {wanted}".rstrip()

        def told(exchange: Exchange, message: Message) -> State | None:
            said = self._answer(exchange, message, step)
            power = tasmota.power(said, relay)
            return None if power is None else tasmota.state_of(exchange.source, power)

        with self.session(self._place("stat", "RESULT"), self._place("tele", "LWT")) as exchange:
            exchange.say(self._place("cmnd", f"POWER{relay}"), wanted, step)
            return exchange.wait_for(lambda message: told(exchange, message), step)

    def _everything(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return whose answers they are, as errors begin, and all that the device says of itself, by parts of it."""
        said: dict[str, Any] = {}

        def complete(exchange: Exchange, message: Message) -> bool | None:
            said.update(self._answer(exchange, message, "STATUS 0"))
            return True if "StatusSTS" in said else None  # which comes last

        with self.session(self._place("stat", "+"), self._place("tele", "LWT")) as exchange:
            exchange.say(self._place("cmnd", "STATUS"), "0", "STATUS 0")
            exchange.wait_for(lambda message: complete(exchange, message), "STATUS 0")
            return exchange.source, tasmota.parts(said)

    def _answer(self, exchange: Exchange, message: Message, step: str) -> Mapping[str, Any]:
        """Return what the device has just said; empty if that was long ago. Raises: TransientError if it is offline."""
        if message.topic == self._place("tele", "LWT"):
            if availability(message.text) is False:
                raise exchange.gone()
            return {}
        said = {} if message.retained else object_in(message.text)
        if said.get("Command") in ("Unknown", "Error"):
            raise PermanentError(f"{exchange.source}: the device does not know the command {step!r}")
        return said

    def _place(self, prefix: str, last: str) -> str:
        """Return a topic of the device."""
        filled = self.full_topic.replace(_FIELDS[0], prefix).replace(_FIELDS[1], self.device)
        return f"{filled.rstrip('/')}/{last}"
