# SPDX-License-Identifier: MIT
"""Netgear Plus switches with PoE (GS305EP, GS308EP, GS305EPP, GS308EPP and their like), by their web pages.

Source: the requests of public clients of these pages, and their vector for the password.
Tested: against a fake of our own; how the pages show states is from memory, untried on hardware.
Quirks: the password is hashed with a number of the login page. There is one session, so each action logs in and out;
after some wrong passwords the switch lets nobody in for a while. To switch a port sets its priority and limit to what
they are out of the box. GS316EP and its like have other pages.

    "poe": {"driver": "netgear_plus", "ip": "192.0.2.95", "password": "secret"}
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, quantity
from pdudaemon.drivers.recognition import CHANGE_ME, Recognised, place_of
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response
from pdudaemon.transports.pages import Pages

_CONFIG, _STATUS, _LOGIN, _LOGOUT = "/PoEPortConfig.cgi", "/getPoePortStatus.cgi", "/login.cgi", "/logout.cgi"
_INPUT = re.compile(r"<input\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(id|name|class|value)\s*=\s*["']?([^"'\s>]*)""", re.IGNORECASE)
_USUAL = {"PORT_PRIO": "0", "POW_MOD": "3", "POW_LIMT_TYP": "0", "DETEC_TYP": "2", "DISCONNECT_TYP": "2"}
_STATES = {"1": State.ON, "0": State.OFF}
_CELL = re.compile(
    r"<span[^>]*>\s*(?:ml\d+\s*:\s*)?(Voltage|Current|Output Power)[^<]*</span>\s*<span[^>]*>\s*([0-9.]+)",
    re.IGNORECASE,
)
_METERS = {"voltage": ("volts", 1.0), "current": ("amps", 0.001), "output power": ("watts", 1.0)}


class NetgearPlus(WebDevice):
    """Pages for people, with forms in them."""

    models = {"netgear_plus": None}
    ports = Numbered(16, at_most=True)

    password = Setting(text, "", "password of the web pages", secret=True, required=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        with self._session() as session:
            page = session.get(_CONFIG)
            if port_number not in _states(page):
                raise PermanentError(f"{page.source}: the switch has no PoE port {port_number}")
            form = {"hash": _hidden(page.text, "hash"), "ACTION": "Apply", "portID": str(port_number - 1)}
            answer = session.post(_CONFIG, {**form, "ADMIN_MODE": "1" if command == "on" else "0", **_USUAL})
            if "SUCCESS" not in answer.text:
                raise PermanentError(f"{answer.source}: the switch did not say SUCCESS")
            if _states(session.get(_CONFIG)).get(port_number) is not State(command):
                raise TransientError(f"{answer.source}: port {port_number} is not {command} after being switched")

    def port_status(self, port_number: int) -> State:
        with self._session() as session:
            page = session.get(_CONFIG)
        try:
            return _states(page)[port_number]
        except KeyError:
            raise PermanentError(f"{page.source}: the switch has no PoE port {port_number}") from None

    def read_outlets(self) -> list[OutletReading]:
        with self._session() as session:
            states, drawn = _states(session.get(_CONFIG)), _drawn(session.get(_STATUS).text)
        return [OutletReading(str(port), None, state, **drawn.get(port, {})) for port, state in states.items()]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the number on its login page."""
        page = pages.get(_LOGIN)
        if page is None or not _hidden(page.text, "rand") or "NETGEAR" not in page.text.upper():
            return None
        settings = {"driver": "netgear_plus", **place_of(pages), "password": CHANGE_ME}
        return Recognised(settings, Identity("Netgear"), wants="password")

    @contextmanager
    def _session(self) -> Iterator[_Session]:
        session = _Session(Client(self.host, self.deadline))
        page = session.get(_LOGIN)
        number = _hidden(page.text, "rand")
        if not number:
            raise TransientError(f"{page.source}: the page has no number to hash the password with")
        answer = session.post(_LOGIN, {"password": hashed(self.password, number)})
        if "SID" not in session.cookies:
            if "maximum" in answer.text.lower():
                raise TransientError(f"{answer.source}: another session is open, or too many passwords were wrong")
            raise LoginRefused(f"login refused by {answer.source}")
        try:
            yield session
        finally:
            session.leave(Client(self.host, Deadline(2)))


class _Session:
    """A cookie for one action."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Response:
        """Fetch a page."""
        return self._heard(self._client.request("GET", path, headers=self._headers))

    def post(self, path: str, form: dict[str, str]) -> Response:
        """Send a form."""
        return self._heard(self._client.request("POST", path, form=form, headers=self._headers))

    def leave(self, client: Client) -> None:
        """Log out, whatever comes of it: there is one session."""
        with contextlib.suppress(DeviceError):
            client.request("GET", _LOGOUT, headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Cookie": f"SID={self.cookies['SID']}"} if "SID" in self.cookies else {}

    def _heard(self, answer: Response) -> Response:
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        return answer


def hashed(password: str, number: str) -> str:
    """Return what goes over the wire: the two by turns, one letter of each, and the rest of the longer one."""
    mixed = "".join(itertools.chain.from_iterable(itertools.zip_longest(password, number, fillvalue="")))
    return hashlib.md5(mixed.encode(), usedforsecurity=False).hexdigest()


def _inputs(page: str) -> Iterator[dict[str, str]]:
    for tag in _INPUT.findall(page):
        yield {name.lower(): value for name, value in _ATTRIBUTE.findall(tag)}


def _hidden(page: str, name: str) -> str:
    """Return the value of a hidden field, empty if there is none."""
    return next((each.get("value", "") for each in _inputs(page) if name in (each.get("name"), each.get("id"))), "")


def _states(page: Response) -> dict[int, State]:
    """Return whether ports are to feed something: each is a hidden ``port``, with a ``hidPortPwr`` behind it."""
    found: dict[int, State] = {}
    port = ""
    for each in _inputs(page.text):
        if each.get("class") == "port":
            port = each.get("value", "")
        elif "hidPortPwr" in (each.get("id"), each.get("class")) and port.isdecimal():
            found[int(port)] = _STATES.get(each.get("value", ""), State.UNKNOWN)
    if not found:
        raise TransientError(f"{page.source}: the page does not tell which ports have power")
    return found


def _drawn(page: str) -> dict[int, dict[str, float | None]]:
    """Return what ports draw, as far as the page says so in words that we know."""
    found: dict[int, dict[str, float | None]] = {}
    parts = re.split(r"""<input\b[^>]*class=["']?port\b[^>]*value=["']?(\d+)[^>]*>""", page)
    for port, part in zip(parts[1::2], parts[2::2], strict=False):
        cells = ((_METERS[name.lower()], value) for name, value in _CELL.findall(part))
        found[int(port)] = {name: quantity(value, unit) for (name, unit), value in cells}
    return found
