# SPDX-License-Identifier: MIT
"""The client on a terminal, which is typed at and looked at."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.client import NOWHERE, Ran
from tests.support.process import PDUCLIENT


class Terminal:
    """The client with a terminal as its standard input and standard error; ``screen`` is what that has been shown."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.fd, terminal = pty.openpty()
        self.process = PDUCLIENT.start(
            [*arguments],
            {**NOWHERE, "TERM": "xterm", **environment},
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
        )
        os.close(terminal)
        self.screen = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self.fd, 4096):
                self.screen += data.decode()
        except OSError:
            return  # nobody has the terminal any more

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> Ran:
        """Wait for the end of the client; the third of the results is the screen."""
        out, _ = self.process.communicate(timeout=60)
        self._reader.join(5)
        os.close(self.fd)
        return Ran(self.process.wait(), out.decode(), self.screen.replace("\r\n", "\n"))


@contextmanager
def terminal(url: str, words: str, **environment: str) -> Iterator[Terminal]:
    """Run the client for a server of nodes on a terminal."""
    made = Terminal(*shlex.split(words), f"--url={url}", **environment)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(60)
