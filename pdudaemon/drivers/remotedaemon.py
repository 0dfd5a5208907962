# SPDX-License-Identifier: MIT
"""A PDU, or the nodes, of another pdudaemon: of one like this, or of the existing daemon, which has HTTP as well.

The other daemon waits for its device as this one waits for it, and what it says of a failure is said on. An order has
an ``Idempotency-Key``, so that one whose answer was lost is asked for again, and is not done twice.

Source: this daemon's own API (share/api.md); the existing PDUDaemon's requests.
Tested: against this daemon, and a fake of it with tokens; by hand, against PDUDaemon 1.1.1.
Quirks: the port is what the other daemon calls it; with ``pdudaemon_nodes`` it is one of its nodes. What it does not
read from its device is unknown here. The ``existing`` daemon answers when it has accepted an order, whatever comes of
that, and tells no state.

    "annex": {"driver": "pdudaemon", "url": "https://annex:16421", "pdu": "rack7", "token": "secret"},
    "old-rack": {"driver": "pdudaemon", "url": "http://old:16421", "existing": true},
    "annex-nodes": {"driver": "pdudaemon_nodes", "url": "https://annex:16421", "token": "secret"}
"""

from __future__ import annotations

import json
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.ports import Ports
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import CHANGE_ME, Recognised
from pdudaemon.drivers.webservice import WebService
from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Response
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import in_words

_USUAL_PORT = 16421
_ITSELF = Identity("pdudaemon")
_TO_BE_READ = {*range(400, 600)}
_MARGIN = 1.0  # seconds by which the other daemon's patience ends before ours
_REPEATED = 120.0  # seconds for which an order without an answer is taken to be asked for again
_NOTHING: Mapping[str, str] = {}
_PAGE = 500  # nodes that are asked for at once
_KIND = "urn:pdudaemon:"
_UNKNOWN_TO_IT = "Invalid request"  # what the existing daemon says of a PDU that it does not have
_GOES_ON = ("not-done", "stopping")
_LATER: dict[str, type[DeviceError]] = {
    "device-failed": TransientError,
    "device-timeout": DeviceTimeout,
    "not-done": DeviceTimeout,
    "stopping": TransientError,
    "busy": TransientError,
    "ended": TransientError,
    "store": TransientError,
}


