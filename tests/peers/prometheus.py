# SPDX-License-Identifier: MIT
"""Prometheus, and its promtool, of Debian: a scraper and an evaluator of queries and rules that nobody here wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports
from tests.support.process import eventually

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: pdudaemon
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool to its end, or skip the test."""
    program = _needed("promtool")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Prometheus:
    """A running server, asked by its HTTP API."""

    def __init__(self, where: str) -> None:
        self.where = where

    def ask(self, what: str, **words: str) -> Any:
        """Return the data of an answer. Raises: HTTPError for a question that it does not understand."""
        url = f"http://{self.where}/api/v1/{what}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found


@contextmanager
def prometheus(folder: Path, daemon: int, rules: Path) -> Iterator[Prometheus]:
    """Run a server that scrapes a daemon at its port each second, and evaluates rules."""
    (port,) = free_ports(1)
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(port=daemon, rules=rules))
    with configured(folder / "data", configuration, f"127.0.0.1:{port}") as server:
        yield server


@contextmanager
def configured(folder: Path, configuration: Path, where: str) -> Iterator[Prometheus]:
    """Run a server by a configuration, with its data in a folder, at an address with a port."""
    command = [_needed("prometheus"), f"--config.file={configuration}", f"--storage.tsdb.path={folder}"]
    with listening([*command, f"--web.listen-address={where}", "--log.level=warn"], int(where.rpartition(":")[2])):
        eventually(lambda: _is_ready(where), 30)
        yield Prometheus(where)


def _is_ready(where: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{where}/-/ready", timeout=10) as answer:
            return answer.status == 200
    except OSError:  # it listens before it answers
        return False


def _needed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing (Debian: prometheus)")
    return path
