# SPDX-License-Identifier: MIT
"""Any command on the daemon's own host, as a shell text.

``%s`` stands for the port, as it always has (printf style, so a literal percent sign is ``%%``). The port reaches the
shell only as ``[A-Za-z0-9_.:+/-]``: quoting it would not help inside the quotes that configurations already use.

Source: behaviour of the existing PDUDaemon.
Tested: with real shells and commands.
Quirks: a PDU with no ``cmd_on`` is accepted, as it always was; to ask it for ``on`` is an error.

    "board-farm": {
        "driver": "localcmdline",
        "cmd_on": "gpioset gpiochip0 %s=1",
        "cmd_off": "gpioset gpiochip0 %s=0",
        "cmd_status": "test $(gpioget gpiochip0 %s) = 1 && echo on || echo off"
    }
"""

from __future__ import annotations

import re
from typing import Any

from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, text
from pdudaemon.transports import command

_FIELD = re.compile(r"%(?:(%)|([-+#0]*[0-9]*(?:\.[0-9]*)?)([diuoxXrsa]))")
_CANNOT_START = (126, 127)  # what a shell answers for a command that is not executable, or not found


class LocalCmdLine(PDUDriver):
    """Switches by the exit status of a shell command: 0 is done, 126 and 127 are for good, anything else may pass."""

    models = {"localcmdline": None}

    cmd_on = Setting(text, "", "shell command that switches port `%s` on")
    cmd_off = Setting(text, "", "shell command that switches port `%s` off")
    cmd_status = Setting(text, "", "shell command that prints `on` or `off` for port `%s`")

    @hook
    def canonical_port(self, port: str) -> str:
        """A checked port is passed on letter for letter: to a user's command, ``01`` may not be ``1``."""
        super().canonical_port(port)
        return port

    @hook
    def reads_state(self) -> bool:
        return bool(self.cmd_status)

    @hook
    def lacks(self) -> str:
        return command.unknown_to_shell({name: getattr(self, name) for name in ("cmd_on", "cmd_off", "cmd_status")})

    def port_interaction(self, command: str, port_number: Any) -> None:
        self._run(f"cmd_{command}", port_number)

    def port_status(self, port_number: Any) -> State:
        printed = self._run("cmd_status", port_number).strip()
        try:
            return State(printed.lower())
        except ValueError:
            raise TransientError(f"cmd_status printed {printed[:80]!r}, not on or off") from None

    def _run(self, name: str, port: Any) -> str:
        shell_text = getattr(self, name)
        if not shell_text:
            raise PermanentError(f"{name} is not set")
        output = command.run(_filled(shell_text, port), self.deadline, hold=self.lock_fd, apart=name == "cmd_status")
        if output.status == 0:
            return output.text
        how = f"was killed by signal {-output.status}" if output.status < 0 else f"exited with {output.status}"
        said = output._replace(text=output.text + output.complaints).last_line
        why = f": {said}" if said else ""
        raise (PermanentError if output.status in _CANNOT_START else TransientError)(f"{name} {how}{why}")


def _filled(shell_text: str, port: Any) -> str:
    def field(found: re.Match[str]) -> str:
        percent, width, kind = found.groups()
        if percent:
            return "%"
        try:
            return f"%{width}{kind}" % (port if kind in "rsa" else int(port))
        except ValueError:
            raise PermanentError(f"the command wants a number for its port (%{kind}), not {port!r}") from None

    return _FIELD.sub(field, shell_text)
