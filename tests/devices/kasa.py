# SPDX-License-Identifier: MIT
"""The program ``kasa`` of python-kasa 0.12, as one that stands in for it, with a device of either generation.

A Tapo plug strip says things as its firmware does (KLAP): nicknames in base64, energy in milliwatts. Its words, and what
it ends with, are those of the program; in JSON it is silent about errors.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import StandIn, first_in_path

NAMES = ["kasa"]
MORE = 3  # its meters
MOODS = [mood for mood in Mood if mood is not Mood.REFUSING]  # how it says no is not known
PORTS_ARE_NAMES = True  # whatever people call an outlet is a port
USER, PASSWORD = "me@example.org", "kasa &7"

PROGRAM = """\
#!PYTHON -IS
import base64, json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
with (here / "received").open("a") as file:
    print(*sys.argv[1:], file=file)
env = {name: value for name, value in os.environ.items() if name.startswith("KASA_")}
(here / "environment").write_text(json.dumps(env))
mood, device = (here / "mood").read_text(), json.loads((here / "device").read_text())
machine = env.get("KASA_JSON") == "true"

def fail(text, status=1):
    if not machine:
        print("Discovering device" if "KASA_TYPE" not in env else "== State ==")
        print("Raised error:", text)
        print("Run with --debug enabled to see stacktrace")
    sys.exit(status)

def answer(what):
    if machine:
        print(json.dumps(what, indent=4))
    sys.exit(0)

if mood == "deaf":
    time.sleep(60)
if mood == "garbled":
    print("~{ pow")
    sys.exit(0 if machine else 1)
if mood in ("gone", "busy"):
    fail(f"Unable to connect to the device: {env['KASA_HOST']}: [Errno 111] Connect call failed")
if device["password"] and (env.get("KASA_USERNAME"), env.get("KASA_PASSWORD")) != ("me@example.org", device["password"]):
    fail(f"Server response doesn't match our challenge on ip {env['KASA_HOST']}")
action, *options = sys.argv[1:]
children, outlets = device["children"], device["outlets"]
number = int(options[1]) if options else None
if options and (options[0] != "--child-index" or not 0 <= number < len(children)):
    fail("Invalid child index")
port = str(1 if number is None else number + 1)
if action in ("on", "off"):
    if not (number is None and children):
        outlets[port] = action
        (here / "device").write_text(json.dumps(device))
    print(f"Turning {action} it") if not machine else None
    answer({})
if action == "energy":
    if device["energy"] is None:
        fail("Device has no energy module.")
    answer(device["energy"])
if action != "state":
    print("Error: No such command", file=sys.stderr)
    sys.exit(2)

def smart(name, port):
    return {"device_id": "80" + port, "nickname": base64.b64encode(name.encode()).decode(),
            "device_on": outlets[port] == "on", "model": "P304", "fw_ver": "1.0.7 Build 240327", "type": "SMART.TAPOPLUG"}

if device["smart"]:
    said = {"get_device_info": smart(device["name"], "1")}
    if children:
        said["get_child_device_list"] = {"child_device_list": [smart(name, str(n)) for n, name in enumerate(children, 1)]}
    elif device["energy"] is not None:
        said["get_energy_usage"] = {"current_power": 12500, "today_energy": 7}
        said["get_emeter_data"] = device["energy"]
    answer(said)
info = {"model": "KP303(UK)", "deviceId": "A300", "sw_ver": "1.0.3", "alias": device["name"], "err_code": 0}
if children:
    info["children"] = [{"id": f"A300{n:02}", "alias": name, "state": int(outlets[str(n + 1)] == "on")}
                        for n, name in enumerate(children)]
else:
    info["relay_state"] = int(outlets["1"] == "on")
answer({"system": {"get_sysinfo": info}, "emeter": {"get_realtime": device["energy"] or {"err_code": -1}}})
"""


class Outlets(MutableMapping[str, str]):
    """The outlets, as the program keeps them."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _device(self) -> dict[str, Any]:
        return dict(json.loads(self._file.read_text()))

    def __getitem__(self, port: str) -> str:
        return str(self._device()["outlets"][port])

    def __setitem__(self, port: str, state: str) -> None:
        device = self._device()
        device["outlets"][port] = state
        self._file.write_text(json.dumps(device))

    def __delitem__(self, port: str) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return iter(self._device()["outlets"])

    def __len__(self) -> int:
        return len(self._device()["outlets"])


class Program(StandIn):
    """The program, with a device that has some children, or is a plug; ``smart``: one of today."""

    def __init__(
        self,
        folder: Path,
        *children: str,
        mood: Mood = Mood.WELL,
        smart: bool = True,
        energy: dict[str, float] | None = None,
        password: str = PASSWORD,
    ) -> None:
        super().__init__(folder, "kasa", PROGRAM.replace("PYTHON", sys.executable), mood)
        self.outlets = Outlets(folder / "device")
        device = {
            "smart": smart,
            "name": "Küche",
            "children": children,
            "outlets": {str(number): "off" for number in range(1, max(1, len(children)) + 1)},
            "energy": energy,
            "password": "changed" if mood is Mood.WRONG_PASSWORD else password,
        }
        (folder / "device").write_text(json.dumps(device))

    @property
    def environment(self) -> dict[str, str]:
        """What it found in its environment, the last time."""
        return dict(json.loads((self.folder / "environment").read_text()))


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Put the program into a folder of its own, where it is found first, with a strip of three."""
    names = {"1": "Plug 1", "2": "Lampe", "3": "board farm/3"}
    with tempfile.TemporaryDirectory() as folder, first_in_path(Path(folder)):
        energy = {"voltage_mv": 230123, "current_ma": 51, "power_mw": 11700, "total_wh": 734}
        program = Program(Path(folder), *names.values(), mood=mood, energy=energy)
        settings = {"driver": name, "ip": "192.0.2.71", "username": USER, "password": PASSWORD, "meters": True}
        drawn = {"watts": 11.7, "volts": 230.123, "amps": 0.051, "watt_hours": 734.0}
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
