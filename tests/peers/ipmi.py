# SPDX-License-Identifier: MIT
"""BMCs: ipmi_sim of OpenIPMI, whose chassis is a script that keeps the state of the machine in a file.

It speaks lanplus with cipher suite 3 only.
"""

from __future__ import annotations

import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.ports import free_ports
from tests.support.process import eventually

CIPHER = 3
_PRESENCE_PING = bytes.fromhex("0600ff06000011be80000000")

# Called as `chassis get NAME...`, `chassis set NAME VALUE...` or `chassis check NAME VALUE...`. While there is a file
# `hold` it does not come back, while there is a file `ill` it fails, while there is a file `polite` its machine shuts
# down when it is asked to.
_CHASSIS = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
while [ -e hold ]; do sleep 0.01; done
[ ! -e ill ] || exit 1
echo "$*" >> asked
if [ "$1" = get ]; then
  shift
  for name; do [ "$name" = power ] && echo "power:$(cat power)" || echo "$name:0"; done
elif [ "$1 $2" = "set power" ]; then
  echo "$3" > power.new && mv power.new power
elif [ "$1 $2" = "set shutdown" ] && [ -e polite ]; then
  echo 0 > power.new && mv power.new power
fi
"""

_MANAGEMENT_CONTROLLER = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""


class BMC(NamedTuple):
    """A running BMC: its UDP port, and the folder with the state of its machine."""

    port: int
    folder: Path

    @property
    def power(self) -> str:
        return "on" if (self.folder / "power").read_text().strip() == "1" else "off"

    def flip(self, state: str) -> None:
        """Switch the machine behind the daemon's back."""
        (self.folder / "power").write_text("1" if state == "on" else "0")

    @property
    def resets(self) -> int:
        return (self.folder / "asked").read_text().splitlines().count("set reset 1")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let it not answer what is asked about the machine."""
        (self.folder / "hold").touch()
        try:
            yield
        finally:
            (self.folder / "hold").unlink()


@contextmanager
def ipmi_sim(folder: Path, user: str, password: str) -> Iterator[BMC]:
    """Run a BMC whose machine is off; it has one user."""
    program = shutil.which("ipmi_sim")
    if program is None or shutil.which("ipmitool") is None:
        pytest.skip("ipmi_sim or ipmitool is not installed (Debian: openipmi, ipmitool)")
    bmc = BMC(*free_ports(1, socket.SOCK_DGRAM), folder)
    (folder / "state").mkdir(parents=True)
    bmc.flip("off")
    (folder / "asked").touch()
    (folder / "chassis").write_text(_CHASSIS)
    (folder / "chassis").chmod(0o755)
    (folder / "emu").write_text(_MANAGEMENT_CONTROLLER)
    allowed = "\n".join(f"allowed_auths_{level} none md2 md5 straight" for level in ("callback", "user", "admin"))
    (folder / "lan.conf").write_text(
        f"""name "bmc"
set_working_mc 0x20
startlan 1
addr 127.0.0.1 {bmc.port}
priv_limit admin
{allowed}
guid a123456789abcdefa123456789abcdef
endlan
chassis_control "{folder}/chassis"
user 1 true "" "test" user 10 none md2 md5 straight
user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
    )
    command = [program, "-c", str(folder / "lan.conf"), "-f", str(folder / "emu"), "-s", str(folder / "state"), "-n"]
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.05)

            def answered() -> bool:
                assert process.poll() is None, (folder / "printed").read_text()
                try:
                    asking.sendto(_PRESENCE_PING, ("127.0.0.1", bmc.port))
                    return bool(asking.recv(100))
                except (TimeoutError, ConnectionError):
                    return False

            eventually(answered)
        yield bmc
    finally:
        process.kill()
        process.wait()


@contextmanager
def overheard(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Stand between a client and a BMC; yield the port for the client, and what the client has sent."""
    sent: list[bytes] = []
    (here,) = free_ports(1, socket.SOCK_DGRAM)
    closing = threading.Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inner,
    ):
        outer.bind(("127.0.0.1", here))
        inner.connect(("127.0.0.1", port))

        def relay() -> None:
            client: tuple[str, int] | None = None
            while not closing.is_set():
                for ready in select.select([outer, inner], [], [], 0.05)[0]:
                    if ready is outer:
                        packet, client = outer.recvfrom(4096)
                        sent.append(packet)
                        inner.send(packet)
                    elif client:
                        outer.sendto(inner.recv(4096), client)

        thread = threading.Thread(target=relay)
        thread.start()
        try:
            yield here, sent
        finally:
            closing.set()
            thread.join()
