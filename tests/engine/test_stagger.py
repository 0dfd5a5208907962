# SPDX-License-Identifier: MIT
"""`Stagger`: places in a row of ons; and ons of commands, reboots and starts, as the devices saw them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.engine.stagger import Stagger
from pdudaemon.power import Outlet
from tests.support.process import Daemon, eventually
from tests.support.watching import Watching

SLACK = 2.0  # what a busy machine takes to start a command, more or less
BETWEEN = 3.0


def config(folder: Path, pdus: dict[str, Any], groups: dict[str, Any] | None = None) -> Config:
    nodes = {f"n{name}": {"hostname": name, "port": 1} for name in pdus}
    whole = {"pdus": {name: {"driver": "dummy", **each} for name, each in pdus.items()}, "nodes": nodes}
    (folder / "conf").write_text(json.dumps({**whole, "groups": groups or {}}))
    found = reader.load(str(folder / "conf"))
    assert not found.faults
    return found


def places(stagger: Stagger, *names: str) -> list[float]:
    return [stagger.place(Outlet(name, "1"), 100.0) - 100.0 for name in names]


def test_a_pdu_has_a_row_of_its_own(tmp_path: Path) -> None:
    stagger = Stagger(config(tmp_path, {"a": {"stagger": 2}, "b": {"stagger": 2}, "c": {}}))
    assert places(stagger, "a", "a", "b", "c", "c", "a") == [0, 2, 0, 0, 0, 4]
    assert stagger.place(Outlet("a", "1"), 200.0) == 200.0


def test_pdus_and_groups_share_a_row_and_the_longest_wait_counts(tmp_path: Path) -> None:
    pdus = {"a": {"stagger": 1, "stagger_with": "x"}, "b": {"stagger": 1, "stagger_with": "x"}, "c": {}}
    stagger = Stagger(config(tmp_path, pdus, {"g": {"nodes": "nb,nc", "stagger": 5}}))
    assert places(stagger, "a", "b", "c", "a", "b") == [0, 1, 6, 2, 11]


def test_where_nothing_is_staggered_nobody_need_ask(tmp_path: Path) -> None:
    group = {"g": {"nodes": "na", "stagger": 5}}
    assert not Stagger(config(tmp_path, {"a": {}})).is_set
    assert (
        Stagger(config(tmp_path, {"a": {}}, group)).is_set and Stagger(config(tmp_path, {"a": {"stagger": 1}})).is_set
    )
    stagger = Stagger(config(tmp_path, {"a": {}, "b": {"stagger": 1}}, group))
    assert places(stagger, "gone", "gone", "b") == [0, 0, 0], "of what is not configured any more"


def test_a_reload_keeps_the_places(tmp_path: Path) -> None:
    stagger = Stagger(config(tmp_path, {"a": {"stagger": 3}}))
    assert places(stagger, "a") == [0]
    stagger.change(config(tmp_path, {"a": {"stagger": 1}}))
    assert places(stagger, "a", "a") == [3, 4]


@pytest.mark.parametrize(
    ("group", "fault"),
    [
        ({"nodes": "na", "stagger": -1}, "groups.g.stagger: -1 is not within 0 and 3600 seconds"),
        ({"stagger": 1}, "groups.g: must be a text of names and ranges, a list of such, or an object"),
    ],
)
def test_what_is_wrong_with_a_group(tmp_path: Path, group: Any, fault: str) -> None:
    (tmp_path / "conf").write_text(
        json.dumps(
            {"pdus": {"a": {"driver": "dummy"}}, "nodes": {"na": {"hostname": "a", "port": 1}}, "groups": {"g": group}}
        )
    )
    assert any(fault in line for line in reader.load(str(tmp_path / "conf")).faults)


def test_a_platform_staggers_all_its_nodes(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(
        "platforms:\n  x:\n    power_on: 'true'\n    power_off: 'true'\n    stagger: 0.5\nstatic_nodes:\n  n[1-3]:\n    platform: x\n"
    )
    found = reader.load("", {"topology": str(tmp_path / "topology.yaml")})
    stagger = Stagger(found)
    assert [stagger.place(found.node(f"n{number}").outlets[0], 10.0) for number in (1, 2, 3)] == [10.0, 10.5, 11.0]


def stamped(folder: Path) -> dict[str, Any]:
    """Return the settings of PDUs that write down when they are switched on."""
    command = f"read -r up rest </proc/uptime; echo $up %s >>{folder}/ons"
    return {"driver": "localcmdline", "cmd_on": command, "cmd_off": "true", "retries": 1}


def ons(folder: Path, count: int) -> list[float]:
    path = folder / "ons"
    lines = eventually(lambda: path.exists() and (found := path.read_text().splitlines())[count - 1 :] and found, 60)
    return sorted(float(line.split()[0]) for line in lines)


def test_ons_of_a_command_and_of_reboots_come_one_after_the_other(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    pdus = {name: stamped(tmp_path) for name in "abcd"}
    nodes = {name: {"hostname": name, "port": 1} for name in "abcd"}
    lab = daemon(pdus, nodes=nodes, groups={"row": {"nodes": "a,b,c,d", "stagger": BETWEEN}})
    assert lab.http("/?nodes=a,b", "PATCH").status == 200
    assert lab.http("/?nodes=c,d", "PUT").status == 200
    found = ons(tmp_path, 4)
    assert all(after - before > BETWEEN - SLACK for before, after in itertools.pairwise(found)), found


def test_debts_of_a_start_come_one_after_the_other(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    pdus = {name: {**stamped(tmp_path), "stagger": BETWEEN, "stagger_with": "row"} for name in "abc"}
    lab = daemon(pdus)
    for name in "abc":
        assert lab.power("reboot", name, 1, delay=3, wait=0).status == 200
    eventually(lambda: len([each for each in lab.http("/api/v1/requests").json if each["owed"]]) == 3)
    lab.kill()
    lab.start()
    found = ons(tmp_path, 3)
    assert all(after - before > BETWEEN - SLACK for before, after in itertools.pairwise(found)), found


def test_an_off_does_not_wait_for_ons(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    lab = daemon({"a": {**stamped(tmp_path), "stagger": 3600}})
    assert lab.power("on", "a", 1).status == 200
    assert lab.power("on", "a", 2, wait=0).status == 200
    assert lab.power("off", "a", 3).status == 200
    (waiting,) = [each for each in lab.http("/api/v1/requests").json if each["ended"] is None]
    assert waiting["outlets"] == [{"pdu": "a", "port": "2"}]
    assert waiting["reason"].startswith("staggered: to be switched on in 3")
    assert lab.http(f"/api/v1/requests/{waiting['id']}", "DELETE").status == 200


def test_who_watches_sees_what_waits_for_its_turn(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    lab = daemon({"a": {**stamped(tmp_path), "stagger": 600}})
    with Watching(lab) as events:
        assert lab.power("on", "a", 1).status == 200
        assert lab.power("on", "a", 2, wait=0).status == 200
        waiting = events.until("waiting")
    assert (waiting["action"], waiting["outlets"], waiting["state"]) == ("on", ["a:2"], "waiting")
    assert waiting["reason"] in ("staggered: to be switched on in 600 s", "staggered: to be switched on in 599 s")
    assert 590 < waiting["due"] - waiting["time"] <= 600
    record = lab.http(f"/api/v1/requests/{waiting['request']}").json
    assert abs(record["due"] - waiting["due"]) < 5 and record["reason"].startswith("staggered: to be switched on in ")
    (ended,) = [each for each in lab.http("/api/v1/requests").json if each["ended"] is not None]
    assert ended["due"] is None
