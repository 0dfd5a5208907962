# SPDX-License-Identifier: MIT
"""``pdudaemon --import``: what powerman switches is switched by ours as well, and what does not fit is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.cli import main
from pdudaemon.config import powermanfile, reader
from pdudaemon.power import Outlet
from tests.devices.ipmi import PASSWORD, USER, LanBMC
from tests.peers import powerman
from tests.support.ports import free_ports
from tests.support.process import Daemon

Imported = Callable[..., tuple[int, dict[str, Any], list[str]]]


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Imported:
    def run(text: str, *options: str) -> tuple[int, dict[str, Any], list[str]]:
        (tmp_path / "powerman.conf").write_text(text)
        code = main(["--import", str(tmp_path / "powerman.conf"), *options])
        out, err = capsys.readouterr()
        said = [line.removeprefix(f"pdudaemon: {tmp_path}/powerman.conf:") for line in err.splitlines()]
        whole = json.loads(out)
        (tmp_path / "out.conf").write_text(out)
        found = reader.load(str(tmp_path / "out.conf"))
        assert not found.faults and not found.warnings
        return code, whole, said

    return run


def test_powermand_and_ours_switch_the_same_nodes(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    (port,) = free_ports()
    conf, ours = tmp_path / "powerman.conf", tmp_path / "imported.conf"
    conf.write_text(
        f'include "/etc/powerman/vpc.dev"\nlisten "127.0.0.1:{port}"\n'
        'device "v0" "vpc" "/usr/sbin/vpcd |&"\ndevice "v1" "vpc" "/usr/sbin/vpcd |&"\n'
        'node "t[0-3]" "v0"\nnode "u[00-03],w7" "v1" "[4-7],9"\nalias "some" "t[1-2],w7"\n'
    )
    with powerman.served(conf, port):
        assert main(["--import", str(conf), "--output", str(ours)]) == 0
        assert ours.stat().st_mode & 0o777 == 0o600
        assert main(["--check", "--conf", str(ours)]) == 0
        lab = daemon({})
        whole = json.loads(ours.read_text())
        lab.configure({**whole, "daemon": lab.settings["daemon"]})
        lab.stop()
        lab.start()
        wanted = dict.fromkeys(powerman.states(port), "off")
        assert len(wanted) == 9
        for action, method, question, nodes in [
            ("on", "PATCH", "nodes=t[0-1],u02", ["t0", "t1", "u02"]),
            ("off", "DELETE", "nodes=t0", ["t0"]),
            ("on", "PATCH", "groups=some", ["t1", "t2", "w7"]),
        ]:
            answer = lab.http(f"/?{question}", method).json["data"]
            assert [(each["id"], each["attributes"]["success"]) for each in answer] == [(node, True) for node in nodes]
            wanted |= dict.fromkeys(nodes, action)
            assert powerman.states(port) == wanted
        powerman.switch(port, "on", "u[00-01]")
        answer = lab.http("/?nodes=t[0-3],u[00-03],w7").json["data"]
        told = {each["id"]: "on" if each["attributes"]["running"] else "off" for each in answer}
        assert told == {**wanted, "u00": "on", "u01": "on"}
        outlets = lab.http("/api/v1/pdus/v1?fresh=1").json["outlets"]
        assert [each["port"] for each in outlets] == ["u00", "u01", "u02", "u03", "w7"]


def test_bmcs_become_pdus_of_their_own(daemon: Callable[..., Daemon], imported: Imported, tmp_path: Path) -> None:
    (tmp_path / "freeipmi.conf").write_text(f"# ours\nusername   {USER}\npassword {PASSWORD}\ncipher-suite-id 17\n")
    with LanBMC() as bmc:
        code, whole, said = imported(
            'include "/etc/powerman/ipmipower.dev"\n'
            f'device "b" "ipmipower" "/usr/sbin/ipmipower --config-file {tmp_path}/freeipmi.conf -h 127.0.0.1 |&"\n'
            f'node "m[8-9]" "b" "127.0.0.1:{bmc.port},m9-bmc"\n'
        )
        login = {"driver": "ipmi", "username": USER, "password": PASSWORD, "cipher": "17"}
        assert whole["pdus"] == {
            "m8": {**login, "ip": "127.0.0.1", "port": bmc.port},
            "m9": {**login, "ip": "m9-bmc"},
        }
        assert (code, said[:-1]) == (0, []) and said[-1].endswith(" 2 PDUs, 2 nodes, 0 groups; left out: 0")
        assert whole["nodes"] == {"m[8-9]": {"hostname": "m[8-9]", "port": "1"}}
        lab = daemon(whole["pdus"], nodes=whole["nodes"])
        assert lab.http("/?nodes=m8", "PATCH").json["data"][0]["attributes"]["success"]
        assert bmc.outlets["1"] == "on"


@pytest.mark.parametrize(
    ("device", "plugs", "pdu", "settings"),
    [
        ('"apc" "apc" "pdu1:23"', "[1-3]", "pdu1", {"driver": "apc7952"}),
        ('"a" "apc7900" "10.0.0.7:2323"', "[1-3]", "10.0.0.7", {"driver": "apc7900", "telnetport": 2323}),
        ('"s" "sentry_cdu" "cdu:23"', "AA[1-3]", "s", {"driver": "sentry_cli", "ip": "cdu", "transport": "telnet"}),
        ('"w" "wti" "wti:2023"', "[1-3]", "w", {"driver": "wti_cli", "ip": "wti", "transport": "telnet", "port": 2023}),
        ('"b" "baytech-rpc28-nc" "rpc:23"', "[1-3]", "b", {"driver": "baytech_cli", "ip": "rpc", "transport": "telnet"}),
        ('"d" "dli" "/usr/sbin/httppower -u http://dli |&"', "[1-3]", "d", {"driver": "dli_http", "ip": "dli", "protocol": "http"}),
        ('"c" "rancid-cisco-poe" "/usr/bin/sudo /usr/lib/rancid/bin/clogin -t 9 sw |&"', "Gi1/0/[1-3]", "c", {"driver": "cisco_poe", "ip": "sw"}),
        ('"r" "raritan-px5523" "/usr/sbin/snmppower -h px -c x |&"', "[1-3]", "px", {"driver": "raritan_px1", "community": "x"}),
        ('"p" "powerman" "other:10102"', "n[1-3]", "p", {"driver": "powerman", "ip": "other", "port": 10102}),
    ],
)  # fmt: skip
def test_devices_that_our_drivers_are_for(
    imported: Imported, tmp_path: Path, device: str, plugs: str, pdu: str, settings: dict[str, Any]
) -> None:
    code, whole, _ = imported(f'device {device}\nnode "n[1-3]" {device.split()[0]} "{plugs}"\n')
    assert (code, whole["pdus"]) == (0, {pdu: settings})
    third = plugs.replace("[1-3]", "3")
    assert reader.load(str(tmp_path / "out.conf")).node("n3").outlets == (Outlet(pdu, third),)


def test_machines_with_redfish(imported: Imported) -> None:
    code, whole, said = imported(
        'device "r" "redfishpower-supermicro" "/usr/sbin/redfishpower -h bmc[1-2] |&"\nnode "n[1-2]" "r" "bmc[1-2]"\n'
    )
    assert whole["pdus"] == {
        "n1": {"driver": "redfish", "ip": "bmc1"},
        "n2": {"driver": "redfish", "ip": "bmc2"},
    }
    assert code == 0 and [line.partition(": ")[2][:30] for line in said[:-1]] == [
        "r: certificates are checked: g",
        "r: add username and password: ",
    ]


def test_two_nodes_behind_one_bmc_are_one_device(imported: Imported, tmp_path: Path) -> None:
    _, whole, _ = imported(
        'device "a" "redfishpower-cray-windom-node0" "/usr/sbin/redfishpower -h bmc1 |&"\nnode "n0" "a" "bmc1"\n'
        'device "b" "redfishpower-cray-windom-node1" "/usr/sbin/redfishpower -h bmc1 |&"\nnode "n1" "b" "bmc1"\n'
    )
    assert whole["pdus"] == {name: {"driver": "redfish", "ip": "bmc1", "lock": "bmc1"} for name in ("n0", "n1")}
    found = reader.load(str(tmp_path / "out.conf"))
    assert [found.node(name).outlets for name in ("n0", "n1")] == [(Outlet("n0", "Node0"),), (Outlet("n1", "Node1"),)]


WAYS = ('"there:23"', '"/dev/ttyS0" "9600,8n1"', '"/usr/bin/conman -Q -j {kind} |&"')
HELPERS = (
    '"/usr/sbin/ipmipower -h {kind}[1-2] |&"',
    '"/usr/sbin/redfishpower -h {kind}[1-2] |&"',
    '"/usr/sbin/snmppower -h {kind} |&"',
    '"/usr/sbin/httppower -u http://{kind} |&"',
)


@pytest.mark.parametrize("way", [*WAYS, *HELPERS])
def test_devices_of_every_kind_that_powerman_ships_are_taken_over_or_named(imported: Imported, way: str) -> None:
    files = sorted(Path("/etc/powerman").glob("*.dev"))
    kinds = {kind: plugs for file in files for kind, plugs in powermanfile.load(str(file)).plugs.items()}
    assert len(kinds) > 60
    lines = [f'include "{file}"' for file in files]
    count = 0
    for kind, plugs in kinds.items():
        count += len(plugs) or 2
        lines.append(f'device "{kind}-device" "{kind}" {way.format(kind=kind).replace("there", f"{kind}-there")}')
        lines.append(
            f'node "{kind}-n[1-{len(plugs)}]" "{kind}-device"'
            if plugs
            else f'node "{kind}-n[1-2]" "{kind}-device" "x1,x2"'
        )
    lines.append('alias "first" "wti-n[1-8],kvm-n1"')
    code, whole, said = imported("\n".join(lines) + "\n")
    assert code == 0 and f", {count} nodes, 1 groups; left out: 0" in said[-1]
    powermans = {name for name, settings in whole["pdus"].items() if "nodes" in settings}
    told = {line.split(": ")[1] for line in said if ": stays powerman's: " in line}
    assert powermans == told
    ours = {settings["driver"] for name, settings in whole["pdus"].items() if name not in powermans}
    expected = {
        "there": {
            "apc7900",
            "apc7920",
            "apc7952",
            "apc9210",
            "baytech_cli",
            "cyclades_cli",
            "powerman",
            "sentry_cli",
            "wti_cli",
        },
        "ttyS0": set(),
        "conman": set(),
        "ipmipower": {"ipmi"},
        "redfishpower": {"redfish"},
        "snmppower": {
            "apc_masterswitch",
            "apc_rpdu2",
            "baytech_mrp",
            "eaton_pulizzi",
            "eaton_revelation",
            "raritan_px1",
        },
        "httppower": {"dli_http", "redfish"},
    }
    assert ours == next(drivers for word, drivers in expected.items() if word in way)


def test_what_stays_powermans_and_what_is_left_out(imported: Imported) -> None:
    code, whole, said = imported(
        'tcpwrappers no\nlisten "0.0.0.0:10103"\ninclude "/nowhere/x.dev"\n'
        'device "k" "kvm" "/usr/bin/virsh |&"\n'  # 4
        'device "serial" "pm8" "/dev/ttyS0" "9600,8n1"\n'
        'device "unused" "kvm" "/usr/bin/virsh |&"\n'
        'device "apc" "apc7900" "pdu9:23"\n'
        'node "a1" "k" "dom1"\nnode "a2" "k"\nnode "b1" "serial" "1"\n'  # 8
        'node "c1" "gone"\nnode "a1" "k" "dom3"\nnode "d[1-2]" "apc" "[1-3]"\nnode "d[8-9]" "apc" "[98-99]"\n'  # 11
        'alias "x" "a1,c1"\nalias "y" "a[1-2],b1"\nalias "bad name" "a1"\n'  # 15
    )
    here = {"driver": "powerman", "ip": "127.0.0.1", "port": 10103}
    assert whole["pdus"] == {
        "k": {**here, "nodes": "a[1-2]"},
        "serial": {**here, "nodes": "b1"},
        "apc": {**here, "nodes": "d[8-9]"},
    }
    assert whole["groups"] == {"y": "a[1-2],b1"}
    assert code == 1 and said[-1].endswith(" 3 PDUs, 5 nodes, 1 groups; left out: 5")
    assert sorted(line for line in said if "not taken over" in line) == [
        "11: not taken over: node c1: there is no device 'gone'",
        "12: not taken over: there is a node 'a1' already: "
        + next(line for line in said if line.startswith("12: ")).rpartition(": ")[2],
        "13: not taken over: 2 nodes for 3 plugs",
        "15: not taken over: alias x: there is no node 'c1'",
        "17: not taken over: alias 'bad name': not a valid group name: letters, digits and _ . - only",
    ]
    for line in (
        "1: tcpwrappers no: has no counterpart here",
        "3: include: /nowhere/x.dev: cannot be read: No such file or directory",
        "4: k: stays powerman's: no driver of ours is known for 'kvm'; a platform of a topology runs virsh",
        "5: serial: stays powerman's: cyclades_cli does not know the way to it, '/dev/ttyS0'",
        "6: unused: no node is behind it",
    ):
        assert line in said
    assert any(line.startswith("7: apc: stays powerman's: ") and "'98' is not a port" in line for line in said), said


def test_all_may_stay_powermans(imported: Imported) -> None:
    code, whole, said = imported('device "apc" "apc7900" "pdu9:23"\nnode "n[1-2]" "apc" "[1-2]"\n', "--keep-powerman")
    assert whole["pdus"] == {"apc": {"driver": "powerman", "ip": "127.0.0.1", "port": 10101, "nodes": "n[1-2]"}}
    assert code == 0 and len(said) == 1


def test_a_file_is_not_written_over_and_faults_have_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "powerman.conf").write_text('\nnode "a"\n')
    assert main(["--import", str(tmp_path / "powerman.conf")]) == 2
    assert capsys.readouterr().err.startswith(f"pdudaemon: {tmp_path}/powerman.conf:2: node has too few")
    (tmp_path / "powerman.conf").write_text("")
    (tmp_path / "there").write_text("mine")
    assert main(["--import", str(tmp_path / "powerman.conf"), "--output", str(tmp_path / "there")]) == 2
    assert "there: cannot be written: File exists" in capsys.readouterr().err
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(SystemExit):
        main(["--keep-powerman"])
