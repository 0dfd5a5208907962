# SPDX-License-Identifier: MIT
"""Consoles that meet another device than their own: they say so at once, try nothing again, and leave it free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.errors import PermanentError
from pdudaemon.transports import dialogue
from pdudaemon.transports.deadline import Deadline
from tests.devices import apccli, apcmenu
from tests.devices.base.console import Console, Left
from tests.devices.base.device import Device
from tests.devices.base.scripted import Scripted
from tests.devices.gude import EPC
from tests.devices.netio4 import KShell
from tests.devices.synaccess import NetBooter
from tests.support.action import begun
from tests.support.process import eventually

MENUS = [*apcmenu.PERSONALITIES]
SECONDS = 120.0


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.3)


def driver(name: str, device: Any, **settings: Any) -> PDUDriver:
    place = {"port" if name.startswith("devantech") else "telnetport": device.port, "ip": "127.0.0.1"}
    return begun(
        strategies.find(name)("127.0.0.1", {"driver": name, "password": "apc-secret", **place, **settings}), SECONDS
    )


def refused(made: PDUDriver) -> str:
    """Return why neither switching nor looking is done; it takes little of the time that there is."""
    told = set()
    for act in (made.port_on, made.port_off, made.port_status):
        made.deadline = Deadline(SECONDS)
        with pytest.raises(PermanentError) as caught:
            act(2)
        assert made.deadline.remaining() > SECONDS / 3
        told.add(str(caught.value))
    return " | ".join(told)


# -- APC: menus, a command line, and the older one


class OldCommands(apccli.APCCommandLine):
    """The command line that older rack PDUs have beside their menus."""

    def session(self) -> None:
        while (line := self.terminal.line()) != "exit":
            self.terminal.write(f"{'E101' if line else ''}\r\nAPC> ")
        raise Left


class Renamed(apccli.APCCommandLine):
    """Shows its prompt unasked, and is left by another word."""

    def session(self) -> None:
        self.terminal.write("\r\nAOS v6.8.2\r\n\r\napc>")
        while (line := self.terminal.line()) != "quit":
            self.terminal.write(f"{'E101: Command Not Found' if line else ''}\r\napc>")
        raise Left


@pytest.mark.parametrize("name", MENUS)
@pytest.mark.parametrize("kind", [apccli.APCCommandLine, Renamed])
def test_menus_that_are_a_command_line(name: str, kind: Callable[[int], Console]) -> None:
    with kind(24) as device:
        told = refused(driver(name, device))
        assert told == f"127.0.0.1:{device.port} has a command line (apc>) and no menus: the driver for it is apc8959"
        eventually(lambda: device.logouts == device.sessions == 3)
        made = driver("apc8959", device)
        if kind is apccli.APCCommandLine:
            made.port_on(2)
            assert device.outlets["2"] == "on"


@pytest.mark.parametrize("name", MENUS)
def test_a_command_line_that_is_menus(name: str) -> None:
    with apcmenu.APCMenu(apcmenu.PERSONALITIES[name]) as device:
        told = refused(driver("apc8959", device))
        assert "has menus and no command line" in told and "apc7952" in told
        eventually(lambda: device.logouts == device.sessions == 3)
        assert {*device.outlets.values()} == {"off"}
        driver(name, device).port_on(2)
        assert device.outlets["2"] == "on"


@pytest.mark.parametrize("name", ["apc7921", "apc9210", "apc8959"])
def test_the_older_command_line(name: str) -> None:
    with OldCommands(8) as device:
        assert "the command line of older rack PDUs (APC>), which no driver speaks" in refused(driver(name, device))
        eventually(lambda: device.logouts == device.sessions == 3)


# -- consoles of other makers


def synaccess() -> Device:
    return NetBooter()


def netio() -> Device:
    return KShell()


def gude() -> Device:
    device = EPC()
    device.login = True
    return device


def apc() -> Device:
    return apcmenu.APCMenu(apcmenu.VERSION_2)


def kinds() -> Iterator[tuple[str, Callable[[], Device], dict[str, Any]]]:
    """Yield each driver with each device that is not its own."""
    devices = {"apc": apc, "netio": netio, "synnet": synaccess, "gude": gude}
    for name, settings in (
        ("apc7921", {}),
        ("apc8959", {}),
        ("netio4", {"username": "admin"}),
        ("synnetbooter", {"username": "admin"}),
        ("gude1202", {"username": "admin"}),
        ("gude1202", {}),
    ):
        for own, device in devices.items():
            if not name.startswith(own):
                yield name, device, settings


@pytest.mark.parametrize(("name", "device", "settings"), [*kinds()])
def test_each_console_with_each_other(name: str, device: Callable[[], Device], settings: dict[str, Any]) -> None:
    with device() as other:
        told = refused(driver(name, other, **settings))
        assert "it is not what this driver is for" in told, told
        assert {*other.outlets.values()} == {"off"}


@pytest.mark.parametrize("name", ["apc7921", "apc8959", "netio4", "synnetbooter", "gude1202"])
@pytest.mark.parametrize("greeting", ["SSH-2.0-dropbear_2022.83\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_services_that_are_no_consoles(name: str, greeting: str) -> None:
    with Scripted([(b"", greeting.encode()), (b"never", b"")]) as service:
        assert "it is not what this driver is for" in refused(driver(name, service))


def test_a_netbooter_without_a_login() -> None:
    """Gude's console shows the same prompt, and does not know the command."""
    with EPC() as device:
        assert "a console that has no login" in refused(driver("synnetbooter", device, username="admin"))
        eventually(lambda: device.logouts == device.sessions == 3)


@pytest.mark.parametrize("name", ["devantech_eth008", "devantech_eth8020", "devantech_ds378"])
@pytest.mark.parametrize("device", [apc, netio, synaccess, gude])
def test_boards_that_say_nothing_unasked(name: str, device: Callable[[], Device]) -> None:
    """A greeting is not taken for the states of relays."""
    with device() as other:
        assert "is it a device of this kind?" in refused(driver(name, other, password=""))
