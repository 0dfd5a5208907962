# SPDX-License-Identifier: MIT
"""A FRITZ!Box with two plugs and a thermostat: its login, new or old, and the AHA interface."""

from __future__ import annotations

import functools
import hashlib
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["fritz"]
MOODS = [*Mood]
USER, PASSWORD = "pdudaemon", "fritz-1example!"
CHALLENGE, OLD_CHALLENGE = "2$10000$5A1711$2000$5A1722", "1234567z"
SID = "0123456789abcdef"


class Box(WebDevice):
    """Plugs by AIN. ``old``: its login is that by MD5. ``block``: seconds that it wants to be left alone."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"116570272633": "off", "087610000434": "off"}
        self.names = {"116570272633": "Lamp & Co", "087610000434": "Rack"}
        self.present = {*self.outlets}
        self.may = True
        self.old = False
        self.block = 0
        self.open: set[str] = set()
        self.password = "changed" if mood is Mood.WRONG_PASSWORD else PASSWORD

    def proof(self) -> str:
        """Return what the right password comes to."""
        if self.old:
            words = f"{OLD_CHALLENGE}-{self.password}".encode("utf-16-le")
            return f"{OLD_CHALLENGE}-{hashlib.md5(words).hexdigest()}"
        return _proof(self.password)

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        said = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        form = {name: values[0] for name, values in urllib.parse.parse_qs(request.body.decode()).items()}
        if path == "/login_sid.lua":
            sid = "0" * 16
            if said.get("logout"):
                self.open.discard(said.get("sid", ""))
            elif form.get("username") == USER and form.get("response") == self.proof():
                sid = SID
                self.open.add(sid)
            challenge = OLD_CHALLENGE if self.old else CHALLENGE
            told = f"<SID>{sid}</SID><Challenge>{challenge}</Challenge><BlockTime>{self.block}</BlockTime><Rights></Rights>"
            return Answer(200, f'<?xml version="1.0" encoding="utf-8"?><SessionInfo>{told}</SessionInfo>')
        if path != "/webservices/homeautoswitch.lua":
            return Answer(404)
        if said.get("sid") not in self.open or not self.may:
            return Answer(403)
        command, ain = said["switchcmd"], said.get("ain", "")
        if command == "getdevicelistinfos":
            return Answer(200, self.listed())
        if ain not in self.outlets:
            return Answer(400)
        if command.startswith("setswitch"):
            if self.mood is Mood.REFUSING:
                return Answer(403)
            self.outlets[ain] = command.removeprefix("setswitch")
        if ain not in self.present:
            return Answer(200, "inval\n")
        return Answer(200, f"{int(self.outlets[ain] == 'on')}\n")

    def listed(self) -> str:
        """Return the list of all devices."""
        plugs = "".join(
            f'<device identifier="{ain[:5]} {ain[5:]}" functionbitmask="2944" productname="FRITZ!DECT 200">'
            f"<present>{int(ain in self.present)}</present><name>{self.names[ain].replace('&', '&amp;')}</name>"
            f"<switch><state>{int(state == 'on') if ain in self.present else ''}</state><mode>manuell</mode></switch>"
            "<powermeter><voltage>230051</voltage><power>12500</power><energy>707</energy></powermeter></device>"
            for ain, state in self.outlets.items()
        )
        other = '<device identifier="11962 0785015"><name>Radiator</name><hkr><tist>42</tist></hkr></device>'
        return f'<devicelist version="1" fwversion="7.57">{plugs}{other}</devicelist>'


@functools.cache
def _proof(password: str) -> str:
    first = hashlib.pbkdf2_hmac("sha256", password.encode(), bytes.fromhex("5A1711"), 10000)
    return "5A1722$" + hashlib.pbkdf2_hmac("sha256", first, bytes.fromhex("5A1722"), 2000).hex()


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a box."""
    with Box(mood) as device:
        place = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": USER, "password": PASSWORD}
        readings = {port: {"watts": 12.5, "volts": 230.051, "watt_hours": 707.0} for port in device.outlets}
        bad = ["1", "x", "a/b", "116570272633&sid=1", "ä" * 5]
        yield Case(device, "home", place, [*device.outlets], bad, [PASSWORD], device.names, readings)
