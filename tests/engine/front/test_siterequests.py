# SPDX-License-Identifier: MIT
"""An order is done once, and its client told the truth, wherever the connection between a front and its site is cut.

With ``FRONT_CUTS=all`` it is cut at every byte, in both directions, which takes some minutes for each way to ask; else
at the first and last bytes, and at as many others by chance (``FRONT_SEED``).
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.fronts import Front, order
from tests.support.process import Daemon, Reply, eventually

CUTS = os.environ.get("FRONT_CUTS", "2")
SEED = int(os.environ.get("FRONT_SEED") or time.time())
METHODS = {"on": "PATCH", "off": "DELETE", "reboot": "PUT"}
TOLD = {f"urn:pdudaemon:{kind}" for kind in ("unanswered", "site-unreachable", "not-done")}


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Iterator[Front]:
    made = Front(daemon)
    yield made
    made.close()


def words(wait: float | None) -> dict[str, Any]:
    return {} if wait is None else {"wait": wait}


def one(front: Daemon, action: str, key: str, wait: float | None) -> Reply:
    delay = {"delay": 0} if action == "reboot" else {}
    return order(front, action, key, alias="berlin/board1", **delay, **words(wait))


def accepted(front: Daemon, action: str, key: str, _: float | None) -> Reply:
    return order(front, action, key, alias="berlin/board1", wait=0)


def reboot(front: Daemon, _: str, key: str, wait: float | None) -> Reply:
    return one(front, "reboot", key, wait)


def nodes(front: Daemon, action: str, key: str, wait: float | None) -> Reply:
    """Ask as OpenFlight's clients do; the site answers the front by lines."""
    query = "".join(f"&{name}={value}" for name, value in words(wait).items())
    return front.http(f"/?nodes=berlin/board[1-2]{query}", METHODS[action], Idempotency_Key=key)


def command(front: Daemon, action: str, key: str, wait: float | None) -> Reply:
    return order(front, action, key, nodes="berlin/board[1-2]", **words(wait))


def rack(front: Daemon, _: str, key: str, wait: float | None) -> Reply:
    return order(front, "reboot", key, groups="berlin/rack1", delay=0, **words(wait))


WAYS = {each.__name__: each for each in (one, accepted, reboot, nodes, command, rack)}
TRIES = {"reboot": 2, "nodes": 2, "command": 2, "rack": 4}  # of the device, for each; else 1


def errors(reply: Reply) -> list[Any]:
    """Return what is told instead of success, of each node."""
    if reply.text.startswith('{"data"'):
        return [each["attributes"]["error"] for each in reply.json["data"] if not each["attributes"]["success"]]
    return [] if reply.status < 300 else [reply.json["type"]]


def places(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """Return where to cut."""
    every = [[(way, count) for count in range(size + 1)] for way, size in sizes.items()]
    if CUTS == "all":
        return [*itertools.chain(*every)]
    chance = random.Random(SEED)
    found = []
    for each in every:
        edges = [*each[:2], *each[-2:]]
        found += [*edges, *sorted(chance.sample(each[2:-2], int(CUTS)))]
    return found


def is_as(berlin: Daemon, way: str, action: str) -> bool:
    """Whether the outlets of an order are as it wants them."""
    found, ports = berlin.outlets(), "1" if way in ("one", "accepted", "reboot") else "12"
    return all(found[port] == ("on" if way in ("reboot", "rack") else action) for port in ports)


def asked_again(ask: Callable[[], Reply]) -> Reply:
    """Ask, and again for as long as the site counts as away: that it did not answer may have been noticed."""
    while "cannot be asked" in (reply := ask()).text:
        time.sleep(0.1)
    return reply


@pytest.mark.parametrize("way", WAYS)
def test_it_is_done_once_wherever_the_connection_is_cut(lab: Front, way: str) -> None:
    berlin = lab.add("berlin")
    front, link, ask, each = lab.begin(), lab.links["berlin"], WAYS[way], TRIES.get(way, 1)
    assert errors(ask(front, "on", "first", None)) == []
    expected = each
    lab.tried("berlin", expected)
    assert link.orders == 1 and min(link.sizes.values()) > 150, link.sizes
    begun = link.cuts
    every = places(link.sizes)
    for number, (direction, count) in enumerate(every):
        where = f"{direction} {count}, seed {SEED}"
        action = ("off", "on")[number % 2]
        cuts = link.cuts
        setattr(link, direction, count)
        reply = ask(front, action, f"{direction}{count}", None)
        assert errors(reply) == [] and reply.status in (200, 201, 202), f"{where}: {reply.text}"
        link.cut_since(cuts, direction, count)
        expected += each
        lab.tried("berlin", expected)
        assert lab.tries("berlin") == expected, where
        eventually(lambda action=action: is_as(berlin, way, action))
    assert link.cuts - begun >= len(every) - 8  # an answer may be some bytes shorter than another


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "part"), [(way, part) for way in WAYS for part in range(4 if way == "accepted" else 1)]
)
def test_what_became_of_it_is_not_made_up_when_the_site_is_away_then(lab: Front, way: str, part: int) -> None:
    """Who asks again by his key hears of the same order, which is done once."""
    berlin = lab.add("berlin")
    front, link, ask, each = lab.begin(), lab.links["berlin"], WAYS[way], TRIES.get(way, 1)
    assert errors(ask(front, "on", "first", None)) == []
    expected = each
    lab.tried("berlin", expected)
    told: set[str] = set()
    every = places(link.sizes)
    if way == "accepted":  # for which the front tries for ten seconds
        every = every[:: len(every) // 10][part::4]
    for number, (direction, count) in enumerate(every):
        where = f"{direction} {count}, seed {SEED}"
        action, key = ("off", "on")[number % 2], f"{direction}{count}"
        setattr(link, direction, count)
        link.refuses_then = True
        reply = ask(front, action, key, 0.3)
        found = errors(reply)
        link.refuses_then = link.refuses = False
        setattr(link, direction, None)
        if found:
            told.add(str(found[0]))
            assert reply.status in (200, 503, 504), f"{where}: {reply.text}"
            assert reply.status == 200 or set(found) <= TOLD, f"{where}: {reply.text}"
            assert "site-unreachable" not in str(found) or lab.tries("berlin") == expected, where
        elif way != "accepted":
            assert lab.tries("berlin") == expected + each and is_as(berlin, way, action), f"{where}: {reply.text}"
        again = asked_again(lambda action=action, key=key: ask(front, action, key, None))
        assert errors(again) == [] and again.status in (200, 201, 202), f"{where}: {reply.text}; {again.text}"
        expected += each
        lab.tried("berlin", expected)
        assert lab.tries("berlin") == expected, where
        eventually(lambda action=action: is_as(berlin, way, action))
    assert told, "the site was never away"
