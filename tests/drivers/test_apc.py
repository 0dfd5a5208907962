# SPDX-License-Identifier: MIT
"""APC's consoles: the known conversations against driver and fake, other firmwares, and the one session of a device."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.apccli import APCCommandLine
from pdudaemon.drivers.apcconsole import APCConsole
from pdudaemon.drivers.apcmenu import APCMenu
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import dialogue, telnet
from tests.devices import apccli, apcmenu
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation
from tests.support.action import begun
from tests.support.patience import with_patience
from tests.support.process import eventually


def sample(name: str) -> list[tuple[bytes, bytes]]:
    return [(asked.encode("latin-1"), said.encode("latin-1")) for asked, said in conversation(name)]


def driver(device: Any, name: str, seconds: float = 120, password: str = "apc-secret") -> APCConsole:
    settings = {"driver": name, "telnetport": device.port, "password": password}
    made = strategies.find(name)("127.0.0.1", settings)
    assert isinstance(made, APCConsole)
    return begun(made, seconds)


def menu_device(name: str = "apc7920", mood: Mood = Mood.WELL, **different: Any) -> apcmenu.APCMenu:
    return apcmenu.APCMenu(replace(apcmenu.PERSONALITIES[name], **different), mood)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("apc7920_off_3", lambda made: made.port_off(3)),
        ("apc8959_off_5", lambda made: made.port_off(5)),
        ("apc8959_status_5", lambda made: made.port_status(5)),
    ],
)
def test_the_conversation_against_the_driver(name: str, act: Callable[[APCConsole], State | None]) -> None:
    exchanges = sample(name)
    with Scripted(exchanges) as device:
        assert act(driver(device, name.split("_")[0], password="apc")) in (None, State.OFF)
    assert bytes(device.received) == b"".join(asked for asked, _ in exchanges)


@pytest.mark.parametrize("name", ["apc7920_off_3", "apc8959_off_5", "apc8959_status_5"])
def test_the_conversation_against_the_fake(name: str) -> None:
    device: Any = apccli.APCCommandLine(24) if name.startswith("apc8959") else menu_device(names={3: "board"})
    device.password = "apc"
    device.outlets.update({"1": "on", "2": "on", "3": "on"})
    with device, socket.create_connection(("127.0.0.1", device.port), 30) as client:
        answers = client.makefile("rb")
        for asked, said in sample(name):
            client.sendall(asked)
            assert answers.read(len(said)) == said
        assert answers.read() == b""
    assert device.outlets["3" if name.startswith("apc7920") else "5"] == "off"
    eventually(lambda: device.logouts == 1)


@pytest.mark.parametrize("word", ["ap9606", "AP9606", "ApC9606", "ap9218", "APC9218"])
def test_old_names_in_any_case(word: str) -> None:
    assert strategies.find(word) is APCMenu
    assert APCMenu.canonical_port("08", {"driver": word}) == "8"
    with menu_device("ap9606") as device:
        driver(device, word).port_on(8)
        assert device.outlets["8"] == "on"


@pytest.mark.parametrize("word", ["APC7900", "Apc9210", "APC8959", "ap7900", "apc"])
def test_other_names_only_as_they_stand(word: str) -> None:
    assert not APCMenu.accepts(word)
    assert not APCCommandLine.accepts(word)


@pytest.mark.parametrize(("name", "last"), [("apc7900", 8), ("apc7932", 24), ("apc7952", 24), ("apc8959", 24)])
def test_the_entry_for_all_outlets_is_never_chosen(name: str, last: int) -> None:
    for port in (last + 1, 0, -1, "9x"):
        with pytest.raises(ValueError, match=r"is not a port"):
            strategies.find(name).canonical_port(str(port), {"driver": name})
        with Scripted([]) as device:
            for act in (driver(device, name).port_on, driver(device, name).port_status):
                with pytest.raises(PermanentError, match=r"is not a port"):
                    act(port)
            assert device.sessions == 0


@pytest.mark.parametrize("different", [{}, {"way": apcmenu.WAY_3}, {"page": ()}])
def test_a_smaller_device_than_configured(different: dict[str, Any]) -> None:
    with menu_device("apc7920", **different) as device:
        with pytest.raises(PermanentError, match=r"entry 9 of .* is not an outlet: Master"):
            driver(device, "apc7952").port_on(9)
        with pytest.raises(PermanentError, match=r"entry 10 of .* is not an outlet: not listed"):
            driver(device, "apc7952").port_on(10)
        assert set(device.outlets.values()) == {"off"}
        eventually(lambda: device.logouts == 2)
    with menu_device("apc9210") as device:
        with pytest.raises(TransientError, match=r"unexpected menu of .* at the way to the outlets"):
            driver(device, "apc7952").port_on(9)
        assert set(device.outlets.values()) == {"off"}


@pytest.mark.parametrize(
    "different",
    [
        {"way": apcmenu.WAY_3},
        {"page": ()},
        {"page": ("Control Outlet", "Outlet Restriction"), "page_pause": True},
        {"manager": "Outlet Manager", "way": (), "list_title": "Outlet Manager"},
        {"actions": ("Immediate On", "Delayed On", "Immediate Off", "Delayed Off", "Cancel")},
        {"actions": ("Turn Outlet On", "Turn Outlet Off")},
        {"names": {1: "Device Manager", 2: "Outlet Management", 3: "Switched OFF", 4: "9- Master", 5: "> "}},
        {"done": "Success"},
        {"mark": "*"},
    ],
)
def test_other_firmwares(different: dict[str, Any]) -> None:
    with menu_device("apc7920", **different) as device:
        for port in (1, 2, 3, 8):
            driver(device, "apc7920").port_on(port)
            assert device.outlets[str(port)] == "on"
            assert driver(device, "apc7920").port_status(port) is State.ON
        driver(device, "apc7920").port_off(3)
        assert [port for port, state in device.outlets.items() if state == "on"] == ["1", "2", "8"]
        eventually(lambda: device.logouts == device.sessions == 9)


def test_a_9210_that_shows_states_in_its_list() -> None:
    with menu_device("apc9210", list_states=True) as device:
        device.outlets["4"] = "on"
        assert driver(device, "apc9210").port_status(4) is State.ON
        assert driver(device, "apc9210").port_status(5) is State.OFF


def test_a_name_that_looks_like_a_state() -> None:
    with menu_device("apc9210", names={3: "Lamp OFF", 4: "Lamp ON"}) as device:
        device.outlets["3"] = "on"
        assert driver(device, "apc9210").port_status(3) is State.ON
        driver(device, "apc9210").port_on(5)
        assert driver(device, "apc9210").port_status(4) is State.OFF
        assert [port for port, state in device.outlets.items() if state == "on"] == ["3", "5"]


@pytest.mark.parametrize(
    ("different", "error", "words"),
    [
        ({"done": "Not now"}, PermanentError, "refused at switching outlet 2 on: 'Not now'"),
        (
            {"actions": ("Immediate Reboot",)},
            TransientError,
            "unexpected menu of .* at switching outlet 2 on: Immediate Reboot",
        ),
        (
            {"way": (("Device Manager", ("Network",), 1),)},
            TransientError,
            "unexpected menu of .* at the way to the outlets: Network",
        ),
    ],
)
def test_a_device_is_left_free_after_an_error(different: dict[str, Any], error: type[DeviceError], words: str) -> None:
    with menu_device("apc7920", **different) as device:
        for _ in range(2):
            with pytest.raises(error, match=words):
                driver(device, "apc7920").port_on(2)
        eventually(lambda: device.logouts == device.sessions == 2)


class Thinking(apcmenu.APCMenu):
    """Does not act before it hears more."""

    def confirm(self, action: str, ports: list[str]) -> None:
        self.terminal.hear()
        super().confirm(action, ports)


def test_a_device_is_left_free_after_the_deadline() -> None:
    def attempt(seconds: float) -> None:
        with Thinking(apcmenu.VERSION_2) as device:
            with pytest.raises(DeviceTimeout, match=rf"at switching outlet 2 on within {seconds:g} s"):
                driver(device, "apc7920", seconds=seconds).port_on(2)
            eventually(lambda: device.logouts == 1)
            assert device.outlets["2"] == "off"

    with_patience(attempt)


def test_a_session_is_kept_when_a_client_just_goes() -> None:
    with menu_device() as device:
        with socket.create_connection(("127.0.0.1", device.port), 30) as client:
            client.sendall(b"apc\rapc-secret\r")
            received = b""
            while b"Logout" not in received:
                received += client.recv(4096)
        eventually(lambda: device._taken_until < float("inf"))
        with pytest.raises(TransientError, match=r"connection closed by .* at the login prompt"):
            driver(device, "apc7920").port_on(1)
        device._taken_until = 0.0  # as after a minute
        driver(device, "apc7920").port_on(1)
        assert device.outlets["1"] == "on"


class Repeating(apcmenu.APCMenu):
    """Draws every menu twice."""

    def show(self, title: str, lines: list[str]) -> None:
        super().show(title, lines)
        self.terminal.write("\r\n")
        super().show(title, lines)


class HardOfHearing(apcmenu.APCMenu):
    """Wants to be told twice to go on."""

    def pause(self) -> None:
        self.terminal.write("Press <ENTER> to continue...")
        self.terminal.line()
        self.terminal.line()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("apc7920", Repeating),
        ("apc9210", Repeating),
        ("apc9218", Repeating),
        ("apc9218", HardOfHearing),
        ("apc7952", HardOfHearing),
    ],
)
def test_devices_with_habits(name: str, kind: type[apcmenu.APCMenu], monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(dialogue, "PATIENCE", seconds)
        monkeypatch.setattr(telnet, "_UP_PATIENCE", seconds)
        with kind(apcmenu.PERSONALITIES[name]) as device:
            driver(device, name, 120).port_on(7)
            assert [port for port, state in device.outlets.items() if state == "on"] == ["7"]
            assert driver(device, name, 120).port_status(7) is State.ON
            eventually(lambda: device.logouts == 2)

    with_patience(attempt, 0.1)


class Slow(apcmenu.APCMenu):
    """Takes its time for every screen."""

    def show(self, title: str, lines: list[str]) -> None:
        self.closing.wait(0.1)
        super().show(title, lines)


@pytest.mark.parametrize("name", ["apc7920", "apc7952"])
def test_a_slow_console_is_logged_out_of_while_there_is_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "LOGOUT_SECONDS", 0.3)
    with Slow(apcmenu.PERSONALITIES[name]) as device:
        driver(device, name).port_on(7)
        assert device.outlets["7"] == "on"
        eventually(lambda: device.logouts == 1)


class WithoutEcho(apcmenu.APCMenu):
    """Shows nothing of what is typed."""

    def session(self) -> None:
        self.terminal.echoes = False
        super().session()


def test_a_refusal_without_echo() -> None:
    with (
        WithoutEcho(apcmenu.PERSONALITIES["apc7920"], Mood.REFUSING) as device,
        pytest.raises(PermanentError, match=r"refused at switching outlet 7 on: '.*\w.*'"),
    ):
        driver(device, "apc7920").port_on(7)


def test_an_outlet_without_a_name() -> None:
    with menu_device("apc7920", names={3: ""}) as device:
        driver(device, "apc7920").port_on(3)
        assert device.outlets["3"] == "on"
        assert driver(device, "apc7920").port_status(3) is State.ON


def test_a_menu_that_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(dialogue, "PATIENCE", seconds)
        with menu_device("apc7920", way=((*apcmenu.WAY_2[0][:2], 7),)) as device:
            way = "", ("Outlet Management",)
            device.menu = lambda *_: apcmenu.APCMenu.menu(device, *way)  # type: ignore[method-assign]
            with pytest.raises(TransientError, match=r"shows the same menu again at the way to the outlets"):
                driver(device, "apc7920").port_on(1)
            eventually(lambda: device.logouts == 1)

    with_patience(attempt, 0.1)


def test_the_command_line_says_why() -> None:
    with apccli.APCCommandLine(16) as device:
        with pytest.raises(PermanentError, match=r"refused olOn 24: E102: Parameter Error"):
            driver(device, "apc8959").port_on(24)
        eventually(lambda: device.logouts == 1)


class Shown(apccli.APCCommandLine):
    """Shows its prompt unasked, and answers with an outlet's name like an answer."""

    def session(self) -> None:
        self.terminal.write("\r\nAOS v5.1.9\r\n\r\napc>")
        super().session()

    def answer(self, line: str) -> tuple[str, str, list[str]]:
        code, words, rows = super().answer(line)
        return code, words, [row.replace("Outlet 3", "E102: Off") for row in rows]


