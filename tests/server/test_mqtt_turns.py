# SPDX-License-Identifier: MIT
"""`Bridge` without its thread: each of its turns taken by hand, with a session that notes what is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config.broker import BrokerOptions
from pdudaemon.drivers.readings import Identity
from pdudaemon.engine.inventory import NAMES_LAST
from pdudaemon.engine.outlets import Known, KnownPDU
from pdudaemon.errors import Conflict, DeviceTimeout, TransientError
from pdudaemon.power import Outcome, Outlet, State
from pdudaemon.server import mqtt
from pdudaemon.server.mqtt import AT_ONCE, FIRST_PAUSE, GRACE, LONGEST_PAUSE, PATIENCE, TURN, Bridge
from pdudaemon.transports.mqtt import Account, Message
from tests.support.rack import Rack

NODES: dict[str, Any] = {
    "both": {"feeds": [{"hostname": "a", "port": 1}, {"hostname": "b/+", "port": 2}]},
    "n1": {"hostname": "a", "port": 1},
    "held": {"hostname": "a", "port": 3},
    "lost": {"hostname": "nowhere", "port": 3},
}
ROLES: dict[str, Any] = {
    "lab": {"nodes": "n1", "may": ["on"]},
    "b": {"pdus": "b/+", "may": ["on", "off"]},
    "all": {"pdus": "a", "may": ["on"]},
}


class Line:
    """A session: ``said`` is what was published, ``waits`` how long it was to be waited for each message at most."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, bool]] = []
        self.heard: list[Message] = []
        self.topics: list[str] = []
        self.waits: list[float] = []
        self.allowed: list[float] = []
        self.deadline: Any = None

    def subscribe(self, topics: list[str]) -> None:
        self.topics += topics

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self.allowed.append(self.deadline)
        self.said.append((topic, payload, retain))

    def receive(self, step: str) -> Message:
        assert step == "commands"
        self.waits.append(self.deadline)
        if not self.heard:
            raise DeviceTimeout("nothing")
        return self.heard.pop(0)

    def kept(self) -> dict[str, str]:
        """Return what the broker has by now, but for Home Assistant's."""
        found = {topic: text for topic, text, retained in self.said if retained and not topic.startswith("home")}
        return {topic: text for topic, text in found.items() if text}

    def new(self) -> list[tuple[str, str]]:
        """Return what has been published since the last call, but for Home Assistant's."""
        said, self.said = self.said, []
        return [(topic, text) for topic, text, _ in said if not topic.startswith("homeassistant/")]


class Racked(Rack):
    sections = {"nodes": NODES, "roles": ROLES}


