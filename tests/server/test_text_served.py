# SPDX-License-Identifier: MIT
"""The text protocol on one connection, over a pair of sockets, with a rack of PDUs: what each line is answered."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.config.options import ListenerOptions
from pdudaemon.server.access import UNIX, Access
from pdudaemon.server.client import Client
from pdudaemon.server.listener import Listener
from pdudaemon.server.orders import Orders
from pdudaemon.server.refusals import PAUSE, Refusals
from pdudaemon.server.text import FORM, TextSpeech
from tests.support.pair import Pair, connected
from tests.support.process import eventually
from tests.support.rack import Rack
from tests.support.tokens import SECRET, good

BY_TOKEN = "a token is needed, so this is for HTTP; {} is in no network allowed here"


class Lab:
    """A rack with a listener in front of it."""

    def __init__(self, folder: Path, stack: ExitStack, access: Access | None = None) -> None:
        self.rack = Rack(folder, {"a": {}, "b": {}})
        config = self.rack.dispatcher.config
        (folder / "roles").write_text(
            json.dumps(
                {
                    "pdus": {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}},
                    "roles": {"b": {"pdus": "b", "may": ["on"]}},
                }
            )
        )
        self.rack.dispatcher.config = replace(config, roles=reader.load(str(folder / "roles")).roles)  # type: ignore[misc]
        self.orders = Orders(self.rack.dispatcher)
        options = ListenerOptions({"protocol": "tcp", "port": 0})
        self.listener = Listener(options, access or Access(), Refusals(lambda when, call: None))
        self._stack = stack

    def connect(self, address: str = UNIX) -> Asking:
        pair = self._stack.enter_context(connected(lambda c: TextSpeech(c, self.orders)))
        pair.connection.client, pair.connection.listener = Client(address, 0), self.listener
        return Asking(pair, self.orders)


class Asking:
    """A client."""

    def __init__(self, pair: Pair, orders: Orders) -> None:
        self.connection, self.socket, self.thread = pair
        self._orders = orders

    def sends(self, text: str) -> bool:
        """Send something; return whether a text has been taken of it."""
        self.connection.received += text.encode()
        taken = self.connection.speech.take()
        self._orders.hand_over()
        return taken

    def hears(self) -> str:
        eventually(lambda: self.connection.exchange is None)
        return self.socket.recv(1000).decode()

    def asks(self, text: str) -> str:
        """Send a line and return what it is answered."""
        assert self.sends(f"{text}\n")
        return self.hears()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as one:
        yield one


@pytest.fixture
def lab(tmp_path: Path, stack: ExitStack) -> Lab:
    made = Lab(tmp_path, stack)
    stack.callback(made.rack.stop)
    stack.callback(made.listener.server_close)
    return made


@pytest.fixture
def closed(tmp_path: Path, stack: ExitStack) -> Lab:
    """Where a token is needed."""
    made = Lab(tmp_path, stack, Access(SECRET))
    stack.callback(made.rack.stop)
    stack.callback(made.listener.server_close)
    return made


def test_one_line_after_the_other_is_answered(lab: Lab) -> None:
    asking = lab.connect("192.0.2.1")
    assert asking.asks("a 1 status") == "unknown\n" and asking.connection.closing
    asking = lab.connect("192.0.2.1")
    assert asking.sends("a 1 on\na 1 status\na 1 off\n") and asking.hears() == "ack\n"
    assert not asking.connection.closing
    assert asking.sends("") and asking.hears() == "on\n"
    assert asking.sends("") and asking.hears() == "ack\n" and asking.connection.closing
    assert lab.rack.seen["a"] == "of" and not asking.sends("")
    assert lab.rack.dispatcher.records(9)[0]["client"] == "192.0.2.1"


def test_what_fails_is_said(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.rack.refusing.add(("a", "on"))
    asking = lab.connect("192.0.2.1")
    assert asking.asks("a 1 on") == "nack: a: refused\n"
    assert "nack to 192.0.2.1: a: refused" in caplog.messages
    assert lab.connect().asks("c 1 status").startswith("nack: there is no PDU 'c'")


def test_digits_are_a_number(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the existing daemon has it."""
    ports: list[object] = []
    target = Config.target

    def noted(config: Config, hostname: str, port: Any) -> Any:
        ports.append(port)
        return target(config, hostname, port)

    monkeypatch.setattr(Config, "target", noted)
    assert lab.connect().asks("a 007 on") == "ack\n" and {*ports} == {7}
    assert lab.rack.dispatcher.records(1)[0]["target"] == "a port 7"


