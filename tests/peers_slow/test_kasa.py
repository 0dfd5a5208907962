# SPDX-License-Identifier: MIT
"""TP-Link Kasa and Tapo: devices of tplink-smarthome-simulator, and fakes that speak KLAP to the real program ``kasa``."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.kasa import Kasa
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.tplink import TPLink
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from tests.devices import kasaklap
from tests.devices.base.device import Mood
from tests.devices.tplink import plain, scrambled
from tests.peers.kasa import simulator
from tests.support.action import begun
from tests.support.process import Daemon


def driver(port: int) -> TPLink:
    return begun(TPLink("127.0.0.1", {"driver": "tplink", "port": port}), 10)


def ask(port: int, text: str) -> Any:
    """Ask the device behind the driver's back."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile("rwb") as file:
        data = scrambled(text)
        file.write(len(data).to_bytes(4, "big") + data)
        file.flush()
        return json.loads(plain(file.read(int.from_bytes(file.read(4), "big"))))["system"]


def info(port: int) -> Any:
    return ask(port, '{"system":{"get_sysinfo":{}}}')["get_sysinfo"]


@pytest.mark.parametrize("name", [1, "Mock hs100"])
def test_a_single_plug(name: Any) -> None:
    with simulator("hs100") as port:
        driver(port).port_on(name)
        assert info(port)["relay_state"] == 1
        assert driver(port).port_status(name) is State.ON
        ask(port, '{"system":{"set_relay_state":{"state":0}}}')
        assert driver(port).port_status(name) is State.OFF
        driver(port).port_on(name)
        driver(port).port_off(name)
        assert info(port)["relay_state"] == 0
        with pytest.raises(PermanentError, match=f"^127.0.0.1:{port} has no outlet 2: it has 1 'Mock hs100'$"):
            driver(port).port_on(2)


def test_a_strip_is_probed() -> None:
    with simulator("hs300") as port:
        address = f"127.0.0.1:{port}"
        found = hooks.recognised(TPLink, address, Deadline(10), Pages(address, Deadline(10)))
        assert found is not None and found.settings == {"driver": "tplink", "port": port}
        assert [each.name for each in found.outlets][:1] == ["Mock One"] and len(found.outlets) == 6


def test_a_strip() -> None:
    with simulator("hs300") as port:
        states = [0] * 6
        for number, name in enumerate(["Mock One", 2, "Mock Three", 4, 5, "Mock Six"], 1):
            driver(port).port_on(name)
            states[number - 1] = 1
            assert [child["state"] for child in info(port)["children"]] == states
            assert driver(port).port_status(number) is State.ON
        driver(port).port_off("Mock Two")
        assert driver(port).port_status(2) is State.OFF
        assert [child["state"] for child in info(port)["children"]] == [1, 0, 1, 1, 1, 1]
        for other in (0, 7, "Mock Seven", "Mock hs300"):
            with pytest.raises(PermanentError, match="has no outlet"):
                driver(port).port_on(other)


def test_a_refusal_in_its_own_words() -> None:
    with simulator("hs300") as port:
        strip = driver(port)
        with pytest.raises(PermanentError, match=f"^127.0.0.1:{port} refused switching: error -14$"):
            strip._ask({"context": {"child_ids": ["none"]}, "system": {"set_relay_state": {"state": 1}}}, "switching")


