# SPDX-License-Identifier: MIT
"""OpenFlight Power's client behind the guide: by its library in Debian's Ruby, and itself where it is at hand."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.ruby import faraday, openflight_client
from tests.support.guides import Guide

NODES = ["gateway1", "node01", "node02"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[Guide, str]]:
    """The daemon as the guide leaves it, and a token for it."""
    with Guide("openflight", tmp_path / "guide") as guide:
        guide.path("/srv").mkdir(parents=True)
        for number in (1, 2, 3):
            guide.path(f"/srv/outlet{number}").write_text("on\n")
        guide.follow()
        code, token = guide.run("pdudaemon --token --name ruby")
        assert code == 0
        yield guide, token.strip()


def outlets(guide: Guide) -> list[str]:
    return [guide.path(f"/srv/outlet{number}").read_text().strip() for number in (1, 2, 3)]


def test_its_requests_by_its_library(lab: tuple[Guide, str]) -> None:
    guide, token = lab
    url = f"http://{guide.address}:6302"

    def ask(verb: str, path: str = "/", **parameters: str) -> Any:
        told = faraday(url, token, verb, path, **parameters)
        assert told.status == 200, told
        assert isinstance(told.body, dict), told  # its type is one that the client takes for JSON
        return told.body["data"]

    assert [node["id"] for node in ask("get", "/nodes")] == NODES
    for verb, state in (("delete", "off"), ("patch", "on"), ("delete", "off"), ("put", "on")):
        found = ask(verb, nodes="gateway1,node[01-02],ghost")
        assert {each["id"]: each["attributes"]["success"] for each in found} == {
            **dict.fromkeys(NODES, True),
            "ghost": False,
        }
        assert outlets(guide) == [state] * 3
        told = {each["id"]: each["attributes"]["running"] for each in ask("get", nodes="gateway1,node[01-02]")}
        assert told == dict.fromkeys(NODES, state == "on")
    assert ask("get", groups="") == []
    refused = faraday(url, "no.token.at-all", "get", "/nodes")
    assert (refused.status, refused.body) == (403, "Forbidden")


def test_its_own_client(lab: tuple[Guide, str]) -> None:
    """It reads one file only, below its own folder, which this test writes."""
    program = Path(openflight_client()).resolve()
    guide, token = lab
    configuration = program.parent.parent / "etc" / "config.yaml"
    before = configuration.read_text() if configuration.exists() else None
    configuration.parent.mkdir(exist_ok=True)
    configuration.write_text(f"base_url: http://{guide.address}:6302\njwt_token: {token}\n")
    try:
        for words, said in (
            ("list", "gateway1\nnode01\nnode02"),
            ("off node[01-02]", "node01 Stopping\nnode02 Stopping"),
            ("status gateway1,node[01-02]", "gateway1 On\nnode01 Off\nnode02 Off"),
            ("on node02", "node02 Starting"),
            ("restart node01", "node01 Restarting"),
        ):
            done = subprocess.run([program, *words.split()], capture_output=True, text=True, timeout=90)
            assert done.returncode == 0, done
            assert [line.split() for line in done.stdout.splitlines()] == [line.split() for line in said.splitlines()]
        assert outlets(guide) == ["on"] * 3
    finally:
        if before is None:
            configuration.unlink()
        else:
            configuration.write_text(before)
