# SPDX-License-Identifier: MIT
"""Rack PDUs that speak Redfish: Raritan, Legrand and Server Technology (Xerus), Vertiv Geist, Eaton G4, APC NMC3.

Source: DMTF schemas (PowerDistribution, Outlet, Circuit) and the mock-up of a rack PDU; a published exporter.
Tested: against a fake in the form of DMTF's and OCP's examples of a rack PDU. Which makers and firmware have it is from
documentation, untried.
Quirks: ports are the ids of outlets, ``A1`` or ``1``. A service with several PDUs wants ``pdu``, the id of one of them.
Names are the labels that users gave. Outlets that cannot be switched are told of as well. An outlet on its way on or
off is in no state that counts.

    "rack5": {"driver": "redfish_pdu", "ip": "192.0.2.88", "username": "admin", "password": "secret",
              "ca_file": "/etc/ssl/certs/lab.pem"}
"""

from __future__ import annotations

from pdudaemon.drivers.driver import Named
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label
from pdudaemon.drivers.recognition import LOGIN, Recognised
from pdudaemon.drivers.redfish import RedfishDevice, reading, service_of
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.redfish import Resource, Service, linked, named, part

_STATES = {"On": State.ON, "Off": State.OFF}
_LINES = ("Line1", "Line2", "Line3")
_NEXT_LOOK = 0.5  # seconds


class RedfishPDU(RedfishDevice):
    """Outlets by their ids; each says itself where it takes orders."""

    models = {"redfish_pdu": None}
    ports = Named(
        r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}",
        "the id of an outlet, as A1 or 1",
        lambda port: str(int(port)) if port.isdecimal() else port,
    )
    stable_names = True

    pdu = Setting(text, "", "id of the PDU, where the service has several")

    _outlets: dict[str, str] | None = None

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the first resource, which is there for anybody."""
        root, settings = service_of(pages)
        if "RedfishVersion" not in root or not linked(root.get("PowerEquipment")):
            return None
        identity = Identity(label(root.get("Vendor")) or "", label(root.get("Product")) or "")
        return Recognised({"driver": "redfish_pdu", **settings}, identity, wants=LOGIN)

    def port_interaction(self, command: str, port_number: int | str) -> None:
        wanted = State(command)
        with self.service() as service:
            outlet = service.get(self._place(service, port_number))
            if outlet.get("PowerControlLocked") is True:
                raise PermanentError(f"outlet {port_number} is locked at the device")
            if outlet.get("PowerEnabled") is False:
                raise PermanentError(f"outlet {port_number} cannot be switched")
            target = part(part(outlet, "Actions"), "#Outlet.PowerControl").get("target")
            if not isinstance(target, str):
                raise PermanentError(f"outlet {port_number} cannot be switched: it has no such action")
            service.post(target, {"PowerState": wanted.capitalize()})
            self._await(service, port_number, wanted)

    def port_status(self, port_number: int | str) -> State:
        with self.service() as service:
            return _state(service.get(self._place(service, port_number)))

    def read_outlets(self) -> list[OutletReading]:
        with self.service() as service:
            outlets = service.members(linked(self._pdu(service).get("Outlets")), whole=True)
            if not outlets:
                raise PermanentError(f"{service.peer} tells of no outlets")
        return [
            OutletReading(
                named(linked(outlet)),
                label(outlet.get("UserLabel")),
                _state(outlet),
                **_drawn(outlet),
            )
            for outlet in outlets
        ]

    def read_inlets(self) -> list[InletReading]:
        with self.service() as service:
            pdu = self._pdu(service)
            mains, metrics = linked(pdu.get("Mains")), linked(pdu.get("Metrics"))
            summary = service.get(metrics) if metrics else {}
            circuits = service.members(mains, whole=True) if mains else []
        whole = reading(summary, "PowerWatts"), reading(summary, "EnergykWh", 1000)
        found = [] if whole == (None, None) else [InletReading("total", watts=whole[0], watt_hours=whole[1])]
        for circuit in circuits:
            name = label(circuit.get("UserLabel")) or named(linked(circuit))
            found += [InletReading(name, kind="inlet", **_drawn(circuit)), *_phases(name, circuit)]
        return found

    def identify(self) -> Identity:
        with self.service() as service:
            found = self._pdu(service)
        return Identity(
            *(label(found.get(key)) or "" for key in ("Manufacturer", "Model", "SerialNumber", "FirmwareVersion"))
        )

    def _await(self, service: Service, port: int | str, wanted: State) -> None:
        try:
            while _state(service.get(self._place(service, port))) is not wanted:
                self.deadline.pause(_NEXT_LOOK)
        except DeviceTimeout:
            raise TransientError(f"{service.peer}: outlet {port} is not {wanted} after the order") from None

    def _pdu(self, service: Service) -> Resource:
        """Return the PDU that this is about."""
        equipment = linked(service.root.get("PowerEquipment"))
        collection = linked(service.get(equipment).get("RackPDUs")) if equipment else ""
        if not collection:
            raise PermanentError(f"{service.peer} has no rack PDUs, at least none that Redfish tells of")
        found = {named(linked(each)): linked(each) for each in service.members(collection)}
        if self.pdu in found or (len(found) == 1 and not self.pdu):
            return service.get(found[self.pdu or next(iter(found))])
        raise PermanentError(f"{service.peer} has the PDUs {', '.join(found)[:200]}: `pdu` must be one of them")

    def _place(self, service: Service, port: int | str) -> str:
        """Return where an outlet is; looked up again if it is not known."""
        if self._outlets is None or str(port) not in self._outlets:
            outlets = service.members(linked(self._pdu(service).get("Outlets")))
            self._outlets = {named(linked(each)): linked(each) for each in outlets}
        if str(port) not in self._outlets:
            raise PermanentError(f"{service.peer} has no outlet {str(port)!r}, but {', '.join(self._outlets)}"[:300])
        return self._outlets[str(port)]


def _drawn(circuit: Resource) -> dict[str, float | None]:
    """Return what an outlet or a circuit of one phase reads; one of several may tell nothing as a whole."""
    phases = [line for line in _LINES if part(circuit, "PolyPhaseCurrentAmps").get(line)]
    one = phases[0] if len(phases) == 1 else ""
    return {
        "watts": _either(circuit, "PowerWatts", f"{one}ToNeutral"),
        "volts": _either(circuit, "Voltage", f"{one}ToNeutral"),
        "amps": _either(circuit, "CurrentAmps", one),
        "watt_hours": reading(circuit, "EnergykWh", 1000),
    }


def _either(circuit: Resource, name: str, line: str) -> float | None:
    found = reading(circuit, name)
    return reading(part(circuit, f"PolyPhase{name}"), line) if found is None else found


def _phases(name: str, circuit: Resource) -> list[InletReading]:
    """Return what each phase of a circuit of several reads."""
    watts, volts, amps = (part(circuit, f"PolyPhase{kind}") for kind in ("PowerWatts", "Voltage", "CurrentAmps"))
    phases = [
        InletReading(
            f"{name} {line}",
            watts=reading(watts, f"{line}ToNeutral"),
            volts=reading(volts, f"{line}ToNeutral"),
            amps=reading(amps, line),
            kind="phase",
        )
        for line in _LINES
        if amps.get(line)
    ]
    return phases if len(phases) > 1 else []


def _state(outlet: Resource) -> State:
    if outlet.get("PowerStateInTransition") is True:
        return State.UNKNOWN
    return _STATES.get(str(outlet.get("PowerState")), State.UNKNOWN)
