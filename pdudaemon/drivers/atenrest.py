# SPDX-License-Identifier: MIT
"""ATEN PE PDUs (PE6216, PE8216 and others with up to 16 outlets), by their REST API.

Source: a public client of it; the vendor's manual.
Tested: against a fake only.
Quirks: a question has the password in its query, which no error and no log of ours shows: prefer https. An outlet on
its way (PENDING) is in no state that counts. Outlets are asked one by one.

    "rack1": {"driver": "aten_rest", "ip": "192.0.2.113", "password": "secret", "protocol": "https", "insecure": true}
"""

from __future__ import annotations

import re
import urllib.parse

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.errors import TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer

_RELAY = "/api/outlet/relay"
_TOLD = re.compile(r"<(\d{1,2})>\s*(ON|OFF|PENDING)\s*<", re.IGNORECASE)
_STATES = {"ON": State.ON, "OFF": State.OFF}


class ATENRest(SecureWebDevice):
    """One resource, for one outlet at a time."""

    models = {"aten_rest": None}

    username, password = login("administrator", "password", "the API")
    outlets = Setting(integer(1, 48), 16, "number of outlets")
    ports = Numbered(outlets)

    def port_interaction(self, command: str, port_number: int) -> None:
        order = {"usr": self.username, "pwd": self.password, "index": str(port_number), "method": command}
        self.client().request("POST", _RELAY, form=order)
        self.confirm(port_number, State(command), within=10)

    def port_status(self, port_number: int) -> State:
        query = urllib.parse.urlencode({"usr": self.username, "pwd": self.password, "index": port_number})
        answer = self.client().request("GET", f"{_RELAY}?{query}")
        found = {int(number): word.upper() for number, word in _TOLD.findall(answer.text)}
        if port_number not in found:
            raise TransientError(f"{answer.source}: the answer does not tell the state of outlet {port_number}")
        return _STATES.get(found[port_number], State.UNKNOWN)
