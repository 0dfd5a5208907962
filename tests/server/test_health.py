# SPDX-License-Identifier: MIT
"""What watches the daemon needs no token, and learns nothing by it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

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
    with socket.create_connection(("127.0.0.1", started.port), timeout=20) as held:
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
