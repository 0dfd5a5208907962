# SPDX-License-Identifier: MIT
"""pduclient is one file that needs nothing but Python."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path

from tests.devices.olddaemon import OldDaemon
from tests.support.client import CLIENT, SENT, outlet, run


def test_imports_the_standard_library_alone_and_parses_by_python_3_8() -> None:
    tree = ast.parse(CLIENT.read_text(), feature_version=(3, 8))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_copy_works_by_itself(tmp_path: Path) -> None:
    copy = Path(shutil.copy(CLIENT, tmp_path))
    assert copy.stat().st_mode & 0o777 == 0o755
    with OldDaemon(b"ack\n") as daemon:
        assert run([str(copy)], *outlet(daemon.port, "on"), PATH=os.environ["PATH"]) == (0, SENT, "")
