# SPDX-License-Identifier: MIT
"""Pins of a node on the IOBus of Linux Automation (4DO-3T-3AI, Ethernet-Mux), by the server of that bus.

Source: the server's interface, as its public client speaks it.
Tested: against a fake only.
Quirks: each PDU is one ``node`` of the bus; a port is a pin of it, such as ``OUT0``. Pins that measure are no outlets.
There is no login.

    "mux": {"driver": "lxa_iobus", "ip": "192.0.2.116", "node": "4DO-3T-3AI-00005.00020"}
"""

from __future__ import annotations

import re
from typing import Any

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.network import NetworkDevice, tcp_port
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.drivers.recognition import CHANGE_ME, Recognised, port_of
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client
from pdudaemon.transports.pages import Pages

_NODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_PIN = r"[A-Za-z][A-Za-z0-9_-]{0,39}"


class LXAIOBus(NetworkDevice):
    """A pin is a resource, which is asked and told by itself."""

    models = {"lxa_iobus": None}
    ports = Named(_PIN, "a pin of the node, such as OUT0")

    port = tcp_port(8080, "the server")
    node = Setting(text, "", "name of the node", required=True)

    @hook
    def faults(self) -> dict[str, str]:
        if _NODE.fullmatch(self.node):
            return {}
        return {"node": f"{self.node[:60]!r} is not the name of a node: letters, digits and _ . - only"}

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the nodes that it lists; each of them is a PDU."""
        said = pages.json("/nodes/", port=8080)
        nodes = said.get("result")
        if said.get("code") != 0 or not isinstance(nodes, list) or not all(isinstance(each, str) for each in nodes):
            return None
        known = [each for each in nodes if _NODE.fullmatch(each)]
        settings = {"driver": "lxa_iobus", "node": known[0] if known else CHANGE_ME, **port_of(pages)}
        others = ", ".join(known[1:])[:200]
        wants = f"the same for its other nodes {others}" if others else "" if known else "the name of a node"
        return Recognised(settings, Identity("Linux Automation", "IOBus"), wants=wants)

    def port_interaction(self, command: str, port_number: str) -> None:
        wanted = State(command)
        self._ask("POST", f"{port_number}/", {"value": str(int(wanted is State.ON))})
        self.confirm(port_number, wanted, within=3)

    def port_status(self, port_number: str) -> State:
        source, said = self._ask("GET", f"{port_number}/")
        if said not in (0, 1) or isinstance(said, float):
            raise PermanentError(f"{source}: {port_number} is not a pin that is on or off")
        return State.ON if said else State.OFF

    def read_outlets(self) -> list[OutletReading]:
        source, pins = self._ask("GET", "")
        if not isinstance(pins, list):
            raise TransientError(f"{source}: the answer is not a list of pins")
        named = [pin for pin in pins if isinstance(pin, str) and re.fullmatch(_PIN, pin)]
        values = {pin: self._ask("GET", f"{pin}/")[1] for pin in named}
        return [
            OutletReading(pin, None, State.ON if value else State.OFF)
            for pin, value in values.items()
            if value in (0, 1) and not isinstance(value, float)
        ]

    def _ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[str, Any]:
        """Ask something of the node; return whose answer it is, as errors begin, and the result."""
        client = Client(self.host, self.deadline, port=self.port)
        answer = client.request(method, f"/nodes/{self.node}/pins/{path}", form=form, also=(404,))
        said = answer.json()
        if not isinstance(said, dict) or "code" not in said:
            raise TransientError(f"{answer.source}: the answer is not that of a server of the bus")
        if said["code"]:
            raise PermanentError(f"{answer.source}: {' '.join(str(said.get('error_message')).split())[:200]}")
        return answer.source, said.get("result")
