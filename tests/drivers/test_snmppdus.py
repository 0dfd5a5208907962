# SPDX-License-Identifier: MIT
"""CyberPower's PDUs and the IP Power 9258: messages of net-snmp against driver and fake, and net-snmp's agent."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import cyberpower, ip9258
from tests.devices.base import snmp as fake
from tests.devices.base.scripted import conversation
from tests.peers import snmp as peers
from tests.support.action import begun
from tests.support.ports import free_ports
from tests.support.snmpmessage import numbered, request_of

TABLES = {**cyberpower.TABLES, **ip9258.TABLES}
NAMES = [*TABLES]
SAMPLES = [("cyberpower81001", "cyberpower_off_2", "off"), ("ip9258", "ip9258_on_2", "on")]

CYBERPOWER = """\
outlet_of() {
    case $1 in
    get.1.3.6.1.4.1.3808.1.1.3.3.5.1.1.4.* | ?et.1.3.6.1.4.1.3808.1.1.3.3.3.1.1.4.*) echo "${1##*.}" ;;
    esac
}
values=12
"""
AVIOSYS = """\
outlet_of() {
    case $1 in
    ?et.1.3.6.1.4.1.92.58.2.*.0) outlet=${1%.0}; echo "${outlet##*.}" ;;
    esac
}
values=01
"""
PASS_PERSIST = """\
cd "$(dirname "$0")"
while read -r command; do
    case $command in
    PING) echo PONG ;;
    get | getnext)
        read -r object
        file=$(outlet_of "$command$object")
        if [ -n "$file" ] && [ -e "$file" ]; then printf '%s\\ninteger\\n%s\\n' "$object" "$(cat "$file")"
        else echo NONE; fi
        ;;
    set)
        read -r object
        read -r _ value
        file=$(outlet_of "$command$object")
        if [ -z "$file" ] || [ ! -e "$file" ]; then echo not-writable
        elif [ "${values#*"$value"}" = "$values" ]; then echo wrong-value
        else
            echo "$value" >"$file"
            echo DONE
        fi
        ;;
    esac
