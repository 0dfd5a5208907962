# SPDX-License-Identifier: MIT
"""Machines that are switched by shell scripts: BMCs, clouds, hypervisors; the nodes of an OpenFlight Power topology.

Each such PDU is one machine with one port, ``1``. A script's exit status is what counts: 0 is done;
``status_transient_exit_code`` is a no that may pass (busy, on its way), so the script is run again as often as
``retries`` allows; anything else is a no for good. ``status`` says off by ``status_off_exit_code``. What a failed
script wrote to standard error is told to who asked, and is not logged. ``read`` prints what the machine draws, a line
``NAME=NUMBER`` for each of ``watts``, ``volts``, ``amps`` and ``watt_hours`` that it knows, and nothing else.

The scripts run in ``/bin/sh`` with each of ``values`` in the environment, which makes it a variable of the shell as
well. None of them is ever part of a script's text or of a command line.

Source: OpenFlight Power's power-server: its configuration and behaviour.
Tested: with real shells; shipped platforms against ipmi_sim, moto, a Redfish emulator and libvirt's test driver.
Quirks: one try (``retries`` 1) within 50 s (``timeout``), unless set; a ``status`` has all its tries within one
``timeout``. A ``restart`` that had begun is not done again after a crash of the daemon. Without a ``restart`` script a
reboot is off, delay, on.

    "gateway": {
        "driver": "platform",
        "power_on": "virsh start \\"$domain\\"",
        "power_off": "virsh destroy \\"$domain\\"",
        "status": "case $(virsh domstate \\"$domain\\") in running) exit 0;; 'shut off') exit 111;; *) exit 1;; esac",
        "values": {"domain": "gw1"}
    }
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping
from typing import Any

from pdudaemon.drivers.driver import PDUDriver, PDUOptions, hook
from pdudaemon.drivers.readings import OutletReading, quantity
from pdudaemon.errors import DeviceError, DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, integer, secret_values, text, texts, without
from pdudaemon.transports import command

log = logging.getLogger("pdud.platform")

PORT = "1"
"""The one port that a machine has."""

_QUANTITIES = ("watts", "volts", "amps", "watt_hours")
_TOLD = ", ".join(f"`{name}`" for name in _QUANTITIES)
_SCRIPTS = ("power_on", "power_off", "power_soft", "restart", "status", "read")
_LONGEST_COMPLAINT = 500
_NEXT_LOOK = 1.0  # seconds until a status that could not be told is asked for again


class Platform(PDUDriver):
    """A machine behind four scripts."""

    models = {"platform": None}
    defaults = {"retries": 1, "timeout": 50.0, "refresh": 300.0}  # each reading is a process, or several

    platform = Setting(text, "", "name of the kind of machine, for people and for `parallel`")
    power_on = Setting(text, "", "shell script that switches the machine on")
    power_off = Setting(text, "", "shell script that switches it off")
    power_soft = Setting(text, "", "shell script that asks it to shut down, and does not wait until it has")
    restart = Setting(text, "", "shell script that restarts it")
    status = Setting(text, "", "shell script that ends with 0 if it is on, with `status_off_exit_code` if it is off")
    read = Setting(
        text, "", "shell script that prints what the machine draws: lines such as `watts=87.5` (" + _TOLD + ")"
    )
    status_off_exit_code = Setting(integer(1, 255), 111, "exit status by which `status` says off")
    status_transient_exit_code = Setting(integer(1, 255), 75, "exit status by which any script says to try again")
    values = Setting(texts, {}, "variables of the scripts")
    folder = Setting(text, "", "working directory of the scripts")
    parallel = Setting(integer(1, 10000), 50, "how many machines of one `platform` may act at a time")

    @hook
    def canonical_port(self, port: str) -> str:
        if super().canonical_port(port) != PORT:
            raise ValueError(f"{port!r} is not a port: a machine has one, {PORT}")
        return PORT

    @hook
    def faults(self) -> dict[str, str]:
        off, transient = "status_off_exit_code", "status_transient_exit_code"
        code = self.status_transient_exit_code
        same = code == self.status_off_exit_code and bool(self.settings.get(off) and self.settings.get(transient))
        return {transient: f"{code} is the {off} as well"} if same else {}

    @hook
    def reads_state(self) -> bool:
        return bool(self.status)

    @hook
    def reads_outlets(self) -> bool:
        return bool(self.status or self.read)

    @hook
    def lacks(self) -> str:
        if self.folder and not os.path.isdir(self.folder):
            return f"there is no folder {self.folder!r}"
        scripts = {name: getattr(self, name) for name in _SCRIPTS}
        return command.unknown_to_shell(scripts, folder=self.folder or None, environment=self.values)

    @hook
    def restarts(self) -> bool:
        return bool(self.restart)

    @hook
    def shuts_down(self) -> bool:
        return bool(self.power_soft)

    @hook
    def pool(self) -> tuple[str, int] | None:
        return (self.platform, self.parallel) if self.platform else None

    def __init__(self, hostname: str, settings: Mapping[str, Any]) -> None:
        super().__init__(hostname, settings)
        self._secrets = secret_values(type(self), settings)
        self._options = PDUOptions({**self.defaults, **settings})

    def port_interaction(self, command: str, port_number: int) -> None:
        self._do(f"power_{command}")

    def port_reboot(self, port_number: int) -> None:
        self._do("restart")
        if self._options.verify:
            self.confirm(port_number, State.ON)

    def port_shutdown(self, port_number: int) -> None:
        self._do("power_soft")

    def port_status(self, port_number: int) -> State:
        """A question is asked once, so what may pass is waited for here."""
        for _ in range(1, self._options.retries):
            try:
                return self._state()
            except DeviceTimeout:
                raise
            except TransientError as error:
                if self.deadline.remaining() <= self._options.retrydelay:
                    raise
                log.info("%s: %s, asked again in %g s", self.hostname, error, self._options.retrydelay)
                self.deadline.pause(self._options.retrydelay)
        return self._state()

    def read_outlets(self) -> list[OutletReading]:
        if not (self.status or self.read):
            raise PermanentError("there is neither a status nor a read script")
        drawn = self._drawn(self._do("read").text) if self.read else {}
        return [OutletReading(PORT, None, self.port_status(1) if self.status else None, **drawn)]

    @staticmethod
    def _drawn(said: str) -> dict[str, float | None]:
        """Return what a ``read`` script told. Raises: PermanentError if that is something else."""
        found: dict[str, float | None] = {}
        for line in filter(None, map(str.strip, said.splitlines())):
            name, _, value = line.partition("=")
            if name not in _QUANTITIES or name in found:
                raise PermanentError(
                    f"read printed {line[:60]!r}, not one line NAME=NUMBER for each of some of {_TOLD}"
                )
            if (number := quantity(value)) is None:
                raise PermanentError(f"read printed {line[:60]!r}, which is not a number")
            found[name] = number
        if not found:
            raise PermanentError(f"read printed nothing of {_TOLD}")
        return found

    def _state(self) -> State:
        return State.ON if self._do("status", self.status_off_exit_code).status == 0 else State.OFF

    def confirm(self, port_number: Any, wanted: State, within: float = math.inf) -> None:
        """A machine on its way may be in no state that its script can tell: that is no reason not to look again."""
        limit = self.deadline.within(within)
        while True:
            try:
                super().confirm(port_number, wanted, limit.remaining())
                return
            except DeviceTimeout:
                raise
            except DeviceError as error:
                if limit.when - time.monotonic() <= _NEXT_LOOK:
                    raise TransientError(str(error), private=error.private) from None
            limit.pause(_NEXT_LOOK)

    def _do(self, name: str, also: int = 0) -> command.Output:
        """Run a script that ends with 0, or ``also``."""
        script = getattr(self, name)
        if not script:
            raise PermanentError(f"there is no {name} for platform {self.platform or 'of this PDU'}")
        self.deadline.remaining()  # raises if there is none: nothing is begun then
        folder = self.folder or None
        with command.started(script, hold=self.lock_fd, environment=self.values, folder=folder, apart=True) as program:
            try:
                ended = program.finish(self.deadline)
            except DeviceTimeout as late:
                late.private = self._in_a_line(program.complaints)
                raise
        said = [without(self._secrets, each) for each in (ended.text, ended.complaints)]
        log.debug("%s: %s ended with %d, said %r and complained %r", self.hostname, name, ended.status, *said)
        if ended.status in (0, also):
            return ended
        how = f"was killed by signal {-ended.status}" if ended.status < 0 else f"ended with exit status {ended.status}"
        kind = TransientError if ended.status == self.status_transient_exit_code else PermanentError
        raise kind(f"{name} {how}", private=self._in_a_line(ended.complaints))

    def _in_a_line(self, complaints: str) -> str:
        """Return the end of what a script complained, fit for whoever asked."""
        lines = without(self._secrets, complaints).splitlines()
        return "; ".join(line.strip() for line in lines if line.strip())[-_LONGEST_COMPLAINT:]
