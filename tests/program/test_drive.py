# SPDX-License-Identifier: MIT
"""``--drive``: one request without a daemon, whose exit code is the truth."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import Recorded
from tests.support.process import Daemon, eventually


@pytest.fixture
def program(daemon: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    return daemon(
        {
            "pdu": {"driver": "dummy", "file": str(tmp_path / "outlets")},
            "flaky": {"driver": "dummy", "flaky": 2, "retrydelay": 60},
            "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.3, "retries": 2, "retrydelay": 0.1},
            "blind": {"driver": "localcmdline", "cmd_on": "true"},
            "bad": {"driver": "dummy", "outlets": -3},
        },
        {"board": {"hostname": "pdu", "port": 5}},
        start=False,
    )


def drive(program: Daemon, line: str) -> subprocess.CompletedProcess[str]:
    """Run ``pdudaemon --drive`` with some arguments."""
    return program.run("--drive", *line.split())


def test_the_four_requests(program: Daemon, tmp_path: Path) -> None:
    for line, port, state in (
        ("--hostname pdu --port 03 --request on", "3", "on"),
        ("--alias board --request off", "5", "off"),
        ("--alias board --request reboot --delay 0.2", "5", "on"),
        ("--hostname pdu --port 3 --request off --delay 0.1", "3", "off"),
    ):
        ended = drive(program, line)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", ""), ended
        assert json.loads((tmp_path / "outlets").read_text())[port] == state
    ended = drive(program, "--hostname pdu --port 05 --request status")
    assert (ended.returncode, ended.stdout) == (0, "on\n")
    assert not program.db.exists()


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("--hostname deaf --port 1 --request on", 1, "deaf: no answer within 0.3 s"),
        ("--hostname deaf --port 1 --request status", 1, "deaf: no answer within 0.3 s"),
        ("--hostname deaf --port 1 --request reboot --delay 0 --retries 1", 1, "deaf port 1 MAY BE OFF"),
        ("--hostname flaky --port 1 --request on --retries 2 --retry-delay 0", 1, "flaky: action 2 failed"),
        ("--hostname flaky --port 1 --request on --retries 3 --retry-delay 0.1", 0, ""),
        ("--hostname blind --port 1 --request off", 1, "blind: cmd_off is not set"),
        ("--hostname blind --port 1 --request status", 1, ""),
        ("--hostname pdu --port 9 --request on", 2, "'9' is not a port"),
        ("--hostname pud --port 1 --request on", 2, "did you mean 'pdu'?"),
        ("--hostname bad --port 1 --request on", 2, "pdus.bad.outlets: -3 is not within"),
        ("--hostname pdu --request on", 2, "port is missing"),
        ("--hostname pdu --port 1", 2, "--drive needs --request"),
        ("--hostname pdu --port 1 --request onn", 2, "did you mean 'on'?"),
        ("--hostname pdu --port 1 --request reboot --delay 1e3", 2, "delay: '1e3' is not a number of seconds"),
        ("--hostname pdu --port 1 --request on --retries x", 2, "--retries: 'x' is not a whole number"),
        ("--hostname pdu --port 1 --request on --retry-delay nan", 2, "--retry-delay: 'nan' is not a number"),
    ],
)
def test_exit_codes_and_reasons(program: Daemon, line: str, code: int, words: str) -> None:
    ended = drive(program, line)
    assert ended.returncode == code, ended
    assert words in ended.stderr and "Traceback" not in ended.stderr, ended.stderr


def test_why_it_failed_is_the_last_line(program: Daemon) -> None:
    """Behind what is logged, so that a script may take it."""
    said = drive(program, "--hostname deaf --port 1 --request on").stderr.splitlines()
    assert len(said) > 1 and said[-1] == "pdudaemon: deaf: no answer within 0.3 s"


@pytest.mark.real_program
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_between_the_halves_of_a_reboot_it_switches_on_at_once(
    daemon: Callable[..., Daemon], number: int
) -> None:
    program = daemon({}, start=False)
    plugin = Recorded(program)
    program.configure({"pdus": {"pdu": plugin.settings(takes=0.2)}})
    for moment in ("begin", "end"):  # while the off is under way, and in the delay
        plugin.record.unlink(missing_ok=True)
        process = program.spawn(*"--drive --hostname pdu --port 1 --request reboot --delay 600".split(), stderr=-1)
        eventually(lambda: plugin.seen(moment))  # noqa: B023
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert plugin.by_outlet() == {("pdu", "1"): "fo"}
        assert b"switching on at once" in err


@pytest.mark.real_program
def test_a_terminal_that_goes_is_no_concern_of_what_was_started_by_nohup(daemon: Callable[..., Daemon]) -> None:
    program = daemon({}, start=False)
    plugin = Recorded(program)
    program.configure({"pdus": {"pdu": plugin.settings()}})
    process = program.spawn(
        *"--drive --hostname pdu --port 1 --request reboot --delay 1".split(),
        stderr=-1,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    eventually(lambda: plugin.seen("end"))
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"") and plugin.by_outlet() == {("pdu", "1"): "fo"}


def test_what_a_site_has_is_not_switched_without_a_daemon(daemon: Callable[..., Daemon]) -> None:
    program = daemon({}, start=False)
    program.configure({"pdus": {}, "sites": {"berlin": {"url": "http://127.0.0.1:1"}}})
    ended = drive(program, "--alias berlin/board1 --request on")
    assert ended.returncode == 2 and "what sites have is for a daemon to switch" in ended.stderr


def test_interrupted_before_anything_has_started_it_switches_nothing(daemon: Callable[..., Daemon]) -> None:
    program = daemon({}, start=False)
    plugin = Recorded(program)
    program.configure({"pdus": {"pdu": plugin.settings()}})
    process = program.spawn(
        *"--drive --hostname pdu --port 1 --request off --delay 600 --loglevel DEBUG".split(), stderr=-1
    )
    assert process.stderr is not None
    assert b"accepted" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.stderr.close()
    assert process.wait(60) == 130
    assert plugin.seen() == []


def test_list_drivers(program: Daemon) -> None:
    assert {"dummy", "localcmdline"} <= set(program.run("--list-drivers").stdout.split())
    one: Any = program.run("--list-drivers", "localcmdline")
    assert "cmd_status" in one.stdout and "retries" in one.stdout
    wrong = program.run("--list-drivers", "localcmdlnie")
    assert wrong.returncode == 2 and "did you mean 'localcmdline'?" in wrong.stderr


@pytest.mark.real_program
def test_a_reader_that_has_seen_enough_is_no_fault(program: Daemon) -> None:
    process = program.spawn("--list-drivers", "dummy", stdout=-1, stderr=-1)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 0)
    process.stderr.close()


def test_a_failure_that_nobody_reads_is_one(program: Daemon) -> None:
    process = program.spawn(*"--drive --hostname deaf --port 1 --request on".split(), stderr=-1)
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(60) == 1
