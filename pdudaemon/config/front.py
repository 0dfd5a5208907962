# SPDX-License-Identifier: MIT
"""`FrontConfig`: a configuration with what its sites have, so that whoever looks names up need not know where it is.

It is made anew whenever a site tells of other names. Of groups and roles that name what is at a site, it is said anew
what they stand for. What two sites call by one name means neither of them; what is configured here goes before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

from pdudaemon.config import nodes, roles
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.config.nodes import Node
from pdudaemon.config.sites import owner
from pdudaemon.errors import RequestError, SiteUnreachable
from pdudaemon.power import Outlet, Target

T = TypeVar("T")


@dataclass(frozen=True)
class SitePDU(PDUConfig):
    """A PDU of a site. ``ports`` returns those that are known."""

    site: str = ""
    ports: Callable[[], Collection[str]] = field(default=tuple, compare=False)

    def outlet(self, port: str | int) -> Outlet:
        given = str(port)
        short = str(int(given)) if given.isascii() and given.isdigit() else given
        known = self.ports()
        return Outlet(self.name, short if given not in known and short in known else given)


@dataclass(frozen=True)
class Names:
    """What a site has, by the names that it goes by here; ``trouble``: why it cannot be asked, empty if it can be.

    ``locks`` returns why an outlet is locked there, empty if it is not.
    """

    pdus: Mapping[str, SitePDU] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    locks: Callable[[Outlet], str] = lambda _: ""
    trouble: str = ""


@dataclass(frozen=True)
class FrontConfig(Config):
    """See above. ``behind`` is what each site has."""

    behind: Mapping[str, Names] = field(default_factory=dict, compare=False)

    def site_of(self, target: Target) -> str:
        """Return the site that a target is at, empty for here."""
        for outlet in target.outlets:
            pdu = self.pdus.get(outlet.pdu)
            return pdu.site if isinstance(pdu, SitePDU) else ""
        return ""

    def target(self, hostname: str, port: str | int) -> Target:
        if hostname not in self.pdus:
            self._check_known(hostname)
        return super().target(hostname, port)

    def node(self, name: str) -> Target:
        if name not in self.nodes:
            self._check_known(name)
        return super().node(name)

    def lock_of(self, outlet: Outlet) -> str:
        pdu = self.pdus.get(outlet.pdu)
        return self.behind[pdu.site].locks(outlet) if isinstance(pdu, SitePDU) else super().lock_of(outlet)

    def _lock(self, outlets: Iterable[Outlet]) -> str:
        """Return why outlets here may not be switched; of its own, a site says so itself."""
        return super()._lock([each for each in outlets if not isinstance(self.pdus.get(each.pdu), SitePDU)])

    def _check_known(self, name: str) -> None:
        """Raises: SiteUnreachable if it cannot be said whether there is such a name."""
        site = owner(name, self.sites)
        unknown = [site] if site else [each for each, options in self.sites.items() if not options.prefix]
        for each in unknown:
            names = self.behind.get(each, Names())
            if names.trouble and not names.pdus:
                raise SiteUnreachable(f"{name}: it is not known what {each} has: {names.trouble}")


def combined(config: Config, behind: Mapping[str, Names]) -> tuple[Config, list[str]]:
    """Return a configuration with what its sites have, and what collides, in words."""
    if not behind:
        return config, []
    faults: list[str] = []
    pdus: dict[str, PDUConfig] = dict(config.pdus)
    pdus |= _merged("PDU", config.pdus, {site: each.pdus for site, each in behind.items()}, faults)
    found = dict(config.nodes)
    found |= _merged("node", config.nodes, {site: each.nodes for site, each in behind.items()}, faults)
    for site, names in behind.items():
        for name, node in names.nodes.items():
            if found.get(name) is node and not all(is_of(site, pdus.get(feed.pdu)) for feed in node.feeds):
                found[name] = Node(name, fault=f"a PDU of it has the name of one that is not at {site}")
    here = config.sections.groups
    theirs = _merged("group", here, {site: each.groups for site, each in behind.items()}, faults)
    nobody, nowhere = Faults(), Location("")
    groups = nodes.groups(here, config.sections.duplicates, found, lambda _: nowhere, nobody, ready=theirs)
    groups |= theirs
    section = config.sections.roles

    def outlet(hostname: str, port: str | int) -> Outlet:
        if hostname not in pdus:
            raise RequestError(f"there is no PDU {hostname!r}")
        return pdus[hostname].outlet(port)

    granted = roles.roles(section, section.duplicates, found, groups, pdus, outlet, lambda _: nowhere, nobody)
    whole = {each.name: getattr(config, each.name) for each in fields(config) if each.init}
    whole |= {"pdus": pdus, "nodes": found, "groups": groups, "roles": granted}
    return FrontConfig(**whole, behind=behind), faults


def is_of(site: str, pdu: PDUConfig | None) -> bool:
    """Whether a PDU is one of a site."""
    return isinstance(pdu, SitePDU) and pdu.site == site


def _merged(kind: str, here: Collection[str], there: Mapping[str, Mapping[str, T]], faults: list[str]) -> dict[str, T]:
    """Return what the sites have of a kind, without what has the same name here, or at another site."""
    found: dict[str, T] = {}
    by: dict[str, str] = {}
    both: set[str] = set()
    for site, names in there.items():
        for name, each in names.items():
            if name in here:
                faults.append(f"{site}: its {kind} {name!r} has the name of one that is configured here")
            elif name in by:
                faults.append(f"{site}: its {kind} {name!r} has the name of one of {by[name]}: neither can be used")
                both.add(name)
            else:
                found[name], by[name] = each, site
    for name in both:
        del found[name]
    return found
