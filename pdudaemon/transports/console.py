# SPDX-License-Identifier: MIT
"""A console as drivers written for the existing daemon know it: an object like that of ``pexpect.spawn``.

They are given a command line (``/usr/bin/telnet HOST PORT``, ``/usr/bin/ssh USER@HOST``) and have a dialogue with what
it starts. Forking is not safe beside threads, so telnet is spoken over a socket of ours; any other program runs on a
terminal of its own. All of it is bounded by the deadline of the action that is under way.

What came is bytes to those drivers in one version of Python and text in another: here it is a text that can be decoded.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from typing import Any

from pdudaemon.errors import DeviceTimeout, PermanentError
from pdudaemon.transports import command, terminal
from pdudaemon.transports.deadline import current
from pdudaemon.transports.dialogue import pexpect
from pdudaemon.transports.tcp import Stream
from pdudaemon.transports.telnet import Telnet

_PATIENCE = 30.0  # pexpect's own
_SOONEST = 0.001
_STEP = "the dialogue"


class Text(str):
    """What came. It can be decoded, and searched for bytes, as bytes can."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return str(self)

    def __contains__(self, part: object) -> bool:
        return super().__contains__(part.decode(errors="replace") if isinstance(part, bytes) else str(part))


class Console:
    """What ``pexpect.spawn`` would return; what is not here is that of the ``SpawnBase`` of pexpect.

    ``hold`` is a descriptor that a program keeps open as long as it runs. Raises, from all that talks: what `Stream`
    raises; pexpect's TIMEOUT and EOF, as drivers may expect them.
    """

    def __init__(self, line: str, *, hold: int | None = None) -> None:
        self._pexpect = pexpect()
        self._open = contextlib.ExitStack()
        self.closed = False
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise PermanentError(f"not a command line: {error}") from None
        self._telnet = len(words) in (2, 3) and os.path.basename(words[0]) == "telnet" and words[1][0] != "-"
        if self._telnet:
            self._stream = self._connected(words[1], words[2] if len(words) == 3 else "23")
        else:
            self._stream = self._started(words, hold)
        self._searcher = self._pexpect.spawnbase.SpawnBase(timeout=_PATIENCE, encoding="latin-1")
        self._searcher.delayafterread = None
        self._searcher.read_nonblocking = lambda size, timeout: self._heard(timeout)

    def _connected(self, host: str, port: str) -> Stream:
        if not (port.isascii() and port.isdecimal()):
            raise PermanentError(f"{port!r} is not a port of telnet")
        return self._open.enter_context(Telnet(host, int(port), current()))

    def _started(self, words: list[str], hold: int | None) -> Stream:
        if not words or shutil.which(words[0]) is None:
            raise PermanentError(f"the program {' '.join(words[:1])!r}, which this driver needs, is not installed")
        ours, its = terminal.opened()
        self._open.callback(os.close, ours)
        try:
            program = [*terminal.KEEPER, *words]
            self._open.enter_context(command.started(program, hold=hold, terminal=its, there=True))
        except BaseException:
            self._open.close()
            raise
        finally:
            os.close(its)
        return terminal.Terminal(ours, words[0], current())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_searcher"], name)

    def send(self, text: str | bytes) -> int:
        """Send some keys."""
        data = text.encode() if isinstance(text, str) else text
        self._stream.deadline = current()
        self._stream.send(data, _STEP)
        return len(data)

    def sendline(self, text: str | bytes = "") -> int:
        """Send some keys and what ends a line."""
        data = text.encode() if isinstance(text, str) else text
        return self.send(data + (b"\r\n" if self._telnet else b"\n"))

    def expect(self, pattern: Any, timeout: float | None = -1, **words: Any) -> int:
        """Wait for a pattern, or the first of a list that comes; return its index. ``timeout``: see pexpect."""
        patterns = pattern if isinstance(pattern, list | tuple) else [pattern]
        return self._awaited(self._searcher.expect, [_as_text(each) for each in patterns], timeout, **words)

    def expect_exact(self, text: Any, timeout: float | None = -1, **words: Any) -> int:
        """Do as `expect` does with texts that are no patterns."""
        texts = text if isinstance(text, list | tuple) else [text]
        return self._awaited(self._searcher.expect_exact, [_as_text(each) for each in texts], timeout, **words)

    def first(self, patterns: list[str], seconds: float) -> int | None:
        """Return which of some patterns comes within some seconds, None if none does."""
        index = self.expect([*patterns, self._pexpect.TIMEOUT], timeout=seconds)
        return index if index < len(patterns) else None

    @property
    def before(self) -> Any:
        """What came before that which was last expected."""
        return _as_it_is_shown(self._searcher.before)

    @property
    def after(self) -> Any:
        """What came of that which was last expected."""
        return _as_it_is_shown(self._searcher.after)

    def isalive(self) -> bool:
        """Whether it has not been closed."""
        return not self.closed

    def close(self, force: bool = True) -> None:
        """Close the connection, or end the program; not by ``force``: it is given a moment to end by itself.

        What was said last may be lost otherwise: who closes with something unread cuts the connection.
        """
        if not (force or self.closed):
            with self._stream.farewell():
                while self._stream.receive(_STEP):
                    pass
        self.closed = True
        self._open.close()

    def _awaited(self, search: Any, patterns: Iterable[Any], timeout: float | None, **words: Any) -> int:
        try:
            index: int = search(patterns, timeout=timeout, **words)
        except (self._pexpect.TIMEOUT, self._pexpect.EOF) as error:
            ended = isinstance(error, self._pexpect.EOF)
            said = f"connection closed by {self._stream.peer}" if ended else f"no answer from {self._stream.peer}"
            raise type(error)(said) from None
        return index

    def _heard(self, seconds: float | None) -> str:
        whole = current()
        if seconds is not None:
            self._stream.deadline = whole.within(max(seconds, _SOONEST))
        else:
            self._stream.deadline = whole
        try:
            data = self._stream.receive(_STEP)
        except DeviceTimeout:
            if self._stream.deadline is whole:
                raise
            raise self._pexpect.TIMEOUT("") from None
        if not data:
            raise self._pexpect.EOF("")
        return data.decode("latin-1")


def _as_text(pattern: Any) -> Any:
    """Return a pattern as it is searched for: what comes is one character for each byte."""
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, bytes):
        return re.compile(pattern.pattern.decode("latin-1"), pattern.flags & ~re.UNICODE)
    if isinstance(pattern, str):
        pattern = pattern.encode()
    return pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern


def _as_it_is_shown(found: Any) -> Any:
    return Text(found.encode("latin-1").decode(errors="replace")) if isinstance(found, str) else found
