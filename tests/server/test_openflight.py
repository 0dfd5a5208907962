# SPDX-License-Identifier: MIT
"""OpenFlight Power's HTTP API: what its client sends, byte for byte, and what it is told; and what is ours beyond that."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.ranges import MOST
from pdudaemon.server import openflight
from pdudaemon.server.openflight import PATIENCE
from tests.support.process import Daemon, Reply, eventually, in_parallel
from tests.support.tokens import SECRET, good

RECORDED = json.loads((Path(__file__).parent.parent / "data" / "openflight_server.json").read_text())
JSON_TYPE = "application/json"
HTML = "text/html;charset=utf-8"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("openflight")
    topology = RECORDED["topology"].replace("RECORD", str(folder / "record"))
    one = Daemon(folder, {}, topology=topology, secret=SECRET)
    one.start()
    one.token = good()
    yield one
    one.kill()


def done(daemon: Daemon) -> list[str]:
    """Return what the scripts have done since this was asked last, sorted."""
    record = daemon.folder / "record"
    lines = record.read_text().splitlines() if record.exists() else []
    record.write_text("")
    return sorted(lines)


def attributes(reply: Reply) -> dict[str, dict[str, Any]]:
    """Return what is told of each node."""
    return {entry["id"]: entry["attributes"] for entry in reply.json["data"]}


def as_recorded(text: str) -> str:
    """Return a reply without what ours has beyond OpenFlight's: why a node failed, and the id of its request."""
    whole = json.loads(text)
    for entry in whole["data"]:
        for ours in ("error", "request"):
            entry["attributes"].pop(ours, None)
    return json.dumps(whole, separators=(",", ":"))


