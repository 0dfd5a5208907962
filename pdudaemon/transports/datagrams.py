# SPDX-License-Identifier: MIT
"""Conversations over UDP: what is not answered is sent again, and one thread does it for all devices at a time.

A conversation is a generator that yields a `Question` and is sent its answer, or yields seconds to pause. All of them
are carried on by one thread, which is there while there are any, so that a thousand BMCs which are asked at once cost a
socket and a small object each, and the buffers and the cryptography of one thread. Who began a conversation waits for
its end, and pauses by itself, so that the stop of the daemon ends that.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pdudaemon.errors import DeviceError, DeviceTimeout, TransientError
from pdudaemon.transports.deadline import Deadline

T = TypeVar("T")

_FIRST_WAIT, _LONGER, _LONGEST_WAIT = 1.0, 1.5, 5.0  # seconds until a packet is sent again, and how they grow
_LARGEST = 4096


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
    with contextlib.ExitStack() as on_failure:
        try:
            made = on_failure.enter_context(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            made.connect(address)
        except OSError as error:
            raise TransientError(f"no way to {peer}: {error.strerror or error}") from None
        on_failure.pop_all()
        return made


def _resolved(host: str, port: int) -> tuple[int, Any]:
    """Return the family and the address of a host; one in digits needs no resolver, which takes as long as the rest."""
    with contextlib.suppress(OSError, ValueError):
        socket.inet_pton(socket.AF_INET, host)
        return socket.AF_INET, (host, port)
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise TransientError(f"cannot resolve {host!r}: {why}") from None
    return family, address


def carried_on(steps: Steps[T], line: socket.socket, peer: str, deadline: Deadline) -> T:
    """Carry a conversation on to its end, and return what that is.

    Raises: what the conversation raises. It gets, as exceptions: DeviceTimeout where a question is not answered in its
    time, and TransientError where nobody listens, or the daemon stops during a pause.
    """
    talk = _Talk(steps, line, peer)
    while True:
        _exchange.advance(talk)
        if talk.pause is None:
            break
        talk.raised = None
        try:
            deadline.pause(talk.pause)
        except DeviceError as error:
            talk.raised = error
    if talk.raised is not None:
        raise talk.raised
    return talk.value  # type: ignore[no-any-return]


class _Talk:
    """A conversation that is being carried on. ``raised`` goes into it, and is what it has ended with at last.

    ``due`` is when its question is late, and ``looked_at`` when that is looked at next, no later than that.
    ``in_hand`` is locked for as long as the thread has it; to wait for that is to lock it.
    """

    def __init__(self, steps: Steps[Any], line: socket.socket, peer: str) -> None:
        self.steps = steps
        self.line = line
        self.peer = peer
        self.question: Question[Any] | None = None
        self.wait = 0.0
        self.due = 0.0
        self.looked_at = math.inf
        self.pause: float | None = None
        self.value: Any = None
        self.raised: BaseException | None = None
        self.in_hand = threading.Lock()
        self.in_hand.acquire()


class _Exchange:
    """The one thread, while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: deque[_Talk] = deque()
        self._wake: int | None = None  # of the thread that runs

    def advance(self, talk: _Talk) -> None:
        """Carry a conversation on until it ends, or pauses; wait for that."""
        with self._lock:
            self._new.append(talk)
            if self._wake is None:
                self._start()
            elif len(self._new) == 1:  # else it has been woken already
                os.eventfd_write(self._wake, 1)
        talk.in_hand.acquire()

    def _start(self) -> None:
        wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        thread = threading.Thread(target=self._run, args=(wake,), name="datagrams", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            os.close(wake)
            self._new.pop()
            raise TransientError(f"no thread for it: {error}") from None
        self._wake = wake

    def _run(self, wake: int) -> None:
        run = _Run(wake)
        try:
            while True:
                with self._lock:
                    new = [*self._new]
                    self._new.clear()
                    run.talks.update(new)
                    if not run.talks:
                        self._wake = None
                        return
                run.turn(new)
        except BaseException as error:  # of ours: whoever waits must not wait for ever
            with self._lock:
                self._wake = None
                run.talks.update(self._new)
                self._new.clear()
            for talk in run.talks:
                talk.pause, talk.raised = None, error
            run.ended += run.talks
            run.hand_back()
            raise
        finally:
            run.close()
            os.close(wake)


class _Run:
    """What the thread has in hand."""

    def __init__(self, wake: int) -> None:
        self.talks: set[_Talk] = set()
        self._wake = wake
        self._poll = select.epoll()
        self._poll.register(wake, select.EPOLLIN)
        self.ended: list[_Talk] = []  # or paused, of this turn
        self._by_line: dict[int, _Talk] = {}
        self._due: list[tuple[float, int, _Talk]] = []
        self._count = itertools.count()

    def close(self) -> None:
        """Give everything back."""
        self._poll.close()

    def turn(self, new: list[_Talk]) -> None:
        """Begin with what is new, wait for something, and see to it."""
        for talk in new:
            line = talk.line.fileno()
            try:
                self._poll.register(line, select.EPOLLIN)
            except OSError as error:
                self.talks.discard(talk)
                talk.pause, talk.raised = None, TransientError(f"{talk.peer}: {error.strerror or error}")
                self.ended.append(talk)
                continue
            self._by_line[line] = talk
            talk.looked_at = math.inf
            self._resume(talk, talk.raised)
        self.hand_back()
        if not self.talks:
            return
        for line, _ in self._poll.poll(max(0.0, self._due[0][0] - time.monotonic())):
            if line == self._wake:
                os.eventfd_read(self._wake)
            elif line in self._by_line:
                self._hear(self._by_line[line])
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            looked_at, _, talk = heapq.heappop(self._due)
            if talk not in self.talks or talk.looked_at != looked_at:
                continue
            talk.looked_at = math.inf
            if talk.due <= now:
                self._late(talk)
            else:
                self._look_later(talk)
        self.hand_back()

    def hand_back(self) -> None:
        """Let those go on whose conversations have ended; all at once, so that they do not cut in at each packet."""
        while self.ended:
            self.ended.pop().in_hand.release()

    def _look_later(self, talk: _Talk) -> None:
        """See to it that somebody looks when a question is late: once for all those that are answered by then."""
        if talk.due < talk.looked_at:
            talk.looked_at = talk.due
            heapq.heappush(self._due, (talk.due, next(self._count), talk))

    def _hear(self, talk: _Talk) -> None:
        """Take what has come."""
        question = talk.question
        assert question is not None
        try:
            found = question.understood(talk.line.recv(_LARGEST))
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            self._resume(talk, TransientError(f"nobody listens at {talk.peer} (UDP)"))
        except OSError as error:
            self._resume(talk, TransientError(f"{talk.peer} at {question.step}: {error.strerror or error}"))
        except Exception as error:  # a fault in one conversation is none of the others
            self._resume(talk, error)
        else:
            if found is not None:
                self._resume(talk, None, found)

    def _late(self, talk: _Talk) -> None:
        """Ask again, unless the time is over."""
        question = talk.question
        assert question is not None
        if question.once or question.deadline.when <= time.monotonic():
            seconds = question.deadline.seconds
            said = f"no answer from {talk.peer} at {question.step} within {seconds:g} s"
            self._resume(talk, DeviceTimeout(said))
            return
        talk.wait = min(talk.wait * _LONGER, _LONGEST_WAIT)
        if (error := self._sent(talk)) is not None:
            self._resume(talk, error)

    def _resume(self, talk: _Talk, error: BaseException | None, answer: object = None) -> None:
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
            if isinstance(step, float):
                talk.pause = step
                self._part(talk)
                return
            talk.question, talk.wait = step, _FIRST_WAIT
            error = self._sent(talk)
            if error is None:
                return

    def _sent(self, talk: _Talk) -> Exception | None:
        """Send a question; return why that cannot be done."""
        question = talk.question
        assert question is not None
        try:
            talk.line.send(question.packet())
        except BlockingIOError:
            pass  # no room: as good as lost on the way
        except ConnectionRefusedError:
            return TransientError(f"nobody listens at {talk.peer} (UDP)")
        except OSError as error:
            return TransientError(f"{talk.peer} at {question.step}: {error.strerror or error}")
        except Exception as error:  # as above
            return error
        when = question.deadline.when
        talk.due = when if question.once else min(time.monotonic() + talk.wait, when)
        self._look_later(talk)
        return None

    def _end(self, talk: _Talk, value: object, raised: BaseException | None = None) -> None:
        talk.pause, talk.value, talk.raised = None, value, raised
        self._part(talk)

    def _part(self, talk: _Talk) -> None:
        line = talk.line.fileno()
        self._poll.unregister(line)
        del self._by_line[line]
        self.talks.discard(talk)
        self.ended.append(talk)


_exchange = _Exchange()
