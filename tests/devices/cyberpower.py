# SPDX-License-Identifier: MIT
"""CyberPower PDUs: an SNMP agent whose outlets are SET at one object and read at another, where the state may lag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.snmp import (
    BAD_VALUE,
    COMMUNITY,
    GET,
    INTEGER,
    NO_SUCH_NAME,
    PDU,
    SET,
    Agent,
    number,
)

NAMES = ["cyberpower81001", "cyberpower41001"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY]  # a wrong community is as silence

GENERAL_ERROR = 5
COMMAND = "1.3.6.1.4.1.3808.1.1.3.3.3.1.1.4."
STATE = "1.3.6.1.4.1.3808.1.1.3.3.5.1.1.4."


class Outlets(Agent):
    """Eight outlets by SNMPv1. ``lag``: how many readings after a SET still tell the state of before."""

    command = {f"{COMMAND}{n}": str(n) for n in range(1, 9)}
    state = {f"{STATE}{n}": str(n) for n in range(1, 9)}
    values = {1: "on", 2: "off"}

    def __init__(self, mood: Mood = Mood.WELL, lag: int = 0) -> None:
        super().__init__(mood)
        self.late = 0.03 if mood is Mood.SLOW else 0.0
        self.lag = lag
        self._before: dict[str, list[str]] = {}

    def respond(self, pdu: PDU, version: int) -> PDU:
        if self.mood is Mood.BUSY:
            return pdu.answered(GENERAL_ERROR)
        if pdu.tag == SET:
            port = self.command.get(pdu.name)
            if port is None or self.mood is Mood.REFUSING:
                return pdu.answered(NO_SUCH_NAME)
            kind, content = pdu.value
            if kind != INTEGER or number(content) not in self.values:
                return pdu.answered(BAD_VALUE)
            self._before[port] = [self.outlets[port]] * self.lag
            self.outlets[port] = self.values[number(content)]
            return pdu.answered()
        assert pdu.tag == GET
        if pdu.name not in self.state:
            return pdu.answered(NO_SUCH_NAME)
        port = self.state[pdu.name]
        before = self._before.get(port)
        told = before.pop() if before else self.outlets[port]
        value = next(value for value, state in self.values.items() if state == told)
        return pdu.answered(0, (INTEGER, bytes([value])))


@contextmanager
def running(agent: Outlets, name: str) -> Iterator[Case]:
    """Run an agent and say how it is reached."""
    with agent:
        settings: dict[str, Any] = {"driver": name, "snmpport": agent.port, "community": COMMUNITY, "snmptimeout": 1.0}
        yield Case(agent, "127.0.0.1", settings, [*agent.outlets], ["0", "9", "-1", "x", "1.2", "1;2"], [COMMUNITY])


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run an agent."""
    with running(Outlets(mood), name) as made:
        yield made
