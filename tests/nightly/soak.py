# SPDX-License-Identifier: MIT
"""An hour of a farm's life, in as many seconds as are given: ``python -m tests.nightly.soak --seconds 60``.

Clients switch single ports and commands over many nodes, by every protocol; others watch, look at lists and metrics,
break off, dribble, and send nonsense. Devices restart, the configuration is reloaded with and without faults, and now
and then the daemon is stopped, or killed, and started again. At the end: nothing that was acknowledged is lost, each
outlet has seen what was asked of it in order, none is left off, the log has no traceback, and the daemon is as large as
it was after its first minute.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.growth import Size, grown, size
from tests.support.plugins import Recorded, in_order
from tests.support.process import Daemon, at_rest

PDUS = 8
PORTS = 6  # the last of each is only ever rebooted, in commands over all PDUs
FIRST = 60.0  # seconds after a start, before its size counts: pools and tables are there then
RESTART_EVERY = 600.0  # seconds, on average
REFUSED = "refuses"


class Farm:
    """One daemon, what it was asked for, and the clients that never rest."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.stopping = threading.Event()
        self.resting = threading.Event()  # while the daemon is away
        self.figures: Counter[str] = Counter()
        self.faults: list[str] = []
        self.asked: dict[tuple[str, str], list[tuple[str, bool]]] = {}
        self.daemon = Daemon(
            folder, {}, max_queue=100000, history=2000, logging_level="INFO", max_connections_per_address=2000
        )
        self.daemon.real = True
        self.plugin = Recorded(self.daemon)
        self._refuses = [folder / f"{REFUSED}{number}" for number in range(PDUS)]
        self.pdus: dict[str, Any] = {
            f"pdu{number}": self.plugin.settings(
                takes=0.01, refuses=str(self._refuses[number]), retries=500, retrydelay=0.2
            )
            for number in range(PDUS)
        }
        self.configure()
        self.daemon.start()
        self.started = time.monotonic()
        self.first: Size | None = None
        self.largest: Size | None = None

    def configure(self, **more: Any) -> None:
        """Write a configuration that has ``more`` PDUs."""
        nodes = {f"all{port}": {"feeds": [{"hostname": pdu, "port": port} for pdu in self.pdus]} for port in (PORTS,)}
        singles = {f"{pdu}n{port}": {"hostname": pdu, "port": port} for pdu in self.pdus for port in range(1, PORTS)}
        self.daemon.settings |= {"pdus": {**self.pdus, **more}, "nodes": {**nodes, **singles}}
        self.daemon.settings["groups"] = {"singles": [*singles]}
        self.daemon.configure(self.daemon.settings)

    def client(self, name: str, work: Callable[[random.Random], None], most: float) -> threading.Thread:
        """Return a thread that works again and again, with rests of some seconds at most; errors of the line are none."""
        chance = random.Random(f"{name}{self.chance.random()}")

        def run() -> None:
            while not self.stopping.wait(chance.uniform(0.0, most)):
                if self.resting.is_set():
                    continue
                try:
                    work(chance)
                    self.figures[name] += 1
                except (OSError, http.client.HTTPException):
                    self.figures["broken off"] += 1
                except Exception as error:  # all of them are told at the end
                    self.faults.append(f"{name}: {type(error).__name__}: {error}"[:500])

        thread = threading.Thread(target=run, name=name)
        thread.start()
        return thread

    # What clients do.

    def switch(self, outlet: tuple[str, str]) -> Callable[[random.Random], None]:
        """Return work that switches one outlet, one request after the other, by any protocol."""
        asked = self.asked.setdefault(outlet, [])

        def work(chance: random.Random) -> None:
            action = chance.choice(["on", "off", "reboot"])
            delay = chance.choice([0, 0.1, 1]) if action == "reboot" else 0
            wait = chance.choice([0, 0, 60])
            asked.append((action, False))
            before = self.figures["kills"] + self.figures["stops"]
            pdu, port = outlet
            if chance.random() < 0.5:
                words = f" {delay}" if action == "reboot" else ""
                answer = self.daemon.tcp(f"{pdu} {port} {action}{words} wait={wait}")
                good = answer == "ack\n"
            else:
                body = {"action": action, "hostname": pdu, "port": port, "wait": wait}
                body |= {"delay": delay} if action == "reboot" else {}
                reply = self.daemon.http("/api/v1/requests", "POST", json.dumps(body), Content_Type="application/json")
                answer, good = reply.text, reply.status in (200, 201, 202)
            if good:
                asked[-1] = (action, True)
                self.figures["acknowledged"] += 1
            elif not self.resting.is_set() and before == self.figures["kills"] + self.figures["stops"]:
                self.faults.append(f"{outlet} {action}: {answer[:300]}")

        return work

    def command(self, chance: random.Random) -> None:
        """Reboot an outlet of every PDU as one request, which is never asked for otherwise."""
        outlets = [(pdu, str(PORTS)) for pdu in self.pdus]
        for outlet in outlets:
            self.asked.setdefault(outlet, []).append(("reboot", False))
        place = len(self.asked[outlets[0]]) - 1
        body = {"action": "reboot", "nodes": [f"all{PORTS}"], "delay": 0.2, "wait": 0}
        reply = self.daemon.http("/api/v1/requests", "POST", json.dumps(body), Content_Type="application/json")
        if reply.status != 202:
            raise AssertionError(reply.text[:300])
        for outlet in outlets:
            self.asked[outlet][place] = ("reboot", True)
        self.figures["acknowledged"] += 1

    def look(self, chance: random.Random) -> None:
        """Look at something, which is always there."""
        path = chance.choice(
            [
                *("/", "/metrics", "/api/v1/pdus", "/api/v1/nodes?limit=5", "/api/v1/requests?limit=50", "/healthz"),
                *("/api/v1/outlets", "/power/control/status?hostname=pdu1&port=1", "/api/v1/pdus/pdu2"),
                "/api/v1/requests?pdu=pdu1&state=done&limit=5",
            ]
        )
        reply = self.daemon.http(path)
        assert reply.status == 200, (path, reply.status, reply.text[:200])

    def watch(self, chance: random.Random) -> None:
        """Watch what happens for a while."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as connection:
            connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n")
            until = time.monotonic() + chance.uniform(0.0, 20.0)
            while time.monotonic() < until and not self.resting.is_set() and connection.recv(65536):
                self.figures["pieces of events"] += 1

    def break_off(self, chance: random.Random) -> None:
        """Begin something and go, in some way."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as connection:
            connection.sendall(
                chance.choice(
                    [
                        b"GET /api/v1/requests?li",
                        b"POST /api/v1/requests HTTP/1.1\r\nContent-Length: 50\r\n\r\n{",
                        b"pdu1 1 o",
                        b"\x16\x03\x01\0\xff" * 9,
                        chance.randbytes(300),
                    ]
                )
            )
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0.0, 3.0))
            if chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def disturb(self, chance: random.Random) -> None:
        """Restart a device, or reload a configuration: another PDU comes, or goes, or has a fault."""
        if chance.random() < 0.6:
            path = chance.choice(self._refuses)
            path.touch()
            time.sleep(chance.uniform(0.1, 2.0))
            path.unlink()
        else:
            some: dict[str, Any] = {
                "new": self.plugin.settings(),
                "old": {"driver": "nobody's"},
                "dummy": {"driver": "dummy"},
            }
            self.configure(**{name: some[name] for name in chance.sample([*some], chance.randrange(4))})
            if self.daemon.process is not None and not self.resting.is_set():
                self.daemon.process.send_signal(signal.SIGHUP)

    # What is looked at.

    def restart(self, kill: bool) -> None:
        """End the daemon, and start it again."""
        self.resting.set()
        self.measure()
        self.figures["kills" if kill else "stops"] += 1
        if kill:
            self.daemon.kill()
        else:
            self.daemon.stop(seconds=60)
        self.daemon.start()
        self.started, self.first = time.monotonic(), None
        self.resting.clear()

    def measure(self) -> None:
        """Note how large the daemon is, and whether it has grown since its first minute."""
        if time.monotonic() - self.started < FIRST:
            return
        now = size(self.daemon)
        self.first = self.first or now
        self.largest = max(self.largest or now, now)
        if told := grown(self.first, now, clients=60):
            self.faults.append(told)

    def judge(self) -> None:
        """Wait until all is done, and look at the outlets. Raises: AssertionError."""
        at_rest(self.daemon)
        seen = self.plugin.by_outlet()
        for outlet, asked in self.asked.items():
            assert in_order(asked, seen[outlet]), f"{outlet}: {asked[-30:]} {seen[outlet][-60:]}"
            last = [action for action, acked in asked if acked][-1:]
            if last and asked[-1][1]:
                assert seen[outlet].endswith("f" if last == ["off"] else "o"), (
                    f"{outlet} is left as it must not be: {last}"
                )
        for pdu in self.pdus:
            assert seen[pdu, str(PORTS)][-1:] in ("", "o"), f"{pdu} port {PORTS} is left off"
        log = self.daemon.log_text()
        found = re.search(r".*(Traceback|internal error)[\s\S]{0,3000}", re.sub(r"refused, for now", "", log))
        assert not found, found[0]


