# SPDX-License-Identifier: MIT
"""pymodbus: a Modbus/TCP server that nobody here wrote, in a process of its own, and its client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.peers.server import listening
from tests.support.ports import free_ports

COILS = 64

SERVER = f"""
import asyncio, sys, warnings
warnings.simplefilter("ignore")
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import StartAsyncTcpServer

def unit():
    return ModbusDeviceContext(co=ModbusSequentialDataBlock(1, [False] * {COILS}))

context = ModbusServerContext(devices={{1: unit(), 7: unit()}}, single=False)
asyncio.run(StartAsyncTcpServer(context=context, address=("127.0.0.1", int(sys.argv[1]))))
"""


@contextmanager
def pymodbus() -> Iterator[tuple[int, Any]]:
    """Run a server with `COILS` coils, all off, in each of the units 1 and 7; yield its port and a client of it."""
    client = pytest.importorskip("pymodbus.client", reason="needs the Python package pymodbus")
    (port,) = free_ports()
    with (
        listening([sys.executable, "-c", SERVER, str(port)], port),
        client.ModbusTcpClient("127.0.0.1", port=port) as connected,
    ):
        yield port, connected
