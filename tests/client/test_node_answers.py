# SPDX-License-Identifier: MIT
"""What pduclient makes of a server's answer for nodes: results in order, reasons, and what came before it broke off."""

from __future__ import annotations

import json
import random
import shlex
import socket
import subprocess
import time

import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, cluster, commands, result
from tests.support.client import GOES_ON, NOWHERE, PROGRAM, ask, run


def test_a_stream_is_printed_in_the_order_asked_for() -> None:
    with StreamServer(*cluster(12), result("gateway1"), result("zoo", running=False)) as server:
        ran = ask(server.url, "status zoo node[07-12],gateway1 node[01-06]")
        names = [line.split()[0] for line in ran.out.splitlines()]
        assert names == [
            "zoo",
            *(f"node{n:02}" for n in (*range(7, 13),)),
            "gateway1",
            *(f"node0{n}" for n in range(1, 7)),
        ]
        assert ran.out.startswith("zoo      Off\nnode07   On \n") and (ran.code, ran.err) == (0, "")


def test_a_stream_of_groups_is_printed_in_natural_order() -> None:
    names = ["node10", "node9", "gpu2", "node01", "gpu11"]
    with StreamServer(*map(result, names), missing_groups=["ghost", "spook"]) as server:
        ran = ask(server.url, "status -g all ghost spook")
        assert [line.split()[0] for line in ran.out.splitlines()] == ["gpu2", "gpu11", "node01", "node9", "node10"]
        assert ran.err == "pduclient: ghost: no such group\npduclient: spook: no such group\n" and ran.code == 1


@pytest.mark.parametrize("words", ["-g all b", "@all,b", "odd[1-2"])
def test_a_stream_is_printed_in_the_order_of_its_server(words: str) -> None:
    names = ["node10", "b", "node9", "a"]
    with StreamServer(*map(result, sorted(names)), names=names) as server:
        ran = ask(server.url, f"status {words}")
        assert [line.split()[0] for line in ran.out.splitlines()] == names and ran.code == 0
    with StreamServer(result("a"), names=names, count=4, end=End.SHORT) as server:
        assert ask(server.url, f"status {words}").err == "pduclient: b,node[9-10]: not known: the answer ended early\n"


def test_missing_groups_without_a_stream() -> None:
    with PowerServer(commands(result("node01"), meta={"missing-groups": ["ghost"]})) as server:
        assert ask(server.url, "status -g all ghost") == (1, "node01 On\n", "pduclient: ghost: no such group\n")
    with StreamServer(missing_groups=["ghost"]) as server:
        assert ask(server.url, "status -g ghost") == (1, "\n", "pduclient: ghost: no such group\n")


def test_reasons_are_folded() -> None:
    dead = "connection refused by 192.0.2.7:623"
    results = [
        *cluster(9, action="power_off"),
        *(result(f"gpu{n}", "power_off", success=False, error=dead) for n in (9, 10, 11)),
        result("ghost", "power_off", success=False, missing=True),
        result("odd", "power_off", success=False, missing=True, error="there is no node 'odd'; 'old'?"),
        result("psu", "power_off", error="feed 2 was off already"),
    ]
    with StreamServer(*random.sample(results, len(results))) as server:
        ran = ask(server.url, "off -f ghost,node[01-09],gpu[9-11],odd,psu")
        assert ran.out == "stopping: node[01-09],psu\nfailed to stop: ghost,gpu[9-11],odd\n"
        assert ran.code == 1
        assert ran.err == (
            "pduclient: ghost: no such node\n"
            f"pduclient: gpu[9-11]: {dead}\n"
            "pduclient: odd: there is no node 'odd'; 'old'?\n"
            "pduclient: psu: feed 2 was off already\n"
        )


def test_a_remark_on_a_node_that_did_it_is_no_failure() -> None:
    with StreamServer(result("psu", "power_on", error="feed 2 was on already")) as server:
        assert ask(server.url, "on psu") == (0, "psu Starting\n", "pduclient: psu: feed 2 was on already\n")


