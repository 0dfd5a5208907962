# SPDX-License-Identifier: MIT
"""Stopping within its bound, clients that hold on, and a PDU that does not come back."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pdudaemon.service import STOP_BOUND
from tests.support.plugins import recorded
from tests.support.process import Daemon, eventually, in_parallel

KEPT = {"hostname": "pdu", "port": 1, "locked": True}


@contextmanager
def connections(daemon: Daemon, count: int) -> Iterator[list[socket.socket]]:
    """Hold some connections open."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=60)) for _ in range(count)
        ]


@pytest.mark.long
def test_sigterm_with_a_hung_pdu_leaves_within_its_bound_and_the_work_goes_on(
    daemon: Callable[..., Daemon],
) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 3600}, "other": {}})
    assert started.tcp("pdu 1 on wait=0") == "ack\n"
    assert started.tcp("pdu 2 off wait=0") == "ack\n"
    eventually(lambda: plugin.seen("begin"))
    assert started.stop(signal.SIGTERM, STOP_BOUND + 60) == 0
    assert "the worker of pdu is still running at exit" in started.log_text()
    started.settings["pdus"]["pdu"] = plugin.settings(takes=0)
    started.configure(started.settings)
    started.start()
    eventually(lambda: plugin.by_outlet() == {("pdu", "1"): "o", ("pdu", "2"): "f"})


def test_sigterm_with_an_hour_of_delay_pending_leaves_at_once(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    assert started.tcp("pdu 1 reboot 3600 wait=0") == "ack\n"
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "f")
    with connections(started, 200):
        assert started.stop() == 0
    started.start()
    (request,) = started.http("/api/v1/requests").json
    assert request["state"] == "waiting" and request["ended"] is None
    assert started.http("/api/v1/requests/1", "DELETE").status == 409
    assert started.http("/api/v1/requests/1?half=on", "DELETE").status == 200
    assert plugin.by_outlet()["pdu", "1"] == "f"


def test_sigterm_brings_home_the_on_half_that_is_due(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    assert started.tcp("pdu 1 reboot 6 wait=0") == "ack\n"
    assert started.tcp("pdu 1 off wait=0") == "ack\n"
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "f")
    assert started.stop() == 0
    assert plugin.by_outlet()["pdu", "1"] == "fo"
    started.start()
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "fof")


