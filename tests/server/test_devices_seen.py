# SPDX-License-Identifier: MIT
"""What is told of PDUs, outlets and nodes to who may see all of it, a whole PDU, or a node; without a socket.

With a daemon it is tried in `test_devices`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.readings import Identity, InletReading
from pdudaemon.engine.inventory import NamesUnknown
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, State
from pdudaemon.server import devices
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.server.pace import Pace
from pdudaemon.server.rights import EVERYTHING, RoleRights
from tests.support.rack import Rack, awaited, submitted

NODES = {
    "mine": {"hostname": "a", "port": 1},
    "others": {"hostname": "a", "port": 1},
    "second": {"hostname": "a", "port": 2},
}
ROLES = {"node": {"nodes": "mine", "may": ["on"]}, "pdu": {"pdus": "a", "may": ["status", "off"]}}


class Lab(Rack):
    def config(self) -> Any:
        found = super().config()
        path = Path(self._folder / "nodes")
        path.write_text(json.dumps({"pdus": self.pdus, "nodes": NODES, "roles": ROLES}))
        read = reader.load(str(path))
        assert not read.faults
        return replace(found, nodes=read.nodes, roles=read.roles)

    def ask(self, serve: Any, word: str = "", role: str = "", **words: str) -> Any:
        """Return what somebody is told who has a role, or may see everything."""
        config = self.dispatcher.config
        rights = RoleRights(config, (role,)) if role else EVERYTHING
        orders = SimpleNamespace(pace=Pace())
        exchange: Any = SimpleNamespace(
            dispatcher=self.dispatcher, rights=rights, config=rights.view(config), words=words, orders=orders
        )
        answer = serve(exchange, word)
        assert isinstance(answer, Answer) and answer.status == 200
        return json.loads(answer.body) if isinstance(answer.body, bytes) else answer.body


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    one = Lab(tmp_path, {"a": {}, "b": {}})
    known = one.dispatcher.inventory.pdu("a")
    assert known is not None
    known.identity = Identity("Maker", "M8", "7", "1.0")
    known.inlets = (InletReading("A", watts=30.0),)
    known.outlets = {port: Known(State.ON, "device", 5.0) for port in ("1", "2")}
    known.trouble, known.reachable, known.watts = "port 2 called secret is odd", False, 30.0
    known.read, known.tried = time.time() - 10, one.clock.uptime()  # so that it is not read now
    yield one
    one.stop()


WHOLE = {"requests": 0, "outlets": 2, "watts": 30.0, "reason": "port 2 called secret is odd"}


@pytest.mark.parametrize("role", ["", "pdu", "node"])
def test_what_is_counted_of_a_pdu_is_for_who_may_see_all_of_it(lab: Lab, role: str) -> None:
    one = lab.ask(devices.one_pdu, "a", role)
    (listed,) = (each for each in lab.ask(devices.pdus, "", role) if each["name"] == "a")
    ports = [outlet["port"] for outlet in one["outlets"]]
    assert ports == (["1"] if role == "node" else ["1", "2"])
    for found in ({**one, "outlets": listed["outlets"]}, listed):
        told = {word: found[word] for word in WHOLE}
        assert told == (dict.fromkeys(WHOLE) if role == "node" else WHOLE)
        assert [inlet["watts"] for inlet in found["inlets"]] == ([] if role == "node" else [30.0])
        assert found["reachable"] is False and 10 <= found["age"] < 100
    assert (one["identity"] is None) is (role == "node")


def test_a_device_that_says_nothing_of_itself_has_no_identity(lab: Lab) -> None:
    known = lab.dispatcher.inventory.pdu("a")
    assert known is not None
    for identity in (None, Identity()):
        known.identity = identity
        assert lab.ask(devices.one_pdu, "a")["identity"] is None


@pytest.mark.parametrize(
    ("role", "nodes", "may"),
    [
        ("", ["mine", "others"], None),
        ("node", ["mine"], ["on", "status"]),
        ("pdu", ["mine", "others"], ["off", "status"]),
    ],
)
def test_an_outlet_has_the_nodes_that_may_be_seen(lab: Lab, role: str, nodes: list[str], may: list[str] | None) -> None:
    ways = (
        lab.ask(devices.one_outlet, "a/outlets/1", role),
        lab.ask(devices.one_pdu, "a", role)["outlets"][0],
        lab.ask(devices.every_outlet, "", role)[0],
        lab.ask(devices.one_node, "mine", role)["feeds"][0],
        lab.ask(devices.nodes, "", role)[0]["feeds"][0],
    )
    for outlet in ways:
        assert (outlet["port"], outlet["nodes"]) == ("1", nodes)
        assert (sorted(outlet["may"]) if may else outlet.get("may")) == may
    assert [node["name"] for node in lab.ask(devices.nodes, "", role)] == (["mine"] if role == "node" else [*NODES])


def test_what_may_not_be_seen_is_not_there(lab: Lab) -> None:
    for serve, word in ((devices.one_outlet, "a/outlets/2"), (devices.one_node, "others"), (devices.one_pdu, "b")):
        assert lab.ask(serve, word)
        with pytest.raises(Misdirected) as refused:
            lab.ask(serve, word, "node")
        assert refused.value.http_status == 404


def test_a_name_that_means_nothing_and_one_that_is_not_known_yet(lab: Lab) -> None:
    for role, why in (("", "a: there is no outlet called 'router'"), ("node", "a: there is no port 'name:router'")):
        with pytest.raises(Misdirected, match=why) as refused:
            lab.ask(devices.one_outlet, "a/outlets/name:router", role)
        assert refused.value.http_status == 404
    known = lab.dispatcher.inventory.pdu("a")
    assert known is not None
    known.read = None
    for role in ("", "pdu", "node"):
        with pytest.raises(NamesUnknown) as unknown:
            lab.ask(devices.one_outlet, "a/outlets/name:router", role)
        assert unknown.value.http_status == 503 and "ask again in some seconds" in str(unknown.value)


@pytest.mark.parametrize(
    ("most", "ports", "last"), [("1", "12", "a"), ("2", "12", "a"), ("3", "123", "b"), ("9", "123", "")]
)
def test_a_page_of_outlets_ends_with_a_whole_pdu(lab: Lab, most: str, ports: str, last: str) -> None:
    known = lab.dispatcher.inventory.pdu("b")
    assert known is not None
    known.outlets, known.read, known.tried = {"3": Known(State.ON, "device", 5.0)}, time.time(), lab.clock.uptime()
    exchange: Any = SimpleNamespace(
        dispatcher=lab.dispatcher, rights=EVERYTHING, config=lab.dispatcher.config, words={"limit": most}
    )
    answer = devices.every_outlet(exchange, "")
    body: Any = answer.body
    assert "".join(outlet["port"] for outlet in body) == ports
    link = f'</api/v1/outlets?after={last}&limit={most}>; rel="next"'
    assert answer.headers == ({"Link": link} if last else {})


def test_the_last_request_of_a_node_or_none_if_the_store_cannot_tell(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for action, port in ((Action.ON, "1"), (Action.OFF, "1"), (Action.ON, "2")):
        target = lab.dispatcher.config.target("a", port)
        assert awaited(lab.dispatcher, submitted(lab.dispatcher, action, target), 30)
    last = {node["name"]: node["last_request"] for node in lab.ask(devices.nodes)}
    assert {name: record["id"] for name, record in last.items()} == {"mine": 2, "others": 2, "second": 3}

    def fails(_: int) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(lab.dispatcher, "records", fails)
    assert [node["last_request"] for node in lab.ask(devices.nodes)] == [None] * 3
    assert caplog.messages[-1:] == ["the last requests of nodes cannot be told: the disk is full"]
