# SPDX-License-Identifier: MIT
"""The page, in a real browser: look, filter, switch, confirm, refuse, lose the daemon and have it again, tokens, keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.server import pages
from pdudaemon.server.messages import Head
from tests.peers.chromium import KEYS, Chromium
from tests.support.fronts import Front
from tests.support.process import Daemon, eventually

PDUS: dict[str, Any] = {
    "pdu01": {"driver": "dummy", "outlets": 8, "names": {"1": "router"}, "watts": {"1": 12.5}},
    "rack1": {"driver": "dummy", "outlets": 4, "locked": ["4"]},
    "broken": {"driver": "dumy"},
}
NODES = {
    "board7": {"hostname": "pdu01", "port": 3},
    "server": {"feeds": [{"hostname": "rack1", "port": 1}, {"hostname": "rack1", "port": 2}]},
}
BOUND = 60.0

pytestmark = pytest.mark.one_at_a_time("browser")


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Daemon:
    return daemon(PDUS, nodes=NODES, groups={"demo": "board7,server"})


def seen(browser: Chromium, text: str) -> bool:
    """Wait until the page shows a text."""
    return bool(eventually(lambda: browser.shows(text), BOUND))


def look(browser: Chromium, lab: Daemon, path: str = "/") -> None:
    """Open the page, and wait until it is live."""
    browser.open(f"http://127.0.0.1:{lab.port}{path}")
    assert seen(browser, "Live"), browser.text()


def row(name: str, port: str) -> str:
    return f'[data-id="{name}\\a {port}"]'


def state(browser: Chromium, name: str, port: str) -> str:
    return str(
        browser.run("return document.querySelector(arguments[0])?.querySelector('.state').innerText", row(name, port))
    )


def confirm(browser: Chromium, answer: str = "yes") -> str:
    """Answer the question that is asked, and return it with what it names."""
    assert eventually(lambda: browser.run("return document.getElementById('confirm').open"), BOUND)
    asked = str(browser.run("return document.getElementById('confirm').innerText"))
    browser.click(f'#confirm button[value="{answer}"]')
    return asked


def outlet(lab: Daemon, name: str, port: str) -> str:
    return str(lab.http(f"/api/v1/pdus/{name}/outlets/{port}").json["state"])


@pytest.mark.parametrize("path", ["/", "/ui/"])
def test_it_shows_what_there_is(browser: Chromium, lab: Daemon, path: str) -> None:
    browser.open("about:blank")  # leaving that of a test before, whose daemon is gone
    browser.complaints()
    look(browser, lab, path)
    assert seen(browser, "router")
    text = browser.text()
    for word in ("pdu01", "rack1", "board7", "server", "3 PDUs, 12 outlets"):
        assert word in text
    assert "disabled: pdus.broken.driver: there is no driver 'dumy'" in text
    assert browser.run("return document.querySelector(arguments[0]).title", f"{row('rack1', '4')} button") != ""
    assert browser.run("return document.querySelector(arguments[0]).disabled", f"{row('rack1', '4')} button") is True
    browser.click('[data-view="nodes"]')
    assert seen(browser, "2 nodes") and "demo" in browser.text()
    assert not browser.complaints()


def test_a_filter_leaves_what_has_all_its_words(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    browser.press("PDU board", "#filter")
    assert seen(browser, "1 found")
    assert browser.run(
        "return [...document.querySelectorAll('#outlets [data-id]')].map((each) => each.dataset.id)"
    ) == ["pdu01\n3"]


def test_switching_asks_first_and_names_what_is_behind(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    browser.click(f'{row("pdu01", "3")} [aria-label^="on "]')
    asked = confirm(browser)
    assert "Switch on 1 outlet?" in asked and "pdu01 port 3: board7" in asked
    assert eventually(lambda: outlet(lab, "pdu01", "3") == "on", BOUND)
    assert eventually(lambda: state(browser, "pdu01", "3") == "on", BOUND), browser.text()
    browser.click(f'{row("pdu01", "3")} [aria-label^="off "]')
    confirm(browser, "no")
    browser.click(f'{row("pdu01", "2")} [aria-label^="on "]')
    confirm(browser)
    assert eventually(lambda: state(browser, "pdu01", "2") == "on", BOUND)
    assert outlet(lab, "pdu01", "3") == "on"


def test_a_selection_is_switched_together(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    for port in "567":
        browser.click(f"{row('pdu01', port)} input")
    assert seen(browser, "3 selected")
    browser.click('#selection [data-action="on"]')
    assert "Switch on 3 outlets?" in confirm(browser)
    assert eventually(lambda: [outlet(lab, "pdu01", port) for port in "567"] == ["on"] * 3, BOUND)


def test_a_node_is_switched_with_all_its_feeds_and_stands_in_the_history(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    browser.click('[data-view="nodes"]')
    browser.click('[data-id="server"] [aria-label^="on "]')
    assert "server: rack1 port 1, rack1 port 2" in confirm(browser)
    assert eventually(lambda: [outlet(lab, "rack1", port) for port in "12"] == ["on", "on"], BOUND)
    browser.click('[data-view="requests"]')
    assert seen(browser, "server") and seen(browser, "done"), browser.text()


def test_what_others_switch_is_seen_at_once(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    assert lab.power("on", "rack1", 3).status == 200
    assert eventually(lambda: state(browser, "rack1", "3") == "on", BOUND)


def test_the_daemon_is_lost_and_regained(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    lab.stop()
    assert seen(browser, "Not connected since")
    assert browser.run("return document.querySelector(arguments[0]).disabled", f"{row('pdu01', '1')} button") is True
    lab.configure({**lab.settings, "daemon": {**lab.settings["daemon"], "port": lab.port}})
    lab.start()
    assert lab.power("on", "pdu01", 8).status == 200
    assert seen(browser, "Live")
    assert eventually(lambda: state(browser, "pdu01", "8") == "on", BOUND)


def test_a_reboot_that_owes_its_on_cannot_be_overlooked(
    browser: Chromium, daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    command = f"test ! -e {broken} && echo %s"
    lab = daemon({"pdu": {"driver": "localcmdline", "cmd_on": command, "cmd_off": "echo %s", "retries": 1}})
    look(browser, lab)
    broken.touch()
    lab.power("reboot", "pdu", 1, delay=0, wait=0)
    assert eventually(
        lambda: "still to be switched on again" in browser.run("return document.getElementById('owed').innerText"),
        BOUND,
    )
    assert "pdu" in browser.run("return document.getElementById('owed').innerText")
    broken.unlink()
    assert lab.power("on", "pdu", 1).status == 200
    assert eventually(lambda: browser.run("return document.getElementById('owed').hidden"), BOUND)


def test_a_token_is_asked_for_and_never_in_an_address(browser: Chromium, daemon: Callable[..., Daemon]) -> None:
    lab = daemon(PDUS, secret="a-secret")
    token = lab.run("--token").stdout.strip()
    browser.open(f"http://127.0.0.1:{lab.port}/")
    asks = "return document.getElementById('ask').open && !document.getElementById('why').textContent === arguments[0]"
    for given, first in (("wrong", True), (token, False)):
        assert eventually(lambda first=first: browser.run(asks, first), BOUND)
        browser.press(given, "#token")
        browser.click('#ask button[value="yes"]')
    assert seen(browser, "Live") and "pdu01" in browser.text()
    assert token not in browser.url and token not in lab.log_text()
    assert browser.run("return localStorage.length + document.cookie.length") == 0
    lab.token = token
    browser.click(f'{row("pdu01", "1")} [aria-label^="on "]')
    confirm(browser)
    assert eventually(lambda: outlet(lab, "pdu01", "1") == "on", BOUND)


def test_by_keyboard_alone(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    browser.press("/")
    browser.press("router")
    assert seen(browser, "1 found")
    assert browser.run("return document.activeElement.id") == "filter"
    for _ in range(10):
        browser.press(KEYS["tab"])
        if browser.run("return document.activeElement.innerText") == "On":
            break
    browser.press(KEYS["enter"])
    assert eventually(lambda: browser.run("return document.getElementById('confirm').open"), BOUND)
    browser.press(KEYS["escape"])
    assert not browser.run("return document.getElementById('confirm').open")
    browser.press(KEYS["enter"])
    assert eventually(lambda: browser.run("return document.getElementById('confirm').open"), BOUND)
    browser.press(KEYS["tab"])
    browser.press(KEYS["enter"])
    assert eventually(lambda: outlet(lab, "pdu01", "1") == "on", BOUND)


def test_a_narrow_screen_needs_no_scrolling_sideways(browser: Chromium, lab: Daemon) -> None:
    browser.resize(360, 740)
    try:
        look(browser, lab)
        for view in ("outlets", "nodes", "requests"):
            browser.click(f'[data-view="{view}"]')
            assert browser.run("return document.documentElement.scrollWidth - innerWidth") <= 0, view
        browser.click('[data-view="outlets"]')
        browser.click(f'{row("pdu01", "4")} [aria-label^="on "]')
        confirm(browser)
        assert eventually(lambda: outlet(lab, "pdu01", "4") == "on", BOUND)
    finally:
        browser.resize(1200, 900)


def test_every_control_has_a_name_for_screen_readers(browser: Chromium, lab: Daemon) -> None:
    look(browser, lab)
    tree = browser.command("Accessibility.getFullAXTree", {})["nodes"]
    controls = [
        each for each in tree if each.get("role", {}).get("value") in ("button", "checkbox", "searchbox", "combobox")
    ]
    assert len(controls) > 40
    assert [each for each in controls if not each.get("ignored") and not each.get("name", {}).get("value")] == []


def test_the_files_are_small_and_let_nothing_in_from_outside(lab: Daemon) -> None:
    total = 0
    for name in ("", "page.js", "state.js", "link.js", "page.css", "icon.svg"):
        reply = lab.http(f"/ui/{name}")
        assert reply.status == 200
        policy = reply.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
        assert "http:" not in reply.text.replace("http://www.w3.org/2000/svg", "") and "https:" not in reply.text
        total += len(reply.text.encode())
    assert total < 60_000
    assert lab.http("/ui/none.js").status == 404 and lab.http("/ui/..%2fpages.py").status == 404


@pytest.mark.parametrize(
    ("target", "accept", "method", "concerned"),
    [
        ("/", "text/html,*/*;q=0.8", "GET", True),
        ("/?x=1", "Text/HTML", "HEAD", True),
        ("/", "*/*", "GET", False),
        ("/", "", "GET", False),
        ("/?nodes=a", "text/html", "GET", False),
        ("/?groups=", "text/html", "GET", False),
        ("/?%6eodes=a", "text/html", "GET", False),
        ("/", "text/html", "PATCH", False),
        ("/ui/page.js", "*/*", "GET", True),
        ("/ui/", "*/*", "DELETE", False),
        ("/nodes", "text/html", "GET", False),
    ],
)
def test_what_is_for_the_page_and_what_for_openflight(target: str, accept: str, method: str, concerned: bool) -> None:
    assert pages.concerned(Head(method, target, headers={"accept": accept})) is concerned


def test_openflights_own_path_stays_as_it_is(lab: Daemon) -> None:
    assert json.loads(lab.http("/?nodes=board7", Accept="text/html").text)["data"][0]["id"] == "board7"
    assert lab.http("/").json["data"] == []


def test_the_page_of_a_front_shows_its_sites(browser: Chromium, daemon: Callable[..., Daemon]) -> None:
    labs = Front(daemon)
    labs.add("berlin")
    labs.add("munich")
    front = labs.begin({"own": {"driver": "dummy"}})
    look(browser, front)
    assert seen(browser, "3 PDUs, 16 outlets") and "berlin/board1" in browser.text()
    browser.click(f'{row("berlin/p1", "1")} [aria-label^="on "]')
    assert "berlin/p1 port 1: berlin/board1" in confirm(browser)
    assert eventually(lambda: state(browser, "berlin/p1", "1") == "on", BOUND), browser.text()
    assert labs.sites["berlin"].outlets()["1"] == "on"
    for number in range(60):
        assert front.http(f"/power/control/on?alias={('berlin', 'munich')[number % 2]}/board2").status == 200
    browser.click('[data-view="requests"]')
    assert seen(browser, "#munich/30") and "#berlin/1" not in browser.text().split()
    browser.click("#older")
    assert eventually(lambda: "#berlin/1" in browser.text().split(), BOUND)
    browser.click('[data-view="outlets"]')
    labs.sites["munich"].stop()
    assert seen(browser, "not reachable: munich cannot be asked")
    assert eventually(lambda: state(browser, "munich/p1", "2") == "unknown", BOUND)
    labs.close()
