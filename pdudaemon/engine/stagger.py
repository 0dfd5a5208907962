# SPDX-License-Identifier: MIT
"""`Stagger`: ons that may not come at once, since what is switched on draws most in its first moments (inrush).

A PDU, PDUs with the same ``stagger_with`` (so the nodes of a platform) and a group each have a time that lies between
two ons. An on that is due takes the next free place of all that its outlet belongs to; whoever asked for it, a client,
a reboot or a start after a crash, stands in the same row. Called with the dispatcher's lock held.
"""

from __future__ import annotations

from collections.abc import Mapping

from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.power import Outlet


class Stagger:
    """When the next on may be, in monotonic seconds, by what is staggered."""

    def __init__(self, config: Config) -> None:
        self._free: dict[str, float] = {}
        self._groups: Mapping[Outlet, tuple[tuple[str, float], ...]] = {}
        self._pdus: Mapping[str, PDUConfig] = {}
        self.change(config)

    def change(self, config: Config) -> None:
        """Go on with another configuration. What waits keeps its place."""
        self._pdus, self._groups = config.pdus, config.staggers
        self.is_set = bool(config.staggers) or any(pdu.options.stagger for pdu in config.pdus.values())

    def place(self, outlet: Outlet, now: float) -> float:
        """Take a place for an on that is due; return when it may be: ``now``, or later."""
        rows = list(self._groups.get(outlet, ()))
        pdu = self._pdus.get(outlet.pdu)
        if pdu is not None and pdu.options.stagger:
            name = f"with {pdu.options.stagger_with}" if pdu.options.stagger_with else f"PDU {outlet.pdu}"
            rows.append((name, pdu.options.stagger))
        when = max((self._free.get(name, now) for name, _ in rows), default=now)
        when = max(when, now)
        for name, seconds in rows:
            self._free[name] = when + seconds
        return when
