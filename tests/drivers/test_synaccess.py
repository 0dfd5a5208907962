# SPDX-License-Identifier: MIT
"""netBooters: the conversation against driver and fake, stale prompts, wrong passwords, and habits of the units."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pdudaemon.drivers.synaccess import NetBooter
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import dialogue
from tests.devices import synaccess
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation
from tests.devices.synaccess import PASSWORD
from tests.support.action import begun, hurried
from tests.support.patience import with_patience
from tests.support.process import eventually

SAMPLE = [(asked.encode(), said.encode()) for asked, said in conversation("synnetbooter_on_2")]
TABLE = "Port | Name       |Status\n\r   1 |    Outlet1 |   OFF|   2 |    Outlet2 |   ON |\r\n"


def driver(device: Any, seconds: float = 120, password: str = PASSWORD) -> NetBooter:
    return begun(
        NetBooter("127.0.0.1", {"driver": "synnetbooter", "telnetport": device.port, "password": password}), seconds
    )


def shown(table: str) -> list[tuple[bytes, bytes]]:
    """The sample, in which ``pshow`` shows something else."""
    answers = {b"pshow\r": f"pshow\n\r\n\r{table}>".encode()}
    return [(asked, answers.get(asked, said)) for asked, said in SAMPLE]


def test_the_conversation_against_the_driver() -> None:
    with Scripted(SAMPLE) as device:
        driver(device, password="admin").port_on(2)
    eventually(lambda: device.played == len(SAMPLE))
    assert bytes(device.received) == b"".join(asked for asked, _ in SAMPLE)


def test_the_conversation_against_the_fake() -> None:
    with synaccess.NetBooter(2) as device:
        device.password = "admin"
        with socket.create_connection(("127.0.0.1", device.port), 30) as client:
            answers = client.makefile("rb")
            for asked, said in SAMPLE:
                client.sendall(asked)
                assert answers.read(len(said)) == said
            assert answers.read() == b""
        assert device.outlets == {"1": "off", "2": "on"}
        eventually(lambda: device.logouts == 1)


@pytest.mark.parametrize(
    "different",
    [
        {},
        {"shy": True},
        {"leave": ("exit",)},
        {"leave": ("logout", "exit"), "negotiation": b"\xff\xfd\x03\xff\xfb\x01"},
        {"stale": "\n\r>\n\r>"},
        {"lag": 1},
    ],
)
def test_habits(different: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.1 if "shy" in different else 60)
    with synaccess.NetBooter() as device:
        vars(device).update(different)
        for port in (1, 8):
            driver(device).port_on(port)
            assert [n for n, state in device.outlets.items() if state == "on"] == [str(port)]
            assert driver(device).port_status(port) is State.ON
            driver(device).port_off(port)
            assert driver(device).port_status(port) is State.OFF
        eventually(lambda: device.logouts == device.sessions)


class Mute(synaccess.NetBooter):
    """Takes ``pset`` for an empty line: there is nothing but a prompt."""

    def answer(self, line: str) -> str:
        return "" if line.startswith("pset") else super().answer(line)


class Stuck(synaccess.NetBooter):
    """Says prompts, and never what it was asked."""

    def command(self) -> None:
        super().command()
        while self.let_in:
            self.terminal.write("\n\r>\n\r>")
            self.line()

    def line(self, stars: bool = False) -> str:
        if not self.let_in:
            return super().line(stars)
        while self.terminal.key() != "\r":
            pass
        return ""


def test_a_prompt_is_no_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "LOGOUT_SECONDS", 0.1)
    with Mute() as device, pytest.raises(TransientError, match=r"^port 3 is still off after on$"):
        hurried(driver(device), 0.5).port_on(3)

    def attempt(seconds: float) -> None:
        with Stuck() as device, pytest.raises(DeviceTimeout, match=rf"at 'pset 3 1' within {seconds:g} s"):
            driver(device, seconds).port_on(3)

    with_patience(attempt)


@pytest.mark.parametrize("tells", ["Invalid User ID or password!", "Login failed", None])
def test_wrong_passwords(tells: str | None) -> None:
    with synaccess.NetBooter() as device:
        device.tells = tells
        with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{device.port}$") as caught:
            driver(device, password="not-the-one").port_on(3)
        assert "not-the-one" not in str(caught.value)
        assert device.outlets["3"] == "off"
        driver(device).port_on(3)
        assert device.outlets["3"] == "on"


def test_refusals() -> None:
    with synaccess.NetBooter(8, Mood.REFUSING) as device:
        with pytest.raises(PermanentError) as caught:
            driver(device).port_on(3)
        assert str(caught.value) == f"127.0.0.1:{device.port} refused 'pset 3 1': 'Outlet is locked.'"
        eventually(lambda: device.logouts == 1)


def test_a_smaller_unit_than_could_be() -> None:
    with synaccess.NetBooter(5) as device:
        for act in (driver(device).port_on, driver(device).port_status):
            with pytest.raises(
                PermanentError, match=rf"^127.0.0.1:{device.port} has no outlet 6: it has 1, 2, 3, 4, 5$"
            ):
                act(6)
        assert set(device.outlets.values()) == {"off"}


@pytest.mark.parametrize(
    "table",
    [
        "Port | Name       |Status\n\r   1 |    Outlet1 |   OFF|\r\n   2 |    Outlet2 |   ON |\r\n",
        "Port | Name       |Status\n\r 1 | 2 ON | OFF |\n\r 2 | 1 OFF | ON\n\r",
        "Port | Name |Status| Port | Name |Status\n\r1|3|off|2||on|\r\n",
    ],
)
def test_tables(table: str) -> None:
    with Scripted(shown(table)) as device:
        driver(device, password="admin").port_on(2)


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        ("", TransientError, "{} answered '' to 'pshow'"),
        ("Please login first.\n\r", TransientError, "{} answered 'Please login first.' to 'pshow'"),
        (TABLE.replace("ON", "??"), PermanentError, "{} has no outlet 2: it has 1"),
    ],
)
def test_tables_that_do_not_tell(table: str, error: type[Exception], words: str) -> None:
    with Scripted(shown(table)) as device, pytest.raises(error) as caught:
        driver(device, password="admin").port_on(2)
    assert str(caught.value) == words.format(f"127.0.0.1:{device.port}")


@pytest.mark.parametrize("port", ["0", "17", "-1", "1 1", "all", ""])
def test_bad_ports(port: str) -> None:
    assert NetBooter.canonical_port("08", {"driver": "synnetbooter"}) == "8"
    with pytest.raises(ValueError, match=r"is not a port"):
        NetBooter.canonical_port(port, {"driver": "synnetbooter"})
