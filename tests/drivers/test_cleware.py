# SPDX-License-Identifier: MIT
"""Cleware switches: the conversations against driver and fake, versions, stale reports, serial numbers in memory."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.cleware import Cleware, ClewareContact, ClewareSwitch
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from tests.devices.base import hid
from tests.devices.base.device import Mood
from tests.devices.base.scripted import conversation
from tests.devices.cleware import SERIAL, Switch4, Switch8
from tests.support.action import begun
from tests.support.patience import with_patience
from tests.support.process import in_parallel


def driver(kind: type[Cleware], serial: int = SERIAL, seconds: float = 120) -> Any:
    return begun(kind("switch", {"driver": next(iter(kind.models)), "serial": serial}), seconds)


def test_the_conversations_against_the_driver() -> None:
    four = hid.Scripted(0x0D50, 0x0008, "63653", conversation("cleware_switch4"), release=0x12)
    eight = hid.Scripted(0x0D50, 0x0030, "63653", conversation("cleware_switch8"), release=0x10)
    with hid.attached(four, eight):
        driver(ClewareSwitch).port_on(2)
        contact = driver(ClewareContact)
        contact._question = 127  # so that the next one is number 1
        contact.port_off(3)
    assert (four.played, eight.played) == (1, 2)


@pytest.mark.parametrize(("name", "device"), [("cleware_switch4", Switch4()), ("cleware_switch8", Switch8())])
def test_the_conversations_against_the_fake(name: str, device: Any) -> None:
    if isinstance(device, Switch8):
        device.outlets["3"] = "on"
    for asked, said in conversation(name):
        device.heard(bytes.fromhex(asked).removeprefix(b"\0"))
        heard = [device.report() for _ in range(5)]
        assert not said or heard[-1] == bytes.fromhex(said)
        assert not said or heard[0] != heard[-1]  # which came late


@pytest.mark.parametrize("release", [0x03, 0x04, 0x09, 0x0A, 0x12])
def test_each_port_of_each_version_of_the_switch4(release: int) -> None:
    device = Switch4(release=release)
    with hid.attached(device):
        check_ports(ClewareSwitch, device)


@pytest.mark.parametrize("seven_bit", [False, True])
@pytest.mark.parametrize("release", [0x06, 0x07])
def test_each_port_of_each_version_of_the_switch8(
    release: int, seven_bit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdudaemon.drivers.cleware._ANSWER_SECONDS", 0.1)
    device = Switch8(release=release, seven_bit=seven_bit)
    with hid.attached(device):
        check_ports(ClewareContact, device)


def check_ports(kind: type[Cleware], device: Any) -> None:
    """Switch each port, and read it after it was switched behind the driver's back."""
    made = driver(kind)
    for port in device.outlets:
        made.deadline = Deadline(30)
        others = {other: state for other, state in device.outlets.items() if other != port}
        made.port_on(int(port))
        assert device.outlets == {**others, port: "on"} and made.port_status(int(port)) is State.ON
        device.outlets[port] = "off"
        assert made.port_status(int(port)) is State.OFF
        made.port_on(int(port))
    for port in device.outlets:
        made.port_off(int(port))
    assert {*device.outlets.values()} == {"off"}


def test_the_seven_bit_form_is_remembered() -> None:
    device = Switch8(seven_bit=True)
    with hid.attached(device):
        contact = driver(ClewareContact)
        contact.port_on(8)
        assert device.outlets["8"] == "on"
        device.received.clear()
        contact._question = 127
        contact.port_off(8)
    assert device.received.hex(" ") == "31 00 00 00 00 63 01 00 7f 7f"


