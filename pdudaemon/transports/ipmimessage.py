# SPDX-License-Identifier: MIT
"""IPMI 2.0 on the wire (RMCP+): packets, and the proofs and keys of a session. No I/O; `rmcp` sends and receives.

Source: IPMI 2.0 specification, chapters 13 (RMCP+, RAKP) and 22 (cipher suites 3 and 17).

Two sides prove to each other that they know the password: each sends random bytes, and a keyed digest of what both have
sent. From the same come the keys by which the packets of the session are signed (HMAC) and encrypted (AES-CBC).
"""

from __future__ import annotations

import functools
import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pdudaemon.errors import PermanentError

HEADER = bytes.fromhex("0600ff07")  # RMCP 1.0, no acknowledgement, class IPMI
PING = bytes.fromhex("0600ff06000011be80000000")  # of ASF: whether somebody is there, and what it knows
BMC, CONSOLE = 0x20, 0x81

COMMAND, OPEN_REQUEST, OPEN_RESPONSE, RAKP1, RAKP2, RAKP3, RAKP4 = 0x00, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
_PROTECTED = 0xC0  # encrypted and signed
_BLOCK = 16
_AT_ONCE = 4  # packets that most sessions have, at the least
_PADDING = bytes(range(1, _BLOCK))
_LONGEST_NAME, _LONGEST_KEY = 16, 20
_BY_NAME_ALONE = 0x10  # of the role: whatever privilege the user has beyond what is asked for


class Suite(NamedTuple):
    """A cipher suite: its numbers in the proposals, the hash, and how much of a digest signs a packet."""

    authentication: int
    integrity: int
    digest: str
    signed: int


SUITES = {17: Suite(3, 4, "sha256", 16), 3: Suite(1, 1, "sha1", 12)}
_AES_CBC = 1


class Answer(NamedTuple):
    """What a BMC answers a command with: a completion code, 0 for done, and data."""

    code: int
    data: bytes


def _checksum(data: bytes) -> int:
    return -sum(data) & 0xFF


def command(function: int, number: int, data: bytes, sequence: int) -> bytes:
    """Return a command to the BMC; ``sequence``, of 6 bits, comes back in the answer."""
    to = bytes([BMC, function << 2])
    what = bytes([CONSOLE, sequence << 2, number]) + data
    return to + bytes([_checksum(to)]) + what + bytes([_checksum(what)])


def answer(message: bytes, function: int, number: int, sequence: int) -> Answer | None:
    """Return the answer to a command; None if it is none, or that to another."""
    head = bytes([CONSOLE, (function + 1) << 2])
    if len(message) < 8 or message[:2] != head or message[2] != _checksum(head) or message[3] != BMC:
        return None
    if message[4] >> 2 != sequence or message[5] != number or _checksum(message[3:-1]) != message[-1]:
        return None
    return Answer(message[6], message[7:-1])


def outside(message: bytes) -> bytes:
    """Return a packet with a command that needs no session, in the form that IPMI 1.5 knows as well."""
    return HEADER + bytes(9) + bytes([len(message)]) + message


def from_outside(packet: bytes) -> bytes:
    """Return the message of such a packet; empty if it is another one."""
    if len(packet) < 14 or packet[:5] != HEADER + b"\0":
        return b""
    return packet[14 : 14 + packet[13]]


def knows_ipmi(pong: bytes) -> bool | None:
    """Whether the answer to `PING` tells of IPMI; None if it is no such answer."""
    if len(pong) < 22 or pong[:4] != PING[:4] or pong[8] != 0x40:
        return None
    return bool(pong[20] & 0x80)


def setup(kind: int, payload: bytes) -> bytes:
    """Return a packet of the set-up of a session."""
    return HEADER + bytes([6, kind]) + bytes(8) + struct.pack("<H", len(payload)) + payload


def from_setup(packet: bytes, kind: int) -> bytes:
    """Return the payload of such a packet; empty if it is another one."""
    if len(packet) < 16 or packet[:6] != HEADER + bytes([6, kind]):
        return b""
    (length,) = struct.unpack_from("<H", packet, 14)
    return packet[16 : 16 + length]


def open_request(suite: Suite, tag: int, console: bytes) -> bytes:
    """Return the payload that asks for a session with the highest privilege that the user may have."""
    chosen = ((0, suite.authentication), (1, suite.integrity), (2, _AES_CBC))
    proposals = b"".join(bytes([kind, 0, 0, 8, number, 0, 0, 0]) for kind, number in chosen)
    return bytes([tag, 0, 0, 0]) + console + proposals


def agreed(response: bytes, suite: Suite) -> bool:
    """Whether the answer to that has the algorithms that were asked for, and no weaker ones."""
    return (response[16], response[24], response[32]) == (suite.authentication, suite.integrity, _AES_CBC)


def end_of_login(tag: int, bmc: bytes) -> bytes:
    """Return the payload that tells the BMC, in place of RAKP 3, that there will be no session."""
    return bytes([tag, 0x0F, 0, 0]) + bmc


