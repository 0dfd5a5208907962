# SPDX-License-Identifier: MIT
"""``fresh=1``: the answer comes when all devices have told, is the reason where one did not, and makes nothing up."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tests.support.process import Daemon, eventually, in_parallel


def test_a_node_waits_for_all_of_its_pdus(daemon: Callable[..., Daemon]) -> None:
    pdus = {
        "slow": {"driver": "dummy", "slow": 0.3},
        "fast": {"driver": "dummy"},
        "blind": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
        "asked": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true", "cmd_status": "echo on"},
    }
    feeds = [{"hostname": name, "port": 1} for name in pdus]
    one = daemon(pdus, nodes={"node": {"feeds": feeds}})
    found = one.http("/api/v1/nodes/node?fresh=1").json
    assert [(feed["state"], feed["source"]) for feed in found["feeds"]] == [
        ("off", "device"),
        ("off", "device"),
        ("unknown", "none"),
        ("on", "device"),
    ]


def test_each_reason_is_told_and_nothing_is_made_up(daemon: Callable[..., Daemon]) -> None:
    pdus = {
        "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.4},
        "refusing": {"driver": "dummy", "refuse": "the breaker is out"},
        "fine": {"driver": "dummy"},
    }
    one = daemon(pdus, nodes={"node": {"feeds": [{"hostname": name, "port": 1} for name in pdus]}})
    reply = one.http("/api/v1/nodes/node?fresh=1")
    assert reply.status in (502, 504)
    assert (
        "deaf: no answer within 0.4 s" in reply.json["detail"]
        and "refusing: the breaker is out" in reply.json["detail"]
    )
    assert "feeds" not in reply.json


def test_it_is_asked_for_by_a_one(daemon: Callable[..., Daemon]) -> None:
    pdus = {"pdu": {"driver": "dummy"}, "deaf": {"driver": "dummy", "deaf": True, "timeout": 3600}}
    nodes = {"node": {"hostname": "pdu", "port": 1}, "other": {"hostname": "deaf", "port": 1}}
    one = daemon(pdus, nodes=nodes)
    for path in ("pdus/pdu", "nodes/node", "pdus/pdu/outlets/1"):
        for wrong in ("2", "yes", "01"):
            reply = one.http(f"/api/v1/{path}?fresh={wrong}")
            assert (reply.status, reply.json["detail"]) == (400, f"fresh: '{wrong}' is neither 0 nor 1")
    assert one.http("/api/v1/nodes/other?fresh=0").json["state"] == "unknown"
    assert one.http("/api/v1/nodes/node?fresh=1").json["state"] == "off"


def test_many_who_wait_share_a_reading_and_cost_no_thread(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "slow": 0.2}})
    replies = in_parallel([lambda: one.http("/api/v1/pdus/pdu?fresh=1")] * 40)
    assert {reply.status for reply in replies} == {200}


def test_who_has_gone_is_not_waited_for(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "deaf": True, "timeout": 3600}})
    connections = []

    for _ in range(3):
        connections.append(socket.create_connection(("127.0.0.1", one.port)))
        connections[-1].sendall(b"GET /api/v1/pdus/pdu?fresh=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    for each in connections:
        each.close()
    assert eventually(lambda: one.http("/healthz").status == 200)
    assert one.stop() == 0
