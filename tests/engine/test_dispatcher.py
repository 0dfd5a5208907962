# SPDX-License-Identifier: MIT
"""`Dispatcher`: what a target's names mean is looked up where the request is accepted, so that no reload comes between."""

from __future__ import annotations

import gc
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
from pdudaemon.errors import Locked, RequestError
from pdudaemon.power import Action, Outlet, Target
from tests.support.rack import Rack, awaited, submitted


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
