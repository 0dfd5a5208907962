# SPDX-License-Identifier: MIT
"""``make test-newest``: a quick part of the tests on the newest release of everything that setup.cfg allows.

The suite runs on what ``share/requirements-test.txt`` pins. What users install is newer, so here the parts that lean on
packages of others run in a second environment with the newest. What fails there and not on the pinned ones is tried with
ever more of them put back, until the release that broke it is found. Exit status 1 if there is one.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
LOCK = ROOT / "share" / "requirements-test.txt"
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pdudaemon-ci" / "newest"
PYTHON = str(FOLDER / "bin" / "python")
LINT = "make lint"
PARTS = [
    LINT,
    "tests/server/test_access.py",
    "tests/packaging/test_architecture.py",
    "tests/drivers/test_cleware.py",
    "tests/server/test_clients.py",
    "tests/drivers/test_energenieusb.py",
    "tests/drivers/test_modbustcp.py",
    "tests/drivers/test_ipmi.py",
    "tests/transports/test_ipmimessage.py",
    "tests/server/test_metrics.py",
    "tests/server/test_mqtt.py",
    "tests/transports/test_mqtt.py",
    "tests/drivers/test_mqttdevices.py",
    "tests/server/test_oidc.py",
    "tests/server/test_openapi.py",
    "tests/config/test_schema.py",
    "tests/transports/test_serialport.py",
    "tests/drivers/test_snmp.py",
    "tests/drivers/test_snmpoutlet.py",
    "tests/transports/test_snmp.py",
    "tests/transports/test_ssh.py",
    "tests/transports/test_tcp.py",
    "tests/transports/test_telnet.py",
    "tests/config/test_topology.py",
    "tests/drivers/test_vusbhid.py",
    "tests/drivers/test_ykush.py",
]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\w+/\w+\.py)", re.MULTILINE)
LINES = 60  # of what the tests print when they fail


class Change(NamedTuple):
    """A package with the pinned release and the newest."""

    name: str
    pinned: str
    newest: str

    def __str__(self) -> str:
        return f"{self.name} {self.pinned} -> {self.newest}"


def main() -> int:
    """Return 1 if a release broke something, else 0."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    try:
        pip("--upgrade", "--upgrade-strategy=eager", "setuptools", "--editable", ".[all,test,dist,lint]")
    except subprocess.CalledProcessError:
        print("newest: BROKEN: the newest of what setup.cfg asks for cannot be installed")
        return 1
    changes = changed(pins(LOCK.read_text()), installed())
    if not changes:
        print("newest: no release is newer than the pinned ones: there is nothing to try")
        return 0
    print("newest: releases that are newer than the pinned ones:", *changes, sep="\n    ")
    failing = failed(PYTHON, failed(PYTHON, PARTS))  # twice, and not by chance
    failing -= failed(sys.executable, failing)  # what is not the releases' doing
    for part in sorted(failing):
        print(f"newest: BROKEN: {part}, by {culprit(changes, functools.partial(works, part, changes))}")
    if not failing:
        print("newest: all is well with them")
    return 1 if failing else 0


def pins(lock: str) -> dict[str, str]:
    """Return the releases that a lock pins, by the names of packages."""
    return {normal(name): version for name, version in _PIN.findall(lock)}


def installed() -> dict[str, str]:
    """Return what the second environment has, by the names of packages."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {normal(each["name"]): each["version"] for each in found}


def normal(name: str) -> str:
    """Return the name of a package as all of its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def changed(pinned: dict[str, str], newest: dict[str, str]) -> list[Change]:
    """Return the packages that are pinned, and have another release."""
    both = sorted(pinned.keys() & newest.keys())
    return [Change(name, pinned[name], newest[name]) for name in both if pinned[name] != newest[name]]


def culprit(changes: Sequence[Change], works_with: Callable[[Sequence[Change]], bool]) -> str:
    """Return the change that broke something; ``works_with`` says whether it works with some changes put back."""
    if not works_with(changes):
        return "what is pinned nowhere, or by chance"
    least, most = 0, len(changes)  # with `least` of them put back it fails, with `most` it works
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if works_with(changes[:middle]) else (middle, most)
    return str(changes[least])


def works(part: str, changes: Sequence[Change], back: Sequence[Change]) -> bool:
    """Whether a part works in the second environment with some of the changes put back."""
    releases = [f"{each.name}=={each.pinned if each in back else each.newest}" for each in changes]
    pip("--no-deps", *releases)
    return not failed(PYTHON, [part])


def failed(python: str, parts: Collection[str]) -> set[str]:
    """Run some parts by a Python; print what goes wrong, and return the parts where it does."""
    found: set[str] = set()
    files = [part for part in parts if part != LINT]
    if files:
        command = [python, "-m", "pytest", "-q", "--workers", "4", "-p", "no:cacheprovider", *files]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found.update(_FAILED.findall(done.stdout))
        if done.returncode:
            print(*done.stdout.splitlines()[-LINES:], sep="\n")
            found = found or set(files)
    if LINT in parts and subprocess.run([*LINT.split(), f"VENV={Path(python).parent}"], cwd=ROOT).returncode:
        found.add(LINT)
    return found


def pip(*words: str) -> None:
    """Install something into the second environment."""
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
