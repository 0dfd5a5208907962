# SPDX-License-Identifier: MIT
"""What the bytes of a request say, and which cannot be one."""

from __future__ import annotations

import pytest

from pdudaemon.server.http import Reader
from pdudaemon.server.messages import (
    LAST_CHUNK,
    LONGEST_BODY,
    LONGEST_HEAD,
    LONGEST_LINE,
    MOST_HEADERS,
    Head,
    Misdirected,
    Unreadable,
    chunk,
    parsed,
)
from tests.support.reading import LONG, Found, got, read


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
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [411]),
        (b"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n", [400]),
        (b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", [400]),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nabc", [400]),
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


def test_what_a_refusal_is_about_is_kept() -> None:
    """The field of a body, and as much of a head as was read, for whoever writes the log."""
    assert Misdirected(400, "no", field="nodes").field == "nodes" and Misdirected(400, "no").field is None
    assert Unreadable(400, "no").head == Head()
    received = bytearray(b"PUT /x HTTP/1.1\r\nHost: lab\r\nno colon\r\n\r\n")
    with pytest.raises(Unreadable) as refused:
        Reader().take(received, False)
    assert (refused.value.head.method, refused.value.head.headers) == ("PUT", {"host": "lab"})


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET /" + LONG[len(b"GET / HTTP/1.1") :] + b" HTTP/1.1", 0),
        (b"GET /" + LONG[len(b"GET / HTTP/1.1") - 1 :] + b" HTTP/1.1", 414),
        (b"GET / HTTP/1.1\nX:" + LONG[2:], 0),
        (b"GET / HTTP/1.1\nX:" + LONG[1:], 431),
        (b"GET / HTTP/1.1\n" + LONG, 400),
        (b"GET / HTTP/1.1\nx" + LONG, 431),
        (b"GET / HTTP/1.1" + b"\nX: y" * MOST_HEADERS, 0),
        (b"GET / HTTP/1.1" + b"\nX: y" * (MOST_HEADERS + 1), 431),
    ],
)
def test_a_line_may_be_so_long_and_no_longer(text: bytes, status: int) -> None:
    if not status:
        assert parsed(text).method == "GET"
        return
    with pytest.raises(Unreadable) as refused:
        parsed(text)
    assert refused.value.http_status == status


@pytest.mark.parametrize(
    ("length", "found"),
    [
        ("0", 0),
        ("0000000005", 5),
        ("00000000005", 413),
        (str(LONGEST_BODY), LONGEST_BODY),
        (str(LONGEST_BODY + 1), 413),
    ],
)
def test_a_length_has_so_many_digits_and_no_more(length: str, found: int) -> None:
    head = Head(headers={"content-length": length})
    if found != 413:
        assert head.length == found
        return
    with pytest.raises(Unreadable, match=f"a body must have a Content-Length of at most {LONGEST_BODY}") as refused:
        head.length  # noqa: B018
    assert refused.value.http_status == found


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


def test_how_much_is_read_at_most() -> None:
    """Of lines no more than other servers take, and of headers as many."""
    assert (LONGEST_LINE, LONGEST_HEAD, LONGEST_BODY, MOST_HEADERS) == (65536, 262144, 65536, 100)
