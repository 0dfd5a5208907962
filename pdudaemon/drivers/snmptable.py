# SPDX-License-Identifier: MIT
"""Reads all that an SNMP agent tells of a device's outlets and inlets, by a row: whole columns in few exchanges.

Columns are read with one another, so that 24 outlets with their names and watts are one question and one answer where
the agent has room for it. What is no number, or stands for "not measured", is None and not 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.snmprow import Inlet, OutletRow, Scaled
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmp import Agent, Index

Said = int | str | None
Columns = dict[str, dict[Index, int | str]]
"""What was read: the objects of each column, by what follows its OID."""


def read_outlets(row: OutletRow, agent: Agent, deadline: Deadline) -> list[OutletReading]:
    """Return what the device tells of its outlets, in order. Raises: as `Agent.columns`."""
    if row.separator:
        return _from_lists(row, agent, deadline)
    tells = [row.tells] if row.readable() else []
    scaled = dict(row.meter.quantities())
    parts = [oid for each in scaled.values() for oid in (each.oid, each.power, each.digits)]
    table = _Table(row, agent, deadline, [*tells, *row.only[:1], *row.names, *parts])
    states = table.by_port(row.tells) if tells else {}
    absent = {port for port, value in states.items() if row.is_absent(str(value).strip())}
    ports = states or {port: "" for template in (*row.names, *parts) for port in table.by_port(template)}
    if row.only:
        says = table.by_port(row.only[0])
        absent |= {port for port in ports if not row.is_outlet(says.get(port))}
    found = []
    for port in sorted(ports.keys() - absent, key=_order):
        read = {name: table.measured(each, port) for name, each in scaled.items()}
        names = (_name(table.by_port(template).get(port)) for template in row.names)
        state = row.meant(str(states[port]).strip()) or State.UNKNOWN if port in states else None
        found.append(OutletReading(port, next(filter(None, names), None), state, **read))
    return found


def read_inlets(row: OutletRow, agent: Agent, deadline: Deadline) -> list[InletReading]:
    """Return what the device tells of what comes in. Raises: as `Agent.columns`."""
    scaled = [each for inlet in row.inlets for _, each in inlet.quantities()]
    table = _Table(row, agent, deadline, [oid for each in scaled for oid in (each.oid, each.power, each.digits)])
    return [reading for inlet in row.inlets for reading in _inlet(inlet, table)]


def _inlet(inlet: Inlet, table: _Table) -> Iterable[InletReading]:
    scaled = dict(inlet.quantities())
    places = sorted({place for each in scaled.values() for place in table.places(each.oid)})
    for place in places:
        read = {name: table.measured_at(each, place) for name, each in scaled.items()}
        if any(value is not None for value in read.values()):
            told = " ".join(filter(None, [inlet.name or inlet.kind, ".".join(map(str, place))]))
            yield InletReading(told, kind=inlet.kind, **read)


def identify(row: OutletRow, agent: Agent, deadline: Deadline) -> Identity | None:
    """Return who the device says it is; of several linked units, the first. None: it does not say."""
    labels = row.labels
    table = _Table(row, agent, deadline, [labels.model, labels.serial, labels.firmware])
    model, serial, firmware = map(table.first, (labels.model, labels.serial, labels.firmware))
    return Identity(labels.maker, model, serial, firmware) if model or serial or firmware else None


class _Table:
    """The objects of some templates, read at once: those in columns, and single ones."""

    def __init__(self, row: OutletRow, agent: Agent, deadline: Deadline, templates: Collection[str]) -> None:
        self._row = row
        columns = dict.fromkeys(row.column(each) for each in templates if "{" in each)
        singles = dict.fromkeys(row.whole(each) for each in templates if each and "{" not in each)
        read = agent.columns([*columns], deadline, row.bulk) if columns else []
        self._columns: Columns = dict(zip(columns, read, strict=True))
        values = agent.values([*singles], deadline) if singles else []
        self._singles = dict(zip(singles, values, strict=True))
        self._by_port: dict[str, dict[str, int | str]] = {}

    def by_port(self, template: str) -> dict[str, int | str]:
        """Return the values of a template by port."""
        if template not in self._by_port:
            numbers = ((self._row.port_of(place), value) for place, value in self._found(template))
            self._by_port[template] = {port: value for port, value in numbers if port is not None}
        return self._by_port[template]

    def places(self, template: str) -> dict[tuple[int, ...], int | str]:
        """Return the values of a template by the numbers that stand in its braces, in order; one by none at all."""
        if "{" not in template:
            value = self._singles.get(self._row.whole(template))
            return {} if value is None else {(): value}
        return {tuple(place.values()): value for place, value in self._found(template)}

    def first(self, template: str) -> str:
        """Return the text of a template, of several that of the first place."""
        found = self.places(template) if template else {}
        return next(filter(None, (_name(found[place]) for place in sorted(found))), None) or ""

    def measured(self, scaled: Scaled, port: str) -> float | None:
        """Return the quantity of a port."""
        return self._scaled(scaled, *(self.by_port(each).get(port) if each else None for each in _oids(scaled)))

    def measured_at(self, scaled: Scaled, place: tuple[int, ...]) -> float | None:
        """Return the quantity at a place."""
        return self._scaled(scaled, *(self.places(each).get(place) if each else None for each in _oids(scaled)))

    def _found(self, template: str) -> Iterable[tuple[dict[str, int], int | str]]:
        for rest, value in self._columns.get(self._row.column(template), {}).items() if template else ():
            place = self._row.found(template, rest)
            if place is not None:
                yield place, value

    def _scaled(self, scaled: Scaled, value: Said, power: Said, digits: Said) -> float | None:
        exponent, after_point = quantity(power), quantity(digits)
        factor = scaled.factor if after_point is None else 10.0**-after_point
        return _quantity(value, self._row.nothing, factor * 10.0 ** (exponent or 0))


def _oids(scaled: Scaled) -> tuple[str, str, str]:
    return scaled.oid, scaled.power, scaled.digits


def _quantity(value: Said, nothing: Collection[int], factor: float) -> float | None:
    """Return what is measured, None for what is not."""
    number = quantity(value)
    return None if number is None or number < 0 or number in nothing else round(number * factor, 9)


def _name(value: Said) -> str | None:
    """Return a name; None for blanks, NUL bytes and what stands for none."""
    octets = str(value if value is not None else "").encode("latin-1", "replace")
    name = label(octets.decode("utf-8", "replace").replace("\0", " "))
    return None if name in ("N/A", "NA") else name


def _order(port: str) -> tuple[int, ...]:
    return tuple(map(int, port.split(".")))


def _from_lists(row: OutletRow, agent: Agent, deadline: Deadline) -> list[OutletReading]:
    """Read a device that tells of all outlets in one string."""
    port = str(row.first)
    scaled = dict(row.meter.quantities())
    lists = agent.values([row.filled(each, port) for each in (row.tells, *(q.oid for q in scaled.values()))], deadline)
    states, *measured = ([] if each is None else str(each).split(row.separator) for each in lists)
    named = [row.filled(row.names[0], str(row.first + n)) for n in range(len(states))] if row.names else []
    names = [_name(str(each or "").split(row.separator)[0]) for each in agent.values(named, deadline)]
    found = []
    for n, state in enumerate(states):
        if row.is_absent(state.strip()):
            continue
        read = {
            name: _quantity(values[n] if n < len(values) else None, row.nothing, each.factor)
            for (name, each), values in zip(scaled.items(), measured, strict=True)
        }
        name = names[n] if names else None
        found.append(OutletReading(str(row.first + n), name, row.meant(state.strip()) or State.UNKNOWN, **read))
    return found
