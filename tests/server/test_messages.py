# SPDX-License-Identifier: MIT
"""`Reader`: a request is the same in whichever pieces it comes."""

from __future__ import annotations

import random

import pytest

from pdudaemon.server.messages import (
    LAST_CHUNK,
    LONGEST_BODY,
    LONGEST_HEAD,
    LONGEST_KNOWN,
    LONGEST_LINE,
    MOST_HEADERS,
    Answer,
    Head,
    Misdirected,
    Reader,
    Unreadable,
    chunk,
    rendered,
)

Found = list[tuple[str, str, str, dict[str, str], bytes] | int]

LONG = b"X" * LONGEST_LINE
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


def read(pieces: list[bytes]) -> Found:
    """Return what a reader finds: requests, and last the status by which it refuses, if it does."""
    reader, received = Reader(), bytearray()
    found: Found = []
    try:
        for number, piece in enumerate([*pieces, b""]):
            received += piece
            while (body := reader.take(received, number == len(pieces))) is not None:
                head = reader.head
                found.append((head.method, head.target, head.version, dict(head.headers), body))
    except Unreadable as error:
        found.append(error.http_status)
    return found


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


Read = tuple[str, str, str, dict[str, str], bytes]


def got(method: str = "GET", target: str = "/", body: bytes = b"", version: str = "HTTP/1.1", **headers: str) -> Read:
    return method, target, version, {name.replace("_", "-"): value for name, value in headers.items()}, body


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b"GET /a?b=c HTTP/1.1\r\nHost: lab \r\nX:y\r\n\r\n", [got(target="/a?b=c", host="lab", x="y")]),
        (b"GET / HTTP/1.1\r\nX: a\r\nx: b\r\nX: c\r\n\r\n", [got(x="a, b, c")]),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", [got(host="a")]),
        (
            b"POST / HTTP/1.1\nContent-Length: 3\nContent-Length: 3\n\nabc",
            [got("POST", body=b"abc", content_length="3")],
        ),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", [400]),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [413]),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LONGEST_BODY + 1), [413]),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort", [400]),
        (b"GET http://lab:80/power/x?y HTTP/1.1\r\n\r\n", [got(target="/power/x?y")]),
        (b"GET / HTTP/1.1\r\n\r\nGET /a b HTTP/1.1\r\n\r\n", [got(), 400]),
        (b"GET / HTTP/2.0\r\n\r\n", [505]),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\nno colon\n\n", [400]),
        (b"GET / HTTP/1.1\r\nName : value\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\n: value\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\nX: " + LONG + b"\r\n\r\n", [431]),
        (b"GET / HTTP/1.1\r\nX: " + LONG[4:] + b"\r\n\r\n", [got(x=LONG[4:].decode())]),
        (b"GET /" + LONG + b" HTTP/1.1\r\n\r\n", [414]),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MOST_HEADERS + b"\r\n", [got(x="y")]),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (MOST_HEADERS + 1) + b"\r\n", [431]),
    ],
)
def test_what_is_read(sent: bytes, found: Found) -> None:
    assert read([sent]) == found


@pytest.mark.parametrize(
    "name", ["Host", "Authorization", "Idempotency-Key", "Content-Type", "Last-Event-ID", "Origin"]
)
def test_what_says_one_thing_says_it_once(name: str) -> None:
    assert read([f"GET / HTTP/1.1\r\n{name}: a\r\n{name.lower()}: b\r\n\r\n".encode()]) == [400]


@pytest.mark.parametrize("more", [0, 1])
def test_a_head_may_be_so_long_and_no_longer(more: int) -> None:
    lines = [b"GET / HTTP/1.1", *[b"X: " + LONG[:60000]] * 4]
    lines.append(b"Y: " + b"z" * (LONGEST_HEAD + more - len(b"\n".join(lines)) - len(b"\nY: ")))
    found = read([b"\n".join(lines) + b"\n\n"])
    assert found == [431] if more else found[0][0] == "GET"  # type: ignore[index]


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


@pytest.mark.parametrize(
    ("head", "keeps_alive", "expects", "of_browser"),
    [
        (Head(), True, False, False),
        (Head(version="HTTP/1.0"), False, False, False),
        (Head(headers={"connection": "Close, TE"}), False, False, False),
        (Head(headers={"connection": "keep-alive", "expect": "100-Continue"}), True, True, False),
        (Head(headers={"expect": "200-ok", "user-agent": "curl/8 Mozilla/"}), True, False, False),
        (Head(headers={"user-agent": "Mozilla/5.0"}), True, False, True),
        (Head(headers={"sec-fetch-site": "cross-site"}), True, False, True),
        (Head(headers={"origin": "null"}), True, False, True),
        (Head(headers={"referer": "http://x/"}), True, False, True),
    ],
)
def test_what_a_head_says(head: Head, keeps_alive: bool, expects: bool, of_browser: bool) -> None:
    assert (head.keeps_alive, head.expects_continue, head.of_browser) == (keeps_alive, expects, of_browser)


def test_a_path_is_what_comes_before_the_query() -> None:
    assert [Head(target=target).path for target in ("/a", "/a?b=c?d", "/?")] == ["/a", "/a", "/"]


