# SPDX-License-Identifier: MIT
"""Nodes of an OpenFlight Power server (``power-server``), or of another daemon like this, by OpenFlight's HTTP API.

Source: OpenFlight Power's server as it answers, and its documentation.
Tested: against this daemon, with a topology and tokens, and a fake of the power-server.
Quirks: a port is the name of a node. The power-server itself takes letters and digits only in a name, and says of a
failure that it failed and no more. A reboot is off, delay and on, unless ``restart`` says that the server's own is
meant, which is not done again after a crash.

    "cluster": {"driver": "openflight", "url": "http://192.0.2.85:6302", "token": "secret"},
    "cloud": {"driver": "openflight", "url": "https://power.example/cloud", "token": "secret", "restart": true}
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Any

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.readings import OutletReading, label
from pdudaemon.drivers.webservice import WebService
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text

_NODE = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"  # neither a range nor two names
_METHODS = {"on": "PATCH", "off": "DELETE", "restart": "PUT", "status": "GET"}
_STATES: dict[object, State] = {True: State.ON, False: State.OFF}


class OpenFlight(WebService):
    """The method of a request says what is to be done, its query to whom."""

    models = {"openflight": None}
    ports = Named(_NODE, "the name of one node: letters, digits and _ . - only")

    token = Setting(text, "", "token of the server", secret=True, required=True)
    restart = Setting(boolean, False, "use the server's own restart for a reboot")

    @hook
    def restarts(self) -> bool:
        return self.restart

    def port_interaction(self, command: str, port_number: str | int) -> None:
        self._do(command, [str(port_number)])

    def port_reboot(self, port_number: str | int) -> None:
        self._do("restart", [str(port_number)])

    def port_status(self, port_number: str | int) -> State:
        (said,) = self._do("status", [str(port_number)]).values()
        return _STATES.get(said, State.UNKNOWN)

    def read_outlets(self) -> list[OutletReading]:
        answer = self._ask("GET", "/nodes")
        names = [str(each.get("id")) for each in answer if re.fullmatch(_NODE, str(each.get("id")), re.ASCII)]
        if not names:
            raise PermanentError(f"{self.url.host} has no nodes")
        try:
            told = self._do("status", names, strict=False)
        except PermanentError:
            if all(map(str.isalnum, names)):
                raise
            told = self._do("status", filter(str.isalnum, names), strict=False)  # OpenFlight's own takes no others
        return [OutletReading(name, state=_STATES.get(told.get(name), State.UNKNOWN)) for name in names]

    def _do(self, action: str, names: Iterable[str], strict: bool = True) -> dict[str, Any]:
        """Have something done to nodes; return whether each is running. Raises: why not, of ``strict`` ones."""
        found: dict[str, Any] = {}
        names = [*names]
        query = urllib.parse.urlencode({"nodes": ",".join(names)})
        for each in self._ask(_METHODS[action], f"/?{query}"):
            name, told = str(each.get("id")), each.get("attributes")
            told = told if isinstance(told, dict) else {}
            found[name] = told.get("running") if told.get("success") is True else None
            if strict and told.get("missing") is True:
                raise PermanentError(f"{self.url.host} has no node {name!r}")
            if strict and told.get("success") is not True:
                why = label(told.get("error"))
                raise TransientError(f"{self.url.host} failed at {action} of {name}" + (f": {why}" if why else ""))
        if strict and {*found} != {*names}:
            raise TransientError(f"{self.url.host} does not tell what became of {', '.join(names)}")
        return found

    def _ask(self, method: str, target: str) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        answer = self.client().request(method, f"{self.url.path}{target}", headers=headers)
        said = answer.json()
        data = said.get("data") if isinstance(said, dict) else None
        if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
            raise TransientError(f"{answer.source}: the answer is not that of a power server")
        return data
