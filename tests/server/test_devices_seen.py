# SPDX-License-Identifier: MIT
"""What is told of PDUs, outlets and nodes to who may see all of it, a whole PDU, or a node; without a socket.

With a daemon it is tried in `test_devices`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.drivers.readings import Identity, InletReading
from pdudaemon.engine.inventory import NamesUnknown
from pdudaemon.engine.outlets import Known
from pdudaemon.engine.trail import Trail
from pdudaemon.errors import RequestError, StoreError
from pdudaemon.power import Action, Outlet, Reading, State
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
GROUPS = {"pair": "mine,second"}
ROLES = {"node": {"nodes": "mine", "may": ["on"]}, "pdu": {"pdus": "a", "may": ["status", "off"]}}


class Lab(Rack):
    sections = {"nodes": NODES, "roles": ROLES, "groups": GROUPS}

    def exchange(self, role: str = "", words: dict[str, str] | None = None) -> Any:
        """Return a request of somebody who has a role, or may see everything."""
        config = self.dispatcher.config
        rights = RoleRights(config, (role,)) if role else EVERYTHING
        orders = SimpleNamespace(pace=Pace())
        return SimpleNamespace(
            dispatcher=self.dispatcher, rights=rights, config=rights.view(config), words=words or {}, orders=orders
        )

    def ask(self, serve: Any, word: str = "", role: str = "", **words: str) -> Any:
        """Return what somebody is told who has a role, or may see everything."""
        answer = serve(self.exchange(role, words), word)
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


# Pages, names, and what is read behind an answer.


@pytest.fixture
def looks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What is read behind answers, here and at sites."""
    found: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(lab.dispatcher.surveys, "look", lambda names: found.append(("here", sorted(names))))
    monkeypatch.setattr(lab.dispatcher.sites, "look", lambda names: found.append(("site", sorted(names))))
    return found


def both_ways(*names: str) -> list[tuple[str, list[str]]]:
    return [("here", [*names]), ("site", [*names])]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({}, "ab"),
        ({"limit": "1"}, "a"),
        ({"limit": "2"}, "ab"),
        ({"after": "a"}, "b"),
        ({"after": "b"}, ""),
        ({"after": "gone"}, "ab"),
    ],
)
def test_pdus_in_pages(lab: Lab, looks: Any, words: dict[str, str], names: str) -> None:
    assert [pdu["name"] for pdu in lab.ask(devices.pdus, **words)] == [*names]
    assert looks == [each for name in names for each in both_ways(name)]


@pytest.mark.parametrize(
    ("words", "places", "read"),
    [
        ({}, ["a1", "a2", "b3"], "ab"),
        ({"limit": "2"}, ["a1", "a2"], "a"),
        ({"limit": "3"}, ["a1", "a2", "b3"], "ab"),
        ({"after": "a"}, ["b3"], "b"),
        ({"after": "b"}, [], ""),
        ({"after": "gone"}, ["a1", "a2", "b3"], "ab"),
    ],
)
def test_outlets_in_pages(lab: Lab, looks: Any, words: dict[str, str], places: list[str], read: str) -> None:
    known = lab.dispatcher.inventory.pdu("b")
    assert known is not None
    known.outlets = {"3": Known(State.ON, "device", 5.0)}
    assert [outlet["pdu"] + outlet["port"] for outlet in lab.ask(devices.every_outlet, **words)] == places
    assert looks == both_ways(*read)