def sent(daemon: Daemon, raw: bytes) -> Reply:
    """Send bytes and return the answer."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as connection:
        connection.sendall(raw)
        response = http.client.HTTPResponse(connection, method=raw.split(b" ")[0].decode())
        response.begin()
        return Reply(response.status, response.read().decode(), dict(response.getheaders()))


@pytest.mark.parametrize("exchange", RECORDED["exchanges"], ids=lambda each: each["call"])
def test_what_the_client_sends_and_is_told(started: Daemon, exchange: dict[str, Any]) -> None:
    done(started)
    line = exchange["request"]
    method = line.split()[0]
    headers = RECORDED["headers"] + (RECORDED["headers of PATCH and PUT"] if method in ("PATCH", "PUT") else [])
    head = [line, *headers, f"Host: 127.0.0.1:{started.port}", "", ""]
    reply = sent(started, "\r\n".join(head).replace("TOKEN", started.token).encode())
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    if isinstance(exchange["reply"], str):
        assert (reply.status, reply.headers["Content-Type"]) == (400, HTML)
        assert reply.text.startswith(exchange["reply"]) and not done(started)
        return
    assert (reply.status, reply.headers["Content-Type"]) == (200, JSON_TYPE)
    assert as_recorded(reply.text) == json.dumps(exchange["reply"], separators=(",", ":"))
    asked = [each["attributes"] for each in exchange["reply"]["data"] if each["type"] == "commands"]
    assert done(started) == sorted(
        f"{each['action']} {each['node-name']}" for each in asked if each["platform"] == "sim"
    )


def test_why_a_node_failed_and_the_id_of_its_request_are_told_besides(started: Daemon) -> None:
    told = attributes(started.http("/?nodes=node01,alert,ghost,stray,dark", "PATCH"))
    assert {name: each["error"] for name, each in told.items()} == {
        "node01": None,
        "alert": "power_on ended with exit status 1",
        "ghost": "there is no alias or node 'ghost'",
        "stray": "'stray' is disabled by its configuration: platform: there is no platform 'unknown'",
        "dark": "there is no power_on for platform simoff",
    }
    for name, state in (("node01", "done"), ("alert", "failed"), ("dark", "failed")):
        record = started.http(f"/api/v1/requests/{told[name]['request']}").json
        assert (record["target"], record["state"], record["action"]) == (name, state, "on")
    assert "request" not in told["ghost"] and "request" not in told["stray"]
    told = attributes(started.http("/?nodes=node01,alert"))
    assert [each["error"] for each in told.values()] == [None, "status ended with exit status 1"]
    assert not any("request" in each for each in told.values())
    told = attributes(started.http("/?nodes=nod01"))
    assert told["nod01"]["error"] == "there is no alias or node 'nod01'; did you mean 'node01'?"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("nodes=node%30%31", "node01"),
        ("nodes=%6eode01%2cnode02", "node01 node02"),
        ("nodes=node[01-02],gateway1", "node01 node02 gateway1"),
        ("%6Eodes=node01", "node01"),
        ("nodes=node01&nodes=node02", "node02"),
        ("nodes=node01&nodes=", ""),
        ("groups=all&groups=compute", "node01 node02"),
        ("nodes=node02,node02,node[01-02]", "node02 node01"),
        ("nodes=node03,node02&groups=compute,all", "node03 node02 node01 gateway1"),
        ("groups=compute&nodes=node03", "node03 node01 node02"),
        ("nodes=@compute,node01", "node01 node02"),
        ("nodes=%40compute", "node01 node02"),
        ("nodes=&groups=", ""),
        ("groups=", ""),
        ("", ""),
        ("other=node01", ""),
        ("nodes[]=node01", ""),
        ("nodes=node1", "node1"),
        ("nodes=NODE01", "NODE01"),
        ("nodes=node[1-2]", "node1 node2"),
    ],
)
def test_which_nodes_a_query_names(started: Daemon, query: str, names: str) -> None:
    for method in ("GET", "DELETE"):
        done(started)
        reply = started.http(f"/?{query}", method)
        assert reply.status == 200 and [*attributes(reply)] == names.split()
        known = [name for name in names.split() if not attributes(reply)[name]["missing"]]
        assert len(done(started)) == len(known)


def test_a_group_that_there_is_not_is_told(started: Daemon) -> None:
    assert started.http("/?groups=nope,compute,nada").json["meta"] == {"missing-groups": ["nope", "nada"]}
    assert started.http("/?nodes=@nope,node01&groups=nada", "DELETE").json["meta"] == {
        "missing-groups": ["nope", "nada"]
    }
    assert "meta" not in started.http("/?groups=compute").json


@pytest.mark.parametrize(
    ("query", "begins"),
    [
        ("nodes=node+01", "Unrecognised nodes syntax"),
        ("nodes=node01%20", "Unrecognised nodes syntax"),
        ("nodes=node01,,node02", "Unrecognised nodes syntax"),
        ("nodes=node01,", "Unrecognised nodes syntax"),
        ("nodes=,node01", "Unrecognised nodes syntax"),
        ("nodes=node[", "Unrecognised nodes syntax"),
        ("nodes=node[2-1]", "Unrecognised nodes syntax"),
        ("nodes=node01/1", "Unrecognised nodes syntax"),
        ("nodes=node01%2500", "Unrecognised nodes syntax"),
        ("nodes=%ff", "Unrecognised nodes syntax"),
        ("nodes=node01%00", "Unrecognised nodes syntax"),
        ("nodes=node01;groups=compute", "Unrecognised nodes syntax"),
        (f"nodes=node[0-{MOST}]", "Unrecognised nodes syntax"),
        ("nodes=node01&groups=a+b", "Unrecognised groups syntax"),
        ("nodes=node01&groups=@compute", "Unrecognised groups syntax"),
        ("nodes=node01&groups=compute,", "Unrecognised groups syntax"),
    ],
)
def test_a_query_that_is_not_understood_is_refused_as_a_whole(started: Daemon, query: str, begins: str) -> None:
    done(started)
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        reply = started.http(f"/?{query}", method)
        assert (reply.status, reply.headers["Content-Type"]) == (400, HTML) and reply.text.startswith(begins)
    assert started.http(f"/?{query}", "HEAD").status == 400
    assert not done(started)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ({}, "Bearer"),
        ({"exp": 1000}, 'Bearer error="invalid_token", error_description="the token has expired"'),
        ({"nbf": 9e9}, 'Bearer error="invalid_token", error_description="the token is not valid here"'),
    ],
)
def test_why_a_token_is_refused_stands_in_a_header(started: Daemon, token: dict[str, Any], why: str) -> None:
    reply = started.http("/nodes", Authorization=f"Bearer {good(**token)}" if token else "")
    assert (reply.status, reply.text) == (403, "Forbidden") and reply.headers["WWW-Authenticate"] == why


def test_what_was_sent_does_not_come_back_as_a_page(started: Daemon) -> None:
    reply = started.http("/?nodes=%3Cscript%3Ealert(1)%3C/script%3E&groups=")
    assert reply.headers["X-Content-Type-Options"] == "nosniff" and reply.status == 400
    assert "<" not in reply.text and "&lt;script&gt;" in reply.text


def test_parameters_may_stand_in_a_form(started: Daemon) -> None:
    done(started)
    for method, action in (("GET", "status"), ("PATCH", "power_on"), ("PUT", "restart"), ("DELETE", "power_off")):
        reply = started.http("/", method, "nodes=node%5B01-02%5D", **FORM)
        assert [*attributes(reply)] == ["node01", "node02"]
        assert done(started) == [f"{action} node01", f"{action} node02"]
        assert [*attributes(started.http("/?nodes=node01", method, "nodes=node03", **FORM))] == ["node03"]
        assert [*attributes(started.http("/?nodes=node01", method, "groups=all", Content_Type="text/plain"))] == [
            "node01"
        ]
        assert [*attributes(started.http("/?nodes=node01", method, "{}", Content_Type="application/vnd.api+json"))] == [
            "node01"
        ]
        done(started)


def test_head_is_get_without_the_body(started: Daemon) -> None:
    done(started)
    for path in ("/nodes", "/groups", "/?nodes=node01,ghost"):
        get, head = started.http(path), started.http(path, "HEAD", Accept="application/x-ndjson, */*")
        assert head.text == "" and head.status == get.status == 200
        assert head.headers["Content-Length"] == str(len(get.text)) and head.headers["Content-Type"] == JSON_TYPE
    assert done(started) == ["status node01"] * 2
    raw = (
        f"HEAD /?nodes=node01 HTTP/1.1\r\nAuthorization: Bearer {started.token}\r\nAccept: application/x-ndjson\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        connection.sendall((raw + raw.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).encode())
        answer = connection.makefile("rb").read()
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2 and answer.endswith(b"\r\n\r\n") and b"{" not in answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nodes/", 404),
        ("GET", "/nodes/node01", 404),
        ("GET", "/node01", 404),
        ("GET", "//", 404),
        ("POST", "/?nodes=node01", 404),
        ("OPTIONS", "/?nodes=node01", 404),
        ("DELETE", "/nodes", 404),
        ("PATCH", "/groups", 404),
    ],
)
def test_what_there_is_not(started: Daemon, method: str, path: str, status: int) -> None:
    done(started)
    reply = started.http(path, method)
    assert reply.status == status and not done(started)
    if path.partition("?")[0] in openflight.PATHS:  # another verb, as recorded
        assert (reply.text, reply.headers["Content-Type"]) == ("<h1>Not Found</h1>", "text/html;charset=utf-8")


def test_names_in_thousands_are_answered(started: Daemon) -> None:
    """Most of them unknown: to look for what each might have meant would take minutes."""
    reply = started.http(f"/?nodes=node[01-{MOST - 1}]", "DELETE")
    told = attributes(reply)
    assert len(told) == MOST - 1 and [name for name, each in told.items() if each["success"]] == [
        "node01",
        "node02",
        "node03",
    ]
    assert told["node04"]["missing"] is True


def test_nodes_of_any_kind(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """Aliases, nodes and PDUs of other drivers are told in the same form."""
    one = daemon(
        {
            "pdu": {"driver": "dummy", "file": str(tmp_path / "outlets")},
            "mute": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
            "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.2, "retries": 1},
        },
        {"board-1": {"hostname": "pdu", "port": 1}, "lamp": {"hostname": "mute", "port": 1}},
        nodes={"gone": {"hostname": "deaf", "port": 1}, "board_2.x": {"hostname": "pdu", "port": 2}},
        groups={"lab": "board-1,board_2.x"},
    )
    assert [entry["id"] for entry in one.http("/nodes").json["data"]] == ["board-1", "lamp", "gone", "board_2.x"]
    told = attributes(one.http("/?nodes=lamp,pdu"))
    assert told["lamp"]["error"] == "the device cannot tell, and nobody has switched it yet"
    assert (told["lamp"]["running"], told["pdu"]["missing"], told["pdu"]["platform"]) == (None, True, "missing")
    told = attributes(one.http("/?nodes=board-1,lamp,gone,board_2.x", "PATCH"))
    assert {name: (each["platform"], each["success"]) for name, each in told.items()} == {
        "board-1": ("dummy", True),
        "lamp": ("localcmdline", True),
        "gone": ("dummy", False),
        "board_2.x": ("dummy", True),
    }
    assert told["gone"]["error"] == "deaf: no answer within 0.2 s"
    told = attributes(one.http("/?nodes=lamp,gone&groups=lab"))
    assert {name: (each["success"], each["running"]) for name, each in told.items()} == {
        "lamp": (False, None),  # it cannot tell
        "gone": (False, None),
        "board-1": (True, True),
        "board_2.x": (True, True),
    }
    assert told["lamp"]["error"] == "the device cannot tell: it was last told to be on"
    assert told["gone"]["error"] == "deaf: no answer within 0.2 s"
    assert json.loads((tmp_path / "outlets").read_text()) == {"1": "on", "2": "on"}


# -- slow nodes


GATED = """\
platforms:
  fast: &fast {variables: [name, folder], status: ':', power_on: 'echo $name >> "$folder/record"', power_off: ':'}
  slow:
    <<: *fast
    status: until test -e "$folder/gate"; do sleep 0.02; done
    power_on: until test -e "$folder/gate"; do sleep 0.02; done; echo $name >> "$folder/record"
