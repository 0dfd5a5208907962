# SPDX-License-Identifier: MIT
"""Status, on and off of a cluster of 10,000 nodes, all named at once, by OpenFlight's route; and a reload of it.

`scripts`: each action is a script of 100 ms, 50 at a time, so 20 s is the ideal. `BMCs`: machines whose answers take
20 ms each, simulated by another process. Their ideal is what the same conversations take in a process that does nothing
else (`bare`): the same driver, cryptography and thread of datagrams, and as many at a time, without requests, records
and answers. What the wire alone would take, with processors that cost nothing, is told beside it: 512 at a time wait
for 5 answers of 20 ms for a status, and for 7 to switch. powerman, which has ipmipower speak with them, has 2,000 of
the same; so have we, beside it.

While the daemon reloads, a client asks for one node after the other; how long each waits is told.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import load, peers
from tests.bench.barebmcs import AT_ONCE
from tests.bench.bmcs import addresses, simulated
from tests.bench.report import Bench
from tests.devices.ipmi import PASSWORD, USER
from tests.support.ports import free_ports

COUNT = 10_000
FEWER = 2_000
DELAY = 0.02
PARALLEL = 50
SCRIPT = "sleep 0.1"
IDEAL = COUNT / PARALLEL * 0.1
METHODS = {"status": "GET", "on": "PATCH", "off": "DELETE"}
ANSWERS = {"status": 5, "on": 7, "off": 7}  # of a BMC: three to log in, privilege, order, state, farewell
PATIENCE = 600.0
IPMI_PORT = 623
OF_IPMIPOWER = 500  # BMCs: it can have no more than some 1000 sockets


def measure(bench: Bench) -> None:
    """Switch both clusters, and reload."""
    for round_ in range(bench.rounds):
        _scripts(bench, round_)
        _bmcs(bench, round_)
    bench.table(["scripts", "BMCs", "BMCs, bare", "2000 BMCs", "2000 BMCs, powerman"], [*METHODS], ("s", "cpu_s"))
    bench.table(["scripts", "BMCs"], ["memory", "reload"], ("MiB", "s", "p99", "most"))
    for action in METHODS:
        bench.judge(f"{action}, scripts, per ideal", bench.values["scripts", action, "ratio"], most=1.3)
        bench.judge(f"{action}, BMCs, per bare", bench.between("BMCs", "BMCs, bare", action, "s"), most=1.3)
        wire = COUNT / AT_ONCE * ANSWERS[action] * DELAY
        seconds = bench.values["BMCs", action, "s"]
        print(
            f"* {action}, BMCs, per {wire:.1f} s of the wire alone: {' '.join(f'{each / wire:.2f}' for each in seconds)}"
        )
        ratios = bench.between("2000 BMCs", "2000 BMCs, powerman", action, "s")
        print(f"* {action}, 2000 BMCs, per powerman: {' '.join(f'{each:.2f}' for each in ratios) or 'not measured'}")
    for row in ("scripts", "BMCs"):
        bench.judge(f"{row}: memory at most, MiB", bench.values[row, "memory", "MiB"], most=250)
        bench.judge(f"{row}: reload, s", bench.values[row, "reload", "s"], most=5)
        bench.judge(f"{row}: p99 of others while it reloads, ms", bench.values[row, "reload", "p99"], most=100)


def _note(bench: Bench, row: str, column: str, **metrics: float) -> None:
    """Take in what was measured, and print it, as a round takes minutes."""
    bench.add(row, column, **metrics)
    print(f"  {row}, {column}: " + ", ".join(f"{value:.1f} {name}" for name, value in metrics.items()), flush=True)


def _names(count: int) -> list[str]:
    return [f"node{number:05}" for number in range(count)]


def _scripts(bench: Bench, round_: int) -> None:
    commands = dict.fromkeys(("power_on", "power_off", "status"), SCRIPT)
    topology = {
        "static_nodes": {f"node[00000-{COUNT - 1:05}]": {"platform": "slow"}},
        "platforms": {"slow": {**commands, "parallel": str(PARALLEL)}},
    }
    folder = bench.folder / f"cluster-scripts-{round_}"
    with peers.ours(folder, {"other": {"driver": "dummy"}}, topology=json.dumps(topology)) as our:
        for action in METHODS:
            took = _switch(bench, "scripts", our, action, COUNT)
            bench.add("scripts", action, ratio=took / IDEAL)
        _reload(bench, "scripts", our, folder)


def _bmcs(bench: Bench, round_: int) -> None:
    port = IPMI_PORT if _may_have(IPMI_PORT) else free_ports(1, socket.SOCK_DGRAM)[0]
    login = {"driver": "ipmi", "port": port, "username": USER, "password": PASSWORD}
    every = dict(zip(_names(COUNT), addresses(COUNT), strict=True))
    pdus = {name: {**login, "ip": address} for name, address in every.items()}
    nodes = {f"node[00000-{COUNT - 1:05}]": {"hostname": f"node[00000-{COUNT - 1:05}]", "port": 1}}
    folder = bench.folder / f"cluster-bmcs-{round_}"
    with simulated(port, COUNT, DELAY):
        with peers.ours(folder, {**pdus, "other": {"driver": "dummy"}}, nodes=nodes) as our:
            for action in METHODS:
                _switch(bench, "BMCs", our, action, COUNT)
            _reload(bench, "BMCs", our, folder)
        for action in METHODS:
            seconds, cpu = _bare(port, action)
            _note(bench, "BMCs, bare", action, s=seconds, cpu_s=cpu)
        fewer = f"node[00000-{FEWER - 1:05}]"
        some, named = dict(itertools.islice(pdus.items(), FEWER)), {fewer: {"hostname": fewer, "port": 1}}
        with peers.ours(bench.folder / f"cluster-fewer-{round_}", some, nodes=named) as our:
            for action in METHODS:
                _switch(bench, "2000 BMCs", our, action, FEWER)
        _powerman(bench, port)


def _may_have(port: int) -> bool:
    """Whether a port may be had, as by root."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((addresses(1)[0], port))
        except OSError:
            return False
        return True


