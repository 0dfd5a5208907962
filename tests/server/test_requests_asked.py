# SPDX-License-Identifier: MIT
"""What a search of the history is understood to ask for, what it finds, and who may take a request back; no socket.

With a daemon it is tried in `test_requests`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.errors import Forbidden, NoSuchRequest, PDUDaemonError
from pdudaemon.power import Action, Outlet, Request, State, Target
from pdudaemon.server import requests, sitehistory, siteviews
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.server.rights import EVERYTHING, RoleRights
from tests.support.rack import Rack, awaited, submitted

NODES: dict[str, Any] = {
    "n1": {"hostname": "a", "port": 1},
    "n2": {"hostname": "a", "port": 2},
    "twin": {"feeds": [{"hostname": "a", "port": 3}, {"hostname": "b", "port": 3}]},
    "odd": {"hostname": "b", "port": 5},
    "not well named": {"hostname": "b", "port": 6},
}
ROLES = {
    "n1": {"nodes": "n1", "may": ["on"]},
    "n2": {"nodes": "n2", "may": ["on", "off"]},
    "n1off": {"nodes": "n1", "may": ["on", "off", "reboot"]},
}


class Lab(Rack):
    sections = {"nodes": NODES, "roles": ROLES, "groups": {"pair": "n1,n2"}}

    def does(self, action: Action, target: Target, client: str) -> Request:
        request = submitted(self.dispatcher, action, target, client=client)
        try:
            awaited(self.dispatcher, request, 60)
        except PDUDaemonError:
            assert ("b", "off") in self.refusing
        return request

    def exchange(self, role: str = "", **words: str) -> Any:
        config = self.dispatcher.config
        rights = RoleRights(config, (role,)) if role else EVERYTHING
        return SimpleNamespace(dispatcher=self.dispatcher, rights=rights, config=rights.view(config), words=words)

    def answer(self, role: str = "", **words: str) -> Answer:
        answer = requests.show(self.exchange(role, **words), "")
        assert answer is not None and answer.status == 200
        return answer

    def found(self, role: str = "", **words: str) -> list[int]:
        body: Any = self.answer(role, **words).body
        return [record["id"] for record in body]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Six requests: on and off of `n1`, on of `n2`, a reboot of `twin`, an off that fails, and an on of an outlet."""
    one = Lab(tmp_path_factory.mktemp("rack"), {"a": {}, "b": {}, "c[1]": {}})
    config = one.dispatcher.config
    one.does(Action.ON, config.node("n1"), "ann")
    one.does(Action.OFF, config.node("n1"), "bob")
    one.does(Action.ON, config.node("n2"), "ann")
    one.does(Action.REBOOT, config.node("twin"), "cat")
    one.refusing.add(("b", "off"))
    one.does(Action.OFF, config.node("odd"), "ann")
    one.does(Action.ON, config.target("c[1]", "1"), "dan")
    yield one
    one.stop()


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"pdu": "a"}, [4, 3, 2, 1]),
        ({"pdu": "b"}, [5, 4]),
        ({"pdu": "a,b"}, [5, 4, 3, 2, 1]),
        ({"pdu": "c[1]"}, [6]),
        ({"pdu": "none"}, []),
        ({"pdu": ""}, [6, 5, 4, 3, 2, 1]),
        ({"pdu": "a", "node": "n2"}, [3]),
        ({"node": "n1"}, [2, 1]),
        ({"node": "n[1-2]"}, [3, 2, 1]),
        ({"node": "@pair"}, [3, 2, 1]),
        ({"node": "twin"}, [4]),
        ({"node": "odd"}, [5]),
        ({"node": "gone"}, []),
        ({"node": ""}, [6, 5, 4, 3, 2, 1]),
        ({"action": "on"}, [6, 3, 1]),
        ({"action": " off , reboot,"}, [5, 4, 2]),
        ({"state": "done"}, [6, 4, 3, 2, 1]),
        ({"state": "failed"}, [5]),
        ({"state": "given-up,failed"}, [5]),
        ({"state": "given up"}, []),
        ({"state": "running"}, []),
        ({"state": ""}, [6, 5, 4, 3, 2, 1]),
        ({"client": "ann"}, [5, 3, 1]),
        ({"client": " bob, cat ,"}, [4, 2]),
        ({"client": "nobody"}, []),
        ({"after": "3"}, [2, 1]),
        ({"after": "1"}, []),
        ({"after": "9" * 18}, [6, 5, 4, 3, 2, 1]),
        ({"limit": "2"}, [6, 5]),
        ({"limit": "2", "after": "5"}, [4, 3]),
        ({"since": "0", "until": "99999999999"}, [6, 5, 4, 3, 2, 1]),
        ({"since": "2200-01-01T00:00:00Z"}, []),
        ({"until": "2000-01-01T00:00:00Z"}, []),
        ({"since": " ", "until": ""}, [6, 5, 4, 3, 2, 1]),
    ],
)
def test_what_is_found(lab: Lab, words: dict[str, str], numbers: list[int]) -> None:
    assert lab.found(**words) == numbers


