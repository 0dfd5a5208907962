# SPDX-License-Identifier: MIT
"""What the daemon tells systemd, and what it says of a reboot that is not finished when it stops."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdudaemon.notify import Notifier
from tests.support.plugins import recorded
from tests.support.process import Daemon, Reply, eventually, in_parallel, install_plugin


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(60)

    def heard(self, until: str) -> list[dict[str, str]]:
        """Return the messages up to the first that has a line beginning so."""
        messages = []
        while True:
            text = self.socket.recv(65536).decode()
            messages.append(dict(line.split("=", 1) for line in text.splitlines()))
            if any(line.startswith(until) for line in text.splitlines()):
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, str]]:
    name = f"pdudaemon-test-{os.getpid()}-{time.monotonic_ns()}"
    address = str(tmp_path / "notify") if request.param == "path" else f"\0{name}"
    made = Manager(address)
    yield made, address.replace("\0", "@")
    made.socket.close()


@pytest.mark.real_program
def test_the_life_of_a_service(daemon: Callable[..., Daemon], manager: tuple[Manager, str]) -> None:
    systemd, address = manager
    started = daemon({"pdu": {"driver": "dummy", "slow": 30, "timeout": 0.1}}, start=False)
    started.environment |= {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    started.start()
    assert systemd.heard("READY=1")[-1]["STATUS"] == "1 PDUs, 0 requests not ended"
    systemd.heard("WATCHDOG=1")
    started.power("on", "pdu", 1, wait=0)
    busy = "1 PDUs, 1 requests not ended"  # a worker that is busy is well
    eventually(lambda: systemd.heard("WATCHDOG=1")[-1]["STATUS"] == busy)
    assert started.process is not None
    before = time.monotonic_ns() // 1000
    started.process.send_signal(signal.SIGHUP)
    reloading = systemd.heard("RELOADING=1")[-1]
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    systemd.heard("READY=1")
    started.configure("{")
    started.process.send_signal(signal.SIGHUP)
    systemd.heard("RELOADING=1")
    assert "not valid JSON" in systemd.heard("READY=1")[-1]["STATUS"]
    assert "not valid JSON" in systemd.heard("WATCHDOG=1")[-1]["STATUS"]  # whenever somebody looks
    started.configure(started.settings)
    started.process.send_signal(signal.SIGHUP)
    systemd.heard("READY=1")
    assert systemd.heard("WATCHDOG=1")[-1]["STATUS"].startswith("1 PDUs")
    started.kill()


@pytest.mark.real_program
def test_the_watchdog_is_fed_only_for_ourselves(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    systemd = Manager(str(tmp_path / "notify"))
    started = daemon({}, start=False)
    started.environment |= {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "200000",
        "WATCHDOG_PID": "1",
    }
    started.start()
    systemd.heard("READY=1")
    systemd.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        systemd.heard("WATCHDOG=1")
    started.stop()
    systemd.heard("STOPPING=1")
    assert systemd.heard("STATUS=stopped")[-1]["STATUS"] == "stopped"
    systemd.socket.close()


def test_what_has_no_bytes_is_told_as_well_as_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    Notifier().ready("not reloaded: pdus.\ud800: is no name")
    assert systemd.heard("READY=1") == [{"READY": "1", "STATUS": "not reloaded: pdus.?: is no name"}]
    systemd.socket.close()


def test_an_unfinished_reboot_is_named_at_the_stop_and_after(
    daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    started, plugin = recorded(daemon, {"pdu": {}, "other": {}})
    started.power("reboot", "pdu", 3, delay=600, wait=0)
    started.power("reboot", "other", 1, delay=1, wait=0)
    eventually(lambda: plugin.by_outlet().get(("pdu", "3")) == "f" and plugin.by_outlet().get(("other", "1")))
    assert started.stop() == 0
    assert plugin.by_outlet()["other", "1"] == "fo"  # due within the bound
    last = systemd.heard("STATUS=stopped")[-1]["STATUS"]
    assert "pdu port 3 is to be switched on in 5" in last and "other" not in last
    assert "pdu port 3 is to be switched on in 5" in started.log_text()
    told = started.run("--unfinished")
    assert (told.returncode, told.stdout) == (1, "request 1: reboot pdu port 3: still to be switched on\n")
    systemd.socket.close()


def test_nothing_unfinished(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    started.power("on", "pdu", 1)
    told = started.run("--unfinished")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    started.stop()
    told = started.run("--unfinished")
    assert (told.returncode, told.stdout) == (0, "")


HOLDS_THE_LOCK = """
import gc
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.drivers.driver import PDUDriver

class Holder(PDUDriver):
    models = {"holder": None}
    def port_interaction(self, command, port):
        gc.unfreeze()
        next(each for each in gc.get_objects() if isinstance(each, Dispatcher))._lock.acquire()
