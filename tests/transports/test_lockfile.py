# SPDX-License-Identifier: MIT
"""The lock file: who has it, whose command may be ended, and that it goes with its PDU."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pdudaemon.engine.device import Device
from pdudaemon.errors import TransientError
from pdudaemon.transports import command, lockfile
from pdudaemon.transports.deadline import Deadline
from tests.support.locks import holding
from tests.support.plugins import assert_no_overlap, read_record
from tests.support.process import ROOT, Daemon, eventually, full_disk

NEVER = threading.Event()

HOLDER = """
import sys, threading
from pathlib import Path
from pdudaemon.engine.device import Device
from pdudaemon.transports import command
from pdudaemon.transports.deadline import Deadline
lock = Device(Path(sys.argv[1])).take(5, threading.Event())
command.run(sys.argv[2], Deadline(60), hold=lock)
"""


@contextmanager
def holder(lock: Path, text: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which has the lock while a command runs; all of it is gone in the end."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, lock, text], cwd=ROOT)
    try:
        eventually(lambda: lock.exists() and (signed := record(lock)) is not None and signed.group)
        yield process
    finally:
        found = record(lock)
        process.kill()
        process.wait()
        if found is not None and found.group and os.path.exists(f"/proc/{found.group}"):
            os.killpg(found.group, signal.SIGKILL)


def record(lock: Path) -> lockfile.Record | None:
    """Return what a lock file says."""
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        return lockfile.signed(descriptor)
    finally:
        os.close(descriptor)


def held(lock: Path, seconds: float) -> str:
    """Take a lock; return why that was not to be had."""
    device = Device(lock)
    try:
        with holding(device, seconds):
            return ""
    except TransientError as error:
        return str(error)
    finally:
        device.close()


def test_the_command_of_one_that_lives_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, "sleep 60") as other:
        assert held(lock, 0.2) == f"busy: held by pdudaemon (pid {other.pid})"
        found = record(lock)
        assert found is not None and found.pid == other.pid and lockfile.process(found.group) is not None


@pytest.mark.parametrize("reaped", [True, False])
def test_an_orphan_is_ended_when_its_time_is_over(tmp_path: Path, reaped: bool) -> None:
    """A killed daemon whose parent has not asked after it yet is no more, either."""
    lock = tmp_path / "lock"
    with holder(lock, "sleep 60 & sleep 60") as other:
        other.kill()
        if reaped:
            other.wait()
        assert held(lock, 0.2) == ""


def test_an_orphan_whose_leader_has_gone_is_ended_as_well(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, "trap '' TERM; sleep 60 & echo > %s; wait" % (tmp_path / "begun")) as other:
        eventually((tmp_path / "begun").exists)
        found = record(lock)
        assert found is not None
        other.kill()
        other.wait()
        os.kill(found.group, signal.SIGKILL)
        assert held(lock, 0.2) == ""


@pytest.mark.parametrize("said", ["nothing of it", "the one before"])
@pytest.mark.parametrize("text", ["sleep 60 & sleep 60", "exec setsid sleep 60"])
def test_an_orphan_that_was_not_put_on_record_is_ended(tmp_path: Path, said: str, text: str) -> None:
    """Its daemon was killed just after it had started it."""
    lock = tmp_path / "lock"
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with holder(lock, text) as other:
        found = record(lock)
        assert found is not None
        other.kill()
        other.wait()
        group = {"nothing of it": "0 0", "the one before": f"{bystander.pid} 1"}[said]
        lock.write_text(f"pdudaemon {found.pid} {found.started} {found.boot} {group}")
        assert held(lock, 0.2) == ""
        assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@pytest.mark.parametrize("changed", ["another owner", "owner lives", "nonsense", "old", "wild"])
def test_who_is_not_the_one_on_record_is_not_ended(tmp_path: Path, changed: str) -> None:
    """Numbers are given anew, and who may write the file may write anything into it."""
    lock = tmp_path / "lock"
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        with holder(lock, "sleep 60") as other:
            found = record(lock)
            assert found is not None
            other.kill()
            other.wait()
            started = lockfile.process(bystander.pid)
            me = lockfile.process(os.getpid())
            assert started is not None and me is not None
            text = {
                "another owner": f"pdudaemon {found.pid - 1} 1 {found.boot} {bystander.pid} {started.started}",
                "owner lives": f"pdudaemon {os.getpid()} {me.started} {found.boot} {found.group} {found.group_started}",
                "nonsense": "\0" * 60,
                "old": f"{found.group}",
                "wild": f"pdudaemon {10**30} 1 {found.boot} -1 {10**30}",
            }[changed]
            lock.write_text(text)
            lives = f"busy: held by pdudaemon (pid {os.getpid()})"
            assert held(lock, 0.2) == (lives if changed == "owner lives" else f"busy: another process holds {lock}")
            assert lockfile.process(found.group) is not None and bystander.poll() is None
            lock.write_text(f"pdudaemon {found.pid} {found.started} {found.boot} {found.group} {found.group_started}")
    finally:
        bystander.kill()
        bystander.wait()


def test_a_number_that_another_process_has_by_now_is_no_owner(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, "sleep 60") as other:
        found = record(lock)
        assert found is not None
        other.kill()
        other.wait()
        lock.write_text(f"pdudaemon {os.getpid()} 1 {found.boot} {found.group} {found.group_started}")
        assert held(lock, 0.2) == ""


@pytest.mark.parametrize("ways", [["daemon", "drive"], ["drive", "daemon"]])
def test_drive_and_the_daemon_leave_each_others_commands_alone(
    daemon: Callable[..., Daemon], tmp_path: Path, ways: list[str]
) -> None:
    seen, go = tmp_path / "record", tmp_path / "go"
    wait = f"until test -e {go}; do sleep 0.05; done"
    line = "echo 0 {} {} pdu %s >> " + str(seen)
    pdu = {
        "driver": "localcmdline",
        "timeout": 20,
        "cmd_on": f"{line.format('begin', 'on')}; {wait}; {line.format('end', 'on')}",
        "cmd_off": f"{line.format('begin', 'off')}; {line.format('end', 'off')}",
    }
    started = daemon({"pdu": pdu})

    def ask(way: str, action: str) -> Callable[[], str]:
        if way == "daemon":
            started.power(action, "pdu", 1, wait=0)
            return lambda: str(started.http("/api/v1/requests").json[0]["reason"])
        process = started.spawn(
            *f"--drive --hostname pdu --port 1 --request {action} --retries 1".split(), stderr=subprocess.PIPE
        )
        return lambda: process.communicate(timeout=30)[1].decode()

    ask(ways[0], "on")
    eventually(lambda: read_record(seen))
    (lock,) = started.folder.glob("*.locks/pdu")
    found = eventually(lambda: (now := record(lock)) is not None and now.group and now)
    if ways[0] == "daemon":
        assert started.process is not None and found.pid == started.process.pid
    started.settings["pdus"]["pdu"] |= {"timeout": 0.3, "retries": 1}
    started.configure(started.settings)
    if ways[1] == "daemon":
        started.stop()
        started.start()
    told = ask(ways[1], "off")
    eventually(lambda: f"busy: held by pdudaemon (pid {found.pid})" in told())
    go.touch()
    eventually(lambda: len(read_record(seen)) == 2)
    assert [(each.what, each.command) for each in read_record(seen)] == [("begin", "on"), ("end", "on")]
    assert_no_overlap(read_record(seen))
    assert "killed now" not in started.log_text()


@pytest.mark.parametrize("text", ["sleep 60", ["sleep", "60"]])
def test_a_command_that_cannot_be_put_on_record_is_ended(tmp_path: Path, text: str | list[str]) -> None:
    device = Device(tmp_path / "lock")
    with holding(device, 5) as lock, full_disk(), pytest.raises(TransientError, match="cannot be written"):
        assert lock is not None
        command.run(text, Deadline(60), hold=lock)
    device.close()
    assert command.kill_all() == 0
    assert held(tmp_path / "lock", 0.2) == ""  # nothing has it any more


def test_without_room_for_the_record_the_lock_holds_all_the_same(tmp_path: Path) -> None:
    device = Device(tmp_path / "lock")
    with full_disk(), holding(device, 5):
        assert held(tmp_path / "lock", 0.1) == f"busy: another process holds {tmp_path}/lock"
    device.close()


def test_whoever_starts_a_command_while_all_are_killed_has_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    original = subprocess.Popen

    def slow(*arguments: object, **options: object) -> object:
        process = original(*arguments, **options)  # type: ignore[call-overload]
        command.kill_all()
        return process

    monkeypatch.setattr(command.subprocess, "Popen", slow)
    with pytest.raises(TransientError, match="stopping"):
        command.run("sleep 60", Deadline(60))


def test_a_file_that_was_taken_away_or_replaced_is_made_anew(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "lock"
    device = Device(lock)
    for spoil in (
        lock.unlink,
        lambda: (lock.unlink(), lock.write_text("")),
        lambda: lock.parent.rename(tmp_path / "x"),
    ):
        with holding(device, 5):
            pass
        spoil()
        with holding(device, 5):
            assert held(lock, 0.1).startswith("busy: held by pdudaemon")
    device.close()


def test_who_waits_for_a_file_that_is_taken_away_waits_for_the_new_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    former, waits, got = Device(lock), Device(lock), threading.Event()
    let_go = threading.Event()

    def wait() -> None:
        with holding(waits, 30):
            got.set()
            let_go.wait(30)

    with holding(former, 5):
        former.forget()
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: len([*open_on(lock)]) >= 2)
        assert not got.is_set()
    assert got.wait(30)
    assert held(lock, 0.1).startswith("busy: held by pdudaemon")
    let_go.set()
    thread.join(30)
    waits.close()


def open_on(path: Path) -> Iterator[str]:
    """Yield the descriptors of this process on a file."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.path.samestat(os.stat(f"/proc/self/fd/{name}"), path.stat()):
                yield name
        except OSError:
            continue