@pytest.mark.parametrize("kind", [Switch4, Switch8])
def test_an_order_that_is_missed_is_given_again(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr("pdudaemon.drivers.cleware._STATE_SECONDS", seconds)
        device = kind()
        made = driver(ClewareSwitch if kind is Switch4 else ClewareContact)
        with hid.attached(device):
            device.misses = 2
            made.port_on(1)
            assert device.outlets["1"] == "on"
            device.misses = 3
            with pytest.raises(
                TransientError, match=r"^HID device 0d50:\S+ at \S+: port 1 is on after being switched off$"
            ):
                made.port_off(1)

    with_patience(attempt, 0.1)


@pytest.mark.parametrize("kind", [Switch4, Switch8])
def test_serial_numbers(kind: type[Any]) -> None:
    drives = ClewareSwitch if kind is Switch4 else ClewareContact
    devices = [kind(serial=77), kind(serial=0xABCDEF1, shared=True), kind(serial=SERIAL, shared=True)]
    nameless = kind()
    nameless.serial = ""
    with hid.attached(nameless, *devices):
        for device in devices:
            serial = {77: 77}.get(int(device.serial, 16), int(device.memory[8:15], 16))
            driver(drives, serial).port_on(4)
            assert device.outlets["4"] == "on"
            device.outlets["4"] = "off"
        with pytest.raises(TransientError, match=f"^no Cleware device 1 is attached; found: 77, 180150001, {SERIAL}$"):
            driver(drives, 1).port_on(4)


@pytest.mark.parametrize("kind", [Switch4, Switch8])
def test_the_serial_number_that_newer_devices_share(kind: type[Any]) -> None:
    drives = ClewareSwitch if kind is Switch4 else ClewareContact
    older, newer, another = kind(serial=77), kind(shared=True), kind(serial=78, shared=True)
    newer.memory = b"\xff" * 64  # nobody had to read it
    with hid.attached(older, newer):
        driver(drives, 407571).port_on(4)
        assert newer.outlets["4"] == "on" and older.outlets["4"] == "off"
    with hid.attached(older), pytest.raises(TransientError, match=r"^no Cleware device 407571 is attached; found: 77$"):
        driver(drives, 407571).port_on(4)
    several = r"^the configuration must say which Cleware device, by its true serial number: 78, 407123 are attached$"
    with hid.attached(older, another, kind(shared=True)), pytest.raises(PermanentError, match=several):
        driver(drives, 407571).port_on(4)
    denied = kind(shared=True, mood=Mood.WRONG_PASSWORD)
    with hid.attached(older, denied), pytest.raises(PermanentError, match=r"^no access to HID device 0d50:"):
        driver(drives, 407571).port_on(4)


@pytest.mark.parametrize("mood", [Mood.DEAF, Mood.BUSY])
def test_a_neighbour_that_hangs_or_is_busy_is_asked_but_once(mood: Mood) -> None:
    other, ours = Switch4(serial=1, shared=True, mood=mood), Switch4(shared=True)
    with hid.attached(other, ours):
        made = driver(ClewareSwitch)
        start = time.monotonic()
        made.port_on(1)
        made.port_on(2)
        assert time.monotonic() - start < 20
        assert ours.outlets["1"] == ours.outlets["2"] == "on"
        assert other.sessions <= 1 and len(other.received) == (2 if mood is Mood.DEAF else 0)


def test_devices_that_change_places() -> None:
    ours, other = Switch4(shared=True), Switch4(serial=1, shared=True)
    made = driver(ClewareSwitch)
    with hid.attached(ours, other):
        made.port_on(1)
        ours.path, other.path = other.path, ours.path
        made.port_on(2)
    assert ours.outlets["1"] == ours.outlets["2"] == "on" and "on" not in other.outlets.values()


def test_two_with_the_same_usb_serial_number_at_a_time() -> None:
    devices = {serial: Switch4(serial=serial, shared=True) for serial in (1, 2)}

    def act(serial: int) -> str:
        for _ in range(4):
            driver(ClewareSwitch, serial, 20).port_on(serial)
            driver(ClewareSwitch, serial, 20).port_off(serial)
        driver(ClewareSwitch, serial, 20).port_on(serial)
        return devices[serial].outlets[str(serial)]

    with hid.attached(*devices.values()):
        assert in_parallel([lambda: act(1), lambda: act(2)]) == ["on", "on"]


def test_a_memory_without_a_serial_number() -> None:
    device = Switch4(shared=True)
    device.memory = b"\xff" * 64
    with hid.attached(device), pytest.raises(TransientError, match="the serial number in its memory is 'ÿ"):
        driver(ClewareSwitch).port_on(1)


@pytest.mark.parametrize("mood", [Mood.DEAF, Mood.GARBLED])
@pytest.mark.parametrize("kind", [Switch4, Switch8])
def test_silence_and_nonsense(kind: type[Any], mood: Mood) -> None:
    def attempt(seconds: float) -> None:
        with (
            hid.attached(kind(mood=mood)),
            pytest.raises(DeviceTimeout, match=r"^no answer from HID device 0d50:\S+ at \S+ at reading port 1$"),
        ):
            driver(ClewareSwitch if kind is Switch4 else ClewareContact, seconds=seconds).port_status(1)

    with_patience(attempt, 0.2)


def test_names() -> None:
    for name, drives in (("clewareusbswitch4", ClewareSwitch), ("CLEWAREUSBSWITCH8", ClewareContact)):
        assert strategies.find(name) is drives
    for name in ("clewarebase", "clewareswitch1base", "clewarecontact00base", "cleware"):
        with pytest.raises(ValueError, match="there is no driver"):
            strategies.find(name)
    for drives, most in ((ClewareSwitch, 4), (ClewareContact, 8)):
        assert drives.canonical_port(f"0{most}", {"driver": "clewareUSBswitch"}) == str(most)
        for port in ("0", str(most + 1), "a"):
            with pytest.raises(ValueError, match=f"'{port}'"):
                drives.canonical_port(port, {})


@pytest.mark.parametrize("release", [0x03, 0x09, 0x12])
@pytest.mark.parametrize("ports", [1, 2, 4])
def test_the_switches_that_there_are(release: int, ports: int) -> None:
    device = Switch4(release=release, ports=ports)
    device.outlets[str(ports)] = "on"
    with hid.attached(device):
        found = {each.port: each.state for each in driver(ClewareSwitch).read_outlets()}
        assert found == device.outlets
