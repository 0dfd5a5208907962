# SPDX-License-Identifier: MIT
"""The program ``kasa`` of python-kasa 0.12, as one that stands in for it, with a device of either generation.

A Tapo plug strip says things as its firmware does (KLAP): nicknames in base64, energy in milliwatts. Its words, and what
it ends with, are those of the program; in JSON it is silent about errors.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import Ended, Played, first_in_path

NAMES = ["kasa"]
MORE = 3  # its meters
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]  # how it says no is not known
PORTS_ARE_NAMES = True  # whatever people call an outlet is a port
USER, PASSWORD = "me@example.org", "kasa &7"


class Program:
    """The program, in a folder, with a device that has some children, or is a plug; ``smart``: one of today."""

    def __init__(
        self,
        folder: Path,
        *children: str,
        mood: Mood = Mood.WELL,
        smart: bool = True,
        energy: dict[str, float] | None = None,
        password: str = PASSWORD,
    ) -> None:
        self.mood = mood
        self.outlets = {str(number): "off" for number in range(1, max(1, len(children)) + 1)}
        self.calls: list[str] = []
        self.environment: dict[str, str] = {}  # what it found there, the last time
        self._children = children
        self._smart = smart
        self._energy = energy
        self._password = "changed" if mood is Mood.WRONG_PASSWORD else password
        self._played = Played(folder / "kasa", "KASA_", self._act)

    @property
    def received(self) -> bytes:
        return "\n".join(self.calls).encode()

    @property
    def sessions(self) -> int:
        return len(self.calls)

    def __enter__(self) -> Self:
        self._played.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._played.__exit__()

    def _act(self, words: list[str], environment: dict[str, str]) -> Ended | None:
        self.calls.append(" ".join(words))
        self.environment = environment
        host, machine = environment["KASA_HOST"], environment.get("KASA_JSON") == "true"

        def failed(text: str) -> Ended:
            began = "Discovering device" if "KASA_TYPE" not in environment else "== State =="
            told = f"{began}\nRaised error: {text}\nRun with --debug enabled to see stacktrace\n"
            return Ended("" if machine else told, 1)

        if self.mood is Mood.DEAF:
            return None
        if self.mood is Mood.GARBLED:
            return Ended("~{ pow\n", int(not machine))
        if self.mood in (Mood.GONE, Mood.BUSY):
            return failed(f"Unable to connect to the device: {host}: [Errno 111] Connect call failed")
        login = environment.get("KASA_USERNAME"), environment.get("KASA_PASSWORD")
        if self._password and login != (USER, self._password):
            return failed(f"Server response doesn't match our challenge on ip {host}")
        action, *options = words
        number = int(options[1]) if options else None
        if number is not None and (options[0] != "--child-index" or not 0 <= number < len(self._children)):
            return failed("Invalid child index")
        if action in ("on", "off"):
            if number is not None or not self._children:
                self.outlets[str((number or 0) + 1)] = action
            return Ended("{}\n" if machine else f"Turning {action} it\n")
        if action == "energy" and self._energy is None:
            return failed("Device has no energy module.")
        if action not in ("energy", "state"):
            return Ended("Error: No such command\n", 2, 2)
        said = self._energy if action == "energy" else self._state()
        return Ended(json.dumps(said, indent=4) + "\n" if machine else "")

    def _state(self) -> dict[str, Any]:
        if self._smart:
            said: dict[str, Any] = {"get_device_info": self._part("Küche", "1")}
            if self._children:
                parts = [self._part(name, str(number)) for number, name in enumerate(self._children, 1)]
                said["get_child_device_list"] = {"child_device_list": parts}
            elif self._energy is not None:
                said["get_energy_usage"] = {"current_power": 12500, "today_energy": 7}
                said["get_emeter_data"] = self._energy
            return said
        info: dict[str, Any] = {"model": "KP303(UK)", "deviceId": "A300", "sw_ver": "1.0.3", "alias": "Küche"}
        info["err_code"] = 0
        on = [int(state == "on") for state in self.outlets.values()]
        if self._children:
            info["children"] = [
                {"id": f"A300{number:02}", "alias": name, "state": on[number]}
                for number, name in enumerate(self._children)
            ]
        else:
            info["relay_state"] = on[0]
        return {"system": {"get_sysinfo": info}, "emeter": {"get_realtime": self._energy or {"err_code": -1}}}

    def _part(self, name: str, port: str) -> dict[str, Any]:
        return {
            "device_id": "80" + port,
            "nickname": base64.b64encode(name.encode()).decode(),
            "device_on": self.outlets[port] == "on",
            "model": "P304",
            "fw_ver": "1.0.7 Build 240327",
            "type": "SMART.TAPOPLUG",
        }


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Put the program into a folder of its own, where it is found first, with a strip of three."""
    names = {"1": "Plug 1", "2": "Lampe", "3": "board farm/3"}
    with tempfile.TemporaryDirectory() as folder, first_in_path(Path(folder)):
        energy = {"voltage_mv": 230123, "current_ma": 51, "power_mw": 11700, "total_wh": 734}
        settings = {"driver": name, "ip": "192.0.2.71", "username": USER, "password": PASSWORD, "meters": True}
        drawn = {"watts": 11.7, "volts": 230.123, "amps": 0.051, "watt_hours": 734.0}
        with Program(Path(folder), *names.values(), mood=mood, energy=energy) as program:
            yield Case(
                program,
                "strip",
                settings,
                [*names],
                [" ", "Plug\t1", " 1", "x" * 101],
                [PASSWORD],
                names,
                dict.fromkeys(names, drawn),
                identity=("TP-Link", "P304", "801", "1.0.7 Build 240327"),
            )
