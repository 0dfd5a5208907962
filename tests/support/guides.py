# SPDX-License-Identifier: MIT
"""A guide of ``share/guides``, followed to the letter: its files are written, its commands run, its answers compared.

A block of a guide is one of two things, and each is told by the line that opens it, of which a reader is shown no more
than the language:

- ``json /etc/pdudaemon/pdudaemon.conf``: a file, with its place. One that begins with ``#!`` can be run.
- ``console``: commands behind ``$ ``, each with what it prints. ``...`` stands for anything. Where nothing is shown, what
  it prints does not count; a command has to end with 0, unless what it is shown to print ends with ``[exit status N]``.

Guides are written for real machines. Here the places in them are others: absolute paths and ``~`` lie below a folder of
the test, ``lab.example.org``, ``localhost`` and addresses to listen on are a loopback address of the test's own (so that
ports stay what they are), and whatever else a test says. `systemctl` is played: by a real daemon, started, reloaded and
stopped as its unit says, and by the peers that a test names.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from tests.support.forkserver import Process
from tests.support.launchers import PROGRAMS, Launchers, adapted
from tests.support.process import ROOT

GUIDES = ROOT / "share" / "guides"
BOUND = 60.0
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ABSOLUTE = r"(?<![\w./~-])/(?:etc|opt|srv|var|usr/local|usr/bin/pdu\w+|run)\b"
_ADDRESSES = ("lab.example.org", "localhost", "127.0.0.1", "0.0.0.0")


class Block(NamedTuple):
    """A block of a guide: the line that it begins at, its language, its place if it is a file, and its text."""

    line: int
    language: str
    place: str
    text: str


class Command(NamedTuple):
    """A command with what it is shown to print; None if nothing is shown."""

    words: str
    shown: str | None
    status: int


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a guide."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        yield Block(text.count("\n", 0, found.start()) + 1, found[1], found[2] or "", found[3])


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a ``console`` block. A line that ends with a backslash goes on behind ``> ``."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        words = lines.pop(0)
        while lines and lines[0].startswith("> "):
            words += "\n" + lines.pop(0)[2:]
        status = 0
        if lines and (told := re.fullmatch(r"\[exit status (\d+)\]", lines[-1])):
            status = int(told[1])
            lines.pop()
        yield Command(words, "\n".join(lines) if lines else None, status)


class Guide:
    """A guide in a folder of its own. ``places`` are texts of the guide with what stands for them here.

    With ``real`` each start of our programs is one, in place of a fork of a program that is loaded.
    """

    def __init__(self, name: str, folder: Path, places: Mapping[str, str] | None = None, *, real: bool = False) -> None:
        self.page = GUIDES / f"{name}.md"
        self.folder = folder
        self.address = f"127.83.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.home = folder / "home"
        self.places = {**dict.fromkeys(_ADDRESSES, self.address), **(places or {})}
        self.environment = {
            "PATH": f"{folder / 'usr/bin'}:{folder / 'usr/local/bin'}:{os.environ.get('PATH', os.defpath)}:/usr/sbin",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "STATE_DIRECTORY": str(folder / "var/lib/pdudaemon"),
        }
        self.conf = self.path("/etc/pdudaemon/pdudaemon.conf")
        self.daemon = Service(self)
        self.services: dict[str, Callable[[str], None]] = {"pdudaemon": self.daemon.order}
        self.said = ""
        self.home.mkdir(parents=True)
        (self.home / ".curlrc").write_text("no-progress-meter\n")  # as on a terminal
        Path(self.environment["STATE_DIRECTORY"]).mkdir(parents=True)
        self.real = real
        self._launchers = Launchers()
        if real:
            self.program("pdudaemon", f'PYTHONPATH={ROOT} {sys.executable} -m pdudaemon --conf={self.conf} "$@"')
            self.program("pduclient", f'{sys.executable} {ROOT}/pduclient "$@"')
        else:
            self.program("pdudaemon", f'{self._launchers.write(folder, "pdudaemon")} --conf={self.conf} "$@"')
            self.program("pduclient", f'{self._launchers.write(folder, "pduclient")} "$@"')
        self.program("sudo", '"$@"')

    def path(self, place: str) -> Path:
        """Return where a place of the guide is here."""
        return Path(self.here(place)) if place.startswith(("/", "~")) else self.home / place

    def program(self, name: str, command: str) -> None:
        """Have a program be found first: a command line of sh."""
        path = self.folder / "usr/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nexec env {command}\n")
        path.chmod(0o755)

    def here(self, text: str) -> str:
        """Return a text of the guide with the places that it has here."""
        known = "|".join(re.escape(each) for each in sorted(self.places, key=len, reverse=True))
        pattern = rf"(?P<known>{known})|(?P<path>{_ABSOLUTE})|(?P<home>(?<![\w.])~(?=/))"
        return re.sub(pattern, self._place, text)

    def _place(self, found: re.Match[str]) -> str:
        if found["path"]:
            return f"{self.folder}{found['path']}"
        return str(self.home) if found["home"] else self.places[found["known"]]

    def follow(self, between: Mapping[str, Callable[[], None]] | None = None) -> None:
        """Do all that the guide says, in order.

        ``between`` has what a test does right after a command, by its words, or after a file, by its place.
        """
        after = dict(between or {})
        for block in blocks(self.page):
            where = f"{self.page.name}:{block.line}"
            if block.place:
                self._write(block)
                after.pop(block.place, _nothing)()
                continue
            assert block.language == "console", f"{where}: neither a file nor a console"
            for command in commands(block.text):
                self._carry_out(command, where)
                after.pop(command.words, _nothing)()
        assert not after, f"{self.page.name} has no {[*after]}"

    def run(self, words: str) -> tuple[int, str]:
        """Run a command as the guide's are; return its exit status and what it printed, of both kinds, in order."""
        kept = self.folder / "exported"
        script = f". {kept} 2>/dev/null\n{self.here(words)}\nstatus=$?\nexport -p >{kept}\nexit $status\n"
        kept.touch()
        done = subprocess.run(
            ["sh", "-c", script],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BOUND,
        )
        return done.returncode, done.stdout

    def _write(self, block: Block) -> None:
        path = self.path(block.place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(block.text))
        path.chmod(0o755 if block.text.startswith("#!") else 0o600)

    def _carry_out(self, command: Command, where: str) -> None:
        words = command.words.split()
        while words[0] == "sudo":
            words.pop(0)
        if words[0] == "systemctl":
            if words[1] != "daemon-reload":
                self.services[words[-1].removesuffix(".service")](words[1])
            return
        status, printed = self.run(command.words)
        told = f"{where}: $ {command.words}\n{printed}\n[exit status {status}]"
        assert status == command.status, told
        if command.shown is not None:
            expected = "(?s:.*)".join(map(re.escape, _stripped(self.here(command.shown)).split("...")))
            assert re.fullmatch(expected, _stripped(printed)), f"{told}\nexpected:\n{command.shown}"
        self.said += printed

    def __enter__(self) -> Self:
        self._launchers.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.kill()
        self._launchers.__exit__()


