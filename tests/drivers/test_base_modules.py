# SPDX-License-Identifier: MIT
"""The base modules of the existing daemon: a plugin on each of them, as third parties write them, switches a device."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.driver import PDUDriver, registered
from pdudaemon.drivers.hiddevice import HIDDevice
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.power import Action
from pdudaemon.transports.console import Console
from pdudaemon.transports.deadline import Deadline, begin
from tests.devices import acme, apcmenu, cleware, devantecheth, devantechusb, tasmota, ykush
from tests.devices.base import hid
from tests.devices.base.device import Device, Mood
from tests.support.patience import with_patience
from tests.support.process import Daemon, eventually, install_plugin
from tests.support.rack import awaited, submitted

HEAD = """
import logging
import os

log = logging.getLogger("pdud.drivers." + os.path.basename(__file__))
"""
ACCEPTS = """
    @classmethod
    def accepts(cls, drivername):
        return drivername == "plugin"
"""


def started_with(daemon: Callable[..., Daemon], source: str, pdu: str = "pdu", **settings: object) -> Daemon:
    """Start a daemon with one PDU of the class ``Plugin``."""
    made = daemon({pdu: {"driver": "plugin", "retries": 1, "timeout": 20, **settings}}, start=False)
    install_plugin(made.plugins, "pluginmodule", HEAD + source, {"plugin": "Plugin"})
    made.start()
    return made


# -- LocalBase


LOCAL = (
    """
from pdudaemon import PDUDriver
from pdudaemon.drivers.localbase import LocalBase

class Plugin(LocalBase):
"""
    + ACCEPTS
    + """
    def _port_interaction(self, command, port_number):
        log.warning("%s %s at %s", port_number, command, self.hostname)
        with open(self.settings["out"], "a") as out:
            out.write("%s %s\\n" % (port_number, command))
        assert self.connection is None and isinstance(self, PDUDriver)
"""
)
OWN_INIT = """
    def __init__(self, hostname, settings):
        assert self.hostname == "" and self.connection is None
        self.hostname = hostname
        self.settings = settings
"""


@pytest.mark.parametrize("own", ["", OWN_INIT])
def test_a_plugin_on_local_base(daemon: Callable[..., Daemon], tmp_path: Path, own: str) -> None:
    started = started_with(daemon, LOCAL + own, out=str(tmp_path / "out"))
    assert started.tcp("pdu 03 on") == "ack\n"
    assert started.power("reboot", "pdu", "relay@2", delay=0).status == 200
    assert (tmp_path / "out").read_text() == "3 on\nrelay@2 off\nrelay@2 on\n"
    eventually(lambda: "WARNING pdud.drivers.pluginmodule.py: 3 on at pdu" in started.log_text())


def test_a_plugin_on_local_base_that_defines_nothing(daemon: Callable[..., Daemon]) -> None:
    source = "from pdudaemon.drivers.localbase import LocalBase\nclass Plugin(LocalBase):\n" + ACCEPTS
    assert started_with(daemon, source).tcp("pdu 1 on") == "nack: pdu: the driver Plugin has no 'on'\n"


# -- APCBase and APC7952


APC = (
    """
from pdudaemon.drivers.apcbase import APCBase

class Plugin(APCBase):
"""
    + ACCEPTS
    + """
    def _pdu_logout(self):
        for _ in range(10):
            self.connection.send("\\x1b")
            if self.connection.expect(["4- Logout", "> "]) == 0:
                break
        self.connection.send("4\\r")

    def _port_interaction(self, command, port_number):
        for entry in ("1- Device Manager", "3- Outlet Control/Configuration"):
            self.connection.expect(entry)
            self.connection.send(entry[:1] + "\\r")
        self.connection.expect(r"\\b%s- Outlet [^\\r]*" % port_number)
        self.connection.expect("> ")
        self.connection.sendline(str(port_number))
        self.connection.expect("1- Control Outlet")
        self.connection.send(b"1\\r")
        assert "Outlet" in self.connection.after and b"Control" in self.connection.after
        assert self.connection.after.decode().startswith("1-")
        self.connection.expect(["no such thing", b"> "])
        self.connection.send({"on": "1", "off": "2"}[command] + "\\r")
        assert self.connection.expect(["nothing", "Enter 'YES' to continue or <ENTER> to cancel"], timeout=5) == 1
        self.connection.send("YES\\r")
        self.connection.expect("Press <ENTER> to continue...")
        log.info("the device said %s", self.connection.before)
        self.connection.send("\\r")
