# SPDX-License-Identifier: MIT
"""What is installed for ``make run`` and ``make test`` is pinned, whatever the world releases; and how the newest is tried."""

from __future__ import annotations

import configparser
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import newest
from tests.support.newest import Change
from tests.support.process import ROOT

OWN = ("", "-test", "-snmpsim", "-schemathesis", "-hypothesis")
RUN, TEST, SNMPSIM, SCHEMATHESIS, HYPOTHESIS = (ROOT / "share" / f"requirements{name}.txt" for name in OWN)
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


@pytest.mark.parametrize("lock", [RUN, TEST, SNMPSIM, SCHEMATHESIS, HYPOTHESIS], ids=lambda path: path.stem)
def test_all_of_it_is_pinned_with_hashes(lock: Path) -> None:
    text = lock.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+ (; [^#]*?)?( +--hash=sha256:[0-9a-f]{64})+", line), line[:100]
    assert lines and "//" not in text


@pytest.mark.parametrize("lock", [RUN, TEST], ids=lambda path: path.stem)
def test_it_has_what_setup_cfg_asks_for(lock: Path) -> None:
    extras = dict(SETUP["options.extras_require"])
    del extras["kasa"]  # a program, which is not a part of this
    wanted = [SETUP["options"]["install_requires"], *extras.values()]
    if lock is RUN:
        wanted = [
            SETUP["options"]["install_requires"],
            *(extras[name] for name in ("snmp-privacy", "ipmi", "usb", "openflight", "mqtt")),
        ]
    pinned = newest.pins(lock.read_text())
    assert "setuptools" in pinned
    for line in filter(None, "\n".join(wanted).splitlines()):
        asked = Requirement(line)
        if asked.name != "pdudaemon":
            assert asked.specifier.contains(pinned[newest.normal(asked.name)]), line


def test_what_runs_is_what_is_tested() -> None:
    assert newest.pins(RUN.read_text()).items() <= newest.pins(TEST.read_text()).items()


@pytest.mark.parametrize("target", ["run", "test", "lint", "dist"])
def test_nothing_else_is_installed(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True)
    calls = re.findall(r"pip .*?\binstall\b(?:.|\\\n)*?(?=&&|$)", done.stdout, re.MULTILINE)
    assert len(calls) >= 2
    for call in calls:
        assert "--require-hashes" in call or ("--no-deps" in call and "--no-build-isolation" in call), call
    assert "-m build" not in done.stdout or "-m build --no-isolation" in done.stdout


def test_nothing_else_is_installed_by_ci() -> None:
    for line in (ROOT / ".ci" / "run").read_text().splitlines():
        if re.search(r"\bpip\b.* install\b", line):
            assert "--require-hashes" in line or "PIP_CONSTRAINT=" in line, line


def test_the_debian_package_is_built_with_the_libraries_of_debian() -> None:
    rules = (ROOT / "debian" / "rules").read_text()
    assert "requirements" not in rules and not re.search(r"\bpip\b|\.venv", rules)


# The newest


CHANGES = [Change(name, "1", "2") for name in "abcdefg"]


@pytest.mark.parametrize("guilty", range(7))
def test_the_release_that_broke_it_is_found(guilty: int) -> None:
    tried = []

    def works_with(back: Sequence[Change]) -> bool:
        tried.append(len(back))
        return CHANGES[guilty] in back

    assert newest.culprit(CHANGES, works_with) == f"{CHANGES[guilty].name} 1 -> 2"
    assert len(tried) <= 4


def test_what_no_release_broke() -> None:
    assert newest.culprit(CHANGES, lambda _: False) == "what is pinned nowhere, or by chance"


def test_what_is_newer() -> None:
    pinned = newest.pins(
        "# made\nPy_YAML==6.0.3 ; a == 'b' \\\n    --hash=sha256:00\nidna==3.19\nwin==1\nsame==1.0 \\\n"
    )
    assert pinned == {"py-yaml": "6.0.3", "idna": "3.19", "win": "1", "same": "1.0"}
    found = newest.changed(pinned, {"py-yaml": "6.0.4", "idna": "3.20", "same": "1.0", "more": "1"})
    assert [str(each) for each in found] == ["idna 3.19 -> 3.20", "py-yaml 6.0.3 -> 6.0.4"]


def test_its_parts_exist() -> None:
    assert all((ROOT / part).exists() for part in newest.PARTS if part != newest.LINT)
