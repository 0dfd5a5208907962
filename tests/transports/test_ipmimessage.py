# SPDX-License-Identifier: MIT
"""IPMI on the wire, against computed vectors; and what is no packet of a session."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pdudaemon.errors import PermanentError
from pdudaemon.transports import ipmimessage as wire
from pdudaemon.transports.ipmimessage import SUITES, Answer, Handshake

VECTORS = {
    3: (
        "e93cd88920793e4ca11991f20b28b19bd2b784e0",
        "a39ae2b160a1e5efe017ffd6ec1a4ff8eeac6f54",
        "58ee1bb60b2efc253c06b6c3b2784b105eaaf815",
        "7105246872e7fad6f550098b",
        "58dbc1afa00eb3f9487c9eaef0dc7892cc43e496",
        "8bd9b8ce0674b5d745ced91e728ac1a5",
        "9ef77ac333651030580f3a141b37e9f3ffff0207e96922bfcfdaf0054422cdc1",
    ),
    17: (
        "5ce2e1502acd013c1d77d90b7a2a62d936a566345927f040ada1946959305a1a",
        "0c4b7464110cf18fd94ec46aa0242c66ab06157709c02ea7db1653aac04b1023",
        "f40a9c839138d044c1984339b89a2f896c3bb0dfbfd780ea7eb68ea4dd9b5e0b",
        "eb52d692d9899174db10d8562ec19fd0",
        "b56faef1c37759ee6f92dccb3dfb8a7610c83e064883aa735d3e84c1cb0c5728",
        "45d88aac4a3d9b6ac2cdf022f1f31a5a",
        "56aed85554955ad462f77acabc2a9b46ffff0207f5c3dc14ddecb352aa9967863a91b1f3",
    ),
}
INITIAL = bytes(range(0x30, 0x40))
STATUS = bytes.fromhex("2000e08104017a")


def handshake(suite: int) -> Handshake:
    ids = bytes.fromhex("a1a2a3a4"), bytes.fromhex("b1b2b3b4")
    randoms = bytes(range(0x10)), bytes(range(0x10, 0x20))
    return Handshake(SUITES[suite], *ids, *randoms, bytes(range(0x20, 0x30)), 4, b"admin", b"secret")


@pytest.mark.parametrize("suite", SUITES)
def test_proofs_keys_and_a_packet(suite: int) -> None:
    known, keys = handshake(suite), handshake(suite).keys()
    said = (
        known.proof_of_bmc(),
        known.session_key,
        known.rakp3(0)[8:],
        known.proof_of_end(),
        keys.signing,
        keys.encrypting,
    )
    assert tuple(each.hex() for each in said) == VECTORS[suite][:6]
    packet = keys.sealed(STATUS, 1, INITIAL)
    assert packet.hex() == "0600ff0706c0b1b2b3b4010000002000" + INITIAL.hex() + VECTORS[suite][6]


def test_the_first_question() -> None:
    message = wire.command(0x06, 0x38, bytes.fromhex("8e04"), 0)
    assert wire.outside(message).hex() == "0600ff07000000000000000000092018c88100388e04b5"
    assert wire.command(0x00, 0x01, b"", 1) == STATUS


def test_answers() -> None:
    good = bytes.fromhex("8104 7b 200401 00 01 da".replace(" ", ""))
    assert wire.answer(good, 0x00, 0x01, 1) == Answer(0, b"\x01")
    for other in ((0x06, 0x01, 1), (0x00, 0x02, 1), (0x00, 0x01, 2)):
        assert wire.answer(good, *other) is None
    for place in range(len(good)):
        spoilt = good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :]
        assert wire.answer(spoilt, 0x00, 0x01, 1) is None
    assert wire.answer(b"", 0x00, 0x01, 1) is None


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_not_signed_is_not_opened(suite: int) -> None:
    keys = handshake(suite).keys()
    theirs = type(keys)(keys.suite, keys.bmc, keys.console, keys.signing, keys.encrypting)
    packet = theirs.sealed(STATUS, 7)
    assert keys.opened(packet) == (7, STATUS)
    for place in range(len(packet)):
        assert keys.opened(packet[:place] + bytes([packet[place] ^ 1]) + packet[place + 1 :]) is None
        assert keys.opened(packet[:place]) is None


def test_logins_that_ipmi_cannot_have() -> None:
    assert wire.checked("a" * 16, "b" * 20, b"")[0] == b"a" * 16
    with pytest.raises(PermanentError, match=r"^a user name of IPMI has 16 bytes at most$"):
        wire.checked("ä" * 9, "", b"")
    with pytest.raises(PermanentError, match=r"^a password or key of IPMI has 20 bytes at most$"):
        wire.checked("a", "ä" * 11, b"")


@pytest.mark.parametrize("length", [0, 14, 15, 16, 31, 40, 255])
def test_long_messages_are_chained_as_cbc_has_it(length: int) -> None:
    keys = handshake(17).keys()
    message = bytes(range(length))
    packet = keys.sealed(message, 1)
    (count,) = struct.unpack_from("<H", packet, 14)
    payload = packet[16 : 16 + count]
    cbc = Cipher(algorithms.AES(keys.encrypting), modes.CBC(payload[:16])).decryptor()
    plain = cbc.update(payload[16:]) + cbc.finalize()
    assert plain[: -1 - plain[-1]] == message
    assert plain[-1 - plain[-1] :] == bytes([*range(1, plain[-1] + 1), plain[-1]])
    theirs = type(keys)(keys.suite, keys.bmc, keys.console, keys.signing, keys.encrypting)
    assert keys.opened(theirs.sealed(message, 7)) == (7, message)


def test_no_two_packets_begin_with_the_same_random_bytes() -> None:
    keys = handshake(17).keys()
    assert len({keys.sealed(STATUS, 1)[16:32] for _ in range(100)}) == 100