def soaked(folder: Path, seconds: float, seed: int) -> list[str]:
    """Live for some seconds; return what was wrong."""
    chance = random.Random(seed)
    farm = Farm(folder, chance)
    try:
        clients = [
            farm.client("switched", farm.switch((pdu, str(port))), 1.0) for pdu in farm.pdus for port in range(1, PORTS)
        ]
        clients += [farm.client("commands", farm.command, 5.0)]
        for name, work, number, most in (
            ("looked", farm.look, 4, 0.5),
            ("watched", farm.watch, 6, 1.0),
            ("broke off", farm.break_off, 4, 1.0),
            ("disturbed", farm.disturb, 1, 5.0),
        ):
            clients += [farm.client(name, work, most) for _ in range(number)]
        end = time.monotonic() + seconds
        again = time.monotonic() + min(RESTART_EVERY, seconds / 3)
        while (now := time.monotonic()) < end and len(farm.faults) < 10:
            time.sleep(1)
            farm.measure()
            if now > again:
                farm.restart(kill=chance.random() < 0.5)
                again = time.monotonic() + chance.uniform(0.5, 1.5) * min(RESTART_EVERY, seconds / 3)
        farm.stopping.set()
        for thread in clients:
            thread.join(120)
        for path in folder.glob(f"{REFUSED}*"):
            path.unlink()
        try:
            farm.judge()
        except AssertionError as error:
            farm.faults.append(str(error)[:2000])
    finally:
        farm.stopping.set()
        farm.daemon.kill()
    told = ", ".join(f"{number} {name}" for name, number in sorted(farm.figures.items()))
    print(f"* {seconds:.0f} s: {told}; after a minute {farm.first}, at most {farm.largest}")
    return farm.faults


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.soak")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pdudaemon-soak-") as folder:
        faults = soaked(Path(folder), given.seconds, given.seed)
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
