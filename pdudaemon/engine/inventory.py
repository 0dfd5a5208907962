# SPDX-License-Identifier: MIT
"""`Inventory`: what is known of each outlet and PDU, from the device or from what it was last told.

Whoever looks takes what there is, without a lock and without waiting for a device. All that is learned of a PDU comes
from its one worker, so nobody else writes; what is known of an outlet (`Known`) is replaced, never changed. What each
outlet was last told comes from the store, and so outlives the daemon; what devices tell is asked for again.

A device may tell anything: `MOST_OUTLETS` and `MOST_INLETS` of it are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.outlets import NOTHING, Found, Known, KnownPDU, drawn, is_news, merged
from pdudaemon.engine.trail import Trail
from pdudaemon.errors import Busy, DeviceError, PermanentError, RequestError
from pdudaemon.power import Outlet, State, Target
from pdudaemon.settings import near

log = logging.getLogger("pdud.inventory")

MOST_OUTLETS = 2000
MOST_INLETS = 200
NAMES_LAST = 3600.0  # seconds for which names that were read are good enough to switch by


class NamesUnknown(Busy):
    """What a PDU calls its outlets is not known yet, or not any more."""

    retry_after = 5

    def __init__(self, pdu: str, text: str) -> None:
        super().__init__(text)
        self.pdu = pdu


class Inventory:
    """What is known of all PDUs. To be read by any thread."""

    def __init__(self, config: Config, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._pdus: dict[str, KnownPDU] = {}
        self.elsewhere: Mapping[str, KnownPDU] = {}  # at sites, whose mirrors these are; replaced whole
        self._configured: Mapping[str, PDUConfig] = {}
        self._take_over(config, {})

    def remember(self, told: Mapping[Outlet, tuple[State, float]]) -> None:
        """Begin with what each outlet was last told to be, and when, as the store has it."""
        for outlet, (state, when) in told.items():
            pdu = self._pdus.get(outlet.pdu)
            if pdu is not None and (outlet.port in pdu.outlets or len(pdu.outlets) < MOST_OUTLETS):
                pdu.outlets[outlet.port] = Known(state, "commanded", when)

    def change(self, config: Config, state: Callable[[str], str]) -> None:
        """Go on with another configuration. Of a PDU that is not what it was, nothing is known but what it was told.

        ``state`` says how a PDU is now. Called with the dispatcher's lock held, by a reload.
        """
        commanded: dict[str, dict[str, Known]] = {}
        before, changed = self._configured, []
        for name in [*self._pdus]:
            if before[name] != config.pdus.get(name):
                known = self._pdus.pop(name)
                commanded[name] = {port: each for port, each in known.outlets.items() if each.source == "commanded"}
                changed.append(name)
        self._take_over(config, commanded)
        for name in changed:
            pdu = config.pdus.get(name)
            if pdu is not None and (pdu.driver is None) != (before[name].driver is None):
                self._events.pdu(name, state(name), pdu.fault, None)

    def _take_over(self, config: Config, commanded: Mapping[str, dict[str, Known]]) -> None:
        fed: dict[str, list[str]] = {}
        for outlet in config.nodes_at:
            if not config.called(outlet):
                fed.setdefault(outlet.pdu, []).append(outlet.port)
        for name, pdu in config.pdus.items():
            known = self._pdus.get(name)
            if known is None:
                known = self._pdus[name] = KnownPDU({})
                known.outlets = dict.fromkeys(pdu.traits.ports[:MOST_OUTLETS], NOTHING)
                known.outlets |= commanded.get(name, {})
            for port in fed.get(name, ()):
                known.outlets.setdefault(port, NOTHING)
            self._name(config, name, known)
        self._configured, self._config = config.pdus, config

    @staticmethod
    def _name(config: Config, name: str, pdu: KnownPDU, former: Mapping[str, Known] | None = None) -> None:
        """Have a configuration that spells outlets of a PDU by their names know what these are now."""
        if name not in config.named_pdus:
            return
        for port, known in pdu.outlets.items():
            if known.name is not None:  # at no moment is one that keeps its name without it: a lock may hang on that
                config.device_names[Outlet(name, port)] = known.name
        for port in former or ():
            if pdu.outlets.get(port, NOTHING).name is None:
                config.device_names.pop(Outlet(name, port), None)

    def pdu(self, name: str) -> KnownPDU | None:
        """Return what is known of a PDU; None if it is not configured, nor at a site."""
        return self._pdus.get(name) or self.elsewhere.get(name)

    def last_told(self, name: str) -> dict[str, tuple[State, float]]:
        """Return what the ports of a PDU were last told to be, and when."""
        pdu = self._pdus.get(name)
        outlets = [] if pdu is None else [*pdu.outlets.items()]
        return {port: (each.state, each.time or 0.0) for port, each in outlets if each.source == "commanded"}

    def outlet(self, outlet: Outlet) -> Known:
        """Return what is known of an outlet."""
        pdu = self.pdu(outlet.pdu)
        return NOTHING if pdu is None else pdu.outlets.get(outlet.port, NOTHING)

    def resolved(self, target: Target, config: Config, *, switching: bool = True) -> Target:
        """Return a target whose outlets that are spelled by their names on the device have their ports instead.

        ``switching``: it must be known as well what is locked by its name. Raises: NamesUnknown if names have not been
        read yet, RequestError if there is no such name, or several.
        """
        if not (config.named_pdus or target.by_name):
            return target
        if switching:
            for name in config.named_locks.intersection(target.pdus):
                self._check_names(name)
        outlets = tuple(self._resolved(outlet, config) for outlet in target.outlets)
        locked = target.locked
        if not config.named_pdus.isdisjoint(target.pdus):  # by a name, perhaps, that another outlet had before
            locked = next(filter(None, map(config.lock_of, outlets)), "")
        if outlets == target.outlets and locked == target.locked:
            return target
        return replace(target, outlets=tuple(dict.fromkeys(outlets)), locked=locked)

    def place(self, outlet: Outlet, config: Config) -> Outlet:
        """Return an outlet by its port, if that is known, however it is spelled."""
        name, pdu = config.called(outlet), self._pdus.get(outlet.pdu)
        ports = pdu.called(name) if name and pdu is not None else []
        return Outlet(outlet.pdu, ports[0]) if len(ports) == 1 else outlet

    def _check_names(self, name: str) -> KnownPDU:
        """Return what is known of a PDU, with the names of its outlets. Raises: NamesUnknown."""
        pdu = self._pdus.get(name)
        if pdu is None or not self._is_named(pdu):
            why = f": {pdu.trouble}" if pdu is not None and pdu.trouble else ""
            lately = "lately" if pdu is not None and pdu.read else "yet"
            unknown = f"{name}: the names of its outlets have not been read {lately}{why}"
            raise NamesUnknown(name, f"{unknown}; ask again in some seconds")
        return pdu

    def knows_names(self, name: str) -> bool:
        """Whether it is known what a PDU calls its outlets, as of lately."""
        pdu = self._pdus.get(name)
        return pdu is not None and self._is_named(pdu)

    def _is_named(self, pdu: KnownPDU) -> bool:
        return pdu.read is not None and abs(self._clock.wall() - pdu.read) <= NAMES_LAST

    def _resolved(self, outlet: Outlet, config: Config) -> Outlet:
        name = config.called(outlet)
        if not name:
            return outlet
        pdu = self._check_names(outlet.pdu)
        ports = pdu.called(name)
        if len(ports) == 1:
            return Outlet(outlet.pdu, ports[0])
        if ports:
            raise RequestError(f"{outlet.pdu}: {len(ports)} outlets are called {name!r}: ports {', '.join(ports)}")
        names = [known.name for known in [*pdu.outlets.values()] if known.name]
        raise RequestError(f"{outlet.pdu}: there is no outlet called {name!r}{near(name, names)}")

    # What is learned. Called by the PDU's worker, or with the dispatcher's lock held.

    def heard(
        self, outlet: Outlet, pdu_state: Callable[[str], str], state: State | None, error: DeviceError | None
    ) -> None:
        """A device was asked to switch an outlet, or for its ``state``, and did not answer if there is an error.

        ``pdu_state`` says how a PDU is now.
        """
        if error is not None:
            self.failed(outlet.pdu, pdu_state(outlet.pdu), error)
            return
        pdu = self._pdus.get(outlet.pdu)
        if pdu is not None and (pdu.gone or not pdu.reachable):  # seldom
            self.answered(outlet.pdu, pdu_state(outlet.pdu))
        if state is not None:
            self.told(outlet, state, self._clock.wall(), "device")

    def told(self, outlet: Outlet, state: State, when: float, source: str = "commanded") -> None:
        """An outlet was told to be on or off, or said so: ``source`` is ``commanded`` or ``device``."""
        pdu = self._pdus.get(outlet.pdu)
        if pdu is None or (outlet.port not in pdu.outlets and len(pdu.outlets) >= MOST_OUTLETS):
            return
        before = pdu.outlets.get(outlet.port, NOTHING)
        known = before._replace(state=state, source=source, time=when)
        if state is not before.state:  # what it drew while it was otherwise, it does not draw now
            known = known._replace(watts=None, amps=None, shown=None)
        pdu.outlets[outlet.port] = known
        if source == "commanded":
            pdu.switched = self._clock.uptime()
        if (known.state, known.source) != (before.state, before.source):
            self._events.outlet(outlet, known)

    def answered(self, name: str, state: str, reading: bool = False) -> None:
        """A PDU, which is in a ``state``, has answered.

        One that can be switched and not be read has not come back by being switched: the log is to tell that it went,
        and that it is back, once each.
        """
        pdu = self._pdus.get(name)
        if pdu is None:
            return
        if reading:
            pdu.failures = 0
        if pdu.gone and not pdu.failures:
            log.info("%s answers again", name)
            pdu.gone = False
        if not pdu.reachable:
            pdu.reachable, pdu.trouble = True, ""
            self._events.pdu(name, state, "", True)

    def failed(self, name: str, state: str, error: DeviceError, reading: bool = False) -> None:
        """A PDU did not answer as it should, when it was asked for all of it (``reading``), or for one outlet.

        That it refuses an outlet something says nothing of the rest.
        """
        pdu = self._pdus.get(name)
        if pdu is None or (isinstance(error, PermanentError) and not reading):
            return
        trouble = str(error).removeprefix(f"{name}: ")
        if reading:
            pdu.failures += 1
        if not pdu.gone:
            log.warning("%s does not answer%s: %s", name, " when it is read" if reading else "", trouble)
            pdu.gone = True
        if pdu.reachable is not False:
            self._events.pdu(name, state, trouble, False)
        pdu.reachable, pdu.trouble = False, trouble

    def surveyed(self, name: str, pdu: KnownPDU | None, found: Found) -> None:
        """A device told all of itself. Takes as long as it has outlets: the dispatcher's lock is not held.

        ``pdu`` is what was known of it when it was asked, perhaps by another configuration.
        """
        if pdu is None or self._pdus.get(name) is not pdu:
            return
        when = self._clock.wall()
        outlets, inlets = found.outlets[:MOST_OUTLETS], found.inlets[:MOST_INLETS]
        if len(outlets) < len(found.outlets) or len(inlets) < len(found.inlets):
            if not pdu.cut:
                told = f"{len(found.outlets)} outlets and {len(found.inlets)} inlets"
                log.warning("%s tells of %s: %d and %d of them are kept", name, told, MOST_OUTLETS, MOST_INLETS)
            pdu.cut = True
        known: dict[str, Known] = {}
        for reading in outlets:
            before = pdu.outlets.get(reading.port, NOTHING)
            now = merged(before, reading, when)
            if is_news(before, now):
                now = now._replace(shown=now.watts)
                self._events.outlet(Outlet(name, reading.port), now)
            known[reading.port] = now
        for port, before in [*pdu.outlets.items()]:  # which the device has not told, this time or never
            stays = before.read is None or before.source == "commanded"
            if stays and port not in known and len(known) < MOST_OUTLETS:
                known[port] = Known(before.state, before.source, before.time)
        former, pdu.outlets = pdu.outlets, known
        self._name(self._config, name, pdu, former)
        pdu.inlets, pdu.read = tuple(inlets), when
        pdu.watts = drawn(inlets, outlets)
        for port, watts in [("", pdu.watts), *((reading.port, reading.watts) for reading in outlets)]:
            if watts is not None:
                pdu.trails.setdefault(port, Trail()).put(when, watts)
        pdu.identity = found.identity or pdu.identity
