# SPDX-License-Identifier: MIT
"""Surveys: PDUs read as a whole, for the inventory. A survey is a job in the PDU's queue, as a status is.

It is put when somebody looks at what is older than ``refresh``, by the timetable (``poll``), and at once by who asks
for it and waits. It never holds up a switching: it is put only where nothing else waits, gives way to what came behind
it, and is cut short, between two exchanges with the device, by what comes while it reads. There is one for a PDU at a
time, and some dozens in all; a PDU that does not answer is tried again less and less often.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Iterable
from functools import partial

from pdudaemon.config.model import Config
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.device import Device
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.inventory import Inventory, NamesUnknown
from pdudaemon.engine.outlets import KnownPDU
from pdudaemon.engine.survey import Asker, Survey, surveyable
from pdudaemon.engine.timetable import Entry, Timetable
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import Busy, DeviceError, DeviceTimeout, PDUDaemonError, PermanentError
from pdudaemon.power import Target

AT_ONCE = 32  # PDUs that are read at a time
DEAD_AT_ONCE = 8  # besides, of those that did not answer the last time
DEAD_PATIENCE = 10.0  # seconds for one that did not answer the last time; twice as many after the next, and so on
LONGEST_BACK_OFF = 300.0
USUAL = 30.0  # seconds for which what was read is new enough where the configuration does not say
AFTER_SWITCHING = 5.0  # seconds at least between two readings of a PDU that is switched all the time
SLICE = 50  # PDUs that are seen to in one go with the lock held


class Surveys:
    """All surveys."""

    def __init__(
        self,
        config: Config,
        fleet: Fleet,
        inventory: Inventory,
        waiting: Waiting,
        timetable: Timetable,
        clock: Clock,
    ) -> None:
        self._config = config
        self._fleet = fleet
        self._inventory = inventory
        self._waiting = waiting
        self._timetable = timetable
        self._clock = clock
        self._pending: dict[str, Survey] = {}  # sent, and not ended
        self._reading: dict[Device, Survey] = {}
        self._lines: dict[bool, dict[str, None]] = {False: {}, True: {}}  # of those that wait for a place; the dead
        self._places = {False: AT_ONCE, True: DEAD_AT_ONCE}
        self._polls: dict[str, Entry] = {}

    # Called without the lock.

    def look(self, names: Iterable[str], always: bool = False) -> None:
        """Somebody looks at PDUs: have those be read of which what is known is too old.

        ``always``: also those that are never to be read just because somebody looks.
        """
        now = self._clock.uptime()
        due = [name for name in names if self._due(name, now, always)]
        for begin in range(0, len(due), SLICE):
            with self._waiting:
                for name in due[begin : begin + SLICE]:
                    self._want(name)

    def unread(self, targets: Iterable[Target]) -> set[str]:
        """Return the PDUs whose names of outlets have to be read before targets can be resolved."""
        config = self._config
        found: set[str] = set()
        for target in targets:
            for outlet in target.outlets if target.by_name or config.named_pdus else ():
                wanted = outlet.pdu in config.named_locks or config.called(outlet)
                if wanted and not self._inventory.knows_names(outlet.pdu):
                    found.add(outlet.pdu)
        return found

    def resolved(self, target: Target, config: Config, *, switching: bool = True) -> Target:
        """Return a target whose outlets have their ports, and not their names on the device, which are read if need be.

        Raises: RequestError, for now or for good.
        """
        try:
            return self._inventory.resolved(target, config, switching=switching)
        except NamesUnknown as unknown:
            self.look([unknown.pdu], always=True)
            raise

    def ask(self, name: str, asker: Asker) -> None:
        """Have a PDU be read now, and somebody told. Raises: why it cannot be: RequestError, DeviceError."""
        with self._waiting:
            pdu = self._config.pdus.get(name)
            if pdu is not None and pdu.driver is None:
                raise Busy(f"{name}: disabled by its configuration: {pdu.fault}")
            self._fleet.check(name, DeviceTimeout)
            if pdu is None:
                raise Busy(f"{name} is not configured any more")
            if not surveyable(pdu):
                raise PermanentError(f"{name}: this PDU does not tell what its outlets are")
            survey, known = self._pending.get(name), self._inventory.pdu(name)
            assert known is not None, "what is configured is known"
            if survey is None or survey.begun or survey.dead:
                survey = self._put(name, known)
            survey.askers.append(asker)

    def read(self, names: Collection[str], seconds: float) -> None:
        """Have PDUs be read, for a caller that has a thread to wait with, ``seconds`` at most. Raises: as `ask`."""
        told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
        for name in names:
            self.ask(name, told.put)
        until = time.monotonic() + seconds
        for _ in names:
            try:
                error = told.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                error = DeviceTimeout(f"{', '.join(sorted(names))}: not read within {seconds:g} s")
            if error is not None:
                raise error

    # Called with the lock held.

    def change(self, config: Config) -> None:
        """Go on with another configuration, or begin with the first."""
        before, self._config = self._config, config
        former, self._polls = self._polls, {}
        for name, pdu in config.pdus.items():
            if pdu.options.poll and surveyable(pdu):
                same = name in former and before.pdus[name].options.poll == pdu.options.poll
                entry = former.pop(name) if same else self._timetable.at(time.monotonic(), partial(self._poll, name))
                self._polls[name] = entry
        for entry in former.values():
            entry.cancel()
        for name in config.named_pdus:
            if (known := self._inventory.pdu(name)) is not None and known.read is None:
                self._want(name)

    def others(self, acting: Collection[Device]) -> bool:
        """Whether some of the devices that act do something else than being read."""
        return any(device not in self._reading for device in acting)

    def begin(self, survey: Survey, device: Device, waiting: int) -> bool:
        """Say whether a survey is to be made now; ``waiting`` jobs have come behind it."""
        name = survey.outlet.pdu
        if self._fleet.closing or self._pending.get(name) is not survey:
            return False
        if waiting:
            if survey.askers and name in self._fleet.runners:
                self._fleet.runners[survey.outlet.pdu].put(survey)
            else:
                self._tell(survey, Busy(f"{name} is not configured any more"))
                self._ended(survey)
            return False
        known = survey.known = self._inventory.pdu(name)
        if known is not None:
            known.tried = self._clock.uptime()
        self._reading[device] = survey
        device.survey = survey.hurry
        survey.begun = True
        survey.hurry.clear()
        return True

    def end(self, survey: Survey, device: Device, error: DeviceError | None) -> None:
        """Take in what came of a survey, which the inventory has already if it was well."""
        name = survey.outlet.pdu
        state = self._fleet.state(name)
        if self._reading.get(device) is survey:
            del self._reading[device]
            device.survey = None
        known = self._inventory.pdu(name)
        if error is not None and survey.hurry.is_set():
            if known is not None:
                known.tried = None
            behind = self._pending.get(name)
            if survey.askers and name in self._fleet.runners and behind is survey:
                survey.begun = False
                self._fleet.runners[survey.outlet.pdu].put(survey)
                return
            if behind is not None and behind is not survey:
                behind.askers += survey.askers
                survey.askers.clear()
        elif error is not None:
            self._inventory.failed(name, state, error, reading=True)
            if (behind := self._pending.get(name)) is not None:  # who asked meanwhile need not wait as long again
                self._tell(behind, error)
        else:
            self._inventory.answered(name, state, reading=True)
        self._tell(survey, error)
        self._ended(survey)

    def refuse(self, error: PDUDaemonError, names: Collection[str] | None = None) -> None:
        """Tell those who wait for all surveys, or those of some PDUs, that there will be none."""
        for survey in [*self._pending.values(), *self._reading.values()]:
            if names is None or survey.outlet.pdu in names:
                self._tell(survey, error)
                survey.hurry.set()
                self._ended(survey)

    def _due(self, name: str, now: float, always: bool) -> bool:
        """Whether a PDU is to be read. Without the lock: those that are about to be need none."""
        if name in self._pending or any(name in line for line in self._lines.values()):
            return False
        pdu, known = self._config.pdus.get(name), self._inventory.pdu(name)
        if pdu is None or known is None or not surveyable(pdu):
            return False
        interval = pdu.options.refresh or (USUAL if always else 0.0)
        return interval > 0 and _is_due(known, interval, now)

    def _poll(self, name: str) -> None:
        known, every = self._inventory.pdu(name), self._config.pdus[name].options.poll
        assert known is not None, "what is configured is known"
        if not known.failures or _is_due(known, every, self._clock.uptime()):
            self._want(name)
        self._polls[name] = self._timetable.at(time.monotonic() + every, partial(self._poll, name))

    def _want(self, name: str) -> None:
        """Have a PDU be read as soon as there is a place, unless it is not to be had now."""
        known = self._inventory.pdu(name)
        if not self._fleet.closing and known is not None and name not in self._pending:
            dead = known.failures > 0
            self._lines[dead][name] = None
            self._fill(dead)

    def _fill(self, dead: bool) -> None:
        """Send those for which there is a place, of those that did not answer the last time, or of the others."""
        line = self._lines[dead]
        while line and self._places[dead] > 0:
            name = next(iter(line))
            del line[name]
            runner, known = self._fleet.runners.get(name), self._inventory.pdu(name)
            if runner is not None and known is not None and not (runner.device.stuck or runner.waiting):
                self._put(name, known, dead)

    def _put(self, name: str, known: KnownPDU, dead: bool = False) -> Survey:
        for line in self._lines.values():
            line.pop(name, None)
        former = self._pending.get(name)
        patience = DEAD_PATIENCE * 2 ** min(known.failures - 1, 10) if dead else None
        if former is not None:  # is not wanted, or under way
            self._places[former.dead] += 1
        survey = self._pending[name] = Survey(name, known.identity is not None, patience)
        self._places[survey.dead] -= 1
        self._fleet.runners[survey.outlet.pdu].put(survey)
        return survey

    def _ended(self, survey: Survey) -> None:
        if self._pending.get(survey.outlet.pdu) is survey:
            del self._pending[survey.outlet.pdu]
            self._places[survey.dead] += 1
            self._fill(survey.dead)

    def _tell(self, survey: Survey, error: PDUDaemonError | None) -> None:
        for asker in survey.askers:
            self._waiting.tell(asker, error)
        survey.askers.clear()


def _is_due(known: KnownPDU, interval: float, now: float) -> bool:
    """Whether a PDU is to be read again, as often as once in an interval (seconds)."""
    if known.tried is None:
        return True
    if known.failures:
        interval = max(interval, min(interval * 2 ** min(known.failures - 1, 30), LONGEST_BACK_OFF))
    elif known.switched > known.tried:  # what it draws has changed since
        interval = min(interval, AFTER_SWITCHING)
    return now - known.tried >= interval
