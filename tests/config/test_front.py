# SPDX-License-Identifier: MIT
"""A configuration with what its sites have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.front import FrontConfig, Names, SitePDU, combined
from pdudaemon.config.nodes import Node
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.errors import RequestError, SiteUnreachable
from pdudaemon.power import Outlet
from pdudaemon.server.rights import RoleRights


def pdu(name: str, site: str, *ports: str) -> SitePDU:
    return SitePDU(name, {"driver": "dummy"}, PDUOptions({}), None, site=site, ports=lambda: ports)


def names(site: str, before: str, trouble: str = "") -> Names:
    rack = f"{before}rack"
    nodes = {f"{before}board{each}": Node(f"{before}board{each}", (Outlet(rack, str(each)),)) for each in (1, 2)}
    return Names({rack: pdu(rack, site, "1", "2")}, nodes, {f"{before}all": tuple(nodes)}, trouble=trouble)


def front(folder: Path, behind: dict[str, Names], **more: Any) -> tuple[FrontConfig, list[str]]:
    sites = {name: {"url": "https://lab", "prefix": name != "cellar"} for name in behind}
    (folder / "conf").write_text(json.dumps({"sites": sites, **more}))
    found, faults = combined(reader.load(str(folder / "conf")), behind)
    assert isinstance(found, FrontConfig)
    return found, faults


def test_names_lead_to_their_site(tmp_path: Path) -> None:
    conf, faults = front(tmp_path, {"berlin": names("berlin", "berlin/")}, pdus={"own": {"driver": "dummy"}})
    assert not faults
    target = conf.node("berlin/board2")
    assert conf.site_of(target) == "berlin" and target.outlets == (Outlet("berlin/rack", "2"),)
    assert conf.target("berlin/rack", "02").outlets[0].port == "2"  # as that is known
    assert conf.target("berlin/rack", "07").outlets[0].port == "07"
    assert conf.site_of(conf.target("own", "1")) == ""
    assert conf.named("berlin/board[1-2]")[0] == conf.named("@berlin/all")[0] == ["berlin/board1", "berlin/board2"]
    with pytest.raises(RequestError, match="there is no alias or node 'berlin/board3'; did you mean"):
        conf.node("berlin/board3")


def test_it_is_said_when_a_name_cannot_be_known(tmp_path: Path) -> None:
    away = Names(trouble="connection refused")
    conf, _ = front(tmp_path, {"berlin": away, "cellar": names("cellar", "")})
    with pytest.raises(SiteUnreachable, match="berlin/board1: it is not known what berlin has: connection refused"):
        conf.node("berlin/board1")
    with pytest.raises(RequestError, match="there is no alias or node 'board7'"):
        conf.node("board7")
    conf, _ = front(tmp_path, {"berlin": names("berlin", "berlin/"), "cellar": away})
    with pytest.raises(SiteUnreachable):
        conf.target("rack", "1")


def test_groups_and_roles_are_said_anew(tmp_path: Path) -> None:
    conf, _ = front(
        tmp_path,
        {"berlin": names("berlin", "berlin/")},
        groups={"arm": "@berlin/all", "some": "berlin/board*!berlin/board1"},
        roles={"ci": {"nodes": "@arm", "may": ["on"]}, "one": {"pdus": "berlin/rack:1", "may": ["off"]}},
    )
    assert conf.groups["arm"] == ("berlin/board1", "berlin/board2") and conf.groups["some"] == ("berlin/board2",)
    outlets = [Outlet("berlin/rack", each) for each in "12"]
    ci, one = RoleRights(conf, ("ci",)), RoleRights(conf, ("one",))
    assert (
        not ci.may("on", outlets)
        and ci.may("off", outlets)
        and not one.may("off", outlets[:1])
        and one.may("off", outlets)
    )
    assert [*one.view(conf).nodes] == ["berlin/board1"]


def test_what_collides_means_nothing_else(tmp_path: Path) -> None:
    conf, faults = front(
        tmp_path,
        {"cellar": names("cellar", ""), "attic": names("attic", "")},
        pdus={"own": {"driver": "dummy"}},
        nodes={"board2": {"hostname": "own", "port": 1}},
    )
    assert [*conf.nodes] == ["board2"] and conf.site_of(conf.node("board2")) == ""
    assert "rack" not in conf.pdus and "all" not in conf.groups and len(faults) == 5
    conf, faults = front(tmp_path, {"cellar": names("cellar", "")}, pdus={"rack": {"driver": "dummy"}})
    with pytest.raises(RequestError, match="a PDU of it has the name of one that is not at cellar"):
        conf.node("board1")
    assert conf.site_of(conf.target("rack", "1")) == ""
