# SPDX-License-Identifier: MIT
"""`Setting`: a declared, converted, documented setting.

The daemon section, the listeners, the PDUs and every driver declare their settings as class attributes. A setting is
written down once: the converter, the default, the unit and the help text; the checker, ``--list-drivers`` and the
tables of the documentation are all read from that.

    class Telnet(Options):
        telnetport = Setting(integer(1, 65535), 23, "TCP port of the console")

What a setting may be is said by a converter: see `pdudaemon.kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar, overload
from weakref import WeakKeyDictionary

from pdudaemon.kinds import (
    LONGEST_REASON,
    Kind,
    Lock,
    Network,
    Proxies,
    boolean,
    choice,
    has_surrogate,
    integer,
    locked_ports,
    locks,
    mode,
    names,
    networks,
    parse_seconds,
    proxies,
    reason,
    seconds,
    sites,
    text,
    texts,
)
from pdudaemon.typos import MOST_COMPARED, near

__all__ = [
    "LONGEST_REASON",
    "MOST_COMPARED",
    "Kind",
    "Lock",
    "Network",
    "Options",
    "Proxies",
    "Secret",
    "Setting",
    "apply",
    "boolean",
    "choice",
    "declared",
    "has_surrogate",
    "integer",
    "locked_ports",
    "locks",
    "mode",
    "names",
    "near",
    "networks",
    "parse_seconds",
    "proxies",
    "read",
    "reason",
    "seconds",
    "secret_values",
    "sites",
    "text",
    "texts",
    "without",
]

T = TypeVar("T")

_SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|community|(api|ssh|access|private|priv)_?key|(^|_)(pass|pwd|pw|keys?)(_|$)|(pass|pwd|pw|key)$",
    re.IGNORECASE,
)


class Secret(str):
    """A value that is a secret whatever its key is called, since it did not stand in the configuration itself."""


class Setting(Generic[T]):
    """A class attribute that declares one setting; read on an instance, it is the value in force.

    ``obsolete``: why it means nothing any more; the key is still accepted, with whatever value, and warned of.

    Raises: ValueError for a default that the setting itself would refuse; empty stands for: not given.
    """

    def __init__(
        self,
        kind: Kind[T],
        default: T,
        help: str,
        *,
        unit: str = "",
        secret: bool = False,
        required: bool = False,
        obsolete: str = "",
    ) -> None:
        self.kind = kind
        self.default = default
        self.help = help
        self.unit = unit
        self.secret = secret
        self.required = required
        self.obsolete = obsolete
        self.name = ""
        if kind.steady and not (required or default is None or default in ("", ())):  # those mean: not given
            self._check_default()

    def _check_default(self) -> None:
        try:
            wrong = "" if self.kind.convert(self.default) == self.default else "it would be read as another value"
        except ValueError as error:
            wrong = str(error)
        if wrong:
            raise ValueError(f"a setting cannot have the default {self.default!r}: {wrong} ({self.help})")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Setting[T] | T:
        # Not a data descriptor: what `apply` has set, which is every value in force, is found before this.
        return self if instance is None else self.default


class Options:
    """Holds the values of the settings that its subclass declares; built once, from a mapping without faults."""

    def __init__(self, given: Mapping[str, object] | None = None) -> None:
        apply(self, given or {})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


_declared: WeakKeyDictionary[type, Mapping[str, Setting[Any]]] = WeakKeyDictionary()  # of classes seen before


def declared(owner: type) -> Mapping[str, Setting[Any]]:
    """Return the settings that a class declares, those of its bases first, in the order of declaration."""
    known = _declared.get(owner)
    if known is None:
        found: dict[str, Setting[Any]] = {}
        for base in reversed(owner.__mro__):
            found.update({name: value for name, value in vars(base).items() if isinstance(value, Setting)})
        known = _declared[owner] = MappingProxyType(found)
    return known


def apply(instance: object, given: Mapping[str, object]) -> None:
    """Set the values in force on an instance of a class that declares settings: those given, else the defaults."""
    owner = type(instance)
    values = read(owner, given)[0]
    for name, setting in declared(owner).items():
        if name in values:
            setattr(instance, name, values[name])
        elif getattr(owner, name) is setting:  # a subclass may have something else by that name
            setattr(instance, name, setting.default)


def read(owner: type, given: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert what ``given`` holds of the settings of ``owner``; return (values, faults), both by name."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, setting in declared(owner).items():
        value = given.get(name)
        if value is not None:  # null is as good as not there
            try:
                values[name] = setting.kind.convert(value)
            except ValueError as error:
                if setting.obsolete or (isinstance(value, str) and not value.strip() and not setting.required):
                    continue  # blank is not given
                wanted = f"is not usable as given (which must not be shown); wanted: {setting.kind.says}"
                faults[name] = wanted if setting.secret or isinstance(value, Secret) else str(error)
        elif setting.required:
            faults[name] = f"is missing: {setting.help}"
    return values, faults


def secret_values(owner: type, given: Mapping[str, object]) -> tuple[str, ...]:
    """Return the values in ``given`` that must not be shown: declared secret, or of a key that sounds like one.

    A value of fewer than four characters is left out: hiding it would garble every text and protect nothing.
    """
    settings = declared(owner)
    pairs = [(key, value, key in settings and settings[key].secret) for key, value in given.items()]
    for _, value, secret in [*pairs]:
        pairs += [(key, each, secret) for key, each in value.items()] if isinstance(value, dict) else []
    return tuple(
        str(value)
        for key, value, secret in pairs
        if isinstance(value, str | int | float)
        and len(str(value)) >= 4
        and (secret or isinstance(value, Secret) or (key not in settings and _SECRET_NAME.search(key)))
    )


def without(secrets: Iterable[str], text: str) -> str:
    """Return a text with secret values hidden, also where they stand as Python quotes them."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        for shown in (secret, repr(secret)[1:-1], ascii(secret)[1:-1]):
            text = text.replace(shown, "***")
    return text
