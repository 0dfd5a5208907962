# SPDX-License-Identifier: MIT
"""OpenWrt switches with Power over Ethernet: `realtek-poe` on the ubus, reached through uhttpd.

Ports ``3`` and ``lan3`` are both the network port ``lan3``. Without a user name, the unauthenticated session must be
allowed (rpcd's ACL) to call ``info`` and ``manage`` of ``poe``; with one, that user must.

Source: OpenWrt documentation (ubus, ubus session, rpcd); realtek-poe for the words of a state.
Tested: against a fake only.
Quirks: the HTTP status is 200 whatever happens. A port is on when it is not ``Disabled``, whether or not it delivers;
older versions tell that as a plain text. The states that are told may be some seconds old; so may the watts that a port
delivers.

    "switch": {"driver": "ubus", "ip": "192.0.2.55"},
    "other": {"driver": "ubus", "username": "power", "password": "secret"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import WebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import Recognised, place_of
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client
from pdudaemon.transports.pages import Pages, object_of

_NOBODY = "0" * 32
_LAN = "lan"
_SESSION_SECONDS = 60
_PERMISSION_DENIED = 6
_CODES = {
    1: "invalid command",
    2: "invalid argument; is the port in the configuration of the switch?",
    3: "method not found",
    4: "not found",
    5: "no data",
    _PERMISSION_DENIED: "permission denied",
    7: "timeout",
    8: "not supported",
    9: "unknown error",
    10: "connection failed",
}
_MAY_PASS = (5, 7, 9, 10, -32003, -32603)  # the last two of JSON-RPC: timeout, internal error
_STATES = {"disabled": State.OFF, "unknown": State.UNKNOWN}


def _spelled(port: str) -> str:
    name = port.removeprefix(_LAN)
    return str(int(name)) if name.isdecimal() else name


def _state(source: str, name: str, port: object) -> State:
    status = port.get("status") if isinstance(port, dict) else port
    if not isinstance(status, str):
        raise TransientError(f"{source}: the answer does not tell the state of {name}")
    return _STATES.get(status.lower(), State.ON)


def _outlets(source: str, ports: Mapping[str, Any]) -> list[OutletReading]:
    return [
        OutletReading(
            _spelled(name),
            name,
            _state(source, name, port),
            watts=quantity(port.get("consumption")) if isinstance(port, dict) else None,
        )
        for name, port in ports.items()
        if re.fullmatch(rf"{_LAN}\w{{1,100}}", name, re.ASCII)
    ]


def _identity(info: Mapping[str, Any]) -> Identity:
    return Identity(firmware=label(info.get("firmware")) or "")


def _question(session: str, thing: str, method: str, words: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "call", "params": [session, thing, method, words]}


class Ubus(WebDevice):
    """Each call is a request of its own; a login is one more."""

    models = {"ubus": None}
    ports = Named(r"\w{1,100}", "a number, or what else follows lan", _spelled)

    username = Setting(text, "", "user of the switch; none: the unauthenticated session")
    password = Setting(text, "", "password of that user", secret=True)

    def port_interaction(self, command: str, port_number: Any) -> None:
        self._call("poe", "manage", {"port": f"{_LAN}{port_number}", "enable": State(command) is State.ON})

    def port_status(self, port_number: Any) -> State:
        source, ports = self._ports_told()
        name = f"{_LAN}{port_number}"
        if name not in ports:
            raise PermanentError(f"{source}: the switch has no port {name}")
        return _state(source, name, ports[name])

    def read_outlets(self) -> list[OutletReading]:
        return _outlets(*self._ports_told())

    def identify(self) -> Identity:
        _, info = self._call("poe", "info", {})
        return _identity(info)

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one if the unauthenticated session may look."""
        result = object_of(pages.post("/ubus", _question(_NOBODY, "poe", "info", {}))).get("result")
        if not (isinstance(result, list) and len(result) > 1 and result[0] == 0 and isinstance(result[1], dict)):
            return None
        info = result[1]
        ports = info.get("ports")
        outlets = _outlets(address, ports) if isinstance(ports, dict) else []
        return Recognised({"driver": "ubus", **place_of(pages)}, _identity(info), outlets) if outlets else None

    def _ports_told(self) -> tuple[str, Mapping[str, Any]]:
        """Return whose answer it is, as errors begin, and what it says of the ports by name."""
        source, info = self._call("poe", "info", {})
        ports = info.get("ports")
        if not isinstance(ports, dict):
            raise TransientError(f"{source}: the answer does not tell of any port")
        return source, ports

    def _call(self, thing: str, method: str, words: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Call a method, with a login first if there is one; return whose answer it is, and what it says."""
        session = _NOBODY
        if self.username:
            login = {"username": self.username, "password": self.password, "timeout": _SESSION_SECONDS}
            source, made = self._post(session, "session", "login", login)
            session = made.get("ubus_rpc_session")
            if not isinstance(session, str):
                raise TransientError(f"{source}: the login is answered without a session")
        return self._post(session, thing, method, words)

    def _post(self, session: str, thing: str, method: str, words: Mapping[str, Any]) -> tuple[str, Any]:
        question = _question(session, thing, method, words)
        response = Client(self.host, self.deadline).request("POST", "/ubus", json=question)
        source = f"{response.source}, {thing} {method}"
        match response.json():
            case {"error": {"code": int(code), "message": str(why)}}:
                pass
            case {"result": [0, dict(said)]}:
                return source, said
            case {"result": [0]}:
                return source, {}
            case {"result": [int(code), *_]} if code:
                why = _CODES.get(code, "refused")
            case _:
                raise TransientError(f"{source}: the answer is not one of ubus")
        if (thing, code) == ("session", _PERMISSION_DENIED):
            raise LoginRefused(f"login refused by {response.source}")
        kind = TransientError if code in _MAY_PASS else PermanentError
        raise kind(f"{source}: {' '.join(why.split())[:100]} ({code})")