class Service:
    """The daemon as its unit runs it: orders return when it has told the service manager so."""

    def __init__(self, guide: Guide) -> None:
        self._guide = guide
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.settimeout(BOUND)
        self._process: subprocess.Popen[bytes] | Process | None = None
        self.log = guide.folder / "log"

    def order(self, verb: str) -> None:
        """Carry out what systemctl is told."""
        if verb in ("restart", "stop"):
            self.kill(signal.SIGTERM)
        if verb in ("start", "restart", "enable"):
            self._start()
        elif verb == "reload":
            self.reload()
        else:
            assert verb == "stop", verb

    def _start(self) -> None:
        place = str(self._guide.folder / "notify")
        if not os.path.exists(place):
            self._told.bind(place)
        environment = {**self._guide.environment, "NOTIFY_SOCKET": place, "PYTHONPATH": str(ROOT)}
        words = [f"--conf={self._guide.conf}"]
        with self.log.open("ab") as log:
            if self._guide.real:
                command = [sys.executable, "-m", "pdudaemon", *words]
                self._process = subprocess.Popen(command, env=environment, cwd=self._guide.home, stdout=log, stderr=log)
            else:
                program, loaded = PROGRAMS["pdudaemon"]
                environment = adapted(environment, loaded)
                self._process = program.start(words, environment, self._guide.home, stdout=log, stderr=log)
        self._ready()

    def reload(self) -> None:
        """Have it read its configuration again, as ExecReload does."""
        assert self._process is not None
        status, said = self._guide.run("pdudaemon --check-start")
        assert status == 0, said
        self._process.send_signal(signal.SIGHUP)
        self._ready()

    def _ready(self) -> None:
        assert self._process is not None
        while b"READY=1" not in self._received().split(b"\n"):
            pass

    def _received(self) -> bytes:
        try:
            return self._told.recv(4096)
        except TimeoutError:
            raise AssertionError(self.log.read_text()) from None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)
        self._process = None
        if number == signal.SIGKILL:
            self._told.close()


def _nothing() -> None:
    """Do what a test does that has nothing to do here."""


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())
