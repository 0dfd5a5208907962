# SPDX-License-Identifier: MIT
"""Conversations over UDP: what is not answered is sent again, and one thread does it for all devices at a time.

A conversation is a generator that yields a `Question` and is sent its answer, or yields seconds to pause. All of them
are carried on by one thread, which is there while there are any, so that a thousand BMCs which are asked at once cost a
socket and a small object each, and the buffers and the cryptography of one thread. Who began a conversation waits for
its end, or is called by that thread then. What the thread is given to do besides must never wait for anything.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.transports.deadline import Deadline

T = TypeVar("T")

_FIRST_WAIT, _LONGER, _LONGEST_WAIT = 1.0, 1.5, 5.0  # seconds until a packet is sent again, and how they grow
_LARGEST = 4096
_AT_A_TIME = 32  # packets that are looked at of one device, before the others have their turn
_LOOK_EVERY = 0.25  # seconds between two looks, during a pause, at whether the daemon stops


@dataclass(slots=True)
class Question(Generic[T]):
    """A packet, made anew each time that it is sent, and what makes an answer of one that has come, None if it is none.

    ``step`` is what this is, in words, as errors have it. ``once``: it must not be sent a second time.
    """

    packet: Callable[[], bytes]
    understood: Callable[[bytes], T | None]
    step: str
    deadline: Deadline
    once: bool = False


Steps = Generator[Question[Any] | float, Any, T]
"""A conversation that ends with a T."""


def connected(host: str, port: int, peer: str) -> socket.socket:
    """Return a socket for a device. Raises: TransientError."""
    family, address = _resolved(host, port)
    made = None
    try:
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.connect(address)
    except OSError as error:
        if made is not None:
            made.close()
        raise TransientError(f"no way to {peer}: {error.strerror or error}") from None
    return made


def is_numeric(host: str) -> bool:
    """Whether a host is an address in digits, which nobody has to be asked for."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def _resolved(host: str, port: int) -> tuple[int, Any]:
    """Return the family and the address of a host; one in digits needs no resolver, which takes as long as the rest."""
    if is_numeric(host):
        return socket.AF_INET, (host, port)
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise TransientError(f"cannot resolve {host!r}: {why}") from None
    return family, address


class Conversation(Generic[T]):
    """A conversation with a device, over a line that is its own from now on.

    It gets, as exceptions: DeviceTimeout where a question is not answered in its time, or the deadline has passed when
    it wants to pause; TransientError where nobody listens, or the daemon stops during a pause.
    """

    def __init__(self, steps: Steps[T], line: socket.socket, peer: str, deadline: Deadline) -> None:
        self.steps = steps
        self.line = line
        self.peer = peer
        self.deadline = deadline
        self.ended: Callable[[], None]
        self._value: T | None = None
        self._raised: BaseException | None = None

        # The thread's own.
        self.question: Question[Any] | None = None  # None: it pauses
        self.patience = 0.0  # until the question is sent again
        self.due = 0.0  # when the question is late, or the pause over
        self.looked_at = math.inf  # when that is looked at next, no later than that

    def begin(self, ended: Callable[[], None]) -> None:
        """Have it carried on; ``ended`` is called at its end, by the thread, or before this returns without one."""
        self.ended = ended
        if not _exchange.begin(self):
            self.end(None, TransientError("no thread for it"))
            ended()

    def end(self, value: T | None, raised: BaseException | None = None) -> None:
        """Have it be at its end."""
        self._value, self._raised = value, raised
        self.line.close()

    def outcome(self) -> T:
        """Return what it ended with. Raises: what it raised."""
        if self._raised is not None:
            raise self._raised
        return self._value  # type: ignore[return-value]

    def wait(self) -> None:
        """Begin it, and wait for its end."""
        under_way = threading.Lock()
        under_way.acquire()
        self.begin(under_way.release)
        under_way.acquire()

    def carried_on(self) -> T:
        """Begin it, wait for its end, and return what that is. Raises: what it raises."""
        self.wait()
        return self.outcome()


