# SPDX-License-Identifier: MIT
"""Korad and SCPI: the words on the wire, errors of others, supplies that do not obey."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import korad, scpi
from tests.devices.base.device import Mood
from tests.support.action import begun


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
        with pytest.raises(TransientError, match=r" is off after being switched on$"):
            driver(name, device).port_on(1)
        assert driver(name, device).port_status(1) is State.OFF
