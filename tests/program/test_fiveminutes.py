# SPDX-License-Identifier: MIT
"""A new user's first five minutes, as README's "Try it" tells them, with the configuration of ``make run``.

The page in a real browser, the client, the history and the metrics show one truth of one outlet.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable

import pytest

from tests.peers.chromium import Chromium
from tests.support.client import NOWHERE, client
from tests.support.process import ROOT, Daemon, eventually

pytestmark = pytest.mark.one_at_a_time("browser")

BOUND = 60.0
PORT_3 = '[data-id="pdu01\\a 3"]'


def tried(daemon: Callable[..., Daemon]) -> Daemon:
    """Start what ``make run`` starts, on a free port."""
    started = daemon({}, start=False)
    settings = json.loads((ROOT / "share" / "pdudaemon.conf").read_text())
    settings["daemon"]["port"] = 0
    started.configure(settings)
    started.start()
    return started


def state(browser: Chromium) -> str:
    return str(browser.run("return document.querySelector(arguments[0])?.querySelector('.state').innerText", PORT_3))


def test_look_switch_watch_remember_and_measure(daemon: Callable[..., Daemon], browser: Chromium) -> None:
    lab = tried(daemon)
    url = f"http://127.0.0.1:{lab.port}"
    watching = subprocess.Popen(
        [str(ROOT / "pduclient"), "watch", f"--url={url}"],
        env={**NOWHERE, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    assert watching.stdout is not None
    listening = threading.Thread(target=said.extend, args=(watching.stdout,), daemon=True)
    listening.start()
    try:
        assert eventually(lambda: lab.power("off", "pdu01", 8).status == 200 and said, BOUND)
        browser.open(f"{url}/")
        assert eventually(lambda: browser.shows("Live") and state(browser) == "off", BOUND), browser.text()
        browser.click(f'{PORT_3} [aria-label^="on "]')
        assert eventually(lambda: browser.run("return document.getElementById('confirm').open"), BOUND)
        assert "pdu01 port 3" in str(browser.run("return document.getElementById('confirm').innerText"))
        browser.click('#confirm button[value="yes"]')
        assert eventually(lambda: state(browser) == "on", BOUND), browser.text()
        assert eventually(lambda: any("pdu01:3 on" in line for line in [*said]), BOUND), said
    finally:
        watching.kill()
        watching.communicate(timeout=60)
    found = client("history", f"--url={url}")
    assert found.code == 0, found
    assert re.search(r"on +pdu01 port 3 +done", found.out), found
    assert lab.http("/api/v1/pdus/pdu01?fresh=1").status == 200  # which whoever looks has done, if he waits
    scraped = lab.http("/metrics").text
    assert 'pdudaemon_outlet_on{pdu="pdu01",port="3",name="board 3"} 1\n' in scraped
    assert 'pdudaemon_outlet_watts{pdu="pdu01",port="3",name="board 3"} 2.5\n' in scraped
    assert 'pdudaemon_requests_total{pdu="pdu01",action="on",result="done"} 1\n' in scraped
