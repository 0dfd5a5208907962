# SPDX-License-Identifier: MIT
"""A WattBox of the series 700: its XML, and the page that switches."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["wattbox_http"]
MOODS = [*Mood]
PASSWORD = "watt#box"


class WattBox(WebDevice):
    """Three outlets. ``slowly``: how many answers tell what was before."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood, f"wattbox:{'changed' if mood is Mood.WRONG_PASSWORD else PASSWORD}")
        self.outlets = {str(number): "off" for number in range(1, 4)}
        self.names = {"1": "Modem & Co", "2": "NAS", "3": "TV"}
        self.slowly = 0

    def _judged(self, request: Request) -> Answer:
        if self.mood is not Mood.BUSY and request.target.partition("?")[0] not in ("/wattbox_info.xml", "/control.cgi"):
            return Answer(404)
        return super()._judged(request)

    def answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        before = dict(self.outlets)
        if path == "/control.cgi":
            if self.mood is Mood.REFUSING:
                return Answer(403)
            said = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
            if said["outlet"] in self.outlets and said["command"] in "01":
                self.outlets[said["outlet"]] = "on" if said["command"] == "1" else "off"
        told = self.outlets
        if self.slowly and path == "/control.cgi":
            self.slowly, told = self.slowly - 1, before
        bits = ",".join(str(int(state == "on")) for state in told.values())
        names = ",".join(self.names.values()).replace("&", "&amp;")
        return Answer(
            200,
            f"<?xml version='1.0'?><request><host_name>WattBox</host_name><outlet_name>{names}</outlet_name>"
            f"<outlet_status>{bits}</outlet_status><outlet_method>1,1,1</outlet_method><hasUPS>0</hasUPS>"
            "<voltage_value>1203</voltage_value><current_value>21</current_value><power_value>243</power_value></request>",
        )


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a WattBox."""
    with WattBox(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        inlets = {"total": {"watts": 243, "volts": 120.3, "amps": 2.1}}
        bad = ["0", "25", "-1", "x"]
        yield Case(device, "av", settings, [*device.outlets], bad, [PASSWORD], device.names, inlets=inlets)
