# SPDX-License-Identifier: MIT
"""Schemathesis asks a daemon all kinds of what ``share/openapi.json`` says can be asked, and looks at each answer.

It is found by ``SCHEMATHESIS``, as CI sets it, or on the path: it wants other packages than we do. With a bound in time
it makes requests up until then, however many it was to make; so it does by night alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.support.process import ROOT, Daemon
from tests.support.sampling import EVERY

PROGRAM = os.environ.get("SCHEMATHESIS") or shutil.which("schemathesis")
AMOUNT = ("--max-examples=20", "--max-time=60") if EVERY else ("--max-examples=2",)
CHECKS = ("status_code", "content_type", "response_schema", "response_headers")


@pytest.mark.long
@pytest.mark.skipif(not PROGRAM, reason="schemathesis is not installed")
def test_whatever_is_asked_the_answer_is_as_described(daemon: Callable[..., Daemon]) -> None:
    """None of them is a 500, since none is described."""
    pdus = {"a": {"driver": "dummy"}, "dead": {"driver": "dummy", "deaf": True, "timeout": 0.3, "retries": 1}}
    nodes = {"x": {"hostname": "a", "port": 1}, "y": {"hostname": "dead", "port": 1}}
    limits = {"max_delay": 1, "wait": 2, "max_connections_per_address": 500}
    started = daemon(pdus, nodes=nodes, groups={"all": ["x", "y"]}, listener="http", **limits)
    command = [
        str(PROGRAM), "run", str(ROOT / "share" / "openapi.json"), f"--url=http://127.0.0.1:{started.port}",
        "--exclude-path=/api/v1/events", "--phases=coverage,fuzzing,stateful", *AMOUNT,
        "--request-timeout=60", "--seed=1", "--generation-database=none",
        f"--checks={','.join(f'{each}_conformance' for each in CHECKS)}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=started.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout
    assert "internal error" not in started.log.read_text() and started.http("/healthz").status == 200
