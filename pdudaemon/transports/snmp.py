# SPDX-License-Identifier: MIT
"""SNMP v1, v2c and v3: GET and SET of one object by its numeric OID.

The package pysnmp does it, of which `pdudaemon.transports.snmpengine` knows the versions; here its answers become
values and errors of ours. An agent has no connection, hence there is nothing to open or to close.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Any

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmpmessage import (
    AUTH_PROTOCOLS,
    LONGEST_WAIT,
    PRIV_PROTOCOLS,
    Answer,
    Community,
    Question,
    Syntax,
    User,
)

__all__ = ["AUTH_PROTOCOLS", "LONGEST_WAIT", "OID", "PRIV_PROTOCOLS", "Agent", "Community", "Syntax", "User"]

OID = re.compile(r"\.?[0-2](\.[0-9]{1,10}){1,127}")
"""A numeric OID, as it is written in configurations and rows."""

_MAY_PASS = {"genErr", "inconsistentValue", "resourceUnavailable", "commitFailed", "undoFailed"}  # of RFC 3416
_NOT_LET_IN = re.compile(
    "unknownCommunityName|noEncryption|encryptionError|decryptionError|noAuthentication|authenticationError"
    "|authenticationFailure|unsupportedAuthProtocol|unsupportedPrivProtocol|unsupportedSecurityModel"
    "|unsupportedSecurityLevel|unknownSecurityName|unknownUserName|wrongDigest|noSuchView|noAccessEntry|noGroupName"
    "|noSuchContext|notInView"
)  # of RFC 3411 to 3415, as pysnmp spells them


@dataclass(frozen=True)
class Agent:
    """The agent at a UDP port of a host. ``patience`` is how long one question may go unanswered, in seconds."""

    host: str
    port: int
    login: Community | User
    patience: float

    def get(self, oid: str, deadline: Deadline) -> int | str:
        """Return the value of an object; octets as text, one character for a byte.

        Raises: DeviceTimeout if there is no answer, PermanentError if it is no, TransientError if it is no value.
        """
        return self._ask("GET", oid, None, deadline)

    def set(self, oid: str, value: int | str, syntax: Syntax, deadline: Deadline) -> None:
        """Set an object, and check that the agent confirms the very value. Raises: as `get`."""
        confirmed = self._ask("SET", oid, (syntax, value), deadline)
        if confirmed != value:
            raise TransientError(f"{self} answered {confirmed!r} to SET {oid} = {value!r}")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _ask(self, verb: str, oid: str, value: tuple[Syntax, int | str] | None, deadline: Deadline) -> int | str:
        oid = oid.strip(".")
        question = Question(self._address(), self.login, tuple(map(int, oid.split("."))), value)
        with deadline.suspended():
            from pdudaemon.transports import (
                snmpengine,  # brings asyncio, which a daemon without SNMP does without
            )

            engines = snmpengine.engines()
            engines.prepare(question)
        wait = min(self.patience, deadline.remaining())
        answer = engines.ask(question, wait)
        if answer is None:
            raise DeviceTimeout(f"no answer from {self} to {verb} {oid} within {wait:.3g} s{self._likely()}")
        if answer.trouble.startswith("encryptionError"):
            raise PermanentError(f"SNMPv3 privacy needs the package {engines.ciphers} (extra snmp-privacy)")
        return self._value(answer, question, f"{verb} {oid}")

    def _value(self, answer: Answer, question: Question, step: str) -> int | str:
        if answer.trouble:
            refused = _NOT_LET_IN.match(answer.trouble)
            raise (PermanentError if refused else TransientError)(f"{self} at {step}: {answer.trouble}")
        if answer.refusal:
            passing = answer.refusal in _MAY_PASS or not answer.refusal.isalpha()  # a number is no status of SNMP's
            raise (TransientError if passing else PermanentError)(f"{self} refused {step}: {answer.refusal}")
        if answer.arcs != question.arcs or answer.value is None:
            raise TransientError(f"{self} gave no value at {step}")
        return answer.value

    def _likely(self) -> str:
        if isinstance(self.login, Community):
            return " (a wrong community is not answered either)"
        return " (a wrong privacy passphrase is not answered either)" if self.login.encrypted else ""

    def _address(self) -> tuple[Any, ...]:
        """Return the address of the host, IPv4 if it has one."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a host name"
            raise TransientError(f"cannot resolve {self.host!r}: {why}") from None
        return min(found, key=lambda one: one[0] is not socket.AF_INET)[4]
