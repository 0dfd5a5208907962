# SPDX-License-Identifier: MIT
"""The daemon and USB devices, with the kernel, libusb, hidapi, pyusb and pyserial of Debian between them.

Runs in a virtual machine: ``make test-usb``. Relays are looked at, and switched by hand, in the device itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import termios
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from pdudaemon.drivers.resetcable import ResetCable
from tests.devices import devantechusb, numato
from tests.support.action import begun
from tests.support.process import Daemon, eventually
from tests.vm import boards
from tests.vm.gadgets import Cable, Gadget, load_modules
from tests.vm.users import DaemonOf, let_in

NAMES = ["NumatoUSB8", "devantech_USB-RLY08B", "vusbhid", "EG-PMS", "YKUSH", "ClewareUsbSwitch4"]
ABSENT: dict[str, dict[str, Any]] = {
    "NumatoUSB8": {"device": "/dev/serial/by-id/usb-absent"},
    "vusbhid": {"serial": "OTHER"},
    "EG-PMS": {"device": "00:00:00:00:00"},
    "YKUSH": {"serial": "YK00000"},
    "ClewareUsbSwitch4": {"serial": 4711},
}


class Socket(NamedTuple):
    """What is plugged in: the USB device, what has the relays (most often the same), and how to reach one of them."""

    usb: Gadget
    device: Any
    settings: dict[str, Any]
    port: str


class Said(NamedTuple):
    """How a program has ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def sockets() -> Iterator[dict[str, Socket]]:
    """Have one device of each family plugged in, by driver name; and two that could be taken for another."""
    load_modules()
    with numato.Module(8) as numatos, devantechusb.Module("devantech_USB-RLY08B") as devantechs:
        cable = Cable(numatos.path, "2a19:0c02", "Numato Lab", "8 Channel USB Relay Module", "NLRL001")
        other_cable = Cable(devantechs.path, "04d8:ffee", "Devantech Ltd.", "USB-RLY08", "00012345")
        board, other_board = boards.VUSBRelay("BITFT", 8), boards.VUSBRelay("ABCDE", 2)
        strip, hub, switch = boards.SisPM("01:01:51:a4:c3"), boards.YKUSH("YK20345"), boards.ClewareSwitch("1A2B3")
        found = {
            "NumatoUSB8": Socket(cable, numatos, {"device": cable.path}, "3"),
            "devantech_USB-RLY08B": Socket(other_cable, devantechs, {"device": other_cable.path}, "8"),
            "vusbhid": Socket(board, board, {"serial": "BITFT"}, "7"),
            "EG-PMS": Socket(strip, strip, {"device": "01:01:51:a4:c3"}, "4"),
            "YKUSH": Socket(hub, hub, {"serial": "YK20345"}, "2"),
            "ClewareUsbSwitch4": Socket(switch, switch, {"serial": 0x1A2B3}, "1"),
            "the other board": Socket(other_board, other_board, {"driver": "vusbhid", "serial": "ABCDE"}, "2"),
        }
        for each in [boards.Stranger(), *(socket.usb for socket in found.values())]:
            each.plug()
        yield found


def configured(sockets: dict[str, Socket], **more: Any) -> dict[str, Any]:
    """Return a PDU for each device, by the same name."""
    return {name: {"driver": name, "retries": 1, **socket.settings, **more} for name, socket in sockets.items()}


