# SPDX-License-Identifier: MIT
"""ser2net, which gives the network a serial line, by RFC 2217 and by plain TCP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports


@contextmanager
def ser2net(folder: Path, path: str) -> Iterator[tuple[int, int]]:
    """Run ser2net for a serial line; yield its ports for RFC 2217 and for plain TCP."""
    if not shutil.which("ser2net"):
        pytest.skip("needs the Debian package ser2net")
    rfc2217, plain = free_ports(2)
    conf = folder / "ser2net.yaml"
    line = f"connector: serialdev,{path},9600n81,local"
    conf.write_text(
        "%YAML 1.1\n---\n"
        f"connection: &c1\n  accepter: telnet(rfc2217),tcp,127.0.0.1,{rfc2217}\n  {line}\n"
        f"connection: &c2\n  accepter: tcp,127.0.0.1,{plain}\n  {line}\n"
    )
    with listening(["ser2net", "-n", "-d", "-c", str(conf)], plain):
        yield rfc2217, plain
