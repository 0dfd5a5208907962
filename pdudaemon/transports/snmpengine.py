# SPDX-License-Identifier: MIT
"""pysnmp's engines, on one thread for all: a question goes out, the first answer to it comes back in plain values.

For pysnmp 7.1, whose sockets are asyncio's, and for 4.4.12 of Debian 12, whose sockets are asyncore's and are watched
by our loop instead. Which of the two is there is seen from what it has: one package name has carried both. Both are
used below their `hlapi`, by the engine's own API: its names differ, its shape does not, and it never looks for a MIB,
in a folder or on the internet.

An engine takes 70 to 90 ms and a megabyte, and belongs to its loop: hence one that is kept, on a thread that is kept. A
user of SNMPv3 has one to himself: pysnmp knows users by name alone, and two PDUs may have an ``admin`` each. The first
takes a second and more where the machine is busy, which no agent is to answer for: the wait for an answer begins when
the engine is there, and each part of it when a question was sent.

pysnmp is told to send once only: a SET that it repeats by itself, after the deadline, would switch what nobody asks for
any more. We send, four times within the wait, and whichever is answered counts.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.transports.snmpmessage import LONGEST_WAIT, Answer, Bound, Community, Question, User, Verb

log = logging.getLogger("pdud.snmp")

_SHARES = (1 / 6, 1 / 6, 1 / 3, 1 / 3)  # of the wait, after each sending: of 6 s, sent at 0, 1, 2 and 4
_GENERATORS = {
    Verb.GET: "GetCommandGenerator",
    Verb.SET: "SetCommandGenerator",
    Verb.NEXT: "NextCommandGeneratorSingleRun",
    Verb.BULK: "BulkCommandGeneratorSingleRun",
}
_TICK = 1.0  # how often pysnmp looks at timers of its own; none of our waits hangs on them
_MAKING = 30.0  # seconds for which the loop may be busy with making engines, for us and for others


class Engines:
    """The thread with the loop, and the engines on it. Made once, by `engines`."""

    def __init__(self, kind: type[_Engine]) -> None:
        self.ciphers = kind.ciphers
        self._kind = kind
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_dropped)
        self._engines: dict[tuple[User | None, bool], _Engine] = {}
        self._silent: set[tuple[Any, ...]] = set()
        threading.Thread(target=self._loop.run_forever, name="snmp", daemon=True).start()

    def prepare(self, question: Question) -> None:
        """Make the engine that a question needs, unless it is there. Any thread may call. Raises: TransientError."""

        async def made() -> None:
            self._engine(question)

        making = asyncio.run_coroutine_threadsafe(made(), self._loop)
        try:
            making.result(_MAKING)
        except TimeoutError:
            making.cancel()
            raise TransientError(f"no SNMP engine was made within {_MAKING:g} s") from None

    def ask(self, question: Question, wait: float) -> Answer | None:
        """Return the answer, or None if there was none within ``wait`` seconds. Any thread may call."""
        exchange = asyncio.run_coroutine_threadsafe(self._exchange(question, wait), self._loop)
        try:
            return exchange.result(_MAKING + wait)
        except TimeoutError:
            exchange.cancel()
            return None

    async def _exchange(self, question: Question, wait: float) -> Answer | None:
        first: asyncio.Future[Answer] = self._loop.create_future()

        def answered(answer: Answer) -> None:
            if not first.done():
                first.set_result(answer)

        for share in _SHARES:
            self._engine(question).send(question, answered)
            done, _ = await asyncio.wait([first], timeout=wait * share)
            if done:
                return first.result()
        self._doubt(question)
        return None

    def _engine(self, question: Question) -> _Engine:
        key = self._key(question)
        if key not in self._engines:
            self._engines[key] = self._kind(self._loop)
        return self._engines[key]

    def _key(self, question: Question) -> tuple[User | None, bool]:
        user = question.login if isinstance(question.login, User) else None
        return user, user is not None and question.address in self._silent

    def _doubt(self, question: Question) -> None:
        """Let this silent address have a new engine next time.

        An engine remembers the identity of the SNMPv3 agent at an address, and drops what another agent says there, as
        after the exchange of a PDU. Addresses in doubt share an engine, so that the others keep theirs.
        """
        if isinstance(question.login, User):
            self._silent.add(question.address)
            doubted = self._engines.pop(self._key(question), None)
            if doubted is not None:
                doubted.close()


class _Engine:
    """One engine of pysnmp 7.1, and what it has been told of: who is where, and by what login."""

    ciphers: ClassVar[str] = "cryptography"
    names: ClassVar[dict[str, str]] = {
        "community": "add_v1_system",
        "user": "add_v3_user",
        "parameters": "add_target_parameters",
        "address": "add_target_address",
        "transport": "add_transport",
        "send": "send_varbinds",
        "dispatcher": "transport_dispatcher",
        "resolution": "set_timer_resolution",
        "close": "close_dispatcher",
        "domain": "DOMAIN_NAME",
        "carrier": "pysnmp.carrier.asyncio.dgram",
        "socket": "AsyncioTransport",
    }

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.sockets: dict[str, Any] = {}  # by family: the carrier's transport
        self._config: Any = importlib.import_module("pysnmp.entity.config")
        self._generators: Any = importlib.import_module("pysnmp.entity.rfc3413.cmdgen")
        self._values: Any = importlib.import_module("pysnmp.proto.rfc1902")
        self._engine: Any = importlib.import_module("pysnmp.entity.engine").SnmpEngine()
        self._targets: dict[tuple[Any, ...], str] = {}
        self._parameters: dict[Community | User, str] = {}
        self._logins: dict[str, str] = {}

    @property
    def dispatcher(self) -> Any:
        """What has the engine's sockets; None before the first."""
        return getattr(self._engine, self.names["dispatcher"])

    def send(self, question: Question, answered: Callable[[Answer], None]) -> None:
        """Send once; ``answered`` is called for what comes back, however late."""

        def called(_engine: Any, _handle: Any, trouble: Any, status: Any, index: Any, bound: Any, _: Any) -> None:
            if type(trouble).__name__ != "RequestTimedOut":
                answered(_plain(trouble, status, int(index or 0), bound))

        generator: Any = getattr(self._generators, _GENERATORS[question.verb])()
        repeated = (0, question.times) if question.verb is Verb.BULK else ()
        value: Any = None
        if question.value is not None:
            syntax, plain = question.value
            value = getattr(self._values, syntax)(plain.encode("latin-1") if isinstance(plain, str) else plain)
        try:
            target = self._target(question.address, question.login)
            objects = [(arcs, value) for arcs in question.objects]
            getattr(generator, self.names["send"])(self._engine, target, None, b"", *repeated, objects, called, None)
            self.flush()
        except (importlib.import_module("pysnmp.error").PySnmpError, OSError) as error:
            told = error.get("errorIndication") if hasattr(error, "get") else None  # a StatusInformation has one
            answered(_plain(told or error, 0, 0, ()))

    def flush(self) -> None:
        """Put what was sent onto the wire, where the sockets do not do so by themselves."""

    def opened(self, transport: Any) -> Any:
        """Give a transport its socket, one that we made: of what pysnmp makes later a failure would be lost."""
        own = socket.socket(transport.SOCK_FAMILY, socket.SOCK_DGRAM)
        own.setblocking(False)
        return transport.open_server_mode(sock=own)

    def close(self) -> None:
        """Close the sockets; what was asked by them is not answered any more."""
        if self.dispatcher is not None:
            getattr(self.dispatcher, self.names["close"])()

    def _target(self, address: tuple[Any, ...], login: Community | User) -> str:
        name = self._targets.get((address, login))
        if name is None:
            name = f"t{len(self._targets)}"
            parameters = self._told(login)
            domain = self._domain("udp6" if len(address) > 2 else "udp")
            self._tell("address", name, domain, address, parameters, int(LONGEST_WAIT * 100), 0)
            self._targets[address, login] = name
        return name

    def _told(self, login: Community | User) -> str:
        """Return the engine's word for a login: one for all PDUs with it, as each takes it longer than an answer."""
        name = self._parameters.get(login)
        if name is None:
            name = f"p{len(self._parameters)}"
            self._tell("parameters", name, *self._known(login))
            self._parameters[login] = name
        return name

    def _known(self, login: Community | User) -> tuple[str, str, int]:
        """Make a login known; return its name here, its level, and its version as the engine counts them."""
        name = self._logins.get(login.name, f"l{len(self._logins)}")
        if login.name not in self._logins:
            if isinstance(login, Community):
                self._tell("community", name, login.name.encode())
            else:
                auth_key, priv_key = login.auth_key.encode() or None, login.priv_key.encode() or None
                self._tell("user", login.name, login.auth, auth_key, login.priv, priv_key)
            self._logins[login.name] = name  # not before: one that pysnmp does not take is not known
        if isinstance(login, Community):
            return name, "noAuthNoPriv", {"1": 0, "2c": 1}[login.version]
        level = ("auth" if login.signed else "noAuth") + ("Priv" if login.encrypted else "NoPriv")
        return login.name, level, 3

    def _domain(self, family: str) -> Any:
        """Return the engine's word for an address family, with a socket open for it."""
        carrier = importlib.import_module(f"{self.names['carrier']}.{family}")
        domain = getattr(carrier, self.names["domain"])
        if family not in self.sockets:
            transport = getattr(carrier, family.capitalize() + self.names["socket"])()
            self._tell("transport", domain, self.opened(transport))
            getattr(self.dispatcher, self.names["resolution"])(_TICK)
            self.sockets[family] = transport
        return domain

    def _tell(self, what: str, *of: Any) -> None:
        getattr(self._config, self.names[what])(self._engine, *of)


