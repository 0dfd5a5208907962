# SPDX-License-Identifier: MIT
"""`Survey`: one reading of a driver, what it takes for an answer, and where it ends early."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Any

import pytest

from pdudaemon.config.model import PDUConfig
from pdudaemon.drivers.driver import Identity, InletReading, OutletReading, PDUDriver
from pdudaemon.drivers.options import PDUOptions
from pdudaemon.engine.survey import Survey, surveyable
from pdudaemon.errors import DeviceError, PermanentError, TransientError


class Talker(PDUDriver):
    """Returns what it is made with, and notes what it was asked."""

    def __init__(self, survey: Survey, outlets: Any = (), inlets: Any = (), hurry_at: str = "") -> None:
        self.deadline = survey.deadline(60)
        self.asked: list[str] = []
        self._survey, self._outlets, self._inlets, self._hurry_at = survey, outlets, inlets, hurry_at

    def _said(self, name: str, said: Any) -> Any:
        self.asked.append(name)
        if name == self._hurry_at:
            self._survey.hurry.set()
        return said

    def read_outlets(self) -> list[OutletReading]:
        return self._said("outlets", self._outlets)  # type: ignore[no-any-return]

    def read_inlets(self) -> list[InletReading]:
        return self._said("inlets", self._inlets)  # type: ignore[no-any-return]

    def identify(self) -> Identity:
        return self._said("identity", Identity("maker"))  # type: ignore[no-any-return]


def test_all_is_asked_for_and_who_it_is_once() -> None:
    outlets, inlets = [OutletReading("1", "router")], [InletReading("total", 5.0)]
    for identified in (False, True):
        survey = Survey("a", identified, None)
        driver = Talker(survey, outlets, tuple(inlets))
        survey.read(driver)
        assert survey.outlet == ("a", "") and not survey.dead
        assert survey.found == (outlets, inlets, None if identified else Identity("maker"))
        assert driver.asked == ["outlets", "inlets", *["identity"] * (not identified)]


@pytest.mark.parametrize(
    ("outlets", "inlets", "name"),
    [
        (None, [], "read_outlets"),
        ([None], [], "read_outlets"),
        ({"1": OutletReading("1")}, [], "read_outlets"),
        ([OutletReading("")], [], "read_outlets"),
        ([OutletReading(7)], [], "read_outlets"),  # type: ignore[arg-type]
        ([OutletReading("1\n")], [], "read_outlets"),
        ([OutletReading("1" * 201)], [], "read_outlets"),
        ([], [OutletReading("1")], "read_inlets"),
        ([], "total", "read_inlets"),
    ],
)
def test_what_is_no_answer(outlets: Any, inlets: Any, name: str) -> None:
    survey = Survey("a", True, None)
    with pytest.raises(PermanentError, match=f"the driver's {name} returned"):
        survey.read(Talker(survey, outlets, inlets))
    assert survey.found is None


def test_no_driver_gets_control_characters_or_endless_texts_past_it() -> None:
    rogue = '\x1b[2J<b>"\n\ud800\u202e' + "x" * 1000
    survey = Survey("a", False, None)
    outlet = OutletReading("1", rogue, "on", math.nan, "230", math.inf, 5)  # type: ignore[arg-type]
    driver = Talker(survey, [outlet, OutletReading("2", 7)], [InletReading(rogue, math.inf, kind=7)])  # type: ignore[arg-type]
    driver.identify = lambda: Identity(rogue, 7, "\0")  # type: ignore[method-assign, arg-type]
    survey.read(driver)
    assert survey.found is not None
    (first, second), (inlet,), identity = survey.found
    said = '[2J<b>" ' + "x" * 92
    assert (first, second) == (OutletReading("1", said, None, None, 230.0, None, 5.0), OutletReading("2"))
    assert inlet == InletReading(said) and identity == Identity(said)


def test_a_port_may_have_some_length_and_an_inlet_no_name() -> None:
    survey = Survey("a", True, None)
    survey.read(Talker(survey, [OutletReading("9" * 200)], [InletReading(None)]))  # type: ignore[arg-type]
    assert survey.found is not None and survey.found.inlets == [InletReading("")]


def test_which_pdus_can_be_read() -> None:
    pdu = PDUConfig("a", {}, PDUOptions({}), Talker)

    def surveyed(driver: type[PDUDriver] | None = Talker, **traits: bool) -> bool:
        return surveyable(replace(pdu, driver=driver, traits=replace(pdu.traits, **traits)))

    assert surveyed(reads_outlets=True) and not surveyed() and not surveyed(reads_outlets=True, legacy=True)
    assert not surveyed(None, reads_outlets=True)


@pytest.mark.parametrize(("at", "asked"), [("outlets", ["outlets"]), ("inlets", ["outlets", "inlets"])])
def test_between_two_exchanges_whoever_wants_to_switch_comes_first(at: str, asked: list[str]) -> None:
    survey = Survey("a", False, None)
    driver = Talker(survey, hurry_at=at)
    with pytest.raises(TransientError):
        survey.read(driver)
    assert driver.asked == asked and survey.found is None


class Unhurried(threading.Event):
    """Says for how long anybody wanted to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


@pytest.mark.parametrize(
    ("error", "identity"), [(PermanentError("it has none"), Identity()), (TransientError("no answer"), None)]
)
def test_one_that_does_not_say_who_it_is_is_asked_again_unless_it_never_will(
    error: DeviceError, identity: Identity | None
) -> None:
    survey = Survey("a", False, None)
    driver = Talker(survey, [OutletReading("1")])

    def identify() -> Identity:
        raise error

    driver.identify = identify  # type: ignore[method-assign]
    survey.read(driver)
    assert survey.found == ([OutletReading("1")], [], identity)


def test_who_says_nothing_of_who_it_is_has_said_so() -> None:
    survey = Survey("a", False, None)
    driver = Talker(survey)
    driver.identify = lambda: None  # type: ignore[method-assign, assignment, return-value]
    survey.read(driver)
    assert survey.found is not None and survey.found.identity == Identity()


def test_it_is_a_question_among_all_surveys_that_takes_a_thread_of_its_own() -> None:
    assert (Survey.order, Survey.crowd, Survey.lengthy) == ("status", "surveys", True)
    assert Survey("a", False, 10.0).dead and not Survey("a", False, None).dead


def test_who_gives_way_does_not_wait_for_anybody() -> None:
    survey = Survey("a", False, None)
    assert not survey.begun and not survey.askers and not survey.hurry.is_set() and survey.known is None
    survey.hurry = Unhurried()
    survey.read(Talker(survey))
    assert survey.hurry.waits == [0, 0]


@pytest.mark.parametrize(("patience", "timeout", "seconds"), [(None, 60, 60), (10, 60, 10), (10, 5, 5)])
def test_its_time(patience: float | None, timeout: float, seconds: float) -> None:
    deadline = Survey("a", False, patience).deadline(timeout)
    assert deadline.seconds == seconds and deadline.gives_way
