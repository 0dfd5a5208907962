# SPDX-License-Identifier: MIT
"""Side by side with the existing client, which Debian packages as ``pdudaemon-client`` (run only, as a black box)."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.peers.formerclient import former_client
from tests.support.client import CLIENT, SENT, UNREACHABLE, Ran, client, lab_address, run
from tests.support.process import Daemon

PDUS: dict[str, dict[str, Any]] = {
    "pdu01": {"driver": "dummy", "outlets": 24},
    "no": {"driver": "dummy", "refuse": "the breaker is open"},
}


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
        listener.settimeout(60)
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
                    out, _ = process.communicate(timeout=60)
                assert out.decode() == f"Error sending command! {address} replied: nack: a reason\n"
                assert process.returncode == 127
            assert seen[0] == seen[1], words
