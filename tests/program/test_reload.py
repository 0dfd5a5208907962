# SPDX-License-Identifier: MIT
"""SIGHUP: the configuration is read again, all of it or nothing, and nothing is switched by that."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import recorded
from tests.support.ports import free_ports
from tests.support.process import Daemon, eventually, in_parallel, install_plugin

RELOADED = "the configuration has been taken over"
REFUSED = "nothing was changed"


def reload(started: Daemon, **sections: Any) -> str:
    """Write sections of the configuration anew, reload, and return what is logged of it."""
    assert started.process is not None
    started.configure({**started.settings, **sections})
    before = len(started.log_text())
    started.process.send_signal(signal.SIGHUP)
    return str(eventually(lambda: RELOADED in (text := started.log_text()[before:]) and text))


def pdus(daemon: Daemon) -> dict[str, str]:
    return {each["name"]: each["state"] for each in daemon.http("/api/v1/pdus").json}


def test_pdus_come_change_and_go(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"stays": {"driver": "dummy"}, "changes": {"driver": "dummy"}, "goes": {"driver": "dummy"}})
    for name in ("stays", "changes", "goes"):
        assert started.power("on", name, 1).status == 200
    text = reload(
        started,
        pdus={"stays": {"driver": "dummy"}, "changes": {"driver": "dummy", "outlets": 3}, "comes": {"driver": "dummy"}},
        aliases={"board": {"hostname": "comes", "port": 2}},
    )
    assert "changes: its configuration has changed" in text and "stays: its" not in text
    assert "goes is not configured any more, and has gone" in text
    assert pdus(started) == {"stays": "ready", "changes": "ready", "comes": "ready"}
    assert started.power("status", "stays", 1).text == "on\n"  # the same driver, which remembers
    assert started.power("status", "changes", 1).text == "off\n"  # a new one, which does not
    assert started.power("on", "changes", 4).status == 503
    assert started.power("on", "goes", 1).text.startswith("there is no PDU 'goes'")
    assert started.http("/power/control/on?alias=board").status == 200


@pytest.mark.parametrize(
    ("conf", "fault"),
    [
        ('{"pdus": {}', "not valid JSON"),
        ({"aliases": {}}, "pdus: is missing"),
        ({"daemon": {"port": "x"}, "pdus": {}}, "daemon.port: 'x' is not a whole number"),
        ({"daemon": {"listeners": [{"protocol": "tcp", "hostname": "192.0.2.1"}]}, "pdus": {}}, "cannot listen on"),
        ({"daemon": {"jwt_secret_file": "/dev/null/x"}, "pdus": {}}, "jwt_secret_file: /dev/null/x"),
        ({"daemon": {"hostname": "127.0..1"}, "pdus": {}}, "cannot listen on 127.0..1 port 16421: "),
        ({"daemon": {"hostname": "a" * 64}, "pdus": {}}, f"cannot listen on {'a' * 64} port 16421: "),
    ],
)
def test_a_fault_that_would_prevent_a_start_changes_nothing(
    daemon: Callable[..., Daemon], conf: Any, fault: str
) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    assert started.process is not None
    started.configure(conf)
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: REFUSED in started.log_text())
    eventually(lambda: fault in started.log_text())
    assert started.power("on", "pdu", 1).status == 200
    assert pdus(started) == {"pdu": "ready"}


def test_a_reload_bears_what_a_start_bears(daemon: Callable[..., Daemon]) -> None:
    """One broken node must not keep a new secret from taking effect."""
    broken = {"node": {"hostname": "none", "port": 1}}
    started = daemon({"pdu": {"driver": "dummy"}, "bad": {"driver": "dumy"}}, nodes=broken, secret="a-secret")
    assert started.http("/api/v1/pdus", Authorization=f"Bearer {token(started)}").status == 200
    old = token(started)
    (started.folder / "secret").write_text("another-secret")
    text = reload(started, pdus={**started.settings["pdus"], "worse": {"driver": "dumy", "typo": 1}})
    assert "pdus.worse.driver: there is no driver 'dumy'" in text and "2 faults are as before" in text
    assert "pdus.bad" not in text and "nodes.node" not in text
    assert started.http("/api/v1/pdus", Authorization=f"Bearer {old}").status == 401
    started.token = token(started)
    assert pdus(started) == {"pdu": "ready", "bad": "disabled", "worse": "disabled"}


def token(started: Daemon) -> str:
    return started.run("--token").stdout.strip()


def test_a_pdu_that_a_reload_disables_ends_what_was_accepted(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}, "other": {}})
    good = started.settings["pdus"]
    assert started.power("reboot", "pdu", 1, delay=6, wait=0).status == 200
    eventually(lambda: plugin.by_outlet().get(("pdu", "1")) == "f")
    reload(started, pdus={**good, "pdu": {**good["pdu"], "retries": "x"}})
    assert pdus(started)["pdu"] == "leaving"
    assert "disabled by its configuration" in started.power("off", "pdu", 1).text
    eventually(lambda: pdus(started)["pdu"] == "disabled")
    assert plugin.by_outlet()["pdu", "1"] == "fo"
    (record,) = (each for each in started.http("/api/v1/pdus").json if each["name"] == "pdu")
    assert "retries: 'x'" in record["reason"]
    reload(started, pdus=good)
    assert started.power("off", "pdu", 1).status == 200


def test_a_stop_comes_before_reloads_and_several_of_these_are_one(daemon: Callable[..., Daemon]) -> None:
    """The reading is held up by a file that is none, until all signals have come."""
    started = daemon({"pdu": {"driver": "dummy"}})
    assert started.process is not None
    whole = started.conf.read_text()

    def held_up(*signals: int) -> None:
        """Have one reload begin, send more signals, and let it end."""
        assert started.process is not None
        before = started.log_text().count("SIGHUP: reading")
        started.conf.unlink(missing_ok=True)
        os.mkfifo(started.conf)
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda: started.log_text().count("SIGHUP: reading") > before)
        for number in signals:
            started.process.send_signal(number)
        started.conf.write_text(whole)  # as soon as it is read

    held_up(*[signal.SIGHUP] * 20)
    started.conf.unlink()
    started.conf.write_text(whole)
    eventually(lambda: started.log_text().count(RELOADED) == 2)
    assert started.power("on", "pdu", 1).status == 200
    assert started.log_text().count("SIGHUP: reading") == 2
    held_up(*[signal.SIGHUP] * 20, signal.SIGTERM, signal.SIGHUP)
    assert started.process.wait(60) == 0
    assert started.log_text().count("SIGHUP: reading") == 3 and started.log_text().count(RELOADED) == 2
    assert "SIGTERM: stopping" in started.log_text()


def test_a_fault_that_nobody_thought_of_changes_nothing(daemon: Callable[..., Daemon]) -> None:
    """It is made by a plugin that meddles with what is ours, once."""
    hasty = """
