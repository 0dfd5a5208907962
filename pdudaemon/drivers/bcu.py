# SPDX-License-Identifier: MIT
"""NXP's i.MX evaluation boards by ``bcu``, the Board Control Utility. It is the reset line that is switched: off holds
the board in reset.

Source: NXP's documentation and messages of the program (github.com/nxp-imx/bcu).
Tested: against a program that stands in for ``bcu``.
Quirks: the port is ignored: a board has one reset line. ``bcu`` ends with 0 whatever happens, so what it prints counts.
Each action begins with ``bcu init``, without which the board does not listen. A board is an FTDI device, 0403:6011.

    "evk1": {"driver": "bcu", "id": "3-7.1", "board": "imx8mpevk", "bootmode": "emmc"},
    "evk2": {"driver": "bcu", "bcu_exe": "/opt/bcu", "reset_gpio": "sys_nrst", "reset_gpio_active_low": "1"}
"""

from __future__ import annotations

import re

from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import DeviceError, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, text
from pdudaemon.transports import command as programs
from pdudaemon.transports.command import Output

_THE_PORT = "1"
_FAILED = re.compile(r"\bfailed\b|\berror building\b|\bplease enter\b")
_FOR_GOOD = re.compile(r"failed to find|please enter")


class BCU(PDUDriver):
    """One reset line; its level says whether the board is on."""

    models = {"bcu": None}
    usb_ids = ("0403:6011",)

    id = Setting(text, "", "USB path of the board (`3-7.1`), where there are several")
    board = Setting(text, "", "name of the board, as in `bcu lsboard`")
    bcu_exe = Setting(text, "bcu", "the program")
    reset_gpio = Setting(text, "reset", "name of the reset line, as in `bcu lsgpio`")
    reset_gpio_active_low = Setting(integer(0, 1), 1, "1: a low level is reset; 0: a high one is")
    bootmode = Setting(text, "", "boot mode to set, as in `bcu lsbootmode`")

    @hook
    def canonical_port(self, port: str) -> str:
        super().canonical_port(port)
        return _THE_PORT

    @hook
    def lacks(self) -> str:
        return programs.missing(self.bcu_exe)

    def port_interaction(self, command: str, port_number: int) -> None:
        high = (command == "on") == bool(self.reset_gpio_active_low)
        prepared = self._run("init", *filter(None, [self.bootmode]))
        if _FAILED.search(prepared.text):  # there is no word for success
            raise self._failure("init", prepared)
        output = self._run("set_gpio", self.reset_gpio, str(int(high)))
        if f"gpio set to {int(high)} successfully" not in output.text:
            raise self._failure("set_gpio", output)

    def port_status(self, port_number: int) -> State:
        output = self._run("get_level", self.reset_gpio)
        level = re.search(r"\blevel=(HIGH|LOW)\b", output.text)
        if level is None:
            raise self._failure("get_level", output)
        return State.ON if (level[1] == "HIGH") == bool(self.reset_gpio_active_low) else State.OFF

    def read_outlets(self) -> list[OutletReading]:
        return [OutletReading(_THE_PORT, state=self.port_status(1))]

    def _run(self, *words: str) -> Output:
        """Run bcu. Raises: PermanentError if it does not end with 0."""
        if lacking := self.lacks():
            raise PermanentError(lacking)
        options = [f"-{name}={value}" for name, value in (("id", self.id), ("board", self.board)) if value]
        output = programs.run([self.bcu_exe, *words, *options], self.deadline, hold=self.lock_fd)
        if output.status != 0:
            raise self._failure(words[0], output)
        return output

    def _failure(self, what: str, output: Output) -> DeviceError:
        lines = [line.strip() for line in output.text.splitlines() if _FAILED.search(line)]
        why = lines[0][:200] if lines else output.last_line or "it printed nothing"
        kind = PermanentError if output.status > 0 or _FOR_GOOD.search(why) else TransientError
        return kind(f"{self.bcu_exe} {what} failed: {why}")
