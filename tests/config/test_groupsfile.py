# SPDX-License-Identifier: MIT
"""Groups of ClusterShell: what is in them, beside what ClusterShell itself says, and what is wrong with them."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from tests.support.process import Daemon, eventually

EXAMPLE = """
roles:
    adm: 'example0'
    io: '@racks:rack2,example2'
    compute: '@racks:rack[3-4]'
    all: '@io,@compute'
racks:
    rack2: 'example[4-5]'
    rack3: 'example[32-40]'
    rack4: 'example[39-42] , example7'
    old: '@rack[2,4]'
    listed:
        - 'example[20-21]'  # and
        - '@old'
        - 'example50 ! @rack2'
cpu:
    ivy: 'example[32-34]'
    hsw: '@roles:compute!@ivy'
    every: '@racks:*'
    most: '@roles:*'
"""
NODES = "example[0-50]"


def read(folder: Path, text: str, file: str = "cluster.yaml", nodes: str = NODES, **groups: Any) -> Config:
    (folder / "cluster.yaml").write_text(text)
    whole = {
        "daemon": {"groups_file": file},
        "pdus": {"pdu": {"driver": "dummy", "outlets": 100}},
        "nodes": {nodes: {"hostname": "pdu", "port": [*range(1, 52)]}},
        "groups": groups,
    }
    (folder / "conf").write_text(json.dumps(whole, indent=1))
    return reader.load(str(folder / "conf"))


def members(config: Config, group: str) -> set[str]:
    return set(config.named("", group)[0])


def examples(*numbers: int) -> set[str]:
    return {f"example{number}" for number in numbers}


def test_groups_within_groups_of_several_sources(tmp_path: Path) -> None:
    config = read(tmp_path, EXAMPLE, mine="@compute!@racks:rack4", yours=["@cpu:ivy", "example50"])
    assert not config.faults and not config.warnings
    assert members(config, "io") == examples(4, 5, 2)
    assert members(config, "compute") == examples(*range(32, 43), 7)
    assert members(config, "racks:old") == examples(4, 5, *range(39, 43), 7)
    assert members(config, "racks:listed") == examples(20, 21, *range(39, 43), 7, 50)
    assert members(config, "cpu:hsw") == examples(*range(35, 43), 7)
    assert members(config, "cpu:every") == examples(4, 5, 20, 21, *range(32, 43), 7, 50)
    assert members(config, "cpu:most") == members(config, "all") == examples(2, 4, 5, *range(32, 43), 7)
    assert members(config, "mine") == examples(*range(32, 39))
    assert members(config, "yours") == examples(32, 33, 34, 50)
    assert set(config.named("@racks:rack2,example0")[0]) == examples(4, 5, 0)
    assert members(config, "racks:rack[2-3]") == examples(4, 5, *range(32, 41))


def test_a_groups_conf_leads_to_files_and_names_the_default(tmp_path: Path) -> None:
    (tmp_path / "groups.d").mkdir()
    (tmp_path / "groups.d" / "a.yaml").write_text("racks:\n  rack1: example[1-2]\n")
    (tmp_path / "groups.d" / "b.yaml").write_text("roles:\n  io: '@racks:rack1,example5'\n")
    (tmp_path / "groups.conf").write_text(
        "[Main]\ndefault: roles\nautodir: /nowhere $CFGDIR/groups.d\n\n[slurm]\nmap: sinfo -p $GROUP\n"
    )
    config = read(tmp_path, "", "groups.conf")
    assert not config.faults
    assert members(config, "io") == examples(1, 2, 5) and members(config, "racks:rack1") == examples(1, 2)
    assert [line.partition(": ")[2] for line in config.warnings] == [
        "slurm: left out: its groups are told by commands, which are not run here"
    ]


@pytest.mark.parametrize(
    ("main", "warnings"),
    [
        ("autodir: $CFGDIR/none", ["autodir: there is no file *.yaml in $CFGDIR/none"]),
        ("autodir: $CFGDIR/groups.d\ndefault: rack", ["default: there is no group source 'rack': 'racks' is taken"]),
    ],
)
def test_a_groups_conf_that_leads_nowhere_is_warned_of(tmp_path: Path, main: str, warnings: list[str]) -> None:
    (tmp_path / "groups.d").mkdir()
    (tmp_path / "groups.d" / "a.yaml").write_text("racks:\n  rack1: example[1-2]\n")
    (tmp_path / "groups.conf").write_text(f"[Main]\n{main}\n")
    config = read(tmp_path, "", "groups.conf")
    assert not config.faults and config.warnings == tuple(f"{tmp_path}/groups.conf: {each}" for each in warnings)


def test_nodes_that_are_not_switched_here_are_left_out_and_told(tmp_path: Path) -> None:
    config = read(tmp_path, "a:\n  x: example[49-51],other\n  y: example51\n")
    assert not config.faults and members(config, "x") == examples(49, 50) and config.groups["y"] == ()
    assert config.warnings == (
        f"{tmp_path}/cluster.yaml:2: a.x: left out, as there are no such nodes here: 'example51' and 1 more",
        f"{tmp_path}/cluster.yaml:3: a.y: left out, as there are no such nodes here: 'example51'",
    )


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("a:\n  x: '@y'\n  y: '@b:z'\nb:\n  z: '@a:x'\n", 2, "a.x: is a part of itself: a:x -> a:y -> b:z -> a:x"),
        ("a:\n  x: '@x'\n", 2, "a.x: is a part of itself: a:x -> a:x"),
        ("a:\n  x: n1\n  y: '@z'\n", 3, "a.y: there is no group 'a:z'"),
        ("a:\n  y: '@racks:z'\n", 2, "a.y: there is no group source 'racks'"),
        ("a:\n  x: n[2-1]\n", 2, "a.x: 'n[2-1]': the range 2-1 runs downwards"),
        ("a:\n  x: 'a b, c ,,d'\n", 2, "a.x: 'a,b,c,,d' has a comma too many"),
        ("a:\n  x: {y: z}\n", 2, "a.x: must be a text of names and ranges, or a list of such"),
        ("a:\n  x:\n", 2, "a.x: must be a text of names and ranges, or a list of such"),
        ("a:\n  'x y': n1\n", 2, "a.x y: not a valid name of a group"),
        ("a:\n  'x:y': n1\n", 2, "a.x:y: not a valid name of a group"),
        ("'a:b':\n  z: n1\n", 2, "a:b.z: not a valid name of a group"),
        ("a: n1\n", 1, "a: must be a map of groups"),
        ("a:\n  x: n1\n  x: n2\n", 3, "not valid YAML: duplicate key 'x'"),
        ("- a\n", 0, "must be a map of group sources"),
        ("a:\n  mine: example1\n", 2, "a.mine: duplicate key: it is in "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, fault: str) -> None:
    config = None
    try:
        config = read(tmp_path, text, mine="example1")
        faults = config.faults
    except Exception as error:
        faults = error.faults  # type: ignore[attr-defined]
    place = f"{tmp_path}/cluster.yaml:{line}" if line else f"{tmp_path}/cluster.yaml"
    assert any(each.startswith(place) and fault in each for each in faults), faults
    assert config is None or "x" not in config.groups or members(config, "x") == set()


def test_a_file_that_is_not_there_prevents_a_start(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"none\.yaml: cannot be read: No such file"):
        read(tmp_path, "", "none.yaml")
    with pytest.raises(Exception, match=r"none\.conf: cannot be read: No such file"):
        read(tmp_path, "", "none.conf")
    (tmp_path / "bad.conf").write_text("[Main]\ndefault\n  : x\nnonsense\n")
    with pytest.raises(Exception, match=r"bad\.conf.*: not valid: "):
        read(tmp_path, "", "bad.conf")


def test_a_reload_takes_them_over(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text("racks:\n  rack1: n[1-2]\nroles:\n  io: '@racks:rack1,n4'\n")
    nodes = {"n[1-4]": {"hostname": "pdu", "port": "[1-4]"}}
    lab = daemon({"pdu": {"driver": "dummy", "outlets": 4}}, nodes=nodes, groups_file=str(file))

    def switched(group: str) -> list[str]:
        return [each["id"] for each in lab.http(f"/?groups={group}", "PATCH").json["data"]]

    assert (switched("rack1"), switched("roles:io")) == (["n1", "n2"], ["n1", "n2", "n4"])
    assert lab.http("/api/v1/groups").json == {"rack1": ["n1", "n2"], "roles:io": ["n1", "n2", "n4"]}
    file.write_text("racks:\n  rack1: n3\n")
    assert lab.process is not None
    lab.process.send_signal(1)
    eventually(lambda: switched("rack1") == ["n3"])
    file.write_text("racks: [\n")
    lab.process.send_signal(1)
    eventually(lambda: "nothing was changed: the configuration has faults" in lab.log_text())
    eventually(lambda: "groups.yaml:2:1: not valid YAML" in lab.log_text())
    assert switched("rack1") == ["n3"]


SCRIPT = """
import json, sys
from ClusterShell.NodeSet import NodeSet
from ClusterShell.NodeUtils import GroupResolver, YAMLGroupLoader
sources = [*YAMLGroupLoader(sys.argv[1])]
resolver = GroupResolver(default_source=sources[0])
for source in sources[1:]:
    resolver.add_source(source)
