# SPDX-License-Identifier: MIT
"""The contract with drivers: those written for the existing daemon, installed as plugins, and the first of our own."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from tests.support.docs import example
from tests.support.process import Daemon, eventually, install_plugin

LEGACY = '''
import logging
import os
from pdudaemon.drivers.driver import PDUDriver, FailedRequestException, UnknownCommandException

log = logging.getLogger("pdud.drivers." + os.path.basename(__file__))


class LegacyBase(PDUDriver):
    connection = None

    def __init__(self, hostname, settings):
        self.hostname = hostname
        self.settings = settings
        super(LegacyBase, self).__init__()

    def write(self, text):
        with open(self.settings["out"], "a") as out:
            out.write(text + "\\n")


class Constructing(LegacyBase):
    """Does its I/O while being made, and fails the first time."""

    def __init__(self, hostname, settings):
        super(Constructing, self).__init__(hostname, settings)
        if not os.path.exists(settings["device"]):
            open(settings["device"], "w").close()
            raise OSError("the device is not there yet")
        self.write("connected")

    @classmethod
    def accepts(cls, drivername):
        return drivername == "constructing"

    def port_interaction(self, command, port_number):
        if command == "on":
            self.write("%s on" % port_number)
        elif command == "off":
            self.write("%s off" % port_number)
        else:
            raise UnknownCommandException("Unknown command %s" % command)

    def _cleanup(self):
        self.write("cleanup")


class Middle(LegacyBase):
    port_count = 0

    @classmethod
    def accepts(cls, drivername):
        return False


class Arithmetic(Middle):
    """Three levels deep; only port_on and port_off; does arithmetic on the port."""

    port_count = 4

    @classmethod
    def accepts(cls, drivername):
        return drivername == "arithmetic"

    def port_on(self, port_number):
        if port_number > self.port_count or port_number < 1:
            raise FailedRequestException("There are only %s ports" % self.port_count)
        self.write("0x%02x" % (1 << (port_number - 1)))

    def port_off(self, port_number):
        self.write("0x%02x off" % (1 << (port_number - 1)))


class Bombing(LegacyBase):
    @classmethod
    def accepts(cls, drivername):
        return drivername == "bombing"

    def port_interaction(self, command, port_number):
        self.write("try")
        raise RuntimeError("no such luck")

    def _bombout(self):
        self.write("bombout")
        self.connection.close()


class Exiting(LegacyBase):
    @classmethod
    def accepts(cls, drivername):
        return drivername == "exiting"

    def handle(self, request, port_number):
        raise SystemExit(1)


class Talking(LegacyBase):
    @classmethod
    def accepts(cls, drivername):
        return drivername == "talking"

    def handle(self, request, port_number):
        raise ValueError([f"http://pdu/?Sw_on=1,admin{self.settings['password']} failed"])
'''


@pytest.fixture
def legacy(daemon: Callable[..., Daemon], tmp_path: Path) -> tuple[Daemon, Path]:
    """A daemon with one PDU of each driver, and the file they write to."""
    out = tmp_path / "out"
    words = {"constructing": "Constructing", "arithmetic": "Arithmetic", "bombing": "Bombing", "exiting": "Exiting"}
    words["talking"] = "Talking"
    settings = {"out": str(out), "device": str(tmp_path / "device"), "retries": 2, "retrydelay": 0.1}
    started = daemon({word: {"driver": word, **settings} for word in words}, start=False)
    install_plugin(started.plugins, "legacydrivers", LEGACY, words)
    started.start()
    return started, out


def test_io_in_the_constructor_is_an_attempt_that_may_fail(legacy: tuple[Daemon, Path]) -> None:
    started, out = legacy
    assert not out.exists()  # nothing is made before its first request
    assert started.tcp("constructing 04 on") == "ack\n"
    assert started.power("off", "constructing", "04").status == 200
    assert out.read_text().split("\n") == ["connected", "4 on", "cleanup", "04 off", "cleanup", ""]


def test_check_makes_no_driver(legacy: tuple[Daemon, Path]) -> None:
    started, out = legacy
    assert started.run("--check").returncode == 0
    assert not out.exists()


def test_a_plugin_gets_the_port_as_the_existing_daemon_gives_it(legacy: tuple[Daemon, Path]) -> None:
    """A number over TCP, with which it can do arithmetic; elsewhere the text as it was given."""
    started, out = legacy
    assert started.tcp("arithmetic 03 on") == "ack\n"
    assert started.tcp("arithmetic 3 off") == "ack\n"
    assert out.read_text() == "0x04\n0x04 off\n"
    assert started.tcp("arithmetic 5 on") == "nack: arithmetic: There are only 4 ports\n"
    assert started.power("off", "arithmetic", "03").text.startswith("arithmetic: TypeError: unsupported operand")
    assert started.power("status", "arithmetic", 3).text == "unknown\n"
    for port in ("03", "Plug 1", "relay@2", "Küche", "../x; rm"):
        out.unlink()
        assert started.power("on", "constructing", quote(port)).status == 200
        assert f"{port} on" in out.read_text().split("\n")
        arguments = ("--drive", "--hostname=constructing", f"--port={port}", "--request=off")
        assert started.run(*arguments).returncode == 0
        assert f"{port} off" in out.read_text().split("\n")


def test_a_bombout_that_raises_harms_nobody(legacy: tuple[Daemon, Path]) -> None:
    started, out = legacy
    for _ in range(2):
        assert started.tcp("bombing 1 on") == "nack: bombing: RuntimeError: no such luck\n"
    assert out.read_text() == "try\nbombout\n" * 4


def test_a_driver_that_exits_does_not_take_its_worker_along(legacy: tuple[Daemon, Path]) -> None:
    started, _ = legacy
    for _ in range(2):
        assert started.tcp("exiting 1 on") == "nack: exiting: SystemExit: 1\n"


@pytest.mark.parametrize(
    "password", ["hunter2-secret", "hun\\ter2-secret", "hunter2\nsecret", "hu'n\"ter2-secret", "hünter2"]
)
def test_a_driver_that_talks_shows_no_secret(legacy: tuple[Daemon, Path], password: str) -> None:
    started, _ = legacy
    settings = started.settings["pdus"]["talking"]
    started.kill()
    started.configure({**started.settings, "pdus": {"talking": {**settings, "password": password}}})
    started.start()
    assert started.tcp("talking 1 on") == "nack: talking: ValueError: ['http://pdu/?Sw_on=1,admin*** failed']\n"
    eventually(lambda: "Traceback" in started.log_text())  # the tests' level is DEBUG
    assert "ter2" not in started.log_text()


def test_faulty_plugins_disable_their_pdus_alone(daemon: Callable[..., Daemon]) -> None:
    words = ("importing", "twice", "stranger", "liar")
    started = daemon({word: {"driver": word} for word in (*words, "dummy")}, start=False)
    install_plugin(started.plugins, "broken", "import no_such_module", {"importing": "X"})
    other = "from pdudaemon.drivers.driver import PDUDriver\nclass P(PDUDriver):\n    pass\n"
    install_plugin(started.plugins, "one", other, {"twice": "P", "stranger": "__name__", "liar": "P"})
    install_plugin(started.plugins, "two", other, {"twice": "P"})
    started.start()
    reasons = [started.power("on", word, 1).text for word in words]
    assert "cannot be loaded" in reasons[0] and "no_such_module" in reasons[0]
    assert "more than one installed package: one:P, two:P" in reasons[1]
    assert all("is not a PDUDriver that accepts" in reason for reason in reasons[2:])
    assert started.power("on", "dummy", 1).status == 200


def test_an_unknown_attribute_of_the_library_is_not_lost() -> None:
    """The names that old drivers import."""
    from pdudaemon.drivers.driver import FailedRequestException, UnknownCommandException

    assert issubclass(FailedRequestException, Exception) and issubclass(UnknownCommandException, Exception)


# -- localcmdline


def test_a_command_is_run_by_a_shell_with_the_port_in_its_place(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """What the existing daemon's own acceptance test expects of a reboot, by both protocols and with an alias."""
    out = tmp_path / "pdu"
    command = {action: f"echo '%s {action}' >> {out}" for action in ("on", "off")}
    started = daemon(
        {"test": {"driver": "localcmdline", "cmd_on": command["on"], "cmd_off": command["off"]}},
        {"aliastest01": {"hostname": "test", "port": 5}},
    )
    assert started.power("reboot", "test", 1, delay=0).status == 200
    assert started.http("/power/control/reboot?alias=aliastest01&delay=0").status == 200
    assert started.tcp("test 03 reboot 0") == "ack\n"
    assert out.read_text() == "1 off\n1 on\n5 off\n5 on\n3 off\n3 on\n"


