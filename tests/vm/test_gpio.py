# SPDX-License-Identifier: MIT
"""The daemon and GPIO chips that the kernel simulates. What a line is, the kernel is asked: its level, and who holds it.

Runs in a virtual machine: ``make test-usb``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.process import ROOT, Daemon, eventually
from tests.vm.gpiosim import Chip, load_module
from tests.vm.users import DaemonOf, let_in

NOBODY = ("", "")
OUTPUT, INPUT = ("pdudaemon", "out"), ("pdudaemon", "in")

# Holds a line under another name, until it is told to let go.
HOLDER = """
import sys
from pdudaemon.transports import gpio
gpio._CONSUMER = b"heartbeat"
line = gpio.Line(sys.argv[1], int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def module() -> None:
    load_module()


@pytest.fixture
def chip(request: pytest.FixtureRequest) -> Iterator[Chip]:
    """Have a chip of eight lines by a label of its own."""
    made = Chip(f"relays-{abs(hash(request.node.name)) % 10000}", 8)
    made.plug()
    yield made
    made.unplug()


@pytest.fixture
def running(chip: Chip, daemon: Callable[..., Daemon]) -> Daemon:
    """Run a daemon that knows the chip by its label, and twice by its path."""
    return daemon(configured(chip))


def configured(chip: Chip) -> dict[str, Any]:
    once = {"driver": "gpio", "retries": 1, "chip": chip.label, "timeout": 5}
    return {
        "shelf": once,
        "low": {**once, "chip": chip.path, "active_low": True},
        "patient": {**once, "retries": 200, "retrydelay": 0.2, "timeout": 60},
    }


@contextmanager
def held_by_another(chip: Chip, line: int) -> Iterator[None]:
    """Have another program hold a line meanwhile."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, chip.path, str(line)], cwd=ROOT, **pipes) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline() == b"held\n"
        yield
        holder.stdin.close()


def test_a_line_is_driven_and_stays_held(chip: Chip, running: Daemon) -> None:
    assert chip.told(3) == NOBODY
    assert running.power("on", "shelf", 3).status == 200
    assert (chip.level(3), chip.told(3)) == ("high", OUTPUT)
    assert running.power("status", "shelf", 3).text == "on\n"
    assert running.power("off", "shelf", 3).status == 200
    assert (chip.level(3), chip.told(3)) == ("low", OUTPUT)
    assert running.power("reboot", "shelf", 3, delay=0).status == 200
    assert (chip.level(3), chip.told(3)) == ("high", OUTPUT)
    assert [chip.level(line) for line in (0, 1, 2, 4, 5, 6, 7)] == ["low"] * 7


def test_the_low_level_may_be_on(chip: Chip, running: Daemon) -> None:
    assert running.power("on", "low", 2).status == 200
    assert (chip.level(2), running.power("status", "low", 2).text) == ("low", "on\n")
    assert running.power("off", "low", 2).status == 200
    assert (chip.level(2), running.power("status", "low", 2).text) == ("high", "off\n")


def test_a_line_that_is_only_read_stays_an_input(chip: Chip, running: Daemon) -> None:
    for level, state in (("high", "on\n"), ("low", "off\n")):
        chip.pull(5, level)
        assert running.power("status", "shelf", 5).text == state
        assert (chip.level(5), chip.told(5)) == (level, INPUT)


def test_there_is_no_such_line(running: Daemon) -> None:
    reply = running.power("on", "shelf", 8)
    assert reply.status == 502 and "there is no line 8 of relays-" in reply.text


def test_a_line_of_another_program_is_left_to_it(chip: Chip, running: Daemon) -> None:
    chip.pull(4, "high")
    with held_by_another(chip, 4):
        reply = running.power("off", "shelf", 4)
        assert reply.status == 502 and f"line 4 of {chip.label} is in use by 'heartbeat'" in reply.text
        assert (chip.level(4), chip.told(4)) == ("high", ("heartbeat", "in"))
        assert running.power("off", "patient", 4, wait=0).status == 200
    eventually(lambda: chip.level(4) == "low" and chip.told(4) == OUTPUT)


def test_a_second_daemon_is_told_who_has_the_line(chip: Chip, running: Daemon, daemon: Callable[..., Daemon]) -> None:
    assert running.power("on", "shelf", 1).status == 200
    request = ["--drive", "--hostname", "shelf", "--port", "1", "--request", "off"]
    (running.folder / "other").mkdir()
    other = Daemon(running.folder / "other", configured(chip))
    said = other.run(*request)
    assert said.returncode == 1 and f"line 1 of {chip.label} is in use by 'pdudaemon'" in said.stderr
    assert chip.level(1) == "high"


def test_kill_9_lets_go_and_a_restart_takes_the_line_as_it_is(chip: Chip, running: Daemon) -> None:
    chip.pull(6, "high")  # as a relay board would have it when nobody drives it
    assert running.power("off", "shelf", 6).status == 200
    assert (chip.level(6), chip.told(6)) == ("low", OUTPUT)
    running.kill()
    assert (chip.level(6), chip.told(6)) == ("high", NOBODY)
    running.start()
    assert (chip.level(6), chip.told(6)) == ("high", NOBODY)  # a start switches nothing
    assert running.power("status", "shelf", 6).text == "on\n"
    assert running.power("off", "shelf", 6).status == 200
    assert (chip.level(6), chip.told(6)) == ("low", OUTPUT)


def test_a_reboot_that_was_cut_short_by_kill_9_ends_on(chip: Chip, running: Daemon) -> None:
    assert running.power("on", "shelf", 7).status == 200
    assert running.power("reboot", "shelf", 7, delay=1, wait=0).status == 200
    eventually(lambda: chip.level(7) == "low")
    running.kill()
    assert chip.level(7) == "low"
    running.start()
    eventually(lambda: chip.level(7) == "high" and chip.told(7) == OUTPUT)


def test_a_reload_keeps_the_lines_or_takes_them_anew(chip: Chip, running: Daemon) -> None:
    def reload() -> None:
        before = running.log_text().count("has been taken over")
        running.configure(running.settings)
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: running.log_text().count("has been taken over") > before)

    assert running.power("on", "shelf", 3).status == 200
    assert running.power("on", "shelf", 99).status == 502  # what failed keeps nothing that is in the way
    reload()
    assert (chip.level(3), chip.told(3)) == ("high", OUTPUT)
    running.settings["pdus"]["shelf"]["active_low"] = True
    reload()
    eventually(lambda: running.power("on", "shelf", 3).status == 200)
    assert (chip.level(3), chip.told(3)) == ("low", OUTPUT)
    del running.settings["pdus"]["shelf"]
    reload()
    eventually(lambda: chip.told(3) == NOBODY)


def test_a_chip_may_be_pulled_out_and_come_back_as_another(chip: Chip, running: Daemon) -> None:
    assert running.power("on", "shelf", 0).status == 200
    chip.unplug()
    reply = running.power("off", "shelf", 0)
    assert reply.status == 502 and chip.label in reply.text
    with held_number(chip):
        chip.plug()
        assert running.power("on", "shelf", 0).status == 200
        assert (chip.level(0), chip.told(0)) == ("high", OUTPUT)


@contextmanager
def held_number(chip: Chip) -> Iterator[None]:
    """Have another chip take the number of one that is not there."""
    other = Chip("other", 1)
    other.plug()
    yield
    other.unplug()


def test_chips_are_listed_as_they_are_configured(chip: Chip, running: Daemon) -> None:
    said = running.run("--list-devices")
    assert (said.returncode, said.stderr) == (0, "")
    assert (
        f"gpio: {json.dumps({'chip': chip.label})} {chip.path.removeprefix('/dev/')}, 8 lines"
        in said.stdout.splitlines()
    )


def test_a_check_says_whether_the_chip_is_there(chip: Chip, running: Daemon) -> None:
    assert running.run("--check", "--online").returncode == 0
    running.configure({"pdus": {"shelf": {"driver": "gpio", "chip": "nobody"}}})
    said = running.run("--check", "--online")
    assert said.returncode == 1
    assert f"there is no GPIO chip with the label 'nobody', but '{chip.label}'" in said.stdout + said.stderr


def test_the_rule_lets_members_of_the_group_in(chip: Chip) -> None:
    member = DaemonOf("gpio-member", "pdudaemon", pdus=configured(chip))
    try:
        member.start()
        reply = member.power("on", "low", 1)
        assert reply.status == 502 and f"no access to line 1 of {chip.path}" in reply.text
        assert chip.level(1) == "low"
        let_in(gpiochip0=chip.path.removeprefix("/dev/"))
        assert member.power("on", "shelf", 1).status == 200
        assert (chip.level(1), chip.told(1)) == ("high", OUTPUT)
    finally:
        member.kill()
