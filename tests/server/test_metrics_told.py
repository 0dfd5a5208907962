# SPDX-License-Identifier: MIT
"""Every line of ``/metrics``, of what is known of four PDUs, for who may see all of it, a whole PDU, or a node."""

from __future__ import annotations

import json
import logging
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon import __version__
from pdudaemon.config import reader
from pdudaemon.config.front import SitePDU
from pdudaemon.drivers.readings import InletReading
from pdudaemon.engine.events import Figures
from pdudaemon.engine.outlets import Known, KnownPDU
from pdudaemon.power import Action, State
from pdudaemon.server import metrics as module
from pdudaemon.server.metrics import CONTENT_TYPE, LogLines, metrics
from pdudaemon.server.rights import EVERYTHING, RoleRights
from tests.support.tokens import SECRET

NOW = 5000.0
STATES = {"good": "ready", "silent": "leaving", "held": "stuck", "none": "disabled", "new": "ready"}
NODES = {name: {"hostname": "good", "port": 1} for name in ("mine", "others")} | {
    "later": {"hostname": "good", "port": 4}
}
ROLES = {
    "node": {"nodes": "mine", "may": ["on"]},
    "later": {"nodes": "later", "may": ["on"]},
    "pdu": {"pdus": "good", "may": ["on"]},
}

PDUS = """\
# HELP pdudaemon_pdu_up Whether a PDU can be used: configured well, not stuck, and answering.
# TYPE pdudaemon_pdu_up gauge
pdudaemon_pdu_up{pdu="good"} 1
pdudaemon_pdu_up{pdu="silent"} 0
pdudaemon_pdu_up{pdu="held"} 0
pdudaemon_pdu_up{pdu="none"} 0
pdudaemon_pdu_up{pdu="new"} 1
# HELP pdudaemon_pdu_stuck Whether an action of a PDU has not come back.
# TYPE pdudaemon_pdu_stuck gauge
pdudaemon_pdu_stuck{pdu="good"} 0
pdudaemon_pdu_stuck{pdu="silent"} 0
pdudaemon_pdu_stuck{pdu="held"} 1
pdudaemon_pdu_stuck{pdu="none"} 0
pdudaemon_pdu_stuck{pdu="new"} 0
# HELP pdudaemon_pdu_disabled Whether a PDU is disabled by its configuration.
# TYPE pdudaemon_pdu_disabled gauge
pdudaemon_pdu_disabled{pdu="good"} 0
pdudaemon_pdu_disabled{pdu="silent"} 0
pdudaemon_pdu_disabled{pdu="held"} 0
pdudaemon_pdu_disabled{pdu="none"} 1
pdudaemon_pdu_disabled{pdu="new"} 0
# HELP pdudaemon_pdu_reachable Whether a PDU answered the last time that it was asked anything.
# TYPE pdudaemon_pdu_reachable gauge
pdudaemon_pdu_reachable{pdu="good"} 1
pdudaemon_pdu_reachable{pdu="silent"} 0
# HELP pdudaemon_queue_length Requests of a PDU that have not ended.
# TYPE pdudaemon_queue_length gauge
pdudaemon_queue_length{pdu="good"} 0
pdudaemon_queue_length{pdu="silent"} 1
pdudaemon_queue_length{pdu="held"} 2
pdudaemon_queue_length{pdu="none"} 3
pdudaemon_queue_length{pdu="new"} 4
# HELP pdudaemon_pdu_reading_age_seconds Age of what a PDU last told of all its outlets.
# TYPE pdudaemon_pdu_reading_age_seconds gauge
pdudaemon_pdu_reading_age_seconds{pdu="good"} 10.0
"""
REQUESTS = """\
# HELP pdudaemon_requests_total Requests that have ended, once for each PDU that they were for.
# TYPE pdudaemon_requests_total counter
pdudaemon_requests_total{pdu="good",action="off",result="done"} 1
pdudaemon_requests_total{pdu="good",action="on",result="done"} 2
pdudaemon_requests_total{pdu="silent",action="on",result="failed"} 1
# HELP pdudaemon_tries_total Tries of an action at a device.
# TYPE pdudaemon_tries_total counter
pdudaemon_tries_total{pdu="good",action="on",result="done"} 3
# HELP pdudaemon_owed_ons Outlets of a PDU that may be off, and have yet to be switched on again.
# TYPE pdudaemon_owed_ons gauge
pdudaemon_owed_ons{pdu="good"} 0
pdudaemon_owed_ons{pdu="silent"} 2
pdudaemon_owed_ons{pdu="held"} 0
pdudaemon_owed_ons{pdu="none"} 0
pdudaemon_owed_ons{pdu="new"} 0
# HELP pdudaemon_requests_unended Requests that have not ended.
# TYPE pdudaemon_requests_unended gauge
pdudaemon_requests_unended 7
# HELP pdudaemon_oldest_request_age_seconds Age of the oldest request that has not ended; 0: none.
# TYPE pdudaemon_oldest_request_age_seconds gauge
pdudaemon_oldest_request_age_seconds 20.0
# HELP pdudaemon_request_duration_seconds From acceptance to end, with the delay that was asked for.
# TYPE pdudaemon_request_duration_seconds histogram
"""
OUTLETS = """\
# HELP pdudaemon_outlet_on Whether an outlet is on: as the device says, or as it was last told.
# TYPE pdudaemon_outlet_on gauge
pdudaemon_outlet_on{pdu="good",port="1",name="the \\"router\\"",node="mine,others"} 1
pdudaemon_outlet_on{pdu="good",port="2"} 0
# HELP pdudaemon_outlet_watts Active power that an outlet draws.
# TYPE pdudaemon_outlet_watts gauge
pdudaemon_outlet_watts{pdu="good",port="1",name="the \\"router\\"",node="mine,others"} 1.5
# HELP pdudaemon_outlet_volts Voltage at an outlet.
# TYPE pdudaemon_outlet_volts gauge
pdudaemon_outlet_volts{pdu="good",port="1",name="the \\"router\\"",node="mine,others"} 230.0
# HELP pdudaemon_outlet_amps Current of an outlet.
# TYPE pdudaemon_outlet_amps gauge
pdudaemon_outlet_amps{pdu="good",port="1",name="the \\"router\\"",node="mine,others"} 0.0
# HELP pdudaemon_outlet_watt_hours_total Energy in Wh that an outlet has drawn since the device began to count.
# TYPE pdudaemon_outlet_watt_hours_total counter
pdudaemon_outlet_watt_hours_total{pdu="good",port="1",name="the \\"router\\"",node="mine,others"} 9.0
# HELP pdudaemon_inlet_watts Active power that an inlet draws.
# TYPE pdudaemon_inlet_watts gauge
pdudaemon_inlet_watts{pdu="good",inlet="A",kind="phase"} 30.0
# HELP pdudaemon_inlet_volts Voltage at an inlet.
# TYPE pdudaemon_inlet_volts gauge
pdudaemon_inlet_volts{pdu="good",inlet="A",kind="phase"} 231.0
"""