class _Engine4(_Engine):
    """One engine of pysnmp 4.4.12: the same by other names, and its sockets watched by our loop."""

    ciphers = "pycryptodomex"
    names: ClassVar[dict[str, str]] = {
        "community": "addV1System",
        "user": "addV3User",
        "parameters": "addTargetParams",
        "address": "addTargetAddr",
        "transport": "addTransport",
        "send": "sendVarBinds",
        "dispatcher": "transportDispatcher",
        "resolution": "setTimerResolution",
        "close": "closeDispatcher",
        "domain": "domainName",
        "carrier": "pysnmp.carrier.asyncore.dgram",
        "socket": "SocketTransport",
    }

    def opened(self, transport: Any) -> Any:
        self.loop.add_reader(transport.socket.fileno(), self._read, transport)
        if not self.sockets:
            self.loop.call_later(_TICK, self._tick)
        return transport.openClientMode()

    def flush(self) -> None:
        for transport in self.sockets.values():
            while transport.writable():
                transport.handle_write()

    def close(self) -> None:
        for transport in self.sockets.values():
            self.loop.remove_reader(transport.socket.fileno())
        self.sockets.clear()
        super().close()

    def _read(self, transport: Any) -> None:
        transport.handle_read()
        self.flush()  # an answer may have led to another question: what time it is there, say

    def _tick(self) -> None:
        if self.sockets:
            self.dispatcher.handleTimerTick(time.time())
            self.loop.call_later(_TICK, self._tick)


