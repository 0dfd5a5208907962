# SPDX-License-Identifier: MIT
"""Outlets behind net-snmp's agent: its protocol ``pass_persist``, on standard input and output.

Called with the folder where the outlets are: one file for each, with ``on`` or ``off`` in it; ``pending`` holds how
many readings of ePDU's status are still to say pending. The same outlets can be had by several tables, of
several shapes; that of an APC Rack PDU 2G has names and meters.
"""

import sys
from pathlib import Path

E = ".1.3.6.1.4.1"
SPDU = f"{E}.318.1.1.4.4.2.1.3"  # APC MasterSwitch, sPDUOutletCtl: 1 on, 2 off, both written and read
RPDU2_CONTROL = f"{E}.318.1.1.26.9.2.4.1.5"  # APC Rack PDU 2G: written 1 on, 2 off ...
RPDU2_STATUS = f"{E}.318.1.1.26.9.2.3.1.5"  # ... read 2 on, 1 off
RPDU2_NAME = f"{E}.318.1.1.26.9.2.3.1.3"
RPDU2_METERS = {  # by outlet: 0.1 A, W, 0.1 kWh
    f"{E}.318.1.1.26.9.4.3.1.6": 10,
    f"{E}.318.1.1.26.9.4.3.1.7": 100,
    f"{E}.318.1.1.26.9.4.3.1.11": 1000,
}
RPDU2_MODEL = f"{E}.318.1.1.26.2.1.8"
RPDU2 = f"{E}.318.1.3.4.6"  # its sysObjectID
EPDU = f"{E}.534.6.6.7.6.6.1"  # Eaton ePDU, index strap.outlet: .4 and .3 written 0 for on and off, read at .2
DIGIPOWER = f"{E}.17420.1.2.9.1.13.0"  # Digipower: all outlets in one string
GAUGES = f"{E}.99999.7"  # a writable Gauge32: 1 on, 0 off
BASES = [SPDU, RPDU2_CONTROL, RPDU2_STATUS, RPDU2_NAME, *RPDU2_METERS, RPDU2_MODEL, EPDU, DIGIPOWER, GAUGES]
OUTLETS = [str(n) for n in range(1, 9)]


class Tables:
    """What is read and written at which OID."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def is_on(self, outlet: str) -> bool:
        return (self.folder / outlet).read_text() == "on"

    def switch(self, outlet: str, on: bool) -> None:
        self.put(outlet, "on" if on else "off")

    def put(self, name: str, text: str) -> None:
        """Write a file at one go: an order may be sent again, and somebody look meanwhile."""
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)

    def read(self, oid: str) -> tuple[str, str] | None:
        """Return the type and the value of an object, None if there is none."""
        if oid == DIGIPOWER:
            return "string", ",".join("1" if self.is_on(n) else "0" for n in OUTLETS)
        column, _, outlet = oid.rpartition(".")
        if column == RPDU2_MODEL:
            return ("string", "AP8941") if outlet == "1" else None
        if outlet not in OUTLETS:
            return None
        if column == RPDU2_NAME:
            return "string", f"board {outlet}"
        if column in RPDU2_METERS:
            return "integer", str(RPDU2_METERS[column] + int(outlet))
        on = self.is_on(outlet)
        values = {SPDU: (1, 2), RPDU2_CONTROL: (1, 2), RPDU2_STATUS: (2, 1)}
        values |= {f"{EPDU}.3.0": (-1, -1), f"{EPDU}.4.0": (-1, -1)}  # what cannot be read cannot be written by snmpd
        if column == f"{EPDU}.2.0":
            return "integer", str(self.pending(on))
        if column == GAUGES:
            return "gauge", "1" if on else "0"
        return ("integer", str(values[column][0 if on else 1])) if column in values else None

    def after(self, oid: str) -> str:
        """Return the object after one below the same base, empty if there is none."""
        base = next(base for base in BASES if f"{oid}.".startswith(f"{base}."))
        columns = {EPDU: [f"{EPDU}.2.0", f"{EPDU}.3.0", f"{EPDU}.4.0"], DIGIPOWER: []}.get(base, [base])
        outlets = OUTLETS[:1] if base == RPDU2_MODEL else OUTLETS
        there = [f"{column}.{n}" for column in columns for n in outlets] or [base]
        return next((each for each in there if arcs(each) > arcs(oid)), "")

    def pending(self, on: bool) -> int:
        """Return an ePDU's state: 0 off, 1 on, 2 pending off, 3 pending on."""
        left = int((self.folder / "pending").read_text())
        if left:
            self.put("pending", str(left - 1))
            return 3 if on else 2
        return 1 if on else 0

    def write(self, oid: str, kind: str, value: str) -> str:
        """Write an object; return the agent's word for how it went."""
        if oid == DIGIPOWER:
            if kind != "string":
                return "wrong-type"
            fields = value.strip('"').split(",")
            if len(fields) != len(OUTLETS) or {*fields} - {"0", "1"}:
                return "wrong-value"
            for outlet, state in zip(OUTLETS, fields, strict=True):
                self.switch(outlet, state == "1")
            return "DONE"
        column, _, outlet = oid.rpartition(".")
        meanings = {
            SPDU: {"1": True, "2": False},
            RPDU2_CONTROL: {"1": True, "2": False},
            f"{EPDU}.4.0": {"0": True},
            f"{EPDU}.3.0": {"0": False},
            GAUGES: {"1": True, "0": False},
        }
        if outlet not in OUTLETS or column not in meanings:
            return "not-writable"
        if kind != ("gauge" if column == GAUGES else "integer"):
            return "wrong-type"
        if value not in meanings[column]:
            return "wrong-value"
        self.switch(outlet, meanings[column][value])
        if column.startswith(EPDU):
            self.put("pending", "1")
        return "DONE"


def arcs(oid: str) -> list[int]:
    """Return the numbers of an OID."""
    return [*map(int, oid.strip(".").split("."))]


def main() -> None:
    """Answer what the agent asks, until it ends."""
    tables = Tables(Path(sys.argv[1]))
    while line := sys.stdin.readline():
        command = line.strip()  # after a set comes an empty line
        if command == "PING":
            print("PONG", flush=True)
        elif command == "set":
            oid, value = sys.stdin.readline().strip(), sys.stdin.readline().strip()
            kind, _, plain = value.partition(" ")
            print(tables.write(oid, kind, plain), flush=True)
        elif command:
            oid = sys.stdin.readline().strip()
            oid = oid if command == "get" else tables.after(oid)
            found = tables.read(oid) if oid else None
            print("\n".join((oid, *found)) if found else "NONE", flush=True)


if __name__ == "__main__":
    main()
