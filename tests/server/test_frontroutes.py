# SPDX-License-Identifier: MIT
"""Every route at a front: it does for what is at a site what it does for what is here.

Where that cannot be asked, it is refused in words, or it is said what is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.fronts import JSON, Front, front_of_berlin, order
from tests.support.process import ROOT, Daemon, Reply, eventually
from tests.support.watching import Watching

NODE, PDU = "berlin%2Fboard1", "berlin%2Fp1"
SITE_PDUS: dict[str, Any] = {
    "meter": {"driver": "dummy", "outlets": 2, "names": {"1": "router"}, "watts": {"1": 12.5}},
    "slow": {"driver": "dummy", "slow": 1, "outlets": 4},
    "stag": {"driver": "dummy", "outlets": 4, "stagger": 3},
}
SITE_NODES = {
    "core": {"hostname": "p1", "port": 4, "locked": {"reason": "core switch"}},
    "s[1-4]": {"hostname": "slow", "port": "[1-4]"},
    "twin": {"feeds": [{"hostname": "p1", "port": 3}, {"hostname": "meter", "port": 2}]},
}


class Row(NamedTuple):
    """How a route is asked; what is said by a ``check`` of the answer, and which statuses there are without the site."""

    method: str
    route: str
    target: str
    check: Callable[[Reply], bool]
    away: tuple[int, ...]
    body: Any = None
    status: tuple[int, ...] = (200,)


def power(action: str, check: Callable[[Reply], bool], words: str = "") -> list[Row]:
    route = f"/power/control/{action}"
    return [
        Row(method, route, f"{route}?{where}{words}", check, (503,))
        for method in ("GET", "POST")
        for where in ("alias=berlin/board1", "hostname=berlin/p1&port=02")
    ]


def done(reply: Reply) -> bool:
    return reply.text == "OK - accepted request\n" and reply.headers["X-Request-Id"].startswith("berlin/")


def told(reply: Reply) -> bool:
    return reply.text in ("on\n", "off\n")


def names(*wanted: str) -> Callable[[Reply], bool]:
    return lambda reply: {*wanted} <= {each["name"] for each in reply.json}


def ok(reply: Reply) -> bool:
    return reply.text == "ok\n"


def nodes(reply: Reply) -> bool:
    """Whether all nodes that OpenFlight's clients asked for have succeeded."""
    return all(
        each["attributes"].get("success", True) and not each["attributes"]["error"] for each in reply.json["data"]
    )


def has(**wanted: Any) -> Callable[[Reply], bool]:
    return lambda reply: {word: reply.json[word] for word in wanted} == wanted


