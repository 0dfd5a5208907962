# SPDX-License-Identifier: MIT
"""All 24 outlets of an SNMP PDU with names and meters: in one reading, by 24 questions, and by a bare GETBULK.

The device is net-snmp's snmpd with the outlets of an APC Rack PDU 2G, whose values stand in its configuration; all ways
are gone in turn, over engines that are kept. A question is for the state of an outlet alone, a reading has the name and
what is drawn as well. The bare GETBULK asks for the same columns and looks at nothing of it. No PDU answers as soon as
this agent: against the questions each answer is held back for `HELD` seconds.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.transports.deadline import Deadline
from tests.bench import peers
from tests.bench.latency import take_turns
from tests.bench.report import Bench
from tests.bench.snmp import Engine
from tests.support.ports import free_ports

TIMES = "24 outlets by SNMP, ms"
ONE, EACH, BARE = "one reading", "24 questions", "bare GETBULK"
LATE_ONE, LATE_EACH = f"{ONE}, held back", f"{EACH}, held back"
HELD = 0.01
OUTLETS = 24
RPDU2 = "1.3.6.1.4.1.318.1.1.26.9"
COLUMNS = {  # kind and first value of each column, which are those of the row `apc_rpdu2`
    f"{RPDU2}.2.3.1.5": ("integer", 1),
    f"{RPDU2}.2.3.1.3": ("octet_str", 1),
    f"{RPDU2}.4.3.1.7": ("integer", 100),
    f"{RPDU2}.4.3.1.6": ("integer", 10),
    f"{RPDU2}.4.3.1.11": ("integer", 1000),
}


def measure(bench: Bench) -> None:
    """Read in every way in turn, or say why not."""
    try:
        engine = Engine()
    except ImportError as error:
        print(f"skipped: {error}")
        return
    if (program := shutil.which("snmpd", path="/usr/sbin:/usr/bin:/sbin")) is None:
        print("skipped: snmpd (Debian: snmpd) is not installed")
        return
    with closing(engine), _snmpd(program, bench.folder) as port, _held_back(port) as late:
        made, slow = _driver(port), _driver(late)
        ways: dict[str, Callable[[], object]] = {
            ONE: partial(_read, bench, made),
            BARE: partial(engine.bulk, port, [*COLUMNS], OUTLETS + 1),
            EACH: partial(_ask_each, made),
            LATE_ONE: partial(_read, bench, slow),
            LATE_EACH: partial(_ask_each, slow),
        }
        for _ in range(bench.rounds):
            take_turns(bench, TIMES, ways)
    bench.table([*ways], [TIMES], ("p50", "p99"))
    for one, other, most in ((LATE_ONE, LATE_EACH, 0.2), (ONE, BARE, 2.0)):
        bench.judge(f"{one}: per {other}", bench.between(one, other, TIMES, "p50"), most=most)


def _driver(port: int) -> PDUDriver:
    settings = {"driver": "apc_rpdu2", "community": "private", "snmpport": port}
    return strategies.find("apc_rpdu2")("127.0.0.1", settings)


def _read(bench: Bench, made: PDUDriver) -> None:
    made.deadline = Deadline(30)
    told = made.read_outlets()
    if len(told) != OUTLETS or told[-1].watts != 100 + OUTLETS or told[-1].name != f"outlet{OUTLETS}":
        bench.fail(f"readings: {told[-1:]}")


def _ask_each(made: PDUDriver) -> None:
    for outlet in range(1, OUTLETS + 1):
        made.deadline = Deadline(30)
        made.handle("status", outlet)


@contextmanager
def _held_back(port: int) -> Iterator[int]:
    """Hand questions to an agent, and its answers back when they have been held back; yield the port for that."""
    with socket.socket(type=socket.SOCK_DGRAM) as front, socket.socket(type=socket.SOCK_DGRAM) as back:
        front.bind(("127.0.0.1", 0))
        back.connect(("127.0.0.1", port))

        def hand_over() -> None:
            while question := front.recvfrom(65535):
                data, sender = question
                if not data:
                    return
                back.send(data)
                answer = back.recv(65535)
                time.sleep(HELD)
                front.sendto(answer, sender)

        thread = threading.Thread(target=hand_over, daemon=True)
        thread.start()
        yield int(front.getsockname()[1])
        front.sendto(b"", front.getsockname())
        thread.join(5)


@contextmanager
def _snmpd(program: str, folder: Path) -> Iterator[int]:
    """Run an agent with the outlets; yield its port."""
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    lines = [f"agentAddress udp:127.0.0.1:{port}", "rwcommunity private 127.0.0.1", "maxGetbulkResponses 500"]
    for column, (kind, first) in COLUMNS.items():
        for outlet in range(1, OUTLETS + 1):
            value: Any = f"outlet{outlet}" if kind == "octet_str" else 1 if first == 1 else first + outlet
            lines.append(f"override .{column}.{outlet} {kind} {value}")
    conf = folder / "readings.conf"
    conf.write_text("\n".join([*lines, ""]))
    command = [program, "-f", "-Lf", str(folder / "readings.log"), "-C", "-c", str(conf), "-I", "-smux"]
    with peers.process(command, SNMP_PERSISTENT_DIR=str(folder), SNMPCONFPATH=str(folder), MIBS=""):
        time.sleep(1)
        yield port