def test_a_state_that_is_not_known_is_not_off() -> None:
    with PowerServer(commands(result("a", running=None), result("b", running=False))) as server:
        ran = ask(server.url, "status -f a,b")
        assert (ran.code, ran.out) == (1, "off: b\nunknown: a\n")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (End.SHORT, "the answer ended early"),
        (End.CLOSE, "the answer"),
        (End.HALF, "the answer"),
        (End.RESET, "Connection reset by peer"),
        (End.HOLD, "no answer within 3 s"),
    ],
)
def test_what_came_before_a_stream_broke_off_is_not_lost(end: End, why: str) -> None:
    came = [result("node01", "power_on"), result("node04", "power_on", success=False, error="locked")]
    with StreamServer(*came, count=5, pause=0.02, end=end) as server:
        begin = time.monotonic()
        ran = ask(server.url, "on node[01-05]" + " --timeout 3" * (end is End.HOLD))
        assert time.monotonic() - begin < 30
        assert ran.out == "node01 Starting       \nnode04 Failed to start\n"
        locked, unknown = ran.err.splitlines()
        assert locked == "pduclient: node04: locked"
        assert unknown.startswith(f"pduclient: node[02-03,05]: not known: {why}") and unknown.endswith(GOES_ON)
        assert ran.code == 1


def test_names_that_only_the_server_knows_are_counted() -> None:
    with StreamServer(result("node01"), count=5, end=End.CLOSE) as server:
        ran = ask(server.url, "status -g all")
        assert ran.err.startswith("pduclient: 4 of 5 nodes: not known: ") and GOES_ON not in ran.err


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET, End.HOLD])
def test_the_last_result_is_the_end(end: End) -> None:
    with StreamServer(result("node01"), end=end) as server:
        assert ask(server.url, "status node01") == (0, "node01 On\n", "")
    with StreamServer(end=end) as server:
        assert ask(server.url, "status -g empty") == (1, "\n", "pduclient: empty: no nodes\n")


def test_timeout_without_any_answer() -> None:
    with PowerServer(b"") as server, socket.create_server(("127.0.0.1", 0)) as deaf:
        server.url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        begin = time.monotonic()
        assert ask(server.url, "on a --timeout 0.2") == (
            2,
            "",
            f"pduclient: {server.url}: no answer within 0.2 s{GOES_ON}\n",
        )
        assert time.monotonic() - begin < 30


def test_many_nodes_take_no_time() -> None:
    with StreamServer(*cluster(2000)) as server:
        begin = time.monotonic()
        assert ask(server.url, "status -f node[01-2000] --timeout 20") == (0, "on: node[01-2000]\n", "")
        assert time.monotonic() - begin < 30


LATE = "accepted as request 7, not done after 1 s: slow: the device has not answered yet; it goes on"


def test_what_is_accepted_and_under_way_has_not_failed() -> None:
    late = result("slow", "power_on", success=False, error=LATE, request=7, pending=True)
    for answer in (StreamServer(late), PowerServer(commands(late))):
        with answer as server:
            assert ask(server.url, "on slow --timeout 1") == (1, "slow Under way\n", f"pduclient: slow: {LATE}\n")
            assert ask(server.url, "on slow -f").out == "under way: slow\n"
            ran = ask(server.url, "on slow --json")
            expected = {"name": "slow", "ok": False, "result": "under way", "error": LATE, "request": 7}
            assert (ran.code, json.loads(ran.out)["nodes"]) == (1, [expected])


def test_a_reader_that_stops_early() -> None:
    with StreamServer(*cluster(5000)) as server:
        line = f"{shlex.join(PROGRAM)} status -g all --url={server.url} | head -1; echo ${{PIPESTATUS[0]}}"
        ran = run(["bash"], "-c", line)
        assert ran == (0, "node01   On\n0\n", "")


def test_results_that_cannot_be_written() -> None:
    with PowerServer(commands(result("a", success=False, error="dead"))) as server, open("/dev/full", "w") as full:
        for more in ([], ["--json"]):
            words = [*PROGRAM, "status", "a", f"--url={server.url}", *more]
            done = subprocess.run(words, env=NOWHERE, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
            assert done.returncode == 2
            assert done.stderr == (
                "pduclient: the results cannot be written: No space left on device\npduclient: a: dead\n"
            )
