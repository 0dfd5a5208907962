# SPDX-License-Identifier: MIT
"""What the Debian packages bring of their own. They are built by `make deb`, and tried by `make test-boot`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pdudaemon import __version__
from pdudaemon.config import reader
from pdudaemon.config.options import DaemonOptions
from pdudaemon.errors import ConfigError, StoreError, Unavailable
from tests.support.process import ROOT

DEBIAN = ROOT / "debian"
CONF = DEBIAN / "pdudaemon.conf"
MOST_EXPOSED = 1.5


def test_the_configuration_has_loopback_only_and_no_pdu() -> None:
    conf = reader.load(str(CONF))
    assert not (conf.pdus or conf.nodes or conf.groups or conf.faults or conf.warnings)
    assert [(each.hostname, each.port, each.protocol) for each in conf.listeners] == [("127.0.0.1", 16421, "both")]


def test_its_examples_are_good(tmp_path: Path) -> None:
    everything = tmp_path / "pdudaemon.conf"
    everything.write_text(re.sub(r"^( *)#(?=\")", r"\1", CONF.read_text(), flags=re.MULTILINE))
    conf = reader.load(str(everything))
    assert not conf.faults and not conf.warnings
    assert len(conf.pdus) >= 10 and conf.nodes and conf.groups


@pytest.mark.parametrize("name", ["changelog", "pdudaemon.NEWS"])
def test_the_version_is_that_of_the_program(name: str) -> None:
    version = re.match(r"pdudaemon \((.*?)\)", (DEBIAN / name).read_text())
    assert version and version[1].replace("~", ".") == __version__


def test_the_build_tests_what_is_there() -> None:
    """What ``make`` finds no file for, it leaves out without a word."""
    words = " ".join(re.findall(r"^LIBRARIES [:+]= (.*)$", (DEBIAN / "rules").read_text(), re.MULTILINE)).split()
    assert words and [word for word in words if not any(ROOT.glob(f"tests/*/test_{word}.py"))] == []


def test_only_a_fault_of_the_configuration_keeps_the_service_down() -> None:
    unit = dict(line.split("=", 1) for line in (DEBIAN / "pdudaemon.service").read_text().splitlines() if "=" in line)
    assert unit["RestartPreventExitStatus"] == str(ConfigError.exit_code)
    assert ConfigError.exit_code not in (Unavailable.exit_code, StoreError.exit_code)
    assert (unit["Restart"], unit["StartLimitIntervalSec"]) == ("on-failure", "0")  # for ever
    assert int(unit["RestartSec"]) >= 2  # without filling the journal


def test_a_reload_of_the_service_is_checked_first(tmp_path: Path) -> None:
    """Each ExecReload is run in turn, the first that fails ends the reload: see systemd.service(5)."""
    lines = (DEBIAN / "pdudaemon.service").read_text().splitlines()
    start, check, hang_up = (line.split("=", 1)[1].split() for line in lines if re.match("Exec(Start|Reload)=", line))
    assert hang_up == ["/bin/kill", "-HUP", "$MAINPID"]
    program = "/usr/bin/pdudaemon"
    assert check[0] == start[0] == program and set(check) - {"--check-start"} == set(start) - {"--journal"}
    conf = tmp_path / "conf"
    for text, status in (('{"pdus": {"a": {"driver": "dumy"}}}', 0), ("{", 2), ('{"daemon": {"wait": -1}}', 2)):
        conf.write_text(text)
        words = [f"--conf={conf}" if word.startswith("--conf=") else word for word in check[1:]]
        done = subprocess.run([sys.executable, "-m", "pdudaemon", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == status and bool(done.stderr) is bool(status), done


def test_a_user_that_is_busy_does_not_stop_the_installation(tmp_path: Path) -> None:
    """``usermod`` refuses to change a user who has a process. What a maintainer script calls is played by scripts."""
    played = {
        "dpkg": "exit 1",
        "getent": "echo pdudaemon:x:997:997::/nonexistent:/usr/sbin/nologin",
        "usermod": 'echo "usermod: user pdudaemon is currently used by process 1" >&2; exit 8',
        "stat": "echo pdudaemon:pdudaemon",
        "systemd-sysusers": "",
        "udevadm": "",
    }
    for name, script in played.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = ["sh", DEBIAN / "pdudaemon.postinst", "configure", "1.1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert "before: usermod --home /var/lib/pdudaemon pdudaemon" in done.stderr


def test_how_exposed_the_service_is(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    unit = shutil.copy(DEBIAN / "pdudaemon.service", tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=True
    )
    level = re.search(r"exposure level for pdudaemon.service: ([0-9.]+)", done.stdout)
    assert level and float(level[1]) <= MOST_EXPOSED, done.stdout


def test_the_bounds_of_the_service_fit_those_of_the_configuration() -> None:
    """In its sandbox the daemon cannot raise the number of its descriptors, of which systemd gives 1024."""
    unit = dict(re.findall(r"^(LimitNOFILE|TasksMax)=(\d+)$", (DEBIAN / "pdudaemon.service").read_text(), re.MULTILINE))
    assert int(unit["LimitNOFILE"]) >= 4 * DaemonOptions().max_connections + 10000
    assert int(unit["TasksMax"]) >= 10000
