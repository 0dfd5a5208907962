# SPDX-License-Identifier: MIT
"""The former daemon's client, run as a black box: Debian's package ``pdudaemon-client``, before ours takes its place.

``FORMER_CLIENT`` says where the program is, if it is not installed: it may come out of the package without that.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def former_client(path: str = "") -> str:
    """Return the program; skip the test where there is none, or ours stands in its place."""
    path = path or os.environ.get("FORMER_CLIENT") or "/usr/bin/pduclient"
    if not Path(path).exists():
        pytest.skip("needs Debian's own package pdudaemon-client, or FORMER_CLIENT=.../usr/bin/pduclient out of it")
    told = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=30).stdout
    if "--alias" in told:
        pytest.skip(f"{path} is not the former client but ours: FORMER_CLIENT=... says where that is")
    assert "--daemon" in told, f"{path} is no client of the former daemon: {told!r}"
    return path
