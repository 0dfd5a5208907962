# SPDX-License-Identifier: MIT
"""ssh against a real sshd: keys, passwords, host keys, old servers, deadlines, and what is left of a killed daemon."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import ssh
from pdudaemon.transports.deadline import Deadline
from tests.devices.base.scripted import Puppet
from tests.peers.ssh import OLD_ALGORITHMS, Server, keygen, sshd
from tests.peers.telnet import Account, account
from tests.support.process import ROOT, eventually, nothing_left_behind


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sshd(tmp_path_factory.mktemp("sshd"), "Banner /etc/hostname") as running:
        yield running


@pytest.fixture(scope="module")
def user() -> Iterator[Account]:
    with account() as made:
        yield made


def login(server: Server, known_hosts: Path, **different: str | bool) -> ssh.Login:
    given = {"username": server.user, "key": str(server.key), "known_hosts": str(known_hosts), **different}
    return ssh.Login("127.0.0.1", server.port, **given)  # type: ignore[arg-type]


def test_a_key(server: Server, tmp_path: Path) -> None:
    output = ssh.run(login(server, tmp_path / "known"), "echo out; echo err >&2; tty; cat; exit 3", Deadline(60))
    assert output.status == 3
    assert sorted(output.text.splitlines()[-3:]) == ["err", "not a tty", "out"]  # which come over two channels
    with pytest.raises(TransientError, match=rf"^ssh to 127.0.0.1:{server.port} failed: two words$"):
        ssh.run(login(server, tmp_path / "known"), 'printf "%s" "two words"; kill -9 $$', Deadline(60))
    with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{server.port}$"):
        ssh.run(login(server, tmp_path / "known", key=str(keygen(tmp_path / "other"))), "true", Deadline(60))


@pytest.mark.one_at_a_time("account")
def test_a_password(server: Server, user: Account, tmp_path: Path) -> None:
    given = {"username": user.name, "key": ""}
    output = ssh.run(login(server, tmp_path / "known", password=user.password, **given), "id -un", Deadline(60))
    assert user.name in output.text.splitlines()  # what ssh has to say may come after
    for wrong in ("", "not-the-password"):
        with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{server.port}$"):
            ssh.run(login(server, tmp_path / "known", password=wrong, **given), "true", Deadline(60))


@pytest.mark.one_at_a_time("account")
def test_a_console(server: Server, user: Account, tmp_path: Path) -> None:
    given = {"username": user.name, "key": "", "password": user.password}
    prompt = r"(?<![^\r\n])\$ "
    with nothing_left_behind():
        with ssh.console(login(server, tmp_path / "known", **given), prompt, Deadline(60)) as console:
            console.line("tty; echo $((40 + 2))", "the sum")
            said = console.expect("the sum", {"prompt": prompt}).before
            assert "/dev/pts/" in said and said.endswith("42\r\n") and user.password not in said
            console.line("exit", "the end")
            assert console.expect_or_end("the end", {}) is None
        wrong = login(server, tmp_path / "known", **{**given, "password": "not-the-password"})
        with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{server.port}$"):
            ssh.console(wrong, prompt, Deadline(60)).__enter__()
        with pytest.raises(TransientError, match=r"^connection refused by 127.0.0.1:1$"):
            ssh.console(ssh.Login("127.0.0.1", 1, user.name), prompt, Deadline(60)).__enter__()
        with pytest.raises(DeviceTimeout):
            ssh.console(login(server, tmp_path / "known", **given), "no such prompt", Deadline(1.5)).__enter__()


@pytest.mark.one_at_a_time("account")
def test_no_argument_and_no_environment_has_the_password(server: Server, user: Account, tmp_path: Path) -> None:
    asked = login(server, tmp_path / "known", username=user.name, key="", password=user.password)
    assert user.password not in repr(asked)
    seen: list[str] = []

    with tempfile.NamedTemporaryFile(prefix="pdudaemon-test-") as there:
        os.chmod(there.name, 0o644)  # for that user as well
        waits = f"while test -e {there.name} && ! grep -q seen {there.name}; do sleep 0.05; done"

        def look() -> None:
            eventually(lambda: waits in shown("cmdline"))
            seen.append(shown("cmdline") + shown("environ"))
            there.write(b"seen\n")
            there.flush()

        looker = threading.Thread(target=look)
        looker.start()
        assert ssh.run(asked, waits, Deadline(60)).status == 0
        looker.join()
    assert "KnownHostsFile" in seen[0] and user.password not in seen[0]


def shown(name: str) -> str:
    """Return what /proc shows of all processes but those of this test."""
    texts = []
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        try:
            texts.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(texts)


def test_host_keys(server: Server, tmp_path: Path) -> None:
    known = tmp_path / "known"
    with pytest.raises(PermanentError, match=rf"^the host key of 127.0.0.1:{server.port} is not known$"):
        ssh.run(login(server, known, host_keys="yes"), "true", Deadline(60))
    assert ssh.run(login(server, known, host_keys="no"), "true", Deadline(60)).status == 0
    assert not known.exists()
    assert ssh.run(login(server, known), "true", Deadline(60)).status == 0
    assert ssh.run(login(server, known, host_keys="yes"), "true", Deadline(60)).status == 0
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text().split()[:2]
    known.write_text(f"[127.0.0.1]:{server.port} {' '.join(other)}\n")
    for policy in ("accept-new", "yes"):
        with pytest.raises(PermanentError, match=rf"^the host key of 127.0.0.1:{server.port} has changed$"):
            ssh.run(login(server, known, host_keys=policy), "true", Deadline(60))
    assert ssh.run(login(server, known, host_keys="no"), "true", Deadline(60)).status == 0


def test_an_old_server(tmp_path: Path) -> None:
    with sshd(tmp_path, *OLD_ALGORITHMS, host_key="rsa") as server:
        known = tmp_path / "known"
        with pytest.raises(
            PermanentError, match=r"have no algorithm in common: .*no matching key exchange method found"
        ):
            ssh.run(login(server, known), "true", Deadline(60))
        assert ssh.run(login(server, known, old_algorithms=True), "echo old", Deadline(60)).last_line == "old"


def test_the_deadline_ends_ssh(server: Server, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"no answer from 127.0.0.1:[0-9]+ at 'sleep 41.5' within 5 s"):
        ssh.run(login(server, tmp_path / "known"), "sleep 41.5", Deadline(5))
    assert time.monotonic() - start < 30
    eventually(lambda: not re.search("ssh -n .* sleep 41.5", shown("cmdline")))


def test_a_host_that_runs_no_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some devices have a console behind ssh, whatever they are told to run."""
    monkeypatch.setattr(ssh, "PATIENCE", 0.3)
    console = program(tmp_path, "#!/bin/sh\nprintf 'Welcome\\r\\n\\r\\napc> '; exec sleep 100\n")
    with sshd(tmp_path, f"ForceCommand {console}") as server:
        deadline = Deadline(60)
        with pytest.raises(PermanentError, match=r"^127.0.0.1:\d+ shows a prompt \(apc>\) and runs no 'relay on'$"):
            ssh.run(login(server, tmp_path / "known"), "relay on", deadline)
        assert deadline.remaining() > 30


