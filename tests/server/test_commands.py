# SPDX-License-Identifier: MIT
"""Commands over several nodes: accepted as one, shown, taken back; and idempotency keys of requests and commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.plugins import recorded
from tests.support.process import Daemon, eventually, in_parallel

LINES = {"Accept": "application/x-ndjson"}


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> tuple[Daemon, Any]:
    """A daemon with four boards on two PDUs, of which one takes its time, and what the outlets saw."""
    nodes = {
        f"n{number}": {"hostname": pdu, "port": number}
        for number, pdu in enumerate(("quick", "quick", "slow", "slow"), 1)
    }
    return recorded(daemon, {"quick": {}, "slow": {"takes": 3}}, nodes=nodes)


def test_lines_begin_with_the_id_of_the_command(lab: tuple[Daemon, Any]) -> None:
    started, _ = lab
    reply = started.http("/?nodes=n1,n2", "PATCH", **LINES)
    first, *rest = [json.loads(line) for line in reply.text.splitlines()]
    assert next(iter(first["meta"])) == "command" and len(rest) == 2
    assert reply.headers["X-Command-Id"] == str(first["meta"]["command"])
    found = started.http(reply.headers["Location"])
    shown = found.json
    assert found.status == 200
    assert (shown["action"], shown["state"], [node["state"] for node in shown["nodes"]]) == (
        "on",
        "ended",
        ["done"] * 2,
    )
    assert started.http("/?nodes=n1", **LINES).text.startswith('{"meta":{"count"')  # a status is no command


def test_what_has_not_begun_of_a_command_is_taken_back(lab: tuple[Daemon, Any]) -> None:
    started, plugin = lab
    number = started.http("/?nodes=n[1-4]&wait=0", "PATCH").headers["X-Command-Id"]
    begun = {("quick", "1"), ("quick", "2"), ("slow", "3")}
    eventually(lambda: begun <= {(each.pdu, each.port) for each in plugin.seen("begin")})
    reply = started.http(f"/api/v1/commands/{number}", "DELETE")
    nodes = {node["name"]: node for node in reply.json["nodes"]}
    assert reply.status == 200 and nodes["n4"]["state"] == "cancelled"
    assert "is being carried out" in nodes["n3"]["kept"] and nodes["n3"]["ended"] is None
    eventually(lambda: started.http(f"/api/v1/commands/{number}").json["state"] == "ended")
    assert plugin.by_outlet() == {("quick", "1"): "o", ("quick", "2"): "o", ("slow", "3"): "o"}
    assert started.http("/api/v1/commands/99").status == 404
    assert started.http(f"/api/v1/commands/{number}?half=off", "DELETE").status == 400


def test_a_command_is_on_record_as_a_whole(lab: tuple[Daemon, Any]) -> None:
    started, plugin = lab
    number = started.http("/?nodes=n[1-4]&wait=0", "PATCH").headers["X-Command-Id"]
    started.kill()
    started.start()
    eventually(lambda: started.http(f"/api/v1/commands/{number}").json["state"] == "ended")
    assert {word[-1:] for word in plugin.by_outlet().values()} == {"o"} and len(plugin.by_outlet()) == 4


@pytest.mark.parametrize("way", ["header", "word", "text"])
def test_the_same_key_is_the_same_request(lab: tuple[Daemon, Any], way: str) -> None:
    started, plugin = lab

    def ask(action: str = "off", port: int = 3, key: str = "k1") -> tuple[int, str]:
        if way == "text":
            text = started.tcp(f"slow {port} {action} key={key}\n")
            return 200 if text == "ack\n" else 0, text
        words = {"key": key} if way == "word" else {}
        headers = {"Idempotency-Key": key} if way == "header" else {}
        query = "".join(f"&{word}={value}" for word, value in words.items())
        reply = started.http(f"/power/control/{action}?hostname=slow&port={port}{query}", **headers)
        return reply.status, reply.headers.get("X-Request-Id", reply.text)

    answers = in_parallel([ask] * 5)
    assert {status for status, _ in answers} == {200} and len({*answers}) == 1
    assert plugin.by_outlet() == {("slow", "3"): "f"}
    started.kill()
    started.start()
    assert ask() == answers[0]
    for other in (ask("on"), ask(port=4)):
        assert other[0] in (422, 0) and "idempotency key 'k1' is that of another request" in other[1]
    assert ask(key="k2") != answers[0] or way == "text"
    assert plugin.by_outlet() == {("slow", "3"): "ff"}


def test_the_answer_to_a_key_is_the_same_after_a_failure(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"deaf": {"driver": "dummy", "deaf": True, "timeout": 0.5, "retries": 1}})
    first = started.power("on", "deaf", 1, key="k")
    again = started.power("on", "deaf", 1, key="k")
    assert first.status == 504 and (again.status, again.text) == (first.status, first.text)
    assert len(started.http("/api/v1/requests").json) == 1


def test_the_same_key_is_the_same_command(lab: tuple[Daemon, Any]) -> None:
    started, plugin = lab
    key = {"Idempotency-Key": "c1"}
    replies = in_parallel([lambda: started.http("/?nodes=n[1-4]", "PATCH", **key)] * 3)
    assert len({(reply.headers["X-Command-Id"], reply.text) for reply in replies}) == 1
    assert plugin.by_outlet() == {
        (pdu, str(port)): "o" for pdu, port in zip(("quick", "quick", "slow", "slow"), (1, 2, 3, 4), strict=True)
    }
    other = started.http("/?nodes=n1", "PATCH", **key).json["data"][0]["attributes"]
    assert other["success"] is False and "idempotency key 'c1' is that of another command" in other["error"]
    assert started.http("/?nodes=n1", "PATCH", **{"Idempotency-Key": "ü"}).status == 400
    for path, method, status in (
        ("/?nodes=n1&key=c2", "PATCH", 400),
        ("/power/control/on?alias=n1&key=c2", "GET", 503),
        ("/api/v1/pdus?key=c2", "GET", 400),
    ):
        assert (told := started.http(path, method, **key)).status == status
        assert "key: differs from the header Idempotency-Key" in told.text
    assert started.http("/power/control/on?alias=n1&key=c3", "GET", **{"Idempotency-Key": '"c3"'}).status == 200
