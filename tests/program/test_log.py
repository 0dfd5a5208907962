# SPDX-License-Identifier: MIT
"""Where the log goes, and how much of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process import Daemon, eventually


@pytest.mark.real_program
def test_log_levels_and_the_journal(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy", "typo": 1}, "bad": {}}, start=False, logging_level="DEBUG")
    for arguments, shown in (((), True), (("--loglevel", "WARN"), False), (("--loglevel=WARNING", "--journal"), False)):
        process = started.spawn(*arguments, stderr=-1)
        assert process.stderr is not None
        lines = [process.stderr.readline().decode() for _ in range(2)]
        process.terminate()
        rest = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait() == 0
        assert ("has started" in rest) is shown
        if "--journal" in arguments:
            assert lines[0].startswith("<3>pdud: ") and lines[1].startswith("<4>pdud: ")


def test_a_log_that_cannot_be_written_goes_to_standard_error_until_it_can(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """A log that raised would end the worker in the middle of a request."""
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    folder = tmp_path / "logs"
    folder.mkdir()
    log = folder / "log"
    with started.log.open("wb") as stderr:
        started.process = started.spawn(f"--logfile={log}", stderr=stderr)
    found = eventually(
        lambda: log.exists() and re.search(r"listening on \S+:(\d+) .* has started", log.read_text(), re.S)
    )
    started.port = int(found[1])
    for number, spoil in enumerate((lambda: shutil.rmtree(folder), lambda: folder.write_text("no folder")), 1):
        spoil()
        assert started.power("on", "pdu", number).status == started.power("off", "pdu", number).status == 200
        eventually(lambda said=rf"DEBUG pdud.*port {number}": re.search(said, started.log_text()))
    folder.unlink()
    folder.mkdir()
    assert started.power("on", "pdu", 7).status == 200
    eventually(lambda: log.exists() and "port 7" in log.read_text())
    assert "port 7" not in started.log_text()
    log.rename(folder / "log.1")
    assert started.power("on", "pdu", 8).status == 200
    eventually(lambda: log.exists() and "port 8" in log.read_text())
    assert started.stop() == 0 and "Traceback" not in started.log_text()
