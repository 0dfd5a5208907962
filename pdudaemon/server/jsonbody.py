# SPDX-License-Identifier: MIT
"""`Fields`: what a client says in a JSON object, read strictly, so that no slip passes for something else.

A field that nobody knows, one that is there twice, a number that is a text: each is refused, by its name.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NoReturn

from pdudaemon.server.messages import Misdirected
from pdudaemon.settings import has_surrogate, near

JSON = "application/json"


class BadField(Misdirected):
    """A field of a JSON body is not as it should be, or there is not what it names."""

    kind = "bad-field"

    def __init__(self, field: str, text: str, http_status: int = 400) -> None:
        super().__init__(http_status, f"{field}: {text}" if field else text, field=field)


class Fields:
    """The fields of an object. A question is answered None for a field that is not there, or null."""

    def __init__(self, body: bytes, content_type: str, known: Collection[str]) -> None:
        """Raises: Misdirected."""
        if content_type.partition(";")[0].strip().lower() != JSON:
            raise Misdirected(415, f"a body must be {JSON}")
        try:
            found = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant)
        except UnicodeDecodeError:
            raise Misdirected(400, "the body is not UTF-8") from None
        except RecursionError:
            raise Misdirected(400, "the body is nested too deep") from None
        except ValueError as error:  # also a number of thousands of digits
            raise Misdirected(400, f"the body is not JSON: {str(error)[:100]}") from None
        if not isinstance(found, dict):
            raise Misdirected(400, "the body is not a JSON object")
        for name in found:
            if name not in known:
                raise BadField(name[:50], f"unknown field{near(name, known)}")
        self._found: dict[str, Any] = found

    def __contains__(self, name: str) -> bool:
        return self._found.get(name) is not None

    def text(self, name: str) -> str | None:
        """Return a text. Raises: BadField."""
        value = self._found.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise BadField(name, "is not a text")
        return _bounded(name, value)

    def word(self, name: str) -> str | None:
        """Return a text, which may be given as a whole number. Raises: BadField."""
        value = self._found.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(name)

    def texts(self, name: str) -> str | list[str] | None:
        """Return a text, or a list of texts. Raises: BadField."""
        value = self._found.get(name)
        if not isinstance(value, list):
            return self.text(name)
        if not all(isinstance(each, str) for each in value):
            raise BadField(name, "is not a list of texts")
        return [_bounded(name, each) for each in value]

    def truth(self, name: str) -> bool | None:
        """Return true or false. Raises: BadField."""
        value = self._found.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadField(name, "is neither true nor false")
        return value

    def seconds(self, name: str, most: float) -> float | None:
        """Return a number of seconds. Raises: BadField."""
        value = self._found.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadField(name, "is not a number of seconds")
        if not 0 <= value <= most:
            raise BadField(name, f"is not within 0 and {most:g} seconds")
        return float(value)


def _bounded(name: str, value: str) -> str:
    if has_surrogate(value) or "\0" in value:
        raise BadField(name, "has a NUL or a lone surrogate, which no text can have")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadField(name[:50], "is there twice")
            seen.add(name)
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
