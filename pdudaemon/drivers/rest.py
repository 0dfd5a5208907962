# SPDX-License-Identifier: MIT
"""Anything that is switched by HTTP: the configuration says what to ask for, and where the answer tells the state.

``on``, ``off`` and ``status`` are ``METHOD PATH BODY``; the path goes behind that of ``url``, and the body may be left
out. In each, and in ``headers``, ``{port}`` is the port, ``{index}`` the number before it (for what counts from 0),
``{username}`` and ``{password}`` are the settings; nothing else in braces means anything. Where an answer has what is
wanted is said by a JSON pointer (``/relays/{index}/ison``) or by a regular expression (``state="([a-z]+)"``), of whose
match the first group counts.

Source: ours.
Tested: against fakes of Shelly and Tasmota, and of two things of no maker: JSON with a token, and forms with pages to
be searched.
Quirks: an order is done when it is answered with 2xx, and with what ``done`` describes, if that is given. A login is
sent when it is asked for (Basic, Digest); one of another kind goes into ``headers``. Where ``status`` does not name the
port, one question tells of all ``outlets``.

    "bench": {"driver": "rest", "url": "http://192.0.2.86", "outlets": 4,
              "on": "GET /relay/{index}?turn=on", "off": "GET /relay/{index}?turn=off", "status": "GET /status",
              "state": "/relays/{index}/ison", "watts": "/meters/{index}/power"},
    "api": {"driver": "rest", "url": "https://192.0.2.87/v1", "password": "secret",
            "headers": {"Authorization": "Bearer {password}", "Content-Type": "application/json"},
            "on": "PUT /sockets/{port} {\\"on\\": true}", "off": "PUT /sockets/{port} {\\"on\\": false}"}
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.ports import decimal
from pdudaemon.drivers.readings import OutletReading, quantity
from pdudaemon.drivers.webservice import WebService
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, integer, text
from pdudaemon.transports.http import Response

_FIELD = re.compile(r"\{(port|index|username|password)\}")
_ORDER = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S*)(?: (.*))?", re.DOTALL)
_QUANTITIES = ("watts", "volts", "amps", "watt_hours")
_PORT = r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}"  # a part of a path


class Order(str):
    """A request, with fields to be filled in."""

    @property
    def parts(self) -> tuple[str, str, str]:
        """Its method, target and body."""
        method, _, rest = self.partition(" ")
        target, _, body = rest.partition(" ")
        return method, target, body


def _order(value: object) -> Order:
    if not isinstance(value, str) or not _ORDER.fullmatch(value):
        raise ValueError("is not `METHOD /PATH BODY` with GET, POST, PUT, PATCH or DELETE")
    return Order(value)


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) and each.isprintable() for each in value.values()):
        raise ValueError("is not an object of texts, each in one line")
    if wrong := [name for name in value if not re.fullmatch(r"[A-Za-z0-9-]+", name)]:
        raise ValueError(f"{wrong[0]!r} is not the name of a header")
    return dict(value)


def _place(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is neither a JSON pointer nor a regular expression")
    if not value.startswith("/"):
        try:
            re.compile(_FIELD.sub("0", value))
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
    return value


def _word(said: object) -> str:
    return str(said).strip().lower()


def _words(value: object) -> tuple[str, ...]:
    given = value if isinstance(value, list | tuple) else [value]
    if not given or not all(isinstance(each, str | int | float) for each in given):
        raise ValueError(f"{value!r} is not a list of words")
    return tuple(_word(each) for each in given)


_ORDERS = Kind("METHOD /PATH BODY", _order, steady=True)
_PLACE = Kind("JSON pointer or pattern", _place, steady=True)
_WORDS = Kind("list of words", _words, steady=True)


class REST(WebService):
    """A device of whatever kind, in words of its configuration."""

    models = {"rest": None}
    ports = Named(_PORT, "letters, digits and _ . : - only", decimal)

    on = Setting(_ORDERS, Order(), "request that switches `{port}` on", required=True)
    off = Setting(_ORDERS, Order(), "request that switches `{port}` off", required=True)
    done = Setting(_PLACE, "", "what the answer to these must have")
    status = Setting(_ORDERS, Order(), "request whose answer tells the state")
    state = Setting(_PLACE, "", "where the state is in that answer (else all of it)")
    on_words = Setting(_WORDS, ("on", "true", "1"), "what means on there, in any case")
    off_words = Setting(_WORDS, ("off", "false", "0"), "what means off there; anything else means unknown")
    watts = Setting(_PLACE, "", "where the watts are")
    volts = Setting(_PLACE, "", "where the volts are")
    amps = Setting(_PLACE, "", "where the amps are")
    watt_hours = Setting(_PLACE, "", "where the watt-hours are")
    outlets = Setting(integer(0, 1000), 0, "how many outlets there are, to be read at once (0: not said)")
    username = Setting(text, "", "user name, for a login by Basic or Digest and for `{username}`")
    password = Setting(text, "", "password for these and for `{password}`", secret=True)
    headers = Setting(Kind("object of texts", _headers, steady=True), {}, "headers of each request", secret=True)

    @hook
    def faults(self) -> dict[str, str]:
        found = super().faults()
        if not self.status:
            found |= {name: "means nothing without `status`" for name in ("state", *_QUANTITIES) if getattr(self, name)}
        return found

    @hook
    def canonical_port(self, port: str) -> str:
        name = super().canonical_port(port)
        if self.outlets and not (name.isdecimal() and 1 <= int(name) <= self.outlets):
            raise ValueError(f"{port!r} is not a port: this PDU has 1 to {self.outlets}")
        return name

    @hook
    def reads_state(self) -> bool:
        return bool(self.status)

    @hook
    def reads_outlets(self) -> bool:
        return bool(self.status and self.outlets)

    def port_interaction(self, command: str, port_number: str | int) -> None:
        answer = self._send(getattr(self, command), port_number)
        if self.done and self._found(answer, self.done, port_number) in (None, False):
            raise PermanentError(f"{answer.source}: the answer has no {self.done}")

    def port_status(self, port_number: str | int) -> State:
        return self._reading(self._send(self.status, port_number), port_number).state or State.UNKNOWN

    def read_outlets(self) -> list[OutletReading]:
        if not self.outlets:
            raise PermanentError("how many outlets there are is not said (`outlets`)")
        ports = range(1, self.outlets + 1)
        if not {"port", "index"} & {*_FIELD.findall(self.status)}:
            answer = self._send(self.status, "")
            return [self._reading(answer, port) for port in ports]
        return [self._reading(self._send(self.status, port), port) for port in ports]

    def _reading(self, answer: Response, port: str | int) -> OutletReading:
        """Return what an answer tells of a port. Raises: TransientError if it does not tell the state."""

        def of(place: str) -> object:
            return self._found(answer, place, port) if place else None

        said = of(self.state) if self.state else answer.text.strip()
        if said is None:
            raise TransientError(f"{answer.source}: the answer does not tell the state of {port}")
        word = _word(said)
        state = State.ON if word in self.on_words else State.OFF if word in self.off_words else State.UNKNOWN
        drawn = {name: quantity(of(getattr(self, name))) for name in _QUANTITIES}
        return OutletReading(str(port), None, state, **drawn)

    def _send(self, order: Order, port: str | int) -> Response:
        if not order:
            raise PermanentError("there is no request for that (`status`)")
        method, target, body = order.parts
        return self.client(self.username, self.password).request(
            method,
            self.url.path + self._filled(target, port, urllib.parse.quote),
            body=self._filled(body, port).encode(),
            headers={name: self._filled(value, port) for name, value in self.headers.items()},
        )

    def _found(self, answer: Response, place: str, port: str | int) -> object:
        """Return what an answer has at a place, None if nothing."""
        pointer = place.startswith("/")
        where = self._filled(place, port, str if pointer else re.escape)
        return _pointed(answer.body, where) if pointer else _matched(answer.text, where)

    def _filled(self, template: str, port: str | int, quote: Any = str) -> str:
        def value(found: re.Match[str]) -> str:
            if found[1] == "index":
                if not str(port).isdecimal():
                    raise PermanentError(f"{{index}} needs a number as the port, not {port!r}")
                return str(int(port) - 1)
            given: Mapping[str, str] = {"port": str(port), "username": self.username, "password": self.password}
            return str(quote(given[found[1]]))

        return _FIELD.sub(value, template)


def _matched(said: str, pattern: str) -> object:
    match = re.search(pattern, said)
    return None if match is None else match[1 if match.re.groups else 0]


def _pointed(said: bytes, pointer: str) -> object:
    try:
        at = json.loads(said)
        for part in pointer[1:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            at = at[int(key)] if isinstance(at, list) else at[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return None if isinstance(at, dict | list) else at