"""
)
SETS_EXEC_STRING = """
    def __init__(self, hostname, settings):
        super(Plugin, self).__init__(hostname, dict(settings, telnetport=1))
        self.exec_string = "/usr/bin/telnet %s %s" % (hostname, settings["telnetport"])
"""


@pytest.mark.parametrize("own", ["", SETS_EXEC_STRING])
@pytest.mark.parametrize("mood", [Mood.WELL, Mood.SLOW])
def test_a_plugin_on_apc_base(daemon: Callable[..., Daemon], own: str, mood: Mood) -> None:
    with apcmenu.case("apc7900", mood) as case:
        started = started_with(daemon, APC + own, "127.0.0.1", **{**case.settings, "driver": "plugin"})
        for number, (command, port) in enumerate([("on", 3), ("on", 8), ("off", 3)], 1):
            assert started.tcp(f"127.0.0.1 {port} {command}") == "ack\n"
            assert case.device.outlets[str(port)] == command
            eventually(lambda number=number: case.device.logouts == number)
        assert [*case.device.outlets.values()].count("on") == 1
        assert case.device.password not in started.log_text()


def test_a_plugin_on_apc_base_and_a_device_that_says_nothing(daemon: Callable[..., Daemon]) -> None:
    """The whole action is bounded, whatever time pexpect would take."""

    def attempt(seconds: float) -> None:
        with apcmenu.case("apc7900", Mood.DEAF) as case:
            settings = {**case.settings, "driver": "plugin", "timeout": seconds}
            started = started_with(daemon, APC, "127.0.0.1", **settings)
            answer = started.tcp("127.0.0.1 1 on")
            told = answer.startswith("nack: 127.0.0.1: no answer from 127.0.0.1:")
            assert told and f"within {seconds:g} s" in answer

    with_patience(attempt, 1)


MENUS = (
    """
from pdudaemon.drivers.apc7952 import APC7952

class Plugin(APC7952):
"""
    + ACCEPTS
)
OWN_WAY = """
    def _port_interaction(self, command, port_number):
        self._back_to_main()
        for number in ("1", "2", "1"):
            self.connection.expect("> ")
            self.connection.send(number + "\\r")
        self._enter_outlet(port_number, True)
        self.connection.expect("1- Control Outlet")
        self.connection.expect("> ")
        self.connection.send("1\\r")
        self.connection.expect("1- Immediate On")
        self.connection.expect("> ")
        self.connection.send({"on": "1\\r", "off": "2\\r"}[command])
        self._do_it()
