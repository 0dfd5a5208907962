# SPDX-License-Identifier: MIT
"""Ranges of names, written out and folded again, as the daemon reads them."""

from __future__ import annotations

import random
import runpy

import pytest

from pdudaemon.ranges import expanded
from tests.support.client import CLIENT


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("node01 node02 node03", "node[01-03]"),
        ("node1 node3 node5 node6 node7", "node[1,3,5-7]"),
        ("node9 node10 node11", "node[9-11]"),
        ("node09 node10 node11", "node[09-11]"),
        ("node098 node099 node100", "node[098-100]"),
        ("node1 node01 node2 node02", "node[01-02,1-2]"),
        ("node0 node00 node000", "node[0,00,000]"),
        ("node7", "node7"),
        ("login admin", "admin,login"),
        ("rack1n01 rack1n02 rack2n01 rack2n02", "rack[1-2]n[01-02]"),
        ("rack1n01 rack1n02 rack2n01", "rack1n[01-02],rack2n01"),
        ("r1n1-ipmi r1n2-ipmi r2n1-ipmi r2n2-ipmi", "r[1-2]n[1-2]-ipmi"),
        ("n999999998 n999999999 n1000000000 n1000000001", "n100000000[0-1],n[999999998-999999999]"),
        ("n12345678908 n12345678909 n12345678910", "n123456789[08-10]"),
        ("ip-10-0-0-8 ip-10-0-0-9 ip-10-0-0-10", "ip-10-0-0-[8-10]"),
        ("1 2 3", "[1-3]"),
    ],
)
def test_folded(names: str, text: str) -> None:
    client = runpy.run_path(str(CLIENT))
    assert client["fold_names"](names.split()[::-1]) == text
    assert sorted(client["expand_names"]([text])) == sorted(names.split()) == sorted(expanded(text))


@pytest.mark.parametrize(
    "text", ["n[1-9/2]", "n[01-10/3,20]", "a,r[1-2]n[01-04/2]", "n[5-7/1]x[1-3/5]", "n[098-101/2]"]
)
def test_steps(text: str) -> None:
    assert runpy.run_path(str(CLIENT))["expand_names"]([text]) == expanded(text)


def test_folded_and_expanded_again() -> None:
    client = runpy.run_path(str(CLIENT))
    for _ in range(300):
        formats = ["%d", "%02d", "%03d", "99999999%d", "%010d", "1234567890%02d"]
        numbers = [random.choice(formats) % random.randrange(120) for _ in range(20)]
        names = {f"r{random.randrange(3)}n{number}{random.choice(['', '-b', '7'])}" for number in numbers}
        text = client["fold_names"](names)
        assert set(client["expand_names"]([text])) == names == set(expanded(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "@all",
        "a[1-2",
        "a[x]",
        "a[1-]b[,]",
        "a!c",
        "a&c",
        "c^a",
        "a*",
        "?",
        "@a",
        "a[1-2/0]",
        "a[1/]",
        "a[1-2/3/4]",
        "a[1-99999999999]",
        "a[1-999][1-999]",
        "a]",
    ],
)
def test_names_that_are_for_the_server_to_expand(text: str) -> None:
    assert runpy.run_path(str(CLIENT))["expand_names"](["b", text]) == []