groups: {both: "fast[1-2]"}
static_nodes:
"""


@pytest.fixture
def gated(daemon: Callable[..., Daemon]) -> Daemon:
    """Return a daemon whose node ``slow`` does not answer before there is a file ``gate``."""
    one = daemon({}, start=False)
    kinds = {"slow": "slow", "fast1": "fast", "fast2": "fast", "slow2": "slow"}
    nodes = "".join(f"  {name}: {{platform: {kind}, folder: {one.folder}}}\n" for name, kind in kinds.items())
    (one.folder / "topology.yaml").write_text(GATED + nodes)
    one.settings["daemon"]["topology"] = "topology.yaml"
    one.configure(one.settings)
    one.start()
    return one


@contextmanager
def stream(daemon: Daemon, path: str, method: str = "GET") -> Iterator[tuple[http.client.HTTPConnection, Any]]:
    """Ask for an answer line by line."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    connection.request(method, path, headers={"Accept": "application/x-ndjson, application/json;q=0.5"})
    response = connection.getresponse()
    assert response.status == 200 and response.getheader("Content-Type") == "application/x-ndjson"
    yield connection, response
    connection.close()


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_slow_node_does_not_hold_up_what_is_told_of_the_others(gated: Daemon, method: str) -> None:
    with stream(gated, "/?nodes=slow,fast[1-2],ghost&groups=nope", method) as (connection, response):
        names = ["slow", "fast1", "fast2", "ghost"]
        command = {} if method == "GET" else {"command": 1}
        first_line = {"meta": {**command, "count": 4, "names": names, "missing-groups": ["nope"]}}
        assert json.loads(response.readline()) == first_line
        first = [json.loads(response.readline()) for _ in range(3)]
        assert first[0]["id"] == "ghost" and {each["id"] for each in first[1:]} == {"fast1", "fast2"}
        assert all(each["attributes"]["success"] for each in first[1:])
        (gated.folder / "gate").touch()  # only now
        last = json.loads(response.readline())
        assert (last["type"], last["id"], last["attributes"]["success"]) == ("commands", "slow", True)
        assert [*last["attributes"]][:5] == ["action", "node-name", "platform", "missing", "success"]
        assert response.read() == b""
        connection.request("GET", "/healthz")  # and the connection goes on
        assert connection.getresponse().read() == b"ok\n"