def test_none_there_any_more() -> None:
    with simulator("hs100") as port:
        pass
    with pytest.raises(TransientError, match=f"^connection refused by 127.0.0.1:{port}; newer firmware speaks"):
        driver(port).port_on(1)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program of python-kasa be found."""
    if not (found := os.environ.get("KASA_PROGRAM")):
        pytest.skip("needs KASA_PROGRAM, the program kasa of python-kasa")
    monkeypatch.setenv("PATH", f"{Path(found).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("program")
def test_a_strip_by_the_program_kasa() -> None:
    with simulator("hs300") as port:
        settings = {"driver": "kasa", "ip": "127.0.0.1", "port": port, "type": "strip", "meters": True}
        strip = begun(Kasa("strip", settings), 60)
        strip.port_on("Mock Three")
        strip.port_on(5)
        strip.port_off(5)
        assert [child["state"] for child in info(port)["children"]] == [0, 0, 1, 0, 0, 0]
        assert strip.port_status(3) is State.ON and strip.port_status("Mock Five") is State.OFF
        told = strip.read_outlets()
        assert [(each.port, each.name, each.state) for each in told][2] == ("3", "Mock Three", State.ON)
        assert all(each.watts is not None and each.volts is not None for each in told)
        assert strip.identify().model == "HS300(US)"


@pytest.mark.usefixtures("program")
def test_a_plug_by_the_program_kasa() -> None:
    with simulator("hs100") as port:
        plug = begun(Kasa("plug", {"driver": "kasa", "ip": "127.0.0.1", "port": port, "type": "plug"}), 60)
        plug.port_on(1)
        assert info(port)["relay_state"] == 1 and plug.port_status(1) is State.ON
        assert plug.read_outlets()[0].watts is None  # it has no meter
    with pytest.raises(TransientError, match=r"^kasa at asking for the state of 127\.0\.0\.1: Unable to connect"):
        plug.port_on(1)


ACCOUNT = {"username": kasaklap.USER, "password": kasaklap.PASSWORD}

DRAWN = (11.7, 230.123, 0.051, 734.0)


def rounded(reading: OutletReading) -> tuple[Any, ...]:
    """Return a reading whose numbers have their thousandths."""
    return tuple(round(each, 3) if isinstance(each, float) else each for each in astuple(reading))


def of_today(device: kasaklap.KLAPDevice, **settings: Any) -> Kasa:
    """Return the driver of a device that speaks KLAP."""
    place = {"driver": "kasa", "ip": "127.0.0.1", "port": device.port}
    return begun(Kasa("tapo", {**place, "type": "smart", **ACCOUNT, **settings}), 300)


@pytest.mark.usefixtures("program")
def test_a_plug_that_speaks_klap() -> None:
    with kasaklap.Tapo() as device:
        plug = of_today(device)
        plug.port_on("Küche")
        assert device.outlets == {"1": "on"} and plug.port_status(1) is State.ON
        plug.port_off(1)
        assert device.outlets == {"1": "off"}
        assert [rounded(each) for each in plug.read_outlets()] == [("1", "Küche", State.OFF, *DRAWN)]
        assert (plug.identify().model, plug.identify().serial) == ("P110", "801")
        assert b"set_device_info" not in device.received and kasaklap.PASSWORD.encode() not in device.received


@pytest.mark.usefixtures("program")
def test_a_strip_that_speaks_klap() -> None:
    with kasaklap.Tapo("Router", "Lampe", "board farm/3") as device:
        strip = of_today(device, meters=True)
        strip.port_on("Lampe")
        strip.port_on(3)
        strip.port_off("board farm/3")
        assert device.outlets == {"1": "off", "2": "on", "3": "off"}
        states = [State.OFF, State.ON, State.OFF]
        told = [(port, name, state, *DRAWN) for (port, name), state in zip(device.names.items(), states, strict=True)]
        assert [rounded(each) for each in strip.read_outlets()] == told
        with pytest.raises(
            PermanentError, match="has no outlet 'Keller': it has 1 'Router', 2 'Lampe', 3 'board farm/3'"
        ):
            strip.port_on("Keller")


@pytest.mark.usefixtures("program")
def test_an_older_plug_whose_firmware_speaks_klap() -> None:
    with kasaklap.KasaKLAP() as device:
        older = {"type": "", "device_family": "IOT.SMARTPLUGSWITCH", "encrypt_type": "KLAP"}
        plug = of_today(device, **older, login_version=1)
        plug.port_on("Mock")
        assert device.outlets == {"1": "on"} and plug.port_status(1) is State.ON
        assert plug.identify().model == "HS100(UK)"
        with pytest.raises(LoginRefused, match="did not match our challenge"):
            of_today(device, **older).port_off(1)
        assert device.outlets == {"1": "on"}


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("mood", "kind", "why"),
    [
        (Mood.WRONG_PASSWORD, LoginRefused, "did not match our challenge"),
        (Mood.REFUSING, TransientError, r"DEVICE_ERROR\(-1301\)"),
        (Mood.BUSY, TransientError, "responded with 503 to handshake1"),
        (Mood.GARBLED, TransientError, "Unable to query the device"),
    ],
)
def test_why_a_device_that_speaks_klap_was_not_switched(mood: Mood, kind: type[Exception], why: str) -> None:
    with kasaklap.Tapo("A", "B", mood=mood) as device:
        with pytest.raises(kind, match=rf"^kasa at .* of 127\.0\.0\.1: .*{why}") as told:
            of_today(device).port_on(2)
        assert device.outlets == {"1": "off", "2": "off"} and kasaklap.PASSWORD not in str(told.value)


@pytest.mark.usefixtures("program")
def test_klap_through_the_daemon(daemon: Callable[..., Daemon]) -> None:
    with kasaklap.Tapo("A", "B", mood=Mood.SLOW) as device:
        place = {"driver": "kasa", "ip": "127.0.0.1", "port": device.port, "type": "smart", "timeout": 60}
        running = daemon({"strip": {**place, **ACCOUNT}})
        assert running.power("reboot", "strip", "B", delay=0, wait=60).status == 200
        assert device.outlets == {"1": "off", "2": "on"}
        assert running.power("status", "strip", 2).text == "on\n"
        assert kasaklap.PASSWORD not in running.log_text()
