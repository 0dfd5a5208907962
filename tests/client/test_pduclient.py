# SPDX-License-Identifier: MIT
"""pduclient as a program: against the real daemon, against a fake of the existing daemon that records what it is sent,
and side by side with the existing client, which Debian packages as ``pdudaemon-client`` (run only, as a black box).
"""

from __future__ import annotations

import ast
import os
import runpy
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.devices.base.device import Device
from tests.devices.flood import Flood
from tests.peers.formerclient import former_client
from tests.support.client import CLIENT, MISSING, SENT, USAGE, Ran, client, lab_address
from tests.support.process import Daemon, eventually

UNREACHABLE = "Error sending command, wrong daemon hostname?\n"
UNSURE = "; the request may have been accepted\n"


def run(program: list[str], *arguments: str, **environment: str) -> Ran:
    """Run a client to its end."""
    environment = {"PATH": os.defpath, **environment}
    done = subprocess.run([*program, *arguments], env=environment, capture_output=True, text=True, timeout=30)
    return Ran(done.returncode, done.stdout, done.stderr)


def outlet(daemon: Daemon | OldDaemon, command: str, *more: str) -> tuple[str, ...]:
    """Return the options that ask for a command at port 1 of ``pdu01``."""
    return (f"--daemon=127.0.0.1:{daemon.port}", "--hostname=pdu01", "--port=1", f"--command={command}", *more)


class OldDaemon(Device):
    """Answers every request with what it is given, piece by piece, and then closes, resets or holds the connection."""

    def __init__(self, *pieces: bytes, end: str = "close", pause: float = 0.05) -> None:
        super().__init__()
        self.pieces = pieces
        self.end = end
        self.pause = pause

    def converse(self, connection: socket.socket) -> None:
        self.receive(connection)
        for number, piece in enumerate(self.pieces):
            self.closing.wait(self.pause if number else 0)
            connection.sendall(piece)
        if self.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while self.end == "hold":
            self.receive(connection)


# What goes over the wire


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("--hostname x --port 01 --command on", b"x 01 on"),
        ("--hostname x --port 1 --command off", b"x 1 off"),
        ("--hostname x --port 1 --command reboot --delay 5", b"x 1 reboot 5"),
        ("--hostname x --port 1 --command on --delay 05", b"x 1 on 5"),
        ("--hostname x --port 1 --command reboot --delay 0", b"x 1 reboot"),
        ("--host x --po 1 --com on", b"x 1 on"),
        ("--hostname x --port AA1 --command reboot --delay 2.5", b"x AA1 reboot 2.5"),
        ("--hostname x --port 1 --command on --wait 0", b"x 1 on wait=0"),
        ("--hostname x --port 1 --command on --delay 5 --wait 1.5 --timeout 20", b"x 1 on 5 wait=1.5"),
        ("--alias board7 --command on", b"board7 on"),
        ("--alias board7 --command reboot --delay 5 --wait 9", b"board7 reboot 5 wait=9"),
    ],
)
def test_bytes_over_tcp(options: str, sent: bytes) -> None:
    with OldDaemon(b"ack\n") as daemon:
        ran = client(f"--daemon=127.0.0.1:{daemon.port}", *options.split())
        assert ran == (0, SENT, "")
        assert bytes(daemon.received) == sent


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (["--hostname=x", "--port=01", "--command=on"], "on?hostname=x&port=01"),
        (["--hostname=x", "--port=1", "--command=reboot", "--delay=5"], "reboot?hostname=x&port=1&delay=5"),
        (["--hostname=x", "--port=1", "--command=off", "--delay=0"], "off?hostname=x&port=1"),
        (
            ["--hostname=x", "--port=1", "--command=on", "--delay=.5", "--wait=0"],
            "on?hostname=x&port=1&delay=.5&wait=0",
        ),
        (["--hostname=a b&port=2", "--port=#ü", "--command=on"], "on?hostname=a%20b%26port%3D2&port=%23%C3%BC"),
        (["--alias=usb:1/2", "--command=off", "--wait=3"], "off?alias=usb:1/2&wait=3"),
    ],
)
def test_bytes_over_http(options: list[str], target: str) -> None:
    with OldDaemon(b"HTTP/1.0 200 OK\r\n\r\nOK - accepted request\n") as daemon:
        ran = client("-H", f"--daemon=127.0.0.1:{daemon.port}", *options)
        assert ran == (0, SENT, "")
        request, *headers = daemon.received.decode().split("\r\n")
        assert request == f"GET /power/control/{target} HTTP/1.1"
        assert f"Host: 127.0.0.1:{daemon.port}" in headers


