# SPDX-License-Identifier: MIT
"""Sessions with BMCs: IPMI 2.0 over UDP (RMCP+), with one socket for each action, and no program started.

A packet may be lost, so whatever is not answered is sent again, the same request with a new number of the session. What
must not be done twice is sent once. Answers are taken if they are signed, new, and to what was asked.

What is done in a session is a conversation, see `pdudaemon.transports.datagrams`. A BMC has few sessions, and one that
was not closed stays for a minute: so `talk` opens it, lets it be used, and closes it, whatever becomes of it.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports import ipmimessage as wire
from pdudaemon.transports.datagrams import Conversation, Question, Steps, connected
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.ipmimessage import SUITES, Answer, Handshake, Keys
from pdudaemon.transports.tcp import in_words

T = TypeVar("T")

APPLICATION = 0x06
USER, OPERATOR, ADMINISTRATOR = 2, 3, 4

_SETUP_SECONDS = 15.0  # for a BMC to answer at all
_ROUNDS = 3  # in which a session is set up
_REST = 1.0  # seconds between two of them
_ONCE_SECONDS = 10.0
_EXPLAIN_SECONDS = 1.0
_FAREWELL_SECONDS = 2.0
_WINDOW = 32  # how far behind the newest packet an older one may come
_AUTHENTICATION, _SET_PRIVILEGE, _CLOSE = 0x38, 0x3B, 0x3C
_THIS_CHANNEL_2_0, _THIS_CHANNEL_1_5 = 0x8E, 0x0E

_STATUSES = {
    0x01: "it has no room for another session",
    0x02: "the session is not valid",
    0x04: "it does not know the authentication algorithm",
    0x05: "it does not know the integrity algorithm",
    0x08: "the session is not active",
    0x09: "the role is not valid",
    0x0A: "the user may not have this privilege",
    0x0B: "it has no room for another session of this role",
    0x0C: "the length of the user name is not valid",
    0x0D: "there is no such user, or not with this privilege",
    0x0F: "a proof does not match",
    0x10: "it does not know the encryption algorithm",
    0x11: "it does not know the cipher suite",
    0x12: "an illegal parameter",
}
_NO_SUITE = (0x04, 0x05, 0x06, 0x07, 0x10, 0x11)
_LATER = (0x01, 0x02, 0x08, 0x0B, 0x0F)  # what another round may bring; a proof is lost if RAKP 1 was answered twice
_CODES = {
    0xC0: "node busy",
    0xC1: "invalid command",
    0xC3: "time-out while it was carried out",
    0xC7: "the length of the request is not valid",
    0xC9: "a parameter is out of range",
    0xCB: "not present",
    0xCC: "a field of the request is not valid",
    0xD3: "the destination is not available",
    0xD4: "the privilege is not sufficient",
    0xD5: "not supported in the present state",
    0xD6: "disabled",
    0xFF: "unspecified error",
}
_NODE_BUSY = 0xC0
_BUSY = (_NODE_BUSY, 0xC3, 0xD3, 0xFF)


class Login(NamedTuple):
    """Who we are, and what for. ``suite`` is a number of `SUITES`, or 0 for the best that the BMC has."""

    username: str
    password: str
    key: bytes = b""
    suite: int = 0
    privilege: int = OPERATOR


class _NoSuite(PermanentError):
    """The BMC does not have the cipher suite."""


def refusal(peer: str, what: str, code: int) -> DeviceError:
    """Return the error that a completion code means."""
    kind = TransientError if code in _BUSY else PermanentError
    return kind(f"{peer} refuses {what}: {_CODES.get(code, 'completion code')} ({code:#04x})")


def talk(host: str, port: int, deadline: Deadline, login: Login, act: Callable[[Session], Steps[T]]) -> Conversation[T]:
    """Return a conversation that opens a session, lets ``act`` use it, and closes it.

    It raises DeviceTimeout, TransientError if another try may do, PermanentError for a refused login; what ``act``
    does. Raises: TransientError.
    """
    session = Session(in_words(host, port), deadline, login)
    return Conversation(session.used(act), connected(host, port, session.peer), session.peer, deadline)


def present(host: str, port: int, deadline: Deadline) -> bool:
    """Whether a BMC that knows IPMI is at an address. Raises: DeviceTimeout, TransientError if nothing is there."""
    peer = in_words(host, port)

    def asked() -> Steps[bool]:
        found: bool = yield Question(lambda: wire.PING, wire.knows_ipmi, "the question whether it is there", deadline)
        return found

    return Conversation(asked(), connected(host, port, peer), peer, deadline).carried_on()


class Session:
    """A session. ``suite`` is the one that was agreed on."""

    def __init__(self, peer: str, deadline: Deadline, login: Login) -> None:
        self.peer = peer
        self.deadline = deadline
        self.suite = login.suite
        self._login = login
        self._secrets = wire.checked(login.username, login.password, login.key)
        self._console = b""
        self._keys: Keys | None = None
        self._sent = 0
        self._newest = 0
        self._seen: set[int] = set()
        self._number = random.randrange(64)

    def used(self, act: Callable[[Session], Steps[T]]) -> Steps[T]:
        """Open the session, let it be used, and close it."""
        yield from self._set_up()
        try:
            found = yield from act(self)
        except BaseException:
            yield from self._close()
            raise
        yield from self._close()
        return found

    def raise_privilege(self) -> Steps[None]:
        """Ask for what the login is for; a session begins with that of a user, who may look and not switch."""
        data = bytes([self._login.privilege])
        answer = yield from self.command(APPLICATION, _SET_PRIVILEGE, data, "the privilege")
        if answer.code in (0x80, 0x81):
            raise LoginRefused(f"login refused by {self.peer}: the user may not have this privilege")
        if answer.code:
            raise refusal(self.peer, "the privilege", answer.code)

    def command(self, function: int, number: int, data: bytes, step: str, *, once: bool = False) -> Steps[Answer]:
        """Send a command and return its answer, whatever its code; a BMC that is busy is asked again.

        ``once``: it is not sent again if it is not answered. Raises then: PermanentError, as it may have been done.
        """
        while True:
            limit = self.deadline.within(_ONCE_SECONDS) if once else self.deadline
            try:
                answer = yield from self._asked(function, number, data, step, limit, once)
            except DeviceTimeout:
                if once:
                    raise PermanentError(f"no answer from {self.peer} at {step}, which may have been done") from None
                raise
            if answer.code != _NODE_BUSY or once:
                return answer
            yield _REST

    def _asked(
        self, function: int, number: int, data: bytes, step: str, limit: Deadline, once: bool = False
    ) -> Steps[Answer]:
        assert self._keys is not None
        keys = self._keys
        self._number = (self._number + 1) % 64
        message = wire.command(function, number, data, self._number)

        def packet() -> bytes:
            self._sent = self._sent % 0xFFFFFFFF + 1  # never 0
            return keys.sealed(message, self._sent)

        def understood(received: bytes) -> Answer | None:
            opened = keys.opened(received)
            if opened is None or not self._is_new(opened[0]):
                return None
            return wire.answer(opened[1], function, number, self._number)

        answer: Answer = yield Question(packet, understood, step, limit, once)
        return answer

    def _is_new(self, sequence: int) -> bool:
        """Whether a packet of the BMC is no repetition of an earlier one."""
        if sequence + _WINDOW < self._newest or sequence in self._seen:
            return False
        self._newest = max(self._newest, sequence)
        self._seen = {each for each in self._seen if each + _WINDOW >= self._newest} | {sequence}
        return True

    def _set_up(self) -> Steps[None]:
        for suite in [self._login.suite] if self._login.suite else SUITES:
            try:
                yield from self._set_up_with(suite)
            except _NoSuite:
                if suite in (self._login.suite, [*SUITES][-1]):
                    yield from self._explain()
                    raise
            else:
                self.suite = suite
                return

    def _set_up_with(self, suite: int) -> Steps[None]:
        for left in reversed(range(_ROUNDS)):
            try:
                self._keys = yield from self._handshake(suite)
                return
            except DeviceTimeout:
                yield from self._explain()
                raise
            except TransientError:
                if not left:
                    raise
            yield _REST

    def _handshake(self, number: int) -> Steps[Keys]:
        suite = SUITES[number]
        username, password, key = self._secrets
        limit = self.deadline.within(_SETUP_SECONDS)
        random_bytes = os.urandom(20)
        self._console, console_random = random_bytes[:4], random_bytes[4:]
        request = wire.open_request(suite, 1, self._console)
        opened = yield from self._agree(wire.OPEN_REQUEST, request, 36, "opening a session", limit)
        if not wire.agreed(opened, suite):
            raise _NoSuite(f"{self.peer} does not agree on cipher suite {number}")
        privilege = self._login.privilege
        known = Handshake(
            suite, self._console, opened[8:12], console_random, b"", b"", privilege, username, password, key
        )
        said = yield from self._agree(wire.RAKP1, known.rakp1(2), 40, "the login", limit)
        known.bmc_random, known.guid = said[8:24], said[24:40]
        if said[40:] != known.proof_of_bmc():
            yield from self._say(wire.RAKP3, wire.end_of_login(3, known.bmc))
            raise LoginRefused(f"login refused by {self.peer}: the password does not match")
        said = yield from self._agree(wire.RAKP3, known.rakp3(3), 8, "the login", limit)
        if said[8:] != known.proof_of_end():
            raise TransientError(f"{self.peer} at the login: the last proof does not match; is there a key (kg)?")
        self._sent, self._newest, self._seen = 0, 0, set()
        return known.keys()

    def _agree(self, kind: int, payload: bytes, least: int, step: str, limit: Deadline) -> Steps[bytes]:
        """Send a payload of the set-up and return the answer to it, of so many bytes at least."""
        packet = wire.setup(kind, payload)

        def understood(received: bytes) -> bytes | None:
            said = wire.from_setup(received, kind + 1)  # the kind of the answer to each
            if len(said) < 2 or said[0] != payload[0]:
                return None
            if said[1] == 0 and (len(said) < least or said[4:8] != self._console):
                return None
            return said

        said: bytes = yield Question(lambda: packet, understood, step, limit)
        if status := said[1]:
            raise self._no(status, step)
        return said

    def _say(self, kind: int, payload: bytes) -> Steps[None]:
        """Send a payload that is not answered."""
        with contextlib.suppress(DeviceError):
            yield Question(lambda: wire.setup(kind, payload), lambda _: None, "", Deadline(0), once=True)

    def _no(self, status: int, step: str) -> DeviceError:
        why = f"{_STATUSES.get(status, 'status')} ({status:#04x})"
        if status in _NO_SUITE:
            return _NoSuite(f"{self.peer} refuses the cipher suite: {why}")
        if status in _LATER:
            return TransientError(f"{self.peer} at {step}: {why}")
        return LoginRefused(f"login refused by {self.peer}: {why}")

    def _explain(self) -> Steps[None]:
        """Say why there is no session, if the BMC knows no IPMI 2.0. Raises: PermanentError then."""
        for channel in (_THIS_CHANNEL_2_0, _THIS_CHANNEL_1_5):  # one that knows no 2.0 may refuse the question for it
            try:
                answer = yield from self._authentication(channel)
            except DeviceError:
                return
            if answer.code == 0:
                if not (len(answer.data) > 3 and answer.data[1] & 0x80 and answer.data[3] & 2):
                    raise PermanentError(f"{self.peer} knows IPMI 1.5 alone, whose sessions are not encrypted")
                return

    def _authentication(self, channel: int) -> Steps[Answer]:
        """Ask what the BMC knows, which takes no session."""
        data = bytes([channel, self._login.privilege])
        packet = wire.outside(wire.command(APPLICATION, _AUTHENTICATION, data, 0))

        def understood(received: bytes) -> Answer | None:
            return wire.answer(wire.from_outside(received), APPLICATION, _AUTHENTICATION, 0)

        answer: Answer = yield Question(
            lambda: packet, understood, "the question for IPMI 2.0", Deadline(_EXPLAIN_SECONDS)
        )
        return answer

    def _close(self) -> Steps[None]:
        assert self._keys is not None
        limit = Deadline(_FAREWELL_SECONDS)
        with contextlib.suppress(DeviceError):
            yield from self._asked(APPLICATION, _CLOSE, self._keys.bmc, "closing the session", limit)
