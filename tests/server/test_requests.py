# SPDX-License-Identifier: MIT
"""The history over HTTP: found by PDU, node, action, state, client and time, in pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest

from pdudaemon.server.requests import moment
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET, good


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with two PDUs and a dead one, three boards, and a history of seven requests, of which one failed."""
    pdus = {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}, "dead": {"driver": "dummy", "deaf": True}}
    pdus["dead"] |= {"timeout": 0.3, "retries": 1}
    nodes: dict[str, Any] = {f"board{n}": {"hostname": "a", "port": n} for n in (1, 2)}
    nodes["twin"] = {"feeds": [{"hostname": "a", "port": 3}, {"hostname": "b", "port": 3}]}
    started = Daemon(tmp_path_factory.mktemp("daemon"), pdus, nodes=nodes)
    started.start()
    started.power("on", "a", 1)
    started.power("off", "b", 1)
    started.power("on", "dead", 1)
    started.http("/?nodes=board1,board2", "PATCH")
    started.http("/power/control/reboot?alias=twin&delay=0")
    started.power("off", "a", 8)
    yield started
    started.kill()


def found(lab: Daemon, query: str) -> list[int]:
    """Return the numbers of the requests that a query finds."""
    reply = lab.http(f"/api/v1/requests?{query}")
    assert reply.status == 200, reply.text
    return [record["id"] for record in reply.json]


@pytest.mark.parametrize(
    "query, numbers",
    [
        ("", [7, 6, 5, 4, 3, 2, 1]),
        ("pdu=b", [6, 2]),
        ("pdu=b,dead", [6, 3, 2]),
        ("pdu=none", []),
        ("node=board1", [4, 1]),  # also what was asked of its outlet
        ("node=board[1-2]", [5, 4, 1]),
        ("node=board*", [5, 4, 1]),
        ("node=twin", [6]),
        ("node=board9", []),
        ("action=off", [7, 2]),
        ("action=on,reboot", [6, 5, 4, 3, 1]),
        ("state=failed", [3]),
        ("state=failed,done&pdu=b", [6, 2]),
        ("state=given-up", []),
        ("state=running", []),
        ("client=127.0.0.1", [7, 6, 5, 4, 3, 2, 1]),
        ("client=127.0.0.2", []),
        ("since=0&until=9999999999", [7, 6, 5, 4, 3, 2, 1]),
        ("since=2100-01-01T00:00:00Z", []),
        ("until=2000-01-01T00:00:00.5-08:00", []),
        ("after=3", [2, 1]),
        ("after=1", []),
        ("pdu=a&action=on&state=done&limit=2", [5, 4]),
    ],
)
def test_requests_are_found_by_what_they_were_about(lab: Daemon, query: str, numbers: list[int]) -> None:
    assert found(lab, query) == numbers


def test_what_has_not_ended_is_found_by_how_it_stands(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"slow": {"driver": "dummy", "slow": 20}, "quick": {"driver": "dummy"}})
    started.power("on", "quick", 1)
    started.power("on", "slow", 1, wait=0)
    started.power("on", "slow", 1, wait=0)
    started.power("on", "quick", 2, wait=0, delay=600)
    eventually(lambda: found(started, "state=running") == [2])
    assert found(started, "state=queued") == [3] and found(started, "state=waiting") == [4]
    assert found(started, "state=queued,running,done") == [3, 2, 1]
    assert found(started, "state=waiting&pdu=slow") == []


def test_pages_follow_one_another_by_their_links(lab: Daemon) -> None:
    seen, path = [], "/api/v1/requests?client=127.0.0.1&state=done,failed&limit=2"
    while path:
        reply = lab.http(path)
        seen.append([record["id"] for record in reply.json])
        link = reply.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
        assert not link or link.endswith('; rel="next"')
    assert seen == [[7, 6], [5, 4], [3, 2], [1]]


def test_time_is_given_as_people_and_as_programs_give_it(lab: Daemon) -> None:
    times = {each["id"]: each["accepted"] for each in lab.http("/api/v1/requests").json}
    between = (times[3] + times[4]) / 2
    zone = timezone(timedelta(hours=5, minutes=30))
    for text in (
        f"{between:.6f}",
        datetime.fromtimestamp(between, UTC).isoformat(),
        datetime.fromtimestamp(between, UTC).isoformat().replace("+00:00", "Z"),
        datetime.fromtimestamp(between, zone).isoformat(),
    ):
        assert found(lab, f"since={quote(text)}") == [7, 6, 5, 4], text
        assert found(lab, f"until={text}") == [3, 2, 1], text  # a plus that nobody has escaped


