# SPDX-License-Identifier: MIT
"""What the Debian packages bring of their own. They are built by `make deb`, and tried by `make test-boot`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pdudaemon import __version__, configfile
from tests.process import ROOT

DEBIAN = ROOT / "debian"
CONF = DEBIAN / "pdudaemon.conf"
MOST_EXPOSED = 1.7


def test_the_configuration_has_loopback_only_and_no_pdu() -> None:
    conf = configfile.load(str(CONF))
    assert not (conf.pdus or conf.nodes or conf.groups or conf.faults or conf.warnings)
    assert [(each.hostname, each.port, each.protocol) for each in conf.listeners] == [("127.0.0.1", 16421, "both")]


def test_its_examples_are_good(tmp_path: Path) -> None:
    everything = tmp_path / "pdudaemon.conf"
    everything.write_text(re.sub(r"^( *)#(?=\")", r"\1", CONF.read_text(), flags=re.MULTILINE))
    conf = configfile.load(str(everything))
    assert not conf.faults and not conf.warnings
    assert len(conf.pdus) >= 10 and conf.nodes and conf.groups


@pytest.mark.parametrize("name", ["changelog", "pdudaemon.NEWS"])
def test_the_version_is_that_of_the_program(name: str) -> None:
    version = re.match(r"pdudaemon \((.*?)\)", (DEBIAN / name).read_text())
    assert version and version[1].replace("~", ".") == __version__


def test_how_exposed_the_service_is(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    unit = shutil.copy(DEBIAN / "pdudaemon.service", tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=True
    )
    level = re.search(r"exposure level for pdudaemon.service: ([0-9.]+)", done.stdout)
    assert level and float(level[1]) <= MOST_EXPOSED, done.stdout
