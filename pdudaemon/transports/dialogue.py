# SPDX-License-Identifier: MIT
"""Dialogues with a console meant for people: say a line, wait for one of some prompts. pexpect does the searching.

`Dialogue` works over any `Stream`: telnet, a plain TCP prompt, a serial line, the terminal of a program. pexpect reads
through the stream, so the one deadline of the action bounds all of it; its own ``spawn``, which forks, is not used.

Every call takes the ``step`` that it is, in words that follow "at". What a device said is quoted in an error only where
no secret of ours can be in it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.greeting import GREETINGS, take_leave
from pdudaemon.transports.tcp import LIMIT, Stream

log = logging.getLogger("pdud.dialogue")

PATIENCE = 2.0
"""Seconds of silence after which a console that may wait for a key is sent an empty line."""

SETTLING = 0.5
"""Seconds for what a console shows in answer to that line, if it had not waited for it but was only late."""

LOGOUT_SECONDS = 3.0
"""What a logout may take at least. It is owed even when the deadline of the action has passed."""

LONG_LOGOUT_SECONDS = 10.0
"""What it may take while the action has time left: the way out of a slow console's menus is half a dozen screens."""

_QUOTE = 60
_GAP = re.compile(r"[ \t]{2,}")
_LONGEST_LINE = 300


def tidied(text: str) -> str:
    """Return what a console shows as lines of bounded length that LF ends, in which no more than two blanks follow.

    For a pattern with several gaps a long run of blanks is a question of minutes.
    """
    lines = (_GAP.sub("  ", line.rstrip("\r"))[:_LONGEST_LINE] for line in text.split("\n"))
    return "\n".join(lines)


class Seen(NamedTuple):
    """What came: the name of the pattern that matched, the text before the match, and the match.

    ``nudged``: after an empty line, which a console that was only late takes for something that we say.
    """

    name: str
    before: str
    match: re.Match[str]
    nudged: bool = False


@dataclass(frozen=True)
class Dialect:
    """What another console shows, which we do not speak with; ``words`` say so, after its name.

    ``leave`` ends the session; it gets what was shown before the ``prompt``.
    """

    prompt: str
    words: str
    leave: Callable[[Dialogue, str], None]


@dataclass(frozen=True)
class Login:
    """How a console asks who is there: patterns for its two questions and for the prompt that follows.

    ``strangers`` (what it is in words, and a pattern) show themselves in place of the questions, ``dialects`` in place
    of the prompt.
    """

    name: str
    password: str
    ready: str
    knock: bool = False  # whether the prompt comes only after an empty line
    nameless: bool = False  # whether it may ask for a password alone
    strangers: Mapping[str, str] = field(default_factory=dict)
    dialects: tuple[Dialect, ...] = ()


class _Ended(Exception):
    """The other side has closed."""


