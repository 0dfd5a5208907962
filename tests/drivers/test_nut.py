# SPDX-License-Identifier: MIT
"""Network UPS Tools: against the real upsd, tracked orders, TLS, and what a server may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.nut import NUT
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import nut as fake
from tests.devices.nut import Upsd
from tests.peers.nut import EPDU, FAILED, PASSWORD, UNKNOWN, USER, upsd
from tests.support.action import begun, hurried
from tests.support.process import Daemon, eventually

LOGIN = {"username": USER, "password": PASSWORD}


def driver(port: int, name: str = "epdu", seconds: float = 120, **settings: Any) -> NUT:
    return begun(NUT(name, {"driver": "nut", "ip": "127.0.0.1", "port": port, **settings}), seconds)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, EPDU]]:
    with upsd(tmp_path_factory.mktemp("nut") / "upsd") as running:
        eventually(lambda: all(tells(running[0], name) for name in ("epdu", "dummy")))
        yield running


def tells(port: int, name: str) -> bool:
    """Whether the server has found the driver of a device."""
    try:
        return bool(driver(port, name).read_outlets())
    except (TransientError, PermanentError):
        return False


def test_real_outlets(server: tuple[int, EPDU], daemon: Any) -> None:
    port, epdu = server
    settings = {"driver": "nut", "ip": "127.0.0.1", "port": port, **LOGIN}
    running: Daemon = daemon({"epdu": settings})
    for action in ("on", "off", "on"):
        assert running.power(action, "epdu", "2", wait=20).status == 200
        assert epdu.outlets == {"1": "off", "2": action, "3": "off"}
        assert running.power("status", "epdu", "2").text.strip() == action
    assert epdu.commands[-1].startswith("INSTCMD outlet.2.load.on TRACKING ")
    assert PASSWORD not in running.log_text()


def test_real_readings(server: tuple[int, EPDU]) -> None:
    port, epdu = server
    epdu.outlets["2"] = "off"
    driver(port, **LOGIN).port_off(2)  # after which the server knows
    told = {each.port: each for each in driver(port).read_outlets()}
    assert told["1"] == OutletReading("1", 'The "router"', State.OFF, watts=12.5, amps=0.11)
    assert [each.volts for each in driver(port).read_inlets()] == [230.1]
    assert driver(port).identify().model == "ePDU"
    assert driver(port, "any", ups="dummy").read_outlets() == [
        OutletReading("1", "Lamp", State.ON),
        OutletReading("2", None, State.OFF),
    ]


def test_a_real_server_refuses(server: tuple[int, EPDU]) -> None:
    port, epdu = server
    for login, why in (
        ({}, "USERNAME-REQUIRED"),
        ({"username": USER, "password": "wrong"}, "ACCESS-DENIED"),
        ({"username": "reader", "password": "r"}, "ACCESS-DENIED"),
    ):
        with pytest.raises(PermanentError, match=rf"refuses the order: {why}$"):
            driver(port, **login).port_on(3)
    with pytest.raises(PermanentError, match=r"refuses the order: CMD-NOT-SUPPORTED$"):
        driver(port, **LOGIN).port_on(9)
    with pytest.raises(PermanentError, match=r"refuses reading a state: UNKNOWN-UPS$"):
        driver(port, "nobody").port_status(1)
    with pytest.raises(PermanentError, match=r"refuses STARTTLS: FEATURE-NOT-CONFIGURED$"):
        driver(port, starttls=True).port_status(1)
    assert epdu.outlets["3"] == "off"


@pytest.mark.parametrize(("status", "kind"), [(FAILED, TransientError), (UNKNOWN, PermanentError)])
def test_an_order_that_its_driver_does_not_carry_out(
    server: tuple[int, EPDU], status: int, kind: type[Exception]
) -> None:
    port, epdu = server
    epdu.status = status
    try:
        with pytest.raises(kind, match=r"refuses waiting for the order: (FAILED|UNKNOWN)$"):
            driver(port, **LOGIN).port_on(3)
    finally:
        epdu.status = 0


def test_tls(tmp_path: Path) -> None:
    with upsd(tmp_path / "upsd", secure=True) as (port, epdu):
        trusted = {"starttls": True, "ca_file": str(tmp_path / "upsd" / "cert.pem")}
        eventually(lambda: driver(port, **trusted).read_outlets())
        driver(port, **trusted, **LOGIN).port_on(1)
        assert epdu.outlets["1"] == "on"
        with pytest.raises(PermanentError, match=r"^the certificate of \S+ is not trusted"):
            driver(port, starttls=True).port_status(1)
        assert driver(port, starttls=True, insecure=True).port_status(1) is State.ON


def test_real_groups_of_outlets(server: tuple[int, EPDU]) -> None:
    port, epdu = server
    made = driver(port, **LOGIN)
    for group, state in (("group.1", "on"), ("group.2", "on"), ("group.1", "off")):
        made.port_interaction(state, group)
        assert {epdu.outlets[each] for each in EPDU.groups[group.removeprefix("group.")]} == {state}
        assert made.port_status(group) is State(state)
    assert epdu.commands[-1].startswith("INSTCMD outlet.group.1.load.off TRACKING ")
    told = {each.port: (each.name, each.state) for each in made.read_outlets()}
    assert told["group.1"] == ("Servers", State.OFF) and told["group.2"] == (None, State.ON)
    with pytest.raises(PermanentError, match=r"refuses the order: CMD-NOT-SUPPORTED$"):
        made.port_on("group.9")


def test_a_group_that_has_no_state_has_that_of_its_outlets() -> None:
    with Upsd() as device:
        device.group = ("2", "3")
        made = driver(device.port, username="pdu", password=fake.PASSWORD)
        made.port_on("group.1")
        assert device.outlets == {"1": "off", "2": "on", "3": "on", "2.1": "off"}
        assert made.port_status("group.1") is State.ON
        device.outlets["3"] = "off"
        assert made.port_status("group.1") is State.UNKNOWN
        assert made.read_outlets()[0] == OutletReading("group.1", "Storage", State.UNKNOWN)


def test_a_server_that_does_not_track() -> None:
    with Upsd() as device:
        device.tracks = False
        driver(device.port, username="pdu", password=fake.PASSWORD).port_on("2.1")
        assert device.outlets["2.1"] == "on"
        device.outcome = "nothing"
        with pytest.raises(TransientError, match=r"^port 1 is still off after on$"):
            hurried(driver(device.port, username="pdu", password=fake.PASSWORD), 0.5).port_on(1)


def test_an_order_that_stays_pending() -> None:
    with Upsd() as device:
        device.outcome = "PENDING"
        with pytest.raises(DeviceTimeout):
            hurried(driver(device.port, username="pdu", password=fake.PASSWORD), 0.5).port_on(1)


def test_more_than_the_agreement_to_speak_tls() -> None:
    class Injecting(Upsd):
        def answer(self, words: list[str], session: dict[str, str]) -> str:
            return "OK STARTTLS\nVAR epdu outlet.1.status on"

    with Injecting() as device, pytest.raises(TransientError, match=r"sends more than was asked for at the TLS"):
        driver(device.port, starttls=True).port_status(1)


def test_settings_that_cannot_work() -> None:
    assert NUT.faults({"driver": "nut", "ups": "a b"}).keys() == {"ups"}
    assert NUT.faults({"driver": "nut", "username": "a\nb", "password": "\r"}).keys() == {"username", "password"}
    with Upsd() as device, pytest.raises(PermanentError, match="say by `ups` what the server calls it"):
        driver(device.port, "a b").port_status(1)
