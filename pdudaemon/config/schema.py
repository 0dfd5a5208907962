# SPDX-License-Identifier: MIT
"""The JSON Schema of a configuration file, for editors: ``pdudaemon --schema``. Made from the declarations.

It says what `reader` takes, but for what a schema cannot say: comments, words in any case, what must be unique, what a
name leads to. ``pdudaemon --check`` has the last word. Drivers that this machine does not have may have any setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.options import DaemonOptions, ListenerOptions
from pdudaemon.config.sites import SiteOptions
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver, PDUOptions, legacy
from pdudaemon.kinds import REASON
from pdudaemon.power import Action
from pdudaemon.settings import Setting, declared

_ELSEWHERE = {
    "type": "object",
    "description": "a secret that stands elsewhere: a credential of the service manager, or a file",
    "properties": {"credential": {"type": "string"}, "file": {"type": "string"}},
    "additionalProperties": False,
    "minProperties": 1,
}
_PLACE = {"hostname": {"type": "string", "description": "name of the PDU"}, "port": {"type": ["string", "integer"]}}
_NODE = {
    "type": "object",
    "properties": {
        **_PLACE,
        "feeds": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "properties": _PLACE, "required": ["hostname", "port"]},
        },
        "locked": {
            "anyOf": [
                {"type": "boolean"},
                {
                    "type": "object",
                    "properties": {"reason": REASON},
                    "required": ["reason"],
                    "additionalProperties": False,
                },
            ]
        },
    },
    "anyOf": [{"required": ["hostname", "port"]}, {"required": ["feeds"]}],
}
_NAMES = {"type": ["string", "array", "null"], "items": {"type": "string"}}
_GROUP = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {
            "type": "object",
            "properties": {
                "nodes": {"type": ["string", "array"], "items": {"type": "string"}},
                "stagger": PDUOptions.stagger.kind.schema,
            },
            "required": ["nodes"],
        },
    ]
}
_ROLE = {
    "type": "object",
    "properties": {"nodes": _NAMES, "pdus": _NAMES, "may": {"type": "array", "items": {"enum": [*Action]}}},
    "required": ["may"],
}


def schema() -> dict[str, Any]:
    """Return the schema, of the draft 2020-12, with the drivers that are installed here."""
    drivers: dict[type[PDUDriver], list[str]] = {}
    for name in strategies.names():
        drivers.setdefault(strategies.find(name), []).append(name)
    known = {kind: names for kind, names in drivers.items() if not legacy(kind)}
    daemon = _properties(DaemonOptions, elsewhere=False)
    daemon["listeners"] = {"type": "array", "minItems": 1, "items": _object(ListenerOptions, elsewhere=False)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pdudaemon.conf",
        "type": "object",
        "properties": {
            "$schema": {"description": "where an editor finds this schema; the daemon passes it over"},
            "daemon": {"type": ["object", "null"], "properties": daemon},
            "pdus": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/pdu"}},
            "aliases": {"type": ["object", "null"], "additionalProperties": _NODE},
            "nodes": {"type": ["object", "null"], "additionalProperties": _NODE},
            "groups": {"type": ["object", "null"], "additionalProperties": _GROUP},
            "roles": {"type": ["object", "null"], "additionalProperties": _ROLE},
            "sites": {"type": ["object", "null"], "additionalProperties": _object(SiteOptions)},
            "mqtt": _object(BrokerOptions),
        },
        "$defs": {
            "elsewhere": _ELSEWHERE,
            "options": _object(PDUOptions),
            **{f"driver {names[0]}": _object(kind) for kind, names in known.items()},
            "pdu": {
                "type": "object",
                "properties": {"driver": {"type": "string", "examples": sorted(strategies.names())}},
                "required": ["driver"],
                "allOf": [_settings_of(names) for names in known.values()],
            },
        },
    }


def _settings_of(names: list[str]) -> dict[str, Any]:
    """Return what holds for a PDU with one of some drivers, which are one class."""
    both = [{"$ref": "#/$defs/options"}, {"$ref": f"#/$defs/driver {names[0]}"}]
    return {
        "if": {"properties": {"driver": {"enum": names}}, "required": ["driver"]},
        "then": {"allOf": both, "unevaluatedProperties": False},
    }


def _object(owner: type, elsewhere: bool = True) -> dict[str, Any]:
    required = [name for name, setting in declared(owner).items() if setting.required]
    properties = _properties(owner, elsewhere)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _properties(owner: type, elsewhere: bool = True) -> dict[str, Any]:
    return {name: _property(setting, elsewhere) for name, setting in declared(owner).items()}


def _property(setting: Setting[Any], elsewhere: bool) -> dict[str, Any]:
    """Return what one setting takes, which may stand ``elsewhere``; null and a blank text are as good as not given."""
    if setting.obsolete:
        return {"deprecated": True, "description": f"means nothing any more: {setting.obsolete}"}
    kinds = [_members_elsewhere(setting.kind.schema) if elsewhere else dict(setting.kind.schema)]
    if not setting.required:
        kinds += [{"type": "null"}, {"type": "string", "pattern": r"^\s*$"}]
    if elsewhere:
        kinds.append({"$ref": "#/$defs/elsewhere"})
    unit = f" ({setting.unit})" if setting.unit else ""
    described: dict[str, Any] = {"description": f"{setting.help}{unit}"}
    if isinstance(setting.default, bool | int | float | str) and setting.default != "" and not setting.required:
        described["default"] = setting.default
    return {"anyOf": kinds, **described}


def _members_elsewhere(kind: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a kind takes, where each of the members of an object may stand elsewhere as well."""
    found = dict(kind)
    if isinstance(members := found.get("additionalProperties"), Mapping):
        found["additionalProperties"] = {"anyOf": [members, {"$ref": "#/$defs/elsewhere"}]}
    return found
