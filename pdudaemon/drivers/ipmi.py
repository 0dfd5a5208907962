# SPDX-License-Identifier: MIT
"""Machines with a BMC that speaks IPMI 2.0 over LAN: servers of nearly all makers. No program is started.

Each is a machine with one port, ``1``.

Source: IPMI 2.0 specification; DCMI 1.5 for watts; what ipmitool, FreeIPMI and pyghmi are known to do.
Tested: cipher suite 3 against ipmi_sim of OpenIPMI, and beside ipmitool; suite 17, watts, failures against a fake.
Quirks: the cipher suite is the best that the BMC has, 17 before 3, unless ``cipher`` says. The user needs the privilege
of an operator. A reboot is the BMC's own power cycle, ``reset``, or with ``off-on`` off, delay, on; a machine that is
off is switched on by it. A cycle or reset that is not answered is not sent again, as it may have been done. After on
and off the state is read until it has changed. What this does not know (IPMI 1.5, other suites, serial over LAN) is for
a ``platform`` with ipmitool.

    "node03": {"driver": "ipmi", "ip": "node03-bmc", "username": "admin", "password": "secret"},
    "node04": {"driver": "ipmi", "ip": "192.0.2.104", "username": "power", "password": "secret", "cipher": 3}
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pdudaemon.drivers.driver import Numbered, hook
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.drivers.recognition import LOGIN, Recognised, port_of
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, choice, integer, text
from pdudaemon.transports import rmcp
from pdudaemon.transports.datagrams import Conversation, Steps, is_numeric
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from pdudaemon.transports.rmcp import Login, Session

T = TypeVar("T")

_CHASSIS, _GROUP = 0x00, 0x2C
_STATUS, _CONTROL, _POWER_READING, _DEVICE_ID = 0x01, 0x02, 0x02, 0x01
_DCMI = 0xDC
_DOWN, _UP, _CYCLE, _RESET, _SOFT = 0, 1, 2, 3, 5
_NEXT_LOOK = 1.0  # seconds
_AT_A_TIME = 512  # more of them would keep our own answers waiting, which BMCs take for lost
_OFF_AT_MOST = 15.0  # of a cycle, by the BMC's own doing
_MAKERS = {2: "IBM", 11: "HP", 343: "Intel", 674: "Dell", 10876: "Supermicro", 19046: "Lenovo", 47196: "HPE"}
_PRIVILEGES = {"user": rmcp.USER, "operator": rmcp.OPERATOR, "administrator": rmcp.ADMINISTRATOR}


def _key(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(0x)?([0-9a-fA-F]{2}){1,20}", value):
        raise ValueError("is not a key of up to 20 bytes in hex digits")
    return value.lower().removeprefix("0x")


def _cipher(value: object) -> str:
    return choice("auto", "17", "3").convert(str(value))


class IPMI(NetworkDevice):
    """A session for each action; what was found out about the BMC is kept for the next."""

    models = {"ipmi": None}
    ports = Numbered(1)

    port = Setting(integer(1, 65535), 623, "UDP port of the BMC")
    username = Setting(text, "", "user name")
    password = Setting(text, "", "password of that user", secret=True)
    kg = Setting(Kind("hex digits", _key), "", "key of the BMC (K_G), if it has one", secret=True)
    cipher = Setting(Kind("auto 17 3", _cipher), "auto", "cipher suite")
    privilege = Setting(choice(*_PRIVILEGES), "operator", "privilege that is asked for")
    restart = Setting(choice("cycle", "reset", "off-on"), "cycle", "what a reboot is: the BMC's own, or off and on")

    _suite = 0
    _measures = True

    @classmethod
    def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Recognised | None:
        """Take it for one by its answer to the question whether it is there, which needs no login."""
        if pages.port and pages.server:
            return None
        port = pages.port or cls.port.default
        if not rmcp.present(pages.host, port, deadline):
            return None
        settings: dict[str, Any] = {"driver": "ipmi", **port_of(pages)}
        return Recognised(settings if pages.port is None else {**settings, "ip": pages.host}, wants=LOGIN)

    @hook
    def pool(self) -> tuple[str, int] | None:
        return "BMCs", _AT_A_TIME

    @hook
    def restarts(self) -> bool:
        return self.restart != "off-on"

    @hook
    def converses(self) -> bool:
        return is_numeric(self.ip)

    def conversation(self, request: str, port_number: int) -> Conversation[State | None]:
        if request == "status":
            return self._talk(_state)
        if request == "reboot":
            return self._talk(self._restarted)
        return self._talk(_shut_down if request == "shutdown" else partial(_switched, wanted=State(request)))

    def port_interaction(self, command: str, port_number: int) -> None:
        self.conversation(command, port_number).carried_on()

    def port_reboot(self, port_number: int) -> None:
        self.conversation("reboot", port_number).carried_on()

    def port_shutdown(self, port_number: int) -> None:
        self.conversation("shutdown", port_number).carried_on()

    def port_status(self, port_number: int) -> State:
        return self._talk(_state).carried_on()

    def read_outlets(self) -> list[OutletReading]:
        def act(bmc: Session) -> Steps[OutletReading]:
            state = yield from _state(bmc)
            watts = yield from self._watts(bmc)
            return OutletReading("1", state=state, watts=watts)

        return [self._talk(act).carried_on()]

    def identify(self) -> Identity:
        def act(bmc: Session) -> Steps[Identity]:
            step = "the question for its identity"
            answer = yield from bmc.command(rmcp.APPLICATION, _DEVICE_ID, b"", step)
            said = answer.data
            if answer.code or len(said) < 11:
                raise rmcp.refusal(bmc.peer, step, answer.code)
            maker = int.from_bytes(said[6:9], "little") & 0xFFFFF
            product = int.from_bytes(said[9:11], "little")
            firmware = f"{said[2] & 0x7F}.{said[3]:02x}"
            return Identity(_MAKERS.get(maker, f"manufacturer {maker}"), f"product {product}", "", firmware)

        return self._talk(act).carried_on()

    def _talk(self, act: Callable[[Session], Steps[T]]) -> Conversation[T]:
        """Return a conversation in which ``act`` uses a session."""
        suite = self._suite if self.cipher == "auto" else int(self.cipher)
        login = Login(self.username, self.password, bytes.fromhex(self.kg), suite, _PRIVILEGES[self.privilege])
        self._suite = 0  # unless there is a session: it may be another BMC by now

        def noted(bmc: Session) -> Steps[T]:
            self._suite = bmc.suite
            return (yield from act(bmc))

        return rmcp.talk(self.host, self.port, self.deadline, login, noted)

    def _restarted(self, bmc: Session) -> Steps[None]:
        yield from bmc.raise_privilege()
        if (yield from _state(bmc)) is not State.OFF:
            yield from _control(bmc, _RESET if self.restart == "reset" else _CYCLE, self.restart, once=True)
            try:
                yield from _await(bmc, State.ON, within=_OFF_AT_MOST)
                return
            except TransientError:
                pass  # this BMC has cut the power and leaves it at that
        yield from _control(bmc, _UP, "on")
        yield from _await(bmc, State.ON)

    def _watts(self, bmc: Session) -> Steps[float | None]:
        """Return what the machine draws, if the BMC measures that; one that does not is not asked again."""
        if not self._measures:
            return None
        answer = yield from bmc.command(_GROUP, _POWER_READING, bytes([_DCMI, 1, 0, 0]), "the question for its watts")
        said = answer.data
        if answer.code or len(said) < 18 or said[0] != _DCMI:
            self._measures = False
            return None
        return float(int.from_bytes(said[1:3], "little")) if said[17] & 0x40 else None


def _switched(bmc: Session, wanted: State) -> Steps[None]:
    yield from bmc.raise_privilege()
    yield from _control(bmc, _UP if wanted is State.ON else _DOWN, wanted.value)
    yield from _await(bmc, wanted)


def _shut_down(bmc: Session) -> Steps[None]:
    yield from bmc.raise_privilege()
    if (yield from _state(bmc)) is State.ON:
        yield from _control(bmc, _SOFT, "shutdown")


def _control(bmc: Session, what: int, word: str, *, once: bool = False) -> Steps[None]:
    answer = yield from bmc.command(_CHASSIS, _CONTROL, bytes([what]), f"the order {word!r}", once=once)
    if answer.code:
        raise rmcp.refusal(bmc.peer, f"the order {word!r}", answer.code)


def _state(bmc: Session) -> Steps[State]:
    answer = yield from bmc.command(_CHASSIS, _STATUS, b"", "the question for the state")
    if answer.code:
        raise rmcp.refusal(bmc.peer, "the question for the state", answer.code)
    if not answer.data:
        raise TransientError(f"{bmc.peer}: the answer does not tell the state")
    return State.ON if answer.data[0] & 1 else State.OFF


def _await(bmc: Session, wanted: State, within: float = math.inf) -> Steps[None]:
    """Look until a machine is as it was told to be, which may take a while."""
    limit = bmc.deadline.within(within)
    try:
        while (yield from _state(bmc)) is not wanted:
            yield min(_NEXT_LOOK, limit.remaining())
    except DeviceTimeout:
        raise TransientError(f"{bmc.peer}: it is not {wanted} after the order") from None
