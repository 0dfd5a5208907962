# SPDX-License-Identifier: MIT
"""Any PDU that some driver here knows by SNMP: which, is found out from the device, at the first use.

The sysObjectID says it, the longest that a driver has; where several have the same, sysDescr and whether the objects of
the outlets are there. What was found is told in the log.

Source: the rows of all other drivers.
Tested: against recordings of real devices, and a fake.
Quirks: v2c is spoken unless ``version`` says otherwise: an old device that has v1 alone needs ``"version": "1"``. Since
nobody knows the device before, a port is any number, or index with dots, until it is used. To name the driver itself
costs nothing and says more: it refuses a port before any byte is sent.

    "192.0.2.71": {"driver": "snmp", "community": "private"}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import registered
from pdudaemon.drivers.readings import Identity
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.drivers.snmpfinder import fitting, introduced
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.drivers.snmprow import OutletRow
from pdudaemon.errors import DeviceTimeout
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmp import Agent, Community


class FoundOut(SNMPDriver):
    """Goes by the row that fits, of any family."""

    models = {"snmp": OutletRow(about="any PDU of a maker that is known here", variants=(OutletRow(),), first=0)}

    def rows(self) -> Iterable[tuple[str, OutletRow]]:
        return known()


def known() -> list[tuple[str, OutletRow]]:
    """Return each row by which a device can be found, with its word."""
    strategies.load()
    by_file = sorted(registered.values(), key=lambda driver: str(driver.__module__))  # not as they were imported
    families = {driver: driver.models for driver in by_file if issubclass(driver, SNMPDriver)}
    rows = [pair for driver, models in families.items() if driver is not FoundOut for pair in models.items()]
    return [(word, row) for word, row in rows if any(each.systems for each in row.variants or (row,))]


_PATIENCE = 2.0  # seconds for one answer; an agent that has v1 alone, or another community, says nothing
_USUAL_PORT = 161


def recognised(host: str, port: int | None, community: str, deadline: Deadline) -> Recognised | None:
    """Return the device at an address as its agent tells it to who knows a community for reading, for ``--probe``.

    Nothing is SET. None: it answers neither v2c nor v1. Raises: PermanentError, saying who it is, if no row fits.
    """
    for version in ("2c", "1"):
        agent = Agent(host, port or _USUAL_PORT, Community(community, version), _PATIENCE)
        try:
            system = introduced(agent, deadline)
        except DeviceTimeout:
            continue
        found = fitting(known(), agent, deadline, system)
        settings: dict[str, str | int] = {"driver": found.word}
        if version == "1" and found.row.version != "1":
            settings["version"] = version
        if port is not None:
            settings["snmpport"] = port
        asked = {**settings, "version": version, "community": community, "snmptimeout": _PATIENCE}
        made: SNMPDriver = registered[found.word](host, asked)
        made.deadline = deadline
        identity = made.identify() or Identity(found.row.labels.maker)
        return Recognised(settings, replace(identity, driver=""), made.read_outlets())
    return None
