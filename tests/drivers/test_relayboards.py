# SPDX-License-Identifier: MIT
"""LCUS, KMTronic and Cambrionix: the bytes of the makers' examples, boards that do not obey, and firmware that tells nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import lcus as module
from pdudaemon.drivers import strategies
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import cambrionix, kmtronic, lcus
from tests.support.action import begun


def driver(name: str, device: Any) -> Any:
    return begun(strategies.find(name)("bench", {"driver": name, "device": device.path}))


def test_the_bytes_of_an_lcus() -> None:
    with lcus.Board(2) as device:
        driver("lcus-2", device).port_on(1)
        driver("lcus-2", device).port_off(1)
        assert bytes(device.received) == bytes.fromhex("a00101a2 ff a00100a1 ff")


def test_an_lcus_whose_firmware_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with lcus.Board(4) as device:
        device.tells = False
        with pytest.raises(
            DeviceTimeout, match=r"does not tell the state of its relays: has it the firmware for that\?$"
        ):
            driver("lcus-4", device).port_on(1)


def test_an_lcus_with_other_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with lcus.Board(2) as device, pytest.raises((PermanentError, DeviceTimeout)):
        driver("lcus-4", device).port_status(3)


def test_the_bytes_of_a_kmtronic() -> None:
    with kmtronic.Board(2) as device:
        driver("kmtronic-2", device).port_on(2)
        assert bytes(device.received) == bytes.fromhex("ff0201 ff0203")
    with kmtronic.Board(8) as device:
        driver("kmtronic-8", device).port_on(2)
        assert bytes(device.received) == bytes.fromhex("ff0201 ff0900")
        assert driver("kmtronic-8", device).port_status(2) is State.ON


@pytest.mark.parametrize(
    ("name", "kind"), [("lcus-4", lcus.Board), ("kmtronic-4", kmtronic.Board), ("kmtronic-1", kmtronic.Board)]
)
def test_boards_that_do_not_obey(name: str, kind: Any) -> None:
    with kind(int(name[-1])) as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r": relay 1 is off after being switched on$"):
            driver(name, device).port_on(1)


def test_modes_of_a_hub() -> None:
    with cambrionix.Hub() as device:
        begun(
            strategies.find("cambrionix")("hub", {"driver": "cambrionix", "device": device.path, "mode": "charge"})
        ).port_on(3)
        assert (device.outlets["3"], device.modes["3"]) == ("on", "C")
        with pytest.raises(PermanentError, match=r" has no port 16, but 15$"):
            driver("cambrionix", device).port_on(16)
        device.stuck = True
        with pytest.raises(TransientError, match=r": port 3 is on after being switched off$"):
            driver("cambrionix", device).port_off(3)
