# SPDX-License-Identifier: MIT
"""`Driving`: a driver is made once, told what to do with a port as it takes it, and what it raises is one of our errors."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.driver import OutletReading, PDUDriver
from pdudaemon.engine.jobs import Driving
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.power import Action, Outlet, State
from pdudaemon.transports import deadline

NEVER = threading.Event()


class Told:
    """What drivers were told, and what they are to raise or to say."""

    def __init__(self, folder: Path) -> None:
        self.made: list[dict[str, Any]] = []
        self.orders: list[tuple[str, Any]] = []
        self.bombouts = 0
        self.raises: BaseException | None = None
        self.says: list[Any] = []
        self.drivers: list[PDUDriver] = []
        self._folder = folder

    def driving(self, legacy: bool = False, last_told: Callable[..., Any] | None = None, **settings: Any) -> Driving:
        told = self
        path = self._folder / "conf"
        path.write_text(json.dumps({"pdus": {"pdu": {"driver": "dummy", "timeout": 5, **settings}}}))
        config = reader.load(str(path))

        class Switch(PDUDriver):
            def __init__(self, hostname: str, settings: dict[str, Any]) -> None:
                super().__init__(hostname, settings)
                told.made.append({**settings})
                settings.clear()  # as an old one may

            def port_interaction(self, command: str, port_number: Any) -> None:
                assert deadline.current() is self.deadline, "by which transports go"
                told.drivers.append(self)
                told.orders.append((command, port_number))
                if told.raises is not None:
                    raise told.raises

            def port_status(self, port_number: Any) -> Any:
                self.port_interaction("status", port_number)
                return told.says.pop(0) if told.says else None

            def read_outlets(self) -> list[OutletReading]:
                self.port_interaction("read", None)
                return [OutletReading("1", "router")]

            def _bombout(self) -> None:
                told.bombouts += 1
                if told.says:
                    raise told.says.pop()

        pdu = config.pdus["pdu"]
        traits = replace(pdu.traits, legacy=legacy)
        return Driving(replace(pdu, driver=Switch, traits=traits, secrets=("hunter2",)), last_told)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def act(driving: Driving, order: str = "on", port: str = "1", given: str | int | None = None) -> State | None:
    return driving.act(order, Outlet("pdu", port, given), None, NEVER)


def failed(driving: Driving, order: str = "on") -> DeviceError:
    with pytest.raises(BaseException) as found:
        act(driving, order)
    return driving.failed(found.value)


def test_a_driver_is_made_once_with_settings_of_its_own(told: Told) -> None:
    driving = told.driving(outlets=12)
    for order in ("on", "off"):
        assert act(driving, order) is None
    assert told.orders == [("on", 1), ("off", 1)] and len(told.made) == 1 and told.made[0]["outlets"] == 12
    other = told.driving(outlets=12)
    act(other)
    assert told.made[1] == told.made[0] and told.bombouts == 0


@pytest.mark.parametrize(
    ("port", "given", "legacy", "taken"),
    [
        ("7", None, False, 7),
        ("0", None, False, 0),
        ("07", None, False, "07"),
        ("٣", None, False, "٣"),
        ("²", None, False, "²"),
        ("-1", None, False, "-1"),
        ("A1", None, False, "A1"),
        ("7", "07", True, "07"),
        ("7", 7, True, 7),
        ("7", None, True, 7),
        ("7", "07", False, 7),
    ],
)
def test_a_port_is_given_as_the_driver_takes_it(
    told: Told, port: str, given: str | int | None, legacy: bool, taken: str | int
) -> None:
    act(told.driving(legacy), port=port, given=given)
    assert told.orders == [("on", taken)] and type(told.orders[0][1]) is type(taken)


def test_the_driver_has_the_time_and_the_lock_of_each_action(told: Told) -> None:
    driving = told.driving(timeout=30)
    stopping = threading.Event()
    driving.act("on", Outlet("pdu", "1"), 5, stopping)
    (driver,) = told.drivers
    first = driver.deadline
    assert driver.lock_fd == 5 and first.seconds == 30
    stopping.set()
    with pytest.raises(DeviceError):
        first.pause(10)
    driving.act("on", Outlet("pdu", "1"), None, NEVER)
    assert driver.lock_fd is None and driver.deadline is not first


@pytest.mark.parametrize(
    ("said", "state"), [(True, State.ON), ("off", State.OFF), (None, State.UNKNOWN), (State.ON, State.ON)]
)
def test_a_state_is_one_of_ours(told: Told, said: Any, state: State) -> None:
    told.says = [said]
    assert act(told.driving(), Action.STATUS) is state


def test_a_state_that_is_none_is_an_error(told: Told) -> None:
    told.says = ["perhaps"]
    assert type(failed(told.driving(), "status")) is PermanentError and told.bombouts == 1


def test_it_is_verified_where_that_is_asked_for(told: Told) -> None:
    told.says = ["off", "on"]
    act(told.driving(verify=True))
    assert [order for order, _ in told.orders] == ["on", "status", "status"]
    told.says = ["off"]
    act(told.driving(verify=True), "off")
    assert [order for order, _ in told.orders][3:] == ["off", "status"]
    act(told.driving(), "on")
    assert len(told.orders) == 6
    told.says = ["on"]
    act(told.driving(verify=True), "status")
    assert len(told.orders) == 7, "there is nothing to verify"


def test_what_it_was_told_last_is_for_those_of_ours(told: Told) -> None:
    def last_told(name: str) -> dict[str, tuple[State, float]]:
        return {name: (State.ON, 5.0)}

    act(told.driving(last_told=last_told))
    assert told.drivers[0].last_told() == {"pdu": (State.ON, 5.0)}
    act(told.driving(legacy=True, last_told=last_told))
    act(told.driving())
    assert [driver.last_told for driver in told.drivers[1:]] == [None, None]


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (TransientError("no answer"), TransientError, "pdu: no answer"),
        (PermanentError("there is none"), PermanentError, "pdu: there is none"),
        (LoginRefused("no"), PermanentError, "pdu: no"),
        (DeviceTimeout("no answer"), DeviceTimeout, "pdu: no answer"),
        (DeviceError("odd"), TransientError, "pdu: odd"),
        (TimeoutError(), DeviceTimeout, "pdu: TimeoutError"),
        (TimeoutError(110, "Connection timed out"), DeviceTimeout, "pdu: Connection timed out"),
        (ConnectionRefusedError(111, "Connection refused"), TransientError, "pdu: Connection refused"),
        (OSError("odd"), TransientError, "pdu: OSError: odd"),
        (ValueError("two\n  lines"), TransientError, "pdu: ValueError: two lines"),
        (TransientError(""), TransientError, "pdu: TransientError"),
        (TransientError("the password is hunter2"), TransientError, "pdu: the password is ***"),
        (OSError(5, "hunter2"), TransientError, "pdu: ***"),
        (RuntimeError("hunter2"), TransientError, "pdu: RuntimeError: ***"),
        (TransientError("half \ud83d"), TransientError, "pdu: half ?"),
        (SystemExit(3), TransientError, "pdu: SystemExit: 3"),
        (MemoryError(), TransientError, "pdu: MemoryError"),
    ],
)
def test_what_it_raises_is_one_of_ours(
    told: Told, raised: BaseException, kind: type[DeviceError], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told.raises = raised
    driving = told.driving()
    error = failed(driving)
    assert type(error) is kind and str(error) == text
    assert told.bombouts == 1 and "hunter2" not in caplog.text
    ours = isinstance(raised, DeviceError) or (isinstance(raised, OSError) and bool(raised.strerror))
    assert ("the driver raised what is no device error" in caplog.text) != ours
    assert ours or "Traceback" in caplog.text
    told.raises = None
    act(driving)
    assert len(told.made) == 1


def test_what_is_for_who_asked_alone_goes_along(told: Told) -> None:
    told.raises = TransientError("it failed", private="printed \ud83d with hunter2")
    error = failed(told.driving())
    assert (error.told, error.private) == ("pdu: it failed: printed ? with ***", "printed ? with ***")


def test_an_error_without_words_is_told_by_its_type(told: Told) -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise ValueError

    told.raises = Speechless()
    assert str(failed(told.driving())) == "pdu: Speechless"


def test_the_first_error_counts(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told.raises = TransientError("first")
    told.says = [KeyError("x")]
    assert str(failed(told.driving())) == "pdu: first" and "_bombout raised KeyError" in caplog.text


def test_one_that_cannot_be_made_is_made_again(told: Told) -> None:
    driving = told.driving()
    kind = driving._pdu.driver
    assert kind is not None
    broken, refused = [True], ConnectionRefusedError(111, "Connection refused")

    class Broken(kind):  # type: ignore[misc, valid-type]
        def __init__(self, hostname: str, settings: dict[str, Any]) -> None:
            if broken:
                broken.clear()
                raise refused
            super().__init__(hostname, settings)

    driving = Driving(replace(driving._pdu, driver=Broken))
    assert str(failed(driving)) == "pdu: Connection refused" and told.bombouts == 0
    act(driving)
    assert told.orders == [("on", 1)]


def test_all_is_read_of_it(told: Told) -> None:
    driving = told.driving(timeout=30)
    survey = Survey("pdu", True, 10.0)
    driving.read(survey, 7)
    assert survey.found is not None and survey.found.outlets == [OutletReading("1", "router")]
    (driver,) = told.drivers
    assert driver.lock_fd == 7 and driver.deadline.seconds == 10
    told.raises = TransientError("no answer")
    with pytest.raises(TransientError) as found:
        driving.read(Survey("pdu", True, None), None)
    assert str(driving.failed(found.value)) == "pdu: no answer"
