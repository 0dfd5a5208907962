# SPDX-License-Identifier: MIT
"""``/api/v1/pdus``, ``/api/v1/nodes`` and ``/api/v1/groups``, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.snmp import Snmpd
from tests.support.process import Daemon, eventually

OUTLET = {
    *("pdu", "port", "name", "nodes", "locked", "reason", "state", "source", "time", "age"),
    *("watts", "volts", "amps", "watt_hours", "readings_age"),
}
NODE = {"name", "groups", "feeds", "state", "source", "time", "age", "locked", "reason", "last_request"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("devices")
    (folder / "outlets").write_text('{"1": "on", "2": "on"}')
    names = {"1": "router", "2": "board 7", "3": "twin", "4": "twin"}
    pdus = {
        "pdu01": {
            "driver": "dummy",
            "outlets": 4,
            "names": names,
            "watts": {"1": 12.5, "2": 30},
            "file": str(folder / "outlets"),
        },
        "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.5, "retries": 1},
        "refusing": {"driver": "dummy", "refuse": "the breaker is out", "retries": 1},
        "blind": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
        "a/b c": {"driver": "dummy", "outlets": 2, "locked": ["2"]},
        "broken": {"driver": "nosuch"},
    }
    nodes = {
        "server": {"feeds": [{"hostname": "pdu01", "port": 3}, {"hostname": "blind", "port": "x"}], "locked": True},
        "lost": {"hostname": "nowhere", "port": 1},
        "dead": {"hostname": "deaf", "port": 1},
    }
    aliases = {"board7": {"hostname": "pdu01", "port": "name:board 7"}}
    one = Daemon(folder, pdus, aliases, nodes, {"rack": "server,board7"})
    one.start()
    yield one
    one.kill()


def known(lab: Daemon, path: str) -> Any:
    reply = lab.http(f"/api/v1/{path}")
    assert reply.status == 200, reply.text
    return reply.json


def test_a_pdu_with_all_that_it_tells(lab: Daemon) -> None:
    found = known(lab, "pdus/pdu01?fresh=1")
    assert found["identity"] == {"maker": "pdudaemon", "model": "dummy", "serial": "", "firmware": "", "driver": ""}
    assert found["inlets"] == [
        {"name": "total", "kind": "pdu", "watts": 42.5, "volts": None, "amps": None, "watt_hours": None}
    ]
    assert (found["reachable"], found["watts"], found["state"], found["reason"]) == (True, 42.5, "ready", None)
    assert 0 <= found["age"] < 60
    assert [outlet["port"] for outlet in found["outlets"]] == ["1", "2", "3", "4"]
    first = found["outlets"][0]
    assert set(first) == OUTLET
    assert (first["name"], first["state"], first["source"], first["watts"]) == ("router", "on", "device", 12.5)
    assert first["volts"] is None and 0 <= first["readings_age"] < 60 and abs(first["time"] - time.time()) < 60


def test_whoever_looks_has_it_read_behind_the_answer(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "outlets": 2, "slow": 2}})
    assert known(one, "outlets")[0]["source"] == "none"
    assert eventually(lambda: known(one, "outlets")[0]["source"] == "device")
    one.stop()
    one.start()
    assert known(one, "pdus")[0]["age"] is None
    assert eventually(lambda: known(one, "pdus")[0]["age"] is not None)
    assert known(one, "pdus/pdu/outlets/1")["state"] == "off"


def test_the_list_tells_of_each(lab: Daemon) -> None:
    known(lab, "pdus/pdu01?fresh=1")
    found = {pdu["name"]: pdu for pdu in known(lab, "pdus")}
    assert [*found] == ["pdu01", "deaf", "refusing", "blind", "a/b c", "broken"]
    assert (found["pdu01"]["outlets"], found["pdu01"]["watts"]) == (4, 42.5)
    assert (found["broken"]["state"], found["broken"]["outlets"], found["broken"]["reachable"]) == (
        "disabled",
        None,
        None,
    )
    assert "there is no driver 'nosuch'" in found["broken"]["reason"]
    dead = eventually(
        lambda: [pdu for pdu in known(lab, "pdus") if pdu["name"] == "deaf" and pdu["reachable"] is False]
    )[0]
    assert (dead["reachable"], dead["reason"], dead["state"]) == (False, "no answer within 0.5 s", "ready")


def test_pages(lab: Daemon) -> None:
    for path in ("pdus", "nodes"):
        names, link = [], f"/api/v1/{path}?limit=2"
        while link:
            reply = lab.http(link)
            names += [each["name"] for each in reply.json]
            link = reply.headers.get("Link", "").partition(">")[0].lstrip("<")
        assert names == [each["name"] for each in known(lab, path)] and len(names) > 3


@pytest.mark.parametrize(
    ("path", "port"),
    [
        ("pdu01/outlets/1", "1"),
        ("pdu01/outlets/01", "1"),
        ("pdu01/outlets/name:router", "1"),
        ("pdu01/outlets/name%3Aboard%207", "2"),
        ("a%2Fb%20c/outlets/2?fresh=1", "2"),
        ("blind/outlets/%2Fdev%2Fx?fresh=1", "/dev/x"),
    ],
)
def test_one_outlet(lab: Daemon, path: str, port: str) -> None:
    known(lab, "pdus/pdu01?fresh=1")
    outlet = known(lab, f"pdus/{path}")
    assert set(outlet) == OUTLET and outlet["port"] == port
    assert outlet["locked"] == (outlet["pdu"] == "a/b c") and bool(outlet["reason"]) == outlet["locked"]
    assert outlet["source"] == ("none" if outlet["pdu"] == "blind" else "device")


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("pdus/pdu1", 404, "there is no PDU 'pdu1'; did you mean 'pdu01'?"),
        ("pdus/pdu01/outlets/9", 404, "pdu01: '9' is not a port: this PDU has 1 to 4"),
        ("pdus/pdu01/outlets/name:twin", 404, "pdu01: 2 outlets are called 'twin': ports 3, 4"),
        ("pdus/pdu01/outlets/name:rooter", 404, "pdu01: there is no outlet called 'rooter'; did you mean 'router'?"),
        (
            "pdus/broken/outlets/1",
            503,
            "broken: disabled by its configuration: pdus.broken.driver: there is no driver 'nosuch'",
        ),
        ("pdus/pdu01/outlets", 404, "there is nothing at '/api/v1/pdus/pdu01/outlets'"),
        ("pdus/deaf?fresh=1", 504, "deaf: no answer within 0.5 s"),
        ("pdus/deaf/outlets/1?fresh=1", 504, "deaf: no answer within 0.5 s"),
        ("nodes/dead?fresh=1", 504, "deaf: no answer within 0.5 s"),
        ("pdus/refusing?fresh=1", 502, "refusing: the breaker is out"),
        ("pdus/pdu01?fresh=yes", 400, "fresh: 'yes' is neither 0 nor 1"),
        ("pdus/pdu01?frsh=1", 400, "unknown parameter 'frsh'; did you mean 'fresh'?"),
        ("pdus?fresh=1", 400, "unknown parameter 'fresh'"),
        ("pdus?limit=0", 400, "limit: '0' is not within 1 and 1000"),
        ("nodes?names=server,sever", 404, "there is no alias or node 'sever'; did you mean 'server'?"),
        ("nodes?groups=rak", 404, "there is no group 'rak'; did you mean 'rack'?"),
        ("nodes?names=n[3-1]", 400, "names"),
        ("nodes/board8", 404, "there is no alias or node 'board8'; did you mean 'board7'?"),
        ("nodes/@rack", 404, "there is no alias or node '@rack'"),
    ],
)
def test_what_is_refused_and_why(lab: Daemon, path: str, status: int, detail: str) -> None:
    known(lab, "pdus/pdu01?fresh=1")
    reply = lab.http(f"/api/v1/{path}")
    assert reply.status == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["detail"].startswith(detail) or (status == 400 and "3-1" in reply.json["detail"])


def test_which_node_is_on_which_outlet(lab: Daemon) -> None:
    found = {outlet["port"]: outlet["nodes"] for outlet in known(lab, "pdus/pdu01?fresh=1")["outlets"]}
    assert found == {"1": [], "2": ["board7"], "3": ["server"], "4": []}


def test_a_node_and_its_last_request(lab: Daemon) -> None:
    known(lab, "pdus/pdu01?fresh=1")
    assert lab.http("/power/control/off?alias=board7").status == 200
    node = known(lab, "nodes/board7")
    assert set(node) == NODE
    assert [(feed["pdu"], feed["port"], feed["name"]) for feed in node["feeds"]] == [("pdu01", "2", "board 7")]
    assert (node["state"], node["groups"], node["locked"], node["reason"]) == ("off", ["rack"], False, None)
    assert node["last_request"] == known(lab, f"requests/{node['last_request']['id']}")
    assert node["last_request"]["action"] == "off" and node["last_request"]["outlets"] == [
        {"pdu": "pdu01", "port": "2"}
    ]
    assert lab.http("/power/control/on?alias=board7").status == 200
    assert known(lab, "nodes/board7?fresh=1")["source"] == "device"


def test_a_node_is_as_unknown_as_its_feeds(lab: Daemon) -> None:
    server = known(lab, "nodes/server?fresh=1")
    assert [feed["source"] for feed in server["feeds"]] == ["device", "none"]
    assert (server["state"], server["source"], server["locked"]) == ("unknown", "none", True)
    assert server["reason"] == "pdu01 port 3 is locked by the configuration"
    lost = known(lab, "nodes/lost")
    assert lost["feeds"] == [] and lost["state"] == "unknown" and "there is no PDU 'nowhere'" in lost["reason"]


def test_nodes_by_range_and_group(lab: Daemon) -> None:
    assert [node["name"] for node in known(lab, "nodes")] == ["board7", "server", "lost", "dead"]
    assert [node["name"] for node in known(lab, "nodes?names=board[7],lost")] == ["board7", "lost"]
    assert [node["name"] for node in known(lab, "nodes?groups=rack")] == ["server", "board7"]
    assert [node["name"] for node in known(lab, "nodes?groups=rack&after=server")] == ["board7"]
    assert known(lab, "groups") == {"rack": ["server", "board7"]}


def test_head_has_no_body_and_others_are_not_for_this(lab: Daemon) -> None:
    reply = lab.http("/api/v1/pdus/pdu01", method="HEAD")
    assert (reply.status, reply.text) == (200, "")
    assert lab.http("/api/v1/pdus/pdu01", method="DELETE").status == 405


def test_an_outlet_by_its_name_by_every_way_in(lab: Daemon, tmp_path: Path) -> None:
    known(lab, "pdus/pdu01?fresh=1")
    for action, state in (("off", "off"), ("on", "on")):
        assert lab.http(f"/power/control/{action}?hostname=pdu01&port=name:router").status == 200
        assert lab.outlets()["1"] == state
    assert lab.tcp("pdu01 name:router off\n") == "ack\n" and lab.outlets()["1"] == "off"
    assert lab.tcp("pdu01 name:router status\n") == "off\n"
    assert lab.http("/power/control/status?alias=board7").text == "on\n"
    assert lab.tcp("pdu01 name:twin on\n").startswith("nack: pdu01: 2 outlets are called 'twin': ports 3, 4")


def test_a_real_agent_from_its_outlets_to_the_page(daemon: Callable[..., Daemon], net_snmp: Snmpd) -> None:
    """net-snmp's agent as an APC Rack PDU: names, states and watts, by the list, by name, and what a switching does."""
    for number in net_snmp.outlets:
        net_snmp.flip(number, "on" if number in "28" else "off")
    pdus = {"127.0.0.1": {"driver": "apc_rpdu2", "snmpport": net_snmp.port, "community": "private", "refresh": 0.1}}
    pdus["127.0.0.1"]["timeout"] = 60  # as the agent asks a script
    one = daemon(pdus, {"board": {"hostname": "127.0.0.1", "port": "name:board 2"}})
    found = known(one, "pdus/127.0.0.1?fresh=1")
    assert [(each["port"], each["name"], each["state"]) for each in found["outlets"]] == [
        (number, f"board {number}", "on" if number in "28" else "off") for number in net_snmp.outlets
    ]
    assert found["outlets"][1]["nodes"] == ["board"]
    assert (found["outlets"][1]["watts"], found["outlets"][1]["amps"]) == (102, 1.2)
    assert found["identity"]["model"] == "AP8941"
    assert one.http("/power/control/off?alias=board").status == 200
    assert net_snmp.outlets["2"] == "off"
    assert eventually(lambda: known(one, "pdus/127.0.0.1")["outlets"][1]["source"] == "device")
    net_snmp.flip("2", "on")  # by somebody else
    assert eventually(lambda: known(one, "nodes/board")["state"] == "on")
    text = one.http("/metrics").text
    assert 'pdudaemon_outlet_watts{pdu="127.0.0.1",port="2",name="board 2",node="board"} 102' in text


