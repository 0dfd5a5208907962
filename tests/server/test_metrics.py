# SPDX-License-Identifier: MIT
"""``/metrics``, read by the parser of Prometheus' own client."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pdudaemon.config import reader
from pdudaemon.power import Outlet, State
from pdudaemon.server.metrics import AT_ONCE, CONTENT_TYPE, labelled, metrics
from pdudaemon.server.pace import Pace
from pdudaemon.server.rights import EVERYTHING, RoleRights
from tests.support.lyingsite import LyingSite
from tests.support.process import Daemon, eventually
from tests.support.rack import Rack
from tests.support.tokens import SECRET, good

Key = tuple[tuple[str, str], ...]


class Scraped:
    """The metrics of one scrape: values by name and labels."""

    def __init__(self, text: str) -> None:
        self.kinds: dict[str, str] = {}
        self.values: dict[str, dict[Key, float]] = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation or family.name.startswith("process_"), family.name
            for sample in family.samples:
                found = self.values.setdefault(sample.name, {})
                key = tuple(sorted(sample.labels.items()))
                assert key not in found, f"{sample.name} twice with {key}"
                found[key] = sample.value
                self.kinds[sample.name] = family.type

    def get(self, metric: str, /, **labels: str) -> float | None:
        """Return a value, None if there is none."""
        return self.values.get(f"pdudaemon_{metric}", {}).get(tuple(sorted(labels.items())))


def scrape(daemon: Daemon, **headers: str) -> Scraped:
    reply = daemon.http("/metrics", **headers)
    assert (reply.status, reply.headers["Content-Type"]) == (200, CONTENT_TYPE)
    return Scraped(reply.text)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("metrics")
    names = {"1": 'the "router"\\', "2": "board 7"}
    pdus = {
        "pdu01": {"driver": "dummy", "outlets": 3, "names": names, "watts": {"1": 12.5, "2": 30}},
        "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.3, "retries": 2, "retrydelay": 0},
        "blind": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
        "broken": {"driver": "nosuch", "password": "hunter2secret"},
        'a "b"\\n': {"driver": "dummy", "outlets": 1},
    }
    one = Daemon(folder, pdus, {"board7": {"hostname": "pdu01", "port": 2}})
    one.start()
    assert one.power("on", "pdu01", 1).status == 200
    assert one.power("off", "pdu01", 2).status == 200
    assert one.power("on", "blind", "x").status == 200
    assert one.power("on", "deaf", 1).status == 504
    assert one.http("/api/v1/pdus/pdu01?fresh=1").status == 200
    yield one
    one.kill()


def test_every_line_is_as_prometheus_has_it(lab: Daemon) -> None:
    found = scrape(lab)
    assert (
        found.get(
            "build_info",
            version=lab.http("/healthz").headers["Server"].partition("/")[2],
            python=platform.python_version(),
        )
        == 1
    )
    assert abs(found.values["process_start_time_seconds"][()] - time.time()) < 3600
    assert found.kinds["pdudaemon_requests_total"] == "counter" and found.kinds["pdudaemon_outlet_on"] == "gauge"
    assert found.kinds["pdudaemon_request_duration_seconds_bucket"] == "histogram"


def test_what_has_been_asked_for(lab: Daemon) -> None:
    found = scrape(lab)
    assert found.get("requests_total", pdu="pdu01", action="on", result="done") == 1
    assert found.get("requests_total", pdu="pdu01", action="off", result="done") == 1
    assert found.get("requests_total", pdu="deaf", action="on", result="failed") == 1
    assert found.get("tries_total", pdu="deaf", action="on", result="failed") == 2
    buckets = found.values["pdudaemon_request_duration_seconds_bucket"]
    on = [value for key, value in buckets.items() if ("action", "on") in key]
    assert on == sorted(on) and on[-1] == found.get("request_duration_seconds_count", action="on") == 3
    assert found.get("request_duration_seconds_sum", action="on") >= 0.6  # type: ignore[operator]
    assert found.get("requests_unended") == 0 and found.get("oldest_request_age_seconds") == 0
    assert found.get("queue_length", pdu="pdu01") == 0


def test_how_pdus_are(lab: Daemon) -> None:
    found = scrape(lab)
    assert [found.get("pdu_up", pdu=pdu) for pdu in ("pdu01", "deaf", "broken")] == [1, 0, 0]
    assert [found.get("pdu_reachable", pdu=pdu) for pdu in ("pdu01", "deaf", "broken")] == [1, 0, None]
    assert [found.get("pdu_disabled", pdu=pdu) for pdu in ("pdu01", "broken")] == [0, 1]
    assert found.get("pdu_stuck", pdu="deaf") == 0
    assert 0 <= found.get("pdu_reading_age_seconds", pdu="pdu01") < 60  # type: ignore[operator]
    assert found.get("pdu_reading_age_seconds", pdu="deaf") is None
    assert found.get("pdu_up", pdu='a "b"\\n') == 1


def test_what_outlets_are_and_draw(lab: Daemon) -> None:
    found = scrape(lab)
    router: dict[str, Any] = {"pdu": "pdu01", "port": "1", "name": 'the "router"\\'}
    board: dict[str, Any] = {"pdu": "pdu01", "port": "2", "name": "board 7", "node": "board7"}
    assert (found.get("outlet_on", **router), found.get("outlet_watts", **router)) == (1, 12.5)
    assert (found.get("outlet_on", **board), found.get("outlet_watts", **board)) == (0, 0)
    assert found.get("outlet_volts", **router) is None
    assert found.get("outlet_on", pdu="pdu01", port="3") == 0
    assert found.get("outlet_watts", pdu="pdu01", port="3") is None
    assert found.get("outlet_on", pdu="blind", port="x") == 1
    assert found.get("outlet_on", pdu="deaf", port="1") is None
    assert found.get("inlet_watts", pdu="pdu01", inlet="total", kind="pdu") == 12.5


def test_the_store_and_the_log(lab: Daemon) -> None:
    found = scrape(lab)
    assert found.get("store_up") == 1 and found.get("store_size_bytes", file="database") > 0  # type: ignore[operator]
    before = found.get("log_lines_total", level="warning")
    lab.http("/nothing")
    assert eventually(lambda: scrape(lab).get("log_lines_total", level="warning") == before + 1)  # type: ignore[operator]


def test_no_secret_is_told(lab: Daemon) -> None:
    assert "hunter2secret" not in lab.http("/metrics").text


def test_a_scrape_asks_no_device(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy", "outlets": 1}})
    for _ in range(5):
        assert scrape(one).get("pdu_reading_age_seconds", pdu="pdu") is None
    assert one.http("/api/v1/pdus").json[0]["age"] is None


def test_what_is_owed_is_told(daemon: Callable[..., Daemon]) -> None:
    one = daemon({"pdu": {"driver": "dummy"}, "other": {"driver": "dummy"}})
    assert one.power("reboot", "pdu", 1, delay=3600, wait=0).status == 200
    assert eventually(lambda: scrape(one).get("owed_ons", pdu="pdu") == 1)
    found = scrape(one)
    assert found.get("owed_ons", pdu="other") == 0 and found.get("queue_length", pdu="pdu") == 1
    assert found.get("requests_unended") == 1 and found.get("oldest_request_age_seconds") > 0  # type: ignore[operator]
    eventually(lambda: one.http("/api/v1/requests/1?half=on", "DELETE").status == 200)  # once the off has ended
    assert scrape(one).get("owed_ons", pdu="pdu") == 0
    assert scrape(one).get("requests_total", pdu="pdu", action="reboot", result="cancelled") == 1


def test_a_front_tells_of_its_sites_to_who_may_do_everything(daemon: Callable[..., Daemon]) -> None:
    front = daemon({"own": {"driver": "dummy"}, "other": {"driver": "dummy"}}, secret=SECRET, start=False)
    roles = {"all": {"pdus": "own,berlin/p1", "may": ["on"]}, "port": {"pdus": "own:1,berlin/p1:1", "may": ["on"]}}
    with LyingSite() as site:
        sites = {"berlin": {"url": site.url}, "paris": {"url": "http://127.0.0.1:1"}}
        front.configure({**front.settings, "sites": sites, "roles": roles})
        front.start()
        front.token = good(sub="root")
        eventually(lambda: scrape(front).get("site_up", site="berlin") == 1)
        found = scrape(front)
        assert found.get("site_up", site="paris") == 0 and found.get("pdu_up", pdu="berlin/p1") == 1
        assert found.get("owed_ons", pdu="own") == 0 and found.get("owed_ons", pdu="berlin/p1") is None
        assert found.get("outlet_on", pdu="berlin/p1", port="1", node="berlin/board1") == 1
        front.token = good(sub="x", roles=["all"])
        found = scrape(front)
        assert not {"pdudaemon_site_up", "pdudaemon_store_up", "pdudaemon_requests_unended"} & {*found.values}
        assert {*found.values["pdudaemon_pdu_up"]} == {(("pdu", "own"),), (("pdu", "berlin/p1"),)}
        assert {*found.values["pdudaemon_owed_ons"]} == {(("pdu", "own"),)}
        front.token = good(sub="x", roles=["port"])
        found = scrape(front)
        assert not {"pdudaemon_pdu_up", "pdudaemon_owed_ons"} & {*found.values}
        assert found.get("outlet_on", pdu="berlin/p1", port="1", node="berlin/board1") == 1

        def asked_anew() -> bool:
            scrape(front)
            return [each.partition("?")[0] for each in site.asked].count("GET /api/v1/outlets") > 1

        eventually(asked_anew, 60)


def test_parameters_are_refused(lab: Daemon) -> None:
    assert lab.http("/metrics?x=1").status == 400
    assert lab.http("/metrics", "POST").status == 405


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"a": "b"}, '{a="b"}'),
        ({"a": 'x"\\\n', "b": ""}, '{a="x\\"\\\\\\n"}'),
        ({"a": "ä,}"}, '{a="ä,}"}'),
        ({"a": "x\ny"}, '{a="x\\ny"}'),
        ({"a": "x\\y", "b": 'x"y'}, '{a="x\\\\y",b="x\\"y"}'),
    ],
)
def test_labels(labels: dict[str, str], text: str) -> None:
    assert labelled(**labels) == text


def test_outlets_of_many_pdus_are_told_once_each_and_of_one_that_is_new_nothing_yet(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {f"p{number}": {} for number in range(2 * AT_ONCE + 1)})
    try:
        for number in range(2 * AT_ONCE + 1):
            rack.dispatcher.inventory.told(Outlet(f"p{number}", "1"), State.ON, 5.0)
        config = rack.dispatcher.config
        rack.dispatcher.config = replace(config, pdus={"new": config.pdus["p0"], **config.pdus})  # type: ignore[misc]
        answer = metrics(
            SimpleNamespace(  # type: ignore[arg-type]
                dispatcher=rack.dispatcher, rights=EVERYTHING, orders=SimpleNamespace(pace=Pace())
            ),
            "",
        )
        assert isinstance(answer.body, bytes)
        found = Scraped(answer.body.decode())
        assert len(found.values["pdudaemon_outlet_on"]) == 2 * AT_ONCE + 1
        assert found.get("outlet_on", pdu="p0", port="1") == 1
    finally:
        rack.stop()


def test_what_a_role_does_not_see_no_label_names(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {"a": {}})
    try:
        words = {
            "pdus": rack.pdus,
            "nodes": {"mine": {"hostname": "a", "port": 1}, "others": {"hostname": "a", "port": 1}},
            "roles": {"lab": {"nodes": "mine", "may": ["on"]}},
        }
        (tmp_path / "roles").write_text(json.dumps(words))
        read = reader.load(str(tmp_path / "roles"))
        config = replace(rack.dispatcher.config, nodes=read.nodes, roles=read.roles)
        rack.dispatcher.config = config  # type: ignore[misc]
        for port in ("1", "2"):
            rack.dispatcher.inventory.told(Outlet("a", port), State.ON, 5.0)
        exchange: Any = SimpleNamespace(
            dispatcher=rack.dispatcher, rights=RoleRights(config, ("lab",)), orders=SimpleNamespace(pace=Pace())
        )
        answer = metrics(exchange, "")
        assert isinstance(answer.body, bytes)
        found = Scraped(answer.body.decode())
        assert found.values["pdudaemon_outlet_on"] == {(("node", "mine"), ("pdu", "a"), ("port", "1")): 1}
        assert "pdudaemon_pdu_up" not in found.values and "pdudaemon_requests_total" not in found.values
    finally:
        rack.stop()
