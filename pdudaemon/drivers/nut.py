# SPDX-License-Identifier: MIT
"""Outlets of PDUs and UPSes behind a server of Network UPS Tools (``upsd``), by its protocol.

Source: Network UPS Tools' documentation of its protocol (RFC 9271) and of its variables.
Tested: with upsd 2.8.0 in front of a driver of ours with outlets and of ``dummy-ups``, with and without TLS; against a
fake.
Quirks: a port is the number of an outlet, ``2.5`` is outlet 5 of the second device in a chain; ``0``, which is all of
them, is refused. ``group.1`` is a group of outlets, as some UPSes have nothing else; requests for it are not kept in
order with those for its outlets. To read needs no login; to switch, a user with ``instcmds = ALL`` in ``upsd.users``.
An order is tracked to its end where the server can do that; else its OK means that it is on its way, and the state is
read back.

    "epdu": {"driver": "nut", "ip": "192.0.2.84", "username": "pdu", "password": "secret", "starttls": true},
    "row2": {"driver": "nut", "ip": "192.0.2.84", "ups": "epdu2"}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pdudaemon.drivers.driver import Named, hook
from pdudaemon.drivers.network import NetworkDevice, TLSDevice, tcp_port
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading, label, quantity
from pdudaemon.drivers.recognition import LOGIN, Recognised, port_of
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.tcp import Connection

_OUTLET = re.compile(r"(?:device\.([1-9][0-9]{0,2})\.)?outlet\.((?:group\.)?[1-9][0-9]{0,2})\.(?:status|id)")
_PORT = r"(?:[1-9][0-9]{0,2}\.)?(?:group\.)?[1-9][0-9]{0,2}"
_NAME = re.compile(r"[\w.:@-]{1,100}", re.ASCII)
_VARIABLE = re.compile(r'VAR \S+ (\S+) "((?:[^"\\]|\\.)*)"')
_STATES = {"on": State.ON, "yes": State.ON, "off": State.OFF, "no": State.OFF}
_LATER = ("DATA-STALE", "DRIVER-NOT-CONNECTED", "INSTCMD-FAILED", "FAILED")
_NOT_LET_IN = ("ACCESS-DENIED", "PASSWORD-REQUIRED", "USERNAME-REQUIRED", "INVALID-PASSWORD", "INVALID-USERNAME")
_MOST_LINES = 5000
_NEXT_LOOK = 0.1


class NUT(NetworkDevice, TLSDevice):
    """An order is an "instant command", and everything that is known a variable."""

    models = {"nut": None}
    ports = Named(
        _PORT,
        "the number of an outlet, or that of a device in a chain, a dot and that of its outlet; or group.1",
        lambda port: ".".join(part.lstrip("0") or part for part in port.split(".")),
    )
    stable_names = True

    port = tcp_port(3493)
    ups = Setting(text, "", "what the server calls the device, if that is not the name of the PDU")
    username = Setting(text, "", "user who may give instant commands")
    password = Setting(text, "", "password of that user", secret=True)
    starttls = Setting(boolean, False, "speak TLS, and nothing without it")

    @hook
    def faults(self) -> dict[str, str]:
        given = (("username", self.username), ("password", self.password))
        found = {key: "has more than one line, or no text" for key, value in given if not value.isprintable()}
        if self.ups and not _NAME.fullmatch(self.ups):
            found["ups"] = f"{self.ups!r} is not a name that NUT can have"
        return {**super().faults(), **found}

    def port_interaction(self, command: str, port_number: str | int) -> None:
        with self._session() as server:
            if self.username:
                _ask(server, f"USERNAME {_quoted(self.username)}", "the login")
                _ask(server, f"PASSWORD {_quoted(self.password)}", "the login")
            order = f"INSTCMD {self._ups} {_outlet(port_number)}.load.{command}"
            tracked = _ask(server, "SET TRACKING ON", "the order", also="ERR") == "OK"
            said = _ask(server, order, "the order")
            while tracked and said.startswith("OK TRACKING "):
                found = _ask(server, f"GET TRACKING {said.split()[-1]}", "waiting for the order", also="PENDING")
                if found == "SUCCESS":
                    break
                self.deadline.pause(_NEXT_LOOK)
        self.confirm(port_number, State(command))

    def port_status(self, port_number: str | int) -> State:
        outlet = _outlet(port_number)
        if ".group." in outlet:
            return _state(outlet, self._all())
        with self._session() as server:
            said = _ask(server, f"GET VAR {self._ups} {outlet}.status", "reading a state")
        return _state(outlet, _variables([said]))

    def read_outlets(self) -> list[OutletReading]:
        said = self._all()
        places = {
            f"{device}.{number}" if device else number: name.rpartition(".")[0]
            for name in said
            if (match := _OUTLET.fullmatch(name)) and (name.endswith(".status") or "group." in name)
            for device, number in [match.groups()]
        }
        if not places:
            raise PermanentError(f"{self._ups!r} of {self.host} has no outlets with a state")
        return [_reading(port, outlet, said) for port, outlet in places.items()]

    def read_inlets(self) -> list[InletReading]:
        said = self._all()
        total = InletReading(
            "total",
            watts=quantity(said.get("input.realpower", said.get("ups.realpower"))),
            volts=quantity(said.get("input.voltage")),
            amps=quantity(said.get("input.current")),
            watt_hours=quantity(said.get("input.energy")),
        )
        return [] if total == InletReading("total") else [total]

    def identify(self) -> Identity:
        said = self._all()

        def of(name: str, other: str) -> str:
            return label(said.get(f"device.{name}", said.get(f"ups.{other}"))) or ""

        firmware = label(said.get("ups.firmware")) or ""
        return Identity(of("mfr", "mfr"), of("model", "model"), of("serial", "serial"), firmware)

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by the devices that it lists; the first that has outlets is meant."""
        if pages.port and pages.server:
            return None
        place = {"driver": "nut", **port_of(pages)}
        server = cls(pages.host, place)
        server.deadline = deadline
        for name in server._devices():
            asked = cls(pages.host, {**place, "ups": name})
            asked.deadline = deadline
            with suppress(DeviceError):  # it has no outlets, or its driver does not run
                outlets = asked.read_outlets()
                return Recognised({**place, "ups": name}, asked.identify(), outlets, f"{LOGIN}, to switch")
        return None

    def _devices(self) -> list[str]:
        """Ask the server which devices it has."""
        step = "asking for the devices"
        with self._session() as server:
            _ask(server, "LIST UPS", step, also="BEGIN")
            found = []
            while (line := _line(server, step)) != "END LIST UPS":
                found += [words[1] for words in [line.split(" ")] if words[0] == "UPS" and len(words) > 1]
                if len(found) > _MOST_LINES:
                    raise TransientError(f"{server.peer} sends too much at {step}")
        return found

    @property
    def _ups(self) -> str:
        name = self.ups or self.hostname
        if not _NAME.fullmatch(name):
            raise PermanentError(f"{name!r} is not a name that NUT can have: say by `ups` what the server calls it")
        return name

    def _all(self) -> dict[str, str]:
        """Return all variables of the device."""
        with self._session() as server:
            _ask(server, f"LIST VAR {self._ups}", "reading the variables", also="BEGIN")
            lines: list[str] = []
            while (line := _line(server, "reading the variables")) != f"END LIST VAR {self._ups}":
                lines.append(line)
                if len(lines) > _MOST_LINES:
                    raise TransientError(f"{server.peer} sends too much at reading the variables")
        return _variables(lines)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with Connection(self.host, self.port, self.deadline) as server:
            if self.starttls:
                _ask(server, "STARTTLS", "STARTTLS")
                server.secure(self.tls())
            try:
                yield server
            finally:
                with server.farewell():
                    server.send(b"LOGOUT\n", "the logout")
                    server.receive_line("the logout")


