# SPDX-License-Identifier: MIT
"""What PDUs that are switched by SNMP share: the row that says where and how, and the driver that goes by it.

A family of such devices is a subclass of `SNMPDriver` with nothing but rows, see `OutletRow`. This module has none.

Source: RFC 1157, 3416 and 3414; the shapes of the devices' MIBs.
Tested: against net-snmp's agent, snmpsim and an agent of our own, by `pdudaemon.drivers.snmp`.
Quirks: an agent does not answer a wrong community, so that looks like a dead device.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pdudaemon.drivers import snmptable
from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.drivers.snmpfinder import Fitting, fitting
from pdudaemon.drivers.snmprow import Inlet, Labels, Meter, OutletRow, Put, Scaled, index
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, choice, integer, seconds, text
from pdudaemon.transports.snmp import AUTH_PROTOCOLS, LONGEST_WAIT, PRIV_PROTOCOLS, Agent, Community, Index, User

__all__ = ["Inlet", "Labels", "Meter", "OutletRow", "Put", "SNMPDriver", "Scaled", "index"]

log = logging.getLogger("pdud.snmp")

_POLL = 0.5
_LONGEST_USER, _SHORTEST_KEY = 32, 8  # of RFC 3414, in bytes


def _version(value: object) -> str:
    if str(value).lower() not in ("1", "2c", "3"):
        raise ValueError(f"{value!r} is none of 1, 2c, 3")
    return str(value).lower()


def _protocol(names: Collection[str]) -> Kind[str]:
    """One of pysnmp's names; of the two that each protocol has, the new one is shown."""
    return Kind(" ".join(name for name in names if name.startswith("USM_")), choice(*names).convert)


