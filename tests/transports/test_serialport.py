# SPDX-License-Identifier: MIT
"""Serial lines: a real pty, ser2net before it, and the URLs of pyserial."""

from __future__ import annotations

import fcntl
import os
import pty
import sys
import termios
import time
import tty
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.serialport import SerialPort
from tests.devices.base.device import Mood
from tests.devices.base.pty import PtyDevice
from tests.devices.base.scripted import Scripted
from tests.peers.ser2net import ser2net
from tests.support.patience import with_patience
from tests.support.ports import free_ports
from tests.support.process import eventually, nothing_left_behind


class Echo(PtyDevice):
    """Says everything back, in capitals."""

    def heard(self, data: bytes) -> None:
        self.send(data.upper())


@pytest.fixture(autouse=True)
def nothing_left() -> Any:
    with nothing_left_behind():
        yield


def test_a_pty() -> None:
    with Echo() as device, SerialPort(device.path, Deadline(30)) as line:
        line.send(b"ab\r\x00\xff>", "a step")
        assert line.receive_exactly(2, "a step") == b"AB"
        assert line.receive_until(b">", "a step") == b"\r\x00\xff>"


def test_a_slow_device() -> None:
    with Echo(Mood.SLOW) as device, SerialPort(device.path, Deadline(30), baudrate=921600) as line:
        line.send(b"relay read 1\n", "a step")
        assert line.receive_line("a step") == b"RELAY READ 1"


def test_what_came_before_is_not_read() -> None:
    with Echo() as device:
        device.send(b"left over")
        eventually(lambda: waiting(device.path) == len(b"left over"))
        with SerialPort(device.path, Deadline(30)) as line:
            line.send(b"x", "a step")
            assert line.receive("a step") == b"X"


def waiting(path: str) -> int:
    """Return how many bytes have come on a line that nobody has read."""
    line = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(line, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(line)


def test_silence_ends_with_the_deadline() -> None:
    with Echo(Mood.DEAF) as device, SerialPort(device.path, Deadline(30)) as line:
        line.deadline = Deadline(0.3)
        begun = time.monotonic()
        with pytest.raises(DeviceTimeout, match=f"^no answer from {device.path} at the prompt within 0.3 s$"):
            line.receive_until(b">", "the prompt")
        assert time.monotonic() - begun < 20


def test_a_line_that_takes_nothing() -> None:
    device, terminal = pty.openpty()
    tty.setraw(terminal)

    def attempt(seconds: float) -> None:
        with (
            SerialPort(os.ttyname(terminal), Deadline(seconds)) as line,
            pytest.raises(DeviceTimeout, match="at sending"),
        ):
            line.send(b"x" * 100_000, "sending")

    try:
        with_patience(attempt)
    finally:
        os.close(device)
        os.close(terminal)


def test_pulled_out(tmp_path: Path) -> None:
    device, terminal = pty.openpty()
    path = str(tmp_path / "relay")  # the terminal's own name may be that of another test's in a moment
    os.symlink(os.ttyname(terminal), path)
    with SerialPort(path, Deadline(30)) as line:
        os.close(terminal)
        os.close(device)
        os.unlink(path)
        with pytest.raises(TransientError, match=f"^connection to {path} lost at a step: "):
            line.receive_exactly(1, "a step")
    with pytest.raises(TransientError, match=f"^cannot open {path}: No such file or directory$"):
        SerialPort(path, Deadline(30)).__enter__()


def test_in_use_by_another() -> None:
    with Echo() as device:
        other = os.open(device.path, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TransientError, match=f"^{device.path} is in use by another program$"):
            SerialPort(device.path, Deadline(30)).__enter__()
        os.close(other)
        with SerialPort(device.path, Deadline(30)), pytest.raises(TransientError, match="in use"):
            SerialPort(device.path, Deadline(30)).__enter__()
        SerialPort(device.path, Deadline(30)).__enter__().__exit__()


@pytest.mark.parametrize("url", ["foo://127.0.0.1:1", "socket://127.0.0.1", "/dev/null", "socket://127.0.0.1:port"])
def test_no_serial_line(url: str) -> None:
    with pytest.raises((PermanentError, TransientError), match=f"^cannot open {url}: "):
        SerialPort(url, Deadline(30)).__enter__()


def test_nobody_listens() -> None:
    (port,) = free_ports()
    for scheme in ("socket", "rfc2217"):
        url = f"{scheme}://127.0.0.1:{port}"
        with pytest.raises(TransientError, match=f"^cannot open {url}: Connection refused$"):
            SerialPort(url, Deadline(30)).__enter__()


def test_loop() -> None:
    with SerialPort("loop://", Deadline(30)) as line:
        line.send(b"xyz", "a step")
        assert line.receive_exactly(3, "a step") == b"xyz"


def test_what_came_while_we_stood_still_is_an_answer() -> None:
    with SerialPort("loop://", Deadline(30)) as line:
        line.send(b"xyz", "a step")
        line.deadline = Deadline(0)
        assert line.receive_exactly(3, "a step") == b"xyz"
        with pytest.raises(DeviceTimeout):
            line.receive("a step")


def test_socket() -> None:
    with (
        Scripted([(b"ping", b"pong")]) as device,
        SerialPort(f"socket://127.0.0.1:{device.port}", Deadline(30)) as line,
    ):
        line.send(b"ping", "a step")
        assert line.receive_exactly(4, "a step") == b"pong"
        with pytest.raises(TransientError, match=r"lost at a step: .*disconnected"):
            line.receive_exactly(1, "a step")


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_ser2net(tmp_path: Path, scheme: str) -> None:
    with Echo() as device, ser2net(tmp_path, device.path) as (rfc2217, plain):
        url = f"socket://127.0.0.1:{plain}"
        if scheme == "rfc2217":
            url = f"rfc2217://127.0.0.1:{rfc2217}?ign_set_control"
        with SerialPort(url, Deadline(10), baudrate=19200) as line:
            line.send(b"a\xffb\r", "a step")
            assert line.receive_until(b"\r", "a step") == b"A\xffB\r"


def test_without_pyserial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(PermanentError, match="need the Python package pyserial"):
        SerialPort("loop://", Deadline(30)).__enter__()


def test_an_answer_of_a_byte_is_followed_by_silence() -> None:
    with Echo() as device, SerialPort(device.path, Deadline(30)) as line:
        line.send(b"a", "a step")
        assert line.receive_answer(1, "a step") == b"A"
        line.send(b"abc", "a step")
        with pytest.raises(TransientError, match=r" sends more than was asked for at a step$"):
            line.receive_answer(1, "a step")
