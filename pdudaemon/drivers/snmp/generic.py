# SPDX-License-Identifier: MIT
"""Any PDU, or PoE switch, with one SNMP object for each outlet: the configuration says which, and which values.

The object is a numeric ``oid`` in which every ``*`` is the port, or a ``mib`` and a ``controlpoint`` to which the port
is appended. Names are looked up in `pdudaemon.drivers.snmpsymbols`, without a MIB; for one that is not there, ``oid``
does the same. The port may be an index of several numbers, ``1.2.5``.

The state is read from the column that is known to tell it, else from the object itself; ``status_oid``, ``status_on``
and ``status_off`` say otherwise.

Source: behaviour of the existing PDUDaemon; the MIBs named in the table of symbols.
Tested: against net-snmp's agent, snmpsim and an agent of our own; on no hardware.
Quirks: ``snmpv1`` sends v2c, as it always has, unless ``version`` is ``"1"``. Without a ``*``, ``oid`` is one object,
and all ports are one: the number is ignored.

    "apc01": {
        "driver": "snmpv1",
        "community": "private",
        "mib": "PowerNet-MIB",
        "controlpoint": "sPDUOutletCtl",
        "onsetting": "1",
        "offsetting": "2"
    },
    "poe-switch": {
        "driver": "snmpv2c",
        "community": "private",
        "oid": ".1.3.6.1.2.1.105.1.1.1.3.1.*",
        "onsetting": 1,
        "offsetting": 2
    },
    "raritan": {
        "driver": "snmpv3",
        "username": "pdudaemon",
        "authpassphrase": "a long passphrase",
        "auth_protocol": "USM_AUTH_HMAC96_SHA",
        "privpassphrase": "another passphrase",
        "priv_protocol": "USM_PRIV_CFB128_AES",
        "oid": "1.3.6.1.4.1.13742.6.4.1.2.1.2.1.*",
        "onsetting": 1,
        "offsetting": 0,
        "status_oid": "1.3.6.1.4.1.13742.6.4.1.2.1.3.1.*",
        "status_on": 7,
        "status_off": 8
    }
"""

from __future__ import annotations

from dataclasses import replace

from pdudaemon.drivers import snmptable
from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.snmpoutlet import OutletRow, SNMPDriver, index
from pdudaemon.drivers.snmpsymbols import SYMBOLS, column_of
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, integer, near, text
from pdudaemon.transports.snmp import OID

_THE_PORT = "1"  # of what is one object
_ANY_PORT = "{n}"
_number = integer(-(2**31), 2**31 - 1)
_arc = Kind("number", lambda value: str(integer(0, 2**32 - 1).convert(value)))
_word = Kind("number or text", str)
_oid = Kind("text", lambda value: text.convert(value).removeprefix("."))


class _Named(OutletRow):
    """A row whose objects the settings name, for one port at a time: there is no ``{n}`` left in them."""

    def __post_init__(self) -> None:
        pass


