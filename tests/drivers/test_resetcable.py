# SPDX-License-Identifier: MIT
"""Reset cables: a port that stays held, the line that was not meant, ports that are pulled out, and the kernel's own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

import pytest

from pdudaemon.drivers.resetcable import ResetCable
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.resetcable import Port
from tests.support.action import begun


def driver(path: str, **settings: str) -> ResetCable:
    return begun(ResetCable("bench", {"driver": "reset_cable", "device": path, **settings}))


def states(cable: ResetCable) -> dict[str, State | None]:
    return {each.port: each.state for each in cable.read_outlets()}


def test_the_port_stays_held_and_is_left_as_it_is() -> None:
    with Port() as device:
        cable = driver(device.path)
        cable.port_off("rts")
        assert device.outlets == {"dtr": "on", "rts": "off"} and not device.hangs_up()
        cable.port_on("rts")
        assert device.outlets == {"dtr": "on", "rts": "on"} and device.sessions == 1
        with pytest.raises(TransientError, match=r" is in use by another program$"):
            driver(device.path).port_off("dtr")


def test_a_look_does_not_open_the_port() -> None:
    with Port() as device:
        cable = driver(device.path)
        assert states(cable) == {"dtr": State.UNKNOWN, "rts": State.UNKNOWN} and not device.sessions
        cable.port_off("dtr")
        assert states(cable) == {"dtr": State.OFF, "rts": State.ON}


def test_the_line_that_was_not_meant_is_what_it_was_last_told() -> None:
    with Port() as device:
        cable = driver(device.path)
        cable.last_told = lambda: {"dtr": (State.OFF, 1000.0)}
        cable.port_on("rts")
        assert device.outlets == {"dtr": "off", "rts": "on"}


def test_a_relay_that_a_raised_line_switches_on() -> None:
    with Port() as device:
        cable = driver(device.path, raised="on")
        cable.port_on("dtr")
        assert device.bits() & 0x6 == 0x6 and states(cable) == {"dtr": State.ON, "rts": State.ON}
        cable.port_off("rts")
        assert device.bits() & 0x6 == 0x2 and cable.port_status("rts") is State.OFF


def test_a_line_that_does_not_obey() -> None:
    with Port() as device:
        device.stuck = True
        with pytest.raises(TransientError, match=r": dtr is off after being switched on$"):
            driver(device.path).port_on("dtr")


def test_a_port_that_is_pulled_out_is_opened_anew() -> None:
    with Port() as device:
        cable = driver(device.path)
        cable.port_on("dtr")
        device.pulled_out = True
        with pytest.raises(TransientError, match="Input/output error"):
            cable.port_off("dtr")
        cable._bombout()
        device.pulled_out = False
        cable.port_off("dtr")
        assert device.sessions == 2 and device.outlets["dtr"] == "off"


@pytest.mark.parametrize("path", ["/dev/null", "a pty"])
def test_what_has_no_such_lines(path: str) -> None:
    ours, its = pty.openpty()
    with pytest.raises(PermanentError, match=r" has no lines DTR and RTS that could be set$"):
        driver(os.ttyname(its) if path == "a pty" else path).port_off("dtr")
    os.close(ours)
    os.close(its)


def real_port() -> str:
    """Return a serial port of this machine that nobody uses and whose lines the kernel tells, empty if there is none."""
    for path in sorted(map(str, Path("/dev").glob("ttyS*"))):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            before = fcntl.ioctl(descriptor, termios.TIOCMGET, struct.pack("i", 0))
            console = Path("/sys/class/tty/console/active").read_text().split()
            if os.path.basename(path) not in console and before:
                return path
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return ""


def test_a_serial_port_of_this_machine() -> None:
    """Written by the driver, and read by the kernel's own account of it, from a descriptor of ours."""
    if not (path := real_port()):
        pytest.skip("this machine has no serial port that is free and tells its lines")
    ours = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)  # which would raise them, were it opened later
    cable = driver(path)
    try:
        for port, bit in (("dtr", termios.TIOCM_DTR), ("rts", termios.TIOCM_RTS)):
            for action in ("off", "on"):
                cable.port_interaction(action, port)
                (bits,) = struct.unpack("i", fcntl.ioctl(ours, termios.TIOCMGET, struct.pack("i", 0)))
                assert bool(bits & bit) is (action == "off") and cable.port_status(port) == action
        fcntl.ioctl(ours, termios.TIOCMBIS, struct.pack("i", termios.TIOCM_DTR))  # by somebody else
        assert states(cable) == {"dtr": State.OFF, "rts": State.ON}
    finally:
        os.close(ours)
