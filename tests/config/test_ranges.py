# SPDX-License-Identifier: MIT
"""What names and ranges stand for, in our words and in those of the real ClusterShell."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from pdudaemon.ranges import MOST, expanded

GROUPS = {"compute": ("node01", "node02"), "rest": ("gpu-1", "node02"), "empty": ()}
GROUPS |= {"rack1": ("r1n1", "r1n2"), "rack2": ("r2n1",)}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ""),
        ("node01", "node01"),
        ("gw-1.rack_2", "gw-1.rack_2"),
        ("Node01,node01", "Node01 node01"),
        ("knoten-ä", "knoten-ä"),
        ("b,a,b", "b a"),
        ("node[01-03]", "node01 node02 node03"),
        ("node[001-003]", "node001 node002 node003"),
        ("node[08-11]", "node08 node09 node10 node11"),
        ("node[9-11]", "node9 node10 node11"),
        ("node[098-101]", "node098 node099 node100 node101"),
        ("node[010-011]", "node010 node011"),
        ("node[0-2]", "node0 node1 node2"),
        ("node[00-02]", "node00 node01 node02"),
        ("node0[1-2]", "node01 node02"),
        ("node[1]", "node1"),
        ("node[07]", "node07"),
        ("node[3-3]", "node3"),
        ("node[1,3,5-7]", "node1 node3 node5 node6 node7"),
        ("node[3,1-3]", "node3 node1 node2"),
        ("[1-2]", "1 2"),
        ("a[1-2]x", "a1x a2x"),
        ("rack[1-2]n[01-02]", "rack1n01 rack1n02 rack2n01 rack2n02"),
        ("a[1-2][3-4]", "a13 a14 a23 a24"),
        ("gateway1,node[01-02],ghost", "gateway1 node01 node02 ghost"),
        ("n[1,2],m[1,2]", "n1 n2 m1 m2"),
        ("@compute", "node01 node02"),
        ("@rest,node01,@compute", "gpu-1 node02 node01"),
        ("@empty", ""),
        ("@rack[2,1]", "r2n1 r1n1 r1n2"),
        ("node[1-9/2]", "node1 node3 node5 node7 node9"),
        ("node[01-10/3,99]", "node01 node04 node07 node10 node99"),
        ("node[1-5/9]", "node1"),
        ("node[01-100/50]", "node01 node51"),
        ("node[1-5]!node3", "node1 node2 node4 node5"),
        ("node[1-5]!node[2-4]!node5", "node1"),
        ("a!a", ""),
        ("a,b!a", "b"),
        ("a,b!a,a", "b a"),
        ("node[5,1-3]&node[1,5]", "node5 node1"),
        ("a&b,c", "c"),
        ("node[1-3]^node[3-4]", "node1 node2 node4"),
        ("@compute!@rest", "node01"),
        ("@rest&@compute,login", "node02 login"),
        ("*", "node01 node02 gpu-1"),
        ("node*", "node01 node02"),
        ("node0?!node02", "node01"),
        ("?pu*", "gpu-1"),
        ("*[0-1]", "node01 gpu-1"),
        ("nothing*", ""),
        ("@compute,node0*", "node01 node02"),
    ],
)
def test_what_a_text_stands_for(text: str, names: str) -> None:
    assert expanded(text, GROUPS.__getitem__, ["node01", "node02", "gpu-1"]) == names.split()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (",", "a comma too many"),
        ("a,", "a comma too many"),
        (",a", "a comma too many"),
        ("a,,b", "a comma too many"),
        ("a, b", "' b' is not a valid name"),
        ("node 01", "'node 01' is not a valid name"),
        ("a/b", "is not a valid name"),
        ("a\n", "is not a valid name"),
        ("$(id)", "is not a valid name"),
        ("<b>", "is not a valid name"),
        ("a*", "is not a valid name"),
        ("@", "is not a valid name"),
        ("@compute", "is not a valid name"),  # where there are no groups
        ("node[", "a bracket too many or too few"),
        ("node[1", "a bracket too many or too few"),
        ("node[1,2", "a bracket too many or too few"),
        ("node1]", "a bracket too many or too few"),
        ("a,b]", "'b]' has a bracket too many"),
        ("node[[1]]", "a bracket too many or too few"),
        ("node[]", "'' is neither a number nor a range"),
        ("node[,]", "'' is neither a number nor a range"),
        ("node[1,]", "'' is neither a number nor a range"),
        ("node[-1]", "'-1' is neither a number nor a range"),
        ("node[1-]", "'1-' is neither a number nor a range"),
        ("node[1-2-3]", "'1-2-3' is neither a number nor a range"),
        ("node[a-c]", "'a-c' is neither a number nor a range"),
        ("node[1 - 2]", "'1 - 2' is neither a number nor a range"),
        ("node[١-٢]", "is neither a number nor a range"),
        ("node[2-1]", "the range 2-1 runs downwards"),
        ("node[10-09]", "the range 10-09 runs downwards"),
        ("node[09-010]", "the ends of the range 09-010 are padded to different widths"),
        ("node[1-010]", "the ends of the range 1-010 are padded to different widths"),
        ("node[0-05]", "are padded to different widths"),
        ("node[001-12]", "are padded to different widths"),
        ("node[00-2]", "are padded to different widths"),
        ("node[1-9/0]", "the range 1-9/0 has no step"),
        ("node[5/2]", "'5/2' is neither a number nor a range"),
        ("node[1-5/]", "'1-5/' is neither a number nor a range"),
        ("!a", "'!a' has no name beside its !"),
        ("a!", "'a!' has no name beside its !"),
        ("a!,b", "'a!,b' has no name beside its !"),
        ("a,!b", "has no name beside its !"),
        ("a&&b", "has no name beside its &"),
        ("^/etc/shadow", "has no name beside its ^"),
        ("a,^/etc/shadow", "has no name beside its ^"),
    ],
)
def test_what_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError) as raised:
        expanded(text)
    assert fault in str(raised.value)


def test_the_number_of_names_is_bounded() -> None:
    assert len(expanded(f"n[1-{MOST}]")) == MOST
    assert len(expanded("r[1-100]n[1-100]")) == MOST
    assert len(expanded(f"n[1-{MOST}]!n[1-{MOST // 2}],n[1-{MOST}],n7")) == MOST
    for text in (
        f"n[0-{MOST}]",
        "n[1-999999999]",
        "n[1-99999999999999999999]",
        "r[1-101]n[1-100]",
        "a[1-9]b[1-9]c[1-9]d[1-9]e[1-9]f[1-9]g[1-9]h[1-9]i[1-9]j[1-9]k[1-9]l[1-9]m[1-9]n[1-9]o[1-9]p[1-9]",
        f"n[1-{MOST}],m",
        f"n[1-{MOST},0]",
        f"n[1-{MOST}]^m",
        ",".join([f"n[1-{MOST}]"] * 11),
        ",".join(["n[1-999]"] * 5 + [f"m{number}[1-999]" for number in range(11)]),
    ):
        with pytest.raises(ValueError):
            expanded(text)
    with pytest.raises(ValueError):
        expanded("@all", lambda _: map(str, range(MOST + 1)))
    assert len(expanded(",".join([f"n[1-{MOST}]"] * 10))) == MOST
    assert expanded(",".join(["*"] * 100), nodes=["a"]) == ["a"]
    assert expanded("@g*", lambda group: [group]) == ["g*"]
    many = range(MOST)
    for text in (",".join(["*"] * 101), "@g[1-1000]*", "@g[1-1000]"):
        with pytest.raises(ValueError):
            expanded(text, lambda _: map(str, many), ["a"])


def test_a_long_text_is_read_in_one_go() -> None:
    """This takes minutes where each comma looks for the bracket that closes."""
    wide = f"n[1-{MOST // 2}]"
    for text in (
        ",".join(["a"] * 200_000),
        "[" * 200_000 + "," * 200_000,
        "n[1-9999]" * 200_000,
        wide + "!a" * 100_000,
        f"n[{'1-9999,' * 20_000}1]",
        wide + "^a" * 100_000,
    ):
        with pytest.raises(ValueError):
            expanded(text)
    assert len(expanded("n" + "[1]" * 50_000)) == 1


def clustershell() -> None:
    """Skip the test where there is no ClusterShell."""
    try:
        subprocess.run(["/usr/bin/python3", "-c", "import ClusterShell"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the Debian package python3-clustershell")


CLUSTERSHELL = """
import sys
from ClusterShell.NodeSet import NodeSet, NodeSetException
for line in sys.stdin:
    try:
        print(*NodeSet(line.strip()))
    except NodeSetException:
        print("refused")