def test_renamed_fifty_times_no_descriptor_and_no_file_stays(daemon: Callable[..., Daemon]) -> None:
    shared = {"driver": "dummy", "lock": "shared"}
    started = daemon({"pdu": {"driver": "dummy"}, "a": shared, "b": shared})
    folder = Path(f"{started.db}.locks")
    assert started.process is not None

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{started.process.pid}/fd"))  # type: ignore[union-attr]

    for name in ("pdu", "a", "b"):
        assert started.power("on", name, 1).status == 200
    before, former = descriptors(), "pdu"
    for number in range(50):
        name = f"pdu{number}"
        pdus = {name: {"driver": "dummy"}, "b": shared, **({"a": shared} if number < 25 else {})}
        started.configure({**started.settings, "pdus": pdus})
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda: started.power("on", name, 1).status == 200)  # noqa: B023
        eventually(lambda: not (folder / former).exists())  # noqa: B023
        former = name
        assert started.power("on", "b", 1).status == 200
    eventually(lambda: descriptors() <= before)
    assert sorted(path.name for path in folder.iterdir()) == ["pdu49", "shared"]
    started.configure({**started.settings, "pdus": {"b": {"driver": "dummy"}}})  # it has another lock now
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: not [*folder.iterdir()])


def test_a_lock_that_something_else_has_outlives_its_pdu(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    device = Device(lock)
    with holder(lock, "sleep 60"):
        device.forget()
        assert lock.exists() and held(lock, 0.1).startswith("busy")
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)
    device.forget()
    assert not lock.exists()
