# SPDX-License-Identifier: MIT
"""The one document that pduclient prints with ``--json``."""

from __future__ import annotations

import json
from typing import Any

from tests.devices.openflight import End, PowerServer, StreamServer, reply, result
from tests.support.client import PLACES, ask, client


def test_json() -> None:
    results = (result("b", running=False), result("a"), result("c", success=False, missing=True))
    document: dict[str, Any] = {
        "command": "status",
        "ok": False,
        "nodes": [
            {"name": "a", "ok": True, "result": "on", "error": None},
            {"name": "b", "ok": True, "result": "off", "error": None},
            {"name": "c", "ok": False, "result": "unknown", "error": "no such node"},
        ],
        "missing_groups": [],
        "error": None,
    }
    with StreamServer(*results) as server:
        ran = ask(server.url, "status --json a,b,c")
        assert (ran.code, json.loads(ran.out), ran.err) == (1, document, "pduclient: c: no such node\n")
    with StreamServer(*results[:2], count=3, end=End.SHORT, missing_groups=["ghost"]) as server:
        ran = ask(server.url, "status --json a,b,c")
        document.update(error="c: not known: the answer ended early", missing_groups=["ghost"])
        assert (ran.code, json.loads(ran.out)) == (1, {**document, "nodes": document["nodes"][:2]})
    ran = client("restart", "a", "--json", "--url=http://127.0.0.1:1")
    error = "http://127.0.0.1:1: Connection refused"
    document.update(command="restart", nodes=[], error=error, missing_groups=[])
    assert (ran.code, json.loads(ran.out), ran.err) == (2, document, f"pduclient: {error}\n{PLACES}")


def test_json_and_folded_lists() -> None:
    nodes = [{"id": f"node{n}", "attributes": {"name": f"node{n}"}} for n in (10, 9, 8)]
    group = {"id": "compute", "attributes": {"nodes": ["node8", "node9", "node10", "login"]}}
    with PowerServer({"GET /nodes": reply({"data": nodes}), "GET /groups": reply({"data": [group]})}) as server:
        document = {"command": "list", "ok": True, "missing_groups": [], "error": None}
        ran = ask(server.url, "list --json")
        names = [{"name": "node10"}, {"name": "node9"}, {"name": "node8"}]
        assert (ran.code, json.loads(ran.out)) == (0, {**document, "nodes": names})
        ran = ask(server.url, "list --json -g")
        members = {"name": "compute", "nodes": ["node8", "node9", "node10", "login"]}
        assert (ran.code, json.loads(ran.out)) == (0, {**document, "groups": [members]})
        assert ask(server.url, "list").out == "node10\nnode9\nnode8\n"
        assert ask(server.url, "list -f").out == "node[8-10]\n"
        assert ask(server.url, "list -gvf").out == "compute login,node[8-10]\n"


def test_json_has_the_requests_id_whatever_became_of_it() -> None:
    results = [
        result("a", "restart", request=1),
        result("b", "restart", request=2, success=False, error="no"),
        result("c", "restart", success=False, error="locked"),
    ]
    with StreamServer(*results) as server:
        told = json.loads(ask(server.url, "restart a,b,c --json").out)["nodes"]
        assert [each.get("request") for each in told] == [1, 2, None]
        assert [each["result"] for each in told] == ["restarting", "failed to restart", "failed to restart"]
        assert ask(server.url, "reboot a,b,c").out == ask(server.url, "restart a,b,c").out
