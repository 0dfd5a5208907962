# SPDX-License-Identifier: MIT
"""Somebody who watches what a daemon does, by either form of the stream of events."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any

from tests.support.process import Daemon

LINES = "application/x-ndjson"


class Watching:
    """A connection to ``/api/v1/events``. ``events`` are those that have come; ``others`` what is none: heartbeats."""

    def __init__(self, daemon: Daemon, query: str = "", sse: bool = False, **headers: str) -> None:
        self.sse = sse
        self.events: list[dict[str, Any]] = []
        self.others: list[str] = []
        self.ended = False
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if daemon.token:
            headers.setdefault("Authorization", f"Bearer {daemon.token}")
        headers.setdefault("Accept", "text/event-stream" if sse else LINES)
        self._connection.request("GET", f"/api/v1/events{query}", headers=headers)
        self.socket: socket.socket = self._connection.sock
        self.response = self._connection.getresponse()
        assert self.response.status == 200, self.response.read()

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self.response.close()
        self._connection.close()

    def more(self) -> bool:
        """Wait for one more event or heartbeat; return whether the stream goes on."""
        block = ""
        while not block.endswith("\n\n" if self.sse else "\n"):
            line = self.response.readline().decode()
            if not line:
                self.ended = True
                return False
            block += line
        if not self.sse:
            self._take(block)
            return True
        fields = [line.partition(": ") for line in block.splitlines()]
        (data,) = [value for name, _, value in fields if name == "data"] or [""]
        if data:
            assert json.loads(data)["id"] == int({name: value for name, _, value in fields}["id"])
        self._take(data or block)
        return True

    def _take(self, text: str) -> None:
        if text.startswith("{"):
            self.events.append(json.loads(text))
        else:
            self.others.append(text)

    def until(self, found: Callable[[dict[str, Any]], bool] | str, seconds: float = 60.0) -> dict[str, Any]:
        """Return the next event that is looked for, by its kind or otherwise; those before it are kept as well."""
        wanted = found if callable(found) else lambda event: bool(event["kind"] == found)
        seen, give_up = len(self.events), time.monotonic() + seconds
        while time.monotonic() < give_up:
            for event in self.events[seen:]:
                if wanted(event):
                    return event
            seen = len(self.events)
            assert self.more(), f"the stream has ended: {self.events}"
        raise AssertionError(f"not seen within {seconds:g} s: {self.events}")

    def rest(self) -> list[dict[str, Any]]:
        """Return what comes until the stream ends."""
        before = len(self.events)
        while self.more():
            pass
        return self.events[before:]

    @property
    def kinds(self) -> list[str]:
        """The kinds of events that have come."""
        return [event["kind"] for event in self.events]
