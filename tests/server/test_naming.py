# SPDX-License-Identifier: MIT
"""Outlets named as their device calls them, by every way in, while their names are not known yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.server import access
from pdudaemon.server.access import Access
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET

NAMES = {"1": "router", "2": "board 7", "3": "twin", "4": "twin"}


@pytest.fixture
def lab(daemon: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    """Return a daemon that has read no names yet; of what a device said before, nobody knows."""
    path = tmp_path / "outlets"
    path.write_text("{}")
    pdus = {
        "pdu01": {"driver": "dummy", "outlets": 4, "names": NAMES, "file": str(path)},
        "deaf": {"driver": "dummy", "names": {"1": "router"}, "deaf": True, "timeout": 0.5},
        "plain": {"driver": "intellinet", "ip": "127.0.0.1"},
    }

    return daemon(pdus)


def outlets(lab: Daemon) -> dict[str, Any]:
    return json.loads(Path(lab.settings["pdus"]["pdu01"]["file"]).read_text())  # type: ignore[no-any-return]


def by_http(lab: Daemon, port: str, action: str) -> str:
    return lab.http(f"/power/control/{action}?hostname=pdu01&port={port}").text.strip()


def by_tcp(lab: Daemon, port: str, action: str) -> str:
    return lab.tcp(f"pdu01 {port} {action}\n").strip()


@pytest.mark.parametrize(("by", "done"), [(by_http, "OK - accepted request"), (by_tcp, "ack")])
def test_the_first_request_has_them_read(lab: Daemon, by: Callable[[Daemon, str, str], str], done: str) -> None:
    assert by(lab, "name:router", "on") == done
    assert outlets(lab) == {"1": "on"}
    assert by(lab, "name:router", "status") == "on"


def test_a_status_has_them_read(lab: Daemon) -> None:
    assert by_http(lab, "name:board%207", "status") == "off"


@pytest.mark.parametrize("by", [by_http, by_tcp])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("twin", "pdu01: 2 outlets are called 'twin': ports 3, 4"),
        ("ruoter", "pdu01: there is no outlet called 'ruoter'; did you mean 'router'?"),
    ],
)
def test_a_name_that_means_none_or_several(
    lab: Daemon, by: Callable[[Daemon, str, str], str], name: str, why: str
) -> None:
    for action in ("on", "status"):
        assert by(lab, f"name:{name}", action).removeprefix("nack: ") == why
    assert outlets(lab) == {}


def test_a_device_that_does_not_answer(lab: Daemon) -> None:
    for action in ("on", "status"):
        reply = lab.http(f"/power/control/{action}?hostname=deaf&port=name:router")
        assert reply.status == 503 and reply.headers["Retry-After"]
        assert reply.text.startswith("deaf: the names of its outlets have not been read yet: no answer within 0.5 s;")
    assert lab.tcp("deaf name:router off\n").startswith("nack: deaf: the names of its outlets have not been read yet")
    assert lab.http("/api/v1/requests").json == []


def test_a_driver_without_names_that_stay(lab: Daemon) -> None:
    reply = lab.http("/power/control/on?hostname=plain&port=name:router")
    assert reply.status == 503
    assert (
        reply.text.startswith("plain: 'name:router' is not a port: ")
        and "no names for outlets that are sure" in reply.text
    )


def test_nodes_and_commands(lab: Daemon) -> None:
    lab.settings["nodes"] = {
        "board7": {"hostname": "pdu01", "port": "name:board 7"},
        "both": {"feeds": [{"hostname": "pdu01", "port": "name:router"}, {"hostname": "pdu01", "port": 1}]},
        "dead": {"hostname": "deaf", "port": "name:router"},
        "fine": {"hostname": "pdu01", "port": 3},
        "locked": {"hostname": "pdu01", "port": "name:board 7", "locked": True},
    }
    lab.configure(lab.settings)
    lab.stop()
    lab.start()
    reply = lab.http("/?nodes=both,fine,dead", "PATCH")
    told = {each["id"]: each["attributes"]["success"] or each["attributes"]["error"] for each in reply.json["data"]}
    assert told["both"] is True and told["fine"] is True and "have not been read yet" in told["dead"]
    assert outlets(lab) == {"1": "on", "3": "on"}
    for port in ("name:board%207", "2"):  # by whatever words
        reply = lab.http(f"/power/control/off?hostname=pdu01&port={port}")
        assert reply.status == 403 and "is locked by the configuration" in reply.text
    assert lab.http("/power/control/off?alias=board7").status == 403
    assert lab.http("/api/v1/pdus/pdu01/outlets/2").json["nodes"] == ["board7", "locked"]


def test_those_of_nodes_are_read_at_the_start(daemon: Callable[..., Daemon]) -> None:
    pdus = {"pdu": {"driver": "dummy", "names": NAMES, "refresh": 0}, "other": {"driver": "dummy", "refresh": 0}}
    one = daemon(pdus, {"board": {"hostname": "pdu", "port": "name:router"}})
    assert eventually(lambda: one.http("/api/v1/pdus").json[0]["age"] is not None)
    assert one.http("/api/v1/pdus").json[1]["age"] is None
    assert one.http("/api/v1/nodes/board").json["feeds"][0]["port"] == "1"


def test_without_a_daemon(lab: Daemon) -> None:
    lab.stop()
    drive = ("--drive", "--hostname=pdu01", "--request=on")
    assert lab.run(*drive, "--port=name:board 7").returncode == 0
    assert outlets(lab) == {"2": "on"}
    ran = lab.run(*drive, "--port=name:twin")
    assert ran.returncode == 1 and "2 outlets are called 'twin'" in ran.stderr
    ran = lab.run("--drive", "--hostname=deaf", "--request=on", "--port=name:router")
    assert ran.returncode == 1 and "no answer within 0.5 s" in ran.stderr


def test_requests_and_events_know_the_node(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "names": NAMES}}, {"board": {"hostname": "pdu", "port": "name:router"}})
    before = one.http("/api/v1/events?after=0", "HEAD")
    assert before.status == 200
    assert one.http("/power/control/on?hostname=pdu&port=1").status == 200
    assert [each["target"] for each in one.http("/api/v1/requests?node=board").json] == ["pdu port 1"]
    assert one.http("/api/v1/nodes/board").json["last_request"]["target"] == "pdu port 1"


def test_a_lock_of_a_pdu_by_name_holds_from_the_start(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "names": NAMES, "locked": ["name:router"]}})
    for port in ("1", "name:router"):
        reply = one.http(f"/power/control/off?hostname=pdu&port={port}")
        assert reply.status == 403 and "is locked by the configuration" in reply.text
    assert one.power("off", "pdu", 2).status == 200
    found = {each["port"]: each["locked"] for each in one.http("/api/v1/pdus/pdu").json["outlets"]}
    assert [port for port, locked in found.items() if locked] == ["1"]


def test_a_role_by_name_is_good_for_the_outlet_that_has_it(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "names": NAMES}}, secret=SECRET, start=False)
    one.settings["roles"] = {"mine": {"pdus": "pdu:name:router", "may": ["off"]}}
    one.configure(one.settings)
    one.start()
    one.token = Access(SECRET).token(access.claims(1, "", ("mine",)))
    assert eventually(lambda: one.http("/api/v1/pdus/pdu/outlets/1").status == 200)
    for port, status in (("name:router", 200), ("1", 200), ("2", 403), ("name:board%207", 403)):
        assert one.http(f"/power/control/off?hostname=pdu&port={port}").status == status, port
    assert {each["target"] for each in one.http("/api/v1/requests").json} == {"pdu port name:router", "pdu port 1"}


def test_why_a_name_means_nothing_is_for_who_may_see_the_others(daemon: Callable[..., Daemon]) -> None:
    nodes = {name: {"hostname": "pdu", "port": f"name:{name}"} for name in ("twin", "ruoter", "router")}
    one = daemon({"pdu": {"driver": "dummy", "names": NAMES}}, nodes=nodes, secret=SECRET, start=False)
    one.settings["roles"] = {
        "nodes": {"nodes": "twin,ruoter,router", "may": ["on"]},
        "whole": {"pdus": "pdu", "nodes": "twin,ruoter,router", "may": ["on"]},
    }
    one.configure(one.settings)
    one.start()
    why = {"twin": "2 outlets are called 'twin'", "ruoter": "there is no outlet called 'ruoter'; did you mean 'router'"}
    for roles, told in (((), why), (("whole",), why), (("nodes",), dict.fromkeys(why, "there is no such outlet"))):
        one.token = Access(SECRET).token(access.claims(1, "", roles))
        for method in ("GET", "PATCH"):
            reply = one.http("/?nodes=twin,ruoter,router", method).json["data"]
            found = {each["id"]: each["attributes"]["error"] for each in reply}
            assert found.pop("router") is None or method == "GET"
            assert all(told[name] in found[name] for name in why), (roles, found)
            assert roles != ("nodes",) or "router" not in str(found)