@pytest.fixture(scope="module")
def running(sockets: dict[str, Socket], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon that has all of them, most of them twice, and some that are not there."""
    pdus = configured(sockets)
    patient = configured(sockets, retries=100, retrydelay=0.5)
    pdus |= {f"patient-{name}": {**patient[name], "lock": name} for name in NAMES}
    pdus |= {f"absent-{name}": {"driver": name, "retries": 1, **settings} for name, settings in ABSENT.items()}
    pdus["any-board"] = {"driver": "vusbhid", "retries": 1}
    daemon = Daemon(tmp_path_factory.mktemp("running"), pdus)
    daemon.start()
    yield daemon
    daemon.kill()


def run(daemon: Daemon, *arguments: str) -> Said:
    """Run the program to its end."""
    done = daemon.run(*arguments)
    return Said(done.returncode, done.stdout, done.stderr)


def drive(daemon: Daemon, pdu: str, port: str, request: str) -> Said:
    """Carry out one request without a daemon."""
    return run(daemon, "--drive", "--hostname", pdu, "--port", port, "--request", request)


@pytest.mark.parametrize("name", NAMES)
def test_outlets_are_switched_and_read(name: str, sockets: dict[str, Socket], daemon: Callable[..., Daemon]) -> None:
    program, socket = daemon(configured(sockets), start=False), sockets[name]
    all_on, all_off = (dict.fromkeys(socket.device.outlets, state) for state in ("on", "off"))
    socket.device.outlets = dict(all_off)
    assert drive(program, name, socket.port, "on") == Said(0, "", "")
    assert socket.device.outlets == {**all_off, socket.port: "on"}
    socket.device.outlets = dict(all_off)
    assert drive(program, name, socket.port, "status") == Said(0, "off\n", "")
    socket.device.outlets = dict(all_on)
    assert drive(program, name, socket.port, "off") == Said(0, "", "")
    assert socket.device.outlets == {**all_on, socket.port: "off"}


@pytest.mark.parametrize("pdu", ["absent-vusbhid", "absent-NumatoUSB8"])
def test_what_is_not_there_is_told_in_one_line(pdu: str, running: Daemon, daemon: Callable[..., Daemon]) -> None:
    said = drive(daemon(running.settings["pdus"], start=False), pdu, "1", "on")
    told = [line for line in said.err.splitlines() if line.startswith("pdudaemon: ")]  # the log has its own lines
    assert (said.code, said.out) == (1, "")
    assert len(told) == 1 and told[0].startswith(f"pdudaemon: {pdu}: ") and "Traceback" not in said.err


@pytest.mark.parametrize(
    ("pdu", "port", "reason"),
    [
        ("absent-NumatoUSB8", "1", "cannot open /dev/serial/by-id/usb-absent: No such file or directory"),
        ("absent-vusbhid", "1", "no relay board OTHER is attached; found: (ABCDE, BITFT|BITFT, ABCDE)"),
        ("absent-EG-PMS", "1", "no .*00:00:00:00:00 is attached; found: 01:01:51:a4:c3"),
        ("absent-YKUSH", "1", "no YKUSH YK00000 is attached; found: YK20345"),
        ("absent-ClewareUsbSwitch4", "1", "no Cleware device 4711 is attached; found: 107187"),
        ("the+other+board", "3", "has 2 relays, not relay 3"),
        ("any-board", "1", "the configuration must say which relay board"),
    ],
)
def test_reasons(pdu: str, port: str, reason: str, running: Daemon) -> None:
    reply = running.power("on", pdu, port)
    assert reply.status == 502
    assert re.search(reason, reply.text), reply.text


def test_boards_with_one_usb_id_are_told_apart(running: Daemon, sockets: dict[str, Socket]) -> None:
    board, other = sockets["vusbhid"].device, sockets["the other board"].device
    before = dict(board.outlets)
    assert running.power("on", "the+other+board", 2).status == 200
    assert (board.outlets, other.outlets) == (before, {"1": "off", "2": "on"})


@pytest.mark.parametrize("name", NAMES)
def test_a_device_may_be_pulled_out_and_plugged_in_again(
    name: str, running: Daemon, sockets: dict[str, Socket]
) -> None:
    usb, device, _, port = sockets[name]
    assert running.power("on", name, port).status == 200
    usb.unplug()
    reply = running.power("off", name, port)
    assert (reply.status, device.outlets[port]) == (502, "on"), reply.text
    assert running.power("off", f"patient-{name}", port, wait=0).status == 200
    usb.plug()
    eventually(lambda: device.outlets[port] == "off")  # which the patient one has done
    assert running.power("on", name, port).status == 200
    assert (device.outlets[port], running.power("status", name, port).text) == ("on", "on\n")


def test_attached_devices_are_listed_as_they_are_configured(running: Daemon, sockets: dict[str, Socket]) -> None:
    said = run(running, "--list-devices")
    assert (said.code, said.err) == (0, "")
    lines = [re.fullmatch(r"(.+?): (\{.*\})( .*)?", line) for line in said.out.splitlines()]
    listed = [(line[1].split(" or "), json.loads(line[2])) for line in lines if line]
    assert len(listed) == len(lines) == len(sockets), said.out
    for name in NAMES:
        wanted = sockets[name].settings.items()
        assert any(name in names and wanted <= settings.items() for names, settings in listed), said.out


def test_the_lines_of_a_serial_converter(sockets: dict[str, Socket]) -> None:
    """DTR and RTS as the kernel's driver for it has them, by a descriptor of ours that was open before."""
    path = sockets["NumatoUSB8"].settings["device"]
    ours = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    cable = begun(ResetCable("bench", {"driver": "reset_cable", "device": path}))
    try:
        for port, bit in (("dtr", termios.TIOCM_DTR), ("rts", termios.TIOCM_RTS)):
            for action in ("off", "on", "off"):
                cable.port_interaction(action, port)
                (bits,) = struct.unpack("i", fcntl.ioctl(ours, termios.TIOCMGET, bytes(4)))
                assert bool(bits & bit) is (action == "off") and cable.port_status(port) == action
        assert not termios.tcgetattr(ours)[2] & termios.HUPCL
    finally:
        del cable
        os.close(ours)


def test_the_rules_let_members_of_the_group_in(sockets: dict[str, Socket]) -> None:
    """As the head of their file says: a group, the rules, and udev made to look at them."""
    member = DaemonOf("member", "pdudaemon", pdus=configured(sockets))
    stranger = DaemonOf("stranger", pdus=configured(sockets))

    def denied(daemon: Daemon) -> None:
        for name in NAMES:
            sockets[name].device.outlets[sockets[name].port] = "off"
            reply = daemon.power("on", name, sockets[name].port)
            assert (reply.status, sockets[name].device.outlets[sockets[name].port]) == (502, "off"), reply.text
            assert "no access" in reply.text or "Permission denied" in reply.text, reply.text

    def allowed(daemon: Daemon) -> None:
        for name in NAMES:
            sockets[name].device.outlets[sockets[name].port] = "off"
            reply = daemon.power("on", name, sockets[name].port)
            assert (reply.status, sockets[name].device.outlets[sockets[name].port]) == (200, "on"), reply.text

    try:
        member.start()
        stranger.start()
        denied(member)
        let_in()
        allowed(member)
        denied(stranger)
        for name in NAMES:
            sockets[name].usb.unplug()
            sockets[name].usb.plug()
        allowed(member)
    finally:
        member.kill()
        stranger.kill()
