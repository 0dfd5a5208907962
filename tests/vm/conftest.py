# SPDX-License-Identifier: MIT
"""The tests of this folder change the machine they run on: they are left out, except in a machine of `tests.vm`."""

from __future__ import annotations

from pathlib import Path

collect_ignore_glob = [] if Path("/mnt/host/project.tar").exists() else ["test_*.py"]
