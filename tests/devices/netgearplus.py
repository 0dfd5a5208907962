# SPDX-License-Identifier: MIT
"""A Netgear Plus switch with PoE: its pages as far as public clients tell of them, one session at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["netgear_plus"]
MOODS = [*Mood]
MORE = 1  # what ports draw is a page of its own
PASSWORD = "netgear&7"
RAND, HASH, SID = "1735414426", "4f11f5d64ef3fd75a92a9f2ad1de3060", "aIbTgTqN"


class Switch(WebDevice):
    """Four PoE ports, of which the first feeds something."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 5)}
        self.logged_in = False
        self.logouts = 0
        self.obeys = True

    def answer(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        match request.method, request.target:
            case "GET", "/login.cgi":
                rand = f"<input type='hidden' id='rand' name='rand' value='{RAND}' disabled>"
                return Answer(200, f"<html><title>NETGEAR GS305EP</title>{rand}</html>")
            case "POST", "/login.cgi":
                return self.log_in(form["password"])
        if request.headers.get("cookie") != f"SID={SID}" or not self.logged_in:
            return Answer(200, "<html><script>top.location.href = '/login.cgi'</script></html>")
        match request.method, request.target:
            case "GET", "/logout.cgi":
                self.logged_in = False
                self.logouts += 1
                return Answer(200, "<html></html>")
            case "GET", "/PoEPortConfig.cgi":
                rows = "".join(
                    f"<li class='poePortSettingListItem'><input type='hidden' class='port' value='{port}'>"
                    f"<input type='hidden' id='hidPortPwr' value='{int(state == 'on')}'></li>"
                    for port, state in self.outlets.items()
                )
                return Answer(200, f"<form><input type=hidden name='hash' id='hash' value='{HASH}'>{rows}</form>")
            case "GET", "/getPoePortStatus.cgi":
                return Answer(200, "".join(map(self.status_of, self.outlets)))
            case "POST", "/PoEPortConfig.cgi":
                return self.apply(form)
        return Answer(404)

    def log_in(self, hashed: str) -> Answer:
        """Let a user in, if nobody is."""
        password = "changed" if self.mood is Mood.WRONG_PASSWORD else PASSWORD
        mixed = "".join(one + two for one, two in zip(password, RAND, strict=False))
        mixed += password[len(RAND) :] + RAND[len(password) :]
        if hashlib.md5(mixed.encode()).hexdigest() != hashed:
            return Answer(200, "<html>The password is invalid.</html>")
        if self.logged_in:
            return Answer(200, "<html>The maximum number of sessions has been reached.</html>")
        self.logged_in = True
        return Answer(200, "<html></html>", (f"Set-Cookie: SID={SID}; PATH=/; HttpOnly",))

    def apply(self, form: dict[str, str]) -> Answer:
        """Do what a form says."""
        whole = {"hash", "ACTION", "portID", "ADMIN_MODE", "PORT_PRIO", "POW_MOD", "POW_LIMT_TYP", "DETEC_TYP"}
        if not whole <= form.keys() or form["hash"] != HASH or form["ACTION"] != "Apply" or self.mood is Mood.REFUSING:
            return Answer(200, "CHECK HASH FAILED")
        if self.obeys:
            self.outlets[str(int(form["portID"]) + 1)] = {"1": "on", "0": "off"}[form["ADMIN_MODE"]]
        return Answer(200, "SUCCESS")

    def status_of(self, port: str) -> str:
        """Return what is shown of a port."""
        drawn = {"Voltage (V)": "53", "Current (mA)": "66", "Output Power (W)": "3.5"} if port == "1" else {}
        cells = "".join(f"<div><span>ml003: {name}</span><span>{value}</span></div>" for name, value in drawn.items())
        return f"<li><input type='hidden' class='port' value='{port}'>{cells}</li>"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch."""
    with Switch(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        readings = {"1": {"watts": 3.5, "volts": 53.0, "amps": 0.066}}
        yield Case(device, "switch", settings, [*device.outlets], ["0", "17", "x"], [PASSWORD], readings=readings)
