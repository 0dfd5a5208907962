# SPDX-License-Identifier: MIT
"""What must hold for every driver, whatever mood its device is in: one test over all names, through the real engine."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers import esphome, esphomemqtt, hooks, strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.readings import Identity, InletReading, OutletReading
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, RequestError, TransientError
from pdudaemon.power import Action, State
from tests.devices.base.device import Case, Mood
from tests.devices.base.families import FAMILIES
from tests.support.action import begun
from tests.support.process import eventually, nothing_left_behind
from tests.support.rack import awaited, submitted
from tests.support.sampling import EVERY, some


def moods_of(family: Any, name: str) -> list[Mood]:
    """Return the moods that a device has; ``MOODS_OF`` of its family says so for one that is unlike the others."""
    moods: list[Mood] = getattr(family, "MOODS_OF", {}).get(name, family.MOODS)
    return moods


def tried_in_all_ways(family: Any) -> list[str]:
    """Return the names of a family, but every seventh alone of those that it says are alike: the same in other rows."""
    alike = getattr(family, "ALIKE", [])
    return [name for name in family.NAMES if name not in alike or name in some(alike, 7)]


NAMES = {name: family for family in FAMILIES for name in family.NAMES}
FEW = [name for family in FAMILIES for name in tried_in_all_ways(family)]
MOODS = [
    pytest.param(name, mood, id=f"{name}-{mood}")
    for name, family in NAMES.items()
    for mood in Mood
    if mood in moods_of(family, name) and (mood is Mood.WELL or name in FEW)
]
PATIENT = 60.0
TIMEOUT = {Mood.DEAF: 0.2, Mood.BUSY: 0.5, Mood.GARBLED: 1.0}
ACTIONS = {"on": Action.ON, "off": Action.OFF}


class Bench:
    """One fake, one dispatcher with that one PDU, and everything that was logged."""

    def __init__(self, case: Case, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture) -> None:
        self.case = case
        self.name = str(case.settings["driver"])
        self.device = case.device
        self._dispatcher = dispatcher
        self._caplog = caplog
        self._told: list[str] = []
        self.reads_state = dispatcher.config.pdus[case.hostname].traits.reads_state

    def switch(self, action: str, port: str) -> None:
        """Switch a port. Raises: why it failed."""
        target = self._dispatcher.config.target(self.case.hostname, port)
        try:
            assert awaited(self._dispatcher, submitted(self._dispatcher, ACTIONS[action], target), 2 * PATIENT)
        except DeviceError as error:
            self._told.append(str(error))
            raise

    def status(self, port: str) -> State:
        """Read the state of a port; of a device that cannot be read, what it was last told. Raises: why it failed."""
        target = self._dispatcher.config.target(self.case.hostname, port)
        try:
            reading = self._dispatcher.look(target, 2 * PATIENT)
        except DeviceError as error:
            self._told.append(str(error))
            raise
        assert reading.source == "device" if self.reads_state else reading.source in ("commanded", "none")
        return reading.state

    def be_patient(self) -> None:
        """Give each action from now on the time that an answer takes on a busy machine; the driver stays as it is."""
        vars(self._dispatcher.config.pdus[self.case.hostname].options)["timeout"] = PATIENT

    def shown(self) -> str:
        """Return all that users and logs were shown."""
        return "\n".join([*self._told, self._caplog.text])


@contextmanager
def bench(name: str, mood: Mood, tmp_path: Path, caplog: pytest.LogCaptureFixture, **settings: Any) -> Iterator[Bench]:
    """Run a fake in a mood, and a dispatcher for it."""
    caplog.set_level(logging.DEBUG)
    with NAMES[name].case(name, mood) as case:
        pdu = {"retries": 1, "timeout": TIMEOUT.get(mood, PATIENT), **case.settings, **settings}
        path = tmp_path / "conf"
        path.write_text(json.dumps({"pdus": {case.hostname: pdu}}))
        conf = reader.load(str(path))
        assert not conf.faults and not conf.warnings, (conf.faults, conf.warnings)
        lasting = conf.pdus[case.hostname].traits.reads_state  # else there is a record of what was told
        dispatcher = Dispatcher(conf, Store(MEMORY if lasting else str(tmp_path / "store")), tmp_path)
        dispatcher.start()
        try:
            yield Bench(case, dispatcher, caplog)
        finally:
            assert dispatcher.close(30) == ([], [])


def test_every_driver_has_a_fake() -> None:
    assert {*strategies.names()} - {"dummy", "localcmdline", "platform"} == {*NAMES}


@pytest.mark.parametrize(("name", "mood"), MOODS)
def test_in_every_mood(name: str, mood: Mood, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with bench(name, mood, tmp_path, caplog) as at:
        first, last = at.case.ports[0], at.case.ports[-1]
        if mood is Mood.WELL:
            if name in FEW:
                works(at, first, EVERY)
            works(at, last, name in FEW)
        elif mood is Mood.SLOW:
            works(at, last, EVERY)
        else:
            fails(at, mood, last)
        for secret in at.case.secrets:
            assert secret not in at.shown()


def works(at: Bench, port: str, in_all_ways: bool) -> None:
    """Check on, off, and status; in all ways: also after the outlet was changed behind the driver's back."""
    others = {other: state for other, state in at.device.outlets.items() if other != port}
    for action in ("on", "off", "on") if in_all_ways else ("on", "off"):
        at.switch(action, f"0{port}" if port.isdecimal() else port)
        done(at, port, action)
        assert at.status(port) == action
    assert {other: state for other, state in at.device.outlets.items() if other != port} == others
    if at.reads_state and in_all_ways:
        at.device.outlets[port] = "off"
        assert at.status(port) is State.OFF
        at.device.outlets[port] = "on"
        assert at.status(port) is State.ON


