# SPDX-License-Identifier: MIT
"""A start: what it listens at, what it leaves alone, and the words in which it is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.process import ROOT, Daemon, eventually


def test_the_daemon_refuses_to_start_in_words(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """Never a traceback, never a process that runs and does not listen: exit code 2, or 75 if it may pass, and what is wrong."""
    broken = daemon({}, start=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for whole, arguments, words in (
            ("{", (), "pdudaemon.conf:1:2: not valid JSON"),
            (
                {"daemon": {"port": port}, "pdus": {}},
                (),
                f"cannot listen on 127.0.0.1 port {port}: Address already in use",
            ),
            ({"daemon": {"hostname": "no.such.host.invalid"}, "pdus": {}}, (), "cannot listen on no.such.host.invalid"),
            ({"pdus": {}}, ("--dbfile=/proc/no/store",), "the store cannot be opened: No such file or directory"),
            ({"pdus": {}}, (f"--dbfile={tmp_path}",), "the store cannot be opened: it is not a plain file"),
            ({"pdus": {}}, (f"--dbfile={broken.conf}",), "file is not a database"),
            ({"pdus": {}}, ("--conf=/no/such/file",), "/no/such/file: cannot be read: No such file or directory"),
            ({"pdus": {}}, ("--logfile=/no/such/file",), "cannot log to /no/such/file: No such file"),
        ):
            broken.configure(whole)
            ended = broken.run(*arguments)
            assert ended.returncode == (75 if "listen on" in words or "--dbfile" in str(arguments) else 2), ended
            assert words in ended.stderr and "Traceback" not in ended.stderr, ended.stderr


def test_a_foreign_table_in_an_old_store_is_left_alone(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    with sqlite3.connect(started.db) as old:
        old.execute("CREATE TABLE pdu_queue (id INTEGER PRIMARY KEY, hostname TEXT, port INTEGER, request TEXT)")
        old.execute("INSERT INTO pdu_queue VALUES (1, 'pdu', 1, 'on')")
    old.close()
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    started.stop()
    with sqlite3.connect(started.db) as after:
        assert after.execute("SELECT * FROM pdu_queue").fetchall() == [(1, "pdu", 1, "on")]
    after.close()


class Loading(Daemon):
    """A program that gets a SIGHUP while it is loaded."""

    CODE = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "pdudaemon.cli":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGHUP)

from pdudaemon.__main__ import main
sys.meta_path.insert(0, Finder())
sys.exit(main())
"""

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", self.CODE, *super().command(*arguments)[3:]]


def test_a_reload_that_is_asked_for_while_the_program_is_loaded_does_not_end_it(tmp_path: Path) -> None:
    loading = Loading(tmp_path, {"pdu": {"driver": "dummy"}})
    loading.real = True
    try:
        loading.start()
        eventually(lambda: "the configuration has been taken over" in loading.log_text())
        assert loading.power("on", "pdu", 1).status == 200
        assert loading.stop() == 0
    finally:
        loading.kill()
    assert loading.run("--check").returncode == -signal.SIGHUP, "what is no daemon knows no reload"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--request on", "--request needs --drive"),
        ("--hostname pdu", "--hostname needs --drive"),
        ("--check --port 1", "--port needs --drive"),
        ("--retry-delay 1", "--retry-delay needs --drive"),
        ("--name ci", "--name needs --token"),
        ("--tokens --role ci", "--role needs --token"),
        ("--days 3", "--days needs --token"),
        ("--community public", "--community needs --probe"),
        ("--keep-powerman", "--keep-powerman needs --import"),
        ("--check-start --online", "--online needs --check"),
    ],
)
def test_an_option_without_the_one_that_it_belongs_to_starts_nothing(
    daemon: Callable[..., Daemon], line: str, words: str
) -> None:
    ended = daemon({}, start=False).run(*line.split())
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (2, f"pdudaemon: error: {words}")


DEAR = {"asyncio", "multiprocessing", "xmlrpc", "ctypes", "decimal", "unittest", "pysnmp", "pexpect", "serial"}
DEAR |= {"cryptography", "hid", "usb", "yaml", "jwt", "paho"}


@pytest.mark.real_program
def test_a_start_loads_nothing_dear_that_it_has_no_use_for(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    started.environment["PYTHONPROFILEIMPORTTIME"] = "1"

    def loaded() -> set[str]:
        return {line.rpartition("|")[2].strip().partition(".")[0] for line in started.log_text().splitlines()}

    started.start()
    assert started.power("on", "pdu", 1).status == started.http("/api/v1/sites").status == 200
    assert started.http("/api/v1/requests/berlin/1").status == 404
    assert started.stop() == 0
    assert {"sqlite3", "pdudaemon"} <= loaded() and not DEAR & loaded()
    started.configure({**started.settings, "sites": {"berlin": {"url": f"http://127.0.0.1:{started.port}"}}})
    started.start()
    assert "asyncio" in loaded()


def test_several_listeners(daemon: Callable[..., Daemon]) -> None:
    listeners = [{"protocol": word, "port": 0} for word in ("tcp", "http", "both")]
    started = daemon({"pdu": {"driver": "dummy"}}, listeners=listeners)
    ports = {word: int(port) for port, word in re.findall(r"listening on \S+:(\d+) \((\w+)\)", started.log_text())}
    started.port = ports["tcp"]
    assert started.tcp("pdu 1 on") == "ack\n"
    started.port = ports["http"]
    assert started.power("off", "pdu", 1).status == 200
    started.port = ports["both"]
    assert started.tcp("pdu 1 status") == started.power("status", "pdu", 1).text == "off\n"


@pytest.mark.parametrize("words", ["--schema", "--list-drivers", "--print-file", "--check"])
def test_an_answer_that_cannot_be_written_is_told(daemon: Callable[..., Daemon], words: str) -> None:
    asked = daemon({"a": {"driver": "dummy"}}, start=False)
    asked.real = True
    with open("/dev/full", "w") as full:
        process = asked.spawn(words, stdout=full, stderr=subprocess.PIPE)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert told == b"pdudaemon: the answer cannot be written: No space left on device\n"


def test_nothing_takes_the_place_of_standard_files_that_are_closed(daemon: Callable[..., Daemon]) -> None:
    """What anybody prints would go into the store."""
    started = daemon({"a": {"driver": "localcmdline", "cmd_on": "cat", "cmd_off": "true"}}, start=False)
    port = started.settings["daemon"]["port"] = free_ports(1)[0]
    started.configure(started.settings)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(started.folder)}
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *started.command()]
    process = subprocess.Popen(words, env=environment, cwd=started.folder)
    try:
        started.port = port
        eventually(lambda: answers(port))
        assert started.power("on", "a", 1).status == 200
        held = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert held == ["/dev/null"] * 3
    finally:
        process.terminate()
    assert process.wait(60) == 0


def answers(port: int) -> bool:
    """Whether something listens on a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_a_store_is_a_plain_file(daemon: Callable[..., Daemon], kind: str) -> None:
    asked = daemon({"a": {"driver": "dummy"}}, start=False)
    asked.db = Path("/dev/null") if kind == "device" else asked.folder / kind
    if kind == "fifo":
        os.mkfifo(asked.db)
    elif kind == "folder":
        asked.db.mkdir()
    told = asked.run()
    assert told.returncode == 75
    assert told.stderr == f"pdudaemon: the store cannot be opened: it is not a plain file: {asked.db}\n"
