# SPDX-License-Identifier: MIT
"""TP-Link Kasa and Tapo plugs and strips of today, whose firmware speaks KLAP, by the program ``kasa`` of python-kasa.

A port is the name that an outlet has in the app, or else its number, from 1; a single plug is 1. The program gets the
address and the account in its environment, and no argument but what to do.

Source: python-kasa's program as it answers (0.12), and its documentation.
Tested: with python-kasa 0.12, in front of fakes that speak KLAP (a plug, a strip, an older plug whose firmware was
renewed) and of tplink-smarthome-simulator, which speaks the older protocol; against a program that stands in for it. On
no hardware.
Quirks: ``username`` and ``password`` are those of the TP-Link account, also where a device never meets the cloud; older
devices have none. Without ``type`` the device is looked for first, which takes a second; ``smart`` means KLAP. An older
plug whose firmware was renewed, where it is not to be looked for, wants ``"device_family": "IOT.SMARTPLUGSWITCH",
"encrypt_type": "KLAP", "login_version": 1``. The program is an extra of its own (``pip install 'pdudaemon[kasa]'``),
under the GPL, and takes half a second each time.
What the outlets of a strip draw is asked one by one, and only with ``meters``.

    "tapo": {"driver": "kasa", "ip": "192.0.2.71", "username": "me@example.org", "password": "secret"},
    "strip": {"driver": "kasa", "ip": "192.0.2.72", "type": "strip", "meters": true}
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.kasabase import KasaDevice, Outlet, identity_of, outlets_of, reading
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, choice, integer, text
from pdudaemon.transports import command
from pdudaemon.transports.command import Output
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

_WORD = re.compile(r"[A-Za-z.]*")
_LOGIN = re.compile(r"authenticat|credential|challenge", re.IGNORECASE)
_NEXT_LOOK = 0.5
_ASK_PORT, _UDP_SECONDS = 20002, 1.0
_WHO_IS_THERE = bytes.fromhex("0200 0001 0000 0000 00000000 463cb5d3")  # a head alone: what it asks, and its CRC-32
_SWITCHED = ("PLUG", "SWITCH")  # the others are lamps, cameras, hubs
_MISSING = "the program kasa, which this PDU needs, is not installed (pip install 'pdudaemon[kasa]')"


class Kasa(KasaDevice):
    """Each question and each order is a run of the program."""

    models = {"kasa": None}

    port = Setting(integer(0, 65535), 0, "port of the device, if it is not the usual one (0: the usual one)")
    username = Setting(text, "", "TP-Link account, an e-mail address")
    password = Setting(text, "", "password of the account", secret=True)
    type = Setting(choice("plug", "switch", "strip", "smart"), "", "kind of device, if it is not to be looked for")
    device_family = Setting(text, "", "family of the device, if it is not to be looked for, such as `SMART.TAPOPLUG`")
    encrypt_type = Setting(text, "", "how it encrypts: `KLAP` or `AES`")
    login_version = Setting(integer(0, 9), 0, "version of the login, if it is not the usual one (0: the usual one)")
    meters = Setting(boolean, False, "ask a strip for what each of its outlets draws as well")

    @hook
    def faults(self) -> dict[str, str]:
        words = {"device_family": self.device_family, "encrypt_type": self.encrypt_type}
        wrong = [key for key, word in words.items() if not _WORD.fullmatch(word)]
        found = {key: f"{words[key][:40]!r} is not a word of the program kasa" for key in wrong}
        if self.type not in ("", "smart"):  # with which the program takes no notice of them
            found |= {key: f"is not for the type {self.type!r}" for key, word in words.items() if word}
        if bool(self.username) != bool(self.password):
            found["password" if self.username else "username"] = "is missing: an account has both"
        return found

    @hook
    def lacks(self) -> str:
        return _MISSING if _found() is None else ""

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by what it tells, by UDP, to the question of who is there."""
        if pages.port or (said := told_by_udp(pages.host, deadline)) is None:
            return None
        identity = Identity("TP-Link", *(label(said.get(key)) or "" for key in ("device_model", "device_id")))
        return Recognised({"driver": "kasa"}, identity, wants="user name and password of the TP-Link account")

    def port_interaction(self, command: str, port_number: int | str) -> None:
        outlet = self.outlet(port_number)
        self.check_lock(outlet)
        self._done(self._run(command, *_only(outlet)), f"switching {outlet.alias!r}")
        while next(each.state for each in self.outlets() if each.number == outlet.number) != command:
            self.deadline.pause(_NEXT_LOOK)

    def outlets(self) -> list[Outlet]:
        return self._outlets(self._state())

    def read_outlets(self) -> list[OutletReading]:
        said = self._state()
        outlets = self._outlets(said)
        if len(outlets) == 1:
            return [reading(outlets[0], _drawn(said))]
        return [reading(outlet, self._energy(outlet) if self.meters else {}) for outlet in outlets]

    def identify(self) -> Identity:
        said = self._state()
        if "get_device_info" in said:
            return identity_of(said["get_device_info"], "device_id", "fw_ver")
        return identity_of(said["system"]["get_sysinfo"])

    def _outlets(self, said: Mapping[str, Any]) -> list[Outlet]:
        try:
            if "get_device_info" not in said:
                return outlets_of(said["system"]["get_sysinfo"])
            children = said.get("get_child_device_list", {}).get("child_device_list")
            parts = children or [{**said["get_device_info"], "device_id": ""}]
            return [
                Outlet(number, _nickname(part["nickname"]), str(part["device_id"]), _on(part["device_on"]))
                for number, part in enumerate(parts, 1)
            ]
        except (KeyError, TypeError, AttributeError):
            raise TransientError(f"kasa does not tell the outlets of {self.peer}") from None

    def _state(self) -> dict[str, Any]:
        """Return all that the program has from the device."""
        ended = self._run("state", machine=True)
        try:
            said = json.loads(ended.text) if ended.status == 0 else None
        except ValueError:
            said = None
        if not isinstance(said, dict):  # why, it does not say while it speaks JSON
            self._done(self._run("state"), "asking for the state")
            raise TransientError(f"kasa does not tell the state of {self.peer}")
        return said

    def _energy(self, outlet: Outlet) -> Mapping[str, Any]:
        """Return what an outlet draws; nothing if it has no meter."""
        ended = self._run("energy", *_only(outlet), machine=True)
        try:
            said = json.loads(ended.text) if ended.status == 0 else {}
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def _run(self, *words: str, machine: bool = False) -> Output:
        given = {
            "KASA_HOST": self.host,
            "KASA_PORT": str(self.port or ""),
            "KASA_USERNAME": self.username,
            "KASA_PASSWORD": self.password,
            "KASA_TYPE": self.type,
            "KASA_DEVICE_FAMILY": self.device_family,
            "KASA_ENCRYPT_TYPE": self.encrypt_type,
            "KASA_LOGIN_VERSION": str(self.login_version or ""),
            "KASA_JSON": "true" if machine else "",
        }
        told = {name: value for name, value in given.items() if value}
        return command.run([_program(), *words], self.deadline, hold=self.lock_fd, environment=told, apart=machine)

    def _done(self, ended: Output, step: str) -> None:
        """Raise why the program failed, if it did."""
        if ended.status == 0:
            return
        why = next((line for line in ended.text.splitlines() if "rror: " in line), ended.last_line)
        why = why.partition("rror: ")[2].strip() or why or f"it exited with {ended.status}"
        kind: type[DeviceError] = TransientError
        if _LOGIN.search(why):
            kind = LoginRefused
        elif ended.status == 2:
            kind = PermanentError
        raise kind(f"kasa at {step} of {self.peer}: {why[:200]}")


