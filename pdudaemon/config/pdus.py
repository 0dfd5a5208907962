# SPDX-License-Identifier: MIT
"""Checks one entry of ``pdus``. Whatever is wrong with it disables that PDU alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pdudaemon.config.credentials import placeholders, resolved
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.jsonfile import Object
from pdudaemon.config.model import PDUConfig, called
from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions, legacy
from pdudaemon.drivers.hooks import Traits
from pdudaemon.settings import declared, locked_ports, read, secret_values, without

LONGEST_NAME = 250

_OLD_OPTIONS = {"driver", "retries", "retrydelay"}  # what the existing daemon, too, knows of every PDU


def pdu(name: str, entry: object, location: Location, faults: Faults, checking: bool = False) -> PDUConfig:
    """Return a PDU; it is disabled if there are faults at its location, found here or before.

    ``checking``: nobody will be served by it, so that a credential which only the service can see is a warning.
    """
    known = bool(faults.at(location))
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        faults.add(location, "", "not a valid PDU name")
    settings: dict[str, Any] = entry if isinstance(entry, Object) else {}
    wrong: dict[str, str] = {}
    try:
        settings = resolved(settings, Path(location.file).parent, checking)
    except (ValueError, RecursionError) as error:
        wrong[""] = str(error) if isinstance(error, ValueError) else "is nested too deeply"
    options: dict[str, Any] = {}
    driver, traits = None, Traits()
    if not isinstance(entry, Object):
        faults.add(location, "", "must be a JSON object")
    elif not known and not wrong:
        for key in sorted(entry.duplicates | entry.inner):
            faults.add(location, key, "duplicate key")
        options, wrong = read(PDUOptions, settings)
        if "driver" not in wrong:
            try:
                driver = strategies.find(options["driver"])
                traits = _check_driver(driver, settings, options, wrong, location, faults)
            except ValueError as error:
                wrong["driver"] = str(error)
    secrets = secret_values(driver or PDUDriver, settings)
    unseen = placeholders(settings)
    for key in sorted(unseen):
        faults.warn(location, key, "only the service can see this credential")
    for key in (key for key in wrong if key not in unseen and not known):
        faults.add(location, key, without(secrets, " ".join(wrong[key].split())))
    found = faults.at(location)
    return PDUConfig(
        name,
        settings,
        PDUOptions({} if found else options),
        None if found else driver,
        secrets,
        "; ".join(fault.without_file for fault in found),
        Traits() if found else traits,
    )


def _check_driver(
    driver: type[PDUDriver],
    settings: dict[str, Any],
    options: dict[str, Any],
    wrong: dict[str, str],
    location: Location,
    faults: Faults,
) -> Traits:
    """Return what a driver says of a PDU, and change ``options`` and ``wrong`` as it makes it. Raises: ValueError."""
    own = declared(driver)
    if legacy(driver):
        _leave_to_driver(wrong, location, faults)
    else:
        for key in {**declared(PDUOptions), **own}:
            if settings.get(key, "") is None:  # old files have null for what is not set
                del settings[key]
        for key, value in driver.defaults.items():
            options.setdefault(key, value)
    if own:  # a driver written for the existing daemon declares nothing: every key may be one of its own
        faults.check_keys(location, settings, {**declared(PDUOptions), **own})
    wrong |= hooks.faults(driver, settings)
    if wrong:
        return Traits()
    traits = hooks.traits(driver, settings)
    if options.get("verify") and not traits.reads_state:
        wrong["verify"] = "the state of this PDU cannot be read, so it cannot be verified"
        if legacy(driver):
            _leave_to_driver(wrong, location, faults)
            del options["verify"]
    for port in locked_ports(options.get("locked")):
        try:
            if not called(traits, port):
                traits.canonical_port(port)
        except ValueError as error:
            wrong["locked"] = str(error)
    return traits


def _leave_to_driver(wrong: dict[str, str], location: Location, faults: Faults) -> None:
    """Turn into warnings what may mean something else to a driver written for the existing daemon.

    What that daemon knows of every PDU means the same to such a driver as well.
    """
    for key in sorted(wrong.keys() - _OLD_OPTIONS):
        faults.warn(location, key, f"{wrong.pop(key)}; left to the driver, and not an option of ours")
