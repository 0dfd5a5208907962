# SPDX-License-Identifier: MIT
"""Raritan PX2, PX3, PX4 and PXO, Server Technology PRO3X and PRO4X, Legrand: PDUs with Xerus firmware, by JSON-RPC.

Source: Raritan's JSON-RPC SDK 4; answers of devices as public clients have recorded them.
Tested: against a fake, over TLS as well.
Quirks: HTTPS only, with a certificate of the PDU's own. All outlets are asked in bulk, 50 questions at a time; which
sensors there are differs between models. An outlet that is on its way (cycling, sequence delays) is unknown. Linked
PDUs have ``unit`` 1 and up.

    "rack7": {"driver": "xerus", "ip": "192.0.2.54", "password": "secret", "insecure": true},
    "192.0.2.55": {"driver": "xerus", "username": "pdu", "password": "secret", "ca_file": "/etc/pdudaemon/lab.pem"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import SecureWebDevice, login
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of, trusted
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, integer
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client
from pdudaemon.transports.pages import Pages, object_of

_AT_ONCE = 50  # questions in bulk
_REFUSALS = {
    1: "the outlet cannot be switched",
    2: "load shedding is active",
    3: "switching is disabled for the outlet",
    5: "relay control is disabled in the PDU's settings",
}
_SENSORS = {"watts": "activePower", "volts": "voltage", "amps": "current", "watt_hours": "activeEnergy"}
_SETTLED = 10  # seconds in which an outlet that was switched has come to rest

Question = tuple[str, str]
"""The id of a resource, and a method of it without parameters."""


class Xerus(SecureWebDevice):
    """Each outlet, inlet and sensor is a resource of its own."""

    models = {"xerus": None}
    ports = Numbered(240, at_most=True)
    stable_names = True

    protocol = Setting(choice("http", "https"), "https", "how the device is reached")
    username, password = login("admin", "", "the PDU")
    unit = Setting(integer(0, 63), 0, "which of several linked PDUs it is; 0 is the one that is reached")

    def port_interaction(self, command: str, port_number: int) -> None:
        wanted = State(command)
        with self._model() as model:
            said = model.call(self._outlet(port_number), "setPowerState", pstate=int(wanted is State.ON))
        if said:
            why = _REFUSALS.get(said, "the PDU does not say why") if isinstance(said, int) else "the PDU refuses"
            raise PermanentError(f"{self.host}: outlet {port_number}: {why} ({said})")
        self.confirm(port_number, wanted, within=_SETTLED)

    def port_status(self, port_number: int) -> State:
        with self._model() as model:
            said = model.call(self._outlet(port_number), "getState")
        if not isinstance(said, dict):
            raise TransientError(f"{self.host} does not tell the state of outlet {port_number}")
        return _state(said)

    def read_outlets(self) -> list[OutletReading]:
        with self._model() as model:
            ids = model.ids(self._pdu, "getOutlets")
            if not ids:
                raise PermanentError(f"{self.host} has no outlets")
            names, states, sensors = model.of_each(ids, "getSettings", "getState", "getSensors")
            measured = model.measured(sensors)
        return [
            OutletReading(str(number), label(name.get("name")), _state(state), **drawn)
            for number, (name, state, drawn) in enumerate(zip(names, states, measured, strict=True), 1)
        ]

    def read_inlets(self) -> list[InletReading]:
        with self._model() as model:
            ids = model.ids(self._pdu, "getInlets")
            if not ids:
                return []
            about, sensors = model.of_each(ids, "getMetaData", "getSensors")
            measured = model.measured(sensors)
        kind = "inlet" if len(about) > 1 else "pdu"
        return [
            InletReading(label(each.get("label")) or f"inlet {number}", **drawn, kind=kind)  # type: ignore[arg-type]
            for number, (each, drawn) in enumerate(zip(about, measured, strict=True), 1)
            if any(value is not None for value in drawn.values())
        ]

    def identify(self) -> Identity:
        with self._model() as model:
            identity = _identity(model.call(self._pdu, "getMetaData"))
        if identity is None:
            raise TransientError(f"{self.host} does not tell who it is")
        return identity

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the resource of its PDU, which is there even if only who logs in may see it."""
        place, question = "/model/pdu/0", {"jsonrpc": "2.0", "method": "getMetaData", "params": {}, "id": 1}
        for port, secure in ((443, True), (80, False)):
            result = object_of(pages.post(place, question, port=port, secure=secure)).get("result")
            identity = _identity(result.get("_ret_")) if isinstance(result, dict) else None
            if identity is not None or pages.wants_login(place, port=port, secure=secure, json=question):
                how = trusted(pages) if secure else {"protocol": "http"}
                return Recognised({"driver": "xerus", **place_of(pages), **how}, identity or Identity(), wants=LOGIN)
        return None

    @property
    def _pdu(self) -> str:
        return f"/model/pdu/{self.unit}"

    def _outlet(self, number: int) -> str:
        return f"{self._pdu}/outlet/{number - 1}"  # which all firmware knows, whatever id it hands out itself

    @contextmanager
    def _model(self) -> Iterator[_Model]:
        with self.client(self.username, self.password) as client:
            yield _Model(client)


