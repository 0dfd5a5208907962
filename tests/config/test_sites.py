# SPDX-License-Identifier: MIT
"""The section ``sites``: what is taken, and what is wrong with it, without a site that is meant well suffering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.config.sites import owner

GOOD = {"url": "https://lab:16421/power"}


def loaded(folder: Path, sites: Any, **more: Any) -> Config:
    (folder / "conf").write_text(json.dumps({"sites": sites, **more}))
    return reader.load(str(folder / "conf"))


def test_a_front_needs_no_pdus(tmp_path: Path) -> None:
    (tmp_path / "berlin.token").write_text("eyJ.to.ken\n")
    conf = loaded(tmp_path, {"berlin": {**GOOD, "token": {"file": "berlin.token"}}})
    site = conf.sites["berlin"]
    assert (site.url.host, site.url.port, site.url.path, site.url.secure) == ("lab", 16421, "/power", True)
    assert site.token == "eyJ.to.ken" and site.prefix and not conf.faults and not conf.warnings


@pytest.mark.parametrize(
    "entry, told",
    [
        ({}, "sites.bad.url: is missing"),
        ({"url": "lab:16421"}, "sites.bad.url: 'lab:16421' is not a URL"),
        ({"url": "https://me:x@lab"}, "sites.bad.url: has a login in it"),
        ({**GOOD, "prefix": "no way"}, "sites.bad.prefix: "),
        ({**GOOD, "token": {"file": "nowhere"}}, "sites.bad: token: the file 'nowhere' cannot be read"),
        ({**GOOD, "token": "käse"}, "sites.bad.token: has characters in it that no token has"),
        ({**GOOD, "insecure": True, "fingerprint": "0" * 64}, "contradicts"),
        ([], "sites.bad: must be a JSON object with url, and token"),
    ],
)
def test_a_fault_disables_its_site_alone(tmp_path: Path, entry: Any, told: str) -> None:
    conf = loaded(tmp_path, {"bad": entry, "berlin": GOOD})
    assert [*conf.sites] == ["berlin"]
    assert len(conf.faults) == 1 and told in conf.faults[0], conf.faults
    assert "käse" not in str(conf.faults)


def test_what_is_not_a_name_and_what_is_unknown(tmp_path: Path) -> None:
    conf = loaded(tmp_path, {"a/b": GOOD, "berlin": {**GOOD, "prefx": False}})
    assert [*conf.sites] == ["berlin"] and "not a valid site name" in conf.faults[0]
    assert "sites.berlin.prefx: unknown key; did you mean 'prefix'?" in conf.warnings[0]


def test_a_token_in_the_clear_is_warned_of(tmp_path: Path) -> None:
    sites = {
        name: {"url": f"http://{host}:16421", "token": "x.y.z"}
        for name, host in (("far", "lab"), ("near", "127.0.0.1"))
    }
    conf = loaded(tmp_path, sites)
    assert len(conf.warnings) == 1 and "sites.far.url: by http the token goes there" in conf.warnings[0]


def test_groups_and_roles_may_name_what_is_at_a_site(tmp_path: Path) -> None:
    more = {
        "groups": {"arm": "berlin/board[1-3],@berlin/rack1", "bad": "paris/board1"},
        "roles": {
            "ci": {"nodes": "berlin/board1,@arm", "pdus": "berlin/p1:1-4", "may": ["on"]},
            "no": {"nodes": "paris/board1", "may": ["on"]},
        },
    }
    conf = loaded(tmp_path, {"berlin": GOOD}, **more)
    assert conf.groups["arm"] == ("berlin/board1", "berlin/board2", "berlin/board3")
    assert all("paris" in line for line in conf.faults[:1]) and not [each for each in conf.faults if "berlin" in each]


def test_whose_name_it_is(tmp_path: Path) -> None:
    sites = loaded(tmp_path, {"berlin": GOOD, "cellar": {**GOOD, "prefix": False}}).sites
    assert [owner(name, sites) for name in ("berlin/a", "berlin/a/b", "cellar/a", "a", "berlin")] == ["berlin"] * 2 + [
        ""
    ] * 3
