# SPDX-License-Identifier: MIT
"""ChromeOS servo debug boards, by the XML-RPC of their daemon ``servod`` (hdctools).

Source: hdctools (`servod`); the calls that the existing PDUDaemon makes.
Tested: against a fake, and against the XML-RPC server of Python's standard library.
Quirks: all ports are one: the number is ignored. The controls are set in order, resets the other way round, since they
hold the board while they are on. The state is that of the resets if they agree, else unknown; ``power_state`` can only
be set. Without ``ip`` the daemon is on this machine, whatever the name of the PDU.

    "board1": {"driver": "SERVO", "ctrls": "cold_reset"},
    "board2": {"driver": "SERVO", "ip": "192.0.2.54", "port": 9998, "ctrls": ["warm_reset", "cold_reset"]}
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers.expat import ExpatError

from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, near, text
from pdudaemon.transports.http import Client

_RESETS = ("warm_reset", "cold_reset")
_CONTROLS = (*_RESETS, "power_state")
_THE_PORT = "1"
_OPPOSITE = {"on": "off", "off": "on"}


def _controls(value: object) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise ValueError(f"{value!r} is neither a control nor a list of them")
    for name in names:
        if name not in _CONTROLS:
            raise ValueError(f"{name!r} is none of {', '.join(_CONTROLS)}{near(str(name), _CONTROLS)}")
    return names


class Servo(PDUDriver):
    """Sets controls; reads those that can be read."""

    models = {"SERVO": None}

    ip = Setting(text, "localhost", "address of `servod`; may end in `:port`")
    port = tcp_port(9999, "`servod`")
    ctrls = Setting(Kind(f"some of {' '.join(_CONTROLS)}", _controls), ["cold_reset"], "control, or list of controls")

    @hook
    def canonical_port(self, port: str) -> str:
        if not re.fullmatch(r"\w+", super().canonical_port(port), re.ASCII):
            raise ValueError(f"{port!r} is not a port: a number or a word, which is ignored")
        return _THE_PORT

    @hook
    def reads_state(self) -> bool:
        return any(control in _RESETS for control in self.ctrls)

    @hook
    def reads_outlets(self) -> bool:
        return self.reads_state()

    def port_interaction(self, command: str, port_number: int) -> None:
        for control in self.ctrls:
            source, done = self._call("set", control, _OPPOSITE[command] if control in _RESETS else command)
            if done is False:
                raise TransientError(f"{source}: it was not set")

    def port_status(self, port_number: int) -> State:
        found = {self._read(control) for control in self.ctrls if control in _RESETS}
        if not found:
            return super().port_status(port_number)
        return found.pop() if len(found) == 1 else State.UNKNOWN

    def read_outlets(self) -> list[OutletReading]:
        return [OutletReading(_THE_PORT, state=self.port_status(1))]

    def _read(self, reset: str) -> State:
        source, said = self._call("get", reset)
        if not isinstance(said, str) or said not in _OPPOSITE:
            raise TransientError(f"{source}: {str(said)[:40]!r} is neither on nor off")
        return State(_OPPOSITE[said])

    def _call(self, method: str, *arguments: str) -> tuple[str, Any]:
        """Call a method; return how errors about that begin, and the value that came."""
        import xmlrpc.client  # takes 14 ms, which is only for who has such a board

        body = xmlrpc.client.dumps(arguments, method).encode()
        client = Client(self.ip, self.deadline, port=self.port)
        answer = client.request("POST", "/RPC2", body=body, headers={"Content-Type": "text/xml"})
        source = f"{answer.source}, {method} {arguments[0]}"
        try:
            (value,), _ = xmlrpc.client.loads(answer.body)
        except xmlrpc.client.Fault as fault:
            why = " ".join(str(fault.faultString).split())[:200]
            raise (PermanentError if "No control named" in why else TransientError)(f"{source}: {why}") from None
        except (ExpatError, xmlrpc.client.Error, ArithmeticError, LookupError, TypeError, ValueError):
            raise TransientError(f"{source}: the answer is not XML-RPC") from None
        return source, value
