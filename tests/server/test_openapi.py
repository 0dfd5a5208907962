# SPDX-License-Identifier: MIT
"""``share/openapi.json`` describes each route, method and parameter, and what is answered is as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from pdudaemon.server.http import Route
from pdudaemon.server.routes import ALSO, ROUTES
from tests.support.process import ROOT, Daemon, Reply
from tests.support.watching import Watching

TEXT = (ROOT / "share" / "openapi.json").read_text()
API: dict[str, Any] = json.loads(TEXT)
SCHEMAS = json.loads(TEXT.replace("#/components/schemas/", "#/$defs/"))["components"]["schemas"]
SAMPLES = {"id": "7", "name": "x", "port": "1"}
NOT_DESCRIBED = ("/ui",)  # for people
OPERATIONS = [(path, method) for path, item in API["paths"].items() for method in item if method != "parameters"]


def route_of(path: str) -> dict[str, Route]:
    """Return what serves a path of the description."""
    sample = re.sub(r"\{(\w+)\}", lambda found: SAMPLES[found[1]], path)
    (methods,) = (dict(methods) for pattern, methods in ROUTES if pattern.fullmatch(ALSO.get(sample, sample)))
    return methods


def followed(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference leads to."""
    while "$ref" in found:
        there: Any = API
        for word in found["$ref"].removeprefix("#/").split("/"):
            there = there[word]
        found = there
    return found


