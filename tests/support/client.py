# SPDX-License-Identifier: MIT
"""The client as a process of its own: how it is run, and what it says."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
from typing import NamedTuple

from tests.support.process import PDUCLIENT, ROOT

CLIENT = ROOT / "pduclient"
PROGRAM = [sys.executable, "-I", "-S", str(CLIENT)]
SENT = "Command sent successfully.\n"
UNREACHABLE = "Error sending command, wrong daemon hostname?\n"
UNSURE = "; the request may have been accepted\n"
GOES_ON = "; the daemon goes on with what it has accepted"
MISSING = "Missing option, try -h for help\n"
USAGE = "Usage: pduclient --daemon deamonhostname --hostname pduhostname --port pduportnum --command pducommand\n"
NODES_USAGE = "Usage: pduclient list|status|on|off|restart NODES... [options]\n"
PLACES = (
    "pduclient: --url (a PDUDaemon has port 16421), PDUCLIENT_URL or ~/.config/pdudaemon/client.yaml say where it is\n"
)
ENTRY = "pduclient: pdudaemon --token makes a token; it goes into ~/.config/pdudaemon/client.yaml or PDUCLIENT_TOKEN\n"
TOKEN = "s3cret.token.value"
NOWHERE = {"PATH": os.defpath, "HOME": "/nonexistent"}
"""An environment without any configuration."""


class Ran(NamedTuple):
    """What a run of a client left behind."""

    code: int
    out: str
    err: str


def client(*arguments: str, **environment: str) -> Ran:
    """Run our client, with nothing but the standard library in its reach, away from any configuration."""
    return Ran(*PDUCLIENT.run(*arguments, env={**NOWHERE, **environment}, timeout=60))


def run(program: list[str], *arguments: str, **environment: str) -> Ran:
    """Run any program as `client` runs ours."""
    env = {**NOWHERE, **environment}
    command = [*program, *arguments]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return Ran(done.returncode, done.stdout, done.stderr)


def ask(url: str, words: str, **environment: str) -> Ran:
    """Run our client for a server of nodes, with a token."""
    return client(*shlex.split(words), f"--url={url}", f"--token={TOKEN}", **environment)


def outlet(port: int, command: str, *more: str) -> tuple[str, ...]:
    """Return the options that ask a daemon of this machine for a command at port 1 of ``pdu01``."""
    return (f"--daemon=127.0.0.1:{port}", "--hostname=pdu01", "--port=1", f"--command={command}", *more)


def lab_address() -> str:
    """Return a loopback address of the caller's own: old clients can be told no port but 16421."""
    return f"127.83.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
