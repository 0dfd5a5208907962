# SPDX-License-Identifier: MIT
"""An SNMP SET, from the question to the result: one pysnmp engine kept open, our daemon, the released one.

The device is net-snmp's snmpd with a plain writable integer; all three are asked in turn, over kept connections.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pdudaemon.drivers import strategies
from tests.bench import load, peers
from tests.bench.latency import take_turns
from tests.bench.report import Bench
from tests.support.ports import free_ports

TIMES = "SNMP SET, ms"
OID = "1.3.6.1.4.1.99999.1.1.0"
PRIVILEGED = ("127.0.16.1", 161)  # the released daemon knows no other port


def measure(bench: Bench) -> None:
    """Ask every way in turn, or say why not."""
    try:
        strategies.find("snmpv1")
        engine = Engine()
    except (ValueError, ImportError) as error:
        print(f"skipped: {error}")
        return
    if (program := shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is None:
        print("skipped: snmpd (Debian: snmpd) is not installed")
        return
    pdu = {"driver": "snmpv1", "community": "private", "oid": OID, "onsetting": 1, "offsetting": 2}
    with ExitStack() as stack:
        enter = stack.enter_context
        privileged = _may_bind(PRIVILEGED)
        port = enter(_snmpd(program, bench.folder, privileged))
        ways: dict[str, Callable[[], object]] = {"kept engine": partial(enter(closing(engine)).set, port)}
        our = enter(peers.ours(bench.folder / "snmp", {"127.0.0.1": {**pdu, "snmpport": port}}))
        ways["ours"] = partial(_ask, enter(closing(our.connect())), "127.0.0.1")
        if not privileged:
            print("the released daemon is left out: it sends to port 161 alone, which may not be bound here")
        elif theirs := enter(peers.released(bench.folder / "snmp-released", {PRIVILEGED[0]: pdu}, "http")):
            ways["released"] = partial(_ask, enter(closing(theirs.connect())), PRIVILEGED[0])
        for _ in range(bench.rounds):
            take_turns(bench, TIMES, ways)
    bench.table(list(ways), [TIMES], ("p50", "p99"))
    ratios = zip(bench.values["ours", TIMES, "p50"], bench.values["kept engine", TIMES, "p50"], strict=True)
    bench.judge("SNMP SET: per kept engine", [one / other for one, other in ratios], most=1.5)


class Engine:
    """One pysnmp engine on one loop, kept open."""

    def __init__(self) -> None:
        from pysnmp.hlapi.v3arch import asyncio as pysnmp  # type: ignore[import-untyped]

        self._pysnmp: Any = pysnmp
        self._loop = asyncio.new_event_loop()
        self._engine = pysnmp.SnmpEngine()
        self._community = pysnmp.CommunityData("private")
        self._target: Any = None

    def set(self, port: int) -> None:
        """Set once. Raises: ConnectionError."""
        api = self._pysnmp
        target = self._target_at(port)
        value = api.ObjectType(api.ObjectIdentity(OID), api.Integer32(1))
        asked = api.set_cmd(self._engine, self._community, target, api.ContextData(), value, lookupMib=False)
        silence, refusal, *_ = self._loop.run_until_complete(asked)
        if silence or refusal:
            raise ConnectionError(f"snmpd: {silence or refusal}")

    def bulk(self, port: int, columns: Sequence[str], rows: int) -> None:
        """Ask once for some rows of columns. Raises: ConnectionError."""
        api = self._pysnmp
        target = self._target_at(port)
        wanted = [api.ObjectType(api.ObjectIdentity(oid)) for oid in columns]
        asked = api.bulk_cmd(
            self._engine, self._community, target, api.ContextData(), 0, rows, *wanted, lookupMib=False
        )
        silence, refusal, *_ = self._loop.run_until_complete(asked)
        if silence or refusal:
            raise ConnectionError(f"snmpd: {silence or refusal}")

    def _target_at(self, port: int) -> Any:
        if self._target is None:
            self._target = self._loop.run_until_complete(self._pysnmp.UdpTransportTarget.create(("127.0.0.1", port)))
        return self._target

    def close(self) -> None:
        """Let go of engine and loop."""
        self._engine.close_dispatcher()
        self._loop.run_until_complete(asyncio.sleep(0))  # its timer takes note
        self._loop.close()


@contextmanager
def _snmpd(program: str, folder: Path, privileged: bool) -> Iterator[int]:
    """Run an agent with one writable integer; yield its port."""
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    addresses = f"udp:127.0.0.1:{port}" + (",udp:{}:{}".format(*PRIVILEGED) if privileged else "")
    conf = folder / "snmpd.conf"
    conf.write_text(f"agentAddress {addresses}\nrwcommunity private 127.0.0.0/8\noverride -rw .{OID} integer 1\n")
    command = [program, "-f", "-Lf", str(folder / "snmpd.log"), "-C", "-c", str(conf), "-I", "-smux"]
    with peers.process(command, SNMP_PERSISTENT_DIR=str(folder), SNMPCONFPATH=str(folder), MIBS=""):
        time.sleep(1)
        yield port


def _may_bind(address: tuple[str, int]) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def _ask(connection: socket.socket, pdu: str) -> None:
    answer = load.ask(connection, load.http_text(pdu))
    if not load.accepted(answer):
        raise ConnectionError(f"not done: {answer!r}")
