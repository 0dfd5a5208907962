# SPDX-License-Identifier: MIT
"""What is owed: the on half of a reboot that fails, requests that span outlets, and what a restart makes of it all."""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.device import Device
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Look, Query
from pdudaemon.engine.runner import PDURunner
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.engine.timetable import Timetable
from pdudaemon.errors import Busy, DeviceError, PermanentError, RequestEnded, StoreError, TransientError
from pdudaemon.power import Action, Outlet, Phase, State, Target
from tests.support.plugins import read_record, recorded
from tests.support.process import Daemon, eventually, in_parallel, install_plugin
from tests.support.rack import awaited, submitted


def state(daemon: Daemon, number: int) -> str:
    """Return the state of a request."""
    return str(daemon.http(f"/api/v1/requests/{number}").json["state"])


def test_a_failing_on_half_is_told_and_a_later_on_takes_the_debt_over(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    refuses = tmp_path / "refuses"
    refuses.touch()
    started, plugin = recorded(daemon, {"pdu": {"refuses": str(refuses)}})
    first = started.power("reboot", "pdu", 1, delay=0)
    assert first.status == 502 and "the port may be off, on is tried again" in first.text
    assert state(started, 1) == "waiting"
    second = started.power("on", "pdu", 1)
    assert second.status == 502 and "on is tried again" in second.text
    assert (state(started, 1), state(started, 2)) == ("superseded", "waiting")
    assert started.http("/api/v1/requests/2", "DELETE").status == 409  # it still owes an on
    started.kill()
    started.start()  # and it still does after a crash
    eventually(lambda: state(started, 2) == "waiting")
    refuses.unlink()
    assert started.power("on", "pdu", 1).status == 200
    assert (state(started, 2), state(started, 3)) == ("superseded", "done")
    assert plugin.by_outlet()["pdu", "1"] == "o"


def test_a_later_off_ends_the_debt(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    refuses = tmp_path / "refuses"
    refuses.touch()
    started, plugin = recorded(daemon, {"pdu": {"refuses": str(refuses)}})
    started.power("reboot", "pdu", 1, delay=0)
    refuses.unlink()
    assert started.power("off", "pdu", 1).status == 200
    assert state(started, 1) == "superseded"
    assert plugin.by_outlet()["pdu", "1"] == "f"


def test_a_request_already_waiting_supersedes_when_the_on_half_fails(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    refuses = tmp_path / "refuses"
    refuses.touch()
    until = tmp_path / "until"
    started, plugin = recorded(daemon, {"pdu": {"until": str(until), "refuses_on": str(refuses)}})
    assert started.tcp("pdu 1 reboot 0 wait=0") == "ack\n"
    assert started.tcp("pdu 1 off wait=0") == "ack\n"
    until.touch()
    eventually(lambda: state(started, 1) == "superseded")
    eventually(lambda: state(started, 2) == "done")
    assert plugin.by_outlet()["pdu", "1"] == "ff" and len(plugin.seen("refused")) == 1


def test_it_is_given_up_in_the_end_and_loudly(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    refuses = tmp_path / "refuses"
    refuses.touch()
    started, _ = recorded(daemon, {"pdu": {"refuses": str(refuses)}}, give_up=0.5)
    assert started.power("reboot", "pdu", 1, delay=0).status == 502
    eventually(lambda: state(started, 1) == "given up")
    eventually(lambda: "CRITICAL" in started.log_text() and "pdu port 1 MAY BE OFF" in started.log_text())


def test_a_failed_off_is_told_but_the_on_follows(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    started, plugin = recorded(daemon, {"pdu": {"fails": str(fails)}})
    reply = started.power("reboot", "pdu", 1, delay=0.1)
    assert (reply.status, reply.text) == (502, "pdu: RuntimeError: failed once\n")
    assert plugin.by_outlet()["pdu", "1"] == "o"
    assert started.power("status", "pdu", 1).text == "on\n"


def test_what_is_overdue_expires_but_an_on_half_never(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    started, plugin = recorded(daemon, {"pdu": {"until": str(tmp_path / "never")}, "other": {}}, resume_age=0)
    assert started.tcp("pdu 1 reboot 0 wait=0") == "ack\n"
    for text in ("pdu 1 off", "pdu 2 on", "pdu 3 reboot", "other 1 off 3600"):
        assert started.tcp(f"{text} wait=0") == "ack\n"
    eventually(lambda: plugin.seen("begin"))
    started.kill()
    started.settings["pdus"]["pdu"] = plugin.settings()
    started.configure(started.settings)
    started.start()
    eventually(lambda: state(started, 1) == "done")
    assert [state(started, number) for number in range(1, 6)] == ["done", "expired", "expired", "expired", "waiting"]
    assert plugin.by_outlet() == {("pdu", "1"): "o"}


@pytest.mark.parametrize("way", ["restart", "reload"])
def test_a_pdu_that_is_gone_ends_its_requests_and_one_that_is_disabled_keeps_them(
    daemon: Callable[..., Daemon], way: str
) -> None:
    started, plugin = recorded(daemon, {"gone": {}, "faulty": {}})
    for pdu in ("gone", "faulty"):
        assert started.tcp(f"{pdu} 1 reboot 8 wait=0") == "ack\n"
    for number in (1, 2):  # a kill before it is on record has the off done again
        eventually(lambda number=number: started.http(f"/api/v1/requests/{number}").json["switched"])
    started.kill()
    settings = started.settings["pdus"]
    del settings["gone"]
    settings["faulty"]["retries"] = "many"
    started.configure(started.settings)
    started.start()
    assert state(started, 1) == "failed"
    eventually(lambda: "gone is not configured any more" in started.log_text())
    assert state(started, 2) == "accepted"
    eventually(lambda: "request 2: reboot faulty port 1 kept until this can be" in started.log_text())
    settings["faulty"]["retries"] = 1
    started.configure(started.settings)
    if way == "restart":
        started.stop()
        started.start()
    else:
        assert started.process is not None
        started.process.send_signal(signal.SIGHUP)
    eventually(lambda: plugin.by_outlet()["faulty", "1"] == "fo", 60)
    assert started.power("off", "faulty", 1).status == 200
    assert plugin.by_outlet()["faulty", "1"] == "fof"


def test_what_is_kept_can_be_cancelled(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    assert started.tcp("pdu 1 off 60 wait=0") == "ack\n"
    started.kill()
    started.configure({**started.settings, "pdus": {"pdu": {"driver": "dummy", "outlets": "x"}}})
    started.start()
    assert started.http("/api/v1/requests/1", "DELETE").status == 200
    assert state(started, 1) == "cancelled"
    assert started.http("/api/v1/requests/1", "DELETE").status == 409


@pytest.mark.parametrize(("way", "right"), [("reload", {"outlets": 4}), ("restart", {"outlets": 4}), ("restart", None)])
def test_a_feed_that_is_gone_takes_no_other_along(
    daemon: Callable[..., Daemon], tmp_path: Path, way: str, right: dict[str, int] | None
) -> None:
    def dummy(name: str) -> dict[str, str]:
        return {"driver": "dummy", "file": str(tmp_path / name)}

    feeds = [{"hostname": "right", "port": 7}, {"hostname": "left", "port": 1}]
    started = daemon({name: dummy(name) for name in ("left", "right")}, start=False)
    started.configure({**started.settings, "nodes": {"web": {"feeds": feeds}}})
    started.start()
    assert started.http("/power/control/reboot?alias=web&delay=8&wait=0").status in (200, 202)
    eventually(lambda: all((tmp_path / name).exists() for name in ("left", "right")))
    eventually(lambda: state(started, 1) == "waiting")
    after = {name: dummy(name) for name in ("left", "right")[: 1 if right is None else 2]}
    if right:
        after["right"].update(right)  # type: ignore[arg-type]
    if way == "restart":
        started.kill()
    started.configure({**started.settings, "pdus": after})
    if way == "restart":
        started.start()
    else:
        assert started.process is not None
        started.process.send_signal(signal.SIGHUP)
    eventually(lambda: state(started, 1) == "failed")
    eventually(lambda: "right port 7 MAY BE OFF" in started.log_text())
    assert "left port 1 MAY BE OFF" not in started.log_text()
    assert (tmp_path / "right").read_text() == '{"7": "off"}' and (tmp_path / "left").read_text() == '{"1": "on"}'
    assert started.power("off", "left", 1).status == 200


def test_what_a_full_disk_did_not_take_is_written_before_anything_else(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    until = tmp_path / "until"
    started, plugin = recorded(daemon, {"pdu": {"until": str(until)}})
    assert started.power("off", "pdu", 1, wait=0).status in (200, 202)
    assert started.power("off", "pdu", 2, delay=3600, wait=0).status in (200, 202)
    eventually(lambda: plugin.seen("begin"))
    with started.full_disk():
        until.touch()
        eventually(
            lambda: "is not on record" in started.log_text() or "request 1: off pdu port 1: " in started.log_text()
        )
        refused = started.power("on", "pdu", 1)
        assert refused.status == 503 and "store.db" in refused.text
        health = started.http("/healthz")
        assert health.status == 503 and "store.db: File too large: " in health.text
        cancelled = started.http("/api/v1/requests/2", "DELETE")
        assert cancelled.status == 503 and "store.db" in cancelled.text
    assert started.power("on", "pdu", 1).status == 200
    started.kill()
    started.start()
    assert [state(started, number) for number in (1, 2, 3)] == ["done", "cancelled", "done"]
    assert plugin.by_outlet() == {("pdu", "1"): "fo"}


def test_who_waits_while_the_daemon_stops_hears_that_it_was_accepted(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    assert started.process is not None

    def ask(port: int) -> int:
        path = f"/power/control/reboot?hostname=pdu&port={port}&delay=60&wait=50"
        return started.http(path, Accept="application/json").status

    def stop() -> int:
        eventually(lambda: len(started.http("/api/v1/requests").json) == 8)
        assert started.process is not None
        started.process.terminate()
        return started.process.wait(60)

    replies = in_parallel([*[functools.partial(ask, port) for port in range(1, 9)], stop])
    assert replies == [503] * 8 + [0]  # not the 200 that means done


def test_a_request_that_does_not_reach_the_disk_is_not_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pdus = {"pdu": {"driver": "dummy", "file": str(tmp_path / "outlets")}}
    (tmp_path / "conf").write_text(json.dumps({"daemon": {"fsync": "all"}, "pdus": pdus}))
    one = Dispatcher(reader.load(str(tmp_path / "conf")), Store(str(tmp_path / "store")))
    one.start()
    target = one.config.target("pdu", "1")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            submitted(one, Action.ON, target, 0.2)
    assert awaited(one, submitted(one, Action.OFF, target, 0.4), 60)
    assert [record["state"] for record in one.records(5)] == ["done", "failed"]
    assert (tmp_path / "outlets").read_text() == '{"1": "off"}'
    one.close(0)


def test_half_a_character_ends_no_lane(dispatcher: Dispatcher) -> None:
    request = submitted(
        dispatcher, Action.ON, Target("\ud83d", dispatcher.config.target("left", "1").outlets), 0, "\udc00"
    )
    assert awaited(dispatcher, request, 60)
    assert dispatcher.record(request.id)["state"] == "done"


RESTARTING = """
import os, signal
from pdudaemon.drivers.driver import PDUDriver


class Restarting(PDUDriver):
    models = {"restarting": None}

    def note(self, text):
        with open(self.settings["record"], "a") as record:
            record.write(text + "\\n")

    def port_interaction(self, command, port_number):
        self.note(command)

    def port_reboot(self, port_number):
        self.note("restart")
        if port_number == 9:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_restart_of_the_devices_own_is_not_done_again_after_a_crash(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    started = daemon({"bmc": {"driver": "restarting", "record": str(record)}}, start=False)
    install_plugin(started.plugins, "restarting", RESTARTING, {"restarting": "Restarting"})
    started.start()
    assert started.tcp("bmc 1 reboot") == "ack\n"
    assert started.tcp("bmc 9 reboot") == ""
    assert started.process is not None
    started.process.wait(60)
    started.start()
    assert [state(started, number) for number in (1, 2)] == ["done", "interrupted"]
    assert record.read_text() == "restart\nrestart\n"


def test_a_hung_command_of_a_killed_daemon_is_ended_when_its_time_is_over(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    hang = f"echo 0 begin off pdu %s >> {record}; test -e {tmp_path}/well || sleep 100"
    pdu = {"driver": "localcmdline", "cmd_off": hang, "cmd_on": f"echo 0 end on pdu %s >> {record}"}
    started = daemon({"pdu": {**pdu, "timeout": 600}})
    assert started.tcp("pdu 1 reboot 0 wait=0") == "ack\n"
    (lock,) = eventually(lambda: read_record(record) and [*started.folder.glob("*.locks/pdu")])
    eventually(lock.read_text)  # it says whom it is held for
    started.kill()
    (tmp_path / "well").touch()
    started.settings["pdus"]["pdu"] |= {"timeout": 2}
    started.configure(started.settings)
    started.start()
    eventually(lambda: state(started, 1) == "done")
    eventually(lambda: "a command of an earlier run, killed now" in started.log_text())


class Worker:
    """A PDU's worker with nobody behind it; ``seen`` is what it does. Its driver notes how much time it is given."""

    def __init__(self, folder: Path, timeout: float, error: Exception | None = None) -> None:
        seen: list[Any] = []

        class Noting(PDUDriver):
            def handle(self, request: str, port_number: Any) -> None:
                seen.append(self.deadline.remaining())
                if error is not None:
                    raise error

        (folder / "conf").write_text(json.dumps({"pdus": {"pdu": {"driver": "dummy", "timeout": timeout}}}))
        pdu = replace(reader.load(str(folder / "conf")).pdus["pdu"], driver=Noting)
        self.seen = seen
        self.runner = PDURunner(pdu, Device(folder / "lock"), None, self.begin, self.end, Timetable(threading.Lock()))
        self.runner.put(Query(Outlet("pdu", "1")))
        self.runner.start()

    def begin(self, runner: PDURunner, job: Any) -> bool:
        self.seen.append("begin")
        return True

    def end(self, runner: PDURunner, job: Any, reading: State | None, error: DeviceError | None) -> None:
        self.seen.append(error)

    def finish(self) -> list[Any]:
        """Return what was seen, in the end."""
        eventually(lambda: self.seen[-1:] and not isinstance(self.seen[-1], str | float))
        self.runner.stop()
        assert self.runner.join(60)
        return self.seen


@pytest.fixture
def held(tmp_path: Path) -> Iterator[IO[str]]:
    """Hold the file ``lock`` as another process would, without a word on who it is."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def test_an_action_begins_and_has_all_its_time_once_the_lock_is_free(tmp_path: Path, held: IO[str]) -> None:
    """It would be called stuck otherwise, for having waited for what an earlier run left behind."""
    before = time.monotonic()
    worker = Worker(tmp_path, 60)
    time.sleep(2)
    assert not worker.seen
    waited = time.monotonic() - before
    free = time.monotonic()
    fcntl.flock(held, fcntl.LOCK_UN)
    begin, left, error = worker.finish()
    assert begin == "begin" and waited >= 2 and left >= 60 - (time.monotonic() - free) and error is None


def test_a_lock_that_nobody_gives_back_is_told(tmp_path: Path, held: IO[str]) -> None:
    begin, error = Worker(tmp_path, 0.3).finish()
    assert begin == "begin" and isinstance(error, TransientError)
    assert str(error) == f"pdu: busy: another process holds {tmp_path}/lock"


def test_who_waits_for_a_lock_can_be_stopped(tmp_path: Path, held: IO[str]) -> None:
    worker = Worker(tmp_path, 60)
    time.sleep(0.2)
    worker.runner.stop()
    assert worker.runner.join(60)
    begin, error = worker.seen
    assert begin == "begin" and str(error) == "pdu: busy: stopping"


def test_half_a_character_of_a_device_is_told_as_a_question_mark(tmp_path: Path) -> None:
    for number, error in enumerate((PermanentError("so \ud83d", private="why \udc00"), ValueError("so \ud83d"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = Worker(folder, 20, error).finish()[-1]
        assert told.told == ("pdu: so ?: why ?", "pdu: ValueError: so ?")[number]


def test_those_who_ask_the_same_share_the_answer(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    asked, go = tmp_path / "asked", tmp_path / "go"
    command = f"echo x >> {asked}; until test -e {go}; do sleep 0.05; done; echo on"
    started = daemon({"pdu": {"driver": "localcmdline", "cmd_status": command}})
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", started.port), timeout=60)) for _ in range(20)
        ]
        for client in clients:
            client.sendall(b"pdu 1 status\n")
        eventually(asked.exists)
        for _ in range(3):  # by then all have been heard
            assert started.http("/healthz").status == 200
        go.touch()
        answers = [client.makefile() for client in clients]
        assert [answer.readline() for answer in answers] == ["on\n"] * 20
    assert len(asked.read_text().split()) <= 4


# -- requests with several outlets: nodes will have them


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[Dispatcher]:
    pdus = {name: {"driver": "dummy", "file": str(tmp_path / name), "retries": 1} for name in ("left", "right")}
    pdus["dead"] = {"driver": "dummy", "refuse": "dead", "retries": 1}
    (tmp_path / "conf").write_text(json.dumps({"pdus": pdus}))
    one = Dispatcher(reader.load(str(tmp_path / "conf")), Store(MEMORY))
    one.start()
    yield one
    one.close(0)


def feeds(dispatcher: Dispatcher, *names: str) -> Target:
    """Return a target with port 1 of some PDUs."""
    return Target("node", tuple(dispatcher.config.target(name, "1").outlets[0] for name in names))


def test_all_feeds_go_off_before_any_goes_on(dispatcher: Dispatcher, tmp_path: Path) -> None:
    request = submitted(dispatcher, Action.REBOOT, feeds(dispatcher, "left", "right"), 3600)
    eventually(lambda: request.phase is Phase.ON)
    assert {(tmp_path / name).read_text() for name in ("left", "right")} == {'{"1": "off"}'}
    dispatcher.hurry(request)
    assert awaited(dispatcher, request, 60)
    assert {(tmp_path / name).read_text() for name in ("left", "right")} == {'{"1": "on"}'}


def test_requests_that_share_some_feeds_run_in_order(dispatcher: Dispatcher, tmp_path: Path) -> None:
    reboot = submitted(dispatcher, Action.REBOOT, feeds(dispatcher, "right", "left"), 3600)
    off = submitted(dispatcher, Action.OFF, feeds(dispatcher, "left", "right"))
    on = submitted(dispatcher, Action.ON, feeds(dispatcher, "right"))
    eventually(lambda: reboot.phase is Phase.ON)
    assert not (reboot.settled or off.settled or on.settled)
    dispatcher.hurry(reboot)
    assert awaited(dispatcher, on, 60)
    assert awaited(dispatcher, reboot, 0) and awaited(dispatcher, off, 60)
    assert (tmp_path / "left").read_text() == '{"1": "off"}' and (tmp_path / "right").read_text() == '{"1": "on"}'


def test_one_dead_feed_holds_up_its_own_outlet_only(dispatcher: Dispatcher, tmp_path: Path) -> None:
    both = submitted(dispatcher, Action.REBOOT, feeds(dispatcher, "left", "dead"), 0)
    with pytest.raises(PermanentError, match="dead: dead"):
        awaited(dispatcher, both, 60)
    left = submitted(dispatcher, Action.OFF, feeds(dispatcher, "left"))
    assert awaited(dispatcher, left, 60)
    assert both.ended is None and (tmp_path / "left").read_text() == '{"1": "off"}'
    submitted(dispatcher, Action.OFF, feeds(dispatcher, "dead"))
    with pytest.raises((PermanentError, RequestEnded)):
        eventually(lambda: both.ended)
        awaited(dispatcher, both, 0)


def test_a_pdu_that_has_gone_while_it_is_asked_for(dispatcher: Dispatcher, tmp_path: Path) -> None:
    target = dispatcher.config.target("left", "1")
    (tmp_path / "conf").write_text('{"pdus": {}}')
    dispatcher.reload(reader.load(str(tmp_path / "conf")))
    with pytest.raises(Busy, match=r"^left is not configured any more$"):
        dispatcher.look(target)
    answers: list[str] = []
    dispatcher.ask([Look(target.outlets, lambda answer: answers.append(str(answer)))])
    assert answers == ["left is not configured any more"]
