# SPDX-License-Identifier: MIT
"""``pdudaemon --list-devices``, and the udev rules for what it lists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pdudaemon.cli import main
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.settings import declared, read
from pdudaemon.transports import serialport
from tests.devices import cleware, energenieusb, vusbhid, ykush
from tests.devices.base import hid, usb
from tests.devices.base.device import Mood
from tests.support.docs import ROOT, transports

DRIVERS = {strategies.find(name) for name in strategies.names()}
NOTHING = "pdudaemon: no device of a known kind was found\n"


class Machine:
    """The trees /sys and /dev of a machine, with serial lines in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("sys/class/tty", "dev/serial/by-id"):
            (root / folder).mkdir(parents=True)

    def line(self, name: str, usb_id: str, product: str | None, below: str = "", by_id: str = "") -> None:
        """Add a serial line; ``below`` is what the kernel's driver puts between it and the interface."""
        vendor, _, kind = usb_id.partition(":")
        device = self.root / "sys/devices/usb1" / f"1-{name}"
        interface = device / f"1-{name}:1.0" / below
        interface.mkdir(parents=True)
        for file, text in (("idVendor", vendor), ("idProduct", kind), ("product", product)):
            if text is not None:
                (device / file).write_text(f"{text}\n")
        self.bare_line(name, interface)
        if by_id:
            (self.root / "dev/serial/by-id" / by_id).symlink_to(f"../../{name}")

    def bare_line(self, name: str, device: Path | None) -> None:
        """Add a serial line that may have a device of any kind."""
        (self.root / "sys/class/tty" / name).mkdir()
        (self.root / "dev" / name).touch()
        if device is not None:
            device.mkdir(parents=True, exist_ok=True)
            (self.root / "sys/class/tty" / name / "device").symlink_to(device)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(serialport, "_TTYS", tmp_path / "sys/class/tty")
    monkeypatch.setattr(serialport, "_DEV", tmp_path / "dev")
    return Machine(tmp_path)


