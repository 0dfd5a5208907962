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
        ("n[1-2]", {"hostname": "pdu[02-01]", "port": 1}, "hostname: 'pdu[02-01]': the range 02-01 runs downwards"),
        ("n[1-2]", {"hostname": "pdu[01-02", "port": 1}, "hostname: 'pdu[01-02' has a bracket too many or too few"),
        ("n[1-2]", {"hostname": "pdu01", "port": "[1-2/0]"}, "port: '[1-2/0]': the range 1-2/0 has no step"),
        ("n[1-2]", {"hostname": [], "port": "[1-2]"}, "hostname and port: 0 and 2 values for 2 nodes"),
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


@pytest.mark.parametrize("feeds", [[], "[1-3]", [[1]], [None], {}, 7, None])
def test_feeds_that_are_none_disable_all_of_them_and_are_told_once(tmp_path: Path, feeds: object) -> None:
    config = read(tmp_path, {"n[1-3]": {"feeds": feeds}, "good": {"hostname": "pdu01", "port": 9}})
    assert config.node("good").outlets and all(config.nodes[f"n{number}"].fault for number in (1, 2, 3))
    (told,) = config.faults
    assert told.startswith(f"{tmp_path}/conf:1: nodes.n1: ")
    assert told.endswith(", and so for 2 more of nodes.n[1-3]")


def test_what_is_wrong_with_nodes_of_an_entry_has_the_line_of_that(tmp_path: Path) -> None:
    (tmp_path / "conf").write_text(
        '{"pdus": {"pdu01": {"driver": "dummy", "outlets": 16}},\n"nodes": {\n'
        '"n[1-100]": {"hostname": "pdo01",\n"port": 1},\n'
        '"m[15-18]": {"feeds": [\n{"hostname": "pdu01",\n"port": "[15-18]"}],\n"lokced": true}}}'
    )
    config = reader.load(str(tmp_path / "conf"))
    said = [line.removeprefix(f"{tmp_path}/conf:") for line in (*config.faults, *config.warnings)]
    assert said == [
        "3: nodes.n1: there is no PDU 'pdo01'; did you mean 'pdu01'?, and so for 99 more of nodes.n[1-100]",
        "5: nodes.m17: pdu01: '17' is not a port: this PDU has 1 to 16",
        "5: nodes.m18: pdu01: '18' is not a port: this PDU has 1 to 16",
        "8: nodes.m15.lokced: unknown key; did you mean 'locked'?, and so for 3 more of nodes.m[15-18]",
    ]


HOSTILE = """n[ n] n[] n[1 n1] n[1-] n[-1] n[-] n[1--2] n[1-2-3] n[a-b] n[1-b] n[0x1-0x2] n[1.5-2] n[+1-3] n[1,] n[,1] n[1,,2]
n[1;2] n[1-2/0] n[1-2/] n[1-2/-1] n[1-2/a] n[1-3/2/1] n[3-1] n[01-9] n[1-09] n[001-0100] n[[1-2]] n[1-[2]] n[1-2]] n[[1-2]
n[1-20000] n[1-200][1-200] n[1-999999999] n[1-9999999999] n[1-3]x[ n[1-3]* n[1-3]? @n[1-3] n[1-3], ,n[1-3] n[1-3]! !n[1-3]
n[1-3]& n[1-3]^ n[1-3],,x n[1-3]!&x n[१-३] n[²] n[1–3] n[1-3]/x n[1-3]:x berlin/n[1-3] n{1..3} n(1-3) n[1..3] n[1:3] n%[1-3]
n$[1-3] n'[1-3]' n\\[1-2] n<[1-2]> n~[1-2] n#[1-2] n;[1-2] n|[1-2] n=[1-2] [ ] [] [-] ][ [[]] [1-2 1-2] -[ .[ n[1-2]n[2-1]
n[1-2]n[ n[1-100][1-100][1-2] n[1-2][] n[][1-2] n[*] n[?] n[!1] n[^1] n[1-2|3] n["1"] n[1_000] n[1e3] n[--] n[/] n[1/2] n[/2]
n[1-/2] n[-2/2] n[1,2 n1,2] n[1],n[ x,n[2-1] n[１-３] n[1-3]​[ n[1-3]é*""".split()


def test_a_hundred_spellings_that_are_no_names_are_told_with_their_place_and_hurt_no_other(tmp_path: Path) -> None:
    spelled = [
        *HOSTILE,
        "n[1 2]",
        "n[ 1-2]",
        "n[1-2] ",
        " n[1-2]",
        "n[1-2]\n",
        "n[1-2]\0",
        "n\t[1-2]",
        "",
        '"[1-2]',
        "n" * 99 + "[",
    ]
    assert len(spelled) > 100 and len({*spelled}) == len(spelled)
    good = {"good[1-3]": {"hostname": "pdu01", "port": "[1-3]"}}
    config = read(tmp_path, {**{name: {"hostname": "pdu01", "port": 1} for name in spelled}, **good})
    assert len(config.faults) == len(spelled) and not config.warnings
    for line in config.faults:
        assert line.startswith(f"{tmp_path}/conf:1: nodes.") and line.isprintable() and len(line) < 600
    assert {name for name, node in config.nodes.items() if not node.fault} == {"good1", "good2", "good3"}


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


def test_what_is_wrong_with_nodes_of_a_row_of_a_topology_has_the_line_of_that(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(
        "platforms:\n  x:\n    variables: [name, ip]\n    power_on: 'true'\n    power_off: 'true'\n"
        "static_nodes:\n  n[1-300]:\n    platform: y\n"
    )
    (fault,) = reader.load("", {"topology": str(tmp_path / "topology.yaml")}).faults
    assert fault.startswith(f"{tmp_path}/topology.yaml:7: static_nodes.n1: platform: there is no platform")
    assert fault.endswith(", and so for 299 more of static_nodes.n[1-300]")


def test_a_name_without_ranges_stays_as_it_is() -> None:
    entry = {"hostname": "pdu[1-2]", "port": ["x"]}
    assert [*rows.spread("n1", entry)] == [("n1", entry)]
