# SPDX-License-Identifier: MIT
"""An SNMP PDU of any row of facts: outlets, names and meters as ``snmprows.txt`` has them, and digests of recordings.

What the notation of that file cannot say of a row is said here, in `ODD`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.snmp import MOODS as MOODS
from tests.devices.base.snmp import Agent, Table, Value, answering
from tests.support.snmpmessage import (
    COUNTER,
    INTEGER,
    NO_ACCESS,
    OCTETS,
    OID,
    PDU,
    UNSIGNED,
    WRONG_VALUE,
    integer,
    oid,
    parts,
)

HERE = Path(__file__).parent
E = "1.3.6.1.4.1."
SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"
QUANTITIES = {"W": "watts", "V": "volts", "A": "amps", "Wh": "watt_hours"}
RAW = {"W": 1200, "V": 2300, "A": 340, "Wh": 56000}
"""What the meter of an outlet reads, before its number is added."""

_OID = r"(?:E|1(?=\.3\.6\.1))?\.[\w.{}+-]*[\w}]"
_PART = re.compile(r"\{([a-z]+)([+-][0-9]+)?\}")
OUTLETS = 4
SOME_UNIT = 2  # of a part of the index that nobody knows


def rows() -> dict[str, dict[str, str]]:
    """Return the rows of facts as they are written."""
    found: dict[str, dict[str, str]] = {}
    for line in (HERE / "snmprows.txt").read_text().splitlines():
        if line.startswith("row: "):
            row = found.setdefault(line[5:], {})
        elif line.startswith("  ") and not line.startswith("   "):
            key, _, value = line.strip().partition(": ")
            row[key] = value
    for row in found.values():
        for key, value in found.get(row.get("like", ""), {}).items():
            row.setdefault(key, value)
    return found


FACTS = rows()


def absolute(row: Mapping[str, str], template: str) -> str:
    """Return an OID, or a template of some, as it is below the base of a row."""
    whole = template if template[0] in "E1" else row["b"] + template
    return whole.replace("E.", E)


def first_oid(row: Mapping[str, str], text: str) -> str:
    """Return the first OID that a text of a row has; empty if none."""
    found = re.search(_OID, text)
    return absolute(row, found[0]) if found else ""


def quantities(row: Mapping[str, str], text: str) -> dict[str, tuple[str, float]]:
    """Return (OID, factor) of each quantity that a text of a row has, by its letter, the first that there is."""
    found: dict[str, tuple[str, float]] = {}
    for letter, where, factor in re.findall(rf"\b(Wh|W|V|A)=({_OID})\*([\d.]+)", text):
        found.setdefault(letter, (absolute(row, where), float(factor)))
    return found


def meanings(text: str) -> dict[str, list[int]]:
    """Return the values of each meaning: ``on=1,3 off=0`` -> {"on": [1, 3], "off": [0]}."""
    found: dict[str, list[int]] = {}
    for word, values in re.findall(r"(\w+)=(-?\d+(?:,-?\d+)*)", text):
        found.setdefault(word, [*map(int, values.split(","))])
    return found


@dataclass(frozen=True)
class Facts(Table):
    """A table with parts of the index, names, meters, and whatever else there is to read.

    ``parts``: the index before the outlet. ``beyond``: how much further on an outlet is. ``empty``: an index that is
    no outlet, and the value that says so. ``extra``: value by OID, in a template for each outlet.
    """

    parts: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    meters: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    extra: Mapping[str, Value] = field(default_factory=dict)
    empty: tuple[str, Value] | None = None
    gap: int = 0
    object_id: str = ""
    descr: str = "a PDU"

    def at(self, oid: str, port: str) -> str:
        outlet = int(port.rpartition(".")[2])

        def number(part: re.Match[str]) -> str:
            value = outlet if part[1] == "n" else self.parts[part[1]]
            beyond = bool(self.gap and part[1] == "n" and part[2] and outlet > self.gap)
            return str(value + int(part[2] or 0) + beyond)

        return _PART.sub(number, oid)

    def scenery(self) -> dict[str, tuple[int, bytes]]:
        found: dict[str, tuple[int, bytes]] = {SYS_DESCR: typed(self.descr)}
        if self.object_id:
            found[SYS_OBJECT_ID] = parts(oid(self.object_id))[0]
        for port in self.indices:
            outlet = int(port.rpartition(".")[2])
            if self.name:
                found[self.at(self.name, port)] = typed(f"Outlet {outlet}")
            for letter, (where, _) in self.meters.items():
                found[self.at(where, port)] = typed(RAW[letter] + outlet)
            for where, value in self.extra.items():
                found[self.at(where, port)] = typed(value)
        if self.empty:
            found[self.at(self.read, self.empty[0])] = typed(self.empty[1])
        return found

    @property
    def readings(self) -> dict[str, dict[str, float]]:
        """What the meters read, in our units, by port."""
        return {
            port: {
                QUANTITIES[letter]: round((RAW[letter] + int(port.rpartition(".")[2])) * factor, 3)
                for letter, (_, factor) in self.meters.items()
            }
            for port in self.indices
        }


def typed(value: Value) -> tuple[int, bytes]:
    """Return a value as (tag, content)."""
    return (OCTETS, value.encode()) if isinstance(value, str) else parts(integer(value))[0]


def facts(name: str) -> Facts:
    """Return the table of a row."""
    row = FACTS[name]
    given: dict[str, Any] = dict(ODD.get(name, {}))
    if "set_on" in row:
        for state in ("on", "off"):
            *_, (where, value) = re.findall(rf"({_OID}) = (-?\d+)", row[f"set_{state}"])
            given.setdefault(state, (absolute(row, where), int(value)))
    else:
        given.setdefault("control", first_oid(row, row["ctl"]))
        written = meanings(row["set"])
        given.setdefault("on", written["on"][0])
        given.setdefault("off", written["off"][0])
    if row["st"].startswith("=ctl"):
        given.setdefault("status", given.get("control", "") or first_oid(row, row["ctl"]))
    else:
        given.setdefault("status", first_oid(row, row["st"]))
    read = meanings(row["states"])
    given.setdefault("states", {value: word for word in ("on", "off") for value in read.get(word, [])})
    if "absent" in read:
        given.setdefault("empty", (str(OUTLETS + 1), read["absent"][0]))
    index = dict(re.findall(r"(\w+)=(\d+|\?)", row.get("parts", "")))
    given.setdefault("parts", {part: SOME_UNIT if value == "?" else int(value) for part, value in index.items()})
    first = int(row.get("first", 1))
    whole = [str(value) for value in given["parts"].values()] if "?" in index.values() else []
    ports = [".".join([*whole, str(n)]) for n in range(first, first + OUTLETS)]
    given.setdefault("ports", {port: port for port in ports})
    given.setdefault("name", first_oid(row, row.get("name", "")))
    given.setdefault("meters", quantities(row, row.get("out", "")))
    given.setdefault("object_id", first_oid(row, row.get("sys", "")))
    given.setdefault("kind", UNSIGNED if row.get("syn") in ("Gauge32", "Unsigned32") else INTEGER)
    bad = ["x", "1..2", "-1", "1;2"] + ([] if first == 0 else ["0"]) + (["1"] if whole else [])
    return Facts(bad_ports=tuple(bad), **given)


def with_mac(template: str) -> str:
    """Return a template with the MAC address of a PDU, as its characters' codes."""
    return template.replace("{mac}", "48.48.65.48.66.48.48.48.48.48.48.49")


