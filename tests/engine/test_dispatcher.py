# SPDX-License-Identifier: MIT
"""`Dispatcher`: what a target's names mean is looked up where the request is accepted, so that no reload comes between."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.model import Config
from pdudaemon.config.nodes import Node
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine import dispatcher
from pdudaemon.engine.queries import Look
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import (
    Busy,
    Conflict,
    Locked,
    NoSuchRequest,
    RequestEnded,
    RequestError,
    StoreError,
    TransientError,
)
from pdudaemon.power import Action, Outlet, Phase, State, Target
from tests.support.locks import free
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    one = Rack(tmp_path, {"a": {}, "b": {}})
    yield one
    one.stop()


def by_port(config: Config) -> Target:
    return config.target("a", "8")


def by_node(config: Config) -> Target:
    return config.node("web")


def with_node(rack: Rack, *feeds: Outlet, locked: bool = False) -> Config:
    """Return the configuration with a node of some feeds."""
    config = rack.config()
    locks = dict.fromkeys(feeds, "") if locked else {}
    return replace(config, nodes={"web": Node("web", feeds, locked)} if feeds else {}, locked=locks)


@pytest.mark.parametrize("action", [Action.ON, Action.OFF, Action.REBOOT])
@pytest.mark.parametrize(
    ("settings", "refused", "kind"),
    [
        ({"locked": True}, "locked", Locked),
        ({"outlets": 4}, "this PDU has 1 to 4", RequestError),
        ({"retries": "many"}, "disabled by its configuration", RequestError),
        (None, "there is no PDU 'a'", RequestError),
    ],
)
def test_what_a_reload_has_locked_or_taken_away_is_not_switched(
    rack: Rack, action: Action, settings: dict[str, Any] | None, refused: str, kind: type[Exception]
) -> None:
    target = by_port(rack.dispatcher.config)
    rack.pdus["a"] |= settings or {}
    if settings is None:
        del rack.pdus["a"]
    config = rack.config()
    if settings == {"outlets": 4}:  # which the dummy driver knows, and that of the rack does not
        config = replace(config, pdus={**config.pdus, "a": replace(config.pdus["a"], driver=strategies.find("dummy"))})
    rack.dispatcher.reload(config)
    with pytest.raises(kind, match=refused):
        submitted(rack.dispatcher, action, target)
    assert not rack.dispatcher.records(10) and not rack.seen


@pytest.mark.parametrize("by", [by_port, by_node])
def test_a_reload_in_the_very_moment_waits_until_the_request_stands_in_its_lanes(
    rack: Rack, monkeypatch: pytest.MonkeyPatch, by: Callable[[Config], Target]
) -> None:
    """After the names have been looked up anew, and before the request is accepted: what there is then is ended."""
    rack.dispatcher.reload(with_node(rack, Outlet("a", "8")))
    rack.hold("a", "8")
    target = by(rack.dispatcher.config)
    rack.pdus["a"]["outlets"] = 4
    reload = threading.Thread(target=rack.dispatcher.reload, args=(with_node(rack),))
    original = Config.restarts

    def reloading(config: Config, outlet: Outlet) -> bool:
        monkeypatch.setattr(Config, "restarts", original)
        reload.start()
        reload.join(0.2)
        assert config is rack.dispatcher.config
        return original(config, outlet)

    monkeypatch.setattr(Config, "restarts", reloading)
    request = submitted(rack.dispatcher, Action.REBOOT, target)
    reload.join()
    with pytest.raises(RequestError, match="this PDU has 1 to 4"):
        awaited(rack.dispatcher, request, 30)
    rack.let_go("a")


def test_a_node_is_what_it_is_when_the_request_is_accepted(rack: Rack) -> None:
    rack.dispatcher.reload(with_node(rack, Outlet("a", "1")))
    target = by_node(rack.dispatcher.config)
    rack.dispatcher.reload(with_node(rack, Outlet("b", "1")))
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, target), 30)
    assert rack.seen == {"b": "o"}
    rack.dispatcher.reload(with_node(rack))
    with pytest.raises(RequestError, match="there is no alias or node 'web'"):
        submitted(rack.dispatcher, Action.ON, target)


def test_the_configuration_before_a_reload_goes_by_itself(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {"left": {}, "right": {}})
    before = weakref.ref(rack.dispatcher.config)
    target = rack.dispatcher.config.target("left", "1")
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, target), 30)
    rack.pdus["third"] = {"driver": "dummy"}
    same = rack.dispatcher.config.pdus["left"]
    gc.collect()
    gc.disable()
    try:
        read = rack.config()
        read.pdus["left"] = replace(same)
        rack.dispatcher.reload(read)
        del read
        assert before() is None
    finally:
        gc.enable()
    assert rack.dispatcher.config.pdus["left"] is same
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, target), 30)
    assert rack.seen["left"] == "of"
    rack.stop()


def kinds(rack: Rack) -> list[str]:
    return [event.kind for event in rack.dispatcher.events.since(0)[0]]


def test_how_things_are_in_one_line(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "STUCK_GRACE", 0.0)
    assert rack.dispatcher.summary() == "2 PDUs, 0 requests not ended"
    rack.pdus["b"]["timeout"] = 0.2
    rack.dispatcher.reload(rack.config())
    rack.hold("b")
    submitted(rack.dispatcher, Action.ON, rack.target("a"), 3600)
    eventually(lambda: rack.dispatcher.summary() == "2 PDUs, 2 requests not ended, stuck: b")
    assert not rack.dispatcher.stopping
    rack.let_go("b")
    eventually(lambda: rack.dispatcher.summary() == "2 PDUs, 1 requests not ended")
    rack.stop()
    assert rack.dispatcher.stopping


def test_a_reload_takes_all_over(rack: Rack) -> None:
    """What the daemon itself goes by as well; who watches is told; and nothing is switched."""
    late = submitted(rack.dispatcher, Action.OFF, rack.target("a"), 3600)
    rack._daemon = {"max_queue": 1, "history": 3, "history_days": 17, "give_up": 0}
    rack.pdus["b"]["stagger"] = 3600
    rack.pdus["c"] = {"driver": "dummy", "retries": 1}
    rack.dispatcher.reload(rack.config())
    assert kinds(rack)[-1] == "reload" and not rack.seen
    with pytest.raises(Busy, match="a: its queue is full: 1 requests"):
        submitted(rack.dispatcher, Action.ON, rack.target("a"))
    assert rack.dispatcher.config is not rack.config() and set(rack.dispatcher.config.pdus) == {"a", "b", "c"}
    assert (rack.dispatcher._store.history, rack.dispatcher._store.history_days) == (3, 17)
    for name in ("b", "c"):
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target(name)), 30)
    waits = submitted(rack.dispatcher, Action.ON, rack.dispatcher.config.target("b", "2"))
    eventually(lambda: (rack.dispatcher.record(waits.id)["reason"] or "").startswith("staggered"))
    rack.dispatcher.cancel(waits.id)
    rack.refusing.add(("c", "on"))
    with pytest.raises(TransientError, match=r"refused$"):
        awaited(rack.dispatcher, submitted(rack.dispatcher, Action.REBOOT, rack.target("c"), 0), 30)
    assert rack.dispatcher.records(1)[0]["state"] == "given up"
    rack.dispatcher.cancel(late.id)


def test_a_pdu_goes_when_it_has_ended_what_it_had(rack: Rack) -> None:
    rack.hold("a")
    rack.hold("b")
    left = submitted(rack.dispatcher, Action.OFF, rack.target("b"), 3600)
    for name in ("a", "b"):
        del rack.pdus[name]
    rack.dispatcher.reload(rack.config())
    assert [pdu["state"] for pdu in rack.dispatcher.snapshot()] == ["leaving", "leaving"]
    assert rack.dispatcher.record(left.id)["state"] == "queued"
    rack.dispatcher.cancel(left.id)
    with pytest.raises(RequestError, match="there is no PDU 'a'"):
        rack.dispatcher.config.target("a", "1")
    rack.let_go("a")
    eventually(lambda: [pdu["name"] for pdu in rack.dispatcher.snapshot()] == ["b"])
    rack.let_go("b")
    eventually(lambda: not rack.dispatcher.snapshot())
    rack.pdus["c"] = {"driver": "dummy", "retries": 1}
    rack.dispatcher.reload(rack.config())
    del rack.pdus["c"]
    rack.dispatcher.reload(rack.config())
    assert not rack.dispatcher.snapshot(), "it had nothing"


def test_what_cannot_be_cancelled(rack: Rack) -> None:
    with pytest.raises(NoSuchRequest):
        rack.dispatcher.cancel(7)
    on = submitted(rack.dispatcher, Action.ON, rack.target("a"))
    assert awaited(rack.dispatcher, on, 30)
    with pytest.raises(Conflict, match=f"request {on.id} cannot be cancelled: it is done"):
        rack.dispatcher.cancel(on.id)


def test_what_was_cancelled_is_on_record_when_that_returns(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    later = submitted(rack.dispatcher, Action.OFF, rack.target("a"), 3600)
    with monkeypatch.context() as patched:
        patched.setattr(rack.dispatcher._lock, "lead", lambda: None)
        rack.dispatcher.cancel(later.id)
    assert not rack.dispatcher._store.noted and rack.state(later.id) == "cancelled"


def test_who_is_told_late_hears_how_it_stands(rack: Rack) -> None:
    rack.hold("a")
    behind = submitted(rack.dispatcher, Action.OFF, rack.target("a"))
    found = rack.dispatcher.so_far(behind, 3)
    assert str(found) == f"accepted as request {behind.id}, not done after 3 s: queued behind request 1; it goes on"
    rack.let_go("a")
    assert awaited(rack.dispatcher, behind, 30) and rack.dispatcher.so_far(behind, 3) is None
    told: list[object] = []
    rack.dispatcher.join(rack.dispatcher._store.request(behind.id), lambda *words: told.append(words[1]))
    eventually(lambda: told == [None])  # one that is on record alone
    later = submitted(rack.dispatcher, Action.OFF, rack.target("a"), 3600)
    rack.dispatcher.join(rack.dispatcher._store.request(later.id), lambda *words: told.append(words[1]))
    rack.dispatcher.cancel(later.id)
    eventually(lambda: [type(each) for each in told] == [type(None), RequestEnded])


def ends(rack: Rack, **words: Any) -> tuple[list[str], list[str]]:
    rack._running = False
    return rack.dispatcher.close(0, **words)


def test_the_end_refuses_who_asks_and_what_is_asked(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 0.1)
    rack.hold("a")
    answers: list[str] = []
    look = Look([Outlet("a", "1")], lambda answer: answers.append(str(answer)))
    rack.dispatcher.ask([look])
    survey: list[str] = []
    rack.dispatcher.surveys.ask("a", lambda error: survey.append(str(error)))
    last: list[str] = []
    ends(rack, last_words=lambda: last.append(rack.state(1)))
    eventually(lambda: answers == survey == ["the daemon is stopping"])
    assert last == ["running"], "the store is there for who still asks"
    with pytest.raises(Busy, match="the daemon is stopping"):
        submitted(rack.dispatcher, Action.ON, rack.target("b"))
    rack.let_go("a")


def test_the_end_waits_for_a_device_that_is_asked_something(rack: Rack) -> None:
    rack.held["a"] = threading.Event()
    answers: list[str] = []
    rack.dispatcher.ask([Look([Outlet("a", "1")], lambda answer: answers.append(str(answer)))])
    eventually(lambda: rack.dispatcher._acting)
    rack._running = False
    left: list[list[str]] = []
    closing = threading.Thread(target=lambda: left.append(rack.dispatcher.close(3600)[0]))
    closing.start()
    eventually(lambda: rack.dispatcher.stopping)
    closing.join(0.1)
    assert closing.is_alive()
    rack.let_go("a")
    closing.join(60)
    assert left == [[]]
    eventually(lambda: len(answers) == 1)


def test_what_is_owed_at_the_end_is_logged_and_returned(rack: Rack, caplog: pytest.LogCaptureFixture) -> None:
    owing(rack, "a")
    (owed,) = ends(rack)[1]
    assert re.fullmatch(r"request 1: reboot a: a port 1 is to be switched on in \d+ s, at the next start", owed)
    assert owed in caplog.messages and caplog.records[caplog.messages.index(owed)].levelname == "WARNING"


def test_what_the_store_does_not_take_at_the_end_is_logged(
    rack: Rack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(rack.dispatcher._store, "flush", refuse)
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("a")), 30)
    eventually(lambda: "what became of some requests is not on record: full" in caplog.text)
    caplog.clear()
    ends(rack)
    assert "what became of some requests is not on record: full" in caplog.text


def test_what_has_ended_is_on_record_at_the_end(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rack.dispatcher._lock, "lead", lambda: None)
    submitted(rack.dispatcher, Action.ON, rack.target("a"))
    eventually(lambda: not rack.dispatcher.live_figures().unended)
    ends(rack)
    rack.start()
    assert rack.state(1) == "done" and rack.seen["a"] == "o"


def test_what_has_begun_when_the_daemon_ends_is_not_done_and_one_that_is_owed_is(rack: Rack) -> None:
    """In the queue of a worker stands what comes after the end: an off is for the next start, an on that is owed not."""
    reboot = owing(rack, "b")
    rack.refusing.clear()
    rack.hold("a")
    rack.hold("b", "2")
    off = submitted(rack.dispatcher, Action.OFF, rack.target("a"))
    other = submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    rack.dispatcher.hurry(reboot)
    rack._running = False
    closing = threading.Thread(target=rack.dispatcher.close, args=(60,))
    closing.start()
    eventually(lambda: rack.dispatcher.stopping)
    for name in ("a", "b"):
        rack.let_go(name)
    closing.join(60)
    assert rack.seen == {"a": "o", "b": "foo"}
    rack.start()
    eventually(lambda: rack.state(off.id) == rack.state(other.id) == "done")
    assert rack.state(reboot.id) == "done" and rack.seen == {"a": "off", "b": "foo"}


def test_what_is_known_at_the_start_is_what_was_told_before(rack: Rack) -> None:
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.ON, rack.target("a")), 30)
    rack.restart()
    assert rack.dispatcher._last_told("a")["1"][0] is State.ON
    assert rack.dispatcher.look(Target("x", (Outlet("a", "1"),)), 30) is not None


def with_driver(rack: Rack, **methods: Any) -> Config:
    """Return the configuration, in which the PDU ``a`` has a driver with other methods."""
    config = rack.config()
    pdu = config.pdus["a"]
    assert pdu.driver is not None
    kind = type("Other", (pdu.driver,), methods)
    traits = replace(pdu.traits, restarts="port_reboot" in methods)
    return replace(config, pdus={**config.pdus, "a": replace(pdu, driver=kind, traits=traits)})


def test_a_driver_knows_what_its_ports_were_last_told(rack: Rack) -> None:
    """For a device that cannot be asked; also after a restart."""
    config = with_driver(rack, port_status=lambda driver, port: driver.last_told()[str(port)][0])
    rack.dispatcher.reload(config)
    for action, state in ((Action.OFF, State.OFF), (Action.ON, State.ON)):
        assert awaited(rack.dispatcher, submitted(rack.dispatcher, action, rack.target("a")), 30)
        assert rack.dispatcher.look(rack.target("a"), 30).state is state
    rack.restart()
    rack.dispatcher.reload(config)
    assert rack.dispatcher.look(rack.target("a"), 30).state is State.ON


def test_a_restart_of_the_devices_own_is_on_the_disk_before_it_and_is_no_debt(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again without another sync; and a disk that does not take it keeps it from being done."""
    synced: list[str] = []
    refuse = False

    def sync(_: Store) -> None:
        synced.append(rack.seen["a"])
        if refuse:
            raise StoreError("no disk")

    restarted: list[str] = []

    def reboot(driver: PDUDriver, port: object) -> None:
        restarted.append(driver.hostname)
        if len(restarted) == 1:
            raise TransientError("not yet")

    monkeypatch.setattr(Store, "sync", sync)
    rack.pdus["a"] |= {"retries": 2, "retrydelay": 0}
    rack.dispatcher.reload(with_driver(rack, port_reboot=reboot))
    request = submitted(rack.dispatcher, Action.REBOOT, rack.target("a"))
    assert request.phase is Phase.RESTART
    assert awaited(rack.dispatcher, request, 30) and restarted == ["a", "a"] and synced == [""] and not request.debts
    refuse = True
    with pytest.raises(StoreError, match="no disk"):
        awaited(rack.dispatcher, submitted(rack.dispatcher, Action.REBOOT, rack.target("a")), 30)
    assert restarted == ["a", "a"] and not rack.dispatcher._acting
    refuse = False
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.REBOOT, rack.target("a")), 30)


def test_an_off_that_the_disk_does_not_take_leaves_a_debt_that_was_there(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    owing(rack, "a")
    rack.refusing.clear()

    def sync(_: Store) -> None:
        raise StoreError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "sync", sync)
        later = submitted(rack.dispatcher, Action.REBOOT, rack.target("a"), 0)
        with pytest.raises(StoreError, match="no disk"):
            awaited(rack.dispatcher, later, 30)
    eventually(lambda: rack.seen["a"] == "fo")
    assert not later.debts and rack.state(later.id) == "failed"


def test_who_has_closed_has_given_the_devices_back(rack: Rack, tmp_path: Path) -> None:
    """Whoever comes next, such as the next daemon, has them at once."""
    rack.stop()
    (tmp_path / "locks").mkdir()
    later = dispatcher.Dispatcher(rack.config(), Store(":memory:"), tmp_path / "locks")
    later.start()
    for pdu in ("a", "b"):
        assert awaited(later, submitted(later, Action.ON, rack.target(pdu)), 60)
        eventually(lambda pdu=pdu: later._fleet.runners[pdu].device.kept)  # as the next action often follows at once
    assert later.close(5.0) == ([], [])
    assert all(free(tmp_path / "locks" / pdu) for pdu in ("a", "b"))
