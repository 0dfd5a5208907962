# SPDX-License-Identifier: MIT
"""Dataprobe iBoot-PDU, by its REST API (``iboot_pdu`` speaks SNMP with it).

Source: public clients of the API.
Tested: against a fake only.
Quirks: what goes wrong is said with success false, a token that has expired too: then another login is tried once. An
outlet on its way is in no state that counts. Volts and amps are those of the lines, not of outlets.

    "rack1": {"driver": "iboot_rest", "ip": "192.0.2.96", "password": "secret"},
    "rack2": {"driver": "iboot_rest", "ip": "192.0.2.97", "password": "secret", "protocol": "https", "insecure": true}
"""

from __future__ import annotations

from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, WAYS, Recognised, reached
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages, object_of

_STATES = {"on": State.ON, "off": State.OFF}
_LINES = ("1", "2")
_MILLI = 0.001


class IBootPDU(SecureWebDevice):
    """The token of a login is kept for the next action."""

    models = {"iboot_rest": None}
    ports = Numbered(32, at_most=True)
    stable_names = True

    username, password = login("admin", "admin", "the PDU")

    _token = ""

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        self._call("control", control="outlet", command=command, outlets=[str(port_number)])
        self.confirm(port_number, wanted, within=5)

    def port_status(self, port_number: int) -> State:
        return self._states([str(port_number)])[str(port_number)]

    def read_outlets(self) -> list[OutletReading]:
        source, said = self._call("retrieve", names=["outlets"])
        names = said.get("names")
        named = names.get("outlets") if isinstance(names, dict) else None
        if not isinstance(named, dict) or not named:
            raise TransientError(f"{source}: the answer does not tell of the outlets")
        states = self._states([*named])
        return [OutletReading(port, label(name), states[port]) for port, name in named.items()]

    def read_inlets(self) -> list[InletReading]:
        wanted = [f"L{kind}{line}" for kind in "CV" for line in _LINES]
        _, said = self._call("retrieve", analog=wanted)
        analog = said.get("analog")
        found = analog if isinstance(analog, dict) else {}
        lines = [
            InletReading(
                f"line {line}",
                volts=quantity(found.get(f"LV{line}")),
                amps=quantity(found.get(f"LC{line}"), _MILLI),
                kind="inlet",
            )
            for line in _LINES
        ]
        return [line for line in lines if (line.volts, line.amps) != (None, None)]

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by how it refuses to tell names without a token."""
        for port, secure in WAYS:
            said = object_of(pages.post("/services/retrieve/", {"names": ["outlets"]}, port=port, secure=secure))
            if said.get("success") is False and isinstance(said.get("message", ""), str):
                settings = {"driver": "iboot_rest", **reached(pages, secure)}
                return Recognised(settings, Identity("Dataprobe", "iBoot-PDU"), wants=LOGIN)
        return None

    def _states(self, ports: list[str]) -> dict[str, State]:
        source, said = self._call("retrieve", outlets=ports)
        outlets = said.get("outlets")
        if not isinstance(outlets, dict) or not {*ports} <= outlets.keys():
            raise TransientError(f"{source}: the answer does not tell the state of {', '.join(ports)[:60]}")
        return {port: _STATES.get(str(outlets[port]).lower(), State.UNKNOWN) for port in ports}

    def _call(self, service: str, **order: Any) -> tuple[str, dict[str, Any]]:
        """Ask for something, logged in; return whose answer it is, as errors begin, and the answer."""
        kept = bool(self._token)
        if not kept:
            self._log_in()
        source, said = self._post(service, token=self._token, **order)
        if said.get("success") is not True and kept:
            self._log_in()
            source, said = self._post(service, token=self._token, **order)
        if said.get("success") is not True:
            raise PermanentError(f"{source}: {label(said.get('message')) or 'refused, without a reason'}")
        return source, said

    def _log_in(self) -> None:
        self._token = ""
        source, said = self._post("auth", username=self.username, password=self.password)
        token = said.get("token")
        if said.get("success") is not True or not isinstance(token, str):
            raise LoginRefused(f"login refused by {source}")
        self._token = token

    def _post(self, service: str, **said: Any) -> tuple[str, dict[str, Any]]:
        answer = self.client().request("POST", f"/services/{service}/", json=said)
        found = answer.json()
        if not isinstance(found, dict):
            raise TransientError(f"{answer.source}: the answer is not a JSON object")
        return answer.source, found
