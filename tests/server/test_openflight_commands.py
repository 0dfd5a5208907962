# SPDX-License-Identifier: MIT
"""What the OpenFlight API tells beyond the original: commands by their ids, how long they take, and each node's state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config, Node
from pdudaemon.errors import NotDone, TransientError
from pdudaemon.power import Action, Outlet, Phase, Reading, Request, State, Target
from pdudaemon.server.client import Client
from pdudaemon.server.openflight import _entry, _how, command
from pdudaemon.server.rights import EVERYTHING
from pdudaemon.server.siteorders import Passed
from tests.support.machines import Machines
from tests.support.process import Daemon, Reply, eventually

LINES = {"Accept": "application/x-ndjson"}
NODES: dict[str, Any] = {
    "n1": {"hostname": "a", "port": 1},
    "n2": {"hostname": "a", "port": 2},
    "kept": {"hostname": "a", "port": 3, "locked": True},
    "twin": {"feeds": [{"hostname": "a", "port": 4}, {"hostname": "b", "port": 4}]},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    pdus = {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}}
    started = Daemon(tmp_path_factory.mktemp("d"), pdus, nodes=NODES, groups={"pair": "n[1-2]"})
    started.start()
    yield started
    started.kill()


def told(reply: Reply) -> dict[str, dict[str, Any]]:
    assert reply.status == 200, reply.text
    return {each["id"]: each["attributes"] for each in reply.json["data"]}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_command_has_an_id_and_a_status_has_none(lab: Daemon, method: str) -> None:
    reply = lab.http("/?nodes=n1,kept", method)
    number = reply.headers["X-Command-Id"]
    assert reply.headers["Location"] == f"/api/v1/commands/{number}" and number.isdigit()
    assert [each["success"] for each in told(reply).values()] == [True, False]
    assert [each["name"] for each in lab.http(reply.headers["Location"]).json["nodes"]] == ["n1"]
    for none in (lab.http("/?nodes=n1"), lab.http("/?nodes=kept", method), lab.http("/?nodes=", method)):
        assert none.status == 200 and not {"X-Command-Id", "Location"} & {*none.headers}


def test_lines_begin_with_what_is_to_come(lab: Daemon) -> None:
    reply = lab.http("/?nodes=n2,nobody&groups=pair,none", "PATCH", **LINES)
    first, *rest = map(json.loads, reply.text.splitlines())
    assert reply.headers["Content-Type"] == LINES["Accept"]
    assert first == {
        "meta": {
            "command": int(reply.headers["X-Command-Id"]),
            "count": 3,
            "names": ["n2", "nobody", "n1"],
            "missing-groups": ["none"],
        }
    }
    assert {each["id"]: each["attributes"]["success"] for each in rest} == {"n2": True, "nobody": False, "n1": True}
    reply = lab.http("/?nodes=kept", "PATCH", **LINES)
    first, *rest = map(json.loads, reply.text.splitlines())
    assert first == {"meta": {"count": 1, "names": ["kept"]}} and len(rest) == 1 and "X-Command-Id" not in reply.headers
    first, *rest = map(json.loads, lab.http("/?groups=pair", **LINES).text.splitlines())
    assert first == {"meta": {"count": 2, "names": ["n1", "n2"]}} and len(rest) == 2


def test_only_a_restart_waits_between(lab: Daemon) -> None:
    for method in ("PATCH", "DELETE", "PATCH"):
        assert told(lab.http("/?nodes=n1", method))["n1"]["success"]
    late = told(lab.http("/?nodes=n1&wait=1", "PUT"))["n1"]
    assert (late["success"], late["pending"]) == (False, True) and "not done after 1 s: " in late["error"]
    assert eventually(lambda: lab.http(f"/api/v1/requests/{late['request']}").json["state"] == "done")
    assert told(lab.http("/?nodes=n1"))["n1"]["running"] is True


@pytest.mark.parametrize(
    ("method", "query", "text"),
    [
        ("GET", "nodes=n1&wait=x", "wait: 'x' is not a number of seconds"),
        ("PATCH", "nodes=n1&key=%00", "key: must be at most 200 printable characters of ASCII"),
        ("PATCH", "nodes=n1&soft=5", "soft: is for off and reboot, not for on"),
        ("DELETE", "nodes=n1&hard=no", "hard: means nothing without soft"),
        ("PATCH", "nodes=n[1-", "Unrecognised nodes syntax: "),
        ("PATCH", "nodes=n1&groups=x[", "Unrecognised groups syntax: "),
    ],
)
def test_what_is_not_understood_is_said(lab: Daemon, method: str, query: str, text: str) -> None:
    before = lab.http("/api/v1/requests?limit=1").json
    reply = lab.http(f"/?{query}", method)
    assert reply.status == 400 and reply.text.startswith(text), reply.text
    assert reply.headers["Content-Type"].startswith("text/html")
    assert lab.http("/api/v1/requests?limit=1").json == before


@pytest.fixture
def config(tmp_path: Path) -> Config:
    pdus = {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}}
    (tmp_path / "conf").write_text(json.dumps({"pdus": pdus, "nodes": NODES}))
    return reader.load(str(tmp_path / "conf"))


@pytest.mark.parametrize(
    ("answer", "running", "success", "error"),
    [
        (Reading(State.ON, "device", 5.0), True, True, None),
        (Reading(State.OFF, "device", 5.0), False, True, None),
        (Reading(State.UNKNOWN, "device", 5.0), None, False, "the device does not know"),
        (Reading(State.UNKNOWN, "none", None), None, False, "the device cannot tell, and nobody has switched it yet"),
        (Reading(State.ON, "commanded", 5.0), None, False, "the device cannot tell: it was last told to be on"),
        (TransientError("n1: no answer"), None, False, "no answer"),
    ],
)
def test_a_state_is_what_the_device_says(
    config: Config, answer: Any, running: bool | None, success: bool, error: str | None
) -> None:
    entry = _entry(config, Action.STATUS, "n1", answer)
    assert (entry["type"], entry["id"]) == ("commands", "n1")
    assert entry["attributes"] == {
        "action": "status",
        "node-name": "n1",
        "platform": "dummy",
        "missing": False,
        "success": success,
        "running": running,
        "error": error,
    }


def test_a_node_of_which_one_feed_differs(config: Config) -> None:
    feeds = tuple(
        (Outlet(pdu, "4"), Reading(state, "device", 5.0)) for pdu, state in (("a", State.ON), ("b", State.OFF))
    )
    entry = _entry(config, Action.STATUS, "twin", Reading(State.ON, "device", 5.0, feeds))["attributes"]
    assert (entry["running"], entry["success"], entry["mixed"]) == (True, True, True) and "b port 4" in entry["error"]
    assert "mixed" not in _entry(config, Action.STATUS, "n1", Reading(State.ON, "device", 5.0))["attributes"]


def test_what_is_no_node_is_missing(config: Config) -> None:
    entry = _entry(config, Action.ON, "ghost", TransientError("ghost: there is none"))["attributes"]
    assert (entry["platform"], entry["missing"], entry["error"]) == ("missing", True, "there is none")
    assert "running" not in entry and "pending" not in entry and "request" not in entry


def test_what_is_under_way_is_pending(config: Config) -> None:
    request = Request(Action.ON, Target("n1", (Outlet("a", "1"),)), 0, "", 0.0, Phase.ON, id=7)
    entry = _entry(config, Action.ON, "n1", NotDone("it goes on"), request)["attributes"]
    assert (entry["pending"], entry["request"], entry["success"]) == (True, 7, False)
    assert _entry(config, Action.ON, "n1", NotDone("it goes on"))["attributes"]["pending"] is True
    assert _entry(config, Action.ON, "n1", None, request)["attributes"]["pending"] is True  # as whoever does not wait
    request.ended = 5.0
    entry = _entry(config, Action.OFF, "n1", None, request)["attributes"]
    assert (entry["action"], entry["success"], entry["error"]) == ("power_off", True, None)
    assert "pending" not in entry and "reason" not in entry and "running" not in entry


def test_what_a_site_tells_is_passed_on(config: Config) -> None:
    passed = Passed(State.ON, "device", None, (), {"node-name": "berlin/n1", "running": True})
    assert _entry(config, Action.STATUS, "berlin/n1", passed) == {
        "type": "commands",
        "id": "berlin/n1",
        "attributes": {"node-name": "berlin/n1", "running": True},
    }


def test_what_came_of_a_machine_that_was_asked_to_shut_down(config: Config) -> None:
    outlets = [Outlet("a", "4"), Outlet("b", "4")]
    request: Any = SimpleNamespace(soft=SimpleNamespace(said="shut down", became={outlets[0]: "shut down"}))
    twin = config.nodes["twin"]
    assert _how(request, twin) == "shut down"
    request.soft.became = {outlets[0]: "shut down", outlets[1]: "did not", Outlet("a", "1"): "another's"}
    assert _how(request, twin) == "a port 4 shut down; b port 4 did not"
    request.number, request.ended = 7, 5.0
    done = _entry(config, Action.OFF, "twin", None, request)["attributes"]
    assert done["reason"] == "a port 4 shut down; b port 4 did not" and "pending" not in done
    assert "reason" not in _entry(config, Action.OFF, "twin", TransientError("no"), request)["attributes"]
    assert _how(request, None) == _how(None, twin) == _how(SimpleNamespace(soft=None), twin) == ""  # type: ignore[arg-type]


class Exchange:
    """Who has nodes switched off; ``patience`` is for how long at most he will be told of them, in the end."""

    rights = EVERYTHING

    def __init__(self, machines: Machines, **words: str) -> None:
        self.dispatcher = dispatcher = machines.dispatcher
        self.config = replace(dispatcher.config, nodes={"m": Node("m", (Outlet("a", "1"),))})
        dispatcher.config = self.config  # type: ignore[misc]
        self.words = {"nodes": "m", **words}
        self.client = Client("192.0.2.1", 7)
        self.connection = SimpleNamespace(connections=SimpleNamespace(later=print))
        self.patience: list[float] = []

    def accepts_lines(self, _: str) -> bool:
        return False

    def give(self, _: object) -> None:
        pass

    answer = give

    def within(self, seconds: float, _: object) -> None:
        self.patience.append(seconds)


@pytest.mark.parametrize(
    ("words", "patience"),
    [
        ({"wait": "7"}, 7.0),
        ({"wait": "7", "soft": "30"}, 37.0),
        ({"soft": "30"}, 85.0),
        ({}, 55.0),
    ],
)
def test_the_time_that_a_machine_has_to_shut_down_is_not_counted(
    tmp_path: Path, words: dict[str, str], patience: float
) -> None:
    machines = Machines(tmp_path, "a", wait=100)
    try:
        exchange: Any = Exchange(machines, **words)
        assert command(Action.OFF)(exchange, "") is None
        assert exchange.patience == [patience]
    finally:
        machines.stop()
