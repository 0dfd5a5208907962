# SPDX-License-Identifier: MIT
"""Listening sockets that the service manager hands over: of a unit, by systemd's own program, and kept over a restart."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_ports
from tests.support.process import Daemon, eventually

pytestmark = pytest.mark.real_program

# Descriptors are handed over from 3 on, to a process whose number is told.
EXEC = """\
import fcntl, os, sys
away = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[1].split(",") if word]
for number, each in enumerate(away, 3):
    os.dup2(each, number, inheritable=True)
    os.close(each)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(away)), "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.argv[3], sys.argv[3:])
"""


class Managed(Daemon):
    """A daemon under a service manager that keeps what it is given, and hands it over at the next start."""

    def __init__(self, folder: Path, *listeners: dict[str, Any]) -> None:
        super().__init__(folder, {"pdu": {"driver": "dummy"}})
        self.real = True
        self.kept: dict[str, int] = {}
        self.listen(*listeners)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(folder / "notify"))
        self.environment["NOTIFY_SOCKET"] = str(folder / "notify")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def listen(self, *listeners: dict[str, Any]) -> None:
        self.settings["daemon"] = {"listeners": [{"protocol": "both", **each} for each in listeners]}
        self.configure(self.settings)

    def hand_over(self, name: str, listening: socket.socket) -> None:
        """Hand over a socket of a unit, too."""
        self.kept[name] = listening.detach()

    def spawn(self, *arguments: str, **options: Any) -> Any:
        return super().spawn(*arguments, **options, pass_fds=[*self.kept.values()])

    def command(self, *arguments: str) -> list[str]:
        numbers = ",".join(map(str, self.kept.values()))
        return [sys.executable, "-c", EXEC, numbers, ":".join(self.kept), *super().command(*arguments)]

    def close(self) -> None:
        """End the daemon, and the manager."""
        self.kill()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"END=1", str(self.folder / "notify"))
        self._reader.join()
        self._manager.close()
        for each in self.kept.values():
            socket.close(each)

    def _read(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._manager, 65536, 4)
            message = dict(line.split("=", 1) for line in data.decode().splitlines())
            if "FDSTORE" in message:
                self._drop(message["FDNAME"])
                (self.kept[message["FDNAME"]],) = descriptors
            elif "FDSTOREREMOVE" in message:
                self._drop(message["FDNAME"])
            elif "END" in message:
                return

    def _drop(self, name: str) -> None:
        if name in self.kept:
            socket.close(self.kept.pop(name))


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    made = Managed(tmp_path, {"port": free_ports()[0]}, {"socket": str(tmp_path / "s")})
    yield made
    made.close()


def connected(where: Any) -> socket.socket:
    """Return a connection that has sent its request."""
    sock = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    sock.settimeout(60)
    sock.connect(where)
    sock.sendall(b"pdu 1 on\n")
    return sock


def answer(sock: socket.socket) -> str:
    with sock:
        return sock.makefile().readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_clients_wait_for_the_next_daemon(managed: Managed, number: signal.Signals) -> None:
    managed.start()
    port, file = managed.port, str(managed.folder / "s")
    eventually(lambda: len(managed.kept) == 2)
    managed.stop(number)
    waiting = [connected(("127.0.0.1", port)), connected(file)]
    managed.start()
    eventually(lambda: managed.log_text().count("as the daemon before hands over") == 2)
    assert [answer(each) for each in waiting] == ["ack\n", "ack\n"]
    eventually(lambda: len(managed.kept) == 2)
    managed.stop()
    waiting = [connected(("127.0.0.1", port)), connected(file)]
    managed.start()
    assert [answer(each) for each in waiting] == ["ack\n", "ack\n"]


def test_a_listener_that_is_no_more_is_kept_no_more(managed: Managed) -> None:
    managed.start()
    port = managed.port
    eventually(lambda: len(managed.kept) == 2)
    managed.listen({"port": free_ports()[0]})
    assert managed.process is not None
    managed.process.send_signal(signal.SIGHUP)
    eventually(lambda: "has been taken over" in managed.log_text() and len(managed.kept) == 1)
    with pytest.raises(ConnectionRefusedError):
        connected(("127.0.0.1", port))
    assert not (managed.folder / "s").exists()


def test_one_that_is_gone_from_the_configuration_meanwhile_is_shut(managed: Managed) -> None:
    managed.start()
    port = managed.port
    eventually(lambda: len(managed.kept) == 2)
    managed.stop()
    managed.listen({"port": free_ports()[0]})
    managed.start()
    where = rf"nothing is served at 127.0.0.1 port {port} (pdudaemon-"
    eventually(lambda: where in managed.log_text() and "no listener is configured there" in managed.log_text())
    eventually(lambda: len(managed.kept) == 1)
    with pytest.raises(ConnectionRefusedError):
        connected(("127.0.0.1", port))


def test_a_file_that_is_anothers_now_is_not_taken_for_ours(managed: Managed) -> None:
    managed.start()
    eventually(lambda: len(managed.kept) == 2)
    managed.stop()
    file = managed.folder / "s"
    file.unlink()
    managed.start()
    eventually(lambda: managed.log_text().count("as the daemon before hands over") == 1)
    assert answer(connected(str(file))) == "ack\n" == answer(connected(("127.0.0.1", managed.port)))


def test_a_unit_listens_elsewhere_than_the_configuration_says(managed: Managed) -> None:
    """Even where one address includes the other: the configuration counts."""
    port = free_ports()[0]
    managed.listen({"port": port})
    everywhere = socket.create_server(("", port))
    managed.hand_over("pdudaemon.socket", everywhere)
    managed.hand_over("datagrams", socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with (managed.folder / "plain").open("w") as plain:
        managed.kept["plain"] = os.dup(plain.fileno())
    managed.start()
    said = managed.log_text()
    assert f"nothing is served at 0.0.0.0 port {port} (pdudaemon.socket)" in said
    assert "handed over as 'datagrams', is not taken: nobody can connect there" in said
    assert "handed over as 'plain', is not taken" in said
    assert answer(connected(("127.0.0.1", port))) == "ack\n"
    with pytest.raises(ConnectionRefusedError):
        connected(("127.0.0.2", port))


def test_systemd_hands_over(tmp_path: Path) -> None:
    """By systemd-socket-activate, which starts the daemon with the first client."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("needs systemd-socket-activate (Debian: systemd)")
    port, file = free_ports()[0], tmp_path / "s"
    listeners = [{"protocol": "both", "port": port}, {"protocol": "tcp", "socket": str(file), "socket_mode": "0600"}]
    started = Daemon(tmp_path, {"pdu": {"driver": "dummy"}})
    started.settings["daemon"] = {"listeners": listeners}
    started.configure(started.settings)
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [program, f"--listen=127.0.0.1:{port}", f"--listen={file}", "--fdname=one:two"]
    command += [f"--setenv={name}={text}" for name, text in environment.items()]
    with started.log.open("ab") as log:
        systemd = subprocess.Popen([*command, *started.command()], stdout=log, stderr=log)
    try:
        eventually(lambda: "Listening on" in started.log_text() and file.exists())
        mode = file.stat().st_mode
        assert answer(connected(("127.0.0.1", port))) == "ack\n" == answer(connected(str(file)))
        eventually(lambda: f"listening on 127.0.0.1:{port} (both, as one hands over)" in started.log_text())
        eventually(lambda: f"listening on {file} (tcp, as two hands over)" in started.log_text())
        systemd.terminate()
        assert systemd.wait(60) == 0
        assert file.stat().st_mode == mode  # the file is that of the unit
    finally:
        systemd.kill()
        systemd.wait()