def _outlet(port: str | int) -> str:
    """Return how the variables and commands of an outlet begin."""
    words = str(port).split(".")
    device = f"device.{words.pop(0)}." if len(words) > 1 and words[0] != "group" else ""
    return f"{device}outlet.{'.'.join(words)}"


def _state(outlet: str, said: Mapping[str, str]) -> State:
    """Return the state of an outlet, or of a group, which is that of its outlets if it has none and they agree."""
    if (own := said.get(f"{outlet}.status")) is not None or ".group." not in outlet:
        return _STATES.get((own or "").lower(), State.UNKNOWN)
    ours = outlet.partition("outlet.")[0]
    of_it = [
        _state(name.removesuffix(".groupid"), said)
        for name, group in said.items()
        if name.startswith(f"{ours}outlet.") and name.endswith(".groupid") and group == said.get(f"{outlet}.id")
    ]
    return of_it[0] if len({*of_it}) == 1 else State.UNKNOWN


def _reading(port: str, prefix: str, said: Mapping[str, str]) -> OutletReading:
    def of(name: str) -> str | None:
        return said.get(f"{prefix}.{name}")

    return OutletReading(
        port,
        label(of("desc") or of("name")),
        _state(prefix, said),
        watts=quantity(of("realpower")),
        volts=quantity(of("voltage")),
        amps=quantity(of("current")),
        watt_hours=quantity(of("energy")),
    )


def _ask(server: Connection, question: str, step: str, also: str = "OK") -> str:
    """Ask something; return the answer, a line. Raises: PermanentError, TransientError for an error but ``also``."""
    server.send(f"{question}\n".encode(), step)
    said = _line(server, step)
    word, _, reason = said.partition(" ")
    if word in ("OK", "VAR", "SUCCESS", also):
        return said
    if word != "ERR":
        raise TransientError(f"{server.peer} answers nonsense at {step}")
    why = reason.split(" ")[0]
    kind = TransientError if why in _LATER else LoginRefused if why in _NOT_LET_IN else PermanentError
    raise kind(f"{server.peer} refuses {step}: {reason[:100]}")


def _line(server: Connection, step: str) -> str:
    return server.receive_line(step).decode(errors="replace")


def _quoted(word: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def _variables(lines: list[str]) -> dict[str, str]:
    found = (_VARIABLE.fullmatch(line) for line in lines)
    return {match[1]: re.sub(r"\\(.)", r"\1", match[2]) for match in found if match}
