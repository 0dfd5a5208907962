# SPDX-License-Identifier: MIT
"""What roles allow, on every route that shows or switches: what one may not see is, for him, not there."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.power import Outlet
from pdudaemon.server import access
from pdudaemon.server import rights as rights_module
from pdudaemon.server.access import Access
from pdudaemon.server.rights import EVERYTHING, RightsTable, RoleRights
from tests.support.process import Daemon, Reply, eventually
from tests.support.tokens import SECRET, good
from tests.support.watching import Watching

ROLES = {
    "ci": {"nodes": "board[1-2],server", "may": ["on", "off", "reboot"]},
    "viewer": {"nodes": "*", "may": ["status"]},
    "ports": {"pdus": "left:1-2,right", "may": ["on"]},
    "nothing": {"nodes": "ghost", "may": ["on"]},
}
NODES = {f"board{number}": {"hostname": "left", "port": number} for number in range(1, 5)}
NODES |= {"server": {"feeds": [{"hostname": "left", "port": 8}, {"hostname": "right", "port": 8}]}}
NODES |= {"board1-again": {"hostname": "left", "port": 1}, "secretbox": {"hostname": "hidden", "port": 1}}
GROUPS = {"low": "board[1-3]", "high": "board[3-4]", "all": "@low,@high,secretbox,server"}
HIDDEN = ("secretbox", "hidden", "board3", "board4", "high", "board1-again", "viewer")
"""What nobody with the role ci may be told of."""


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Daemon:
    """Return a daemon with roles; `token` makes tokens for it."""
    return begun(daemon({}, nodes=NODES, groups=GROUPS, secret=SECRET, start=False))


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return such a daemon for all who change nothing of it that others see."""
    started = begun(Daemon(tmp_path_factory.mktemp("daemon"), {}, nodes=NODES, groups=GROUPS, secret=SECRET))
    yield started
    started.kill()


def begun(started: Daemon) -> Daemon:
    """Start a daemon with PDUs and roles."""
    started.settings["pdus"] = {
        "left": {"driver": "dummy", "file": str(started.folder / "outlets"), "names": {"5": "gateway"}},
        "right": {"driver": "dummy"},
        "hidden": {"driver": "dummy"},
    }
    started.settings["roles"] = ROLES
    started.configure(started.settings)
    (started.folder / "outlets").write_text("{}")
    started.start()
    return started


def token(*roles: str, name: str = "") -> str:
    return Access(SECRET).token(access.claims(1, name, roles))


def ask(lab: Daemon, roles: str, path: str, method: str = "GET", **headers: str) -> Reply:
    """Make a request with a token of some roles; empty: one of old, which is good for everything."""
    return lab.http(path, method, Authorization=f"Bearer {token(*roles.split())}", **headers)


def reload(lab: Daemon) -> None:
    """Have the settings taken over."""
    assert lab.process is not None
    lab.configure(lab.settings)
    before = lab.log_text().count("has been taken over")
    lab.process.send_signal(signal.SIGHUP)
    eventually(lambda: lab.log_text().count("has been taken over") > before)


def entries(reply: Reply) -> dict[str, Any]:
    """Return what was told of each node, and whether it was done."""
    assert reply.status == 200, reply
    return {each["id"]: each["attributes"]["success"] or each["attributes"]["error"] for each in reply.json["data"]}


def names(reply: Reply) -> list[str]:
    return [each["id"] for each in reply.json["data"]]