def test_a_stream_is_sent_in_chunks() -> None:
    assert chunk(b"{}\n") + LAST_CHUNK == b"3\r\n{}\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "method", "alive", "there", "not_there", "body"),
    [
        (Answer(200, "on", {"X": "y"}, "text/plain"), "GET", True, b"Content-Length: 3\r\n", b"Connection", b"on\n"),
        (Answer(404, {"a": 1}), "GET", False, b"Connection: close\r\n", b"chunked", b'{"a": 1}\n'),
        (Answer(200, b"\xff"), "HEAD", True, b"Content-Length: 1\r\n", b"chunked", b""),
        (Answer(200, b"", stream=True), "GET", True, b"Transfer-Encoding: chunked\r\n", b"Content-Length", b""),
        (Answer(200, b"", stream=True, chunked=False), "GET", False, b"Connection: close", b"chunked", b""),
    ],
)
def test_what_is_sent(answer: Answer, method: str, alive: bool, there: bytes, not_there: bytes, body: bytes) -> None:
    head, _, sent = rendered(answer, method, alive).partition(b"\r\n\r\n")
    head += b"\r\n"
    assert head.startswith(b"HTTP/1.1 %d " % answer.status) and sent == body
    assert there in head and not_there not in head
    assert b"Cache-Control: no-store\r\n" in head and b"Content-Type: %s\r\n" % answer.content_type.encode() in head
    for name, value in answer.headers.items():
        assert f"{name}: {value}\r\n".encode() in head


def test_what_a_refusal_is_about_is_kept() -> None:
    """The field of a body, and as much of a head as was read, for whoever writes the log."""
    assert Misdirected(400, "no", field="nodes").field == "nodes" and Misdirected(400, "no").field is None
    assert Unreadable(400, "no").head == Head()
    received = bytearray(b"PUT /x HTTP/1.1\r\nHost: lab\r\nno colon\r\n\r\n")
    with pytest.raises(Unreadable) as refused:
        Reader().take(received, False)
    assert (refused.value.head.method, refused.value.head.headers) == ("PUT", {"host": "lab"})


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_may_be_so_long_and_no_longer(more: int) -> None:
    found = read([b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LONGEST_BODY + more), LONG])
    assert found == [413] if more else found == [got("POST", body=LONG, content_length=str(LONGEST_BODY))]


LINE = b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"GET /" + LONG[5:], 0),
        (b"GET /" + LONG[4:], 414),
        (LINE + b"X: y\r\n" * MOST_HEADERS, 0),
        (LINE + b"X: y\r\n" * (MOST_HEADERS + 1), 431),
        (LINE + (b"X: " + LONG[:60000] + b"\r\n") * 4, 0),
        (LINE + b"X: " + LONG * 4, 431),
        (LINE + b"X: " + (LONG * 4)[: LONGEST_HEAD - len(LINE) - 3], 0),
        (LINE + b"X: " + (LONG * 4)[: LONGEST_HEAD - len(LINE) - 2], 431),
        (b"no HTTP\r\n", 400),
        (b"no HTTP", 0),
    ],
)
def test_what_cannot_become_a_head_any_more_is_refused_before_its_end(received: bytes, status: int) -> None:
    """Else one who never ends it could send for ever."""
    reader = Reader()
    if not status:
        assert reader.take(bytearray(received), False) is None
        return
    with pytest.raises(Unreadable) as refused:
        reader.take(bytearray(received), False)
    assert refused.value.http_status == status
    assert refused.value.head.target == "/" and refused.value.head.method == "GET"


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


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://lab", "/"),
        ("HTTPS://lab/", "/"),
        ("http://lab?x=y", "/?x=y"),
        ("*", "*"),
        ("/http://lab/a", "/http://lab/a"),
    ],
)
def test_a_target_may_name_its_origin(target: str, path: str) -> None:
    assert read([f"GET {target} HTTP/1.1\r\n\r\n".encode()]) == [got(target=path)]


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        (b"GET /", 400, "the first line is not one of HTTP"),
        (b"GET / FTP/1.1", 400, "the first line is not one of HTTP"),
        (b"GET / HTTP/3.0-and-much-more-of-it", 505, "HTTP/3.0-and-much-mo is not spoken here"),
    ],
)
def test_what_is_wrong_with_a_first_line(line: bytes, status: int, text: str) -> None:
    with pytest.raises(Unreadable) as refused:
        Reader().take(bytearray(line + b"\r\n\r\n"), False)
    assert (refused.value.http_status, str(refused.value)) == (status, text)


def test_headers_of_a_refusal_are_kept() -> None:
    assert Misdirected(405, "no", {"Allow": "GET"}).headers == {"Allow": "GET"} and Misdirected(404, "no").headers == {}


def test_the_bounds_are_for_one_request_and_not_for_all_of_a_connection() -> None:
    one = b"GET / HTTP/1.1\r\nX: " + LONG[:1000] + b"\r\n\r\n"
    assert len(read([one * (LONGEST_HEAD // 1000 + 10)])) == LONGEST_HEAD // 1000 + 10
