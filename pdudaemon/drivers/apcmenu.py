# SPDX-License-Identifier: MIT
"""APC MasterSwitch and Switched Rack PDU with the menus of AOS 1 to 3, over telnet.

Which entries lead to an outlet depends on the firmware and on the kind of account more than on the model, so the way is
found by what the menus say. The entry after the last outlet stands for all outlets; it is never chosen to switch.

Source: the vendor's user's guides; the dialogues that fence-agents and powerman are known to hold.
Tested: against a fake.
Quirks: one session at a time, kept for about three minutes when a client goes without logging out, so we always do.
    Newer firmware has a command line in place of the menus, for the driver ``apc8959``; we say so, and log out. The
    names of the AP9606 and AP9218 are taken in any case, the others as they stand here. Early firmware of the AP9210
    shows the states only on the page for all outlets. The list has the names as well; what outlets draw is not shown.

    "192.0.2.7": {"driver": "apc7952", "username": "apc", "password": "apc", "telnetport": 23}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pdudaemon.drivers.apcconsole import COMMANDS, MENU_PROMPT, APCConsole, Console
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from pdudaemon.transports.telnet import Menu, Menus

_CONFIRM = r"Enter 'YES' to continue or <ENTER> to cancel"
_PAUSE = rf"Press <ENTER> to continue|{_CONFIRM}"
_DONE = re.compile(r"Command successfully issued|successfully!|^\s*Success\b", re.MULTILINE)

_TO_OUTLETS = (r"Outlet Control/Configuration", r"Outlet Management", r"Device Manager", r"Outlet Manager")
_TO_ACTIONS = (r"Control (of )?Outlet", r"Outlet Control/Configuration")
_TO_STATES = (*_TO_ACTIONS, r".*\bControl\b")
_ACTIONS = {"on": r"(Immediate|Turn Outlet) On\b", "off": r"(Immediate|Turn Outlet) Off\b"}

_STATE = re.compile(r"(?:(.*)\s)?(ON|OFF)\s*[^\w\s]*")  # the name may be empty; a mark behind: something is pending
_FIRMWARE = re.compile(r"\b(?:APP|AOS)\s+v([0-9]\S*)")
_STATE_OF_ALL = re.compile(r"\b(\d{1,2}):\s*(ON|OFF)\b")


class APCMenu(APCConsole):
    """Walks the menus; the state stands in the list of outlets."""

    models = {
        "apc7900": Console(8),
        "apc7920": Console(8),
        "apc7921": Console(8),
        "apc7932": Console(24),
        "apc7952": Console(24),
        "apc9210": Console(8),
        "apc9218": Console(8, any_case=True),
        "apc9606": Console(8, any_case=True),
        "ap9218": Console(8, any_case=True),
        "ap9606": Console(8, any_case=True),
    }

    def port_interaction(self, command: str, port_number: Any) -> None:
        outlet = self.outlet(port_number)
        step = f"switching outlet {outlet} {command}"
        with self._at_outlets() as menus:
            self._state(menus, outlet)
            menus.choose(outlet, step)
            action = menus.walk(step, _TO_ACTIONS, lambda menu: menu.find(_ACTIONS[command]))
            assert action is not None
            menus.choose(action, step, question=_CONFIRM)
            menus.say("YES", step)
            said = menus.console.expect(step, {"pause": _PAUSE, "menu": MENU_PROMPT}).before
            if not _DONE.search(said):
                words = " ".join((said.partition("YES")[2] or said).split())[:80]
                raise PermanentError(f"{menus.console.peer} refused at {step}: {words!r}")

    def port_status(self, port_number: Any) -> State:
        outlet = self.outlet(port_number)
        with self._at_outlets() as menus:
            state = self._state(menus, outlet)
            return self._states_of_all(menus).get(outlet, State.UNKNOWN) if state is None else state

    def read_outlets(self) -> list[OutletReading]:
        with self._at_outlets() as menus:
            labels = {outlet: menus.menu.entries.get(outlet, "") for outlet in range(1, self.row.outlets + 1)}
            if not _shows_states(menus.menu):
                states = self._states_of_all(menus)
                return [
                    OutletReading(str(outlet), label(text), states.get(outlet, State.UNKNOWN))
                    for outlet, text in labels.items()
                ]
        return [
            OutletReading(str(outlet), label(shown[1]), State(shown[2].lower()))
            for outlet, text in labels.items()
            if (shown := _STATE.fullmatch(text))
        ]

    def identify(self) -> Identity:
        with self._at_main_menu() as (_, shown):
            versions = _FIRMWARE.findall(shown)
        return Identity("APC", firmware=versions[-1] if versions else "")  # of the application, after the system

    @contextmanager
    def _at_main_menu(self) -> Iterator[tuple[Menus, str]]:
        """Log in; yield the menus and what was shown before the prompt."""
        with self.connected() as console:
            menus = Menus(console, prompt=MENU_PROMPT, pause=_PAUSE, up="\x1b", leave="Logout")
            with self.logged_in(console, MENU_PROMPT, COMMANDS, menus.log_out) as shown:
                menus.shown(shown)
                yield menus, shown

    @contextmanager
    def _at_outlets(self) -> Iterator[Menus]:
        with self._at_main_menu() as (menus, _):
            menus.walk("the way to the outlets", _TO_OUTLETS, self._lists_outlets)
            yield menus

    def _states_of_all(self, menus: Menus) -> dict[int, State]:
        """Go from the list to the page for all outlets, and read the states there."""
        step = "the page for all outlets"
        menus.choose(self.row.outlets + 1, step)
        found = menus.walk(step, _TO_STATES, lambda menu: _STATE_OF_ALL.findall(menu.text))
        return {int(outlet): State(state.lower()) for outlet, state in found}

    def _lists_outlets(self, menu: Menu) -> bool:
        return _shows_states(menu) or list(menu.entries) == list(range(1, self.row.outlets + 2))

    def _state(self, menus: Menus, outlet: int) -> State | None:
        """Return the state that the list shows, None if it shows none at all.

        Raises: PermanentError if this account, or this device, has no such outlet: another entry is not an outlet.
        """
        label = menus.menu.entries.get(outlet, "")
        shown = _STATE.fullmatch(label) if _shows_states(menus.menu) else None
        if shown:
            return State(shown[2].lower())
        if _shows_states(menus.menu) or not label:
            shown_as = label[:40] or "not listed"
            raise PermanentError(f"entry {outlet} of {menus.console.peer} is not an outlet: {shown_as}")
        return None


def _shows_states(menu: Menu) -> bool:
    """Whether most entries end in a state; a single one may be named so."""
    states = [label for label in menu.entries.values() if _STATE.fullmatch(label)]
    return bool(states) and 2 * len(states) >= len(menu.entries)
