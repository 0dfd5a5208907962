# SPDX-License-Identifier: MIT
"""`Watcher`: one who follows the stream of events, which of them he wants, and how they are spelled for him."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pdudaemon.config.model import Config
from pdudaemon.engine.events import Event
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Connection
from pdudaemon.server.messages import LAST_CHUNK, chunk


class Form(NamedTuple):
    """How events are spelled: by Server-Sent Events, else a line of JSON for each; in chunks, or to the end."""

    sse: bool
    chunked: bool

    def one(self, number: int, content: bytes) -> bytes:
        """Return one event as it is sent."""
        return b"id: %d\ndata: %b\n\n" % (number, content) if self.sse else content + b"\n"

    @property
    def heartbeat(self) -> bytes:
        return self.piece(b":\n\n" if self.sse else b"\n")

    def piece(self, data: bytes) -> bytes:
        return chunk(data) if self.chunked else data

    @property
    def end(self) -> bytes:
        return LAST_CHUNK if self.chunked else b""


class Wanted(NamedTuple):
    """Which events: those of some nodes and PDUs, by their names, and of some kinds; None: of all."""

    nodes: frozenset[str] | None = None
    pdus: frozenset[str] | None = None
    kinds: frozenset[str] | None = None

    def holds(self, event: Event, about: About) -> bool:
        """Whether an event is one of those; a reload concerns everybody."""
        if self.kinds is not None and event.kind not in self.kinds:
            return False
        if event.kind == "reload":
            return True
        if self.pdus is not None and self.pdus.isdisjoint(about.pdus):
            return False
        return self.nodes is None or not self.nodes.isdisjoint(about.nodes)


ALL = Wanted()


class About(NamedTuple):
    """The PDUs and the nodes that an event is about."""

    pdus: frozenset[str]
    nodes: frozenset[str]

    @classmethod
    def of(cls, event: Event, config: Config) -> About:
        """Return them of an event; a PDU's is about all nodes that it feeds."""
        nodes = {*event.names}
        for outlet in event.outlets:
            nodes.update(config.nodes_of(outlet))
        if event.pdu:
            for (pdu, _), names in config.nodes_at.items():
                if pdu == event.pdu:
                    nodes.update(names)
        pdus = {event.pdu} if event.pdu else {outlet.pdu for outlet in event.outlets}
        return cls(frozenset(pdus), frozenset(nodes))


class Watcher:
    """One who watches. Fields belong to the thread, once it knows of him."""

    __slots__ = ("checked", "client", "connection", "form", "heard", "permitted", "position", "stuck", "wanted")

    def __init__(
        self,
        connection: Connection,
        client: Client,
        form: Form,
        wanted: Wanted,
        after: int,
        permitted: Callable[[], object],
    ) -> None:
        """``permitted`` raises Denied as soon as he may not ask any more."""
        self.connection = connection
        self.client = client
        self.form = form
        self.wanted = wanted
        self.position = after
        self.permitted = permitted
        self.heard = self.checked = time.monotonic()  # when something was written last, and when it was permitted
        self.stuck: float | None = None  # since when he has not read what was written

    @property
    def gone(self) -> bool:
        return self.connection.ended or self.connection.closing or self.connection.socket.fileno() < 0

    def told(self, kind: str, reason: str) -> bytes:
        """Return an event about the stream itself, behind which he would go on."""
        content = {"id": self.position, "time": time.time(), "kind": kind, "reason": reason}
        return self.form.one(self.position, spelled(content))

    def end(self, reason: str) -> None:
        """Tell him that and why he is told nothing more, and behind which event to go on."""
        self.connection.write(self.form.piece(self.told("end", reason)) + self.form.end, last=True, close=True)


def spelled(content: Mapping[str, Any]) -> bytes:
    """Return what is told of an event, as it is sent."""
    return json.dumps(content, separators=(",", ":")).encode()
