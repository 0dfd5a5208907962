# SPDX-License-Identifier: MIT
"""Machines that are asked to shut down before they are switched off: by themselves, hard, or not at all."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine import softoff
from pdudaemon.errors import KeyUsed, NoShutdown, PDUDaemonError, TransientError
from pdudaemon.power import Action, Request, Submission
from tests.devices import redfish
from tests.devices.ipmi import PASSWORD, USER, LanBMC
from tests.peers.ipmi import ipmi_sim
from tests.peers.ssh import sshd
from tests.support.client import client
from tests.support.machines import LONG, Machines, cancelled, record
from tests.support.process import Daemon, eventually
from tests.support.rack import Rack, awaited
from tests.support.watching import Watching

BY_ITSELF = "shut down by itself"


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setattr(softoff, "LOOK_EVERY", 0.05)
    made = Machines(tmp_path, "a", "b")
    yield made
    made.stop()


def plain(reason: str) -> str:
    """Return a reason without the time that it took."""
    return re.sub(r" after \d+ s$", "", reason)


def test_a_machine_that_shuts_down_is_not_switched_off(machines: Machines) -> None:
    machines.heeding.add("a")
    request = machines.ask("off", "a")
    assert awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == "osx"
    found = record(machines, request)
    assert (found["state"], plain(found["reason"])) == ("done", BY_ITSELF)
    assert (found["soft"], found["hard"]) == (LONG, True)
    assert found["switched"] == [{"pdu": "a", "port": "1", "state": "off"}]
    assert machines.dispatcher.events.figures.tries == {("a", "off", "done"): 1}


def test_one_that_does_not_is_switched_off_when_the_time_is_over(machines: Machines) -> None:
    request = machines.ask("off", "a", soft=3)
    assert awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == "osf" and machines.looks["a"] > 1
    assert record(machines, request)["reason"] == "did not shut down within 3 s: switched off hard"


def test_or_is_left_on(machines: Machines) -> None:
    request = machines.ask("off", "a", soft=0.2, hard=False)
    with pytest.raises(TransientError, match=r"did not shut down within 0.2 s: nothing was switched"):
        awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == "os"
    found = record(machines, request)
    assert (found["state"], found["hard"], found["switched"]) == ("failed", False, [])


def test_the_worker_is_free_between_the_looks_and_the_port_in_order(machines: Machines) -> None:
    request = machines.ask("off", "a")
    machines.asked("a", looks=2)
    assert re.fullmatch(r"asked to shut down: (29\d\d|3000) s are left", record(machines, request)["reason"])
    behind = machines.ask("on", "a", soft=None)
    other = Submission(Action.ON, machines.dispatcher.config.target("a", "2"))
    (free,) = machines.dispatcher.submit([other])
    assert isinstance(free, Request) and awaited(machines.dispatcher, free, 30)
    assert machines.state(behind.id) == "queued"
    with pytest.raises(PDUDaemonError, match=r"has been asked to shut down|the device"):
        awaited(machines.dispatcher, request, 0.01)
    eventually(lambda: cancelled(machines, request))
    assert awaited(machines.dispatcher, behind, 30)
    assert machines.seen["a"].replace("x", "") == "osoo"


def test_a_reboot_owes_its_on_before_the_machine_is_asked(machines: Machines) -> None:
    machines.heeding.add("a")
    request = machines.ask("reboot", "a", "b", soft=3)
    assert awaited(machines.dispatcher, request, 30)
    assert (machines.seen["a"], machines.seen["b"]) == ("osxo", "osfo")
    assert all('["a", "1"]' in machines.owed["a"][0] and '["b", "1"]' in machines.owed["b"][0] for _ in "1")
    reason = map(plain, record(machines, request)["reason"].split("; "))
    assert sorted(reason) == [
        f"a port 1 {BY_ITSELF}",
        "b port 1 did not shut down within 3 s: switched off hard",
    ]


def test_a_reboot_without_hard_off_leaves_alone_what_is_on(machines: Machines) -> None:
    request = machines.ask("reboot", "a", soft=0.2, hard=False)
    with pytest.raises(TransientError, match="nothing was switched"):
        awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == "os" and record(machines, request)["owed"] == []


def test_a_reboot_switches_on_what_may_have_gone_off(machines: Machines) -> None:
    machines.blind.add("a")
    request = machines.ask("reboot", "a", soft=0.2, hard=False)
    with pytest.raises(TransientError, match=r"did not shut down within 0.2 s, and its state cannot be read: .*answer"):
        awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == "oso"


@pytest.mark.parametrize("another_boot", [False, True])
@pytest.mark.parametrize("action", ["off", "reboot"])
def test_what_is_left_of_the_time_is_waited_for_after_a_crash(
    machines: Machines, action: str, another_boot: bool
) -> None:
    request = machines.ask(action, "a")
    machines.asked("a")
    machines.stop()
    if another_boot:
        machines.clock.boot = "second"
        machines.clock.uptime_off -= 100_000.0
    machines.start()
    before = machines.looks["a"]
    eventually(lambda: machines.looks["a"] > before + 1)
    assert machines.seen["a"] == "os" and machines.state(request.id) in ("waiting", "running")
    machines.clock.pass_by(LONG / 2)
    machines.restart()
    machines.heeding.add("a")
    eventually(lambda: machines.state(request.id) == "done")
    assert machines.seen["a"] == {"off": "osx", "reboot": "osxo"}[action]
    assert re.fullmatch(rf"{BY_ITSELF} after 1[5-9]\d\d s", record(machines, request)["reason"])  # half of it at least


@pytest.mark.parametrize("another_boot", [False, True])
def test_time_that_is_over_by_then_is_over(machines: Machines, another_boot: bool) -> None:
    request = machines.ask("off", "a")
    machines.asked("a")
    machines.stop()
    machines.clock.pass_by(LONG + 10)
    if another_boot:
        machines.clock.boot = "second"
        machines.clock.uptime_off -= 100_000.0
    machines.start()
    eventually(lambda: machines.state(request.id) == "done")
    assert machines.seen["a"] == "osf"
    assert record(machines, request)["reason"] == f"did not shut down within {LONG:g} s: switched off hard"


def test_a_request_that_still_waits_does_not_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softoff, "LOOK_EVERY", 0.05)
    machines = Machines(tmp_path, "a", resume_age=1)
    machines.hold("a")
    request = machines.ask("reboot", "a")
    machines.clock.pass_by(LONG)  # in the queue
    machines.let_go("a")
    machines.asked("a")
    machines.stop()
    machines.clock.pass_by(LONG / 2)
    machines.start()
    before = machines.looks["a"]
    eventually(lambda: machines.looks["a"] > before)
    assert machines.seen["a"] == "oos"
    machines.heeding.add("a")
    eventually(lambda: machines.state(request.id) == "done")
    assert machines.seen["a"] == "oosxo"
    machines.stop()


def test_who_refuses_to_ask_is_looked_at_once_and_switched_off(machines: Machines) -> None:
    machines.refusing.add(("a", "shutdown"))
    request = machines.ask("off", "a")
    assert awaited(machines.dispatcher, request, 30)
    assert (machines.seen["a"], machines.looks["a"]) == ("of", 2)
    reason = "could not be asked to shut down (a: it does not know how): switched off hard"
    assert record(machines, request)["reason"] == reason


@pytest.mark.parametrize("action", ["off", "reboot"])
def test_what_is_off_already_is_not_asked(machines: Machines, action: str) -> None:
    machines.seen["a"] = "f"
    request = machines.ask(action, "a")
    assert awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == {"off": "f", "reboot": "fo"}[action]
    assert record(machines, request)["reason"] == "was off already"


def test_who_did_not_answer_may_have_heard(machines: Machines) -> None:
    machines.refusing.add(("a", "hear"))
    request = machines.ask("reboot", "a")
    eventually(lambda: machines.looks["a"] > 2)
    assert machines.seen["a"] == "o"
    machines.seen["a"] += "x"
    assert awaited(machines.dispatcher, request, 30)
    assert machines.seen["a"] == "oxo"
    assert record(machines, request)["reason"] == "is off, though it could not be asked to shut down: a: no answer"


def test_what_cannot_be_done_softly_is_refused(machines: Machines, tmp_path: Path) -> None:
    with pytest.raises(NoShutdown, match="is for off and reboot, not for on"):
        machines.ask("on", "a")
    (tmp_path / "other").mkdir()
    rack = Rack(tmp_path / "other", {"hard": {}})
    (refused,) = rack.dispatcher.submit([Submission(Action.OFF, rack.target("hard"), soft=5.0)])
    assert isinstance(refused, NoShutdown) and "hard port 1 cannot be asked to shut down" in str(refused)
    assert rack.seen["hard"] == "" and rack.dispatcher.records(10) == []
    rack.stop()


def test_a_key_is_that_of_one_way_to_do_it(machines: Machines) -> None:
    machines.heeding.add("a")
    request = machines.ask("off", "a", key="k")
    assert machines.ask("off", "a", key="k").id == request.id
    with pytest.raises(KeyUsed):
        machines.ask("off", "a", soft=None, key="k")
    with pytest.raises(KeyUsed):
        machines.ask("off", "a", hard=False, key="k")


# Real BMCs, and one that stands in for them


def asked_by_http(lab: Daemon, **fields: Any) -> dict[str, Any]:
    """Ask for something with the PDU ``bmc``; return the answer."""
    body = json.dumps({"hostname": "bmc", "port": 1, **fields})
    answer: dict[str, Any] = lab.http("/api/v1/requests", "POST", body, Content_Type="application/json").json
    return answer


def orders(asked: list[str]) -> list[str]:
    """Return what a BMC was told, which it is again if it is slow to answer."""
    return [each for each, _ in itertools.groupby(asked) if each.startswith("set")]


def test_a_real_bmc_passes_it_on_to_its_machine(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    with ipmi_sim(tmp_path / "bmc", "admin", "secret-pass") as bmc:
        settings = {"driver": "ipmi", "ip": "127.0.0.1", "port": bmc.port, "username": "admin"}
        lab = daemon({"bmc": {**settings, "password": "secret-pass"}})
        bmc.flip("on")
        answer = asked_by_http(lab, action="off", soft=0.5)
        assert answer["reason"] == "did not shut down within 0.5 s: switched off hard" and bmc.power == "off"
        asked = (bmc.folder / "asked").read_text().splitlines()
        assert orders(asked) == ["set shutdown 1", "set power 0"]
        bmc.flip("on")
        (bmc.folder / "polite").touch()
        answer = asked_by_http(lab, action="reboot", soft=60, delay=0.1)
        assert (answer["state"], plain(answer["reason"]), bmc.power) == ("done", BY_ITSELF, "on")
        asked = (bmc.folder / "asked").read_text().splitlines()
        assert orders(asked)[2:] == ["set shutdown 1", "set power 1"]


@pytest.mark.long
@pytest.mark.parametrize("heeds", [True, False])
def test_machines_with_redfish_and_all_who_are_told(daemon: Callable[..., Daemon], heeds: bool) -> None:
    """Events, records, answers in OpenFlight's way and in ours, the client and its history tell which of both it was."""
    with redfish.BMC() as bmc:
        bmc.outlets["1"] = "on"
        bmc.heeds, bmc.lag = heeds, 2
        settings = {"driver": "redfish", "ip": f"127.0.0.1:{bmc.port}", "protocol": "http"}
        login = {"username": redfish.USER, "password": redfish.PASSWORD}
        lab = daemon({"bmc": {**settings, **login}}, nodes={"n1": {"hostname": "bmc", "port": 1}})
        seconds = 60 if heeds else 2
        with Watching(lab) as events:
            (entry,) = lab.http(f"/?nodes=n1&soft={seconds}", "DELETE").json["data"]
            waiting, ended = events.until("waiting"), events.until("ended")
        told = BY_ITSELF if heeds else "did not shut down within 2 s: switched off hard"
        assert bmc.outlets["1"] == "off"
        assert bmc.resets == (["GracefulShutdown"] if heeds else ["GracefulShutdown", "ForceOff"])
        assert waiting["action"] == "off" and seconds - 1 <= waiting["due"] - waiting["time"] <= seconds
        assert re.fullmatch(r"asked to shut down: \d+ s are left", waiting["reason"])
        assert (ended["state"], plain(ended["reason"]), ended["error"]) == ("done", told, None)
        assert entry["attributes"]["success"] and plain(entry["attributes"]["reason"]) == told
        record = lab.http(f"/api/v1/requests/{ended['request']}").json
        assert (plain(record["reason"]), record["due"], record["soft"]) == (told, None, seconds)
        url = f"--url=http://127.0.0.1:{lab.port}"
        assert told in client("history", url).out
        bmc.outlets["1"] = "on"
        ran = client("restart", "n1", "--soft", str(seconds), url)
        assert (ran.code, bmc.outlets["1"]) == (0, "on") and f"n1: {told}" in ran.err


