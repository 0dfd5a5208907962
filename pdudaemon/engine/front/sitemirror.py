# SPDX-License-Identifier: MIT
"""`Mirror`: what a site has told of its PDUs, outlets, nodes and groups, by the names that they go by here.

It is loaded whole and kept by the site's events. It is no truth: when the site cannot be asked, what is shown is that
nobody knows (`without_states`). Ages are counted by our own clock from what the site says of them, so that it does not
matter how its clock is set; other times of the site are corrected by how far its clock is off, if that is much.

What a site says is taken as it comes, for it may be another release: what is not understood is left out. It is bounded,
for it may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pdudaemon.config.front import Names, SitePDU
from pdudaemon.config.nodes import Node
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.drivers.hooks import Traits
from pdudaemon.drivers.readings import Identity, InletReading, inlet_kind, label, quantity
from pdudaemon.engine.inventory import MOST_INLETS, MOST_OUTLETS
from pdudaemon.engine.outlets import NOTHING, Known, KnownPDU
from pdudaemon.engine.survey import LONGEST_PORT
from pdudaemon.engine.trail import Trail
from pdudaemon.errors import printable
from pdudaemon.power import Outlet, State

Record = dict[str, Any]

SKEW = 2.0  # seconds by which the clock of a site may be off without anybody minding
LONGEST_NAME = 1000  # characters of a name at a site, which may be a front of fronts
LONGEST_NUMBER = 1000  # and of the number of a request
_WORDS = re.compile(rf"[\w./,-]{{1,{LONGEST_NUMBER}}}")
_TIMES = ("accepted", "ended", "started", "off_ended", "time", "due")


def ahead(date: str, now: float) -> float:
    """Return by how many seconds a clock is ahead of ours that has just told a date; 0 if that does not matter."""
    try:
        found = parsedate_to_datetime(date).timestamp() + 0.5 - now
    except ValueError:
        return 0.0
    return found if abs(found) > SKEW else 0.0


class Translation:
    """From a site's names, numbers and times to ours. ``ahead``: by how many seconds its clock is.

    What no name or number can be is a ValueError.
    """

    def __init__(self, site: str, prefix: bool) -> None:
        self.site = site
        self._before = f"{site}/" if prefix else ""
        self.ahead = 0.0

    def name(self, told: object) -> str:
        """Return the name of a node, a group or a PDU."""
        if not isinstance(told, str) or not 0 < len(told) <= LONGEST_NAME or not told.isprintable():
            raise ValueError(f"{str(told)[:100]!r} is no name")
        return f"{self._before}{told}"

    def theirs(self, name: str) -> str:
        """Return the site's own name of something."""
        return name.removeprefix(self._before)

    def number(self, told: object) -> str | None:
        """Return the number of a request or a command; None stays that."""
        if told is None:
            return None
        if not isinstance(told, int | str) or not _WORDS.fullmatch(str(told)):
            raise ValueError(f"{str(told)[:100]!r} is not the number of a request")
        return f"{self.site}/{told}"

    def time(self, told: object) -> float | None:
        """Return a time by our clock; None: it is none."""
        when = quantity(told)
        return None if when is None else when - self.ahead

    def outlet(self, told: Mapping[str, Any]) -> Outlet:
        """Return an outlet."""
        port = str(told["port"])
        if len(port) > LONGEST_PORT:
            raise ValueError(f"{port[:100]!r} is no port")
        return Outlet(self.name(told["pdu"]), port)

    def target(self, told: str, pdus: Iterable[str]) -> str:
        """Return what a request was for, with the names of its nodes and of some PDUs of the site, in our words."""
        told = printable(told)
        if not self._before:
            return told
        names = "|".join(re.escape(pdu) for pdu in sorted(pdus, key=len, reverse=True))
        pattern = rf"(?<![^\s(,])(?:(?:{names})(?= port )|[^\s(),]+(?= \()|^[^\s(),]+$)"
        return re.sub(pattern, lambda found: f"{self._before}{found[0]}", told)

    def request(self, told: Record) -> Record:
        """Return the record of a request."""
        found = {**told, "id": self.number(told.get("id")), "command": self.number(told.get("command"))}
        for word in _TIMES:
            if word in found:
                found[word] = self.time(found[word])
        pdus = {str(each["pdu"]) for each in told.get("outlets") or ()}
        found["target"] = self.target(str(told.get("target")), pdus)
        for word in ("outlets", "switched", "owed", "feeds"):
            if word in found:
                found[word] = [{**each, "pdu": self.name(each["pdu"])} for each in found[word]]
        return found