def durations() -> str:
    """Return the lines of requests that took 0.05 and 400 seconds to be on."""
    lines = ""
    bounds = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "120.0", "300.0", "600.0")
    for action in ("on", "off", "reboot"):
        on = action == "on"
        counts = [1] * 12 + [2] * 3 if on else [0] * 15
        for bound, count in zip((*bounds, "3600.0", "+Inf"), counts, strict=True):
            lines += f'pdudaemon_request_duration_seconds_bucket{{action="{action}",le="{bound}"}} {count}\n'
        lines += f'pdudaemon_request_duration_seconds_sum{{action="{action}"}} {400.05 if on else 0.0}\n'
        lines += f'pdudaemon_request_duration_seconds_count{{action="{action}"}} {2 if on else 0}\n'
    return lines


class Sites(list[Any]):
    looked_at: object = None

    def look(self, names: object) -> None:
        self.looked_at = names


class Lab:
    def __init__(self, folder: Path) -> None:
        words = {"pdus": {name: {"driver": "dummy"} for name in STATES}, "nodes": NODES, "roles": ROLES}
        (folder / "conf").write_text(json.dumps({**words, "daemon": {"jwt_secret_file": str(SECRET)}}))
        config = reader.load(str(folder / "conf"))
        self.config = replace(
            config, pdus={**config.pdus, "b/x": SitePDU("b/x", {}, config.pdus["good"].options, None)}
        )
        good, silent = KnownPDU({}), KnownPDU({})
        good.reachable, good.read, silent.reachable = True, NOW - 10, False
        good.outlets = {
            "1": Known(State.ON, "device", 5.0, 'the "router"', 1.5, 230.0, 0.0, 9.0, read=NOW - 10),
            "2": Known(State.OFF, "commanded", 5.0, watts=7.0),
            "3": Known(State.UNKNOWN),
        }
        good.inlets = (InletReading("A", kind="phase", watts=30.0, volts=231.0),)
        self.known = {"good": good, "silent": silent, "held": KnownPDU({})}
        self.figures = Figures()
        self.figures.requests |= {
            ("good", "on", "done"): 2,
            ("silent", "on", "failed"): 1,
            ("good", "off", "done"): 1,
        }
        self.figures.tries["good", "on", "done"] = 3
        took = self.figures.durations[Action.ON]
        took.buckets[0], took.buckets[12], took.sum = 1, 1, 400.05
        self.sites = Sites()
        self.oldest: float | None = NOW - 20
        self.folder = folder
        self.well = True

    def every_pdu(self, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
        for number, (name, state) in enumerate(STATES.items()):
            if wanted(name):
                yield {"name": name, "state": state, "requests": number}

    def text(self, role: str = "") -> str:
        """Return what is told who has a role, or may see everything."""
        dispatcher = SimpleNamespace(
            sites=self.sites,
            inventory=SimpleNamespace(elsewhere="those elsewhere", pdu=self.known.get),
            store=(str(self.folder / "store"), self.well),
            every_pdu=self.every_pdu,
            events=SimpleNamespace(figures=self.figures),
            live_figures=lambda: SimpleNamespace(unended=7, oldest=self.oldest, owed=Counter({"silent": 2, "b/x": 9})),
            config=self.config,
        )
        rights = RoleRights(self.config, (role,)) if role else EVERYTHING
        pace = SimpleNamespace(sliced=self.sliced)
        exchange: Any = SimpleNamespace(dispatcher=dispatcher, rights=rights, orders=SimpleNamespace(pace=pace))
        answer = metrics(exchange, "")
        assert (answer.status, answer.content_type, answer.headers) == (200, CONTENT_TYPE, {})
        assert isinstance(answer.body, bytes)
        return answer.body.decode()

    def sliced(self, items: Iterable[Any]) -> Iterable[Any]:
        return items


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(module, "_STARTED", 4000.5)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOW, sleep=lambda seconds: None))
    return Lab(tmp_path)


