# SPDX-License-Identifier: MIT
"""PDUs by their command lines: sessions that are left, outlets that are not there, PDUs that do not obey, strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import pduconsole as module
from pdudaemon.drivers import strategies
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.commandline import PASSWORD
from tests.devices.base.device import Mood
from tests.devices.base.program import console_of
from tests.devices.pduconsole import MODELS, AskingCyberPower, OldWTI
from tests.peers.ssh import sshd
from tests.support.action import begun
from tests.support.process import eventually

MODEL = pytest.mark.parametrize("model", [*MODELS])


def driver(model: str, device: Any, **settings: Any) -> Any:
    where = {"driver": model, "ip": "127.0.0.1", "port": device.port, "transport": "telnet"}
    return begun(strategies.find(model)("row", {**where, "password": PASSWORD, **settings}))


@MODEL
def test_the_session_is_left(model: str) -> None:
    with MODELS[model]() as device:
        pdu, port = driver(model, device), device.ports[-1]
        pdu.port_on(port)
        assert [each for each, state in device.outlets.items() if state == "on"] == [port]
        assert pdu.port_status(port) is State.ON
        with pytest.raises(PermanentError, match=r"^127\.0\.0\.1 has no outlet (CC9|9): it has "):
            pdu.port_on("CC9" if model.startswith("sentry") else "9")
        eventually(lambda: device.logouts == 3)


@MODEL
def test_a_refusal_in_its_own_words(model: str) -> None:
    with (
        MODELS[model](Mood.REFUSING) as device,
        pytest.raises(PermanentError, match=f" refuses '.*': {device.refusal}$"),
    ):
        driver(model, device).port_on(device.ports[0])


@MODEL
def test_a_pdu_that_does_not_obey(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LATE", 2)
    with MODELS[model]() as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r": outlet \w+ is off after being switched on$"):
            driver(model, device).port_on(device.ports[0])
        with pytest.raises(LoginRefused):
            driver(model, device, password="wrong").port_on(device.ports[0])


def test_states_of_a_sentry_that_are_on_the_way() -> None:
    with MODELS["sentry_cli"]() as device:
        rows = ["Web server  Idle On  On", "Other  Off  Wake On", "Off  On", "On  Wait Off  Off", "Off  Off  On"]
        lines = [f"   .AA{number}  {row}" for number, row in enumerate(rows, 1)]
        device.command = lambda line: lines if line == "status all" else ["Command successful"]
        told = driver("sentry_cli", device).read_outlets()
        assert [(each.name, each.state) for each in told] == [
            ("Web server", State.ON),
            ("Other", State.OFF),
            (None, State.OFF),
            ("On", State.UNKNOWN),
            ("Off", State.OFF),
        ]


@pytest.mark.parametrize("model", ["sentry_cli", "sentry4_cli"])
def test_a_sentry_whose_pager_stays_on(model: str) -> None:
    with MODELS[model]() as device:
        device.pages = True
        assert len(driver(model, device).read_outlets()) == 3


@pytest.mark.parametrize("model", ["sentry_cli", "raritan_cli", "eaton_cli", "cyberpower_cli"])
def test_a_pdu_without_meters(model: str) -> None:
    with MODELS[model]() as device:
        device.metered = False
        told = driver(model, device).read_outlets()
        assert {(each.watts, each.volts, each.amps, each.watt_hours) for each in told} == {(None,) * 4}
        assert len(told) == len(device.ports)
        eventually(lambda: device.logouts == 1)


def test_a_wti_with_numbers_and_a_password_alone() -> None:
    with OldWTI() as device:
        plugs = driver("wti_cli", device)
        plugs.port_on("3")
        assert [port for port, state in device.outlets.items() if state == "on"] == ["3"]
        with pytest.raises(LoginRefused):
            driver("wti_cli", device, password="wrong").port_on("3")


def test_a_console_that_asks_for_a_password_alone() -> None:
    with MODELS["baytech_cli"]() as device:
        with pytest.raises(PermanentError, match=r" is a console that asks for a password alone: it is not what"):
            driver("cyclades_cli", device).port_on("1")
        driver("baytech_cli", device).port_on("1")


def test_a_wti_plug_that_is_about_to_be_switched() -> None:
    with MODELS["wti_cli"]() as device:
        device.busy = ("A2",)
        assert driver("wti_cli", device).port_status("A2") is State.UNKNOWN
        assert driver("wti_cli", device).port_status("B1") is State.OFF


def test_a_cyberpower_that_asks_again_over_ssh(tmp_path: Path) -> None:
    with AskingCyberPower() as device, sshd(tmp_path, f"ForceCommand {console_of(device, tmp_path)}") as server:
        settings = {"transport": "ssh", "username": server.user, "sshkey": str(server.key), "verify_hostkey": False}
        pdu = driver("cyberpower_cli", server, **settings)
        pdu.port_on("1")
        assert pdu.port_status("1") is State.ON
        with pytest.raises(LoginRefused):
            driver("cyberpower_cli", server, **settings, password="wrong").port_off("1")
        assert pdu.port_status("1") is State.ON


@pytest.mark.parametrize("said", ["3", "x", "", "4|4"])
def test_an_eaton_that_does_not_tell_all(said: str) -> None:
    with MODELS["eaton_cli"]() as device:
        ask = device.command
        device.command = lambda line: [said] if line.endswith("Count") else ask(line)
        outlets = driver("eaton_cli", device)
        if said == "4|4":
            assert len(outlets.read_outlets()) == 4
        else:
            with pytest.raises(TransientError, match=r"does not tell the state of its outlets$"):
                outlets.read_outlets()


@MODEL
def test_by_a_real_sshd(model: str, tmp_path: Path) -> None:
    with MODELS[model]() as device, sshd(tmp_path, f"ForceCommand {console_of(device, tmp_path)}") as server:
        settings = {"transport": "ssh", "username": server.user, "sshkey": str(server.key), "verify_hostkey": False}
        pdu, port = driver(model, server, **settings), MODELS[model].ports[0]
        pdu.port_on(port)
        assert pdu.port_status(port) is State.ON
        pdu.port_off(port)
        assert [each.state for each in pdu.read_outlets()] == [State.OFF] * len(MODELS[model].ports)