def test_sigterm_tells_those_who_wait(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    answers = in_parallel(
        [
            lambda: started.power("reboot", "pdu", 1, delay=600),
            lambda: started.tcp("pdu 2 on 600"),
            lambda: eventually(lambda: plugin.by_outlet()) and started.stop(),
        ]
    )
    why = "but not done: the daemon is stopping, and resumes it when it starts again"
    first = answers[0].headers["X-Request-Id"]
    assert (answers[0].status, answers[0].text) == (503, f"accepted as request {first}, {why}\n")
    assert answers[1] == f"nack: accepted as request {3 - int(first)}, {why}\n"


@pytest.mark.real_program
@pytest.mark.long
def test_sigterm_kills_a_command_that_does_not_end(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    started = daemon({"pdu": {"driver": "localcmdline", "cmd_on": f"echo $$ > {begun}; sleep 100 & sleep 100"}})
    assert started.tcp("pdu 1 on wait=0") == "ack\n"
    leader = int(eventually(lambda: begun.exists() and begun.read_text()))
    assert started.stop(signal.SIGTERM, STOP_BOUND + 60) == 0
    eventually(lambda: not any(f" {leader} " in stat for stat in process_groups()))


def process_groups() -> list[str]:
    """Return the process group of every process that is not a zombie."""
    groups = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if state != "Z":
            groups.append(f" {group} ")
    return groups


@pytest.mark.real_program
def test_two_daemons_on_one_store(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    second = started.run()
    assert second.returncode == 75
    assert "in use by another pdudaemon" in second.stderr and str(started.db) in second.stderr
    assert "Traceback" not in second.stderr
    assert started.power("on", "pdu", 1).status == 200


@pytest.mark.long
def test_a_dead_pdu_with_200_waiting_clients_costs_the_others_nothing(daemon: Callable[..., Daemon]) -> None:
    started = daemon(
        {"dead": {"driver": "dummy", "deaf": True, "retries": 1, "timeout": 3}, "good": {"driver": "dummy"}}
    )
    with connections(started, 200) as clients:
        for port, client in enumerate(clients):
            client.sendall(f"dead {port % 8 + 1} {('on 0 wait=6', 'status wait=6')[port % 2]}\n".encode())
        for port in range(1, 9):
            assert started.power("on", "good", port).status == 200
            assert started.power("status", "good", port).text == "on\n"
        answers = [client.makefile().readline() for client in clients]
    assert all("no answer" in answer or "not done after 6 s" in answer for answer in answers), answers


def test_idle_connections_and_dribbling_clients_are_closed_and_good_ones_unharmed(
    daemon: Callable[..., Daemon],
) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, client_timeout=4)
    with connections(started, 200) as idle, connections(started, 2) as (text, http):
        before = time.monotonic()
        text.sendall(b"p")
        http.sendall(b"GET /power/control/on?hostname=pdu&port=1 HTTP/1.1\r\n")
        closed: set[socket.socket] = set()
        while len(closed) < 2 and time.monotonic() - before < 60:
            assert started.tcp("pdu 1 on") == "ack\n"
            for client, more in ((text, b"u"), (http, b"X-Slow: 1\r\n")):
                try:
                    client.settimeout(0.1)
                    client.sendall(more)
                    if not client.recv(1000):
                        closed.add(client)
                except TimeoutError:
                    pass
                except OSError:
                    closed.add(client)
        assert len(closed) == 2
        for client in idle:
            assert client.recv(100) == b""


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("GET /?wait=3600", ""),
        ("GET /?nodes=nobody&wait=3600", ""),
        ("PATCH /?wait=3600", ""),
        ("DELETE /?nodes=nobody,kept&wait=3600", ""),
        ("POST /api/v1/requests", '{"action": "on", "nodes": "nobody", "wait": 3600}'),
    ],
)
def test_who_was_answered_before_anything_was_waited_for_is_idle_from_then_on(
    daemon: Callable[..., Daemon], line: str, body: str
) -> None:
    """And not only when the time is over that the answer might have taken."""
    started = daemon({"pdu": {"driver": "dummy"}}, nodes={"kept": KEPT}, client_timeout=3)
    with connections(started, 1) as (client,):
        head = f"{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall((head + body).encode())
        answer = b""
        while more := client.recv(4096):
            answer += more
    assert answer.startswith(b"HTTP/1.1 ") and b"Connection: close" not in answer


def test_connections_beyond_the_bound_are_refused(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, max_connections=5)
    with connections(started, 5) as first:
        eventually(lambda: refused(started))
        first[0].sendall(b"pdu 1 on\n")
        assert first[0].recv(100) == b"ack\n"
    eventually(lambda: started.tcp("pdu 1 on") == "ack\n")


def refused(started: Daemon) -> bool:
    """Whether a connection is closed without an answer."""
    try:
        return started.tcp("pdu 1 on") == ""
    except ConnectionError:
        return True


@pytest.mark.long
def test_a_stuck_pdu_is_told_and_comes_back(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """The driver ignores its deadline: after that and a grace who waits is told, until it comes back."""
    back = tmp_path / "back"
    started, plugin = recorded(daemon, {"pdu": {"until": str(back), "timeout": 1}, "good": {}})
    first, second = in_parallel([lambda: started.power("on", "pdu", 1), lambda: started.power("on", "pdu", 2, wait=20)])
    assert (first.status, second.status) == (504, 504)
    assert "stuck" in first.text and "stuck" in second.text
    refused = started.power("on", "pdu", 3)
    assert refused.status == 503 and "stuck" in refused.text and refused.headers["Retry-After"]
    assert [pdu["state"] for pdu in started.http("/api/v1/pdus").json] == ["stuck", "ready"]
    assert started.http("/healthz").status == 200
    assert started.power("on", "good", 1).status == 200
    back.touch()
    eventually(lambda: plugin.by_outlet().get(("pdu", "1")) == "o")
    eventually(lambda: started.power("on", "pdu", 3, wait=0).status == 200)


def test_a_full_queue_refuses(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy", "deaf": True, "timeout": 3600}}, max_queue=3)
    answers = [started.tcp(f"pdu {port} on wait=0") for port in range(1, 6)]
    assert answers[:3] == ["ack\n"] * 3
    assert all("queue is full" in answer for answer in answers[3:])
