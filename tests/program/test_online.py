# SPDX-License-Identifier: MIT
"""``pdudaemon --check --online``: each PDU answers, lets us in and has what is used, or a line says what is amiss."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import online
from pdudaemon.cli import main
from pdudaemon.config import reader
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.fleet import device_path
from pdudaemon.settings import Setting, text
from pdudaemon.transports import lockfile
from tests.devices import netiojson, snmprows, tasmota, tplink
from tests.devices.base.device import Mood
from tests.devices.base.snmp import COMMUNITY, Agent
from tests.support.ports import free_ports
from tests.support.snmpmessage import SET

Checked = Callable[..., tuple[int, dict[str, str]]]


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Return what checks PDUs, with nodes that use ports of them; that returns the exit code and the line of each."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    path = tmp_path / "pdudaemon.conf"

    def run(pdus: dict[str, Any], nodes: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
        feeds = {
            name: {"hostname": outlet.partition(":")[0], "port": outlet.partition(":")[2]}
            for name, outlet in (nodes or {}).items()
        }
        path.write_text(json.dumps({"daemon": {}, "pdus": pdus, "aliases": feeds}))
        code = main(["--conf", str(path), "--check", "--online"])
        lines = [line.partition(": ") for line in capsys.readouterr().out.splitlines()]
        return code, {name: said for name, _, said in lines}

    return run


def plug(device: tasmota.Tasmota, **settings: Any) -> dict[str, Any]:
    address = f"127.0.0.1:{device.port}"
    return {"driver": "tasmota", "ip": address, "username": "admin", "password": tasmota.PASSWORD, **settings}


def test_what_answers_and_what_does_not(checked: Checked) -> None:
    with ExitStack() as stack:
        good = stack.enter_context(tasmota.Tasmota(1, password=tasmota.PASSWORD))
        locked = stack.enter_context(tasmota.Tasmota(1, password="another"))
        deaf = stack.enter_context(tasmota.Tasmota(1, Mood.DEAF))
        netio = stack.enter_context(netiojson.Netio())
        agent = stack.enter_context(Agent(table=snmprows.facts("apc_rpdu2")))
        (nobody,) = free_ports(1)
        code, said = checked(
            {
                "good": plug(good),
                "locked": plug(locked),
                "deaf": plug(deaf, timeout=2),
                "gone": plug(good, ip=f"127.0.0.1:{nobody}"),
                "netio": {"driver": "netiojson", "ip": "127.0.0.1", "port": netio.port, "password": "wrong"},
                "127.0.0.1": {"driver": "apc_rpdu2", "community": COMMUNITY, "snmpport": agent.port},
            },
            {"board": "good:1"},
        )
        for device in (good, locked, deaf, netio, agent):
            assert {*device.outlets.values()} == {"off"}
        assert SET not in {pdu.tag for pdu in agent.pdus}
    assert code == 1
    assert said["good"] == "answers, Tasmota, serial number C8:2B:96:00:11:22, firmware 13.4.0(tasmota), 1 outlets"
    assert said["locked"].startswith("refuses the login: login refused by ")
    assert said["netio"].startswith("refuses the login: login refused by ")
    assert said["deaf"].startswith("does not answer: no answer from ")
    assert said["gone"].startswith("does not answer: ")
    assert said["127.0.0.1"] == "answers, 4 outlets"
    assert "another" not in str(said) and tasmota.PASSWORD not in str(said)


def test_all_is_well(checked: Checked) -> None:
    with tplink.Plug("lamp", "board 7") as strip:
        settings = {"driver": "tplink", "ip": "127.0.0.1", "port": strip.port}
        assert checked({"strip": settings}, {"a": "strip:2", "b": "strip:lamp"})[0] == 0
        assert {*strip.outlets.values()} == {"off"}


def test_fewer_outlets_than_are_used(checked: Checked) -> None:
    with Agent(table=snmprows.facts("apc_rpdu2")) as agent, tplink.Plug("lamp") as strip:
        code, said = checked(
            {
                "127.0.0.1": {"driver": "apc_rpdu2", "community": COMMUNITY, "snmpport": agent.port},
                "strip": {"driver": "tplink", "ip": "127.0.0.1", "port": strip.port},
            },
            {"here": "127.0.0.1:4", "there": "127.0.0.1:5", "beside": "127.0.0.1:5", "board": "strip:bord"},
        )
    assert code == 1
    assert said["127.0.0.1"].endswith("fewer outlets than are used: there is no 5 (there, beside)")
    assert said["strip"].endswith("fewer outlets than are used: there is no bord (board)")


def test_a_driver_that_acts_through_a_program(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = tmp_path / "touched"
    code, said = checked(
        {
            "there": {"driver": "localcmdline", "cmd_on": f"touch {touched}", "cmd_off": f"touch {touched}"},
            "gone": {"driver": "localcmdline", "cmd_on": "no-such-program-here %s", "cmd_off": "true"},
            "shell": {"driver": "localcmdline", "cmd_on": "cd /; true", "cmd_off": "$X y", "cmd_status": "echo on"},
            "bcu": {"driver": "bcu", "bcu_exe": str(tmp_path / "bcu")},
            "node": {"driver": "platform", "power_on": "true", "folder": str(tmp_path / "gone")},
            "script": {"driver": "platform", "power_on": "true", "power_off": "no-such-tool --off $ip"},
        },
        {"board": "shell:1"},
    )
    assert code == 1 and not touched.exists()
    assert said["there"] == "not asked: nothing can be read from it; what it acts through is there"
    assert said["gone"] == "cannot act: cmd_on: the shell knows no command no-such-program-here"
    assert said["shell"] == "answers"
    assert said["bcu"].startswith("cannot act: the program ") and "is not installed" in said["bcu"]
    assert said["node"].startswith("cannot act: there is no folder")
    assert said["script"] == "cannot act: power_off: the shell knows no command no-such-tool"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checked({"mfi": {"driver": "ubntmfi3port"}})[1]["mfi"].startswith("cannot act: the program ssh")


def test_the_status_of_the_outlets_that_are_used(checked: Checked) -> None:
    settings = {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"}
    pdus = {
        "fails": {**settings, "cmd_status": "test %s != 2 && echo on"},
        "unused": {**settings, "cmd_status": "echo on"},
    }
    code, said = checked(pdus, {"a": "fails:1", "b": "fails:2"})
    assert code == 1 and said["fails"].startswith("does not answer: cmd_status exited with 1")
    assert said["unused"] == "not asked: it does not say which outlets it has, and none is used"
    assert checked(pdus, {"a": "fails:1"})[0] == 0


def test_faults_are_told_as_well_and_weigh_more(checked: Checked) -> None:
    with tasmota.Tasmota(1, password=tasmota.PASSWORD) as device:
        code, said = checked({"good": plug(device), "bad": {"driver": "no-such"}})
    assert code == 2 and said["good"].startswith("answers") and "bad" not in said
    with pytest.raises(SystemExit) as ended:
        main(["--online"])
    assert ended.value.code == 2


def test_a_driver_that_does_not_come_back_or_fails(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, words: None
) -> None:
    for_ever = threading.Event()

    class Hanging(PDUDriver):
        models = {"online-hanging": None, "online-failing": None, "online-lacking": None}
        secret = Setting(text, "", "a secret", secret=True)

        def port_status(self, port_number: Any) -> Any:
            if self.settings["driver"] == "online-failing":
                raise RuntimeError(f"oops {self.secret}")
            for_ever.wait()

        def port_interaction(self, command: str, port_number: Any) -> None:
            raise AssertionError

    monkeypatch.setattr(online, "_SECONDS", 3.0)
    pdus = {
        "hangs": {"driver": "online-hanging"},
        "fails": {"driver": "online-failing", "secret": "s3cret!"},
    }
    code, said = checked(pdus, {"a": "hangs:1", "b": "fails:1"})
    for_ever.set()
    assert code == 1
    assert said["hangs"].startswith("does not answer: nothing came back within ")
    assert said["fails"] == "does not answer: RuntimeError: oops ***"


def test_a_device_that_another_process_holds_is_waited_for(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tasmota.Tasmota(1, password=tasmota.PASSWORD) as device:
        assert checked({"good": plug(device)})[0] == 0
        conf = reader.load(str(tmp_path / "pdudaemon.conf"))
        descriptor = lockfile.opened(device_path(conf.pdus["good"], tmp_path / "pdudaemon.locks"))
        assert lockfile.is_free(descriptor)
        lockfile.sign(descriptor)
        sessions = device.sessions
        monkeypatch.setattr(online, "_SECONDS", 0.5)
        code, said = checked({"good": plug(device)})
        assert code == 1 and "busy: " in said["good"] and device.sessions == sessions
        os.close(descriptor)