from pdudaemon.config import nodes
from pdudaemon.drivers.driver import PDUDriver

groups = nodes.groups

def failing(*_):
    nodes.groups = groups
    raise KeyError("x")

nodes.groups = failing

class Hasty(PDUDriver):
    models = {"hasty": None}
"""
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    install_plugin(started.plugins, "hasty", hasty, {"hasty": "Hasty"})
    started.start()
    assert started.process is not None
    started.configure({**started.settings, "pdus": {"pdu": {"driver": "hasty"}}})
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: REFUSED in started.log_text())
    eventually(lambda: "KeyError: 'x'" in started.log_text())
    assert started.power("on", "pdu", 1).status == 200
    assert "listening" in reload(started, daemon={**started.settings["daemon"], "port": free_ports()[0]})


def test_what_was_accepted_is_finished_by_a_pdu_that_goes(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    started, plugin = recorded(daemon, {"goes": {}, "stays": {}})
    reply = started.power("reboot", "goes", 1, delay=6, wait=0)
    waiting = started.power("off", "goes", 1, wait=0)
    assert (reply.status, waiting.status) == (200, 200)
    eventually(lambda: plugin.by_outlet().get(("goes", "1")) == "f")
    without = {name: pdu for name, pdu in started.settings["pdus"].items() if name != "goes"}
    reload(started, pdus=without)
    assert pdus(started)["goes"] == "leaving"
    assert started.power("on", "goes", 1).text.startswith("there is no PDU 'goes'")
    eventually(lambda: plugin.by_outlet()["goes", "1"] == "fof")
    eventually(lambda: "goes" not in pdus(started))
    assert started.http("/api/v1/requests/2").json["state"] == "done"


WALKER = """
import os
from pdudaemon.drivers.driver import PDUDriver