@pytest.mark.parametrize(
    ("roles", "nodes", "groups", "pdus"),
    [
        ("", [*NODES], [*GROUPS], ["left", "right", "hidden"]),
        ("ci", ["board1", "board2", "server"], ["low", "all"], ["left", "right"]),
        ("viewer", [*NODES], [*GROUPS], ["left", "right", "hidden"]),
        ("ports", ["board1", "board2", "board1-again"], ["low", "all"], ["left", "right"]),
        ("ports ci", ["board1", "board2", "server", "board1-again"], ["low", "all"], ["left", "right"]),
        ("nothing", [], [], []),
        ("gone", [], [], []),
    ],
)
def test_what_is_listed(looked_at: Daemon, roles: str, nodes: list[str], groups: list[str], pdus: list[str]) -> None:
    assert names(ask(looked_at, roles, "/nodes")) == nodes
    found = ask(looked_at, roles, "/groups")
    assert names(found) == groups
    assert {name for each in found.json["data"] for name in each["attributes"]["nodes"]} <= {*nodes}
    seen = ask(looked_at, roles, "/api/v1/pdus").json
    assert [pdu["name"] for pdu in seen] == pdus
    assert {pdu["name"] for pdu in seen if pdu["requests"] is not None} == (
        {*pdus} if not roles else {"right"} & {*pdus} if "ports" in roles else set()
    )
    assert [pdu["name"] for pdu in ask(looked_at, roles, "/api/v1/pdus?limit=1").json] == pdus[:1]


def test_what_a_role_may_switch_and_what_is_not_there_for_it(lab: Daemon) -> None:
    reply = ask(lab, "ci", "/?nodes=board1,board3,secretbox,ghost&groups=low,high", "PATCH")
    assert entries(reply) == {
        "board1": True,
        "board3": "there is no alias or node 'board3'; did you mean 'board2'?",
        "secretbox": "there is no alias or node 'secretbox'",
        "ghost": "there is no alias or node 'ghost'",
        "board2": True,
    }
    assert {each["id"] for each in reply.json["data"] if each["attributes"]["missing"]} == {
        "board3",
        "secretbox",
        "ghost",
    }
    assert reply.json["meta"] == {"missing-groups": ["high"]}
    assert lab.outlets() == {"1": "on", "2": "on"}
    for path in (
        "off?alias=board3",
        "off?hostname=hidden&port=1",
        "status?alias=secretbox",
        "reboot?alias=board1-again",
    ):
        reply = ask(lab, "ci", f"/power/control/{path}")
        assert reply.status == 503 and reply.text.startswith("there is no "), reply
        ghost = ask(lab, "ci", f"/power/control/{re.sub('=(board3|hidden|secretbox|board1-again)', '=ghost', path)}")
        assert (ghost.status, re.sub("'ghost'.*", "", ghost.text)) == (503, re.sub("'[a-z].*", "", reply.text))
    for port in ("4", "5"):  # one that feeds a node, and one that feeds nothing
        reply = ask(lab, "ci", f"/power/control/off?hostname=left&port={port}")
        assert (reply.status, reply.text) == (403, f"the role ci may not switch off left port {port}\n")
    assert ask(lab, "ci", "/power/control/status?hostname=left&port=3").status == 403
    assert ask(lab, "ci", "/power/control/off?hostname=left&port=1").text == "OK - accepted request\n"
    assert lab.outlets() == {"1": "off", "2": "on"}


def test_who_may_only_look(lab: Daemon) -> None:
    for method, doing in (("PATCH", "switch on"), ("DELETE", "switch off"), ("PUT", "reboot")):
        assert entries(ask(lab, "viewer", "/?nodes=board1,server", method)) == {
            "board1": f"the role viewer may not {doing} left port 1",
            "server": f"the role viewer may not {doing} left port 8",
        }
    reply = ask(lab, "viewer", "/power/control/on?alias=board1", Accept="application/json")
    assert (reply.status, reply.json["type"]) == (403, "urn:pdudaemon:forbidden")
    assert lab.outlets() == {}
    assert ask(lab, "", "/power/control/on?alias=board1").status == 200
    assert ask(lab, "viewer", "/power/control/status?alias=board1").text == "on\n"
    assert entries(ask(lab, "viewer", "/?nodes=board1")) == {"board1": True}
    assert ask(lab, "viewer ci", "/power/control/off?alias=board1").status == 200
    assert ask(lab, "ports", "/power/control/off?alias=board1").text == (
        "the role ports may not switch off left port 1\n"
    )
    assert ask(lab, "ports viewer", "/power/control/on?hostname=right&port=3").status == 200


