# SPDX-License-Identifier: MIT
"""pduclient asks the real daemon for ports, in each of its protocols."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import SENT, UNSURE, Ran, client, lab_address, outlet
from tests.support.process import Daemon

PDUS: dict[str, dict[str, Any]] = {
    "pdu01": {"driver": "dummy", "outlets": 24},
    "slow": {"driver": "dummy", "slow": 60},
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
    assert time.monotonic() - begin < 30

    assert ask("--hostname no --port 1 --command on") == (127, f"{nack}no: the breaker is open\n", "")
    assert ask("--hostname no --port 1 --command status") == (127, f"{nack}no: the breaker is open\n", "")
    assert ask("--hostname pdu02 --port 1 --command on").out.startswith(f"{nack}there is no PDU 'pdu02'")
    assert ask("--hostname pdu01 --port 25 --command on").out.startswith(f"{nack}pdu01: '25' is not a port")
    assert ask("--alias board8 --command on").code == 127
    assert ask("--alias board7 --command on --delay 3601").out.startswith(f"{nack}delay: ")


@pytest.mark.parametrize(("listener", "options"), [("tcp", []), ("http", ["--http"])])
def test_real_daemon_of_one_protocol(daemon: Callable[..., Daemon], listener: str, options: list[str]) -> None:
    running = daemon(PDUS, listener=listener)
    assert client(*outlet(running.port, "on"), *options) == (0, SENT, "")
    assert client(*outlet(running.port, "status"), *options) == (0, "on\n", "")
    assert client(*outlet(running.port, "status", "--port=25"), *options).code == 127


def test_a_daemon_of_the_other_protocol(daemon: Callable[..., Daemon]) -> None:
    tcp = daemon(PDUS, listener="tcp")
    ran = client("-H", *outlet(tcp.port, "on"))
    assert ran.code == 127 and f"127.0.0.1:{tcp.port}: nack: " in ran.out
    http = daemon(PDUS, listener="http", client_timeout=0.5)
    ran = client(*outlet(http.port, "on"))
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
