# SPDX-License-Identifier: MIT
"""SNMP v1, v2c and v3: GET and SET of one object by its numeric OID; and many at once: whole columns, or a list.

The package pysnmp does it, of which `pdudaemon.transports.snmpengine` knows the versions; here its answers become
values and errors of ours. An agent has no connection, hence there is nothing to open or to close.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmpmessage import (
    AUTH_PROTOCOLS,
    LONGEST_WAIT,
    PRIV_PROTOCOLS,
    Answer,
    Bound,
    Community,
    Question,
    Syntax,
    User,
    Verb,
)

__all__ = ["AUTH_PROTOCOLS", "LONGEST_WAIT", "OID", "PRIV_PROTOCOLS", "Agent", "Community", "Syntax", "User"]

OID = re.compile(r"\.?[0-2](\.[0-9]{1,10}){1,127}")
"""A numeric OID, as it is written in configurations and rows."""

Index = tuple[int, ...]
"""What follows the OID of a column in that of an object."""

_WIDEST = 10  # objects in one question
_LONGEST = 128  # objects in one answer, some 3 kB; an agent that can send less does so
_MOST_ROWS = 4000  # of a column: more is an agent that goes round in circles
_MAY_PASS = {"genErr", "inconsistentValue", "resourceUnavailable", "commitFailed", "undoFailed"}  # of RFC 3416
_NOT_LET_IN = re.compile(
    "unknownCommunityName|noEncryption|encryptionError|decryptionError|noAuthentication|authenticationError"
    "|authenticationFailure|unsupportedAuthProtocol|unsupportedPrivProtocol|unsupportedSecurityModel"
    "|unsupportedSecurityLevel|unknownSecurityName|unknownUserName|wrongDigest|noSuchView|noAccessEntry|noGroupName"
    "|noSuchContext|notInView"
)  # of RFC 3411 to 3415, as pysnmp spells them


@dataclass(frozen=True)
class Agent:
    """The agent at a UDP port of a host. ``patience`` is how long one question may go unanswered, in seconds.

    ``lengths`` is for whoever reads the same columns again: how long they were, so that no more is asked for.
    """

    host: str
    port: int
    login: Community | User
    patience: float
    lengths: dict[tuple[Index, ...], int] = field(default_factory=dict, compare=False, repr=False)

    def get(self, oid: str, deadline: Deadline) -> int | str:
        """Return the value of an object; octets as text, one character for a byte.

        Raises: DeviceTimeout if there is no answer, PermanentError if it is no, TransientError if it is no value.
        """
        return self._one(self._ask(Verb.GET, [_arcs(oid)], deadline), Verb.GET, oid)

    def set(self, oid: str, value: int | str, syntax: Syntax, deadline: Deadline) -> None:
        """Set an object, and check that the agent confirms the very value. Raises: as `get`."""
        confirmed = self._one(self._ask(Verb.SET, [_arcs(oid)], deadline, (syntax, value)), Verb.SET, oid)
        if confirmed != value:
            raise TransientError(f"{self} answered {confirmed!r} to SET {oid} = {value!r}")

    def values(self, oids: Sequence[str], deadline: Deadline) -> list[int | str | None]:
        """Return the values of some objects, None for one that is not there. Raises: as `get`."""
        found: dict[int, int | str | None] = {}
        open_ = [*range(len(oids))]
        while open_:
            asked = open_[:_WIDEST]
            answer = self._ask(Verb.GET, [_arcs(oids[number]) for number in asked], deadline)
            if answer.refusal:
                refused = self._refused(answer, Verb.GET, [oids[number] for number in asked])
                if refused is None:  # nobody knows which of them it is
                    for number in asked:
                        found[number] = self.values([oids[number]], deadline)[0]
                else:
                    asked = [asked[refused]]
                    found[asked[0]] = None
            elif [bound.arcs for bound in answer.bound] != [_arcs(oids[number]) for number in asked]:
                raise TransientError(
                    f"{self} answered with other objects than those of GET {oids[asked[0]]} and others"
                )
            else:
                found.update(zip(asked, (bound.value for bound in answer.bound), strict=True))
            open_ = [number for number in open_ if number not in found]
        return [found[number] for number in range(len(oids))]

    def columns(self, columns: Sequence[str], deadline: Deadline, bulk: bool = True) -> list[dict[Index, int | str]]:
        """Return the objects of each column, which is an OID: by what follows that, in the agent's order.

        Several at once by GETBULK; by GETNEXT in v1, which has no other, and for agents that have it wrong. A column
        that is not there is empty. Raises: as `get`.
        """
        found: list[dict[Index, int | str]] = []
        for start in range(0, len(columns), _WIDEST):
            found += self._walk([_arcs(oid) for oid in columns[start : start + _WIDEST]], deadline, bulk)
        return found

    def _walk(self, columns: list[Index], deadline: Deadline, bulk: bool) -> list[dict[Index, int | str]]:
        found: list[dict[Index, int | str]] = [{} for _ in columns]
        last, open_, most = [*columns], [*range(len(columns))], _LONGEST
        expected = self.lengths.get((*columns,), -1) + 1  # and one beyond, by which we see that it is the end
        verb = Verb.NEXT if not bulk or (isinstance(self.login, Community) and self.login.version == "1") else Verb.BULK
        while open_:
            asked = [*open_]
            times = max(1, most // len(asked))
            left = expected - max(len(found[number]) for number in asked)
            if left > 0:
                times = min(times, left)
            answer = self._ask(verb, [last[number] for number in asked], deadline, times=times)
            if answer.refusal:
                if answer.refusal == "tooBig" and verb is Verb.BULK and most > len(asked):
                    most //= 2
                    continue
                refused = self._refused(answer, verb, [_dotted(columns[number]) for number in asked])
                if refused is None:
                    for number in asked:
                        rest = self._walk([columns[number]], deadline, bulk)
                        found[number] = rest[0]
                    return found
                open_.remove(asked[refused])
            elif not answer.bound:
                raise TransientError(f"{self} answered {verb} {_dotted(columns[asked[0]])} with nothing")
            for place, bound in enumerate(answer.bound):
                number = asked[place % len(asked)]
                if number not in open_:
                    continue
                arcs, column = bound.arcs, columns[number]
                if bound.missing or arcs[: len(column)] != column:
                    open_.remove(number)
                    continue
                if arcs <= last[number] or len(found[number]) >= _MOST_ROWS:
                    raise TransientError(f"{self} goes round in circles at {verb} {_dotted(last[number])}")
                last[number] = arcs
                if bound.value is not None:
                    found[number][arcs[len(column) :]] = bound.value
        self.lengths[(*columns,)] = max(map(len, found))
        return found

    def _refused(self, answer: Answer, verb: Verb, oids: list[str]) -> int | None:
        """Return the place of the one object that is not there, as v1 says it; None if the agent does not say which.

        Raises: as `get`, if it is no for all of them.
        """
        if answer.refusal == "noSuchName" and (0 < answer.place <= len(oids) or len(oids) == 1):
            return 0 if len(oids) == 1 else answer.place - 1
        if answer.refusal in ("noSuchName", "tooBig", "genErr") and len(oids) > 1:
            return None
        raise self._refusal(answer.refusal, f"{verb} {oids[0]}")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _ask(
        self,
        verb: Verb,
        objects: Sequence[Index],
        deadline: Deadline,
        value: tuple[Syntax, int | str] | None = None,
        times: int = 0,
    ) -> Answer:
        """Return the answer to a question. Raises: DeviceTimeout if there is none, or an error by its trouble."""
        question = Question(self._address(), self.login, verb, tuple(objects), value, times)
        with deadline.suspended():
            from pdudaemon.transports import (
                snmpengine,  # brings asyncio, which a daemon without SNMP does without
            )

            engines = snmpengine.engines()
            engines.prepare(question)
        wait, told = min((self.patience, self.patience), (deadline.remaining(), deadline.seconds))
        answer, step = engines.ask(question, wait), f"{verb} {_dotted(objects[0])}"
        if answer is None:
            raise DeviceTimeout(f"no answer from {self} to {step} within {told:g} s{self._likely()}")
        if answer.trouble.startswith("encryptionError"):
            raise PermanentError(f"SNMPv3 privacy needs the package {engines.ciphers} (extra snmp-privacy)")
        if answer.trouble:
            refused = _NOT_LET_IN.match(answer.trouble)
            raise (LoginRefused if refused else TransientError)(f"{self} at {step}: {answer.trouble}")
        return answer

    def _one(self, answer: Answer, verb: Verb, oid: str) -> int | str:
        """Return the value of the one object that was asked for. Raises: as `get`."""
        arcs = _arcs(oid)
        step = f"{verb} {_dotted(arcs)}"
        if answer.refusal:
            raise self._refusal(answer.refusal, step)
        bound = answer.bound[0] if len(answer.bound) == 1 else Bound((), None)
        if bound.missing:
            raise self._refusal(bound.missing, step)
        if bound.arcs != arcs or bound.value is None:
            raise TransientError(f"{self} gave no value at {step}")
        return bound.value

    def _refusal(self, word: str, step: str) -> DeviceError:
        passing = word in _MAY_PASS or not word.isalpha()  # a number is no status of SNMP's
        kind = TransientError if passing else LoginRefused if word == "authorizationError" else PermanentError
        return kind(f"{self} refused {step}: {word}")

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


def _arcs(oid: str) -> Index:
    return tuple(map(int, oid.strip(".").split(".")))


def _dotted(arcs: Index) -> str:
    return ".".join(map(str, arcs))
