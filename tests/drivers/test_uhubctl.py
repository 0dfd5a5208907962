# SPDX-License-Identifier: MIT
"""uhubctl, as a program that stands in for it, and the real one with no hub: the states that it prints count."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import uhubctl as module
from pdudaemon.drivers.uhubctl import UHubCtl
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import read
from tests.devices.base.device import Mood
from tests.devices.base.program import first_in_path
from tests.devices.base.scripted import conversation
from tests.devices.uhubctl import Hub
from tests.support.action import begun

SAMPLE = conversation("uhubctl_2")
HEAD = "status for hub 1-2.4.4 [05e3:0610 GenesysLogic USB2.1 Hub]\n"


def driver(hub: Hub | None = None, seconds: float = 60, location: str = "1-2.4.4") -> UHubCtl:
    return begun(UHubCtl("hub", {"driver": "uhubctl", "location": location}), seconds)


def prints(hub: Hub, text: str, status: int = 0) -> None:
    """Let the program print something else."""
    (hub.folder / "text").write_text(text)
    hub.program.write_text(f'#!/bin/sh\necho "$*" >>"{hub.folder}/received"\ncat "{hub.folder}/text"\nexit {status}\n')


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    with first_in_path(tmp_path):
        yield Hub(tmp_path)


def test_the_conversation_against_the_driver(hub: Hub) -> None:
    states = [State.OFF, None, State.ON, None]
    for (_, said), act, state in zip(SAMPLE, ("status", "on", "status", "off"), states, strict=True):
        prints(hub, said)
        assert driver().handle(act, 2) is state
    assert hub.calls == [asked for asked, _ in SAMPLE]


def test_the_conversation_against_the_fake(hub: Hub) -> None:
    """The sample has the hub of USB 2 alone."""
    for asked, said in SAMPLE:
        done = subprocess.run([hub.program, *asked.split()], capture_output=True, text=True, check=True)
        blocks = re.sub(r"(?m)^\w+ status for hub 2-2.4.4 .*\n.*\n", "", done.stdout)
        assert (blocks, done.stderr) == (said, "")


@pytest.mark.parametrize(
    "attached", ["", " enable connect [0781:5583 SanDisk off power ]", " connect [Port 2: 0000 off]"]
)
def test_each_port(attached: str, hub: Hub) -> None:
    (hub.folder / "attached").write_text(attached)
    for port in (1, 4):
        driver().port_on(port)
        assert [n for n, state in hub.outlets.items() if state == "on"] == [str(port)]
        assert driver().port_status(port) is State.ON
        driver().port_off(port)
        assert driver().port_status(port) is State.OFF


def test_a_hub_that_does_not_obey(hub: Hub) -> None:
    (hub.folder / "obeying").write_text("")
    with pytest.raises(TransientError, match=r"^port 2 of hub 1-2.4.4 is still off after on$"):
        driver().port_on(2)
    hub.outlets["2"] = "on"
    (hub.folder / "obeying").write_text("usb2")  # USB 3 stays on, and so does the device
    with pytest.raises(TransientError, match=r"^port 2 of hub 1-2.4.4 is still on after off$"):
        driver().port_off(2)
    assert driver().port_status(2) is State.ON


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (f"Current {HEAD}  Port 2: 0100 power\n", State.ON),
        (f"Current {HEAD}  Port 2: 0000 off\n", State.OFF),
        (f"Current {HEAD}  Port 2: 0203 power 5gbps U0 enable connect [power]\n", State.ON),
        (f"Current {HEAD}  Port 2: 0001 connect [off power]\n", State.UNKNOWN),
        (f"Current {HEAD}  Port 12: 0100 power\n  Port 2: 0000 off\n", State.OFF),
        (f"Current {HEAD}  Port 2: 0000 off\nCurrent {HEAD}  Port 2: 0a20 power\n", State.ON),
        (f"Current {HEAD}  Port 2: 0000 off\nCurrent {HEAD}  Port 2: 0080\n", State.UNKNOWN),
        (f"Current {HEAD}  Port 2: 0000 off\nCurrent {HEAD}", State.OFF),
        (f"Current {HEAD}  Port 2: 0100 power\nSent power off request\nNew {HEAD}  Port 2: 0000 off\n", State.OFF),
    ],
)
def test_states(said: str, state: State, hub: Hub) -> None:
    prints(hub, said)
    assert driver().port_status(2) is state


@pytest.mark.parametrize(
    ("said", "status", "error", "words"),
    [
        (f"Current {HEAD}", 0, PermanentError, "hub 1-2.4.4 has no port 2"),
        (f"Current {HEAD}  Port 1: 0100 power\n", 0, PermanentError, "hub 1-2.4.4 has no port 2"),
        (
            f"Current {HEAD}cannot read port 2 status, Pipe error (-9)\n",
            0,
            TransientError,
            "uhubctl could not read hub 1-2.4.4: cannot read port 2 status, Pipe error (-9)",
        ),
        ("noise\n", 0, TransientError, "uhubctl printed no status of hub 1-2.4.4"),
        ("", 0, TransientError, "uhubctl printed no status of hub 1-2.4.4"),
        ("", 1, TransientError, "uhubctl exited with 1: it printed nothing"),
        (
            "No compatible devices detected at location 1-2.4.4!\nRun with -h to get usage info.\n",
            1,
            TransientError,
            "uhubctl exited with 1: No compatible devices detected at location 1-2.4.4!",
        ),
        (
            "No compatible devices detected!\nThere were permission problems while accessing USB.\n",
            1,
            PermanentError,
            "uhubctl exited with 1: There were permission problems while accessing USB.",
        ),
        (
            "uhubctl: unrecognized option '--ports'\n",
            1,
            PermanentError,
            "uhubctl exited with 1: uhubctl: unrecognized option '--ports'",
        ),
    ],
)
def test_failures(said: str, status: int, error: type[Exception], words: str, hub: Hub) -> None:
    prints(hub, said, status)
    for act in (driver().port_on, driver().port_status):
        with pytest.raises(error) as caught:
            act(2)
        assert str(caught.value) == words


def test_where_the_program_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path)
    hub.outlets["3"] = "on"
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(module, "_FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    assert driver().port_status(3) is State.ON
    monkeypatch.setattr(module, "_FOLDERS", (str(tmp_path / "none"),))
    with pytest.raises(PermanentError, match=r"^the program uhubctl, which this driver needs, is not installed$"):
        driver().port_status(3)


def test_a_deaf_one(hub: Hub) -> None:
    hub.mood = Mood.DEAF
    with pytest.raises(DeviceTimeout, match=r"no answer within 0.3 s"):
        driver(seconds=0.3).port_on(1)


def test_the_real_one_with_no_hub(tmp_path: Path) -> None:
    path = os.pathsep.join([os.environ["PATH"], *module._FOLDERS])
    program = shutil.which("uhubctl", path=path)
    if program is None:
        pytest.skip("uhubctl is not installed")
    hub = Hub(tmp_path)
    for words in ("--location 9-7.7 --ports 2", "--location 9-7.7 --ports 2 --action on"):
        real, fake = (
            subprocess.run([name, *words.split()], capture_output=True, text=True, check=False)
            for name in (program, hub.program)
        )
        assert (real.returncode, real.stdout, real.stderr) == (fake.returncode, fake.stdout, fake.stderr)
    with pytest.raises(TransientError, match=r"exited with 1: No compatible devices detected at location 9-7.7!$"):
        driver(location="9-7.7").port_on(2)


def test_settings() -> None:
    for location in ("1-2.4.4", "1-2", "3", "20-1.10"):
        assert read(UHubCtl, {"driver": "uhubctl", "location": location}) == ({"location": location}, {})
    for location in ("", "-1", "1-2 -a off", "1-", "1-2..3", "--help", "1-2.4\n", "$(id)", 7.5):
        faults = read(UHubCtl, {"driver": "uhubctl", "location": location})[1]
        assert faults == {"location": f"{location!r} is not the location of a hub, such as 1-2.4.4"}
    for nothing in ({}, {"location": None}):
        assert read(UHubCtl, {"driver": "uhubctl", **nothing})[1]["location"].startswith("is missing: where the hub is")


def test_the_last_port_of_the_largest_hub() -> None:
    assert UHubCtl.canonical_port("14", {"driver": "uhubctl"}) == "14"
