# SPDX-License-Identifier: MIT
"""Nodes with one or several feeds, groups and locks: in the configuration, over every way in, judged by the outlets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.errors import RequestError
from tests.support.plugins import Recorded, recorded
from tests.support.process import Daemon, Reply, eventually, in_parallel

JSON = {"Accept": "application/json"}


def feed(hostname: str, port: int | str = 1) -> dict[str, Any]:
    """Return a feed as a configuration has it."""
    return {"hostname": hostname, "port": port}


def load(folder: Path, pdus: dict[str, Any] | None = None, **sections: Any) -> Config:
    """Load a configuration; without PDUs it has two of 8 outlets, ``left`` and ``right``."""
    pdus = pdus or {name: {"driver": "dummy"} for name in ("left", "right")}
    (folder / "conf").write_text(json.dumps({"pdus": pdus, **sections}))
    return reader.load(str(folder / "conf"))


def faults(conf: Config) -> list[str]:
    """Return the faults without the name of the file."""
    return [line.partition(": ")[2] for line in conf.faults]


# -- the configuration


def test_what_a_node_can_be(tmp_path: Path) -> None:
    conf = load(
        tmp_path,
        aliases={"board": feed("left", "07")},
        nodes={
            "one": feed("right", 2),
            "two": {"feeds": [feed("right", "03"), feed("left", 3)]},
            "a-b_c.d": feed("left"),
        },
    )
    assert not conf.faults and not conf.warnings
    shown = {name: str(node) for name, node in conf.nodes.items()}
    assert shown == {
        "board": "board (left port 7)",
        "one": "one (right port 2)",
        "two": "two (right port 3, left port 3)",
        "a-b_c.d": "a-b_c.d (left port 1)",
    }


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ([], "must be a JSON object with hostname and port, or feeds"),
        ("left", "must be a JSON object with hostname and port, or feeds"),
        ({}, "must have a hostname and a port"),
        ({"hostname": "left"}, "must have a hostname and a port"),
        ({"hostname": "left", "port": True}, "port: True is neither a text nor a whole number"),
        ({"hostname": "left", "port": 1.5}, "port: 1.5 is neither a text nor a whole number"),
        ({"hostname": 7, "port": 1}, "hostname: 7 is not a text"),
        ({"feeds": []}, "feeds: must be a list of at least one hostname and port"),
        ({"feeds": feed("left")}, "feeds: must be a list of at least one hostname and port"),
        ({"feeds": ["left"]}, "must have a hostname and a port"),
        ({"feeds": [feed("left"), feed("lft")]}, "there is no PDU 'lft'; did you mean 'left'?"),
        ({"feeds": [feed("left", 9)]}, "left: '9' is not a port: this PDU has 1 to 8"),
        ({"feeds": [feed("left", 1), feed("left", "01")]}, "feeds: the same outlet more than once"),
        ({**feed("left"), "locked": "yes"}, "locked: 'yes' is neither true nor false, nor an object with a reason"),
        ({"feeds": [feed("left"), feed("broken")]}, "broken: disabled by its configuration: pdus.broken.retries: 'x' is not a whole number"),
    ],
)  # fmt: skip
def test_a_faulty_node_is_disabled_alone(tmp_path: Path, entry: Any, fault: str) -> None:
    pdus = {"left": {"driver": "dummy"}, "broken": {"driver": "dummy", "retries": "x"}}
    conf = load(tmp_path, pdus, nodes={"bad": entry, "good": feed("left")}, aliases={"board": entry})
    assert faults(conf)[1:] == [f"aliases.board: {fault}", f"nodes.bad: {fault}"]
    assert conf.node("good")
    for name in ("bad", "board"):
        with pytest.raises(RequestError) as refused:
            conf.node(name)
        assert str(refused.value) == f"{name!r} is disabled by its configuration: {fault}"


def test_names_of_nodes(tmp_path: Path) -> None:
    text = '"n1": {"hostname": "left", "port": 1}, "n1": {"hostname": "left", "port": 2}'
    bad = '"a b": {"hostname": "left", "port": 1}, "a[x]": {"hostname": "left", "port": 1}'
    path = tmp_path / "conf"
    path.write_text(
        f'{{"pdus": {{"left": {{"driver": "dummy"}}}}, "aliases": {{"a b": {{"hostname": "left", "port": 1}}}}, "nodes": {{{text}, {bad}}}}}'
    )
    conf = reader.load(str(path))
    assert faults(conf) == [
        "nodes.n1: duplicate key",
        "nodes.a b: there is an alias or node of this name already",
        "nodes.a[x]: 'a[x]': 'x' is neither a number nor a range such as 01-10 or 1-9/2",
    ]


def test_keys_of_nodes_and_feeds(tmp_path: Path) -> None:
    """Which of two duplicates is meant is not guessed."""
    left, again = '"hostname": "left", "port": 1', '"port": 2'
    (tmp_path / "conf").write_text(
        f"""{{
            "pdus": {{"left": {{"driver": "dummy"}}}},
            "aliases": {{"a": {{{left}, {again}}}}},
            "nodes": {{
                "n": {{{left}, {again}, "locked": true, "locked": false}},
                "fed": {{"feeds": [{{{left}}}, {{{left}, {again}}}]}},
                "stray": {{{left}, "feeds": [{{{left}}}, {{{again}, "hostname": "left", "lock": 1}}]}}
            }}
        }}"""
    )
    conf = reader.load(str(tmp_path / "conf"))
    assert faults(conf) == [
        "aliases.a: port: duplicate key",
        "nodes.n: locked: duplicate key; port: duplicate key",
        "nodes.fed: port: duplicate key",
    ]
    assert [line.partition(": ")[2] for line in conf.warnings] == [
        "nodes.stray.hostname: has no effect beside feeds",
        "nodes.stray.port: has no effect beside feeds",
        "nodes.stray.feeds[1].lock: unknown key",
    ]
    assert conf.node("stray")


def test_groups_deep_within_groups(tmp_path: Path) -> None:
    deep = {f"g{number}": f"@g{number + 1}" for number in range(1100)}  # than which Python's own stack is less deep
    conf = load(tmp_path, groups={**deep, "g1100": "n"}, nodes={"n": feed("left")})
    assert conf.groups["g1060"] == ("n",) and "g0" not in conf.groups
    assert faults(conf)[0] == "groups.g0: has more than 50 groups within each other"


def test_groups_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    nodes = {f"n{number}": feed("left", number) for number in range(1, 6)}
    conf = load(
        tmp_path,
        nodes=nodes,
        groups={
            "all": ["@low", "n[4-5]", "@low"],
            "low": "n[1-3]",
            "deep": "@all",
            "empty": [],
            "self": "n1,@self",
            "hen": "@egg",
            "egg": ["@hen", "n1"],
            "gone": "@lwo",
            "typo": ["n1", "n9"],
            "odd": {"n1": 1},
            "number": [1],
            "range": "n[3-1]",
            "a b": "n1",
        },
    )
    assert faults(conf) == [
        "groups.self: is a part of itself: self -> self",
        "groups.hen: is a part of itself: hen -> egg -> hen",
        "groups.egg: is a part of itself: egg -> hen -> egg",
        "groups.gone: there is no group 'lwo'; did you mean 'low'?",
        "groups.typo: there is no node 'n9'",
        "groups.odd: must be a text of names and ranges, a list of such, or an object that has them as nodes",
        "groups.number: must be a text of names and ranges, a list of such, or an object that has them as nodes",
        "groups.range: 'n[3-1]': the range 3-1 runs downwards",
        "groups.a b: not a valid group name: letters, digits and _ . - only",
    ]
    low = ("n1", "n2", "n3")
    assert conf.groups == {
        "all": (*low, "n4", "n5"),
        "low": low,
        "deep": (*low, "n4", "n5"),
        "empty": (),
        "typo": ("n1", "n9"),
    }
    assert conf.named("n5,@low", "low,deep") == (["n5", *low, "n4"], [])
    assert conf.named("@low,ghost", "self,low,nope") == ([*low, "ghost"], ["self", "nope"])


def test_locks_in_the_configuration(tmp_path: Path) -> None:
    conf = load(
        tmp_path,
        {"left": {"driver": "dummy", "locked": True}, "right": {"driver": "dummy", "locked": [1, "02"]}, "bad": {"driver": "dummy", "locked": [9]}},
        nodes={"n": {"feeds": [feed("right", 4), feed("right", 5)], "locked": True}, "m": {"feeds": [feed("right", 6), feed("right", 5)]}},
    )  # fmt: skip
    assert faults(conf) == ["pdus.bad.locked: '9' is not a port: this PDU has 1 to 8"]
    locked = {
        f"{pdu} {port}" for pdu in ("left", "right") for port in range(1, 9) if conf.target(pdu, str(port)).locked
    }
    assert locked == {*(f"left {port}" for port in range(1, 9)), "right 1", "right 2", "right 4", "right 5"}
    assert conf.node("n").locked and conf.node("m").locked == "right port 5 is locked by the configuration"
    for value in ("yes", 1, {"1": True}, [1.5], [[1]]):
        conf = load(tmp_path, {"left": {"driver": "dummy", "locked": value}})
        assert len(conf.faults) == 1 and "pdus.left.locked" in conf.faults[0]


# -- several feeds


def server(daemon: Callable[..., Daemon], pdus: dict[str, dict[str, Any]], *feeds: str) -> tuple[Daemon, Recorded]:
    """Start a daemon with the node ``server``, fed by outlet 1 of some recorders."""
    return recorded(daemon, pdus, nodes={"server": {"feeds": [feed(name) for name in feeds]}})


def lines(plugin: Recorded, *what: str) -> list[str]:
    """Return what the outlets saw, without the time."""
    return [f"{each.what} {each.command} {each.pdu}" for each in plugin.seen(*what)]


def test_feeds_are_switched_on_one_after_the_other_and_off_together(daemon: Callable[..., Daemon]) -> None:
    started, plugin = server(daemon, {name: {"takes": 0.1} for name in "cab"}, *"cab")
    assert started.tcp("server on") == "ack\n"
    assert lines(plugin) == [f"{what} on {name}" for name in "cab" for what in ("begin", "end")]
    plugin.record.unlink()
    assert started.http("/power/control/off?alias=server").status == 200
    assert sorted(lines(plugin)) == sorted(f"{what} off {name}" for name in "cab" for what in ("begin", "end"))
    assert [each.what for each in plugin.seen()][:3] == ["begin"] * 3
    plugin.record.unlink()
    reply = started.http("/power/control/reboot?alias=server&delay=0.2", **JSON)
    seen = lines(plugin, "begin", "end")
    assert {line.split()[1] for line in seen[:6]} == {"off"}  # all of them, before any is on
    assert seen[6:] == [f"{what} on {name}" for name in "cab" for what in ("begin", "end")]
    assert reply.json["feeds"] == [{"pdu": name, "port": "1", "done": True, "reason": None} for name in "cab"]


def test_a_failing_feed_leaves_no_other_off(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """Whatever fails, in whichever half, the others do all of it; and each result is told."""
    refuses = tmp_path / "refuses"
    refuses.touch()
    started, plugin = server(daemon, {"bad": {"refuses": str(refuses), "retries": 2}, "good": {}}, "bad", "good")
    for action in ("on", "off", "reboot"):
        reply = started.http(f"/power/control/{action}?alias=server&delay=0", **JSON)
        assert reply.status == 502 and reply.headers["Content-Type"] == "application/problem+json"
        bad, good = reply.json["feeds"]
        assert "bad: RuntimeError: refused, for now" in reply.json["detail"]
        assert (bad["pdu"], bad["done"], bad["reason"]) == ("bad", False, "bad: RuntimeError: refused, for now")
        assert good == {"pdu": "good", "port": "1", "done": True, "reason": None} or action == "reboot"
    eventually(lambda: plugin.by_outlet()["good", "1"] == "offo")
    assert started.http("/api/v1/requests/3").json["state"] == "waiting"  # it still owes the on of the bad feed
    refuses.unlink()
    assert started.tcp("server on") == "ack\n"
    assert plugin.by_outlet() == {("good", "1"): "offoo", ("bad", "1"): "o"}


def test_all_reasons_are_told_in_one_text(daemon: Callable[..., Daemon]) -> None:
    fails = {"driver": "platform", "retries": 1}
    pdus = {name: {**fails, "power_on": f"echo {name} is dead >&2; exit 1"} for name in ("one", "two")}
    started = daemon(pdus, nodes={"server": {"feeds": [feed("one"), feed("two")]}})
    told = "one: power_on ended with exit status 1; two: power_on ended with exit status 1"
    said = "one is dead; two is dead"
    assert started.http("/power/control/on?alias=server").text == f"{told}: {said}\n"
    assert started.tcp("server on") == f"nack: {told}: {said}\n"
    (entry,) = started.http("/?nodes=server", "PATCH").json["data"]
    assert entry["attributes"]["error"] == f"{told}: {said}"
    assert said not in started.log_text()


def test_a_hanging_feed_leaves_no_other_off(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    hangs = {"driver": "platform", "timeout": 0.6, **dict.fromkeys(("power_on", "power_off"), "sleep 30")}
    started = daemon(
        {"hung": hangs, "well": {"driver": "dummy", "file": str(tmp_path / "well")}},
        nodes={"server": {"feeds": [feed("hung"), feed("well")]}},
    )
    assert started.tcp("well 1 on") == "ack\n"
    assert started.http("/power/control/off?alias=server&wait=0").status == 200
    eventually(lambda: json.loads((tmp_path / "well").read_text()) == {"1": "off"})
    assert started.http("/power/control/on?alias=server").status == 504
    assert json.loads((tmp_path / "well").read_text()) == {"1": "on"}


def test_a_feed_that_never_comes_back_leaves_no_other_off(daemon: Callable[..., Daemon]) -> None:
    """A thread in a driver cannot be ended: past its deadline and a grace its PDU is stuck, and the next feed goes on."""
    started, plugin = server(daemon, {"stuck": {"takes": 60, "timeout": 0.1}, "well": {}}, "stuck", "well")
    reply = started.http("/power/control/on?alias=server")
    assert reply.status == 504 and "stuck" in reply.text
    eventually(lambda: plugin.by_outlet()["well", "1"] == "o")


def test_the_state_of_a_node_is_that_of_its_feeds(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    started = daemon(
        {
            "left": {"driver": "dummy", "file": str(tmp_path / "left")},
            "right": {"driver": "dummy", "file": str(tmp_path / "right")},
            "mute": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
            "dead": {"driver": "platform", "status": "echo no route >&2; exit 1"},
        },
        nodes={
            "both": {"feeds": [feed("left"), feed("right")]},
            "half": {"feeds": [feed("dead"), feed("left")]},
            "told": {"feeds": [feed("mute"), feed("left")]},
            "dark": {"feeds": [feed("dead"), feed("mute")]},
        },
    )

    def found(name: str, left: str, right: str = "off") -> tuple[str, str, Reply, dict[str, Any]]:
        (tmp_path / "left").write_text(json.dumps({"1": left}))
        (tmp_path / "right").write_text(json.dumps({"1": right}))
        path = f"/power/control/status?alias={name}"
        (entry,) = started.http(f"/?nodes={name}").json["data"]
        return (
            started.tcp(f"{name} status").strip(),
            started.http(path).text.strip(),
            started.http(path, **JSON),
            entry["attributes"],
        )

    for state in ("on", "off"):
        tcp, text, reply, entry = found("both", state, state)
        assert tcp == text == reply.json["state"] == state and reply.json["mixed"] is False
        assert (entry["running"], entry["success"], entry["error"]) == (
            state == "on",
            True,
            None,
        ) and "mixed" not in entry
    tcp, text, reply, entry = found("both", "off", "on")
    assert tcp == text == "on" and reply.json["mixed"] is True and reply.json["source"] == "device"
    assert [(each["pdu"], each["state"]) for each in reply.json["feeds"]] == [("left", "off"), ("right", "on")]
    assert (entry["running"], entry["mixed"], entry["error"]) == (True, True, "left port 1 is off; right port 1 is on")
    # a feed that does not tell
    tcp, text, reply, entry = found("half", "on")
    assert tcp == text == "on" and reply.json["feeds"][0]["reason"] == "dead: status ended with exit status 1: no route"
    assert (entry["running"], entry["mixed"]) == (True, True)
    assert entry["error"] == "dead: status ended with exit status 1: no route; left port 1 is on"
    tcp, text, reply, entry = found("half", "off")
    assert "no route" in tcp and reply.status == 502 and reply.json["detail"] in text
    assert (entry["running"], entry["success"]) == (None, False) and "no route" in entry["error"]
    # a feed that cannot tell: on is on, but off is not certain
    tcp, text, reply, entry = found("told", "on")
    assert tcp == "on" and reply.json["source"] == "device" and (entry["running"], entry["success"]) == (True, True)
    assert started.tcp("mute 1 off") == "ack\n"
    tcp, text, reply, entry = found("told", "off")
    assert (
        tcp == "off" and reply.json["source"] == "commanded" and (entry["running"], entry["success"]) == (None, False)
    )
    drive = started.run("--drive", "--alias=dark", "--request=status")
    assert drive.returncode == 1 and drive.stderr.endswith(
        "pdudaemon: dead: status ended with exit status 1: no route\n"
    )
    found("both", "off", "on")
    drive = started.run("--drive", "--alias=both", "--request=status")
    assert (drive.returncode, drive.stdout) == (0, "on\n")
    assert drive.stderr == "pdudaemon: left port 1 is off; right port 1 is on\n"


# -- every way in


def ways(daemon: Daemon, name: str, hostname: str, port: int, action: str) -> list[tuple[str, bool, str]]:
    """Ask for the same over every way in; return for each of them its name, whether it was done, and what it said."""
    query, alias = f"hostname={hostname}&port={port}", f"alias={name}"
    method = {"on": "PATCH", "off": "DELETE", "reboot": "PUT", "status": "GET"}[action]
    found = []
    for words in (query, alias):
        reply = daemon.http(f"/power/control/{action}?{words}")
        found.append((f"http {words}", reply.status == 200, f"{reply.status} {reply.text.strip()}"))
        if action != "status":
            form = {"Content_Type": "application/x-www-form-urlencoded"}
            reply = daemon.http(f"/power/control/{action}", "POST", words, **form)
            found.append((f"form {words}", reply.status == 200, f"{reply.status} {reply.text.strip()}"))
    for text in (f"{hostname} {port} {action}", f"{name} {action}", f"{name} {action}\n"):
        answer = daemon.tcp(text).strip()
        found.append((f"tcp {text}", not answer.startswith("nack"), answer))
    for node in (name, f"{name},{name}", f"{name[:-1]}[{name[-1]}]"):
        (entry,) = daemon.http(f"/?nodes={node}", method).json["data"]
        told = entry["attributes"]
        found.append((f"openflight {node}", told["success"], str(told["error"] or told.get("running"))))
    (entry,) = daemon.http("/?groups=g", method).json["data"]
    found.append(("openflight @", entry["attributes"]["success"], str(entry["attributes"]["error"])))
    arguments = [(f"--hostname={hostname}", f"--port={port}"), (f"--alias={name}",)]
    runs = in_parallel(
        [lambda words=words: daemon.run("--drive", f"--request={action}", *words) for words in arguments]
    )
    found += [("drive", run.returncode == 0, run.stderr.strip() or run.stdout.strip()) for run in runs]
    return found


@pytest.mark.parametrize("reason", ["", "core switch"])
@pytest.mark.parametrize("lock", ["pdu", "port", "node", "other node"])
def test_what_is_locked_is_not_switched_over_any_way(
    daemon: Callable[..., Daemon], tmp_path: Path, lock: str, reason: str
) -> None:
    pdu: dict[str, Any] = {"driver": "dummy", "file": str(tmp_path / "outlets")}
    node: dict[str, Any] = feed("pdu", 3)
    nodes = {"n1": node, "n2": {"feeds": [feed("pdu", 4), feed("pdu", 3)]}}
    if lock in ("pdu", "port"):
        pdu["locked"] = True if lock == "pdu" else ["03"]
        if reason:
            pdu["locked"] = {"reason": reason, **({"ports": ["03"]} if lock == "port" else {})}
    elif lock == "node":
        node["locked"] = {"reason": reason} if reason else True
    else:
        nodes["n2"]["locked"] = {"reason": reason} if reason else True
    (tmp_path / "outlets").write_text('{"3": "on"}')
    started = daemon({"pdu": pdu}, nodes=nodes, groups={"g": "n1"})
    for action in ("off", "reboot") if lock == "pdu" else ("off",):
        for way, done, said in ways(started, "n1", "pdu", 3, action):
            assert not done and "pdu port 3 is locked by the configuration" in said, (way, said)
            assert ("configuration: core switch" in said) is bool(reason), (way, said)
            assert not way.startswith(("http", "form")) or said.startswith("403 ")
    assert started.tcp("n2 off").startswith("nack: pdu port ")
    assert started.http("/api/v1/requests").json == [] and json.loads((tmp_path / "outlets").read_text()) == {"3": "on"}
    assert started.power("status", "pdu", 3).text == "on\n"
    if lock not in ("pdu", "other node"):
        assert started.power("on", "pdu", 4).status == 200


def test_a_node_is_taken_over_every_way(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    outlets = tmp_path / "outlets"
    started = daemon(
        {"pdu": {"driver": "dummy", "file": str(outlets)}},
        {"n1": feed("pdu", 3)},
        groups={"g": "n1"},
        topology=f"""\
