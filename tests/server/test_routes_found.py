# SPDX-License-Identifier: MIT
"""Which route serves what."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.server.messages import Head, Misdirected
from pdudaemon.server.routes import ROUTES, find


def served(target: str, method: str = "GET", **headers: str) -> Any:
    head = Head(method, target, headers=headers)
    route, word = find(head)
    return route.serve.__module__.rpartition(".")[2], word, route


@pytest.mark.parametrize(
    ("method", "target", "module", "word"),
    [
        ("GET", "/power/control/on?x=y", "control", "on"),
        ("POST", "/power/control/restart", "control", "reboot"),
        ("GET", "/power/control/get-status", "control", "status"),
        ("GET", "/api/v1/pdus/a%2Fb", "devices", "a%2Fb"),
        ("GET", "/api/v1/pdus/a/outlets/1", "devices", "a/outlets/1"),
        ("DELETE", "/api/v1/requests/berlin/7", "requests", "berlin/7"),
        ("GET", "/api/v1/commands/1,berlin/7", "commands", "1,berlin/7"),
        ("PATCH", "/?nodes=a", "openflight", ""),
        ("GET", "/ui/page.js", "pages", "page.js"),
        ("POST", "/nodes", "openflight", ""),
        ("BREW", "/", "openflight", ""),
    ],
)
def test_which_route_serves_it(method: str, target: str, module: str, word: str) -> None:
    assert served(target, method)[:2] == (module, word)
    assert served(target, method)[2].switches is (method in ("POST", "DELETE", "PATCH") or "/on" in target) & (
        target != "/nodes"
    )


def test_a_browser_gets_the_page_and_a_client_the_states() -> None:
    assert served("/", accept="text/html")[:2] == ("pages", "") and served("/", accept="*/*")[0] == "openflight"
    assert served("/?nodes=a", accept="text/html")[0] == "openflight"
    assert served("/", "PATCH", accept="text/html")[0] == "openflight"


def test_what_there_is_not() -> None:
    for target in ("/x", "/power/control/", "/power/control/on/", "/api/v1/requests/x", "/api/v1/pdus/a/b", "/ui"):
        with pytest.raises(Misdirected) as missing:
            served(target)
        assert (missing.value.http_status, str(missing.value)) == (404, f"there is nothing at {target!r}")
    with pytest.raises(Misdirected) as refused:
        served("/power/control/on", "PUT")
    assert (refused.value.http_status, refused.value.headers) == (405, {"Allow": "GET, POST"})
    assert str(refused.value) == "PUT is not for this path: nothing was done"


def test_a_route_is_looked_for_once() -> None:
    head = Head("GET", "/api/v1/pdus")
    assert head.found is None
    found = find(head)
    assert head.found is found or head.found == found


def test_all_but_what_is_handed_on_at_once_is_made_by_the_pool() -> None:
    """What takes long would keep the one thread that serves all connections."""
    at_once = {
        (path.pattern, method) for path, methods in ROUTES for method, route in methods.items() if not route.slow
    }
    handed_on = ("/power/control/(on|off|reboot)", "/power/control/(?:get-)?(status)", "/ui/(.*)")
    every = {(path.pattern, method) for path, methods in ROUTES for method in methods if path.pattern in handed_on}
    assert at_once == every | {("/api/v1/(requests)", "POST")}


def test_who_only_looks_switches_nothing_but_by_the_existing_way() -> None:
    """And all else that is asked for switches something, but for a question that is posted."""
    every = [(path.pattern, method, route) for path, methods in ROUTES for method, route in methods.items()]
    looking = ("GET", "HEAD")
    by_looking = {path for path, method, route in every if method in looking and route.switches}
    by_asking = {path for path, method, route in every if method not in looking and not route.switches}
    assert by_looking == {"/power/control/(on|off|reboot)"}
    assert by_asking == {"/power/control/(?:get-)?(status)"}