"""


@pytest.mark.parametrize("own", ["", OWN_WAY])
@pytest.mark.parametrize("mood", [Mood.WELL, Mood.SLOW])
def test_a_plugin_derived_from_the_7952(daemon: Callable[..., Daemon], own: str, mood: Mood) -> None:
    with apcmenu.case("apc7952", mood) as case:
        started = started_with(daemon, MENUS + own, "127.0.0.1", **{**case.settings, "driver": "plugin"})
        for number, (command, port) in enumerate([("on", 3), ("on", 24), ("off", 3)], 1):
            assert started.tcp(f"127.0.0.1 {port} {command}") == "ack\n"
            assert case.device.outlets[str(port)] == command
            eventually(lambda number=number: case.device.logouts == number)
        assert [*case.device.outlets.values()].count("on") == 1
        assert started.tcp("127.0.0.1 25 on") == "nack: 127.0.0.1: there is no port '25': there are 1 to 24\n"
        assert [*case.device.outlets.values()].count("on") == 1


def test_a_plugin_derived_from_the_7952_without_an_extra_page(daemon: Callable[..., Daemon]) -> None:
    with apcmenu.APCMenu(apcmenu.NO_PAGE).case("plugin") as case:
        started = started_with(daemon, MENUS, "127.0.0.1", **case.settings)
        assert started.tcp("127.0.0.1 7 on") == "ack\n"
        assert case.device.outlets["7"] == "on"


@pytest.mark.parametrize(("mood", "words"), [(Mood.WRONG_PASSWORD, "login refused"), (Mood.REFUSING, "refused: ")])
def test_a_plugin_derived_from_the_7952_tells_why(daemon: Callable[..., Daemon], mood: Mood, words: str) -> None:
    with apcmenu.case("apc7952", mood) as case:
        started = started_with(daemon, MENUS, "127.0.0.1", **{**case.settings, "driver": "plugin"})
        assert words in started.tcp("127.0.0.1 7 on")
        assert "on" not in case.device.outlets.values()


# -- ACMEBase


SHELL = """\
#!/bin/sh
# ssh as somebody at a terminal sees it: its questions, then a shell that runs the programs of the device beside it.
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/received"
echo "The authenticity of host 'acme.lab' can't be established."
printf 'Are you sure you want to continue connecting (yes/no/[fingerprint])? '
read -r answer
[ "$answer" = yes ] || exit 255
printf "root@acme.lab's password: "
read -r given
if [ "$given" != "$(cat "$here/password")" ]; then echo 'root@acme.lab: Permission denied (publickey).'; exit 255; fi
while printf 'root@acme:~# ' && read -r line; do
    [ "$line" = exit ] && exit 0
    if [ -n "$line" ]; then "$here/device" "$line"; fi
done
"""
ACME = (
    """
from pdudaemon.drivers.acmebase import ACMEBase

class Plugin(ACMEBase):
"""
    + ACCEPTS
    + """
    def _port_interaction(self, command, port_number):
        self.connection.send("dut-switch-%s %s\\r" % (command, port_number))
        self.connection.expect("#")

    def _pdu_logout(self):
        self.connection.send("\\r")
        self.connection.expect("#")
        self.connection.send("exit\\r")
