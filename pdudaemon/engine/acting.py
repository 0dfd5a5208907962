# SPDX-License-Identifier: MIT
"""`Acting`: the devices that act just now, and those that do not come back.

A thread inside a driver cannot be killed or replaced. Past its deadline and a grace its PDU is *stuck*: who waits is
told, and new requests are refused, until it comes back.

Called with the dispatcher's lock held.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from pdudaemon.engine.device import Device
from pdudaemon.engine.events import Events
from pdudaemon.engine.fleet import Fleet
from pdudaemon.engine.interventions import Interventions
from pdudaemon.engine.inventory import Inventory
from pdudaemon.engine.queries import Queries
from pdudaemon.engine.surveys import Surveys
from pdudaemon.engine.timetable import Timetable
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import DeviceTimeout

log = logging.getLogger("pdud.dispatcher")

STUCK_GRACE = 5.0  # seconds past its deadline before an action counts as stuck


class Acting:
    """``devices`` are those that act; ``came_back`` is notified of each that has, while the daemon stops."""

    def __init__(
        self,
        waiting: Waiting,
        timetable: Timetable,
        fleet: Fleet,
        queries: Queries,
        surveys: Surveys,
        interventions: Interventions,
        inventory: Inventory,
        events: Events,
    ) -> None:
        self.devices: set[Device] = set()
        self.came_back = threading.Condition(waiting)  # type: ignore[arg-type]
        self._waiting = waiting
        self._timetable = timetable
        self._fleet = fleet
        self._queries = queries
        self._surveys = surveys
        self._interventions = interventions
        self._inventory = inventory
        self._events = events

    def begin(self, device: Device, seconds: float) -> None:
        """Have an action, from now on, called stuck if it is not back in time.

        An entry of the timetable that is there anyway will do: it is looked then whether it is time yet.
        """
        self.devices.add(device)
        device.due = time.monotonic() + seconds + STUCK_GRACE
        if device.due < device.looked_at:
            self._look_later(device)

    def end(self, device: Device) -> None:
        """Note that the action of a device has come back."""
        assert self._waiting.bare.locked()
        self.devices.discard(device)
        if device.stuck:
            log.warning("%s: the device came back, the PDU is not stuck any more", device.stuck)
            device.stuck = ""
            self._tell_state(device, "")
        if self._fleet.closing:
            self.came_back.notify_all()

    def _look_later(self, device: Device) -> None:
        device.looked_at = device.due
        self._timetable.at(device.due, partial(self._look_at, device))

    def _look_at(self, device: Device) -> None:
        device.looked_at = float("inf")
        if device in self.devices and not device.stuck:
            if device.due <= time.monotonic():
                self._stuck(device)
            else:
                self._look_later(device)

    def _stuck(self, device: Device) -> None:
        """Tell all who wait for a device that its action has not come back."""
        sharing = self._fleet.sharing(device)
        device.stuck = ", ".join(sorted(sharing))
        log.error("%s: stuck: an action has not come back from the device", device.stuck)
        for name in sharing:  # each by its own name: who waits for one may not see the others
            trouble = DeviceTimeout(f"{name}: stuck: no answer, and it is not known whether the device acted")
            self._queries.refuse(trouble, [name])
            self._surveys.refuse(trouble, [name])
            self._interventions.tell([name], trouble)
        self._tell_state(device, "an action has not come back from the device")

    def _tell_state(self, device: Device, reason: str) -> None:
        """Publish how the PDUs are that are one device."""
        for name in self._fleet.sharing(device):
            known = self._inventory.pdu(name)
            self._events.pdu(name, self._fleet.state(name), reason, None if known is None else known.reachable)
