# SPDX-License-Identifier: MIT
"""Rows of SNMP PDUs beyond what the contract tries: recordings of devices, inlets, who they are, empty slots, and which row fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import registered
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.drivers.snmpoutlet import OutletRow, SNMPDriver
from pdudaemon.drivers.snmpsymbols import NAMELESS, SYMBOLS
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from tests.devices import snmprows
from tests.devices.base import snmp as fake
from tests.devices.base.snmp import Agent, Table
from tests.support.action import begun
from tests.support.snmpmessage import BULK, GET, INTEGER, NEXT, OCTETS, number, oid, parts

APC = "1.3.6.1.4.1.318.1.1"
Objects = Mapping[str, tuple[int, bytes]]
Playing = Callable[..., SNMPDriver]


class Recorded(Table):
    """The objects of a digest, and who the device says it is."""

    def __init__(self, objects: Objects, object_id: str = "", descr: str = "") -> None:
        super().__init__("", ports=0)
        introduction = {snmprows.SYS_DESCR: (OCTETS, descr.encode())}
        if object_id:
            introduction[snmprows.SYS_OBJECT_ID] = parts(oid(object_id))[0]
        object.__setattr__(self, "objects", {**introduction, **objects})

    def scenery(self) -> Objects:
        return self.objects  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def playing() -> Iterator[Playing]:
    """Return what plays objects and returns a driver of them."""
    agents: list[Agent] = []

    def play(word: str, objects: Objects, object_id: str = "", descr: str = "", **settings: Any) -> SNMPDriver:
        agent = Agent(again=True, table=Recorded(objects, object_id, descr))
        agents.append(agent.__enter__())
        given = {"driver": word, "snmpport": agent.port, "community": fake.COMMUNITY, "snmptimeout": 5, **settings}
        made = strategies.find(word)("127.0.0.1", given)
        assert isinstance(made, SNMPDriver)
        return begun(made, 60)

    yield play
    for agent in agents:
        agent.__exit__()


def text_of(value: tuple[int, bytes]) -> str:
    return value[1].decode() if value[0] == OCTETS else str(number(value[1]))


BY_HAND = ["digipower", "riedo_updu", "rittal_cmc3"]  # not told in columns of outlets
ABSENT = {"apc_cpdu": {"41"}, "hpe_g2_pdu": {"25"}, "aten_pe": {"17"}}
SETTINGS = {"cpi_econnect": {"mac": "00:A0:B0:00:00:01"}}


@pytest.mark.parametrize("word", [word for word in snmprows.RECORDINGS if word not in BY_HAND])
def test_a_recording(word: str, playing: Playing) -> None:
    """The outlets of the device with names, states and watts, by the columns and the factors that the facts have."""
    object_id, head, objects = snmprows.RECORDINGS[word]
    found = {each.port: each for each in playing(word, objects, object_id, **SETTINGS.get(word, {})).read_outlets()}
    wanted = expected(word, objects)
    assert {*found} == {*wanted} - ABSENT.get(word, set()), head
    for port, told in found.items():
        assert {key: getattr(told, key) for key in wanted[port]} == wanted[port], (head, port)
    without = ("sentry4", "vertiv_geist")
    assert bool(found) == (word not in without)


def expected(word: str, objects: Objects) -> dict[str, dict[str, Any]]:
    """Return what must be told of each outlet of a recording, as far as the digest has it."""
    table = snmprows.facts(word)
    wanted: dict[str, dict[str, Any]] = {}
    for port, value in recorded(table.name, objects, table):
        wanted.setdefault(port, {}).update({"name": value} if value.strip("\0 ") not in ("", "N/A") else {})
    for letter, (template, factor) in table.meters.items():
        for port, value in recorded(template, objects, table):
            watts = pytest.approx(float(value) * factor) if float(value) >= 0 else None
            wanted.setdefault(port, {})[snmprows.QUANTITIES[letter]] = watts
    states = {port: State(table.states.get(int(v), "unknown")) for port, v in recorded(table.read, objects, table)}
    for port, state in states.items():
        wanted.setdefault(port, {})["state"] = state
    return {port: each for port, each in wanted.items() if port in states or not states}


def recorded(template: str, objects: Objects, table: snmprows.Facts) -> Iterator[tuple[str, str]]:
    """Yield the port and the value of each object that a template stands for."""
    if not template:
        return
    pieces = re.split(r"\{([a-z]+)([+-]\d+)?\}", template)
    pattern = "".join(
        re.escape(pieces[at]) + (rf"(?P<{pieces[at + 1]}>\d+)" if at + 1 < len(pieces) else "")
        for at in range(0, len(pieces), 3)
    )
    offset = next((int(pieces[at + 2] or 0) for at in range(0, len(pieces) - 1, 3) if pieces[at + 1] == "n"), 0)
    for where, value in objects.items():
        if match := re.fullmatch(pattern, where):
            outlet = int(match["n"]) - offset
            outlet -= bool(table.gap and offset and outlet > table.gap)
            unit = [int(match[part]) for part in table.parts]
            whole = unit != [*table.parts.values()] or "1" in table.bad_ports
            yield ".".join(map(str, [*(unit if whole else []), outlet])), text_of(value)


def test_some_recordings_by_hand(playing: Playing) -> None:
    def outlets(word: str, **settings: Any) -> dict[str, OutletReading]:
        object_id, _, objects = snmprows.RECORDINGS[word]
        return {each.port: each for each in playing(word, objects, object_id, **settings).read_outlets()}

    ap8641 = outlets("apc_rpdu2")
    assert ap8641["1"] == OutletReading("1", "Outlet 1", State.ON, watts=163, amps=0.9, watt_hours=304600)
    assert ap8641["24"] == OutletReading("24", "Outlet 24", State.OFF, watts=0, amps=0, watt_hours=0)
    assert outlets("raritan_px2")["1"] == OutletReading("1", "1", None, 143, 228, 0.633, 5812658)
    assert outlets("raritan_px2")["2"] == OutletReading("2", "Outlet 2", watts=207)
    assert outlets("aten_pe")["9"] == OutletReading("9", "09", State.ON, 113.306, 238.23, 0.56, 608046)
    assert outlets("liebert_mph")["1.2.15"] == OutletReading("1.2.15", "P15", State.ON, 239, 238.7, 0.96, 599200)
    assert outlets("eaton_revelation")["0"] == OutletReading("0", None, State.ON, 0, 244, 0)
    assert outlets("sentry3")["1.2.1"] == OutletReading("1.2.1", "Outlet AB1", amps=0.81)
    assert outlets("sentry3")["1"].name == "Outlet AA1"
    digipower = outlets("digipower")
    assert len(digipower) == 24 and {each.state for each in digipower.values()} == {State.ON}
    assert digipower["1"] == OutletReading("1", "OutletA", State.ON, amps=0) and digipower["9"].amps is None
    assert outlets("rittal_cmc3") == {"2.158": OutletReading("2.158", "Socket 01", State.ON)}
    assert outlets("riedo_updu") == {}
    assert outlets("ict_pdu")["11"] == OutletReading("11", None, State.OFF, amps=0)
    assert outlets("hpe_g2_pdu")["23"] == OutletReading("23", "OUTLET23", State.ON, 74, amps=0.32)


def inlets(made: SNMPDriver) -> dict[str, InletReading]:
    return {each.name: each for each in made.read_inlets()}


def test_inlets_of_recordings(playing: Playing) -> None:
    def told(word: str) -> dict[str, InletReading]:
        object_id, _, objects = snmprows.RECORDINGS[word]
        return inlets(playing(word, objects, object_id))

    ap8641 = told("apc_rpdu2")
    assert ap8641["pdu 1"] == InletReading("pdu 1", watts=1210, watt_hours=1951600)
    assert ap8641["phase 1"] == InletReading("phase 1", watts=1220, volts=201, amps=6.5, kind="phase")
    assert ap8641["bank 2"] == InletReading("bank 2", amps=2.4, kind="bank")
    objects = snmprows.RECORDINGS["apc_rpdu2"][2]
    assert inlets(playing("apc_rpdu", objects))["pdu"].watts == 1230
    assert told("raritan_px2")["inlet 1.1"] == InletReading("inlet 1.1", 1665, 229, 7.467, 74057676, "inlet")
    assert told("eaton_epdu")["pdu 0.1"].watts == 1584
    assert told("gude")["phase 1"] == InletReading("phase 1", 18, 230, 0.186, 1109596, "phase")
    assert told("wti_snmp")["branch B 1"] == InletReading("branch B 1", 256, 233, 1.1, kind="bank")
    assert told("iboot_pdu") == {"inlet 1": InletReading("inlet 1", volts=119.96, amps=6.21, kind="inlet")}
    assert told("vertiv_geist")["phase 2"] == InletReading("phase 2", 436, 234.1, 1.87, kind="phase")
    assert told("riedo_updu")["pdu"] == InletReading("pdu", 868, 232.32, 5.163)
    assert told("riedo_updu")["phase L1"].watts == 272


NO_SCALE = ["baytech_mrp", "baytech_rpc", "synlink"]  # of some of what they measure, so that it is not told
IN_WORDS = [
    "gude_old",
    "raritan_px1",
    "rittal_cmc3",
    "tycon_tpdin",
    "wti_snmp",
]  # what is read is not told in columns alone


@pytest.mark.parametrize("word", [word for word, row in snmprows.FACTS.items() if {"pdu", "phase"} & {*row}])
def test_inlets(word: str, playing: Playing) -> None:
    """Each quantity of the whole, of phases and of banks, with its factor; what is not there is not told."""
    row = snmprows.FACTS[word]
    row = {**row, "b": row.get("b", "").replace("{m}", "81")}
    segments = [segment for key in ("pdu", "phase") for segment in row.get(key, "").split(" ; ")]
    if word in (*NO_SCALE, *IN_WORDS):
        segments = segments[:1] if word == "raritan_px1" else []
    table = snmprows.facts(word)
    objects = {table.at(table.read, port): (INTEGER, b"\1") for port in table.indices if table.read}
    wanted = set()
    for place, segment in enumerate(segments):
        for letter, (template, factor) in snmprows.quantities(row, segment).items():
            raw = 100 * (place + 1) + len(wanted)
            where = re.sub(r"\{[a-z]+\}", "1", snmprows.with_mac(template))
            if where not in objects:
                objects[where] = snmprows.typed(raw)
                wanted.add((snmprows.QUANTITIES[letter], round(raw * factor, 6)))
    made = playing(word, objects, table.object_id, table.descr, **SETTINGS.get(word, {}))
    read = {
        (name, round(value, 6)) for each in made.read_inlets() for name, value in measured(each) if value is not None
    }
    assert read == wanted


def measured(reading: InletReading) -> Iterator[tuple[str, float | None]]:
    yield from ((name, getattr(reading, name)) for name in ("watts", "volts", "amps", "watt_hours"))


@pytest.mark.parametrize("word", [word for word, row in snmprows.FACTS.items() if "fw=" in row.get("id", "")])
def test_who_it_is(word: str, playing: Playing) -> None:
    row = snmprows.FACTS[word]
    labels = dict(re.findall(r"(model|serial|fw)=(\S+)", row["id"]))
    if any("{m}" in snmprows.absolute(row, each) for each in labels.values()):
        row = {**row, "b": row["b"].replace("{m}", "81")}
    found: dict[str, tuple[int, bytes]] = {}
    for name, where in labels.items():
        oid = re.sub(r"\{[a-z]+\}", "1", snmprows.with_mac(snmprows.absolute(row, where.partition("*")[0])))
        found[oid.replace("{strap}", "0")] = (OCTETS, f"the {name}\0 ".encode())
    table = snmprows.facts(word)
    found |= {table.at(table.read, port): (INTEGER, b"\1") for port in table.indices if table.read}
    made = playing(word, found, table.object_id, table.descr, **SETTINGS.get(word, {}))
    told = made.identify()
    wanted = [f"the {name}" if name in labels else "" for name in ("model", "serial", "fw")]
    assert told == Identity(type(made).models[word].labels.maker or told.maker, *wanted)


def test_which_row_fits(playing: Playing) -> None:
    """By sysObjectID; of rows that share one, the first whose objects are there."""
    for word, (object_id, _, objects) in snmprows.RECORDINGS.items():
        if word in ("sentry4", "vertiv_geist", "riedo_updu", "cpi_econnect"):
            continue
        descr = {"iboot_pdu": "Linux ibootpdu8"}.get(word, "Some PDU")
        object_id = {"iboot_pdu": "1.3.6.1.4.1.8072.3.2.10", "dli_snmp": ""}.get(word, object_id)
        made = playing("snmp", objects, object_id, descr)
        told = made.identify()
        assert told is not None and told.driver == word, (word, told)
        assert made.read_outlets()


def test_no_row_fits(playing: Playing) -> None:
    metered = {f"{APC}.12.1.5.0": (OCTETS, b"AP7820")}
    for object_id in ("1.3.6.1.4.1.318.1.3.4.5", "1.3.6.1.4.1.9.1.1", ""):
        for action in ("on", "status"):
            with pytest.raises(PermanentError, match=r"no driver is known for its outlets \(sysObjectID"):
                playing("snmp", metered, object_id, "a switch").handle(action, 1)


def test_the_row_that_fits_is_found_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pdud.snmp")
    with Agent(again=True, table=snmprows.facts("apc_rpdu2")) as agent:
        settings = {"driver": "snmp", "snmpport": agent.port, "community": fake.COMMUNITY}
        made = begun(strategies.find("snmp")("127.0.0.1", settings))
        made.handle("on", 3)
        assert agent.outlets["3"] == "on"
        assert "found to be a device of the driver apc_rpdu2 (APC Rack PDU 2G" in caplog.text
        before = len(agent.pdus)
        assert made.handle("status", 3) is State.ON
        assert len(agent.pdus) == before + 1


def test_a_port_of_a_row_that_was_found_out(playing: Playing) -> None:
    """What acceptance could not know is refused before anything is SET; a port has one spelling."""
    older = {f"1.3.6.1.4.1.38783.3.{n + 1}.0": (INTEGER, b"\1") for n in range(1, 20)}
    made = playing("teracom_tcw", older, "1.3.6.1.4.1.38783", "TCW181B-CM")
    assert made.handle("status", 8) is State.ON
    for port in (9, 19, "1.2"):
        for action in ("on", "status"):
            with pytest.raises(PermanentError, match=f"'{port}' is not a port"):
                made.handle(action, port)
    with pytest.raises(PermanentError, match="refused SET"):  # by the recording, which takes none
        made.handle("on", 8)
    assert strategies.find("powertek").canonical_port("1.03", {"driver": "powertek"}) == "3"


def test_another_device_in_its_place() -> None:
    """After a failure it is found out anew what is there."""
    with Agent(again=True, table=snmprows.facts("apc_rpdu2")) as agent, Agent(table=snmprows.facts("hpe_pdu")) as other:
        made = begun(strategies.find("snmp")("127.0.0.1", {"driver": "snmp", "community": fake.COMMUNITY}))
        made.snmpport = agent.port  # type: ignore[attr-defined]
        made.handle("on", 3)
        made.snmpport = other.port  # type: ignore[attr-defined]
        with pytest.raises(PermanentError):
            made.handle("on", 2)
        made._bombout()
        made.handle("on", 2)
        assert other.outlets["2"] == "on"


def test_values_of_another_firmware_are_never_sent(playing: Playing) -> None:
    """PWT and SPS have the same objects with other values: without a word of sysDescr nothing is SET."""
    table = snmprows.facts("powertek")
    objects = {table.at(table.read, port): (INTEGER, b"\1") for port in table.indices}
    for word, descr in (("powertek", "SPS v1"), ("powertek_sps", "PWT_v3"), ("powertek", "")):
        with pytest.raises(PermanentError, match="no driver is known"):
            playing(word, objects, table.object_id, descr).handle("on", 1)


@pytest.mark.parametrize("word", ABSENT)
def test_an_empty_slot_is_no_outlet(word: str) -> None:
    with Agent(again=True, table=snmprows.facts(word)) as agent:
        settings = {"driver": word, "snmpport": agent.port, "community": fake.COMMUNITY}
        made = begun(strategies.find(word)("127.0.0.1", settings))
        empty = int(agent.table.empty[0])  # type: ignore[attr-defined]
        for action in ("status", "on"):
            with pytest.raises(PermanentError, match=f"there is no outlet {empty}|refused SET"):
                made.handle(action, empty)


def test_all_outlets_in_one_exchange() -> None:
    """A screenful of columns is one GETBULK; without it, one GETNEXT for each row, whatever the number of columns."""
    ports = {str(n): str(n) for n in range(1, 25)}
    for word, settings, verb, most in (
        ("apc_rpdu2", {}, BULK, 2),
        ("apc_rpdu2", {"version": "1"}, NEXT, 30),
        ("cyberpower_epdu2", {}, NEXT, 26),
    ):
        table = replace(snmprows.facts(word), ports=ports)
        with Agent(again=True, table=table) as agent:
            given = {"driver": word, "snmpport": agent.port, "community": fake.COMMUNITY, **settings}
            assert len(begun(strategies.find(word)("127.0.0.1", given)).read_outlets()) == 24
            assert {pdu.tag for pdu in agent.pdus} == {verb} and len(agent.pdus) <= most


def test_an_agent_that_sends_little_at_a_time() -> None:
    with Agent(
        again=True, table=replace(snmprows.facts("apc_rpdu2"), ports={str(n): str(n) for n in range(1, 25)})
    ) as agent:
        agent.most = 7
        settings = {"driver": "apc_rpdu2", "snmpport": agent.port, "community": fake.COMMUNITY}
        told = begun(strategies.find("apc_rpdu2")("127.0.0.1", settings)).read_outlets()
        assert [each.port for each in told] == [*map(str, range(1, 25))]
        assert told[23].watts == 1224 and told[0].name == "Outlet 1"


def test_a_status_is_one_question() -> None:
    for word in snmprows.NAMES:
        table = snmprows.facts(word)
        with snmprows.AGENTS.get(word, Agent)(table=table) as agent:
            settings = {"driver": word, "snmpport": agent.port, "community": fake.COMMUNITY}
            made = begun(strategies.find(word)("127.0.0.1", settings))
            port: Any = next(iter(agent.outlets))
            made.handle("status", int(port) if port.isdecimal() else port)
            before = len(agent.pdus)
            made.handle("status", int(port) if port.isdecimal() else port)
            assert [pdu.tag for pdu in agent.pdus[before:]] == [GET], word


def test_the_mac_address_of_several_pdus(playing: Playing) -> None:
    one, other = (".".join(["12", *(str(ord(digit)) for digit in mac)]) for mac in ("00A0B0000001", "00A0B0000002"))
    base = "1.3.6.1.4.1.30932.1.10.1"
    objects = {f"{base}.2.10.1.9.{mac}": (INTEGER, b"\1") for mac in (one, other)}
    objects[f"{base}.4.10.1.11.5.{other}"] = (INTEGER, b"\1")
    with pytest.raises(PermanentError, match="mac must say which PDU it is; the device has 00A0B0000001, 00A0B0000002"):
        playing("cpi_econnect", objects).handle("status", 5)
    assert playing("cpi_econnect", objects, mac="00-a0-b0-00-00-02").handle("status", 5) is State.ON


def test_a_mib_name_means_what_the_row_of_its_column_says() -> None:
    rows = [
        row
        for driver in {*registered.values()}
        if issubclass(driver, SNMPDriver)
        for each in driver.models.values()
        for row in (each, *each.variants)
        if row.control and "{m}" not in row.base
    ]
    held = 0
    for column in (*SYMBOLS.values(), *NAMELESS):
        for row in rows:
            controls = {row.filled(row.control, port) for port in ports_of(row)}
            if not any(each.startswith(f"{column.oid}.") for each in controls):
                continue
            held += 1
            port = next(port for port in ports_of(row) if row.filled(row.control, port).startswith(f"{column.oid}."))
            rest = row.filled(row.control, port).removeprefix(column.oid)
            status = row.control if row.status is None else row.status
            assert row.filled(status, port) == (column.oid if column.status is None else column.status) + rest
            assert (row.on, row.off) == (column.on, column.off)
            for value in range(-1, 13):
                known = column.states or {column.on: State.ON, column.off: State.OFF}
                assert row.meant(str(value)) is (None if value in column.pending else known.get(value, State.UNKNOWN))
    assert held > 60


def ports_of(row: OutletRow) -> list[str]:
    """Return some ports that a row can have."""
    return [".".join([*("1" for _ in row.parts), str(n)]) for n in range(max(row.first, 1), 25)]


def test_no_more_rows_are_asked_for_than_there_were() -> None:
    """The first reading asks for a screenful; the next ones for what was there, and one beyond; and all is found that is new."""
    table = replace(snmprows.facts("apc_rpdu2"), ports={str(n): str(n) for n in range(1, 9)})
    longer = replace(table, ports={str(n): str(n) for n in range(1, 41)})
    with Agent(again=True, table=table) as agent, Agent(table=longer) as other:
        settings = {"driver": "apc_rpdu2", "community": fake.COMMUNITY}
        made = begun(strategies.find("apc_rpdu2")("127.0.0.1", settings))
        for device, asked in ((agent, 25), (agent, 9), (agent, 9), (other, 9), (other, 41)):
            made.snmpport = device.port  # type: ignore[attr-defined]
            before = len(device.pdus)
            assert [each.port for each in made.read_outlets()] == [*device.outlets]
            assert device.pdus[before].index == min(asked, 25)
            assert device is other or len(device.pdus) == before + 1