def test_records_and_commands_of_others(lab: Daemon) -> None:
    assert ask(lab, "", "/?nodes=board[1-4],secretbox&wait=30", "PATCH").headers["X-Command-Id"] == "1"
    assert ask(lab, "", "/?nodes=secretbox", "PATCH").headers["X-Command-Id"] == "2"
    assert ask(lab, "", "/power/control/off?hostname=left&port=7&delay=100&wait=0").headers["X-Request-Id"] == "7"
    assert ask(lab, "", "/power/control/off?alias=board1&delay=100&wait=0").headers["X-Request-Id"] == "8"
    assert [each["id"] for each in ask(lab, "ci", "/api/v1/requests").json] == [8, 2, 1]
    assert [each["id"] for each in ask(lab, "ci", "/api/v1/requests?limit=1").json] == [8]
    assert [each["id"] for each in ask(lab, "ports", "/api/v1/requests").json] == [8, 2, 1]
    assert len(ask(lab, "", "/api/v1/requests").json) == 8 and ask(lab, "gone", "/api/v1/requests").json == []
    for number in (3, 7, 99):
        for method in ("GET", "DELETE"):
            reply = ask(lab, "ci", f"/api/v1/requests/{number}", method)
            assert (reply.status, reply.json["detail"]) == (404, f"there is no request {number}")
    assert ask(lab, "ci", "/api/v1/requests/1").json["target"] == "board1 (left port 1)"
    command = ask(lab, "ci", "/api/v1/commands/1").json
    assert [node["name"] for node in command["nodes"]] == ["board1", "board2"] and command["state"] == "ended"
    for method in ("GET", "DELETE"):
        reply = ask(lab, "ci", "/api/v1/commands/2", method)
        assert (reply.status, reply.json["detail"]) == (404, "there is no command 2")
    reply = ask(lab, "viewer", "/api/v1/requests/8", "DELETE")
    assert (reply.status, reply.json["detail"]) == (403, "the role viewer may not switch off left port 1")
    assert ask(lab, "ci", "/api/v1/requests/8", "DELETE").json["state"] == "cancelled"
    whole = "".join(
        ask(lab, "ci", path).text
        for path in ("/nodes", "/groups", "/api/v1/pdus", "/api/v1/requests", "/api/v1/commands/1")
    )
    assert not [name for name in HIDDEN if name in whole]


def test_a_command_is_taken_back_as_far_as_one_may(lab: Daemon) -> None:
    for port in (1, 2, 3):
        assert ask(lab, "", f"/power/control/on?hostname=left&port={port}&delay=100&wait=0").status == 200
    assert ask(lab, "", "/?nodes=board[1-3]&wait=0", "DELETE").headers["X-Command-Id"] == "1"
    kept = ask(lab, "viewer", "/api/v1/commands/1", "DELETE").json["nodes"]
    assert [node["kept"] for node in kept] == [f"the role viewer may not switch off left port {n}" for n in (1, 2, 3)]
    assert ask(lab, "ci", "/api/v1/commands/1").json["state"] == "running"
    gone = ask(lab, "ci", "/api/v1/commands/1", "DELETE").json
    assert [node["state"] for node in gone["nodes"]] == ["cancelled"] * 2 and gone["state"] == "ended"
    whole = ask(lab, "", "/api/v1/commands/1").json
    states = {node["name"]: node["state"] for node in whole["nodes"]}
    assert whole["state"] == "running" and states == {"board1": "cancelled", "board2": "cancelled", "board3": "queued"}


