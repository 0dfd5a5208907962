# SPDX-License-Identifier: MIT
"""PoE by the command lines of switches: privileges, refusals, spellings, sessions that are left, and a real sshd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.switchconsole import SwitchConsole
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.program import console_of
from tests.devices.switchconsole import ENABLE, MODELS, PASSWORD, USER, Cisco, EdgeSwitch
from tests.peers.ssh import sshd
from tests.support.action import begun
from tests.support.process import eventually

MODEL = pytest.mark.parametrize("model", [*MODELS])


def driver(device: Any, seconds: float = 120, **settings: Any) -> SwitchConsole:
    model = "edgeswitch_poe" if isinstance(device, EdgeSwitch) else "cisco_poe"
    whole = {"driver": model, "ip": "127.0.0.1", "port": device.port, "transport": "telnet", "username": USER}
    return begun(
        SwitchConsole("switch", {**whole, "password": PASSWORD, "enable_password": ENABLE, **settings}), seconds
    )


@MODEL
def test_the_session_is_left(model: str) -> None:
    with MODELS[model]() as device:
        switch = driver(device)
        port = device.names[1]
        switch.port_on(port)
        assert device.outlets[port] == "on"
        eventually(lambda: device.logouts == 1)
        switch.port_status(port)
        switch.read_outlets()
        with pytest.raises(PermanentError, match=r"refuses 'interface (Gi9/9|9/9)': Invalid input detected"):
            switch.port_on("Gi9/9" if model == "cisco_poe" else "9/9")
        eventually(lambda: device.logouts == 4)


def test_a_user_with_privileges() -> None:
    with Cisco(privileged=True) as device:
        driver(device, enable_password="").port_on("Gi1/0/2")
        assert device.outlets["Gi1/0/2"] == "on" and b"enable" not in device.received


@MODEL
def test_a_prompt_too_many_is_no_refusal_of_enable(model: str) -> None:
    class Late(MODELS[model]):  # type: ignore[misc]
        def enable(self) -> list[str]:
            self.terminal.write(f"\r\n{self.modes[0]}")
            return list(super().enable())

    with Late() as device:
        driver(device).port_on(device.names[0])
        assert device.outlets[device.names[0]] == "on"


@MODEL
def test_a_wrong_password_for_enable(model: str) -> None:
    with MODELS[model]() as device:
        with pytest.raises(PermanentError, match=r"refuses enable: is the enable_password right\?$"):
            driver(device, enable_password="wrong").port_on(device.names[0])
        with pytest.raises(LoginRefused):
            driver(device, password="wrong").port_on(device.names[0])


@MODEL
def test_a_switch_that_does_not_obey(model: str) -> None:
    with MODELS[model]() as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r"is still off after 'po(wer inline|e opmode) auto'$"):
            driver(device).port_on(device.names[2])


def test_a_refusal_in_its_own_words() -> None:
    with EdgeSwitch() as device:
        device.refusal = "ERROR: Failed to set the operation mode"
        device.switch = lambda state: [device.refusal]  # type: ignore[method-assign]
        with pytest.raises(PermanentError, match=r"refuses 'poe opmode auto': Failed to set the operation mode$"):
            driver(device).port_on("0/1")


@pytest.mark.parametrize(
    ("port", "canonical"),
    [
        ("GigabitEthernet1/0/5", "Gi1/0/5"),
        ("gi1/0/5", "Gi1/0/5"),
        ("TwoGigabitEthernet1/0/5", "Tw1/0/5"),
        ("Fa0/1", "Fa0/1"),
    ],
)
def test_spellings(port: str, canonical: str) -> None:
    assert SwitchConsole.canonical_port(port, {"driver": "cisco_poe"}) == canonical


def test_ports_that_feed_nothing_are_on() -> None:
    with Cisco() as device:
        device.outlets |= {"Gi1/0/1": "on", "Gi1/0/2": "on"}
        assert [(each.port, each.state, each.watts) for each in driver(device).read_outlets()] == [
            ("Gi1/0/1", State.ON, 15.4),
            ("Gi1/0/2", State.ON, 0.0),
            ("Gi1/0/3", State.OFF, 0.0),
            ("Te1/0/4", State.OFF, 0.0),
        ]


@MODEL
def test_by_a_real_sshd(model: str, tmp_path: Path) -> None:
    with MODELS[model]() as device, sshd(tmp_path, f"ForceCommand {console_of(device, tmp_path)}") as server:
        known = tmp_path / "known"
        host_key = (tmp_path / "host.pub").read_text().split()
        known.write_text(f"[127.0.0.1]:{server.port} {host_key[0]} {host_key[1]}\n")
        settings = {"driver": model, "ip": "127.0.0.1", "port": server.port, "username": server.user}
        settings |= {"enable_password": ENABLE, "known_hosts": str(known), "sshkey": str(server.key)}
        switch = begun(SwitchConsole("switch", settings), 60)
        port = MODELS[model].names[0]
        switch.port_on(port)
        assert switch.port_status(port) is State.ON
        assert len(switch.read_outlets()) == len(MODELS[model].names)
        switch.port_off(port)
        assert switch.port_status(port) is State.OFF
        stranger = {**settings, "known_hosts": str(tmp_path / "empty")}
        with pytest.raises(PermanentError, match=r"^the host key of \S+ is not known$"):
            begun(SwitchConsole("switch", stranger), 60).port_on(port)