platforms:
  sim:
    variables: [file]
    power_on: touch "$file"
    power_off: rm -f "$file"
    status: test -e "$file" || exit 111
static_nodes:
  m1: {{platform: sim, file: {tmp_path}/m1}}
groups: {{h: m1}}
""",
    )
    for action, state in (("on", "on"), ("status", "on"), ("off", "off")):
        for way, done, said in ways(started, "n1", "pdu", 3, action):
            assert done, (way, said)
            assert action != "status" or said.removeprefix("200 ") in ("on", "True", "None"), (way, said)
        assert json.loads(outlets.read_text()) == {"3": state}
    for action, state in (("on", True), ("status", True), ("off", False)):
        started.settings["groups"]["g"] = "m1"
        entries = started.http("/?groups=h", {"on": "PATCH", "off": "DELETE", "status": "GET"}[action]).json["data"]
        assert [entry["attributes"]["platform"] for entry in entries] == ["sim"]
        assert (tmp_path / "m1").exists() is state
    assert started.tcp("m1 on") == "ack\n" and started.http("/power/control/status?alias=m1").text == "on\n"
    assert started.tcp("m1 1 off") == "ack\n" and started.tcp("m1 01 status") == "off\n"
    assert started.tcp("m1 2 off") == "nack: m1: '2' is not a port: a machine has one, 1\n"


def test_a_group_is_looked_at_once_however_often_it_is_named(tmp_path: Path) -> None:
    """Each of these names the next one twice: two to the power of forty, if each had its members looked up anew."""
    groups = {**{f"g{number}": f"@g{number + 1},@g{number + 1}" for number in range(40)}, "g40": "n1,n2"}
    conf = load(tmp_path, nodes={"n1": feed("left"), "n2": feed("right")}, groups=groups)
    assert faults(conf) == [] and conf.groups["g0"] == ("n1", "n2")
