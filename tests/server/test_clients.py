# SPDX-License-Identifier: MIT
"""What existing clients do, as their code and documentation have it, judged by the outlets of a demonstration PDU."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.client import SENT, lab_address
from tests.support.process import ROOT, Daemon, eventually


class Lab:
    """A daemon with PDUs of 24 outlets, which can be looked at."""

    def __init__(self, daemon: Callable[..., Daemon], folder: Path) -> None:
        self.address = lab_address()  # with the port that the clients of labs have built in
        self._folder = folder
        pdus = {name: {"driver": "dummy", "outlets": 24, "file": str(folder / name)} for name in ("pdu01", "pdu1")}
        pdus["dead"] = {"driver": "dummy", "refuse": "the breaker is open"}
        daemon(pdus, {"board7": {"hostname": "pdu1", "port": 7}}, hostname=self.address, port=16421)

    def outlets(self, pdu: str) -> dict[str, str]:
        """Return the outlets that have been switched so far."""
        file = self._folder / pdu
        return json.loads(file.read_text()) if file.exists() else {}

    def line(self, documented: str) -> list[str]:
        """Return a documented command line split as LAVA does, for this daemon and the client of this tree."""
        program, *words = shlex.split(documented.replace("localhost", self.address))
        return [str(ROOT / "pduclient") if program.endswith("pduclient") else program, *words]

    def lava(self, *lines: str) -> list[str]:
        """Run command lines as LAVA does: in order, without a shell, and each must succeed. Return what they say."""
        return [subprocess.run(self.line(each), check=True, capture_output=True, text=True).stdout for each in lines]

    def labgrid(self, command: str, index: int, delay: str = "", pdu: str = "pdu1") -> None:
        """Make a request as labgrid's PDUDaemonDriver does: no time-out, and only the status counts."""
        host, port = self.address, 16421
        response = requests.get(f"http://{host}:{port}/power/control/{command}?hostname={pdu}&port={index}{delay}")
        response.raise_for_status()


@pytest.fixture
def lab(daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("NO_PROXY", "*")
    return Lab(daemon, tmp_path)


def test_labgrid(lab: Lab) -> None:
    lab.labgrid("on", 3)
    assert lab.outlets("pdu1") == {"3": "on"}
    lab.labgrid("off", 3)
    assert lab.outlets("pdu1") == {"3": "off"}
    lab.labgrid("on", 3)
    with ThreadPoolExecutor() as pool:
        begin = time.monotonic()
        cycle = pool.submit(lab.labgrid, "reboot", 3, "&delay=4")
        eventually(lambda: lab.outlets("pdu1") == {"3": "off"})
        cycle.result(60)
        assert time.monotonic() - begin >= 4
    assert lab.outlets("pdu1") == {"3": "on"}


@pytest.mark.parametrize(("pdu", "index", "status"), [("pdu2", 3, 503), ("pdu1", 25, 503), ("dead", 1, 502)])
def test_labgrid_is_told_of_failure(lab: Lab, pdu: str, index: int, status: int) -> None:
    with pytest.raises(requests.HTTPError) as raised:
        lab.labgrid("on", index, pdu=pdu)
    assert raised.value.response is not None and raised.value.response.status_code == status
    assert lab.outlets("pdu1") == {}


@pytest.mark.long
def test_lava_documented_lines(lab: Lab) -> None:
    on = "pduclient --daemon localhost --hostname pdu01 --command on --port {}"
    assert lab.lava(on.format("12"), on.format("08"), on.format("01")) == [SENT] * 3
    assert lab.outlets("pdu01") == {"12": "on", "8": "on", "1": "on"}
    assert lab.lava("/usr/bin/pduclient --daemon localhost --hostname pdu01 --command off --port 08") == [SENT]
    assert lab.outlets("pdu01") == {"12": "on", "8": "off", "1": "on"}

    reboots = [
        "/usr/bin/pduclient --daemon localhost --hostname pdu01 --command reboot --port 12",
        "/usr/bin/pduclient --daemon localhost --hostname pdu01 --command reboot --port 08",
        "pduclient --daemon localhost --hostname pdu01 --command reboot --port 01",
    ]
    with ThreadPoolExecutor() as pool:  # each takes the five seconds that a reboot is off for
        running = [pool.submit(lab.lava, line) for line in reboots]
        off: set[str] = set()

        def all_off() -> bool:
            off.update(port for port, state in lab.outlets("pdu01").items() if state == "off")
            return off == {"12", "8", "1"}

        eventually(all_off, 60)
        assert [each.result(60) for each in running] == [[SENT]] * 3
    assert lab.outlets("pdu01") == {"12": "on", "8": "on", "1": "on"}


def test_lava_lists_of_lines(lab: Lab) -> None:
    said = lab.lava(
        "pduclient --daemon localhost --hostname pdu01 --command off --port 04",
        "sleep 0.1",
        "pduclient --daemon localhost --hostname pdu01 --command on --port 04",
        "pduclient -H --daemon localhost --hostname pdu01 --command off --port 01",
    )
    assert said == [SENT, "", SENT, SENT]
    assert lab.outlets("pdu01") == {"4": "on", "1": "off"}


def test_lava_is_told_of_failure(lab: Lab) -> None:
    for port in ("25", "0", "8x"):
        with pytest.raises(subprocess.CalledProcessError) as raised:
            lab.lava(f"pduclient --daemon localhost --hostname pdu01 --command on --port {port}")
        assert raised.value.returncode == 127 and "nack: pdu01: " in raised.value.stdout
    assert lab.outlets("pdu01") == {}


def test_alias_with_a_delay_as_a_lava_dispatcher_asks(lab: Lab) -> None:
    """It sends a delay with ``on`` and ``off`` as well, and looks at no answer."""
    begin = time.monotonic()
    requests.get(f"http://{lab.address}:16421/power/control/on?alias=board7&delay=1")
    assert time.monotonic() - begin >= 1
    assert lab.outlets("pdu1") == {"7": "on"}


def test_curl_as_dashboards_use_it(lab: Lab) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    curl = ["curl", "--silent", "--fail", "--noproxy", "*", f"http://{lab.address}:16421/power/control/"]
    for request, code in {"off?alias=board7": 0, "on?hostname=pdu1&port=2": 0, "on?alias=board8": 22}.items():
        assert subprocess.run([*curl[:-1], curl[-1] + request], capture_output=True).returncode == code
    assert lab.outlets("pdu1") == {"7": "off", "2": "on"}
