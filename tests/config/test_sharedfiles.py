# SPDX-License-Identifier: MIT
"""Root in the folders of another user: no link leads it astray, and what it makes is that user's.

Tests that are not run by root are so by name: everything of ours is another user's for it then.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdudaemon import sharedfiles
from pdudaemon.engine.device import Device
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import ConfigError, TransientError
from pdudaemon.logs import LogWriter
from pdudaemon.server import access
from tests.support.locks import holding
from tests.support.process import Daemon

SERVICE = os.geteuid() or 12345


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the service's user, for root."""
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, SERVICE, -1)
    folder.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0) if os.geteuid() else None
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that is none of the service's business."""
    path = tmp_path / "victim"
    path.write_text("precious\n")
    path.chmod(0o600)
    return path


def given(path: Path) -> Path:
    """Give something that is there to the service."""
    os.chown(path, SERVICE, -1, follow_symlinks=False)
    return path


def hold(path: Path) -> None:
    """Do as an action does that needs the lock file."""
    device = Device(path)
    try:
        with holding(device, 5) as descriptor:
            assert descriptor is not None
    finally:
        device.close()


def log(path: Path) -> None:
    """Do as a process does that logs to a file."""
    handler = LogWriter(str(path))
    handler.emit(logging.makeLogRecord({"msg": "a line"}))
    handler.close()


USES: dict[str, Callable[[Path], object]] = {"lock": hold, "secret": access.from_file, "log": log}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("trap", ["link", "link to nothing", "hard link", "pipe", "link on the way"])
def test_nothing_leads_root_astray(theirs: Path, victim: Path, use: str, trap: str, tmp_path: Path) -> None:
    path = theirs / "x"
    if trap == "link":
        path.symlink_to(victim)
        given(path)
    elif trap == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
        given(path)
    elif trap == "hard link":
        (theirs / "other").write_text("s" * 40)
        (theirs / "other").chmod(0o600)
        path.hardlink_to(given(theirs / "other"))
    elif trap == "pipe":
        os.mkfifo(path, 0o600)
        given(path)
    else:
        (theirs / "way").symlink_to(tmp_path)
        given(theirs / "way")
        path = theirs / "way" / "victim"
    before = victim.stat()
    with pytest.raises((OSError, TransientError, ConfigError)) as refused:
        USES[use](path)
    assert any(word in str(refused.value) for word in ("symbolic link", "names", "plain file")), refused.value
    after = victim.stat()
    assert victim.read_text() == "precious\n"
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["victim"]


@pytest.mark.parametrize("trap", ["link", "hard link", "pipe"])
def test_a_lock_file_is_a_plain_file_of_ours_anywhere(tmp_path: Path, victim: Path, trap: str) -> None:
    path = tmp_path / "locks" / "pdu"
    path.parent.mkdir()
    {"link": path.symlink_to, "hard link": path.hardlink_to}.get(trap, lambda _: os.mkfifo(path))(victim)
    with pytest.raises(TransientError, match=f"^the lock file {path} cannot be used: it is "):
        hold(path)
    assert victim.read_text() == "precious\n"


def test_what_root_makes_is_of_the_owner_of_the_folder(theirs: Path) -> None:
    hold(theirs / "store.locks" / "pdu")
    log(theirs / "log")
    for path in (theirs / "store.locks", theirs / "store.locks" / "pdu", theirs / "log"):
        assert path.stat().st_uid == SERVICE
    assert (theirs / "log").read_text() == "a line\n"


