# SPDX-License-Identifier: MIT
"""`Kind`: what a setting may be, as a converter that says so.

A converter takes what JSON holds (numbers may come as strings, as old files have them) and raises ValueError with a
text that quotes the value. Whoever declares settings imports these from `pdudaemon.settings`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from pdudaemon.typos import near

T = TypeVar("T")

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_ORIGIN = re.compile(r"(https?://)?([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?/?", re.IGNORECASE)
LONGEST_REASON = 200

_MODE = re.compile("0?[0-7]{3}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A converter with words for what it takes (``says``), as the documentation prints them.

    ``steady``: what it returns it takes as well, and returns unchanged, so that a default can be checked by it.
    ``schema``: what it takes, as JSON Schema says it for editors; less strict where that cannot say it.
    """

    says: str
    convert: Callable[[object], T]
    steady: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)


def parse_seconds(value: str, most: float = math.inf) -> float:
    """Return the non-negative seconds that ``value`` spells, fractions allowed, nothing else (no sign, no exponent).

    Raises: ValueError, with a text that quotes the value.
    """
    if not _SECONDS.fullmatch(value):
        raise ValueError(f"{value!r} is not a number of seconds")
    seconds = float(value)
    if seconds > most:
        raise ValueError(f"{value} seconds is more than the {most:g} allowed")
    return seconds


def in_any_case(*words: str) -> str:
    """Return the pattern of some words in any case, as JSON Schema has patterns."""
    return "|".join(
        "".join(f"[{each.upper()}{each}]" if each.isalpha() else each for each in word.lower()) for word in words
    )


def has_surrogate(text: str) -> bool:
    """Whether a text has a lone surrogate, half a character as JSON and YAML can spell it, so that it has no bytes."""
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a password of digits, in old files
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    if has_surrogate(value) or "\0" in value:
        raise ValueError(f"{value!r} has a NUL or a lone surrogate, which no text can have")
    return value


def _boolean(value: object) -> bool:
    try:
        return _TRUTHS[str(value).lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither true nor false") from None


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str | int | float) for each in value.values()):
        raise ValueError("is not an object of texts and numbers")
    for name, each in value.items():
        if not _VARIABLE.fullmatch(name) or "\0" in str(each) or has_surrogate(str(each)):
            raise ValueError(f"{name!r} cannot be a shell variable")
    return {name: str(each) for name, each in value.items()}


class Lock(NamedTuple):
    """What is locked, True for all ports, and why."""

    ports: bool | tuple[str, ...]
    reason: str = ""


def _locks(value: object) -> bool | tuple[str, ...] | Lock:
    if isinstance(value, bool | Lock):
        return value
    if isinstance(value, dict):
        if not value.get("reason") or value.keys() - {"ports", "reason"}:
            raise ValueError("an object must have a reason, and may have ports")
        ports = _locks(value.get("ports", True))
        if isinstance(ports, Lock):
            raise ValueError("ports: must be a list of ports")
        return Lock(ports, reason(value["reason"]))
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | int) for each in value):
        raise ValueError(f"{value!r} is neither true, false nor a list of ports")
    return tuple(str(each) for each in value)


def locked_ports(lock: object) -> tuple[str, ...]:
    """Return the ports that a PDU's setting locks one by one."""
    ports = lock.ports if isinstance(lock, Lock) else lock
    return ports if isinstance(ports, tuple) else ()


