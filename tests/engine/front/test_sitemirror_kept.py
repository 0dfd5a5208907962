# SPDX-License-Identifier: MIT
"""What is kept of a site: all that it says of PDUs, nodes and requests, within bounds, in the words of its front."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers.readings import Identity, InletReading
from pdudaemon.engine.front import sitemirror
from pdudaemon.engine.front.sitemirror import LONGEST_NAME, LONGEST_NUMBER, Mirror, Translation
from pdudaemon.power import Outlet, State

NOW = 1_000_000.0
PLACE = Outlet("berlin/p1", "3")
PDU: dict[str, Any] = {"name": "p1", "driver": "apc7920", "state": "ready", "reason": None, "readable": True}
OUTLET: dict[str, Any] = {"pdu": "p1", "port": "3", "state": "on", "source": "device", "age": 7.0}


def mirror(*pdus: dict[str, Any], prefix: bool = True) -> Mirror:
    found = Mirror(Translation("berlin", prefix))
    for each in pdus or (PDU,):
        found.begin(each, NOW, Mirror(found.translation))
    return found


def test_names_are_those_of_the_front() -> None:
    plain, ours = Translation("berlin", False), Translation("berlin", True)
    assert (plain.name("b3"), ours.name("b3")) == ("b3", "berlin/b3")
    assert (plain.theirs("berlin/b3"), ours.theirs("berlin/b3"), ours.theirs("b3")) == ("berlin/b3", "b3", "b3")
    assert ours.name("x" * LONGEST_NAME).endswith("xx") and ours.name("n") == "berlin/n"


@pytest.mark.parametrize("told", [None, 5, "", "a\nb", "x" * (LONGEST_NAME + 1), ["a"]])
def test_what_can_be_no_name_is_none(told: object) -> None:
    with pytest.raises(ValueError, match="is no name"):
        Translation("berlin", True).name(told)


def test_numbers_are_those_of_the_site() -> None:
    translation = Translation("berlin", False)
    assert [translation.number(each) for each in (None, 7, "paris/7", "a.b-c,d_e")] == [
        None,
        "berlin/7",
        "berlin/paris/7",
        "berlin/a.b-c,d_e",
    ]
    assert translation.number("9" * LONGEST_NUMBER) is not None


@pytest.mark.parametrize("told", ["", "a b", "<x>", 5.5, ["7"], "9" * (LONGEST_NUMBER + 1)])
def test_what_can_be_no_number_is_none(told: object) -> None:
    with pytest.raises(ValueError, match="is not the number of a request"):
        Translation("berlin", True).number(told)


def test_times_are_corrected_where_they_are_times() -> None:
    translation = Translation("berlin", True)
    assert [translation.time(each) for each in (5, 5.5, None, "x", True)] == [5, 5.5, None, None, None]
    translation.ahead = -3.0
    assert [translation.time(each) for each in (5, 0, None, "x")] == [8.0, 3.0, None, None]


def test_a_port_has_a_bounded_length() -> None:
    translation = Translation("berlin", True)
    longest = "9" * sitemirror.LONGEST_PORT
    assert translation.outlet({"pdu": "p1", "port": longest}) == Outlet("berlin/p1", longest)
    assert translation.outlet({"pdu": "p1", "port": 3}) == PLACE
    with pytest.raises(ValueError, match="is no port"):
        translation.outlet({"pdu": "p1", "port": f"{longest}9"})


def test_a_request_in_our_words() -> None:
    translation = Translation("berlin", True)
    translation.ahead = 10.0
    place = {"pdu": "p1", "port": "3", "state": "on"}
    told: dict[str, Any] = {"id": 7, "command": 3, "target": "b3 (p1 port 3)", "client": "ann"}
    told |= {word: [place] for word in ("outlets", "switched", "owed", "feeds")}
    told |= {"accepted": 50.0, "ended": 60.0, "started": 51.0, "off_ended": 55.0, "time": 61.0, "due": None}
    found = translation.request(told)
    assert (found["id"], found["command"], found["target"]) == ("berlin/7", "berlin/3", "berlin/b3 (berlin/p1 port 3)")
    for word in ("outlets", "switched", "owed", "feeds"):
        assert found[word] == [{**place, "pdu": "berlin/p1"}]
    times = [found[word] for word in ("accepted", "ended", "started", "off_ended", "time", "due")]
    assert times == [40.0, 50.0, 41.0, 45.0, 51.0, None] and found["client"] == "ann"
    assert translation.request({"id": 7, "target": "b3"}) == {"id": "berlin/7", "command": None, "target": "berlin/b3"}


def test_a_pdu_may_have_a_name_that_looks_like_others() -> None:
    translation = Translation("berlin", True)
    assert translation.target("a port b port 3", {"a", "b", "a port b"}) == "berlin/a port b port 3"


def test_what_a_pdu_is() -> None:
    known = mirror({**PDU, "reachable": False, "reason": "no\x1banswer", "requests": 2, "watts": 50.0, "age": 4})
    pdu = known.pdus["berlin/p1"]
    assert known.records["berlin/p1"] == {
        "name": "berlin/p1",
        "driver": "apc7920",
        "state": "ready",
        "reason": "no\\x1banswer",
        "readable": True,
        "requests": 2,
    }
    assert (pdu.reachable, pdu.trouble, pdu.watts, pdu.read) == (False, "no\\x1banswer", 50.0, NOW - 4)
    assert [watts for _, watts in pdu.trails[""].points(NOW)] == [50.0]
    known.pdu({**PDU, "reachable": True, "reason": "it is slow", "readable": 0}, NOW)
    assert (pdu.reachable, pdu.trouble, pdu.watts, pdu.read) == (True, "", None, None)
    record = known.records["berlin/p1"]
    assert (record["reason"], record["readable"], record["requests"]) == ("it is slow", False, 0)
    known.pdu({"name": "p1", "reachable": "yes", "reason": ""}, NOW)
    assert pdu.reachable is None and pdu.trouble == ""
    assert known.records["berlin/p1"] | {"name": ""} == {
        "name": "", "driver": "", "state": "", "reason": None, "readable": False, "requests": 0
    }  # fmt: skip
    known.pdu(PDU, NOW)
    assert known.records["berlin/p1"]["reason"] is None
    known.pdu({**PDU, "name": "another"}, NOW)
    assert [*known.pdus] == [*known.records] == ["berlin/p1"]


def test_what_a_pdu_tells_of_itself() -> None:
    inlets = [
        {"name": "L1", "kind": "phase", "watts": 5},
        {"name": " ", "kind": "moon", "amps": 2.5},
        {"name": "B", "kind": "bank"},
    ]
    who = {"maker": "APC", "model": "AP7920", "serial": 5, "firmware": "3.9\n"}
    found = mirror({**PDU, "inlets": inlets, "identity": who, "outlets": [{**OUTLET, "watts": 3}]})
    pdu = found.pdus["berlin/p1"]
    assert pdu.inlets == (
        InletReading("L1", 5.0, kind="phase"),
        InletReading("", amps=2.5, kind="pdu"),
        InletReading("B", kind="bank"),
    )
    assert pdu.identity == Identity("APC", "AP7920", "", "3.9", "") and pdu.outlets["3"].watts == 3.0
    found.pdu({**PDU, "outlets": 8}, NOW)
    assert len(pdu.inlets) == 3 and pdu.identity is not None, "what is not told stays"
    found.pdu({**PDU, "inlets": []}, NOW)
    assert pdu.inlets == ()
    found.pdu({**PDU, "inlets": inlets * sitemirror.MOST_INLETS}, NOW)
    assert len(pdu.inlets) == sitemirror.MOST_INLETS


def test_what_was_drawn_until_now_is_kept_when_all_is_loaded_anew() -> None:
    before = mirror({**PDU, "watts": 50.0, "identity": {"maker": "APC"}, "inlets": [{"name": "L1"}]})
    now = Mirror(before.translation)
    now.begin({**PDU, "watts": 60.0}, NOW + 60, before)
    pdu = now.pdus["berlin/p1"]
    assert [watts for _, watts in pdu.trails[""].points(NOW + 60)] == [50.0, 60.0]
    assert (pdu.identity, pdu.inlets) == (Identity("APC"), (InletReading("L1"),)) and pdu.outlets == {}
    now.begin({**PDU, "name": "p2"}, NOW, before)
    assert now.pdus["berlin/p2"].identity is None


def test_there_is_a_bound_to_outlets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemirror, "MOST_OUTLETS", 2)
    found = mirror()
    told = [found.outlet({**OUTLET, "port": str(port)}, NOW) for port in (1, 2, 3)]
    assert [each is None for each in told] == [False, False, True]
    assert found.outlet({**OUTLET, "port": "2", "state": "off"}, NOW) is not None
    known = found.pdus["berlin/p1"].outlets
    assert {port: each.state for port, each in known.items()} == {"1": State.ON, "2": State.OFF}


def test_what_was_read_last_is_when_the_pdu_was_read() -> None:
    found = mirror({**PDU, "age": 5.0})
    pdu = found.pdus["berlin/p1"]
    found.outlet({**OUTLET, "readings_age": 9.0, "watts": 4.0}, NOW)
    assert pdu.read == NOW - 5
    found.outlet({**OUTLET, "readings_age": 2.0, "watts": 5.0}, NOW)
    assert pdu.read == NOW - 2 and pdu.trails["3"].points(NOW)[-1][1] == 5.0
    found.outlet({**OUTLET, "port": "4", "watts": 5.0}, NOW)  # read nobody knows when
    found.outlet({**OUTLET, "port": "5", "readings_age": 2.0}, NOW)  # nothing is measured
    assert pdu.read == NOW - 2 and "4" not in pdu.trails and "5" not in pdu.trails
    assert pdu.outlets["3"].source == "device" and found.outlet({**OUTLET, "source": 5}, NOW)
    assert pdu.outlets["3"].source == "none"


def test_a_node_that_is_disabled_says_why() -> None:
    found = mirror()
    found.node({"name": "b1", "feeds": [OUTLET], "reason": "it is locked", "last_request": None}, NOW)
    found.node({"name": "b2", "feeds": [], "reason": "no\x1bsuch PDU"}, NOW)
    found.node({"name": "b3", "feeds": [], "last_request": {"id": 7, "target": "b3"}}, NOW)
    faults = {name: node.fault for name, node in found.nodes.items()}
    assert faults == {"berlin/b1": "", "berlin/b2": "no\\x1bsuch PDU", "berlin/b3": "disabled"}
    assert found.nodes["berlin/b1"].feeds == (PLACE,) and PLACE.port in found.pdus["berlin/p1"].outlets
    assert {name: last["id"] for name, last in found.last.items()} == {"berlin/b3": "berlin/7"}


def test_why_an_outlet_is_locked() -> None:
    found = mirror()
    found.outlet({**OUTLET, "locked": True}, NOW)
    assert found.names("").locks(PLACE) == "berlin/p1 port 3 is locked by the configuration"
    found.outlet({**OUTLET, "locked": True, "reason": "core\x1bswitch"}, NOW)
    assert found.names("").locks(PLACE) == "core\\x1bswitch"


def event(kind: str, state: str, **more: Any) -> dict[str, Any]:
    """Return an event in our words, as `SiteRequests.heard` does."""
    found: dict[str, Any] = {"kind": kind, "request": "berlin/7", "action": "off", "target": "berlin/b3", "due": None}
    found |= {"outlets": (PLACE,), "names": ("berlin/b3",), "client": "ann", "command": "berlin/2", "state": state}
    return {**found, "error": None, "reason": "", "owed": (), **more}


def test_the_last_request_of_a_node_follows_what_is_heard() -> None:
    found = mirror()
    found.node({"name": "b3", "feeds": [OUTLET]}, NOW)
    assert found.last == {}
    found.asked(event("begun", "running"), NOW)
    assert found.last == {}, "of another one that was accepted before anybody listened"
    found.asked(event("accepted", "queued"), NOW)
    assert found.last["berlin/b3"] == {
        "id": "berlin/7", "action": "off", "target": "berlin/b3", "client": "ann", "command": "berlin/2",
        "outlets": [{"pdu": "berlin/p1", "port": "3"}], "delay": None, "accepted": NOW, "ended": None, "switched": [],
        "soft": None, "hard": None, "due": None, "state": "queued", "reason": None, "owed": [],
    }  # fmt: skip
    found.asked(event("begun", "running", owed=(PLACE,)), NOW + 1)
    assert (found.last["berlin/b3"]["state"], found.last["berlin/b3"]["owed"]) == ("running", [PLACE._asdict()])
    for kind in ("tried", "waiting"):
        found.asked(event(kind, "odd"), NOW + 2)
        assert found.last["berlin/b3"]["state"] == "running" and found.last["berlin/b3"]["ended"] is None
    found.asked(event("ended", "failed", request="berlin/6"), NOW + 3)
    assert found.last["berlin/b3"]["state"] == "running", "it is of an earlier one"
    found.asked(event("ended", "failed", error=ValueError("no answer")), NOW + 4)
    last = found.last["berlin/b3"]
    assert (last["state"], last["reason"], last["ended"]) == ("failed", "no answer", NOW + 4)
    found.asked(event("accepted", "queued", names=("berlin/unknown",)), NOW)
    assert [*found.last] == ["berlin/b3"]


def test_what_a_configuration_has_to_know() -> None:
    found = mirror({**PDU, "readable": True}, {**PDU, "name": "p2", "driver": None, "readable": False})
    found.outlet(OUTLET, NOW)
    found.group("rack", ["b1"])
    names = found.names("why")
    one, other = names.pdus.values()
    assert (one.name, one.site, one.driver_name, one.driver) == ("berlin/p1", "berlin", "apc7920", None)
    assert (one.traits.reads_state, other.traits.reads_state, other.driver_name) == (True, False, "")
    assert one.outlet("03") == PLACE and one.outlet("04") == Outlet("berlin/p1", "04")
    assert (names.groups, names.trouble) == ({"berlin/rack": ("berlin/b1",)}, "why")


def test_what_is_left_to_show_of_a_site_that_is_away() -> None:
    found = mirror({**PDU, "watts": 50.0, "identity": {"maker": "APC"}, "inlets": [{"name": "L1"}]})
    found.outlet({**OUTLET, "name": "router"}, NOW)
    shown = found.without_states("away")["berlin/p1"]
    assert (shown.identity, shown.reachable, shown.trouble) == (Identity("APC"), False, "away")
    assert (shown.inlets, shown.watts, shown.read) == ((), None, None)
    assert [watts for _, watts in shown.trails[""].points(NOW)] == [50.0]
    assert (shown.outlets["3"].name, shown.outlets["3"].state) == ("router", State.UNKNOWN)


def test_of_who_is_told_ahead_all_outlets_are_caught_up() -> None:
    found, other = mirror(), Outlet("berlin/p1", "4")
    for port in "34":
        found.outlet({**OUTLET, "port": port}, NOW)
    assert found.switched("berlin/7", PLACE, State.OFF, NOW) is not None
    assert found.switched("berlin/7", other, State.OFF, NOW) is not None
    assert found.switched("berlin/8", Outlet("berlin/none", "4"), State.OFF, NOW) is None
    assert found.ahead == {PLACE: ("berlin/7", State.OFF), other: ("berlin/7", State.OFF)}
    found.outlet({**OUTLET, "state": "off"}, NOW)
    assert found.pdus["berlin/p1"].outlets["3"].source == "device", "it says the same"
    found.caught_up("berlin/7")
    assert found.ahead == {}
