# SPDX-License-Identifier: MIT
"""What is written to one who watches, over a pair of sockets: as far as he may see it, and for as long as he may."""

from __future__ import annotations

import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events, Watch
from pdudaemon.engine.outlets import Known
from pdudaemon.errors import Busy, Denied
from pdudaemon.power import Outlet, State
from pdudaemon.server import watchers as module
from pdudaemon.server.client import Client
from pdudaemon.server.rights import EVERYTHING, Rights, RoleRights
from pdudaemon.server.watcher import ALL, Form, Wanted, Watcher
from pdudaemon.server.watchers import Watchers
from tests.support.pair import connected
from tests.support.process import eventually

LINES = Form(sse=False, chunked=False)
A1, A2, B1 = Outlet("a", "1"), Outlet("a", "2"), Outlet("b", "1")
ROLES: dict[str, Any] = {
    "some": {"nodes": "mine", "may": ["on"]},
    "whole": {"pdus": "a", "may": ["on"]},
    "none": {"nodes": "ghost", "may": ["on"]},
}


class Lab:
    """Events, by a configuration with roles, and those who watch them."""

    def __init__(self, folder: Path, rights: Callable[[Client], Rights] | None) -> None:
        self._conf = folder / "conf"
        self.events = Events(Clock())
        self._dispatcher: Any = SimpleNamespace(events=self.events, config=self.configured())
        self.watchers = Watchers(self._dispatcher, rights or self._rights)
        self.stack = ExitStack()

    def _rights(self, client: Client) -> Rights:
        return EVERYTHING if client.roles is None else RoleRights(self._dispatcher.config, client.roles)

    def configured(self) -> Config:
        nodes = {"mine": {"hostname": "a", "port": 1}, "theirs": {"hostname": "a", "port": 1}}
        whole = {"pdus": {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}}, "nodes": nodes, "roles": ROLES}
        self._conf.write_text(json.dumps(whole))
        return reader.load(str(self._conf))

    def reload(self) -> None:
        self._dispatcher.config = self.configured()
        self.events.reload()

    def watch(
        self,
        *roles: str,
        wanted: Wanted = ALL,
        after: int | None = None,
        permitted: Callable[[], object] = lambda: None,
        form: Form = LINES,
    ) -> socket.socket:
        """Return the client's end of the connection of somebody who watches."""
        speech: Any = SimpleNamespace()
        pair = self.stack.enter_context(connected(lambda _: speech))
        position = self.events.last if after is None else after
        client = Client("a", 1, "", roles or None)
        self.watchers.add(Watcher(pair.connection, client, form, wanted, position, permitted))
        return pair.client

    def told(self, client: socket.socket, *kinds: str) -> list[dict[str, Any]]:
        """Return what somebody is told until the last of it is of some kind, without when that was."""
        found: list[dict[str, Any]] = []
        with client.makefile("rb") as lines:
            while not found or found[-1]["kind"] not in kinds:
                line = lines.readline()
                if line.strip():
                    found.append(json.loads(line))
        return [{word: value for word, value in each.items() if word not in ("id", "time")} for each in found]

    def request(self, kind: str, *outlets: Outlet, **more: Any) -> None:
        """Have something happen to a request."""
        fields = {"request": 7, "action": "on", "client": "x", "state": "done", "error": None, **more}
        self.events.at_site(kind, outlets=outlets, **fields)

    def close(self) -> None:
        self.watchers.close()
        self.stack.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(rights: Callable[[Client], Rights] | None = None) -> Lab:
        made.append(Lab(tmp_path, rights))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_where_nobody_watches_nothing_is_to_be_ended(lab: Callable[..., Lab]) -> None:
    watchers = lab().watchers
    assert watchers.close() is True
    with pytest.raises(Busy, match="the daemon is stopping"):
        watchers.add(None)  # type: ignore[arg-type]


