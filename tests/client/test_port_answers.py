# SPDX-License-Identifier: MIT
"""What pduclient makes of a daemon's answer for a port, however that comes, ends, or does not end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from tests.devices.flood import Flood
from tests.devices.olddaemon import OldDaemon
from tests.support.client import CLIENT, PROGRAM, SENT, UNSURE, client, outlet, run
from tests.support.process import eventually


@pytest.mark.parametrize(
    ("pieces", "end", "code", "out"),
    [
        ([b"ack"], "close", 0, SENT),
        ([b" ack \r\n"], "close", 0, SENT),
        ([b"a", b"c", b"k\n"], "close", 0, SENT),
        ([b"ack\n"], "hold", 0, SENT),
        ([b"\n", b"ack\n"], "hold", 0, SENT),
        ([b"nack"], "close", 127, "{0} replied: nack\n"),
        ([b"nack: apc7: connection ref", b"used\n"], "hold", 127, "{0} replied: nack: apc7: connection refused\n"),
        ([b"nack: one\ntwo\n"], "close", 127, "{0} replied: nack: one\n"),
        ([b"ac"], "close", 127, "{0} replied: ac\n"),
        ([b"ack on\n"], "close", 127, "{0} replied: ack on\n"),
        ([b"nack: \xff\n"], "close", 127, "{0} replied: nack: \N{REPLACEMENT CHARACTER}\n"),
        ([], "close", 127, "{0}: the connection was closed without an answer" + UNSURE),
        ([b"\n"], "close", 127, "{0}: the connection was closed without an answer" + UNSURE),
        ([], "reset", 127, "{0}: [Errno 104] Connection reset by peer" + UNSURE),
    ],
)
def test_replies_over_tcp(pieces: list[bytes], end: str, code: int, out: str) -> None:
    with OldDaemon(*pieces, end=end) as daemon:
        ran = client(*outlet(daemon.port, "on"))
        begin = "Error sending command! " if code else ""
        assert ran == (code, begin + out.format(f"127.0.0.1:{daemon.port}"), "")


@pytest.mark.parametrize(
    ("reply", "code", "out"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 0, SENT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", 0, SENT),
        (b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nwhy\n", 127, "{0} replied: why\n"),
        (b"HTTP/1.0 500 Oh\r\n\r\nInvalid request\n", 127, "{0} replied: Invalid request\n"),
        (b"HTTP/1.0 503 Busy\r\n\r\n", 127, "{0} replied: 503 Busy\n"),
        (b"HTTP/1.0 502 Bad\r\nContent-Type: text/html\r\n\r\n<p>\n<p>\n", 127, "{0} replied: 502 Bad\n"),
        (b"HTTP/1.0 301 Moved\r\nLocation: /\r\n\r\n", 127, "{0} replied: 301 Moved\n"),
        (b"", 127, "{0}: Remote end closed connection without response" + UNSURE),
        (b"nack: not a request\n", 127, "{0}: nack: not a request" + UNSURE),
    ],
)
def test_replies_over_http(reply: bytes, code: int, out: str) -> None:
    with OldDaemon(reply) as daemon:
        ran = client("--http", *outlet(daemon.port, "on"))
        begin = "Error sending command! " if code else ""
        assert ran == (code, begin + out.format(f"127.0.0.1:{daemon.port}"), "")


@pytest.mark.parametrize("state", ["on", "off", "unknown"])
@pytest.mark.parametrize("http", [False, True])
def test_state_stands_alone(state: str, http: bool) -> None:
    head = "HTTP/1.0 200 OK\r\n\r\n" if http else ""
    with OldDaemon(f"{head}{state}\n".encode()) as daemon:
        assert client(*outlet(daemon.port, "status"), *["-H"] * http) == (0, f"{state}\n", "")
        assert daemon.received.startswith(b"GET /power/control/status?" if http else b"pdu01 1 status")


@pytest.mark.parametrize(
    ("options", "reply", "said"),
    [
        ([], b"nack\n", "nack"),
        ([], b"ack\n", "ack"),
        (["-H"], b"HTTP/1.0 503 Nope\r\n\r\non\n", "on"),
        (["-H"], b"HTTP/1.0 200 OK\r\n\r\nOK - accepted request\n", "OK - accepted request"),
    ],
)
def test_no_state(options: list[str], reply: bytes, said: str) -> None:
    """Such as an existing daemon's answer, which knows no status."""
    with OldDaemon(reply) as daemon:
        ran = client(*outlet(daemon.port, "status"), *options)
        assert ran == (127, f"Error sending command! 127.0.0.1:{daemon.port} replied: {said}\n", "")


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ([], b"nack: \x1b]0;owned\x07\x1b[2J\xc2\x9b1m\xe2\x80\xae\n"),
        ([], b"\x1b[31mack\n"),
        (["-H"], b"\x1b[2Jno HTTP\r\n"),
        (["-H"], b"HTTP/1.0 503 \x1b[2J\r\n\r\n"),
        (["-H"], b"HTTP/1.0 503 No\r\n\r\n\x1b[2J\x9b\x00\n\x1b[31m"),
        (["-H"], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\r\n"),
        (["-H"], b"HTTP/1.1 200 OK\r\n\x1b[2J: x\r\nContent-Type: \x1b;;=\r\n\r\n\x1b[2J"),
        (["-H"], b"HTTP/1.1 301 Moved\r\nLocation: \x1b[2J\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("command", ["on", "status"])
def test_what_a_server_says_does_the_terminal_no_harm(options: list[str], reply: bytes, command: str) -> None:
    with OldDaemon(reply) as daemon:
        ran = client(*outlet(daemon.port, command), *options)
        assert ran.code in (0, 127) and len(ran.out.splitlines()) == 1 and ran.err == ""
        assert ran.out[:-1].isprintable() and len(ran.out) < 2000


@pytest.mark.parametrize(
    ("options", "beginning", "rest"),
    [
        ([], b"", b"x"),
        ([], b"", b"\n"),
        (["-H"], b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (["-H"], b"HTTP/1.1 ", b"x"),
        (["-H"], b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (["-H"], b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (["-H"], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", b"x"),
        (["-H"], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;x\r\n\r\r\n"),
    ],
)
def test_a_server_that_never_ends_is_left(options: list[str], beginning: bytes, rest: bytes) -> None:
    with Flood(beginning, rest) as daemon:
        ran = client(f"--daemon=127.0.0.1:{daemon.port}", "--alias=x", "--command=status", *options)
        assert ran.code == 127 and len(ran.out.splitlines()) == 1 and len(ran.out) < 2000 and ran.err == ""
        assert daemon.sent < 1 << 25


def test_endless_reply() -> None:
    with OldDaemon(*[b"x" * 4096] * 10000, pause=0) as daemon:
        ran = client(*outlet(daemon.port, "on"))
        assert ran.code == 127 and "replied: xxx" in ran.out and len(ran.out) < 100000


def test_reply_that_the_locale_cannot_show() -> None:
    with OldDaemon("nack: Gerät\n".encode()) as daemon:
        ran = run([sys.executable, str(CLIENT)], *outlet(daemon.port, "on"), PYTHONIOENCODING="ascii")
        assert (ran.code, ran.out.split(": ", 1)[1]) == (127, "nack: Ger?t\n")


@pytest.mark.parametrize(
    ("pieces", "options"),
    [
        ([], []),
        ([b"n"] * 600, []),
        ([], ["-H"]),
        ([b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 90], ["-H"]),
    ],
    ids=["deaf", "dribbling", "deaf-http", "dribbling-http"],
)
def test_timeout_bounds_the_whole_answer(pieces: list[bytes], options: list[str]) -> None:
    with OldDaemon(*pieces, end="hold", pause=0.1) as daemon:
        begin = time.monotonic()
        ran = client(*outlet(daemon.port, "on"), *options, "--timeout=0.4")
        assert 0.4 <= time.monotonic() - begin < 30
        assert ran == (127, "Error sending command! no answer within 0.4 s" + UNSURE, "")


def test_timeout_of_a_status_leaves_nothing_unsure() -> None:
    with OldDaemon(end="hold") as daemon:
        ran = client(*outlet(daemon.port, "status"), "--timeout=.2")
        assert ran == (127, "Error sending command! no answer within .2 s\n", "")


def test_timeout_bounds_the_connection() -> None:
    """A listener whose backlog is full: the connection never comes about, and nothing has been sent."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        daemon = f"127.0.0.1:{listener.getsockname()[1]}"
        ran = client("--daemon", daemon, "--hostname=x", "--port=1", "--command=on", "--timeout=0.5")
        assert ran == (1, "Error sending command, no connection within 0.5 s\n", "")


def test_interrupt() -> None:
    with OldDaemon(end="hold") as daemon:
        command = [sys.executable, str(CLIENT), *outlet(daemon.port, "on")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                eventually(lambda: daemon.received)
                process.send_signal(2)
                assert process.wait(60) == 130
                assert process.stdout is not None and process.stdout.read() == b""
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("command", "reply", "code"), [("on", b"ack\n", 0), ("status", b"off\n", 127), ("on", b"nack: dead\n", 127)]
)
def test_what_cannot_be_printed_is_said_and_changes_nothing_that_is_done(command: str, reply: bytes, code: int) -> None:
    with OldDaemon(reply) as daemon, open("/dev/full", "w") as full:
        words = [*PROGRAM, *outlet(daemon.port, command)]
        told = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (told.returncode, told.stderr) == (
        code,
        "pduclient: the results cannot be written: No space left on device\n",
    )


def test_whoever_has_read_enough_is_no_failure() -> None:
    with OldDaemon(b"off\n") as daemon:
        reader, writer = os.pipe()
        os.close(reader)
        words = [*PROGRAM, *outlet(daemon.port, "status")]
        told = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        os.close(writer)
    assert (told.returncode, told.stderr) == (0, "")