"""
)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[acme.Acme]:
    """An ACME behind an ssh that asks its questions."""
    (tmp_path / "bin").mkdir()
    device = acme.Acme(tmp_path / "bin")
    device.program.write_text(SHELL)
    with acme.first_in_path(tmp_path / "bin"):
        yield device


def test_a_plugin_on_acme_base(daemon: Callable[..., Daemon], shell: acme.Acme) -> None:
    started = started_with(daemon, ACME, "acme.lab", password=acme.PASSWORD)
    for command in ("on", "off", "on"):
        assert started.tcp(f"acme.lab 2 {command}") == "ack\n"
        assert shell.outlets["2"] == command
    assert [*shell.outlets.values()].count("on") == 1
    assert shell.calls == ["root@acme.lab"] * 3
    assert acme.PASSWORD not in started.log_text()


def test_a_plugin_on_acme_base_is_not_let_in(daemon: Callable[..., Daemon], shell: acme.Acme) -> None:
    started = started_with(daemon, ACME, "acme.lab", password="guess", username="me")
    assert started.tcp("acme.lab 2 on") == "nack: acme.lab: login refused by acme.lab\n"
    assert shell.calls == ["me@acme.lab"]


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Exception, match="the program 'no-such-program', which this driver needs, is not installed"):
        Console("no-such-program me@host")


def test_a_console_raises_what_pexpect_does() -> None:
    import pexpect

    class Greeting(Device):
        def converse(self, connection: socket.socket) -> None:
            connection.sendall("Küche# ".encode())
            self.receive(connection)

    begin(Deadline(10))
    with Greeting() as device:
        console = Console(f"telnet 127.0.0.1 {device.port}")
        assert console.expect(["Küche", pexpect.TIMEOUT]) == 0 and console.after == "Küche"
        assert console.expect_exact([b"#"]) == 0 and console.before == ""
        assert console.expect(["more", pexpect.TIMEOUT], timeout=0.01) == 1
        with pytest.raises(pexpect.TIMEOUT, match=f"^no answer from 127.0.0.1:{device.port}$"):
            console.expect(re.compile("more"), timeout=0.01)
        console.sendline("x")
        assert console.expect([pexpect.EOF, "more"]) == 0
        with pytest.raises(pexpect.EOF, match=f"^connection closed by 127.0.0.1:{device.port}$"):
            console.expect("more")
        assert console.isalive()
        console.close(force=True)
        assert not console.isalive()
    begin(Deadline(60))


# -- HIDDevice


class HIDPlugin(PDUDriver):
    """As a third party would have it, for a hub of Yepkit."""

    def __init__(self, hostname, settings):  # type: ignore[no-untyped-def]
        self.hostname = hostname
        self.settings = settings
        super().__init__()

    @classmethod
    def accepts(cls, drivername: str) -> bool:
        return drivername == "hidplugin"

    def port_interaction(self, command, port_number) -> None:  # type: ignore[no-untyped-def]
        byte = (0x10 if command == "on" else 0x00) + int(port_number)
        with HIDDevice(vid=0x04D8, pid=0xF2F7, serial=self.settings["serial"]) as device:
            device.write([0, byte, byte])
            answer = device.read(64)
        if answer[:2] != [1, byte]:
            raise RuntimeError(f"the hub answers {answer[:2]}")


def test_a_plugin_on_hid_device(tmp_path: Path) -> None:
    board, other = ykush.Board("YKUSH"), ykush.Board("YKUSH", "YK00001")
    conf = tmp_path / "conf"
    conf.write_text('{"pdus": {"hub": {"driver": "hidplugin", "serial": "YK20345", "retries": 1}}}')
    with hid.attached(other, board):
        dispatcher = Dispatcher(reader.load(str(conf)), Store(MEMORY))
        dispatcher.start()
        try:
            for command in ("on", "off", "on"):
                request = submitted(dispatcher, Action(command), dispatcher.config.target("hub", "2"))
                assert awaited(dispatcher, request, 30)
                assert board.outlets["2"] == command
        finally:
            dispatcher.close(5)
    assert "on" not in other.outlets.values()


def test_a_hid_device_is_opened_by_what_is_given() -> None:
    board, other = ykush.Board("YKUSH"), ykush.Board("YKUSH", "YK00001")
    begin(Deadline(30))
    with hid.attached(other, board):
        with pytest.raises(RuntimeError, match="neither the path nor the ids"):
            HIDDevice()
        ways = (
            {"path": board.path},
            {"path": board.path.decode()},
            {"vid": 0x04D8, "pid": 0xF2F7, "serial": "YK20345"},
        )
        for number, way in enumerate(ways, 1):
            with HIDDevice(**way) as device:  # type: ignore[arg-type]
                device.write(b"\0\x11\x11")
                assert device.read(64, timeout_ms=5000)[:2] == [0x01, 0x11]
                assert device.read(64, timeout_ms=20) == []
            with device:  # once more
                pass
            assert board.sessions == 2 * number
        with HIDDevice(0x04D8, 0xF2F7) as first:
            first.write(bytes([0, 0x11, 0x11]))
        assert other.outlets["1"] == "on"
        with pytest.raises(TransientError, match="04d8:f2f7 with the serial number YK9 is attached"):
            HIDDevice(0x04D8, 0xF2F7, "YK9")
        with HIDDevice(0x04D8, 0xF2F7) as first:
            begin(Deadline(0.2))
            with pytest.raises(DeviceTimeout):
                first.read(64)  # of which nothing more comes
                first.read(64)
    begin(Deadline(60))


def test_a_switch_of_cleware_through_the_hid_device() -> None:
    switch = cleware.Switch4(serial=77)
    with hid.attached(switch), HIDDevice(vid=0x0D50, pid=0x0008) as device:
        device.write([0, 0, 0x11, 1])
        assert device.read(6)
    assert switch.outlets["2"] == "on"


# -- the bases of Tasmota and Devantech


@pytest.mark.parametrize("mood", [Mood.WELL, Mood.SLOW])
def test_a_plugin_on_the_tasmota_base(daemon: Callable[..., Daemon], mood: Mood) -> None:
    source = (
        "from pdudaemon.drivers.tasmota import TasmotaBase\nclass Plugin(TasmotaBase):\n    port_count = 2\n" + ACCEPTS
    )
    with tasmota.case("brennenstuhl_wspl01_tasmota", mood) as case:
        started = started_with(daemon, source, **{**case.settings, "driver": "plugin"})
        assert started.tcp("pdu 2 on") == "ack\n" and case.device.outlets["2"] == "on"
        assert started.power("off", "pdu", "02").status == 200 and case.device.outlets["2"] == "off"
        assert started.power("status", "pdu", 2).text == "off\n"
        assert started.power("on", "pdu", 3).text == "pdu: there is no port '3': there are 1 to 2\n"
        started = started_with(daemon, source, case.settings["ip"], username="admin", password=tasmota.PASSWORD)
        assert started.tcp(f"{case.settings['ip']} 1 on") == "ack\n" and case.device.outlets["1"] == "on"


@pytest.mark.parametrize("logic", ["NO", "NC"])
def test_a_plugin_on_the_devantech_base(daemon: Callable[..., Daemon], logic: str) -> None:
    source = (
        "from pdudaemon.drivers.devantech import DevantechBase\nclass Plugin(DevantechBase):\n    port_count = 8\n"
        + ACCEPTS
    )
    with devantecheth.Board("devantech_eth008", contact=logic) as board:
        given = {"ip": "127.0.0.1", "port": board.port, "password": devantecheth.PASSWORD, "logic": logic}
        started = started_with(daemon, source, **given)
        for command in ("on", "off", "on"):
            assert started.tcp(f"pdu 3 {command}") == "ack\n"
            assert board.outlets["3"] == command and board.locked
        assert [*board.outlets.values()].count("on") == 1 + 7 * (logic == "NC" and board.outlets["1"] == "on")
        assert started.tcp("pdu 9 on") == "nack: pdu: there is no port '9': there are 1 to 8\n"
        started = started_with(daemon, source, **{**given, "password": "guess"})
        assert "login refused by" in started.tcp("pdu 1 on")
        started = started_with(daemon, source)
        assert "KeyError: 'ip'" in started.tcp("pdu 1 on")


def test_a_plugin_on_the_devantech_base_with_a_dialogue_of_its_own(daemon: Callable[..., Daemon]) -> None:
    source = "from pdudaemon.drivers.devantech import DevantechBase\nclass Plugin(DevantechBase):\n" + ACCEPTS
    source += """
    def port_interaction(self, command, port_number):
        self.connect()
        self.connection.sendall(bytes([0x20 if command == "on" else 0x21, port_number, 0]))
        assert self.connection.recv(1) == b"\\0"
        self._close_connection()
