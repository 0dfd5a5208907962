# SPDX-License-Identifier: MIT
"""Fixtures: the real daemon as a process, with what it needs, and the rule about skipped tests.

With ``REQUIRE_PEERS=1`` a skipped test is a failure, unless ``ALLOWED_SKIPS`` (node id prefixes, one a line) has it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import declarations, strategies
from tests.peers.chromium import Chromium, chromium
from tests.peers.snmp import Snmpd, snmpd
from tests.support.client import NOWHERE
from tests.support.process import BASE, PDUCLIENT, PDUDAEMON, Daemon

strategies.load()  # so that what registers words later is a driver of a test's own

pytest_plugins = ["tests.support.workers", "tests.support.leftovers", "tests.support.standstill"]

# A suite in the background of a script is told to ignore Ctrl-C; the programs that it starts must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has children ignore

# Where python3 is a script of a version manager, that takes longer than most programs which begin with it.
_PYTHON = shutil.which("python3")
if _PYTHON and Path(_PYTHON).read_bytes()[:2] == b"#!":
    os.environ["PATH"] = f"{Path(sys.executable).resolve().parent}{os.pathsep}{os.environ['PATH']}"


# What drivers import when they come to it, which is as much as ten of their tests take.
DEAR = (
    "cryptography.hazmat.primitives.ciphers",
    "jwt",
    "paho.mqtt.client",
    "pexpect.spawnbase",
    "pysnmp.carrier.asyncio.dgram.udp",
    "pysnmp.entity.config",
    "pysnmp.entity.engine",
    "pysnmp.entity.rfc3413.cmdgen",
    "yaml",
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Load once what all workers will start, while the tests are collected, and what most of them will import."""
    if session.config.getoption("workers") > 1:
        PDUDAEMON.begin({**os.environ, **BASE})
        PDUCLIENT.begin(NOWHERE)
        for name in DEAR:
            with contextlib.suppress(ImportError, AttributeError):  # not there; or, of Debian 12's pysnmp, too old
                importlib.import_module(name)


@pytest.fixture
def words() -> Iterator[None]:
    """Forget the words of the classes that a test defines."""
    before = {**declarations.registered}
    yield
    declarations.registered.clear()
    declarations.registered.update(before)


@pytest.fixture
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Daemon]]:
    """Return a function that makes daemons: ``daemon(pdus, aliases, **daemon_settings)``; all are stopped after.

    A test with the mark ``real_program`` has the program itself, not a fork of one that is loaded.
    """
    started: list[Daemon] = []

    def make(
        pdus: dict[str, Any], aliases: dict[str, Any] | None = None, start: bool = True, **settings: Any
    ) -> Daemon:
        folder = tmp_path / f"daemon{len(started)}"
        folder.mkdir()
        started.append(Daemon(folder, pdus, aliases, **settings))
        started[-1].real = request.node.get_closest_marker("real_program") is not None
        if start:
            started[-1].start()
        return started[-1]

    yield make
    for each in started:
        each.kill()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Run one browser for all who look at pages, which are marked ``one_at_a_time("browser")``."""
    with chromium(tmp_path_factory.mktemp("browser")) as made:
        made.resize(1200, 900)
        yield made


@pytest.fixture(scope="module")
def net_snmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snmpd]:
    """Run net-snmp's agent for a whole file."""
    with snmpd(tmp_path_factory.mktemp("snmpd") / "agent") as running:
        yield running


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    allowed = tuple(filter(None, os.environ.get("ALLOWED_SKIPS", "").split("\n")))
    if report.skipped and os.environ.get("REQUIRE_PEERS") == "1" and not item.nodeid.startswith(allowed):
        report.outcome = "failed"
        report.longrepr = f"skipped, though REQUIRE_PEERS=1: {report.longrepr}"
