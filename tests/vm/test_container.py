# SPDX-License-Identifier: MIT
"""The container: built from ``share/Dockerfile`` and run, as root, by ``make test-container``.

buildah and podman need no daemon. The base image is made by mmdebstrap under the name that the file asks for, since no
registry is asked. The containers share a network namespace that has nothing but loopback. The odd options are for
machines that are containers themselves: no cgroups, no larger limits, no systemd for the health check's timer.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vm.base import FOLDER, SOURCES

ROOT = Path(__file__).parent.parent.parent
BASE = "docker.io/library/debian:12-slim"
STATE = "/var/lib/pdudaemon"
RUN = "--init --stop-timeout 30 --network host --cgroups=disabled --ulimit nofile=4096:4096 --ulimit nproc=4096:4096"
RUN += " --health-interval=disable --read-only --cap-drop=all --security-opt no-new-privileges"
STORE = FOLDER / "containers"
CONF = {
    "daemon": {"hostname": "0.0.0.0", "port": 16421, "listener": "both"},
    "pdus": {
        "pdu": {"driver": "localcmdline", "cmd_on": "echo on %s >>$HOME/did", "cmd_off": "echo off %s >>$HOME/did"}
    },
}


def tool(*words: str, check: bool = True) -> str:
    """Run buildah or podman, and return what it prints."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """Build the image, by the format that has a health check."""
    STORE.mkdir(parents=True, exist_ok=True)
    storage = STORE / "storage.conf"
    storage.write_text(f'[storage]\ndriver="vfs"\ngraphroot="{STORE}/storage"\nrunroot="{STORE}/run"\n')
    os.environ["CONTAINERS_STORAGE_CONF"] = str(storage)
    sources = next(path for path in SOURCES if path.exists())
    if not tool("podman", "images", "-q", BASE):
        tool("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "bookworm", f"{STORE}/slim.tar", str(sources))
        tool("podman", "import", "-q", f"{STORE}/slim.tar", BASE)
        (STORE / "slim.tar").unlink()
    tool(*"buildah bud --isolation chroot --network host --pull-never --format docker".split(),
         "--ignorefile", "share/Dockerfile.dockerignore", "-f", "share/Dockerfile.dockerhub", "-t", "pdudaemon", ".")  # fmt: skip
    yield "localhost/pdudaemon"
    del os.environ["CONTAINERS_STORAGE_CONF"]


@pytest.fixture(scope="module")
def inside() -> Iterator[list[str]]:
    """Return the words that run something in a network that has nothing but loopback."""
    tool("ip", "netns", "add", "pdudaemon")
    tool("ip", "-n", "pdudaemon", "link", "set", "lo", "up")
    unmount = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
    enter = ["nsenter", "--net=/run/netns/pdudaemon", "unshare", "-m", "--propagation", "private"]
    yield [*enter, "sh", "-c", unmount, "sh"]
    tool("ip", "netns", "delete", "pdudaemon")


class Container:
    """One that runs, with its own configuration and a volume for the state."""

    def __init__(self, image: str, inside: list[str], folder: Path) -> None:
        self.inside = inside
        self.conf = folder / "pdudaemon.conf"
        self.volume = folder / "state"
        self.volume.mkdir()
        os.chown(self.volume, 65532, 65532)
        self.configure(CONF)
        mounts = ["-v", f"{self.conf}:/config/pdudaemon.conf:ro", "-v", f"{self.volume}:{STATE}"]
        tool(*inside, "podman", "run", "-d", "--name", "pdudaemon", *RUN.split(), *mounts, image)
        self.await_well()

    def configure(self, whole: Any) -> None:
        self.conf.write_text(json.dumps(whole))
        self.conf.chmod(0o644)

    def await_well(self) -> None:
        deadline = time.monotonic() + 120
        while subprocess.run(
            [*self.inside, "podman", "healthcheck", "run", "pdudaemon"], capture_output=True
        ).returncode:
            assert time.monotonic() < deadline, tool("podman", "logs", "pdudaemon", check=False)
            time.sleep(0.5)

    def power(self, words: str) -> int:
        """Ask for something; return the status of the answer."""
        silent = ["-s", "-o", "/dev/null", "-w", "%{http_code}"]
        return int(tool(*self.inside, "curl", *silent, f"http://127.0.0.1:16421/power/control/{words}"))

    def did(self) -> list[str]:
        """Return what the PDU was asked for."""
        path = self.volume / "did"
        return path.read_text().splitlines() if path.exists() else []

    def await_did(self, *lines: str) -> None:
        deadline = time.monotonic() + 120
        while self.did() != [*lines]:
            assert time.monotonic() < deadline, f"{self.did()}: {tool('podman', 'logs', 'pdudaemon', check=False)}"
            time.sleep(0.1)


@pytest.fixture
def container(image: str, inside: list[str], tmp_path: Path) -> Iterator[Container]:
    try:
        yield Container(image, inside, tmp_path)
    finally:
        tool(*inside, "podman", "rm", "-f", "pdudaemon", check=False)


def test_what_the_image_says_of_itself(image: str) -> None:
    said = json.loads(tool("podman", "image", "inspect", image))[0]["Config"]
    assert said["User"] == "65532:65532" and said["StopSignal"] == "SIGTERM"
    assert said["Labels"]["org.opencontainers.image.title"] == "pdudaemon"


def test_without_a_configuration_there_is_one_to_mount_over(image: str, inside: list[str]) -> None:
    out = tool(*inside, "podman", "run", "--rm", *RUN.split(), image, "--check")
    assert "0 PDUs, 0 nodes, no faults" in out


def test_manuals_and_files_are_there(image: str, inside: list[str]) -> None:
    run = [*inside, "podman", "run", "--rm", *RUN.split(), "--entrypoint", "sh", image, "-c"]
    assert tool(*run, "pdudaemon --print-file topology.yaml") == (ROOT / "share" / "topology.yaml").read_text().strip()
    assert tool(*run, "ls /usr/local/share/man/man8") == "pdudaemon.8"
    assert tool(*run, "id -u; id -g").split() == ["65532", "65532"]
    imported = "import hid, jwt, pexpect, pysnmp, serial, usb, yaml, cryptography, paho.mqtt; print('all')"
    assert tool(*run, f'python3 -c "{imported}"') == "all"


def test_it_switches_and_ends_as_it_is_told(container: Container) -> None:
    assert container.power("on?hostname=pdu&port=1") == 200
    assert container.did() == ["on 1"]
    container.power("reboot?hostname=pdu&port=2&delay=4&wait=0")
    container.await_did("on 1", "off 2")
    tool(*container.inside, "podman", "stop", "pdudaemon")
    assert container.did() == ["on 1", "off 2", "on 2"]
    assert tool("podman", "inspect", "--format", "{{.State.ExitCode}}", "pdudaemon") == "0"


def test_a_reboot_that_is_killed_ends_on(container: Container) -> None:
    container.power("reboot?hostname=pdu&port=3&delay=4&wait=0")
    container.await_did("off 3")
    tool(*container.inside, "podman", "kill", "--signal", "KILL", "pdudaemon")
    tool(*container.inside, "podman", "start", "pdudaemon")
    container.await_did("off 3", "on 3")


def test_a_reload(container: Container) -> None:
    container.configure({**CONF, "pdus": {**CONF["pdus"], "second": {"driver": "dummy"}}})
    tool(*container.inside, "podman", "kill", "--signal", "HUP", "pdudaemon")
    deadline = time.monotonic() + 60
    while container.power("on?hostname=second&port=1") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
