# SPDX-License-Identifier: MIT
"""A UniFi console with a switch and a SmartPower PDU, as public clients of its API know it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["unifi_poe", "unifi_pdu"]
MOODS = [*Mood]
PASSWORD = "uni/fi 7"
MAC = "74:ac:b9:00:11:22"
SWITCH, PDU = "5f1a", "5f1b"


class Console(WebDevice):
    """A UniFi OS console, or an ``old`` controller. ``ports`` or outlets are what ``outlets`` has.

    ``lag``: how often a device still tells what was before it has been provisioned.
    """

    def __init__(self, mood: Mood = Mood.WELL, kind: str = "unifi_poe", old: bool = False) -> None:
        super().__init__(mood)
        self.kind = kind
        self.old = old
        count = 4 if kind == "unifi_poe" else 3
        self.outlets = {str(number): "off" for number in range(1, count + 1)}
        self.modes = dict.fromkeys(self.outlets, "auto")
        self.overrides: list[dict[str, Any]] = [{"port_idx": 4, "name": "uplink", "portconf_id": "77", "speed": 1000}]
        if kind == "unifi_pdu":
            self.overrides = [{"index": 1, "name": "Modem", "cycle_enabled": True, "relay_state": False}]
        self.sessions_open: set[str] = set()
        self.logins = 0
        self.lag = 0
        self._behind: list[dict[str, str]] = []
        self.meters: dict[str, Any] = {}

    def answer(self, request: Request) -> Answer:
        if (request.method, request.target) == ("GET", "/"):
            return Answer(302, headers=("Location: /manage",)) if self.old else Answer(200, "<html></html>")
        if (request.method, request.target) == ("POST", "/api/login" if self.old else "/api/auth/login"):
            return self.log_in(json.loads(request.body))
        begin = ("" if self.old else "/proxy/network") + "/api/s/default/"
        if not request.target.startswith(begin):
            return self.no(404, "api.err.NotFound")
        cookie = "unifises" if self.old else "TOKEN"
        if request.headers.get("cookie", "").partition(f"{cookie}=")[2].partition(";")[0] not in self.sessions_open:
            return self.no(200 if self.old else 401, "api.err.LoginRequired")
        path = request.target.removeprefix(begin)
        if request.method == "GET" and path in ("stat/device", f"stat/device/{MAC}"):
            others = (
                [] if path.endswith(MAC) else [{"_id": "1", "mac": "00:00:00:00:00:01", "name": "AP", "type": "uap"}]
            )
            return self.data([self.device(), *others])
        if request.method != "PUT" or path != f"rest/device/{SWITCH if self.kind == 'unifi_poe' else PDU}":
            return self.no(404, "api.err.NotFound")
        if not self.old and request.headers.get("x-csrf-token") != f"csrf{self.logins}":
            return self.no(403, "api.err.Csrf")
        if self.mood is Mood.REFUSING:
            return self.no(200, "api.err.NoPermission")
        self._behind = [dict(self.outlets)] * self.lag
        self.provision(json.loads(request.body))
        return self.data([self.device()])

    def log_in(self, said: dict[str, Any]) -> Answer:
        """Let a user in."""
        right = "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD
        if (said["username"], said["password"]) != ("pdu", right):
            return Answer(
                400 if self.old else 403, json.dumps({"meta": {"rc": "error", "msg": "api.err.Invalid"}, "data": []})
            )
        self.logins += 1
        self.sessions_open.add(f"t{self.logins}")
        if self.old:
            cookies = (f"Set-Cookie: unifises=t{self.logins}; Path=/; HttpOnly", "Set-Cookie: csrf_token=x; Path=/")
            return Answer(200, '{"meta":{"rc":"ok"},"data":[]}', cookies)
        headers = (f"Set-Cookie: TOKEN=t{self.logins}; path=/; secure; httponly", f"X-CSRF-Token: csrf{self.logins}")
        return Answer(200, "{}", headers)

    def provision(self, said: dict[str, Any]) -> None:
        """Do as the overrides say; what is not among them is as its profile has it."""
        if self.kind == "unifi_poe":
            self.overrides = said["port_overrides"]
            for each in self.overrides:
                if "poe_mode" in each:
                    self.outlets[str(each["port_idx"])] = "off" if each["poe_mode"] == "off" else "on"
                    self.modes[str(each["port_idx"])] = each["poe_mode"]
            return
        self.overrides = said["outlet_overrides"]
        for each in self.overrides:
            self.outlets[str(each["index"])] = "on" if each["relay_state"] is True else "off"

    def device(self) -> dict[str, Any]:
        """Return all that is known of the device."""
        states = self._behind.pop() if self._behind else self.outlets
        about = {"mac": MAC, "name": "Lab switch", "model": "US8P60", "serial": "74ACB9001122", "version": "6.2.14"}
        if self.kind == "unifi_pdu":
            table = [self.outlet(port, state) for port, state in states.items()]
            return {**about, "_id": PDU, "model": "USPPDUP", "outlet_table": table, "outlet_overrides": self.overrides}
        table = [self.port_of(port, state) for port, state in states.items()]
        table.append({"port_idx": 9, "name": "SFP 1", "port_poe": False})
        return {**about, "_id": SWITCH, "port_table": table, "port_overrides": self.overrides}

    def port_of(self, port: str, state: str) -> dict[str, Any]:
        """Return what is told of a PoE port."""
        on_mode = self.modes[port] if self.modes[port] != "off" else "auto"
        mode = "off" if state == "off" else on_mode
        drawn = {"poe_power": "3.52", "poe_current": "66.5", "poe_voltage": "53.1"} if port == "1" else {}
        return {
            "port_idx": int(port),
            "name": f"Port {port}",
            "port_poe": True,
            "portconf_id": "55",
            "poe_mode": mode,
            **drawn,
        }

    @staticmethod
    def outlet(port: str, state: str) -> dict[str, Any]:
        """Return what is told of an outlet."""
        drawn = {"outlet_voltage": "230.1", "outlet_current": "0.05", "outlet_power": "11.5"} if port == "1" else {}
        about = {"index": int(port), "name": f"Outlet {port}", "has_relay": True, "cycle_enabled": False}
        return {**about, "relay_state": state == "on", "outlet_caps": 3, **drawn}

    @staticmethod
    def data(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps({"meta": {"rc": "ok"}, "data": what}), ("Content-Type: application/json",))

    @staticmethod
    def no(status: int, why: str) -> Answer:
        """Return a refusal."""
        return Answer(status, json.dumps({"meta": {"rc": "error", "msg": why}, "data": []}))


MORE = 3  # the login comes first, once


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a UniFi OS console."""
    with Console(mood, name) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "protocol": "http", "device": MAC}
        settings |= {"username": "pdu", "password": PASSWORD}
        poe = name == "unifi_poe"
        drawn = {"watts": 3.52, "volts": 53.1, "amps": 0.067} if poe else {"watts": 11.5, "volts": 230.1, "amps": 0.05}
        yield Case(
            device,
            "switch",
            settings,
            [*device.outlets],
            ["0", "65", "x"],
            [PASSWORD],
            names={port: f"{'Port' if poe else 'Outlet'} {port}" for port in device.outlets},
            readings={"1": drawn},
            identity=("Ubiquiti", "US8P60" if poe else "USPPDUP", "74ACB9001122", "6.2.14"),
        )
