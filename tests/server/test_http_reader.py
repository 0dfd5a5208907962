# SPDX-License-Identifier: MIT
"""`Reader`: a request is the same in whichever pieces it comes."""

from __future__ import annotations

import random

import pytest

from pdudaemon.server.http import Reader
from pdudaemon.server.messages import (
    LONGEST_BODY,
    LONGEST_HEAD,
    LONGEST_KNOWN,
    MOST_HEADERS,
    Head,
    Unreadable,
)
from tests.support.reading import LONG, got, read

HEADS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\n\n",
    b"\r\n\r\n\nGET /power/control/on?hostname=pdu&port=1 HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"\rGET / HTTP/1.0\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\nContent-Length: 3\nContent-Length: 3\n\nabc",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LONGEST_BODY + 1),
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
    b"GET  /a HTTP/1.1\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"GET / HTTP/2.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nName : value\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded: value\r\n\r\n",
    b"GET / HTTP/1.1\r\n: value\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\rb\0c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"GET http://lab:80/power/x?y HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: lab",
    b"GET",
    b"\0\1\2\3\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
    *(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * count + b"\r\n" for count in range(MOST_HEADERS - 2, MOST_HEADERS + 3)),
    b"GET / HTTP/1.1\r\nX: " + LONG + b"\r\n\r\n",
    b"GET /" + LONG + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + (b"X: " + LONG[:60000] + b"\r\n") * 5 + b"\r\n",
    b"GET / HTTP/1.1\r\nA: " + LONG[:60000] + b"\r\n\r\n" + b"GET /next HTTP/1.1\r\n\r\n",
    LONG,
]


def in_pieces(data: bytes, chance: random.Random, most: int) -> list[bytes]:
    """Return some bytes in pieces of any length up to a bound."""
    pieces = []
    while data:
        length = chance.randrange(1, most)
        pieces.append(data[:length])
        data = data[length:]
    return pieces


@pytest.mark.parametrize("number", range(len(HEADS)))
def test_whole_or_in_pieces(number: int) -> None:
    data = HEADS[number]
    whole = read([data])
    chance = random.Random(number)
    assert read(in_pieces(data, chance, 2 if len(data) < 5000 else 40000)) == whole
    for _ in range(5):
        assert read(in_pieces(data, chance, 9 if len(data) < 5000 else 65536)) == whole


@pytest.mark.parametrize("seed", range(300))
def test_whatever_comes_is_read_or_refused_alike_in_any_pieces(seed: int) -> None:
    chance = random.Random(seed)
    words = [
        b"GET ",
        b"POST ",
        b"/",
        b"?a=b",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"Host: lab",
    ]
    words += [
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"Expect: 100-continue",
        b"abc",
        b" ",
        b"\t",
        b":",
        b"\0",
        b"\xff",
    ]
    data = chance.choice([b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\nContent-Length: 3\n\n"])
    data += b"".join(chance.choice(words) for _ in range(chance.randrange(1, 25)))
    whole = read([data])
    assert read([data[each : each + 1] for each in range(len(data))]) == whole
    assert read(in_pieces(data, chance, 9)) == whole


def test_a_head_is_the_one_that_came_before_and_no_other() -> None:
    reader = Reader()

    def head(text: bytes) -> Head:
        received = bytearray(text)
        assert reader.take(received, False) == b"" and not received
        return reader.head

    first = head(b"GET /a HTTP/1.1\r\nHost: lab\r\n\r\n")
    other = head(b"GET /a HTTP/1.1\r\nHost: Lab\r\n\r\n")
    assert head(b"GET /a HTTP/1.1\r\nHost: lab\r\n\r\n") is first and other.headers["host"] == "Lab"
    long = b"GET /a HTTP/1.1\r\nX: " + LONG[:2000] + b"\r\n\r\n"
    assert head(long) is not head(long)  # what is long is not kept


def test_a_body_is_awaited_once_its_head_has_come() -> None:
    reader, received = Reader(), bytearray(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n")
    assert reader.take(received, False) is None and not reader.awaits_body
    received += b"\r\na"
    assert reader.take(received, False) is None and reader.awaits_body
    received += b"b"
    assert reader.take(received, False) == b"ab" and not reader.awaits_body


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_may_be_so_long_and_no_longer(more: int) -> None:
    found = read([b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LONGEST_BODY + more), LONG])
    assert found == [413] if more else found == [got("POST", body=LONG, content_length=str(LONGEST_BODY))]


@pytest.mark.parametrize(("sent", "why"), [(b"GET / HTTP/1.1\r\nHost", "not whole"), (HEADS[12], "shorter than its")])
def test_what_ends_too_early_is_said(sent: bytes, why: str) -> None:
    reader, received = Reader(), bytearray(sent)
    assert reader.head == Head() and reader.take(received, False) is None
    with pytest.raises(Unreadable, match=why) as refused:
        reader.take(received, True)
    assert refused.value.http_status == 400
    assert Reader().take(bytearray(), True) is None


def test_a_short_request_behind_a_long_one_is_found() -> None:
    reader, received = Reader(), bytearray(b"GET /long HTTP/1.1\r\nX: " + LONG[:5000])
    assert reader.take(received, False) is None
    received += b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    assert reader.take(received, False) == b"" == reader.take(received, False)
    assert reader.head.target == "/" and not received


@pytest.mark.parametrize("length", [LONGEST_KNOWN, LONGEST_KNOWN + 1])
def test_a_head_of_so_many_bytes_is_kept(length: int) -> None:
    text = b"GET / HTTP/1.1\r\nX: ".ljust(length, b"x") + b"\n\n"
    heads = []
    for _ in range(2):
        reader = Reader()
        assert reader.take(bytearray(text), False) == b""
        heads.append(reader.head)
    assert (heads[0] is heads[1]) is (length == LONGEST_KNOWN)


def test_the_bounds_are_for_one_request_and_not_for_all_of_a_connection() -> None:
    one = b"GET / HTTP/1.1\r\nX: " + LONG[:1000] + b"\r\n\r\n"
    assert len(read([one * (LONGEST_HEAD // 1000 + 10)])) == LONGEST_HEAD // 1000 + 10


def test_what_cannot_become_a_head_is_refused_before_its_end() -> None:
    with pytest.raises(Unreadable, match="the first line is not one of HTTP"):
        Reader().take(bytearray(b"no HTTP\r\n"), False)
