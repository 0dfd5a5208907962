# SPDX-License-Identifier: MIT
"""OpenFlight Power's workflow, from an empty machine: topology, service, token, then list, status, off, on, restart.

The programs are ours, as they stand in the package; the topology is the documentation's own. ``ipmitool`` and ``aws``
are stand-ins that keep each machine's power in a file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import ROOT, eventually

TOPOLOGY = r"""
static_nodes:
  gateway1:
    platform: aws
    ec2_id: i-gateway1xxxxxxxxxxx
    region: eu-west-1
  node01:
    platform: ipmi
    ipmi_username: admin
    ipmi_password: adminpass
  node02:
    platform: ipmi
    ipmi_username: admin
    ipmi_password: adminpass
  badnode:
    platform: unknown
platforms:
  aws:
    variables: [ec2_id, region]
    power_on: aws ec2 start-instances --instance-ids "$ec2_id" --region "$region"
    power_off: aws ec2 stop-instances --instance-ids "$ec2_id" --region "$region"
    restart: aws ec2 reboot-instances --instance-ids "$ec2_id" --region "$region"
    status: |-
      state=$(aws ec2 describe-instances --instance-ids "$ec2_id" --region "$region")
      if [ "$state" = '"running"' ]; then exit 0; elif [ "$state" = '"stopped"' ]; then exit 123; else exit 1; fi
    status_off_exit_code: 123
  ipmi:
    variables: [name, ipmi_username]
    power_on: ipmitool -H "$name"-bmc -U "$ipmi_username" -E chassis power on -I lanplus
    power_off: ipmitool -H "$name"-bmc -U "$ipmi_username" -E chassis power off -I lanplus
    restart: ipmitool -H "$name"-bmc -U "$ipmi_username" -E chassis power reset -I lanplus
    status: |-
      output=$(ipmitool -H "$name"-bmc -U "$ipmi_username" -E chassis power status -I lanplus)
      if echo "$output" | grep on; then
        exit 0
      elif echo "$output" | grep off; then
        exit 111
      else
        exit 1
      fi
groups:
  compute: node[01-02]
"""

IPMITOOL = """#!/bin/sh
# ipmitool -H NAME-bmc -U USER -E chassis power ACTION -I lanplus
cd "$(dirname "$0")" || exit
[ "$IPMI_PASSWORD" = adminpass ] || { echo 'Error: Unable to establish IPMI v2 / RMCP+ session' >&2; exit 1; }
[ "$1 $3 $4 $5 $6 $7 $9" = '-H -U admin -E chassis power -I' ] || exit 2
case $8 in
status) echo "Chassis Power is $(cat "$2")" ;;
on | off) echo "$8" >"$2" ;;
reset) [ "$(cat "$2")" = on ] && echo reset >>resets ;;
esac
"""
AWS = """#!/bin/sh
# aws ec2 COMMAND --instance-ids ID --region REGION
cd "$(dirname "$0")" || exit
[ "$1 $3 $5 $6" = 'ec2 --instance-ids --region eu-west-1' ] || exit 2
case $2 in
start-instances) echo '"running"' >"$4" ;;
stop-instances) echo '"stopped"' >"$4" ;;
reboot-instances) echo reset >>resets ;;
describe-instances) cat "$4" ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a machine with nothing but the programs that the platforms call."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("ipmitool", IPMITOOL), ("aws", AWS)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("node01-bmc", "node02-bmc"):
        (programs / name).write_text("on\n")
    (programs / "i-gateway1xxxxxxxxxxx").write_text('"running"\n')
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return {"PATH": path, "HOME": str(tmp_path), "IPMI_PASSWORD": "adminpass", "PYTHONPATH": str(ROOT)}


@contextmanager
def service(machine: dict[str, str], topology: Path) -> Iterator[str]:
    """Run the daemon on nothing but a topology, on a port of its choice; yield its URL."""
    log = topology.with_name("log")
    conf = topology.with_name("pdudaemon.conf")
    conf.write_text('{"daemon": {"listener": "http", "port": 0, "jwt_secret_file": "secret"}}')
    command = [sys.executable, "-m", "pdudaemon", "--conf", conf, "--topology", topology]
    with log.open("w") as out, subprocess.Popen(command, env=machine, stdout=out, stderr=out) as daemon:
        started = r"listening on (\S+) .*has started"
        found = eventually(lambda: re.search(started, log.read_text(), re.DOTALL))
        yield f"http://{found[1]}"
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    assert "adminpass" not in log.read_text()


def test_the_workflow(machine: dict[str, str], tmp_path: Path) -> None:
    topology = tmp_path / "topology.yaml"
    topology.write_text(TOPOLOGY)

    def run(*words: str) -> tuple[int, str, str]:
        ended = subprocess.run(words, env=machine, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    with service(machine, topology) as url:
        conf = str(tmp_path / "pdudaemon.conf")
        made = run(sys.executable, "-m", "pdudaemon", "--conf", conf, "--topology", str(topology), "--token")
        config = tmp_path / "config.yaml"
        config.write_text(f"base_url: {url}\njwt_token: {made[1]}")
        config.chmod(0o600)

        def power(*words: str) -> tuple[int, str, str]:
            return run(str(ROOT / "pduclient"), words[0], "--config", str(config), *words[1:])

        assert power("list") == (0, "gateway1\nnode01\nnode02\nbadnode\n", "")
        assert power("list", "-g", "-v") == (0, "compute node01,node02\n", "")
        assert power("status", "gateway1,node[01-02]") == (0, "gateway1 On\nnode01   On\nnode02   On\n", "")
        assert power("off", "node02") == (0, "node02 Stopping\n", "")
        assert power("status", "-g", "compute") == (0, "node01 On \nnode02 Off\n", "")
        assert power("on", "node02") == (0, "node02 Starting\n", "")
        assert power("restart", "node02", "gateway1") == (0, "node02   Restarting\ngateway1 Restarting\n", "")
        assert (tmp_path / "bin" / "resets").read_text() == "reset\nreset\n"
        assert power("off", "node[01-02]", "--fold") == (0, "stopping: node[01-02]\n", "")
        code, out, err = power("status", "node01", "badnode", "ghost")
        assert (code, out) == (1, "node01  Off    \nbadnode Unknown\nghost   Unknown\n")
        assert "badnode: " in err and "there is no platform 'unknown'" in err and "ghost" in err
        (tmp_path / "bin" / "node01-bmc").write_text("burning\n")
        assert power("status", "node01")[:2] == (1, "node01 Unknown\n")
        config.write_text(f"base_url: {url}\njwt_token: {made[1][:-8]}aaaaaaa\n")
        code, out, err = power("status", "node01")
        assert (code, out) == (2, "") and "token refused" in err


def test_a_refused_password_reaches_who_asked(machine: dict[str, str], tmp_path: Path) -> None:
    topology = tmp_path / "topology.yaml"
    topology.write_text(TOPOLOGY)
    with service({**machine, "IPMI_PASSWORD": "wrong"}, topology) as url:
        words = [
            sys.executable,
            "-m",
            "pdudaemon",
            "--conf",
            str(tmp_path / "pdudaemon.conf"),
            "--topology",
            str(topology),
        ]
        token = subprocess.run([*words, "--token"], env=machine, capture_output=True, text=True).stdout.strip()
        client = [str(ROOT / "pduclient"), "on", "node01"]
        environment = {**machine, "PDUCLIENT_URL": url, "PDUCLIENT_TOKEN": token}
        ended = subprocess.run(client, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "node01 Failed to start\n")
    assert "Unable to establish IPMI v2" in ended.stderr
