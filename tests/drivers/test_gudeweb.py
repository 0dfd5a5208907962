# SPDX-License-Identifier: MIT
"""Gude by its web interface: the JSON page under both its names, the older pages, and what only they have."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.gudejson import GudeJSON
from pdudaemon.drivers.gudepages import GudePages
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.gudejson import ExpertPowerControl
from tests.devices.gudepages import NAMES, Pages
from tests.support.action import begun, hurried, recognised


def by_json(device: ExpertPowerControl, seconds: float = 120) -> GudeJSON:
    return begun(GudeJSON("gude", {"driver": "gude_json", "ip": f"127.0.0.1:{device.port}"}), seconds)


def by_pages(device: Pages, seconds: float = 120) -> GudePages:
    return begun(GudePages("gude", {"driver": device.model, "ip": f"127.0.0.1:{device.port}"}), seconds)


def test_an_order_and_the_state_after_it_are_one_exchange() -> None:
    with ExpertPowerControl() as device:
        by_json(device).port_on(2)
        assert [each.target for each in device.requests] == ["/statusjsn.js?components=1&cmd=1&p=2&s=1"]
        assert device.outlets["2"] == "on"


def test_the_other_name_of_the_page() -> None:
    with ExpertPowerControl(page="/status.json") as device:
        by_json(device).port_on(2)
        assert device.outlets["2"] == "on" and by_json(device).port_status(1) is State.OFF
        device.page = "/elsewhere"
        with pytest.raises(PermanentError, match=r"at GET /status.json: answered 404 Not Found$"):
            by_json(device).port_status(1)


def test_an_outlet_that_is_not_there_is_not_silently_ignored() -> None:
    with ExpertPowerControl() as device:
        for act in (by_json(device).port_on, by_json(device).port_status):
            with pytest.raises(PermanentError, match=r"the device has no outlet 9, but 8$"):
                act(9)


def test_an_order_without_effect() -> None:
    with ExpertPowerControl() as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r"^port 1 is still off after on$"):
            hurried(by_json(device), 0.4).port_on(1)


def test_somebody_else_uses_the_pages() -> None:
    with ExpertPowerControl() as device:
        device.blocked = True
        with pytest.raises(TransientError, match=r"statusjsn.js: the device is blocked by another user$"):
            by_json(device).port_on(1)
    with Pages("gude_ov") as old:
        old.blocked = True
        with pytest.raises(TransientError, match=r"ov.html: the device is blocked by another user$"):
            by_pages(old).port_on(1)


@pytest.mark.parametrize("model", NAMES)
def test_older_pages(model: str) -> None:
    with Pages(model) as device:
        made = by_pages(device)
        made.port_on(3)
        made.port_on(8)
        made.port_off(3)
        assert [*device.outlets.values()] == ["off"] * 7 + ["on"]
        assert made.read_outlets() == [OutletReading(port, None, State(each)) for port, each in device.outlets.items()]
        with pytest.raises(PermanentError, match=r"^the device has no port 9, but 8$"):
            made.port_status(9)


def test_firmware_that_omits_the_numbers() -> None:
    with Pages("gude_ov", numbered=False) as device:
        made = by_pages(device)
        made.port_on(5)
        assert device.outlets["5"] == "on" and made.port_status(5) is State.ON and made.port_status(4) is State.OFF


@pytest.mark.parametrize(("model", "asked"), [("gude_ov", "gude_http"), ("gude_http", "gude_ov")])
def test_the_wrong_model(model: str, asked: Any) -> None:
    with Pages(model) as device:
        device.model, settings = model, {"driver": asked, "ip": f"127.0.0.1:{device.port}"}
        with pytest.raises(PermanentError, match=r"answered 404 Not Found$"):
            begun(GudePages("gude", settings)).port_on(1)


@pytest.mark.parametrize("model", NAMES)
def test_pages_recognised_without_a_login(model: str) -> None:
    with Pages(model) as device:
        device.outlets["2"] = "on"
        found = recognised(GudePages, device.port)
        assert found is not None and found.settings == {"driver": model, "ip": f"127.0.0.1:{device.port}"}
        assert [each.state for each in found.outlets] == [State(each) for each in device.outlets.values()]
    with ExpertPowerControl() as other:
        assert recognised(GudePages, other.port) is None


def test_meters_of_outlets_are_known_by_the_name() -> None:
    with ExpertPowerControl() as device:
        device.names |= {"2": "same", "3": "same"}
        drawn = {each.port: each.watts for each in by_json(device).read_outlets()}
        assert drawn["1"] == 30.5 and drawn["2"] is drawn["3"] is None
        device.metered = False
        assert {each.watts for each in by_json(device).read_outlets()} == {None}
        assert by_json(device).read_inlets() != []
