# SPDX-License-Identifier: MIT
"""Telnet: negotiation, dialogues and their ends, against scripts of bytes and the real telnetd."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import dialogue, telnet
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import Dialogue, Login
from tests.devices.base.device import Device
from tests.devices.base.scripted import Puppet, Scripted
from tests.peers.telnet import Account, Inetd, account, telnetd
from tests.support.patience import with_patience
from tests.support.process import eventually

IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
NEGOTIATION = (
    b"He" + IAC + WILL + b"\x01" + b"ll" + IAC + DO + b"\x18" + IAC + SB + b"\x18\x01" + IAC + IAC + b"\xf0x" + IAC + SE
    + b"o" + IAC + IAC + b"\r\0" + IAC + b"\xf9" + IAC + WONT + b"\x05" + IAC + DONT + b"\x06" + b"> "
)  # fmt: skip
ANSWERS = IAC + DONT + b"\x01" + IAC + WONT + b"\x18"


def session(device: Device, seconds: float = 30) -> AbstractContextManager[Dialogue]:
    return telnet.session("127.0.0.1", device.port, Deadline(seconds))


def piecewise(data: bytes, size: int) -> Callable[[Puppet, socket.socket], None]:
    def act(peer: Puppet, connection: socket.socket) -> None:
        for start in range(0, len(data), size):
            connection.sendall(data[start : start + size])
            peer.closing.wait(0.001)

    return act


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_negotiation_is_answered_however_it_is_split(size: int) -> None:
    with Puppet(piecewise(NEGOTIATION, size)) as device, session(device) as console:
        assert console.expect("the prompt", {"prompt": "> "}).before == "Hello\xff\r"
        console.send("\xff", "the end")
        eventually(lambda: len(device.received) >= len(ANSWERS) + 2)
        assert device.received == ANSWERS + "\xff".encode()


def test_bytes_of_255_are_doubled() -> None:
    with Puppet(lambda *_: None) as device, telnet.Telnet("127.0.0.1", device.port, Deadline(30)) as connection:
        connection.send(b"a\xffb", "the test")
        eventually(lambda: device.received == b"a\xff\xffb")


@pytest.mark.parametrize(
    ("noise", "more"),
    [(b"noise", b"\x01"), (IAC + SB, b"\x01"), (IAC + WILL, b"\x01"), (b"", b"\0"), (b"", IAC + b"\xf1")],
)
def test_endless_talk_is_cut_short(noise: bytes, more: bytes) -> None:
    def talk(peer: Puppet, connection: socket.socket) -> None:
        connection.sendall(noise)
        while True:
            connection.sendall(more * 10000)

    with (
        Puppet(talk) as device,
        session(device) as console,
        pytest.raises(TransientError, match=r"127.0.0.1:[0-9]+ sends too much at the prompt") as caught,
    ):
        console.expect("the prompt", {"prompt": "> "})
    assert not isinstance(caught.value, DeviceTimeout)


def test_what_a_console_shows_is_tidied() -> None:
    shown = f" 1   x{chr(32) * 9999}y\t \tz\r\nname: a b\r\n{'1' * 9999}"
    assert dialogue.tidied(shown) == f" 1  x  y  z\nname: a b\n{'1' * 300}"


def test_the_leftmost_of_some_patterns() -> None:
    with Scripted([(b"", b"two one")]) as device, session(device) as console:
        seen = console.expect("the test", {"one": "o(n)e", "two": "t(w)o"})
        assert (seen.name, seen.before, seen.match[1]) == ("two", "", "w")
        seen = console.expect("the test", {"one": "o(n)e", "two": "t(w)o"})
        assert (seen.name, seen.before, seen.match[1]) == ("one", " ", "n")
        assert console.expect_or_end("the test", {"more": "more"}) is None


def test_one_deadline_for_all_of_it() -> None:
    def attempt(seconds: float) -> None:
        why = rf"not what was expected from .* at the prompt within {seconds:g} s, but '.*drip"
        with (
            Puppet(piecewise(b"drip " * 100_000, 1)) as device,
            session(device, seconds) as console,
            pytest.raises(DeviceTimeout, match=why),
        ):
            console.expect("the prompt", {"prompt": ">"})

    with_patience(attempt, 0.4)


def test_no_answer() -> None:
    def attempt(seconds: float) -> None:
        with Puppet(lambda *_: None) as device, session(device, seconds) as console:
            why = rf"^no answer from 127.0.0.1:{device.port} at the greeting within {seconds:g} s$"
            with pytest.raises(DeviceTimeout, match=why):
                console.expect("the greeting", {"prompt": ">"})
            with pytest.raises(DeviceTimeout, match=r"no answer from .* at the next command"):
                console.line("hello", "the next command")

    with_patience(attempt, 0.2)


def test_connections_that_end() -> None:
    with (
        Scripted([(b"", b"hello")]) as device,
        session(device) as console,
        pytest.raises(TransientError, match=rf"connection closed by 127.0.0.1:{device.port} at the prompt"),
    ):
        console.expect("the prompt", {"prompt": ">"})

    def reset(peer: Puppet, connection: socket.socket) -> None:
        peer.receive(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with (
        Puppet(reset) as device,
        session(device) as console,
        pytest.raises(TransientError, match=r"connection closed by .* at the prompt"),
    ):
        console.line("hello", "the prompt")
        console.expect("the prompt", {"prompt": ">"})
    with pytest.raises(TransientError, match=rf"connection refused by 127.0.0.1:{device.port}"), session(device):
        pass


def test_a_missing_pexpect_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pexpect.spawnbase", None)
    with (
        Puppet(lambda *_: None) as device,
        pytest.raises(PermanentError, match=r"the Python package pexpect, which this driver needs, is not installed"),
        session(device),
    ):
        pass


LOGIN = Login(name="Name: ", password="Password: ", ready="> ")


def test_a_login_and_a_logout() -> None:
    exchanges = [(b"", b"Name: "), (b"me\r\n", b"Password: "), (b"pass-word\r\n", b"Welcome\r\n> "), (b"bye\r\n", b"")]
    with Scripted(exchanges) as device, session(device) as console:

        def log_out() -> None:
            console.line("bye", "the logout")
            assert console.expect_or_end("the logout", {}) is None

        with console.logged_in(LOGIN, "me", "pass-word", log_out) as shown:
            assert shown == "Welcome\r\n"
    assert device.played == len(exchanges)


def test_a_console_that_waits_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.05)
    exchanges = [(b"\r\n", b"Name: "), (b"me\r\n", b"Password: "), (b"pass-word\r\n", b"Welcome\r\n"), (b"\r\n", b"> ")]
    with (
        Scripted(exchanges) as device,
        session(device) as console,
        console.logged_in(LOGIN, "me", "pass-word", lambda: None),
    ):
        assert device.played == len(exchanges)


@pytest.mark.parametrize(
    ("exchanges", "why"),
    [
        ([(b"\r\n", b"Name: Password: ")], "was late at the login prompt, and took an empty line for a name"),
        (
            [(b"\r\n", b"Name: "), (b"me\r\n", b"Password: "), (b"pass-word\r\n", b"No.\r\nName: ")],
            "which was silent at first and was sent an empty line",
        ),
    ],
)
def test_a_console_that_was_only_late_has_refused_nobody(
    exchanges: list[tuple[bytes, bytes]], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.05)
    monkeypatch.setattr(dialogue, "SETTLING", 0.05)
    with (
        Scripted([*exchanges, (b"never", b"")]) as device,
        session(device) as console,
        pytest.raises(TransientError, match=why),
        console.logged_in(LOGIN, "me", "pass-word", pytest.fail),
    ):
        pass


def test_a_prompt_for_an_empty_line_that_was_too_much_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "PATIENCE", 0.05)
    monkeypatch.setattr(dialogue, "SETTLING", 0.05)
    login = [(b"me\r\n", b"Password: "), (b"pass-word\r\n\r\n", b"Welcome\r\n> > ")]
    with (
        Scripted([*login, (b"state\r\n", b"on\r\n> ")]) as device,
        session(device) as console,
        console.logged_in(LOGIN, "me", "pass-word", lambda: None, asked=True),
    ):
        console.line("state", "the state")
        assert console.expect("the state", {"prompt": "> "}).before == "on\r\n"


def test_a_refused_login_is_not_logged_out() -> None:
    exchanges = [(b"", b"Name: "), (b"me\r\n", b"Password: "), (b"pass-word\r\n", b"No.\r\nName: "), (b"never", b"")]
    with (
        Scripted(exchanges) as device,
        session(device) as console,
        pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{device.port}$"),
        console.logged_in(LOGIN, "me", "pass-word", pytest.fail),
    ):
        pass


@pytest.mark.parametrize("echo", [b"", b"pass-word", b"pass-w", b"-word\r\n"])
def test_a_password_is_not_shown(
    echo: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    exchanges = [(b"", b"Name: "), (b"me\r\n", b"Password: "), (b"pass-word\r\n", echo), (b"never", b"")]

    def log_out(console: Dialogue) -> None:
        console.line("bye", "the logout")
        console.expect("the logout", {"prompt": "> "}, silence=0.1)

    def attempt(seconds: float) -> None:
        with (
            Scripted(exchanges) as device,
            session(device, seconds) as console,
            pytest.raises(DeviceTimeout, match=rf"at the login within {seconds:g} s$") as caught,
            console.logged_in(LOGIN, "me", "pass-word", lambda: log_out(console)),
        ):
            pass
        assert "word" not in f"{caught.value} {caplog.text}" and "pass" not in f"{caught.value} {caplog.text}"
        assert "at the logout" in caplog.text

    monkeypatch.setattr(dialogue, "PATIENCE", 60.0)
    with_patience(attempt)


@pytest.fixture(scope="module")
def user() -> Iterator[Account]:
    with account() as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Inetd]:
    with telnetd(tmp_path) as running:
        yield running


SYSTEM_LOGIN = Login(name="login: ", password="Password: ", ready=r"[$#] ")


@pytest.mark.one_at_a_time("account")
def test_telnetd(server: Inetd, user: Account) -> None:
    with telnet.session("127.0.0.1", server.port, Deadline(60)) as console:

        def log_out() -> None:
            console.line("exit", "the logout")
            assert console.expect_or_end("the logout", {}) is None

        with console.logged_in(SYSTEM_LOGIN, user.name, user.password, log_out):
            console.line("echo over-$((6*7))-telnet; tty", "the command")
            assert console.expect("the command", {"seen": r"over-42-telnet\s+/dev/pts/\d+\s"})


@pytest.mark.one_at_a_time("account")
def test_telnetd_refuses(server: Inetd, user: Account) -> None:
    with (
        telnet.session("127.0.0.1", server.port, Deadline(60)) as console,
        pytest.raises(PermanentError, match=r"login refused by"),
        console.logged_in(SYSTEM_LOGIN, user.name, "not-the-password", pytest.fail),
    ):
        pass