def test_so_many_are_told_if_nobody_says(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def records(most: int, *_: object) -> list[dict[str, Any]]:
        asked.append(most)
        return []

    monkeypatch.setattr(lab.dispatcher, "records", records)
    for words in ({}, {"limit": ""}, {"limit": "7"}):
        assert lab.found(**words) == []
    assert asked == [100, 100, 7]


def test_a_page_leads_to_the_next(lab: Lab) -> None:
    words = {"limit": "2", "client": "ann"}
    link = '</api/v1/requests?limit=2&client=ann&after=3>; rel="next"'
    assert lab.answer(**words).headers == {"Link": link} and not lab.answer(**words, after="3").headers
    assert not lab.answer(limit="7").headers and lab.answer(limit="6").headers


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"after": "x" * 30}, f"after: '{'x' * 20}' is not the number of a request"),
        ({"after": "9" * 19}, f"after: '{'9' * 19}' is not the number of a request"),
        ({"after": "-1"}, "after: '-1' is not the number of a request"),
        ({"action": "status"}, "action: 'status' is none of on, off, reboot"),
        ({"action": "on,of"}, "action: 'of' is none of on, off, reboot; did you mean 'off'?"),
        ({"action": "x" * 30}, f"action: '{'x' * 20}' is none of on, off, reboot"),
        ({"state": "dun"}, "state: 'dun' is none of accepted, queued, waiting, running, done, failed"),
        ({"node": "@none"}, "node: there is no group 'none'"),
        ({"node": f"@{'x' * 60}"}, f"node: there is no group '{'x' * 50}'"),
        ({"node": "x[1-2]!x[1-9]"}, "node: 'x[1-2]!x[1-9]' stands for no node"),
        ({"node": "x[3-1]"}, "node: 'x[3-1]': the range 3-1 runs downwards"),
        ({"pdu": "x[3-1]"}, "pdu: 'x[3-1]': the range 3-1 runs downwards"),
        ({"pdu": "x[1-1001]"}, "pdu: stands for more than 1000"),
        ({"node": "x[1-1001]"}, "node: stands for more than 1000"),
        ({"client": ",".join(map(str, range(1001)))}, "client: stands for more than 1000"),
        ({"since": "soon"}, "since: 'soon' is neither seconds since the epoch nor a time such as"),
        ({"until": "x" * 50}, f"until: '{'x' * 40}' is neither seconds since the epoch"),
        ({"until": "2026-02-30T00:00:00Z"}, "until: '2026-02-30T00:00:00Z' is no time that there is"),
        ({"limit": "0"}, "limit: '0' is not within 1 and 1000"),
    ],
)
def test_what_is_refused(lab: Lab, words: dict[str, str], why: str) -> None:
    with pytest.raises(Misdirected) as refused:
        requests.show(lab.exchange(**words), "")
    assert refused.value.http_status == 400 and str(refused.value).startswith(why)


@pytest.mark.parametrize("word", ["pdu", "node"])
def test_so_many_names_are_taken(lab: Lab, word: str) -> None:
    assert lab.found(**{word: "x[1-1000]"}) == []
    assert lab.found(client=",".join(["ann"] * 1001)) == [5, 3, 1]


def test_who_has_a_role_finds_what_he_may_see(lab: Lab) -> None:
    assert lab.found("n1") == [2, 1] and lab.found("n2") == [3]
    assert lab.found("n1", node="n1") == [2, 1] and lab.found("n1", node="n2") == []
    assert lab.found("n1", node="n[1-2]") == [2, 1] and lab.found("n1", pdu="a") == [2, 1]
    assert lab.found("n1", limit="1") == [2] and lab.found("n1", pdu="b") == []


def test_names_are_those_that_are_meant(lab: Lab) -> None:
    assert requests.named_pdus(lab.exchange(pdu="c[1]")) == ["c[1]"]
    assert requests.named_pdus(lab.exchange(pdu="d[1-2]")) == ["d1", "d2"]
    assert requests.named_pdus(lab.exchange(pdu="berlin/d[1-2]")) == ["berlin/d1", "berlin/d2"]
    assert requests.named_pdus(lab.exchange()) == [] == requests.named_nodes(lab.exchange())
    assert requests.named_nodes(lab.exchange(node="not well named")) == ["not well named"]
    assert requests.named_nodes(lab.exchange(node="gone[1-2],n1")) == ["gone1", "gone2", "n1"]
    assert requests.named_nodes(lab.exchange("n1", node="n[1-2]")) == ["n1"]