def test_its_thread_ends_when_all_is_over_though_nobody_watches_any_more(lab: Callable[..., Lab]) -> None:
    one = lab()
    speech: Any = SimpleNamespace()
    with connected(lambda _: speech) as pair:
        others = threading.enumerate()
        one.watchers.add(Watcher(pair.connection, Client("a", 1), LINES, ALL, one.events.last, lambda: None))
        (thread,) = (each for each in threading.enumerate() if each.name == "watchers" and each not in others)
        pair.connection.ended = True
        eventually(lambda: not one.watchers._watchers)
    assert thread.daemon and thread.is_alive() and str(one.watchers) == "the thread that serves the watchers"
    assert one.watchers.close() is True and not thread.is_alive()


def test_a_pdu_is_told_of_to_who_may_see_an_outlet_of_it(lab: Callable[..., Lab]) -> None:
    one = lab()
    clients = {role: one.watch(*([role] if role else [])) for role in ("", "some", "whole", "none")}
    one.events.pdu("b", "stuck", "b: no answer", False)
    one.events.pdu("a", "ready", "a: port 2 is hot", False)
    one.events.pdu("a", "disabled", "a: no driver", False)
    one.events.pdu("a", "stuck", "a: stuck", True)
    one.events.reload()
    a = [
        {"kind": "pdu", "pdu": "a", "state": "ready", "reason": "a: port 2 is hot", "reachable": False},
        {"kind": "pdu", "pdu": "a", "state": "disabled", "reason": "a: no driver", "reachable": False},
        {"kind": "pdu", "pdu": "a", "state": "stuck", "reason": "a: stuck", "reachable": True},
    ]
    told = {role: one.told(client, "reload")[:-1] for role, client in clients.items()}
    assert told[""] == [{"kind": "pdu", "pdu": "b", "state": "stuck", "reason": "b: no answer", "reachable": False}, *a]
    assert told["whole"] == a and told["none"] == []
    assert told["some"] == [{**a[0], "reason": None}, *a[1:]]  # that one may be about an outlet of others


def test_an_outlet_and_a_request_are_told_of_to_who_may_see_all_of_it(lab: Callable[..., Lab]) -> None:
    one = lab()
    clients = {role: one.watch(*([role] if role else [])) for role in ("", "some", "whole")}
    for outlet in (A1, A2, B1):
        one.events.outlet(outlet, Known(State.ON, "device", 5.0))
    one.request("accepted", A1, target="theirs (a port 1)", names=("theirs", "mine"))
    one.request("tried", A1, target="mine, theirs (a port 1, a port 2)", owed=(A1, A2))
    one.request("waiting", A2, target="theirs (a port 2)", due=9.0)
    one.request("ended", A1, target="mine (a port 1)")
    one.request("ended", A1, B1, target="mine (a port 1, b port 1)")
    one.events.reload()
    told = {role: one.told(client, "reload")[:-1] for role, client in clients.items()}
    seen = {
        role: [
            (each["kind"], each.get("target"), each.get("owed"), each.get("nodes", each.get("outlet", {}).get("nodes")))
            for each in found
        ]
        for role, found in told.items()
    }
    assert [each["outlet"]["port"] for each in told["whole"][:2]] == ["1", "2"]
    assert seen["some"] == [
        ("outlet", None, None, ["mine"]),
        ("accepted", "a port 1", [], ["mine"]),
        ("tried", "a port 1", ["a:1"], ["mine"]),
        ("ended", "mine (a port 1)", [], ["mine"]),
    ]
    assert seen["whole"][2:] == [
        ("accepted", "theirs (a port 1)", [], ["theirs", "mine"]),
        ("tried", "a port 1", ["a:1", "a:2"], ["mine", "theirs"]),
        ("waiting", "a port 2", [], []),
        ("ended", "mine (a port 1)", [], ["mine", "theirs"]),
    ]
    assert [each[0] for each in seen[""]] == ["outlet"] * 3 + ["accepted", "tried", "waiting", "ended", "ended"]
    assert seen[""][4][1:3] == ("mine, theirs (a port 1, a port 2)", ["a:1", "a:2"])