@pytest.mark.parametrize(
    "query, why",
    [
        ("pud=a", "unknown parameter 'pud'; did you mean 'pdu'?"),
        ("half=on", "unknown parameter 'half'"),
        ("pdu=a&pdu=b", "a parameter is given more than once"),
        ("pdu=a[1-", "pdu: "),
        ("node=a[2-1]", "node: "),
        ("node=@none", "node: there is no group 'none'"),
        ("node=x*", "node: 'x*' stands for no node"),
        ("action=status", "action: 'status' is none of on, off, reboot"),
        ("state=faild", "state: 'faild' is none of accepted,"),
        ("state=faild", "did you mean 'failed'?"),
        ("since=yesterday", "since: 'yesterday' is neither seconds since the epoch nor a time such as"),
        ("since=2026-11-30T08:00:00", "since: '2026-11-30T08:00:00' is neither"),  # of which place?
        ("until=2026-02-30T08:00:00Z", "until: '2026-02-30T08:00:00Z' is no time that there is"),
        ("until=-1", "until: "),
        ("until=1e3", "until: "),
        ("until=nan", "until: "),
        ("after=x", "after: 'x' is not the number of a request"),
        ("after=9999999999999999999", "after: "),
        ("limit=0", "limit: '0' is not within 1 and 1000"),
    ],
)
def test_what_cannot_be_meant_is_refused(lab: Daemon, query: str, why: str) -> None:
    reply = lab.http(f"/api/v1/requests?{query}")
    assert reply.status in (400, 503) and why in reply.json["detail"], reply.text


def test_only_the_on_half_can_be_taken_back_by_itself(lab: Daemon) -> None:
    number = lab.power("on", "a", 8, wait=0, delay=600).headers["X-Request-Id"]
    refused = lab.http(f"/api/v1/requests/{number}?half=off", "DELETE")
    assert (refused.status, refused.json["detail"]) == (400, "half: 'off' is not on")
    assert lab.http(f"/api/v1/requests/{number}", "DELETE").json["state"] == "cancelled"
    number = lab.power("reboot", "a", 8, wait=0, delay=600).headers["X-Request-Id"]
    eventually(lambda: lab.http(f"/api/v1/requests/{number}").json["state"] == "waiting")
    assert lab.http(f"/api/v1/requests/{number}", "DELETE").status == 409
    assert lab.http(f"/api/v1/requests/{number}?half=on", "DELETE").status == 200


def test_who_may_not_see_an_outlet_finds_nothing_of_it(daemon: Callable[..., Daemon]) -> None:
    started = daemon(
        {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}},
        secret=SECRET,
        start=False,
    )
    started.settings["roles"] = {"users": {"pdus": ["b"], "may": ["on", "off", "status"]}}
    started.configure(started.settings)
    started.start()
    for number in range(1, 61):
        started.token = good(sub="root")
        started.power("on", "ab"[number % 10 == 0], number % 8 + 1, wait=0)
    eventually(lambda: found(started, "state=queued,running") == [])
    started.token = good(sub="ann", roles=["users"])
    assert found(started, "limit=4") == [60, 50, 40, 30] and found(started, "after=30") == [20, 10]
    assert found(started, "pdu=a") == [] and found(started, "client=root") == [60, 50, 40, 30, 20, 10]


@pytest.mark.parametrize("text", ["1764489600", "2025-11-30T08:00:00Z", "2025-11-30 09:00:00.0+01:00"])
def test_a_moment_has_several_spellings(text: str) -> None:
    assert moment(text) == 1764489600.0


def test_history_is_kept_for_some_days(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"a": {"driver": "dummy"}}, history_days=1)
    started.power("on", "a", 1)
    assert found(started, f"since={time.time() - 60:.0f}") == [1]
    started.settings["daemon"]["history_days"] = -1
    started.configure(started.settings)
    checked = started.run("--check")
    assert checked.returncode == 2 and "history_days: " in checked.stdout + checked.stderr