@pytest.mark.long
def test_a_machine_that_is_asked_by_ssh(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    power, told = tmp_path / "power", tmp_path / "told"
    with sshd(tmp_path / "sshd") as machine:
        options = f"-i {machine.key} -p {machine.port} -o BatchMode=yes -o StrictHostKeyChecking=no"
        ask = f"ssh {options} -o UserKnownHostsFile={tmp_path}/known {machine.user}@127.0.0.1"
        scripts = {
            "power_on": f"echo on >>{told}; echo on >{power}",
            "power_off": f"echo off >>{told}; echo off >{power}",
            "power_soft": f"{ask} 'echo soft >>{told}; [ -e {tmp_path}/stubborn ] || echo off >{power}'",
            "status": f"grep -q on {power} || exit 111",
        }
        lab = daemon({"bmc": {"driver": "platform", **scripts}})
        power.write_text("on\n")
        assert plain(asked_by_http(lab, action="off", soft=60)["reason"]) == BY_ITSELF
        assert told.read_text().split() == ["soft"] and power.read_text() == "off\n"
        power.write_text("on\n")
        (tmp_path / "stubborn").touch()
        answer = asked_by_http(lab, action="reboot", soft=2, delay=0.1)
        assert answer["reason"] == "did not shut down within 2 s: switched off hard"
        assert told.read_text().split() == ["soft", "soft", "off", "on"]


def controls(bmc: LanBMC) -> list[bytes]:
    """Return what a BMC was told to do, which it is again if it is slow to answer."""
    every = [(which, data) for *which, data in bmc.asked]
    return [data for (which, data), _ in itertools.groupby(every) if which == [0, 2]]


def test_a_daemon_that_is_killed_in_the_wait_switches_on_what_has_gone_off(daemon: Callable[..., Daemon]) -> None:
    with LanBMC() as bmc:
        bmc.outlets["1"], bmc.lag = "on", 1_000_000
        lab = daemon(
            {"bmc": {"driver": "ipmi", "ip": "127.0.0.1", "port": bmc.port, "username": USER, "password": PASSWORD}}
        )
        assert asked_by_http(lab, action="reboot", soft=600, delay=0.1, wait=0)["soft"] == 600
        eventually(lambda: controls(bmc) == [b"\x05"])
        eventually(lambda: str(lab.http("/api/v1/requests/1").json["reason"]).startswith("asked to shut down: "))
        lab.kill()
        looks = len([which for *which, _ in bmc.asked if which == [0, 1]])
        lab.start()
        eventually(lambda: len([which for *which, _ in bmc.asked if which == [0, 1]]) > looks)
        assert lab.http("/api/v1/requests/1").json["owed"] == [{"pdu": "bmc", "port": "1"}]
        bmc.lag = 0
        eventually(lambda: lab.http("/api/v1/requests/1").json["state"] == "done")
        assert controls(bmc) == [b"\x05", b"\x01"]
        assert bmc.outlets["1"] == "on"