found = {}
for source in resolver.sources():
    for group in resolver.grouplist(source):
        found[f"{source}:{group}"] = sorted(NodeSet(f"@{source}:{group}", resolver=resolver))
print(json.dumps(found))
"""


@pytest.mark.parametrize("seed", range(6))
def test_beside_clustershell(seed: int, tmp_path: Path) -> None:
    """Random sources of groups, of the kinds that both take, hold the same nodes in both."""
    python = _python_with_clustershell()
    chance = random.Random(seed)
    written: dict[str, dict[str, Any]] = {}
    for number in range(chance.randint(2, 4)):
        source: dict[str, Any] = {}
        for each in range(chance.randint(3, 12)):
            texts = [_text(chance, written, source, f"s{number}") for _ in range(chance.randint(1, 3))]
            source[f"g{each}"] = texts if len(texts) > 1 else texts[0]
        written[f"s{number}"] = source
    (tmp_path / "cluster.yaml").write_text(json.dumps(written))
    done = subprocess.run([python, "-c", SCRIPT, str(tmp_path / "cluster.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    config = read(tmp_path, json.dumps(written), nodes="n[0-40],n[00-09]")
    assert not config.faults
    known = set(config.nodes)
    for name, nodes in theirs.items():
        assert members(config, name.removeprefix("s0:")) == set(nodes) & known, (name, written)
    assert len(theirs) == len(config.groups) and any(theirs.values())


def _text(chance: random.Random, written: dict[str, dict[str, Any]], source: dict[str, Any], name: str) -> str:
    items = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(6)
        first = chance.randint(0, 30)
        last = first + chance.randint(0, 15)
        if kind == 0 and source:
            items.append(f"@{chance.choice(['', f'{name}:'])}{chance.choice([*source])}")
        elif kind == 1 and written:
            other = chance.choice([*written])
            items.append(f"@{other}:{chance.choice([*written[other]])}")
        elif kind == 2 and len(source) > 2:
            items.append(f"@g[0-{len(source) - 1}/2]")
        elif kind == 3:
            items.append(f"n[{first}-{last}/{chance.randint(1, 4)},{chance.randint(0, 40)}]")
        elif kind == 4:
            items.append(f"n[0{chance.randint(0, 4)}-0{chance.randint(5, 9)}]")
        else:
            items.append(f"n[{first}-{last}]")
    text = items[0]
    for item in items[1:]:
        text += chance.choice([",", ",", "!", "&", "^", " "]) + item
    return text


def _python_with_clustershell() -> str:
    """Return an interpreter that has ClusterShell: ours, or that of Debian."""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin") or ""):
        if python and subprocess.run([python, "-c", "import ClusterShell, yaml"], capture_output=True).returncode == 0:
            return python
    pytest.skip("ClusterShell is not installed (Debian: python3-clustershell)")