def test_names_at_sites_are_no_concern_of_the_history_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitehistory, "is_at_site", lambda exchange, name: name in ("berlin/a", "n1"))
    assert lab.found(node="n1") == [] and lab.found(node="n1,n2") == [3]
    assert lab.found(pdu="berlin/a") == []
    assert lab.found(pdu="berlin/a,b") == lab.found(pdu="b")


@pytest.mark.parametrize(
    ("words", "numbers", "places", "nodes", "pdus"),
    [
        ({}, [5, 3, 1], {}, None, None),
        ({"node": "n1", "pdu": "a"}, [1], {}, ["n1"], ["a"]),
        ({"after": "3"}, [1], {"": "3"}, None, None),
        ({"after": "3,berlin/7"}, [1], {"": "3", "berlin": "7"}, None, None),
        ({"after": "berlin/7"}, [], {"berlin": "7"}, None, None),
    ],
)
def test_where_there_are_sites_theirs_are_shown_as_well(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    words: dict[str, str],
    numbers: list[int],
    places: dict[str, str],
    nodes: list[str] | None,
    pdus: list[str] | None,
) -> None:
    shown: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sitehistory, "show", lambda *words: shown.append(words[1:]))
    monkeypatch.setattr(lab.dispatcher, "sites", [object()])
    assert requests.show(lab.exchange(client="ann", limit="7", **words), "") is None
    ((here, *rest),) = shown
    assert [record["id"] for record in here] == numbers and rest == [7, places, nodes, pdus]


def test_one_is_shown_to_who_may_see_it(lab: Lab) -> None:
    shown = requests.one(lab.exchange(), "3")
    body: Any = shown and shown.body
    assert shown is not None and shown.status == 200 and (body["id"], body["client"]) == (3, "ann")
    assert requests.one(lab.exchange("n2"), "3") is not None
    for role, number in (("n1", 3), ("", 99)):
        with pytest.raises(NoSuchRequest, match=f"there is no request {number}"):
            requests.one(lab.exchange(role), str(number))


def waiting(lab: Lab, action: Action) -> Request:
    """Return a request that cannot begin yet."""
    lab.hold("a", "8")
    return submitted(lab.dispatcher, action, lab.dispatcher.config.node("n1"), 0)


@pytest.fixture
def held(lab: Lab) -> Iterator[Lab]:
    yield lab
    lab.let_go("a")


@pytest.mark.parametrize("role", ["", "n1"])
def test_what_has_not_begun_is_taken_back(held: Lab, role: str) -> None:
    request = waiting(held, Action.ON)
    answer = requests.cancel(held.exchange(role), str(request.id))
    body: Any = answer and answer.body
    assert answer is not None and answer.status == 200 and (body["id"], body["state"]) == (request.id, "cancelled")


@pytest.mark.parametrize(
    ("role", "action", "half", "error", "why"),
    [
        ("n2", Action.ON, "", NoSuchRequest, "there is no request"),
        ("n1", Action.OFF, "", Forbidden, "the role n1 may not switch off"),
        ("n1", Action.ON, "on", Forbidden, "the role n1 may not switch off"),
        ("", Action.ON, "off", Misdirected, "half: 'off' is not on"),
    ],
)
def test_what_is_not_taken_back(
    held: Lab, role: str, action: Action, half: str, error: type[PDUDaemonError], why: str
) -> None:
    request = waiting(held, action)
    with pytest.raises(error, match=why) as refused:
        requests.cancel(held.exchange(role, half=half), str(request.id))
    if error is Misdirected:
        assert refused.value.http_status == 400
    assert held.state(request.id) in ("queued", "accepted", "waiting")
    held.dispatcher.cancel(request.id, "")


def test_what_is_at_a_site_is_asked_and_taken_back_there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[tuple[Any, ...]] = []
    monkeypatch.setattr(siteviews, "one_request", lambda *words: passed.append(words[1:]))
    monkeypatch.setattr(siteviews, "cancel_request", lambda *words: passed.append(words[1:3]))
    assert requests.one(lab.exchange(), "berlin/7") is None
    assert requests.cancel(lab.exchange(half="on"), "berlin/7") is None
    assert passed == [("berlin/7",), ("berlin/7", "on")]


def test_the_outlets_that_feed_a_node_today_count(lab: Lab) -> None:
    """Whoever asked for them, and by which name."""
    lab.does(Action.ON, Target("b port 3", (Outlet("b", "3"),)), "eve")
    assert lab.found(node="twin", client="eve") == [max(lab.found())] and lab.found(node="n1", client="eve") == []
    assert lab.dispatcher.inventory.outlet(Outlet("b", "3")).state is State.ON
