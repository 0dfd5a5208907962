# SPDX-License-Identifier: MIT
"""``/metrics``: what the daemon knows and has done, in Prometheus' text format 0.0.4.

A scrape asks no device: it tells what is known, and how old that is. What is not known has no line: an outlet of which
nobody knows whether it is on is not off. It is made by a thread of the pool, which has the dispatcher's lock for some
PDUs at a time.
"""

from __future__ import annotations

import itertools
import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from pdudaemon import __version__
from pdudaemon.config.front import SitePDU
from pdudaemon.config.model import Config
from pdudaemon.engine.events import BOUNDS
from pdudaemon.engine.outlets import KnownPDU, age
from pdudaemon.power import Outlet, State
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
AT_ONCE = 20  # PDUs whose outlets are put into words before other threads have their turn

_STARTED = time.time()
_QUANTITIES = (
    ("watts", "watts", "gauge", "Active power that {of} draws."),
    ("volts", "volts", "gauge", "Voltage at {of}."),
    ("amps", "amps", "gauge", "Current of {of}."),
    ("watt_hours", "watt_hours_total", "counter", "Energy in Wh that {of} has drawn since the device began to count."),
)


class LogLines(logging.Handler):
    """Counts the lines of the log by their level."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter(dict.fromkeys(("info", "warning", "error", "critical"), 0))

    def emit(self, record: logging.LogRecord) -> None:
        self.counted[record.levelname.lower()] += 1


class _Family:
    """The lines of one metric. Most of them are kept as bytes: a line by itself costs as much again."""

    def __init__(self, name: str, kind: str, says: str) -> None:
        self.name = f"pdudaemon_{name}"
        self._head = f"# HELP {self.name} {says}\n# TYPE {self.name} {kind}\n".encode()
        self._lines: list[str] = []
        self._folded: list[bytes] = []

    def add(self, labels: str, value: float, suffix: str = "") -> None:
        """Add a line; ``labels`` as `labelled` returns them."""
        self._lines.append(f"{self.name}{suffix}{labels} {value}\n")

    def fold(self) -> None:
        """Make bytes of the lines that have come since the last call."""
        if self._lines:
            self._folded.append("".join(self._lines).encode("utf-8", "replace"))
            self._lines.clear()

    def pieces(self) -> list[bytes]:
        """Return all of it; nothing if there is no line."""
        self.fold()
        return [self._head, *self._folded] if self._folded else []


def metrics(exchange: HTTPExchange, _: str) -> Answer:
    """``/metrics``: of the PDUs and outlets that may be seen."""
    exchange.dispatcher.sites.look(exchange.dispatcher.inventory.elsewhere)
    families = itertools.chain(
        _daemon(exchange), _sites(exchange), _pdus(exchange), _requests(exchange), _outlets(exchange)
    )
    started = f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {_STARTED}\n"
    pieces = itertools.chain.from_iterable(family.pieces() for family in families)
    return Answer(200, b"".join([started.encode(), *pieces]), {}, CONTENT_TYPE)


def labelled(**labels: str) -> str:
    """Return labels as they stand in a line, escaped; those that are empty are left out, as they mean the same."""
    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items() if value) + "}"


def escaped(value: str) -> str:
    """Return the value of a label as it stands between quotes."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def _daemon(exchange: HTTPExchange) -> Iterator[_Family]:
    build = _Family("build_info", "gauge", "Which version this is.")
    build.add(labelled(version=__version__, python=platform.python_version()), 1)
    yield build
    if not exchange.rights.everything:
        return
    path, well = exchange.dispatcher.store
    store = _Family("store_size_bytes", "gauge", "Size of the store's file, and of its log.")
    for file, suffix in (("database", ""), ("log", "-wal")):
        with suppress(OSError):
            store.add(labelled(file=file), os.stat(path + suffix).st_size)
    yield store
    up = _Family("store_up", "gauge", "Whether the store took the last that there was to write.")
    up.add("", int(well))
    yield up
    lines = _Family("log_lines_total", "counter", "Lines of the log.")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogLines):
            for level, count in sorted(handler.counted.copy().items()):
                lines.add(labelled(level=level), count)
    yield lines


def _sites(exchange: HTTPExchange) -> Iterator[_Family]:
    up = _Family("site_up", "gauge", "Whether a site can be asked.")
    for site in exchange.dispatcher.sites if exchange.rights.everything else ():
        up.add(labelled(site=site.name), int(not site.trouble))
    yield up


