# SPDX-License-Identifier: MIT
"""SainSmart's HID controllers: each relay, whose place differs between reading and writing, and controllers at fault."""

from __future__ import annotations

import pytest

from pdudaemon.drivers import sainsmarthid
from pdudaemon.drivers.sainsmarthid import SainSmartHID
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from tests.devices.base import hid
from tests.devices.sainsmarthid import Controller
from tests.support.action import begun


def driver(name: str = "sainsmart_hid-16", serial: str = "") -> SainSmartHID:
    return begun(SainSmartHID("relays", {"driver": name, "serial": serial}))


def test_the_bytes() -> None:
    with hid.attached(device := Controller()):
        driver().port_on(3)
        read = bytes.fromhex("d20e 1111111111111111 48494443 8002").ljust(64, b"\0")
        written = bytes.fromhex("c30e 0400 000000000000 48494443 ed01").ljust(64, b"\0")
        assert bytes(device.received) == read + written + read


def test_each_relay() -> None:
    with hid.attached(device := Controller()):
        for port in device.outlets:
            driver().port_on(int(port))
            others = {each.port for each in driver().read_outlets() if each.state is State.ON}
            assert others == {each for each, state in device.outlets.items() if state == "on"}
            assert driver().port_status(int(port)) is State.ON
        driver().port_off(7)
        assert [port for port, state in device.outlets.items() if state == "off"] == ["7"]


def test_a_controller_that_does_not_obey_or_says_too_little() -> None:
    with hid.attached(device := Controller()):
        device.stuck = True
        with pytest.raises(TransientError, match=r": relay 1 is off after being switched on$"):
            driver().port_on(1)
        device.short = True
        with pytest.raises(TransientError, match=r" answered d2 0e 00 at reading the relays$"):
            driver().port_status(1)


def test_an_answer_behind_an_empty_report_is_read_however_late_we_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sainsmarthid, "_REPLY_SECONDS", 0.0)
    with hid.attached(device := Controller()):
        for _ in range(10):
            device.reads += 1
            assert driver().port_status(1) is State.OFF


def test_what_is_attached() -> None:
    with hid.attached(Controller(), Controller(serial="SS002")):
        found = [each.settings["serial"] for each in SainSmartHID.attached(Deadline(10))]
        assert sorted(found) == ["SS001", "SS002"]