class SNMPDriver(PDUDriver):
    """Switches by SET, and takes nothing for done that the agent has not confirmed."""

    models: ClassVar[Mapping[str, OutletRow]] = {}
    stable_names = True  # users give them, and they stay in the device; one that is there twice is told by the engine
    row: OutletRow
    _found: Fitting | None = None

    def __init__(self, hostname: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(hostname, settings)
        self._lengths: dict[tuple[Index, ...], int] = {}  # of the agent's columns, when they were last read

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for word, row in cls.models.items() if isinstance(cls.models, Mapping) else ():
            if not isinstance(row, OutletRow):
                raise TypeError(f"{cls.__name__}: the row of {word!r} is {row!r}, which is not an OutletRow")
            if cls.row_of is SNMPDriver.row_of and not (
                row.control or row.variants or (isinstance(row.on, tuple) and row.on)
            ):
                raise TypeError(f"{cls.__name__}: the row of {word!r} does not say what is SET: control is missing")
        super().__init_subclass__(**kwargs)

    version = Setting(Kind("1 2c 3", _version), "", "version of SNMP, if not the one usual for the driver")
    community = Setting(text, "", "community that may write (v1, v2c)", secret=True)
    username = Setting(text, "", "user of SNMPv3")
    authpassphrase = Setting(
        text, "", "the user's authentication passphrase; empty: messages are not signed", secret=True
    )
    privpassphrase = Setting(text, "", "the user's privacy passphrase; empty: messages are not encrypted", secret=True)
    auth_protocol = Setting(_protocol(AUTH_PROTOCOLS), "", "how messages are signed, if not by MD5")
    priv_protocol = Setting(_protocol(PRIV_PROTOCOLS), "", "how messages are encrypted, if not by DES")
    snmpport = Setting(integer(1, 65535), 161, "UDP port of the agent")
    snmptimeout = Setting(
        seconds(0.1, LONGEST_WAIT), 6.0, "wait for an answer, within which a request is sent 4 times", unit="s"
    )

    @hook
    def canonical_port(self, port: str) -> str:
        return self.row.canonical(super().canonical_port(port))

    @hook
    def reads_state(self) -> bool:
        return self.row.readable()

    @hook
    def faults(self) -> dict[str, str]:
        login = self.login()
        if isinstance(login, Community):
            return {} if login.name else {"community": f"is missing: {type(self).community.help}"}
        if not login.name:
            return {"username": f"is missing: {type(self).username.help}"}
        if login.encrypted and not login.signed:
            return {"privpassphrase": "needs an authpassphrase: what is encrypted must be signed"}
        if len(login.name.encode()) > _LONGEST_USER:
            return {"username": f"is too long: SNMPv3 has no user of more than {_LONGEST_USER} bytes"}
        keys = {"authpassphrase": login.auth_key, "privpassphrase": login.priv_key}
        short = f"is too short: SNMPv3 has no passphrase of fewer than {_SHORTEST_KEY} characters"
        return {name: short for name, key in keys.items() if key and len(key.encode()) < _SHORTEST_KEY}

    def row_of(self, port: str) -> OutletRow:
        """Return the row that a port goes by.

        Raises: PermanentError, where the row is to be found out, if none fits or the port is none of its.
        """
        row = self._fitting().row
        try:
            row.canonical(port)
        except ValueError as error:  # it could not be told at acceptance
            raise PermanentError(str(error)) from None
        return row

    @hook
    def reads_outlets(self) -> bool:
        return bool(self.row.readable() or self.row.names)

    def rows(self) -> Iterable[tuple[str, OutletRow]]:
        """Return the rows that the device may be of, if it is to be found out which."""
        return [(str(self.settings.get("driver")), self.row)]

    def _fitting(self) -> Fitting:
        """Return the row in force; one that is to be found out, is so once. Raises: PermanentError if none fits."""
        if self._found is None:
            word = str(self.settings.get("driver"))
            if not self.row.variants:
                self._found = Fitting(word, self.row)
            else:
                self._found = fitting(self.rows(), self._agent(), self.deadline)
                about = self._found.row.about or self._found.word
                log.info("%s: found to be a device of the driver %s (%s)", self.hostname, self._found.word, about)
        return self._found

    def read_outlets(self) -> list[OutletReading]:
        return snmptable.read_outlets(self._fitting().row, self._agent(), self.deadline)

    def read_inlets(self) -> list[InletReading]:
        return snmptable.read_inlets(self._fitting().row, self._agent(), self.deadline)

    def identify(self) -> Identity | None:
        found = self._fitting()
        told = snmptable.identify(found.row, self._agent(), self.deadline)
        if found.word == self.settings.get("driver"):
            return told
        return replace(told or Identity(found.row.labels.maker), driver=found.word)

    def login(self) -> Community | User:
        """Return who we are to the agent."""
        version = self.version or self.row.version
        if version != "3":
            return Community(self.community or self.row.community, version)
        return User(self.username, self.authpassphrase, self.privpassphrase, self.auth_protocol, self.priv_protocol)

    def port_interaction(self, command: str, port_number: int | str) -> None:
        port = str(port_number)
        row, agent = self.row_of(port), self._agent()
        if row.only:
            self._check_outlet(row, agent.values([row.filled(row.only[0], port)], self.deadline)[0], port)
        for oid, value in row.puts(command, port):
            if row.separator:
                fields = str(agent.get(oid, self.deadline)).split(row.separator)
                place = row.place(port, fields)
                if row.meant(fields[place].strip()) is State.UNKNOWN:
                    raise PermanentError(f"outlet {port} cannot be switched: the device has {fields[place]!r} for it")
                fields[place] = str(value)
                value = row.separator.join(fields)
            agent.set(oid, value, row.syntax, self.deadline)
        if row.lags:
            self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: int | str) -> State:
        port = str(port_number)
        row, agent = self.row_of(port), self._agent()
        if not row.readable():
            return super().port_status(port_number)
        oid = row.filled(row.tells, port)
        while True:
            value = self._told(row, agent, oid, port).strip()
            if row.is_absent(value):
                raise PermanentError(f"there is no outlet {port}: the device has {value!r} for its state")
            state = row.meant(value)
            if state is not None:
                return state
            if self.deadline.remaining() <= _POLL:
                return State.UNKNOWN
            self.deadline.pause(_POLL)

    def _told(self, row: OutletRow, agent: Agent, oid: str, port: str) -> str:
        """Return what stands for the state of a port. Raises: PermanentError if there is no such outlet."""
        if row.only:
            told, says = agent.values([oid, row.filled(row.only[0], port)], self.deadline)
            self._check_outlet(row, says, port)
            return str(told)
        value = str(agent.get(oid, self.deadline))
        if not row.separator:
            return value
        fields = value.split(row.separator)
        return fields[row.place(port, fields)]

    def _check_outlet(self, row: OutletRow, says: int | str | None, port: str) -> None:
        if not row.is_outlet(says):
            raise PermanentError(f"there is no outlet {port}: what the device has there is none")

    def _bombout(self) -> None:
        self._found = None  # it may be another device by now

    def _agent(self) -> Agent:
        return Agent(self.hostname.strip("[]"), self.snmpport, self.login(), self.snmptimeout, self._lengths)