def fails(at: Bench, mood: Mood, port: str) -> None:
    """Check that each failure is of the right kind, in time and in words, and that the device is well again after it."""
    kind = {Mood.DEAF: DeviceTimeout, Mood.WRONG_PASSWORD: PermanentError, Mood.REFUSING: PermanentError}.get(
        mood, TransientError
    )
    before = dict(at.device.outlets)
    wanted = "on" if before[port] == "off" else "off"
    start = time.monotonic()
    with pytest.raises(kind) as caught:
        at.switch(wanted, port)
    assert time.monotonic() - start < TIMEOUT.get(mood, PATIENT) + 30
    assert str(caught.value).startswith(f"{at.case.hostname}: ") and "\n" not in str(caught.value)
    if mood is not Mood.GARBLED:  # what answers nonsense may have acted
        assert at.device.outlets == before
    if mood in (Mood.REFUSING, Mood.WRONG_PASSWORD):  # a device may refuse to switch and yet tell
        with contextlib.suppress(kind):
            state = at.status(port)
            assert state == before[port] or (state is State.UNKNOWN and not reads(at))
    elif not reads(at):
        assert at.status(port) is State.UNKNOWN
    else:
        with pytest.raises(kind):
            at.status(port)
    if mood in (Mood.DEAF, Mood.GARBLED, Mood.REFUSING):  # the others do not depend on the device alone
        at.device.mood = Mood.WELL
        at.be_patient()
        eventually(lambda: well_again(at, wanted, port))
        done(at, port, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_readings(name: str) -> None:
    """A driver that tells of its outlets tells what the device has, and nothing that it has not."""
    with NAMES[name].case(name, Mood.WELL) as case:
        driver = strategies.find(name)
        traits = hooks.traits(driver, case.settings)
        made = begun(driver(case.hostname, case.settings), PATIENT)
        assert traits.reads_outlets or not case.names | case.readings
        if getattr(NAMES[name], "AFTER_AN_ACTION", False):
            made.handle("on", case.ports[0])
        if traits.reads_outlets:
            for state in ("on", "off") if name in FEW or len(case.ports) == 1 else ["on"]:  # beside others that are off
                case.device.outlets[case.ports[-1]] = state
                told(made.read_outlets(), case, traits.reads_state)
        else:
            with pytest.raises(PermanentError):
                made.read_outlets()
        assert {each.name: quantities(each) for each in made.read_inlets()} == {
            name: {**NOTHING, **each} for name, each in case.inlets.items()
        }
        assert made.identify() == (Identity(*case.identity) if case.identity else None)


def done(at: Bench, port: str, action: str) -> None:
    """Check that an outlet is as it was told to be. One that cannot be read may get the order when we have gone on."""
    if not at.reads_state:
        eventually(lambda: at.device.outlets[port] == action)
    assert at.device.outlets[port] == action


def reads(at: Bench) -> bool:
    """Whether a state can be read from the device though nothing was done yet."""
    return at.reads_state and not getattr(NAMES[at.name], "AFTER_AN_ACTION", False)


NOTHING: dict[str, float | None] = dict.fromkeys(["watts", "volts", "amps", "watt_hours"])


def quantities(reading: OutletReading | InletReading) -> dict[str, float | None]:
    """Return what is measured, in thousandths at the finest."""
    found = {name: getattr(reading, name) for name in NOTHING}
    return {name: value if value is None else round(value, 3) for name, value in found.items()}


def told(outlets: list[OutletReading], case: Case, reads_state: bool) -> None:
    """Check what is told of the outlets, those of the fake and no others."""
    by_port = {unquote(each.port): each for each in outlets}
    assert len(outlets) == len(by_port) and by_port.keys() == {*case.device.outlets}
    for port, each in by_port.items():
        assert each.port == strategies.find(case.settings["driver"]).canonical_port(each.port, case.settings)
        assert each.state == (State(case.device.outlets[port]) if reads_state else None)
        assert each.name == case.names.get(port)
        assert quantities(each) == {**NOTHING, **case.readings.get(port, {})}


@pytest.mark.parametrize(("name", "mood"), [each for each in MOODS if each.values[1] is not Mood.WELL])
def test_readings_in_every_bad_mood(name: str, mood: Mood, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a device does not tell is an error in time, and no reading; one that only refuses to switch may tell."""
    with NAMES[name].case(name, mood) as case:
        driver = strategies.find(name)
        if not hooks.traits(driver, case.settings).reads_outlets:
            return
        made = begun(driver(case.hostname, case.settings), TIMEOUT.get(mood, PATIENT))
        if getattr(NAMES[name], "AFTER_AN_ACTION", False):
            return
        if mood is Mood.SLOW:
            for module in (esphome, esphomemqtt):
                monkeypatch.setattr(module, "_QUIET", 3.0)  # of a slow device on a machine that may stand still
            told(made.read_outlets(), case, True)
        elif mood in (Mood.REFUSING, Mood.WRONG_PASSWORD):  # as with a state, see `fails`
            with contextlib.suppress(PermanentError):
                told(made.read_outlets(), case, True)
        else:
            with pytest.raises(DeviceTimeout if mood is Mood.DEAF else TransientError):
                made.read_outlets()


@pytest.mark.parametrize("name", [family.NAMES[-1] for family in FAMILIES])
def test_all_outlets_in_one_exchange(name: str) -> None:
    """Where a driver has a way of its own to read all outlets, that takes no more connections than to read one.

    Or ``MORE`` of its family, which says why.
    """
    with NAMES[name].case(name, Mood.WELL) as case:
        driver = strategies.find(name)
        if driver.read_outlets is PDUDriver.read_outlets:
            return
        made = begun(driver(case.hostname, case.settings), PATIENT)
        port = driver.canonical_port(case.ports[0], case.settings)
        before = case.device.sessions
        made.handle("status", int(port) if port.isdecimal() else port)
        one = case.device.sessions - before
        made.read_outlets()
        meters, names, cards = (
            {"tplink": len(case.ports)},
            {"shelly_gen1": one, "shelly_gen2": one},
            {"conrad197720": 1},
        )
        more = {**meters, **names, **cards}.get(name, getattr(NAMES[name], "MORE", 0))
        if name in ("cyberpower41001", "ip9258"):  # SNMP v1 has no GETBULK: one after the other
            more = 10
        assert case.device.sessions - before - one <= one + more


def well_again(at: Bench, action: str, port: str) -> bool:
    """Whether the device does as it is told; one that was left with a session may need a moment."""
    try:
        at.switch(action, port)
    except TransientError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES if EVERY else FEW)
def test_a_bad_port_is_refused_before_any_byte(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with bench(name, Mood.WELL, tmp_path, caplog) as at:
        assert at.case.bad_ports
        odd = [] if getattr(NAMES[name], "PORTS_ARE_NAMES", False) else ["a b", "$(id)", "../1"]
        for port in [*at.case.bad_ports, *odd, "", "1\n2"]:
            with pytest.raises(RequestError):
                at.switch("on", port)
        assert not at.device.received and not at.device.sessions


@pytest.mark.parametrize("name", NAMES)
def test_ports(name: str) -> None:
    """Each port has one spelling, and what is no port is told as it was given."""
    with NAMES[name].case(name, Mood.WELL) as case:

        def canonical(port: str) -> str:
            return strategies.find(name).canonical_port(port, case.settings)

        for port in case.ports:
            assert unquote(canonical(port)) == port and canonical(canonical(port)) == canonical(port)
            if port.isdecimal():
                assert canonical(f"0{port}") == canonical(f"00{port}") == port
        for port in case.bad_ports:
            with pytest.raises(ValueError, match=f"^{re.escape(repr(port))} is not a port"):
                canonical(port)


@pytest.mark.parametrize("name", NAMES if EVERY else [family.NAMES[0] for family in FAMILIES])
def test_verify_and_a_reboot(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with NAMES[name].case(name, Mood.WELL) as case:
        reads_state = hooks.traits(strategies.find(name), case.settings).reads_state
    with bench(name, Mood.WELL, tmp_path, caplog, **({"verify": True} if reads_state else {})) as at:
        port = at.case.ports[0]
        at.switch("off", port)
        done(at, port, "off")
        at.switch("on", port)
        done(at, port, "on")


@pytest.mark.parametrize("name", [family.NAMES[0] for family in FAMILIES])
def test_nothing_is_left_behind(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No thread and no descriptor, after successes and failures. What is kept for good is made by the first action."""
    with bench(name, Mood.WELL, tmp_path, caplog) as at:
        port = at.case.ports[0]
        at.switch("on", port)
        with nothing_left_behind():
            for _ in range(3):
                at.switch("off", port)
                at.status(port)
