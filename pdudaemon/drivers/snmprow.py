# SPDX-License-Identifier: MIT
"""`OutletRow`: where in an agent the outlets of one model are, how they are switched, and what it tells of them.

A row is data: a family of devices is rows and no code. This module has none; `pdudaemon.drivers.snmpoutlet` goes by
them, `pdudaemon.drivers.snmptable` reads whole tables by them, `pdudaemon.drivers.snmpfinder` finds the one that fits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.transports.snmp import OID, Index, Syntax

ENTERPRISES = "1.3.6.1.4.1"

_INDEX = re.compile(r"[0-9]{1,10}(\.[0-9]{1,10})*")
_PART = re.compile(r"\{([a-z]+)([+-][0-9]+)?\}")

Value = int | str


class Put(NamedTuple):
    """One object (a template, see `OutletRow`) that is SET to a value."""

    oid: str
    value: Value


class Scaled(NamedTuple):
    """An object (a template) whose value times ``factor`` is watts, volts, amps or watt-hours.

    ``power`` is another object, the power of ten that it is in; ``digits`` one that says how many are after the point,
    where the device has it: then that counts, and ``factor`` does not.
    """

    oid: str
    factor: float = 1.0
    power: str = ""
    digits: str = ""


@dataclass(frozen=True)
class Meter:
    """What is measured at one place: templates, those in other units than ours `Scaled`; empty: it is not."""

    watts: str | Scaled = ""
    volts: str | Scaled = ""
    amps: str | Scaled = ""
    watt_hours: str | Scaled = ""

    def quantities(self) -> Iterator[tuple[str, Scaled]]:
        """Yield the name of each quantity that there is, and where it is."""
        for each in fields(Meter):
            value = getattr(self, each.name)
            if value:
                yield each.name, value if isinstance(value, Scaled) else Scaled(value)


@dataclass(frozen=True)
class Inlet(Meter):
    """A meter of what comes in, or a column of them: any part of the index may stand in braces, and is walked.

    ``name`` is what each is called, before its index; left out, its kind.
    """

    kind: Literal["pdu", "inlet", "phase", "bank"] = "pdu"
    name: str = ""


@dataclass(frozen=True)
class Labels:
    """Where a device says who it is (templates); ``maker`` is who made it, in words."""

    maker: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True)
class OutletRow:
    """How the outlets of one model are switched and read.

    OIDs are templates: ``{n}`` is the outlet, ``{n+1}`` the one after; other names are ``parts`` of the index, with
    what each is if the port is a bare outlet number. With ``parts={"unit": 1}`` port 5 is the same as 1.5; of a part
    that is None nobody knows it, and the port must be the whole index. With a ``base``, OIDs that begin with a dot are
    below it.

    ``on`` and ``off`` are the values that ``control`` is SET to, or, where there is more to it, what is SET in turn:
    ``on=(Put("1.3.6.1.4.1.534.6.6.7.6.6.1.4.{strap}.{n}", 0),)``.

    ``status`` is what is read; left out, ``control`` itself; empty, nothing can be. ``states`` says what its values
    mean (left out: those of ``on`` and ``off``), any other is unknown. Those in ``pending`` are read again. Where it is
    one of ``absent`` there is no such outlet; nor where the first of ``only``, a template, has a value that does not
    match the second, a pattern.

    ``lags``: the state follows a SET by and by, or the answer to that is not to be trusted: it is read back.

    With a ``separator`` the object holds the values of all outlets in one string, in which ours is changed.

    ``name``, ``meter``, ``inlets`` and ``labels`` say where the rest is that the device tells: of several names the
    first that is not empty counts. ``nothing`` are values that stand for "not measured" (so does all below 0).

    ``systems`` are the sysObjectIDs by which a device is found to be of this model, down to the longest prefix that is
    its own (with a ``=``: exactly that), each with a pattern that its sysDescr must match; ``probe`` an object that it
    must have. ``{m}`` in ``base`` is the last number of its sysObjectID.

    ``variants``: the device is of one of these rows, and which is found out at first use.

    ``about`` says in words what it is for. ``gap``: from the outlet after this one on, an object of another kind stands
    between, so that ``{n+1}`` is one more. ``bulk``: whether the agent may be asked by GETBULK.

    Raises: ValueError, in words, for what cannot work.
    """

    control: str = ""
    on: Value | tuple[Put, ...] = 1
    off: Value | tuple[Put, ...] = 0
    status: str | None = None
    states: Mapping[Value, State] = field(default_factory=dict)
    pending: Collection[Value] = ()
    parts: Mapping[str, int | None] = field(default_factory=dict)
    first: int = 1
    outlets: int = 0  # 0: as many as the device has
    syntax: Syntax = Syntax.INTEGER
    separator: str = ""
    version: str = "2c"
    community: str = "private"  # empty: there is no default
    lags: bool = False
    base: str = ""
    absent: Collection[Value] = ()
    only: tuple[str, str] | tuple[()] = ()
    name: str | tuple[str, ...] = ""
    meter: Meter = Meter()
    inlets: tuple[Inlet, ...] = ()
    labels: Labels = Labels()
    nothing: Collection[int] = ()
    systems: Mapping[str, str] = field(default_factory=dict)
    probe: str = ""
    variants: tuple[OutletRow, ...] = ()
    about: str = ""
    gap: int = 0
    bulk: bool = True

    def __post_init__(self) -> None:
        parts = ", ".join(f"{{{name}}}" for name in ("n", *self.parts))
        for template in self._outlet_templates():
            whole = self.whole(template).replace("{m}", "1")
            left = _PART.sub(lambda part: "1" if part[1] in ("n", *self.parts) else part[0], whole)
            if not OID.fullmatch(left):
                raise ValueError(f"{template!r} is not a numeric OID with the parts {parts}")
            if not self.separator and all(part[1] != "n" for part in _PART.finditer(template)):
                raise ValueError(f"{template!r} has no {{n}} for the outlet: every port would be this one object")
        for template in self._other_templates():
            if not OID.fullmatch(_PART.sub("1", self.whole(template))):
                raise ValueError(f"{template!r} is not a numeric OID")
        for pattern in (*self.systems.values(), *self.only[1:]):
            try:
                re.compile(pattern)
            except (re.error, TypeError):
                raise ValueError(f"{pattern!r} is not a pattern, of a sysDescr or of what `only` names") from None
        for name, value in (("on", self.on), ("off", self.off), *((put.oid, put.value) for put in self._puts())):
            if not isinstance(value, tuple) and not self._fits(value):
                raise ValueError(f"{name}: {value!r} is not a value of the syntax {self.syntax}")
        if self.on == self.off:
            raise ValueError(f"on and off are both {self.on!r}")
        for name, values in (("pending", self.pending), ("absent", self.absent)):
            if isinstance(values, str) or not isinstance(values, Collection):
                raise ValueError(f"{name} is {values!r}; it must be a tuple of values, such as ({values!r},)")
        if not all(isinstance(state, State) for state in self.states.values()):
            raise ValueError(f"states is {self.states!r}; it must give a State for each value")
        if self.first < 0 or self.outlets < 0:
            raise ValueError(f"there cannot be {self.outlets} outlets from {self.first} on")
        if self.version not in ("1", "2c", "3"):
            raise ValueError(f"version: {self.version!r} is none of 1, 2c, 3")

    def _outlet_templates(self) -> Iterator[str]:
        """Yield all templates that are of one outlet."""
        scaled = [each for _, each in self.meter.quantities()]
        of_meter = [oid for each in scaled for oid in (each.oid, each.power, each.digits)]
        puts = [put.oid for put in self._puts()]
        yield from filter(None, (self.control, self.status or "", *puts, *self.names, *self.only[:1], *of_meter))

    def _other_templates(self) -> Iterator[str]:
        scaled = [each for inlet in self.inlets for _, each in inlet.quantities()]
        of_inlets = [oid for each in scaled for oid in (each.oid, each.power, each.digits)]
        labels = self.labels
        yield from filter(None, (*of_inlets, labels.model, labels.serial, labels.firmware, self.probe))

    def _puts(self) -> tuple[Put, ...]:
        return tuple(put for wanted in (self.on, self.off) if isinstance(wanted, tuple) for put in wanted)

    def _fits(self, value: object) -> bool:
        if self.syntax is Syntax.OCTETS:
            return isinstance(value, str) or (bool(self.separator) and isinstance(value, int))
        least, most = (0, 2**32 - 1) if self.syntax is Syntax.UNSIGNED else (-(2**31), 2**31 - 1)
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    @property
    def names(self) -> tuple[str, ...]:
        """The templates of names, the best first."""
        return (self.name,) if isinstance(self.name, str) else self.name

    def whole(self, template: str) -> str:
        """Return a template with the base that it is below."""
        return self.base + template if self.base and template.startswith(".") else template

    def canonical(self, port: str) -> str:
        """Return the one spelling of a port. Raises: ValueError, quoting it."""
        numbers = index(port)
        usual = [*self.parts.values()]
        if len(numbers) == len(self.parts) + 1 and [*numbers[:-1]] == usual:
            numbers = numbers[-1:]
        bare = len(numbers) == 1 and None not in usual
        if not self.variants and not bare and len(numbers) != len(self.parts) + 1:
            whole = ".".join([*self.parts, "outlet"])
            also = "" if None in usual else "the number of an outlet" + (" or " if self.parts else "")
            raise ValueError(f"{port!r} is not a port: it must be {also}{whole if self.parts else ''}")
        if numbers[-1] < self.first or (self.outlets and numbers[-1] >= self.first + self.outlets):
            last = str(self.first + self.outlets - 1) if self.outlets else "..."
            raise ValueError(f"{port!r} is not a port: outlets are {self.first} to {last}")
        return ".".join(map(str, numbers))

    def puts(self, command: str, port: str) -> list[Put]:
        """Return what is SET, in turn, to switch a port ``on`` or ``off``."""
        wanted = self.on if command == "on" else self.off
        puts = wanted if isinstance(wanted, tuple) else (Put(self.control, wanted),)
        return [Put(self.filled(put.oid, port), put.value) for put in puts]

    def readable(self) -> bool:
        """Whether the state can be read at all."""
        return bool(self.variants) or (self.status != "" and bool(self.status or self.control))

    @property
    def tells(self) -> str:
        """The template of what tells the state."""
        return self.control if self.status is None else self.status

    def meant(self, value: str) -> State | None:
        """Return the state that a value read stands for; None: it is pending."""
        if value in map(str, self.pending):
            return None
        plain = {v: s for v, s in ((self.on, State.ON), (self.off, State.OFF)) if not isinstance(v, tuple)}
        return {str(v): s for v, s in (self.states or plain).items()}.get(value, State.UNKNOWN)

    def is_absent(self, value: str) -> bool:
        """Whether a value that was read in place of a state says that there is no such outlet."""
        return value in map(str, self.absent)

    def is_outlet(self, value: object) -> bool:
        """Whether the value of the object in ``only`` is that of an outlet."""
        return not self.only or re.fullmatch(self.only[1], str(value).strip()) is not None

    def filled(self, template: str, port: str) -> str:
        """Return the OID that a template stands for at a port. Raises: PermanentError if the port does not fit it."""
        numbers = index(port)
        values = {**self.parts, "n": numbers[-1]}
        if len(numbers) > 1:
            values.update(zip(self.parts, numbers[:-1], strict=False))

        def number(part: re.Match[str]) -> str:
            value = values[part[1]]
            if value is None or len(numbers) not in (1, len(values)):
                raise PermanentError(f"there is no outlet {port}: it must be {'.'.join([*self.parts, 'outlet'])}")
            beyond = bool(self.gap and part[2] and part[1] == "n" and value > self.gap)
            return str(value + int(part[2] or 0) + beyond)

        return _PART.sub(number, self.whole(template))

    def place(self, port: str, fields: list[str]) -> int:
        """Return where in a string of all outlets a port stands. Raises: PermanentError if it does not."""
        place = index(port)[-1] - self.first
        if place >= len(fields):
            raise PermanentError(f"there is no outlet {port}: the device has {len(fields)}")
        return place

    def port_of(self, found: Mapping[str, int]) -> str | None:
        """Return the port whose index has these numbers, None if a port cannot be that."""
        if any(number < 0 for number in found.values()) or "n" not in found:
            return None
        numbers = [found.get(name, usual) for name, usual in self.parts.items()]
        try:
            return self.canonical(".".join(map(str, [*numbers, found["n"]])))
        except ValueError:
            return None

    def column(self, template: str) -> str:
        """Return the OID below which a template's objects are, up to the first part in braces."""
        return self.whole(template).partition("{")[0].rstrip(".")

    def found(self, template: str, rest: Index) -> dict[str, int] | None:
        """Return what each part in braces is at an object, given by what follows `column`; None: it is another."""
        whole = self.whole(template)
        arcs = whole[len(self.column(template)) :].strip(".").split(".")
        if len(arcs) != len(rest):
            return None
        numbers: dict[str, int] = {}
        for arc, number in zip(arcs, rest, strict=True):
            part = _PART.fullmatch(arc)
            if part is None:
                if arc != str(number):
                    return None
                continue
            value = number - int(part[2] or 0)
            if self.gap and part[2] and part[1] == "n" and value > self.gap:
                value -= 1
                if value == self.gap:
                    return None  # what stands between
            numbers[part[1]] = value
        return numbers


def index(port: str) -> tuple[int, ...]:
    """Return the numbers of a port such as ``5`` or ``1.2.5``. Raises: ValueError, quoting it."""
    if not _INDEX.fullmatch(port) or any(int(number) > 0xFFFFFFFF for number in port.split(".")):
        raise ValueError(f"{port!r} is not a port: it must be a number, or numbers with dots between them")
    return tuple(int(number) for number in port.split("."))