START = f"""\
# TYPE process_start_time_seconds gauge
process_start_time_seconds 4000.5
# HELP pdudaemon_build_info Which version this is.
# TYPE pdudaemon_build_info gauge
pdudaemon_build_info{{version="{__version__}",python="{platform.python_version()}"}} 1
"""


def test_all_of_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / "store").write_bytes(b"12345")
    (lab.folder / "store-wal").write_bytes(b"123")
    lines = LogLines()
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler(), lines])
    for level in (logging.WARNING, logging.ERROR, logging.WARNING):
        lines.handle(logging.LogRecord("x", level, "", 0, "", None, None))
    lab.sites += [SimpleNamespace(name="berlin", trouble=""), SimpleNamespace(name="rome", trouble="it is away")]
    daemon = """\
# HELP pdudaemon_store_size_bytes Size of the store's file, and of its log.
# TYPE pdudaemon_store_size_bytes gauge
pdudaemon_store_size_bytes{file="database"} 5
pdudaemon_store_size_bytes{file="log"} 3
# HELP pdudaemon_store_up Whether the store took the last that there was to write.
# TYPE pdudaemon_store_up gauge
pdudaemon_store_up 1
# HELP pdudaemon_log_lines_total Lines of the log.
# TYPE pdudaemon_log_lines_total counter
pdudaemon_log_lines_total{level="critical"} 0
pdudaemon_log_lines_total{level="error"} 1
pdudaemon_log_lines_total{level="info"} 0
pdudaemon_log_lines_total{level="warning"} 2
# HELP pdudaemon_site_up Whether a site can be asked.
# TYPE pdudaemon_site_up gauge
pdudaemon_site_up{site="berlin"} 1
pdudaemon_site_up{site="rome"} 0
"""
    assert lab.text() == START + daemon + PDUS + REQUESTS + durations() + OUTLETS
    assert lab.sites.looked_at == "those elsewhere"


def test_what_is_not_there_has_no_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    lab.well, lab.oldest = False, None
    (lab.folder / "store-wal").write_bytes(b"123")
    told = lab.text()
    assert 'store_size_bytes{file="database"}' not in told and 'store_size_bytes{file="log"} 3\n' in told
    assert "pdudaemon_store_up 0\n" in told and "oldest_request_age_seconds 0\n" in told
    assert "pdudaemon_log_lines_total" not in told and "pdudaemon_site_up" not in told


def test_who_sees_a_pdu_is_told_what_is_of_it(lab: Lab) -> None:
    lab.sites.append(SimpleNamespace(name="berlin", trouble=""))
    own = PDUS + REQUESTS.partition("# HELP pdudaemon_requests_unended")[0] + OUTLETS
    told = [line for line in own.splitlines() if "{" not in line or '{pdu="good"' in line]
    assert lab.text("pdu") == START + "".join(f"{line}\n" for line in told)


def test_who_sees_a_node_is_told_of_its_outlet(lab: Lab) -> None:
    told = OUTLETS.partition("# HELP pdudaemon_inlet")[0].replace("mine,others", "mine")
    lines = [line for line in told.splitlines() if 'port="2"' not in line]
    assert lab.text("node") == START + "".join(f"{line}\n" for line in lines)


def test_who_sees_a_later_outlet_is_told_of_that(lab: Lab) -> None:
    lab.known["good"].outlets |= {"4": Known(State.ON, "device", 5.0)}
    told = OUTLETS.partition("# HELP pdudaemon_outlet_watts")[0].splitlines()[:2]
    line = 'pdudaemon_outlet_on{pdu="good",port="4",node="later"} 1'
    assert lab.text("later") == START + "".join(f"{each}\n" for each in (*told, line))
