# SPDX-License-Identifier: MIT
"""The text protocol without a socket: which texts are whole, which wait for more, and what their words mean."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import RequestError
from pdudaemon.server.text import FORM, FRAGMENT_PATIENCE, LONGEST, LONGEST_TOKEN, TextSpeech, _words


class Said:
    """What has been received on a connection, and what is taken of it."""

    def __init__(self, text: str, ended: bool = False) -> None:
        self.connection: Any = SimpleNamespace(
            received=bytearray(text.encode()), ended=ended, deadline=float("inf"), client="me"
        )
        self.speech = TextSpeech(self.connection, None)  # type: ignore[arg-type]

    def next(self) -> str | None:
        return self.speech._next()

    @property
    def left(self) -> str:
        return bytes(self.connection.received).decode()


@pytest.mark.parametrize(
    "text",
    [
        "pdu 1 on",
        "pdu 1 reboot",
        "pdu 1 reboot 5",
        "pdu 1 reboot .5",
        "pdu 1 on wait=5",
        "pdu 1 on 5 wait=5 key=k",
        "board on",
        "board status",
        "pdu 1 on 5 ",
        "board reboot delay=3",
        "on 1 off",
        "pdu on off",
    ],
)
def test_a_whole_request_is_taken_at_once(text: str) -> None:
    said = Said(text)
    assert said.next() == text and said.left == "" and said.connection.deadline == float("inf")


@pytest.mark.parametrize(
    "text",
    [
        "p",
        "pdu",
        "pdu 1",
        "pdu 1 o",
        "pdu 1 rebo",
        "pdu 1 ",
        "board rebo",
        "pdu 1 on wait=",
        "pdu 1 on w",
        "pdu 1 on wai",
        "pdu 1 on 5 del",
        "pdu 1 on key",
        "pdu 1 on wait=5 k",
        "board on 5 w",
        "board on wa",
        "pdu 1 on 5 6",
        "pdu 1 on 5 6 ",
        "pdu 1 on 1 2 3 4",
        "token",
        "token abc",
        "x" * 1024,
    ],
)
def test_what_may_go_on_is_waited_for_a_while(text: str) -> None:
    said, now = Said(text), time.monotonic()
    assert said.next() is None and said.left == text
    assert now + FRAGMENT_PATIENCE <= said.connection.deadline <= time.monotonic() + FRAGMENT_PATIENCE
    said.connection.ended = True
    assert said.next() == text and said.left == ""


def test_a_deadline_that_is_sooner_stays() -> None:
    said = Said("pdu 1")
    said.connection.deadline = 1.0
    assert said.next() is None and said.connection.deadline == 1.0


def test_what_is_late_is_taken_as_it_is() -> None:
    said = Said("pdu 1")
    assert said.next() is None
    assert said.speech.expired() and said.next() == "pdu 1"
    assert not Said(" \r").speech.expired()


@pytest.mark.parametrize(
    "text",
    [
        "pdu 1 x",
        "pdu 1 onx",
        "pdu 1 ON",
        "pdu 1 on x",
        "pdu 1 on waix",
        "pdu 1 x on",
        "a b c d",
        "GET / HTTP/1.1",
        "pdu 1 on wait=x",
        "pdu\0 1",
        "x" * 1025,
        "pdu 1 on 1 2 3 4 5",
        "pdu 1 o ",
        "pdu 1 on x ",
        "pdu 1 on waix ",
        "board on x ",
    ],
)
def test_what_cannot_become_a_request_is_taken_at_once(text: str) -> None:
    said = Said(text)
    assert said.next() == text and said.left == ""


def test_lines_are_taken_one_by_one_and_blank_ones_only_if_they_are_the_first() -> None:
    said = Said("pdu 1 on\n\n \r\npdu 2 o\r\nrest")
    assert said.next() == "pdu 1 on" and said.left.startswith("\n \r\n")
    said.speech._first = False
    assert said.next() == "pdu 2 o\r" and said.left == "rest"
    assert said.next() is None
    first = Said("\npdu 1 on\n")
    assert first.next() == "" and first.next() == "pdu 1 on"
    assert Said("").next() is None and Said("", ended=True).next() is None


def test_blanks_alone_are_an_answer_only_if_they_are_the_first() -> None:
    said = Said("  ", ended=True)
    assert said.next() == "  "
    said = Said("  ", ended=True)
    said.speech._first = False
    assert said.next() is None and said.left == ""


@pytest.mark.parametrize(
    ("length", "first", "waits"),
    [(LONGEST_TOKEN, True, True), (LONGEST_TOKEN + 1, True, False), (LONGEST + 1, False, False)],
)
def test_a_token_may_be_long_if_it_comes_first(length: int, first: bool, waits: bool) -> None:
    said = Said("token ".ljust(length, "x"))
    said.speech._first = first
    assert (said.next() is None) is waits


def test_bytes_that_are_no_text_are_taken_as_such() -> None:
    said = Said("")
    said.connection.received += b"\xff\xfe 1 on\n"
    assert said.next() == "\ufffd\ufffd 1 on"


@pytest.mark.parametrize(
    ("text", "action", "words"),
    [
        ("pdu 1 on", "on", {"hostname": "pdu", "port": "1"}),
        ("  pdu\t1  on ", "on", {"hostname": "pdu", "port": "1"}),
        ("pdu 1 reboot 7", "reboot", {"hostname": "pdu", "port": "1", "delay": "7"}),
        ("pdu 1 bad", "bad", {"hostname": "pdu", "port": "1"}),
        ("pdu on off", "off", {"hostname": "pdu", "port": "on"}),
        ("board on", "on", {"alias": "board"}),
        ("board reboot 7", "reboot", {"alias": "board", "delay": "7"}),
        ("board on wait=3 key=a=b", "on", {"alias": "board", "wait": "3", "key": "a=b"}),
        ("pdu 1 on delay=3", "on", {"hostname": "pdu", "port": "1", "delay": "3"}),
        ("pdu 1 on 4 delay=", "on", {"hostname": "pdu", "port": "1", "delay": "4"}),
        ("wait=1 2 on", "on", {"hostname": "wait=1", "port": "2"}),
        ("pdu 1 on wait=3 wait=4", "on", {"hostname": "pdu", "port": "1", "wait": "4", "delay": "wait=3"}),
        ("board on key=", "on", {"alias": "board", "key": ""}),
    ],
)
def test_what_the_words_mean(text: str, action: str, words: dict[str, str]) -> None:
    assert _words(text) == (action, words)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", FORM),
        ("on", FORM),
        ("board x", FORM),
        ("pdu 1", FORM),
        ("pdu 1 on 2 3", FORM),
        ("board on 1 2", FORM),
        ("a b c d e", FORM),
        ("pdu 1 on\0", FORM),
        ("pdu 1 on".ljust(LONGEST + 1), FORM),
        ("pdu 1 on 4 delay=3", "two delays are given"),
    ],
)
def test_what_is_no_request(text: str, why: str) -> None:
    with pytest.raises(RequestError) as refused:
        _words(text)
    assert str(refused.value) == why
    assert _words("pdu 1 on".ljust(LONGEST))[0] == "on"