def described(path: str, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = API["paths"][path][method]
    return operation


def parameters(path: str, method: str) -> Iterator[dict[str, Any]]:
    for each in (*API["paths"][path].get("parameters", ()), *described(path, method).get("parameters", ())):
        yield followed(each)


def validate(schema: dict[str, Any], content: Any) -> None:
    """Raises: jsonschema.ValidationError."""
    moved = json.loads(json.dumps(schema).replace("#/components/schemas/", "#/$defs/"))
    jsonschema.Draft202012Validator({**moved, "$defs": SCHEMAS}).validate(content)


def test_every_route_is_described_and_nothing_else() -> None:
    for path in API["paths"]:
        assert {method.upper() for method in API["paths"][path] if method != "parameters"} == {*route_of(path)} - {
            "HEAD"
        }
    samples = [re.sub(r"\{(\w+)\}", lambda found: SAMPLES[found[1]], path) for path in API["paths"]]
    for pattern, _ in ROUTES:
        if not pattern.pattern.startswith(NOT_DESCRIBED):
            assert any(pattern.fullmatch(sample) for sample in samples), pattern.pattern
    assert {*ALSO} <= {*samples}


@pytest.mark.parametrize("path, method", OPERATIONS)
def test_the_parameters_are_those_that_a_route_takes(path: str, method: str) -> None:
    takes = route_of(path)[method.upper()].takes
    asked = {each["name"] for each in parameters(path, method) if each["in"] == "query"}
    assert takes is None or asked == {*takes}
    assert {*re.findall(r"\{(\w+)\}", path)} == {
        each["name"] for each in parameters(path, method) if each["in"] == "path"
    }


def test_the_description_is_one() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in {*re.findall(r'"\$ref": "([^"]*)"', TEXT)}:
        followed({"$ref": reference})
    assert API["openapi"].startswith("3.1")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    pdus: dict[str, Any] = {
        "a": {"driver": "dummy", "names": {"1": "router"}, "watts": {"1": 5.5}},
        "dead": {"driver": "dummy", "deaf": True, "timeout": 0.3, "retries": 1},
        "wrong": {"driver": "nothing"},
    }
    nodes = {
        "x": {"feeds": [{"hostname": "a", "port": 1}, {"hostname": "a", "port": 2}]},
        "y": {"hostname": "dead", "port": 1},
    }
    started = Daemon(tmp_path_factory.mktemp("d"), pdus, nodes=nodes, groups={"all": ["x", "y"]})
    started.start()
    started.power("on", "a", 1)
    started.http("/?nodes=x,y", "PUT")
    yield started
    started.kill()


JSON = {"Content-Type": "application/json"}
ASKED: list[tuple[str, str, str, str | None]] = [
    ("/api/v1/pdus", "get", "/api/v1/pdus", None),
    ("/api/v1/pdus", "get", "/api/v1/pdus?limit=0", None),
    ("/api/v1/pdus/{name}", "get", "/api/v1/pdus/a?fresh=1", None),
    ("/api/v1/pdus/{name}", "get", "/api/v1/pdus/dead", None),
    ("/api/v1/pdus/{name}", "get", "/api/v1/pdus/dead?fresh=1", None),
    ("/api/v1/pdus/{name}", "get", "/api/v1/pdus/wrong", None),
    ("/api/v1/pdus/{name}", "get", "/api/v1/pdus/none", None),
    ("/api/v1/pdus/{name}/outlets/{port}", "get", "/api/v1/pdus/a/outlets/1?fresh=1", None),
    ("/api/v1/pdus/{name}/outlets/{port}", "get", "/api/v1/pdus/a/outlets/99", None),
    ("/api/v1/pdus/{name}/watts", "get", "/api/v1/pdus/a/watts", None),
    ("/api/v1/pdus/{name}/watts", "get", "/api/v1/pdus/none/watts", None),
    ("/api/v1/outlets", "get", "/api/v1/outlets", None),
    ("/api/v1/nodes", "get", "/api/v1/nodes", None),
    ("/api/v1/nodes", "get", "/api/v1/nodes?names=none", None),
    ("/api/v1/nodes/{name}", "get", "/api/v1/nodes/x", None),
    ("/api/v1/nodes/{name}", "get", "/api/v1/nodes/none", None),
    ("/api/v1/groups", "get", "/api/v1/groups", None),
    ("/api/v1/requests", "get", "/api/v1/requests", None),
    ("/api/v1/requests", "get", "/api/v1/requests?state=x", None),
    ("/api/v1/requests/{id}", "get", "/api/v1/requests/1", None),
    ("/api/v1/requests/{id}", "get", "/api/v1/requests/99", None),
    ("/api/v1/requests/{id}", "delete", "/api/v1/requests/1", None),
    ("/api/v1/commands/{id}", "get", "/api/v1/commands/1", None),
    ("/api/v1/commands/{id}", "delete", "/api/v1/commands/1", None),
    ("/api/v1/commands/{id}", "get", "/api/v1/commands/99", None),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "on", "hostname": "a", "port": 1, "key": "k"}'),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "on", "hostname": "a", "port": 1, "key": "k"}'),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "on", "hostname": "a", "port": 1, "wait": 0}'),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "reboot", "nodes": "x", "delay": 0}'),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "on", "nodes": ["x", "y", "z"]}'),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "on", "alias": "y"}'),
    ("/api/v1/requests", "post", "/api/v1/requests", '{"action": "on", "alias": "z"}'),
    ("/api/v1/requests", "post", "/api/v1/requests", "{"),
    ("/metrics", "get", "/metrics", None),
    ("/livez", "get", "/livez", None),
    ("/healthz", "get", "/healthz", None),
    ("/readyz", "get", "/readyz", None),
    ("/nodes", "get", "/nodes", None),
    ("/groups", "get", "/groups", None),
    ("/", "get", "/?nodes=x", None),
    ("/", "patch", "/?nodes=[", None),
    ("/", "delete", "/?nodes=x,none", None),
    ("/power/control/on", "get", "/power/control/on?hostname=a&port=1", None),
    ("/power/control/off", "post", "/power/control/off?hostname=dead&port=1", None),
    ("/power/control/reboot", "get", "/power/control/reboot?alias=none", None),
    ("/power/control/status", "get", "/power/control/status?alias=x", None),
    ("/power/control/get-status", "get", "/power/control/get-status?alias=x&wait=x", None),
    ("/power/control/restart", "get", "/power/control/restart?hostname=a&port=1&delay=0", None),
]  # fmt: skip


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
@pytest.mark.parametrize("path, method, target, body", ASKED)
def test_an_answer_is_as_described(
    lab: Daemon, path: str, method: str, target: str, body: str | None, accept: str
) -> None:
    reply: Reply = lab.http(target, method.upper(), body, Accept=accept, **(JSON if body else {}))
    responses = described(path, method)["responses"]
    assert str(reply.status) in responses, reply
    response = followed(responses[str(reply.status)])
    kind = reply.headers["Content-Type"].partition(";")[0]
    assert kind in response["content"], (kind, reply)
    if "json" in kind:
        validate(response["content"][kind]["schema"], reply.json)
    if body and reply.status < 400:
        validate(
            followed(described(path, method)["requestBody"]["content"]["application/json"]["schema"]), json.loads(body)
        )
        assert "Location" in reply.headers


def test_events_are_as_described(lab: Daemon) -> None:
    with Watching(lab, "?after=0") as watching:
        lab.power("on", "a", 3)
        watching.until(lambda event: event["kind"] == "ended" and event["outlets"] == ["a:3"])
        for event in watching.events:
            validate({"$ref": "#/components/schemas/Event"}, event)
            assert {*event} <= {*SCHEMAS["Event"]["properties"]}
    assert {"gap", "accepted", "begun", "tried", "ended", "outlet"} <= {*watching.kinds}