def test_a_reload_changes_what_a_token_is_good_for(lab: Daemon) -> None:
    held = token("ci", name="ci-7")
    lab.token = held
    assert lab.http("/power/control/on?alias=board1").status == 200
    assert lab.http("/power/control/on?alias=board4").status == 503
    lab.settings["roles"] = {"ci": {"nodes": "board4", "may": ["on"]}}
    lab.configure(lab.settings)
    assert lab.process is not None
    lab.process.send_signal(signal.SIGHUP)
    eventually(lambda: names(lab.http("/nodes")) == ["board4"])
    assert lab.http("/power/control/on?alias=board1").status == 503
    assert lab.http("/power/control/on?alias=board4").status == 200
    del lab.settings["roles"]
    lab.configure(lab.settings)
    lab.process.send_signal(signal.SIGHUP)
    eventually(lambda: names(lab.http("/nodes")) == [])
    assert lab.http("/power/control/on?hostname=left&port=1").status == 503
    eventually(lambda: re.search(r"for 127\.0\.0\.1:\d+ \(ci-7\) done", lab.log_text()))


@pytest.mark.parametrize("roles", [3, None, {}, [3], ["ci", None], ["x"] * 33, {"ci": 1}])
def test_a_token_whose_roles_are_none(looked_at: Daemon, roles: Any) -> None:
    """It must not be taken for one without a role, which is good for everything."""
    reply = looked_at.http("/api/v1/pdus", Authorization=f"Bearer {good(roles=roles)}")
    assert (reply.status, reply.json["detail"]) == (401, "the token is not valid here: its roles are no list of names")
    assert looked_at.http("/api/v1/pdus", Authorization=f"Bearer {good(roles=[])}").json == []
    assert len(looked_at.http("/api/v1/pdus", Authorization=f"Bearer {good(roles='ci')}").json) == 2


def test_the_command_line_knows_the_roles(lab: Daemon) -> None:
    ran = lab.run("--token", "--name=ci-7", "--role=ci", "--role=viewer")
    assert ran.returncode == 0
    lab.token = ran.stdout.strip()
    assert len(names(lab.http("/nodes"))) == len(NODES)
    ran = lab.run("--token", "--role=vewer")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"pdudaemon: {lab.conf}: there is no role 'vewer'; did you mean 'viewer'?\n"
    ran = lab.run("--check")
    assert ran.returncode == 2
    assert ran.stdout.splitlines() == [
        f"{lab.conf}:90: roles.nothing.nodes: there is no node 'ghost'",
        f"{lab.conf}:89: roles.nothing: names no node and no PDU that there is",
    ]


DEVICES = (
    *("/api/v1/pdus", "/api/v1/pdus/left", "/api/v1/pdus/left/outlets/1", "/api/v1/nodes", "/api/v1/nodes/board1"),
    *("/api/v1/groups", "/metrics"),
)


@pytest.mark.parametrize("path", DEVICES)
def test_what_is_known_of_devices_names_nothing_that_is_hidden(looked_at: Daemon, path: str) -> None:
    for pdu in ("left", "right", "hidden"):
        assert ask(looked_at, "", f"/api/v1/pdus/{pdu}?fresh=1").status == 200
    assert ask(looked_at, "", "/power/control/on?alias=board3").status == 200
    reply = ask(looked_at, "ci", path)
    assert reply.status == 200 and ("left" in reply.text or "board1" in reply.text)
    for hidden in HIDDEN:
        assert hidden not in reply.text, hidden


