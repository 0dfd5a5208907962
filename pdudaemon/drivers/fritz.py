# SPDX-License-Identifier: MIT
"""Switch plugs on a FRITZ!Box of AVM (FRITZ!DECT 200, 210, Smart Energy 200 and so on), by its AHA interface.

Source: AVM's descriptions of the login and of the AHA interface.
Tested: against a fake, and the login against the vendor's own examples; on no hardware.
Quirks: a port is the AIN on the plug, with or without its blank. The user needs the right for smart home. A box
that was told wrong passwords wants some seconds of rest, which are waited for. What a plug draws is up to 2 min old.

    "home": {"driver": "fritz", "ip": "192.0.2.110", "username": "pdudaemon", "password": "secret"},
    "fritz.box": {"driver": "fritz", "username": "pdudaemon", "password": "secret", "protocol": "https",
                  "insecure": true}
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import SecureWebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Response
from pdudaemon.transports.pages import Pages

_LOGIN = "/login_sid.lua?version=2"
_NONE = "0000000000000000"
_MOST_ROUNDS = 1_000_000  # of a digest: what asks for more wants to keep us busy
_CHALLENGE = re.compile(r"2\$(\d{1,7})\$([0-9a-fA-F]+)\$(\d{1,7})\$([0-9a-fA-F]+)")
_SHORTEST = 9  # digits of an AIN that was taken for a number
_STATES = {"1": State.ON, "0": State.OFF}
_ENTITY = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def _ain(said: str) -> str:
    """Return the one spelling of an AIN: without blanks; of digits, all twelve."""
    word = said.replace(" ", "")
    return word.lstrip("0").zfill(12) if word.isdecimal() and len(word) >= _SHORTEST else word


class Fritz(SecureWebDevice):
    """Each action has a session of its own."""

    models = {"fritz": None}
    ports = Named(r"[0-9]{12}|[A-Za-z0-9:_-]{13,60}", "an AIN, as it stands on the plug: 11657 0272633", _ain)

    username = Setting(text, "", "user name")
    password = Setting(text, "", "password of that user", secret=True)

    def port_interaction(self, command: str, port_number: str | int) -> None:
        wanted = State(command)
        with self._session() as sid:
            said = self._switch(f"setswitch{command}", sid, port_number)
        if _STATES.get(said) is not wanted:
            self.confirm(port_number, wanted, within=10)

    def port_status(self, port_number: str | int) -> State:
        with self._session() as sid:
            return _STATES.get(self._switch("getswitchstate", sid, port_number), State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as sid:
            answer = self._ask("getdevicelistinfos", sid)
        found = [
            OutletReading(
                _ain(device.get("identifier", "")),
                label(device.findtext("name")),
                _STATES.get(device.findtext("switch/state") or "", State.UNKNOWN),
                watts=quantity(device.findtext("powermeter/power"), 0.001),
                volts=quantity(device.findtext("powermeter/voltage"), 0.001),
                watt_hours=quantity(device.findtext("powermeter/energy")),
            )
            for device in _parsed(answer)
            if device.find("switch") is not None
        ]
        if not found:
            raise PermanentError(f"{answer.source}: the box has no plugs that can be switched")
        return found

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the challenge of its login, which anybody gets."""
        answer = pages.get(_LOGIN)
        if answer is None or "<SessionInfo>" not in answer.text:
            return None
        return Recognised({"driver": "fritz", **place_of(pages)}, Identity("AVM", "FRITZ!Box"), wants=LOGIN)

    def _switch(self, command: str, sid: str, ain: str | int) -> str:
        answer = self._ask(command, sid, str(ain))
        said = answer.text.strip()
        if said not in ("0", "1", "inval"):
            raise TransientError(f"{answer.source}: the answer does not tell the state of {ain}")
        return said

    def _ask(self, command: str, sid: str, ain: str = "") -> Response:
        of = f"&ain={ain}" if ain else ""
        answer = self.client().request(
            "GET", f"/webservices/homeautoswitch.lua?switchcmd={command}{of}&sid={sid}", also=(400, 403)
        )
        if answer.status == 400:
            raise PermanentError(f"{answer.source}: the box has no plug {ain} (400)")
        if answer.status == 403:
            raise LoginRefused(f"login refused by {answer.source} (403): the user has no right for smart home")
        return answer

    @contextmanager
    def _session(self) -> Iterator[str]:
        """Log in; yield the id of the session; log out."""
        answer = self.client().request("GET", _LOGIN)
        info = _parsed(answer)
        challenge, block = info.findtext("Challenge") or "", quantity(info.findtext("BlockTime")) or 0.0
        if not challenge:
            raise TransientError(f"{answer.source}: the answer has no challenge")
        if block:
            self.deadline.pause(block)
        form = {"username": self.username, "response": response(challenge, self.password)}
        answer = self.client().request("POST", _LOGIN, form=form, also=(403,))
        sid = "" if answer.status == 403 else _parsed(answer).findtext("SID") or ""
        if not re.fullmatch(r"[0-9a-f]{16}", sid) or sid == _NONE:
            raise LoginRefused(f"login refused by {answer.source}")
        try:
            yield sid
        finally:
            with (client := self.client()).farewell():
                client.request("GET", f"/login_sid.lua?version=2&logout=1&sid={sid}")


def response(challenge: str, password: str) -> str:
    """Return what proves to a box that we know the password: by PBKDF2, or by MD5 to an old one."""
    if found := _CHALLENGE.fullmatch(challenge):
        digest = password.encode()
        for rounds, salt in ((found[1], found[2]), (found[3], found[4])):
            if not 0 < int(rounds) <= _MOST_ROUNDS or len(salt) % 2:
                raise TransientError("the challenge of the box makes no sense")
            digest = hashlib.pbkdf2_hmac("sha256", digest, bytes.fromhex(salt), int(rounds))
        return f"{found[4]}${digest.hex()}"
    known = "".join(letter if ord(letter) < 256 else "." for letter in password)
    words = f"{challenge}-{known}".encode("utf-16-le")
    return f"{challenge}-{hashlib.md5(words, usedforsecurity=False).hexdigest()}"


def _parsed(answer: Response) -> ElementTree.Element:
    """Return an answer as XML. Raises: TransientError; entities, which could stand for any amount of text, are none."""
    try:
        if _ENTITY.search(answer.text):
            raise ElementTree.ParseError
        return ElementTree.fromstring(answer.text)
    except ElementTree.ParseError:
        raise TransientError(f"{answer.source}: the answer is not the XML of a box") from None