class Walker(PDUDriver):
    def __init__(self, hostname, settings):
        self.hostname = hostname

    @classmethod
    def accepts(cls, drivername):
        return drivername == "walker"

    def port_interaction(self, command, port_number):
        os.chdir("/")
"""


def test_wherever_a_driver_goes_a_reload_finds_the_file(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"walker": {"driver": "walker"}}, start=False)
    install_plugin(started.plugins, "walkermodule", WALKER, {"walker": "Walker"})
    whole, started.conf = started.conf, Path(started.conf.name)  # relative to where it is started
    started.start()
    started.conf = whole
    assert started.power("on", "walker", 1).status == 200
    assert RELOADED in reload(started, pdus={"new": {"driver": "dummy"}})
    assert started.power("on", "new", 1).status == 200


def test_a_change_comes_between_two_actions(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    log, begun, go = tmp_path / "log", tmp_path / "begun", tmp_path / "go"
    old = f"touch {begun}; until test -e {go}; do sleep 0.05; done; echo old >> {log}"
    commands = {"driver": "localcmdline", "cmd_on": old, "cmd_off": "true"}
    started = daemon({"pdu": commands})
    answers = [lambda: started.power("on", "pdu", 1), lambda: started.power("on", "pdu", 2)]

    def change() -> None:
        eventually(begun.exists)
        reload(started, pdus={"pdu": {**commands, "cmd_on": f"echo new >> {log}"}})
        go.touch()

    both = in_parallel([*answers, change])
    assert [reply.status for reply in both[:2]] == [200, 200]
    assert log.read_text().split() == ["old", "new"]


def test_a_request_for_a_port_that_is_no_more_is_ended(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    started.power("on", "pdu", 8, delay=60, wait=0)
    text = reload(started, pdus={"pdu": {"driver": "dummy", "outlets": 4}})
    assert "this PDU has 1 to 4" in text
    assert started.http("/api/v1/requests/1").json["state"] == "failed"


def test_listeners_that_did_not_change_keep_their_connections(daemon: Callable[..., Daemon]) -> None:
    (second,) = free_ports()
    started = daemon({"pdu": {"driver": "dummy"}})
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        connection.sendall(request)
        assert b"200 OK" in connection.recv(4096)
        own = {"protocol": "both", "hostname": "127.0.0.1", "port": started.settings["daemon"]["port"]}
        more = {"protocol": "http", "hostname": "127.0.0.1", "port": second}
        daemon_section = {key: value for key, value in started.settings["daemon"].items() if key != "listener"}
        reload(started, daemon={**daemon_section, "listeners": [own, more]})
        connection.sendall(request)
        assert b"200 OK" in connection.recv(4096)
    with socket.create_connection(("127.0.0.1", second), timeout=60) as connection:
        connection.sendall(request)
        assert b"200 OK" in connection.recv(4096)
    reload(started)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", second), timeout=60)
    assert started.http("/healthz").status == 200


def test_a_listener_moves_to_another_address_of_its_port(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, port=free_ports()[0])
    assert started.process is not None

    def heard(address: str) -> bool:
        try:
            with socket.create_connection((address, started.port), timeout=60) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                return b"200 OK" in connection.recv(4096)
        except ConnectionRefusedError:
            return False

    section = started.settings["daemon"]
    assert (heard("127.0.0.1"), heard("127.0.0.2")) == (True, False)
    reload(started, daemon={**section, "hostname": "0.0.0.0"})
    assert (heard("127.0.0.1"), heard("127.0.0.2")) == (True, True)
    reload(started, daemon={**section, "hostname": "127.0.0.2"})
    assert (heard("127.0.0.1"), heard("127.0.0.2")) == (False, True)

    with socket.create_server(("127.0.0.3", started.port)):  # so that nobody can have the port at every address
        started.configure({**started.settings, "daemon": {**section, "hostname": "0.0.0.0"}})
        started.process.send_signal(signal.SIGHUP)
        eventually(lambda: REFUSED in started.log_text())
    eventually(lambda: "cannot listen on 0.0.0.0 port" in started.log_text())
    assert (heard("127.0.0.1"), heard("127.0.0.2")) == (False, True)


def test_tokens_can_be_asked_for_from_now_on(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}})
    reload(started, daemon={**started.settings["daemon"], "jwt_secret_file": "secret"})
    assert started.http("/api/v1/pdus").status == 401
    assert started.tcp("pdu 1 on").startswith("nack: a token is needed")


def test_connections_of_a_listener_that_is_no_more_are_asked_for_tokens_too(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, port=free_ports()[0])
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        for status in (b"200", b"401"):
            connection.sendall(b"GET /api/v1/pdus HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).split()[1] == status
            moved = {"hostname": "0.0.0.0", "jwt_secret_file": "secret"}
            reload(started, daemon={**started.settings["daemon"], **moved})


def test_many_reloads_under_load_lose_nothing(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"a": {}, "b": {}})
    both = started.settings["pdus"]
    done = threading.Event()
    failed: list[str] = []

    def ask() -> None:
        while not done.is_set():
            reply = started.power("reboot", "b", 1, delay=0)
            if reply.status != 200:
                failed.append(reply.text)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(8):
        changed = {"a": both["a"], "b": {**both["b"], "retries": number % 3 + 1}} if number % 2 else {"b": both["b"]}
        reload(started, pdus=changed)
    done.set()
    for thread in threads:
        thread.join(30)
    assert not failed
    assert set(plugin.by_outlet()["b", "1"].replace("fo", "")) == set()


def test_comments_and_secrets_from_elsewhere(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "word").write_text("s3cret-of-systemd\n")
    (tmp_path / "other").write_text("s3cret-of-a-file")
    started = daemon({}, start=False)
    started.environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    echo = "echo $word >&2; exit 1"
    conf = {
        "daemon": started.settings["daemon"],
        "pdus": {
            "one": {"driver": "platform", "power_on": echo, "values": {"word": {"credential": "word"}}},
            "two": {"driver": "platform", "power_on": echo, "values": {"word": {"file": str(tmp_path / "other")}}},
            "three": {"driver": "snmpv1", "community": {"credential": "none"}},
            "four": {"driver": "snmpv1", "community": {"credential": "../other"}},
        },
    }
    text = json.dumps(conf, indent=1)
    started.configure("# A comment\n" + text.replace('\n "pdus"', '\n  // another, {"with": JSON}\n "pdus"'))
    started.start()
    for name in ("one", "two"):
        assert started.power("on", name, 1).text == f"{name}: power_on ended with exit status 1: ***\n"
    assert "three.community: there is no credential" not in started.power("on", "one", 1).text
    for name in ("three", "four"):
        assert "community: " in started.power("on", name, 1).text
    assert "s3cret" not in started.log_text()
