# SPDX-License-Identifier: MIT
"""`SoftOff`: an off, alone or as the first half of a reboot, before which the machine is asked to shut down.

It is a step as any other is, of which the driver is told to look whether the machine is off already, to ask, to look
every few seconds whether the power is off, and to switch it off when the time is over (``order``). Between two looks
the step is in the timetable, and the PDU's worker is free. What was asked, and until when there is time, is on record,
so that who takes the request up after a crash goes on with what is left of it; the record of a reboot's debt is on the
disk before the machine is asked, since it may go off because of us at any time from then on.

A machine that could not be asked is looked at all the same, as it may have heard: until the time is over, or once if
the device has refused.

Called with the dispatcher's lock held, but for `refusal`.
"""

from __future__ import annotations

import logging
import time

from pdudaemon.config.model import Config
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import RUNNING, WAITING, Events, has_time
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.lanes import Lanes
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import DeviceError, NoShutdown, PermanentError, TransientError
from pdudaemon.power import SHUTDOWN, Action, Asked, Request, Soft, State, Step, Target

log = logging.getLogger("pdud.requests")

LOOK_EVERY = 3.0  # seconds


class SoftOff:
    """Decides what follows when a machine was asked, or looked at."""

    def __init__(self, lanes: Lanes, fleet: Fleet, store: Store, clock: Clock, events: Events) -> None:
        self._lanes = lanes
        self._fleet = fleet
        self._store = store
        self._clock = clock
        self._events = events

    def attempt_ended(self, step: Step, state: State | None, error: DeviceError | None) -> None:
        """Decide what follows an attempt to ask, or a look, which found a ``state``; None: it failed."""
        soft = step.request.soft
        assert soft is not None, "only such requests have such steps"
        asking = step.order == SHUTDOWN
        step.error = error
        if asking and error is not None:
            self._events.of_request(step.request, "tried", RUNNING, error, step)
        if step.ended:  # while it acted
            return
        if asking:
            self._asked(step, soft, error)
        elif step.outlet not in soft.asked and state is not State.OFF:
            step.order, step.attempts = SHUTDOWN, 0
            self._lanes.send_at(step, time.monotonic())
        else:
            self._looked(step, soft, state, error)

    def _asked(self, step: Step, soft: Soft, error: DeviceError | None) -> None:
        request = step.request
        options = self._fleet.pdus[step.outlet.pdu].options
        if isinstance(error, TransientError) and step.attempts < options.retries:
            log.info("%s: try %d of %d to ask failed: %s", request, step.attempts, options.retries, error)
            self._lanes.send_at(step, time.monotonic() + options.retrydelay)
            return
        step.order = Action.STATUS.value
        time_left = 0.0 if isinstance(error, PermanentError) else soft.seconds
        complaint = "" if error is None else str(error)
        soft.asked[step.outlet] = Asked(self._clock.wall() + time_left, self._clock.uptime() + time_left, complaint)
        self._store.note(request)
        if error is None:
            log.info("%s: %s was asked to shut down, and has %g s for it", request, step.outlet, soft.seconds)
        else:
            log.warning("%s: %s could not be asked to shut down: %s", request, step.outlet, error)
        if time_left:
            self._events.of_request(request, "waiting", WAITING, None, step, soft.asked[step.outlet].until)
        self._look_later(step, soft)

    def _look_later(self, step: Step, soft: Soft) -> None:
        left = _left(soft, soft.asked[step.outlet], self._clock.uptime())
        self._lanes.send_at(step, time.monotonic() + max(0.0, min(LOOK_EVERY, left)))

    def _looked(self, step: Step, soft: Soft, state: State | None, error: DeviceError | None) -> None:
        asked = soft.asked.get(step.outlet)
        if state is State.OFF:
            self._store.switched(step.request, step.outlet, State.OFF, self._clock.wall())
            soft.became[step.outlet] = _how(asked, soft, self._clock.uptime())
            self._events.of_request(step.request, "tried", RUNNING, None, step)
            self._lanes.end_step(step, None)
        elif _left(soft, soft.asked[step.outlet], self._clock.uptime()) > 0:
            self._look_later(step, soft)
        else:
            self._over(step, soft, state, error)

    def _over(self, step: Step, soft: Soft, state: State | None, error: DeviceError | None) -> None:
        """The time is over: switch off, or leave it at that."""
        request, outlet, asked = step.request, step.outlet, soft.asked[step.outlet]
        why = f"did not shut down within {soft.seconds:g} s"
        if asked.complaint:
            why = f"could not be asked to shut down ({asked.complaint})"
        if soft.hard:
            soft.became[outlet] = f"{why}: switched off hard"
            log.warning("%s: %s %s: it is switched off hard", request, outlet, why)
            step.order, step.attempts, step.error = step.action.value, 0, None
            self._lanes.send_at(step, time.monotonic())
        elif state is State.ON:
            request.debts.discard(outlet)  # so the on that would pay it is not needed
            self._lanes.end_step(step, TransientError(f"{outlet} {why}: nothing was switched"))
        else:
            unknown = "its state is not known" if error is None else f"its state cannot be read: {error}"
            self._lanes.end_step(step, TransientError(f"{outlet} {why}, and {unknown}: it was not switched off"))


