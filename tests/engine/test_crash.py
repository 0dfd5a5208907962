# SPDX-License-Identifier: MIT
"""kill -9 and SIGTERM at every boundary and at random: nothing acknowledged is lost, and no board stays off.

Judged by what the outlets saw. After the last start each outlet must have seen its acknowledged requests, in order,
each at least once; those not acknowledged may have been carried out, in their place, or not.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from pdudaemon.engine import carrier
from pdudaemon.engine.storage import storefiles, storelock
from pdudaemon.engine.storage.store import Store
from tests.support.plugins import assert_no_overlap, in_order, language, read_record, recorded
from tests.support.process import Daemon, at_rest, eventually


def restarted(daemon: Daemon) -> None:
    """Wait for the death that was arranged, start again, and wait until all work is done."""
    assert daemon.process is not None
    daemon.process.wait(60)
    daemon.start()
    at_rest(daemon)


def ask(daemon: Daemon, text: str) -> bool:
    """Send a request; return whether it was acknowledged before the connection broke."""
    try:
        return daemon.tcp(text) == "ack\n"
    except OSError:
        return False


# For a reboot the store is written twice on the way: when its off is about to start, and when that has ended.
BOUNDARIES = [
    ("before", "add_all", 1),
    ("after", "add_all", 1),
    ("before", "flush", 1),
    ("after", "flush", 1),
    ("before", "sync", 1),
    ("after", "sync", 1),
    ("before", "port_interaction", 1),
    ("after", "port_interaction", 1),
    ("before", "flush", 2),
    ("after", "flush", 2),
    ("before", "port_interaction", 2),
    ("after", "port_interaction", 2),
    ("before", "flush", 3),
    ("after", "flush", 3),
]


@pytest.mark.parametrize(("when", "call", "count"), BOUNDARIES)
@pytest.mark.parametrize("wait", ["0", "30"])
def test_killed_at_a_boundary_of_a_reboot(
    daemon: Callable[..., Daemon], when: str, call: str, count: int, wait: str
) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    assert ask(started, "pdu 1 on")
    assert ask(started, "pdu 2 on")
    plugin.kill_at(when, call, count)
    acked = ask(started, f"pdu 1 reboot 0.2 wait={wait}")
    restarted(started)
    seen = plugin.by_outlet()
    assert language([("on", True), ("reboot", acked)]).fullmatch(seen["pdu", "1"]), seen
    assert seen["pdu", "2"] == "o"
    assert ask(started, "pdu 1 off")
    assert plugin.by_outlet()["pdu", "1"] == seen["pdu", "1"] + "f"


@pytest.mark.parametrize(("when", "call", "count"), [each for each in BOUNDARIES[:8] if each[1] != "sync"])
@pytest.mark.parametrize("action", ["on", "off"])
def test_killed_at_a_boundary_of_a_switch(
    daemon: Callable[..., Daemon], when: str, call: str, count: int, action: str
) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    plugin.kill_at(when, call, count)
    acked = ask(started, f"pdu 1 {action} wait=0")
    restarted(started)
    seen = plugin.by_outlet()["pdu", "1"]
    assert language([(action, acked)]).fullmatch(seen), seen


@pytest.mark.real_program
def test_killed_in_the_delay_of_a_reboot(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    assert ask(started, "pdu 1 reboot 4 wait=0")
    assert ask(started, "pdu 1 off wait=0")
    eventually(lambda: started.http("/api/v1/requests/1").json["switched"])  # a kill before that has it done again
    started.kill()
    started.start()
    begun = time.monotonic()
    at_rest(started)
    assert plugin.by_outlet()["pdu", "1"] == "fof"
    off, on, _ = plugin.seen("end")
    assert off.time + 4 <= on.time < max(off.time + 4, begun) + 20


def test_killed_in_a_retry_pause(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    started, plugin = recorded(daemon, {"pdu": {"fails": str(fails), "retries": 2, "retrydelay": 600}})
    assert ask(started, "pdu 1 off wait=0")
    assert ask(started, "pdu 1 on wait=0")
    eventually(lambda: plugin.seen("refused"))
    started.kill()
    restarted(started)
    assert plugin.by_outlet()["pdu", "1"] == "fo"


@pytest.mark.long
def test_the_on_half_is_kept_up_when_the_device_refuses_after_the_crash(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """The first round fails at once, the next comes 30 s later: then it is on, and the later off has its turn."""
    refuses = tmp_path / "refuses"
    started, plugin = recorded(daemon, {"pdu": {"refuses": str(refuses)}})
    plugin.kill_at("after", "port_interaction")
    assert not ask(started, "pdu 1 reboot 0")
    refuses.touch()
    assert started.process is not None
    started.process.wait(60)
    started.start()
    eventually(lambda: len(plugin.seen("refused")) >= 2)  # the off, done once more, and the on

    def waits() -> bool:
        (request,) = started.http("/api/v1/requests").json
        return bool(request["state"] == "waiting" and "may be off" in request["reason"])

    eventually(waits)
    started.stop(signal.SIGTERM)  # and one more start in between
    started.start()
    refuses.unlink()
    eventually(lambda: plugin.by_outlet()["pdu", "1"].endswith("o"), 60)
    at_rest(started)


def test_no_overlap_with_a_command_that_outlived_the_daemon(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    record, go = tmp_path / "record", tmp_path / "go"
    started = daemon({"pdu": slow_command(record, f"until test -e {go}; do sleep 0.05; done")})
    assert ask(started, "pdu 1 off wait=0")
    assert ask(started, "pdu 2 on wait=0")
    eventually(lambda: len(read_record(record)) == 1)
    started.kill()
    started.start()
    time.sleep(0.5)  # in which the next one is not begun
    go.touch()
    at_rest(started)
    seen = read_record(record)
    assert_no_overlap(seen)
    assert [(each.command, each.port) for each in seen if each.what == "end"] == [
        ("off", "1"),
        ("off", "1"),
        ("on", "2"),
    ]


def slow_command(record: Path, meanwhile: str) -> dict[str, object]:
    """Return a PDU of commands that do something, and write down when they begin and end."""

    def line(what: str, action: str) -> str:
        return f"echo 0 {what} {action} pdu %s >> {record}"

    return {
        "driver": "localcmdline",
        "retrydelay": 0,
        **{f"cmd_{a}": f"{line('begin', a)}; {meanwhile}; {line('end', a)}" for a in ("on", "off")},
    }


@pytest.mark.parametrize("long", [False, True])
def test_a_lock_left_for_a_while_to_a_command_of_the_dead_is_waited_for(
    tmp_path: Path, long: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine seconds may pass between its fork and its exec, until which it has all that the daemon had."""
    monkeypatch.setattr(storefiles, "LINGER", 0.1 if long else 60.0)
    path = tmp_path / "store.db"

    def told() -> bool:
        return "locked by a process that does not use it" in caplog.text

    def let_go() -> None:
        if long:
            eventually(told)
        held.close()

    with path.open("w") as held:
        assert storelock.taken(held.fileno())
        other = threading.Timer(0.2, let_go)
        other.start()
        Store(str(path)).close()
        other.join()
    assert told() == long


