# SPDX-License-Identifier: MIT
"""Machines with a BMC that speaks Redfish: servers of nearly all makers, and (``redfish_chassis``) whole enclosures.

Port ``1`` is the machine; a BMC with several has ports by their ids (``Node2``).

Source: DMTF DSP0266 and schemas; what public clients are known to do.
Tested: against the emulator of sushy-tools, over TLS, and a fake with sessions, tasks, and other things that BMCs do.
Quirks: on and off are told to a machine that is not so already, and its state is read until it has changed. A reboot is
``PowerCycle``, or what comes closest of what the machine takes; with ``reset`` ``ForceRestart``, with ``off-on`` off,
delay, on; a machine that is off is switched on by it. What is on its way on or off is in no state that counts. Watts
and energy are those of the chassis around it. Most certificates are the BMC's own: give ``ca_file``, ``fingerprint``,
or ``insecure``.

    "node04": {"driver": "redfish", "ip": "node04-bmc", "username": "admin", "password": "secret",
               "fingerprint": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"},
    "blade7": {"driver": "redfish_chassis", "ip": "192.0.2.7", "username": "admin", "password": "secret",
               "insecure": true}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.network import SecureWebDevice
from pdudaemon.drivers.readings import Identity, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, place_of, trusted
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, choice, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.redfish import ROOT, Resource, Service, linked, named, part

_STATES = {"On": State.ON, "Off": State.OFF, "Paused": State.ON}
_MOVING = ("PoweringOn", "PoweringOff")
_ON, _OFF = ("On", "ForceOn"), ("ForceOff",)
_RESTARTS = {"cycle": ("PowerCycle", "ForceRestart"), "reset": ("ForceRestart",)}
_SHUTDOWN = ("GracefulShutdown", "PushPowerButton")
_NEXT_LOOK = 1.0  # seconds
_THE_ONE = "1"  # the port of a machine that is alone


class _Kind(NamedTuple):
    """What is switched: the collection that it is in, the action that switches it, how people call it."""

    collection: str
    action: str
    word: str


class RedfishDevice(SecureWebDevice):
    """What has a Redfish service. What was found out about it is kept until something fails for good."""

    protocol = Setting(choice("http", "https"), "https", "how the service is reached")
    username = Setting(text, "", "user name")
    password = Setting(text, "", "password of that user", secret=True)

    _root: Resource | None = None

    @contextlib.contextmanager
    def service(self) -> Iterator[Service]:
        """Talk to the service."""
        login = (self.username, self.password)
        try:
            with Service(self.client(), self.client(*login), self.deadline, login, self._root) as service:
                yield service
                self._root = service.root
        except PermanentError:
            self._root = None  # it may be another device by now
            raise


def service_of(pages: Pages) -> tuple[Resource, dict[str, Any]]:
    """Return the first resource of the service at an address, empty if there is none, and the settings to reach it."""
    if root := pages.json(ROOT, port=443, secure=True):
        return root, {**place_of(pages), **trusted(pages)}
    return pages.json(ROOT), {**place_of(pages), "protocol": "http"}


class Redfish(RedfishDevice):
    """Systems, or chassis: what can be reset."""

    models = {
        "redfish": _Kind("Systems", "#ComputerSystem.Reset", "system"),
        "redfish_chassis": _Kind("Chassis", "#Chassis.Reset", "chassis"),
    }
    ports = Named(
        r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}",
        f"{_THE_ONE}, or the id of a machine where the BMC has several",
        lambda port: str(int(port)) if port.isdecimal() else port,
    )

    restart = Setting(choice("cycle", "reset", "off-on"), "cycle", "what a reboot is: the BMC's own, or off and on")

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the first resource, which is there for anybody."""
        root, settings = service_of(pages)
        if "RedfishVersion" not in root or not linked(root.get("Systems")):
            return None
        identity = Identity(label(root.get("Vendor")) or "", label(root.get("Product")) or "")
        return Recognised({"driver": "redfish", **settings}, identity, wants=LOGIN)

    @hook
    def restarts(self) -> bool:
        return self.restart != "off-on"

    def port_interaction(self, command: str, port_number: int | str) -> None:
        with self.service() as bmc:
            self._switch(bmc, self._place(bmc, port_number), State(command))

    def port_reboot(self, port_number: int | str) -> None:
        with self.service() as bmc:
            place = self._place(bmc, port_number)
            if self._settled(bmc, place) is not State.OFF:
                self._reset(bmc, bmc.get(place), _RESTARTS[self.restart])
            self._switch(bmc, place, State.ON)

    def port_shutdown(self, port_number: int | str) -> None:
        with self.service() as bmc:
            machine = bmc.get(self._place(bmc, port_number))
            if _state(machine) is not State.OFF:
                self._reset(bmc, machine, _SHUTDOWN)

    def port_status(self, port_number: int | str) -> State:
        with self.service() as bmc:
            return _state(bmc.get(self._place(bmc, port_number)))

    def read_outlets(self) -> list[OutletReading]:
        with self.service() as bmc:
            return [self._reading(bmc, port, bmc.get(place)) for port, place in self._places(bmc).items()]

    def identify(self) -> Identity:
        with self.service() as bmc:
            machine = bmc.get(next(iter(self._places(bmc).values())))
            manager = next(iter(_links(machine, "ManagedBy")), "")
            firmware = bmc.get(manager).get("FirmwareVersion") if manager else ""
            said = [label(machine.get(key)) or "" for key in ("Manufacturer", "Model", "SerialNumber")]
            maker = said[0] or label(bmc.root.get("Vendor")) or ""
            return Identity(maker, said[1], said[2], label(firmware) or "")

    def _places(self, bmc: Service) -> dict[str, str]:
        """Return where the machines are, by port."""
        collection = linked(bmc.root.get(self.row.collection))
        if not collection:
            raise PermanentError(f"{bmc.peer} has no {self.row.collection}")
        found = [linked(each) for each in bmc.members(collection)]
        if not found:
            raise PermanentError(f"{bmc.peer} has no {self.row.word}")
        if len(found) == 1:
            return {_THE_ONE: found[0]}
        return {named(place): place for place in found}

    def _place(self, bmc: Service, port: int | str) -> str:
        places = self._places(bmc)
        if str(port) not in places:
            raise PermanentError(f"{bmc.peer} has no {self.row.word} {str(port)!r}, but {', '.join(places)}"[:300])
        return places[str(port)]

    def _switch(self, bmc: Service, place: str, wanted: State) -> None:
        """Tell a machine to be on or off, unless it is, and wait until it is so."""
        if self._settled(bmc, place) is not wanted:
            try:
                self._reset(bmc, bmc.get(place), _ON if wanted is State.ON else _OFF)
            except PermanentError:  # some refuse what has come true by itself
                if _state(bmc.get(place)) is not wanted:
                    raise
        try:
            while _state(bmc.get(place)) is not wanted:
                self.deadline.pause(_NEXT_LOOK)
        except DeviceTimeout:
            raise TransientError(f"{bmc.peer}: the {self.row.word} is not {wanted} after the order") from None

    def _settled(self, bmc: Service, place: str) -> State:
        """Return the state of a machine that is not on its way."""
        while (machine := bmc.get(place)).get("PowerState") in _MOVING:
            self.deadline.pause(_NEXT_LOOK)
        return _state(machine)

    def _reset(self, bmc: Service, machine: Resource, wanted: tuple[str, ...]) -> None:
        """Ask for the first of some resets that the machine takes. Raises also: PermanentError if it takes none."""
        action = part(part(machine, "Actions"), self.row.action)
        target = action.get("target")
        if not isinstance(target, str):
            raise PermanentError(f"{bmc.peer}: the {self.row.word} cannot be switched")
        takes = self._takes(bmc, action)
        chosen = [each for each in wanted if not takes or each in takes]
        if not chosen:
            raise PermanentError(f"{bmc.peer} takes none of {', '.join(wanted)}, but {', '.join(takes)}"[:300])
        bmc.post(target, {"ResetType": chosen[0]})

    @staticmethod
    def _takes(bmc: Service, action: Resource) -> list[str]:
        """Return the resets that a machine takes; empty if it does not say."""
        said = action.get("ResetType@Redfish.AllowableValues")
        information = action.get("@Redfish.ActionInfo")
        if not said and isinstance(information, str):
            listed = bmc.get(information).get("Parameters")
            for each in listed if isinstance(listed, list) else []:
                if isinstance(each, dict) and each.get("Name") == "ResetType":
                    said = each.get("AllowableValues")
        return [str(each) for each in said] if isinstance(said, list) else []

    def _reading(self, bmc: Service, port: str, machine: Resource) -> OutletReading:
        chassis = machine if self.row.word == "chassis" else None
        if chassis is None and (place := next(iter(_links(machine, "Chassis")), "")):
            chassis = bmc.get(place)
        drawn = _drawn(bmc, chassis or {})
        name = label(machine.get("HostName")) or label(machine.get("Name"))
        return OutletReading(port, name, _state(machine), **drawn)


def _drawn(bmc: Service, chassis: Resource) -> dict[str, float | None]:
    """Return what a chassis draws: as new services tell it, or old ones."""
    if place := linked(chassis.get("EnvironmentMetrics")):
        metrics = bmc.get(place)
        return {"watts": reading(metrics, "PowerWatts"), "watt_hours": reading(metrics, "EnergykWh", 1000)}
    if place := linked(chassis.get("Power")):
        control = bmc.get(place).get("PowerControl")
        first = control[0] if isinstance(control, list) and control and isinstance(control[0], dict) else {}
        return {"watts": quantity(first.get("PowerConsumedWatts"))}
    return {}


def reading(resource: Resource, name: str, unit: float = 1.0) -> float | None:
    """Return what a sensor within a resource reads."""
    return quantity(part(resource, name).get("Reading"), unit)


def _links(resource: Resource, name: str) -> list[str]:
    listed = part(resource, "Links").get(name)
    return [linked(each) for each in listed if linked(each)] if isinstance(listed, list) else []


def _state(resource: Mapping[str, object]) -> State:
    return _STATES.get(str(resource.get("PowerState")), State.UNKNOWN)
