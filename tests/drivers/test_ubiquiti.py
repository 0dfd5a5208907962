# SPDX-License-Identifier: MIT
"""mFi strips, against a program that stands in for ssh, and a real sshd of old algorithms with the fake behind it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.ubiquiti import UbiquitiMFi
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import ubiquiti
from tests.devices.base.device import Case, Mood
from tests.devices.base.scripted import conversation
from tests.devices.ubiquiti import PASSWORD, MPower
from tests.peers.ssh import OLD_ALGORITHMS, Server, keygen, sshd
from tests.peers.telnet import account
from tests.support.action import begun, hurried

SAMPLE = conversation("ubntmfi_relay_2")


def driver(case: Case, seconds: float = 60, **different: Any) -> UbiquitiMFi:
    return begun(UbiquitiMFi(case.hostname, {**case.settings, **different}), seconds)


def test_the_conversation_against_the_driver() -> None:
    with ubiquiti.case("ubntmfi3port", Mood.WELL) as case:
        driver(case, sshport="2022", verify_hostkey=True, sshkey="/etc/key").port_on(2)
        calls = case.device.calls
        assert [call.partition(" -- mfi.lab ")[2] for call in calls] == [asked for asked, _ in SAMPLE]
        assert all("-p 2022 -l ubnt -o" in call and "StrictHostKeyChecking=yes" in call for call in calls)
        for word in ("IdentityFile=/etc/key", "HostKeyAlgorithms=+ssh-rsa", "group1-sha1", "aes128-cbc"):
            assert word in calls[0]
        assert PASSWORD not in "".join(calls)


def test_the_conversation_against_the_fake(tmp_path: Path) -> None:
    device = MPower(tmp_path, password="")
    for asked, said in SAMPLE:
        done = subprocess.run([device.program, "--", "mfi.lab", asked], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (said, "")
    assert device.outlets["2"] == "on"


@pytest.mark.parametrize("name", ubiquiti.NAMES)
def test_each_outlet(name: str) -> None:
    with ubiquiti.case(name, Mood.WELL) as case:
        for port in case.ports:
            driver(case).port_on(int(port))
            assert [n for n, state in case.device.outlets.items() if state == "on"] == [port]
            driver(case).port_off(int(port))
        last = len(case.ports)
        assert UbiquitiMFi.canonical_port(f"0{last}", case.settings) == str(last)
        for bad in ("0", str(last + 1), "-1", "1; reboot", "active_pwr1"):
            with pytest.raises(ValueError, match=r"is not a port"):
                UbiquitiMFi.canonical_port(bad, case.settings)


def test_the_words_of_failures() -> None:
    with ubiquiti.case("ubntmfi8port", Mood.REFUSING) as case:
        with pytest.raises(PermanentError) as caught:
            driver(case).port_on(2)
        command = "\"sh -c 'echo 1 > /proc/power/relay2'\" on mfi.lab exited with 1"
        assert str(caught.value) == f"{command}: sh: write error: Operation not permitted"
    with ubiquiti.case("ubntmfi3port", Mood.WELL) as case:
        with pytest.raises(PermanentError, match=r"relay8'\" on mfi.lab exited with 1: sh: can't create /proc/power"):
            driver(case, driver="ubntmfi8port").port_on(8)
        with pytest.raises(PermanentError, match=r"^'cat /proc/power/relay8' on mfi.lab exited with 1: cat: "):
            driver(case, driver="ubntmfi8port").port_status(8)
        for text in ("", "on\n"):
            (case.device.folder / "power" / "relay1").write_text(text)
            with pytest.raises(
                TransientError, match=rf"^mfi.lab answered '{text.strip()}' to 'cat /proc/power/relay1'"
            ):
                driver(case).port_status(1)


def test_a_relay_that_does_not_move() -> None:
    with ubiquiti.case("ubntmfi3port", Mood.WELL) as case:
        device = case.device.folder / "device"
        device.write_text(device.read_text().replace("eval ", "case $1 in sh*) exit 0 ;; esac\neval ", 1))
        with pytest.raises(TransientError, match=r"^port 1 is still off after on$"):
            hurried(driver(case), 2.5).port_on(1)


@pytest.mark.parametrize("verify", [True, False])
def test_whether_the_host_key_counts(verify: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with ubiquiti.case("ubntmfi3port", Mood.WELL) as case:
        driver(case, verify_hostkey=verify).port_status(1)
        assert f"StrictHostKeyChecking={'yes' if verify else 'no'}" in case.device.calls[0]
    warning = "mfi.lab: the host key is not checked (verify_hostkey)"
    assert [record.getMessage() for record in caplog.records] == ([] if verify else [warning])


def behind(server: Server, device: MPower, **settings: Any) -> Case:
    whole = {"driver": "ubntmfi6port", "sshport": server.port, "known_hosts": f"{server.folder}/known", **settings}
    return Case(device, "127.0.0.1", whole, [], [])


def force(folder: Path) -> str:
    return f'ForceCommand {folder}/device "$SSH_ORIGINAL_COMMAND"'


def test_behind_an_old_sshd(tmp_path: Path) -> None:
    device = MPower(tmp_path, outlets=6)
    with sshd(tmp_path, force(tmp_path), *OLD_ALGORITHMS, host_key="rsa") as server:
        case = behind(server, device, username=server.user, sshkey=str(server.key))
        with pytest.raises(PermanentError, match=rf"^the host key of 127.0.0.1:{server.port} is not known$"):
            driver(case).port_on(6)
        assert device.outlets["6"] == "off"
        driver(case, verify_hostkey=False).port_on(6)
        assert (device.outlets["6"], device.outlets["5"]) == ("on", "off")

        host = keygen(tmp_path / "host").with_suffix(".pub").read_text()
        (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {host}")
        assert driver(case).port_status(6) is State.ON
        device.outlets["6"] = "off"
        assert driver(case).port_status(6) is State.OFF
        device.mood = Mood.REFUSING
        with pytest.raises(PermanentError, match=r"exited with 1: sh: write error: Operation not permitted"):
            driver(case).port_on(6)


@pytest.mark.one_at_a_time("account")
def test_a_password_at_a_real_sshd(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name, account() as user:
        folder = Path(name)
        folder.chmod(0o755)
        device = MPower(folder)
        for path in (folder / "power").iterdir():
            shutil.chown(path, user.name)
        with sshd(tmp_path, force(folder), *OLD_ALGORITHMS, host_key="rsa") as server:
            case = behind(server, device, username=user.name, verify_hostkey=False)
            driver(case, password=user.password).port_on(3)
            assert device.outlets["3"] == "on"
            with pytest.raises(PermanentError, match=rf"^login refused by 127.0.0.1:{server.port}$"):
                driver(case, password="not-the-one").port_off(3)
            assert device.outlets["3"] == "on"
