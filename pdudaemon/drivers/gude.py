# SPDX-License-Identifier: MIT
"""Gude Expert Power Control 1202 (and its sister 1292): twelve outlets, by the console over telnet.

Source: the vendor's description of the console; the dialogue of the existing PDUDaemon; the web interface of Gude's
other PDUs as labgrid is known to read it.
Tested: against a fake only.
Quirks: the console waits for no prompt, may echo, and at any time tells in lines with ``#`` what goes on. If it cannot
show a state, the web interface is asked. ``username`` is for a device that requires a login. Names, and the meters of
the inlet, are told by the web interface alone; without it, all states are asked of the console.

    "192.0.2.12": {"driver": "gude1202"},
    "192.0.2.13": {"driver": "gude1202", "username": "pdudaemon", "password": "secret"}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pdudaemon.drivers.driver import Numbered, PDUDriver
from pdudaemon.drivers.gudejson import meters, outlets
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import InletReading, OutletReading, stated
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError, TransientError, both
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.dialogue import Dialogue, Seen
from pdudaemon.transports.http import Client
from pdudaemon.transports.telnet import Telnet

_OUTLETS = 12
_STATUS_PAGE = "/statusjsn.js?components=1"
_ALL_PAGE = f"/statusjsn.js?components={0x1 | 0x4000 | 0x10000}"  # outlets; sensors: values, descriptions
_HTTP_SECONDS = 5.0  # for a page that the console can stand in for
_LINE = r"(?:^|[\r\n])[> ]*"
_DONE = rf"{_LINE}OK\."
_STATE = rf"{_LINE}(ON|OFF|1|0)\.?\s*[\r\n>]"
_REFUSED = rf"{_LINE}(ERR\.[^\r\n]*)[\r\n]"
_USERNAME = r"(?i)(?:user(?!\s*name\s+:)|login)[ a-z]*:"  # the console of APC has a blank there
_PASSWORD = r"(?i)password[ a-z]*:"
_VALUES = {"on": "1", "off": "0"}
_STATES = {"ON": State.ON, "1": State.ON, "OFF": State.OFF, "0": State.OFF}


class Gude(PDUDriver):
    """Lines of the console; what it cannot show, the web interface does."""

    models = {"gude1202": None}
    ports = Numbered(_OUTLETS, at_most=True)
    stable_names = True

    telnetport = tcp_port(23, "the console")
    httpport = tcp_port(80, "the web interface")
    username = Setting(text, "", "user to log in as, if the device requires a login")
    password = Setting(text, "", "password of that user", secret=True)

    def port_interaction(self, command: str, port_number: int) -> None:
        line = f"port {port_number:d} state set {_VALUES[command]}"
        with self._console() as console:
            seen = self._say(console, line, _DONE)
            if seen.name == "refused":
                raise _refusal(console, line, seen)

    def port_status(self, port_number: int) -> State:
        line = f"port {port_number:d} state show"
        with self._console() as console:
            seen = self._say(console, line, _STATE)
        if seen.name == "answer":
            return _STATES[seen.match[1]]
        try:
            return self._shown_by_http(port_number)
        except DeviceError as error:
            raise both(error, _refusal(console, line, seen)) from None

    def read_outlets(self) -> list[OutletReading]:
        """By the web interface, with the names; else by the console, of as many outlets as it knows."""
        try:
            source, said = self._page(_ALL_PAGE, self.deadline.within(_HTTP_SECONDS))
            return outlets(source, said)[:_OUTLETS]
        except DeviceError as error:
            try:
                return self._shown_by_console()
            except DeviceError as second:
                raise both(second, error) from None

    def read_inlets(self) -> list[InletReading]:
        _, said = self._page(_ALL_PAGE, self.deadline)
        return [*meters(said)]

    def _shown_by_console(self) -> list[OutletReading]:
        states: dict[int, State] = {}
        with self._console() as console:
            for port in range(1, _OUTLETS + 1):
                line = f"port {port} state show"
                seen = self._say(console, line, _STATE)
                if seen.name != "answer":
                    if not states:
                        raise _refusal(console, line, seen)
                    break
                states[port] = _STATES[seen.match[1]]
        return stated(states)

    def _say(self, console: Dialogue, line: str, answer: str) -> Seen:
        """Say a line; return its ``answer``, or what ``refused`` it."""
        console.line(line, repr(line))
        seen = console.expect_own(repr(line), {"answer": answer, "refused": _REFUSED, "login": _PASSWORD}, nudge=False)
        if seen.name == "login":
            raise LoginRefused(f"{console.peer} requires a login: username and password are to be set")
        return seen

    @contextlib.contextmanager
    def _console(self) -> Iterator[Dialogue]:
        with Telnet(self.hostname, self.telnetport, self.deadline) as stream:
            console = Dialogue(stream)
            if self.username:
                self._log_in(console)
            try:
                yield console
            finally:
                with stream.farewell():
                    console.line("quit", "the logout")
                    console.expect_or_end("the logout", {})

    def _log_in(self, console: Dialogue) -> None:
        """Log in, unless the device wants no login after all."""
        seen = console.expect_own("the login prompt", {"name": _USERNAME, "ready": ">"})
        if seen.nudged:
            console.settle("the login prompt", _PASSWORD)
        if seen.name == "ready":
            return
        console.line(self.username, "the login prompt")
        console.expect("the password prompt", {"password": _PASSWORD})
        console.line(self.password, "the password prompt", secret=True)
        if console.expect("the login", {"ready": ">", "again": rf"{_USERNAME}|ERR\."}).name != "ready":
            raise console.refusal()

    def _shown_by_http(self, port: int) -> State:
        source, said = self._page(_STATUS_PAGE, self.deadline)
        try:
            return _STATES[str(said["outputs"][port - 1]["state"])]
        except (LookupError, TypeError):
            raise TransientError(f"{source}: the answer does not tell the state of port {port}") from None

    def _page(self, page: str, deadline: Deadline) -> tuple[str, Any]:
        """Return whose answer it is, as errors begin, and what a page of the web interface says."""
        client = Client(self.hostname, deadline, port=self.httpport, username=self.username, password=self.password)
        answer = client.request("GET", page)
        return answer.source, answer.json()


def _refusal(console: Dialogue, line: str, seen: Seen) -> PermanentError:
    return PermanentError(f"{console.peer} refused {line!r}: {seen.match[1].strip()}"[:200])
