# SPDX-License-Identifier: MIT
"""What PDUs that are switched by SNMP share: the row that says where and how, and the driver that goes by it.

A family of such devices is a subclass of `SNMPDriver` with nothing but rows, see `OutletRow`. This module has none.

Source: RFC 1157, 3416 and 3414; the shapes of the devices' MIBs.
Tested: against net-snmp's agent, snmpsim and an agent of our own, by `pdudaemon.drivers.snmp`.
Quirks: an agent does not answer a wrong community, so that looks like a dead device.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, choice, integer, seconds, text
from pdudaemon.transports.snmp import (
    AUTH_PROTOCOLS,
    LONGEST_WAIT,
    OID,
    PRIV_PROTOCOLS,
    Agent,
    Community,
    Syntax,
    User,
)

_INDEX = re.compile(r"[0-9]{1,10}(\.[0-9]{1,10})*")
_PART = re.compile(r"\{([a-z]+)([+-][0-9]+)?\}")
_POLL = 0.5
_LONGEST_USER, _SHORTEST_KEY = 32, 8  # of RFC 3414, in bytes

Value = int | str


class Put(NamedTuple):
    """One object (a template, see `OutletRow`) that is SET to a value."""

    oid: str
    value: Value


@dataclass(frozen=True)
class OutletRow:
    """How the outlets of one model are switched and read.

    OIDs are templates: ``{n}`` is the outlet, ``{n+1}`` the one after; other names are ``parts`` of the index, with
    what each is if the port is a bare outlet number. With ``parts={"unit": 1}`` port 5 is the same as 1.5.

    ``on`` and ``off`` are the values that ``control`` is SET to, or, where there is more to it, what is SET in turn:
    ``on=(Put("1.3.6.1.4.1.534.6.6.7.6.6.1.4.{strap}.{n}", 0),)``.

    ``status`` is what is read; left out, ``control`` itself; empty, nothing can be. ``states`` says what its values
    mean (left out: those of ``on`` and ``off``), any other is unknown. Those in ``pending`` are read again.

    ``lags``: the state follows a SET by and by, or the answer to that is not to be trusted: it is read back.

    With a ``separator`` the object holds the values of all outlets in one string, in which ours is changed.

    Raises: ValueError, in words, for what cannot work.
    """

    control: str = ""
    on: Value | tuple[Put, ...] = 1
    off: Value | tuple[Put, ...] = 0
    status: str | None = None
    states: Mapping[Value, State] = field(default_factory=dict)
    pending: Collection[Value] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    first: int = 1
    outlets: int = 0  # 0: as many as the device has
    syntax: Syntax = Syntax.INTEGER
    separator: str = ""
    version: str = "2c"
    community: str = "private"  # empty: there is no default
    lags: bool = False

    def __post_init__(self) -> None:
        parts = ", ".join(f"{{{name}}}" for name in ("n", *self.parts))
        for template in (self.control, self.status or "", *(put.oid for put in self._puts())):
            left = _PART.sub(lambda part: "1" if part[1] in ("n", *self.parts) else part[0], template)
            if template and not OID.fullmatch(left):
                raise ValueError(f"{template!r} is not a numeric OID with the parts {parts}")
            if template and not self.separator and all(part[1] != "n" for part in _PART.finditer(template)):
                raise ValueError(f"{template!r} has no {{n}} for the outlet: every port would be this one object")
        for name, value in (("on", self.on), ("off", self.off), *((put.oid, put.value) for put in self._puts())):
            if not isinstance(value, tuple) and not self._fits(value):
                raise ValueError(f"{name}: {value!r} is not a value of the syntax {self.syntax}")
        if self.on == self.off:
            raise ValueError(f"on and off are both {self.on!r}")
        if isinstance(self.pending, str) or not isinstance(self.pending, Collection):
            raise ValueError(f"pending is {self.pending!r}; it must be a tuple of values, such as ({self.pending!r},)")
        if not all(isinstance(state, State) for state in self.states.values()):
            raise ValueError(f"states is {self.states!r}; it must give a State for each value")
        if self.first < 0 or self.outlets < 0:
            raise ValueError(f"there cannot be {self.outlets} outlets from {self.first} on")
        if self.version not in ("1", "2c", "3"):
            raise ValueError(f"version: {self.version!r} is none of 1, 2c, 3")

    def _puts(self) -> tuple[Put, ...]:
        return tuple(put for wanted in (self.on, self.off) if isinstance(wanted, tuple) for put in wanted)

    def _fits(self, value: object) -> bool:
        if self.syntax is Syntax.OCTETS:
            return isinstance(value, str) or (bool(self.separator) and isinstance(value, int))
        least, most = (0, 2**32 - 1) if self.syntax is Syntax.UNSIGNED else (-(2**31), 2**31 - 1)
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    def canonical(self, port: str) -> str:
        """Return the one spelling of a port. Raises: ValueError, quoting it."""
        numbers = index(port)
        if len(numbers) == len(self.parts) + 1 and [*numbers[:-1]] == [*self.parts.values()]:
            numbers = numbers[-1:]
        if len(numbers) not in (1, len(self.parts) + 1):
            whole = f" or {'.'.join([*self.parts, 'outlet'])}" if self.parts else ""
            raise ValueError(f"{port!r} is not a port: it must be the number of an outlet{whole}")
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
        return self.status != "" and bool(self.status or self.control)

    def meant(self, value: str) -> State | None:
        """Return the state that a value read stands for; None: it is pending."""
        if value in map(str, self.pending):
            return None
        plain = {v: s for v, s in ((self.on, State.ON), (self.off, State.OFF)) if not isinstance(v, tuple)}
        return {str(v): s for v, s in (self.states or plain).items()}.get(value, State.UNKNOWN)

    def filled(self, template: str, port: str) -> str:
        """Return the OID that a template stands for at a port."""
        numbers = index(port)
        values = {**self.parts, "n": numbers[-1]}
        if len(numbers) > 1:
            values.update(zip(self.parts, numbers[:-1], strict=False))
        return _PART.sub(lambda part: str(values[part[1]] + int(part[2] or 0)), template)

    def place(self, port: str, fields: list[str]) -> int:
        """Return where in a string of all outlets a port stands. Raises: PermanentError if it does not."""
        place = index(port)[-1] - self.first
        if place >= len(fields):
            raise PermanentError(f"there is no outlet {port}: the device has {len(fields)}")
        return place


def index(port: str) -> tuple[int, ...]:
    """Return the numbers of a port such as ``5`` or ``1.2.5``. Raises: ValueError, quoting it."""
    if not _INDEX.fullmatch(port) or any(int(number) > 0xFFFFFFFF for number in port.split(".")):
        raise ValueError(f"{port!r} is not a port: it must be a number, or numbers with dots between them")
    return tuple(int(number) for number in port.split("."))


def _version(value: object) -> str:
    if str(value).lower() not in ("1", "2c", "3"):
        raise ValueError(f"{value!r} is none of 1, 2c, 3")
    return str(value).lower()


def _protocol(names: Collection[str]) -> Kind[str]:
    """One of pysnmp's names; of the two that each protocol has, the new one is shown."""
    return Kind(" ".join(name for name in names if name.startswith("USM_")), choice(*names).convert)