@dataclass
class Handshake:
    """What both sides know when a session is set up: ids and random bytes as they were sent, and the secrets.

    ``bmc_random`` and ``guid`` come with RAKP 2, and are empty before. ``privilege`` is what the session asks for;
    ``key`` is the BMC's own key (K_G), empty if it has none.
    """

    suite: Suite
    console: bytes
    bmc: bytes
    console_random: bytes
    bmc_random: bytes
    guid: bytes
    privilege: int
    username: bytes
    password: bytes
    key: bytes = b""
    user: bytes = field(init=False)
    """The role, and the name of the user with its length, as they are signed."""

    def __post_init__(self) -> None:
        self.user = bytes([self.privilege | _BY_NAME_ALONE, len(self.username)]) + self.username

    def rakp1(self, tag: int) -> bytes:
        """Return the payload by which we say who we are."""
        role, rest = self.user[:1], self.user[1:]
        return bytes([tag, 0, 0, 0]) + self.bmc + self.console_random + role + bytes(2) + rest

    def proof_of_bmc(self) -> bytes:
        """Return what a BMC sends in RAKP 2 if it has the same password."""
        said = self.console + self.bmc + self.console_random + self.bmc_random + self.guid + self.user
        return self._digest(self.password, said)

    def rakp3(self, tag: int) -> bytes:
        """Return the payload by which we prove that we have the password."""
        proof = self._digest(self.password, self.bmc_random + self.console + self.user)
        return bytes([tag, 0, 0, 0]) + self.bmc + proof

    def proof_of_end(self) -> bytes:
        """Return what a BMC sends in RAKP 4."""
        said = self.console_random + self.bmc + self.guid
        return self._digest(self.session_key, said)[: self.suite.signed]

    @functools.cached_property
    def session_key(self) -> bytes:
        """What the keys of the session are made from."""
        return self._digest(self.key or self.password, self.console_random + self.bmc_random + self.user)

    def keys(self) -> Keys:
        """Return the keys of the session."""
        secret = self.session_key
        signing, encrypting = (self._digest(secret, bytes([number]) * 20) for number in (1, 2))
        return Keys(self.suite, self.console, self.bmc, signing, encrypting[:_BLOCK])

    def _digest(self, key: bytes, said: bytes) -> bytes:
        return hmac.digest(key, said, self.suite.digest)


class Keys:
    """The keys of a session, and what is done by them: packets of the session are sealed, and opened.

    What it takes to begin with a key costs far more than to encrypt a block by it, so that is done once for a session,
    for each direction: the chain of blocks (CBC) is made here, of a command and its answer one block mostly.
    """

    def __init__(self, suite: Suite, console: bytes, bmc: bytes, signing: bytes, encrypting: bytes) -> None:
        self.suite = suite
        self.console = console
        self.bmc = bmc
        self.signing = signing
        self.encrypting = encrypting
        cipher = _aes(encrypting)
        self._encrypt: Callable[[bytes], bytes] = cipher.encryptor().update
        self._decrypt: Callable[[bytes], bytes] = cipher.decryptor().update
        self._random: list[bytes] = []
        self._head = bytes([6, _PROTECTED | COMMAND]) + bmc
        self._their_head = HEADER + bytes([6, _PROTECTED | COMMAND]) + console

    def sealed(self, message: bytes, sequence: int, initial: bytes = b"") -> bytes:
        """Return a packet of ours with a message, encrypted and signed. ``initial``: 16 bytes, else random ones."""
        last = payload = initial or self._initial()
        count = -(len(message) + 1) % _BLOCK
        padded = message + _PADDING[:count] + bytes([count])
        for place in range(0, len(padded), _BLOCK):
            last = self._encrypt(_both(last, padded[place : place + _BLOCK]))
            payload += last
        signed = self._head + struct.pack("<IH", sequence, len(payload)) + payload
        count = -(len(signed) + 2) % 4
        signed += b"\xff" * count + bytes([count, 7])
        return HEADER + signed + self._signature(signed)

    def opened(self, packet: bytes) -> tuple[int, bytes] | None:
        """Return the sequence number and the message of a packet from the BMC; None if it is not one of the session."""
        if len(packet) < 16 + 2 * _BLOCK or not packet.startswith(self._their_head):
            return None
        signed, code = packet[4 : -self.suite.signed], packet[-self.suite.signed :]
        if not hmac.compare_digest(self._signature(signed), code):
            return None
        sequence, length = struct.unpack_from("<IH", packet, 10)
        payload = packet[16 : 16 + length]
        count = len(payload) - _BLOCK
        if count <= 0 or count % _BLOCK:
            return None
        padded = _both(self._decrypt(payload[_BLOCK:]), payload[:count])
        return sequence, padded[: max(0, count - 1 - padded[-1])]

    def _initial(self) -> bytes:
        """Return random bytes; those for some packets are got at once, as to ask the system takes as long as AES."""
        if not self._random:
            some = os.urandom(_BLOCK * _AT_ONCE)
            self._random = [some[place : place + _BLOCK] for place in range(0, len(some), _BLOCK)]
        return self._random.pop()

    def _signature(self, signed: bytes) -> bytes:
        return hmac.digest(self.signing, signed, self.suite.digest)[: self.suite.signed]


def checked(username: str, password: str, key: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a login as bytes. Raises: PermanentError for one that IPMI cannot have, without saying what it is."""
    name, secret = username.encode(), password.encode()
    if len(name) > _LONGEST_NAME:
        raise PermanentError(f"a user name of IPMI has {_LONGEST_NAME} bytes at most")
    if max(len(secret), len(key)) > _LONGEST_KEY:
        raise PermanentError(f"a password or key of IPMI has {_LONGEST_KEY} bytes at most")
    return name, secret, key


def _both(one: bytes, other: bytes) -> bytes:
    """Return the exclusive or of bytes."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def _aes(key: bytes) -> Any:
    """Return AES by a key, block by block. Raises: PermanentError if there is no package that has it."""
    made, aes, block_by_block = _cryptography()
    return made(aes(key), block_by_block())


@functools.cache
def _cryptography() -> tuple[Any, Any, Any]:
    """Return a cipher, AES and ECB. Raises: PermanentError if there is no such package."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError:
        raise PermanentError("IPMI needs the package cryptography (extra ipmi)") from None
    return Cipher, algorithms.AES, modes.ECB