# What comes back


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
        ran = client(*outlet(daemon, "on"))
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
        ran = client("--http", *outlet(daemon, "on"))
        begin = "Error sending command! " if code else ""
        assert ran == (code, begin + out.format(f"127.0.0.1:{daemon.port}"), "")


@pytest.mark.parametrize("state", ["on", "off", "unknown"])
@pytest.mark.parametrize("http", [False, True])
def test_state_stands_alone(state: str, http: bool) -> None:
    head = "HTTP/1.0 200 OK\r\n\r\n" if http else ""
    with OldDaemon(f"{head}{state}\n".encode()) as daemon:
        assert client(*outlet(daemon, "status"), *["-H"] * http) == (0, f"{state}\n", "")
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
        ran = client(*outlet(daemon, "status"), *options)
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
        ran = client(*outlet(daemon, command), *options)
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


def test_blank_is_not_given() -> None:
    blank = ["--delay=", "--wait=", "--timeout=", "--alias=", "--delay", ""]
    with OldDaemon(b"ack\n") as daemon:
        assert client(*outlet(daemon, "on"), *blank) == (0, SENT, "")
        address = f"--daemon=127.0.0.1:{daemon.port}"
        assert client(address, "--hostname=", "--port= ", "--alias=b7", "--command=restart").code == 0
        assert bytes(daemon.received) == b"pdu01 1 onb7 reboot"


def test_endless_reply() -> None:
    with OldDaemon(*[b"x" * 4096] * 10000, pause=0) as daemon:
        ran = client(*outlet(daemon, "on"))
        assert ran.code == 127 and "replied: xxx" in ran.out and len(ran.out) < 100000


def test_reply_that_the_locale_cannot_show() -> None:
    with OldDaemon("nack: Gerät\n".encode()) as daemon:
        ran = run([sys.executable, str(CLIENT)], *outlet(daemon, "on"), PYTHONIOENCODING="ascii")
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
        ran = client(*outlet(daemon, "on"), *options, "--timeout=0.4")
        assert 0.4 <= time.monotonic() - begin < 3
        assert ran == (127, "Error sending command! no answer within 0.4 s" + UNSURE, "")


def test_timeout_of_a_status_leaves_nothing_unsure() -> None:
    with OldDaemon(end="hold") as daemon:
        ran = client(*outlet(daemon, "status"), "--timeout=.2")
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
        command = [sys.executable, str(CLIENT), *outlet(daemon, "on")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                eventually(lambda: daemon.received)
                process.send_signal(2)
                assert process.wait(10) == 130
                assert process.stdout is not None and process.stdout.read() == b""
            finally:
                process.kill()


# The command line


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ("", MISSING),
        ("--hostname x --port 1 --command on", MISSING),
        ("--daemon 127.0.0.1:1 --hostname x --port 1", MISSING),
        ("--daemon 127.0.0.1:1 --hostname x --command on", MISSING),
        ("--daemon 127.0.0.1:1 --port 1 --command on", MISSING),
        ("--daemon 127.0.0.1:1 --command frob", MISSING),
        ("--daemon 127.0.0.1:1 --hostname= --port 1 --command on", MISSING),
        ("--daemon 127.0.0.1:1 --alias a --command frob", "Unknown pdu command: frob\n"),
        ("--daemon 127.0.0.1:1 --hostname x --port 1 --command ON", "Unknown pdu command: ON\n"),
    ],
)
def test_missing_or_unknown(options: str, out: str) -> None:
    assert client(*options.split()) == (1, out, "")


