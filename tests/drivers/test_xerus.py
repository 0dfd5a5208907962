# SPDX-License-Identifier: MIT
"""Xerus: the answers that were recorded of devices, many outlets in bulk, what is on its way, and refusals."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.xerus import Xerus
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.web import ScriptedWeb
from tests.devices.xerus import PASSWORD, PX3
from tests.support.action import begun, hurried
from tests.support.certificate import self_signed


def driver(device: Any, seconds: float = 120, **settings: Any) -> Xerus:
    whole = {"driver": "xerus", "ip": f"127.0.0.1:{device.port}", "protocol": "http", "password": PASSWORD, **settings}
    return begun(Xerus("rack", whole), seconds)


def test_recorded_answers() -> None:
    """As a public client has recorded them: an opaque id, and ids of questions that come back as texts."""
    order = '{"jsonrpc":"2.0","method":"setPowerState","params":{"pstate":1},"id":1}'
    look = '{"jsonrpc":"2.0","method":"getState","params":{},"id":1}'
    state = '{"available":true,"powerState":1,"switchOnInProgress":false,"cycleInProgress":false,"isLoadShed":false}'
    exchanges = [
        (f"POST /model/pdu/0/outlet/7 {order}", '200 {"jsonrpc":"2.0","result":{"_ret_":0},"id":"1"}'),
        (f"POST /model/pdu/0/outlet/7 {look}", f'200 {{"jsonrpc":"2.0","result":{{"_ret_":{state}}},"id":1}}'),
    ]
    with ScriptedWeb(exchanges) as device:
        driver(device).port_on(8)
        assert not device.exchanges


def test_many_outlets_are_asked_in_bulk() -> None:
    with PX3() as device:
        device.outlets = {str(number): "off" for number in range(1, 49)}
        device.opaque = True
        told = driver(device).read_outlets()
        assert [each.port for each in told] == [*device.outlets]
        assert told[0] == OutletReading("1", "cpu1", State.OFF, 12.5, 230.1, 0.05, 1234.0)
        bulks = [
            request for request in device.requests if request.target == "/bulk" and "authorization" in request.headers
        ]
        assert len(bulks) == 4  # 144 questions, 50 at a time, and the sensors
        assert ("/sensor/1/activePower", "getReading") in device.calls


def test_sensors_that_read_nothing_now() -> None:
    with PX3() as device:
        device.broken = {"/sensor/1/activePower", "/sensor/I1/activePower"}
        assert driver(device).read_outlets()[0].watts is None
        assert [(each.watts, each.volts) for each in driver(device).read_inlets()] == [(None, 230.1)]


@pytest.mark.parametrize("more", [{"available": False}, {"switchOnInProgress": True}, {"cycleInProgress": True}])
def test_an_outlet_on_its_way(more: dict[str, Any]) -> None:
    with PX3() as device:
        device.busy = {"2": more}
        assert driver(device).port_status(2) is State.UNKNOWN
        assert driver(device).read_outlets()[1].state is State.UNKNOWN
        with pytest.raises(TransientError, match=r"^port 2 is still unknown after on$"):
            hurried(driver(device), 0.5).port_on(2)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (1, "the outlet cannot be switched"),
        (3, "switching is disabled for the outlet"),
        (5, "relay control is disabled in the PDU's settings"),
        (9, "the PDU does not say why"),
    ],
)
def test_refusals(code: int, why: str) -> None:
    with PX3() as device:
        device.refuses = code
        with pytest.raises(PermanentError, match=rf"outlet 1: {why} \({code}\)$"):
            driver(device).port_on(1)


def test_what_is_not_there() -> None:
    with PX3() as device:
        with pytest.raises(PermanentError, match=r"at POST /model/pdu/0/outlet/3: the PDU has no such outlet"):
            driver(device).port_status(4)
        with pytest.raises(PermanentError, match=r"at POST /model/pdu/1: the PDU has no such outlet or part"):
            driver(device, unit=1).read_outlets()
        with pytest.raises(LoginRefused, match=r"^login refused by \S+ at POST /model/pdu/0/outlet/0 \(401\)$"):
            driver(device, password="wrong").port_status(1)
        device.outlets.clear()
        with pytest.raises(PermanentError, match=r"has no outlets$"):
            driver(device).read_outlets()


@pytest.mark.parametrize(
    "said", ["", "[]", "{}", '{"result":7}', '{"result":{}}', '{"result":{"_ret_":null}}', '{"result":{"_ret_":[]}}']
)
def test_answers_that_tell_nothing(said: str) -> None:
    look = '{"jsonrpc":"2.0","method":"getState","params":{},"id":1}'
    asked = f"POST /model/pdu/0/outlet/0 {look}"
    with ScriptedWeb([(asked, f"200 {said}")]) as device, pytest.raises(TransientError):
        driver(device).port_status(1)


def test_over_tls(tmp_path: Path) -> None:
    self_signed(tmp_path / "key", tmp_path / "certificate")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with PX3(tls=tls) as device:
        driver(device, protocol="https", insecure=True).port_on(1)
        assert device.outlets["1"] == "on"
        assert driver(device, protocol="https", ca_file=str(tmp_path / "certificate")).port_status(1) is State.ON
        with pytest.raises(PermanentError, match="is not trusted"):
            driver(device, protocol="https").port_off(1)