class Mirror:
    """All of it. Fields belong to the site's thread; others may look at them, for what is in them is replaced whole."""

    def __init__(self, translation: Translation) -> None:
        self.translation = translation
        self.pdus: dict[str, KnownPDU] = {}
        self.records: dict[str, Record] = {}  # of PDUs, as lists of them have it
        self.nodes: dict[str, Node] = {}
        self.groups: dict[str, tuple[str, ...]] = {}
        self.locks: dict[Outlet, str] = {}
        self.last: dict[str, Record] = {}  # the last request, by node
        self.ahead: dict[Outlet, tuple[str, State]] = {}  # what answers have told before events did, of which request

    def begin(self, told: Record, now: float, before: Mirror) -> None:
        """Take in a PDU that there is, at a time of our clock. ``before``: what was drawn of it until now is kept.

        As all that is to be taken in, it raises many errors if it makes no sense.
        """
        name = self.translation.name(told["name"])
        known = self.pdus[name] = KnownPDU({})
        if (former := before.pdus.get(name)) is not None:
            known.trails, known.identity, known.inlets = (former.trails, former.identity, former.inlets)
        self.pdu(told, now)

    def node(self, told: Record, now: float) -> None:
        """Take in a node, with what is told of its outlets, whose PDUs are known."""
        node = self.translation.name(told["name"])
        feeds = tuple(self.translation.outlet(feed) for feed in told["feeds"])
        fault = "" if feeds else printable(str(told.get("reason") or "disabled"))
        self.nodes[node] = Node(node, feeds, fault=fault)
        for feed in told["feeds"]:
            self.outlet(feed, now)
        if told.get("last_request"):
            self.last[node] = self.translation.request(told["last_request"])

    def group(self, told: str, members: Iterable[str]) -> None:
        """Take in a group."""
        self.groups[self.translation.name(told)] = tuple(map(self.translation.name, members))

    def pdu(self, told: Record, now: float) -> None:
        """Take in what is told of a PDU as a whole, perhaps with its outlets and inlets, if there is such a one."""
        name = self.translation.name(told["name"])
        known = self.pdus.get(name)
        if known is None:
            return
        reason = told.get("reason") and printable(str(told["reason"]))
        record: Record = {word: label(told.get(word)) or "" for word in ("driver", "state")}
        record |= {"reason": reason or None, "readable": bool(told.get("readable"))}
        self.records[name] = {"name": name, **record, "requests": int(told.get("requests") or 0)}
        known.reachable = told.get("reachable") if isinstance(told.get("reachable"), bool) else None
        known.trouble = reason or "" if known.reachable is False else ""
        known.watts = quantity(told.get("watts"))
        known.read = _since(told.get("age"), now)
        if known.watts is not None:
            known.trails.setdefault("", Trail()).put(now, known.watts)
        if told.get("identity"):
            who = told["identity"]
            words = (label(who.get(word)) or "" for word in ("maker", "model", "serial", "firmware", "driver"))
            known.identity = Identity(*words)
        if "inlets" in told:
            known.inlets = tuple(
                InletReading(label(each["name"]) or "", **_drawn(each), kind=inlet_kind(each.get("kind")))
                for each in told["inlets"][:MOST_INLETS]
            )
        for each in told["outlets"] if isinstance(told.get("outlets"), list) else ():
            self.outlet(each, now)

    def outlet(self, told: Record, now: float) -> tuple[Outlet, Known] | None:
        """Take in what is told of an outlet; return it, and what is known of it, if its PDU is."""
        outlet = self.translation.outlet(told)
        pdu = self.pdus.get(outlet.pdu)
        if pdu is None or (outlet.port not in pdu.outlets and len(pdu.outlets) >= MOST_OUTLETS):
            return None
        state = told.get("state")
        known = Known(
            State(state) if state in tuple(State) else State.UNKNOWN,
            label(told.get("source")) or "none",
            _since(told.get("age"), now),
            label(told.get("name")),
            **_drawn(told),
            read=_since(told.get("readings_age"), now),
        )
        if outlet in self.ahead and known.state is not self.ahead[outlet][1]:
            former = pdu.outlets[outlet.port]
            known = known._replace(state=former.state, source=former.source, time=former.time)
        pdu.outlets[outlet.port] = known
        pdu.read = max(filter(None, (pdu.read, known.read)), default=None)
        if known.watts is not None and known.read is not None:
            pdu.trails.setdefault(outlet.port, Trail()).put(known.read, known.watts)
        if told.get("locked"):
            self.locks[outlet] = printable(str(told.get("reason") or f"{outlet} is locked by the configuration"))
        else:
            self.locks.pop(outlet, None)
        return outlet, known

    def switched(self, number: str, outlet: Outlet, state: State, now: float) -> Known | None:
        """Take in what a request has done, by its answer; return what is known then, None if that is nothing new."""
        pdu = self.pdus.get(outlet.pdu)
        if pdu is None or outlet.port not in pdu.outlets:
            return None
        self.ahead[outlet] = number, state
        before = pdu.outlets[outlet.port]
        if before.state is state:
            return None
        known = pdu.outlets[outlet.port] = before._replace(state=state, source="commanded", time=now)
        return known

    def caught_up(self, number: str) -> None:
        """It is heard that a request has ended: what is heard from then on is what there is."""
        for outlet in [outlet for outlet, (by, _) in self.ahead.items() if by == number]:
            del self.ahead[outlet]

    def asked(self, event: Record, now: float) -> None:
        """Take in what happened to a request."""
        for node in event["names"]:
            last = self.last.get(node)
            if event["kind"] == "accepted" and node in self.nodes:
                places = [outlet._asdict() for outlet in event["outlets"]]
                last = {
                    "id": event["request"],
                    **{word: event[word] for word in ("action", "target", "client", "command")},
                }
                last |= {"outlets": places, "delay": None, "accepted": now, "ended": None, "switched": []}
                self.last[node] = last = {**last, "soft": None, "hard": None, "due": None}
            if last is not None and last["id"] == event["request"] and event["kind"] not in ("tried", "waiting"):
                last["state"], last["reason"] = event["state"], event["error"] and str(event["error"])
                last["owed"] = [outlet._asdict() for outlet in event["owed"]]
                last["ended"] = now if event["kind"] == "ended" else None

    def names(self, trouble: str) -> Names:
        """Return what a configuration has to know."""
        site = self.translation.site
        return Names(
            {name: _pdu(name, record, site, known) for name, record, known in self._described()},
            dict(self.nodes),
            dict(self.groups),
            lambda outlet: self.locks.get(outlet, ""),
            trouble,
        )

    def _described(self) -> list[tuple[str, Record, KnownPDU]]:
        return [(name, self.records[name], known) for name, known in self.pdus.items()]

    def without_states(self, why: str) -> dict[str, KnownPDU]:
        """Return what is left to show of the PDUs when the site cannot be asked: that there are such outlets."""
        found = {}
        for name, known in self.pdus.items():
            shown = found[name] = KnownPDU(
                {port: NOTHING._replace(name=each.name) for port, each in [*known.outlets.items()]}
            )
            shown.reachable, shown.trouble = False, why
            shown.identity, shown.trails = known.identity, known.trails
        return found


def _pdu(name: str, record: Record, site: str, known: KnownPDU) -> SitePDU:
    traits = Traits(reads_state=record["readable"])
    settings = {"driver": record["driver"]}
    return SitePDU(name, settings, PDUOptions({}), None, traits=traits, site=site, ports=lambda: known.outlets)


def _since(age: object, now: float) -> float | None:
    """Return when something was that is some seconds ago."""
    seconds = quantity(age)
    return None if seconds is None else now - seconds


def _drawn(told: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: quantity(told.get(name)) for name in ("watts", "volts", "amps", "watt_hours")}
