# SPDX-License-Identifier: MIT
"""What pduclient sends for a port, byte by byte, against a fake of the existing daemon; and its options."""

from __future__ import annotations

import runpy

import pytest

from tests.devices.olddaemon import OldDaemon
from tests.support.client import CLIENT, MISSING, SENT, UNREACHABLE, USAGE, client, outlet


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


def test_blank_is_not_given() -> None:
    blank = ["--delay=", "--wait=", "--timeout=", "--alias=", "--delay", ""]
    with OldDaemon(b"ack\n") as daemon:
        assert client(*outlet(daemon.port, "on"), *blank) == (0, SENT, "")
        address = f"--daemon=127.0.0.1:{daemon.port}"
        assert client(address, "--hostname=", "--port= ", "--alias=b7", "--command=restart").code == 0
        assert bytes(daemon.received) == b"pdu01 1 onb7 reboot"


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
            ran = client(*outlet(daemon.port, "on"), option, word)
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
        ran = client(*outlet(daemon.port, "on"), "&&", "sleep", "1")
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
