# SPDX-License-Identifier: MIT
"""Listeners on a UNIX socket: its file, and who comes by it."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET, good


def lab(daemon: Callable[..., Daemon], *listeners: dict[str, Any], start: bool = True, **settings: Any) -> Daemon:
    """Return a daemon with a TCP listener, and others on UNIX sockets in its folder."""
    started = daemon({"pdu": {"driver": "dummy"}}, start=False, **settings)
    for word in ("hostname", "port", "listener"):
        del started.settings["daemon"][word]
    started.settings["daemon"]["listeners"] = [{"protocol": "both", "port": 0}, *listeners]
    started.configure(started.settings)
    if start:
        started.start()
    return started


def said(file: Path, text: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(file))
        sock.sendall(text.encode())
        return sock.makefile().read()


def get(file: Path, path: str, *headers: str) -> str:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return said(file, "\r\n".join(lines))


@pytest.mark.parametrize("mode", ["0600", "660", "0666"])
def test_its_file_has_the_mode_and_goes_with_the_daemon(daemon: Callable[..., Daemon], mode: str) -> None:
    started = lab(daemon, {"protocol": "both", "socket": "s", "socket_mode": mode})
    file = started.folder / "s"
    assert stat.S_IMODE(file.stat().st_mode) == int(mode, 8)
    assert said(file, "pdu 1 on\n") == "ack\n"
    assert get(file, "/power/control/status?hostname=pdu&port=1").endswith("\n\non\n")
    assert started.http("/api/v1/requests/1").json["client"] == "unix"
    eventually(lambda: re.search(rf"listening on {file} \(both\)", started.log_text()))
    ran = started.run("--health")
    assert ran.returncode == 0 or "port 0" in ran.stderr + ran.stdout
    assert started.stop() == 0 and not file.exists()
    assert [each.name for each in started.folder.iterdir() if each.name.startswith(".s")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_its_file_has_an_owner(daemon: Callable[..., Daemon]) -> None:
    started = lab(daemon, {"protocol": "http", "socket": "s", "socket_owner": "nobody:daemon"})
    found = (started.folder / "s").stat()
    assert (found.st_uid, found.st_gid) == (65534, 1)


def test_tokens_and_networks(daemon: Callable[..., Daemon]) -> None:
    """The socket is no token; a token may be handed in over it, since nobody else hears it."""
    started = lab(daemon, {"protocol": "both", "socket": "s", "allow": ["127.0.0.1"]}, secret=SECRET)
    file = started.folder / "s"
    assert get(file, "/api/v1/pdus").startswith("HTTP/1.1 401")
    assert get(file, "/api/v1/pdus", f"Authorization: Bearer {good()}").startswith("HTTP/1.1 200")
    assert (
        said(file, "pdu 1 on\n") == "nack: a token is needed, so this is for HTTP; unix is in no network allowed here\n"
    )
    assert said(file, f"token {good()}\npdu 1 on\n") == "ack\n"


def test_without_tokens_its_file_says_who_may(daemon: Callable[..., Daemon]) -> None:
    started = lab(daemon, {"protocol": "both", "socket": "s", "allow": ["192.0.2.0/24"]})
    assert said(started.folder / "s", "pdu 1 on\n") == "ack\n"


def test_what_a_killed_daemon_left_is_taken_over_and_nothing_else(daemon: Callable[..., Daemon]) -> None:
    started = lab(daemon, {"protocol": "both", "socket": "s"})
    file = started.folder / "s"
    started.kill()
    assert file.exists()
    started.start()
    assert said(file, "pdu 1 on\n") == "ack\n"
    other = lab(daemon, {"protocol": "both", "socket": str(file)}, start=False)
    ran = other.run()
    assert ran.returncode == 75 and f"cannot listen on {file}: Address already in use" in ran.stderr
    assert said(file, "pdu 1 on\n") == "ack\n"
    plain = other.folder / "plain"
    plain.write_text("mine")
    for path, why in ((plain, "it is there already, and is no socket"), (other.folder / "no" / "s", "No such file")):
        other.settings["daemon"]["listeners"][1]["socket"] = str(path)
        other.configure(other.settings)
        ran = other.run()
        assert ran.returncode == 75 and f"cannot listen on {path}: {why}" in ran.stderr, ran
    assert plain.read_text() == "mine"


def test_reloads_add_change_and_remove_it(daemon: Callable[..., Daemon]) -> None:
    started = lab(daemon)
    assert started.process is not None
    file, other = started.folder / "s", started.folder / "t"
    listeners = started.settings["daemon"]["listeners"]
    for added in ([{"socket": "s"}], [{"socket": "s", "socket_mode": "0600"}], [{"socket": "s"}, {"socket": "t"}], []):
        started.settings["daemon"]["listeners"] = [listeners[0], *({"protocol": "tcp", **each} for each in added)]
        started.configure(started.settings)
        before = started.log_text().count("has been taken over")
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda before=before: started.log_text().count("has been taken over") > before)
        assert [file.exists(), other.exists()] == [bool(added), len(added) > 1]
        for each in added:
            assert said(started.folder / each["socket"], "pdu 1 on\n") == "ack\n"
            mode = int(each.get("socket_mode", "0660"), 8)
            assert stat.S_IMODE((started.folder / each["socket"]).stat().st_mode) == mode
