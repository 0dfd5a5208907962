# SPDX-License-Identifier: MIT
"""What a driver tells of its outlets when it says nothing about it: the states of the ports that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.driver import Named, Numbered, PDUDriver
from pdudaemon.drivers.dummy import Dummy
from pdudaemon.drivers.ports import Ports
from pdudaemon.drivers.readings import InletReading, OutletReading, label, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.support.action import begun

MINE: Mapping[str, Any] = {"driver": "mine"}


pytestmark = pytest.mark.usefixtures("words")


def test_the_ports_one_by_one() -> None:
    class Mine(PDUDriver):
        models = {"mine": 3}
        ports = Numbered(lambda row: row, first=2)

        def port_status(self, port_number: int) -> State:
            return {2: True, 3: "off"}[port_number]  # type: ignore[return-value]

    assert hooks.traits(Mine, MINE).reads_outlets
    assert begun(Mine("pdu", MINE)).read_outlets() == [
        OutletReading("2", state=State.ON),
        OutletReading("3", state=State.OFF),
    ]
    assert Mine("pdu", MINE).read_inlets() == []
    assert Mine("pdu", MINE).identify() is None


def test_an_error_of_a_port_is_that_of_all() -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        ports = Numbered(2)

        def port_status(self, port_number: int) -> State:
            raise TransientError("no answer")

    with pytest.raises(TransientError, match="no answer"):
        begun(Mine("pdu", MINE)).read_outlets()


@pytest.mark.parametrize("declared", [Numbered(65535, at_most=True), Named("[a-z]+", "a word"), Ports()])
def test_ports_that_nobody_can_list(declared: Ports) -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        ports = declared

        def port_status(self, port_number: Any) -> State:
            raise AssertionError("nothing may be asked")

    assert not hooks.traits(Mine, MINE).reads_outlets
    with pytest.raises(PermanentError, match="does not say which outlets it has"):
        begun(Mine("pdu", MINE)).read_outlets()


def test_a_device_without_status() -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        ports = Numbered(2)

    assert not hooks.traits(Mine, MINE).reads_outlets
    with pytest.raises(PermanentError, match="the state cannot be read from this device"):
        begun(Mine("pdu", MINE)).read_outlets()


def test_attributes_of_an_old_class_by_these_names_are_its_own() -> None:
    class Old(PDUDriver):
        stable_names = True

        def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
            super().__init__()

        def port_status(self, port_number: Any) -> State:
            return State.ON

        def read_outlets(self) -> Any:
            return "its own"

    traits = hooks.traits(Old, {"driver": "old"})
    assert not traits.reads_outlets and not traits.stable_names


def test_names_that_are_stable() -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        stable_names = True

    assert hooks.traits(Mine, MINE).stable_names


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (12, 12),
        ("12.5", 12.5),
        (-3, -3),
        (0, 0),
        *((said, None) for said in ("", None, True, "NaN", {}, "gone", 10**400)),
    ],
)
def test_quantities(said: object, number: float | None) -> None:
    assert quantity(said) == number


def test_names_are_one_line() -> None:
    assert label(" Web \r\n\x1b[31mserver\0 ") == "Web [31mserver"
    assert label("x" * 1000) == "x" * 100
    assert [label(said) for said in ("", " ", None, 3)] == [None] * 4


def test_a_dummy_tells_what_its_settings_say() -> None:
    settings = {"driver": "dummy", "outlets": 2, "names": {"2": "router"}, "watts": {"2": 12.5}}
    dummy = begun(Dummy("pdu", settings))
    assert dummy.read_outlets() == [
        OutletReading("1", state=State.OFF),
        OutletReading("2", "router", State.OFF, watts=0.0),
    ]
    dummy.port_on(2)
    assert dummy.read_outlets()[1] == OutletReading("2", "router", State.ON, watts=12.5)
    assert dummy.read_inlets() == [InletReading("total", watts=12.5)]
    assert begun(Dummy("pdu", {"driver": "dummy"})).read_inlets() == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"names": {"9": "x"}}, "there is no port '9'"),
        ({"watts": {"1": "much"}}, "is not an object of watts by port"),
        ({"watts": []}, "is not an object of watts by port"),
        ({"names": {"1": 3}}, "is not an object of names by port"),
    ],
)
def test_settings_of_a_dummy_that_cannot_be(given: dict[str, object], why: str) -> None:
    assert why in hooks.faults(Dummy, {"driver": "dummy", **given}).values()