def test_of_a_pdu_that_is_new_no_outlet_is_known(lab: Lab, looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = lab.dispatcher.inventory.pdu
    monkeypatch.setattr(lab.dispatcher.inventory, "pdu", lambda name: None if name == "a" else original(name))
    assert {outlet["pdu"] for outlet in lab.ask(devices.every_outlet)} == {"b"}
    assert lab.ask(devices.watts, "a") == {"pdu": [], "outlets": {}}
    one = lab.ask(devices.one_pdu, "a")
    assert (one["outlets"], one["inlets"], one["identity"], one["watts"], one["age"]) == ([], [], None, None, None)
    assert one["reachable"] is None


@pytest.mark.parametrize(
    ("words", "names", "read"),
    [
        ({}, ["mine", "others", "second"], "a"),
        ({"limit": "1"}, ["mine"], "a"),
        ({"limit": "1", "after": "mine"}, ["others"], "a"),
        ({"after": "second"}, [], ""),
        ({"after": "gone"}, ["mine", "others", "second"], "a"),
        ({"names": "second,mine"}, ["second", "mine"], "a"),
        ({"names": "second,mine", "after": "second"}, ["mine"], "a"),
        ({"names": " ", "groups": " "}, ["mine", "others", "second"], "a"),
        ({"groups": "pair"}, ["mine", "second"], "a"),
        ({"names": "others", "groups": "pair"}, ["others", "mine", "second"], "a"),
    ],
)
def test_nodes_in_pages(lab: Lab, looks: Any, words: dict[str, str], names: list[str], read: str) -> None:
    assert [node["name"] for node in lab.ask(devices.nodes, **words)] == names
    assert looks == both_ways(*read)


@pytest.mark.parametrize(
    ("serve", "word", "words", "status", "why"),
    [
        (devices.nodes, "", {"names": "mina"}, 404, "there is no alias or node 'mina'; did you mean 'mine'?"),
        (devices.nodes, "", {"names": "x" * 150}, 404, f"there is no alias or node '{'x' * 100}'"),
        (devices.nodes, "", {"groups": "pear"}, 404, "there is no group 'pear'; did you mean 'pair'?"),
        (devices.nodes, "", {"groups": "x" * 150}, 404, f"there is no group '{'x' * 100}'"),
        (devices.nodes, "", {"names": "n[3-1]"}, 400, "'n[3-1]': the range 3-1 runs downwards"),
        (devices.one_node, "mine,second", {}, 404, "there is no alias or node 'mine,second'"),
        (devices.one_node, "@pair", {}, 404, "there is no alias or node '@pair'"),
        (devices.one_pdu, "c", {}, 404, "there is no PDU 'c'"),
        (devices.watts, "c", {}, 404, "there is no PDU 'c'"),
        (devices.one_pdu, "x" * 150, {}, 404, f"there is no PDU '{'x' * 100}'"),
        (devices.one_outlet, "c/outlets/1", {}, 404, "there is no PDU 'c'"),
        (devices.one_outlet, "a/outlets/99", {}, 404, "a: '99' is not a port: this PDU has 1 to 8"),
        (devices.one_outlet, "off/outlets/1", {}, 503, "off: disabled by its configuration"),
        (devices.one_pdu, "a", {"fresh": "x" * 30}, 400, f"fresh: '{'x' * 20}' is neither 0 nor 1"),
    ],
)
def test_what_is_not_there_and_why(
    lab: Lab, serve: Any, word: str, words: dict[str, str], status: int, why: str
) -> None:
    lab.pdus["off"] = {"driver": "nosuch"}
    lab.dispatcher.reload(lab.config())
    with pytest.raises(RequestError) as refused:
        lab.ask(serve, word, **words)
    assert refused.value.http_status == status and str(refused.value).startswith(why)


def test_the_names_of_pdus_and_ports_are_quoted_in_a_path(lab: Lab, looks: Any) -> None:
    lab.pdus["b c/d"] = {"driver": "dummy"}
    lab.dispatcher.reload(lab.config())
    known = lab.dispatcher.inventory.pdu("b c/d")
    assert known is not None
    known.outlets = {"3": Known(State.ON, "device", 5.0)}
    assert lab.ask(devices.one_pdu, "b%20c%2Fd")["name"] == "b c/d"
    assert lab.ask(devices.one_outlet, "b%20c%2Fd/outlets/%33")["port"] == "3"
    assert lab.ask(devices.watts, "b%20c%2Fd") == {"pdu": [], "outlets": {}}
    exchange = lab.exchange(words={"limit": "1", "after": "b"})
    assert devices.every_outlet(exchange, "").headers == {
        "Link": '</api/v1/outlets?after=b%20c%2Fd&limit=1>; rel="next"'
    }
    assert lab.ask(devices.one_node, "m%69ne")["name"] == "mine"


# What is told.


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("", {"pdu": [(60, 3.0)], "outlets": {"1": [(60, 1.0)], "2": [(60, 2.0)]}}),
        ("pdu", {"pdu": [(60, 3.0)], "outlets": {"1": [(60, 1.0)], "2": [(60, 2.0)]}}),
        ("node", {"pdu": [], "outlets": {"1": [(60, 1.0)]}}),
    ],
)
def test_what_was_drawn_is_told_of_what_may_be_seen(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, role: str, told: object
) -> None:
    monkeypatch.setattr(devices, "time", SimpleNamespace(time=lambda: 130.0))
    known = lab.dispatcher.inventory.pdu("a")
    assert known is not None
    for port, watts in (("", 3.0), ("1", 1.0), ("2", 2.0)):
        known.trails[port] = Trail()
        known.trails[port].put(70.0, watts)
    for _ in range(2):
        assert lab.ask(devices.watts, "a", role) == told
    del known.trails[""]
    assert lab.ask(devices.watts, "a", role) == {**told, "pdu": []}  # type: ignore[dict-item]