def test_a_node_that_is_late_does_not_lose_the_results_of_the_others(gated: Daemon) -> None:
    told = attributes(gated.http("/?nodes=slow,fast1&wait=4"))
    assert told["fast1"]["success"] and told["fast1"]["running"] is True
    assert (told["slow"]["success"], told["slow"]["running"]) == (False, None)
    assert told["slow"]["error"] == "no answer within 4 s"
    (gated.folder / "gate").touch()
    assert attributes(gated.http("/?nodes=slow"))["slow"]["running"] is True
    (gated.folder / "gate").unlink()
    told = attributes(gated.http("/?nodes=slow,fast1&wait=4", "PATCH"))
    assert told["fast1"]["success"] and told["fast1"]["error"] is None
    number = told["slow"]["request"]
    assert told["slow"]["success"] is False
    so_far = "slow: the device has not answered yet"
    assert told["slow"]["error"] == f"accepted as request {number}, not done after 4 s: {so_far}; it goes on"
    assert told["slow"]["pending"] is True and "pending" not in told["fast1"]
    (gated.folder / "gate").touch()
    eventually(lambda: gated.http(f"/api/v1/requests/{number}").json["state"] == "done")
    assert PATIENCE < 60  # at which OpenFlight's client gives up
    for method in ("GET", "PATCH"):
        reply = gated.http("/?nodes=fast1&wait=%3Csoon", method)
        assert (reply.status, reply.headers["Content-Type"]) == (400, HTML)
        assert reply.text == "wait: '&lt;soon' is not a number of seconds"