def test_a_client_that_resets_its_connection_changes_nothing(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 0.3}})
    http = b"GET /power/control/reboot?hostname=pdu&port=2&delay=0.3 HTTP/1.1\r\n\r\n"
    for port, text in (("1", b"pdu 1 reboot 0.3"), ("2", http)):
        with socket.create_connection(("127.0.0.1", started.port)) as connection:
            connection.sendall(text)
            eventually(lambda port=port: any(each.port == port for each in plugin.seen("begin")))  # type: ignore[misc]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: set(plugin.by_outlet().items()) == {(("pdu", "1"), "fo"), (("pdu", "2"), "fo")})


CHAINS = 5
KILLS = int(os.environ.get("KILLS", "40"))
FIRST = int(os.environ.get("KILLS_SEED", "0")) * CHAINS
PORTS = 3


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FIRST, FIRST + CHAINS))
def test_killed_at_random_moments_under_load(daemon: Callable[..., Daemon], seed: int) -> None:
    """The seeds' chains together are killed `KILLS` times; SIGTERM takes its turn now and then.

    Every other one has room for little history, so that some of it is forgotten at any moment. One PDU comes back at
    once, so that the thread which serves the clients switches it.
    """
    chance = random.Random(seed)
    history = (10000, 10)[seed % 2]
    pdus = {"pdu0": {"takes": 0.002}, "pdu1": {"takes": 0.02}, "prompt": {}}
    started, plugin = recorded(daemon, pdus, max_queue=100000, history=history)
    record = started.folder / "commands"
    started.settings["pdus"]["pdu"] = slow_command(record, "sleep 0.03")
    started.configure(started.settings)
    outlets = [(pdu, str(port)) for pdu in (*pdus, "pdu") for port in range(PORTS)]
    asked: dict[tuple[str, str], list[tuple[str, bool]]] = {outlet: [] for outlet in outlets}
    stopping = threading.Event()
    started.stop()

    def client(outlet: tuple[str, str], chance: random.Random) -> None:
        while not stopping.wait(chance.uniform(0.02, 0.2)):
            action = chance.choice(["on", "off", "reboot 0", "reboot 0.05"])
            acked = ask(started, f"{outlet[0]} {outlet[1]} {action} wait=0")
            asked[outlet].append((action.split()[0], acked))

    for number in range(KILLS // CHAINS):
        started.start()
        for _ in range(carrier.TRUST):
            ask(started, f"prompt {PORTS} on")
        stopping.clear()
        clients = [threading.Thread(target=client, args=(o, random.Random(chance.random()))) for o in outlets]
        for thread in clients:
            thread.start()
        stopping.wait(chance.uniform(0.0, 0.4))
        if (number + seed) % 10 == 9:
            started.stop(signal.SIGTERM)
        else:
            started.kill()
        stopping.set()
        for thread in clients:
            thread.join(60)
    started.start()
    at_rest(started)
    seen: dict[tuple[str, str], str] = defaultdict(str)
    for each in itertools.chain(plugin.seen("end"), (each for each in read_record(record) if each.what == "end")):
        seen[each.pdu, each.port] += "o" if each.command == "on" else "f"
    assert sum(acked for requests in asked.values() for _, acked in requests) > KILLS // CHAINS
    for outlet in outlets:
        assert in_order(asked[outlet], seen[outlet]), (outlet, asked[outlet], seen[outlet])
    assert_no_overlap(read_record(record))
    for pdu in pdus:
        assert_no_overlap_of_one_life([each for each in plugin.seen() if each.pdu == pdu])


def assert_no_overlap_of_one_life(seen: list[object]) -> None:
    """Check the recorder's lines: an action that a death cut off has no end, so two begins may follow each other."""
    depth = 0
    for each in seen:
        depth = 1 if each.what == "begin" else depth - 1  # type: ignore[attr-defined]
        assert depth >= 0, each
