# SPDX-License-Identifier: MIT
"""Requests made by ``POST /api/v1/requests``: what is done, how it is told, and what is refused by which field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import recorded
from tests.support.process import Daemon, Reply, eventually, in_parallel
from tests.support.tokens import SECRET, good

JSON = {"Content-Type": "application/json"}


def post(daemon: Daemon, content: Any, **headers: str) -> Reply:
    """Ask for something in JSON."""
    body = content if isinstance(content, str) else json.dumps(content)
    return daemon.http("/api/v1/requests", "POST", body, **{**JSON, **headers})


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> tuple[Daemon, Any]:
    """A daemon with boards on two PDUs, of which one takes its time, and what the outlets saw."""
    nodes: dict[str, Any] = {
        f"n{number}": {"hostname": pdu, "port": number}
        for number, pdu in enumerate(("quick", "quick", "slow", "slow"), 1)
    }
    nodes["kept"] = {"hostname": "quick", "port": 7, "locked": True}
    return recorded(daemon, {"quick": {}, "slow": {"takes": 2}}, nodes=nodes, groups={"all": ["n[1-4]"]})


@pytest.mark.parametrize(
    "target", [{"hostname": "quick", "port": 1}, {"hostname": "quick", "port": "1"}, {"alias": "n1"}]
)
def test_one_outlet_is_switched_and_its_request_created(lab: tuple[Daemon, Any], target: dict[str, Any]) -> None:
    started, plugin = lab
    reply = post(started, {"action": "on", **target})
    assert (reply.status, reply.headers["Location"], reply.json["state"]) == (201, "/api/v1/requests/1", "done")
    assert reply.json == started.http(reply.headers["Location"]).json and reply.json["action"] == "on"
    assert plugin.by_outlet() == {("quick", "1"): "o"}
    reply = post(started, {"action": "restart", **target, "delay": 0.1, "wait": None})
    assert reply.status == 201 and reply.json["delay"] == 0.1
    assert post(started, {"action": "on", **target, "key": "k"}).status == 201, "a key that is new makes no difference"
    assert plugin.by_outlet() == {("quick", "1"): "ofoo"}


def test_who_does_not_wait_is_told_that_it_is_accepted(lab: tuple[Daemon, Any]) -> None:
    started, plugin = lab
    reply = post(started, {"action": "off", "hostname": "slow", "port": 3, "wait": 0})
    assert reply.status == 202 and reply.json["ended"] is None
    reply = post(started, {"action": "off", "nodes": ["n4"], "wait": 0})
    assert reply.status == 202 and reply.json["nodes"][0]["state"] == "accepted"
    eventually(lambda: plugin.by_outlet() == {("slow", "3"): "f", ("slow", "4"): "f"})


def test_what_is_not_done_within_wait_is_an_error_and_goes_on(lab: tuple[Daemon, Any], tmp_path: Path) -> None:
    started, plugin = lab
    until = tmp_path / "until"
    started.stop()
    started.settings["pdus"]["slow"] |= {"takes": 0, "until": str(until)}
    started.configure(started.settings)
    started.start()
    reply = post(started, {"action": "on", "hostname": "slow", "port": 3, "wait": 0.2})
    assert (reply.status, reply.json["type"], reply.json["request"]) == (504, "urn:pdudaemon:not-done", 1)
    assert reply.headers["Location"] == "/api/v1/requests/1" and "not done after 0.2 s: " in reply.json["detail"]
    reply = post(started, {"action": "on", "nodes": "n[1-2],n4", "wait": 4})
    states = {each["name"]: each["state"] for each in reply.json["nodes"]}
    assert (reply.status, states) == (504, {"n1": "done", "n2": "done", "n4": "accepted"})
    assert "not done after 4 s: " in reply.json["nodes"][2]["reason"]
    words = {"action": "off", "wait": 0.2, "delay": 0.3}  # which is not counted
    for target in ({"hostname": "slow", "port": 4}, {"nodes": "n4"}):
        reply = post(started, {**words, **target})
        assert reply.status == 504 and "not done after 0.5 s: " in reply.text
    until.touch()
    eventually(lambda: plugin.by_outlet().get(("slow", "4"), "").startswith("o"))


@pytest.mark.parametrize("nodes", ["n[1-4]", ["n1", "n[2-3]", "n4"], None])
def test_nodes_are_one_command_and_each_is_told_of(lab: tuple[Daemon, Any], nodes: Any) -> None:
    started, plugin = lab
    reply = post(started, {"action": "on", **({"groups": "all"} if nodes is None else {"nodes": nodes})})
    assert (reply.status, reply.headers["Location"]) == (201, "/api/v1/commands/1")
    assert [(each["name"], each["state"], each["reason"]) for each in reply.json["nodes"]] == [
        (f"n{number}", "done", None) for number in range(1, 5)
    ]
    shown = started.http("/api/v1/commands/1").json
    assert [each["request"] for each in shown["nodes"]] == [each["request"] for each in reply.json["nodes"]]
    assert {*plugin.by_outlet().values()} == {"o"} and len(plugin.by_outlet()) == 4


def test_of_nodes_that_are_refused_or_fail_it_is_told_and_the_others_are_switched(lab: tuple[Daemon, Any]) -> None:
    started, plugin = lab
    reply = post(started, {"action": "on", "nodes": ["n1", "nobody", "kept"]})
    nodes = {each["name"]: each for each in reply.json["nodes"]}
    assert reply.status == 422 and reply.json["command"] == 1 and reply.headers["Location"] == "/api/v1/commands/1"
    assert [nodes[name]["state"] for name in ("n1", "nobody", "kept")] == ["done", "refused", "refused"]
    assert "there is no alias or node" in nodes["nobody"]["reason"] and "locked" in nodes["kept"]["reason"]
    assert plugin.by_outlet() == {("quick", "1"): "o"}
    reply = post(started, {"action": "on", "nodes": ["n1", "nobody"], "wait": 0})
    assert reply.status == 202 and [each["state"] for each in reply.json["nodes"]][1] == "refused"
    reply = post(started, {"action": "on", "nodes": "kept", "wait": 0})
    assert (reply.status, reply.json["command"], reply.json["type"]) == (403, None, "urn:pdudaemon:locked")


def test_a_device_that_fails_is_no_success(daemon: Callable[..., Daemon]) -> None:
    pdus = {"deaf": {"driver": "dummy", "deaf": True, "timeout": 0.3, "retries": 1}, "a": {"driver": "dummy"}}
    started = daemon(pdus, nodes={"bad": {"hostname": "deaf", "port": 1}, "well": {"hostname": "a", "port": 1}})
    reply = post(started, {"action": "on", "hostname": "deaf", "port": 1})
    assert reply.status == 504 and reply.json["request"] == 1 and "deaf" in reply.json["detail"]
    reply = post(started, {"action": "on", "nodes": "well,bad"})
    assert reply.status == 504
    assert [(each["name"], each["state"]) for each in reply.json["nodes"]] == [("well", "done"), ("bad", "failed")]


@pytest.mark.parametrize("way", ["field", "header", "both"])
@pytest.mark.parametrize("target", [{"hostname": "slow", "port": 3}, {"nodes": "n[1-3]"}])
def test_the_same_key_is_the_same_request(lab: tuple[Daemon, Any], way: str, target: dict[str, Any]) -> None:
    started, plugin = lab
    headers = {} if way == "field" else {"Idempotency-Key": "k1"}
    content = {"action": "on", **target, **({} if way == "header" else {"key": "k1"})}
    replies = in_parallel([lambda: post(started, content, **headers)] * 3)
    assert len({reply.headers["Location"] for reply in replies}) == 1
    assert {reply.status for reply in replies} <= {200, 201}
    again = post(started, content, **headers)
    assert again.status == 200 and again.headers["Location"] == replies[0].headers["Location"]
    assert {*plugin.by_outlet().values()} == {"o"}
    other = post(started, {**content, "action": "off"}, **headers)
    assert other.status == 422 and "of another" in other.text


@pytest.mark.parametrize(
    "content, status, field, why",
    [
        ({}, 400, "action", "is missing: on, off, reboot"),
        ({"action": "of", "nodes": "n1"}, 400, "action", "'of' is none of on, off, reboot, restart"),
        ({"action": "status", "nodes": "n1"}, 400, "action", "'status' is none of"),
        ({"action": 1, "nodes": "n1"}, 400, "action", "is not a text"),
        ({"action": "on"}, 400, "nodes", "say what is to be switched"),
        ({"action": "on", "node": "n1"}, 400, "node", "unknown field; did you mean 'nodes'?"),
        ({"action": "on", "nodes": []}, 422, "nodes", "stands for no node"),
        ({"action": "on", "nodes": [1]}, 400, "nodes", "is not a list of texts"),
        ({"action": "on", "nodes": {"n1": 1}}, 400, "nodes", "is not a text"),
        ({"action": "on", "nodes": "n[1-"}, 400, "nodes", "n[1-"),
        ({"action": "on", "nodes": "@none"}, 422, "nodes", "there is no group 'none'"),
        ({"action": "on", "groups": "al"}, 422, "groups", "there is no group 'al'; did you mean 'all'?"),
        ({"action": "on", "nodes": "n1", "alias": "n1"}, 400, "nodes", "cannot be given beside alias"),
        ({"action": "on", "alias": "n1", "port": 1}, 400, "port", "cannot be given beside alias"),
        ({"action": "on", "alias": "n9"}, 422, "alias", "there is no alias or node 'n9'"),
        ({"action": "on", "hostname": "quick"}, 400, "port", "is missing"),
        ({"action": "on", "port": 1}, 400, "nodes", "say what is to be switched"),
        ({"action": "on", "hostname": "quik", "port": 1}, 422, "hostname", "there is no PDU 'quik'; did you mean"),
        ({"action": "on", "hostname": "quick", "port": 1.0}, 400, "port", "is not a text"),
        ({"action": "on", "hostname": "quick", "port": True}, 400, "port", "is not a text"),
        ({"action": "on", "alias": "n1", "delay": "5"}, 400, "delay", "is not a number of seconds"),
        ({"action": "on", "alias": "n1", "delay": -1}, 400, "delay", "is not within 0 and 3600 seconds"),
        ({"action": "on", "alias": "n1", "delay": 1e300}, 400, "delay", "is not within"),
        ({"action": "on", "alias": "n1", "wait": True}, 400, "wait", "is not a number of seconds"),
        ({"action": "on", "alias": "n1", "key": "ü"}, 400, "key", "must be at most 200 printable"),
        ({"action": "on", "alias": "n1", "key": 5}, 400, "key", "is not a text"),
        ({"action": "on", "alias": "n1\0"}, 400, "alias", "has a NUL"),
        ({"action": "on", "alias": "n1", "soft": 5}, 400, "soft", "is for off and reboot, not for on"),
        ({"action": "off", "alias": "n1", "hard": False}, 400, "hard", "means nothing without soft"),
        ({"action": "off", "alias": "n1", "soft": 5, "hard": "no"}, 400, "hard", "is neither true nor false"),
        ({"action": "on", "alias": "kept"}, 403, None, "locked"),
        ('{"action": "on", "alias": "n1", "alias": "n2"}', 400, "alias", "is there twice"),
        ('{"action": "on", "alias": "\\ud800"}', 400, "alias", "lone surrogate"),
        ('{"action": "on", "alias": "n1", "delay": NaN}', 400, None, "NaN is not JSON"),
        ('{"action": "on", "alias": "n1", "delay": 1%s}' % ("0" * 9000), 400, None, "the body is not JSON"),
        ('{"action": "on", "alias": "n1"', 400, None, "the body is not JSON"),
        ("", 400, None, "the body is not JSON"),
        ("[]", 400, None, "the body is not a JSON object"),
        ('"on"', 400, None, "the body is not a JSON object"),
        ("[" * 60000, 400, None, "the body is n"),  # nested too deep, or, for Python 3.14, not JSON
        ('{"action":' * 5000, 400, None, "the body is n"),
        ("\udcff", 400, None, "the body is not UTF-8"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_its_field(
    shared: Daemon, content: Any, status: int, field: str | None, why: str
) -> None:
    body = content if isinstance(content, str) else json.dumps(content)
    reply = shared.http("/api/v1/requests", "POST", body.encode("utf-8", "surrogateescape"), **JSON)  # type: ignore[arg-type]
    assert (reply.status, reply.json.get("field")) == (status, field), reply.text
    assert why in reply.json["detail"] and shared.http("/api/v1/requests").json == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield a daemon that is never to switch anything."""
    nodes = {"n1": {"hostname": "quick", "port": 1}, "kept": {"hostname": "quick", "port": 7, "locked": True}}
    started = Daemon(tmp_path_factory.mktemp("d"), {"quick": {"driver": "dummy"}}, nodes=nodes, groups={"all": ["n1"]})
    started.start()
    yield started
    started.kill()


