# SPDX-License-Identifier: MIT
"""Status of 2,000 BMCs whose answers take 20 ms each, asked for at once: our daemon, ipmipower, and ipmitool forked.

The BMCs are simulated, by another process. ipmitool is run by as many threads as a platform of scripts has at a time.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench import peers
from tests.bench.bmcs import addresses, simulated
from tests.bench.nodes import asked
from tests.bench.report import Bench
from tests.devices.ipmi import PASSWORD, USER
from tests.support.ports import free_ports

COUNT = 2000
FEWER = 200  # for ipmitool, whose time is then multiplied
DELAY = 0.02
PARALLEL = 50
WHEN = ("just started", "again")


def measure(bench: Bench) -> None:
    """Ask a daemon that has just started, and ask again; then the others, of the same BMCs."""
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    names = [f"node{number:04}" for number in range(COUNT)]
    login = {"driver": "ipmi", "port": port, "username": USER, "password": PASSWORD}
    pdus = {name: {**login, "ip": address} for name, address in zip(names, addresses(COUNT), strict=True)}
    nodes = {name: {"feeds": [{"hostname": name, "port": 1}]} for name in names}
    rows = [*WHEN, "ipmipower", "ipmitool, forked"]
    for round_ in range(bench.rounds):
        with simulated(port, COUNT, DELAY), peers.ours(bench.folder / f"ipmi-{round_}", pdus, nodes=nodes) as server:
            for row in WHEN:
                begin = time.monotonic()
                entries = asked(server, f"/?nodes=node[0000-{COUNT - 1}]")
                bench.add(row, "status", s=time.monotonic() - begin)
                known = [entry["id"] for entry in entries if entry["attributes"].get("running")]
                if known != names:
                    bench.fail(f"{row}: {len(known)} of {COUNT} nodes are said to be on, as they are")
            most = Path(f"/proc/{server.pid}/status").read_text()
            bench.add(WHEN[1], "status", MiB=int(most.partition("VmHWM:")[2].split()[0]) / 1024)
            for row, ask in (("ipmipower", _ipmipower), ("ipmitool, forked", _ipmitool)):
                if (seconds := ask(bench, port)) is not None:
                    bench.add(row, "status", s=seconds)
    bench.table(rows, ["status"], ("s", "MiB"))
    for row in WHEN:
        bench.judge(f"status of {COUNT} BMCs, {row}, s", bench.values[row, "status", "s"], most=3)
    bench.judge("memory at most, MiB", bench.values[WHEN[1], "status", "MiB"], most=150)
    ratios = bench.between(WHEN[1], "ipmipower", "status", "s")
    print(f"  again, per ipmipower, a program in C: {' '.join(f'{each:.2f}' for each in ratios) or 'not measured'}")
    bench.judge("again, per ipmitool, forked", bench.between(WHEN[1], "ipmitool, forked", "status", "s"), most=1)


def _ipmipower(bench: Bench, port: int) -> float | None:
    if (program := shutil.which("ipmipower", path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is None:
        print("ipmipower (Debian: freeipmi-tools) is not installed")
        return None
    hosts = ",".join(f"{address}:{port}" for address in addresses(COUNT))
    conf = bench.folder / "ipmipower.conf"
    conf.write_text(f"username {USER}\npassword {PASSWORD}\n")
    conf.chmod(0o600)
    options = ["--config-file", str(conf), "-D", "LAN_2_0", "-I", "17", "-l", "OPERATOR", "--stat", "-h", hosts]
    begin = time.monotonic()
    said = subprocess.run([program, *options], capture_output=True, text=True)
    seconds = time.monotonic() - begin
    if (told := said.stdout.count(": on\n")) != COUNT:
        print(f"ipmipower tells the state of {told} of {COUNT}: {said.stdout[:200]!r} {said.stderr[:200]!r}")
    return seconds


def _ipmitool(bench: Bench, port: int) -> float | None:
    if (program := shutil.which("ipmitool")) is None:
        print("ipmitool is not installed")
        return None
    options = [
        "-I",
        "lanplus",
        "-C",
        "17",
        "-L",
        "OPERATOR",
        "-p",
        str(port),
        "-U",
        USER,
        "-E",
        "chassis",
        "power",
        "status",
    ]

    def run(address: str) -> bool:
        done = subprocess.run(
            [program, "-H", address, *options],
            env={**os.environ, "IPMI_PASSWORD": PASSWORD},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return done.stdout == "Chassis Power is on\n"

    begin = time.monotonic()
    with ThreadPoolExecutor(PARALLEL) as pool:
        told = sum(pool.map(run, addresses(FEWER)))
    seconds = time.monotonic() - begin
    if told != FEWER:
        print(f"ipmitool tells the state of {told} of {FEWER}")
    return seconds * COUNT / FEWER