def test_a_pdu_that_goes_meanwhile_is_not_there(lab: Lab) -> None:
    with pytest.raises(Misdirected, match="gone is not configured any more") as refused:
        devices._one_pdu(lab.exchange(), "gone")
    assert refused.value.http_status == 404


def test_why_a_pdu_is_disabled_is_told_before_its_trouble(lab: Lab) -> None:
    record = {"name": "a", "reason": "it is stuck", "requests": 3}
    told = devices._summary(lab.exchange(), record, 0.0)
    assert (told["reason"], told["requests"], told["outlets"]) == ("it is stuck", 3, 2)
    known = lab.dispatcher.inventory.pdu("a")
    assert known is not None
    known.trouble, known.outlets = "", {}
    told = devices._summary(lab.exchange(), {**record, "reason": ""}, 0.0)
    assert told["reason"] is None and told["outlets"] is None


@pytest.mark.parametrize(
    ("states", "state", "source", "when"),
    [
        ([("on", 5.0), ("off", 4.0)], "on", "device", 4.0),
        ([("off", 5.0), ("off", 7.0)], "off", "device", 5.0),
        ([("off", 5.0), ("unknown", None)], "unknown", "device", 5.0),
        ([], "unknown", "none", None),
    ],
)
def test_a_node_is_what_its_feeds_are(
    lab: Lab, states: list[tuple[str, float | None]], state: str, source: str, when: float | None
) -> None:
    known = lab.dispatcher.inventory.pdu("a")
    assert known is not None
    known.outlets = {str(port): Known(State(each), "device", since) for port, (each, since) in enumerate(states, 1)}
    config = lab.dispatcher.config
    feeds = tuple(Outlet("a", str(port)) for port in range(1, len(states) + 1))
    node = replace(config.nodes["second"], feeds=feeds, fault="" if feeds else "there is no such PDU")
    told = devices._node(lab.exchange(), node, None, 10.0)
    assert (told["state"], told["source"], told["time"]) == (state, source, when)
    assert told["age"] == (None if when is None else 10.0 - when) and told["groups"] == ["pair"]
    assert (told["locked"], told["reason"]) == (False, None if feeds else "there is no such PDU")
    assert [feed["port"] for feed in told["feeds"]] == [feed.port for feed in feeds]


def test_a_node_with_a_lock_says_why(lab: Lab) -> None:
    lab.pdus["a"]["locked"] = {"ports": [1], "reason": "it is the router"}
    lab.dispatcher.reload(lab.config())
    told = lab.ask(devices.one_node, "mine")
    assert (told["locked"], told["reason"]) == (True, told["feeds"][0]["reason"]) and "router" in told["reason"]
    assert lab.ask(devices.one_node, "second")["locked"] is False


def test_of_several_last_requests_the_last_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(number: int, *ports: str) -> dict[str, Any]:
        outlets = [{"pdu": "a", "port": port} for port in ports]
        return {"id": number, "target": "x", "outlets": outlets, "nodes": []}

    asked: list[int] = []

    def records(most: int) -> list[dict[str, Any]]:
        asked.append(most)
        return [record(9, "2"), record(8, "1", "2"), record(7, "1")]

    monkeypatch.setattr(lab.dispatcher, "records", records)
    nodes = lab.dispatcher.config.nodes
    both = replace(nodes["mine"], name="both", feeds=(Outlet("a", "1"), Outlet("a", "2")))
    none = replace(nodes["mine"], name="none", feeds=(Outlet("a", "3"),))
    found = devices._last_requests(lab.exchange(), [nodes["mine"], nodes["second"], both, none])
    assert {name: last["id"] for name, last in found.items()} == {"mine": 8, "second": 9, "both": 9}
    assert asked == [devices.NEWEST]
    monkeypatch.setattr(lab.dispatcher.sites, "last", lambda name: record(77, "1") if name == "none" else None)
    found = devices._last_requests(lab.exchange(), [none, both])
    assert {name: last["id"] for name, last in found.items()} == {"none": 77, "both": 9}
    assert set(devices._last_requests(lab.exchange("node"), [nodes["mine"], nodes["second"]])) == set()


# With devices asked first, and sites.