def test_what_is_no_json_or_too_long_is_refused(shared: Daemon) -> None:
    body = json.dumps({"action": "on", "alias": "n1"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert shared.http("/api/v1/requests", "POST", body, Content_Type=kind).status == 415
    assert shared.http("/api/v1/requests", "POST", body + " " * 70000, **JSON).status == 413
    assert shared.http("/api/v1/requests?action=on", "POST", body, **JSON).status == 400
    assert shared.http("/api/v1/requests", "PUT", body, **JSON).status == 405
    assert shared.http("/api/v1/requests").json == []


def test_two_keys_are_refused(shared: Daemon) -> None:
    reply = post(shared, {"action": "on", "alias": "n1", "key": "k1"}, Idempotency_Key='"k2"')
    assert (reply.status, reply.json["field"]) == (400, "key")
    assert reply.json["detail"] == "key: differs from the header Idempotency-Key"


def test_a_page_of_another_site_cannot_ask(shared: Daemon) -> None:
    content = {"action": "on", "alias": "n1"}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Referer": "http://x/"}):
        assert post(shared, content, **headers).status == 403
    assert shared.http("/api/v1/requests").json == []


def test_who_may_not_switch_is_refused(daemon: Callable[..., Daemon]) -> None:
    pdus = {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}}
    nodes = {"na": {"hostname": "a", "port": 1}, "nb": {"hostname": "b", "port": 1}}
    started = daemon(pdus, nodes=nodes, secret=SECRET, start=False)
    started.settings["roles"] = {"users": {"pdus": ["b"], "may": ["on", "status"]}}
    started.configure(started.settings)
    started.start()
    started.token = good(sub="ann", roles=["users"])
    assert post(started, {"action": "on", "alias": "nb"}).status == 201
    assert post(started, {"action": "off", "alias": "nb"}).status == 403
    assert post(started, {"action": "off", "nodes": "nb"}).status == 403
    hidden, absent = (post(started, {"action": "on", "alias": name}) for name in ("na", "nx"))
    assert hidden.status == absent.status == 422 and hidden.text == absent.text.replace("nx", "na")
    assert post(started, {"action": "on", "nodes": "na"}).status == 422
    started.token = "none"
    assert post(started, {"action": "on", "alias": "nb"}).status == 401
