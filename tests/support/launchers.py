# SPDX-License-Identifier: MIT
"""Our programs for a shell, as forks of those that are loaded: for what starts many of them, as the guides do.

What the shell starts is a script on the bare interpreter. It hands its words, environment, folder and standard files to
the process of the test, where a fork begins with them, passes signals on to it, and ends as it ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tests.support.client import NOWHERE
from tests.support.forkserver import NUMBER, READ_AT_START, Program
from tests.support.process import BASE, PDUCLIENT, PDUDAEMON

PROGRAMS: dict[str, tuple[Program, Mapping[str, str]]] = {
    "pdudaemon": (PDUDAEMON, {**os.environ, **BASE}),
    "pduclient": (PDUCLIENT, NOWHERE),
}
"""Each with the environment that it has been loaded in, of which its forks keep what an interpreter reads at its start."""

SCRIPT = """\
#!{python} -IS
import _signal, _socket, posix, sys

line = _socket.socket(_socket.AF_UNIX)
line.connect({place!r})
words = [{name!r}, posix.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:]]
data = [word.encode("utf-8", "surrogateescape") for word in words]
data = b"\\0".join([*data, *(name + b"=" + value for name, value in posix.environ.items())])
files = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
line.sendmsg([len(data).to_bytes(4, sys.byteorder)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
line.sendall(data)
pid = int.from_bytes(line.recv(4), sys.byteorder, signed=True)
for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
    _signal.signal(number, lambda number, frame: posix.kill(pid, number))
code = int.from_bytes(line.recv(4), sys.byteorder, signed=True)
posix._exit(code if code >= 0 else 128 - code)
"""

_numbers = itertools.count()


class Launchers:
    """Serves such scripts while it is entered."""

    def __init__(self) -> None:
        self._place = f"\0launchers {os.getpid()} {next(_numbers)}"  # paths of sockets are too short for tests' folders
        self._threads: list[threading.Thread] = []

    def write(self, folder: Path, name: str) -> Path:
        """Write the script for one of PROGRAMS; return where it is."""
        path = folder / f"launch-{name}"
        path.write_text(SCRIPT.format(python=sys.executable, place=self._place.encode(), name=name))
        path.chmod(0o755)
        return path

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._place)
        self._listener.listen()
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def _begin(self, run: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._begin(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            head, files, _, _ = socket.recv_fds(connection, 4, 3)
            data = connection.recv(int.from_bytes(head, sys.byteorder), socket.MSG_WAITALL)
            name, folder, count, *rest = map(os.fsdecode, data.split(b"\0"))
            words, pairs = rest[: int(count)], rest[int(count) :]
            program, loaded = PROGRAMS[name]
            given = dict(pair.split("=", 1) for pair in pairs)
            process = program.start(words, adapted(given, loaded), folder, *files)
            for file in files:
                os.close(file)
            with contextlib.suppress(ConnectionError):  # the script was killed
                connection.sendall(NUMBER.pack(process.pid))
                connection.sendall(NUMBER.pack(process.wait()))


def adapted(given: Mapping[str, str], loaded: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a fork of what has been loaded in another."""
    kept = {name: value for name, value in loaded.items() if name.startswith(READ_AT_START)}
    return {**{name: value for name, value in given.items() if not name.startswith(READ_AT_START)}, **kept}
