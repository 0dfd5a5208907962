# SPDX-License-Identifier: MIT
"""`Recognised`: a device of some address that a driver takes for one of its own, for ``pdudaemon --probe``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.transports.pages import Pages

CHANGE_ME = "CHANGE-ME"
"""Stands in the configuration for what nobody but the user knows, and without which it would not be one."""


@dataclass(frozen=True)
class Recognised:
    """What the configuration of a PDU needs, ``driver`` among it, and what the device told without a login.

    ``wants`` says in words what the user has to add, such as a password; empty: nothing.
    """

    settings: Mapping[str, Any]
    identity: Identity = field(default_factory=Identity)
    outlets: Sequence[OutletReading] = ()
    wants: str = ""


LOGIN = "user name and password"


def port_of(pages: Pages, name: str = "port") -> dict[str, int]:
    """Return the setting for the port of a server, if it is not the usual one."""
    return {} if pages.port is None else {name: pages.port}


def trusted(pages: Pages, usual: int = 443) -> dict[str, str]:
    """Return the settings for a server that was reached by TLS: that certificate, and no other, is its own."""
    return {"protocol": "https", "fingerprint": pages.fingerprints[pages.port or usual]}


WAYS = ((443, True), (80, False))
"""Where the web server of a device may be, and whether it speaks TLS there."""


def reached(pages: Pages, secure: bool) -> dict[str, str]:
    """Return the settings for a device whose own are to speak HTTP, by the way that its server was reached."""
    return {**place_of(pages), **(trusted(pages) if secure else {})}


def locked(pages: Pages, *paths: str) -> dict[str, str] | None:
    """Return the settings for a server of which one of these pages, but not its folder, wants a login; else None."""
    for port, secure in WAYS:
        for path in paths:
            whole = path.rpartition("/")[0] + "/no-such-page"
            alone, all_of_it = (pages.wants_login(each, port=port, secure=secure) for each in (path, whole))
            if alone and not all_of_it:
                return reached(pages, secure)
    return None


def place_of(pages: Pages) -> dict[str, str]:
    """Return the setting for an address that has a port in it."""
    return {} if pages.port is None else {"ip": pages.address}