def test_a_command_line_with_habits() -> None:
    with Shown(24) as device:
        driver(device, "apc8959").port_on(3)
        assert driver(device, "apc8959").port_status(3) is State.ON
        assert driver(device, "apc8959").port_status(4) is State.OFF
        eventually(lambda: device.logouts == 3)


def test_an_answer_without_the_outlet() -> None:
    with apccli.APCCommandLine(24) as device:
        device.answer = lambda line: ("E000", "Success", [])  # type: ignore[method-assign]
        with pytest.raises(TransientError, match=r"no state of outlet 3"):
            driver(device, "apc8959").port_status(3)


def test_a_timed_out_login_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "LOGOUT_SECONDS", 0.1)

    def attempt(seconds: float) -> None:
        with Scripted([(b"", b"User Name : "), (b"apc\r", b"Password  : "), (b"apc-secret\r", b"apc-sec")]) as device:
            device.exchanges.append((b"never", b""))
            with pytest.raises(DeviceTimeout) as caught:
                driver(device, "apc7920", seconds=seconds).port_on(1)
        assert "apc-sec" not in str(caught.value)
        at = f"127.0.0.1:{device.port} at the login within {seconds:g} s"
        assert str(caught.value) == f"not what was expected from {at}"

    with_patience(attempt)


def test_a_model_that_does_not_measure_outlets() -> None:
    with apccli.APCCommandLine(24) as device:
        device.metered = False
        found = driver(device, "apc8959").read_outlets()
        assert found[2] == OutletReading("3", "Web: Server", State.OFF)
        assert len(found) == 24
        eventually(lambda: device.sessions == device.logouts == 1)


def test_outlets_that_are_about_to_be_switched() -> None:
    with apccli.APCCommandLine(24) as device:
        device.pending = frozenset(["2", "3"])
        device.outlets["3"] = "on"
        made = driver(device, "apc8959")
        assert made.port_status(3) is State.ON
        assert [each.state for each in made.read_outlets()[1:3]] == [State.OFF, State.ON]


def test_names_in_a_list() -> None:
    names = {1: "", 2: "Switch ON", 3: "a  b - c", 8: "web server 3"}
    with menu_device(names=names) as device:
        device.outlets["2"] = "on"
        found = driver(device, "apc7920").read_outlets()
        assert [each.name for each in found[:3]] == [None, "Switch ON", "a b - c"]
        assert found[1].state is State.ON and found[7] == OutletReading("8", "web server 3", State.OFF)
        assert len(found) == 8
