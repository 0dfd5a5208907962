# SPDX-License-Identifier: MIT
"""Telnet over a socket of our own: option negotiation is answered with no, and what is left is a `Dialogue`.

A device that has menus for people is walked by their labels (`Menus`): numbers differ between firmwares and accounts,
and a wrong one may switch something else.

Source: RFC 854, RFC 855, RFC 1143 (whoever has said no once need not say it again: no loop can form).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.transports import dialogue
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import Dialogue
from pdudaemon.transports.tcp import LIMIT, Connection

Found = TypeVar("Found")

_DEPTH = 5  # more menus than lie on any way
_UP_PATIENCE = 1.0  # seconds until a device that shows nothing after ``up`` is asked to draw its menu

_WILL, _WONT, _DO, _DONT = b"\xfb", b"\xfc", b"\xfd", b"\xfe"
_NO = {_WILL: _DONT, _DO: _WONT}
_COMMAND = re.compile(
    rb"\xff(?:"
    rb"(?P<escaped>\xff)"
    rb"|(?P<verb>[\xfb-\xfe])(?P<option>.)"
    rb"|\xfa(?:[^\xff]|\xff[^\xf0])*\xff\xf0"  # a subnegotiation, which nobody has agreed to
    rb"|[^\xfa-\xff])",
    re.DOTALL,
)


@contextmanager
def session(host: str, port: int, deadline: Deadline, *, newline: str = "\r\n") -> Iterator[Dialogue]:
    """Connect; yield the dialogue; close in any case. A device that does not negotiate is served as well.

    Raises: TransientError if there is no connection, DeviceTimeout.
    """
    with Telnet(host, port, deadline) as connection:
        yield Dialogue(connection, newline)


class Telnet(Connection):
    """A connection whose telnet commands are dealt with here; what is sent and received is text."""

    def __init__(self, host: str, port: int, deadline: Deadline) -> None:
        super().__init__(host, port, deadline)
        self._unread = b""  # the beginning of a command whose end has not come

    def send(self, data: bytes, step: str) -> None:
        super().send(data.replace(b"\xff", b"\xff\xff"), step)

    def _receive(self, step: str) -> bytes:
        mute = 0
        while data := super()._receive(step):
            text, answers = self._sorted(self._unread + data)
            mute += len(data)
            if len(self._unread) > LIMIT or (mute > LIMIT and not text):
                raise TransientError(f"{self.peer} sends too much at {step}")
            if answers:
                super().send(answers, step)
            if text:
                return text
        return b""

    def _sorted(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the text in ``data`` and the answers to its commands; keep a beginning of one for the next time."""
        text = answers = b""
        at = 0
        while (start := data.find(b"\xff", at)) >= 0:
            text += data[at:start]
            at = start
            command = _COMMAND.match(data, start)
            if command is None:
                break
            at = command.end()
            if command["escaped"]:
                text += b"\xff"
            elif command["verb"] in _NO:
                answers += b"\xff" + _NO[command["verb"]] + command["option"]
        else:
            text += data[at:]
            at = len(data)
        self._unread = data[at:]
        return text.replace(b"\0", b""), answers  # telnet's bare carriage return is CR NUL


class Menu:
    """A menu as it was shown: all of its ``text``, and its ``entries``, number to the rest of the line."""

    def __init__(self, text: str) -> None:
        self.text = text
        lines = (re.fullmatch(r"\s*(\d{1,3})-\s*(.*?)\s*", line) for line in re.split(r"[\r\n]+", text))
        self.entries = {int(line[1]): line[2] for line in lines if line}

    def find(self, *labels: str) -> int | None:
        """Return the number of the entry that one of some labels (regular expressions) fits; the first that does."""
        for label in labels:
            for number, text in self.entries.items():
                if re.match(label, text, re.IGNORECASE):
                    return number
        return None


class Menus:
    """The menus of a console with ``n- label`` entries, as they were shown one after the other.

    ``prompt`` follows a menu; at a ``pause`` an empty line goes on, or cancels; ``up`` is the key that goes back
    by one menu; the entry ``leave`` ends the session.
    """

    def __init__(self, console: Dialogue, *, prompt: str, pause: str, up: str, leave: str) -> None:
        self.console = console
        self._patterns = {"prompt": prompt, "pause": pause}
        self._up = up
        self._leave = leave
        self._asked = True  # whether the device has something still to answer
        self.menu = Menu("")

    def shown(self, text: str) -> None:
        """Take note of the menu at whose prompt the device is now."""
        self.menu = Menu(text)
        self._asked = False

    def say(self, text: str, step: str) -> None:
        """Say a line that is answered by something else than a menu."""
        self._asked = True
        self.console.line(text, step)

    def choose(self, number: int, step: str, question: str | None = None) -> None:
        """Choose an entry that leads to another menu, or to a ``question``.

        One more drawing of the menu that we are at is passed over. Raises: TransientError if what should come does not.
        """
        before = self.menu.entries
        self.say(str(number), step)
        silence = None
        try:
            while self._read(step, question, silence) and self.menu.entries == before:
                silence = dialogue.PATIENCE
        except DeviceTimeout:
            if silence is None:
                raise
            raise TransientError(f"{self.console.peer} shows the same menu again at {step}") from None
        if question is not None and not self._asked:
            raise TransientError(f"{self.console.peer} shows a menu in place of a question at {step}")

    def walk(self, step: str, labels: Sequence[str], there: Callable[[Menu], Found]) -> Found:
        """Choose the entry that one of some labels fits until ``there`` finds something in the menu; return that.

        Raises: TransientError if that leads nowhere.
        """
        for _ in range(_DEPTH):
            if found := there(self.menu):
                return found
            number = self.menu.find(*labels)
            if number is None:
                break
            self.choose(number, step)
        entries = ", ".join(self.menu.entries.values())[:200]
        raise TransientError(f"unexpected menu of {self.console.peer} at {step}: {entries or 'no entries'}")

    def log_out(self) -> None:
        """Go up, from wherever we are, to the menu with the way out, and take it."""
        step = "the logout"
        if self._asked:
            self.console.line("", step)
        else:
            self.console.send(self._up, step)
        while True:
            try:
                self._read(step, silence=_UP_PATIENCE)
                number = self.menu.find(self._leave)
                if number is not None:
                    break
                self.console.send(self._up, step)
            except DeviceTimeout:
                self.console.line("", step)
        self.console.line(str(number), step)
        self.console.expect_or_end(step, {})

    def _read(self, step: str, question: str | None = None, silence: float | None = None) -> bool:
        """Read up to the next prompt; return whether it was one, and not the ``question``."""
        patterns = self._patterns if question is None else {"question": question, **self._patterns}
        text = ""
        seen = self.console.expect(step, patterns, silence)
        while seen.name == "pause":
            text += seen.before
            self.console.line("", step)
            seen = self.console.expect_or_nudge(step, patterns)
        if seen.name == "question":
            self._asked = True
            return False
        self.shown(text + seen.before)
        return True