"""


@pytest.mark.long
def test_health_is_what_the_watchdog_asks(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """A dispatcher that hangs with its lock held is neither fed nor said to be well, and holds up no answer."""
    systemd = Manager(str(tmp_path / "notify"))
    started = daemon({"pdu": {"driver": "holder"}}, start=False)
    started.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    install_plugin(started.plugins, "holder", HOLDS_THE_LOCK, {"holder": "Holder"})
    started.start()
    assert started.http("/healthz").text == "ok\n"
    started.power("on", "pdu", 1, wait=0)
    eventually(lambda: started.http("/healthz").status == 503)  # when the driver has found the lock
    for reply in in_parallel([lambda: started.http("/healthz")] * 5):
        assert (reply.status, reply.text) == (503, "the dispatcher does not turn\n")
    assert systemd.heard("STATUS=the dispatcher does not turn")
    systemd.socket.close()


def test_a_store_that_takes_nothing_is_told_but_no_reason_to_be_killed(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """The daemon knows what is owed, and the next one could not start."""
    systemd = Manager(str(tmp_path / "notify"))
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    started.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    started.start()
    with started.full_disk():
        eventually(lambda: started.http("/healthz").status == 503)  # as soon as its log must grow
        fed = eventually(lambda: (last := systemd.heard("WATCHDOG=1")[-1])["STATUS"].startswith("/") and last)
        assert "store.db: File too large: " in fed["STATUS"] and "0 requests not ended" in fed["STATUS"]
    assert started.http("/healthz").status == 200
    systemd.socket.close()


def test_what_is_unfinished_is_told_while_the_daemon_runs(daemon: Callable[..., Daemon]) -> None:
    """Also under load, which fills the log of the store and begins it anew; and of a daemon that does not turn."""
    pdus = {"pdu": {"driver": "dummy"}, "busy": {"driver": "dummy"}}
    started = daemon(
        pdus, jwt_secret_file="secret", listeners=[{"protocol": "tcp", "port": 0, "allow": ["127.0.0.0/8"]}]
    )
    assert started.tcp("pdu 3 reboot 600 wait=0") == "ack\n"
    line = "request 1: reboot pdu port 3: still to be switched on\n"
    eventually(lambda: started.run("--unfinished").stdout == line)
    many = "".join(f"busy {number % 8 + 1} on wait=0\n" for number in range(900))
    *told, _ = in_parallel([*[lambda: started.run("--unfinished")] * 5, lambda: started.tcp(many)])
    assert [(each.returncode, each.stdout, each.stderr) for each in told] == [(1, line, "")] * 5
    assert started.process is not None
    started.process.send_signal(signal.SIGSTOP)
    assert started.run("--unfinished").stdout == line
    started.process.send_signal(signal.SIGCONT)
    assert started.tcp("pdu 4 on") == "ack\n" and started.stop() == 0


def test_a_damaged_store_is_not_one_with_nothing_unfinished(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    started.db.write_bytes(bytes(range(256)) * 80)
    told = started.run("--unfinished")
    assert (told.returncode, told.stdout) == (1, "")
    assert f"{started.db}: the store is damaged" in told.stderr and "MAY BE OFF" in told.stderr
    assert "/tmp/pdudaemon-" not in told.stderr and "kept as" not in told.stderr
    assert started.db.read_bytes() == bytes(range(256)) * 80


def test_what_may_pass_by_itself_ends_with_another_status(daemon: Callable[..., Daemon]) -> None:
    """So that systemd tries again: see RestartPreventExitStatus in the unit."""
    one = daemon({}, start=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for section, status, words in (
            ({"port": taken.getsockname()[1]}, os.EX_TEMPFAIL, "Address already in use"),
            ({"hostname": "192.0.2.1"}, os.EX_TEMPFAIL, "cannot listen on 192.0.2.1 port 16421: Cannot assign"),
            ({"hostname": "no.such.host.invalid"}, os.EX_TEMPFAIL, "cannot listen on no.such.host.invalid"),
            ({"hostname": "127.0..1"}, 2, "cannot listen on 127.0..1"),
            ({"port": "x"}, 2, "is not a whole number"),
        ):
            one.configure({"daemon": section, "pdus": {}})
            ended = one.run()
            assert (ended.returncode, words in ended.stderr, "Traceback" in ended.stderr) == (status, True, False), (
                ended
            )


def test_who_waits_when_the_daemon_stops_is_told_that_it_goes_on(daemon: Callable[..., Daemon]) -> None:
    started = daemon({f"pdu{number}": {"driver": "dummy"} for number in range(32)}, max_connections_per_address=1000)
    accept = {"Accept": "application/json"}

    def ask(number: int) -> Reply:
        path = f"/power/control/reboot?hostname=pdu{number % 32}&port={number // 32 + 1}&delay=600"
        return started.http(path, **accept)

    def stop() -> None:
        eventually(
            lambda: [each["state"] for each in started.http("/api/v1/requests?limit=256").json].count("waiting") == 256
        )
        started.stop()

    *replies, _ = in_parallel([*(lambda number=number: ask(number) for number in range(256)), stop])
    assert {(reply.status, reply.json["type"]) for reply in replies} == {(503, "urn:pdudaemon:stopping")}
    assert {reply.json["request"] for reply in replies} == {*range(1, 257)}
    assert all(
        f"accepted as request {reply.headers['X-Request-Id']}, but not done" in reply.json["detail"]
        for reply in replies
    )
