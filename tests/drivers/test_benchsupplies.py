# SPDX-License-Identifier: MIT
"""Korad and SCPI: the words on the wire, errors of others, supplies that do not obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import korad, scpi
from tests.devices.base.device import Mood
from tests.support.action import begun
from tests.support.process import Daemon


def driver(name: str, device: Any) -> Any:
    settings = {"device": device.path} if name == "korad" else {"ip": "127.0.0.1", "tcpport": device.port}
    return begun(strategies.find(name)("bench", {"driver": name, **settings}))


def test_the_words_of_korad_have_no_end() -> None:
    with korad.Supply() as device:
        driver("korad", device).port_on(1)
        assert bytes(device.received) == b"OUT1VOUT1?STATUS?" and device.outlets == {"1": "on"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scpi", "OUTP ON|OUTP?"),
        ("scpi-keysight", "OUTP ON,(@2)|OUTP? (@2)"),
        ("scpi-rigol", ":OUTP CH2,ON|:OUTP? CH2"),
        ("scpi-rohde-hmp", "INST OUT2|OUTP ON|OUTP?"),
        ("scpi-siglent", "OUTPUT CH2,ON|SYSTEM:STATUS?"),
    ],
)
def test_the_words_of_each_maker(name: str, words: str) -> None:
    with scpi.Supply(name) as device:
        port = min(2, len(device.outlets))
        driver(name, device).port_on(port)
        said = [line for line in device.received.decode().splitlines() if line != "SYST:ERR?"]
        assert said == words.split("|")
        assert [each for each, state in device.outlets.items() if state == "on"] == [str(port)]


def test_errors_of_others_are_not_ours() -> None:
    with scpi.Supply("scpi") as device:
        device.errors += ['-113,"Undefined header"', "-410"]
        driver("scpi", device).port_on(1)
        assert device.outlets["1"] == "on"


def test_a_refusal_is_told_in_the_words_of_the_supply() -> None:
    said = r'refuses to switch channel 3 on: -221,"Settings conflict"$'
    with scpi.Supply("scpi-rigol", Mood.REFUSING) as device, pytest.raises(PermanentError, match=said):
        driver("scpi-rigol", device).port_on(3)


@pytest.mark.parametrize(("name", "device"), [("korad", korad.Supply()), ("scpi", scpi.Supply("scpi"))])
def test_supplies_that_do_not_obey(name: str, device: Any) -> None:
    with device:
        device.stuck = True
        with pytest.raises(TransientError, match=r" is off after being switched on(, as when its protection trips)?$"):
            driver(name, device).port_on(1)
        assert driver(name, device).port_status(1) is State.OFF


def loaded(name: str) -> scpi.Supply:
    """Return a supply whose channels have loads, the last one more than it is allowed to."""
    device = scpi.Supply(name)
    device.channels = {port: scpi.Channel(volts=12.0, amps=2.0, ohms=24.0) for port in device.outlets}
    device.channels[[*device.outlets][-1]] = scpi.Channel(volts=12.0, amps=0.1, ohms=24.0, protected=True)
    return device


@pytest.mark.parametrize("name", scpi.NAMES)
def test_what_a_load_draws_of_each_channel(name: str) -> None:
    with loaded(name) as device:
        last = [*device.outlets][-1]
        device.channels[last].protected = False  # it is held to its amps, then, and stays on
        supply = driver(name, device)
        supply.port_on(int(last))
        *others, told = [(each.state, each.volts, each.amps, each.watts) for each in supply.read_outlets()]
        assert others == [(State.OFF, 0.0, 0.0, 0.0)] * (len(device.outlets) - 1)
        assert told[0] is State.ON and told[1:] == pytest.approx((2.4, 0.1, 0.24))


@pytest.mark.parametrize("name", [name for name in scpi.NAMES if name in scpi.TRIPPED])
def test_a_protection_that_trips_is_told_and_not_tried_again(name: str) -> None:
    with loaded(name) as device:
        last = int([*device.outlets][-1])
        why = rf"channel {last} is off after being switched on: its over-current protection has tripped$"
        for _ in range(2):
            with pytest.raises(PermanentError, match=why):
                driver(name, device).port_on(last)
            device.channels[str(last)].ohms = 1000.0  # what was too much is gone, but it was not cleared
        device.channels[str(last)].tripped = False
        driver(name, device).port_on(last)
        driver(name, device).port_on(1)
        assert {port for port, state in device.outlets.items() if state == "on"} == {"1", str(last)}
        driver(name, device).port_off(last)
        assert device.outlets[str(last)] == "off"


def test_a_supply_that_does_not_know_of_protections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scpi, "TRIPPED", {})
    with scpi.Supply("scpi-rigol") as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r" is off after being switched on$"):
            driver("scpi-rigol", device).port_on(2)
        device.stuck = False
        driver("scpi-rigol", device).port_on(2)  # the errors that it has noted of that are none of this
        assert device.outlets["2"] == "on"


def test_a_korad_whose_protection_trips() -> None:
    with korad.Supply() as device:
        device.trips = True
        with pytest.raises(TransientError, match=r"is off after being switched on, as when its protection trips$"):
            driver("korad", device).port_on(1)


def test_a_switch_that_the_supply_refuses_is_told_to_who_asked(daemon: Callable[..., Daemon]) -> None:
    with loaded("scpi-rigol") as device:
        pdu = {"driver": "scpi-rigol", "ip": "127.0.0.1", "tcpport": device.port, "retries": 5, "retrydelay": 0}
        running = daemon({"bench": pdu})
        reply = running.power("on", "bench", 3)
        assert reply.status == 502 and "its over-current protection has tripped" in reply.text
        assert bytes(device.received).count(b":OUTP CH3,ON") == 1
        device.errors.append('-113,"Undefined header"')
        assert running.power("on", "bench", 2).status == 200
