# SPDX-License-Identifier: MIT
"""Devices with Tasmota firmware, by its web commands.

Source: Tasmota documentation (Commands: Power, SetOption26, StateText; Web requests).
Tested: against a fake only.
Quirks: a device with one relay calls it ``POWER``, without a number, unless SetOption26 is 1. A login can only go in
the query of the URL; it is sent when user name and password are both set. Old firmware refuses it with status 200.

    "plug5": {"driver": "tasmota", "ip": "192.0.2.15", "port_count": 4, "username": "admin", "password": "secret"}
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Numbered, PDUDriver, counted
from pdudaemon.drivers.network import WebDevice
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, text
from pdudaemon.transports.deadline import current
from pdudaemon.transports.http import Client


class Tasmota(WebDevice):
    """The row of a device is its number of relays, or the setting that says it."""

    username = Setting(text, "", "user name of the web pages (`admin`)")
    password = Setting(text, "", "password of the web pages", secret=True)
    port_count = Setting(integer(1, 64), 1, "number of relays, counted from 1; for the driver `tasmota` only")

    models = {"sonoff_s20_tasmota": 1, "brennenstuhl_wspl01_tasmota": 2, "tasmota": port_count}
    ports = Numbered(lambda row: row)

    def port_interaction(self, command: str, port_number: int) -> None:
        self._ask(port_number, command)

    def port_status(self, port_number: int) -> State:
        return self._ask(port_number)

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
    command = f"Power{relay} {wanted}".rstrip()
    words = {"cmnd": command}
    if username and password:
        words |= {"user": username, "password": password}
    query = urllib.parse.urlencode(words, quote_via=urllib.parse.quote)
    response = client.request("GET", f"/cm?{query}", also=[401] if "user" in words else [])
    if response.status == 401:
        raise PermanentError(f"login refused by {response.source} (401)")
    answer = response.json()
    if not isinstance(answer, dict):
        raise TransientError(f"{response.source}: the answer is not a JSON object")
    if "WARNING" in answer:
        login = "Need user" in str(answer["WARNING"])
        raise PermanentError(f"{response.source}: {'login refused' if login else answer['WARNING']}")
    if answer.get("Command") in ("Unknown", "Error"):
        raise PermanentError(f"{response.source}: the device does not know the command {command!r}")
    said = answer.get(f"POWER{relay}", answer.get("POWER") if relay == 1 else None)
    if said is None:
        raise TransientError(f"{response.source}: the answer does not tell the state of relay {relay}")
    try:
        state = State(str(said).lower())
    except ValueError:
        raise PermanentError(f"{response.source}: the state is {said!r}; set StateText to OFF and ON") from None
    if wanted and state != wanted:
        raise TransientError(f"{response.source}: relay {relay} is {state} after being switched {wanted}")
    return state
