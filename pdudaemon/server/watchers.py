# SPDX-License-Identifier: MIT
"""`Watchers`: who follows the stream of events. Each costs a socket; an event is put into words once for all of them.

One thread takes what has been published and writes it to those who can take more. It gathers events for a moment, and
rests after each round many times as long as that took: however many watch, requests go on.

Who does not read is passed over until he does, then gets what the ring still has, or is told that there is a gap; who
has not read for `client_timeout` is closed, and told behind which event to go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pdudaemon.config.model import Config
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.events import Event, Watch, record
from pdudaemon.errors import Busy, PDUDaemonError
from pdudaemon.server.client import Client
from pdudaemon.server.rights import Rights
from pdudaemon.server.watcher import ALL, About, Watcher, spelled

log = logging.getLogger("pdud.http")

GATHER = 0.05  # seconds for which events gather before they are written
TICK = 1.0  # seconds within which somebody who has left is noticed
HEARTBEAT = 10.0  # seconds after which one who has heard nothing hears that there is nothing
REST = 12  # times what a round took, by the clock: the more there is to do for others, the longer that is
LONGEST_REST = 2.0
MOST = 500  # events that are written to one at a time
KEPT = 4000  # events whose words are kept
GRACE = 2.0  # seconds for the thread to end


class Watchers:
    """``rights`` says what a client may see. Methods may be called by any thread."""

    def __init__(self, dispatcher: Dispatcher, rights: Callable[[Client], Rights]) -> None:
        self._dispatcher = dispatcher
        self._events = dispatcher.events
        self._rights = rights
        self._watchers: list[Watcher] = []
        self._lock = threading.Lock()  # the list, and whether there is a thread
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._words: dict[tuple[int, tuple[str, ...] | None], bytes] = {}
        self._worded: Config | None = None  # the configuration by which they were put into words
        self._about: dict[int, About] = {}  # the events of a round

    def __str__(self) -> str:
        return "the thread that serves the watchers"

    def add(self, watcher: Watcher) -> None:
        """Have somebody told what happens from now on, or behind the event that he has seen last.

        His answer has begun, and is the thread's from now on. Raises: Busy.
        """
        with self._lock:
            if self._closing.is_set():
                raise Busy("the daemon is stopping")
            if self._thread is None:
                try:
                    thread = threading.Thread(target=self._run, name="watchers", daemon=True)
                    thread.start()
                except RuntimeError as error:
                    raise Busy(f"the machine has no thread for that: {error}") from None
                self._thread = thread
            self._watchers.append(watcher)
        self._wake.set()

    def close(self) -> bool:
        """Tell all what there is to tell, and that this is the end; return whether the thread has ended."""
        with self._lock:
            self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(GRACE)
            return not self._thread.is_alive()
        return True

    # By the thread.

    def _run(self) -> None:
        watch: Watch | None = None
        while not self._closing.is_set():
            self._wake.wait(TICK if self._watchers else None)
            self._closing.wait(GATHER)
            self._wake.clear()
            if self._watchers and watch is None:
                watch = self._events.watch(self._wake.set)
            if watch is not None:
                watch.take(1)  # so that what comes from now on wakes us again
            began = time.monotonic()
            self._guarded_round()
            if watch is not None and not self._watchers:
                watch.close()
                watch = None
            self._closing.wait(min(LONGEST_REST, REST * (time.monotonic() - began)))
        self._guarded_round()
        self._end_all("the daemon is stopping")
        if watch is not None:
            watch.close()

    def _guarded_round(self) -> None:
        try:
            self._round()
        except Exception:  # a fault of ours: who waits for what never comes must not do so for ever
            log.exception("serving those who watch failed")
            self._end_all("internal error: see the log of the daemon")

    def _round(self) -> None:
        """Write to each what has happened since he was written to."""
        with self._lock:
            watchers = self._watchers.copy()
        config, now = self._dispatcher.config, time.monotonic()
        self._about.clear()
        if config is not self._worded:  # what a role may see may be less now
            self._words.clear()
            self._worded = config
            for watcher in watchers:  # his token may be revoked
                watcher.checked = float("-inf")
        pieces: dict[object, tuple[bytes, int, bool]] = {}
        gone: list[Watcher] = []
        behind = False
        for watcher in watchers:
            connection = watcher.connection
            if watcher.gone:
                gone.append(watcher)
                continue
            if connection.unsent:
                watcher.stuck = watcher.stuck or now
                if now - watcher.stuck > connection.connections.options.client_timeout:
                    watcher.end(f"too slow: not read for {now - watcher.stuck:.0f} s; go on behind this id")
                continue
            watcher.stuck = None
            key = (watcher.position, watcher.form, watcher.wanted, watcher.client.roles)
            if key not in pieces:
                pieces[key] = self._piece(watcher, config)
            piece, watcher.position, more = pieces[key]
            behind = behind or more
            if now - watcher.checked > HEARTBEAT:
                watcher.checked = now
                try:
                    watcher.permitted()
                except PDUDaemonError as error:
                    watcher.end(error.told)
                    continue
            if not piece and now - watcher.heard > HEARTBEAT:
                piece = watcher.form.heartbeat
            if piece:
                watcher.heard = now
                connection.write(piece)
        if gone:
            self._remove(gone)
        if behind:
            self._wake.set()

    def _piece(self, watcher: Watcher, config: Config) -> tuple[bytes, int, bool]:
        """Return what is next for a watcher, the number up to which that is, and whether there is more."""
        events, missed = self._events.since(watcher.position, MOST)
        last = events[-1].id if events else self._events.last if missed else watcher.position
        rights = self._rights(watcher.client)
        told = []
        if missed:
            watcher.position = events[0].id - 1 if events else last
            told.append(watcher.told("gap", "some events are gone, or the daemon was started anew: look anew"))
        wanted = None if watcher.wanted == ALL else watcher.wanted
        for event in events:
            if wanted is not None:
                about = self._about.get(event.id)
                if about is None:
                    about = self._about[event.id] = About.of(event, config)
                if not wanted.holds(event, about):
                    continue
            if _may_see(rights, event):
                told.append(watcher.form.one(event.id, self._spelled(event, rights, watcher.client, config)))
        return watcher.form.piece(b"".join(told)) if told else b"", last, len(events) == MOST

    def _spelled(self, event: Event, rights: Rights, client: Client, config: Config) -> bytes:
        """Return an event in JSON, as it is for all who may see the same."""
        key = (event.id, None if rights.everything else client.roles)
        if key not in self._words:
            while len(self._words) >= KEPT:
                del self._words[next(iter(self._words))]
            told = record(event, rights.view(config), time.time())
            self._words[key] = spelled(told if rights.everything else _without_others(told, event, rights))
        return self._words[key]

    def _end_all(self, reason: str) -> None:
        with self._lock:
            watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.gone:
                watcher.end(reason)

    def _remove(self, gone: list[Watcher]) -> None:
        with self._lock:
            self._watchers = [each for each in self._watchers if each not in gone]
        for watcher in gone:
            if watcher.connection.exchange is not None:
                watcher.connection.write(b"", last=True, close=True)


def _may_see(rights: Rights, event: Event) -> bool:
    if event.pdu:
        return rights.sees_pdu(event.pdu)
    return all(rights.sees(outlet) for outlet in event.outlets)


def _without_others(told: dict[str, Any], event: Event, rights: Rights) -> dict[str, Any]:
    """Return an event without the names of what belongs to others."""
    if "nodes" in told:
        told["nodes"] = [name for name in told["nodes"] if rights.sees_node(name)]
    if event.kind in ("tried", "waiting"):  # at one outlet, of a request that may have others
        told["target"] = str(event.outlets[0])
        told["owed"] = [f"{outlet.pdu}:{outlet.port}" for outlet in event.owed if rights.sees(outlet)]
    elif "target" in told:
        told["target"] = rights.target(told["target"], event.outlets)
    elif event.reachable is False and event.state != "disabled" and not rights.sees_whole(event.pdu):
        told["reason"] = None  # as in the list of PDUs: it may be about an outlet of others
    return told
