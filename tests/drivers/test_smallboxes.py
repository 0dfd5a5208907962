# SPDX-License-Identifier: MIT
"""Laurent, ATEN by REST, tinycontrol, the IOBus: what only they have."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.laurent import Laurent
from pdudaemon.errors import LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices import laurent, tinycontrol
from tests.devices.atenrest import PASSWORD as ATEN_PASSWORD
from tests.devices.atenrest import Eco
from tests.devices.laurent import Board
from tests.devices.lxaiobus import NODE, Server
from tests.devices.tinycontrol import Socket
from tests.support.action import begun, recognised


def driver(name: str, device: Any, **settings: Any) -> Any:
    return begun(strategies.find(name)("pdu", {"driver": name, "ip": f"127.0.0.1:{device.port}", **settings}))


def board(device: Board, **settings: Any) -> Any:
    return driver("laurent", device, **{"ip": "127.0.0.1", "tcpport": device.port, **settings})


def test_a_laurent_without_a_password() -> None:
    with Board() as device:
        with pytest.raises(LoginRefused, match=r"^login refused by \S+: it wants a password$"):
            board(device).port_on(1)
        device.protected = False
        board(device).port_on(12)
        assert device.outlets["12"] == "on"
        with pytest.raises(PermanentError, match=r"refused switching relay 13: 'ERR'$"):
            board(device).port_on(13)
        with pytest.raises(PermanentError, match=r" has no relay 13, but 12$"):
            board(device).port_status(13)


def test_a_laurent_that_does_not_obey() -> None:
    with Board() as device:
        device.obeys = False
        with pytest.raises(TransientError, match=r": relay 2 is not on after the order$"):
            board(device, password=laurent.PASSWORD).port_on(2)


def test_a_laurent_is_recognised_without_a_password() -> None:
    with Board() as device:
        found = recognised(Laurent, device.port)
        assert found is not None and found.settings == {"driver": "laurent", "tcpport": device.port}
        assert b"PSW" not in device.received


def test_an_aten_on_its_way() -> None:
    with Eco() as device:
        made = driver("aten_rest", device, password=ATEN_PASSWORD, outlets=4)
        device.pending = 1
        assert made.port_status(1) is State.UNKNOWN
        device.pending = 1
        made.port_on(1)
        assert device.outlets["1"] == "on"
        with pytest.raises(PermanentError) as caught:
            driver("aten_rest", device, password="wrong+password").port_status(1)
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("name", tinycontrol.NAMES)
@pytest.mark.parametrize("inverted", [False, True])
def test_tinycontrol_with_either_meaning_of_a_bit(name: str, inverted: bool) -> None:
    with Socket(name) as device:
        device.inverted = inverted
        made = driver(name, device, username="admin", password=tinycontrol.PASSWORD, inverted=inverted)
        made.port_on(4)
        assert device.outlets["4"] == "on" and made.port_status(4) is State.ON and made.port_status(5) is State.OFF
        with pytest.raises(PermanentError, match=r"^the device has no output 7, but 1, 2, 3, 4, 5, 6$"):
            made.port_on(7)


def test_pins_of_an_iobus() -> None:
    with Server() as device:

        def made(node: str = NODE) -> Any:
            return driver("lxa_iobus", device, ip="127.0.0.1", port=device.port, node=node)

        with pytest.raises(PermanentError, match=r"pins/OUT9/: unknown pin$"):
            made().port_on("OUT9")
        with pytest.raises(PermanentError, match=r"pins/OUT0/: unknown node$"):
            made("other").port_on("OUT0")
        with pytest.raises(PermanentError, match=r"AIN1 is not a pin that is on or off$"):
            made().port_status("AIN1")
        assert [each.port for each in made().read_outlets()] == [*device.outlets]
    assert [*hooks.faults(strategies.find("lxa_iobus"), {"driver": "lxa_iobus", "node": "../x"})] == ["node"]
