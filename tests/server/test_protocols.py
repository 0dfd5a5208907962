# SPDX-License-Identifier: MIT
"""Which protocol it is, by the first bytes."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.server import protocols
from pdudaemon.server.http import HTTPSpeech
from pdudaemon.server.protocols import EitherSpeech, speech
from pdudaemon.server.text import FRAGMENT_PATIENCE, TextSpeech


def connection(received: bytes = b"", protocol: str = "both", ended: bool = False) -> Any:
    listener = SimpleNamespace(options=SimpleNamespace(protocol=protocol))
    return SimpleNamespace(received=bytearray(received), listener=listener, ended=ended, deadline=float("inf"))


@pytest.mark.parametrize(("protocol", "kind"), [("http", HTTPSpeech), ("tcp", TextSpeech), ("both", EitherSpeech)])
def test_a_listener_may_say_it(protocol: str, kind: type) -> None:
    assert type(speech(None, connection(protocol=protocol))) is kind  # type: ignore[arg-type]


class Taken:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def take(self) -> bool:
        return True

    def expired(self) -> bool:
        return True


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "HTTPSpeech", lambda *_: Taken("http"))
    monkeypatch.setattr(protocols, "TextSpeech", lambda *_: Taken("text"))


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    ("received", "kind"),
    [
        (b"GET /", "http"),
        (b"OPTIONS *", "http"),
        (b"GET http://x", "http"),
        (b"GET HTTPS://x", "http"),
        (b"get /", "text"),
        (b"pdu 1 on", "text"),
        (b"PDU 1 on", "text"),
        (b"A" * 21, "text"),
        (b"GET  /", "text"),
        (b"\n", "text"),
    ],
)
def test_the_first_bytes_say_it(received: bytes, kind: str) -> None:
    one = connection(received)
    assert EitherSpeech(one, None).take() and one.speech.kind == kind  # type: ignore[arg-type]


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    "received", [b"G", b"GET", b"GET ", b"GET h", b"GET http", b"GET https:", b"GET http:/", b"A" * 20]
)
def test_what_may_be_either_is_waited_for(received: bytes) -> None:
    one, now = connection(received), time.monotonic()
    either = EitherSpeech(one, None)  # type: ignore[arg-type]
    assert not either.take() and not hasattr(one, "speech")
    assert now + FRAGMENT_PATIENCE <= one.deadline <= time.monotonic() + FRAGMENT_PATIENCE
    one.deadline = 1.0
    assert not either.take() and one.deadline == 1.0
    assert either.expired() and one.speech.kind == "text"
    ended = connection(received, ended=True)
    assert EitherSpeech(ended, None).take() and ended.speech.kind == "text"  # type: ignore[arg-type]


def test_nothing_yet_has_the_time_of_a_client_that_is_idle() -> None:
    one = connection()
    assert not EitherSpeech(one, None).take() and one.deadline == float("inf")  # type: ignore[arg-type]