class RemoteDaemon(WebService):
    """An order is known by its key for as long as nobody knows what came of it."""

    models = {"pdudaemon": None}
    ports = Ports()

    pdu = Setting(text, "", "name of the PDU at the other daemon, if it is not the same as here")
    token = Setting(text, "", "token for the other daemon, if it wants one", secret=True)
    existing = Setting(boolean, False, "it is the existing daemon, which tells neither results nor states")

    @hook
    def reads_state(self) -> bool:
        return not self.existing

    @hook
    def reads_outlets(self) -> bool:
        return not self.existing

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._unanswered: dict[str, tuple[str, str, float]] = {}  # port -> command, its key, and since when

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for another daemon by its list of PDUs, or by how it wants a token for that."""
        if cls is not RemoteDaemon:
            return None
        answer = pages.get("/api/v1/pdus", port=_USUAL_PORT)
        url = f"http://{in_words(pages.host, pages.port or _USUAL_PORT)}"
        if answer is None:
            return None
        settings = {"driver": "pdudaemon", "url": url}
        try:
            said = answer.json()
        except DeviceError:
            return None
        if answer.status == 401 and isinstance(said, dict) and str(said.get("type")).startswith(_KIND):
            return Recognised({**settings, "token": CHANGE_ME}, _ITSELF, wants="a token, and the name of a PDU there")
        names = [str(each.get("name")) for each in said if isinstance(each, dict)] if isinstance(said, list) else []
        if answer.status != 200 or not names or not all(isinstance(each, dict) and "driver" in each for each in said):
            return None
        others = ", ".join(names[1:])[:200]
        wants = f"the same for its other PDUs {others}" if others else ""
        return Recognised({**settings, "pdu": names[0]}, _ITSELF, wants=wants)

    def port_interaction(self, command: str, port_number: str | int) -> None:
        port = str(port_number)
        was, key, since = self._unanswered.get(port, ("", "", 0.0))
        if was != command or time.monotonic() - since > _REPEATED:
            key, since = str(uuid.uuid4()), time.monotonic()
        self._unanswered[port] = command, key, since
        patience = max(0.5, self.deadline.remaining() - _MARGIN)
        wait, once = ({}, {}) if self.existing else ({"wait": f"{patience:.1f}"}, {"Idempotency-Key": key})
        answer = self._ask(f"/power/control/{command}", {**self._words(port), **wait}, once)
        if answer.status < 300:
            del self._unanswered[port]
            return
        kind, error = _refusal(answer)
        if kind not in _GOES_ON:
            del self._unanswered[port]
        raise error

    def port_status(self, port_number: str | int) -> State:
        answer = self._ask("/power/control/status", self._words(str(port_number)))
        return _state(self._told(answer))

    def read_outlets(self) -> list[OutletReading]:
        answer = self._ask(self._place)
        try:
            return [
                OutletReading(str(each["port"]), label(each["name"]), _state(each), **_drawn(each))
                for each in self._told(answer)["outlets"]
            ]
        except (LookupError, TypeError):
            raise TransientError(f"{answer.source}: the answer does not tell of the outlets") from None

    def read_inlets(self) -> list[InletReading]:
        if self.existing:
            return []
        found = self._told(self._ask(self._place)).get("inlets") or []
        return [
            InletReading(str(each["name"]), **_drawn(each), kind=each.get("kind", "pdu"))
            for each in found
            if isinstance(each, dict) and each.get("name")
        ]

    def identify(self) -> Identity | None:
        if self.existing:
            return None
        said = self._told(self._ask(self._place)).get("identity") or {}
        return Identity(*(label(said.get(key)) or "" for key in ("maker", "model", "serial", "firmware")))

    @property
    def _name(self) -> str:
        return self.pdu or self.hostname

    @property
    def _place(self) -> str:
        return f"/api/v1/pdus/{urllib.parse.quote(self._name, safe='')}?fresh=1"

    def _words(self, port: str) -> dict[str, str]:
        """Return what says which outlet is meant."""
        return {"hostname": self._name, "port": port}

    def _ask(self, path: str, words: Mapping[str, str] = _NOTHING, more: Mapping[str, str] = _NOTHING) -> Response:
        query = urllib.parse.urlencode(words)
        headers = {"Accept": "application/json", **more}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        target = f"{self.url.path}{path}" + (f"?{query}" if query else "")
        return self.client().request("GET", target, headers=headers, also=_TO_BE_READ)

    def _told(self, answer: Response) -> dict[str, Any]:
        """Return what an answer tells. Raises: what it says instead."""
        if answer.status >= 300:
            raise _refusal(answer)[1]
        said = answer.json()
        if not isinstance(said, dict):
            raise TransientError(f"{answer.source}: the answer is not that of a pdudaemon")
        return said


class RemoteNodes(RemoteDaemon):
    """A port is a node, or an alias, of the other daemon, with all of its feeds."""

    models = {"pdudaemon_nodes": None}

    pdu = Setting(text, "", "", obsolete="its ports are nodes, of whatever PDUs")
    existing = Setting(boolean, False, "", obsolete="the existing daemon has no nodes")

    def read_outlets(self) -> list[OutletReading]:
        found: list[OutletReading] = []
        after: dict[str, str] = {}
        while True:
            answer = self._ask("/api/v1/nodes", {"limit": str(_PAGE), **after})
            if answer.status >= 300:
                raise _refusal(answer)[1]
            try:
                page = [(str(each["name"]), each) for each in answer.json()]
                found += [OutletReading(name, None, _state(each), **_sums(each["feeds"])) for name, each in page]
            except (LookupError, TypeError):
                raise TransientError(f"{answer.source}: the answer does not tell of the nodes") from None
            if len(page) < _PAGE:
                return found
            after = {"after": page[-1][0]}

    def read_inlets(self) -> list[InletReading]:
        return []

    def identify(self) -> Identity | None:
        return None

    def _words(self, port: str) -> dict[str, str]:
        return {"alias": port}


def _sums(feeds: list[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return what a node draws by all of its feeds, as far as it is measured for each of them."""
    drawn = [_drawn(feed) for feed in feeds]
    whole = {name: [each[name] for each in drawn] for name in ("watts", "amps", "watt_hours")}
    return {name: None if None in values else sum(filter(None, values)) for name, values in whole.items() if values}


def _state(said: Mapping[str, Any]) -> State:
    """Return the state that is told, if the other daemon has it from the device."""
    known = str(said.get("state")) if said.get("source") == "device" else ""
    return State(known) if known in [*State] else State.UNKNOWN


def _drawn(said: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: quantity(said.get(name)) for name in ("watts", "volts", "amps", "watt_hours")}


def _refusal(answer: Response) -> tuple[str, DeviceError]:
    """Return of which kind a refusal is, and the error to raise."""
    try:
        said = json.loads(answer.body)
        kind, why = str(said["type"]).removeprefix(_KIND), str(said["detail"])
    except (ValueError, LookupError, TypeError):
        kind, why = "", (label(answer.text) or "") if answer.body else ""
    final = kind or answer.status < 500 or why == _UNKNOWN_TO_IT
    error = _LATER.get(kind) or (PermanentError if final else TransientError)
    if answer.status == 401:
        error = LoginRefused
    return kind, error(f"{answer.source}: {why or 'refused'} ({answer.status})")
