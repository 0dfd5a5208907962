# SPDX-License-Identifier: MIT
"""`PDURunner`: one PDU's worker: one thread, one `queue.Queue`, one driver.

What it does with a job is told by `pdudaemon.engine.jobs`, what comes next is the dispatcher's to decide; here is which
thread does it, and when.

Thread and queue begin with the first job and end when there has been none for a while, so ten thousand idle PDUs cost
neither. A PDU whose device comes back at once, time and again, has that of who serves the clients: see
`pdudaemon.engine.carrier`. Where a pool bounds how many PDUs act at a time, a thread serves a PDU when there is a
place, until the job is done, and goes on to the PDU that has the place then: so ten thousand PDUs that are to act at
once cost no more threads than there are places. Where a job of such a PDU is nothing but a conversation, even that is
too much, as a thread would only wait: the thread that carries the conversations on begins it and ends it, and what is
none of its own is for a thread after all. A thread cannot be killed: a driver that never comes back leaves it,
and its device, busy; the dispatcher calls that PDU stuck.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

from pdudaemon.config.model import PDUConfig
from pdudaemon.engine import threads
from pdudaemon.engine.carrier import Carrier
from pdudaemon.engine.device import KEPT, Device
from pdudaemon.engine.jobs import NEVER, Doing, Job, Jobs
from pdudaemon.engine.pool import Place, Pool
from pdudaemon.engine.survey import Survey
from pdudaemon.engine.timetable import Timetable
from pdudaemon.errors import DeviceError
from pdudaemon.power import Action, State
from pdudaemon.transports import datagrams

log = logging.getLogger("pdud.runner")

_FAULT = "%s: internal error"
IDLE = 60.0  # seconds without a job after which the thread ends
AFTER_SURVEY = 0.1  # the same after a survey: who looks at 10,000 PDUs must not leave 10,000 threads


class PDURunner(Jobs):
    """The worker of one PDU.

    ``begin(runner, job)`` is asked once the device is ours, and says whether to act at all; ``end(runner, job, state,
    error)`` is told what came of it, whatever that was, just before the device is given back. Both belong to the
    dispatcher, as does ``pool``, of which there is a place while the driver acts; None: it may do so at any time.
    ``last_told`` says what each port of a PDU was last told to be, and when; None: that is on no record. Without a
    ``carrier`` the worker always has a thread of its own.
    """

    def __init__(
        self,
        pdu: PDUConfig,
        device: Device,
        pool: Pool | None,
        begin: Callable[[PDURunner, Any], bool],
        end: Callable[[PDURunner, Any, State | None, DeviceError | None], None],
        timetable: Timetable,
        last_told: Callable[[str], Mapping[str, tuple[State, float]]] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self.carried = False  # who acts is the carrier, which has told what came of it
        super().__init__(pdu, device, pool, begin, end, last_told)
        self._carrier = carrier
        self._timetable = timetable
        self._queue: queue.Queue[Job | None] | None = None  # made with the first job, or when a thread serves it,
        self._thread: threading.Thread | None = None
        self._under_way: Doing[None] | None = None  # what the thread of datagrams has begun
        self._held: list[Job] = []  # in place of a queue, while there is none, by those in a pool
        self._stopped = False
        self._starting = threading.Lock()  # keeps the start of a thread and the end of an idle one apart

    def __str__(self) -> str:
        return f"the worker of {self.pdu.name}"

    @property
    def dead(self) -> bool:
        """Whether the thread has ended though nobody told it to."""
        return self._thread is not None and not self._thread.is_alive() and not self._stopped

    def put(self, job: Job) -> None:
        """Hand over a job, carried out after those handed over before, as soon as the machine has a thread for it.

        The dispatcher's lock is held.
        """
        if self.device.survey is not None and job.order != Action.STATUS:
            self.device.survey.set()
        with self._starting:
            pool = self._pool
            if self._queue is None and pool is None:
                self._make_queue()
            (self._held.append if self._queue is None else self._queue.put)(job)
            if self._thread is not None or self._place is not None or self.carried or self._under_way is not None:
                return
            carrier = None
            if pool is not None:
                place = self._wish(job, job.crowd)
            elif not job.lengthy and self._at_once:
                carrier = self._carrier
            self.carried = carrier is not None
        if pool is not None:
            pool.ask(place)
        elif carrier is None or not carrier.carry(self):
            self._start_soon()

    def _start_soon(self) -> None:
        if not self.start():
            self._timetable.at(time.monotonic() + threads.PAUSE, self._start_soon)

    def _make_queue(self) -> queue.Queue[Job | None]:
        """Return a queue with what is held; called with ``_starting``."""
        self._may_be_stopped()
        made = self._queue = queue.Queue()
        for job in self._held:
            made.put(job)
        self._held.clear()
        return made

    def _may_be_stopped(self) -> None:
        """Have what tells a driver that the daemon stops; called with ``_starting``."""
        if self._stopping is NEVER:
            self._stopping = threading.Event()
            if self._stopped:
                self._stopping.set()

    @property
    def _at_once(self) -> bool:
        """Whether the worker can do with the carrier's thread."""
        carrier = self._carrier
        led = carrier is not None and carrier.leader is not None
        return led and self._promptness.enough and not self.pdu.options.min_interval

    def _wish(self, job: Job | None, crowd: Hashable = None) -> Place:
        """Return the place with which a job begins, to be asked for if there is a pool."""
        converses = self._driving.converses and job is not None and not job.lengthy
        place = Place(self._set_out, crowd) if converses else Place(self.start, crowd, self._serve)
        if self._pool is not None:
            self._place = place
        return place

    def _set_out(self) -> bool:
        """Have the thread of datagrams do a job; return False if there is no thread to be had now."""
        return datagrams.soon(self._converse) if self._under_way is None else self.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait in the queue, those that are not wanted any more among them."""
        return len(self._held) if self._queue is None else self._queue.qsize()

    def start(self) -> bool:
        """Start the thread unless it runs; return False if there is none to be had now."""
        with self._starting:
            if self._thread is None:
                self._thread = threads.started(self.serve, self._thread_name, self)
                if self._thread is None:
                    return False
            self.carried = False
        return True

    def stop(self) -> None:
        """Let the thread end after the job that it is at; jobs not begun are left to ``begin`` to refuse."""
        with self._starting:
            self._stopped = True
            if self._queue is not None or self._held or self._under_way is not None:
                (self._queue or self._make_queue()).put(None)
                self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; return whether it did."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
            return not thread.is_alive()
        if self._under_way is None:
            return True
        ended = self.device.lock.acquire(timeout=seconds)
        if ended:
            self.device.lock.release()
        return ended

    # Called by the carrier.

    def turn(self) -> bool:
        """Do one job with the carrier's thread; return whether there is another."""
        jobs = self._queue
        if not self.carried or jobs is None:
            return False
        try:
            job = jobs.queue[0]
            if job is not None and job.lengthy and self.start():
                return False
            jobs.get_nowait()
        except LookupError:
            job = None
        if job is not None:
            self._finish(self._doing(job))
        with self._starting:
            if self.carried:
                self.carried = job is not None and not jobs.empty()
            more = self.carried
        return more and (self._at_once or not self.start())

    def keep(self, thread: threading.Thread) -> None:
        """Have the carrier's thread for good, as the job that it is at takes its time."""
        with self._starting:
            self._thread, self.carried = thread, False
            self._promptness.was_mistaken()
            thread.name = self._thread_name

    def serve(self) -> None:
        """Go on with the thread, which is the worker's own, or the pool's."""
        serve: Callable[[], Any] | None = self._serve
        while serve is not None:
            serve = serve()

    def rest(self) -> bool:
        """Let go of the device's file and of the queue, unless they are in use; return whether that is all."""
        with self._starting:
            if self._thread is not None:
                return True
            if not self.carried and self._queue is not None and self._queue.empty():
                self._queue = None
        return self.device.let_go()

    # Called by the thread of datagrams, which does not wait for anything.

    def _converse(self) -> None:
        """Begin the next job."""
        with self._starting:
            self._may_be_stopped()
            job = self._held.pop(0) if self._queue is None else self._queue.get_nowait()
            assert job is not None, "a place was asked for with it"
            self.unaided = True
            doing = self._under_way = self._doing(job)
        self._go_on(doing)

    def _go_on(self, doing: Doing[None]) -> None:
        """Go on with a job until there is something to wait for; what is no conversation, with a thread."""
        pool = self._pool
        assert pool is not None, "only who is in a pool is served"
        try:
            conversation = next(doing)
        except StopIteration:
            self._end_unaided(pool)
        except BaseException:
            log.exception(_FAULT, self)
            self._end_unaided(pool)
        else:
            if conversation is not None:
                conversation.begin(partial(self._go_on, doing))
            elif not self.start():
                pool.put_off(self._place or self._wish(None))

    def _end_unaided(self, pool: Pool) -> None:
        following = self._make_room(pool)
        if following is not None and not following.begin():
            pool.put_off(following)

    # Called by whichever thread serves.

    def _serve(self) -> Callable[[], Any] | None:
        """Do what there is to do, with this thread; return what it can do next."""
        thread = threading.current_thread()
        with self._starting:
            jobs = self._queue or self._make_queue()
            if thread is not self._thread:  # it comes from another PDU
                self._thread, thread.name = thread, self._thread_name
            doing, self._under_way = self._under_way, None
            self.unaided = False
        if doing is not None:
            self._finish(doing)
            if self._pool is not None:
                return self._served_next(self._pool)
        idle = IDLE
        while True:
            if self._at_once and self._retired():
                self.device.let_go(at_once=True)
                return None
            try:
                job = jobs.get(timeout=KEPT if self.device.kept else idle)
            except queue.Empty:
                if self.device.kept:
                    self.device.let_go()
                elif self._retired():
                    return None
                continue
            if job is None:
                self._give_place_back()
                return None
            idle = AFTER_SURVEY if isinstance(job, Survey) else IDLE
            self._finish(self._doing(job))
            if self._pool is not None:
                return self._served_next(self._pool)

    @property
    def _thread_name(self) -> str:
        return f"pdu {self.pdu.name}"

    def _retired(self) -> bool:
        """Whether the thread is not needed any more, nor its queue: the next job makes others."""
        with self._starting:
            if self._queue is None or self._queue.empty():
                self._thread, self._queue = None, None
            return self._thread is None

    def _served_next(self, pool: Pool) -> Callable[[], Any] | None:
        following = self._make_room(pool)
        return None if following is None else following.serve

    def _make_room(self, pool: Pool) -> Place | None:
        """Have no thread any more, and ask for a place for the next job; return who has this one now."""
        with self._starting:
            place, self._place = self._place, None
            self._thread, self._under_way, self.unaided = None, None, False
            if self._queue is not None and self._queue.empty():
                self._queue = None
            line = self._held if self._queue is None else self._queue.queue
            wish = self._wish(line[0]) if line else None
        if place is not None:
            return pool.exchange(place, wish)
        if wish is not None:
            pool.ask(wish)
        return None

    def _finish(self, doing: Doing[None]) -> None:
        """Do a job, or the rest of it, and wait for all that there is to wait for."""
        try:
            for conversation in doing:
                if conversation is not None:
                    conversation.wait()
        except BaseException:  # a fault of ours must not take the PDU with it
            log.exception(_FAULT, self)