def soon(call: Callable[[], object]) -> bool:
    """Have the thread make a call that does not wait for anything, when it has done with what it is at.

    One that it is to make already is made once. Return False if there is no thread to be had.
    """
    return _exchange.call(call)


class _Exchange:
    """The one thread, while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[Callable[[], object], None] = {}  # to be made by the thread, in this order
        self._wake: int | None = None  # of the thread that runs
        self._thread = 0  # which that is
        self._run: _Run

    def call(self, call: Callable[[], object]) -> bool:
        """Have the thread make a call, as `soon` says. Any thread."""
        with self._lock:
            if self._wake is None:
                if not self._start():
                    return False
            elif not self._calls and threading.get_ident() != self._thread:  # else it is awake, or has been woken
                os.eventfd_write(self._wake, 1)
            self._calls[call] = None
        return True

    def begin(self, talk: Conversation[Any]) -> bool:
        """Begin with a conversation; return False if there is no thread to be had. Any thread."""
        if threading.get_ident() == self._thread:
            self._run.begin(talk)
            return True
        return self.call(lambda: self._run.begin(talk))

    def _start(self) -> bool:
        wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        thread = threading.Thread(target=self._serve, args=(wake,), name="datagrams", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            os.close(wake)
            return False
        self._wake, self._thread = wake, thread.ident or 0
        return True

    def _serve(self, wake: int) -> None:
        run = _Run(wake)
        try:
            while True:
                with self._lock:
                    self._run = run
                    calls, self._calls = self._calls, {}
                    if not calls and not run.under_way:
                        self._wake, self._thread = None, 0
                        return
                for call in calls:
                    call()
                if not calls:
                    run.wait()
                run.hand_back()
        except BaseException as error:  # of ours: whoever waits must not wait for ever
            with self._lock:
                self._wake, self._thread = None, 0
                if self._calls:
                    self._start()
            run.give_up(error)
            raise
        finally:
            run.close()
            os.close(wake)


class _Run:
    """What the thread has in hand."""

    def __init__(self, wake: int) -> None:
        self.under_way: dict[int, Conversation[Any]] = {}  # by the descriptor of the line
        self._wake = wake
        self._poll = select.epoll()
        self._poll.register(wake, select.EPOLLIN)
        self._ended: list[Conversation[Any]] = []  # of this turn
        self._due: list[tuple[float, int, Conversation[Any]]] = []
        self._count = itertools.count()

    def close(self) -> None:
        """Give everything back."""
        self._poll.close()
        self._due.clear()

    def give_up(self, error: BaseException) -> None:
        """End all that is under way."""
        for talk in [*self.under_way.values()]:
            self._end(talk, None, error)
        self.hand_back()

    def wait(self) -> None:
        """Wait until there is something to see to, and do so."""
        for line, _ in self._poll.poll(max(0.0, self._due[0][0] - time.monotonic())):
            if line == self._wake:
                os.eventfd_read(self._wake)
            elif line in self.under_way:
                self._hear(self.under_way[line])
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            looked_at, _, talk = heapq.heappop(self._due)
            if talk.looked_at != looked_at:
                continue
            talk.looked_at = math.inf
            if talk.question is None:
                self._go_on(talk)
            elif talk.due <= now:
                self._late(talk)
            else:
                self._look_later(talk, talk.due)

    def begin(self, talk: Conversation[Any]) -> None:
        """Begin with a conversation."""
        line = talk.line.fileno()
        try:
            self._poll.register(line, select.EPOLLIN)
        except OSError as error:
            talk.end(None, TransientError(f"{talk.peer}: {error.strerror or error}"))
            self._ended.append(talk)
            return
        self.under_way[line] = talk
        self._resume(talk, None)

    def hand_back(self) -> None:
        """Tell those whose conversations have ended; all at once, so that they do not cut in at each packet."""
        while self._ended:  # also those that a call has begun, and that ended at once
            ended, self._ended = self._ended, []
            for talk in ended:
                talk.ended()

    def _look_later(self, talk: Conversation[Any], when: float) -> None:
        """See to it that somebody looks when a question is late: once for all those that are answered by then."""
        if when < talk.looked_at:
            talk.looked_at = when
            heapq.heappush(self._due, (when, next(self._count), talk))

    def _hear(self, talk: Conversation[Any]) -> None:
        """Take what has come, up to an answer: that is not late though this thread was, and other things came first."""
        question = talk.question
        for _ in range(_AT_A_TIME):
            try:
                said = talk.line.recv(_LARGEST)
                found = None if question is None else question.understood(said)
            except BlockingIOError:
                return
            except Exception as error:  # a fault in one conversation is none of the others
                if question is not None:
                    self._resume(talk, _of_line(error, talk))
                return
            if found is not None:
                self._resume(talk, None, found)
                return

    def _late(self, talk: Conversation[Any]) -> None:
        """Ask again, unless the time is over."""
        question = talk.question
        assert question is not None
        if question.once or question.deadline.when <= time.monotonic():
            seconds = question.deadline.seconds
            said = f"no answer from {talk.peer} at {question.step} within {seconds:g} s"
            self._resume(talk, DeviceTimeout(said))
            return
        talk.patience = min(talk.patience * _LONGER, _LONGEST_WAIT)
        if (error := self._sent(talk)) is not None:
            self._resume(talk, error)

    def _resume(self, talk: Conversation[Any], error: BaseException | None, answer: object = None) -> None:
        """Go on with a conversation, to its next question, pause or end."""
        while True:
            try:
                step = talk.steps.throw(error) if error is not None else talk.steps.send(answer)
            except StopIteration as end:
                self._end(talk, end.value)
                return
            except BaseException as raised:  # whatever it is, it belongs to who began the conversation
                self._end(talk, None, raised)
                return
            answer = None
            if isinstance(step, float):
                error = self._paused(talk, step)
            else:
                talk.question, talk.patience = step, _FIRST_WAIT
                error = self._sent(talk)
            if error is None:
                return

    def _sent(self, talk: Conversation[Any]) -> Exception | None:
        """Send a question; return why that cannot be done."""
        question = talk.question
        assert question is not None
        try:
            talk.line.send(question.packet())
        except BlockingIOError:
            pass  # no room: as good as lost on the way
        except Exception as error:
            return _of_line(error, talk)
        when = question.deadline.when
        talk.due = when if question.once else min(time.monotonic() + talk.patience, when)
        self._look_later(talk, talk.due)
        return None

    def _paused(self, talk: Conversation[Any], seconds: float) -> Exception | None:
        """Begin a pause, until the deadline if that is sooner; return why there is none."""
        talk.question = None
        try:
            talk.due = time.monotonic() + min(seconds, talk.deadline.remaining())
        except DeviceTimeout as error:
            return error
        self._look_later(talk, min(talk.due, time.monotonic() + _LOOK_EVERY))
        return None

    def _go_on(self, talk: Conversation[Any]) -> None:
        """Go on with a pause, or after it."""
        now = time.monotonic()
        if (error := talk.deadline.cut_short()) is not None or talk.due <= now:
            self._resume(talk, error)
        else:
            self._look_later(talk, min(talk.due, now + _LOOK_EVERY))

    def _end(self, talk: Conversation[Any], value: object, raised: BaseException | None = None) -> None:
        del self.under_way[talk.line.fileno()]
        talk.looked_at = math.inf
        talk.end(value, raised)  # which closes the line, so that nothing more is heard of it
        self._ended.append(talk)


def _of_line(error: Exception, talk: Conversation[Any]) -> Exception:
    """Return what an error at the line, or in what a question is made of, means for a conversation."""
    if isinstance(error, ConnectionRefusedError):
        return TransientError(f"nobody listens at {talk.peer} (UDP)")
    if isinstance(error, OSError):
        step = "" if talk.question is None else talk.question.step
        return TransientError(f"{talk.peer} at {step}: {error.strerror or error}")
    return error


_exchange = _Exchange()
