# SPDX-License-Identifier: MIT
"""What a front shows of its sites: names, states, events, history, figures, to each what he may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pdudaemon.server import access
from pdudaemon.server.access import Access
from tests.support.fronts import Front, order
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET
from tests.support.watching import Watching


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Iterator[Front]:
    made = Front(daemon)
    yield made
    made.close()


def token(*roles: str, name: str = "") -> str:
    return Access(SECRET).token(access.claims(1, name, roles or None))


METER = {"driver": "dummy", "outlets": 2, "names": {"1": "router"}, "watts": {"1": 12.5}}


def test_lists_have_what_sites_have(lab: Front) -> None:
    berlin = lab.add("berlin", {"meter": METER})
    assert berlin.power("on", "meter", 1).status == 200
    assert berlin.http("/api/v1/pdus/meter?fresh=1").json["watts"] == 12.5
    lab.add("munich")
    front = lab.begin(
        {"own": {"driver": "dummy"}},
        nodes={"mine": {"hostname": "own", "port": 1}},
        groups={"every": "mine,@berlin/rack1,munich/board[3-4]"},
    )
    assert 'pdudaemon_inlet_watts{pdu="berlin/meter",inlet="total",kind="pdu"} 12.5' in front.http("/metrics").text
    names = [each["name"] for each in front.http("/api/v1/pdus").json]
    assert names == ["own", "berlin/p1", "berlin/meter", "munich/p1"]
    assert [each["name"] for each in front.http("/api/v1/pdus?limit=2").json] == names[:2]
    assert [each["name"] for each in front.http("/api/v1/pdus?after=own&limit=2").json] == names[1:3]
    assert [each["name"] for each in front.http("/api/v1/pdus?after=berlin/meter").json] == names[3:]
    groups = front.http("/api/v1/groups").json
    assert groups["every"] == ["mine", "berlin/board1", "berlin/board2", "munich/board3", "munich/board4"]
    assert groups["munich/rack1"] == ["munich/board1", "munich/board2"]
    found = front.http("/api/v1/nodes?names=berlin/board[2-3],@munich/rack1").json
    assert [each["name"] for each in found] == ["berlin/board2", "berlin/board3", "munich/board1", "munich/board2"]
    assert found[0]["groups"] == ["every", "berlin/rack1"]
    assert {each["id"] for each in front.http("/nodes").json["data"]} >= {"mine", "berlin/board1", "munich/board4"}
    assert len(front.http("/api/v1/nodes?names=berlin/*").json) == 4
    order(front, hostname="berlin/meter", port=1)
    outlet = front.http("/api/v1/pdus/berlin%2Fmeter/outlets/1?fresh=1").json
    assert (outlet["state"], outlet["watts"], outlet["name"]) == ("on", 12.5, "router")
    metrics = front.http("/metrics").text
    assert 'pdudaemon_outlet_watts{pdu="berlin/meter",port="1",name="router"} 12.5' in metrics
    assert 'pdudaemon_site_up{site="munich"} 1' in metrics
    pdu = front.http("/api/v1/pdus/berlin%2Fmeter").json
    assert pdu["watts"] == 12.5 and pdu["outlets"][0]["pdu"] == "berlin/meter"
    drawn = front.http("/api/v1/pdus/berlin%2Fmeter/watts").json
    assert drawn["outlets"]["1"][-1][1] == 12.5


def test_what_happens_at_sites_is_heard(lab: Front) -> None:
    berlin = lab.add("berlin")
    front = lab.begin()
    with Watching(front) as watching:
        berlin.http("/power/control/on?alias=board1")  # by whoever asks there
        seen = {kind: watching.until(kind) for kind in ("accepted", "begun", "tried", "ended")}
        outlet = (
            watching.until("outlet")
            if "outlet" not in watching.kinds
            else next(each for each in watching.events if each["kind"] == "outlet")
        )
    assert seen["ended"]["request"] == "berlin/1" and seen["ended"]["nodes"] == ["berlin/board1"]
    assert seen["accepted"]["target"] == "berlin/board1 (berlin/p1 port 1)"
    assert seen["tried"]["outlets"] == ["berlin/p1:1"] and seen["ended"]["error"] is None
    assert outlet["outlet"]["pdu"] == "berlin/p1" and outlet["outlet"]["nodes"] == ["berlin/board1"]
    with Watching(front, "?node=berlin/board2") as chosen:
        order(front, alias="berlin/board1")
        order(front, alias="berlin/board2")
        assert chosen.until("ended")["nodes"] == ["berlin/board2"]
    node = front.http("/api/v1/nodes/berlin%2Fboard2").json
    assert (
        node["state"] == "on" and node["last_request"]["id"] == "berlin/3" and node["last_request"]["state"] == "done"
    )


def test_events_go_on_where_a_connection_was_lost(lab: Front) -> None:
    berlin = lab.add("berlin")
    front = lab.begin()
    with Watching(front, "?kind=ended") as watching:
        lab.links["berlin"].end()
        berlin.http("/power/control/on?alias=board1")
        assert watching.until("ended")["request"] == "berlin/1"
        lab.reached("berlin")
        berlin.http("/power/control/on?alias=board2")
        assert watching.until("ended")["request"] == "berlin/2"


def test_history_is_one_in_pages(lab: Front) -> None:
    lab.add("berlin")
    lab.add("munich")
    front = lab.begin({"own": {"driver": "dummy"}}, nodes={"mine": {"hostname": "own", "port": 1}})
    asked = ["berlin/board1", "munich/board1", "mine", "berlin/board2", "munich/board2", "munich/board3", "mine"] * 2
    for name in asked:
        assert order(front, alias=name).status == 201
    for limit in (1, 3, 4, 14, 20):
        found, path = [], f"/api/v1/requests?limit={limit}"
        while path:
            reply = front.http(path)
            assert len(reply.json) <= limit
            found += [each["target"].partition(" ")[0] for each in reply.json]
            link = reply.headers.get("Link", "").partition(">")[0].removeprefix("<")
            path = link if reply.json and link else ""
        assert found == asked[::-1], limit
    by_node = front.http("/api/v1/requests?node=munich/board[1-2],mine").json
    assert {each["target"].partition(" ")[0] for each in by_node} == {"munich/board1", "munich/board2", "mine"}
    assert len(by_node) == 8
    assert len(front.http("/api/v1/requests?pdu=berlin/p1").json) == 4
    assert len(front.http("/api/v1/requests?pdu=own&action=on&state=done").json) == 4
    lab.sites["munich"].stop()
    reply = front.http("/api/v1/requests")
    assert reply.headers["X-Unreachable-Sites"] == "munich" and len(reply.json) == 8


def test_commands_are_shown_and_taken_back_as_one(lab: Front) -> None:
    for name in ("berlin", "munich"):
        lab.add(
            name,
            {"slow": {"driver": "dummy", "deaf": True, "timeout": 3600}},
            nodes={"s[1-3]": {"hostname": "slow", "port": "[1-3]"}},
        )
    front = lab.begin({"own": {"driver": "dummy"}}, nodes={"mine": {"hostname": "own", "port": 1}})
    reply = front.http("/?nodes=berlin/s[1-3],munich/s1,mine&wait=0", "PATCH")
    number = reply.headers["X-Command-Id"]
    assert number == "1,berlin/1,munich/1"
    shown = front.http(f"/api/v1/commands/{number}").json
    assert [node["name"] for node in shown["nodes"]] == [
        "mine",
        *(f"berlin/s{each}" for each in (1, 2, 3)),
        "munich/s1",
    ]
    eventually(lambda: front.http("/api/v1/requests/1").json["state"] == "done")
    gone = front.http(f"/api/v1/commands/{number}", "DELETE").json
    states = {node["name"]: node["state"] for node in gone["nodes"]}
    assert states["berlin/s3"] == "cancelled" and states["mine"] == "done"
    single = order(front, hostname="berlin/slow", port=3, wait=0).json["id"]
    another = order(front, hostname="berlin/slow", port=3, wait=0).json["id"]
    assert front.http(f"/api/v1/requests/{another}", "DELETE").json["state"] == "cancelled"
    assert front.http(f"/api/v1/requests/{single}").json["id"] == single
    assert front.http("/api/v1/requests/paris/1").status == front.http("/api/v1/requests/berlin/99").status == 404


def test_roles_are_those_of_the_front_and_then_those_of_its_token(lab: Front) -> None:
    berlin = lab.add(
        "berlin",
        secret=SECRET,
        roles={"front": {"nodes": "board[1-3]", "may": ["on", "off"]}},
    )
    front = lab.begin(
        sites={"berlin": {"token": token("front", name="front")}},
        secret=SECRET,
        roles={
            "ci": {"nodes": "berlin/board[1-2]", "may": ["on"]},
            "ports": {"pdus": "berlin/p1:3-4", "may": ["on", "off"]},
            "viewer": {"nodes": "*", "may": ["status"]},
        },
    )
    front.token = token("ci", name="ci-7")
    assert [each["name"] for each in front.http("/api/v1/nodes").json] == ["berlin/board1", "berlin/board2"]
    assert order(front, alias="berlin/board1").status == 201
    assert order(front, "off", alias="berlin/board1").status == 403
    assert (
        order(front, alias="berlin/board3").status == 422 and order(front, hostname="berlin/p1", port=3).status == 403
    )
    assert [each["id"] for each in front.http("/api/v1/requests").json] == ["berlin/1"]
    front.token = token("ports")
    assert order(front, hostname="berlin/p1", port="03").status == 201
    refused = order(front, hostname="berlin/p1", port=4)  # the front may not do that at its site
    assert refused.status == 403 and "role front" in refused.text, refused.text
    assert front.http("/api/v1/requests/berlin/1").status == 404
    assert [each["id"] for each in front.http("/api/v1/requests").json] == ["berlin/2"]
    front.token = token("viewer")
    assert len(front.http("/api/v1/nodes").json) == 3
    assert order(front, alias="berlin/board1").status == 403
    assert front.http("/power/control/status?alias=berlin/board1").text == "on\n"
    front.token = token()
    settings = berlin.settings
    settings["daemon"]["revoked"] = ["front"]
    berlin.configure(settings)
    berlin.process.send_signal(1)  # type: ignore[union-attr]
    eventually(lambda: not lab.site("berlin")["reachable"], 60)
    assert "token" in lab.site("berlin")["reason"]
    refused = order(front, alias="berlin/board1")
    assert refused.status == 503 and refused.json["type"] == "urn:pdudaemon:site-unreachable"


def test_a_reload_of_a_site_is_taken_up(lab: Front) -> None:
    berlin = lab.add("berlin")
    front = lab.begin()
    berlin.settings["nodes"] = {"board[1-3]": {"hostname": "p1", "port": "[1-3]"}, "new": {"hostname": "p1", "port": 4}}
    berlin.configure(berlin.settings)
    with Watching(front, "?kind=reload") as watching:
        berlin.process.send_signal(1)  # type: ignore[union-attr]
        assert "berlin" in watching.until("reload")["reason"]
    assert order(front, alias="berlin/new").status == 201
    assert "there is no alias or node 'berlin/board4'" in order(front, alias="berlin/board4").text


def test_names_without_a_prefix_and_what_collides(lab: Front) -> None:
    lab.add(
        "berlin",
        {"b": {"driver": "dummy"}},
        nodes={"only": {"hostname": "b", "port": 4}, "shared": {"hostname": "p1", "port": 4}},
    )
    lab.add(
        "munich",
        {"m": {"driver": "dummy"}},
        nodes={"alone": {"hostname": "m", "port": 4}, "mine": {"hostname": "m", "port": 3}},
    )
    front = lab.begin(
        {"own": {"driver": "dummy"}},
        {"berlin": {"prefix": False}, "munich": {"prefix": False}},
        nodes={"mine": {"hostname": "own", "port": 1}},
    )
    eventually(lambda: "alone" in front.http("/nodes").text)
    first = order(front, alias="only")
    assert first.status == 201 and first.json["id"] == "berlin/1", first.text
    found = {each["name"] for each in front.http("/api/v1/nodes").json}
    assert found == {"mine", "only", "alone", "shared"}  # board1 to board4 are at both
    refused = order(front, alias="board1")
    assert refused.status == 422 and order(front, hostname="p1", port=1).status == 422
    assert "a PDU of it has the name of one that is not at berlin" in order(front, alias="shared").text
    assert (lab.tries("berlin"), lab.tries("munich")) == (1, 0)
    assert order(front, alias="mine").json["id"] == 1
    assert "mine" in lab.site("munich")["reason"]
    eventually(lambda: "munich: its node 'mine' has the name of one that is configured here" in front.log_text())
    eventually(lambda: "its node 'board1' has the name of one of berlin: neither can be used" in front.log_text())


def test_a_front_of_fronts_and_a_loop(lab: Front, daemon: Callable[..., Daemon]) -> None:
    lab.add("berlin")
    lab.add("munich")
    eu = lab.begin({"own": {"driver": "dummy"}}, nodes={"mine": {"hostname": "own", "port": 1}})
    world = daemon({}, start=False)
    world.configure({**world.settings, "sites": {"eu": {"url": f"http://127.0.0.1:{eu.port}"}}})
    world.start()
    eventually(lambda: len(world.http("/api/v1/nodes").json) == 9)
    reply = order(world, alias="eu/berlin/board1")
    assert reply.status == 201 and reply.json["id"] == "eu/berlin/1", reply.text
    assert world.http("/api/v1/requests/eu/berlin/1").json["target"] == "eu/berlin/board1 (eu/berlin/p1 port 1)"
    for number in range(6):
        order(world, alias=("eu/berlin/board1", "eu/munich/board1", "eu/mine")[number % 3])
    found, path = [], "/api/v1/requests?limit=2"
    while path:
        reply = world.http(path)
        found += [each["id"] for each in reply.json]
        path = reply.headers.get("Link", "").partition(">")[0].removeprefix("<") if reply.json else ""
    assert found == ["eu/2", "eu/munich/2", "eu/berlin/3", "eu/1", "eu/munich/1", "eu/berlin/2", "eu/berlin/1"]
    command = world.http("/?nodes=eu/berlin/board[1-2]", "PATCH")
    assert all(each["attributes"]["success"] for each in command.json["data"]), command.text
    assert world.http(f"/api/v1/commands/{command.headers['X-Command-Id']}").json["state"] == "ended"
    # Now the first front is to have the second one for a site.
    settings = {
        **eu.settings,
        "sites": {"berlin": {"url": lab.links["berlin"].url}, "world": {"url": f"http://127.0.0.1:{world.port}"}},
    }
    eu.configure(settings)
    eu.process.send_signal(1)  # type: ignore[union-attr]
    eventually(lambda: "leads back" in str(lab.site("world")["reason"]), 60)
    assert order(eu, alias="berlin/board1").status == 201
    assert not [each for each in eu.http("/api/v1/nodes").json if each["name"].startswith("world/")]
