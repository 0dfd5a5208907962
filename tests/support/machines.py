# SPDX-License-Identifier: MIT
"""`Machines`: a rack of PDUs behind which there are machines that can be asked to shut down."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from pdudaemon.config.model import Config
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.errors import PDUDaemonError, PermanentError, TransientError
from pdudaemon.power import Action, Request, State, Submission
from tests.support.process import eventually
from tests.support.rack import Rack

LONG = 3000.0  # seconds that no test waits


class Machines(Rack):
    """``seen`` has also ``s``, asked to shut down, and ``x``, which the machine did: those in ``heeding`` do.

    ``owed`` is what was on record to be switched on when each machine was asked; those in ``blind`` do not tell their
    state.
    """

    def __init__(self, folder: Path, *names: str, **daemon: Any) -> None:
        self.heeding: set[str] = set()
        self.blind: set[str] = set()
        self.owed: dict[str, list[Any]] = {}
        self.looks: Counter[str] = Counter()
        super().__init__(folder, {name: {"retrydelay": 0.1} for name in names}, **daemon)
        self.seen.update(dict.fromkeys(names, "o"))

    def ask(self, action: str, *names: str, soft: float | None = LONG, hard: bool = True, key: str = "") -> Request:
        """Have a request accepted. Raises: why it was not."""
        wanted = Submission(Action(action), self.target(*names), 0.0, "", soft=soft, hard=hard, key=key)
        (request,) = self.dispatcher.submit([wanted])
        if isinstance(request, PDUDaemonError):
            raise request
        return request

    def asked(self, name: str, looks: int = 1) -> None:
        """Wait until a machine has been asked, which is on record, and looked at so often."""

        def waits() -> bool:
            told = [event for event in self.dispatcher.events.since(0)[0] if event.kind == "waiting"]
            return any(outlet.pdu == name for event in told for outlet in event.outlets)

        eventually(lambda: waits() and self.looks[name] >= looks)

    def config(self) -> Config:
        found = super().config()
        able = {name: replace(pdu, traits=replace(pdu.traits, shuts_down=True)) for name, pdu in found.pdus.items()}
        return replace(found, pdus=able)

    def _driver(rack) -> type[PDUDriver]:
        class Machine(super()._driver()):  # type: ignore[misc]
            def port_shutdown(self, port_number: Any) -> None:
                name = self.hostname
                if (name, "shutdown") in rack.refusing:
                    raise PermanentError("it does not know how")
                if (name, "hear") in rack.refusing:
                    raise TransientError("no answer")
                live = rack.dispatcher._store.rows(1)
                rack.owed[name] = [row["debts"] for row in live]
                rack.seen[name] += "s"

            def port_status(self, port_number: Any) -> State:
                name = self.hostname
                rack.looks[name] += 1
                if name in rack.blind:
                    raise TransientError("no answer")
                if name in rack.heeding and rack.seen[name][-1] == "s":
                    rack.seen[name] += "x"
                return State.OFF if rack.seen[name][-1] in "fx" else State.ON

        return Machine


def record(machines: Machines, request: Request) -> dict[str, Any]:
    return machines.dispatcher.record(request.id)


def cancelled(machines: Machines, request: Request) -> bool:
    """Whether a request could be cancelled, as it was not just looking."""
    try:
        machines.dispatcher.cancel(request.id)
    except PDUDaemonError:
        return False
    return True