"""
"""Prints what each line stands for."""


def any_text(chance: random.Random) -> str:
    """Return an expression over few names, so that they meet; now and then with a fault."""

    def number() -> str:
        return str(chance.randrange(12)).zfill(chance.choice([1, 1, 2, 3]))

    def numbers() -> str:
        start, width, count = chance.randrange(9), chance.choice([1, 2]), chance.randrange(6)
        ends = f"{start:0{width}}-{start + count:0{width}}" if chance.random() < 0.9 else f"{number()}-{number()}"
        return ends + (f"/{chance.randrange(4)}" if chance.random() < 0.2 else "")

    def brackets() -> str:
        return f"[{','.join(chance.choice([number, numbers])() for _ in range(chance.randrange(1, 4)))}]"

    def item() -> str:
        name = chance.choice(["n", "n", "rack-1.n"])
        return name + chance.choice([number, brackets, lambda: f"{brackets()}x{brackets()}", lambda: ""])()

    text = item()
    for _ in range(chance.randrange(5)):
        text += chance.choice(",,,!&^") + item()
    return text + (chance.choice([",", "!", "]", "[", "!!a"]) if chance.random() < 0.05 else "")


NODES = [f"n{number}" for number in range(1, 13)] + ["gw", "gpu-1", "rack-1.n01"]
SETS = {"rack1": "n[1-4]", "rack2": "n[5-8],gw", "gpu": "gpu-1,n[4-5]", "none": ""}
GROUPING = """
import os, sys
from ClusterShell import NodeSet, NodeUtils
NodeSet.set_std_group_resolver(NodeUtils.GroupResolverConfig(sys.argv[1]))
for line in sys.stdin:
    print(*NodeSet.NodeSet(line.strip()))