def test_links_that_nobody_else_can_have_made_are_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts secrets, and an administrator moves things to another disk."""
    (tmp_path / "data").mkdir()
    (tmp_path / "current").symlink_to("data")
    secret = tmp_path / "data" / "secret"
    secret.write_text("word")
    secret.chmod(0o600)
    (tmp_path / "secret").symlink_to("current/secret")
    assert access.from_file(tmp_path / "secret").token(access.claims(1))
    log(tmp_path / "current" / "log")
    assert (tmp_path / "data" / "log").read_text() == "a line\n"


def test_links_in_a_circle(theirs: Path) -> None:
    os.chown(theirs, os.getuid(), -1)
    (theirs / "a").symlink_to("b")
    (theirs / "b").symlink_to("a")
    with pytest.raises(OSError, match=r"too many symbolic links|it is a symbolic link|of another user"):
        sharedfiles.opened(theirs / "a", os.O_RDONLY)


def test_the_store_is_opened_as_its_owner(theirs: Path) -> None:
    """SQLite opens its files by their names: the kernel must not let it go where the service may not."""
    seen: list[int] = []
    path = theirs / "state" / "store"
    with sharedfiles.as_owner(path) if os.getuid() == 0 else sharedfiles.place(path, make=True):
        seen.append(os.geteuid())
        sqlite3.connect(path).execute("PRAGMA user_version=1").connection.close()
    assert seen == [SERVICE if os.getuid() == 0 else 0]
    assert path.stat().st_uid == path.parent.stat().st_uid == SERVICE
    assert os.geteuid() == 0


def test_what_root_made_in_the_service_s_folder_goes_on_working(daemon: Callable[..., Daemon], theirs: Path) -> None:
    """As in a container whose daemon is root, with a folder of a user of the host."""
    program = daemon({"pdu": {"driver": "dummy"}}, start=False)
    program.db = theirs / "store.db"
    Store(str(program.db)).close()
    for _ in range(2):
        ended = program.run("--unfinished")
        assert (ended.returncode, ended.stderr) == (0, "")
    program.start()
    assert program.power("on", "pdu", 1).status == 200
    assert {path.stat().st_uid for path in theirs.rglob("*")} == {SERVICE}


@pytest.mark.parametrize("trap", ["the store", "the log of the store", "the folder of locks"])
def test_unfinished_and_drive_by_root_leave_alone_what_links_lead_to(
    daemon: Callable[..., Daemon], theirs: Path, trap: str
) -> None:
    """Whatever they say to it. A database of somebody else's would get a table; a log is written over."""
    program = daemon({"pdu": {"driver": "dummy"}}, start=False)
    program.db = theirs / "store.db"
    private = Path(tempfile.mkdtemp(dir=theirs.parent))
    victim = private / "victim"
    sqlite3.connect(victim).executescript("CREATE TABLE mine (x); PRAGMA user_version=0;").connection.close()
    before = victim.read_bytes(), victim.stat().st_uid
    if trap == "the store":
        program.db.symlink_to(victim)
        given(program.db)
    elif trap == "the log of the store":
        Store(str(program.db)).close()
        given(program.db)
        (theirs / "store.db-wal").hardlink_to(victim)
    else:
        (theirs / "store.db.locks").symlink_to(private)
        given(theirs / "store.db.locks")
    for line in ("--unfinished", "--drive --hostname pdu --port 1 --request on"):
        program.run(*line.split())
    if os.getuid() == 0:  # it is no trap else
        assert (victim.read_bytes(), victim.stat().st_uid) == before
        assert [each.name for each in private.iterdir()] == ["victim"]
    shutil.rmtree(private)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
@pytest.mark.parametrize(
    ("owner", "flags", "then"),
    [
        (0, os.O_RDWR, SERVICE),  # what root once made there is given to the service
        (0, os.O_WRONLY, SERVICE),
        (0, os.O_RDONLY, 0),  # who only looks changes nothing
        (SERVICE, os.O_RDWR, SERVICE),
        (54321, os.O_RDWR, None),
        (54321, os.O_RDONLY, None),
    ],
)
def test_whose_a_file_is_that_root_opens_there(theirs: Path, owner: int, flags: int, then: int | None) -> None:
    """None: it is refused, since neither root, nor whoever has the folder, has put it there."""
    path = theirs / "store"
    path.touch()
    os.chown(path, owner, 7)
    os.chown(theirs, -1, 54)
    if then is None:
        with pytest.raises(PermissionError, match=r"it belongs to another user \(uid 54321\)"):
            sharedfiles.opened(path, flags)
        assert path.stat().st_uid == owner
        return
    os.close(sharedfiles.opened(path, flags))
    found = path.stat()
    assert (found.st_uid, found.st_gid) == (then, 54 if (owner, then) == (0, SERVICE) else 7)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_in_a_folder_of_roots_own_a_file_stays_whose_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for owner in (0, SERVICE):
        path = tmp_path / str(owner)
        path.touch()
        os.chown(path, owner, owner)
        os.close(sharedfiles.opened(path, os.O_RDWR))
        assert (path.stat().st_uid, path.stat().st_gid) == (owner, owner)