def test_seconds_are_checked_before_anything_is_sent() -> None:
    words = ["nan", "inf", "-5", "1e3", "abc", "1s", "+5", "0x5", ".", "5 ", "\N{ARABIC-INDIC DIGIT THREE}"]
    with OldDaemon(b"ack\n") as daemon:
        for option, word in [("--wait", "nan"), ("--timeout", "-5"), *(("--delay", word) for word in words)]:
            ran = client(*outlet(daemon, "on"), option, word)
            complaint = f"pduclient: error: argument {option}: {word!r} is not a number of seconds\n"
            assert ran == (2, "", USAGE + complaint)
        assert daemon.sessions == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--alias=a", "--hostname=b", "--command=on"], "give either --alias, or --hostname and --port"),
        (["--alias=a", "--port=1", "--command=on"], "give either --alias, or --hostname and --port"),
        (["--hostname=a b", "--port=1", "--command=on"], "argument --hostname: 'a b' is not a name (over TCP)"),
        (["--alias=a\nb 1 off\n", "--command=on"], r"argument --alias: 'a\nb 1 off\n' is not a name (over TCP)"),
        (["-H", "--alias=a\nb", "--command=on"], r"argument --alias: 'a\nb' is not a name"),
        (["--bogus"], "no such option: --bogus"),
        (["--alias=a", "--command=on", "--delay"], "argument --delay: expected one argument"),
    ],
)
def test_not_understood(options: list[str], complaint: str) -> None:
    with OldDaemon(b"ack\n") as daemon:
        ran = client(f"--daemon=127.0.0.1:{daemon.port}", *options)
        assert ran == (2, "", f"{USAGE}pduclient: error: {complaint}\n")
        assert daemon.sessions == 0


def test_further_words_are_ignored_as_ever() -> None:
    """Labs have ``pduclient ... && sleep 1`` in places where no shell looks at it."""
    with OldDaemon(b"ack\n") as daemon:
        ran = client(*outlet(daemon, "on"), "&&", "sleep", "1")
        assert ran == (0, SENT, "pduclient: ignored: && sleep 1\n")
        assert bytes(daemon.received) == b"pdu01 1 on"


def test_help() -> None:
    for option in ("-h", "--help"):
        ran = client(option)
        assert (ran.code, ran.err) == (0, "") and ran.out.startswith(f"{USAGE}\nPDUDaemon client\n\nOptions:\n")
        for word in ("help", "http", "daemon", "hostname", "port", "alias", "command", "delay", "wait", "timeout"):
            assert f" --{word} " in ran.out


