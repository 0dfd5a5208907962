# SPDX-License-Identifier: MIT
"""A real owserver with chips that it pretends to have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports


@contextmanager
def owserver(*chips: str) -> Iterator[int]:
    """Run one; yield its port."""
    program = shutil.which("owserver")
    if program is None:
        pytest.skip("owserver is not installed (Debian: owserver)")
    (port,) = free_ports()
    with listening([program, "--foreground", f"--fake={','.join(chips)}", "-p", f"127.0.0.1:{port}"], port):
        yield port
