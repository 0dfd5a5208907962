# SPDX-License-Identifier: MIT
"""EC2 as moto's server plays it, and the real ``aws`` to reach it.

Both want packages of their own, hence an environment of their own; ``MOTO`` says where its folder of programs is.
"""

from __future__ import annotations

import json
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

REGION = "eu-west-1"


class Cloud(NamedTuple):
    """A running server, and what ``aws`` needs in its environment to get there."""

    environment: dict[str, str]

    def aws(self, *words: str) -> str:
        """Do something behind the daemon's back; return what was printed."""
        command = ["aws", "ec2", *words, "--region", REGION, "--output", "json"]
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, check=True)
        return done.stdout.decode()

    def instance(self) -> str:
        """Make an instance, which runs; return its id."""
        made = json.loads(self.aws("run-instances", "--image-id", "ami-03cf127a", "--count", "1"))
        return str(made["Instances"][0]["InstanceId"])

    def state(self, instance: str) -> str:
        """Return the state of an instance."""
        found = json.loads(self.aws("describe-instances", "--instance-ids", instance))
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


@contextmanager
def moto(folder: Path) -> Iterator[Cloud]:
    """Run a server without any instances."""
    programs = os.environ.get("MOTO", "")
    path = os.pathsep.join(filter(None, [programs, os.environ.get("PATH", "")]))
    program = shutil.which("moto_server", path=path)
    if program is None or shutil.which("aws", path=path) is None:
        pytest.skip("moto_server or aws is not installed (MOTO=.../bin, with moto[ec2,server] and awscli)")
    (port,) = free_ports()
    environment = {
        "PATH": path,
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with listening([program, "-H", "127.0.0.1", "-p", str(port)], port):
        yield Cloud(environment)
