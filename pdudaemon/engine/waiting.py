# SPDX-License-Identifier: MIT
"""`Waiting`: the dispatcher's lock, what is to be written because of what was done under it, and who is to be told.

A waiter is a call that goes with a request or a question. Settling happens with the lock held. What has changed is
written, and the waiters are called, as soon as the lock has been given back, by the thread that gives it back: nobody
waits for a disk or a client with the lock held, nobody who settles can forget those who wait, and a waiter costs no
thread. One thread at a time leads: it does that for all, while the others go on with their own work at once. After some
rounds it leaves that to the next who comes, so that nobody serves the others' clients for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import NotDone, PDUDaemonError, RequestEnded, Stopping, StoreError
from pdudaemon.power import Action, Phase, Request, Step, Waiter

log = logging.getLogger("pdud.dispatcher")

ROUNDS = 4  # after which whoever leads leaves it to another, if one comes


class Waiting:
    """A lock, as `threading.Condition` takes one. ``unwritten`` is called, without it, when the store took nothing.

    ``bare`` is the lock alone: who takes that must call `lead` or `hand_in` afterwards, when he holds no other lock.
    ``refused``: the store took nothing of the last that there was to write; until it is tried again the rest waits.
    ``wake`` wakes a thread that calls `lead` then, if there is one.
    """

    def __init__(self, store: Store, unwritten: Callable[[StoreError], None]) -> None:
        self.bare = threading.Lock()
        self.wake: Callable[[], None] | None = None
        self._store = store
        self._unwritten = unwritten
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._leading = threading.Lock()
        self._leader = 0  # the thread that has it, or had it last
        self._next = threading.Lock()  # whoever waits to lead
        self._tired = False  # whether another should
        self.refused = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, as `threading.Lock.acquire` does."""
        return self.bare.acquire(blocking, timeout)

    def release(self, *how: object) -> None:
        """Give the lock back, write what is to be written, and tell those who wait, unless another thread does."""
        self.bare.release()
        if self.pending:
            self.lead()

    @property
    def pending(self) -> bool:
        """Whether there is anything to be written or told."""
        return bool(self._calls or self._store.noted)

    def hand_in(self) -> None:
        """Have what is to be written and told be so, with what others have, by who is woken. The lock is not held."""
        if self.wake is None:
            self.lead()
        elif self._calls or (self._store.noted and not self.refused):
            self.wake()

    def lead(self) -> None:
        """Write what is to be written, and tell those who wait, unless another thread does. The lock is not held."""
        rounds = 0
        while self._calls or (self._store.noted and not self.refused):
            if rounds >= ROUNDS and self._next.locked():
                return
            me = threading.get_ident()
            if not self._leading.acquire(blocking=False):
                if self._leader == me or not self._tired or not self._next.acquire(blocking=False):
                    return
                self._leading.acquire()  # until the present round of who leads has ended
                self._next.release()
            self._leader, self._tired = me, rounds >= ROUNDS
            rounds += 1
            try:
                due = len(self._calls)  # of what is written now
                self.write()
                for _ in range(due):
                    call, words = self._calls.popleft()
                    try:
                        call(*words)
                    except Exception:  # a fault of ours with one client must reach neither the worker nor the others
                        log.exception("telling a client failed")
            finally:
                self._leading.release()

    __exit__ = release

    def write(self) -> None:
        """Write what is to be written, and return when it is; unless the store takes nothing. The lock is not held."""
        if self._store.noted and not self.refused:
            try:
                self._store.flush()
            except StoreError as error:
                self.refused = True
                self._unwritten(error)

    def locked(self) -> bool:
        """Whether anybody has the lock."""
        return self.bare.locked()

    def __enter__(self) -> None:
        self.bare.acquire()

    # Called with the lock held.

    def tell(self, waiter: Callable[..., None], *words: Any) -> None:
        """Have a call made once the lock has been given back."""
        assert self.bare.locked()
        self._calls.append((waiter, words))

    def write_again(self) -> None:
        """Try again to write what the store did not take."""
        self.refused = False

    def settle(self, request: Request, trouble: PDUDaemonError | None = None) -> None:
        """Tell who waits for a request how it stands; ``trouble`` is what there is to tell before its end."""
        assert self.bare.locked()
        request.trouble = trouble or request.trouble
        request.settled = True
        if request.waiters:
            words = request, became(request)
            for waiter in request.waiters:
                self._calls.append((waiter, words))
            request.waiters.clear()

    def join(self, request: Request, waiter: Waiter) -> None:
        """Have a waiter told of a request, at once if that is settled."""
        if request.settled:
            self.tell(waiter, request, became(request))
        else:
            request.waiters.append(waiter)


def became(request: Request) -> PDUDaemonError | None:
    """Return what there is to tell of a request that is settled; None: it is done. The lock is held."""
    if request.ended is not None:
        return request.error
    if request.trouble is not None:
        return request.trouble
    accepted = f"accepted as request {request.id}"
    if request.phase is Phase.RESTART and request.started is not None:
        return RequestEnded(f"{accepted}, cut short, as the daemon is stopping")
    return Stopping(f"{accepted}, but not done: the daemon is stopping, and resumes it when it starts again")


def not_done(request: Request, seconds: float, ahead: Request | None) -> NotDone:
    """Return what there is to tell of a request that was waited for so long, and goes on. The lock is held.

    ``ahead`` is the request that it waits for, if its turn has not come.
    """
    steps = [step for step in request.work if not step.ended]
    errors = [error for error in (request.error, *(step.error for step in steps)) if error is not None]
    if errors:
        known = [error.told for error in errors]
    elif steps:
        known = [_standing(step) for step in steps]
    elif ahead is not None:
        known = [f"queued behind request {ahead.id}"]
    else:
        known = ["it has not begun"]
    so_far = " ".join("; ".join(dict.fromkeys(known)).split())
    return NotDone(f"accepted as request {request.id}, not done after {seconds:g} s: {so_far}; it goes on")


def _standing(step: Step) -> str:
    """Return what keeps a step that has not failed yet."""
    if step.running:
        return f"{step.outlet.pdu}: the device has not answered yet"
    left = step.at - time.monotonic()
    if left <= 0:
        return f"{step.outlet.pdu}: the device is busy"
    if step.request.soft is not None and step.action is Action.OFF and step.outlet in step.request.soft.asked:
        return f"{step.outlet} has been asked to shut down"
    if step.request.action is Action.REBOOT:
        return f"{step.outlet} is off, and is switched on in {left:.0f} s"
    return f"waiting for its delay, for {left:.0f} s more"