def test_what_is_wanted_is_told_and_nothing_else(lab: Callable[..., Lab]) -> None:
    one = lab()
    wanted = {
        "nodes": Wanted(nodes=frozenset({"mine"})),
        "pdus": Wanted(pdus=frozenset({"b"})),
        "kinds": Wanted(kinds=frozenset({"reload", "pdu"})),
    }
    clients = {name: one.watch(wanted=each) for name, each in wanted.items()}
    for outlet in (A1, A2, B1):
        one.events.outlet(outlet, Known(State.ON, "device", 5.0))
    one.events.pdu("b", "ready", "", True)
    one.events.reload()
    told = {name: one.told(client, "reload")[:-1] for name, client in clients.items()}
    places = {name: [each["outlet"]["pdu"] for each in found if "outlet" in each] for name, found in told.items()}
    assert places == {"nodes": ["a"], "pdus": ["b"], "kinds": []}
    assert [len(told[name]) for name in ("nodes", "pdus", "kinds")] == [1, 2, 1]


def test_who_begins_behind_an_event_gets_what_came_since(lab: Callable[..., Lab]) -> None:
    one = lab()
    for number in range(1200):
        one.events.pdu("a", "ready", str(number), None)
    client = one.watch(after=one.events.last - 1100)
    one.events.reload()
    told = one.told(client, "reload")
    assert [each["reason"] for each in told[:-1]] == [str(number) for number in range(100, 1200)]


def test_what_happens_is_told_at_once_and_not_by_the_clock(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 3600.0)
    one = lab()
    client = one.watch()
    client.settimeout(60)
    for number in range(4):
        one.events.pdu("a", "ready", str(number), None)
        assert one.told(client, "pdu")[-1]["reason"] == str(number)


def test_where_nobody_watches_any_more_nothing_is_left_of_it(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.05)
    one = lab()
    before = sum(isinstance(each, Watch) for each in gc.get_objects())
    client = one.watch()
    one.events.reload()
    assert one.told(client, "reload")
    one.stack.close()
    eventually(lambda: sum(isinstance(each, Watch) for each in gc.get_objects()) <= before)
    client = one.watch()
    one.events.reload()
    assert one.told(client, "reload"), "who comes later is told as well"


def test_a_heartbeat_takes_the_place_of_no_event(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.0)
    monkeypatch.setattr(module, "TICK", 0.05)
    one = lab()
    client = one.watch(form=Form(sse=True, chunked=False))
    for number in range(3):
        received = b""
        while b":\n\n" not in received:
            received += client.recv(1000)
        one.events.pdu("a", "ready", f"event {number}", None)
        while f"event {number}".encode() not in received:
            received += client.recv(1000)


def test_who_may_not_watch_any_more_is_told_why_and_nothing_else(lab: Callable[..., Lab]) -> None:
    one, asked = lab(), list[int]()

    def permitted() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise Denied(401, "the token has been revoked")

    client, other = one.watch(permitted=permitted), one.watch()
    one.reload()
    assert one.told(client, "reload") == [{"kind": "reload"}]
    assert one.told(other, "reload") == [{"kind": "reload"}]
    one.events.pdu("a", "ready", "", None)
    one.reload()
    (*_, last) = one.told(client, "end")
    assert last["reason"] == "the token has been revoked" and len(asked) == 2
    one.events.pdu("a", "ready", "and on", None)
    assert [each["kind"] for each in one.told(other, "reload")] == ["pdu", "reload"]
    assert one.told(other, "pdu")[-1]["reason"] == "and on"


def test_a_fault_of_ours_ends_what_it_concerns_and_is_logged(
    lab: Callable[..., Lab], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(client: Client) -> Rights:
        if client.roles:
            raise KeyError("x")
        return EVERYTHING

    one = lab(fail)
    client = one.watch("some")
    one.events.reload()
    assert one.told(client, "end") == [{"kind": "end", "reason": "internal error: see the log of the daemon"}]
    assert [each.message for each in caplog.records if each.exc_info] == ["serving those who watch failed"]
    again = one.watch()
    one.events.reload()
    assert one.told(again, "reload") == [{"kind": "reload"}]


def test_without_a_thread_nobody_watches(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    one = lab()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(Busy, match="the machine has no thread for that: can't start new thread"):
            one.watch()
    client = one.watch()
    one.events.reload()
    assert one.told(client, "reload") == [{"kind": "reload"}]
