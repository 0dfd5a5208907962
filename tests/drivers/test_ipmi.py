# SPDX-License-Identifier: MIT
"""The driver `ipmi`: against ipmi_sim, beside ipmitool, and what a fake alone has: watts, lag, machines that are off."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers import ipmi as module
from pdudaemon.drivers.ipmi import IPMI
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import datagrams
from tests.devices.base.device import Mood
from tests.devices.ipmi import PASSWORD, USER, LanBMC
from tests.peers.ipmi import CIPHER, ipmi_sim, overheard
from tests.support.action import begun, recognised
from tests.support.patience import with_patience


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 20.0)  # nothing is sent twice because an answer is late


def driver(port: int, seconds: float = 120, **settings: Any) -> IPMI:
    place = {"driver": "ipmi", "ip": "127.0.0.1", "port": port, "username": USER, "password": PASSWORD}
    return begun(IPMI("node", {**place, **settings}), seconds)


# ipmi_sim


def test_a_bmc_that_nobody_here_wrote(tmp_path: Path) -> None:
    with ipmi_sim(tmp_path / "bmc", "admin", "pass$(id)'s") as bmc:
        made = driver(bmc.port, username="admin", password="pass$(id)'s")
        assert made.port_status(1) is State.OFF
        for _ in range(2):
            made.port_on(1)
            assert bmc.power == "on" and made.port_status(1) is State.ON
        made.port_reboot(1)
        assert (bmc.power, made.port_status(1)) == ("on", State.ON)
        driver(bmc.port, username="admin", password="pass$(id)'s", restart="reset", cipher=3).port_reboot(1)
        assert bmc.resets >= 1
        for _ in range(2):
            made.port_off(1)
            assert bmc.power == "off" and made.port_status(1) is State.OFF
        made.port_reboot(1)
        assert bmc.power == "on", "a machine that is off is switched on"
        assert made.read_outlets() == [OutletReading("1", None, State.ON)]
        assert made.identify() == Identity("manufacturer 4753", "product 3842", "", "9.08")
        with pytest.raises(PermanentError, match=r"^login refused by \S+: the password does not match$"):
            driver(bmc.port, username="admin", password="wrong").port_off(1)
        with pytest.raises(PermanentError, match=r"^login refused by "):
            driver(bmc.port, username="nobody", password="wrong").port_off(1)
        with pytest.raises(PermanentError, match=r"cipher suite"):
            driver(bmc.port, username="admin", password="pass$(id)'s", cipher="17").port_off(1)
        assert bmc.power == "on"
        (tmp_path / "bmc" / "ill").touch()
        with pytest.raises((TransientError, PermanentError), match=r"refuses the question for the state: .*\(0x"):
            driver(bmc.port, username="admin", password="pass$(id)'s").port_status(1)


def shape(packet: bytes) -> tuple[int, ...]:
    """Return what of a packet is not random: the kind, the length, and of an opening what is proposed."""
    kind = packet[5]
    if packet[4] == 0:
        return (0, *packet[14:])
    if kind == 0x10:
        return (kind, len(packet), *packet[24:])
    if kind == 0x12:
        return (kind, len(packet), *packet[40:])
    return (kind, len(packet))


def test_beside_ipmitool(tmp_path: Path) -> None:
    """Both ask the same BMC the same; each packet of ours has a counterpart of the same shape among theirs."""
    with ipmi_sim(tmp_path / "bmc", "admin", "secret-pass") as bmc:
        with overheard(bmc.port) as (port, ours):
            made = driver(port, username="admin", password="secret-pass", cipher=3)
            made.port_on(1)
            assert made.port_status(1) is State.ON
        with overheard(bmc.port) as (port, theirs):
            for words in ("power on", "power status"):
                command = (
                    f"ipmitool -I lanplus -C {CIPHER} -L OPERATOR -H 127.0.0.1 -p {port} -U admin -E chassis {words}"
                )
                environment = {"IPMI_PASSWORD": "secret-pass", "PATH": "/usr/bin:/bin"}
                said = subprocess.run(command.split(), env=environment, capture_output=True, text=True, check=True)
            assert said.stdout == "Chassis Power is on\n"
        theirs_shapes = {shape(packet) for packet in theirs}
        assert {shape(packet) for packet in ours} <= theirs_shapes
        kinds = [packet[5] for packet in ours]
        assert kinds[:3] == [0x10, 0x12, 0x14] and len(ours) < len(theirs)


# the fake


def test_a_machine_that_is_off_is_not_cycled() -> None:
    with LanBMC() as bmc:
        driver(bmc.port).port_reboot(1)
        assert [data for function, number, data in bmc.asked if (function, number) == (0, 2)] == [b"\x01"]
        for restart, order in (("cycle", b"\x02"), ("reset", b"\x03")):
            bmc.asked.clear()
            driver(bmc.port, restart=restart).port_reboot(1)
            assert [data for function, number, data in bmc.asked if (function, number) == (0, 2)] == [order]
        assert bmc.outlets["1"] == "on"


def test_a_cycle_that_leaves_the_machine_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOK", 0.05)
    monkeypatch.setattr(module, "_OFF_AT_MOST", 0.3)
    with LanBMC() as bmc:
        bmc.outlets["1"], bmc.cycle = "on", "off"
        driver(bmc.port).port_reboot(1)
        assert bmc.outlets["1"] == "on"


def test_a_reboot_may_be_off_and_on() -> None:
    for restart, own in (("cycle", True), ("reset", True), ("off-on", False)):
        assert hooks.traits(IPMI, {"driver": "ipmi", "restart": restart}).restarts is own


def test_an_orderly_shutdown() -> None:
    with LanBMC() as bmc:
        driver(bmc.port).port_shutdown(1)
        assert (0, 2, b"\x05") not in bmc.asked, "what is off is not asked to go down"
        bmc.outlets["1"] = "on"
        driver(bmc.port).handle("shutdown", 1)
        assert (0, 2, b"\x05") in bmc.asked and bmc.outlets["1"] == "off"


def test_looking_takes_no_privilege() -> None:
    with LanBMC() as bmc:
        bmc.privilege = 2
        assert driver(bmc.port, privilege="user").port_status(1) is State.OFF
        assert (0x06, 0x3B) not in {each[:2] for each in bmc.asked}
        with pytest.raises(PermanentError, match=r"refuses the order 'on': the privilege is not sufficient \(0xd4\)$"):
            driver(bmc.port, privilege="user").port_on(1)


def test_a_machine_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOK", 0.05)
    with LanBMC() as bmc:
        bmc.lag = 3
        driver(bmc.port).port_on(1)
        assert bmc.outlets["1"] == "on"
        bmc.lag = 10000

        def attempt(seconds: float) -> None:
            with pytest.raises(TransientError, match=r"^127.0.0.1:\d+: it is not off after the order$"):
                driver(bmc.port, seconds=seconds).port_off(1)

        with_patience(attempt, 0.5)


def test_a_bmc_without_watts_is_asked_for_them_once() -> None:
    with LanBMC() as bmc:
        bmc.dcmi = False
        made = driver(bmc.port)
        for _ in range(2):
            assert made.read_outlets() == [OutletReading("1", None, State.OFF)]
        assert [each[:2] for each in bmc.asked].count((0x2C, 0x02)) == 1


def test_a_bmc_is_asked_for_its_suite_once() -> None:
    with LanBMC(suites=(3,)) as bmc:
        made = driver(bmc.port)
        made.port_status(1)
        before = len(bmc.received)
        made.port_status(1)
        assert bytes(bmc.received[before:]).count(b"\x06\x00\xff\x07\x06\x10") == 1


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"kg": "not hex"}, "kg"),
        ({"kg": "00" * 21}, "kg"),
        ({"cipher": 2}, "cipher"),
        ({"privilege": "root"}, "privilege"),
        ({"restart": "maybe"}, "restart"),
        ({"port": 0}, "port"),
    ],
)
def test_settings(settings: dict[str, Any], fault: str) -> None:
    assert [*hooks.faults(IPMI, {"driver": "ipmi", **settings})] == [fault]
    assert not hooks.faults(IPMI, {"driver": "ipmi", "cipher": 17, "kg": "0x0102", "privilege": "ADMINISTRATOR"})


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text('{"pdus": {"node": {"driver": "ipmi", "password": "hunter22", "kg": "abcdef0"}}}')
    found = reader.load(str(conf))
    assert found.faults and "abcdef0" not in str(found.faults) and "hunter22" not in str(found.faults)
    assert strategies.find("ipmi") is IPMI


def test_recognised_without_a_login(tmp_path: Path) -> None:
    with LanBMC() as bmc:
        found = recognised(IPMI, bmc.port)
        assert found is not None and found.settings == {"driver": "ipmi", "ip": "127.0.0.1", "port": bmc.port}
        assert not bmc.sessions
    with LanBMC(Mood.GONE) as gone:
        assert recognised(IPMI, gone.port) is None
    with ipmi_sim(tmp_path / "bmc", "admin", "secret-pass") as real:
        assert recognised(IPMI, real.port) is not None
