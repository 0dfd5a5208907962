# SPDX-License-Identifier: MIT
"""Debts: the outlets that may be off because of us, and that a request has to see on.

The off of a reboot makes its on a debt: once that off may have reached the device, the on is tried until it is done,
cancelled by name, or given up. A later request for the outlet takes the debt over, and settles it by what it does
itself: an ``on`` at once, whatever its delay, an ``off`` by switching off. Until that can be, as it has yet to wait for
a delay or for other outlets, the on is kept up besides, as a *repair* (see `pdudaemon.engine.lanes`).

Called with the dispatcher's lock held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from pdudaemon.power import Action, Outlet, Phase, Request, Step

FIRST_BACK_OFF = 30.0
LONGEST_BACK_OFF = 300.0


def take_over(request: Request, outlet: Outlet) -> None:
    """Make an outlet that may be off because of an earlier request a debt of this one, which has not begun."""
    request.debts.add(outlet)
    if request.phase is Phase.RESTART:  # of no use to what is off
        request.phase = Phase.OFF


def only_pay(request: Request) -> list[Outlet]:
    """Have a request switch on what may be off because of us, and nothing else; return the outlets that it lets be."""
    untouched = [outlet for outlet in request.remaining if outlet not in request.debts]
    request.phase = Phase.ON
    request.remaining = [outlet for outlet in request.remaining if outlet in request.debts]
    return untouched


def back_off(step: Step, give_up: float) -> float | None:
    """Note that an owed on has failed all its tries; return in how many seconds it is tried again, None: never.

    ``give_up`` is how many seconds it is kept up in all.
    """
    now = time.monotonic()
    step.rounds += 1
    step.attempts = 0
    step.failing_since = step.failing_since or now
    left = step.failing_since + give_up - now
    if left <= 0:
        return None
    return float(min(FIRST_BACK_OFF * 2 ** (step.rounds - 1), LONGEST_BACK_OFF, left))


def owed(requests: Iterable[Request], disabled: Callable[[str], bool]) -> list[str]:
    """Return a line for each outlet that has yet to be switched on, and when; ``disabled`` says whether a PDU is."""
    return [
        f"{request}: {outlet} is to be switched on {_when(request, outlet, disabled)}"
        for request in requests
        for outlet in request.target.outlets
        if outlet in request.debts
    ]


def _when(request: Request, outlet: Outlet, disabled: Callable[[str], bool]) -> str:
    """Say when a debt is to be paid."""
    for step in request.work:
        if step.outlet == outlet and step.action is Action.ON and not step.ended:
            return f"in {max(0.0, step.at - time.monotonic()):.0f} s, at the next start"
    if disabled(outlet.pdu):
        return f"when {outlet.pdu} is not disabled any more"
    return f"when {'the off is done' if request.steps else 'its turn has come'}, at the next start"
