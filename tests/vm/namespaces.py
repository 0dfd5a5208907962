# SPDX-License-Identifier: MIT
"""A network and mounts of this process's own: what is made in them is gone with it, whatever becomes of a test."""

from __future__ import annotations

import ctypes
import os
import subprocess

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000

ADDRESS = "10.77.0.254"  # ours, on the bridge


def ip(*words: str, check: bool = True) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words], check=check, stderr=None if check else subprocess.DEVNULL)


def enter() -> None:
    """Leave the networks and mounts of the machine for ones of our own, with a bridge. Called by a process of one thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=False, stderr=subprocess.DEVNULL)
    ip("link", "set", "lo", "up")
    ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
    ip("address", "add", f"{ADDRESS}/24", "dev", "br0")
    ip("link", "set", "br0", "up")


def plug(name: str, address: str) -> str:
    """Make a network namespace that is connected to the bridge by its eth0; return its path. The plug is ``v-NAME``."""
    ip("netns", "add", name)
    ip("link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
    ip("link", "set", f"v-{name}", "master", "br0", "up")
    ip("-n", name, "link", "set", "lo", "up")
    ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
    ip("-n", name, "link", "set", "eth0", "up")
    return f"/run/netns/{name}"


def unplug(name: str) -> None:
    """Take a network namespace away, with all that somebody has done in it."""
    ip("link", "delete", f"v-{name}", check=False)
    ip("netns", "delete", name, check=False)