def test_a_hung_node_and_impatient_clients_cost_the_other_nodes_nothing(gated: Daemon) -> None:
    every = "/?nodes=slow&groups=both"
    with ExitStack() as stack:
        for _ in range(36):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", gated.port), timeout=60))
            connection.sendall(f"GET {every} HTTP/1.1\r\n\r\n".encode())
        eventually(lambda: all(each["success"] for each in attributes(gated.http("/?groups=both")).values()))
        told = attributes(gated.http(f"{every}&wait=4"))
        assert {name: each["running"] for name, each in told.items()} == {"slow": None, "fast1": True, "fast2": True}
        assert "no answer within 4 s" in told["slow"]["error"]
        told = attributes(gated.http(f"{every}&wait=4", "PATCH"))
        assert {name: each["success"] for name, each in told.items()} == {"slow": False, "fast1": True, "fast2": True}
        assert told["slow"]["pending"] and "not done after 4 s" in told["slow"]["error"]
        told = attributes(gated.http(f"{every}&wait=0", "PATCH"))
        assert all(each["success"] and each["error"] is None for each in told.values()), told
        number = told["slow"]["request"]
    (gated.folder / "gate").touch()
    eventually(lambda: gated.http(f"/api/v1/requests/{number}").json["state"] == "done")
    eventually(lambda: attributes(gated.http(every))["slow"]["running"])


@pytest.mark.long
def test_who_waits_is_told_what_becomes_of_a_request_when_the_daemon_stops(gated: Daemon) -> None:
    with stream(gated, "/?nodes=slow", "PATCH") as (_, first), stream(gated, "/?nodes=slow", "DELETE") as (_, second):
        eventually(lambda: len(gated.http("/api/v1/requests").json) == 2)
        in_parallel([gated.stop, lambda: first.readline() and second.readline()])
        told = json.loads(second.readline())["attributes"]
    assert told["error"] == (
        f"accepted as request {told['request']}, but not done: the daemon is stopping, and resumes it when it starts again"
    )