def test_after_what_has_not_the_form_nothing_is_taken(lab: Lab) -> None:
    wrong = {"POST /": FORM, "POST / HTTP/1.1": "'HTTP/1.1' is none of", "a 1 onn": "'onn' is", "a 1 on wait=x": "wait"}
    for text, why in wrong.items():
        asking = lab.connect()
        assert asking.sends(f"{text}\na 1 on\n") and asking.hears().startswith(f"nack: {why}")
        assert asking.connection.closing and lab.rack.seen["a"] == ""
    asking = lab.connect()
    assert asking.sends("c 1 on\na 1 on\n") and asking.hears().startswith("nack: there is no PDU")
    assert not asking.connection.closing and asking.sends("") and asking.hears() == "ack\n"


def test_a_token_counts_for_the_lines_after_it(closed: Lab) -> None:
    asking = closed.connect()
    assert asking.sends(f"token {good(sub='ann')}\na 1 on\n") and asking.connection.exchange is None
    assert asking.sends("") and asking.hears() == "ack\n"
    assert closed.rack.dispatcher.records(9)[0]["client"] == "unix (ann)"
    asking = closed.connect()
    assert asking.sends(f"token {good(roles=['b'])}\nb 1 on\na 1 on\nb 1 off\n")
    assert asking.sends("") and asking.hears() == "ack\n"
    assert asking.sends("") and asking.hears().startswith("nack: there is no PDU 'a'")
    assert asking.sends("") and asking.hears() == "nack: the role b may not switch off b port 1\n"
    assert (closed.rack.seen["a"], closed.rack.seen["b"]) == ("o", "o")


def test_a_token_that_is_revoked_ends_it(closed: Lab) -> None:
    asking = closed.connect()
    assert asking.sends(f"token {good()}\na 1 on\na 1 off\na 1 off\n")
    assert asking.sends("") and asking.hears() == "ack\n" and not asking.connection.closing
    closed.listener.renew(closed.listener.options, Access("another"), None)
    assert asking.sends("") and asking.hears() == "nack: the token is not valid here\n"
    assert asking.connection.closing and closed.rack.seen["a"] == "o"


def test_without_a_token_nothing_is_done(closed: Lab) -> None:
    for address in (UNIX, "192.0.2.1"):
        asking = closed.connect(address)
        assert asking.asks("a 1 on") == f"nack: {BY_TOKEN.format(address)}\n"
        assert asking.asks(f"token {good()}").startswith("nack: ")  # which must come first
    assert closed.rack.seen["a"] == "" and closed.orders.hand_over() is False


def test_a_token_of_that_name_may_be_a_pdu(lab: Lab) -> None:
    assert lab.connect().asks("token on").startswith("nack: there is no alias or node 'token'")


def test_a_token_that_is_not_good_ends_it(closed: Lab, caplog: pytest.LogCaptureFixture) -> None:
    asking = closed.connect()
    assert asking.sends("token x.y.z\na 1 on\n") and asking.hears() == "nack: the token is not valid here\n"
    assert asking.connection.closing and closed.rack.seen["a"] == ""
    assert caplog.messages == ["nack to unix: the token is not valid here"]
    plain = closed.connect("192.0.2.1")
    assert plain.asks(f"token {good()}") == "nack: a token is taken over TLS only\n" and plain.connection.closing


def test_who_tries_again_and_again_is_told_later(closed: Lab) -> None:
    """Who only asks without one is not."""
    for _ in range(100):
        asking, before = closed.connect(), time.monotonic()
        assert asking.sends("token x.y.z\n")
        if asking.thread.planned:
            break
        assert asking.hears()
    ((when, tell),) = asking.thread.planned
    assert asking.connection.exchange is not None and before + PAUSE <= when <= time.monotonic() + PAUSE
    tell()
    assert asking.hears() == "nack: the token is not valid here\n" and asking.connection.closing
    other = closed.connect()
    assert other.asks("a 1 on").startswith("nack: ") and not other.thread.planned


def test_what_is_late_is_answered_as_it_is(lab: Lab) -> None:
    asking = lab.connect()
    assert not asking.sends("a 1 o") and not asking.connection.closing
    assert asking.connection.speech.expired() and asking.sends("")
    assert asking.hears().startswith("nack: 'o' is none of") and asking.connection.closing
