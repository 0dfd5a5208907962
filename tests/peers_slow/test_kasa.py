# SPDX-License-Identifier: MIT
"""TP-Link Kasa: a single plug and a strip of tplink-smarthome-simulator, driven by the driver and looked at."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.kasa import Kasa
from pdudaemon.drivers.tplink import TPLink
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from tests.devices.tplink import plain, scrambled
from tests.peers.kasa import simulator
from tests.support.action import begun


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