class Waiting:
    """A request that is answered later: its ``answers``, and the PDUs and outlets that are ``asked`` before."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.asked: list[object] = []
        self.answers: list[Answer] = []
        monkeypatch.setattr(lab.dispatcher.surveys, "ask", self._survey)
        monkeypatch.setattr(lab.dispatcher, "ask", self._looks)

    def _survey(self, name: str, told: Callable[[None], None]) -> None:
        self.asked.append(name)
        told(None)

    def _looks(self, looks: list[Any]) -> None:
        for look in looks:
            self.asked.append(look.outlets)
            look.heard(look.outlets[0], Reading(State.ON, "device", 5.0))

    def asks(self, serve: Any, word: str, **words: str) -> list[object]:
        """Return what is asked for an answer, which is given in the end."""
        exchange = self.lab.exchange(words=words)
        exchange.connection = SimpleNamespace(connections=SimpleNamespace(later=lambda call: call()))
        exchange.within = lambda seconds, late: None
        exchange.give = lambda made: self.answers.append(made())
        self.asked.clear()
        self.answers.clear()
        if (answer := serve(exchange, word)) is not None:
            self.answers.append(answer)
        assert [each.status for each in self.answers] in ([200], [])
        return [*self.asked]


@pytest.fixture
def waiting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(lab, monkeypatch)


def test_which_devices_are_asked_first(lab: Lab, waiting: Waiting) -> None:
    places = {"a": devices.one_pdu, "a/outlets/2": devices.one_outlet, "second": devices.one_node}
    for word, serve in places.items():
        assert waiting.asks(serve, word, fresh="1") == ["a"] and len(waiting.answers) == 1
        assert waiting.asks(serve, word) == [] and len(waiting.answers) == 1
    config = lab.dispatcher.config
    single = {name: replace(pdu, traits=replace(pdu.traits, reads_outlets=False)) for name, pdu in config.pdus.items()}
    lab.dispatcher.config = replace(config, pdus=single)
    assert waiting.asks(devices.one_pdu, "a", fresh="1") == [] and len(waiting.answers) == 1
    for word in ("a/outlets/2", "second"):
        assert waiting.asks(places[word], word, fresh="1") == [[Outlet("a", "2")]]


def test_what_is_at_a_site_is_asked_there_unless_it_is_away(
    lab: Lab, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[tuple[Any, ...]] = []
    translation = SimpleNamespace(theirs=lambda name: f"their {name}")
    site = SimpleNamespace(
        name="berlin", trouble="", translation=translation, ask=lambda *words: questions.append(words)
    )
    monkeypatch.setattr(lab.dispatcher.sites, "of", lambda target, config: site)
    for serve, path in ((devices.one_pdu, ""), (devices.watts, "/watts")):
        assert waiting.asks(serve, "a") == [] and not waiting.answers
        assert questions.pop()[:2] == ("GET", f"/api/v1/pdus/their%20a{path}")
    assert waiting.asks(devices.one_pdu, "a", fresh="1") == ["a"] and len(waiting.answers) == 1
    site.trouble = "it is away"
    for serve in (devices.one_pdu, devices.watts):
        assert waiting.asks(serve, "a") == [] and len(waiting.answers) == 1
    assert not questions


def test_what_is_read_at_a_site_is_asked_for_there_though_no_device_is_read_so_here(
    lab: Lab, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lab.dispatcher.config
    single = {name: replace(pdu, traits=replace(pdu.traits, reads_outlets=False)) for name, pdu in config.pdus.items()}
    lab.dispatcher.config = replace(config, pdus=single)
    monkeypatch.setattr(lab.dispatcher.sites, "of", lambda target, config: SimpleNamespace(trouble=""))
    assert waiting.asks(devices.one_pdu, "a", fresh="1") == [[Outlet("a", "")]]


def test_an_outlet_is_looked_at_though_it_is_not_known_yet_which_is_locked(lab: Lab) -> None:
    """By its name: until that has been read nothing is switched."""
    lab.pdus["a"]["locked"] = ["name:router"]
    lab.dispatcher.reload(lab.config())
    known = lab.dispatcher.inventory.pdu("a")
    assert known is not None
    known.read = None
    assert lab.ask(devices.one_outlet, "a/outlets/2")["port"] == "2"
    with pytest.raises(NamesUnknown):
        lab.dispatcher.surveys.resolved(lab.dispatcher.config.target("a", "2"), lab.dispatcher.config)


def test_who_sees_a_part_is_told_of_that_and_which_ports_there_are(lab: Lab) -> None:
    assert [outlet["port"] for outlet in lab.ask(devices.every_outlet, "", "node")] == ["1"]
    with pytest.raises(Misdirected, match="a: '99' is not a port: this PDU has 1 to 8"):
        lab.ask(devices.one_outlet, "a/outlets/99", "node")


def test_the_groups_that_there_are(lab: Lab) -> None:
    assert lab.ask(devices.groups) == {"pair": ["mine", "second"]}
