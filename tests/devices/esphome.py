# SPDX-License-Identifier: MIT
"""A device with ESPHome's web_server: the REST API, as ESPHome's documentation and source have it."""

from __future__ import annotations

import base64
import json
import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice, challenge, let_in

NAMES = ["esphome-http"]
MOODS = [*Mood]
PORTS_ARE_NAMES = True  # of any letters, blanks within them

USERNAME, PASSWORD = "admin", "esp: home"
REALM = "Login Required"
SENSORS: list[dict[str, object]] = [
    {"id": "sensor-relay_1_power", "name": "Relay 1 power", "value": 12.3, "state": "12.3 W"},
    {"id": "sensor-relay_1_voltage", "value": None, "state": "NA"},
    {"id": "sensor-total", "value": 0.25, "state": "0.250 kWh"},
    {"id": "text_sensor-version", "value": "2025.8", "state": "2025.8"},
]
ACTIONS = {"turn_on": "on", "turn_off": "off"}


class ESPHome(WebDevice):
    """A device with a switch by object id, one by name and one on a sub-device.

    ``scheme`` is the login that the build knows: ``Basic`` (ESP-IDF), ``Digest`` (Arduino), or none. ``lag`` is how
    many readings still tell the old state; ``value`` whether they have that key.
    """

    def __init__(self, mood: Mood = Mood.WELL, scheme: str = "") -> None:
        super().__init__(mood)
        self.scheme = scheme
        self.outlets = {"relay_1": "off", "a b": "off", "strip/Relay 2": "off"}
        self.lag = 0
        self.holds, self.pause = 1000, 0.0  # after how many events it pauses, and for how many seconds
        self.value = True
        self._still: dict[str, list[str]] = {}

    def answer(self, request: Request) -> Answer:
        if self.scheme and not self._let_in(request):
            basic = Answer(401, headers=(f'WWW-Authenticate: Basic realm="{REALM}"',))
            return challenge(REALM, "MD5") if self.scheme == "Digest" else basic
        if request.method == "POST" and "content-length" not in request.headers:
            return Answer(411)
        if (request.method, request.target) == ("GET", "/events"):
            return Answer(200, headers=("Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
        if "?" in request.target or not request.target.startswith("/switch/"):
            return Answer(404)
        name = urllib.parse.unquote(request.target.removeprefix("/switch/"))
        action = name.rpartition("/")[2]
        if action in ACTIONS:  # by GET as well: old firmware does not mind
            return self._switch(name.removesuffix(f"/{action}"), ACTIONS[action])
        if request.method != "GET" or name not in self.outlets:
            return Answer(404)
        still = self._still.get(name)
        said = self._told(name, still.pop() if still else self.outlets[name])
        return Answer(200, json.dumps(said, separators=(",", ":")), ("Content-Type: application/json",))

    def _told(self, name: str, state: str) -> dict[str, object]:
        return {"id": f"switch-{name}", "state": state.upper(), **({"value": state == "on"} if self.value else {})}

    def converse(self, connection: socket.socket) -> None:
        super().converse(connection)
        told = self.mood not in (Mood.GARBLED, Mood.BUSY) and (not self.scheme or self._let_in(self.requests[-1]))
        if told and self.requests[-1].target == "/events":
            events = [*self._events()]
            told, held = events[: self.holds], events[self.holds :]
            for part in (told, held):
                self.send(connection, "".join(f"{len(event):x}\r\n{event}\r\n" for event in part).encode())
                self.closing.wait(self.pause if part is told else 0)
            while True:  # the stream has no end
                self.receive(connection)

    def _events(self) -> Iterator[str]:
        yield 'retry: 30000\r\nid: 1\r\nevent: ping\r\ndata: {"title":"strip","ota":true}\r\n\r\n'
        entities = [{**self._told(name, state), "name": name.title()} for name, state in self.outlets.items()]
        for said in [*entities, *SENSORS]:
            yield f"event: state\r\ndata: {json.dumps(said)}\r\n\r\n"
        yield "event: log\r\ndata: [D][switch:012]: 'Relay' Turning ON.\r\n\r\n"
        yield 'event: state\r\ndata: {"id":"switch-half'  # another has begun

    def _switch(self, name: str, state: str) -> Answer:
        if name not in self.outlets or self.mood is Mood.REFUSING:
            return Answer(404)
        self._still[name] = [self.outlets[name]] * self.lag
        self.outlets[name] = state
        return Answer(200)

    def _let_in(self, request: Request) -> bool:
        password = "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD
        if self.scheme == "Digest":
            return let_in(request, REALM, "MD5", USERNAME, password)
        expected = "Basic " + base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
        return request.headers.get("authorization") == expected


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device that knows Digest."""
    bad = ["..", "../1", "x/..", "x//y", "/x", "x/", "x/y/z", "%2e%2e/x", "x%00y", "x/turn_on"]
    with ESPHome(mood, "Digest") as device:
        settings = {
            "driver": name,
            "ip": "127.0.0.1",
            "port": str(device.port),
            "username": USERNAME,
            "password": PASSWORD,
            "sensors": {
                "relay_1": {"watts": "relay_1_power", "volts": "relay_1_voltage", "amps": "gone"},
                "a%20b": {"watt_hours": "total"},
            },
        }
        yield Case(
            device,
            "esp",
            settings,
            [*device.outlets],
            bad,
            [PASSWORD],
            names={name: name.title() for name in device.outlets},
            readings={"relay_1": {"watts": 12.3}, "a b": {"watt_hours": 250}},
        )
