# SPDX-License-Identifier: MIT
"""The dashboard and the alerts are over what the daemon tells, and the real Prometheus evaluates them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.devices import tasmota
from tests.peers.prometheus import Prometheus, prometheus, promtool
from tests.support.process import ROOT, Daemon, eventually

pytestmark = pytest.mark.one_at_a_time("prometheus")  # one of them for all

RULES = ROOT / "share" / "prometheus-rules.yml"
DASHBOARD = json.loads((ROOT / "share" / "grafana.json").read_text())
VARIABLES = {"$pdu": ".*"}


def queries() -> list[tuple[str, str]]:
    """Return title and expression of each query of the dashboard."""
    found = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
    for name, value in VARIABLES.items():
        found = [(title, expression.replace(name, value)) for title, expression in found]
    return found


def named(text: str) -> set[str]:
    return set(re.findall(r"\bpdudaemon_\w+", text))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run a daemon with PDUs that are well, dead and disabled, of which something has been done and read."""
    folder = tmp_path_factory.mktemp("lab")
    with tasmota.Tasmota(2) as strip:
        strip.energy = tasmota.ONE_METER
        pdus = {
            "rack1": {
                "driver": "dummy",
                "outlets": 4,
                "names": {"1": "router"},
                "watts": {"1": 12, "2": 30},
                "poll": 1,
            },
            "strip": {"driver": "brennenstuhl_wspl01_tasmota", "ip": f"127.0.0.1:{strip.port}", "poll": 1},
            "plug": {"driver": "tasmota", "ip": f"127.0.0.1:{strip.port}", "poll": 1},
            "dead": {"driver": "dummy", "deaf": True, "timeout": 0.2, "retries": 1, "poll": 1},
            "broken": {"driver": "no-such-driver"},
        }
        one = Daemon(
            folder, pdus, {"board1": {"hostname": "rack1", "port": 1}, "plug1": {"hostname": "plug", "port": 1}}
        )
        one.configure({**one.settings, "sites": {"away": {"url": "http://127.0.0.1:1"}}})
        one.start()
        try:
            for action in ("on", "off", "reboot"):
                assert one.power(action, "rack1", 1, delay=0).status == 200
            assert one.power("on", "dead", 1).status != 200
            yield one
        finally:
            one.kill()


@pytest.fixture(scope="module")
def scraping(lab: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), lab.port, RULES) as running:
        enough = 'count_over_time(pdudaemon_build_info[5m]) > 2 and on() pdudaemon_outlet_watts{pdu="plug"}'
        eventually(lambda: running.query(enough), 60)
        yield running


def test_the_real_promtool_takes_the_rules() -> None:
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0 and "10 rules found" in checked.stdout, checked


def test_the_alerts_come_when_they_should() -> None:
    tests = ROOT / "tests" / "data" / "prometheus-rules-test.yml"
    ran = promtool("test", "rules", tests)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert {*alerts} == {*re.findall(r"- alertname: (\w+)", tests.read_text())}


def test_every_metric_that_is_named_is_told(lab: Daemon) -> None:
    """Those of histograms by their parts; a quantity that no PDU here has is not told, hence named by those there are."""
    told = eventually(lambda: (found := named(lab.http("/metrics").text)) >= {"pdudaemon_inlet_watts"} and found)
    wanted = named(RULES.read_text()) | {name for _, query in queries() for name in named(query)}
    assert wanted <= told, wanted - told


def test_prometheus_scrapes_all_of_it(lab: Daemon, scraping: Prometheus) -> None:
    (target,) = scraping.ask("targets")["activeTargets"]
    assert target["health"] == "up" and target["lastError"] == ""
    names = {*scraping.ask("label/__name__/values")}
    assert named(re.sub(r"(?m)^#.*$", "", lab.http("/metrics").text)) <= names
    (watts,) = scraping.query('pdudaemon_outlet_watts{node="board1"}')
    assert watts["metric"] | {"pdu": "rack1", "port": "1", "name": "router"} == watts["metric"]
    assert watts["value"][1] == "12"
    assert {each["metric"]["pdu"] for each in scraping.query("pdudaemon_pdu_up == 0")} >= {"dead", "broken"}


@pytest.mark.parametrize(("title", "expression"), queries(), ids=lambda each: each if "(" not in each else "")
def test_the_queries_of_the_dashboard(title: str, expression: str, scraping: Prometheus) -> None:
    found = scraping.query(expression)
    shows_the_highest = " > 0)" in expression
    assert found or shows_the_highest, f"{title}: {expression} shows nothing"
    assert all(each["value"][1] != "NaN" for each in found) or "quantile" in expression


def test_the_alerts_are_evaluated(scraping: Prometheus) -> None:
    def evaluated() -> Any:
        (group,) = scraping.ask("rules")["groups"]
        return all(rule["health"] == "ok" for rule in group["rules"]) and group["rules"]

    rules = {rule["name"]: rule for rule in eventually(evaluated, 60)}
    assert rules["PDUDisabled"]["state"] == "pending" and rules["StoreBroken"]["state"] == "inactive"
    dead = eventually(lambda: scraping.query('ALERTS{alertname="PDUDead"}'), 60)
    assert [alert["metric"]["pdu"] for alert in dead] == ["dead"]


def test_the_dashboard_can_be_imported() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (p["gridPos"]["x"] + dx, p["gridPos"]["y"] + dy)
        for p in panels
        for dx in range(p["gridPos"]["w"])
        for dy in range(p["gridPos"]["h"])
    ]
    assert len(places) == len({*places}) and max(x for x, _ in places) == 23
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used - {"__all"} == variables
