# SPDX-License-Identifier: MIT
"""Sites: other daemons whose nodes, groups and PDUs this one shows and passes requests on to, as a front.

What a site has is not known when the configuration is read: it is learned from the site (see `pdudaemon.config.front`).
A fault of a site disables that one alone.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pdudaemon.config import credentials
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.jsonfile import Object
from pdudaemon.drivers.network import TLSDevice
from pdudaemon.drivers.webservice import WebService
from pdudaemon.ranges import is_name
from pdudaemon.settings import Options, Setting, boolean, declared, read, text, without


class SiteOptions(Options):
    """One entry of ``sites``. ``token`` may stand elsewhere, as those of PDUs."""

    url = WebService.url
    token = Setting(
        text, "", "token for the site, if it wants one; its role says what this front may do there", secret=True
    )
    prefix = Setting(boolean, True, "whether its names have that of the site in front: `berlin/board7`")
    ca_file = TLSDevice.ca_file
    fingerprint = TLSDevice.fingerprint
    insecure = TLSDevice.insecure


def sites(
    section: Object, location: Callable[[str], Location], faults: Faults, checking: bool
) -> dict[str, SiteOptions]:
    """Return the sites without faults. ``checking``: a credential that only the service can see is a warning."""
    found = {}
    for name, entry in section.items():
        place = location(name)
        before = len(faults.at(place))
        if not is_name(name):
            faults.add(place, "", "not a valid site name: letters, digits and _ . - only")
        if name in section.duplicates:
            faults.add(place, "", "duplicate key")
        options = _options(entry, place, faults, checking)
        if options is not None and len(faults.at(place)) == before:
            found[name] = options
    return found


def _options(entry: object, place: Location, faults: Faults, checking: bool) -> SiteOptions | None:
    if not isinstance(entry, Object):
        faults.add(place, "", "must be a JSON object with url, and token")
        return None
    faults.check_keys(place, entry, declared(SiteOptions))
    folder = Path(place.file).parent
    try:
        given: dict[str, Any] = credentials.resolved(entry, folder, checking)
    except (ValueError, RecursionError) as error:
        faults.add(place, "", str(error))
        return None
    for key in sorted(entry.duplicates | entry.inner):
        faults.add(place, key, "duplicate key")
    unseen = credentials.placeholders(given)
    for key in sorted(unseen):
        faults.warn(place, key, "only the service can see this credential")
    values, wrong = read(SiteOptions, given)
    for key, said in wrong.items():
        if key not in unseen:
            faults.add(place, key, without([str(given.get("token") or "")] if given.get("token") else [], said))
    trusted = [key for key in ("ca_file", "fingerprint", "insecure") if values.get(key)]
    if len(trusted) > 1:
        faults.add(place, trusted[1], f"contradicts {trusted[0]}: one of them says what is trusted")
    if values.get("ca_file"):
        values["ca_file"] = str(folder / os.path.expandvars(values["ca_file"]))
    if not str(values.get("token", "")).isascii() or not str(values.get("token", "")).isprintable():
        faults.add(place, "token", "has characters in it that no token has")
    if values.get("token") and "url" in values and not (values["url"].secure or _is_here(values["url"].host)):
        faults.warn(place, "url", "by http the token goes there for everybody on the way to read: https keeps it")
    return None if unseen or wrong else SiteOptions({**values, "url": given["url"]})


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def owner(name: str, among: Mapping[str, SiteOptions]) -> str:
    """Return the site in front of a name, empty if there is none."""
    site, slash, _ = name.partition("/")
    return site if slash and site in among and among[site].prefix else ""
