# SPDX-License-Identifier: MIT
"""The platforms that are shipped, each with the peer that it is made for; what became of an order is seen there.

What wants packages of its own, aws and Redfish, is in `tests.peers_slow.test_clouds` as well, with real servers. For
``az`` there is none to be had: a stand-in takes exactly the arguments that the real program was seen to take.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from pdudaemon.config import reader
from tests.devices.base.web import Answer, Request, WebDevice
from tests.peers.ipmi import BMC, CIPHER, ipmi_sim
from tests.peers.libvirt import DOMAIN, libvirtd
from tests.peers.shipped import SHIPPED, VERBS, Cluster
from tests.peers.ssh import sshd
from tests.support.ports import free_ports
from tests.support.process import Daemon, eventually, in_parallel

Make = Callable[..., Daemon]


def programs(folder: Path, **texts: str) -> dict[str, str]:
    """Write shell scripts into a folder; return the environment in which they are found first."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def watched(folder: Path, program: str) -> dict[str, str]:
    """Put a program in front of another of its name, that writes down the arguments; return the environment for it.

    Some programs hide a password that they find among their arguments: others may have read it by then.
    """
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    note = f"""printf '%s\\n' "{program} $*" >> {folder}/arguments"""
    return programs(folder / "bin", **{program: f'{note}\nexec {shutil.which(program)} "$@"\n'})


def command_lines() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


# -- the file itself


def test_the_shipped_topology_has_no_faults() -> None:
    found = reader.load("", {"topology": str(SHIPPED)})
    assert found.faults == ()
    assert found.warnings == ()
    assert [*found.nodes] == [f"node0{number}" for number in range(1, 10)]
    assert found.groups["all"] == tuple(f"node0{number}" for number in (1, 2, 3, 4, 6, 7, 8, 9, 5))
    assert [pdu.settings.get("platform") for pdu in found.pdus.values()] == [
        *("aws", "azure", "ipmi", "redfish", "libvirt", "wol", "ssh", None, None)
    ]
    assert [found.pdus[f"node0{number}"].driver_name for number in (8, 9)] == ["ipmi", "redfish"]
    assert found.pdus["node08"].settings["ip"] == "node08-bmc" and found.pdus["node09"].settings["ip"] == "192.0.2.109"


def scripts() -> Iterator[tuple[str, str, set[str]]]:
    """Yield for each script that is shipped the name, the text, and the variables that it is given."""
    for name, platform in yaml.safe_load(SHIPPED.read_text())["platforms"].items():
        for command in ("power_on", "power_off", "restart", "status"):
            if command in platform:
                yield f"{name}-{command}", platform[command], {*platform["variables"]}


def test_scripts_use_the_variables_that_they_are_given() -> None:
    used: dict[str, set[str]] = {}
    given: dict[str, set[str]] = {}
    for name, text, variables in scripts():
        assigned = {*re.findall(r"(?m)^\s*(\w+)=", text)}
        found = {*re.findall(r"\$\{?([a-z]\w*)", re.sub(r"'read -r outlet && [^']*'", "", text))} - assigned
        assert found <= variables, name
        used.setdefault(name.partition("-")[0], set()).update(found)
        given[name.partition("-")[0]] = variables
    assert used == given


