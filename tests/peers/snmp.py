# SPDX-License-Identifier: MIT
"""Agents that nobody here wrote: net-snmp's snmpd, with outlets by `tests.peers.snmp_outlets`, and snmpsim.

snmpsim wants a pysnmp of its own, hence a virtual environment of its own; ``SNMPSIM`` says where its program is.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.peers import snmp_outlets
from tests.support import snmpmessage as wire
from tests.support.ports import free_ports
from tests.support.process import eventually

AUTH, PRIV = "authpass12345", "privpass12345"
SNMPD_USERS = {
    "md5_des": ("MD5", "DES", "priv"),
    "sha_aes": ("SHA", "AES", "priv"),
    "sha_aes192": ("SHA", "AES-192", "priv"),
    "sha_aes256": ("SHA", "AES-256", "priv"),
    "sha_aes192c": ("SHA", "AES-192-C", "priv"),
    "sha_aes256c": ("SHA", "AES-256-C", "priv"),
    "sha224_des": ("SHA-224", "DES", "priv"),
    "sha256_aes": ("SHA-256", "AES", "priv"),
    "sha384_aes": ("SHA-384", "AES", "priv"),
    "sha512_only": ("SHA-512", "", "auth"),
    "plain": ("", "", "noauth"),
}
"""User -> how its messages are signed and encrypted, and what it must do at least."""

SNMPSIM_USERS = {"md5_3des": ("MD5", "3DES"), "sha224_aes": ("SHA224", "AES")}


class Snmpd(NamedTuple):
    """A running agent: its UDP port, and the folder with the outlets."""

    port: int
    folder: Path

    @property
    def outlets(self) -> dict[str, str]:
        return {n: (self.folder / n).read_text() for n in snmp_outlets.OUTLETS}

    def flip(self, outlet: str, state: str) -> None:
        """Switch an outlet behind the daemon's back."""
        (self.folder / outlet).write_text(state)


@contextmanager
def snmpd(folder: Path, port: int = 0, engine: str = "", boots: int = 1, object_id: str = "") -> Iterator[Snmpd]:
    """Run net-snmp's agent, every outlet off. ``engine`` is its SNMPv3 identity in hex, ``boots`` how often it ran.

    ``object_id`` is what it says it is, if not itself.
    """
    program = shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip("snmpd is not installed")
    port = port or free_ports(1, socket.SOCK_DGRAM)[0]
    folder.mkdir()
    for outlet in snmp_outlets.OUTLETS:
        (folder / outlet).write_text("off")
    (folder / "pending").write_text("0")
    (folder / "snmpd.conf").write_text(_snmpd_conf(folder, port, engine, object_id))
    (folder / "kept").mkdir()
    (folder / "kept" / "snmpd.conf").write_text(f"engineBoots {boots}\n")
    environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(folder / "kept"), "SNMPCONFPATH": str(folder), "MIBS": ""}
    command = [program, "-f", "-Lf", str(folder / "log"), "-C", "-c", str(folder / "snmpd.conf"), "-I", "-smux"]
    with _running(command, environment, folder, port, "public", f"{snmp_outlets.SPDU[1:]}.1"):
        yield Snmpd(port, folder)


def _snmpd_conf(folder: Path, port: int, engine: str, object_id: str) -> str:
    lines = [f"agentAddress udp:127.0.0.1:{port}", "rocommunity public 127.0.0.1", "rwcommunity private 127.0.0.1"]
    lines += [f"exactEngineID 0x{engine}"] if engine else []
    lines += [f"sysObjectID {object_id}"] if object_id else []
    for name, (auth, priv, level) in SNMPD_USERS.items():
        lines.append(" ".join(["createUser", name, *([auth, AUTH] if auth else []), *([priv, PRIV] if priv else [])]))
        lines.append(f"rwuser {name} {level}")
    script = f"{sys.executable} {snmp_outlets.__file__} {folder}"
    return "\n".join([*lines, *(f"pass_persist {base} {script}" for base in snmp_outlets.BASES), ""])


@contextmanager
def snmpsim(folder: Path, recorded: Mapping[str, Sequence[str]] | None = None) -> Iterator[int]:
    """Run snmpsim with 8 outlets of an sPDUOutletCtl table, all off, for community and users; yield its UDP port.

    ``recorded`` has the lines of further recordings, each by the community that it is read with.
    """
    program = shutil.which(os.environ.get("SNMPSIM", "snmpsim-command-responder"))
    if program is None:
        pytest.skip("snmpsim is not installed (SNMPSIM=.../bin/snmpsim-command-responder)")
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    data = folder / "data"
    data.mkdir(parents=True)
    lines = [f"{snmp_outlets.SPDU[1:]}.{n}|2:writecache|value=2" for n in range(1, 9)]
    for name in ("private", "self"):  # a community's data, and those of users without a context
        (data / f"{name}.snmprec").write_text("\n".join([*lines, ""]))
    me = pwd.getpwuid(os.geteuid()).pw_name
    command = [
        program,
        f"--data-dir={data}",
        f"--cache-dir={folder / 'cache'}",
        f"--agent-udpv4-endpoint=127.0.0.1:{port}",
    ]
    command += [f"--process-user={me}", f"--process-group={me}"] if os.geteuid() == 0 else []
    for name, objects in (recorded or {}).items():
        (data / f"{name}.snmprec").write_text("\n".join([*objects, ""]))
    for name, (auth, priv) in SNMPSIM_USERS.items():
        command += [f"--v3-user={name}", f"--v3-auth-key={AUTH}", f"--v3-auth-proto={auth}"]
        command += [f"--v3-priv-key={PRIV}", f"--v3-priv-proto={priv}"]
    with _running(command, {**os.environ}, folder, port, "private", f"{snmp_outlets.SPDU[1:]}.1"):
        yield port


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], folder: Path, port: int, community: str, name: str
) -> Iterator[None]:
    """Run an agent; give it over when it answers a question."""
    question = wire.message(1, community, wire.PDU(wire.GET, 1, 0, name, (wire.NULL, b"")))
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=printed, stderr=printed)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.05)

            def answered() -> bool:
                assert process.poll() is None, (folder / "printed").read_text()
                asking.sendto(question, ("127.0.0.1", port))
                try:
                    return bool(asking.recv(65535))
                except TimeoutError:
                    return False

            eventually(answered)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
