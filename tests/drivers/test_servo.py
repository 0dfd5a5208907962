# SPDX-License-Identifier: MIT
"""SERVO: its calls against driver, fake and the XML-RPC server of the standard library; several controls at once."""

from __future__ import annotations

import http.client
import json
import threading
import xmlrpc.server
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.servo import Servo
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.servo import Servod, fault, value
from tests.support.action import begun

SAMPLE = conversation("servo")
GET = [asked for asked, _ in SAMPLE][1]


def driver(port: int, ctrls: Any = "cold_reset") -> Servo:
    return begun(Servo("board", {"driver": "SERVO", "ip": "127.0.0.1", "port": str(port), "ctrls": ctrls}))


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device.port).port_on(1)
        assert driver(device.port).port_status(1) is State.ON
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with Servod() as device:
        for asked, said in SAMPLE:
            method, target, body = asked.split(" ", 2)
            client = http.client.HTTPConnection("127.0.0.1", device.port, timeout=60)
            client.request(method, target, body, {"Content-Type": "text/xml"})
            assert f"200 {client.getresponse().read().decode()}" == said
            client.close()
        assert device.outlets == {"1": "on"}


class Board:
    """What is registered with the server of the standard library."""

    def __init__(self) -> None:
        self.controls = {"cold_reset": "on", "warm_reset": "on", "power_state": "off"}
        self.order: list[str] = []

    def set(self, control: str, word: str) -> bool:
        self.order.append(control)
        if control not in self.controls:
            raise NameError(f"No control named {control}")
        self.controls[control] = word
        return True

    def get(self, control: str) -> str:
        return self.controls[control]


@pytest.fixture
def servod() -> Iterator[tuple[Board, int]]:
    board = Board()
    with xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False) as server:
        server.register_instance(board)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield board, server.server_address[1]
        server.shutdown()
        thread.join(5)


def test_against_the_server_of_the_standard_library(servod: tuple[Board, int]) -> None:
    board, port = servod
    made = driver(port, ["warm_reset", "power_state", "cold_reset"])
    made.port_on(1)
    assert board.controls == {"warm_reset": "off", "power_state": "on", "cold_reset": "off"}
    assert board.order == ["warm_reset", "power_state", "cold_reset"]
    assert made.port_status(1) is State.ON
    board.controls["cold_reset"] = "on"
    assert made.port_status(1) is State.UNKNOWN
    made.port_off(1)
    assert board.controls == {"warm_reset": "on", "power_state": "off", "cold_reset": "on"}
    assert made.port_status(1) is State.OFF
    del board.controls["warm_reset"]
    with pytest.raises(PermanentError, match=rf"^127.0.0.1:{port} at POST /RPC2, set warm_reset: .*No control named"):
        made.port_on(1)
    with pytest.raises(TransientError, match=r"get warm_reset: .*KeyError.*'warm_reset'"):
        made.port_status(1)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nonsense",
        "<a/>",
        "<methodResponse><params></params></methodResponse>",
        "<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>",
        "<methodResponse><params><param><value><bigdecimal>x</bigdecimal></value></param></params></methodResponse>",
        "<methodResponse></array></methodResponse>",
        "<methodResponse><fault><value><int>1</int></value></fault></methodResponse>",
        value("<string>on</string>").body * 2,
    ],
)
def test_what_is_not_xml_rpc(body: str) -> None:
    with (
        ScriptedWeb([(GET, f"200 {body}")]) as device,
        pytest.raises(TransientError, match=r"the answer is not XML-RPC$"),
    ):
        driver(device.port).port_status(1)


@pytest.mark.parametrize("xml", ["<int>1</int>", "<string>On</string>", "<array><data></data></array>"])
def test_a_reset_that_is_neither_on_nor_off(xml: str) -> None:
    with (
        ScriptedWeb([(GET, f"200 {value(xml).body}")]) as device,
        pytest.raises(TransientError, match=r"get cold_reset: .* is neither on nor off$"),
    ):
        driver(device.port).port_status(1)


def test_a_control_that_is_not_set() -> None:
    with Servod() as device:
        device.returns = "<boolean>0</boolean>"
        with pytest.raises(TransientError, match=r"set warm_reset: it was not set$"):
            driver(device.port, ["warm_reset"]).port_on(1)
    broken = fault("USB\nerror").body
    with (
        ScriptedWeb([(GET, f"200 {broken}")]) as device,
        pytest.raises(TransientError, match=r"cold_reset: USB error$"),
    ):
        driver(device.port).port_status(1)


def test_power_state_cannot_be_read() -> None:
    with Servod() as device:
        made = driver(device.port, "power_state")
        made.port_on(1)
        assert device.controls["power_state"] == "on"
        assert device.calls == [("set", "power_state", "on")]
        with pytest.raises(PermanentError, match="cannot be read"):
            made.port_status(1)
    assert not Servo.reads_state({"ctrls": "power_state"})
    assert Servo.reads_state({"ctrls": ["power_state", "warm_reset"]}) and Servo.reads_state({})


def test_settings(tmp_path: Path) -> None:
    pdus: dict[str, dict[str, Any]] = {
        "default": {},
        "one": {"ctrls": "warm_reset", "port": 9998},
        "unknown": {"ctrls": ["cold_reset", "cold_rest"]},
        "none": {"ctrls": []},
        "number": {"ctrls": 3},
        "nested": {"ctrls": [["cold_reset"]]},
        "verified": {"ctrls": "power_state", "verify": True},
    }
    conf = tmp_path / "conf"
    conf.write_text(json.dumps({"pdus": {name: {"driver": "SERVO", **pdu} for name, pdu in pdus.items()}}))
    some = "is none of warm_reset, cold_reset, power_state"
    assert [fault.partition(": ")[2] for fault in reader.load(str(conf)).faults] == [
        f"pdus.unknown.ctrls: 'cold_rest' {some}; did you mean 'cold_reset'?",
        "pdus.none.ctrls: [] is neither a control nor a list of them",
        "pdus.number.ctrls: 3 is neither a control nor a list of them",
        f"pdus.nested.ctrls: ['cold_reset'] {some}; did you mean 'cold_reset'?",
        "pdus.verified.verify: the state of this PDU cannot be read, so it cannot be verified",
    ]
    made = Servo("board", {"driver": "SERVO"})
    assert (made.ip, made.port, made.ctrls) == ("localhost", 9999, ["cold_reset"])
    assert {Servo.canonical_port(port, {}) for port in ("0", "1", "07", "any_word")} == {"1"}
