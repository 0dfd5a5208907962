# SPDX-License-Identifier: MIT
"""A BMC with Redfish: the emulator of sushy-tools, with a user and a certificate of its own.

It wants packages of its own, hence an environment of its own; ``SUSHY`` says where its program is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.peers.server import listening
from tests.support.certificate import self_signed, trusting
from tests.support.ports import free_ports

SYSTEM = "11111111-1111-1111-1111-111111111111"


class BMC(NamedTuple):
    """A running emulator: the URL of its one machine, and the file with its certificate."""

    url: str
    certificate: Path
    user: str
    password: str

    def ask(self, path: str = "", body: object = None) -> str:
        """Ask something behind the daemon's back."""
        login = b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        context = trusting(self.certificate)
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return str(answer.read().decode())

    @property
    def power(self) -> str:
        return str(json.loads(self.ask())["PowerState"])

    def reset(self, kind: str) -> None:
        """Switch the machine behind the daemon's back."""
        self.ask("/Actions/ComputerSystem.Reset", {"ResetType": kind})


@contextmanager
def sushy(folder: Path, user: str, password: str, power: str = "Off") -> Iterator[BMC]:
    """Run the emulator with one machine, which does what it is told some seconds later."""
    program = shutil.which(os.environ.get("SUSHY", "sushy-emulator"))
    if program is None:
        pytest.skip("sushy-tools is not installed (SUSHY=.../bin/sushy-emulator, with sushy-tools)")
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports()
    bmc = BMC(f"https://127.0.0.1:{port}/redfish/v1/Systems/{SYSTEM}", folder / "cert.pem", user, password)
    self_signed(folder / "key.pem", bmc.certificate)
    (folder / "htpasswd").write_text(f"{user}:{_crypted(Path(program), password)}\n")
    system = {"uuid": SYSTEM, "name": "node", "power_state": power, "nics": []}
    settings = {
        "SUSHY_EMULATOR_LISTEN_IP": "127.0.0.1",
        "SUSHY_EMULATOR_LISTEN_PORT": port,
        "SUSHY_EMULATOR_FAKE_DRIVER": True,
        "SUSHY_EMULATOR_FAKE_SYSTEMS": [system],
        "SUSHY_EMULATOR_STATE_DIR": str(folder),
        "SUSHY_EMULATOR_AUTH_FILE": str(folder / "htpasswd"),
        "SUSHY_EMULATOR_SSL_CERT": str(bmc.certificate),
        "SUSHY_EMULATOR_SSL_KEY": str(folder / "key.pem"),
    }
    (folder / "conf").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    with listening([program, "--fake", "--config", str(folder / "conf")], port):
        yield bmc


def _crypted(program: Path, password: str) -> str:
    """Return a password as the emulator takes it, by the library of its own environment."""
    script = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4)).decode())"
    made = subprocess.run(
        [program.parent / "python", "-c", script, password], capture_output=True, text=True, check=True
    )
    return made.stdout.strip()