def refusal(config: Config, action: Action, target: Target) -> NoShutdown | None:
    """Return why a target cannot be switched off softly; None: it can."""
    if action not in (Action.OFF, Action.REBOOT):
        return NoShutdown(f"soft: is for off and reboot, not for {action}")
    for outlet in target.outlets:
        pdu = config.pdus.get(outlet.pdu)
        if pdu is None or pdu.driver is None:  # as anybody is told
            continue
        if not pdu.traits.shuts_down:
            return NoShutdown(f"soft: {outlet} cannot be asked to shut down: {pdu.driver_name} cannot, as it is set up")
        if not pdu.traits.reads_state:
            return NoShutdown(f"soft: nobody could see that {outlet} has shut down: its state cannot be read")
    return None


def still_waits(request: Request, uptime: float) -> bool:
    """Whether a machine was asked to shut down, and has time left."""
    soft = request.soft
    if soft is None:
        return False
    waiting = [each for outlet, each in soft.asked.items() if outlet in request.remaining and outlet not in soft.became]
    return any(_left(soft, each, uptime) > 0 for each in waiting)


def date(request: Request, wall: float, uptime: float) -> None:
    """Have the times of a request, which are of another start of the machine, count from this one."""
    soft = request.soft
    if soft is not None:
        for outlet, each in soft.asked.items():
            soft.asked[outlet] = each._replace(until_uptime=uptime - (wall - each.until))


def standing(request: Request, uptime: float) -> str | None:
    """Return what there is to tell, for people, of a request that has not ended; None: nothing."""
    soft = request.soft
    if soft is None:
        return None
    if soft.said:
        return soft.said
    left = time_left(request, uptime)
    return None if left is None else has_time(left)


def time_left(request: Request, uptime: float) -> float | None:
    """Return how many seconds the machines have that were asked to shut down, None if there are none."""
    soft = request.soft
    if soft is None:
        return None
    asked = [each for outlet, each in soft.asked.items() if outlet not in soft.became]
    return max((_left(soft, each, uptime) for each in asked), default=None)


def _how(asked: Asked | None, soft: Soft, uptime: float) -> str:
    """Return what came of a machine that is off."""
    if asked is None:
        return "was off already"
    if asked.complaint:
        return f"is off, though it could not be asked to shut down: {asked.complaint}"
    return f"shut down by itself after {soft.seconds - _left(soft, asked, uptime):.0f} s"


def _left(soft: Soft, asked: Asked, uptime: float) -> float:
    """Return how many seconds a machine has left; not more than it had, against a clock that was set back."""
    return min(asked.until_uptime - uptime, soft.seconds)
