# SPDX-License-Identifier: MIT
"""Two fronts of one site: who gets no answer from one asks the other by the same key, and what he wants is done once."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from typing import Any, NamedTuple

import pytest

from tests.support.client import Ran, client
from tests.support.cutting import Cutting
from tests.support.fronts import Front, order
from tests.support.process import Daemon, Reply, eventually, in_parallel
from tests.support.terminal import terminal
from tests.support.tokens import SECRET, later, made

ROLE = {"nodes": "*", "may": ["on", "off", "reboot", "status"]}


class Fronts(NamedTuple):
    """``link`` is between clients and the first front."""

    lab: Front
    berlin: Daemon
    first: Daemon
    second: Daemon
    link: Cutting

    @property
    def urls(self) -> str:
        return f"{self.link.url},http://127.0.0.1:{self.second.port}"

    def pduclient(self, *words: str, urls: str = "") -> Ran:
        return client(*words, f"--url={urls or self.urls}")


@pytest.fixture
def fronts(daemon: Callable[..., Daemon]) -> Iterator[Fronts]:
    """Two fronts, each with a token of its own."""
    lab = Front(daemon)
    berlin = lab.add(
        "berlin",
        {"slow": {"driver": "dummy", "slow": 2}},
        nodes={"s[1-4]": {"hostname": "slow", "port": "[1-4]"}},
        secret=SECRET,
        roles={"front": ROLE},
    )
    tokens = [made({"exp": later(), "roles": ["front"], "sub": name}, SECRET) for name in ("one", "two")]
    first = lab.begin(sites={"berlin": {"token": tokens[0]}})
    second = daemon({}, start=False)
    second.configure(
        {**second.settings, "sites": {"berlin": {"url": f"http://127.0.0.1:{berlin.port}", "token": tokens[1]}}}
    )
    second.start()
    eventually(lambda: second.http("/api/v1/sites").json["sites"][0]["reachable"])
    with Cutting(first.port) as link:
        yield Fronts(lab, berlin, first, second, link)
    lab.close()


def lost(link: Cutting, ask: Callable[[], Reply]) -> None:
    """Ask by a connection that is cut."""
    with suppress(OSError, HTTPException):
        ask()  # of an answer that is cut in its head, Python's client takes what has come for the whole
    assert link.up is link.down is None, "nothing was cut"


@pytest.mark.parametrize("way, count", [("up", 20), ("up", 10_000), ("down", 0), ("down", 1), ("down", 150)])
def test_the_other_front_is_told_of_the_same_request(fronts: Fronts, way: str, count: int) -> None:
    through = Daemon.__new__(Daemon)
    through.port, through.token = fronts.link.port, ""
    words: dict[str, Any] = {"alias": "berlin/board1", "key": "once"}
    assert order(through, "off", **{**words, "key": "size"}).status == 201
    setattr(fronts.link, way, min(count, fronts.link.sizes[way] - 1))
    lost(fronts.link, lambda: order(through, **words))
    again = order(fronts.second, **words)
    assert again.status in (200, 201) and again.json["state"] == "done" and again.json["id"] == "berlin/2", again.text
    assert fronts.lab.tries("berlin") == 2 and fronts.berlin.outlets()["1"] == "on"
    assert order(fronts.first, **words).json["id"] == "berlin/2"
    refused = order(fronts.second, "off", **words)
    assert refused.status == 422 and refused.json["type"] == "urn:pdudaemon:key-used"
    assert fronts.lab.tries("berlin") == 2


def test_a_front_that_is_killed_has_its_request_told_by_the_other(fronts: Fronts) -> None:
    words: dict[str, Any] = {"alias": "berlin/s1", "key": "once", "delay": 1}
    ends: list[str] = []

    def first() -> None:
        try:
            ends.append(order(fronts.first, "reboot", **words).text)
        except OSError:
            ends.append("")

    waiting = threading.Thread(target=first)
    waiting.start()
    eventually(lambda: fronts.berlin.http("/api/v1/requests").json)
    fronts.first.kill()
    again = order(fronts.second, "reboot", **words)
    waiting.join(30)
    assert ends == [""] and again.status in (200, 201) and again.json["state"] == "done", again.text
    assert fronts.lab.tries("berlin") == 2 and len(fronts.berlin.http("/api/v1/requests").json) == 1


def test_both_fronts_at_once_switch_once(fronts: Fronts) -> None:
    for number in range(5):
        words: dict[str, Any] = {"nodes": "berlin/board[1-4]", "key": f"k{number}"}
        action = ("on", "off")[number % 2]
        told = in_parallel([partial(order, front, action, **words) for front in (fronts.first, fronts.second) * 2])
        assert {reply.status for reply in told} <= {200, 201}, [reply.text for reply in told]
        assert len({reply.json["command"] for reply in told}) == 1
        assert fronts.lab.tries("berlin") == 4 * (number + 1)
        assert set(fronts.berlin.outlets().values()) == {action}


def test_pduclient_goes_to_the_next_front(fronts: Fronts) -> None:
    fronts.first.kill()
    urls = f"http://127.0.0.1:{fronts.first.port},http://127.0.0.1:{fronts.second.port}"
    ran = fronts.pduclient("on", "-y", "berlin/board[1-2]", urls=urls)
    assert (ran.code, ran.out) == (0, "berlin/board1 Starting\nberlin/board2 Starting\n"), ran.err
    assert fronts.lab.tries("berlin") == 2
    status = fronts.pduclient("status", "berlin/board[1-3]", urls=urls)
    assert status.code == 0 and status.out == "berlin/board1 On \nberlin/board2 On \nberlin/board3 Off\n"


def test_what_pduclient_did_not_hear_of_is_done_once_by_its_key(fronts: Fronts) -> None:
    fronts.link.down = 200
    ran = fronts.pduclient("on", "-y", "-v", "--key", "mine", "berlin/board[1-4]")
    assert fronts.link.cuts == 1
    again = fronts.pduclient("on", "-y", "--key", "mine", "berlin/board[1-4]")
    assert again.code == 0 and len(again.out.splitlines()) == 4, f"{again} after {ran}"
    assert fronts.lab.tries("berlin") == 4 and set(fronts.berlin.outlets().values()) == {"on"}


def test_what_one_front_began_is_taken_back_at_the_other(fronts: Fronts) -> None:
    with terminal(fronts.urls, "on -y berlin/s[1-4]") as one:
        eventually(lambda: "of 4" in one.screen)
        one.process.send_signal(signal.SIGINT)
        ran = one.end()
    assert ran.code == 130
    found = re.search(r"pduclient cancel (\S+) takes back", ran.err)
    assert found and found[1] == "berlin/1", ran.err
    gone = fronts.pduclient("cancel", found[1], urls=f"http://127.0.0.1:{fronts.second.port}")
    assert "berlin/s4 Cancelled" in gone.out, gone
    eventually(lambda: all(each["ended"] for each in fronts.berlin.http("/api/v1/requests").json))
    assert fronts.lab.tries("berlin") < 4
