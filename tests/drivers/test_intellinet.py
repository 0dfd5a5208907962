# SPDX-License-Identifier: MIT
"""Intellinet: the conversation against driver and fake, pages that say or do not say 401, and orders without effect."""

from __future__ import annotations

import base64
import urllib.request
from typing import Any

import pytest

from pdudaemon.drivers.intellinet import Intellinet as Driver
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.base.web import ScriptedWeb
from tests.devices.intellinet import PASSWORD, Intellinet
from tests.support.action import begun, hurried

SAMPLE = conversation("intellinet")


def driver(device: Any, seconds: float = 120, **settings: Any) -> Driver:
    return begun(Driver("127.0.0.1", {"driver": "intellinet", "port": device.port, **settings}), seconds)


def test_the_conversation_against_the_driver() -> None:
    with ScriptedWeb(SAMPLE) as device:
        driver(device).port_off(0)
    assert not device.exchanges


def test_the_conversation_against_the_fake() -> None:
    with Intellinet() as device:
        device.outlets |= {"0": "on", "7": "on"}
        device.page = "<html>…</html>"
        answers = []
        for asked, _ in SAMPLE:
            url = f"http://127.0.0.1:{device.port}{asked.removeprefix('GET ')}"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, timeout=60) as response:
                answers.append(f"{response.status} {response.read().decode()}")
        assert answers[0] == SAMPLE[0][1]
        for part in ("<outletStat0>off</outletStat0>", "<outletStat7>on</outletStat7>"):
            assert part in answers[1] and part in SAMPLE[1][1]
        assert device.outlets == {**dict.fromkeys("0123456", "off"), "7": "on"}


def test_ports_are_those_of_the_wire() -> None:
    with Intellinet() as device:
        for port in (0, 7):
            driver(device).port_on(port)
        assert [port for port, state in device.outlets.items() if state == "on"] == ["0", "7"]
        assert device.requests[0].target == "/control_outlet.htm?outlet0=1&op=0&submit=Anwenden"
    assert Driver.canonical_port("07", {"driver": "intellinet"}) == "7"
    for port in ("8", "-1", "a"):
        with pytest.raises(ValueError, match=f"'{port}'"):
            Driver.canonical_port(port, {"driver": "intellinet"})


def test_the_login_is_sent_unasked() -> None:
    with Intellinet() as device:
        driver(device, password=PASSWORD).port_status(0)
        expected = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        assert [request.headers["authorization"] for request in device.requests] == [f"Basic {expected}"]


def test_refused_logins() -> None:
    with Intellinet(Mood.WRONG_PASSWORD, f"admin:{PASSWORD}") as device:
        with pytest.raises(PermanentError, match=r"^login refused by \S+ at GET /control_outlet.htm \(401\)$"):
            driver(device, password=PASSWORD).port_on(0)
        assert len(device.requests) == 1
    with Intellinet() as device:
        device.page = "<html><head><title>401 Unauthorized</title></head></html>"
        device.obeys = False
        with pytest.raises(PermanentError, match=r"^login refused by \S+ at GET /control_outlet.htm \(401 in the page"):
            driver(device).port_on(0)


def test_numbers_are_no_refusals_and_orders_may_take_effect_late() -> None:
    with Intellinet() as device:
        device.page = "<html>power 401 W, unauthorized use prohibited, serial 4401</html>"
        device.lag = 1
        driver(device).port_on(3)
        assert device.outlets["3"] == "on"


def test_an_order_with_a_delay_of_seconds() -> None:
    with Intellinet() as device:
        device.lag = 12  # readings, 0.3 s apart
        driver(device, seconds=15).port_on(3)
        assert not device._still


def test_an_order_without_effect() -> None:
    with Intellinet() as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r"^port 3 is still off after on$"):
            hurried(driver(device), 0.5).port_on(3)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<response/>",
        "<outletStat2>on</outletStat2>",
        "<outletStat1>maybe</outletStat1>",
        "<outletStat1>on</outletStat2>",
        "<outletStat1>on",
    ],
)
def test_answers_that_tell_nothing(body: str) -> None:
    with (
        ScriptedWeb([("GET /status.xml", f"200 {body}")]) as device,
        pytest.raises(TransientError, match=r"^127.0.0.1:\d+ at GET /status.xml: .* the state of outlet 1$"),
    ):
        driver(device).port_status(1)


def test_other_spellings() -> None:
    with ScriptedWeb([("GET /status.xml", "200 <OUTLETSTAT1> ON\n</OUTLETSTAT1>")]) as device:
        assert driver(device).port_status(1) is State.ON
