# SPDX-License-Identifier: MIT
"""`APC7952`: what drivers derived from that of the existing daemon build on. It drives nothing by itself.

The names ``apc7952`` and its sisters are driven by `pdudaemon.drivers.apcmenu`.

Source: as that one.
"""

from __future__ import annotations

import re
from typing import Any

from pdudaemon.drivers.apcbase import APCBase
from pdudaemon.drivers.driver import counted
from pdudaemon.errors import FailedRequestException, LoginRefused, PermanentError, UnknownCommandException
from pdudaemon.transports.telnet import Menu

_ESCAPE = "\x1b"
_PROMPT = r"[\r\n]>"
_LOGIN = r"User Name\s*:"
_PAUSE = r"Press <ENTER> to continue"
_LOGOUT = r"4- Logout"
_DEEPEST = 20  # more screens than lie on any way back
_DRAWINGS = 4  # how often a console may draw a menu once more than it was asked to
_UP_PATIENCE = 1.0
_ACTIONS = {"on": "Immediate On", "off": "Immediate Off"}


class APC7952(APCBase):
    """Walks the menus of a rack PDU: Device Manager, Outlet Management, Outlet Control/Configuration, an outlet.

    Each step reads no further than it must before it says what it has to say, and leaves what that brings to the next,
    which may be a subclass's own.
    """

    port_count = 24  # the entry after the last outlet stands for all of them

    def _port_interaction(self, command: str, port_number: Any) -> None:
        if command not in _ACTIONS:
            raise UnknownCommandException(f"unknown command {command!r}")
        counted(port_number, self.port_count)
        self._back_to_main()
        number = Menu(str(self.connection.before)).find("Device Manager")
        if number is None:
            raise FailedRequestException("the main menu has no entry 'Device Manager'")
        self._shown()
        self.connection.send(f"{number}\r")
        self._choose("Outlet Management")
        self._choose("Outlet Control/Configuration")
        self._enter_outlet(port_number)
        if self._choose(_ACTIONS[command], "Control Outlet") == "Control Outlet":
            self._choose(_ACTIONS[command])
        self._do_it()

    def _pdu_logout(self) -> None:
        self._back_to_main()
        self._shown()
        self.connection.send("4\r")

    def _back_to_main(self) -> None:
        """Go up until the menu has the line ``4- Logout``. Raises: PermanentError if the login is refused."""
        for _ in range(_DEEPEST):
            came = self.connection.first([_LOGOUT, _LOGIN, _PAUSE, _PROMPT], _UP_PATIENCE)
            if came == 0:
                return
            if came == 1:
                raise LoginRefused("login refused")
            self.connection.send("\r" if came == 2 else _ESCAPE)
        raise FailedRequestException("the main menu did not come")

    def _enter_outlet(self, outlet: Any, enter_needed: bool = True) -> None:
        """Choose an outlet of the list; a pause in it is passed over, whether or not it is ``enter_needed``."""
        number = counted(outlet, self.port_count)
        self._shown()
        self.connection.send(f"{number}\r")

    def _do_it(self) -> None:
        """Answer YES to the question whether to do it. Raises: PermanentError if it is not done."""
        self.connection.expect(r"Enter 'YES' to continue or <ENTER> to cancel")
        self.connection.send("YES\r")
        self.connection.expect(_PAUSE)
        said = str(self.connection.before)
        self.connection.send("\r")
        if not re.search(r"Command successfully issued|successfully!|\bSuccess\b", said):
            raise PermanentError(f"the device refused: {' '.join(said.split())[:80]!r}")

    def _choose(self, *labels: str) -> str:
        """Choose the first of some entries that the menu has; return it. Menus drawn once more are passed over."""
        for _ in range(_DRAWINGS):
            menu = self._shown()
            for label in labels:
                if menu.find(label) is not None:
                    self.connection.send(f"{menu.find(label)}\r")
                    return label
        raise FailedRequestException(f"no menu has the entry {labels[0]!r}")

    def _shown(self) -> Menu:
        """Read up to the next prompt; return the menu before it."""
        text = ""
        while self.connection.expect([_PROMPT, _PAUSE]) == 1:
            text += str(self.connection.before)
            self.connection.send("\r")
        return Menu(text + str(self.connection.before))