_CPI = f"{E}30932.1.10.1."
_CMC = f"{E}2606.7.4.2.2.1."
_UPDU = f"{E}55108.1"
_PX2 = f"{E}13742.6"
_PX2_DIGITS = {1: 3, 4: 0, 5: 0, 8: 0}
ODD: dict[str, dict[str, Any]] = {
    "apc_cpdu": {
        "extra": {f"{E}318.1.1.32.5.4.1.2.{{unit}}.{{n}}": 1, f"{E}318.1.1.32.5.4.1.2.1.41": 0},
        "empty": ("41", 0),
    },
    "enlogic": {"extra": {f"{E}38446.1.5.4.1.2.{{pdu}}.{{n}}": 1, f"{E}38446.1.5.4.1.2.1.41": 0}, "empty": ("41", 0)},
    "aten_pe": {
        "control": f"{E}21317.1.3.2.2.2.2.{{n+1}}.0",
        "gap": 8,
        "ports": {str(n): str(n) for n in range(1, 17)},
        "empty": ("17", 7),
        "descr": "Aten",
    },
    "raritan_px2": {
        "meters": {
            letter: (f"{_PX2}.5.4.3.1.4.{{pdu}}.{{n}}.{sensor}", 10.0 ** -_PX2_DIGITS[sensor])
            for letter, sensor in (("A", 1), ("V", 4), ("W", 5), ("Wh", 8))
        },
        "extra": {f"{_PX2}.3.5.4.1.7.{{pdu}}.{{n}}.{sensor}": digits for sensor, digits in _PX2_DIGITS.items()},
    },
    "dli_snmp": {
        "meters": {"W": ("1.3.6.1.2.1.229.1.2.1.1.{n}", 0.01)},
        "extra": {"1.3.6.1.2.1.229.1.2.1.3.{n}": -2, "1.3.6.1.2.1.229.0.1.0": 1},
    },
    "gude": {
        "control": f"{E}28507.81.1.3.1.2.1.3.{{n}}",
        "name": f"{E}28507.81.1.3.1.2.1.2.{{n}}",
        "meters": {
            "W": (f"{E}28507.81.1.5.5.2.1.4.{{n}}", 1),
            "A": (f"{E}28507.81.1.5.5.2.1.5.{{n}}", 0.001),
            "V": (f"{E}28507.81.1.5.5.2.1.6.{{n}}", 1),
            "Wh": (f"{E}28507.81.1.5.5.2.1.3.{{n}}", 1),
        },
        "object_id": f"{E}28507.81",
    },
    "gude_old": {
        "control": f"{E}28507.5.1.1.2.1.3.{{n}}",
        "name": f"{E}28507.5.1.1.2.1.2.{{n}}",
        "object_id": f"{E}28507.5",
    },
    "ibm_pdu": {  # the newer one
        "control": f"{E}2.6.223.8.2.2.1.13.{{n}}",
        "meters": {"W": (f"{E}2.6.223.8.2.2.1.15.{{n}}", 1), "A": (f"{E}2.6.223.8.2.2.1.9.{{n}}", 0.001)},
    },
    "cpi_econnect": {
        "control": with_mac(f"{_CPI}4.10.1.11.{{n}}.12.{{mac}}"),
        "name": with_mac(f"{_CPI}4.10.1.4.{{n}}.12.{{mac}}"),
        "meters": {
            "A": (with_mac(f"{_CPI}4.10.1.6.{{n}}.12.{{mac}}"), 0.01),
            "V": (with_mac(f"{_CPI}4.10.1.7.{{n}}.12.{{mac}}"), 0.1),
            "Wh": (with_mac(f"{_CPI}4.10.1.10.{{n}}.12.{{mac}}"), 0.0027778),
        },
        "extra": {with_mac(f"{_CPI}2.10.1.9.12.{{mac}}"): OUTLETS},
        "parts": {},
    },
    "teracom_tcw": {  # TCW241
        "control": f"{E}38783.3.3.4.{{n}}.1.0",
        "name": f"{E}38783.3.2.2.4.{{n}}.1.0",
        "extra": {f"{E}38783.3.1.1.0": "TCW241 SNMP Agent"},
        "object_id": f"{E}38783",
    },
    "inveo": {  # Hero
        "control": f"{E}42814.12.3.1.{{n}}.0",
        "status": f"{E}42814.12.3.2.{{n}}.0",
        "ports": {"1": "1", "2": "2"},
        "object_id": f"{E}42814.12",
    },
    "powertek": {"descr": "PWT_v3.10.6"},
    "powertek_sps": {"descr": "SPS firmware"},
    "rittal_cmc3": {
        "ports": {f"2.{n}": f"2.{n}" for n in (158, 167, 176)},
        "control": f"{_CMC}11.{{device}}.{{n}}",
        "extra": {
            f"{_CMC}3.{{device}}.{{n}}": "Sockets.Socket 01.General.Relay",
            f"{_CMC}3.{{device}}.{{n-3}}": "Sockets.Socket 01.General.DescName",
            f"{_CMC}11.{{device}}.{{n-3}}": 0,
            f"{_CMC}3.1.8": "Output.Relay",
            f"{_CMC}11.1.8": 1,
        },
        "name": f"{_CMC}10.{{device}}.{{n-3}}",
    },
    "rittal_cmc_tc": {"extra": {f"{E}2606.4.2.{{unit+2}}.6.2.1.2.{{n}}": 9}},
    "apnl": {"extra": {f"{E}29640.4.3.33.1.2.{{n}}": 5}},
    "riedo_updu": {"name": "", "meters": {}},
    "hwg_damocles": {"states": {1: "on", 0: "off"}},
    "racktivity": {"states": {3: "on", 1: "on", 2: "off"}},
    "digipower": {"control": f"{E}17420.1.2.9.{{pdu}}.13.0", "meters": {}, "name": ""},
    "iboot_pdu": {"object_id": f"{E}8072.3.2.10", "descr": "Linux ibootpdu 4.1"},
    "synaccess_snmp": {"descr": "Synaccess Remote PDU"},
    "synaccess_np": {"descr": "Power Distribution System"},
    "tripplite_old": {"object_id": ""},
    "tripplite_12x": {"descr": "PowerAlert v12"},
    "tsl_mdu": {"meters": {}},
    "synlink": {"meters": {}},
}
"""What is odd about a row: fields of its table in place of those that are read."""