class _Model:
    """The resources of a PDU, asked over one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, rid: str, method: str, **params: Any) -> Any:
        """Call a method of a resource; return what it returns. Raises: DeviceError."""
        return self._post(rid, method, params).get("_ret_")

    def ids(self, rid: str, method: str) -> list[str]:
        """Return the ids of the parts that a resource tells of by a method, in order."""
        return [part for each in _list(self.call(rid, method)) if (part := _id(each))]

    def of_each(self, ids: Sequence[str], *methods: str) -> list[list[dict[str, Any]]]:
        """Ask several things of several parts; return the answers to each method, in order."""
        said = self._bulk([(rid, method) for method in methods for rid in ids])
        found = [each if isinstance(each, dict) else {} for each in said]
        return [found[start : start + len(ids)] for start in range(0, len(methods) * len(ids), len(ids))]

    def measured(self, sensors: Iterable[Mapping[str, Any]]) -> list[dict[str, float | None]]:
        """Read those of some sensors that measure a quantity of ours."""
        places = [{name: _id(each.get(sensor)) for name, sensor in _SENSORS.items()} for each in sensors]
        asked = sorted({rid for place in places for rid in place.values() if rid})
        values = dict(zip(asked, map(_value, self._bulk([(rid, "getReading") for rid in asked])), strict=True))
        return [{name: values.get(rid) for name, rid in place.items()} for place in places]

    def _bulk(self, questions: Sequence[Question]) -> list[Any]:
        """Ask many things at once; return what each answer returns, None for one that failed."""
        found: list[Any] = []
        for start in range(0, len(questions), _AT_ONCE):
            asked = questions[start : start + _AT_ONCE]
            requests = [{"rid": rid, "json": _frame(method, {}, number)} for number, (rid, method) in enumerate(asked)]
            said = self._post("/bulk", "performBulk", {"requests": requests})
            answers = _list(said.get("responses"))
            if len(answers) != len(asked):
                raise TransientError(f"{self._client.peer} does not answer all that it was asked")
            found += [_returned(each) for each in answers]
        return found

    def _post(self, rid: str, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Call a method; return its result, of which ``_ret_`` is what it returns."""
        answer = self._client.request("POST", rid, json=_frame(method, params, 1), also=(404,))
        if answer.status == 404:
            raise PermanentError(f"{answer.source}: the PDU has no such outlet or part (404)")
        said = answer.json()
        if isinstance(said, dict) and isinstance(error := said.get("error"), dict):
            raise PermanentError(f"{answer.source} {method}: {label(error.get('message'))} ({error.get('code')})")
        if not isinstance(said, dict) or not isinstance(said.get("result"), dict):
            raise TransientError(f"{answer.source} {method}: the answer has neither a result nor an error")
        return dict(said["result"])


def _frame(method: str, params: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params, "id": number}


def _list(said: object) -> list[Any]:
    return said if isinstance(said, list) else []


def _id(reference: object) -> str:
    """Return the id that a reference to a part has; empty if there is none."""
    rid = reference.get("rid") if isinstance(reference, dict) else reference
    return rid if isinstance(rid, str) and rid.startswith("/") else ""


def _returned(answer: object) -> Any:
    """Return what an answer in bulk returns, None if it is an error."""
    try:
        return answer["json"]["result"]["_ret_"]  # type: ignore[index]
    except (LookupError, TypeError):
        return None


def _state(said: Mapping[str, Any]) -> State:
    if said.get("available") is False:
        return State.UNKNOWN
    if said.get("switchOnInProgress") or said.get("cycleInProgress"):
        return State.UNKNOWN
    return {0: State.OFF, 1: State.ON}.get(said.get("powerState", -1), State.UNKNOWN)


def _value(said: object) -> float | None:
    """Return what a sensor reads, if it reads something now."""
    if not isinstance(said, dict) or said.get("available") is False or said.get("valid") is False:
        return None
    return quantity(said.get("value"))


def _identity(said: object) -> Identity | None:
    """Return what a PDU says of itself; None if that is something else."""
    plate = said.get("nameplate") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(plate, dict):
        return None
    maker, model, serial = (label(plate.get(key)) or "" for key in ("manufacturer", "model", "serialNumber"))
    return Identity(maker, model, serial, label(said.get("fwRevision")) or "")
