# SPDX-License-Identifier: MIT
"""What watches the daemon needs no token, and learns nothing by it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.engine.pulse import Pulse
from pdudaemon.server.health import PULSE, Health
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET, good, later, made


def test_without_a_token_there_is_a_word_and_nothing_else(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET)
    bad = f"Bearer {made({'exp': later()}, 'x')}"
    for path in ("/livez", "/healthz", "/readyz"):
        for headers in ({}, {"Authorization": bad}, {"Authorization": f"Bearer {good()}"}):
            reply = started.http(path, **headers)
            assert (reply.status, reply.text) == (200, "ok\n")
            assert started.http(path, "HEAD", **headers).status == 200
        for method in ("POST", "PUT", "DELETE"):
            assert started.http(path, method).status == 401
    assert started.power("on", "pdu", 1).status == 401
    with started.full_disk():
        token = f"Bearer {good()}"
        told = eventually(lambda: (found := started.http("/healthz", Authorization=token)).status == 503 and found)
        assert "store" in told.text
        for path in ("/healthz", "/readyz"):
            reply = eventually(lambda path=path: (found := started.http(path)).status == 503 and found)
            assert reply.text == "not well\n"
        for _ in range(2):  # a new start would not help
            assert started.http("/livez").text == started.http("/livez", Authorization=token).text == "ok\n"
    eventually(lambda: started.http("/readyz").status == 200)


def test_a_daemon_that_stops_is_not_ready(daemon: Callable[..., Daemon]) -> None:
    """It owes an on, so that it takes some seconds."""
    started = daemon({"pdu": {"driver": "dummy"}})
    reply = started.power("reboot", "pdu", 1, delay=5, wait=0)
    assert reply.status == 200
    eventually(lambda: started.http("/api/v1/requests/1").json["switched"])
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as held:
        assert started.process is not None

        def ready() -> str:
            held.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            return held.recv(65536).decode()

        assert ready().startswith("HTTP/1.1 200")
        started.process.send_signal(signal.SIGTERM)
        found = eventually(lambda: (text := ready()).startswith("HTTP/1.1 503") and text)
        assert found.endswith("\r\n\r\nthe daemon is stopping\n")
    assert started.process.wait(30) == 0


def test_metrics_are_open_to_networks(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET)
    assert started.http("/metrics").status == 401
    started.settings["daemon"]["metrics_allow"] = ["192.0.2.0/24", "127.0.0.1"]
    started.configure(started.settings)
    assert started.process is not None
    started.process.send_signal(signal.SIGHUP)
    reply = eventually(lambda: (found := started.http("/metrics")).status == 200 and found)
    assert "pdudaemon_" in reply.text
    for path in ("/nodes", "/api/v1/pdus", "/metrics/"):
        assert started.http(path).status in (401, 403)
    assert started.http("/metrics", "POST").status == 401


class Dispatcher:
    """How a daemon is, and how often it was felt."""

    stopping = False

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self.felt = 0

    def pulse(self, seconds: float, thoroughly: bool = False) -> Pulse:
        assert seconds == PULSE and thoroughly
        self.felt += 1
        return self._pulse


def exchange(dispatcher: Dispatcher, stranger: bool = False) -> Any:
    return SimpleNamespace(dispatcher=dispatcher, stranger=stranger)


@pytest.mark.parametrize(
    ("pulse", "alive", "healthy"),
    [
        (Pulse(), "ok", "ok"),
        (Pulse(hangs="it hangs"), "it hangs", "it hangs"),
        (Pulse(store="the disk fails"), "the disk fails", "the disk fails"),
        (Pulse(store="the disk is full", full=True), "ok", "the disk is full"),
        (Pulse(hangs="it hangs", store="the disk is full", full=True), "it hangs", "it hangs; the disk is full"),
    ],
)
def test_what_is_told_of_how_a_daemon_is(pulse: Pulse, alive: str, healthy: str) -> None:
    for stranger in (False, True):
        for ask, text in ((Health().alive, alive), (Health().healthy, healthy), (Health().ready, healthy)):
            answer = ask(exchange(Dispatcher(pulse), stranger), "")
            assert answer.status == (200 if text == "ok" else 503)
            assert answer.body == ("not well" if stranger and text != "ok" else text)
    stopping = Dispatcher(pulse)
    stopping.stopping = True
    assert Health().ready(exchange(stopping), "").body == "the daemon is stopping"


def test_strangers_are_told_the_same_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    health, one = Health(), Dispatcher(Pulse())
    now = [1000.0]
    monkeypatch.setattr("pdudaemon.server.health.time.monotonic", lambda: now[0])
    for stranger, felt in ((True, 1), (True, 1), (False, 2), (True, 2)):
        health.healthy(exchange(one, stranger), "")
        assert one.felt == felt
    other = Dispatcher(Pulse(store="the disk fails"))
    assert health.healthy(exchange(other, True), "").status == 503 and other.felt == 1
    health.healthy(exchange(one, True), "")
    assert one.felt == 3
    now[0] += 0.9
    health.healthy(exchange(one, True), "")
    assert one.felt == 3
    now[0] += 0.1
    health.healthy(exchange(one, True), "")
    assert one.felt == 4


def test_a_daemon_that_hangs_keeps_no_stranger_from_being_told() -> None:
    """What was felt last is told while somebody else feels anew."""
    health, one, go_on = Health(), Dispatcher(Pulse()), threading.Event()
    assert health.alive(exchange(one, True), "").status == 200
    felt = threading.Event()

    def pulse(*_: object, **__: object) -> Pulse:
        felt.set()
        go_on.wait(60)
        return Pulse()

    one.pulse = pulse  # type: ignore[method-assign]
    asking = threading.Thread(target=health.alive, args=(exchange(one), ""))
    asking.start()
    assert felt.wait(60) and health.alive(exchange(one, True), "").status == 200
    go_on.set()
    asking.join(60)