class SNMPDriver(PDUDriver):
    """Switches by SET, and takes nothing for done that the agent has not confirmed."""

    models: ClassVar[Mapping[str, OutletRow]] = {}
    row: OutletRow

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for word, row in cls.models.items() if isinstance(cls.models, Mapping) else ():
            if not isinstance(row, OutletRow):
                raise TypeError(f"{cls.__name__}: the row of {word!r} is {row!r}, which is not an OutletRow")
            if cls.row_of is SNMPDriver.row_of and not (row.control or (isinstance(row.on, tuple) and row.on)):
                raise TypeError(f"{cls.__name__}: the row of {word!r} does not say what is SET: control is missing")
        super().__init_subclass__(**kwargs)

    version = Setting(Kind("1 2c 3", _version), "", "version of SNMP, if not the one usual for the driver")
    community = Setting(text, "", "community that may write (v1, v2c)", secret=True)
    username = Setting(text, "", "user of SNMPv3")
    authpassphrase = Setting(
        text, "", "the user's authentication passphrase; empty: messages are not signed", secret=True
    )
    privpassphrase = Setting(text, "", "the user's privacy passphrase; empty: messages are not encrypted", secret=True)
    auth_protocol = Setting(_protocol(AUTH_PROTOCOLS), "", "how messages are signed, if not by MD5")
    priv_protocol = Setting(_protocol(PRIV_PROTOCOLS), "", "how messages are encrypted, if not by DES")
    snmpport = Setting(integer(1, 65535), 161, "UDP port of the agent")
    snmptimeout = Setting(
        seconds(0.1, LONGEST_WAIT), 6.0, "wait for an answer, within which a request is sent 4 times", unit="s"
    )

    @hook
    def canonical_port(self, port: str) -> str:
        return self.row.canonical(super().canonical_port(port))

    @hook
    def reads_state(self) -> bool:
        return self.row.readable()

    @hook
    def faults(self) -> dict[str, str]:
        login = self.login()
        if isinstance(login, Community):
            return {} if login.name else {"community": f"is missing: {type(self).community.help}"}
        if not login.name:
            return {"username": f"is missing: {type(self).username.help}"}
        if login.encrypted and not login.signed:
            return {"privpassphrase": "needs an authpassphrase: what is encrypted must be signed"}
        if len(login.name.encode()) > _LONGEST_USER:
            return {"username": f"is too long: SNMPv3 has no user of more than {_LONGEST_USER} bytes"}
        keys = {"authpassphrase": login.auth_key, "privpassphrase": login.priv_key}
        short = f"is too short: SNMPv3 has no passphrase of fewer than {_SHORTEST_KEY} characters"
        return {name: short for name, key in keys.items() if key and len(key.encode()) < _SHORTEST_KEY}

    def row_of(self, port: str) -> OutletRow:
        """Return the row that a port goes by."""
        return self.row

    def login(self) -> Community | User:
        """Return who we are to the agent."""
        version = self.version or self.row.version
        if version != "3":
            return Community(self.community or self.row.community, version)
        return User(self.username, self.authpassphrase, self.privpassphrase, self.auth_protocol, self.priv_protocol)

    def port_interaction(self, command: str, port_number: int | str) -> None:
        port = str(port_number)
        row, agent = self.row_of(port), self._agent()
        for oid, value in row.puts(command, port):
            if row.separator:
                fields = str(agent.get(oid, self.deadline)).split(row.separator)
                place = row.place(port, fields)
                if row.meant(fields[place].strip()) is State.UNKNOWN:
                    raise PermanentError(f"outlet {port} cannot be switched: the device has {fields[place]!r} for it")
                fields[place] = str(value)
                value = row.separator.join(fields)
            agent.set(oid, value, row.syntax, self.deadline)
        if row.lags:
            self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: int | str) -> State:
        port = str(port_number)
        row, agent = self.row_of(port), self._agent()
        if not row.readable():
            return super().port_status(port_number)
        oid = row.filled(row.status or row.control, port)
        while True:
            value = str(agent.get(oid, self.deadline))
            if row.separator:
                fields = value.split(row.separator)
                value = fields[row.place(port, fields)]
            state = row.meant(value.strip())
            if state is not None:
                return state
            if self.deadline.remaining() <= _POLL:
                return State.UNKNOWN
            self.deadline.pause(_POLL)

    def _agent(self) -> Agent:
        return Agent(self.hostname.strip("[]"), self.snmpport, self.login(), self.snmptimeout)