COMMANDS = [
    ("true", 200, "OK - accepted request\n"),
    ("exit 3", 502, "pdu: cmd_on exited with 3\n"),
    ("echo out; echo 'no relay' >&2; exit 1", 502, "pdu: cmd_on exited with 1: no relay\n"),
    ("no-such-command-here", 502, None),
    ("kill -9 $$", 502, "pdu: cmd_on was killed by signal 9\n"),
    ("sleep 60", 504, "pdu: no answer within 1 s\n"),
    ("sleep 60 & echo in the background", 200, "OK - accepted request\n"),
    ("trap '' TERM; sleep 60", 504, "pdu: no answer within 1 s\n"),
    ("test '%u %x %+d %.2d %3s %.1s' = '7 7 +7 07   7 7'", 200, "OK - accepted request\n"),
    ("test '%d' = 7 && test %02d = 07 && test 5%% = '5%%' && date +%%s", 200, "OK - accepted request\n"),
    ("", 502, "pdu: cmd_on is not set\n"),
    ("read x", 502, "pdu: cmd_on exited with 1\n"),
    ("head -c 10000000 /dev/zero", 200, "OK - accepted request\n"),
]


def test_the_exit_status_is_the_result(daemon: Callable[..., Daemon]) -> None:
    pdus = {
        f"pdu{number}": {
            "driver": "localcmdline",
            "cmd_on": command,
            "timeout": 1 if status == 504 else 30,
            "retries": 1,
        }
        for number, (command, status, _) in enumerate(COMMANDS)
    }
    started = daemon(pdus)
    for pdu, (command, status, reason) in zip(pdus, COMMANDS, strict=True):
        before = time.monotonic()
        reply = started.power("on", pdu, 7)
        assert time.monotonic() - before < 30, command
        assert reply.status == status, (command, reply)
        assert "not found" in reply.text if reason is None else reply.text.replace(pdu, "pdu") == reason, command


