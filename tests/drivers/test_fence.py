# SPDX-License-Identifier: MIT
"""Fence agents: three of Debian's with what they drive, and what an agent may say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.fence import Fence
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import fence as fake
from tests.devices import snmprows
from tests.devices.base.device import Mood
from tests.devices.base.program import first_in_path
from tests.devices.base.snmp import COMMUNITY, Agent
from tests.peers.ipmi import ipmi_sim
from tests.peers.snmp import Snmpd
from tests.support.action import begun
from tests.support.process import Daemon


def driver(agent: str = fake.AGENT, seconds: float = 120, **options: Any) -> Fence:
    return begun(Fence("rack", {"driver": "fence", "agent": agent, "options": options}), seconds)


@pytest.fixture
def agents() -> None:
    if shutil.which("fence_dummy", path="/usr/sbin") is None or shutil.which("snmpset") is None:
        pytest.skip("fence agents or net-snmp's programs are not installed (Debian: fence-agents, snmp)")


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "bin").mkdir()
    with first_in_path(tmp_path / "bin"):
        yield tmp_path / "bin"


@pytest.mark.usefixtures("agents")
def test_a_dummy(tmp_path: Path) -> None:
    dummy = driver("fence_dummy", status_file=str(tmp_path / "status"))
    for action, state in (("on", State.ON), ("off", State.OFF)):
        dummy.port_interaction(action, 1)
        assert dummy.port_status(1) is state
        assert dummy.read_outlets() == [OutletReading("1", None, state)]
    assert dummy.identify().model == "fence_dummy: Dummy fence agent"
    with pytest.raises(PermanentError, match="there is no port 2: fence_dummy is for one machine"):
        dummy.port_on(2)
    with pytest.raises(PermanentError, match="has no option 'statusfile'; did you mean 'status_file'"):
        driver("fence_dummy", statusfile="x").port_on(1)


@pytest.mark.usefixtures("agents")
def test_an_agent_with_plugs(net_snmp: Snmpd, daemon: Any) -> None:
    options = {"ip": "127.0.0.1", "ipport": net_snmp.port, "community": "private", "snmp_version": "1"}
    running: Daemon = daemon({"rack": {"driver": "fence", "agent": "fence_apc_snmp", "options": options}})
    for action in ("on", "off"):
        answer = running.power(action, "rack", "3", wait=50)
        assert answer.status == 200, answer.text
        assert net_snmp.outlets["3"] == action
        assert running.power("status", "rack", "3").text.strip() == action
    assert "private" not in running.log_text()


@pytest.mark.usefixtures("agents")
def test_plugs_that_an_agent_lists() -> None:
    """It lists their names, and says of all that their state is unknown: that it has to be asked one by one."""
    with Agent(table=snmprows.facts("apc_masterswitch")) as device:
        device.outlets["2"] = "on"
        options = {"ip": "127.0.0.1", "ipport": device.port, "community": COMMUNITY, "snmp_version": "1"}
        told = driver("fence_apc_snmp", 60, **options).read_outlets()
        assert {each.port: each.state for each in told} == device.outlets
        assert [each.name for each in told][:2] == ["Outlet 1", "Outlet 2"]


@pytest.mark.usefixtures("agents")
def test_an_agent_for_a_bmc(tmp_path: Path, daemon: Any) -> None:
    with ipmi_sim(tmp_path / "bmc", "admin", "well-kept") as bmc:
        options = {"ip": "127.0.0.1", "ipport": bmc.port, "username": "admin", "password": "well-kept"}
        options |= {"lanplus": True, "cipher": 3, "power_wait": 0}
        running: Daemon = daemon({"bmc": {"driver": "fence", "agent": "fence_ipmilan", "options": options}})
        for action in ("on", "off"):
            answer = running.power(action, "bmc", "1", wait=50)
            assert answer.status == 200, answer.text
            assert bmc.power == action == running.power("status", "bmc", "1").text.strip()
        assert "well-kept" not in running.log_text()


def test_what_an_agent_is_told(stand_in: Path) -> None:
    agent = fake.Agent(stand_in)
    driver(ip="192.0.2.1", password=fake.PASSWORD).port_on("vm.3")
    lines = agent.options[agent.options.index("action=on") :]
    assert lines == ["action=on", "ip=192.0.2.1", f"password={fake.PASSWORD}", "plug=vm.3"]
    assert {*agent.calls} == {"call "}  # no arguments


@pytest.mark.parametrize("lists", [("list",), ()])
def test_an_agent_that_tells_less(stand_in: Path, lists: tuple[str, ...]) -> None:
    agent = fake.Agent(stand_in, lists=lists)
    agent.outlets["2"] = "on"
    fence = driver(password=fake.PASSWORD)
    if not lists:
        with pytest.raises(PermanentError, match="does not tell which plugs there are"):
            fence.read_outlets()
        return
    assert [(each.port, each.name, each.state) for each in fence.read_outlets()] == [
        ("1", "Web, front", State.OFF),
        ("2", "Web, back", State.ON),
        ("vm.3", None, State.OFF),
    ]


@pytest.mark.parametrize(
    ("mood", "kind", "why"),
    [
        (Mood.WRONG_PASSWORD, PermanentError, "fence_fake: login refused"),
        (Mood.GONE, TransientError, "fence_fake: Unable to connect/login to fencing device"),
        (Mood.BUSY, DeviceTimeout, "fence_fake: Connection timed out"),
    ],
)
def test_why_an_agent_failed(stand_in: Path, mood: Mood, kind: type[Exception], why: str) -> None:
    agent = fake.Agent(stand_in, mood)
    with pytest.raises(kind) as caught:
        driver(password=fake.PASSWORD).port_on(1)
    assert str(caught.value) == why and agent.outlets["1"] == "off"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"agent": "sh"}, "agent"),
        ({"agent": "fence_../../sh"}, "agent"),
        ({}, "agent"),
        ({"options": {"action": "off"}}, "options"),
        ({"options": {"plug": "1"}}, "options"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], key: str) -> None:
    whole = {"driver": "fence", "agent": "fence_dummy"} | settings if settings else {"driver": "fence"}
    assert key in Fence.faults(whole)


@pytest.mark.parametrize("options", [["x"], {"a b": "x"}, {"password": "a\nplug=2"}, {"ip": {}}])
def test_options_that_cannot_be_told(options: object) -> None:
    with pytest.raises(ValueError):
        Fence.options.kind.convert(options)  # type: ignore[attr-defined]


def test_an_agent_that_is_not_installed() -> None:
    with pytest.raises(PermanentError, match="fence_none, which this PDU needs, is not installed"):
        driver("fence_none").port_on(1)
