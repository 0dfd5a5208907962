# SPDX-License-Identifier: MIT
"""Which ports there are, as a class declares it; and hooks, asked of a class of today's making and of an older one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.driver import Named, Numbered, PDUDriver, hook, numbered
from pdudaemon.drivers.tasmota import Tasmota
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, text

pytestmark = pytest.mark.usefixtures("words")


def canonical(driver: type[PDUDriver], port: str, settings: Mapping[str, Any]) -> str:
    """Return the canonical spelling of a port as the daemon asks for it. Raises: ValueError."""
    return hooks.traits(driver, settings).canonical_port(port)


def test_numbers_up_to_a_number_a_row_or_a_setting() -> None:
    class Mine(PDUDriver):
        count = Setting(integer(1, 100), 3, "how many")
        models = {"mine": count, "mine-16": 16}
        ports = Numbered(lambda row: row)

    for settings, most in (
        ({"driver": "mine"}, 3),
        ({"driver": "mine", "count": "5"}, 5),
        ({"driver": "mine-16"}, 16),
        ({"driver": "MINE-16"}, 16),
    ):
        assert canonical(Mine, f"0{most}", settings) == str(most)
        for port in ("0", str(most + 1), "a", "-1", "1.0", "", "²"):
            with pytest.raises(ValueError, match="is not a port"):
                canonical(Mine, port, settings)


def test_numbers_from_another_on() -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        ports = Numbered(7, first=0)

    assert [canonical(Mine, port, {"driver": "mine"}) for port in ("0", "00", "7")] == ["0", "0", "7"]
    with pytest.raises(ValueError, match="'8' is not a port: this PDU has 0 to 7"):
        canonical(Mine, "8", {"driver": "mine"})


def test_names() -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        ports = Named(r"[A-Z]\w{0,9}", "a letter first", str.upper)

    assert [canonical(Mine, port, {}) for port in ("a1", "A1")] == ["A1", "A1"]
    for port in ("", "1a", "a b", "ß1", "A" * 11, "A" * 5000, "a\n"):
        with pytest.raises(ValueError, match="is not a port: a letter first"):
            canonical(Mine, port, {})


def test_hooks_have_typed_settings_and_the_row() -> None:
    class Mine(PDUDriver):
        models = {"mine-8": 8}
        level = Setting(integer(1, 9), 1, "a number")

        def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
            raise AssertionError("no device is made to ask a hook")

        @hook
        def canonical_port(self, port: str) -> str:
            return f"{super().canonical_port(port)}.{self.level + self.row}"

        @hook
        def faults(self) -> dict[str, str]:
            return {**super().faults(), "level": f"{self.level + 1}"}

        @hook
        def reads_state(self) -> bool:
            return self.level > 4 and not super().reads_state()

        @hook
        def restarts(self) -> bool:
            return self.level > 4 and not super().restarts()

        @hook
        def pool(self) -> tuple[str, int] | None:
            return None if super().pool() else ("mine", self.level)

    settings = {"driver": "mine-8", "level": "5"}
    traits = hooks.traits(Mine, settings)
    assert (traits.reads_state, traits.restarts, traits.pool) == (True, True, ("mine", 5))
    assert traits.canonical_port("03") == "3.13"
    assert hooks.faults(Mine, settings) == {"level": "6"}
    assert Mine.faults(settings) == {"level": "6"}


def test_class_methods_of_plugins_get_the_settings_as_they_stand_in_the_file() -> None:
    """As the page "Write a driver" had it before `ports` and `hook`."""

    class Old(PDUDriver):
        models = {"old-4": 4}
        level = Setting(integer(1, 9), 1, "a number")

        @classmethod
        def canonical_port(cls, port: str, settings: Mapping[str, Any]) -> str:  # type: ignore[override]
            assert settings["level"] == "5"
            return numbered(super().canonical_port(port, settings), cls.models[settings["driver"]])

        @classmethod
        def faults(cls, settings: Mapping[str, Any]) -> dict[str, str]:  # type: ignore[override]
            return {**super().faults(settings), "level": settings["level"]}

        @classmethod
        def reads_state(cls, settings: Mapping[str, Any]) -> bool:  # type: ignore[override]
            return settings["level"] == "5" and not super().reads_state(settings)

        @classmethod
        def restarts(cls, settings: Mapping[str, Any]) -> bool:  # type: ignore[override]
            return settings["level"] == "5" and not super().restarts(settings)

        @classmethod
        def pool(cls, settings: Mapping[str, Any]) -> tuple[str, int] | None:  # type: ignore[override]
            return (settings["level"], 2) if super().pool(settings) is None else None

    settings = {"driver": "old-4", "level": "5"}
    traits = hooks.traits(Old, settings)
    assert (traits.reads_state, traits.restarts, traits.pool) == (True, True, ("5", 2))
    assert traits.canonical_port("04") == "4"
    with pytest.raises(ValueError, match="'5' is not a port: this PDU has 1 to 4"):
        traits.canonical_port("5")
    assert hooks.faults(Old, settings) == {"level": "5"}
    assert Old("pdu", settings).canonical_port("04", settings) == "4"


def test_a_class_method_of_a_plugin_over_a_driver_of_ours() -> None:
    class Mine(Tasmota):
        models = {"my_tasmota": 2}

        @classmethod
        def canonical_port(cls, port: str, settings: Mapping[str, Any]) -> str:  # type: ignore[override]
            return super().canonical_port(port.removeprefix("relay"), settings)

    assert canonical(Mine, "relay02", {"driver": "my_tasmota"}) == "2"
    with pytest.raises(ValueError, match="1 to 2"):
        canonical(Mine, "relay3", {"driver": "my_tasmota"})


def test_settings_of_a_plugin_may_be_called_ports_and_row() -> None:
    class Mine(PDUDriver):
        models = {"mine": "a row"}
        ports = Setting(integer(1, 64), 8, "how many")  # type: ignore[assignment]
        row = Setting(text, "", "where in the rack")

    made = Mine("pdu", {"driver": "mine", "ports": 4, "row": "B"})
    assert (made.ports, made.row) == (4, "B")
    assert canonical(Mine, "0100", {"driver": "mine"}) == "100"


def test_the_ports_of_a_class_that_decides_by_itself_are_its_own() -> None:
    class Mine(PDUDriver):
        models = {"mine": None}
        ports = [1, 2]  # type: ignore[assignment]

        @classmethod
        def canonical_port(cls, port: str, settings: Mapping[str, Any]) -> str:  # type: ignore[override]
            return str(cls.ports[int(port)])

    assert canonical(Mine, "1", {"driver": "mine"}) == "2"


def test_attributes_of_an_old_class_by_the_names_of_ours_are_its_own() -> None:
    class Strange(PDUDriver):
        ports = 8  # type: ignore[assignment]

        def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
            super().__init__(hostname, settings)

        @property
        def row(self) -> str:  # type: ignore[override]
            return "its own"

        def port_status(self, port_number: Any) -> State:
            return State.ON

        def faults(self) -> int:  # type: ignore[override]
            return 5

    traits = hooks.traits(Strange, {"driver": "strange"})
    assert traits.canonical_port("08") == "8" and traits.canonical_port("Plug é") == "Plug é"
    assert traits.reads_state and not traits.restarts
    assert hooks.faults(Strange, {}) == {}
    assert Strange("pdu", {"driver": "strange"}).row == "its own"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"models": {"mine": None}, "ports": 8}, "`ports` is 8; it must be Numbered(...) or Named(...)"),
        ({"models": {"mine": None}, "ports": Numbered(lambda row: row)}, "`ports` of 'mine' are 1 to None"),
        ({"models": {"mine": "8"}, "ports": Numbered(lambda row: row)}, "`ports` of 'mine' are 1 to '8'"),
        ({"models": {"mine": 0}, "ports": Numbered(lambda row: row)}, "`ports` of 'mine' are 1 to 0"),
        ({"models": {"mine": 1}, "ports": Numbered(lambda row: row, first=2)}, "`ports` of 'mine' are 2 to 1"),
        ({"models": {"mine": None}, "faults": lambda self: {}}, "`faults` is asked before there is a device"),
    ],
)
def test_a_class_whose_ports_or_hooks_cannot_work_fails_when_it_is_defined(
    declared: dict[str, object], words: str
) -> None:
    with pytest.raises(TypeError) as caught:
        type("Mine", (PDUDriver,), {"__module__": "mine", **declared})
    assert words in str(caught.value)