def listed(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """Return what is printed, and what on standard error."""
    assert main(["--list-devices"]) == 0
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_every_family(machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    machine.bare_line("tty1", None)
    machine.bare_line("ttyS0", tmp_path / "sys/devices/platform/serial8250")
    machine.line("ttyACM0", "2a19:0c05", "Numato Lab 8 Channel USB Relay Module", by_id="usb-Numato_8-if00")
    machine.line("ttyACM1", "2a19:0800", "Numato Lab 8 Channel USB GPIO Module")
    machine.line("ttyACM2", "04d8:ffee", "USB-RLY08B")
    machine.line("ttyUSB0", "0403:6010", "Dual RS232-HS", below="ttyUSB0")
    with (
        hid.attached(ykush.Board("YKUSH3"), cleware.Switch4(shared=True), cleware.Switch8(serial=77)),
        usb.attached(energenieusb.Strip(), vusbhid.Joystick(), vusbhid.Board(4)),
    ):
        out, err = listed(capsys)
    assert err == []
    assert out == [
        'ClewareUsbSwitch4: {"driver": "ClewareUsbSwitch4", "serial": 407123} USB-Switch',
        'ClewareUsbSwitch8: {"driver": "ClewareUsbSwitch8", "serial": 77} USB-Switch',
        'EG-PMS: {"driver": "EG-PMS", "device": "01:01:51:a4:c3"} SIS-PM',
        f'NumatoUSB8: {{"driver": "NumatoUSB8", "device": "{tmp_path}/dev/serial/by-id/usb-Numato_8-if00"}}'
        " Numato Lab 8 Channel USB Relay Module",
        'YKUSH3: {"driver": "YKUSH3", "serial": "YK20345"} YKUSH3',
        f'devantech_USB-RLY08B: {{"driver": "devantech_USB-RLY08B", "device": "{tmp_path}/dev/ttyACM2"}} USB-RLY08B',
        'vusbhid: {"driver": "vusbhid", "serial": "BITFT"} USBRelay4',
    ]
    for line in out:
        settings = json.loads(line[line.index("{") : line.index("}") + 1])
        driver = strategies.find(settings["driver"])
        assert not read(driver, settings)[1] and {*settings} <= {*declared(driver), "driver"}


def test_lines_of_converters_that_may_be_anything(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    machine.line("ttyUSB0", "1a86:7523", "USB Serial", below="ttyUSB0")
    machine.line("ttyUSB1", "0403:6015", "cambrionix SuperSync15", below="ttyUSB1", by_id="usb-cambrionix-if00")
    machine.line("ttyUSB2", "0403:6015", "FT231X USB UART", below="ttyUSB2")
    machine.line("ttyACM0", "0416:5011", "USB Virtual COM")
    with hid.attached(), usb.attached():
        out, err = listed(capsys)
    assert err == []
    assert out == [
        f'cambrionix: {{"device": "{tmp_path}/dev/serial/by-id/usb-cambrionix-if00"}} cambrionix SuperSync15',
        f'korad or korad-2: {{"device": "{tmp_path}/dev/ttyACM0"}} USB Virtual COM',
        f'lcus-1: {{"device": "{tmp_path}/dev/ttyUSB0"}} USB Serial, if it is one',
        f'lcus-2 or lcus-4 or lcus-8: {{"device": "{tmp_path}/dev/ttyUSB0"}} USB Serial, if it is one',
    ]


def test_a_serial_line_that_does_not_say_what_it_is(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    machine.line("ttyACM3", "2a19:0001", None)
    machine.line("ttyACM4", "2a19:0002", "Numato Lab 3 Channel\nthing")
    with hid.attached(), usb.attached():
        out, err = listed(capsys)
    names = "NumatoUSB1 or NumatoUSB2 or NumatoUSB4 or NumatoUSB8 or NumatoUSB16 or NumatoUSB32 or NumatoUSB64"
    assert out == [
        f'{names}: {{"device": "{tmp_path}/dev/ttyACM3"}}',
        f'{names}: {{"device": "{tmp_path}/dev/ttyACM4"}} Numato Lab 3 Channel thing',
    ]
    assert err == []


def test_a_serial_line_below_a_driver_of_its_own(machine: Machine) -> None:
    machine.line("ttyUSB1", "2A19:0001".lower(), "X", below="ttyUSB1/tty")
    assert [*serialport.attached(["2a19:0001"])] == [(str(machine.root / "dev/ttyUSB1"), "X")]
    assert [*serialport.attached(["2a19:0002", "2a1:*"])] == []


def test_nothing_attached(capsys: pytest.CaptureFixture[str]) -> None:
    with hid.attached(), usb.attached(vusbhid.Joystick("Gamepad")):
        assert main(["--list-devices"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", NOTHING)


def test_what_cannot_be_asked_is_told_and_the_others_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        hid.attached(ykush.Board("YKUSH", "YK1", Mood.WRONG_PASSWORD), ykush.Board("YKUSH", "YK2")),
        usb.attached(
            vusbhid.Board(2, "AAAAA", Mood.WRONG_PASSWORD),
            vusbhid.Board(2, "BBBBB", Mood.WRONG_PASSWORD),
            vusbhid.Board(2),
            energenieusb.Strip(),
        ),
    ):
        out, err = listed(capsys)
    assert [line.partition(":")[0] for line in out] == ["EG-PMS", "YKUSH", "vusbhid"]
    assert len(err) == 2
    assert re.match(
        r"pdudaemon: YKUSH, YKUSHXS, YKUSH3: no access to HID device 04d8:f2f7 at \S+: 60-pdudaemon", err[0]
    )
    assert re.match(r"pdudaemon: vusbhid: no access to .*; no access to USB device 16c0:05df \(bus", err[1])


def test_without_a_package_the_others_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with usb.attached(vusbhid.Board(2)):
        monkeypatch.setitem(sys.modules, "hid", None)
        out, err = listed(capsys)
    assert out == ['vusbhid: {"driver": "vusbhid", "serial": "BITFT"} USBRelay2']
    names = ("ClewareUsbSwitch4", "ClewareUsbSwitch8", "YKUSH, YKUSHXS, YKUSH3", "sainsmart_hid-8, sainsmart_hid-16")
    assert err == [
        f"pdudaemon: {name}: HID devices need the Python package hidapi (Debian: python3-hid)" for name in names
    ]


# -- the udev rules

RULES = [
    line
    for line in (ROOT / "share" / "60-pdudaemon.rules").read_text().splitlines()
    if line and not line.startswith("#")
]
TOKEN = re.compile(r'(SUBSYSTEM|ATTR\{\w+\}|ATTRS\{\w+\}|ENV\{\w+\}|GROUP|MODE)(==|=)"([^"]+)"')


def test_each_rule_is_well_formed() -> None:
    for rule in RULES:
        for token in rule.split(", "):
            match = TOKEN.fullmatch(token)
            assert match, rule
            compares = match[1].startswith(("SUBSYSTEM", "ATTR"))
            assert match[2] == ("==" if compares else "="), rule
        assert 'GROUP="pdudaemon", MODE="0660"' in rule or "ID_MM_DEVICE_IGNORE" in rule
    udevadm = shutil.which("udevadm")
    if udevadm and "verify" in subprocess.run([udevadm, "--help"], capture_output=True, text=True).stdout:
        # The group need not be on this machine, where newer ones look for it; older ones (252 to 254) do not ask.
        known = subprocess.run([udevadm, "verify", "--help"], capture_output=True, text=True).stdout
        never = ["--resolve-names=never"] if "--resolve-names" in known else []
        subprocess.run([udevadm, "verify", *never, str(ROOT / "share" / "60-pdudaemon.rules")], check=True)


def test_desktops_know_the_devices_of_the_rules() -> None:
    """By aliases of modules, as lintian asks for."""
    found = set()
    for rule in RULES:
        ids = {name: value.upper() for name, value in re.findall(r'ATTRS?\{(id\w+)\}=="(\w+)"', rule)}
        found.add(f"usb:v{ids['idVendor']}p{ids.get('idProduct', '*')}d*")
    aliases = ElementTree.parse(ROOT / "share" / "invalid.pdudaemon.pdudaemon.metainfo.xml").findall(
        "provides/modalias"
    )
    assert sorted(str(each.text) for each in aliases) == sorted(found)


@pytest.mark.parametrize("driver", sorted((each for each in DRIVERS if each.usb_ids), key=lambda each: each.__name__))
def test_each_device_has_its_rule(driver: type[PDUDriver]) -> None:
    nodes = {"serialport": {"tty"}, "hid": {"usb", "hidraw"}, "usb": {"usb"}}
    used = nodes.keys() & transports(driver)
    needed = nodes[used.pop()] if used else {"usb"}  # what uses none of them runs a program that uses libusb
    assert not used
    for usb_id in driver.usb_ids:
        vendor, _, product = usb_id.partition(":")
        for kind in needed:
            keys = "ATTR" if kind == "usb" else "ATTRS"
            wanted = f'SUBSYSTEM=="{kind}", {keys}{{idVendor}}=="{vendor}", '
            wanted += f'{keys}{{idProduct}}=="{product}", ' if product != "*" else ""
            assert wanted + 'GROUP="pdudaemon", MODE="0660"' in RULES, (usb_id, kind)


@pytest.mark.parametrize("driver", sorted((each for each in DRIVERS if each.usb_chips), key=lambda each: each.__name__))
def test_converters_that_are_before_other_things_have_a_rule_that_is_commented_out(driver: type[PDUDriver]) -> None:
    whole = (ROOT / "share" / "60-pdudaemon.rules").read_text().splitlines()
    for usb_id in driver.usb_chips:
        vendor, _, product = usb_id.partition(":")
        rule = f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", '
        assert f'#{rule}GROUP="pdudaemon", MODE="0660"' in whole
        assert not any(each.startswith(rule) for each in RULES)


# Drivers that use a line, or a device, of this machine and know no USB device by which it could be told.
ANYTHING = {
    "modbusrtu": "any adapter for RS-485",
    "waveshare-8": "any adapter for RS-485",
    "reset_cable": "any serial port",
}


def test_a_driver_of_what_is_plugged_in_says_what_that_is() -> None:
    """By ids of its own, or by the converter that it is behind; else it is said here why not."""
    known = {strategies.find(word) for word in ANYTHING}
    here = {"serialport", "hid", "usb", "modemlines"}
    plugged = {each for each in DRIVERS if here & transports(each) and not issubclass(each, NetworkDevice)}
    assert {each for each in plugged if not (each.usb_ids or each.usb_chips)} <= known
    assert not {
        each.__name__ for each in plugged if (each.usb_ids or each.usb_chips) and each.attached is PDUDriver.attached
    }
