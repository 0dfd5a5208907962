# SPDX-License-Identifier: MIT
"""An SNMP agent with the outlet table of an APC MasterSwitch (sPDUOutletCtl): v1, v2c, and v3 with signed messages.

The bytes are those of RFC 1157, 3416 and 3414 (X.690 for the encoding); nothing of it is shared with the package.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from tests.devices.base.device import Case, Device, Mood

NAMES = ["snmpv1", "snmpv2c", "snmpv3"]
MOODS = [mood for mood in Mood if mood is not Mood.GONE]  # a UDP port that nobody has is as silent as a deaf agent

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
COUNTER, UNSIGNED = 0x41, 0x42
NO_SUCH_INSTANCE = 0x81
GET, RESPONSE, SET, REPORT = 0xA0, 0xA2, 0xA3, 0xA8
NO_SUCH_NAME, BAD_VALUE, NO_ACCESS, WRONG_TYPE, WRONG_VALUE, RESOURCE_UNAVAILABLE = 2, 3, 6, 7, 10, 13
AUTHORIZATION_ERROR, NOT_WRITABLE = 16, 17

COMMUNITY = "pr1vate-c0mmunity"
USER, PASSPHRASE = "pdudaemon", "correct horse battery"
SPDU_OUTLET_CTL = "1.3.6.1.4.1.318.1.1.4.4.2.1.3"
USM_STATS = "1.3.6.1.6.3.15.1.1"
UNSUPPORTED_LEVEL, NOT_IN_TIME_WINDOW, UNKNOWN_USER, UNKNOWN_ENGINE, WRONG_DIGEST = 1, 2, 3, 4, 5


def tlv(tag: int, content: bytes) -> bytes:
    """Encode one thing."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """Encode a number."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def sequence(*parts: bytes, tag: int = SEQUENCE) -> bytes:
    """Encode things one after the other."""
    return tlv(tag, b"".join(parts))


def oid(text: str) -> bytes:
    """Encode an OID."""
    first, second, *rest = map(int, text.split("."))
    content = b""
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.insert(0, 0x80 | arc & 0x7F)
        content += bytes(septets)
    return tlv(OID, content)


def parts(content: bytes) -> list[tuple[int, bytes]]:
    """Take a sequence's content apart: (tag, content) of each."""
    found = []
    while content:
        tag, size, start = content[0], content[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(content[2:start], "big")
        if len(content) < start + size:
            raise ValueError("cut off")
        found.append((tag, content[start : start + size]))
        content = content[start + size :]
    return found


def number(content: bytes) -> int:
    """Decode a number."""
    return int.from_bytes(content, "big", signed=True)


def dotted(content: bytes) -> str:
    """Decode an OID."""
    arcs, arc = [], 0
    for septet in content:
        arc = arc << 7 | septet & 0x7F
        if not septet & 0x80:
            arcs.append(arc)
            arc = 0
    return ".".join(map(str, (arcs[0] // 40, arcs[0] % 40, *arcs[1:])))


class PDU(NamedTuple):
    """A request or response with one object; ``value`` is (tag, content)."""

    tag: int
    request: int
    status: int
    name: str
    value: tuple[int, bytes]

    @classmethod
    def decoded(cls, tag: int, content: bytes) -> PDU:
        (_, request), (_, status), _, (_, bindings) = parts(content)
        ((_, binding),) = parts(bindings)
        (_, name), value = parts(binding)
        return cls(tag, number(request), number(status), dotted(name), value)

    def encoded(self) -> bytes:
        binding = sequence(oid(self.name), tlv(*self.value))
        index = integer(1 if self.status else 0)
        return sequence(integer(self.request), integer(self.status), index, sequence(binding), tag=self.tag)

    def answered(self, status: int = 0, value: tuple[int, bytes] | None = None) -> PDU:
        """Return the response to this request."""
        return self._replace(tag=RESPONSE, status=status, value=value or self.value)


def message(version: int, community: str, pdu: PDU) -> bytes:
    """Encode a message of v1 (0) or v2c (1)."""
    return sequence(integer(version), tlv(OCTETS, community.encode()), pdu.encoded())


class Agent(Device):
    """An agent on a free loopback UDP port, with 8 outlets.

    ``late`` delays each answer by so many seconds, ``lose`` drops so many of the first questions.
    """

    engine = bytes.fromhex("80001f88") + b"\x04pdu-under-test"
    boots, time = 7, 1234

    def __init__(
        self,
        mood: Mood = Mood.WELL,
        *,
        late: float = 0.0,
        lose: int = 0,
        passphrase: str = PASSPHRASE,
        host: str = "127.0.0.1",
    ) -> None:
        self.mood = mood
        self.outlets: dict[str, str] = {str(n): "off" for n in range(1, 9)}
        self.received = bytearray()
        self.sessions = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.late = 0.05 if mood is Mood.SLOW else late
        self.lose = lose
        self.versions: list[int] = []
        self.pdus: list[PDU] = []
        key = passphrase.encode() * (1048576 // len(passphrase) + 1)
        self.key = self._localized(hashlib.sha1(key[:1048576]).digest())
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
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
        self._socket.close()

    def respond(self, pdu: PDU, version: int) -> PDU:
        """Carry out a request."""
        if self.mood is Mood.BUSY:
            return pdu.answered(RESOURCE_UNAVAILABLE)
        if self.mood is Mood.WRONG_PASSWORD:
            return pdu.answered(AUTHORIZATION_ERROR)
        port = pdu.name.removeprefix(f"{SPDU_OUTLET_CTL}.")
        if port not in self.outlets:
            if version == 0:
                return pdu.answered(NO_SUCH_NAME)
            return pdu.answered(0, (NO_SUCH_INSTANCE, b"")) if pdu.tag == GET else pdu.answered(NOT_WRITABLE)
        if self.mood is Mood.REFUSING:
            return pdu.answered(NO_ACCESS)
        if pdu.tag == SET:
            if pdu.value[0] != INTEGER:
                return pdu.answered(BAD_VALUE if version == 0 else WRONG_TYPE)
            state = {1: "on", 2: "off"}.get(number(pdu.value[1]))
            if state is None:
                return pdu.answered(BAD_VALUE if version == 0 else WRONG_VALUE)
            self.outlets[port] = state
        return pdu.answered(0, (INTEGER, b"\x01" if self.outlets[port] == "on" else b"\x02"))

    def _receive(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(65535)
            if self.closing.is_set():
                return
            self.received += data
            self.sessions += 1
            if self.mood is Mood.DEAF or self.sessions <= self.lose:
                continue
            answer = self._answer(data)
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

    def _localized(self, key: bytes) -> bytes:
        return hashlib.sha1(key + self.engine + key).digest()


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run an agent; the PDU of the configuration is its sPDUOutletCtl table."""
    with Agent(mood) as agent:
        settings: dict[str, Any] = {
            "driver": name,
            "snmpport": agent.port,
            "snmptimeout": 6.0 if mood in (Mood.WELL, Mood.SLOW) else 1.0,
            "oid": f".{SPDU_OUTLET_CTL}.*",
            "onsetting": "1",
            "offsetting": "2",
        }
        if name == "snmpv3":
            login = {"username": USER, "authpassphrase": PASSPHRASE, "auth_protocol": "USM_AUTH_HMAC96_SHA"}
        else:
            login = {"community": COMMUNITY}
        secret = login.get("authpassphrase", COMMUNITY)
        yield Case(agent, "127.0.0.1", {**settings, **login}, [*agent.outlets], ["x", "1..2", "-1", "1;2"], [secret])
