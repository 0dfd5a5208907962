# SPDX-License-Identifier: MIT
"""Roles: what they cover, and what is told of those that name what there is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import cli
from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.power import Action, Outlet

PDUS: dict[str, Any] = {
    "apc7": {"driver": "dummy"},
    "apc8": {"driver": "dummy"},
    "2001:db8::1": {"driver": "dummy"},
    "bad": {"driver": "nothing"},
}
NODES = {f"board{number}": {"hostname": "apc7", "port": number} for number in range(1, 5)}
NODES["server"] = {"feeds": [{"hostname": "apc7", "port": 8}, {"hostname": "apc8", "port": 8}]}
GROUPS = {"rack3": "board[3-4]", "all": "@rack3,server"}


def read(folder: Path, **roles: Any) -> Config:
    """Return a configuration with some roles."""
    conf = folder / "conf"
    conf.write_text(json.dumps({"pdus": PDUS, "nodes": NODES, "groups": GROUPS, "roles": roles}))
    return reader.load(str(conf))


def apc7(*ports: int) -> set[Outlet]:
    return {Outlet("apc7", str(port)) for port in ports}


@pytest.mark.parametrize(
    ("given", "nodes", "ports", "pdus"),
    [
        ({"nodes": "board1"}, {"board1"}, set(), set()),
        ({"nodes": "board[1-2],@rack3"}, {"board1", "board2", "board3", "board4"}, set(), set()),
        ({"nodes": ["board[1-2]", "@all"]}, {*NODES}, set(), set()),
        ({"nodes": "*"}, {*NODES}, set(), set()),
        ({"nodes": "board?,@*3"}, {"board1", "board2", "board3", "board4"}, set(), set()),
        ({"pdus": "apc8"}, set(), set(), {"apc8"}),
        ({"pdus": "apc7:1-3,apc8"}, set(), apc7(1, 2, 3), {"apc8"}),
        ({"pdus": "apc7:[1,3,5-6]"}, set(), apc7(1, 3, 5, 6), set()),
        ({"pdus": "apc[7-8]:01"}, set(), {*apc7(1), Outlet("apc8", "1")}, set()),
        ({"pdus": ["apc7:2", "2001:db8::1:4", "apc8"]}, set(), {*apc7(2), Outlet("2001:db8::1", "4")}, {"apc8"}),
        ({"pdus": "2001:db8::1"}, set(), set(), {"2001:db8::1"}),
        ({"pdus": "*", "nodes": "board1"}, {"board1"}, set(), {*PDUS}),
    ],
)
def test_what_a_role_covers(
    tmp_path: Path, given: dict[str, Any], nodes: set[str], ports: set[Outlet], pdus: set[str]
) -> None:
    config = read(tmp_path, ci={**given, "may": ["on", "reboot"]})
    role = config.roles["ci"]
    assert (role.nodes, role.ports, role.pdus) == (nodes, ports, pdus)
    assert role.feeds == {feed for name in nodes for feed in config.nodes[name].feeds}
    assert role.may == {Action.ON, Action.REBOOT, Action.STATUS}
    assert not [line for line in config.faults if "roles" in line]
    assert role.covers(Outlet("gone", "1")) is ("*" in str(given.get("pdus")))


@pytest.mark.parametrize(
    ("given", "fault", "left"),
    [
        ([], "must be a JSON object with nodes or pdus, and may", set()),
        ({"nodes": "board1"}, "may: must be a list of some of on, off, reboot, status", set()),
        ({"nodes": "board1", "may": []}, "may: must be a list of some of", set()),
        ({"nodes": "board1", "may": "on"}, "may: must be a list of some of", set()),
        (
            {"nodes": "board1", "may": ["onn"]},
            "may: 'onn' is none of on, off, reboot, status; did you mean 'on'?",
            set(),
        ),
        ({"nodes": "board1", "may": [{}]}, "may: {} is none of on, off, reboot, status", set()),
        ({"nodes": "board[1-", "may": ["on"]}, "nodes: 'board[1-' has a bracket too many or too few", set()),
        ({"nodes": 3, "may": ["on"]}, "nodes: must be a text, or a list of texts", set()),
        ({"pdus": ["apc7", 8], "may": ["on"]}, "pdus: must be a text, or a list of texts", set()),
        ({"pdus": "apc7:4-1", "may": ["on"]}, "pdus: '[4-1]': the range 4-1 runs downwards", set()),
        ({"may": ["on"]}, "names no node and no PDU that there is", set()),
        ({"nodes": "", "pdus": [], "may": ["on"]}, "names no node and no PDU that there is", set()),
        ({"nodes": "board1,bord2", "may": ["on"]}, "nodes: there is no node 'bord2'; did you mean 'board2'?", apc7(1)),
        ({"nodes": "board1,@rack4", "may": ["on"]}, "nodes: there is no group 'rack4'; did you mean 'rack3'?", apc7(1)),
        ({"nodes": "board1", "pdus": "apc9:1", "may": ["on"]}, "pdus: there is no PDU 'apc9'; did you mean", apc7(1)),
        ({"nodes": "board1", "pdus": "apc7:x", "may": ["on"]}, "pdus: apc7: 'x' is not a port", apc7(1)),
    ],
)
def test_what_is_wrong_with_a_role(tmp_path: Path, given: Any, fault: str, left: set[Outlet]) -> None:
    """It allows nothing, or what is left when what there is not is taken away; nothing else is disabled by it."""
    config = read(tmp_path, ci=given, other={"nodes": "*", "may": ["on"]})
    told = [line for line in config.faults if f"{tmp_path}/conf:1: roles.ci" in line]
    assert any(fault in line for line in told), config.faults
    assert {outlet for outlet in apc7(*range(9)) if config.roles["ci"].covers(outlet)} == left
    assert config.roles["other"].nodes == {*NODES}


def test_names_of_roles_and_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "conf"
    conf.write_text(
        '{"pdus": {"a": {"driver": "dummy"}}, "roles": {"two words": {"pdus": "a", "may": ["on"]},'
        ' "ci": {"pdus": "a", "may": ["on"], "may": ["off"]}, "x": {"pdus": "a", "may": ["on"], "node": "y"},'
        ' "x": {"pdus": "a", "may": ["on"]}, "y": {"pdus": "a", "may": ["on"], "node": "z"}}}'
    )
    assert cli.main([f"--conf={conf}", "--check"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"{conf}:1: roles.two words: not a valid role name: letters, digits and _ . - only",
        f"{conf}:1: roles.ci: may: duplicate key",
        f"{conf}:1: roles.x: duplicate key",
        f"{conf}:1: roles.y.node: unknown key; did you mean 'nodes'?",
    ]


def test_roles_of_the_broker_that_there_are_not(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    mqtt = {"host": "127.0.0.1", "roles": ["viewer", "viewr"]}
    conf.write_text(json.dumps({"pdus": PDUS, "roles": {"viewer": {"pdus": "*", "may": ["status"]}}, "mqtt": mqtt}))
    faults = reader.load(str(conf)).faults
    assert [fault for fault in faults if "mqtt" in fault] == [
        f"{conf}:1: mqtt.roles: there is no role 'viewr'; did you mean 'viewer'?"
    ]
