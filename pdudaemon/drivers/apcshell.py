# SPDX-License-Identifier: MIT
"""APC rPDU2G (AP8xxx) with the command line of AOS 5 and later, over ssh: current firmware has telnet off.

Source: as `pdudaemon.drivers.apccli`, whose commands these are.
Tested: against a fake, over telnet; by ssh, untried on a PDU.
Quirks: older firmware needs ``old_algorithms``.

    "row5": {"driver": "apc_cli", "ip": "192.0.2.8", "password": "secret", "old_algorithms": true}
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from pdudaemon.drivers.apccli import Commands, log_out
from pdudaemon.drivers.apcconsole import COMMAND_PROMPT, MENUS, Console, asked
from pdudaemon.drivers.commandline import CommandLine
from pdudaemon.drivers.driver import Numbered
from pdudaemon.drivers.network import login
from pdudaemon.transports.dialogue import Dialogue


class APCShell(Commands, CommandLine):
    """By ssh, or by telnet."""

    models = {"apc_cli": Console(48)}
    ports = Numbered(lambda row: row.outlets, at_most=True)
    stable_names = True

    username, password = login("apc", "apc", "the command line")

    def outlet(self, port_number: Any) -> int:
        return int(port_number)

    def prompt(self) -> AbstractContextManager[Dialogue]:
        return self.connected(asked(COMMAND_PROMPT, MENUS, knock=True), log_out)
