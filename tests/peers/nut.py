# SPDX-License-Identifier: MIT
"""upsd of Network UPS Tools in front of a driver of ours with outlets, which speaks to it as NUT's drivers do.

NUT has no driver that simulates switched outlets: its ``dummy-ups`` only tells what stands in a file.

Source: NUT's developer guide, "driver/server socket protocol".
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.peers.server import listening
from tests.support.certificate import self_signed
from tests.support.ports import free_ports

UPSD, DUMMY = "/lib/nut/upsd", "/lib/nut/dummy-ups"
USER, PASSWORD = "pdu", 'nut "7" \\ x'
HANDLED, UNKNOWN, FAILED = 0, 1, 3


class EPDU:
    """A driver's side of its socket: three outlets, the first one with a name and meters, and two groups of them."""

    groups = {"1": ("1", "2"), "2": ("3",)}

    def __init__(self, path: Path) -> None:
        self.outlets = {"1": "off", "2": "off", "3": "off"}
        self.status = HANDLED  # what it says of an order
        self.commands: list[str] = []
        self.connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self.connections:
            each.close()
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
            self.connections.append(connection)
            with connection.makefile("r") as lines:
                for line in lines:
                    for said in self._answer(line.strip()):
                        connection.sendall(f"{said}\n".encode())
        except (OSError, ValueError):
            pass  # the test is over

    def _answer(self, line: str) -> list[str]:
        if line == "DUMPALL":
            return [*self._told(), *self._offered(), "DATAOK", "DUMPDONE"]
        if line == "PING":
            return ["PONG"]
        found = re.fullmatch(r"INSTCMD outlet\.(group\.)?(\d)\.load\.(on|off)(?: TRACKING (\S+))?", line)
        if not found:
            return []
        self.commands.append(line)
        if self.status == HANDLED:
            self.outlets |= dict.fromkeys(self.groups[found[2]] if found[1] else (found[2],), found[3])
        tracked = [f"TRACKING {found[4]} {self.status}"] if found[4] else []
        return [*tracked, *self._told()]

    def _told(self) -> list[str]:
        states = {f"outlet.{port}.status": state for port, state in self.outlets.items()}
        about = {"ups.status": "OL", "device.mfr": "Fake", "device.model": "ePDU", "outlet.1.desc": 'The \\"router\\"'}
        drawn = {"outlet.1.realpower": "12.5", "outlet.1.current": "0.11", "input.voltage": "230.1"}
        groups = {"outlet.group.1.id": "1", "outlet.group.1.name": "Servers", "outlet.group.2.id": "2"}
        groups["outlet.group.1.status"] = self.outlets["1"]
        groups |= {f"outlet.{port}.groupid": group for group, ports in self.groups.items() for port in ports}
        return [f'SETINFO {name} "{value}"' for name, value in {**about, **drawn, **states, **groups}.items()]

    def _offered(self) -> list[str]:
        places = [*self.outlets, *(f"group.{group}" for group in self.groups)]
        return [f"ADDCMD outlet.{place}.load.{word}" for place in places for word in ("on", "off")]


@contextmanager
def upsd(folder: Path, secure: bool = False) -> Iterator[tuple[int, EPDU]]:
    """Run a server with a PDU ``epdu`` of ours, and ``dummy``, which is NUT's own; yield its port and the first."""
    if not Path(UPSD).exists() or (secure and shutil.which("certutil") is None):
        pytest.skip("upsd or certutil is not installed (Debian: nut-server, libnss3-tools)")
    folder.mkdir()
    folder.chmod(0o700)
    (port,) = free_ports()
    (folder / "ups.conf").write_text(
        f'statepath = "{folder}"\n[epdu]\ndriver = ours\nport = none\n[dummy]\ndriver = dummy-ups\nport = dummy.dev\n'
    )
    (folder / "dummy.dev").write_text(
        "ups.status: OL\noutlet.1.status: on\noutlet.1.desc: Lamp\noutlet.2.status: off\n"
    )
    lines = [f'STATEPATH "{folder}"', f"LISTEN 127.0.0.1 {port}", "MAXAGE 15"]
    lines += _tls(folder) if secure else []
    (folder / "upsd.conf").write_text("\n".join(lines) + "\n")
    word = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    (folder / "upsd.users").write_text(f'[{USER}]\npassword = "{word}"\ninstcmds = ALL\n[reader]\npassword = r\n')
    for file in folder.glob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
    places = {"NUT_CONFPATH": str(folder), "NUT_STATEPATH": str(folder)}
    me = ["-u", "root"] if os.geteuid() == 0 else []
    with EPDU(folder / "ours-epdu") as epdu, (folder / "dummy.log").open("wb") as log:
        environment = {**os.environ, **places}
        dummy = subprocess.Popen([DUMMY, "-a", "dummy", "-F", *me], stdout=log, stderr=log, env=environment)
        try:
            with listening(["env", *(f"{key}={place}" for key, place in places.items()), UPSD, "-F", *me], port):
                yield port, epdu
        finally:
            dummy.kill()
            dummy.wait()


def _tls(folder: Path) -> list[str]:
    """Make what Debian's upsd, which is built with NSS, needs for TLS; the certificate is in ``cert.pem``."""
    self_signed(folder / "key.pem", folder / "cert.pem")
    export = ["pkcs12", "-export", "-in", "cert.pem", "-inkey", "key.pem", "-name", "upsd", "-out", "both.p12"]
    subprocess.run(["openssl", *export, "-passout", "pass:x"], check=True, capture_output=True, cwd=folder)
    (folder / "db").mkdir()
    (folder / "none").write_text("nssnss77\n")
    for words in (
        ["certutil", "-N", "-d", "db", "-f", "none"],
        ["pk12util", "-i", "both.p12", "-d", "db", "-W", "x", "-k", "none"],
    ):
        subprocess.run(words, check=True, capture_output=True, cwd=folder)
    return [f'CERTPATH "{folder}/db"', 'CERTIDENT "upsd" "nssnss77"']