def _found() -> str | None:
    """Return where the program is: in the path, or where the Python packages of this daemon have theirs."""
    return shutil.which("kasa") or shutil.which("kasa", path=str(Path(sys.executable).parent))


def _program() -> str:
    if (found := _found()) is None:
        raise PermanentError(_MISSING)
    return found


def _only(outlet: Outlet) -> tuple[str, ...]:
    """Return the arguments that make an order one for an outlet of several."""
    return ("--child-index", str(outlet.number - 1)) if outlet.id else ()


def _nickname(said: str) -> str:
    try:
        return base64.b64decode(said, validate=True).decode()
    except (binascii.Error, ValueError):
        return said


def _on(said: object) -> State:
    return State.UNKNOWN if not isinstance(said, bool) else State.ON if said else State.OFF


def _drawn(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a plug draws, in the words of an older one; nothing if it has no meter."""
    try:
        if "get_device_info" not in said:
            return dict(said["emeter"]["get_realtime"])
        meter = dict(said.get("get_emeter_data") or {})
        power = meter.get("power_mw", said["get_energy_usage"]["current_power"])
        return {**meter, "power_mw": power}
    except (KeyError, TypeError, ValueError):
        return {}


def told_by_udp(host: str, deadline: Deadline, port: int = _ASK_PORT) -> dict[str, Any] | None:
    """Return what a plug, a strip or a switch tells of itself by UDP; None if there is none."""
    with socket.socket(type=socket.SOCK_DGRAM) as line:
        line.settimeout(deadline.within(_UDP_SECONDS).remaining())
        try:
            line.connect((host, port))
            line.send(_WHO_IS_THERE)
            said = json.loads(line.recv(4096)[len(_WHO_IS_THERE) :])
        except (OSError, ValueError, RecursionError):
            return None
    found = said.get("result") if isinstance(said, dict) else None
    if not isinstance(found, dict) or not str(found.get("device_type")).endswith(_SWITCHED):
        return None
    return found