def test_the_outlets_of_all_pdus_in_pages_of_whole_pdus(lab: Daemon) -> None:
    every = known(lab, "outlets")
    places = [(outlet["pdu"], outlet["port"]) for outlet in every]
    assert places[:4] == [("pdu01", port) for port in "1234"] and ("a/b c", "2") in places
    assert all(set(outlet) == OUTLET for outlet in every)
    paged: list[tuple[str, str]] = []
    path = "/api/v1/outlets?limit=1"
    while path:
        reply = lab.http(path)
        paged += [(outlet["pdu"], outlet["port"]) for outlet in reply.json]
        path = reply.headers.get("Link", "<>").partition(">")[0].removeprefix("<")
    assert paged == places
    assert lab.http("/api/v1/outlets?after=pdu01&limit=1").json[0]["pdu"] == "deaf"


def test_what_was_drawn_within_the_hour(lab: Daemon) -> None:
    whole = known(lab, "pdus/pdu01?fresh=1")
    drawn = known(lab, "pdus/pdu01/watts")
    assert drawn["pdu"][-1][1] == whole["watts"] and {*drawn["outlets"]} == {"1", "2"}
    when, watts = drawn["outlets"]["1"][-1]
    assert watts == whole["outlets"][0]["watts"] and when % 60 == 0 and 0 <= time.time() - when < 300
    assert known(lab, "pdus/blind/watts") == {"pdu": [], "outlets": {}}
    assert lab.http("/api/v1/pdus/nowhere/watts").status == 404