"""
    with devantecheth.Board("devantech_eth008", password="") as board:
        started = started_with(daemon, source, ip="127.0.0.1", port=board.port)
        assert started.tcp("pdu 3 on") == "ack\n" and board.outlets["3"] == "on"


def test_a_plugin_on_the_devantech_usb_base(daemon: Callable[..., Daemon]) -> None:
    source = "from pdudaemon.drivers.devantechusb import DevantechusbBase\n"
    source += "class Plugin(DevantechusbBase):\n    port_count = 8\n" + ACCEPTS
    with devantechusb.Module("devantech_USB-RLY08B") as module:
        started = started_with(daemon, source, device=module.path)
        for command in ("on", "off", "on"):
            assert started.tcp(f"pdu 3 {command}") == "ack\n"
            assert module.outlets["3"] == command
        assert started.tcp("pdu 03 status") == "on\n"
        assert started.tcp("pdu 0 on") == "nack: pdu: there is no port '0': there are 1 to 8\n"


def test_the_base_modules_bring_no_names() -> None:
    modules = ("localbase", "apcbase", "apc7952", "acmebase", "consolebase", "devantech", "hiddevice")
    assert not {f"pdudaemon.drivers.{module}" for module in modules} & {each.__module__ for each in registered.values()}
    assert registered["apc7952"].__name__ == "APCMenu" and registered["tasmota"].__name__ == "Tasmota"
