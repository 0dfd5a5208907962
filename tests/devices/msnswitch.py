# SPDX-License-Identifier: MIT
"""MSNswitch of three generations: pages with Basic, pages with a cookie, JSON."""

from __future__ import annotations

import gzip
import json
import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["msnswitch", "msnswitch_622", "msnswitch_api"]
MOODS = [*Mood]
PASSWORD = "msn-secret"
COOKIE = "WQKJhuEcnAVA3t7WE+ug6A=0011"
TOKEN = "c5rf7"


class Switch(WebDevice):
    """Two outlets. ``spelled``: how the XML tells them. ``old``: its pages are at the places of the oldest firmware."""

    def __init__(
        self, kind: str, mood: Mood = Mood.WELL, spelled: str = "<outlet_status>%s,%s</outlet_status>"
    ) -> None:
        self.password = "changed" if mood is Mood.WRONG_PASSWORD else PASSWORD
        super().__init__(mood, f"admin:{self.password}" if kind == "msnswitch" else "")
        self.outlets = {"1": "off", "2": "off"}
        self.kind = kind
        self.spelled = spelled
        self.old = False
        self.reset_only: set[str] = set()
        self.packs = False

    def converse(self, connection: socket.socket) -> None:
        if not self.packs:
            super().converse(connection)
            return
        answer = self._judged(self._request(connection))
        body = gzip.compress(answer.body.encode())
        self.send(connection, f"HTTP/1.1 {answer.status} OK\nContent-Length: {len(body)}\n\n".encode() + body)

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        said = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        form = {name: values[0] for name, values in urllib.parse.parse_qs(request.body.decode()).items()}
        if self.kind == "msnswitch_api":
            return self.api(path, form)
        if self.kind == "msnswitch_622":
            if path == "/goform/login":
                right = form == {"user": "admin", "password": self.password}
                return Answer(302, "", (f"Set-Cookie: {COOKIE}; path=/",) if right else ())
            if request.headers.get("cookie") != COOKIE:
                return Answer(403)
            if path == "/index.asp":
                return Answer(200, f'<html><input type="hidden" id="csrftoken" value="{TOKEN}"></html>')
        xml, control = (
            ("/outlet_status.xml", "/control.cgi") if self.old else ("/xml/outlet_status.xml", "/cgi-bin/control.cgi")
        )
        if path == control:
            if self.mood is Mood.REFUSING or (self.kind == "msnswitch_622" and said.get("csrftoken") != TOKEN):
                return Answer(403)
            if said["target"] in self.outlets and said["control"] in "01":
                self.outlets[said["target"]] = "on" if said["control"] == "1" else "off"
        elif path != xml:
            return Answer(404)
        bits = tuple(str(int(state == "on")) for state in self.outlets.values())
        return Answer(200, f"<request><site_ip>192.0.2.1</site_ip>{self.spelled % bits}<uis_fun>1</uis_fun></request>")

    def api(self, path: str, form: dict[str, str]) -> Answer:
        """Answer as new firmware does."""
        if (form.pop("user", ""), form.pop("password", "")) != ("admin", self.password):
            return Answer(401)
        if path == "/api/control":
            port = form["target"].removeprefix("outlet")
            if self.mood is Mood.REFUSING or port not in self.outlets or form["action"] not in ("on", "off", "reset"):
                return Answer(400)
            self.outlets[port] = form["action"]
            return Answer(200, "{}")
        if path != "/api/status":
            return Answer(404)
        outlets = [
            {"name": f"Modem {port}", "status": state == "on", "reset_only": port in self.reset_only}
            for port, state in self.outlets.items()
        ]
        return Answer(200, json.dumps({"status": {"outlet": outlets, "uis": True}, "connections": []}))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch with a password."""
    with Switch(name, mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        names = {port: f"Modem {port}" for port in device.outlets} if name == "msnswitch_api" else {}
        yield Case(device, "modem", settings, ["1", "2"], ["0", "3", "-1", "x"], [PASSWORD], names)