class Lists(Agent):
    """An agent that has all outlets in one text."""

    list_oid = f"{E}17420.1.2.9.1.13.0"

    def _set(self, pdu: PDU, version: int) -> PDU:
        states = pdu.value[1].decode().split(",")
        if pdu.name != self.list_oid or self.mood is Mood.REFUSING:
            return pdu.answered(NO_ACCESS if version else 2)
        if len(states) != len(self.outlets) + 1 or {*states} - {"0", "1", "-1"}:
            return pdu.answered(WRONG_VALUE if version else 3)
        for port, state in zip(self.outlets, states, strict=False):
            self.outlets[port] = "on" if state == "1" else "off"
        return pdu.answered()

    def _value(self, oid: str) -> tuple[int, bytes] | None:
        base = self.list_oid.removesuffix("13.0")
        states = [*("1" if state == "on" else "0" for state in self.outlets.values()), "-1"]
        texts = {self.list_oid: ",".join(states), f"{base}12.0": "14,15"}
        texts |= {f"{base}14.{port}.0": f"Outlet {port},0,0,0,0" for port in self.outlets}
        return typed(texts[oid]) if oid in texts else super()._value(oid)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._order = sorted([*self._order, ((*map(int, self.list_oid.split(".")),), self.list_oid)])


class Locked(Agent):
    """An agent that lets an outlet be switched only when it has been unlocked, by an object beside."""

    unlocked = ""

    def _set(self, pdu: PDU, version: int) -> PDU:
        column, _, index = pdu.name.partition(".7.3.1.")
        unlocks, _, port = index.partition(".")
        if unlocks == "4" and port in self.outlets and self.mood is not Mood.REFUSING:
            self.unlocked = f"{column}.7.3.1.2.{port}"
            return pdu.answered()
        if pdu.name != self.unlocked:
            return pdu.answered(NO_ACCESS if version else 2)
        self.unlocked = ""
        return super()._set(pdu, version)


