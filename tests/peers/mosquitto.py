# SPDX-License-Identifier: MIT
"""mosquitto: an MQTT broker, with a user and a password if there is to be a login, and TLS if there is a folder of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.server import listening
from tests.support.certificate import self_signed
from tests.support.ports import free_ports

USER, PASSWORD = "pdu", "well-kept:7"


@contextmanager
def mosquitto(folder: Path, *, login: bool = False, tls: bool = False) -> Iterator[int]:
    """Run a broker; yield its port. With ``tls`` its certificate is ``cert.pem`` in the folder."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    program, keeper = shutil.which("mosquitto", path=path), shutil.which("mosquitto_passwd", path=path)
    if program is None or keeper is None:
        pytest.skip("mosquitto is not installed (Debian: mosquitto)")
    folder.mkdir()
    (port,) = free_ports()
    lines = [f"listener {port} 127.0.0.1", f"allow_anonymous {str(not login).lower()}", "persistence false"]
    lines += ["user root"] if os.geteuid() == 0 else []
    if login:
        subprocess.run([keeper, "-c", "-b", folder / "users", USER, PASSWORD], check=True, capture_output=True)
        lines.append(f"password_file {folder}/users")
    if tls:
        self_signed(folder / "key.pem", folder / "cert.pem")
        lines += [f"certfile {folder}/cert.pem", f"keyfile {folder}/key.pem"]
    (folder / "conf").write_text("\n".join(lines) + "\n")
    with listening([program, "-c", str(folder / "conf")], port):
        yield port