HERE = (200,)
# fmt: off
ROWS = [
    *power("on", done),
    *power("off", done, "&wait=5"),
    *power("reboot", done, "&delay=0&key="),
    *power("restart", done, "&delay=0"),
    *power("status", told),
    *power("get-status", told, "&wait=5"),
    Row("GET", "/power/control/off", "/power/control/off?alias=berlin/board1&soft=1", lambda r: "shut down" in r.text, (503,), None, (422,)),
    Row("GET", "/power/control/on", "/power/control/on?alias=berlin/core", lambda r: "core switch" in r.text, (503,), None, (403,)),
    Row("GET", "/power/control/on", "/power/control/on?hostname=berlin/meter&port=name:router", done, (503,)),
    Row("GET", "/power/control/on", "/power/control/on?hostname=berlin/p1&port=99", lambda r: "'99' is not a port" in r.text, (503,), None, (503,)),
    Row("GET", "/power/control/on", "/power/control/on?alias=berlin/board1&wait=0", lambda r: "berlin/" in r.headers["Location"], (503,)),
    Row("GET", "/api/v1/pdus", "/api/v1/pdus", names("own", "berlin/p1", "berlin/meter"), HERE),
    Row("GET", "/api/v1/pdus", "/api/v1/pdus?after=own&limit=1", names("berlin/p1"), HERE),
    Row("GET", "/api/v1/pdus/{name}", f"/api/v1/pdus/{PDU}", has(name="berlin/p1", driver="dummy", state="ready"), HERE),
    Row("GET", "/api/v1/pdus/{name}", "/api/v1/pdus/berlin%2Fmeter?fresh=1", lambda r: r.json["inlets"] and r.json["identity"]["model"] == "dummy", (200, 503, 504)),
    Row("GET", "/api/v1/pdus/{name}", "/api/v1/pdus/berlin%2Fnone", lambda r: "there is no PDU" in r.text, (404,), None, (404,)),
    Row("GET", "/api/v1/pdus/{name}/outlets/{port}", f"/api/v1/pdus/{PDU}/outlets/01", has(pdu="berlin/p1", port="1", nodes=["berlin/board1"]), HERE),
    Row("GET", "/api/v1/pdus/{name}/outlets/{port}", "/api/v1/pdus/berlin%2Fmeter/outlets/1?fresh=1", has(watts=12.5, name="router"), (200, 503, 504)),
    Row("GET", "/api/v1/pdus/{name}/watts", "/api/v1/pdus/berlin%2Fmeter/watts", lambda r: r.json["outlets"]["1"][-1][1] == 12.5, (200, 503)),
    Row("GET", "/api/v1/outlets", "/api/v1/outlets?after=own", lambda r: {each["pdu"] for each in r.json} >= {"berlin/p1"}, HERE),
    Row("GET", "/api/v1/nodes", "/api/v1/nodes?names=berlin/board[1-4]", names("berlin/board1", "berlin/board4"), HERE),
    Row("GET", "/api/v1/nodes", "/api/v1/nodes?groups=berlin/rack1,every&limit=2", names("berlin/board1", "berlin/board2"), HERE),
    Row("GET", "/api/v1/nodes", "/api/v1/nodes?after=mine", names("berlin/core", "berlin/twin"), HERE),
    Row("GET", "/api/v1/nodes/{name}", f"/api/v1/nodes/{NODE}", has(name="berlin/board1", state="on"), HERE),
    Row("GET", "/api/v1/nodes/{name}", f"/api/v1/nodes/{NODE}?fresh=1", has(state="on", source="device"), (200, 503, 504)),
    Row("GET", "/api/v1/nodes/{name}", "/api/v1/nodes/berlin%2Fcore", lambda r: r.json["locked"] and "core switch" in r.json["reason"], HERE),
    Row("GET", "/api/v1/groups", "/api/v1/groups", lambda r: r.json["berlin/rack1"] == ["berlin/board1", "berlin/board2"] and "mine" in r.json["every"], HERE),
    Row("GET", "/api/v1/sites", "/api/v1/sites", lambda r: r.json["sites"][0]["name"] == "berlin", HERE),
    Row("GET", "/api/v1/requests", "/api/v1/requests?limit=3", lambda r: len(r.json) == 3 and "Link" in r.headers, HERE),
    Row("GET", "/api/v1/requests", "/api/v1/requests?node=berlin/board1&action=on&state=done", lambda r: {each["outlets"][0]["pdu"] for each in r.json} == {"berlin/p1"}, HERE),
    Row("GET", "/api/v1/requests", "/api/v1/requests?pdu=berlin/meter&since=0&until=2999-01-01T00:00:00Z", lambda r: r.json[0]["outlets"] == [{"pdu": "berlin/meter", "port": "1"}], HERE),
    Row("GET", "/api/v1/requests", "/api/v1/requests?client=127.0.0.1&limit=1", lambda r: len(r.json) == 1, HERE),
    Row("POST", "/api/v1/requests", "/api/v1/requests", has(state="done", target="berlin/board1 (berlin/p1 port 1)"), (503,), {"action": "on", "alias": "berlin/board1"}, (201,)),
    Row("POST", "/api/v1/requests", "/api/v1/requests", lambda r: [each["state"] for each in r.json["nodes"]] == ["done"] * 3, (503,), {"action": "on", "nodes": "berlin/board1", "groups": "every"}, (201,)),
    Row("POST", "/api/v1/requests", "/api/v1/requests", has(field="port"), (422, 503), {"action": "on", "hostname": "berlin/p1", "port": 77}, (422,)),
    Row("POST", "/api/v1/requests", "/api/v1/requests", has(type="urn:pdudaemon:no-shutdown"), (503,), {"action": "off", "alias": "berlin/board1", "soft": 5, "hard": False}, (422,)),
    Row("POST", "/api/v1/requests", "/api/v1/requests", lambda r: len(r.json["feeds"]) == 2, (503,), {"action": "off", "alias": "berlin/twin"}, (201,)),
    Row("GET", "/api/v1/requests/{id}", "/api/v1/requests/berlin/1", has(id="berlin/1"), (503,)),
    Row("GET", "/api/v1/requests/{id}", "/api/v1/requests/berlin/99999", lambda r: "berlin: there is no request" in r.text, (503,), None, (404,)),
    Row("DELETE", "/api/v1/requests/{id}", "/api/v1/requests/berlin/1", lambda r: r.json["type"] == "urn:pdudaemon:conflict", (503,), None, (409,)),
    Row("GET", "/api/v1/commands/{id}", "/api/v1/commands/berlin/1", lambda r: r.json["id"] == "berlin/1" and r.json["nodes"][0]["name"].startswith("berlin/"), (503,)),
    Row("DELETE", "/api/v1/commands/{id}", "/api/v1/commands/berlin/1", has(state="ended"), (503,)),
    Row("GET", "/metrics", "/metrics", lambda r: 'pdudaemon_site_up{site="berlin"}' in r.text and 'pdudaemon_pdu_up{pdu="berlin/p1"} ' in r.text, HERE),
    Row("GET", "/healthz", "/healthz", ok, HERE),
    Row("GET", "/livez", "/livez", ok, HERE),
    Row("GET", "/readyz", "/readyz", ok, HERE),
    Row("GET", "/", "/?nodes=berlin/board[1-2]&wait=20", nodes, HERE),
    Row("PATCH", "/", "/?groups=berlin/rack1", nodes, HERE),
    Row("PUT", "/", "/?nodes=berlin/board1", nodes, HERE),
    Row("DELETE", "/", "/?nodes=berlin/board[1-2],mine&key=k9", nodes, HERE),
    Row("GET", "/nodes", "/nodes", lambda r: "berlin/board1" in {each["id"] for each in r.json["data"]}, HERE),
    Row("GET", "/groups", "/groups", lambda r: "berlin/rack1" in {each["id"] for each in r.json["data"]}, HERE),
]
# fmt: on
"""``/api/v1/events`` has tests of its own: it does not end."""

