# SPDX-License-Identifier: MIT
"""The lock file of a device: whether it is to be had at once, who has it, and what is told of that."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pdudaemon.engine import device
from pdudaemon.engine.device import Device
from pdudaemon.errors import TransientError
from pdudaemon.transports import lockfile
from tests.support.locks import NEVER, free, holding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.lock"


@contextmanager
def held(path: Path, signed: bool = False) -> Iterator[None]:
    """Have somebody else hold the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if signed:
        lockfile.sign(descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_device_without_a_file_is_always_to_be_had(tmp_path: Path) -> None:
    one = Device(None)
    with one.lock:
        assert one.is_free() and one.take(0.0, NEVER) is None
        one.release(keep=True)
    assert not one.kept and one.let_go()
    one.close()
    one.forget()
    assert [*tmp_path.iterdir()] == [] and one.stuck == "" and one.survey is None


def test_whether_it_is_to_be_had_at_once(path: Path) -> None:
    one = Device(path)
    with one.lock:
        assert one.is_free() and not free(path), "it is ours now"
        assert one.take(0.0, NEVER) is not None and one.kept
        one.release(keep=True)
    with one.lock:
        assert one.is_free()
        one.take(0.0, NEVER)
        one.release(keep=False)
    assert free(path)
    with held(path), one.lock:
        assert not one.is_free()
        with pytest.raises(TransientError, match="busy"):
            one.take(0.0, NEVER)
        one.release(keep=False)
    assert free(path)
    one.close()


def test_one_that_is_about_to_act_is_not_deprived_of_it(path: Path) -> None:
    one = Device(path)
    with one.lock:
        assert one.is_free()
        one.close()
        one.forget()
        assert path.exists() and not free(path)
        assert one.take(0.0, NEVER) is not None
        one.release(keep=True)
    assert not path.exists()


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    one = Device(tmp_path / "none" / "device.lock")
    with one.lock:
        assert not one.is_free()
        with pytest.raises(TransientError, match=r"the lock file .*device\.lock cannot be used: Not a directory"):
            one.take(0.0, NEVER)
        one.release(keep=True)


def test_whose_it_is_stands_in_the_file_while_it_acts(path: Path) -> None:
    one = Device(path)
    with holding(one, 30):
        descriptor = os.open(path, os.O_RDONLY)
        found = lockfile.signed(descriptor)
        os.close(descriptor)
        assert found is not None and not found.gone and str(os.getpid()) in str(found)
    one.close()


@pytest.mark.parametrize("signed", [True, False])
def test_who_has_it_is_told(path: Path, signed: bool, caplog: pytest.LogCaptureFixture) -> None:
    one = Device(path)
    with held(path, signed), one.lock:
        with pytest.raises(TransientError) as refused:
            one.take(0.1, NEVER)
        one.release(keep=False)
    who = str(os.getpid()) if signed else f"another process holds {path}"
    assert str(refused.value).startswith("busy: ") and who in str(refused.value)
    (message,) = caplog.messages
    assert message.startswith(f"{path} is held by ") and (str(os.getpid()) if signed else "another process") in message
    one.close()


def test_it_is_had_as_soon_as_it_is_given_back(path: Path) -> None:
    one = Device(path)
    begun, given = threading.Event(), threading.Event()

    def hold() -> None:
        with held(path):
            begun.set()
            assert given.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    assert begun.wait(30)
    threading.Timer(0.2, given.set).start()
    with one.lock:
        assert one.take(60, NEVER) is not None and given.is_set()
        one.release(keep=False)
    other.join()
    one.close()


def test_who_waits_for_it_stops_when_it_is_to_stop(path: Path) -> None:
    one = Device(path)
    stopping = threading.Event()
    with held(path), one.lock:
        threading.Timer(0.1, stopping.set).start()
        with pytest.raises(TransientError, match="busy: stopping"):
            one.take(60, stopping)
        one.release(keep=False)
    one.close()


def test_a_command_whose_daemon_is_gone_is_ended(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = (
        "import fcntl, os, subprocess, sys\n"
        "from pathlib import Path\n"
        "from pdudaemon.transports import lockfile\n"
        "one = lockfile.opened(Path(sys.argv[1]))\n"
        "fcntl.flock(one, fcntl.LOCK_EX)\n"
        "found = subprocess.Popen(['sleep', '600'], pass_fds=[one], start_new_session=True,\n"
        "                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "lockfile.sign(one, found.pid)\n"
        "print(found.pid, flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True)
    orphan = int(ended.stdout)
    assert Path(f"/proc/{orphan}").exists() and not free(path)
    one = Device(path)
    with holding(one, 0.2) as descriptor:
        assert descriptor is not None
    assert caplog.messages == [f"{path} is held by a command of an earlier run, killed now"]
    assert (
        not Path(f"/proc/{orphan}").exists() or "Z" in Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2][:3]
    )
    one.close()


def test_a_file_that_was_replaced_is_locked_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "LOOK_EVERY", 0.0)
    one = Device(path)
    with holding(one, 30):
        pass
    with one.lock:
        one.take(30, NEVER)
        one.release(keep=True)
    path.unlink()
    path.touch()
    with one.lock:
        one.take(30, NEVER)
        one.release(keep=True)
    assert not free(path) and one.kept
    monkeypatch.setattr(device, "LOOK_EVERY", 3600.0)
    path.unlink()
    with one.lock:
        one.take(30, NEVER)
        one.release(keep=True)
    assert not path.exists(), "it has just been looked at"
    one.close()


def test_one_that_is_had_again_stays(path: Path) -> None:
    one = Device(path)
    with one.lock:
        one.take(30, NEVER)
        one.forget()
        one.remember()
        one.release(keep=True)
    assert path.exists() and not free(path)
    one.forget()
    assert not path.exists() and not one.kept


def test_who_may_have_it_at_once_signs_it(path: Path) -> None:
    one = Device(path)
    with one.lock:
        assert one.is_free()
        descriptor = os.open(path, os.O_RDONLY)
        found = lockfile.signed(descriptor)
        os.close(descriptor)
        one.take(0.0, NEVER)
        one.release(keep=False)
    assert found is not None and found.pid == os.getpid()
    one.close()
