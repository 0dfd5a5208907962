# SPDX-License-Identifier: MIT
"""powermand, whose device is a script with plugs behind a prompt, described in powerman's own device language."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports

_SPECIFICATION = """specification "script" {
    timeout 2.0
    plug name { "0" "1" "2" "3" }
    script login { expect "ready> " }
    script logout { send "quit\\n" }
    script status { send "status %s\\n" expect "plug ([0-9]+): (on|off)\\n" setplugstate $1 $2 on="on" off="off" expect "ready> " }
    script on { send "on %s\\n" expect "done\\n" expect "ready> " }
    script off { send "off %s\\n" expect "done\\n" expect "ready> " }
}
"""

# While there is a file `ill` it does nothing, and does not say done.
_DEVICE = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
printf 'ready> '
while read -r command plug; do
    if [ -e ill ]; then echo failed
    else
        case $command in
        status) printf 'plug %s: %s\\n' "$plug" "$(cat "plug.$plug")" ;;
        on | off) echo "$command" >"plug.$plug"; echo done ;;
        quit) exit ;;
        esac
    fi
    printf 'ready> '
done
"""


class Powermand(NamedTuple):
    """A running server: its port, and the folder with the plugs of its nodes ``n0`` to ``n3``."""

    port: int
    folder: Path

    @property
    def outlets(self) -> dict[str, str]:
        return {f"n{plug}": (self.folder / f"plug.{plug}").read_text().strip() for plug in range(4)}


@contextmanager
def served(conf: Path, port: int) -> Iterator[None]:
    """Run a server by a configuration file that has it listen on a port."""
    with listening([*_program(), "-c", str(conf)], port):
        yield


def states(port: int) -> dict[str, str]:
    """Return what powerman's own client says of all nodes of a server."""
    asked = ["powerman", "-h", f"127.0.0.1:{port}", "-x", "-q"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
    return dict(line.split(": ") for line in said.splitlines())


def switch(port: int, action: str, nodes: str) -> None:
    """Have powerman's own client switch nodes."""
    subprocess.run(["powerman", "-h", f"127.0.0.1:{port}", f"--{action}", nodes], timeout=30, check=True)


def _program() -> list[str]:
    """Return the words that start it in the foreground, where 2.4 is always."""
    program = shutil.which("powermand", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip("powermand is not installed (Debian: powerman)")
    known = subprocess.run([program, "-h"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return [program, "-f"] if "--foreground" in known else [program]


@contextmanager
def powermand(folder: Path) -> Iterator[Powermand]:
    """Run a server with four nodes, all off."""
    program = _program()
    folder.mkdir()
    for plug in range(4):
        (folder / f"plug.{plug}").write_text("off\n")
    (folder / "script.dev").write_text(_SPECIFICATION)
    (folder / "device").write_text(_DEVICE)
    (folder / "device").chmod(0o755)
    (port,) = free_ports()
    lines = [f'include "{folder}/script.dev"', f'listen "127.0.0.1:{port}"']
    lines += [f'device "d0" "script" "{folder}/device |&"', 'node "n[0-3]" "d0"']
    (folder / "conf").write_text("\n".join(lines) + "\n")
    with listening([*program, "-c", str(folder / "conf")], port):
        yield Powermand(port, folder)