done
"""
DEVICES = {  # driver -> base, what tells the outlet of an object, community, an object to ask for
    "cyberpower81001": ("1.3.6.1.4.1.3808", CYBERPOWER, "private", cyberpower.STATE.format(n=1)),
    "ip9258": ("1.3.6.1.4.1.92", AVIOSYS, "public", "1.3.6.1.4.1.92.58.2.1.0"),
}


def driver(name: str, port: int, seconds: float = 120, **settings: Any) -> SNMPDriver:
    whole = {"driver": name, "snmpport": port, "snmptimeout": "20.0", **settings}
    made = strategies.find(name)("127.0.0.1", whole)
    assert isinstance(made, SNMPDriver)
    assert made.faults(whole) == {}
    return begun(made, seconds)


def messages(name: str) -> list[tuple[bytes, bytes]]:
    return [(bytes.fromhex(asked), bytes.fromhex(said)) for asked, said in conversation(name)]


@pytest.mark.parametrize(("name", "data", "action"), SAMPLES)
def test_the_conversation_against_the_driver(name: str, data: str, action: str) -> None:
    sample, heard = messages(data), []

    def answer(agent: socket.socket) -> None:
        for _, said in sample:
            question, sender = agent.recvfrom(65535)
            while heard and request_of(question) == request_of(heard[-1]):  # sent again, since the answer was late
                question, sender = agent.recvfrom(65535)
            heard.append(question)
            agent.sendto(numbered(said, request_of(question)), sender)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(30)
        thread = threading.Thread(target=answer, args=(agent,), daemon=True)
        thread.start()
        driver(name, agent.getsockname()[1]).handle(action, 2)
        thread.join(5)
    assert heard == [numbered(asked, request_of(data)) for (asked, _), data in zip(sample, heard, strict=True)]


@pytest.mark.parametrize(("name", "data", "action"), SAMPLES)
def test_the_conversation_against_the_fake(name: str, data: str, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "COMMUNITY", "public" if name == "ip9258" else "private")
    with (
        fake.Agent(again=True, table=TABLES[name]) as agent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
    ):
        asking.settimeout(30)
        agent.outlets["2"] = "on" if action == "off" else "off"
        for asked, said in messages(data):
            asking.sendto(asked, ("127.0.0.1", agent.port))
            assert asking.recv(65535) == said
        assert agent.outlets["2"] == action


@pytest.mark.parametrize("name", NAMES)
def test_each_outlet_by_version_1(name: str) -> None:
    with fake.Agent(again=True, table=TABLES[name]) as agent:
        for port in [*range(1, 9), "3"]:
            driver(name, agent.port, community=fake.COMMUNITY).handle("on", port)
            assert [n for n, state in agent.outlets.items() if state == "on"] == [str(port)]
            driver(name, agent.port, community=fake.COMMUNITY).handle("off", port)
        assert {*agent.versions} == {0}
        agent.outlets["8"] = "on"
        assert driver(name, agent.port, community=fake.COMMUNITY).handle("status", 8) is State.ON


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_lags(name: str) -> None:
    with fake.Agent(again=True, table=TABLES[name], lag=2) as agent:
        driver(name, agent.port, community=fake.COMMUNITY).handle("on", 5)
        assert agent.outlets["5"] == "on"
    with (
        fake.Agent(again=True, table=TABLES[name], lag=100) as agent,
        pytest.raises(TransientError, match=r"^port 5 is still off after on$"),
    ):
        driver(name, agent.port, 0.5, community=fake.COMMUNITY).handle("on", 5)


@pytest.mark.parametrize("name", NAMES)
def test_silence_to_a_wrong_community(name: str) -> None:
    with (
        fake.Agent(again=True, table=TABLES[name]) as agent,
        pytest.raises(DeviceTimeout, match=r"a wrong community is not answered either"),
    ):
        driver(name, agent.port, 0.3, community="sesame").handle("on", 5)
    assert agent.outlets["5"] == "off"


@contextmanager
def net_snmp(name: str, folder: Path) -> Iterator[int]:
    """Run net-snmp's agent with eight outlets, all off, in files of the folder; yield its UDP port."""
    program = shutil.which("snmpd", path="/usr/sbin:/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("snmpd is not installed")
    base, script, community, first = DEVICES[name]
    (folder / "script").write_text(script + PASS_PERSIST)
    for outlet in range(1, 9):
        (folder / str(outlet)).write_text("0" if name == "ip9258" else "2")
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    (folder / "snmpd.conf").write_text(
        f"agentAddress udp:127.0.0.1:{port}\n"
        f"rwcommunity {community} 127.0.0.1\n"
        "rocommunity reader 127.0.0.1\n"
        f"pass_persist .{base} /bin/sh {folder}/script\n"
    )
    environment = {"SNMP_PERSISTENT_DIR": str(folder / "kept"), "SNMPCONFPATH": str(folder), "MIBS": ""}
    command = [program, "-f", "-Lf", str(folder / "log"), "-C", "-c", str(folder / "snmpd.conf"), "-I", "-smux"]
    with peers._running(command, {"PATH": "/usr/bin:/bin", **environment}, folder, port, community, first):
        yield port


@pytest.mark.parametrize("name", DEVICES)
def test_with_the_agent_of_net_snmp(name: str, tmp_path: Path) -> None:
    off = "0" if name == "ip9258" else "2"
    with net_snmp(name, tmp_path) as port:
        driver(name, port).handle("on", 3)
        assert (tmp_path / "3").read_text().strip() == "1"
        assert driver(name, port).handle("status", 3) is State.ON
        (tmp_path / "3").write_text(off)
        assert driver(name, port).handle("status", 3) is State.OFF
        driver(name, port).handle("on", 8)
        driver(name, port).handle("off", 8)
        assert (tmp_path / "8").read_text().strip() == off
        assert driver(name, port, community="reader").handle("status", 8) is State.OFF
        refusals: list[Callable[[], object]] = [lambda: driver(name, port, community="reader").handle("on", 8)]
        (tmp_path / "7").unlink()
        refusals += [lambda: driver(name, port).handle("on", 7), lambda: driver(name, port).handle("status", 7)]
        for refused in refusals:
            with pytest.raises(PermanentError, match=rf"^127.0.0.1:{port} refused (SET|GET) .*: noSuchName$"):
                refused()


def test_old_configurations() -> None:
    for name, community in (("cyberpower81001", "private"), ("cyberpower41001", "private"), ("ip9258", "public")):
        login = driver(name, 161).login()
        assert (login.name, login.version) == (community, "1")
