# SPDX-License-Identifier: MIT
"""pduclient on a terminal: progress, the question before nodes go down, Ctrl-C."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, cluster, result
from tests.support.client import GOES_ON, NOWHERE, PROGRAM, Ran, ask
from tests.support.process import eventually


class Terminal:
    """The client with a terminal as its standard input and standard error; ``screen`` is what that has been shown."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.fd, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            env={**NOWHERE, "TERM": "xterm", **environment},
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
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
        out, _ = self.process.communicate(timeout=20)
        self._reader.join(5)
        os.close(self.fd)
        return Ran(self.process.returncode, out, self.screen.replace("\r\n", "\n"))


@contextmanager
def terminal(server: PowerServer, words: str, **environment: str) -> Iterator[Terminal]:
    """Run the client for a server on a terminal."""
    made = Terminal(*shlex.split(words), f"--url={server.url}", **environment)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(10)


def test_progress() -> None:
    with StreamServer(*cluster(3), pause=0.05) as server:
        with terminal(server, "status node[01-03]") as client:
            ran = client.end()
        counts = "".join(f"\rstatus: {n} of 3 nodes\x1b[K" for n in (0, 1, 2, 3))
        assert ran == (0, "node01 On\nnode02 On\nnode03 On\n", f"{counts}\r\x1b[K")
        for environment in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
            with terminal(server, "status node[01-03]", **environment) as client:
                assert client.end().err == ""
        assert ask(server.url, "status node[01-03]", TERM="xterm").err == ""
    with StreamServer(result("a")) as server, terminal(server, "status a") as client:
        assert client.end() == (0, "a On\n", "")


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("off node[01-03],node05", "off: 4 nodes, node[01-03],node05? [y/N] "),
        ("restart a b", "restart: 2 nodes, a,b? [y/N] "),
        ("off -g rack1", "off: all nodes of rack1? [y/N] "),
        ("off @rack1", "off: all nodes of @rack1? [y/N] "),
    ],
)
def test_confirmation(words: str, question: str) -> None:
    with StreamServer(result("a", "power_off")) as server:
        for answer in ("\n", "n\n", "maybe\n", "\x04"):
            with terminal(server, words) as client:
                eventually(lambda client=client: client.screen == f"pduclient: {question}")
                client.type(answer)
                ran = client.end()
            assert (ran.code, ran.out) == (2, "") and ran.err.endswith("pduclient: nothing was sent\n")
        assert server.asked == []
        with terminal(server, words) as client:
            eventually(lambda: client.screen == f"pduclient: {question}")
            client.type("y\n")
            assert client.end().code == 0
        assert len(server.asked) == 1


@pytest.mark.parametrize("words", ["off a", "off node[07]", "off -y a,b", "on a,b", "status a,b"])
def test_no_confirmation(words: str) -> None:
    with StreamServer(result("a")) as server:
        with terminal(server, words) as client:
            assert client.end()[::2] == (0, "")
        assert ask(server.url, "restart a,b").err == ""


def test_interrupt() -> None:
    with StreamServer(result("node01", "power_on"), count=3, end=End.HOLD) as server:
        with terminal(server, "on node[01-03]") as client:
            eventually(lambda: "1 of 3" in client.screen)
            client.process.send_signal(signal.SIGINT)
            ran = client.end()
        assert (ran.code, ran.out) == (130, "node01 Starting\n")
        assert ran.err.endswith(f"\r\x1b[Kpduclient: node[02-03]: not known: interrupted{GOES_ON}\n")
    with PowerServer(b"") as idle, terminal(idle, "off a -g") as client:
        eventually(lambda: "? [y/N]" in client.screen)
        client.process.send_signal(signal.SIGINT)
        ran = client.end()
        assert (
            ran[:2] == (130, "")
            and ran.err.endswith("\npduclient: interrupted; nothing was sent\n")
            and idle.asked == []
        )


def test_interrupt_before_any_answer() -> None:
    for words, more in (("on a", GOES_ON), ("status a", "")):
        with StreamServer(end=End.HOLD) as server:
            server.lines = []
            with terminal(server, words) as client:
                eventually(lambda server=server: server.asked)
                client.process.send_signal(signal.SIGINT)
                assert client.end() == (130, "", f"pduclient: interrupted{more}\n")
