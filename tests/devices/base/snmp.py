# SPDX-License-Identifier: MIT
"""An SNMP agent with the outlets of any device, by a table of facts: v1, v2c, and v3 with signed messages (RFC 3414).

A fake for some rows of a family is their tables: ``TABLES = {"brand-8": Table(...)}``, ``NAMES = [*TABLES]``,
``MOODS = snmp.MOODS`` and ``case = snmp.case_of(TABLES)``.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import hmac
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from tests.devices.base.device import Case, Device, Mood
from tests.support.snmpmessage import (
    AUTHORIZATION_ERROR,
    BAD_VALUE,
    BULK,
    COUNTER,
    END_OF_MIB,
    GENERAL_ERROR,
    GET,
    INTEGER,
    NO_ACCESS,
    NO_SUCH_INSTANCE,
    NO_SUCH_NAME,
    NOT_WRITABLE,
    NULL,
    OCTETS,
    PDU,
    REPORT,
    RESOURCE_UNAVAILABLE,
    SET,
    WRONG_TYPE,
    WRONG_VALUE,
    integer,
    message,
    number,
    parts,
    sequence,
    tlv,
)

MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY]  # a wrong community is as silence
PATIENT = 6.0

COMMUNITY = "pr1vate-c0mmunity"
USER, PASSPHRASE = "pdudaemon", "correct horse battery"
USM_STATS = "1.3.6.1.6.3.15.1.1"
UNSUPPORTED_LEVEL, NOT_IN_TIME_WINDOW, UNKNOWN_USER, UNKNOWN_ENGINE, WRONG_DIGEST = 1, 2, 3, 4, 5

Value = int | str


@dataclass(frozen=True)
class Table:
    """What a facts sheet says of a device's outlets. In an OID, ``{n}`` is the outlet's index.

    ``control`` is SET to ``on`` or ``off``; where each has an object of its own, they are (OID, value). ``status`` is
    what is read, if that is another object; ``states`` what its values mean, if they are not those that are SET;
    ``pending`` the value that is told until a new state is reached. ``ports`` is how many there are, or the index of
    each. ``kind`` is the type of the values.
    """

    control: str = ""
    on: Value | tuple[str, Value] = 1
    off: Value | tuple[str, Value] = 2
    status: str = ""
    states: Mapping[Value, str] = field(default_factory=dict)
    pending: Value | None = None
    ports: int | Mapping[str, str] = 8
    kind: int = INTEGER
    bad_ports: tuple[str, ...] = ()  # what is no port; left out: what no device has, and the numbers around the outlets

    @property
    def indices(self) -> dict[str, str]:
        """The index of each port."""
        return {str(n): str(n) for n in range(1, self.ports + 1)} if isinstance(self.ports, int) else dict(self.ports)

    def refused(self) -> list[str]:
        """Return what is no port."""
        around = ["0", str(self.ports + 1), "1.2"] if isinstance(self.ports, int) else []
        return [*(self.bad_ports or ("-1", "x", "1;2", *around))]

    @property
    def read(self) -> str:
        """The OID of what is read."""
        return self.status or self.control

    def written(self) -> dict[str, dict[bytes, tuple[str, str]]]:
        """Return what each value, encoded, does at each object that can be SET: the port, and its state."""
        found: dict[str, dict[bytes, tuple[str, str]]] = {}
        for state, given in (("on", self.on), ("off", self.off)):
            oid, value = given if isinstance(given, tuple) else (self.control, given)
            for port in self.indices:
                found.setdefault(self.at(oid, port), {})[self.encoded(value)[1]] = (port, state)
        return found

    def at(self, oid: str, port: str) -> str:
        """Return an OID at a port."""
        return oid.replace("{n}", self.indices[port])

    def scenery(self) -> Mapping[str, tuple[int, bytes]]:
        """Return what else there is to read: (tag, content) by OID."""
        return {}

    def told(self, state: str) -> tuple[int, bytes]:
        """Return the value that tells a state."""
        plain = {value: state for value, state in ((self.on, "on"), (self.off, "off")) if not isinstance(value, tuple)}
        return self.encoded(next(value for value, meant in (self.states or plain).items() if meant == state))

    def encoded(self, value: Value) -> tuple[int, bytes]:
        """Return a value as (tag, content)."""
        return self.kind, value.encode() if isinstance(value, str) else parts(integer(value))[0][1]


_PORTS: list[int] = []
"""Those of agents that have ended, here: a worker that is forked has none, as others have the same."""

os.register_at_fork(after_in_child=_PORTS.clear)

MASTERSWITCH = Table("1.3.6.1.4.1.318.1.1.4.4.2.1.3.{n}")  # APC, sPDUOutletCtl


class Agent(Device):
    """An agent on a free loopback UDP port, with the outlets of a table.

    ``late`` delays each answer by so many seconds, ``lose`` drops so many of the first questions. ``lag``: how many
    readings after a SET still tell the state of before, or that it is pending. ``again``: at the port that one had
    before it, if any is free: one that pysnmp knows, to which a new one takes longer than some answers.
    """

    engine = bytes.fromhex("80001f88") + b"\x04pdu-under-test"
    boots, time = 7, 1234

    def __init__(
        self,
        mood: Mood = Mood.WELL,
        table: Table = MASTERSWITCH,
        *,
        late: float = 0.0,
        lose: int = 0,
        lag: int = 0,
        passphrase: str = PASSPHRASE,
        host: str = "127.0.0.1",
        again: bool = False,
    ) -> None:
        self.mood = mood
        self.table = table
        self.outlets: dict[str, str] = dict.fromkeys(table.indices, "off")
        self._written = table.written()
        self._read = {table.at(table.read, port): port for port in table.indices if table.read}
        self._scenery = dict(table.scenery())
        self._order = sorted((_arcs(oid), oid) for oid in {*self._read, *self._scenery})
        self.most = 1000  # objects in one answer
        self._behind: dict[str, list[tuple[int, bytes]]] = {}  # port -> what is told before the new state
        self.received = bytearray()
        self.sessions = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.late = 0.05 if mood is Mood.SLOW else late
        self.lose = lose
        self.lag = lag
        self.versions: list[int] = []
        self.pdus: list[PDU] = []
        self.key = _localized(passphrase, self.engine)
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._ports = _PORTS if again else []
        while True:
            port = self._ports.pop() if self._ports else 0
            try:
                self._socket.bind((host, port))
                break
            except OSError:
                if not port:
                    raise
        self._threads = [threading.Thread(target=self._receive, daemon=True)]

    @property
    def port(self) -> int:
        """The UDP port it answers at."""
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._socket.sendto(b"", self._socket.getsockname())  # wakes the thread
        for thread in self._threads:
            thread.join(5)
        self._ports.append(self.port)
        self._socket.close()

    def respond(self, pdu: PDU, version: int) -> PDU:
        """Carry out a request."""
        if self.mood is Mood.BUSY:
            return pdu.answered(RESOURCE_UNAVAILABLE if version else GENERAL_ERROR)
        if self.mood is Mood.WRONG_PASSWORD:
            return pdu.answered(AUTHORIZATION_ERROR)
        if pdu.tag == SET:
            return self._set(pdu, version)
        if pdu.tag == BULK:
            return self._bulk(pdu)
        found = []
        for place, (name, _) in enumerate(pdu.objects, 1):
            oid = name if pdu.tag == GET else self._next(name)
            value = self._value(oid) if oid else None
            if value is None and not version:
                return pdu.refused(NO_SUCH_NAME, place)
            nothing = (NO_SUCH_INSTANCE if pdu.tag == GET else END_OF_MIB, b"")
            found.append((oid if value else name, value or nothing))
        return pdu.answered_with(found)

    def _bulk(self, pdu: PDU) -> PDU:
        """Carry out a GETBULK, whose numbers are: how many are asked once, and how often the others."""
        assert pdu.status == 0 and pdu.index is not None
        found, names = [], [name for name, _ in pdu.objects]
        for _ in range(pdu.index):
            for place, name in enumerate(names):
                oid = self._next(name)
                value = self._value(oid) if oid else None
                found.append((oid or name, value or (END_OF_MIB, b"")))
                names[place] = oid or name
        return pdu.answered_with(found[: self.most])

    def _next(self, name: str) -> str:
        """Return the OID after one; empty if there is none."""
        place = bisect.bisect_right(self._order, (_arcs(name), name))
        return self._order[place][1] if place < len(self._order) else ""

    def _set(self, pdu: PDU, version: int) -> PDU:
        values = self._written.get(pdu.name)
        if values is None:
            return pdu.answered(NOT_WRITABLE if version else NO_SUCH_NAME)
        if self.mood is Mood.REFUSING:
            return pdu.answered(NO_ACCESS if version else NO_SUCH_NAME)
        if pdu.value[0] != self.table.kind:
            return pdu.answered(WRONG_TYPE if version else BAD_VALUE)
        if pdu.value[1] not in values:
            return pdu.answered(WRONG_VALUE if version else BAD_VALUE)
        port, state = values[pdu.value[1]]
        before = (
            self.table.told(self.outlets[port])
            if self.table.pending is None
            else self.table.encoded(self.table.pending)
        )
        self._behind[port] = [before] * self.lag
        self.outlets[port] = state
        return pdu.answered()

    def _value(self, oid: str) -> tuple[int, bytes] | None:
        port = self._read.get(oid)
        if port is None:
            return self._scenery.get(oid)
        behind = self._behind.get(port)
        return behind.pop() if behind else self.table.told(self.outlets[port])

    def _receive(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(65535)
            if self.closing.is_set():
                return
            self.received += data
            self.sessions += 1
            if self.mood is Mood.DEAF or self.sessions <= self.lose:
                continue
            try:
                answer = self._answer(data)
            except ValueError:
                continue  # not SNMP, which an agent drops
            if answer is None:
                continue
            if not self.late:
                self._socket.sendto(answer, sender)
                continue
            self._threads.append(threading.Thread(target=self._send_late, args=(answer, sender), daemon=True))
            self._threads[-1].start()

    def _send_late(self, answer: bytes, sender: Any) -> None:
        if not self.closing.wait(self.late):
            self._socket.sendto(answer, sender)

    def _answer(self, data: bytes) -> bytes | None:
        if self.mood is Mood.GARBLED:
            return b"\x30\x82pow\xff\xfe\x00"
        ((_, content),) = parts(data)
        (_, version), *rest = parts(content)
        self.versions.append(number(version))
        if number(version) == 3:
            return self._answer_v3(data, rest)
        (_, community), pdu = rest
        if community.decode() != COMMUNITY:
            return None
        self.pdus.append(PDU.decoded(*pdu))
        return message(number(version), COMMUNITY, self.respond(self.pdus[-1], number(version)))

    def _answer_v3(self, data: bytes, rest: list[tuple[int, bytes]]) -> bytes:
        (_, header), (_, security), (_, scoped) = rest
        (_, identity), _, (_, flags), _ = parts(header)
        ((_, fields),) = parts(security)
        (_, engine), (_, boots), _, (_, user), (_, digest), _ = parts(fields)
        _, _, inner = parts(scoped)
        signed = bool(flags[0] & 1)
        if not parts(inner[1])[3][1]:  # discovery asks for no object
            pdu = PDU(inner[0], number(parts(inner[1])[0][1]), 0, "0.0", (NULL, b""))
        else:
            pdu = PDU.decoded(*inner)
        expected = hmac.digest(self.key, data.replace(digest, bytes(12)), "sha1")[:12] if signed else b""
        trouble = 0
        if engine != self.engine:
            trouble = UNKNOWN_ENGINE
        elif user.decode() != USER:
            trouble = UNKNOWN_USER
        elif not signed:
            trouble = UNSUPPORTED_LEVEL
        elif digest != expected or self.mood is Mood.WRONG_PASSWORD:
            trouble = WRONG_DIGEST
        elif number(boots) != self.boots:
            trouble = NOT_IN_TIME_WINDOW
        if trouble:
            counter = PDU(REPORT, pdu.request, 0, f"{USM_STATS}.{trouble}.0", (COUNTER, b"\x01"))
            return self._v3(identity, counter, user, signed=trouble == NOT_IN_TIME_WINDOW)
        self.pdus.append(pdu)
        return self._v3(identity, self.respond(pdu, 3), user, signed=True)

    def _v3(self, identity: bytes, pdu: PDU, user: bytes, signed: bool) -> bytes:
        flags = tlv(OCTETS, b"\x01" if signed else b"\x00")
        header = sequence(tlv(INTEGER, identity), integer(65507), flags, integer(3))
        blank = bytes(12) if signed else b""
        fields = (tlv(OCTETS, self.engine), integer(self.boots), integer(self.time), tlv(OCTETS, user))
        security = tlv(OCTETS, sequence(*fields, tlv(OCTETS, blank), tlv(OCTETS, b"")))
        scoped = sequence(tlv(OCTETS, self.engine), tlv(OCTETS, b""), pdu.encoded())
        whole = sequence(integer(3), header, security, scoped)
        if not signed:
            return whole
        place = whole.index(tlv(OCTETS, blank)) + 2
        return whole[:place] + hmac.digest(self.key, whole, "sha1")[:12] + whole[place + 12 :]


@functools.cache
def _localized(passphrase: str, engine: bytes) -> bytes:
    """Return the key of a user at an engine, which takes a hash of a megabyte."""
    key = passphrase.encode() * (1048576 // len(passphrase) + 1)
    key = hashlib.sha1(key[:1048576]).digest()
    return hashlib.sha1(key + engine + key).digest()


@functools.cache
def _arcs(oid: str) -> tuple[int, ...]:
    return tuple(map(int, oid.split(".")))


@contextmanager
def answering(agent: Agent, name: str, mood: Mood, **settings: Any) -> Iterator[Case]:
    """Run an agent and say how it is reached; ``settings`` are those of its driver alone."""
    with agent:
        patience = 1.0 if mood in (Mood.DEAF, Mood.GARBLED) else PATIENT
        common = {"driver": name, "snmpport": agent.port, "snmptimeout": patience}
        login = {} if "username" in settings else {"community": COMMUNITY}
        bad_ports, secret = agent.table.refused(), settings.get("authpassphrase", COMMUNITY)
        yield Case(agent, "127.0.0.1", {**common, **login, **settings}, [*agent.outlets], bad_ports, [secret])


def case_of(tables: Mapping[str, Table]) -> Callable[[str, Mood], AbstractContextManager[Case]]:
    """Return the ``case`` of a family, with the table of each name."""
    return lambda name, mood: answering(Agent(mood, tables[name], again=True), name, mood)