class SNMP(SNMPDriver):
    """The settings make the row; the words differ in nothing but the version they speak by default."""

    models = {
        "snmpv1": _Named(version="2c", community=""),
        "snmpv2c": _Named(version="2c", community=""),
        "snmpv3": _Named(version="3"),
    }

    mib = Setting(text, "", "MIB of the object, unless `oid` is given")
    controlpoint = Setting(text, "", "name of the object in the MIB; the port is appended as its index")
    inside_number = Setting(
        Kind("anything", bool), False, "the port stands for `*` in `controlpoint` and is not appended"
    )
    static_ending = Setting(_arc, "", "with `inside_number`: the index that is appended")
    oid = Setting(_oid, "", "numeric OID of the object; the port stands for `*`")
    onsetting = Setting(_number, 1, "value that switches on", required=True)
    offsetting = Setting(_number, 2, "value that switches off", required=True)
    status_oid = Setting(
        _oid, "", "numeric OID that tells the state, if not the object itself; the port stands for `*`"
    )
    status_on = Setting(_word, "", "its value when on")
    status_off = Setting(_word, "", "its value when off")

    @hook
    def canonical_port(self, port: str) -> str:
        if self._is_one_object():
            super(SNMPDriver, self).canonical_port(port)
            return _THE_PORT
        port = ".".join(map(str, index(port)))
        if self.inside_number and not self.oid:
            name = self.controlpoint.replace("*", port)
            if (self.mib, name) not in SYMBOLS:
                raise ValueError(f"{port!r} is not a port: there is no {name}")
        return port

    @hook
    def reads_state(self) -> bool:
        return self.row_of("1").readable()

    @hook
    def reads_outlets(self) -> bool:
        return self._is_column() and self.row_of(_ANY_PORT).readable()

    def read_outlets(self) -> list[OutletReading]:
        if not self._is_column():
            raise PermanentError("the settings do not say which outlets there are")
        return snmptable.read_outlets(self.row_of(_ANY_PORT), self._agent(), self.deadline)

    @hook
    def faults(self) -> dict[str, str]:
        return {**super().faults(), **self._faults()}

    def row_of(self, port: str) -> OutletRow:
        on, off = self.onsetting, self.offsetting
        control = self._control(port)
        status: str | None = None
        states: dict[int | str, State] = {on: State.ON, off: State.OFF}
        column = None if self.status_oid else column_of(control)
        if self.status_oid:
            status = self.status_oid.replace("*", port)
        elif column and column.status is None:
            states = {**column.states, **states}
        elif column:
            status = column.status and column.status + control[len(column.oid) :]
            states = {**column.states}
            if (on, off) == (column.off, column.on):  # wired the other way round
                states = {value: State.OFF if state is State.ON else State.ON for value, state in states.items()}
        for state, value in (State.ON, self.status_on), (State.OFF, self.status_off):
            if value:
                states = {known: meaning for known, meaning in states.items() if meaning is not state}
                states[value] = state
        pending = column.pending if column else ()
        return replace(self.row, control=control, on=on, off=off, status=status, states=states, pending=pending)

    def _is_column(self) -> bool:
        """Whether the objects of all ports differ in one number, at one place."""
        return self.oid.count("*") == 1 if self.oid else not self.inside_number

    def _is_one_object(self) -> bool:
        if self.oid:
            return "*" not in self.oid
        return self.inside_number and "*" not in self.controlpoint

    def _control(self, port: str) -> str:
        if self.oid:
            return self.oid.replace("*", port)
        if not self.inside_number:
            return f"{SYMBOLS[self.mib, self.controlpoint].oid}.{port}"
        column = SYMBOLS[self.mib, self.controlpoint.replace("*", port)]
        return f"{column.oid}.{self.static_ending}" if self.static_ending else column.oid

    def _faults(self) -> dict[str, str]:
        wrong = {
            name: f"{oid!r} is not a numeric OID"
            for name, oid in (("oid", self.oid), ("status_oid", self.status_oid))
            if oid and not OID.fullmatch(oid.replace("*", "1"))
        }
        if self.oid and self.mib:
            wrong["mib"] = "cannot be given beside oid"
        elif not self.oid and not self.mib:
            wrong["oid"] = "is missing: a numeric OID, or a mib and a controlpoint"
        elif self.mib:
            name = self.controlpoint.replace("*", "1") if self.inside_number else self.controlpoint
            if (self.mib, name) not in SYMBOLS:
                known = [f"{mib} {symbol}" for mib, symbol in SYMBOLS]
                like = near(f"{self.mib} {name}", known)
                wrong["controlpoint"] = (
                    f"{self.mib} {name} is not known here{like}; its numeric OID can be given as oid"
                )
        if not wrong and "*" in self.status_oid and self._is_one_object():
            wrong["status_oid"] = "has a * for the port, but what is switched has none: it is one object"
        return wrong