"""
"""Prints what each line stands for where there are the groups of a configuration."""


def test_a_pattern_is_bounded() -> None:
    assert expanded("*e" * 500, nodes=["e" * 600]) == ["e" * 600]
    with pytest.raises(ValueError, match=r"'\*e.*' is a pattern of more than 1000 characters"):
        expanded("*e" * 501, nodes=["e" * 600])


def test_groups_and_patterns_as_clustershell_has_them(tmp_path: Path) -> None:
    clustershell()
    groups = {**SETS, "all": ",".join(NODES)}
    (tmp_path / "lab.yaml").write_text(json.dumps({"lab": {name: text for name, text in groups.items() if text}}))
    (tmp_path / "groups.conf").write_text(f"[Main]\ndefault: lab\nautodir: {tmp_path}\n")
    chance = random.Random(13)

    def item() -> str:
        kinds = [
            "@rack1",
            "@rack2",
            "@gpu",
            "@rack[1-2]",
            "*",
            "n*",
            "n?",
            "?w",
            "*[1-2]",
            "g*",
            "n[1-3]*",
            "nix*",
            "@*",
        ]
        return chance.choice(
            [*kinds, f"n{chance.randrange(15)}", f"n[{chance.randrange(5)}-{chance.randrange(5, 14)}]"]
        )

    texts = [item() + "".join(chance.choice(",!&^") + item() for _ in range(chance.randrange(5))) for _ in range(600)]
    told = subprocess.run(
        ["/usr/bin/python3", "-c", GROUPING, str(tmp_path / "groups.conf")],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split("\n")[: len(texts)]

    def members(group: str) -> list[str]:
        return NODES if group == "*" else expanded(groups[group])

    for text, line in zip(texts, told, strict=True):
        assert sorted(expanded(text, members, NODES)) == sorted(line.split()), text


def test_as_clustershell_has_it() -> None:
    """Where one refuses so does the other, but for a range that counts beyond its padding, as OpenFlight takes it."""
    clustershell()
    chance = random.Random(14)
    texts = [any_text(chance) for _ in range(2000)]
    told = subprocess.run(
        ["/usr/bin/python3", "-c", CLUSTERSHELL],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    refused = 0
    for text, line in zip(texts, told, strict=True):
        try:
            ours = " ".join(sorted(expanded(text)))
        except ValueError:
            ours, refused = "refused", refused + 1
        assert ours == " ".join(sorted(line.split())), text
    assert 100 < refused < 1000


@pytest.mark.parametrize("text", ["@", "node1,@", "@!node1"])
def test_a_group_has_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="names no group behind its @"):
        expanded(text, lambda name: [name])