@pytest.mark.parametrize(
    "path",
    [
        "pdus/hidden",
        "pdus/left/outlets/3",
        "pdus/left/outlets/5",
        "nodes/board3",
        "nodes/secretbox",
        "nodes?names=board3",
        "nodes?groups=high",
        "pdus/left/outlets/name:gateway",  # that is what port 5 is called
        "pdus/left/outlets/name:gatewax",
    ],
)
def test_what_may_not_be_seen_is_not_there(looked_at: Daemon, path: str) -> None:
    assert ask(looked_at, "", "/api/v1/pdus/left?fresh=1").status == 200
    reply = ask(looked_at, "ci", f"/api/v1/{path}")
    assert reply.status == 404 and reply.json["status"] == 404
    if "name:" in path:
        assert reply.json["detail"] == f"left: there is no port '{path.rpartition('/')[2]}'"
        assert ask(looked_at, "", f"/api/v1/{path}").status == (200 if path.endswith("y") else 404)
        assert "gateway" in ask(looked_at, "", f"/api/v1/{path}").text


def test_a_page_behind_what_is_hidden_is_as_one_behind_nothing(lab: Daemon) -> None:
    every = ask(lab, "ci", "/api/v1/pdus").json
    for kind, hidden in (("pdus", "hidden"), ("nodes", "board3"), ("outlets", "hidden")):
        pages = [ask(lab, "ci", f"/api/v1/{kind}?after={after}").json for after in (hidden, "ghost")]
        assert [each.get("name") for each in pages[0]] == [each.get("name") for each in pages[1]]
    assert [pdu["name"] for pdu in every] == ["left", "right"]


def test_what_others_call_an_outlet_of_mine_is_not_told(lab: Daemon) -> None:
    with (
        Watching(lab, Authorization=f"Bearer {token('ci')}") as mine,
        Watching(lab, "?node=board1-again", Authorization=f"Bearer {token('ci')}") as others,
    ):
        assert entries(ask(lab, "", "/?nodes=board1-again,board1", "PATCH")) == {"board1-again": True, "board1": True}
        assert ask(lab, "", "/power/control/off?alias=board1-again").status == 200
        assert lab.http("/power/control/off?alias=board2", Authorization=f"Bearer {token('ci')}").status == 200
        mine.until(lambda event: event["kind"] == "ended" and event["nodes"] == ["board2"])
        ended = [event["target"] for event in mine.events if event["kind"] == "ended"]
        assert ended == ["left port 1", "left port 1", "board2 (left port 2)"]
        assert "board1-again" not in str(mine.events)
        while not others.others:
            others.more()
        assert others.events == []
    for path in ("requests", "requests/1", "requests?pdu=left", "nodes/board1"):
        reply = ask(lab, "ci", f"/api/v1/{path}")
        assert reply.status == 200 and "left" in reply.text and "board1-again" not in reply.text
        assert "board1-again" in ask(lab, "", f"/api/v1/{path}").text
    assert ask(lab, "ci", "/api/v1/requests?node=board1-again").json == []
    assert [each["id"] for each in ask(lab, "", "/api/v1/requests?node=board1-again").json] == [2, 1]
    assert [each["id"] for each in ask(lab, "ci", "/api/v1/requests?node=board2,board1-again").json] == [3]


def test_events_of_before_a_reload_name_nothing_that_is_hidden_since(lab: Daemon) -> None:
    def told() -> str:
        with Watching(lab, "?after=0", Authorization=f"Bearer {token('mixed')}") as watching:
            watching.until("ended")
            return str(watching.events)

    lab.settings["roles"] = {"mixed": {"nodes": "board1,board1-again", "may": ["on"]}}
    reload(lab)
    assert ask(lab, "", "/power/control/on?alias=board1").status == 200
    assert "board1-again" in told()
    lab.settings["roles"] = {"mixed": {"nodes": "board1", "may": ["on"]}}
    reload(lab)
    assert "board1-again" not in told() and "'board1'" in told()


def test_the_key_of_others_says_nothing_of_their_requests(lab: Daemon) -> None:
    assert ask(lab, "", "/power/control/on?alias=secretbox&key=k").status == 200
    assert ask(lab, "", "/?nodes=board3,board4&key=c", "PATCH").status == 200
    for key in "kc":
        reply = ask(lab, "ci", f"/power/control/on?alias=board1&key={key}", Accept="application/json")
        assert (reply.status, [*reply.json]) == (422, ["type", "title", "status", "detail"])
        (told,) = entries(ask(lab, "ci", f"/?nodes=board1&key={key}", "PATCH")).values()
        assert all(not re.search("[0-9]", text) for text in (reply.json["detail"], told)), told
    assert lab.outlets() == {"3": "on", "4": "on"}


