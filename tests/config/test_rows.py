# SPDX-License-Identifier: MIT
"""Many nodes in one entry: names with ranges, and values with ranges or in lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader, rows
from pdudaemon.config.model import Config
from pdudaemon.power import Outlet

PDUS = {f"pdu{number:02}": {"driver": "dummy", "outlets": 16} for number in range(1, 33)}


def read(folder: Path, nodes: dict[str, Any]) -> Config:
    (folder / "conf").write_text(json.dumps({"pdus": PDUS, "nodes": nodes}))
    return reader.load(str(folder / "conf"))


def test_five_hundred_nodes_on_thirty_two_pdus(tmp_path: Path) -> None:
    config = read(tmp_path, {"node[001-512]": {"hostname": "pdu[01-32]", "port": "[1-16]"}})
    assert not config.faults and len(config.nodes) == 512
    assert config.node("node001").outlets == (Outlet("pdu01", "1"),)
    assert config.node("node016").outlets == (Outlet("pdu01", "16"),)
    assert config.node("node017").outlets == (Outlet("pdu02", "1"),)
    assert config.node("node512").outlets == (Outlet("pdu32", "16"),)


@pytest.mark.parametrize(
    ("entry", "outlets"),
    [
        ({"hostname": "pdu01", "port": "[3-5]"}, [("pdu01", "3"), ("pdu01", "4"), ("pdu01", "5")]),
        ({"hostname": "pdu[01-03]", "port": 7}, [("pdu01", "7"), ("pdu02", "7"), ("pdu03", "7")]),
        ({"hostname": "pdu[01-03]", "port": [1, 5, 9]}, [("pdu01", "1"), ("pdu02", "5"), ("pdu03", "9")]),
        ({"hostname": ["pdu05", "pdu01", "pdu09"], "port": "[1-3]"}, [("pdu05", "1"), ("pdu01", "2"), ("pdu09", "3")]),
    ],
)
def test_one_value_for_all_or_one_for_each(
    tmp_path: Path, entry: dict[str, Any], outlets: list[tuple[str, str]]
) -> None:
    config = read(tmp_path, {"n[1-3]": entry})
    assert not config.faults
    assert [tuple(config.node(f"n{number}").outlets[0][:2]) for number in (1, 2, 3)] == outlets


def test_several_feeds(tmp_path: Path) -> None:
    feeds = [{"hostname": "pdu01", "port": "[1-4]"}, {"hostname": "pdu02", "port": "[1-4]"}]
    config = read(tmp_path, {"s[1-4]": {"feeds": feeds, "locked": [True, False, False, False]}})
    assert not config.faults
    assert config.node("s3").outlets == (Outlet("pdu01", "3"), Outlet("pdu02", "3"))
    assert config.node("s1").locked and not config.node("s2").locked


@pytest.mark.parametrize(
    ("name", "entry", "fault"),
    [
        ("n[1-3]", {"hostname": "pdu[01-02]", "port": "[1-16]"}, "hostname and port: 2 and 16 values for 3 nodes"),
        ("n[1-3]", {"hostname": "pdu01", "port": [1, 2]}, "hostname and port: 1 and 2 values for 3 nodes"),
        ("n[3-1]", {"hostname": "pdu01", "port": 1}, "runs downwards"),
        ("n[01-10", {"hostname": "pdu01", "port": 1}, "has a bracket too many or too few"),
        ("n[1-2]", {"hostname": "pdu01", "port": "[1-2]", "locked": [True]}, "locked: 1 values for 2 nodes"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, name: str, entry: dict[str, Any], fault: str) -> None:
    config = read(tmp_path, {name: entry, "good": {"hostname": "pdu01", "port": 9}})
    assert any(f"nodes.{name}: " in line and fault in line for line in config.faults), config.faults
    assert config.node("good").outlets


def test_a_fault_of_one_of_them_disables_that_one_alone(tmp_path: Path) -> None:
    config = read(
        tmp_path, {"n[15-18]": {"hostname": "pdu01", "port": "[15-18]"}, "n16": {"hostname": "pdu02", "port": 1}}
    )
    assert config.nodes["n15"].feeds and config.nodes["n17"].fault and config.nodes["n18"].fault
    assert "there is an alias or node of this name already" in config.nodes["n16"].fault


def test_a_topology_has_values_in_lists_and_ranges(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(
        "platforms:\n  x:\n    variables: [name, ip, password, rack]\n    power_on: 'true'\n    power_off: 'true'\n"
        "static_nodes:\n  n[1-3]:\n    platform: x\n    ip: 10.0.0.[11-13]\n    password: 'a[b]!'\n    rack: [a, b, c]\n"
    )
    config = reader.load("", {"topology": str(tmp_path / "topology.yaml")})
    assert not config.faults and [*config.nodes] == ["n1", "n2", "n3"]
    assert config.pdus["n2"].settings["values"] == {"name": "n2", "ip": "10.0.0.12", "password": "a[b]!", "rack": "b"}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("ip: 10.0.0.[11-12]", "static_nodes.n[1-3]: ip: 2 values for 3 nodes"),
        ("ip: [a, b, c, d]", "static_nodes.n[1-3]: ip: 4 values for 3 nodes"),
    ],
)
def test_a_row_of_a_topology_that_does_not_fit_is_told_with_its_line(tmp_path: Path, row: str, fault: str) -> None:
    (tmp_path / "topology.yaml").write_text(
        "platforms:\n  x:\n    variables: [name, ip]\n    power_on: 'true'\n    power_off: 'true'\n"
        f"static_nodes:\n  n[1-3]:\n    platform: x\n    {row}\n  good:\n    platform: x\n    ip: z\n"
    )
    config = reader.load("", {"topology": str(tmp_path / "topology.yaml")})
    assert f"{tmp_path}/topology.yaml:7: {fault}" in config.faults
    assert config.node("good").outlets


def test_a_name_without_ranges_stays_as_it_is() -> None:
    entry = {"hostname": "pdu[1-2]", "port": ["x"]}
    assert [*rows.spread("n1", entry)] == [("n1", entry)]