def test_scripts_are_for_any_shell_and_quote_everything(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    for name, text, _ in scripts():
        (tmp_path / name).write_text(text)
    unassigned = "SC2154"  # they are given by the environment
    command = ["shellcheck", "--shell=sh", "--enable=quote-safe-variables", f"--exclude={unassigned}"]
    found = subprocess.run([*command, *sorted(tmp_path.iterdir())], capture_output=True, text=True)
    assert found.stdout == ""


# -- IPMI, against ipmi_sim


def ipmi(bmc: BMC, password: str) -> dict[str, object]:
    """Return a node."""
    place = {"platform": "ipmi", "bmc": "127.0.0.1", "ipmi_port": bmc.port, "ipmi_cipher": CIPHER}
    return {**place, "ipmi_username": "admin", "ipmi_password": password}


def test_ipmi_with_a_password_for_each_node(daemon: Make, tmp_path: Path) -> None:
    with ipmi_sim(tmp_path / "a", "admin", "first-pass") as a, ipmi_sim(tmp_path / "b", "admin", "other$(id)'s") as b:
        nodes = {"a": ipmi(a, "first-pass"), "b": ipmi(b, "other$(id)'s"), "c": ipmi(b, "first-pass")}
        cluster = Cluster(daemon, nodes)
        assert (cluster.state("a"), cluster.state("b")) == ("off", "off")
        for name, bmc, other in (("a", a, b), ("b", b, a)):
            assert [cluster.switch("on", name) for _ in range(2)] == [None, None]
            assert (bmc.power, other.power) == ("on", "off") and cluster.state(name) == "on"
            assert cluster.switch("restart", name) is None
            assert (bmc.power, bmc.resets, other.resets) == ("on", 1, 0 if name == "a" else 1)
            assert [cluster.switch("off", name) for _ in range(2)] == [None, None]
            assert bmc.power == "off" and cluster.state(name) == "off"
            assert cluster.switch("restart", name) is None
            assert (bmc.power, bmc.resets) == ("on", 1) and cluster.state(name) == "on"
            assert cluster.switch("off", name) is None and bmc.power == "off"
        b.flip("on")
        assert cluster.state("b") == "on"

        refused = "ended with exit status 1: Error: Unable to establish IPMI v2 / RMCP+ session"
        assert cluster.switch("off", "c") == f"power_off {refused}" and b.power == "on"
        assert cluster.switch("restart", "c") == f"restart {refused}" and b.resets == 1
        assert cluster.state("c") == f"status {refused}"
        (tmp_path / "b" / "ill").touch()
        assert "Get Chassis Power Status failed" in cluster.state("b")
        assert "Get Chassis Power Status failed" in str(cluster.switch("restart", "b"))
        assert not re.search(r"first-pass|other\$", cluster.daemon.log_text())


def test_ipmi_asks_a_machine_to_shut_down(daemon: Make, tmp_path: Path) -> None:
    with ipmi_sim(tmp_path / "a", "admin", "first-pass") as bmc:
        cluster = Cluster(daemon, {"a": ipmi(bmc, "first-pass")})
        bmc.flip("on")
        (bmc.folder / "polite").touch()
        assert str(cluster.softly("off", "a", 60)).startswith("shut down by itself after ") and bmc.power == "off"
        bmc.flip("on")
        (bmc.folder / "polite").unlink()
        assert cluster.softly("off", "a", 0.5) == "did not shut down within 0.5 s: switched off hard"
        assert bmc.power == "off"


def test_a_bmc_by_the_daemon_itself(daemon: Make, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("first-pass\n")
    with ipmi_sim(tmp_path / "a", "admin", "first-pass") as bmc:
        node = {"platform": "bmc", "ip": "127.0.0.1", "port": bmc.port}
        secret = {"file": str(tmp_path / "secret")}
        cluster = Cluster(daemon, {"a": {**node, "password": secret}, "b": {**node, "password": "other-pass"}})
        assert cluster.state("a") == "off"
        assert [cluster.switch("on", "a") for _ in range(2)] == [None, None] and cluster.state("a") == "on"
        assert cluster.switch("restart", "a") is None and bmc.power == "on"
        assert cluster.switch("off", "a") is None and bmc.power == "off"
        assert cluster.switch("restart", "a") is None and bmc.power == "on"
        assert "login refused by" in str(cluster.switch("off", "b")) and bmc.power == "on"
        assert not re.search(r"first-pass|other-pass", cluster.daemon.log_text())


def test_ipmi_by_the_name_of_the_node_and_the_password_of_all(daemon: Make, tmp_path: Path) -> None:
    """As OpenFlight's own platform has it: the BMC at NAME-bmc, one password in the daemon's environment."""
    said = programs(tmp_path / "bin", ipmitool=f'echo "$IPMI_PASSWORD: $*" > {tmp_path}/said; echo Chassis Power is on')
    cluster = Cluster(
        daemon, {"node03": {"platform": "ipmi", "ipmi_username": "me"}}, {**said, "IPMI_PASSWORD": "for all"}
    )
    assert cluster.state("node03") == "on"
    assert (tmp_path / "said").read_text() == "for all: -I lanplus -H node03-bmc -U me -E chassis power status\n"


def test_ipmi_shows_no_password_to_other_users(daemon: Make, tmp_path: Path) -> None:
    with ipmi_sim(tmp_path / "a", "admin", "first-pass") as bmc:
        cluster = Cluster(daemon, {"a": ipmi(bmc, "first-pass")}, watched(tmp_path, "ipmitool"))
        for command in VERBS:
            with bmc.held():
                asking = threading.Thread(target=cluster.ask, args=(command, "a"), daemon=True)
                asking.start()
                seen = eventually(lambda: [line for line in command_lines() if f"-p {bmc.port}" in line])
                assert all("ipmitool" in line for line in seen)
                assert not [line for line in command_lines() if "first-pass" in line and "ipmi_sim" not in line]
            asking.join(10)
        assert bmc.power == "on"  # by the restart
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.count("chassis power") == len(VERBS) + 1 and "first-pass" not in arguments


# -- libvirt, against its test driver


def test_libvirt(daemon: Make, tmp_path: Path) -> None:
    with libvirtd(tmp_path / "lv") as hypervisor:
        here = {"platform": "libvirt", "libvirt_uri": hypervisor.uri}
        nodes = {DOMAIN: here, "gateway": {**here, "domain": DOMAIN}, "lost": here}
        cluster = Cluster(daemon, nodes)
        assert (cluster.state(DOMAIN), cluster.state("gateway")) == ("on", "on")
        assert [cluster.switch("off", "gateway") for _ in range(2)] == [None, None]
        assert hypervisor.state == "shut off" and cluster.state(DOMAIN) == "off"
        assert cluster.switch("restart", DOMAIN) is None and hypervisor.state == "running"
        assert cluster.switch("off", "gateway") is None and hypervisor.state == "shut off"
        assert [cluster.switch("on", DOMAIN) for _ in range(2)] == [None, None]
        assert hypervisor.state == "running" and cluster.switch("restart", DOMAIN) is None
        assert (
            str(cluster.softly("off", DOMAIN, 60)).startswith("shut down by itself after ")
            and hypervisor.state == "shut off"
        )
        assert cluster.softly("off", DOMAIN, 60) == "was off already"
        assert cluster.switch("on", DOMAIN) is None
        hypervisor.virsh("suspend", DOMAIN)
        assert cluster.state(DOMAIN) == "on" and "already active" in str(cluster.switch("on", DOMAIN))
        assert cluster.switch("restart", DOMAIN) is None and hypervisor.state == "running"
        for command in ("on", "off", "restart"):
            assert "failed to get domain 'lost'" in str(cluster.switch(command, "lost"))
        assert "failed to get domain 'lost'" in cluster.state("lost")


# -- ssh, against sshd


def ssh_config(folder: Path, port: int, user: str) -> Path:
    """Write what ssh should know to get to our sshd; the host's key is known if there is a file `known`."""
    lines = [f"HostName 127.0.0.1\nPort {port}\nUser {user}\nIdentityFile {folder}/key\nIdentitiesOnly yes"]
    lines.append(f"UserKnownHostsFile {folder}/known\nGlobalKnownHostsFile /dev/null\nHostKeyAlias relays")
    (folder / "ssh_config").write_text("\n".join([*lines, ""]))
    return folder / "ssh_config"


# What a host with relays does with `relay on 7`.
_RELAY = """
case $1 in
  on | off) echo "$1" > "$OUTLETS/$2" ;;
  status) cat "$OUTLETS/$2" || { echo "there is no outlet $2" >&2; exit 111; } ;;
esac
"""


def test_ssh(daemon: Make, tmp_path: Path) -> None:
    place = programs(tmp_path / "bin", relay=_RELAY)["PATH"]
    (tmp_path / "outlets").mkdir()
    with sshd(tmp_path, f'SetEnv HOME={tmp_path} PATH="{place}" OUTLETS={tmp_path}/outlets') as server:
        host = {
            "platform": "ssh",
            "ssh_target": "relays",
            "ssh_config": str(ssh_config(tmp_path, server.port, server.user)),
        }
        odd = "x; echo $(id) 'y"
        nodes = {"a": {**host, "outlet": 7}, "b": {**host, "outlet": odd}}
        cluster = Cluster(daemon, nodes)
        assert "Host key verification failed" in str(cluster.switch("on", "a"))
        (tmp_path / "known").write_text(f"relays {(tmp_path / 'host.pub').read_text()}")
        told = cluster.state("a")
        assert told.startswith("status ended with exit status 1: ")  # over there it is 111
        assert told.endswith("there is no outlet 7")
        for state in ("on", "off"):
            assert in_parallel([partial(cluster.switch, state, name) for name in nodes]) == [None, None]
            kept = {path.name: path.read_text() for path in (tmp_path / "outlets").iterdir()}
            assert kept == {"7": f"{state}\n", odd: f"{state}\n"}
            assert in_parallel([partial(cluster.state, name) for name in nodes]) == [state, state]
        (tmp_path / "outlets" / "7").write_text("burning\n")
        assert cluster.state("a").endswith("relays says: burning")


# -- Wake-on-LAN, with ssh and ping


MAC = "00:00:5E:00:53:06"


def test_wake_on_lan(daemon: Make, tmp_path: Path) -> None:
    if shutil.which("wakeonlan") is None or shutil.which("ping") is None:
        pytest.skip("wakeonlan or ping is not installed (Debian: wakeonlan, iputils-ping)")
    awake = tmp_path / "awake"
    forced = programs(tmp_path / "over-there", forced=f'echo "$SSH_ORIGINAL_COMMAND" >> {tmp_path}/told; rm {awake}\n')
    # Every address of the loopback answers a ping; a machine that is off is pretended.
    ping = programs(tmp_path / "bin", ping=f'[ -e {awake} ] || exit 1\nexec {shutil.which("ping")} "$@"\n')
    with (
        sshd(tmp_path, f"ForceCommand {forced['PATH'].partition(':')[0]}/forced") as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asleep,
    ):
        (tmp_path / "known").write_text(f"relays {(tmp_path / 'host.pub').read_text()}")
        asleep.bind(("127.0.0.1", 0))
        asleep.settimeout(5)
        node = {"platform": "wol", "mac": MAC, "wol_address": "127.0.0.1", "wol_port": asleep.getsockname()[1]}
        node |= {"host": "127.0.0.1", "ssh_target": "relays"}
        node |= {"ssh_config": str(ssh_config(tmp_path, server.port, server.user))}
        nodes = {"a": node, "odd": {**node, "mac": "one"}, "lost": {**node, "host": "nowhere.invalid"}}
        cluster = Cluster(daemon, nodes, ping)
        assert cluster.state("a") == "off"
        for command in ("on", "restart"):
            assert cluster.switch(command, "a") is None
            assert asleep.recv(2000) == b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
        awake.touch()
        assert cluster.state("a") == "on"
        assert cluster.switch("restart", "a") is None and not awake.exists()
        awake.touch()
        assert cluster.switch("off", "a") is None and cluster.state("a") == "off"
        assert (tmp_path / "told").read_text() == "reboot\npoweroff\n"
        assert "ended with exit status 1" in str(cluster.switch("off", "a"))  # what the command over there ended with
        for command in ("on", "restart"):
            assert str(cluster.switch(command, "odd")).endswith("mac: 'one' is no MAC address")
        awake.touch()
        assert "ping: nowhere.invalid: " in cluster.state("lost")
        assert "ping: nowhere.invalid: " in str(cluster.switch("restart", "lost"))
        asleep.settimeout(0.1)
        with pytest.raises(TimeoutError):
            asleep.recv(2000)


# -- Redfish, against a BMC that is pickier than most


class PickyBMC(WebDevice):
    """Refuses to switch on what is on, as many do, and is in no hurry to answer while ``held``."""

    def __init__(self, login: str) -> None:
        super().__init__(login=login)
        self.power = "Off"
        self.resets = 0
        self.held = threading.Event()
        self.held.set()

    def answer(self, request: Request) -> Answer:
        self.held.wait(10)
        if (request.method, request.target) == ("GET", "/redfish/v1/Systems/1"):
            state = {"PowerState": self.power} if self.power else {}
            return Answer(200, json.dumps({"Id": "1", **state, "Status": {"Health": "OK"}}, indent=2))
        if (request.method, request.target) != ("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"):
            return Answer(404)
        kind = json.loads(request.body)["ResetType"]
        if request.headers["content-type"] != "application/json" or (kind == "On") is (self.power == "On"):
            return Answer(409)
        self.resets += kind == "ForceRestart"
        self.power = "Off" if kind == "ForceOff" else "On"
        return Answer(204)


ODD = "sec\\\\ret \"x\" $(id) & 'y' hush-hush"


def test_redfish(daemon: Make, tmp_path: Path) -> None:
    (gone,) = free_ports()
    with PickyBMC(f"root:{ODD}") as bmc:
        bmc_url = f"http://127.0.0.1:{bmc.port}/redfish/v1/Systems/1"
        node = {"platform": "redfish", "redfish_url": bmc_url, "redfish_username": "root", "redfish_password": ODD}
        nodes = {
            "a": node,
            "stranger": {**node, "redfish_password": "hush-hush"},
            "gone": {**node, "redfish_url": f"http://127.0.0.1:{gone}/"},
        }
        nodes |= {"lost": {**node, "redfish_url": f"{bmc_url}0"}}
        cluster = Cluster(daemon, nodes, watched(tmp_path, "curl"))
        assert cluster.state("a") == "off"
        assert [cluster.switch("on", "a") for _ in range(2)] == [None, None]
        assert bmc.power == "On" and cluster.state("a") == "on"
        assert cluster.switch("restart", "a") is None and bmc.resets == 1
        assert [cluster.switch("off", "a") for _ in range(2)] == [None, None]
        assert bmc.power == "Off" and cluster.state("a") == "off"
        assert cluster.switch("restart", "a") is None
        assert (bmc.power, bmc.resets) == ("On", 1)
        for state, told, transient in (
            ("PoweringOn", "PowerState PoweringOn", 75),
            ("PoweringOff", "PowerState PoweringOff", 75),
            ("", "PowerState is missing", 1),
        ):
            bmc.power = state
            assert cluster.state("a") == f"status ended with exit status 1: the BMC says: {told}"
            assert cluster.switch("restart", "a") == f"restart ended with exit status {transient}: the BMC says: {told}"
        bmc.power = "Off"
        for name, told in (("stranger", "error: 401"), ("lost", "error: 404"), ("gone", "Failed to connect")):
            for command in ("on", "off", "restart"):
                assert told in str(cluster.switch(command, name))
            assert told in cluster.state(name)
        for command in VERBS:
            bmc.held.clear()
            asking = threading.Thread(target=cluster.ask, args=(command, "a"), daemon=True)
            asking.start()
            seen = eventually(lambda: [line for line in command_lines() if "curl" in line and bmc_url in line])
            assert not [line for line in [*seen, *command_lines()] if "hush-hush" in line]
            bmc.held.set()
            asking.join(10)
        assert "hush-hush" not in cluster.daemon.log_text()
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.count("curl --config -") > 20 and "hush-hush" not in arguments


# -- clouds, by stand-ins for their programs: the states that a machine goes through, and what becomes of an error


# The arguments, one a line, against the state of the one machine in a file. Its way of saying no is that of the CLI.
_AZ = """
cd {folder} || exit 1
given=$(printf '%s\\n' "$@")
wanted() {{ [ "$given" = "$(printf '%s\\n' "$@")" ]; }}
machine() {{ wanted vm "$1" --resource-group 'demo power $(id)' --name node02 --no-wait --output none; }}
if machine start; then echo PowerState/running > state
elif machine restart; then grep -qx PowerState/running state && echo restarted >> restarts
elif machine deallocate; then echo PowerState/deallocated > state
elif wanted vm get-instance-view --resource-group 'demo power $(id)' --name node02 \\
  --query "instanceView.statuses[?starts_with(code, 'PowerState/')].code | [0]" --output tsv; then cat state
elif [ "$2" = start ] && [ "$6" = gone ]; then echo 'ERROR: (ResourceNotFound) There is no such machine.' >&2; exit 3
else printf '%s\\n' "$given" >> unexpected; echo 'ERROR: unrecognized arguments' >&2; exit 2
fi
"""


def test_azure(daemon: Make, tmp_path: Path) -> None:
    state = tmp_path / "state"
    node = {"platform": "azure", "resource_group": "demo power $(id)"}
    nodes = {"node02": node, "gateway": {**node, "vm": "node02"}, "gone": node}
    cluster = Cluster(daemon, nodes, programs(tmp_path / "bin", az=_AZ.format(folder=tmp_path)))
    for name in ("node02", "gateway"):
        for command, after in (
            ("off", "deallocated"),
            ("on", "running"),
            ("off", "deallocated"),
            ("restart", "running"),
        ):
            assert cluster.switch(command, name) is None
            assert state.read_text() == f"PowerState/{after}\n" and not (tmp_path / "restarts").exists()
            assert cluster.state(name) == ("on" if after == "running" else "off")
    assert cluster.switch("restart", "node02") is None and (tmp_path / "restarts").exists()
    state.write_text("PowerState/stopped\n")
    assert cluster.state("node02") == "off"
    assert cluster.switch("restart", "node02") is None and state.read_text() == "PowerState/running\n"
    for said, told in (("PowerState/deallocating", "PowerState/deallocating"), ("", "in no state that Azure tells")):
        state.write_text(f"{said}\n")
        assert cluster.state("gateway") == f"status ended with exit status 1: node02 is {told}"
    assert cluster.switch("on", "gone") == (
        "power_on ended with exit status 3: ERROR: (ResourceNotFound) There is no such machine."
    )
    assert not (tmp_path / "unexpected").exists()


_AWS = """
cd {folder} || exit 1
echo "$*" >> asked
case "$2 $*" in
  start-instances*) echo pending > state ;;
  stop-instances*) echo stopping > state ;;
  reboot-instances*) ;;
  describe-instances*"--query Reservations[0].Instances[0].State.Name --output text") cat state ;;
  *) exit 252 ;;
esac
"""


def test_aws_says_what_a_machine_is_about_to_be(daemon: Make, tmp_path: Path) -> None:
    node = {"platform": "aws", "ec2_id": "i-1"}
    stand_in = programs(tmp_path / "bin", aws=_AWS.format(folder=tmp_path))
    cluster = Cluster(daemon, {"a": {**node, "region": "eu-west-1"}, "b": node}, stand_in)
    for command, about_to, then, state in (("off", "stopping", "stopped", "off"), ("on", "pending", "running", "on")):
        assert cluster.switch(command, "a") is None
        assert cluster.state("a") == f"status ended with exit status 1: i-1 is {about_to}"
        (tmp_path / "state").write_text(f"{then}\n")
        assert cluster.state("a") == cluster.state("b") == state
    assert cluster.switch("restart", "a") is None
    assert (tmp_path / "asked").read_text().splitlines()[-1].startswith("ec2 reboot-instances --instance-ids i-1 ")
    for state in ("shutting-down", "terminated", "None"):
        (tmp_path / "state").write_text(f"{state}\n")
        assert cluster.state("b") == f"status ended with exit status 1: i-1 is {state}"
        assert cluster.switch("restart", "b") == f"restart ended with exit status 1: i-1 is {state}"
    first, *_, last = (tmp_path / "asked").read_text().splitlines()
    assert first == "ec2 stop-instances --instance-ids i-1 --region eu-west-1 --output text"
    assert last.startswith("ec2 describe-instances --instance-ids i-1 --query ")


def test_a_restart_waits_until_a_machine_has_stopped(daemon: Make, tmp_path: Path) -> None:
    """As the platform has it, but with less patience: it is put off, and in the end the machine is on."""
    stand_in = programs(tmp_path / "bin", aws=_AWS.format(folder=tmp_path))
    nodes = {"a": {"platform": "aws", "ec2_id": "i-1", "retries": 1000, "retrydelay": 0.1}}
    cluster = Cluster(daemon, nodes, stand_in)
    (tmp_path / "state").write_text("stopping\n")
    (tmp_path / "asked").touch()
    assert cluster.daemon.http("/?nodes=a&wait=0", "PUT").status == 200
    eventually(lambda: (tmp_path / "asked").read_text().count("describe-instances") > 2)
    assert "start-instances" not in (tmp_path / "asked").read_text()
    (tmp_path / "state").write_text("stopped\n")
    eventually(lambda: (tmp_path / "state").read_text() == "pending\n")


# -- all of them


def test_a_program_that_is_not_installed_is_named(daemon: Make, tmp_path: Path) -> None:
    needed = {"aws": "aws", "azure": "az", "ipmi": "ipmitool", "redfish": "curl", "libvirt": "virsh", "ssh": "ssh"}
    (tmp_path / "bin").mkdir()
    for program in ("sed", "tr", "grep", "printf"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    nodes = {name: {"platform": name} for name in needed}
    cluster = Cluster(daemon, nodes, {"PATH": str(tmp_path / "bin")})
    for name, program in needed.items():
        for command in ("on", "off", *(() if name == "ssh" else ("restart",))):
            assert f"{program}: not found" in str(cluster.switch(command, name))
        assert f"{program}: not found" in cluster.state(name)
