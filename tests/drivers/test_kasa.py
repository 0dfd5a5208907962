# SPDX-License-Identifier: MIT
"""Kasa and Tapo by the program ``kasa``: what it is told, what it says, and what devices of both generations have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.kasa import Kasa
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.program import first_in_path
from tests.devices.kasa import PASSWORD, USER, Program
from tests.support.action import begun
from tests.support.process import Daemon

ACCOUNT = {"username": USER, "password": PASSWORD}
OLD = {"voltage": 230.1, "current": 0.05, "power": 12.5, "total": 1.5, "err_code": 0}


def driver(seconds: float = 60, **settings: Any) -> Kasa:
    return begun(Kasa("192.0.2.71", {"driver": "kasa", **ACCOUNT, **settings}), seconds)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Return a function that puts a program where it is found first."""
    (tmp_path / "bin").mkdir()
    with ExitStack() as ends, first_in_path(tmp_path / "bin"):
        yield lambda *children, **options: ends.enter_context(Program(tmp_path / "bin", *children, **options))


def test_what_the_program_is_told(made: Callable[..., Program]) -> None:
    program = made("One", "Two")
    driver(type="smart", encrypt_type="KLAP", device_family="SMART.TAPOPLUG", port=4433).port_on("Two")
    assert program.calls == ["state", "on --child-index 1", "state"]  # no address, no name, no password
    assert program.environment == {
        "KASA_HOST": "192.0.2.71",
        "KASA_PORT": "4433",
        "KASA_USERNAME": USER,
        "KASA_PASSWORD": PASSWORD,
        "KASA_TYPE": "smart",
        "KASA_DEVICE_FAMILY": "SMART.TAPOPLUG",
        "KASA_ENCRYPT_TYPE": "KLAP",
        "KASA_JSON": "true",
    }
    assert dict(program.outlets) == {"1": "off", "2": "on"}


def test_through_the_daemon(made: Callable[..., Program], daemon: Callable[..., Daemon]) -> None:
    program = made("One", "Two")
    running = daemon({"strip": {"driver": "kasa", "ip": "192.0.2.71", **ACCOUNT}})
    assert running.power("on", "strip", "Two", wait=30).status == 200
    assert program.outlets["2"] == "on"
    assert running.power("status", "strip", "2").text.strip() == "on"
    assert PASSWORD not in running.log_text()


def test_a_plug_of_today(made: Callable[..., Program]) -> None:
    program = made(energy={"voltage_mv": 230000, "current_ma": 50, "power_mw": 12500})
    plug = driver()
    plug.port_on("Küche")
    assert program.calls[1] == "on"
    assert plug.read_outlets() == [
        OutletReading("1", "Küche", State.ON, watts=12.5, volts=230.0, amps=0.05),
    ]
    with pytest.raises(PermanentError, match=r"^192\.0\.2\.71 has no outlet 2: it has 1 'Küche'$"):
        plug.port_on(2)


def test_a_plug_that_is_older(made: Callable[..., Program]) -> None:
    made(smart=False, energy=OLD, password="")
    plug = begun(Kasa("192.0.2.71", {"driver": "kasa"}), 60)
    assert plug.read_outlets() == [OutletReading("1", "Küche", State.OFF, 12.5, 230.1, 0.05, 1500.0)]
    assert plug.identify().model == "KP303(UK)"


def test_a_strip_that_is_older(made: Callable[..., Program]) -> None:
    program = made("One", "Two", "Two", smart=False, password="")
    strip = begun(Kasa("192.0.2.71", {"driver": "kasa", "locked": ["One"]}), 60)
    strip.port_on(3)
    assert dict(program.outlets) == {"1": "off", "2": "off", "3": "on"}
    with pytest.raises(PermanentError, match="has more than one outlet 'Two'; use their numbers"):
        strip.port_on("Two")
    with pytest.raises(PermanentError, match="outlet 1 'One' is locked by the configuration"):
        strip.port_on(1)
    assert not any(each.watts for each in strip.read_outlets())


@pytest.mark.parametrize(
    ("mood", "kind", "why"),
    [
        (Mood.WRONG_PASSWORD, LoginRefused, "Server response doesn't match our challenge on ip 192.0.2.71"),
        (Mood.GONE, TransientError, "Unable to connect to the device: 192.0.2.71: [Errno 111] Connect call failed"),
    ],
)
def test_why_it_failed(made: Callable[..., Program], mood: Mood, kind: type[Exception], why: str) -> None:
    program = made(mood=mood)
    with pytest.raises(kind) as caught:
        driver().port_on(1)
    assert str(caught.value) == f"kasa at asking for the state of 192.0.2.71: {why}"
    assert program.calls == ["state", "state"]  # since it is silent about that while it speaks JSON


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(PermanentError, match=r"^the program kasa, which this PDU needs, is not installed"):
        driver().port_on(1)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"username": "me"}, "password"),
        ({"type": "plug", "device_family": "IOT.SMARTPLUGSWITCH"}, "device_family"),
        ({"type": "strip", "encrypt_type": "KLAP"}, "encrypt_type"),
        ({"password": "me"}, "username"),
        ({"type": "toaster"}, "type"),
        ({"encrypt_type": "KLAP --host x"}, "encrypt_type"),
        ({"device_family": "a\n"}, "device_family"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, str], key: str) -> None:
    assert hooks.faults(Kasa, {"driver": "kasa", **settings}).keys() == {key}
