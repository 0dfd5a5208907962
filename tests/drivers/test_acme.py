# SPDX-License-Identifier: MIT
"""BayLibre ACME, against a program that stands in for ssh and against a real sshd with the fake device behind it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.acme import Acme
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from tests.devices import acme
from tests.devices.base.device import Case, Mood
from tests.devices.base.scripted import conversation
from tests.peers.ssh import sshd
from tests.support.action import begun

SAMPLE = conversation("acme_probe_2")


def driver(case: Case, **different: Any) -> Acme:
    return begun(Acme(case.hostname, {**case.settings, **different}), 60)


def test_the_conversation_against_the_driver() -> None:
    with acme.case("acme", Mood.WELL) as case:
        made = driver(case, username="maker", sshport="2022", sshkey="/etc/key", hostkeys="YES", old_algorithms=True)
        made.port_on(2)
        assert made.port_status(2) is State.ON
        made.port_off(2)
        assert made.port_status(2) is State.OFF
        calls = case.device.received.decode().splitlines()
    assert [call.partition(" -- acme.lab ")[2] for call in calls] == [asked for asked, _ in SAMPLE]
    assert all("-p 2022 -l maker -o" in call and "StrictHostKeyChecking=yes" in call for call in calls)
    assert all("IdentityFile=/etc/key" in call and "HostKeyAlgorithms=+ssh-rsa" in call for call in calls)


def test_the_conversation_against_the_fake(tmp_path: Path) -> None:
    device = acme.Acme(tmp_path, password="")
    for asked, said in SAMPLE:
        done = subprocess.run([tmp_path / "ssh", "--", "acme.lab", asked], capture_output=True, text=True, check=True)
        assert done.stdout == said
    assert device.outlets["2"] == "off"


def test_each_probe_has_a_gpio_of_its_own() -> None:
    with acme.case("acme", Mood.WELL) as case:
        for port in map(int, case.ports):
            driver(case).port_on(port)
            assert [number for number, state in case.device.outlets.items() if state == "on"] == [str(port)]
            driver(case).port_off(port)


@pytest.mark.parametrize("text", ["", "2\n", "on\n", "1\n0\n2\n", None])
def test_a_state_that_cannot_be_read_is_unknown(text: str | None) -> None:
    with acme.case("acme", Mood.WELL) as case:
        gpio = case.device.folder / "gpio491"
        if text is None:
            gpio.unlink()
        else:
            gpio.write_text(text)
        assert driver(case).port_status(2) is State.UNKNOWN


def test_the_words_of_a_refusal() -> None:
    with acme.case("acme", Mood.REFUSING) as case:
        with pytest.raises(
            PermanentError, match=r"^dut-switch-on 2 on acme.lab exited with 1: probe 2: no cape found$"
        ):
            driver(case).port_on(2)
        (case.device.folder / "device").write_text("#!/bin/sh\nexit 5\n")
        with pytest.raises(PermanentError, match=r"^dut-switch-off 2 on acme.lab exited with 5$"):
            driver(case).port_off(2)


@pytest.mark.parametrize("port", ["0", "9", "10", "-1", "2;reboot", "$(reboot)", ""])
def test_bad_ports(port: str) -> None:
    with pytest.raises(ValueError, match=r"is not a port"):
        Acme.canonical_port(port, {"driver": "acme"})


def test_behind_a_real_sshd(tmp_path: Path) -> None:
    device = acme.Acme(tmp_path)
    with sshd(tmp_path, f'ForceCommand {tmp_path}/device "$SSH_ORIGINAL_COMMAND"') as server:
        settings = {"driver": "acme", "username": server.user, "sshport": server.port, "sshkey": str(server.key)}
        case = Case(device, "127.0.0.1", {**settings, "known_hosts": f"{tmp_path}/known"}, [], [])
        driver(case).port_on(8)
        assert (device.outlets["8"], device.outlets["7"]) == ("on", "off")
        assert driver(case).port_status(8) is State.ON
        device.outlets["8"] = "off"
        assert driver(case).port_status(8) is State.OFF
        device.mood = Mood.REFUSING
        with pytest.raises(PermanentError, match=r"exited with 1: probe 8: no cape found"):
            driver(case).port_on(8)
