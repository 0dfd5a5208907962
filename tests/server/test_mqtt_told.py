# SPDX-License-Identifier: MIT
"""`Bridge` with a rack of PDUs and a session in place of a broker's: what is published, when, and what is obeyed.

By a broker it is tried in `test_mqtt`.
"""

from __future__ import annotations

import gc
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.broker import BrokerOptions
from pdudaemon.drivers.readings import Identity
from pdudaemon.engine.events import Events, Watch
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.power import Outlet, State
from pdudaemon.server import mqtt
from pdudaemon.server.mqtt import Bridge
from pdudaemon.transports.mqtt import Message
from tests.support.process import eventually
from tests.support.rack import Rack


class Line:
    """A session: ``said`` is all that was published, in order; ``heard`` is what is received next."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, bool]] = []
        self.heard: deque[Message] = deque()
        self.topics: list[str] = []
        self.deadline: Any = None
        self.cut = False

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def subscribe(self, topics: list[str]) -> None:
        self.topics += topics

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        if self.cut:
            raise TransientError("the line is cut")
        self.said.append((topic, payload, retain))

    def receive(self, _: str) -> Message:
        if not self.heard:
            threading.Event().wait(0.01)
            raise DeviceTimeout("nothing")
        return self.heard.popleft()

    def told(self, topic: str) -> list[str]:
        return [payload for each, payload, _ in self.said if each == topic]

    def results(self, topic: str) -> list[dict[str, Any]]:
        assert not [each for each in self.said if each[0] == topic and each[2]], "a result is not kept"
        return [json.loads(payload) for payload in self.told(topic)]


class Lab:
    def __init__(self, rack: Rack, **options: Any) -> None:
        self.rack = rack
        by_token = options.pop("by_token", False)
        self.bridge = Bridge(BrokerOptions({"host": "broker", **options}), rack.dispatcher, by_token)
        self.line = Line()
        self.bridge._session = lambda: self.line  # type: ignore[method-assign, assignment, return-value]

    def start(self) -> Lab:
        self.bridge.start()
        eventually(lambda: self.line.told(f"{self.bridge.options.topic}/status"))
        return self

    def say(self, topic: str, text: str, retained: bool = False) -> None:
        self.line.heard.append(Message(topic, text.encode(), retained))


Make = Callable[..., Lab]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(mqtt, "FIRST_PAUSE", 0.05)
    never_read = {"refresh": 0}  # a look would find that they cannot be
    rack = Rack(tmp_path, {"a": {"names": {"1": "router"}, **never_read}, "b/+": never_read})
    made: list[Lab] = []

    def lab(**options: Any) -> Lab:
        made.append(Lab(rack, **options))
        return made[-1]

    yield lab
    for each in made:
        each.bridge.close()
    rack.stop()


def result(lab: Lab, topic: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = eventually(lambda: lab.line.results(topic))
    return found[0]


def test_what_is_there_is_told_and_kept_and_its_end_as_well(make: Make) -> None:
    lab = make(discovery="").start()
    assert lab.line.topics == ["pdudaemon/outlet/+/+/set", "pdudaemon/node/+/set"]
    eventually(lambda: lab.line.told("pdudaemon/pdu/b%2F%2B/status"))
    assert lab.line.said[0] == ("pdudaemon/status", "online", True)
    assert lab.line.told("pdudaemon/pdu/a/status")[0] == "online"
    assert str(lab.bridge) == "the thread that speaks MQTT" and lab.bridge._thread.daemon
    assert lab.bridge.close() is True and not lab.bridge._thread.is_alive()
    assert lab.line.said[-1] == ("pdudaemon/status", "offline", True)
    assert not [topic for topic, _, _ in lab.line.said if topic.startswith("homeassistant")]


def test_what_happens_is_told_once(make: Make) -> None:
    lab = make(topic="lab/x").start()
    events = lab.rack.dispatcher.events
    eventually(lambda: lab.line.told("lab/x/pdu/b%2F%2B/status") and not lab.rack.dispatcher.surveys._pending)
    for known in (Known(State.ON, "device", 5.0, watts=3.5), Known(State.ON, "device", 6.0, watts=3.5)):
        events.outlet(Outlet("a", "1"), known)
    events.outlet(Outlet("a", "name:router"), Known(State.OFF, "device", 5.0))
    events.pdu("a", "ready", "", False)
    events.pdu("gone", "ready", "", False)
    events.outlet(Outlet("a", "3"), Known(State.ON, "device", 5.0))
    eventually(lambda: "on" in lab.line.told("lab/x/outlet/a/3/state"))
    assert lab.line.told("lab/x/pdu/a/status")[-1] == "offline"
    assert [each for each in lab.line.told("lab/x/outlet/a/1/state") if each != "unknown"] == ["on"]
    readings = {"watts": 3.5, "volts": None, "amps": None, "watt_hours": None}
    assert [json.loads(each) for each in lab.line.told("lab/x/outlet/a/1/readings")] == [readings]
    assert not [topic for topic, _, _ in lab.line.said if "name" in topic or "gone" in topic]
    events.outlet(Outlet("a", "1"), Known(State.OFF, "device", 7.0))
    eventually(lambda: lab.line.told("lab/x/outlet/a/1/state")[-2:] == ["on", "off"])
    configs = [topic for topic, _, _ in lab.line.said if topic.endswith("/config")]
    assert configs.count("homeassistant/switch/lab-2f-x_outlet_a_1/config") == 1
    events.outlet(Outlet("a", "2"), Known(State.ON, "device", 5.0, name="modem"))
    for port, name in (("1", "port 1"), ("2", "modem")):
        topic = f"homeassistant/switch/lab-2f-x_outlet_a_{port}/config"
        eventually(lambda topic=topic, name=name: json.loads(lab.line.told(topic)[-1])["name"] == name)


def test_a_pdu_that_takes_nothing_is_not_there(make: Make) -> None:
    lab = make().start()
    topic = "pdudaemon/pdu/a/status"
    eventually(lambda: lab.line.told(topic) == ["online"])
    for state, told in (("stuck", "offline"), ("ready", "online"), ("disabled", "offline")):
        lab.rack.dispatcher.events.pdu("a", state, "", True)
        eventually(lambda told=told: lab.line.told(topic)[-1] == told)


def test_a_pdu_that_is_disabled_by_its_configuration_is_not_there(make: Make) -> None:
    lab = make()
    lab.rack.pdus |= {"bad": {"driver": "nope"}, "idle": {"driver": "dummy", "refresh": 0}}
    lab.rack.dispatcher.reload(lab.rack.config())
    lab.start()
    assert eventually(lambda: lab.line.told("pdudaemon/pdu/bad/status")) == ["offline"]
    assert eventually(lambda: lab.line.told("pdudaemon/pdu/idle/status")) == ["online"], "nobody knows better"


@pytest.mark.parametrize(
    ("action", "word", "state"), [("ON", "o", "done"), (" off\n", "f", "done"), ("restart", "f", None)]
)
def test_a_command_is_obeyed_and_answered(make: Make, action: str, word: str, state: str | None) -> None:
    lab = make().start()
    lab.say("pdudaemon/outlet/b%2F%2B/2/set", action)
    if state is not None:
        told = result(lab, "pdudaemon/outlet/b%2F%2B/2/result")
        assert told == {"request": 1, "state": state, "reason": None}
    eventually(lambda: lab.rack.seen["b/+"] == word)
    record = lab.rack.dispatcher.record(1)
    assert record["client"] == "mqtt broker:1883" and record["target"] == "b/+ port 2"
    assert record["delay"] == (0.0 if state else 5.0)
    if state is None:  # a restart has its usual delay
        assert eventually(lambda: lab.rack.state(1) == "waiting")


def test_a_device_that_fails_is_told_of(make: Make) -> None:
    lab = make().start()
    lab.rack.refusing.add(("a", "on"))
    lab.say("pdudaemon/outlet/a/1/set", "on")
    assert result(lab, "pdudaemon/outlet/a/1/result") == {"request": 1, "state": "failed", "reason": "a: refused"}


@pytest.mark.parametrize(
    ("topic", "text", "why"),
    [
        ("outlet/a/1", "status", "'status' is none of on, off, reboot"),
        ("outlet/a/1", "x" * 50, f"'{'x' * 20}' is none of on, off, reboot"),
        ("outlet/a/1", "", "'' is none of on, off, reboot"),
        ("outlet/c/1", "on", "there is no PDU 'c'"),
        ("node/n1", "on", "there is no alias or node 'n1'"),
        ("outlet/a/99", "on", "a: '99' is not a port"),
    ],
)
def test_what_cannot_be_done_is_refused(
    make: Make, topic: str, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    lab = make().start()
    lab.say(f"pdudaemon/{topic}/set", text)
    told = result(lab, f"pdudaemon/{topic}/result")
    assert (told["request"], told["state"]) == (None, "refused") and told["reason"].startswith(why)
    place = topic.partition("/")[2]
    assert f"{text[:20]} {place} from mqtt broker:1883: {told['reason']}" in caplog.messages
    assert lab.rack.dispatcher.records(9) == []


def test_what_the_broker_has_kept_is_not_obeyed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    lab = make().start()
    lab.say("pdudaemon/outlet/a/1/set", "on", retained=True)
    lab.say("pdudaemon/outlet/a/2/set", "x")
    assert result(lab, "pdudaemon/outlet/a/2/result")["state"] == "refused"
    assert not lab.line.told("pdudaemon/outlet/a/1/result") and lab.rack.dispatcher.records(9) == []
    assert "MQTT: pdudaemon/outlet/a/1/set: a command that the broker had kept was not obeyed" in caplog.messages


def test_where_tokens_are_needed_nothing_is_switched_without_a_role(make: Make) -> None:
    lab = make(by_token=True).start()
    lab.say("pdudaemon/outlet/a/1/set", "on")
    assert result(lab, "pdudaemon/outlet/a/1/result")["state"] == "refused" and lab.rack.dispatcher.records(9) == []


def living_watches(events: Events) -> int:
    return sum(isinstance(each, Watch) and each._events is events for each in gc.get_objects())


def test_trouble_is_told_once_and_all_is_told_anew(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lab = make(discovery="").start()
    events = lab.rack.dispatcher.events
    assert living_watches(events) == 1
    lab.line.cut = True
    events.outlet(Outlet("a", "7"), Known(State.ON, "device", 5.0))
    eventually(lambda: "MQTT: the line is cut; it is tried again" in caplog.messages)
    before = len(lab.line.said)
    eventually(lambda: caplog.messages.count("connected with the broker broker port 1883") > 2)
    lab.line.cut = False
    eventually(lambda: ("pdudaemon/status", "online", True) in lab.line.said[before:])
    assert caplog.messages.count("MQTT: the line is cut; it is tried again") >= 1
    gc.disable()
    try:  # of a line that was cut nothing is left, not even for the collector
        eventually(lambda: living_watches(events) == 1)
    finally:
        gc.enable()


def test_a_fault_of_ours_is_logged_and_it_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab = make(discovery="").start()

    def fail(*_: object) -> None:
        raise KeyError("x")

    with monkeypatch.context() as patched:
        patched.setattr(lab.line, "receive", fail)
        eventually(lambda: "speaking with the broker broker failed" in caplog.messages)
    lab.say("pdudaemon/outlet/a/1/set", "on")
    assert result(lab, "pdudaemon/outlet/a/1/result")["state"] == "done"


def test_a_broker_that_stays_away_is_told_of_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mqtt, "LONGEST_PAUSE", 0.05)
    lab, tries = make(), list[int]()

    def fail() -> Line:
        tries.append(1)
        raise TransientError("no route" if len(tries) < 4 else "refused")

    lab.bridge._session = fail  # type: ignore[method-assign, assignment]
    lab.bridge.start()
    eventually(lambda: len(tries) > 6)
    assert [each for each in caplog.messages if each.startswith("MQTT: ")] == [
        "MQTT: no route; it is tried again",
        "MQTT: refused; it is tried again",
    ]


def test_what_is_known_before_is_told_at_once(make: Make, tmp_path: Path) -> None:
    lab = make(discovery="")
    dispatcher = lab.rack.dispatcher
    nodes = {"lost": {"hostname": "nowhere", "port": 1}, "n1": {"hostname": "a", "port": 1}}
    (tmp_path / "nodes").write_text(json.dumps({"pdus": lab.rack.pdus, "nodes": nodes}))
    dispatcher.config = replace(dispatcher.config, nodes=reader.load(str(tmp_path / "nodes")).nodes)  # type: ignore[misc]
    assert dispatcher.config.nodes["lost"].feeds == ()
    known = dispatcher.inventory.pdu("a")
    assert known is not None
    known.reachable = False
    lab.start()
    assert eventually(lambda: lab.line.told("pdudaemon/node/n1/state")) == ["unknown"]
    assert lab.line.told("pdudaemon/pdu/a/status")[0] == "offline"
    assert lab.line.told("pdudaemon/pdu/b%2F%2B/status")[0] == "online"
    assert not lab.line.told("pdudaemon/node/lost/state") and lab.line.told("pdudaemon/status") == ["online"]


def test_what_a_role_does_not_see_is_not_told(make: Make, tmp_path: Path) -> None:
    """Neither another name of its outlet, nor what the PDU is, of which it sees a part."""
    lab = make(roles=["lab"])
    dispatcher = lab.rack.dispatcher
    words = {
        "pdus": lab.rack.pdus,
        "nodes": {"mine": {"hostname": "a", "port": 2}, "others": {"hostname": "a", "port": 2}},
        "roles": {"lab": {"nodes": "mine", "may": ["on"]}},
    }
    (tmp_path / "roles").write_text(json.dumps(words))
    read = reader.load(str(tmp_path / "roles"))
    dispatcher.config = replace(dispatcher.config, nodes=read.nodes, roles=read.roles)  # type: ignore[misc]
    known = dispatcher.inventory.pdu("a")
    assert known is not None
    known.identity = Identity("Dummies", "D8", "7", "1.0", "dummy")
    known.outlets |= {port: Known(State.ON, "device", 5.0) for port in ("1", "2")}
    lab.start()
    eventually(lambda: lab.line.told("pdudaemon/node/mine/state"))
    assert {topic for topic, _, _ in lab.line.said} == {
        "pdudaemon/status",
        "pdudaemon/pdu/a/status",
        "pdudaemon/outlet/a/2/state",
        "homeassistant/switch/pdudaemon_outlet_a_2/config",
        "pdudaemon/node/mine/state",
        "homeassistant/switch/pdudaemon_node_mine/config",
    }
    (told,) = map(json.loads, lab.line.told("homeassistant/switch/pdudaemon_outlet_a_2/config"))
    assert told["name"] == "mine" and [*told["device"]] == ["identifiers", "name"]
    lab.say("pdudaemon/outlet/a/1/set", "on")
    refused = {"request": None, "state": "refused", "reason": "the role lab may not switch on a port 1"}
    assert result(lab, "pdudaemon/outlet/a/1/result") == refused