def test_what_is_owed_to_others_is_not_told_with_a_try_at_mine(lab: Daemon) -> None:
    lab.settings["nodes"]["both"] = {"feeds": [{"hostname": "left", "port": 1}, {"hostname": "hidden", "port": 3}]}
    reload(lab)
    with (
        Watching(lab, "?kind=tried", Authorization=f"Bearer {token('ci')}") as mine,
        Watching(lab, "?kind=tried", Authorization=f"Bearer {token()}") as every,
    ):
        assert ask(lab, "", "/power/control/reboot?alias=both&delay=0.1").status == 200
        for watching in (mine, every):
            watching.until(lambda event: event["action"] == "on" and event["outlets"] == ["left:1"])
        assert any("hidden:3" in event["owed"] for event in every.events if event["outlets"] == ["left:1"])
        assert "left:1" in str([event["owed"] for event in mine.events]) and "hidden" not in str(mine.events)


def test_a_name_that_means_nothing_is_not_explained_by_those_of_others(lab: Daemon) -> None:
    lab.settings["nodes"]["board1"] = {"hostname": "left", "port": "name:gatewax"}
    reload(lab)
    assert ask(lab, "", "/api/v1/pdus/left?fresh=1").status == 200
    assert "did you mean 'gateway'?" in str(entries(ask(lab, "", "/?nodes=board1")))
    for method in ("GET", "PATCH"):
        (told,) = entries(ask(lab, "ci", "/?nodes=board1", method)).values()
        assert "there is no such outlet" in told and "gateway" not in told


def test_no_label_tells_of_a_node_that_is_hidden(lab: Daemon) -> None:
    lab.settings["roles"] = {"port": {"pdus": "left:3", "may": ["on"]}, "feed": {"nodes": "board1", "may": ["on"]}}
    lab.settings["nodes"]["both"] = {"feeds": [{"hostname": "left", "port": 3}, {"hostname": "hidden", "port": 3}]}
    del lab.settings["nodes"]["board3"]
    lab.settings["groups"] = {}
    reload(lab)
    assert ask(lab, "", "/api/v1/pdus/left?fresh=1").status == 200
    assert 'outlet_on{pdu="left",port="3"}' in ask(lab, "port", "/metrics").text


def test_of_a_pdu_that_is_seen_in_part_nothing_is_counted(lab: Daemon) -> None:
    assert ask(lab, "", "/api/v1/pdus/left?fresh=1").status == 200
    pdu = ask(lab, "ci", "/api/v1/pdus/left").json
    assert [outlet["port"] for outlet in pdu["outlets"]] == ["1", "2", "8"]
    assert (pdu["watts"], pdu["requests"], pdu["identity"], pdu["inlets"]) == (None, None, None, [])
    text = ask(lab, "ci", "/metrics").text
    assert 'outlet_on{pdu="left",port="1",node="board1"}' in text and "queue_length" not in text
    whole = ask(lab, "ports", "/metrics").text
    assert 'queue_length{pdu="right"}' in whole and 'queue_length{pdu="left"}' not in whole


