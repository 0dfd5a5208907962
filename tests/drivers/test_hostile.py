# SPDX-License-Identifier: MIT
"""Devices that go mad in the middle of a conversation: every driver that speaks over TCP, by a wire that does it for them.

What must hold: an error of ours in one line, and nothing read without an end; and whoever says yes says so because the
device did it, and a state that is told is one that it has.
"""

from __future__ import annotations

import copy
import functools
import os
import random
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

import pytest

from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.errors import DeviceError
from pdudaemon.power import State
from pdudaemon.transports import dialogue
from tests.devices.base.device import Case, Device, Mood
from tests.devices.base.families import FAMILIES
from tests.devices.base.pty import PtyDevice
from tests.devices.base.saboteur import ACTS, ON_A_LINE, PIECE, Line, Wire, silence
from tests.devices.base.snmp import Agent
from tests.support.action import begun

POINTS = int(
    os.environ.get("HOSTILE_POINTS", "0")
)  # for each act of each look of each driver, by night; else see `tried`
SEED = os.environ.get("HOSTILE_SEED", "")
SECONDS = 2.0  # for an action, whatever the device does
SILENCE = 0.3  # where it says nothing more, and waiting is all there is to do
LOOKS = 3  # at most
MANY = 10  # names of a family
MOST = 400 * PIECE  # of what is made up: some megabytes are in the machine's own buffers


def wired(settings: dict[str, Any], device: int, wire: int) -> dict[str, Any]:
    """Return settings with the port of a wire in place of that of the device."""
    changed = copy.deepcopy(settings)
    for key, value in changed.items():
        if value == device:
            changed[key] = wire
        elif isinstance(value, str):
            changed[key] = value.replace(f":{device}", f":{wire}")
    return changed


def tried(names: list[str], acts: list[Any]) -> list[Any]:
    """Return what is tried of each driver: all acts at all looks by night, else one at each, for each driver others."""
    return [
        pytest.param(name, act, range(LOOKS) if POINTS else [number], id=f"{name}-{act.__name__}")
        for name in names
        for number, act in enumerate(acts if POINTS else random.Random(name).sample(acts, LOOKS))
    ]


def speaks_tcp(case: Case) -> bool:
    """Whether a wire can come between a driver and its device."""
    by_port = isinstance(case.device, Device) and not isinstance(case.device, Agent)
    return by_port and str(case.device.port) in f"{case.hostname} {case.settings}"


def names() -> list[str]:
    """Return all drivers of each family that has a few of them, else the first, whose devices speak TCP."""
    found = []
    for family in FAMILIES:
        for name in family.NAMES if len(family.NAMES) < MANY else family.NAMES[:1]:
            with family.case(name, Mood.WELL) as case:
                found += [name] if speaks_tcp(case) else []
    return found


FAKES = {name: family for family in FAMILIES for name in family.NAMES}


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "LOGOUT_SECONDS", 0.5)


def behind_terminals() -> list[str]:
    """Return the drivers of devices that are on a serial line, as others of their family are, and say something."""
    found = []
    for family in FAMILIES:
        for name in family.NAMES:
            with family.case(name, Mood.WELL) as case:
                if not isinstance(case.device, PtyDevice):
                    break
                found += [name] if hooks.traits(strategies.find(name), case.settings).reads_state else []
    return found


def asked(name: str, case: Case, what: Callable[[PDUDriver], Any], seconds: float) -> tuple[Any, str]:
    """Return what a driver returns, and its error in words."""
    try:
        return what(begun(strategies.find(name)(case.hostname, case.settings), seconds)), ""
    except DeviceError as error:
        return None, str(error) or "no words"


def acted(name: str, case: Case, wire: Wire, what: Callable[[PDUDriver], Any], seconds: float) -> tuple[Any, str]:
    """Return what a driver returns over a wire, and its error in words."""
    with wire:
        settings = wired({**case.settings, "": case.hostname}, wire.device_port, wire.port)
        made = begun(strategies.find(name)(settings.pop(""), settings), seconds)
        try:
            return what(made), ""
        except DeviceError as error:
            return None, str(error) or "no words"


def looks(name: str, case: Case) -> list[Callable[[PDUDriver], Any]]:
    """Return what is asked of a driver: to switch on, for a state, and for all outlets if it tells of them."""
    driver, port = strategies.find(name), case.ports[-1]
    canonical = driver.canonical_port(port, case.settings)
    given = int(canonical) if canonical.isdecimal() and str(int(canonical)) == canonical else canonical
    found: list[Callable[[PDUDriver], Any]] = [lambda made: made.handle("on", given)]
    found.append(lambda made: made.handle("status", given))
    if hooks.traits(driver, case.settings).reads_outlets:
        found.append(lambda made: made.read_outlets())
    return found


@functools.cache
def carried(name: str, number: int) -> int:
    """Return how many bytes a look takes that nobody disturbs; -1: there is none of that number."""
    with FAKES[name].case(name, Mood.WELL) as case:
        if number >= len(looks(name, case)):
            return -1
        whole = Wire(case.device.port)
        assert acted(name, case, whole, looks(name, case)[number], 30)[1] == ""
        return whole.carried


@pytest.mark.parametrize(("name", "act", "numbers"), tried(names(), ACTS))
def test_in_the_middle(name: str, act: Any, numbers: Sequence[int]) -> None:
    for number in numbers:
        if (whole := carried(name, number)) < 0:
            return
        for point in range(max(1, POINTS)):
            after = random.Random(f"{SEED}{name} {act.__name__} {number} {point}").randrange(max(1, whole))
            with FAKES[name].case(name, Mood.WELL) as case:
                wire = Wire(case.device.port, after, act)
                said, error = acted(name, case, wire, looks(name, case)[number], SILENCE if act is silence else SECONDS)
                where = f"{act.__name__} after {after} of {whole} bytes, look {number}: {said} {error}"
                assert "\n" not in error and len(error) < 1000, where
                assert wire.made_up < MOST, where
                assert error or true(case, number, said), where
                for secret in case.secrets:
                    assert secret not in error, where


@pytest.mark.parametrize(("name", "act", "numbers"), tried(behind_terminals(), ON_A_LINE))
def test_in_the_middle_on_a_line(name: str, act: Any, numbers: Sequence[int]) -> None:
    for number in numbers:
        with FAKES[name].case(name, Mood.WELL) as case:
            if number >= len(looks(name, case)):
                return
            whole = Line(case.device)
            assert asked(name, case, looks(name, case)[number], 30)[1] == ""
        for point in range(max(1, POINTS) if whole.carried else 0):
            after = random.Random(f"{SEED}{name} {act.__name__} {number} {point}").randrange(whole.carried)
            with FAKES[name].case(name, Mood.WELL) as case:
                line = Line(case.device, after, act)
                said, error = asked(name, case, looks(name, case)[number], SILENCE if act is silence else SECONDS)
                where = f"{act.__name__} after {after} of {whole.carried} bytes, look {number}: {said} {error}"
                assert "\n" not in error and len(error) < 1000, where
                assert line.made_up < MOST, where
                assert error or true(case, number, said), where


def true(case: Case, number: int, said: Any) -> bool:
    """Whether what a driver has returned is so."""
    outlets, port = case.device.outlets, case.ports[-1]
    if number == 0:
        return bool(outlets[port] == "on")
    if number == 1:
        return said in (State.UNKNOWN, None, outlets[port])
    return all(each.state in (State.UNKNOWN, None, outlets.get(unquote(each.port))) for each in said)
