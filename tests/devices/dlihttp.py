# SPDX-License-Identifier: MIT
"""A Web Power Switch 7 and its elders and successors: pages, and the two ways to log in."""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["dli_http"]
MOODS = [*Mood]
PASSWORD = "dli+secret"
CHALLENGE = "Xk4f9"
COOKIE = "DLILPC=0123456789"
FORM = f"""<html><form name=login action="/login.tgi" method="post">
<input type="hidden" name="Challenge" value="{CHALLENGE}">
<input name=Username><input type=password name=Password></form></html>"""


class PowerSwitch(WebDevice):
    """Eight outlets. ``form``: the login is that of the form, else Basic. ``page``: table, comment or status."""

    def __init__(self, mood: Mood = Mood.WELL, form: bool = True, page: str = "table") -> None:
        password = "changed" if mood is Mood.WRONG_PASSWORD else PASSWORD
        super().__init__(mood, "" if form else f"admin:{password}")
        self.outlets = {str(number): "off" for number in range(1, 9)}
        self.names = {"1": "router & co", **{str(number): f"Outlet {number}" for number in range(2, 9)}}
        self.form, self.page, self.password = form, page, password

    def answer(self, request: Request) -> Answer:
        if request.target == "/login.tgi" and request.method == "POST":
            said = urllib.parse.parse_qs(request.body.decode())
            proof = hashlib.md5(f"{CHALLENGE}admin{self.password}{CHALLENGE}".encode()).hexdigest()
            right = said == {"Username": ["admin"], "Password": [proof]}
            return Answer(200, "<html>", (f"Set-Cookie: {COOKIE}; path=/",) if right else ())
        if self.form and request.headers.get("cookie") != COOKIE:
            return Answer(200, FORM)
        if found := re.fullmatch(r"/outlet\?([1-8a])=(ON|OFF|CCL)", request.target):
            if self.mood is not Mood.REFUSING:
                self.outlets[found[1]] = found[2].lower()
            return Answer(302, headers=("Location: /index.htm",))
        if request.target == "/":
            return Answer(302, headers=("Location: /index.htm",))
        if request.target == "/index.htm":
            return Answer(200, self.index())
        if request.target == "/status" and self.page == "status":
            return Answer(200, f'<html><div id="state">{self.bits:02x}</div><div id="lock">00</div></html>')
        return Answer(404)

    @property
    def bits(self) -> int:
        """The states, the first outlet in the lowest bit."""
        return sum(1 << int(port) - 1 for port, state in self.outlets.items() if state == "on")

    def index(self) -> str:
        """Return the page as this generation has it."""
        comment = f"<!-- state={self.bits:02x} lock={'ff' if self.mood is Mood.REFUSING else '00'} -->"
        if self.page != "table":
            return f"<html>{comment if self.page == 'comment' else ''}<h1>Outlet Control</h1></html>"
        rows = ""
        for port, state in self.outlets.items():
            other = "OFF" if state == "on" else "ON"
            colour = "green" if state == "on" else "red"
            rows += (
                f'<tr bgcolor="#F4F4F4"><td align=center>{port}</td>\n<td>{self.names[port].replace("&", "&amp;")}</td>'
            )
            rows += f"<td>\n<b><font color={colour}>{state.upper()}</font></b></td>"
            rows += f"<td><a href=outlet?{port}={other}>Switch {other}</a></td><td><!-- <a href=outlet?{port}=CCL>Cycle</a> --></td></tr>\n"
        return f"<html>{comment}<table><tr><th>#</th><th>Name</th></tr>{rows}</table></html>"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a switch with the login of its form."""
    with PowerSwitch(mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
        bad = ["0", "9", "-1", "x", "1=ON"]
        yield Case(device, "dli", settings, [*device.outlets], bad, [PASSWORD], device.names)
