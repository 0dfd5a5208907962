# SPDX-License-Identifier: MIT
"""The text protocol, over real sockets: framing, forms, and what is refused."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import Daemon, eventually

NO_PORT = "is not a port: this PDU has 1 to 8"
NO_ALIAS = "nack: there is no alias or node 'board8'; did you mean 'board7'?"
TOO_LONG = "nack: delay: 3601 seconds is more than the 3600 allowed"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("tcp")
    pdus = {
        "pdu01": {"driver": "dummy", "file": str(folder / "outlets")},
        "GET": {"driver": "dummy"},
        "names": {"driver": "localcmdline", "cmd_on": f"echo %s >> {folder}/names", "cmd_status": "echo on"},
    }
    (folder / "outlets").write_text('{"7": "on"}')
    one = Daemon(folder, pdus, {"board7": {"hostname": "pdu01", "port": 7}}, client_timeout=4)
    one.start()
    yield one
    one.kill()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("pdu01 1 on", "ack\n"),
        ("pdu01 1 on\n", "ack\n"),
        ("pdu01 1 on\r\n", "ack\n"),
        ("  pdu01\t1  on \r\n\r\n", "ack\n"),
        ("pdu01 08 on", "ack\n"),
        ("pdu01 1 reboot 0", "ack\n"),
        ("pdu01 1 reboot 0.1", "ack\n"),
        ("pdu01 1 on 0 wait=0", "ack\n"),
        ("pdu01 1 on wait=5", "ack\n"),
        ("board7 on", "ack\n"),
        ("board7 reboot 0", "ack\n"),
        ("board7 status", "on\n"),
        ("names relay_1 on", "ack\n"),
        ("names 0 on", "ack\n"),
        ("names a status", "on\n"),
        ("pdu01 1 on\npdu01 2 on\npdu01 3 off", "ack\nack\nack\n"),
        ("nowhere 1 on\npdu01 2 on\n", "nack: there is no PDU 'nowhere'\nack\n"),
        ("pdu1 1 on", "nack: there is no PDU 'pdu1'; did you mean 'pdu01'?\n"),
        ("pdu01 0 on", "nack: pdu01: '0' is not a port: this PDU has 1 to 8\n"),
        ("pdu01 1;reboot on", "nack: pdu01: '1;reboot' is not a port: letters, digits and _ . : + / - only, not beginning with -\n"),
        ("pdu01 -1 on", "nack: pdu01: '-1' is not a port: letters, digits and _ . : + / - only, not beginning with -\n"),
        ("board8 on", "nack: there is no alias or node 'board8'; did you mean 'board7'?\n"),
        ("pdu01 1 frobnicate", "nack: 'frobnicate' is none of on, off, reboot, status\n"),
        ("pdu01 1 onn\n", "nack: 'onn' is none of on, off, reboot, status; did you mean 'on'?\n"),
        *((f"pdu01 1 reboot {bad}", f"nack: delay: {bad!r} is not a number of seconds\n") for bad in ("nan", "inf", "-5", "1e3", "abc", "5s", "--", "١")),
        ("pdu01 1 reboot 3601", "nack: delay: 3601 seconds is more than the 3600 allowed\n"),
        ("pdu01 1 on wait=x", "nack: wait: 'x' is not a number of seconds\n"),
        ("pdu01 1 on 1 2", "nack: not a request: hostname port command [delay]\n"),
        ("pdu01 9 on\nboard8 on\npdu01 1 reboot 3601\n\npdu01 2 on\n", f"nack: pdu01: '9' {NO_PORT}\n{NO_ALIAS}\n{TOO_LONG}\nack\n"),
        ("pdu01 1 onn\npdu01 1 on\n", "nack: 'onn' is none of on, off, reboot, status; did you mean 'on'?\n"),
        ("pdu01\npdu01 1 on\n", "nack: not a request: hostname port command [delay]\n"),
        ("\n", "nack: not a request: hostname port command [delay]\n"),
        ("pdu01", "nack: not a request: hostname port command [delay]\n"),
        ("pdu01 1 re", "nack: 're' is none of on, off, reboot, status\n"),
        (b"\x16\x03\x01\x02\x00", "nack: not a request: hostname port command [delay]\n"),
        (b"\xff\xfe\n", "nack: not a request: hostname port command [delay]\n"),
        ("GET 1 on", "ack\n"),
        ("x" * 5000, "nack: not a request: hostname port command [delay]\n"),
        ("", ""),
    ],
)  # fmt: skip
def test_answers(started: Daemon, text: str | bytes, answer: str) -> None:
    with socket.create_connection(("127.0.0.1", started.port), timeout=30) as connection:
        connection.sendall(text.encode() if isinstance(text, str) else text)
        if not text:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while more := connection.recv(4096):
                received += more
        except ConnectionResetError:
            pass  # what it sent beyond the bound was not read
    assert received.decode() == answer


@pytest.mark.parametrize("first", ["POST /", "POST /on", "POST /1?on on", "POST /" + "x" * 2000])
def test_a_web_page_cannot_have_its_browser_switch_anything(daemon: Callable[..., Daemon], first: str) -> None:
    started = daemon({"a": {"driver": "dummy"}}, listener="tcp")
    text = f"{first} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\na 1 on\n"
    assert started.tcp(text).count("nack: ") == 1
    assert started.tcp("a 1 status") == "off\n"


def test_a_refused_request_switches_nothing(started: Daemon) -> None:
    started.tcp("pdu01 4 off")
    before = started.outlets()
    for bad in ("pdu01 4 reboot abc", "pdu01 4 reboot 99999", "pdu01 4 on -1", "pdu01 44 on", "pdu01 4 oof"):
        assert started.tcp(bad).startswith("nack: ")
    assert started.outlets() == before


def test_what_cannot_become_a_request_is_refused_at_once_and_what_can_is_given_time(started: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", started.port), timeout=30) as connection:
        for part in ("pdu", "01 5", " o", "n"):
            connection.sendall(part.encode())
            time.sleep(0.05)  # a client that sends in pieces
        assert connection.recv(100) == b"ack\n"
    assert started.outlets()["5"] == "on"

    def comes_first() -> bool:
        """Whether what cannot become a request is refused before what can, which came before it."""
        with (
            socket.create_connection(("127.0.0.1", started.port), timeout=60) as beginning,
            socket.create_connection(("127.0.0.1", started.port), timeout=60) as wrong,
        ):
            beginning.sendall(b"pdu01 5 o")
            wrong.sendall(b"pdu01 5 x")
            assert wrong.recv(100).startswith(b"nack: ")
            return not select.select([beginning], [], [], 0)[0]

    eventually(comes_first)
    before = time.monotonic()
    assert started.tcp("pdu01 5 o").startswith("nack: ")
    assert time.monotonic() - before > 1.5


def test_a_client_that_shuts_its_side_down_is_answered(started: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", started.port), timeout=30) as connection:
        connection.sendall(b"pdu01 6 of")
        connection.sendall(b"f\npdu01 6 on")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile().read() == "ack\nack\n"


def test_names_go_through_as_they_are_and_digits_as_numbers(started: Daemon) -> None:
    names = Path(started.folder / "names")
    names.write_text("")
    assert started.tcp("names AA1 on") == started.tcp("names 08 on") == "ack\n"
    assert started.power("on", "names", "08").status == 200
    assert names.read_text().split() == ["AA1", "8", "08"]


def test_the_answer_tells_the_result(daemon: Callable[..., Daemon]) -> None:
    started = daemon(
        {
            "refusing": {"driver": "dummy", "refuse": "the breaker is out"},
            "flaky": {"driver": "dummy", "flaky": 1, "retrydelay": 0.1},
            "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.5, "retries": 2, "retrydelay": 0},
        }
    )
    assert started.tcp("refusing 1 on") == "nack: refusing: the breaker is out\n"
    assert started.tcp("refusing 1 on wait=0") == "ack\n"
    assert started.tcp("flaky 1 on") == "ack\n"
    assert started.tcp("deaf 1 off") == "nack: deaf: no answer within 0.5 s\n"
    assert started.tcp("deaf 1 status") == "nack: deaf: no answer within 0.5 s\n"
    record = eventually(lambda: started.http("/api/v1/requests/2").json)
    assert (record["state"], record["reason"]) == ("failed", "refusing: the breaker is out")
