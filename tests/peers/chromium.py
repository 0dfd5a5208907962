# SPDX-License-Identifier: MIT
"""Chromium, headless, driven by chromedriver over the W3C's WebDriver protocol: as much of it as the tests need.

Every name below ``.example`` leads to this machine, so that pages come from sites with names of their own. Nothing is
looked up or fetched from elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports

OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --no-proxy-server"
    " --disable-extensions --disable-default-apps --disable-breakpad --disable-domain-reliability --mute-audio"
    " --disable-client-side-phishing-detection --disable-component-extensions-with-background-pages"
    # What a site may do does not hang on which process its pages are drawn by: new ones for each page take time.
    " --in-process-gpu --renderer-process-limit=1 --disable-site-isolation-trials"
    " --disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess,BackForwardCache"
).split()
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key by which the protocol names an element
PATIENCE = 60.0
SHOWS = """const [text, until] = [arguments[0], Date.now() + arguments[1]];
    return new Promise(done => { const look = () => document.body?.innerText.includes(text) ? done(true)
        : Date.now() > until ? done(false) : setTimeout(look, 30); look() })"""
KEYS = {"tab": "\ue004", "enter": "\ue007", "escape": "\ue00c", "space": " "}


class Chromium:
    """One window."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._session = ""
        words = [*OPTIONS, f"--user-data-dir={folder}", "--host-resolver-rules=MAP *.example 127.0.0.1"]
        options = {"binary": shutil.which("chromium"), "args": words}
        always = {"browserName": "chrome", "goog:chromeOptions": options, "unhandledPromptBehavior": "accept"}
        always["goog:loggingPrefs"] = {"browser": "ALL"}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        """Go to a page as somebody who types into the address bar; return when it is there."""
        self._ask("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        """The address of the page."""
        return str(self._ask("GET", "/url"))

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what the body of a function in the page returns; what it promises is waited for."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self) -> str:
        """Return what the page shows."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def shows(self, text: str, seconds: float = 2.0) -> bool:
        """Whether the page shows a text, or does so within some seconds; it is the page itself that looks."""
        return bool(self.run(SHOWS, text, seconds * 1000))

    def click(self, selector: str) -> None:
        """Click on an element as a mouse does; on the one that has taken its place if the page has drawn it anew."""
        for _ in range(20):
            found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
            try:
                self._ask("POST", f"/element/{found[ELEMENT]}/click", {})
                return
            except AssertionError as error:
                if "stale element" not in str(error):
                    raise
        raise AssertionError(f"{selector} does not hold still")

    def press(self, keys: str, selector: str = "") -> None:
        """Type into an element, or into what has the focus; `KEYS` has what is no character."""
        if selector:
            found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
            self._ask("POST", f"/element/{found[ELEMENT]}/value", {"text": keys})
            return
        actions = [{"type": each, "value": key} for key in keys for each in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def resize(self, width: int, height: int) -> None:
        """Have the page seen through a window of so many pixels, however small."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", size)

    def command(self, name: str, words: dict[str, Any]) -> Any:
        """Have the browser do something of its own protocol for developers."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": words})

    def screenshot(self, path: Path) -> None:
        """Save what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def complaints(self) -> list[str]:
        """Return what the browser has written to its console since it was asked last, errors alone."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", "")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, self._session + path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        assert response.status == 200, f"{method} {path}: {value['error']}: {value['message']}"
        return value


class Site:
    """A web site of strangers, on a free port of loopback: every page of it is empty."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = b"<!doctype html><title>a page</title>"
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """Start a browser with nothing in its profile; skip the test where there is none."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("needs the Debian packages chromium and chromium-driver")
    (port,) = free_ports()
    with listening(["chromedriver", f"--port={port}"], port):
        browser = Chromium(port, folder / "profile")
        try:
            yield browser
        finally:
            browser.close()