def _switch(bench: Bench, row: str, our: peers.Server, action: str, count: int) -> float:
    """Have nodes switched, or asked; return the time it took. All of them have to be done."""
    names = f"node[00000-{count - 1:05}]"
    path = f"/?nodes={names}&wait=500"
    cpu, begin = our.cpu, time.monotonic()
    with socket.create_connection(("127.0.0.1", our.port), timeout=PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        answer = load.ask(connection, load.http_get(path).replace(b"GET", METHODS[action].encode(), 1))
    took = time.monotonic() - begin
    entries = json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
    good = [entry["id"] for entry in entries if entry["attributes"]["success"]]
    if good != _names(count):
        odd = next((entry for entry in entries if not entry["attributes"]["success"]), None)
        bench.fail(f"{row}, {action}: {len(good)} of {count} nodes did it; {odd}")
    _note(bench, row, action, s=took, cpu_s=our.cpu - cpu)
    most = Path(f"/proc/{our.pid}/status").read_text()
    if action == "off":
        _note(bench, row, "memory", MiB=int(most.partition("VmHWM:")[2].split()[0]) / 1024)
    return took


def _reload(bench: Bench, row: str, our: peers.Server, folder: Path) -> None:
    """Reload with one PDU more, while somebody asks."""
    path = folder / "pdudaemon.conf"
    whole = json.loads(path.read_text())
    whole["pdus"]["another"] = {"driver": "dummy"}
    path.write_text(json.dumps(whole))
    log = folder / "log"
    told = log.read_text().count("has been taken over")
    press = load.Press(our.port, [itertools.repeat(load.http_text("other"))] * 4, keep=True, every=0.05)
    pressing = threading.Thread(target=press.run, args=(8.0,))
    pressing.start()
    time.sleep(0.5)
    begin = time.monotonic()
    os.kill(our.pid, signal.SIGHUP)
    while log.read_text().count("has been taken over") == told:
        if time.monotonic() > begin + 60:
            bench.fail(f"{row}: the configuration has not been taken over within a minute")
            break
        time.sleep(0.02)
    took = time.monotonic() - begin
    pressing.join()
    # Of all that was asked within the eight seconds those in the reload waited longest: p99 is of these.
    slowest = sorted(press.times)[-max(1, int(len(press.times) * min(1.0, took / 8))) :]
    p99 = statistics.quantiles(slowest, n=100)[98] if len(slowest) > 1 else slowest[0]
    _note(bench, row, "reload", s=took, p99=p99 * 1000, most=slowest[-1] * 1000)


def _bare(port: int, action: str) -> tuple[float, float]:
    """Return the time, and the time of a processor, that the same conversations take by themselves."""
    command = [sys.executable, "-m", "tests.bench.barebmcs", str(port), str(COUNT), action]
    done = subprocess.run(command, cwd=peers.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    seconds, cpu = map(float, done.stdout.split())
    return seconds, cpu


def _powerman(bench: Bench, port: int) -> None:
    if port != IPMI_PORT:
        print("powerman's device file for ipmipower knows no port but the usual one, which is root's")
        return
    if shutil.which("powerman") is None or shutil.which("ipmipower", path=_PATH) is None:
        print("powerman or ipmipower (Debian: powerman, freeipmi-tools) is not installed")
        return
    with _powermand(bench.folder) as where:
        for _ in range(20):  # at first it knows none of them
            said = subprocess.run(["powerman", "-h", where, "-x", "-q"], capture_output=True, text=True)
            if ": unknown" not in said.stdout:
                break
            time.sleep(1)
        for action in METHODS:
            words = ["-x", "-q"] if action == "status" else [f"--{action}", f"node[00000-{FEWER - 1:05}]"]
            begin = time.monotonic()
            said = subprocess.run(["powerman", "-h", where, *words], capture_output=True, text=True)
            took = time.monotonic() - begin
            unknown = said.stdout.count(": unknown") if action == "status" else 0
            if said.returncode or unknown:
                print(f"powerman, {action}: {unknown} of {FEWER} are not known")
                print(f"powerman {' '.join(words)}: {said.stdout[:200]!r} {said.stderr[:200]!r}")
                return
            _note(bench, "2000 BMCs, powerman", action, s=took)


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextmanager
def _powermand(folder: Path) -> Iterator[str]:
    """Run a powermand for the first of the BMCs, as its documentation has it; yield its host and port."""
    (listening,) = free_ports()
    login = folder / "ipmipower.conf"
    login.write_text(f"username {USER}\npassword {PASSWORD}\n")
    login.chmod(0o600)
    program = f"/usr/sbin/ipmipower --config-file {login} -D LAN_2_0 -I 17 -l OPERATOR --wait-until-on --wait-until-off"
    pairs = [*zip(_names(FEWER), addresses(FEWER), strict=True)]
    lines = ['include "/etc/powerman/ipmipower.dev"', f'listen "127.0.0.1:{listening}"']
    for first in range(0, FEWER, OF_IPMIPOWER):
        some = pairs[first : first + OF_IPMIPOWER]
        script = folder / f"ipmipower{first}"
        script.write_text(f'#!/bin/sh\nexec {program} -h "{",".join(host for _, host in some)}"\n')
        script.chmod(0o700)
        lines.append(f'device "bmcs{first}" "ipmipower" "{script} |&"')
        lines += [f'node "{name}" "bmcs{first}" "{host}"' for name, host in some]
    conf = folder / "powerman.conf"
    conf.write_text("\n".join(lines) + "\n")
    server = shutil.which("powermand", path=_PATH)
    assert server is not None
    with subprocess.Popen([server, "-f", "-c", str(conf)], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", listening)) == 0:
                        break
                time.sleep(0.05)
            yield f"127.0.0.1:{listening}"
        finally:
            process.kill()