class Dialogue:
    """A conversation over an open stream. ``newline`` ends the lines that we say.

    Raises, from every method: what `Stream` raises, in the same words; TransientError too for a device that says more
    than anyone would read.
    """

    def __init__(self, stream: Stream, newline: str = "\r\n") -> None:
        self.peer = stream.peer
        self._stream = stream
        self._newline = newline
        self._step = ""
        self._heard = 0
        self._silence: float | None = None
        self._secret = False  # whether what comes next may be the echo of a secret
        self._nudged = False  # whether a console that was silent may take an empty line for a name
        self._expecter = _expecter(self._hear)

    def send(self, keys: str, step: str) -> None:
        """Send some keys as they are."""
        self._stream.send(keys.encode(), step)

    def line(self, text: str, step: str, *, secret: bool = False) -> None:
        """Send a line."""
        self._secret = self._secret or secret
        self.send(f"{text}{self._newline}", step)

    def expect(self, step: str, patterns: Mapping[str, str], silence: float | None = None) -> Seen:
        """Wait until one of some patterns (name to regular expression) comes; of several, the leftmost.

        Raises also: DeviceTimeout when the device has been silent for so many seconds.
        """
        seen = self.expect_or_end(step, patterns, silence)
        if seen is None:
            raise TransientError(f"connection closed by {self.peer} at {step}")
        return seen

    def expect_or_end(self, step: str, patterns: Mapping[str, str], silence: float | None = None) -> Seen | None:
        """Do as `expect` does; return None when the other side has closed."""
        self._step = step
        self._heard = 0
        self._silence = silence
        try:
            index = self._expecter.expect_list([re.compile(pattern) for pattern in patterns.values()], timeout=None)
        except _Ended:
            return None
        except DeviceTimeout:
            raise self._lost() from None
        self._secret = False
        return Seen([*patterns][index], self._expecter.before, self._expecter.match)

    @property
    def shown(self) -> str:
        """What came of that which was last expected."""
        return str(self._expecter.match[0])

    def expect_or_nudge(self, step: str, patterns: Mapping[str, str]) -> Seen:
        """Do as `expect` does; a console that stays silent is sent an empty line, as some wait for one."""
        try:
            return self.expect(step, patterns, PATIENCE)
        except DeviceTimeout:
            if time.monotonic() >= self._stream.deadline.when:
                raise
            self.line("", step)
            return self.expect(step, patterns)._replace(nudged=True)

    def expect_own(
        self, step: str, patterns: Mapping[str, str], strangers: Mapping[str, str] = GREETINGS, *, nudge: bool = True
    ) -> Seen:
        """Do as `expect_or_nudge` does, or `expect`, with an eye on what is not the device that is meant.

        Raises also: PermanentError if it is one of the ``strangers``.
        """
        seen = (self.expect_or_nudge if nudge else self.expect)(step, {**patterns, **strangers})
        if seen.name in strangers:
            raise take_leave(self._stream, seen.name, seen.match[0])
        self._nudged = seen.nudged
        return seen

    def refusal(self) -> DeviceError:
        """Return the error for a login that is refused; it may pass, if the name may not have been taken for one."""
        if self._nudged:
            return TransientError(f"login refused by {self.peer}, which was silent at first and was sent an empty line")
        return LoginRefused(f"login refused by {self.peer}")

    def settle(self, step: str, password: str = "") -> None:
        """Pass over what is shown for an empty line that a console had not waited for, lest it answer what comes next.

        Raises: TransientError if that is the question for a ``password``, since the line was taken for a name.
        """
        whole, shown = self._stream.deadline, ""
        self._stream.deadline = whole.within(SETTLING)
        try:
            with suppress(DeviceTimeout):
                while self.expect_or_end(step, {"more": r"(?s).+"}):
                    shown += self.shown
        finally:
            self._stream.deadline = whole
        if password and re.search(password, shown):
            raise TransientError(f"{self.peer} was late at {step}, and took an empty line for a name")

    @contextmanager
    def logged_in(
        self, login: Login, username: str, password: str, log_out: Callable[[], None], *, asked: bool = False
    ) -> Iterator[str]:
        """Log in; yield what the console showed before its prompt; log out in the end, whatever happened meanwhile.

        ``asked``: it has asked for the name already. A console that takes one session at a time stays taken for minutes
        when its client just goes.

        Raises also: what `refusal` returns; PermanentError if this is another console than was expected.
        """
        self._nudged = False
        alone = {"password": login.password} if login.nameless else {}
        first = {"name": login.name, **alone}
        if not asked:
            seen = self.expect_own("the login prompt", first, login.strangers)
            asked = seen.name == "name"
            if seen.nudged:
                self.settle("the login prompt", login.password if asked else "")
        if asked:
            self.line(username, "the login prompt")
            self.expect("the password prompt", {"password": login.password})
        self.line(password, "the password prompt", secret=True)
        let_in = True
        try:
            if login.knock:
                self.line("", "the login")
            dialects = {dialect.words: dialect.prompt for dialect in login.dialects}
            once_more = {"refused": login.name, "refused again": login.password} if alone else {"refused": login.name}
            seen = self.expect_or_nudge("the login", {"ready": login.ready, **once_more, **dialects})
            let_in = not seen.name.startswith("refused")
            if not let_in:
                raise self.refusal()
            if seen.nudged:
                self.settle("the login")
            for dialect in login.dialects:
                if seen.name == dialect.words:
                    log_out = partial(dialect.leave, self, seen.before)
                    raise PermanentError(f"{self.peer} {dialect.words}")
            yield seen.before
        finally:
            if let_in:
                self.leave(log_out)

    def leave(self, log_out: Callable[[], None]) -> None:
        """Log out, which is owed even when the time of the action is over, and whatever comes of it is no matter."""
        left = self._stream.deadline.when - time.monotonic()
        self._stream.deadline = Deadline(max(LOGOUT_SECONDS, min(left, LONG_LOGOUT_SECONDS)))
        try:
            log_out()
        except TransientError as error:  # what was done before it counts, not this
            log.warning("%s: the console may stay taken for minutes", error)

    def _hear(self) -> str:
        whole = self._stream.deadline
        if self._silence is not None:
            self._stream.deadline = whole.within(self._silence)
        try:
            data = self._stream.receive(self._step)
        finally:
            self._stream.deadline = whole
        if not data:
            raise _Ended
        self._heard += len(data)
        if self._heard > LIMIT:
            raise TransientError(f"{self.peer} sends too much at {self._step}")
        return data.decode("latin-1")

    def _lost(self) -> DeviceTimeout:
        heard = " ".join(self._expecter.before.split())
        took = f"at {self._step} within {self._stream.deadline.seconds:g} s"
        if not heard:
            return DeviceTimeout(f"no answer from {self.peer} {took}")
        quote = "" if self._secret else f", but {heard[-_QUOTE:]!r}"
        return DeviceTimeout(f"not what was expected from {self.peer} {took}{quote}")


def _expecter(hear: Callable[[], str]) -> Any:
    """Return a pexpect expecter that gets its text from ``hear``."""
    expecter = pexpect().spawnbase.SpawnBase(timeout=None, encoding="latin-1")
    expecter.delayafterread = None
    expecter.read_nonblocking = lambda size, timeout: hear()
    return expecter


def pexpect() -> Any:
    """Return the package. Raises: PermanentError if it is not installed."""
    try:
        import pexpect.spawnbase  # type: ignore[import-untyped]
    except ImportError:
        raise PermanentError("the Python package pexpect, which this driver needs, is not installed") from None
    return pexpect