def test_who_has_roles_is_told_what_he_may_do(lab: Daemon) -> None:
    found = {(each["pdu"], each["port"]): each["may"] for each in ask(lab, "ports", "/api/v1/outlets").json}
    assert found["left", "1"] == ["on", "status"] and ("left", "3") not in found and ("hidden", "1") not in found
    (node,) = ask(lab, "viewer", "/api/v1/nodes?names=board1").json
    assert node["may"] == ["status"]
    assert "may" not in ask(lab, "", "/api/v1/outlets").json[0]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Roles, and what they are about, without a daemon."""
    pdus = {name: {"driver": "dummy", "outlets": 8} for name in ("left", "right", "hidden")}
    roles = {
        **ROLES,
        "whole": {"pdus": "left", "may": ["off"]},
        "every": {"pdus": "*", "may": ["reboot"]},
        "again": {"nodes": "board1", "may": ["off"]},
    }
    (tmp_path / "conf").write_text(json.dumps({"pdus": pdus, "nodes": NODES, "groups": GROUPS, "roles": roles}))
    return reader.load(str(tmp_path / "conf"))


def test_a_node_that_nothing_feeds_is_seen_by_whom_it_is_named_to(config: Config) -> None:
    lost = replace(config, nodes={**config.nodes, "lost": replace(config.nodes["server"], feeds=())})
    assert not RoleRights(lost, ("ports",)).sees_node("lost") and not RoleRights(lost, ("whole",)).sees_node("lost")
    role = replace(lost.roles["ci"], nodes=frozenset({"lost"}))
    assert RoleRights(replace(lost, roles={"ci": role}), ("ci",)).sees_node("lost")


def outlet(text: str) -> Outlet:
    return Outlet(*text.split(":"))


@pytest.mark.parametrize(
    ("roles", "action", "outlets", "why"),
    [
        ("ci", "on", "left:1", ""),
        ("ci", "on", "left:1 left:2 right:8", ""),
        ("ci", "status", "left:1", ""),
        ("ci", "off", "left:3", "the role ci may not switch off left port 3"),
        ("ci", "on", "left:1 left:3", "the role ci may not switch on all of it"),
        ("viewer", "status", "left:3", ""),
        ("viewer", "on", "left:3", "the role viewer may not switch on left port 3"),
        ("viewer", "on", "left:1 left:3", "the role viewer may not switch on left port 1"),
        ("viewer", "reboot", "left:3", "the role viewer may not reboot left port 3"),
        ("ports", "status", "hidden:1", "the role ports may not see hidden port 1"),
        ("ci again", "off", "left:1", ""),
        ("viewer again", "off", "left:2", "the roles viewer, again may not switch off left port 2"),
        ("", "on", "left:1", "a token without a role that there is may not switch on left port 1"),
        ("every", "reboot", "gone:1 left:1", ""),
        ("every", "on", "left:1", "the role every may not switch on left port 1"),
    ],
)
def test_what_roles_may(config: Config, roles: str, action: str, outlets: str, why: str) -> None:
    rights = RoleRights(config, tuple(roles.split()))
    assert rights.may(action, map(outlet, outlets.split())) == why
    assert EVERYTHING.may(action, map(outlet, outlets.split())) == ""


@pytest.mark.parametrize(
    ("roles", "outlets", "pdus", "whole", "nodes"),
    [
        ("ci", "left:1 left:2 left:8 right:8", "left right", "", "board1 board2 server"),
        ("ports", "left:1 left:2 right:1 right:8", "left right", "right", "board1 board2 board1-again"),
        ("whole", "left:1 left:2 left:3 left:8", "left", "left", "board1 board2 board3 board4 board1-again"),
        ("again", "left:1", "left", "", "board1"),
        ("nothing", "", "", "", ""),
        (
            "every",
            "left:1 left:2 left:3 left:8 right:1 right:8 hidden:1 gone:1",
            "left right hidden gone",
            "left right hidden gone",
            " ".join(NODES),
        ),
    ],
)
def test_what_roles_see(config: Config, roles: str, outlets: str, pdus: str, whole: str, nodes: str) -> None:
    rights = RoleRights(config, tuple(roles.split()))
    every = "left:1 left:2 left:3 left:8 right:1 right:8 hidden:1 gone:1".split()
    assert [each for each in every if rights.sees(outlet(each))] == outlets.split()
    names = ["left", "right", "hidden", "gone"]
    assert [name for name in names if rights.sees_pdu(name)] == pdus.split()
    assert [name for name in names if rights.sees_whole(name)] == whole.split()
    assert sorted(name for name in [*NODES, "ghost"] if rights.sees_node(name)) == sorted(nodes.split())
    view = rights.view(config)
    assert [*view.pdus] == [name for name in names if name in config.pdus and name in pdus.split()]
    assert sorted(view.nodes) == sorted(nodes.split()) and not view.faults and not view.warnings
    for name, members in view.groups.items():
        assert members and {*members} <= {*nodes.split()} and {*members} <= {*config.groups[name]}
    assert ("high" in view.groups) is bool({"board3", "board4"} & {*nodes.split()})
    assert rights.everything is False and EVERYTHING.everything
    assert EVERYTHING.sees_pdu("x") and EVERYTHING.sees_whole("x") and EVERYTHING.sees_node("x")
    assert EVERYTHING.sees(outlet("x:1")) and EVERYTHING.view(config) is config


def record(target: str, *outlets: str) -> dict[str, Any]:
    return {"target": target, "outlets": [outlet(each)._asdict() for each in outlets]}


@pytest.mark.parametrize(
    ("target", "outlets", "shown"),
    [
        ("board1 (left port 1)", ["left:1"], "board1 (left port 1)"),
        ("board1-again (left port 1)", ["left:1"], "left port 1"),
        ("board1 (left port 1), board1-again (left port 1)", ["left:1"], "left port 1"),
        ("server (left port 8, right port 8)", ["left:8", "right:8"], "server (left port 8, right port 8)"),
        ("left port 2", ["left:2"], "left port 2"),
        ("board3 (left port 3)", ["left:3"], None),
        ("left port 1, left port 3", ["left:1", "left:3"], None),
        ("nothing", [], None),
    ],
)
def test_requests_that_may_be_seen_name_no_node_that_may_not(
    config: Config, target: str, outlets: list[str], shown: str | None
) -> None:
    rights, found = RoleRights(config, ("ci",)), record(target, *outlets)
    assert rights.sees_record(found) is (shown is not None)
    if shown is not None:
        assert (
            rights.shown(found) == {**found, "target": shown} and rights.target(target, map(outlet, outlets)) == shown
        )
    assert EVERYTHING.sees_record(found) and EVERYTHING.shown(found) is found
    assert EVERYTHING.target(target, ()) == target


def test_an_outlet_is_seen_by_whichever_of_its_words(config: Config) -> None:
    named = replace(config, device_names={Outlet("left", "3"): "router"})
    role = replace(config.roles["ci"], ports=frozenset({Outlet("left", "name:router")}))
    rights = RoleRights(replace(named, roles={"ci": role}), ("ci",))
    assert rights.sees(Outlet("left", "3")) and not rights.sees(Outlet("left", "4"))


def test_the_rights_of_a_set_of_roles_are_kept_for_a_configuration(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = RightsTable()
    assert table.of(config, None) is EVERYTHING
    first = table.of(config, ("ci", "unknown"))
    assert table.of(config, ("ci",)) is first and table.of(config, ("ci", "viewer")) is not first
    assert first.view(config) is first.view(config)
    other = replace(config, nodes={})
    assert table.of(other, ("ci",)) is not first and [*first.view(other).nodes] == []
    monkeypatch.setattr(rights_module, "MOST_SETS", 2)
    known = table.of(config, ("ci",))
    for roles in (("viewer",), ("ports",)):
        table.of(config, roles)
    assert table.of(config, ("ci",)) is not known, "what are too many is made anew"


def test_a_long_list_of_roles_is_cut(config: Config) -> None:
    assert str(RoleRights(config, ("x" * 500,))) == f"the role {'x' * 500}"[:200]
    assert str(RoleRights(config, ())) == "a token without a role that there is"
