# SPDX-License-Identifier: MIT
"""EnerGenie strips on USB: the conversation against driver and fake, all models; and what control transfers can meet."""

from __future__ import annotations

import importlib.util
import sys
import time

import pytest

from pdudaemon.drivers.energenieusb import EnerGenieUSB
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import usb as transport
from pdudaemon.transports.deadline import Deadline
from tests.devices.base import usb
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.energenieusb import ID, Strip
from tests.support.action import begun, hurried
from tests.support.patience import with_patience

SAMPLE = conversation("energenie_usb")


def driver(device: str = "", seconds: float = 120, name: str = "EG-PMS") -> EnerGenieUSB:
    return begun(EnerGenieUSB("strip", {"driver": name, "device": device}), seconds)


def test_the_conversation_against_the_driver() -> None:
    device = usb.Scripted(0x04B4, 0xFD11, "SIS-PM", SAMPLE)
    with usb.attached(device):
        driver(ID).port_on(2)
        driver(ID).port_off(2)
    assert device.played == len(SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    strip = Strip()
    for asked, said in SAMPLE:
        setup, data = bytes.fromhex(asked)[:8], bytes.fromhex(asked)[8:]
        value, index, size = (int.from_bytes(setup[at : at + 2], "little") for at in (2, 4, 6))
        told = strip.control(setup[0], setup[1], value, index, data or size, 1)
        assert told == (data or bytes.fromhex(said))
        strip.outlets["2"] = {"0603000000": "on", "0602000000": "off"}.get(said, strip.outlets["2"])


@pytest.mark.parametrize("product", [0xFD10, 0xFD11, 0xFD12, 0xFD13, 0xFD15])
@pytest.mark.parametrize("name", ["EG-PMS", "EG-PM2"])
def test_each_outlet_of_each_model(product: int, name: str) -> None:
    strip = Strip(product)
    with usb.attached(strip):
        for port in strip.outlets:
            others = {other: state for other, state in strip.outlets.items() if other != port}
            driver(name=name).port_on(int(port))
            assert strip.outlets == {**others, port: "on"} and driver(name=name).port_status(int(port)) is State.ON
            strip.outlets[port] = "off"
            assert driver(name=name).port_status(int(port)) is State.OFF
        if len(strip.outlets) == 1:
            with pytest.raises(PermanentError, match=r"has 1 outlet, not outlet 2$"):
                driver(name=name).port_on(2)


def test_which_strip() -> None:
    first, second = Strip(0xFD11, "01:01:51:a4:c3"), Strip(0xFD15, "01:01:0a:bb:02")
    with usb.attached(first, second):
        driver("01:01:0A:BB:02").port_on(4)
        assert second.outlets["4"] == "on" and "on" not in first.outlets.values()
        with pytest.raises(
            PermanentError, match=r"^the configuration must say which EnerGenie strip: 01:01:51:a4:c3, "
        ):
            driver().port_on(1)
        with pytest.raises(TransientError, match=r"^no EnerGenie strip 99:99 is attached; found: 01:01:51:a4:c3, "):
            driver("99:99").port_on(1)


def test_one_that_cannot_be_read_does_not_hide_the_right_one() -> None:
    with usb.attached(
        Strip(serial="01:02:03:04:05", mood=Mood.GARBLED), Strip(mood=Mood.WRONG_PASSWORD), Strip(0xFD13)
    ):
        driver(ID).port_on(1)


@pytest.mark.parametrize("mood", [Mood.DEAF, Mood.BUSY])
def test_a_neighbour_that_hangs_or_is_busy_is_asked_but_once(mood: Mood) -> None:
    other, strip = Strip(serial="01:02:03:04:05", mood=mood), Strip()
    with usb.attached(other, strip):
        made = driver(ID)
        start = time.monotonic()
        made.port_on(1)
        assert time.monotonic() - start < 20
        assert other.sessions == 1 and len(other.received) == (8 if mood is Mood.DEAF else 0)
        assert made.port_status(1) is State.ON
        assert other.sessions == 1


def test_strips_that_change_places() -> None:
    ours, other = Strip(), Strip(serial="01:02:03:04:05")
    made = driver(ID)
    with usb.attached(ours, other):
        made.port_on(1)
        ours.address, other.address = other.address, ours.address
        made.port_on(2)
    assert [port for port, state in ours.outlets.items() if state == "on"] == ["1", "2"]
    assert "on" not in other.outlets.values()


def test_transfers_are_tried_again() -> None:
    strip = Strip()
    with usb.attached(strip):
        for fails in (["PIPE"] * 4, ["short"] * 4, ["TIMEOUT", "IO", "", "short", "IO", "PIPE"]):
            strip.fails = fails
            driver().port_on(1)
            assert strip.outlets["1"] == "on"
            strip.outlets["1"] = "off"
        strip.fails = ["IO"] * 6
        with pytest.raises(TransientError, match=r"failed at reading its id: Input/Output Error$"):
            driver().port_on(1)
        strip.fails = ["short"] * 6
        with pytest.raises(TransientError, match=r"broke off at reading its id$"):
            driver().port_on(1)
        assert strip.outlets["1"] == "off"


def test_an_outlet_that_does_not_follow() -> None:
    strip = Strip()
    strip.stuck = True
    with usb.attached(strip), pytest.raises(TransientError, match=r"^port 3 is still off after on$"):
        hurried(driver(), 0.5).port_on(3)


# -- the transport


def test_the_kernels_driver_is_detached_and_another_program_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RELEASE_SECONDS", 30.0)
    strip = Strip()
    strip.refuses = 3
    with usb.attached(strip):
        driver().port_on(1)
        assert not strip.kernel_driver and strip.claimed_by is None
        assert not strip.refuses
        monkeypatch.setattr(transport, "RELEASE_SECONDS", 0.2)
        strip.claimed_by = 0
        with pytest.raises(
            TransientError, match=r"^USB device 04b4:fd11 \(bus 1 device \d+\) is in use by another prog"
        ):
            driver().port_on(1)
        strip.claimed_by = None


def test_silence_ends_with_the_deadline() -> None:
    def attempt(seconds: float) -> None:
        with (
            usb.attached(Strip(mood=Mood.DEAF)),
            pytest.raises(
                DeviceTimeout, match=r"^no answer from USB device 04b4:fd11 \(bus 1 device \d+\) at reading its id$"
            ),
        ):
            driver(seconds=seconds).port_on(1)

    with_patience(attempt, 0.2)


def test_no_access() -> None:
    with (
        usb.attached(Strip(mood=Mood.WRONG_PASSWORD)),
        pytest.raises(PermanentError, match=r"^no access to USB device 04b4:fd11 .*group pdudaemon$"),
    ):
        driver().port_on(1)


def test_pulled_out_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    strip = Strip()

    def control(*_: object) -> bytes:
        raise usb.failure("NO_DEVICE")

    monkeypatch.setattr(strip, "control", control)
    with usb.attached(strip), pytest.raises(TransientError, match=r"was pulled out at reading its id$"):
        driver().port_on(1)


def test_without_pyusb(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("usb", "usb.core", "usb.util"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PermanentError, match=r"^USB devices need the Python package pyusb \(Debian: python3-usb\)$"):
        driver().port_on(1)


def test_without_libusb(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(**_: object) -> object:
        raise usb.NoBackendError("No backend available")

    with usb.attached():
        monkeypatch.setattr(sys.modules["usb.core"], "find", find)
        with pytest.raises(PermanentError, match=r"^USB devices need the library libusb 1.0 \(Debian: libusb-1.0-0\)$"):
            driver().port_on(1)


def test_the_real_package() -> None:
    """Where it is installed, it is asked; a machine with such a device would be a surprise."""
    if importlib.util.find_spec("usb"):
        try:
            assert transport.find(["04b4:fd11"], Deadline(30), claim=True) == []
        except (PermanentError, TransientError) as error:  # a machine without libusb, or without any USB
            assert "libusb" in str(error) or "cannot look for USB devices" in str(error)
    else:
        with pytest.raises(PermanentError, match="pyusb"):
            transport.find(["04b4:fd11"], Deadline(30))
