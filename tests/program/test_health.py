# SPDX-License-Identifier: MIT
"""``pdudaemon --health``: asked of the daemon that a configuration tells of."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import cli
from pdudaemon.health import NO_USE
from tests.support.process import Daemon

PDUS = {"pdu": {"driver": "dummy"}}


def health(folder: Path, port: int, **listener: Any) -> int:
    """Ask as the program does, with a configuration that says where the daemon listens."""
    whole = {"daemon": {"listeners": [{"protocol": "both", "port": port, **listener}]}, "pdus": PDUS}
    (folder / "conf").write_text(json.dumps(whole))
    return cli.main([f"--conf={folder / 'conf'}", "--health"])


@pytest.mark.parametrize("given", [{}, {"protocol": "http"}, {"protocol": "tcp"}, {"hostname": "0.0.0.0"}])
def test_a_daemon_that_is_well(
    daemon: Callable[..., Daemon], tmp_path: Path, capsys: pytest.CaptureFixture[str], given: dict[str, Any]
) -> None:
    started = daemon(PDUS)
    assert health(tmp_path, started.port, **given) == 0
    assert capsys.readouterr().out == f"{given.get('hostname', '127.0.0.1')} port {started.port}: ok\n"


def test_a_daemon_that_wants_tokens_is_well(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    assert health(tmp_path, daemon(PDUS, secret="a-secret").port) == 0


def test_no_daemon_and_one_that_does_not_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert health(tmp_path, port) == 1
    assert capsys.readouterr().err == f"127.0.0.1 port {port}: Connection refused\n"


def test_what_ails_the_daemon_is_printed(
    daemon: Callable[..., Daemon], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its store is gone, which it notices when it is asked."""
    started = daemon(PDUS)
    assert started.process is not None
    started.process.send_signal(signal.SIGSTOP)  # it would write it anew in between
    for file in started.folder.glob("store.db*"):
        file.unlink() if file.is_file() else None
    started.db.mkdir()
    started.process.send_signal(signal.SIGCONT)
    assert health(tmp_path, started.port) == 1 and started.http("/livez").status == 503
    assert f"port {started.port}: 503: " in capsys.readouterr().err


def test_a_full_disk_is_no_reason_to_start_it_anew(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """A start needs the room as well, and this daemon switches on what it has promised to."""
    started = daemon(PDUS)
    with started.full_disk():
        assert started.http("/healthz").status == 503 and started.http("/livez").text == "ok\n"
        assert health(tmp_path, started.port) == NO_USE == 75
    assert health(tmp_path, started.port) == 0