ELSEWHERE = {("GET", "/api/v1/events")}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A front of berlin, which has been asked for something, and has PDUs of its own."""
    with front_of_berlin(tmp_path_factory, SITE_PDUS, SITE_NODES) as made:
        assert made.front.power("on", "berlin/meter", 1).status == 200
        yield made


def ask(front: Daemon, row: Row) -> Reply:
    body, headers = (None, {}) if row.body is None else (json.dumps(row.body), JSON)
    return front.http(row.target, row.method, body, **headers)


def test_every_route_has_a_row() -> None:
    described = json.loads((ROOT / "share/openapi.json").read_text())["paths"]
    every = {
        (method.upper(), route) for route, methods in described.items() for method in methods if method != "parameters"
    }
    assert every == {(row.method, row.route) for row in ROWS} | ELSEWHERE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.target}")
def test_a_route_does_for_a_site_what_it_does_here(lab: Front, row: Row) -> None:
    if "fresh" in row.target or row.route in ("/", f"/api/v1/nodes/{NODE}"):
        assert lab.front.power("on", "berlin/p1", 1).status == 200
    if "meter" in row.target:
        assert lab.front.power("on", "berlin/meter", "name:router").status == 200
        assert lab.front.http("/api/v1/pdus/berlin%2Fmeter?fresh=1").status == 200
    reply = ask(lab.front, row)
    assert reply.status in row.status, reply.text
    assert row.check(reply), reply.text


def is_end(event: dict[str, Any], action: str) -> bool:
    return event["kind"] == "ended" and event["nodes"] == ["berlin/board2"] and event["action"] == action


def test_events_go_on_over_a_restart_of_a_site_and_where_a_watcher_left_off(lab: Front) -> None:
    front = lab.front
    with Watching(front, sse=True) as one:
        assert order(front, alias="berlin/board2").status == 201
        last = one.until(lambda each: is_end(each, "on"))["id"]
        lab.sites["berlin"].kill()
        lab.restart("berlin")
        lab.reached("berlin")
        assert order(front, "off", alias="berlin/board2").status == 201
        ended = one.until(lambda each: is_end(each, "off"))
    for sse in (True, False):
        with Watching(front, sse=sse, Last_Event_ID=str(last)) as again:
            assert again.until(lambda each: is_end(each, "off"))["id"] == ended["id"]
            kinds = [each["kind"] for each in again.events]
            assert "gap" not in kinds and kinds.count("reload") >= 2  # that it was away, and is not any more
    assert front.http("/api/v1/nodes/berlin%2Fboard2").json["state"] == "off"


def test_it_is_told_until_when_a_site_lets_a_request_wait(lab: Front) -> None:
    numbers = [order(lab.front, hostname="berlin/stag", port=port, wait=0).json["id"] for port in (1, 2, 3)]
    found = [lab.front.http(f"/api/v1/requests/{number}").json for number in numbers]
    due = [each["due"] for each in found if each["ended"] is None]
    assert due and all(each is None or abs(each - time.time()) < 10 for each in due), found
    assert any(due)


@pytest.fixture(scope="module")
def away(lab: Front) -> Iterator[Front]:
    """The same front, whose site has gone."""
    lab.sites["berlin"].stop()
    eventually(lambda: not lab.site("berlin")["reachable"])
    yield lab
    lab.restart("berlin")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.target}")
def test_a_route_says_that_a_site_is_away(away: Front, row: Row) -> None:
    reply = ask(away.front, row)
    assert reply.status in row.away, reply.text
    if reply.status >= 400 and reply.status != 404:
        assert "berlin cannot be asked: " in reply.text, reply.text
    elif row.route == "/api/v1/requests":
        assert reply.headers["X-Unreachable-Sites"] == "berlin"
    elif row.route.startswith("/api/v1/nodes"):
        found = reply.json if isinstance(reply.json, list) else [reply.json]
        assert {each["state"] for each in found if each["name"].startswith("berlin/")} == {"unknown"}
    elif row.route == "/":
        told = {each["id"]: each["attributes"] for each in reply.json["data"]}
        assert all("berlin cannot be asked: " in told[name]["error"] for name in told if name != "mine"), reply.text
    assert " ERROR " not in away.front.log_text()
