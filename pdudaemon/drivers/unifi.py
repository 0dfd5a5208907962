# SPDX-License-Identifier: MIT
"""Ubiquiti UniFi, by the console or controller that manages it: PoE ports of switches, outlets of SmartPower PDUs.

Source: UniFi Network's API as public clients of it speak it.
Tested: against a fake of a UniFi OS console and of an older controller; on no hardware.
Quirks: the account has to be a local one without a second factor. A device is told all its ports (or outlets) at once,
and takes some seconds for it (provisioning), which are waited for; whoever changes the same device at the same time in
the web pages may undo it. A port is on unless its PoE mode is off. An ``api_key`` in place of an account is from
documentation, untried.

    "poe": {"driver": "unifi_poe", "ip": "192.0.2.92", "device": "74:ac:b9:00:11:22", "username": "pdu",
            "password": "secret", "insecure": true},
    "rack": {"driver": "unifi_pdu", "ip": "unifi.lab:8443", "device": "Rack PDU", "site": "lab", "api_key": "secret",
             "insecure": true}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pdudaemon.drivers.driver import Numbered, hook
from pdudaemon.drivers.network import SecureWebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import CHANGE_ME, LOGIN, Recognised
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Response
from pdudaemon.transports.pages import Pages

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_SITE = re.compile(r"[A-Za-z0-9_-]{1,50}")
_LOGIN_WANTED = "api.err.LoginRequired"
_CONTROLLER = 8443
_PROVISIONED = 45  # seconds within which a device has what it was told


@dataclass(frozen=True)
class Row:
    """Where the parts of a device are told, and where it is told what they are to be.

    ``has`` says which of them can be switched at all; ``kept`` is what has to be told along; ``meters`` are quantities
    of ours with what they are called and their unit.
    """

    table: str
    overrides: str
    index: str
    state: str
    has: str
    kept: tuple[str, ...]
    meters: Mapping[str, tuple[str, float]]


_POE = Row(
    "port_table",
    "port_overrides",
    "port_idx",
    "poe_mode",
    "port_poe",
    ("portconf_id",),
    {"watts": ("poe_power", 1.0), "volts": ("poe_voltage", 1.0), "amps": ("poe_current", 0.001)},
)
_PDU = Row(
    "outlet_table",
    "outlet_overrides",
    "index",
    "relay_state",
    "has_relay",
    ("name", "cycle_enabled"),
    {"watts": ("outlet_power", 1.0), "volts": ("outlet_voltage", 1.0), "amps": ("outlet_current", 1.0)},
)


class UniFi(SecureWebDevice):
    """The session at the console is kept, since it takes only so many logins."""

    row: Row
    models = {"unifi_poe": _POE, "unifi_pdu": _PDU}
    ports = Numbered(64, at_most=True)

    protocol = Setting(choice("http", "https"), "https", "how the console is reached")
    device = Setting(text, "", "MAC address of the switch or PDU, or its name", required=True)
    site = Setting(text, "default", "site that it is in, as its address in the web pages has it")
    username = Setting(text, "", "user name of a local account")
    password = Setting(text, "", "password of that account", secret=True)
    api_key = Setting(text, "", "API key, in place of an account", secret=True)
    poe_mode = Setting(choice("auto", "pasv24", "passthrough"), "auto", "mode of a PoE port that is on")

    @hook
    def faults(self) -> dict[str, str]:
        found = super().faults()
        if not _SITE.fullmatch(self.site):
            found["site"] = f"{self.site[:60]!r} is not the name of a site: letters, digits, _ and - only"
        if not (self.api_key or self.username):
            found["username"] = "is missing: there is neither an account nor an api_key"
        return found

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._prefix: str | None = None  # of all paths; None: it is not known yet what this is
        self._cookies: dict[str, str] = {}
        self._token = ""

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        device = self._device()
        part = next((each for each in self._parts(device) if each.get(self.row.index) == port_number), None)
        if part is None:
            raise PermanentError(f"{self.device} at {self.host} has no port {port_number} that can be switched")
        value: object = wanted is State.ON
        if self.row is _POE:
            value = self.poe_mode if wanted is State.ON else "off"
        overrides = [dict(each) for each in device.get(self.row.overrides) or () if isinstance(each, dict)]
        mine = next((each for each in overrides if each.get(self.row.index) == port_number), None)
        if mine is None:
            overrides.append(mine := {self.row.index: port_number})
        mine.update({key: part[key] for key in self.row.kept if key in part and key not in mine})
        mine[self.row.state] = value
        self._call("PUT", f"rest/device/{device['_id']}", {self.row.overrides: overrides})
        self.confirm(port_number, wanted, within=_PROVISIONED)

    def port_status(self, port_number: int) -> State:
        for part in self._parts(self._device()):
            if part.get(self.row.index) == port_number:
                return self._state(part)
        raise PermanentError(f"{self.device} at {self.host} has no port {port_number} that can be switched")

    def read_outlets(self) -> list[OutletReading]:
        found = [
            OutletReading(
                str(part[self.row.index]),
                label(part.get("name")),
                self._state(part),
                **{name: quantity(part.get(key), unit) for name, (key, unit) in self.row.meters.items()},
            )
            for part in self._parts(self._device())
            if isinstance(part.get(self.row.index), int)
        ]
        if not found:
            raise PermanentError(f"{self.device} at {self.host} has no ports that can be switched")
        return found

    def identify(self) -> Identity:
        device = self._device()
        model, serial, firmware = (label(device.get(key)) or "" for key in ("model", "serial", "version"))
        return Identity("Ubiquiti", model, serial or label(device.get("mac")) or "", firmware)

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for a controller by where its front page leads; which of its devices is meant, the user says."""
        for secure in (True, False):
            front = pages.get("/", port=_CONTROLLER, secure=secure)
            if front is not None and urlsplit(front.headers.get("Location", "")).path == "/manage":
                settings = {"driver": "unifi_poe", "ip": f"{pages.host}:{pages.port or _CONTROLLER}", "username": "pdu"}
                settings |= {"device": CHANGE_ME} | ({} if secure else {"protocol": "http"})
                wants = f"{LOGIN}, and device, the MAC address of a switch (unifi_pdu: of a PDU)"
                return Recognised(settings, Identity("Ubiquiti", "UniFi controller"), wants=wants)
        return None

    def _state(self, part: Mapping[str, Any]) -> State:
        said = part.get(self.row.state)
        if self.row is _PDU:
            return {True: State.ON, False: State.OFF}.get(said, State.UNKNOWN)  # type: ignore[arg-type]
        return State.UNKNOWN if not isinstance(said, str) else State.OFF if said == "off" else State.ON

    def _parts(self, device: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        table = device.get(self.row.table)
        return [each for each in table or () if isinstance(each, dict) and each.get(self.row.has)]

    def _device(self) -> dict[str, Any]:
        """Return all that the console knows of the device."""
        name = self.device.lower()
        path = f"stat/device/{name}" if _MAC.fullmatch(name) else "stat/device"
        found = [each for each in self._call("GET", path) if name in (each.get("mac"), str(each.get("name")).lower())]
        if len(found) != 1 or not isinstance(found[0].get("_id"), str):
            many = "more than one device" if found else "no device"
            raise PermanentError(f"{self.host} has {many} {self.device!r} at the site {self.site!r}")
        return found[0]

    def _call(self, method: str, path: str, order: object = None) -> list[dict[str, Any]]:
        """Ask the console something, logged in; return its data."""
        for again in (False, True):
            if self._prefix is None:
                self._log_in()
            answer = self._send(method, f"{self._prefix}/api/s/{self.site}/{path}", order, also=(400, 401, 403))
            said = answer.json()
            meta = said.get("meta") if isinstance(said, dict) else None
            why = label(meta.get("msg")) if isinstance(meta, dict) else None
            if answer.status == 401 or why == _LOGIN_WANTED:
                self._prefix = None
                if again or self.api_key:
                    raise LoginRefused(f"login refused by {answer.source} (401)")
                continue
            if not isinstance(meta, dict) or not isinstance(said.get("data"), list):
                raise TransientError(f"{answer.source}: the answer is not that of a UniFi console ({answer.status})")
            if meta.get("rc") != "ok":
                raise PermanentError(f"{answer.source}: {why or 'refused'} ({answer.status})")
            return [each for each in said["data"] if isinstance(each, dict)]
        raise AssertionError("unreachable")

    def _log_in(self) -> None:
        """Find out which kind of console this is, and log in. Raises: LoginRefused."""
        self._cookies, self._token = {}, ""
        unifi_os = self._send("GET", "/", also=(301, 302)).status == 200
        if not self.api_key:
            account = {"username": self.username, "password": self.password}
            login = "/api/auth/login" if unifi_os else "/api/login"
            answer = self._send("POST", login, {**account, "rememberMe": False}, also=(400, 401, 403, 429))
            if answer.status == 429:
                raise TransientError(f"{answer.source}: too many logins (429)")
            if answer.status != 200:
                raise LoginRefused(f"login refused by {answer.source} ({answer.status})")
        self._prefix = "/proxy/network" if unifi_os else ""

    def _send(self, method: str, target: str, order: object = None, also: tuple[int, ...] = ()) -> Response:
        headers = {"Accept": "application/json"}
        if self.api_key:
            headers["X-API-KEY"] = self.api_key
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self._token:
            headers["X-CSRF-Token"] = self._token
        answer = self.client().request(method, target, json=order, headers=headers, also=also)
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name.strip()] = value.strip()
        given = [answer.headers.get(name) for name in ("X-Updated-Csrf-Token", "X-CSRF-Token")]
        self._token = next(filter(None, [*given, self._cookies.get("csrf_token")]), self._token)
        return answer
