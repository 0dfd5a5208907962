# SPDX-License-Identifier: MIT
"""What stands still goes on, and nothing else is changed by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.process import ROOT

FILE = """
import subprocess, time
from pathlib import Path

def test_it():
    with subprocess.Popen(["sleep", "1000"]) as child:
        seen = set()
        while not {"S", "T"} <= seen or last != "S":
            last = Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0]
            seen.add(last)
            time.sleep(0.01)
        child.kill()
"""


def run(folder: Path, *words: str) -> str:
    (folder / "test_some.py").write_text(FILE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.standstill"]
    ran = subprocess.run(
        [*command, *words], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout.decode()


def test_processes_that_a_test_has_started_stand_still_and_go_on(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, "--standstill=0.2")
