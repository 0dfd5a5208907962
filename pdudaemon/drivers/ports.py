# SPDX-License-Identifier: MIT
"""Which ports a device has: what a driver declares as ``ports``, and the one spelling of each of them.

A port is a text that a client may spell in several ways (``3``, ``03``). Its canonical spelling is what requests are
kept in order by and what the driver is given, so a port that a device cannot have is refused here, before a request for
it is accepted. Nothing of this does I/O.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from pdudaemon.errors import PermanentError
from pdudaemon.settings import Setting

_PORT = re.compile(r"[A-Za-z0-9_.:+/][A-Za-z0-9_.:+/-]{0,99}")
_LONGEST = 200  # before it is spelled in the right way

Last = int | Setting[int]
"""The last of numbered ports, or the setting that says it."""


class Ports:
    """Any number or word that is harmless in a shell, a menu and a URL; digits become canonical decimal."""

    def canonical(self, port: str, driver: Any) -> str:
        """Return the one spelling of a port of a ``driver`` with settings and a row. Raises: ValueError, quoting it."""
        if not _PORT.fullmatch(port):
            raise ValueError(f"{port!r} is not a port: letters, digits and _ . : + / - only, not beginning with -")
        return decimal(port)

    def every(self, driver: Any) -> list[str] | None:
        """Return all ports of a ``driver`` with settings and a row, canonical; None: nobody knows which there are."""
        return None

    def mistake(self, models: Mapping[str, Any]) -> str:
        """Return what cannot work of this with the rows of a family, in words; empty if nothing."""
        return ""


class Numbered(Ports):
    """Numbers from ``first`` to ``last``, which a row may tell: ``Numbered(8)``, ``Numbered(lambda row: row.outlets)``.

    Where a setting says how many there are, it is given itself: ``Numbered(outlets)``. ``at_most``: the device may have
    fewer, and nobody knows how many.
    """

    def __init__(self, last: Last | Callable[[Any], Last], *, first: int = 1, at_most: bool = False) -> None:
        self._at_most = at_most
        self._last = last
        self._first = first

    def canonical(self, port: str, driver: Any) -> str:
        return numbered(super().canonical(port, driver), self._most(driver), self._first)

    def every(self, driver: Any) -> list[str] | None:
        return None if self._at_most else [*_numbers(self._first, self._most(driver))]

    def mistake(self, models: Mapping[str, Any]) -> str:
        for word, row in models.items():
            last = self._last_of(row)
            if not isinstance(last, Setting) and not (isinstance(last, int) and last >= self._first):
                return f"`ports` of {word!r} are {self._first} to {last!r}; the last must be a number, or a setting"
        return ""

    def _most(self, driver: Any) -> int:
        last = self._last_of(driver.row)
        most: int = getattr(driver, last.name) if isinstance(last, Setting) else last
        return most

    def _last_of(self, row: Any) -> Last:
        return self._last(row) if callable(self._last) else self._last


class Named(Ports):
    """Names that match a ``pattern``, which ``says`` tells in words, once they are ``spelled`` in the one right way."""

    def __init__(self, pattern: str, says: str, spelled: Callable[[str], str] = str) -> None:
        self._pattern = re.compile(pattern, re.ASCII)
        self._says = says
        self._spelled = spelled

    def canonical(self, port: str, driver: Any) -> str:
        name = self._spelled(port) if port.isascii() and len(port) <= _LONGEST else ""
        if not self._pattern.fullmatch(name):
            raise ValueError(f"{port!r} is not a port: {self._says}")
        return name


def decimal(port: str) -> str:
    """Return canonical decimal for digits, and any other port as it is."""
    return str(int(port)) if port.isdecimal() else port


@functools.lru_cache(maxsize=16)
def _numbers(first: int, last: int) -> tuple[str, ...]:
    """Return ports, which thousands of PDUs share."""
    return tuple(str(number) for number in range(first, last + 1))


def numbered(port: str, most: int, least: int = 1) -> str:
    """Return a canonical port that is a number within bounds. Raises: ValueError, quoting it, if it is none."""
    if not (port.isdecimal() and least <= int(port) <= most):
        raise ValueError(f"{port!r} is not a port: this PDU has {least} to {most}")
    return port


def counted(port: Any, most: int) -> int:
    """Return the number of a port from 1 on, for classes that get it as it was given. Raises: PermanentError."""
    try:
        return int(numbered(str(int(port)), most))
    except ValueError:
        raise PermanentError(f"there is no port {str(port)[:40]!r}: there are 1 to {most}") from None
