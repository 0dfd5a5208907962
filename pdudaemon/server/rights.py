# SPDX-License-Identifier: MIT
"""Rights: what one client may see and switch. Every route asks those of its exchange.

Who has no token, or one without a role, has `EVERYTHING`. Who has roles has their sum. What he may not see is, for him,
not there: `Rights.view` is the configuration without it, so that no list, hint or error made of that can name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pdudaemon.config.model import Config
from pdudaemon.config.roles import Role
from pdudaemon.power import Action, Outlet

_DOING: dict[str, str] = {Action.STATUS: "see", Action.ON: "switch on", Action.OFF: "switch off"}

_CALLED = re.compile(r"([^\s(),]+) \(")  # the nodes in what a request was for, before their feeds

MOST_SETS = 100
"""Most sets of roles whose rights are kept."""


class Rights:
    """Those of who may do everything. Any thread."""

    everything = True

    def may(self, action: str, outlets: Iterable[Outlet]) -> str:
        """Return why an action on outlets is not allowed; empty: it is."""
        return ""

    def sees(self, outlet: Outlet) -> bool:
        """Whether an outlet may be shown."""
        return True

    def sees_node(self, name: str) -> bool:
        """Whether a node, or an alias, may be shown."""
        return True

    def sees_pdu(self, name: str) -> bool:
        """Whether a PDU may be shown: any of its outlets is."""
        return True

    def sees_whole(self, name: str) -> bool:
        """Whether all of a PDU may be shown, so that what is counted of it may be, too."""
        return True

    def sees_record(self, record: Mapping[str, Any]) -> bool:
        """Whether a request may be shown, by its record: all of its outlets may be."""
        return True

    def target(self, target: str, outlets: Iterable[Outlet]) -> str:
        """Return what a request was for: by its outlets, if it is called by the name of a node that may not be seen."""
        return target

    def shown(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a request that may be shown without what may not: names of nodes that others have."""
        return record

    def view(self, config: Config) -> Config:
        """Return what of a configuration may be seen, to look names up in."""
        return config


EVERYTHING = Rights()


class RoleRights(Rights):
    """The rights that some roles give together, by one configuration."""

    everything = False

    def __init__(self, config: Config, names: tuple[str, ...]) -> None:
        self._names = names
        self._roles: tuple[Role, ...] = tuple(config.roles[name] for name in names if name in config.roles)
        self._config = config
        self._pdus = {name for role in self._roles for name in role.pdus}
        self._pdus |= {outlet.pdu for role in self._roles for outlet in role.feeds | role.ports}
        nodes = {name for name, node in config.nodes.items() if self._has_node(name, node.feeds)}
        self._view = replace(
            config,
            pdus={name: pdu for name, pdu in config.pdus.items() if name in self._pdus},
            nodes={name: node for name, node in config.nodes.items() if name in nodes},
            groups={
                name: tuple(member for member in members if member in nodes)
                for name, members in config.groups.items()
                if not nodes.isdisjoint(members)
            },
            faults=(),
            warnings=(),
        )

    def may(self, action: str, outlets: Iterable[Outlet]) -> str:
        every = [*outlets]
        for outlet in every:
            if not any(action in role.may and self._covers(role, outlet) for role in self._roles):
                what = str(outlet) if len(every) == 1 or self.sees(outlet) else "all of it"
                return f"{self} may not {_DOING.get(action, action)} {what}"
        return ""

    def sees(self, outlet: Outlet) -> bool:
        return any(self._covers(role, outlet) for role in self._roles)

    def _covers(self, role: Role, outlet: Outlet) -> bool:
        """Whether an outlet belongs to a role, however that spells it."""
        return any(map(role.covers, self._config.spellings(outlet)))

    def sees_node(self, name: str) -> bool:
        return name in self._view.nodes

    def sees_pdu(self, name: str) -> bool:
        return name in self._pdus or self.sees_whole(name)

    def sees_whole(self, name: str) -> bool:
        return any(role.every_pdu or name in role.pdus for role in self._roles)

    def sees_record(self, record: Mapping[str, Any]) -> bool:
        outlets = [Outlet(outlet["pdu"], outlet["port"]) for outlet in record["outlets"]]
        return bool(outlets) and all(map(self.sees, outlets))

    def shown(self, record: dict[str, Any]) -> dict[str, Any]:
        outlets = [Outlet(outlet["pdu"], outlet["port"]) for outlet in record["outlets"]]
        return {**record, "target": self.target(str(record["target"]), outlets)}

    def target(self, target: str, outlets: Iterable[Outlet]) -> str:
        if all(map(self.sees_node, _CALLED.findall(target))):
            return target
        return ", ".join(map(str, outlets))

    def view(self, config: Config) -> Config:
        return self._view if config is self._config else RoleRights(config, self._names)._view

    def __str__(self) -> str:
        if not self._names:
            return "a token without a role that there is"
        return f"the role{'s' if len(self._names) > 1 else ''} {', '.join(self._names)}"[:200]

    def _has_node(self, name: str, feeds: tuple[Outlet, ...]) -> bool:
        """Whether a node is named by a role, or is fed by nothing but what roles cover by way of PDUs and ports."""
        if any(name in role.nodes for role in self._roles):
            return True
        return bool(feeds) and all(any(role.covers_port(feed) for role in self._roles) for feed in feeds)


class RightsTable:
    """The rights of each set of roles that came along, by the configuration that they were last asked by."""

    def __init__(self) -> None:
        self._kept: tuple[Config, dict[tuple[str, ...], Rights]] | None = None

    def of(self, config: Config, roles: tuple[str, ...] | None) -> Rights:
        """Return the rights of some roles; None: of who has everything. Any thread."""
        if roles is None:
            return EVERYTHING
        known = tuple(role for role in roles if role in config.roles)  # others would be sets without end
        kept = self._kept
        if kept is None or kept[0] is not config or len(kept[1]) > MOST_SETS:
            self._kept = kept = (config, {})
        found = kept[1].get(known)
        if found is None:
            found = kept[1][known] = RoleRights(config, known)
        return found