def _pdus(exchange: HTTPExchange) -> Iterator[_Family]:
    rights, inventory, now = exchange.rights, exchange.dispatcher.inventory, time.time()
    up = _Family("pdu_up", "gauge", "Whether a PDU can be used: configured well, not stuck, and answering.")
    stuck = _Family("pdu_stuck", "gauge", "Whether an action of a PDU has not come back.")
    disabled = _Family("pdu_disabled", "gauge", "Whether a PDU is disabled by its configuration.")
    reachable = _Family("pdu_reachable", "gauge", "Whether a PDU answered the last time that it was asked anything.")
    queue = _Family("queue_length", "gauge", "Requests of a PDU that have not ended.")
    read = _Family("pdu_reading_age_seconds", "gauge", "Age of what a PDU last told of all its outlets.")
    for record in exchange.orders.pace.sliced(exchange.dispatcher.every_pdu(wanted=rights.sees_whole)):
        known, labels = inventory.pdu(record["name"]), labelled(pdu=record["name"])
        answers = None if known is None else known.reachable
        up.add(labels, int(record["state"] in ("ready", "leaving") and answers is not False))
        stuck.add(labels, int(record["state"] == "stuck"))
        disabled.add(labels, int(record["state"] == "disabled"))
        queue.add(labels, record["requests"])
        if answers is not None:
            reachable.add(labels, int(answers))
        if known is not None and (seconds := age(known.read, now)) is not None:
            read.add(labels, seconds)
    return iter((up, stuck, disabled, reachable, queue, read))


def _requests(exchange: HTTPExchange) -> Iterator[_Family]:
    rights, figures = exchange.rights, exchange.dispatcher.events.figures
    ended = _Family("requests_total", "counter", "Requests that have ended, once for each PDU that they were for.")
    tries = _Family("tries_total", "counter", "Tries of an action at a device.")
    for family, counted in ((ended, figures.requests), (tries, figures.tries)):
        for (pdu, action, result), count in sorted(counted.copy().items()):
            if rights.sees_whole(pdu):
                family.add(labelled(pdu=pdu, action=action, result=result), count)
        yield family
    live = exchange.dispatcher.live_figures()
    owed = _Family("owed_ons", "gauge", "Outlets of a PDU that may be off, and have yet to be switched on again.")
    for name, configured in exchange.dispatcher.config.pdus.items():
        if rights.sees_whole(name) and not isinstance(configured, SitePDU):  # sites say themselves what they owe
            owed.add(labelled(pdu=name), live.owed[name])
    yield owed
    if not rights.everything:
        return
    unended = _Family("requests_unended", "gauge", "Requests that have not ended.")
    unended.add("", live.unended)
    yield unended
    oldest = _Family("oldest_request_age_seconds", "gauge", "Age of the oldest request that has not ended; 0: none.")
    oldest.add("", age(live.oldest, time.time()) or 0)
    yield oldest
    took = _Family(
        "request_duration_seconds", "histogram", "From acceptance to end, with the delay that was asked for."
    )
    for action, durations in figures.durations.items():
        counts = itertools.accumulate(durations.buckets)
        for bound, count in zip((*BOUNDS, "+Inf"), counts, strict=True):
            took.add(labelled(action=action.value, le=str(bound)), count, "_bucket")
        took.add(labelled(action=action.value), durations.sum, "_sum")
        took.add(labelled(action=action.value), count, "_count")
    yield took


def _outlets(exchange: HTTPExchange) -> Iterator[_Family]:
    config, inventory = exchange.dispatcher.config, exchange.dispatcher.inventory
    on = _Family("outlet_on", "gauge", "Whether an outlet is on: as the device says, or as it was last told.")
    drawn = [_Family(f"outlet_{name}", kind, says.format(of="an outlet")) for _, name, kind, says in _QUANTITIES]
    inlets = [_Family(f"inlet_{name}", kind, says.format(of="an inlet")) for _, name, kind, says in _QUANTITIES]
    for number, name in enumerate(config.pdus):
        if number % AT_ONCE == AT_ONCE - 1:
            for family in (on, *drawn, *inlets):
                family.fold()
            time.sleep(0)
        pdu = inventory.pdu(name)
        if pdu is None or not exchange.rights.sees_pdu(name):  # before each of its outlets is asked about
            continue
        _outlets_of(exchange, config, name, pdu, on, drawn)
        if exchange.rights.sees_whole(name):
            for inlet in pdu.inlets:
                _add(inlets, labelled(pdu=name, inlet=inlet.name, kind=inlet.kind), inlet)
    return iter((on, *drawn, *inlets))


def _outlets_of(
    exchange: HTTPExchange, config: Config, name: str, pdu: KnownPDU, on: _Family, drawn: Sequence[_Family]
) -> None:
    rights, begin = exchange.rights, f'{{pdu="{escaped(name)}",port="'
    for port, known in [*pdu.outlets.items()]:
        outlet = Outlet(name, port)
        if not rights.sees(outlet):
            continue
        labels = f'{begin}{escaped(port)}"'
        if known.name is not None:
            labels += f',name="{escaped(known.name)}"'
        if nodes := [node for node in config.nodes_of(outlet) if rights.sees_node(node)]:
            labels += f',node="{escaped(",".join(nodes))}"'
        labels += "}"
        if known.state is not State.UNKNOWN:
            on.add(labels, int(known.state is State.ON))
        if known.read is not None:
            _add(drawn, labels, known)


def _add(families: Iterable[_Family], labels: str, told: object) -> None:
    for (word, *_), family in zip(_QUANTITIES, families, strict=True):
        if (value := getattr(told, word)) is not None:
            family.add(labels, value)