def test_a_daemon_that_does_not_wait_reads_states_all_the_same(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "slow": 0.1}}, {"board": {"hostname": "pdu", "port": 1}}, wait=0)
    told = attributes(one.http("/?nodes=board"))["board"]
    assert (told["success"], told["running"]) == (True, False)


def test_only_who_can_take_lines_gets_them(gated: Daemon) -> None:
    for version, accept in (("1.0", "application/x-ndjson"), ("1.1", "*/*"), ("1.1", "application/json")):
        raw = f"GET /?nodes=fast1 HTTP/{version}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        reply = sent(gated, raw.encode())
        assert reply.headers["Content-Type"] == JSON_TYPE and attributes(reply)["fast1"]["running"] is True
    with stream(gated, "/?nodes=") as (_, response):
        assert json.loads(response.read()) == {"meta": {"count": 0, "names": []}}
    with stream(gated, "/?nodes=fast2,@twin,ghost&groups=both") as (_, response):
        meta = {"count": 3, "names": ["fast2", "ghost", "fast1"], "missing-groups": ["twin"]}
        assert json.loads(response.readline())["meta"] == meta


def held(daemon: Daemon) -> tuple[int, int]:
    """Return how many threads and descriptors a daemon has."""
    assert daemon.process is not None
    proc = Path(f"/proc/{daemon.process.pid}")
    found = re.search(r"^Threads:\s+(\d+)", (proc / "status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]), len(os.listdir(proc / "fd"))


def test_what_was_asked_for_is_done_when_the_client_hangs_up(gated: Daemon) -> None:
    (gated.folder / "gate").touch()
    # Threads are kept for the next clients, as many as there have been at a time, so there have to be some first.
    in_parallel([lambda: gated.http("/?nodes=slow,slow2,fast[1-2]", "PATCH") for _ in range(8)])
    (gated.folder / "gate").unlink()
    (gated.folder / "record").unlink()
    before = held(gated)
    for method, lines in (("PATCH", 1), ("PATCH", 2), ("GET", 2), ("GET", 0)):
        with stream(gated, "/?nodes=slow,slow2,fast[1-2]", method) as (_, response):
            for _ in range(lines):
                response.readline()
            response.close()
    record = gated.folder / "record"
    eventually(lambda: record.exists() and record.read_text().split().count("fast1") == 2)
    assert "slow" not in record.read_text()
    (gated.folder / "gate").touch()
    eventually(lambda: sorted(record.read_text().split()) == sorted(["fast1", "fast2", "slow", "slow2"] * 2))
    eventually(lambda: all(now <= then for now, then in zip(held(gated), before, strict=True)), 60)
    assert {request["state"] for request in gated.http("/api/v1/requests").json} == {"done"}
    assert "Traceback" not in gated.log_text()


def test_requests_of_one_node_keep_their_order_over_all_ways(gated: Daemon) -> None:
    """The state is read as soon as the node is free, not when those who wait in line have had their turn."""
    assert gated.http("/?nodes=slow&wait=0", "PATCH").status == 200
    assert gated.tcp("slow off wait=0") == "ack\n"
    assert gated.http("/?nodes=slow&wait=0", "PATCH").status == 200
    eventually(lambda: gated.http("/api/v1/requests/1").json["state"] == "running")
    assert [gated.http(f"/api/v1/requests/{number}").json["state"] for number in (2, 3)] == ["queued", "queued"]
    (gated.folder / "gate").touch()
    eventually(lambda: gated.http("/api/v1/requests/3").json["state"] == "done")
    ended = [gated.http(f"/api/v1/requests/{number}").json["ended"] for number in (1, 2, 3)]
    assert ended == sorted(ended) and max(ended) <= time.time()
