# SPDX-License-Identifier: MIT
"""The sites of a front, all of them: what there is with what they have, and which of them is asked."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.engine.events import Events
from pdudaemon.engine.front import site as engine_site
from pdudaemon.engine.front.sites import Sites
from pdudaemon.engine.inventory import Inventory
from pdudaemon.errors import NoSuchRequest
from pdudaemon.power import Outlet, State, Target
from tests.support.lyingsite import NODE, OUTLET, PDU, LyingSite, reply
from tests.support.process import eventually
from tests.support.rack import SetClock

REQUEST = {"id": 7, "target": "board1"}


class Front:
    """A front of some sites; ``taken`` has the configurations that it went on with."""

    def __init__(self, folder: Path, urls: dict[str, Any]) -> None:
        self._path = folder / "conf"
        self.clock = SetClock()
        self.events = Events(self.clock)
        self._seen = self.events.last
        self.taken: list[Config] = []
        config = self.config(urls)
        self.inventory = Inventory(config, self.events, self.clock)
        self.sites = Sites(config, self.events, self.inventory, self.clock, self.taken.append)

    def config(self, urls: dict[str, Any], **nodes: Any) -> Config:
        sites = {name: url if isinstance(url, dict) else {"url": url} for name, url in urls.items()}
        found = {
            "pdus": {"own": {"driver": "dummy"}},
            "nodes": {"mine": {"hostname": "own", "port": 1}, **nodes},
            "sites": sites,
        }
        self._path.write_text(json.dumps(found))
        return reader.load(str(self._path))

    def reached(self, *names: str) -> None:
        for name in names:
            eventually(lambda name=name: (found := self.sites.named(name)) is not None and not found.trouble)
            eventually(lambda name=name: f"{name}/p1" in self.inventory.elsewhere)

    def reloads(self) -> list[str]:
        found, _ = self.events.since(self._seen)
        return [event.reason for event in found if event.kind == "reload"]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[..., Front]]:
    made: list[Front] = []

    def make(**urls: Any) -> Front:
        made.append(Front(tmp_path, urls))
        return made[-1]

    yield make
    for each in made:
        assert each.sites.close() == []


@pytest.fixture
def berlin() -> Iterator[LyingSite]:
    with LyingSite({"GET /api/v1/nodes": lambda: reply([{**NODE, "last_request": REQUEST}])}) as site:
        yield site


@pytest.fixture
def paris() -> Iterator[LyingSite]:
    with LyingSite() as site:
        yield site


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("site ")]


def test_without_sites_there_is_nothing_of_them(front: Callable[..., Front]) -> None:
    alone = front()
    alone.sites.start()
    assert not alone.sites and [*alone.sites] == [] and threads() == []
    config = alone.taken[-1]
    assert alone.sites.of(config.node("mine"), config) is None
    assert [*alone.sites.every_pdu(lambda *_: iter([{"name": "own"}]))] == [{"name": "own"}]
    with pytest.raises(NoSuchRequest, match="there is no site 'berlin'"):
        alone.sites.numbered("berlin/7")
    with pytest.raises(NoSuchRequest, match="'seven' is the number of nothing"):
        alone.sites.numbered("seven")


def test_what_sites_have_is_in_the_configuration(
    front: Callable[..., Front], berlin: LyingSite, paris: LyingSite
) -> None:
    both = front(berlin=berlin.url, paris=paris.url)
    both.sites.start()
    assert both.sites and [site.name for site in both.sites] == ["berlin", "paris"]
    both.reached("berlin", "paris")
    config = both.taken[-1]
    assert {"own", "berlin/p1", "paris/p1"} == {*config.pdus} == {*both.inventory.elsewhere, "own"}
    site = both.sites.of(config.node("paris/board1"), config)
    assert site is not None and site is both.sites.named("paris") and both.sites.named("rome") is None
    assert both.sites.of(config.node("mine"), config) is None and both.sites.of(Target("", ()), config) is None
    targets = {name: config.node(name) for name in ("mine", "berlin/board1", "paris/board1")}
    parts = {None if each is None else each.name: part for each, part in both.sites.parts(targets, config).items()}
    assert parts == {
        None: {"mine": targets["mine"]},
        **{f"{each}": {f"{each}/board1": targets[f"{each}/board1"]} for each in ("berlin", "paris")},
    }
    numbered, theirs = both.sites.numbered("berlin/paris/7")
    assert (numbered.name, theirs) == ("berlin", "paris/7")
    last = both.sites.last("berlin/board1")
    assert last is not None and last["id"] == "berlin/7" and both.sites.last("paris/board1") is None
    assert sorted(both.reloads()) == ["site berlin can be asked", "site paris can be asked"]
    assert both.sites.names >= 3 and both.sites.faults("berlin") == []


def test_pdus_are_listed_behind_those_that_are_here(
    front: Callable[..., Front], berlin: LyingSite, paris: LyingSite
) -> None:
    berlin.lies["GET /api/v1/pdus"] = lambda: reply([{**PDU, "requests": 2}, {**PDU, "name": "p2"}])
    both = front(berlin=berlin.url, paris=paris.url)
    both.sites.start()
    both.reached("berlin", "paris")
    local = [{"name": "own"}, {"name": "own2"}]

    def here(after: str, most: int | None, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
        names = [each["name"] for each in local]
        left = local[names.index(after) + 1 :] if after in names else [] if after else local
        return iter([each for each in left if wanted(each["name"])][:most])

    def listed(*words: Any) -> list[str]:
        return [each["name"] for each in both.sites.every_pdu(here, *words)]

    every = ["own", "own2", "berlin/p1", "berlin/p2", "paris/p1"]
    assert listed() == every and listed("", 3) == every[:3] and listed("own", 2) == every[1:3]
    for number, name in enumerate(every):
        assert listed(name) == every[number + 1 :]
    assert listed("", None, lambda name: name.endswith("p1")) == ["berlin/p1", "paris/p1"]
    requests = {each["name"]: each["requests"] for each in both.sites.records()}
    assert requests == {"berlin/p1": 2, "berlin/p2": 0, "paris/p1": 0}
    berlin.lies["GET "] = lambda: reply({"detail": "no"}, 500)
    berlin.__exit__()
    eventually(lambda: both.sites.named("berlin").trouble)  # type: ignore[union-attr]
    assert [each["requests"] for each in both.sites.records() if each["name"] == "berlin/p1"] == [0]
    eventually(lambda: both.inventory.elsewhere["berlin/p1"].reachable is False)
    known = both.inventory.elsewhere["berlin/p1"]
    assert known.trouble.startswith("berlin cannot be asked: ") and known.outlets["1"].state is State.UNKNOWN
    assert both.inventory.elsewhere["paris/p1"].outlets["1"].state is State.ON


def test_what_collides_is_told_once_and_usable_by_nobody(
    front: Callable[..., Front], berlin: LyingSite, paris: LyingSite, caplog: pytest.LogCaptureFixture
) -> None:
    options = {name: {"url": site.url, "prefix": False} for name, site in (("berlin", berlin), ("paris", paris))}
    both = front(**options)
    both.sites.start()
    eventually(lambda: both.sites.faults("paris") or both.sites.faults("berlin"))
    eventually(lambda: len(both.reloads()) == 2)
    both.sites.change(both.config(options))
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    faults = both.sites.faults("berlin") + both.sites.faults("paris")
    assert sorted(errors) == sorted(faults) and any("'p1' has the name of one of berlin" in each for each in faults)
    assert "p1" not in both.taken[-1].pdus and [*both.sites.records()] == [] and both.inventory.elsewhere == {}
    assert both.sites.faults("berl") == []


def test_a_pdu_of_a_site_that_has_the_name_of_one_here_is_not_listed(
    front: Callable[..., Front], berlin: LyingSite
) -> None:
    berlin.lies["GET /api/v1/pdus"] = lambda: reply([{**PDU, "name": "own"}, PDU])
    one = front(berlin={"url": berlin.url, "prefix": False})
    one.sites.start()
    eventually(lambda: "p1" in one.inventory.elsewhere)
    assert [*one.inventory.elsewhere] == ["p1"] and one.inventory.pdu("own") is not one.sites.named(
        "berlin"
    ).mirror.pdus["own"]  # type: ignore[union-attr]

    def here(after: str, *_: object) -> Iterator[dict[str, Any]]:
        return iter([{"name": name} for name in {"": ["own", "own2"], "own": ["own2"]}.get(after, [])])

    assert [each["name"] for each in one.sites.every_pdu(here)] == ["own", "own2", "p1"]
    assert [each["name"] for each in one.sites.every_pdu(here, "own")] == ["own2", "p1"]


def test_another_configuration_keeps_the_sites_that_are_as_they_were(
    front: Callable[..., Front], berlin: LyingSite, paris: LyingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(engine_site, "RELOADS", 0.05)
    both = front(berlin=berlin.url, paris=paris.url)
    both.sites.start()
    both.reached("berlin", "paris")
    before = {site.name: site for site in both.sites}
    asked = berlin.asked.count("GET /api/v1/events")
    paris.lies["GET "] = lambda: reply({"detail": "busy"}, 503)
    both.sites.change(
        both.config(
            {"berlin": berlin.url, "paris": {"url": paris.url, "token": "another"}}, new={"hostname": "own", "port": 2}
        )
    )
    assert "new" in both.taken[-1].nodes and "site berlin" in threads()
    after = {site.name: site for site in both.sites}
    assert after["berlin"] is before["berlin"] and after["paris"] is not before["paris"]
    assert "paris/p1" in both.inventory.elsewhere, "its names are known already"
    assert both.inventory.elsewhere["paris/p1"].reachable is False
    paris.lies = {}
    both.reached("paris")
    assert threads().count("site paris") == 1 and berlin.asked.count("GET /api/v1/events") == asked
    both.sites.change(both.config({"paris": {"url": paris.url, "token": "another", "prefix": False}}))
    assert [site.name for site in both.sites] == ["paris"] and "paris/p1" not in both.inventory.elsewhere
    eventually(lambda: "p1" in both.inventory.elsewhere)
    assert threads() == ["site paris"]
    both.sites.change(both.config({}))
    assert not both.sites and threads() == [] and {*both.taken[-1].pdus} == {"own"}


def test_a_look_has_the_sites_asked_for_what_is_old(front: Callable[..., Front], berlin: LyingSite) -> None:
    one = front(berlin=berlin.url)
    one.sites.start()
    one.reached("berlin")
    site = one.sites.named("berlin")
    assert site is not None
    berlin.lies["GET /api/v1/outlets"] = lambda: reply([{**OUTLET, "state": "off"}])
    site._upkeep.loaded = -1e9
    one.sites.look(["own"])
    assert site._upkeep.is_due(), "nobody looked at it"
    site._upkeep.loaded = -1e9
    one.sites.look(["own", "berlin/p1"])
    place = Outlet("berlin/p1", "1")
    eventually(lambda: one.inventory.elsewhere[place.pdu].outlets[place.port].state is State.OFF)


def test_without_a_thread_a_site_is_away(
    front: Callable[..., Front], berlin: LyingSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    one = front(berlin=berlin.url)
    with monkeypatch.context() as patched:
        patched.setattr(engine_site.Site, "start", refuse)
        one.sites.start()
    assert "berlin: the machine has no thread for that: can't start new thread" in caplog.text
    assert one.inventory.elsewhere == {} and one.taken


def test_who_still_runs_is_told(
    front: Callable[..., Front], berlin: LyingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = front(berlin=berlin.url)
    one.sites.start()
    one.reached("berlin")
    with monkeypatch.context() as patched:
        patched.setattr(engine_site.Site, "ended", lambda *_: False)
        assert one.sites.close() == ["the thread of site berlin"]
    eventually(lambda: threads() == [])


def test_figures_of_what_is_no_more_are_forgotten(front: Callable[..., Front], berlin: LyingSite) -> None:
    one = front(berlin=berlin.url)
    one.sites.start()
    one.reached("berlin")
    event = {"kind": "ended", "outlets": (Outlet("berlin/p1", "1"),), "action": "on", "state": "done", "error": None}
    one.events.at_site(**event)
    assert one.events.figures.requests["berlin/p1", "on", "done"] == 1
    one.sites.change(one.config({}))
    assert one.events.figures.requests == {}
