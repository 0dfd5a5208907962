# SPDX-License-Identifier: MIT
"""What the consoles of APC have in common: the login over telnet, and outlets that are counted from 1.

Source: as `pdudaemon.drivers.apcmenu` and `pdudaemon.drivers.apccli`, which drive them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from pdudaemon.drivers.driver import Numbered, PDUDriver
from pdudaemon.drivers.network import login, tcp_port
from pdudaemon.errors import PermanentError
from pdudaemon.transports import telnet
from pdudaemon.transports.dialogue import Dialect, Dialogue, Login
from pdudaemon.transports.greeting import others

COMMAND_PROMPT = r"apc>"
MENU_PROMPT = r"[\r\n]>"


def _leave_commands(console: Dialogue, _shown: str) -> None:
    for word in ("exit", "quit"):
        console.line(word, "the logout")
        if console.expect_or_end("the logout", {"prompt": rf"(?i){COMMAND_PROMPT}"}) is None:
            return


def _leave_menus(console: Dialogue, shown: str) -> None:
    entry = re.search(r"(\d+)- Logout", shown)
    console.line(entry[1] if entry else "4", "the logout")
    console.expect_or_end("the logout", {})


COMMANDS = Dialect(
    rf"(?<!\w){COMMAND_PROMPT}",
    "has a command line (apc>) and no menus: the driver for it is apc8959",
    _leave_commands,
)
OLD_COMMANDS = Dialect(
    r"(?<!\w)APC>",
    "has the command line of older rack PDUs (APC>), which no driver speaks: log in without -c, to its menus",
    _leave_commands,
)
MENUS = Dialect(
    MENU_PROMPT,
    "has menus and no command line: the drivers for it are apc7900, apc7920, apc7921, apc7932, apc7952, apc9210,"
    " ap9218 and ap9606",
    _leave_menus,
)


@dataclass(frozen=True)
class Console:
    """A model: its outlets, counted from 1, and whether its name is taken in any case."""

    outlets: int
    any_case: bool = False


class APCConsole(PDUDriver):
    """What all consoles of APC share: the login, and outlets that are counted from 1."""

    row: Console
    ports = Numbered(lambda row: row.outlets)
    stable_names = True

    username, password = login("apc", "apc", "the console")
    telnetport = tcp_port(23, "the console")

    @classmethod
    def accepts(cls, drivername: str) -> bool:
        model = cls.models.get(drivername.lower())
        return model is not None and (model.any_case or drivername in cls.models)

    def outlet(self, port_number: Any) -> int:
        """Return the number of an outlet. Raises: PermanentError, since a wrong one could mean all outlets."""
        try:
            return int(self.ports.canonical(str(port_number), self))
        except ValueError as error:
            raise PermanentError(str(error)) from None

    def connected(self) -> AbstractContextManager[Dialogue]:
        """Connect within ``with``."""
        return telnet.session(self.hostname, self.telnetport, self.deadline, newline="\r")

    def logged_in(
        self, console: Dialogue, ready: str, other: Dialect, log_out: Callable[[], None], knock: bool = False
    ) -> AbstractContextManager[str]:
        """Log in within ``with``; ``ready`` is the prompt that follows, ``other`` what other firmware has instead."""
        return console.logged_in(asked(ready, other, knock=knock), self.username, self.password, log_out)


def asked(ready: str, other: Dialect, *, knock: bool = False) -> Login:
    """Return how the consoles ask who is there."""
    return Login(
        name=r"User Name\s*:",
        password=r"Password\s*:",
        ready=ready,
        knock=knock,
        strangers=others("APC"),
        dialects=(other, OLD_COMMANDS),
    )