AGENTS = {"digipower": Lists, "schleifenbauer": Locked, "conteg": Locked}
NAMES = [*FACTS]
ALIKE = NAMES  # rows of one driver and one fake


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run an agent with the outlets of a row."""
    table = facts(name)
    agent = AGENTS.get(name, Agent)(mood, table, again=True)
    agent.most = 36  # as of a device with little memory
    with answering(agent, name, mood) as made:
        if name == "digipower":
            made.names = {port: f"Outlet {port}" for port in agent.outlets}
            made.readings = {"1": {"amps": 1.4}, "2": {"amps": 1.5}}
        else:
            made.names = {port: f"Outlet {port.rpartition('.')[2]}" for port in agent.outlets if table.name}
            made.readings = table.readings
        if name == "teracom_tcw":
            made.identity = ("Teracom", "TCW241 SNMP Agent", "", "")
        yield made


def recordings() -> dict[str, tuple[str, str, dict[str, tuple[int, bytes]]]]:
    """Return what was recorded of devices, by row: sysObjectID, the head line, and (tag, content) by OID."""
    found: dict[str, tuple[str, str, dict[str, tuple[int, bytes]]]] = {}
    for line in (HERE / "snmprecordings.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        line = line.replace("{mac}", "12.48.48.65.48.66.48.48.48.48.48.48.49")
        if head := re.match(r"D\d+ (\w+): (.*)@(\S+)$", line):
            base = head[3].replace("E.", E)
            number = re.search(r"\bsys (E[\d.]+)", line)
            objects: dict[str, tuple[int, bytes]] = {}
            found[head[1]] = (number[1].replace("E.", E) if number else "", head[2], objects)
            continue
        column, kind, values = re.match(r"(\S+) ([igcs]) (.*)", line).groups()  # type: ignore[union-attr]
        pairs = re.findall(r'([\d.]+)=("[^"]*"|-?\d+)', values) or [("", values)]
        for index, value in pairs:
            where = ".".join(filter(None, [base, column, index]))
            tag = {"i": INTEGER, "g": UNSIGNED, "c": COUNTER, "s": OCTETS}[kind]
            content = value.strip('"').encode() if kind == "s" else parts(integer(int(value)))[0][1]
            objects[where] = (tag, content)
    return found


RECORDINGS = recordings()
__all__ = ["FACTS", "MOODS", "NAMES", "OID", "RECORDINGS", "Facts", "case", "facts"]