class Clock:
    """A clock that stands at ``now``."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Lab:
    def __init__(self, folder: Path) -> None:
        self.rack = Racked(folder, {"a": {"locked": [3]}, "b/+": {}})
        self.dispatcher = self.rack.dispatcher
        self.events = self.dispatcher.events
        self.looked_at: list[str] = []

        def look(names: Iterable[str], always: bool = False) -> None:
            self.looked_at += names

        self.dispatcher.surveys.look = look  # type: ignore[method-assign]
        self.line: Any = Line()

    def bridge(self, by_token: bool = False, **options: Any) -> Bridge:
        return Bridge(BrokerOptions({"host": "broker", **options}), self.dispatcher, by_token)

    def known(self, pdu: str, outlets: dict[str, Known]) -> KnownPDU:
        found = self.dispatcher.inventory.pdu(pdu)
        assert found is not None
        found.outlets = outlets
        return found

    def announced(self) -> dict[str, Any]:
        """Return what Home Assistant was told, by the last of it."""
        return {
            topic.removeprefix("homeassistant/").removesuffix("/config"): text and json.loads(text)
            for topic, text, _ in self.line.said
            if topic.startswith("homeassistant/")
        }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(mqtt, "time", one)
    monkeypatch.setattr(mqtt, "Deadline", float)
    return one


@pytest.fixture
def lab(tmp_path: Path, clock: Clock) -> Iterator[Lab]:
    one = Lab(tmp_path)
    yield one
    one.rack.stop()


# The thread and its session.


class Closing:
    """Is set once it has been waited for so often; the pauses are noted."""

    def __init__(self, pauses: int) -> None:
        self.waits: list[float] = []
        self._pauses = pauses

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def is_set(self) -> bool:
        return len(self.waits) >= self._pauses


class Sessions:
    """A session that cannot be had so many times, is served, and is lost."""

    def __init__(self, *faults: str) -> None:
        self._faults = list(faults)

    def __call__(self) -> Any:
        return self

    def __enter__(self) -> Any:
        if fault := self._faults.pop(0):
            raise TransientError(fault)
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_broker_that_is_away_is_asked_ever_more_rarely_until_it_is_back(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bridge = lab.bridge()
    bridge._session = Sessions(*["away"] * 8, "", "away", "gone")  # type: ignore[assignment]

    def lost(_: object) -> None:
        raise TransientError("lost")

    bridge._serve = lost  # type: ignore[assignment]
    closing = bridge._closing = Closing(11)  # type: ignore[assignment]
    bridge._run()
    doubled = [min(FIRST_PAUSE * 2**number, LONGEST_PAUSE) for number in range(8)]
    assert doubled[-1] == doubled[-2] == LONGEST_PAUSE
    assert closing.waits == [*doubled, FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert caplog.messages == [
        "MQTT: away; it is tried again",
        "connected with the broker broker port 1883",
        "MQTT: lost; it is tried again",
        "MQTT: away; it is tried again",
        "MQTT: gone; it is tried again",
    ]


def test_trouble_that_was_over_is_told_again(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    bridge = lab.bridge()
    bridge._session = Sessions("away", "", "away")  # type: ignore[assignment]
    bridge._serve = lambda _: None  # type: ignore[assignment]
    bridge._closing = Closing(3)  # type: ignore[assignment]
    bridge._run()
    assert caplog.messages == ["MQTT: away; it is tried again"] * 2


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize("secure", [False, True])
def test_a_session_is_as_configured_and_says_that_it_is_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, secure: bool, insecure: bool
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(mqtt, "Session", lambda *words, **more: made.append((words, more)))
    monkeypatch.setattr(mqtt, "tls", lambda **words: words)
    words: dict[str, Any] = {"port": 8883, "username": "u", "password": "p", "topic": "lab"}
    checked = {"insecure": True} if insecure else {"ca_file": "/ca"}
    lab.bridge(**words, **({"secure": True, **checked} if secure else {}))._session()
    context = {"check": not insecure, "ca_file": "" if insecure else "/ca", "fingerprint": ""} if secure else None
    will = {"will": Message("lab/status", b"offline")}
    assert made == [((Account("broker", 8883, "u", "p", context), PATIENCE), will)]


def test_to_close_waits_a_moment_for_a_thread_that_there_is(lab: Lab) -> None:
    bridge = lab.bridge()
    joined: list[float] = []
    alive = [True, True, False, True, False, False]
    bridge._thread = SimpleNamespace(join=joined.append, is_alive=alive.pop)  # type: ignore[assignment]
    assert bridge.close() is True and not joined and bridge._closing.is_set()
    assert bridge.close() is True and joined == [GRACE]
    assert bridge.close() is False and joined == [GRACE] * 2
    assert lab.bridge()._thread.name == "mqtt"


class Turns(Closing):
    """Is set after so many looks; before each, something is done."""

    def __init__(self, *turns: Callable[[], object]) -> None:
        super().__init__(0)
        self._turns = list(turns)

    def is_set(self) -> bool:
        if not self._turns:
            return True
        self._turns.pop(0)()
        return False


def test_turn_by_turn(lab: Lab) -> None:
    bridge = lab.bridge(topic="x", discovery="")
    told: list[list[tuple[str, str]]] = []
    bridge._told["x/old"] = "of a line that was lost"

    def turn(then: Callable[[], object]) -> Callable[[], None]:
        def take() -> None:
            told.append(lab.line.new())
            then()

        return take

    def results() -> None:
        bridge._results.append(("x/1", {"a": 1}))
        bridge._results.append(("x/2", {"b": 2}))

    bridge._closing = Turns(  # type: ignore[assignment]
        turn(lambda: lab.events.pdu("a", "ready", "", False)),
        turn(lab.events.reload),
        turn(results),
        turn(lambda: lab.events.outlet(Outlet("a", "1"), Known(State.ON, "device", 5.0))),
        turn(lambda: None),
    )
    bridge._serve(lab.line)
    assert lab.line.topics == ["x/outlet/+/+/set", "x/node/+/set"]
    everything, one, anew, answers, outlet = told
    assert ("x/status", "online") in everything and ("x/pdu/a/status", "online") in everything
    assert one == [("x/pdu/a/status", "offline")]
    assert anew == [("x/pdu/a/status", "online")], "all of it, of which it knows most"
    assert answers == [("x/1", '{"a": 1}'), ("x/2", '{"b": 2}')]
    assert ("x/outlet/a/1/state", "on") in outlet and len(outlet) == 1
    assert lab.line.new() == [("x/status", "offline")] and "x/old" not in bridge._told
    assert lab.line.waits[:1] == [pytest.approx(TURN)] and not lab.events._watches


def test_results_are_not_kept(lab: Lab) -> None:
    bridge = lab.bridge()
    bridge._results.append(("t", {}))
    bridge._closing = Turns(lambda: None)  # type: ignore[assignment]
    bridge._serve(lab.line)
    assert ("t", "{}", False) in lab.line.said and ("pdudaemon/status", "offline", True) in lab.line.said


def test_what_was_missed_has_all_of_it_told_anew(lab: Lab) -> None:
    bridge = lab.bridge(discovery="")
    all_told: list[object] = []
    bridge._tell_all = all_told.append  # type: ignore[assignment, method-assign]

    def miss() -> None:
        (watch,) = lab.events._watches
        watch.position = 0
        lab.events.pdu("a", "ready", "", False)

    bridge._closing = Turns(lambda: None, miss)  # type: ignore[assignment]
    bridge._serve(lab.line)
    assert all_told == [lab.line] * 2


def test_a_line_that_is_lost_leaves_nobody_watching(lab: Lab) -> None:
    bridge = lab.bridge()

    def lost(_: object) -> None:
        raise TransientError("lost")

    lab.line.subscribe = lost
    with pytest.raises(TransientError):
        bridge._serve(lab.line)
    assert not lab.events._watches


# All that there is.


def test_all_is_told(lab: Lab) -> None:
    a = lab.known("a", {"1": Known(State.ON, "device", 5.0, "router", 1.5), "4": Known(State.OFF, "device", 5.0)})
    a.reachable = False
    lab.known("b/+", {"name:x": Known(State.ON)})
    bridge = lab.bridge()
    bridge._tell_all(lab.line)
    assert lab.line.kept() == {
        "pdudaemon/status": "online",
        "pdudaemon/pdu/a/status": "offline",
        "pdudaemon/pdu/b%2F%2B/status": "online",
        "pdudaemon/outlet/a/1/state": "on",
        "pdudaemon/outlet/a/1/readings": '{"watts": 1.5, "volts": null, "amps": null, "watt_hours": null}',
        "pdudaemon/outlet/a/3/state": "unknown",
        "pdudaemon/outlet/a/4/state": "off",
        "pdudaemon/outlet/b%2F%2B/2/state": "unknown",
        "pdudaemon/node/both/state": "on",
        "pdudaemon/node/n1/state": "on",
        "pdudaemon/node/held/state": "unknown",
    }
    assert lab.looked_at == ["a", "b/+"] and lab.line.allowed == [PATIENCE] * len(lab.line.said)
    assert all(retained for _, _, retained in lab.line.said) and bridge._current is None
    names = {number: each["name"] for number, each in lab.announced().items()}
    assert names == {
        "switch/pdudaemon_outlet_a_1": "router",
        "sensor/pdudaemon_outlet_a_1_watts": "router power",
        "binary_sensor/pdudaemon_outlet_a_3": "held",
        "switch/pdudaemon_outlet_a_4": "port 4",
        "switch/pdudaemon_outlet_b-2f--2b-_2": "both",
        "switch/pdudaemon_node_both": "both",
        "switch/pdudaemon_node_n1": "n1",
        "binary_sensor/pdudaemon_node_held": "held",
    }
    lab.line.new()
    bridge._tell_all(lab.line)
    assert not lab.line.said, "it knows all of that"


def test_what_there_is_not_any_more_is_taken_back(lab: Lab) -> None:
    lab.known("a", {"4": Known(State.ON, "device", 5.0)})
    bridge = lab.bridge(discovery="")
    bridge._tell_all(lab.line)
    lab.line.new()
    lab.known("a", {})
    bridge._tell_all(lab.line)
    assert (
        lab.line.said == [("pdudaemon/outlet/a/4/state", "", True)] and "pdudaemon/outlet/a/4/state" not in bridge._told
    )
    lab.line.new()
    bridge._tell_all(lab.line)
    assert not lab.line.said


def test_what_happens_takes_back_nothing(lab: Lab) -> None:
    bridge = lab.bridge(discovery="")
    bridge._tell_all(lab.line)
    lab.line.new()
    bridge._publish(lab.line, "pdudaemon/more", "x")
    assert lab.line.new() == [("pdudaemon/more", "x")] and bridge._current is None


def test_a_role_is_told_what_it_sees(lab: Lab) -> None:
    for pdu in ("a", "b/+"):
        lab.known(
            pdu, {port: Known(State.ON, "device", 5.0, watts=1.0) for port in ("1", "2", "4")}
        ).identity = Identity("Maker")
    bridge = lab.bridge(roles=["lab"])
    bridge._tell_all(lab.line)
    assert [*lab.line.kept()] == [
        "pdudaemon/status",
        "pdudaemon/pdu/a/status",
        "pdudaemon/outlet/a/1/state",
        "pdudaemon/outlet/a/1/readings",
        "pdudaemon/node/n1/state",
    ]
    assert lab.looked_at == ["a"]
    whole, part = lab.bridge(roles=["b"]), lab.announced()
    lab.line.new()
    whole._tell_all(lab.line)
    devices = {number: each["device"] for number, each in {**part, **lab.announced()}.items() if "_outlet_" in number}
    assert {number for number, device in devices.items() if "manufacturer" in device} == {
        *(f"switch/pdudaemon_outlet_b-2f--2b-_{port}" for port in (1, 2, 4)),
        *(f"sensor/pdudaemon_outlet_b-2f--2b-_{port}_watts" for port in (1, 2, 4)),
    }
    assert "switch/pdudaemon_outlet_a_1" in devices and part["switch/pdudaemon_outlet_a_1"]["name"] == "n1"


# What happens.


def test_what_happened_is_told_and_of_the_nodes_behind_it(lab: Lab) -> None:
    bridge = lab.bridge(discovery="")
    for role, told in (
        (
            (),
            [
                ("pdudaemon/outlet/a/1/state", "on"),
                ("pdudaemon/outlet/a/2/state", "off"),
                ("pdudaemon/pdu/a/status", "online"),
                ("pdudaemon/pdu/b%2F%2B/status", "offline"),
                ("pdudaemon/node/both/state", "on"),
                ("pdudaemon/node/n1/state", "on"),
            ],
        ),
        (
            ("lab",),
            [
                ("pdudaemon/outlet/a/1/state", "on"),
                ("pdudaemon/pdu/a/status", "online"),
                ("pdudaemon/node/n1/state", "on"),
            ],
        ),
    ):
        bridge = lab.bridge(discovery="", roles=list(role))
        watch = lab.events.watch(lambda: None)
        for port, state in (("1", State.ON), ("2", State.OFF), ("name:x", State.ON)):
            lab.events.outlet(Outlet("a", port), Known(state, "device", 5.0))
        lab.events.pdu("a", "ready", "", None)
        lab.events.pdu("b/+", "ready", "", False)
        lab.events.pdu("gone", "ready", "", False)
        lab.known("a", {"1": Known(State.ON, "device", 5.0)})
        bridge._tell(lab.line, watch.take()[0])
        watch.close()
        assert lab.line.new() == told
        bridge._tell(lab.line, [])
        assert not lab.line.said


@pytest.mark.parametrize("word", ["watts", "volts", "amps", "watt_hours"])
def test_any_reading_is_told(lab: Lab, word: str) -> None:
    bridge = lab.bridge(discovery="")
    reading: dict[str, Any] = {word: 0.0}
    known = Known(State.ON, "device", 5.0, **reading)
    bridge._tell_outlet(lab.line, Outlet("a", "1"), known, bridge._rights_to_see())
    readings = {each: 0.0 if each == word else None for each in ("watts", "volts", "amps", "watt_hours")}
    assert [json.loads(text) for topic, text in lab.line.new() if topic.endswith("/readings")] == [readings]


# What is asked for.


def test_now_and_then_it_is_heard_what_is_asked_for(lab: Lab) -> None:
    bridge = lab.bridge()
    for number in range(2 * AT_ONCE):
        bridge._publish(lab.line, f"t{number}", "x")
        assert len(lab.line.waits) == (number + 1) // AT_ONCE
    assert lab.line.waits == [0.0, 0.0]
    bridge._publish(lab.line, "t0", "x")
    bridge._publish(lab.line, "result", "x", retain=False)
    assert len(lab.line.waits) == 2 and lab.line.said[-1] == ("result", "x", False)
    assert len(lab.line.said) == 2 * AT_ONCE + 1


def test_all_that_comes_in_the_time_is_obeyed(lab: Lab, clock: Clock) -> None:
    bridge = lab.bridge()
    obeyed: list[str] = []

    def obey(message: Message) -> None:
        obeyed.append(message.topic)
        clock.now += 1.5

    bridge._obey = obey  # type: ignore[method-assign]
    lab.line.heard = [Message("1", b""), Message("2", b""), Message("3", b"")]
    bridge._hear(lab.line, 2.0)
    assert obeyed == ["1", "2", "3"] and lab.line.waits == [2.0, 0.5, 0.0, 0.0]


def result(lab: Lab, bridge: Bridge, topic: str, text: str, ended: bool = False) -> Any:
    """Have a command obeyed; return the topic of what came of it, and that."""
    done = threading.Event()
    original = bridge._done

    def noted(*words: Any) -> None:
        original(*words)
        done.set()

    bridge._done = noted  # type: ignore[assignment, method-assign]
    bridge._obey(Message(topic, text.encode()))
    assert not ended or done.wait(60)
    bridge._done = original  # type: ignore[method-assign]
    (found,) = bridge._results
    bridge._results.clear()
    return found


def test_outlets_and_nodes_are_switched(lab: Lab) -> None:
    bridge = lab.bridge(topic="x")
    done = {"request": 1, "state": "done", "reason": None}
    assert result(lab, bridge, "x/outlet/b%2F%2B/2/set", " ON\n", True) == ("x/outlet/b%2F%2B/2/result", done)
    assert result(lab, bridge, "x/node/n1/set", "off", True) == ("x/node/n1/result", {**done, "request": 2})
    assert lab.rack.seen == {"b/+": "o", "a": "f"}
    record = lab.dispatcher.record(1)
    assert (record["client"], record["delay"]) == ("mqtt broker:1883", 0.0)


@pytest.mark.parametrize(
    ("options", "topic", "text", "why"),
    [
        ({}, "outlet/a/1", "status", "'status' is none of on, off, reboot"),
        ({}, "node/nobody", "on", "there is no alias or node 'nobody'"),
        ({}, "outlet/a/1", "x" * 20, f"'{'x' * 20}' is none of on, off, reboot"),
        ({}, "outlet/a/3", "off", "a port 3 is locked by the configuration"),
        ({"by_token": True}, "outlet/a/1", "on", "there is no PDU 'a'"),
        ({"roles": ["lab"]}, "outlet/a/1", "off", "the role lab may not switch off"),
        ({"roles": ["lab"]}, "outlet/a/2", "on", "the role lab may not switch on a port 2"),
        ({"roles": ["lab"]}, "node/both", "on", "there is no alias or node 'both'"),
        ({"roles": ["lab"]}, "outlet/b%2F%2B/1", "on", "there is no PDU 'b/+'"),
        ({"roles": ["b"]}, "outlet/b%2F%2B/name:x", "on", "b/+: the names of its outlets have not been read yet"),
    ],
)
def test_what_is_refused(
    lab: Lab, options: dict[str, Any], topic: str, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = lab.bridge(**options)
    where, told = result(lab, bridge, f"pdudaemon/{topic}/set", text)
    assert where == f"pdudaemon/{topic}/result" and (told["request"], told["state"]) == (None, "refused")
    assert why in told["reason"] and lab.dispatcher.records(9) == []
    (said,) = caplog.messages
    place = topic.partition("/")[2].replace("%2F", "/").replace("%2B", "+")
    assert said == f"{text} {place} from mqtt broker:1883: {told['reason']}"


def test_what_is_said_of_a_refusal_is_one_bounded_line(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    bridge = lab.bridge()
    told = result(lab, bridge, f"pdudaemon/node/{'n' * 300}/set", "x" * 300)[1]
    assert told["reason"] == f"'{'x' * 20}' is none of on, off, reboot"
    bridge._obey(Message(f"pdudaemon/node/{'n' * 300}/set", b"on", retained=True))
    assert caplog.messages == [
        f"{'x' * 20} {'n' * 200} from mqtt broker:1883: {told['reason']}",
        f"MQTT: pdudaemon/node/{'n' * 185}: a command that the broker had kept was not obeyed",
    ]


@pytest.mark.parametrize(("role", "state"), [("lab", "refused"), ("all", "done")])
def test_an_outlet_by_its_name_is_for_who_may_see_it(lab: Lab, role: str, state: str) -> None:
    named = {"1": Known(State.ON, "device", 5.0, "mine"), "2": Known(State.ON, "device", 5.0, "others")}
    lab.known("a", named).read = lab.rack.clock.wall()
    bridge = lab.bridge(roles=[role])
    assert result(lab, bridge, "pdudaemon/outlet/a/name:mine/set", "on", True)[1]["state"] == "done"
    told = result(lab, bridge, "pdudaemon/outlet/a/name:others/set", "on", role == "all")[1]
    assert told["state"] == state
    if role == "lab":
        assert told["reason"] == "a port name:others: there is no such outlet" and lab.rack.seen["a"] == "o"


def test_nothing_is_switched_by_a_name_that_was_read_long_ago(lab: Lab) -> None:
    lab.known("a", {"1": Known(State.ON, "device", 5.0, "mine")}).read = lab.rack.clock.wall() - 2 * NAMES_LAST
    told = result(lab, lab.bridge(), "pdudaemon/outlet/a/name:mine/set", "on")[1]
    assert told["state"] == "refused" and "the names of its outlets have not been read" in told["reason"]


def test_where_tokens_are_needed_a_role_may_switch(lab: Lab) -> None:
    bridge = lab.bridge(by_token=True, roles=["lab"])
    assert result(lab, bridge, "pdudaemon/outlet/a/1/set", "on", True)[1]["state"] == "done"


def test_what_came_of_it(lab: Lab) -> None:
    bridge = lab.bridge()
    for request, trouble, told in (
        (None, Conflict("no"), {"request": None, "state": "refused", "reason": "no"}),
        (SimpleNamespace(number=7, outcome=None), None, {"request": 7, "state": "accepted", "reason": None}),
        (
            SimpleNamespace(number=7, outcome=Outcome.FAILED),
            Conflict("x"),
            {"request": 7, "state": "failed", "reason": "x"},
        ),
    ):
        bridge._done("t", request, trouble)  # type: ignore[arg-type]
        assert bridge._results.pop() == ("t", told)
