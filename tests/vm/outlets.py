# SPDX-License-Identifier: MIT
"""A PDU that both nodes of a cluster reach, and that sees who does what when; and the power switch of the nodes.

``GET /on/PORT`` and ``/off/PORT`` take a moment, in which nobody else may act on that outlet. ``/fence/WORD/NODE`` is
what the fence agent of `tests.vm.cluster` asks.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

PORT = 8000
TAKES = 0.15  # seconds


class Act(NamedTuple):
    """What somebody did at an outlet, from when till when, in monotonic seconds."""

    word: str
    port: str
    who: str
    begun: float
    ended: float


class Outlets:
    """The PDU. Its history is complete: every request that has come, whether or not its sender was there to the end."""

    def __init__(self, address: str, fence: Callable[[str, str], str]) -> None:
        self.acts: list[Act] = []
        self._fence = fence
        outlets = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outlets._answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, PORT), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def of(self, port: str, since: float = 0.0) -> list[Act]:
        """Return what was done at an outlet, in the order in which it began."""
        return sorted(
            (act for act in self.acts[:] if act.port == port and act.begun >= since), key=lambda act: act.begun
        )

    def state(self, port: str) -> str:
        """Return on or off, or nothing if it was never switched."""
        acts = self.of(port)
        return acts[-1].word if acts else ""

    def overlaps(self) -> list[tuple[Act, Act]]:
        """Return every two acts on one outlet of which the later began before the earlier had ended."""
        found = []
        for port in {act.port for act in self.acts}:
            acts = self.of(port)
            found += [(one, other) for one, other in itertools.pairwise(acts) if other.begun < one.ended]
        return found

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        words = handler.path.strip("/").split("/")
        if words[0] == "fence":
            text = self._fence(*words[1:])
        else:
            begun = time.monotonic()
            time.sleep(TAKES)
            self.acts.append(Act(words[0], words[1], handler.client_address[0], begun, time.monotonic()))
            text = "done"
        try:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(text.encode() + b"\n")
        except OSError:
            return  # whoever asked has gone
