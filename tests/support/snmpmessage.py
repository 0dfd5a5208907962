# SPDX-License-Identifier: MIT
"""SNMP's messages as bytes, as RFC 1157 and 3416 have them (X.690 for the encoding); nothing is shared with the package."""

from __future__ import annotations

from typing import NamedTuple

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
COUNTER, UNSIGNED = 0x41, 0x42
NO_SUCH_INSTANCE, END_OF_MIB = 0x81, 0x82
GET, NEXT, RESPONSE, SET, BULK, REPORT = 0xA0, 0xA1, 0xA2, 0xA3, 0xA5, 0xA8
TOO_BIG = 1
NO_SUCH_NAME, BAD_VALUE, GENERAL_ERROR, NO_ACCESS, WRONG_TYPE, WRONG_VALUE, RESOURCE_UNAVAILABLE = 2, 3, 5, 6, 7, 10, 13
AUTHORIZATION_ERROR, NOT_WRITABLE = 16, 17


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
    """A request or response with objects, the first of which is ``name`` with ``value``: (tag, content).

    ``index`` is which object the status is about; with GETBULK both are numbers of another meaning.
    """

    tag: int
    request: int
    status: int
    name: str
    value: tuple[int, bytes]
    others: tuple[tuple[str, tuple[int, bytes]], ...] = ()
    index: int | None = None

    @property
    def objects(self) -> list[tuple[str, tuple[int, bytes]]]:
        """All objects."""
        return [(self.name, self.value), *self.others]

    @classmethod
    def decoded(cls, tag: int, content: bytes) -> PDU:
        (_, request), (_, status), (_, index), (_, bindings) = parts(content)
        found = [parts(binding) for _, binding in parts(bindings)]
        (first, *others) = ((dotted(name), value) for (_, name), value in found)
        return cls(tag, number(request), number(status), *first, tuple(others), number(index))

    def encoded(self) -> bytes:
        bindings = [sequence(oid(name), tlv(*value)) for name, value in self.objects]
        index = integer((1 if self.status else 0) if self.index is None else self.index)
        return sequence(integer(self.request), integer(self.status), index, sequence(*bindings), tag=self.tag)

    def answered(self, status: int = 0, value: tuple[int, bytes] | None = None) -> PDU:
        """Return the response to this request."""
        return self._replace(tag=RESPONSE, status=status, value=value or self.value, index=None)

    def answered_with(self, objects: list[tuple[str, tuple[int, bytes]]]) -> PDU:
        """Return the response with other objects."""
        first, *others = objects
        return PDU(RESPONSE, self.request, 0, *first, tuple(others))

    def refused(self, status: int, index: int) -> PDU:
        """Return the response that refuses one of the objects, from 1 on."""
        return self._replace(tag=RESPONSE, status=status, index=index)


def message(version: int, community: str, pdu: PDU) -> bytes:
    """Encode a message of v1 (0) or v2c (1)."""
    return sequence(integer(version), tlv(OCTETS, community.encode()), pdu.encoded())


def numbered(message: bytes, request: bytes) -> bytes:
    """Return a message with another request id: the one thing in it that differs each time."""
    ((_, content),) = parts(message)
    version, community, (tag, pdu) = parts(content)
    _, *rest = parts(pdu)
    inner = tlv(INTEGER, request) + b"".join(tlv(*part) for part in rest)
    return sequence(tlv(*version), tlv(*community), tlv(tag, inner))


def request_of(message: bytes) -> bytes:
    """Return a message's request id."""
    ((_, content),) = parts(message)
    return parts(parts(content)[2][1])[0][1]
