# SPDX-License-Identifier: MIT
"""The client as a process of its own: how it is run, and what it says."""

from __future__ import annotations

import os
import random
from typing import NamedTuple

from tests.support.process import PDUCLIENT, ROOT

CLIENT = ROOT / "pduclient"
SENT = "Command sent successfully.\n"
MISSING = "Missing option, try -h for help\n"
USAGE = "Usage: pduclient --daemon deamonhostname --hostname pduhostname --port pduportnum --command pducommand\n"
NOWHERE = {"PATH": os.defpath, "HOME": "/nonexistent"}
"""An environment without any configuration."""


class Ran(NamedTuple):
    """What a run of a client left behind."""

    code: int
    out: str
    err: str


def client(*arguments: str, **environment: str) -> Ran:
    """Run our client, with nothing but the standard library in its reach, away from any configuration."""
    return Ran(*PDUCLIENT.run(*arguments, env={**NOWHERE, **environment}, timeout=30))


def lab_address() -> str:
    """Return a loopback address of the caller's own: old clients can be told no port but 16421."""
    return f"127.83.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