def engines() -> Engines:
    """Return the engines of this process. Raises: PermanentError if there is no pysnmp to make them of."""
    with _making:
        return _made()


_making = threading.Lock()


@functools.cache
def _made() -> Engines:
    try:
        config = importlib.import_module("pysnmp.entity.config")
    except ImportError as error:
        raise PermanentError(f"SNMP needs the package pysnmp, which cannot be imported: {error}") from None
    return Engines(_Engine if hasattr(config, _Engine.names["user"]) else _Engine4)


def _plain(trouble: Any, status: Any, index: int, bound: Any) -> Answer:
    """Translate what pysnmp says of an answer."""
    if trouble:
        return Answer(trouble=f"{_word(trouble)} ({trouble})")
    if status:
        return Answer(refusal=status.prettyPrint(), place=index)
    univ: Any = importlib.import_module("pyasn1.type.univ")
    return Answer(tuple(_bound(univ, tuple(name), value) for name, value in bound))


def _bound(univ: Any, arcs: tuple[int, ...], value: Any) -> Bound:
    word = _word(value)
    if word in ("noSuchObject", "noSuchInstance", "endOfMibView"):  # v2c and v3 say so in place of a value
        return Bound(arcs, None, word)
    if isinstance(value, univ.Integer):
        return Bound(arcs, int(value))
    if isinstance(value, univ.OctetString):
        return Bound(arcs, bytes(value).decode("latin-1"))
    return Bound(arcs, None if isinstance(value, univ.Null) else value.prettyPrint())


def _word(thing: Any) -> str:
    """Return SNMP's own word for what pysnmp has a class for."""
    name = type(thing).__name__
    return name[0].lower() + name[1:]


def _dropped(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception on the loop comes of a datagram that is no SNMP; whoever waits for a better one runs out of time."""
    log.debug("dropped a datagram: %r", context.get("exception") or context.get("message"))
