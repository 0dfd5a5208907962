# SPDX-License-Identifier: MIT
"""What the service manager gives to the daemon alone: the daemon uses it, and no program that it starts has it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pdudaemon.environment import OWN
from pdudaemon.transports import command, ssh
from pdudaemon.transports.deadline import Deadline
from tests.support.process import Daemon, eventually, install_plugin

PLUGIN = """
import subprocess
from pdudaemon.drivers.driver import PDUDriver

class Other(PDUDriver):
    def __init__(self, hostname, settings):
        self.settings = settings

    @classmethod
    def accepts(cls, drivername):
        return drivername == "other"

    def port_interaction(self, command, port_number):
        subprocess.check_call("env > " + self.settings["file"], shell=True)
"""


def names(text: str) -> set[str]:
    """Return the names of the variables in what ``env`` prints."""
    return {line.partition("=")[0] for line in text.splitlines()}


@pytest.mark.parametrize("own", [None, {"WORD": "x"}])
def test_no_command_has_what_is_the_daemons(monkeypatch: pytest.MonkeyPatch, own: dict[str, str] | None) -> None:
    for name in (*OWN, "STATE_DIRECTORY", "LANG"):
        monkeypatch.setenv(name, "/x")
    found = names(command.run("env", Deadline(20), environment=own).text)
    assert not found & {*OWN}
    assert {"STATE_DIRECTORY", "LANG", "PATH", *(own or {})} <= found


def test_ssh_has_not_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    ssh.run(ssh.Login("192.0.2.1", 22, "root"), "true", Deadline(20))
    assert "PATH" in names((tmp_path / "seen").read_text()) and "NOTIFY_SOCKET" not in (tmp_path / "seen").read_text()


def test_nothing_that_the_daemon_starts_has_it_and_the_daemon_still_has(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Also a plugin's own children; the credentials are read anew at each reload."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "word").write_text("first")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    pdus = {
        "local": {"driver": "localcmdline", "cmd_on": f"env > {tmp_path}/local"},
        "plugin": {"driver": "other", "file": str(tmp_path / "plugin")},
        "platform": {
            "driver": "platform",
            "power_on": f"env > {tmp_path}/platform; echo $word > {tmp_path}/word",
            "values": {"word": {"credential": "word"}},
        },
    }
    started = daemon(pdus, start=False)
    install_plugin(started.plugins, "otherplugin", PLUGIN, {"other": "Other"})
    started.environment |= dict.fromkeys(OWN, "0")
    started.environment |= {
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "STATE_DIRECTORY": str(tmp_path),
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": "",
    }
    started.start()

    def nothing_is_told() -> None:
        for name in pdus:
            assert started.power("on", name, 1).status == 200
            assert "STATE_DIRECTORY" in names((tmp_path / name).read_text())
            assert not names((tmp_path / name).read_text()) & {*OWN}, name

    nothing_is_told()
    assert (tmp_path / "word").read_text() == "first\n"
    (tmp_path / "credentials" / "word").write_text("second")
    assert started.process is not None
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: "has been taken over" in started.log_text())
    nothing_is_told()
    assert (tmp_path / "word").read_text() == "second\n"
    assert b"READY=1" in manager.recv(1000)
    while b"WATCHDOG=1" not in manager.recv(1000):
        pass
    manager.close()
