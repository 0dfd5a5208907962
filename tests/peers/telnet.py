# SPDX-License-Identifier: MIT
"""telnetd, and what starts it: a listening socket that hands each connection to a program, as inetd does.

An account to log in with is made and removed again, which only root can do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pytest

TELNETD = "/usr/sbin/telnetd"


class Account(NamedTuple):
    """A user of this machine."""

    name: str
    password: str


class Inetd:
    """Listens on a free loopback port and starts a program for each connection, which is its stdin and stdout."""

    def __init__(self, log: Path, *command: str) -> None:
        self._log = log
        self._command = command
        self._programs: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for program in self._programs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()

    def _accept(self) -> None:
        with self._log.open("ab") as log:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with connection:
                    self._programs.append(
                        subprocess.Popen(
                            self._command, stdin=connection, stdout=connection, stderr=log, start_new_session=True
                        )
                    )


@contextmanager
def telnetd(folder: Path) -> Iterator[Inetd]:
    """Run telnetd, which asks for a login by the system's own program."""
    if not Path(TELNETD).exists():
        pytest.skip("telnetd is not installed (Debian: inetutils-telnetd)")
    if os.geteuid() != 0:
        pytest.skip("only root can run telnetd")
    with Inetd(folder / "telnetd.log", TELNETD, "-h") as server:
        yield server


@contextmanager
def account() -> Iterator[Account]:
    """Make a user with a password, and a home that he can go to, or he would be told otherwise; remove both in the end."""
    if os.geteuid() != 0:
        pytest.skip("only root can make an account to log in with")
    if shutil.which("useradd") is None:
        pytest.skip("useradd is not installed (Debian: passwd)")
    made = Account(f"pdu{os.getpid()}", "well-kept-secret")
    home = tempfile.mkdtemp()  # not below the folder of a test, which is root's alone
    subprocess.run(["useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh", made.name], check=True)
    try:
        shutil.chown(home, made.name)
        subprocess.run(["chpasswd"], input=f"{made.name}:{made.password}".encode(), check=True)
        yield made
    finally:
        subprocess.run(["userdel", "--force", made.name], check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(home)