@pytest.mark.parametrize(
    ("daemon", "found"),
    [
        ("lab7", ("lab7", 16421)),
        ("lab7:80", ("lab7", 80)),
        ("127.0.0.1:00080", ("127.0.0.1", 80)),
        ("::1", ("::1", 16421)),
        ("fe80::1%eth0", ("fe80::1%eth0", 16421)),
        ("[::1]", ("::1", 16421)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_daemon_addresses(daemon: str, found: tuple[str, int]) -> None:
    assert runpy.run_path(str(CLIENT))["parse_address"](daemon)[:2] == found


@pytest.mark.parametrize("daemon", ["lab7:", ":80", "lab7:http", "a:0", "lab7:65536", "[::1]:x", "[]", "lab7:123456"])
def test_no_daemon_addresses(daemon: str) -> None:
    ran = client("--daemon", daemon, "--alias=a", "--command=on")
    assert ran.code == 2 and ran.out == "" and f"error: argument --daemon: {daemon!r}" in ran.err


@pytest.mark.parametrize("options", [[], ["-H"]])
@pytest.mark.parametrize("daemon", ["127.0.0.1:1", "a..b"])
def test_cannot_connect(daemon: str, options: list[str]) -> None:
    ran = client("--daemon", daemon, "--alias=a", "--command=on", *options)
    assert (ran.code, ran.out) == (1, UNREACHABLE)
    assert ran.err.startswith("pduclient: ") and "Traceback" not in ran.err


# One file, nothing but Python


def test_imports_the_standard_library_alone_and_parses_by_python_3_8() -> None:
    tree = ast.parse(CLIENT.read_text(), feature_version=(3, 8))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_copy_works_by_itself(tmp_path: Path) -> None:
    copy = Path(shutil.copy(CLIENT, tmp_path))
    assert copy.stat().st_mode & 0o777 == 0o755
    with OldDaemon(b"ack\n") as daemon:
        assert run([str(copy)], *outlet(daemon, "on"), PATH=os.environ["PATH"]) == (0, SENT, "")


# The real daemon

PDUS: dict[str, dict[str, Any]] = {
    "pdu01": {"driver": "dummy", "outlets": 24},
    "slow": {"driver": "dummy", "slow": 10},
    "no": {"driver": "dummy", "refuse": "the breaker is open"},
}
ALIASES = {"board7": {"hostname": "pdu01", "port": 7}}


@pytest.mark.parametrize("options", [[], ["-H"]])
def test_real_daemon(daemon: Callable[..., Daemon], tmp_path: Path, options: list[str]) -> None:
    outlets = tmp_path / "outlets"
    pdus = {**PDUS, "pdu01": {**PDUS["pdu01"], "file": str(outlets)}}
    running = daemon(pdus, ALIASES)
    address = f"127.0.0.1:{running.port}"

    def ask(words: str) -> Ran:
        return client("--daemon", address, *words.split(), *options)

    nack = f"Error sending command! {address} replied: " + ("" if options else "nack: ")
    assert ask("--hostname pdu01 --port 08 --command on") == (0, SENT, "")
    assert outlets.read_text() == '{"8": "on"}'
    assert ask("--hostname pdu01 --port 8 --command status") == (0, "on\n", "")
    assert ask("--hostname pdu01 --port 8 --command off --delay 0.1") == (0, SENT, "")
    assert ask("--hostname pdu01 --port 8 --command status") == (0, "off\n", "")
    assert ask("--alias board7 --command reboot --delay .2 --wait 20 --timeout 25") == (0, SENT, "")
    assert ask("--alias board7 --command status --wait 5") == (0, "on\n", "")
    assert outlets.read_text() == '{"8": "off", "7": "on"}'

    begin = time.monotonic()
    assert ask("--hostname slow --port 1 --command on --wait 0") == (0, SENT, "")
    ran = ask("--hostname slow --port 2 --command on --timeout 0.5")
    assert ran == (127, "Error sending command! no answer within 0.5 s" + UNSURE, "")
    assert time.monotonic() - begin < 5

    assert ask("--hostname no --port 1 --command on") == (127, f"{nack}no: the breaker is open\n", "")
    assert ask("--hostname no --port 1 --command status") == (127, f"{nack}no: the breaker is open\n", "")
    assert ask("--hostname pdu02 --port 1 --command on").out.startswith(f"{nack}there is no PDU 'pdu02'")
    assert ask("--hostname pdu01 --port 25 --command on").out.startswith(f"{nack}pdu01: '25' is not a port")
    assert ask("--alias board8 --command on").code == 127
    assert ask("--alias board7 --command on --delay 3601").out.startswith(f"{nack}delay: ")


@pytest.mark.parametrize(("listener", "options"), [("tcp", []), ("http", ["--http"])])
def test_real_daemon_of_one_protocol(daemon: Callable[..., Daemon], listener: str, options: list[str]) -> None:
    running = daemon(PDUS, listener=listener)
    assert client(*outlet(running, "on"), *options) == (0, SENT, "")
    assert client(*outlet(running, "status"), *options) == (0, "on\n", "")
    assert client(*outlet(running, "status", "--port=25"), *options).code == 127


def test_a_daemon_of_the_other_protocol(daemon: Callable[..., Daemon]) -> None:
    tcp = daemon(PDUS, listener="tcp")
    ran = client("-H", *outlet(tcp, "on"))
    assert ran.code == 127 and f"127.0.0.1:{tcp.port}: nack: " in ran.out
    http = daemon(PDUS, listener="http", client_timeout=0.5)
    ran = client(*outlet(http, "on"))
    assert ran.code == 127 and ran.out.startswith("Error sending command! ")


def test_ipv6(daemon: Callable[..., Daemon]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 on the loopback: {error}")
    six = daemon(PDUS, ALIASES, hostname="::1")
    for options in ([], ["-H"]):
        ran = client(f"--daemon=[::1]:{six.port}", "--alias=board7", "--command=on", *options)
        assert ran == (0, SENT, "")
    address = lab_address()
    daemon(PDUS, ALIASES, hostname=address, port=16421)
    assert client(f"--daemon=::ffff:{address}", "--alias=board7", "--command=on") == (0, SENT, "")


# The existing client beside ours


@pytest.fixture(scope="module")
def former() -> str:
    return former_client()


def both(former: str, address: str, words: str, **environment: str) -> tuple[Ran, Ran]:
    """Run the existing client and ours with the same words; return what each left behind."""
    line = f"--daemon {address} {words}".split()
    return run([former], *line, **environment), client(*line)


def test_ours_is_not_taken_for_the_existing_client() -> None:
    """It is, by its path, where our package is installed."""
    with pytest.raises(pytest.skip.Exception, match="not the former client but ours"):
        former_client(str(CLIENT))


def test_same_as_the_existing_client_on_the_real_daemon(
    daemon: Callable[..., Daemon], tmp_path: Path, former: str
) -> None:
    outlets = tmp_path / "outlets"
    address = lab_address()
    pdus = {**PDUS, "pdu01": {**PDUS["pdu01"], "file": str(outlets)}}
    running = daemon(pdus, hostname=address, port=16421)
    for words, code in {
        "--hostname pdu01 --port 01 --command on": 0,
        "--hostname pdu01 --port 8 --command reboot --delay 1": 0,
        "--hostname pdu01 --port 24 --command off": 0,
        "--hostname pdu02 --port 1 --command on": 127,
        "--hostname pdu01 --port 25 --command on": 127,
        "--hostname pdu01 --port on --command on": 127,
        "--hostname no --port 1 --command off": 127,
        "--hostname pdu01 --port 1 --command frob": 1,
        "--hostname pdu01 --port 1": 1,
        "--hostname pdu01 --command on": 1,
    }.items():
        old, new = both(former, address, words)
        assert new == old, words
        assert new.code == code, words
    assert outlets.read_text() == '{"1": "on", "8": "on", "24": "off"}'
    assert running.stop() == 0
    old, new = both(former, address, "--hostname pdu01 --port 1 --command on")
    assert new[:2] == old[:2] == (1, UNREACHABLE)


def test_same_as_the_existing_client_over_http(daemon: Callable[..., Daemon], former: str) -> None:
    where = {"PYTHONPATH": str(Path(requests.__file__).parent.parent)}
    if run(["/usr/bin/python3"], "-c", "import requests", **where).code:
        pytest.skip("/usr/bin/python3 cannot import requests, which -H of the existing client needs")
    address = lab_address()
    running = daemon(PDUS, hostname=address, port=16421, listener="http")
    for command in ("on", "off"):
        old, new = both(former, address, f"-H --hostname pdu01 --port 01 --command {command}", **where)
        assert new == old == (0, SENT, "")
    old, new = both(former, address, "-H --hostname pdu02 --port 1 --command on", **where)
    assert new.code == old.code == 127
    assert old.out == f"Error sending command! {address} replied: <Response [503]>\n"
    assert new.out.startswith(f"Error sending command! {address} replied: there is no PDU 'pdu02'")
    assert running.stop() == 0
    old, new = both(former, address, "-H --hostname pdu01 --port 1 --command on", **where)
    assert new[:2] == old[:2] == (1, UNREACHABLE)


def test_same_bytes_as_the_existing_client(former: str) -> None:
    address = lab_address()
    with socket.create_server((address, 16421)) as listener:
        listener.settimeout(10)
        for words in (
            "--hostname x --port 01 --command on",
            "--hostname x --port 1 --command reboot --delay 5",
            "--hostname x --port 1 --command off --delay 05",
            "--hostname x --port 1 --command reboot --delay 0",
            "--host x --po 1 --com on further words",
        ):
            seen = []
            for program in ([former], [sys.executable, str(CLIENT)]):
                command = [*program, "--daemon", address, *words.split()]
                with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                    connection, _ = listener.accept()
                    with connection:
                        seen.append(connection.recv(4096))
                        connection.sendall(b"nack: a reason\n")
                    out, _ = process.communicate(timeout=10)
                assert out.decode() == f"Error sending command! {address} replied: nack: a reason\n"
                assert process.returncode == 127
            assert seen[0] == seen[1], words
