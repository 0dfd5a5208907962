# SPDX-License-Identifier: MIT
"""What is owed: the on half of a reboot that fails, requests that span outlets, and what a restart makes of it all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdudaemon import configfile
from pdudaemon.dispatcher import Dispatcher
from pdudaemon.errors import PermanentError, RequestEnded
from pdudaemon.power import Action, Target
from pdudaemon.store import MEMORY, Store
from tests.plugins import read_record, recorded
from tests.process import Daemon, eventually, in_parallel, install_plugin


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
    started, plugin = recorded(daemon, {"pdu": {"refuses": str(refuses)}})
    assert started.tcp("pdu 1 reboot 0.5 wait=0") == "ack\n"
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "f")
    refuses.touch()
    assert started.tcp("pdu 1 off wait=0") == "ack\n"
    eventually(lambda: state(started, 1) == "superseded")
    eventually(lambda: state(started, 2) == "failed")


def test_it_is_given_up_in_the_end_and_loudly(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    refuses = tmp_path / "refuses"
    refuses.touch()
    started, _ = recorded(daemon, {"pdu": {"refuses": str(refuses)}}, give_up=0.5)
    assert started.power("reboot", "pdu", 1, delay=0).status == 502
    eventually(lambda: state(started, 1) == "given up")
    assert "CRITICAL" in started.log_text() and "pdu port 1 MAY BE OFF" in started.log_text()


def test_a_failed_off_is_told_but_the_on_follows(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    started, plugin = recorded(daemon, {"pdu": {"fails": str(fails)}})
    reply = started.power("reboot", "pdu", 1, delay=0.1)
    assert (reply.status, reply.text) == (502, "pdu: RuntimeError: failed once\n")
    assert plugin.by_outlet()["pdu", "1"] == "o"
    assert started.power("status", "pdu", 1).text == "on\n"


def test_what_is_overdue_expires_but_an_on_half_never(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 30}, "other": {}}, resume_age=0)
    assert started.tcp("pdu 1 reboot 0 wait=0") == "ack\n"
    for text in ("pdu 1 off", "pdu 2 on", "pdu 3 reboot", "other 1 off 60"):
        assert started.tcp(f"{text} wait=0") == "ack\n"
    eventually(lambda: plugin.seen("begin"))
    started.kill()
    started.settings["pdus"]["pdu"] = plugin.settings()
    started.configure(started.settings)
    started.start()
    eventually(lambda: state(started, 1) == "done")
    assert [state(started, number) for number in range(1, 6)] == ["done", "expired", "expired", "expired", "waiting"]
    assert plugin.by_outlet() == {("pdu", "1"): "o"}


def test_a_pdu_that_is_gone_ends_its_requests_and_one_that_is_disabled_keeps_them(
    daemon: Callable[..., Daemon],
) -> None:
    started, plugin = recorded(daemon, {"gone": {}, "faulty": {}})
    for pdu in ("gone", "faulty"):
        assert started.tcp(f"{pdu} 1 reboot 4 wait=0") == "ack\n"
    eventually(lambda: len(plugin.seen("end")) == 2)
    started.kill()
    settings = started.settings["pdus"]
    del settings["gone"]
    settings["faulty"]["retries"] = "many"
    started.configure(started.settings)
    started.start()
    assert state(started, 1) == "failed" and "gone is not configured any more" in started.log_text()
    assert (
        state(started, 2) == "accepted"
        and "request 2: reboot faulty port 1 kept for another start" in started.log_text()
    )
    started.stop()
    settings["faulty"]["retries"] = 1
    started.configure(started.settings)
    started.start()
    eventually(lambda: plugin.by_outlet()["faulty", "1"] == "fo")


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
    started.process.wait(10)
    started.start()
    assert [state(started, number) for number in (1, 2)] == ["done", "interrupted"]
    assert record.read_text() == "restart\nrestart\n"


def test_a_hung_command_of_a_killed_daemon_is_ended_when_its_time_is_over(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    hang = f"echo 0 begin off pdu %s >> {record}; test -e {tmp_path}/well || sleep 100"
    pdu = {"driver": "localcmdline", "cmd_off": hang, "cmd_on": f"echo 0 end on pdu %s >> {record}"}
    started = daemon({"pdu": {**pdu, "timeout": 2, "retrydelay": 0.1}})
    assert started.tcp("pdu 1 reboot 0 wait=0") == "ack\n"
    (lock,) = eventually(lambda: read_record(record) and [*started.folder.glob("*.locks/pdu")])
    eventually(lock.read_text)  # it says whom it is held for
    started.kill()
    (tmp_path / "well").touch()
    started.start()
    eventually(lambda: state(started, 1) == "done")
    assert "a command of an earlier run, killed now" in started.log_text()


def test_those_who_ask_the_same_share_the_answer(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    command = f"echo x >> {asked}; sleep 0.5; echo on"
    started = daemon({"pdu": {"driver": "localcmdline", "cmd_status": command}})
    replies = in_parallel([lambda: started.power("status", "pdu", 1) for _ in range(20)])
    assert {reply.text for reply in replies} == {"on\n"}
    assert len(asked.read_text().split()) <= 4


# -- requests with several outlets: nodes will have them


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[Dispatcher]:
    pdus = {name: {"driver": "dummy", "file": str(tmp_path / name), "retries": 1} for name in ("left", "right")}
    pdus["dead"] = {"driver": "dummy", "refuse": "dead", "retries": 1}
    (tmp_path / "conf").write_text(json.dumps({"pdus": pdus}))
    one = Dispatcher(configfile.load(str(tmp_path / "conf")), Store(MEMORY))
    one.start()
    yield one
    one.close(0)


def feeds(dispatcher: Dispatcher, *names: str) -> Target:
    """Return a target with port 1 of some PDUs."""
    return Target("node", tuple(dispatcher.config.target(name, "1").outlets[0] for name in names))


def test_all_feeds_go_off_before_any_goes_on(dispatcher: Dispatcher, tmp_path: Path) -> None:
    request = dispatcher.submit(Action.REBOOT, feeds(dispatcher, "left", "right"), 0.3)
    eventually(lambda: all((tmp_path / name).exists() for name in ("left", "right")))
    assert {(tmp_path / name).read_text() for name in ("left", "right")} == {'{"1": "off"}'}
    assert dispatcher.wait(request, 10)
    assert {(tmp_path / name).read_text() for name in ("left", "right")} == {'{"1": "on"}'}


def test_requests_that_share_some_feeds_run_in_order(dispatcher: Dispatcher, tmp_path: Path) -> None:
    reboot = dispatcher.submit(Action.REBOOT, feeds(dispatcher, "right", "left"), 0.5)
    off = dispatcher.submit(Action.OFF, feeds(dispatcher, "left", "right"))
    on = dispatcher.submit(Action.ON, feeds(dispatcher, "right"))
    assert not reboot.settled.wait(0.2) and not off.settled.is_set() and not on.settled.is_set()
    assert dispatcher.wait(on, 10)
    assert dispatcher.wait(reboot, 0) and dispatcher.wait(off, 10)
    assert (tmp_path / "left").read_text() == '{"1": "off"}' and (tmp_path / "right").read_text() == '{"1": "on"}'


def test_one_dead_feed_holds_up_its_own_outlet_only(dispatcher: Dispatcher, tmp_path: Path) -> None:
    both = dispatcher.submit(Action.REBOOT, feeds(dispatcher, "left", "dead"), 0)
    with pytest.raises(PermanentError, match="dead: dead"):
        dispatcher.wait(both, 10)
    left = dispatcher.submit(Action.OFF, feeds(dispatcher, "left"))
    assert dispatcher.wait(left, 10)
    assert both.ended is None and (tmp_path / "left").read_text() == '{"1": "off"}'
    dispatcher.submit(Action.OFF, feeds(dispatcher, "dead"))
    with pytest.raises((PermanentError, RequestEnded)):
        eventually(lambda: both.ended)
        dispatcher.wait(both, 0)