def program(folder: Path, text: str) -> Path:
    """Write a program; return its path."""
    (folder / "console").write_text(text)
    (folder / "console").chmod(0o755)
    return folder / "console"


def connection_lost(peer: Puppet, connection: socket.socket) -> None:
    connection.close()


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (lambda *_: None, DeviceTimeout, r"^no answer from 127.0.0.1:\d+ at "),
        (
            lambda _, connection: connection.sendall(b"\x80 noise \r\n" * 2000),
            TransientError,
            r"^ssh to 127.0.0.1:\d+ failed: ",
        ),
        (connection_lost, TransientError, r"^ssh to 127.0.0.1:\d+ failed: "),
    ],
)
def test_servers_that_are_none(act: Callable[..., object], kind: type[DeviceError], words: str) -> None:
    with Puppet(act) as device, pytest.raises(kind, match=words):
        seconds = 1.5 if kind is DeviceTimeout else 60
        ssh.run(ssh.Login("127.0.0.1", device.port, "root"), "true", Deadline(seconds))


def test_nobody_listens() -> None:
    with Puppet(lambda *_: None) as device:
        pass
    with pytest.raises(TransientError, match=rf"^connection refused by 127.0.0.1:{device.port}$"):
        ssh.run(ssh.Login("127.0.0.1", device.port, "root"), "true", Deadline(30))


def test_no_ssh_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match=r"the program ssh, which this driver needs, is not installed"):
        ssh.run(ssh.Login("127.0.0.1", 1, "root"), "true", Deadline(30))


def test_no_descriptor_is_left(server: Server, tmp_path: Path) -> None:
    ssh.run(login(server, tmp_path / "known"), "true", Deadline(60))  # what is opened once and for all is no leak
    with nothing_left_behind():
        ssh.run(login(server, tmp_path / "known"), "true", Deadline(60))
        with pytest.raises(DeviceTimeout):
            ssh.run(login(server, tmp_path / "known"), "sleep 5", Deadline(0.6))


KILLED = """
import os, fcntl, sys
from pdudaemon.transports import ssh
from pdudaemon.transports.deadline import Deadline
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
text = "cd {0}; echo begun >>record; while test -e record && test ! -e go; do sleep 0.05; done; echo ended >>record"
ssh.run(eval(sys.argv[2]), text.format(sys.argv[3]), Deadline(60), hold=lock)
"""


def test_a_killed_daemon_leaves_the_lock_to_its_ssh(server: Server, tmp_path: Path) -> None:
    record = tmp_path / "record"
    asked = f"ssh.{login(server, tmp_path / 'known')!r}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "lock", asked, tmp_path], cwd=ROOT)
    eventually(lambda: record.exists() and record.read_text() == "begun\n")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (tmp_path / "lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (tmp_path / "go").touch()
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert record.read_text() == "begun\nended\n"
