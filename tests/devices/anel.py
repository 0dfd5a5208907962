# SPDX-License-Identifier: MIT
"""ANEL NET-PwrCtrl: the URL commands and the page strg.cfg, as ANEL's forum and public tools have them."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["anel_netpwrctrlhome", "anel_netpwrctrladv", "anel_netpwrctrlio", "anel_netpwrctrlpro"]
ALIKE = NAMES[1:3]  # the same but for a letter
MOODS = [*Mood]

USERNAME, PASSWORD = "pduadmin", "k7&x#9q"
SOCKETS = {"H": 3, "P": 8, "a": 8, "i": 8}
TYPES = {
    "anel_netpwrctrlhome": "H",
    "anel_netpwrctrladv": "a",
    "anel_netpwrctrlio": "i",
    "anel_netpwrctrlpro": "P",
}
IDENTITIES = {  # what ADV and IO say of themselves is not known
    "H": ("ANEL", "NET-PwrCtrl HOME", "", "04.5"),
    "P": ("ANEL", "NET-PwrCtrl PRO", "", "04.5"),
    "a": ("ANEL",),
    "i": ("ANEL",),
}


class Anel(WebDevice):
    """A device of a type (its letter in strg.cfg). ``nonsense``: how often strg.cfg is yet to be answered so."""

    def __init__(self, kind: str, mood: Mood = Mood.WELL, username: str = USERNAME, password: str = PASSWORD) -> None:
        super().__init__(mood)
        self.kind = kind
        self.account = (username, "changed" if mood is Mood.WRONG_PASSWORD else password)
        self.outlets = {str(number): "off" for number in range(1, SOCKETS[kind] + 1)}
        self.locked: set[str] = set()
        self.nonsense = 0
        self.obeys = True

    def answer(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.target)
        if request.method != "GET":
            return Answer(404)
        if url.path == "/strg.cfg":
            return self.settings(request)
        command, _, words = url.query.partition("=")
        number, _, login = words.partition(",")
        if url.path != "/" or command not in ("Sw_on", "Sw_off") or number not in self.outlets:
            return Answer(404)
        if urllib.parse.unquote(login) != "".join(self.account):
            return Answer(200, "User or password error.")
        if self.obeys and not self.is_locked(number):
            self.outlets[number] = command.removeprefix("Sw_")
        return Answer(200, self.overview())

    def settings(self, request: Request) -> Answer:
        """Answer strg.cfg."""
        expected = "Basic " + base64.b64encode(":".join(self.account).encode()).decode()
        if request.headers.get("authorization") != expected:
            return Answer(401, headers=('WWW-Authenticate: Basic realm="NET-CONTROL"',))
        if self.nonsense:
            self.nonsense -= 1
            return Answer(200, "NET-PWRCTRL_04.5;NET-CONTROL    ;192.0.2.5;255")
        fields = self.long() if self.kind in "HP" else self.short()
        return Answer(200, ";".join([*fields, "end", "NET - Power Control\r\n"]))

    def is_locked(self, number: str) -> bool:
        """Whether a socket is locked."""
        return self.mood is Mood.REFUSING or number in self.locked

    def socket(self, number: int) -> tuple[str, str, str]:
        """Return name, state and lock of one of eight sockets; those a HOME does not have are locked."""
        state = self.outlets.get(str(number), "off")
        locked = self.is_locked(str(number)) or str(number) not in self.outlets
        return f"Nr. {number}", {"on": "1", "off": "0"}[state], str(int(locked))

    def overview(self) -> str:
        """Return what an order is answered; what ADV and IO say is not known."""
        if self.kind not in "HP":
            return "<html>OK</html>"
        head = f"HOME ;192.0.2.5;NET - Power;Mo, 01.01.24 10:00:00;10;{self.kind};4.5;<br>\n"
        return head + "".join(f"{';'.join(self.socket(number))};" for number in range(1, 9))

    def long(self) -> list[str]:
        """Return the 58 fields of HOME and PRO."""
        names, states, locks = zip(*(self.socket(number) for number in range(1, 9)), strict=True)
        network = ["NET-PWRCTRL_04.5", "HOME           ", "192.0.2.5", "255.255.255.0", "192.0.2.1", "0.4.163.10.9.107"]
        head = [*network, "80", "xxx", self.kind, ""]
        return [*head, *names, "", "", *states, "", "", *locks, "", "", *["0"] * 10, *["9999"] * 8]

    def short(self) -> list[str]:
        """Return the 40 fields of ADV and IO, five for each socket."""
        return [field for number in range(1, 9) for field in (*self.socket(number), "0", "9999")]


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a device with a login of its own."""
    with Anel(TYPES[name], mood) as device:
        settings = {"driver": name, "ip": f"127.0.0.1:{device.port}", "username": USERNAME, "password": PASSWORD}
        ports = [*device.outlets]
        bad, secrets = ["0", str(len(ports) + 1), "x"], [PASSWORD, "k7&x%239q"]
        names = {port: f"Nr. {port}" for port in ports}
        yield Case(device, "anel", settings, ports, bad, secrets, names, identity=IDENTITIES[device.kind])
