# SPDX-License-Identifier: MIT
"""The history of several sites as one, whatever each of them says: order, pages, names, what is asked and what is shown.

Pages of sites that are as they should be are in `test_siteviews`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from pdudaemon.server.messages import Misdirected
from pdudaemon.server.sitehistory import MISSING, places
from tests.support.lyingsite import NODE, OUTLET, PDU, LyingSite, problem, reply
from tests.support.process import Daemon, Reply, eventually
from tests.support.tokens import SECRET, good

REQUESTS = "GET /api/v1/requests"
TWO = {"name": "board2", "feeds": [{**OUTLET, "port": "2", "nodes": ["board2"]}]}
OUTLETS = [OUTLET, TWO["feeds"][0]]


class Lab:
    """A front with a PDU of its own, where one request has been made, and two sites that say what a test wants."""

    accepted: float  # when that request was

    def __init__(self, stack: ExitStack, front: Daemon) -> None:
        lies = {
            "GET /api/v1/nodes": lambda: reply([NODE, {**NODE, **TWO}]),
            "GET /api/v1/outlets": lambda: reply(OUTLETS),
            "GET /api/v1/pdus": lambda: reply([{**PDU, "outlets": 2}]),
        }
        self._lies = lies
        self.sites = {name: stack.enter_context(LyingSite({**lies})) for name in ("berlin", "munich")}
        self.sites["munich"].lies["GET /api/v1/sites"] = lambda: reply(
            {"daemons": ["other-site"], "names": "other-site-1", "sites": []}
        )
        self.front = front
        front.settings |= {
            "sites": {name: {"url": site.url} for name, site in self.sites.items()},
            "nodes": {"mine": {"hostname": "own", "port": 1}, "lost": {"hostname": "nowhere", "port": 1}},
            "roles": {
                "one": {"nodes": "berlin/board1", "may": ["status"]},
                "all": {"nodes": "*", "may": ["on", "off"]},
            },
        }
        front.configure(front.settings)
        front.start()
        stack.callback(front.kill)
        front.token = good(sub="root")
        eventually(lambda: [each["reachable"] for each in front.http("/api/v1/sites").json["sites"]] == [True, True])
        assert front.http("/power/control/on?alias=mine").status == 200
        Lab.accepted = front.http("/api/v1/requests/1").json["accepted"]

    def says(self, site: str, *records: dict[str, Any], link: str = "", missing: str = "") -> None:
        """Have a site tell some requests."""
        headers: dict[str, Any] = {"Link": link, MISSING: missing}
        self.sites[site].lies[REQUESTS] = lambda: reply([*records], **headers)

    def silent(self, site: str) -> None:
        self.sites[site].lies[REQUESTS] = lambda: reply({"detail": "no"}, 503)

    def ask(self, query: str = "", *roles: str, path: str = "/api/v1/requests", method: str = "GET") -> Reply:
        for site in self.sites.values():
            site.questions.clear()
        token = f"Bearer {good(sub='x', roles=[*roles])}" if roles else f"Bearer {self.front.token}"
        return self.front.http(f"{path}?{query}" if query else path, method, Authorization=token)

    def asked(self, site: str) -> dict[str, str] | None:
        """Return the words that a site was asked for requests with, None if it was not."""
        for question in self.sites[site].questions:
            if question.asked.startswith(REQUESTS):
                return {word: values[0] for word, values in parse_qs(question.asked.partition("?")[2]).items()}
        return None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack, Daemon(tmp_path_factory.mktemp("front"), {"own": {"driver": "dummy"}}, secret=SECRET))


@pytest.fixture
def lab(shared: Lab) -> Lab:
    for site in shared.sites:
        shared.says(site)
    return shared


def record(number: object, accepted: float | None, port: int = 1, **more: object) -> dict[str, Any]:
    """Return a request of a site, accepted some seconds before the one here."""
    when = None if accepted is None else Lab.accepted - accepted
    told = {"id": number, "action": "on", "target": f"board{port} (p1 port {port})", "state": "done", "accepted": when}
    return {**told, "outlets": [{"pdu": "p1", "port": str(port)}], "command": None, **more}


def numbers(reply: Reply) -> list[object]:
    assert reply.status == 200, reply.text
    return [each["id"] for each in reply.json]


def behind(reply: Reply) -> tuple[str, list[str]]:
    """Return the words of the next page, and the places behind which it begins."""
    query, _, after = unquote(following(reply)).partition("after=")
    return query, sorted(after.split(","))


def following(reply: Reply) -> str:
    """Return the query of the next page, empty if there is none."""
    link = reply.headers.get("Link", "")
    assert not link or link.endswith('>; rel="next"')
    return link.partition("?")[2].partition(">")[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("12", {"": "12"}),
        ("12,berlin/17", {"": "12", "berlin": "17"}),
        ("berlin/17,,eu/paris/3,eu/4", {"berlin": "17", "eu": "paris/3,4"}),
    ],
)
def test_where_each_part_ends(text: str, found: dict[str, str]) -> None:
    assert places(text) == found


@pytest.mark.parametrize("text", ["x", "berlin/", "/1", "1,ber lin/2", "1" * 19, "berlin//1", "-1"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(Misdirected) as refused:
        places(text)
    wrong = text.split(",")[-1][:20]
    assert (refused.value.http_status, str(refused.value)) == (400, f"after: {wrong!r} is not the number of a request")


def test_the_newest_come_first_and_a_site_keeps_its_own_order(lab: Lab) -> None:
    lab.says("berlin", record(9, -50), record(8, 30), record(7, 10), record(6, 40))
    lab.says("munich", record(3, 20), record(2, None))
    assert numbers(lab.ask()) == ["berlin/9", 1, "munich/3", "berlin/8", "berlin/7", "berlin/6", "munich/2"]
    (first, *_) = lab.ask().json
    assert first["target"] == "berlin/board1 (berlin/p1 port 1)" and first["outlets"][0]["pdu"] == "berlin/p1"
    assert lab.asked("berlin") == {"limit": "100"} == lab.asked("munich")


def test_each_page_says_where_the_next_one_goes_on_at_each_site(lab: Lab) -> None:
    lab.says("berlin", record(9, 10), record(8, 30))
    lab.says("munich", record(3, 20), record(2, 40))
    page = lab.ask("limit=2&action=on")
    assert numbers(page) == [1, "berlin/9"] and lab.asked("berlin") == {"limit": "2", "action": "on"}
    assert behind(page) == ("limit=2&action=on&", ["1", "berlin/9", f"munich/{10**18 - 1}"])
    lab.says("berlin", record(8, 30))
    page = lab.ask(following(page))
    assert numbers(page) == ["munich/3", "berlin/8"]
    assert lab.asked("berlin") == {"limit": "2", "action": "on", "after": "9"}
    assert lab.asked("munich") == {"limit": "2", "action": "on", "after": str(10**18 - 1)}
    assert behind(page) == ("limit=2&action=on&", ["1", "berlin/8", "munich/3"])
    lab.says("berlin")
    lab.says("munich", record(2, 40))
    page = lab.ask(following(page))
    assert numbers(page) == ["munich/2"] and not following(page)


def test_a_site_that_says_that_there_is_more_is_asked_for_it(lab: Lab) -> None:
    lab.says("berlin", record(9, 10), link='</api/v1/requests?limit=5&after=9>; rel="next"')
    page = lab.ask("limit=5")
    assert numbers(page) == [1, "berlin/9"]
    assert behind(page) == ("limit=5&", ["1", "berlin/9"])
    lab.says("berlin")
    page = lab.ask(following(page))
    assert numbers(page) == [] and not following(page) and page.headers.get(MISSING) is None
    assert lab.asked("munich") is None  # which had nothing more
    lab.says("berlin", link='</api/v1/requests?limit=5&after=9>; rel="next"')
    page = lab.ask("limit=5&after=1,berlin/9")
    assert numbers(page) == [] and not following(page), "nothing comes behind nothing"


def test_a_site_may_be_a_front_itself(lab: Lab) -> None:
    link = '</api/v1/requests?limit=3&after=5%2Cparis%2F4%2Crome%2F7>; rel="next"'
    lab.says("berlin", record("paris/4", 10), record(5, 20), record("paris/3", 30), link=link)
    page = lab.ask("limit=3")
    assert numbers(page) == [1, "berlin/paris/4", "berlin/5"]
    assert behind(page)[1] == ["1", "berlin/5", "berlin/paris/4", f"berlin/rome/{10**18 - 1}"]
    lab.says("berlin", record("paris/3", 30))
    assert numbers(lab.ask(following(page))) == ["berlin/paris/3"]
    assert sorted(lab.asked("berlin")["after"].split(",")) == ["5", "paris/4", f"rome/{10**18 - 1}"]  # type: ignore[index]


def test_only_those_are_asked_that_are_meant(lab: Lab) -> None:
    lab.says("berlin", record(9, 10))
    lab.says("munich", record(3, 20))
    for query, berlin, munich, found in (
        ("node=berlin/board[1-2],mine", {"node": "board[1-2]"}, None, [1, "berlin/9"]),
        ("node=berlin/board9", {"node": "board9"}, None, ["berlin/9"]),
        ("node=mine", None, None, [1]),
        ("pdu=munich/p1,munich/p7", None, {"pdu": "p1,p7"}, ["munich/3"]),
        ("pdu=own", None, None, [1]),
        ("pdu=berlin/p1&node=munich/board1", None, None, []),
        ("after=berlin/10", {"after": "10"}, None, ["berlin/9"]),
        ("after=5", None, None, [1]),
        ("state=done&client=127.0.0.1&since=1&until=2999-01-01T00:00:00Z", {}, {}, [1, "berlin/9", "munich/3"]),
    ):
        page = lab.ask(query)
        assert numbers(page) == found, query
        for name, words in (("berlin", berlin), ("munich", munich)):
            asked = lab.asked(name)
            assert (asked is None) is (words is None), (query, name)
            if asked is not None and words:
                assert asked == {"limit": "100", **words}
    assert asked == {
        "limit": "100",
        "state": "done",
        "client": "127.0.0.1",
        "since": "1",
        "until": "2999-01-01T00:00:00Z",
    }


def test_names_at_sites_are_no_concern_of_the_history_here(lab: Lab) -> None:
    """Which takes no more than 1000 of them."""
    lab.says("berlin", record(9, 10))
    for word in ("node", "pdu"):
        assert numbers(lab.ask(f"{word}=berlin/x[1-1500]")) == ["berlin/9"]
        assert lab.asked("berlin") == {"limit": "100", word: "x[1-1500]"}
    assert numbers(lab.ask("node=lost")) == [] and lab.asked("berlin") is None


def test_more_names_than_fit_are_refused(lab: Lab) -> None:
    for length, status in ((150, 200), (250, 503)):
        names = ",".join(f"berlin/{number:x}{'y' * length}{number * 7919 % 1000}z" for number in range(140))
        reply = lab.ask(f"node={names}")
        assert reply.status == status, reply.text
    assert "berlin: these are too many names for one question" in reply.text and lab.asked("berlin") is None
    assert lab.ask("node=berlin/board1&after=x").status == 400


def test_a_site_that_cannot_be_asked_is_named(lab: Lab) -> None:
    lab.silent("munich")
    lab.says("berlin", record(9, 10), missing="rome, par is, eu/oslo")
    page = lab.ask()
    assert numbers(page) == [1, "berlin/9"]
    assert page.headers[MISSING] == "berlin/eu/oslo, berlin/rome, munich"
    undated = {word: said for word, said in record(1, 1).items() if word != "accepted"}
    for nonsense in ({"id": 7}, record("x y", 1), record(1, 1, outlets=[{}]), undated, "x"):
        lab.says("berlin", nonsense)  # type: ignore[arg-type]
        page = lab.ask()
        assert (numbers(page), page.headers[MISSING]) == ([1], "berlin, munich"), nonsense
    lab.says("berlin", record(1, 1, outlets=[{"pdu": "p1"}]))
    page = lab.ask("", "one")
    assert (numbers(page), page.headers[MISSING]) == ([], "berlin, munich")


def test_each_sees_what_he_may(lab: Lab) -> None:
    lab.says("berlin", record(9, 10), record(8, 20, port=2), record(7, 30, target="other (p1 port 1)"))
    lab.says("munich", record(3, 40))
    page = lab.ask("", "one")
    assert numbers(page) == ["berlin/9", "berlin/7"] and not following(page)
    assert [each["target"] for each in page.json] == ["berlin/board1 (berlin/p1 port 1)", "berlin/p1 port 1"]
    assert numbers(lab.ask("limit=2", "one")) == ["berlin/9"]
    assert behind(lab.ask("limit=2", "one")) == ("limit=2&", ["berlin/8", f"munich/{10**18 - 1}"])
    lab.ask("node=berlin/board[1-2]", "one")
    assert lab.asked("berlin") == {"limit": "100", "node": "board1"}


def part(number: int, name: str, state: str = "done", ended: float | None = 1.0) -> dict[str, Any]:
    node = {"name": name, "request": number, "state": state, "ended": ended, "reason": None}
    return {"id": 7, "action": "on", "client": "front", "accepted": 5.0, "state": "running", "nodes": [node]}


def test_a_command_is_what_its_parts_are(lab: Lab) -> None:
    berlin, munich = lab.sites["berlin"].lies, lab.sites["munich"].lies
    berlin["GET /api/v1/commands/7"] = lambda: reply(part(17, "board1"))
    munich["GET /api/v1/commands/12"] = lambda: reply(part(3, "board2", "queued", None))
    path = "/api/v1/commands/berlin/7,munich/12"
    shown = lab.ask(path=path)
    node = {"state": "done", "ended": 1.0, "reason": None}
    assert shown.status == 200 and shown.json == {
        "id": "berlin/7,munich/12",
        "action": "on",
        "client": "front",
        "accepted": 5.0,
        "state": "running",
        "nodes": [
            {"name": "berlin/board1", "request": "berlin/17", **node},
            {"name": "munich/board2", "request": "munich/3", **node, "state": "queued", "ended": None},
        ],
    }
    munich["GET /api/v1/commands/12"] = lambda: reply(part(3, "board2"))
    assert lab.ask(path=path).json["state"] == "ended"
    assert [node["name"] for node in lab.ask("", "one", path=path).json["nodes"]] == ["berlin/board1"]
    munich["GET /api/v1/commands/12"] = lambda: reply({"detail": "no"}, 500)
    shown = lab.ask(path=path)
    assert (shown.json["state"], len(shown.json["nodes"]), shown.headers[MISSING]) == ("running", 1, "munich")
    berlin["GET /api/v1/commands/7"] = lambda: reply({**part(17, "board1"), "nodes": [{}]})
    assert lab.ask(path=path).status in (503, 504)
    munich["GET /api/v1/commands/12"] = lambda: reply(part(3, "board2"))
    shown = lab.ask(path=path)
    assert (shown.json["state"], len(shown.json["nodes"]), shown.headers[MISSING]) == ("running", 1, "berlin")
    berlin["GET /api/v1/commands/7"] = lambda: reply(part(17, "board1"))
    own = lab.front.http("/?nodes=mine", "PATCH").headers["X-Command-Id"]
    shown = lab.ask(path=f"/api/v1/commands/{own},berlin/7")
    assert [node["name"] for node in shown.json["nodes"]] == ["mine", "berlin/board1"]
    berlin["GET /api/v1/commands/8"] = lambda: problem("no-such-request", "there is no command 8", 404)
    gone = lab.ask(path="/api/v1/commands/berlin/8")
    assert (gone.status, gone.json["detail"]) == (404, "berlin: there is no command 8")
    berlin["GET /api/v1/commands/9"] = lambda: reply(part(17, "board2"))
    hidden = lab.ask("", "one", path="/api/v1/commands/berlin/9")
    assert (hidden.status, hidden.json["detail"]) == (404, "there is no command berlin/9")


def test_a_command_is_taken_back_everywhere(lab: Lab) -> None:
    berlin, munich = lab.sites["berlin"].lies, lab.sites["munich"].lies
    berlin["DELETE /api/v1/commands/7"] = lambda: reply(part(17, "board1", "cancelled"))
    munich["DELETE /api/v1/commands/12"] = lambda: reply(part(3, "board2", "cancelled"))
    path = "/api/v1/commands/berlin/7,munich/12"
    for query, asked in (("", "DELETE /api/v1/commands/7"), ("half=on", "DELETE /api/v1/commands/7?half=on")):
        gone = lab.ask(query, path=path, method="DELETE")
        assert gone.status == 200 and gone.json["state"] == "ended" and gone.headers.get(MISSING) is None
        assert asked in [each.asked for each in lab.sites["berlin"].questions]
    refused = lab.ask("", "all", path=path, method="DELETE")
    assert refused.status == 403 and "is taken back by who may do everything" in refused.text
    assert not [each for each in lab.sites["berlin"].questions if "commands" in each.asked]