def test_a_port_that_could_mean_something_to_a_shell_is_refused(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "localcmdline", "cmd_on": "echo '%s'", "cmd_status": "echo on"}})
    ports = ("$(touch%20PWNED)", "`id`", "a;b", "a%0Ab", "%27", "a%20b", "-rf", "", "..%5C", "%00", "x" * 101)
    for port, action in itertools.product(ports, ("on", "reboot", "status")):
        assert started.power(action, "pdu", port).status == 503, port
    assert started.http("/api/v1/requests").json == []


def test_cmd_status(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    state = tmp_path / "state"
    started = daemon({"pdu": {"driver": "localcmdline", "cmd_status": f"cat {state}", "retries": 1}})
    for printed, text in (("on\n", "on\n"), ("OFF", "off\n"), ("unknown", "unknown\n")):
        state.write_text(printed)
        assert started.power("status", "pdu", 1).text == text
    state.write_text("perhaps")
    reply = started.power("status", "pdu", 1)
    assert (reply.status, reply.text) == (502, "pdu: cmd_status printed 'perhaps', not on or off\n")
    state.unlink()
    reply = started.power("status", "pdu", 1)
    assert reply.status == 502 and "No such file" in reply.text


def test_cmd_status_may_complain(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "localcmdline", "cmd_status": "echo 'Warning: new host' >&2; echo on"}})
    assert started.power("status", "pdu", 1).text == "on\n"


def test_verify_reads_the_state_back_until_it_is_as_asked(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("off")
    command = {"cmd_on": f"(sleep 0.7; echo on > {state}) &", "cmd_off": "true", "cmd_status": f"cat {state}"}
    pdu = {"driver": "localcmdline", "verify": True, "timeout": 30, "retries": 1, **command}
    started = daemon({"pdu": pdu, "hasty": {**pdu, "timeout": 3}})
    assert started.power("on", "pdu", 1).status == 200
    assert state.read_text() == "on\n"
    reply = started.power("off", "hasty", 1)
    assert (reply.status, reply.text) == (502, "hasty: port 1 is still on after off\n")


# -- what must hold for every driver


@pytest.mark.parametrize("name", strategies.names())
def test_the_example_in_a_drivers_docstring_loads(name: str, tmp_path: Path) -> None:
    """Every family shows a configuration, and it is a right one."""
    module = strategies.find(name).__module__
    text = sys.modules[module].__doc__ or ""
    assert "Source:" in text and "Tested:" in text
    shown = example(module).rstrip(",")
    (tmp_path / "conf").write_text(f'{{"pdus": {{{shown}}}}}')
    conf = reader.load(str(tmp_path / "conf"))
    assert conf.pdus and not conf.faults and not conf.warnings, (conf.faults, conf.warnings)


def test_a_name_defined_twice_fails_at_import() -> None:
    with pytest.raises(TypeError, match="'dummy' is defined by both"):

        class Second(PDUDriver):
            models = {"dummy": None}


def test_any_name_of_a_pdu_or_a_lock_can_have_its_lock_file(daemon: Callable[..., Daemon]) -> None:
    long = "ж" * 100
    locks = {"a": f"{long}a", "b": f"{long}b", "c": f"{long}b", "d": ".", "e": "/"}
    pdus = {name: {"driver": "dummy", "retries": 1} for name in (".", "..", "192.0.2.1", long)}
    started = daemon({**pdus, **{name: {"driver": "dummy", "retries": 1, "lock": locks[name]} for name in locks}})
    for name in (*pdus, *locks):
        reply = started.power("on", quote(name), 1)
        assert reply.status == 200, reply.text
    files = sorted(path.name for path in Path(f"{started.db}.locks").iterdir())
    assert len(files) == 7 and {"%2E", "%2E%2E", "%2F", "192.0.2.1"} < {*files}


def test_the_dummy_keeps_its_outlets_in_a_file(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    outlets = tmp_path / "outlets"
    started = daemon({"pdu": {"driver": "dummy", "file": str(outlets), "outlets": 3}})
    assert started.power("on", "pdu", "003").status == 200
    assert json.loads(outlets.read_text()) == {"3": "on"}
    outlets.write_text('{"3": "perhaps"}')
    assert "cannot be read from" in started.power("status", "pdu", 3).text
    assert started.power("on", "pdu", 4).status == 503
    eventually(lambda: started.http("/healthz").status == 200)
