# SPDX-License-Identifier: MIT
"""Switches on a 1-Wire bus (DS2405, DS2406, DS2408, DS2413), behind an owserver of OWFS.

A port is the address of a chip, and the channel where the chip has several: ``29.67C6697351FF.0``,
``3A.112233445566.A``.

Source: the description of the protocol by OWFS; an owserver with pretended chips.
Tested: with a real owserver, whose chips are pretended and keep nothing, and against a fake; untried on a chip.
Quirks: on is a channel that conducts. States are read from the bus and not from the cache of owserver. owserver asks
for no login.

    "bus": {"driver": "owserver", "ip": "192.0.2.124"}
"""

from __future__ import annotations

import struct

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity
from pdudaemon.drivers.recognition import Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection, in_words

_HEAD = struct.Struct(">iiiiii")  # version, size of what follows, what to do or what came of it, flags, size, offset
_READ, _WRITE, _LIST = 2, 3, 7
_ALL = 64 * 1024
_SWITCHES = ("05", "12", "29", "3A", "1C")  # families of chips
_ROOM = 64
_STATES = {b"1": State.ON, b"0": State.OFF}
_PORT = r"[0-9A-F]{2}\.[0-9A-F]{12}(?:\.(?:[0-7]|[A-B]))?"


class OWServer(NetworkDevice):
    """A question is a message, and so is its answer; before it, messages of no size say that it takes time."""

    models = {"owserver": None}
    ports = Named(_PORT, "address of a chip, and perhaps a channel, such as 29.67C6697351FF.0", str.upper)

    port = tcp_port(4304)

    def port_interaction(self, command: str, port_number: str) -> None:
        value = b"1" if State(command) is State.ON else b"0"
        self._ask(_WRITE, port_number, value, len(value), f"switching {port_number}")
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: str) -> State:
        step = f"reading {port_number}"
        said = self._ask(_READ, port_number, b"", _ROOM, step).strip(b"\0 ")
        if said not in _STATES:
            raise TransientError(f"{self.host} answered {said[:20]!r} at {step}")
        return _STATES[said]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its list of chips, if there are switches among them."""
        if pages.port and pages.server:
            return None
        server = cls(pages.host, {"driver": "owserver", **port_of(pages)})
        server.deadline = deadline
        listed = server._said(_LIST, b"/\0", _ALL, "listing the chips").decode("ascii", "replace")
        chips = [each.strip("/\0 ") for each in listed.split(",")]
        found = ", ".join(each for each in chips if each.startswith(tuple(f"{family}." for family in _SWITCHES)))
        return Recognised(server.settings, Identity("OWFS", f"owserver with {found[:100]}")) if found else None

    def _ask(self, what: int, port: str, value: bytes, size: int, step: str) -> bytes:
        """Return what is answered of a port. Raises: PermanentError if owserver cannot do it, or has no such chip."""
        family, address, *channel = port.split(".")
        path = f"/uncached/{family}.{address}/PIO{''.join(f'.{each}' for each in channel)}"
        try:
            return self._said(what, path.encode() + b"\0" + value, size, step)
        except PermanentError as error:
            peer = in_words(self.host, self.port)
            raise PermanentError(f"{peer} has no {port}, or its chip does not answer{error}") from None

    def _said(self, what: int, payload: bytes, size: int, step: str) -> bytes:
        """Return what is answered. Raises: PermanentError with the number of the error."""
        with Connection(self.host, self.port, self.deadline) as server:
            server.send(_HEAD.pack(0, len(payload), what, 0, size, 0) + payload, step)
            length = -1
            while length < 0:
                version, length, result, *_ = _HEAD.unpack(server.receive_exactly(_HEAD.size, step))
                if version != 0 or length > _ALL:
                    raise TransientError(f"{server.peer} is no owserver, or answered nonsense at {step}")
            said = server.receive_exactly(length, step)
        if result < 0:
            raise PermanentError(f" (error {-result})")
        return said