def reason(value: object) -> str:
    """Return a reason, which is told in one line. Raises: ValueError."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_REASON:
        raise ValueError(f"reason: {value!r:.50} is not a text of at most {LONGEST_REASON} printable characters")
    return value


_WORDS = {"type": "array", "items": {"type": ["string", "integer"]}}
_TEXTS = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}

text = Kind("text", _text, steady=True, schema={"type": ["string", "integer"]})
texts = Kind("object of texts", _texts, steady=True, schema=_TEXTS)
REASON = {"type": "string", "minLength": 1, "maxLength": LONGEST_REASON}
_LOCK = {
    "type": "object",
    "properties": {"ports": {"anyOf": [{"type": "boolean"}, _WORDS]}, "reason": REASON},
    "required": ["reason"],
    "additionalProperties": False,
}
locks = Kind(
    "true, false, a list of ports, or an object with a reason",
    _locks,
    steady=True,
    schema={"anyOf": [{"type": "boolean"}, _WORDS, _LOCK]},
)
_TRUTH = {"anyOf": [{"enum": [True, False, 0, 1]}, {"type": "string", "pattern": f"^({in_any_case(*_TRUTHS)})$"}]}
boolean = Kind("true or false", _boolean, steady=True, schema=_TRUTH)


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | Network) for each in value):
        raise ValueError("is not a list of networks such as 192.0.2.0/24")
    return tuple(ipaddress.ip_network(each) for each in value)


def _sites(value: object) -> tuple[str, ...]:
    given = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise ValueError(f"{value!r} is not a list of origins")
    for each in given:
        if not _ORIGIN.fullmatch(each) or each.lower() == "null":
            raise ValueError(f"{each!r} is neither an origin such as http://wiki.example:8080 nor a name")
    return tuple(each.lower().removesuffix("/") for each in given)


sites = Kind("list of origins", _sites, schema={"anyOf": [{"type": "string"}, _WORDS]})


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each for each in value):
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(value)


names = Kind("list of texts", _names, schema={"type": "array", "items": {"type": "string"}})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
networks = Kind("list of networks", _networks, schema=_WORDS)


Proxies = tuple[Network | str, ...]
"""Networks, and the word for whoever comes by a UNIX socket."""


def _proxies(value: object) -> Proxies:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str | Network) for each in value):
        raise ValueError("is not a list of networks such as 192.0.2.0/24, or of the word unix")
    return tuple(each if each == "unix" else ipaddress.ip_network(each) for each in value)


proxies = Kind("list of networks, or unix", _proxies, schema=_WORDS)


def _mode(value: object) -> str:
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError(f"{value!r} is not a mode such as 0660")
    return value


mode = Kind("mode", _mode, steady=True, schema={"type": "string", "pattern": f"^{_MODE.pattern}$"})


def integer(least: int, most: int) -> Kind[int]:
    """A whole number within bounds; a string is taken where int() takes it."""

    def convert(value: object) -> int:
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float) or int(value) != float(value):
                raise ValueError
            number = int(value)
        except (ValueError, OverflowError):
            raise ValueError(f"{value!r} is not a whole number") from None
        if not least <= number <= most:
            raise ValueError(f"{number} is not within {least} and {most}")
        return number

    written = {"type": "string", "pattern": r"^\s*[+-]?\d+(_\d+)*\s*$"}
    schema = {"anyOf": [{"type": "integer", "minimum": least, "maximum": most}, written]}
    return Kind(f"{least} to {most}", convert, steady=True, schema=schema)


def seconds(least: float, most: float) -> Kind[float]:
    """A number of seconds within bounds, fractions allowed."""

    def convert(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{value!r} is not a number of seconds")
        try:
            number = parse_seconds(value.strip()) if isinstance(value, str) else float(value)
        except OverflowError:
            number = math.inf
        if not least <= number <= most:  # NaN is within nothing
            raise ValueError(f"{number if math.isinf(number) else value} is not within {least:g} and {most:g} seconds")
        return number

    number = {"type": "number", "minimum": least, **({} if math.isinf(most) else {"maximum": most})}
    written = {"type": "string", "pattern": r"^\s*([0-9]+[.]?[0-9]*|[.][0-9]+)\s*$"}
    return Kind(f"{least:.9g} to {most:.9g}", convert, steady=True, schema={"anyOf": [number, written]})


def choice(*words: str) -> Kind[str]:
    """One of some words, in any case."""

    def convert(value: object) -> str:
        for word in words:
            if isinstance(value, str) and value.lower() == word.lower():
                return word
        raise ValueError(f"{value!r} is none of {', '.join(words)}{near(str(value), words)}")

    written = {"type": "string", "pattern": f"^({in_any_case(*words)})$"}
    return Kind(" ".join(words), convert, steady=True, schema={"anyOf": [{"enum": [*words]}, written]})
