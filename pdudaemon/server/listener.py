# SPDX-License-Identifier: MIT
"""What both listeners share: from words on the wire to a request, and the limits on clients.

Each connection has a thread. The accept loop does nothing that a client could hold up: even telling the protocols
apart on a port that serves both is done in the connection's own thread.
"""

from __future__ import annotations

import errno
import logging
import queue
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from pdudaemon.config.model import LONGEST_WAIT, Config, ListenerOptions
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.errors import ConfigError, PDUDaemonError, RequestError, Unavailable
from pdudaemon.power import Action, Request, Target
from pdudaemon.server.access import Access
from pdudaemon.server.intake import Intake
from pdudaemon.settings import near, parse_seconds

log = logging.getLogger("pdud.listener")

REBOOT_DELAY = 5.0
WORDS = ("hostname", "port", "alias", "delay", "wait")
ACTIONS = {**{action.value: action for action in Action}, "get-status": Action.STATUS, "restart": Action.REBOOT}
"""The words for an action, whichever way they come in."""

LONG = 86400.0
FRAGMENT_PATIENCE = 2.0  # seconds to wait for the rest of what may be the beginning of something
_DIGITS = re.compile(r"\d+(?:_\d+)*")
_HTTP = re.compile(rb"[A-Z]{1,20} (?:[/*]|(?i:https?://))")
_HTTP_BEGINNING = re.compile(rb"[A-Z]{0,20}(?: (?:h?t?t?p?s?|https?:/?))?")


@dataclass(frozen=True)
class Order:
    """What a client asks for, checked. ``delay`` in seconds; ``wait`` None if the client did not say.

    ``postponed`` is the delay if the client itself asked for it, 0 if not: nobody is told that this takes too long.
    """

    action: Action
    target: Target
    delay: float
    wait: float | None
    postponed: float = 0.0


def order(config: Config, action: str, words: Mapping[str, str], *, numbers: bool = False) -> Order:
    """Return the order for an action and the words that go with it: of `WORDS`, others are of no concern.

    A blank word is as good as none. ``numbers``: a port of digits, as ``int`` takes them, is a number, as drivers
    written for the existing daemon get it from the text protocol.

    Raises: RequestError, naming the word that is wrong.
    """
    wanted = ACTIONS.get(action)
    if wanted is None:
        raise RequestError(f"{action!r} is none of {', '.join(Action)}{near(action, ACTIONS)}")
    delay = duration(words, "delay", config.daemon.max_delay)
    wait = duration(words, "wait", LONGEST_WAIT)
    usual = REBOOT_DELAY if wanted is Action.REBOOT else 0.0
    return Order(wanted, _target(config, words, numbers), usual if delay is None else delay, wait, delay or 0.0)


def carry_out(dispatcher: Dispatcher, asked: Order, client: str) -> tuple[Request, PDUDaemonError | None]:
    """Have an order accepted, and wait as long as is to be waited for its result.

    Return the request, and what there is to tell instead of success: why it failed, or that it goes on. None: it is
    done, or accepted if 0 seconds were to be waited. Raises: RequestError, StoreError: it was not accepted.
    """
    wait = dispatcher.config.daemon.wait if asked.wait is None else asked.wait
    with dispatcher.seat() as seat:
        if wait:
            seat.take({outlet.pdu for outlet in asked.target.outlets})
        request = dispatcher.submit(asked.action, asked.target, asked.delay, client)
        if wait:
            try:
                dispatcher.wait(request, wait + asked.postponed)
            except PDUDaemonError as trouble:
                return request, trouble
    return request, None


def _target(config: Config, words: Mapping[str, str], numbers: bool) -> Target:
    given = {word for word in ("hostname", "port", "alias") if words.get(word, "").strip()}
    if "alias" in given:
        if len(given) > 1:
            raise RequestError("give either alias, or hostname and port")
        return config.node(words["alias"])
    for word in ("hostname", "port"):
        if word not in given:
            raise RequestError(f"{word} is missing")
    port = words["port"]
    return config.target(words["hostname"], int(port) if numbers and _DIGITS.fullmatch(port) else port)


def duration(words: Mapping[str, str], word: str, most: float) -> float | None:
    """Return the seconds that a word gives, None if it is not there, or blank. Raises: RequestError."""
    if not words.get(word, "").strip():
        return None
    try:
        return parse_seconds(words[word], most)
    except ValueError as error:
        raise RequestError(f"{word}: {error}") from None


Speak = Callable[["Listener", socket.socket, Intake, str], None]
"""What serves one connection in one protocol: (listener, connection, intake, client)."""


class Crowd:
    """The clients of all listeners: how many connections there are, against one bound, and how many await an answer."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._connections = 0
        self._answering = 0
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Count a connection in; return whether there was room."""
        with self._changed:
            if self._connections >= self.most:
                return False
            self._connections += 1
            return True

    def leave(self) -> None:
        """Count a connection out."""
        with self._changed:
            self._connections -= 1

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count an answer that is being made and sent."""
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                if not self._answering:
                    self._changed.notify_all()

    def wait_until_answered(self, seconds: float) -> None:
        """Give answers that are on their way some time to get out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._answering, seconds)


class Hands:
    """Threads that serve connections: one for each, kept for the next one, since starting one takes longer than most
    requests. One that has had nothing to do for a while ends.
    """

    PATIENCE = 60.0

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._free = 0
        self._lock = threading.Lock()

    def give(self, work: Callable[[], None]) -> None:
        """Have something done at once. Raises: RuntimeError if there is no thread to be had."""
        with self._lock:
            if self._free:
                self._free -= 1
                self._work.put(work)
                return
        threading.Thread(target=self._serve, args=(work,), name="connection", daemon=True).start()

    def _serve(self, work: Callable[[], None]) -> None:
        while True:
            work()
            with self._lock:
                self._free += 1
            try:
                work = self._work.get(timeout=self.PATIENCE)
            except queue.Empty:
                with self._lock:
                    if self._free:  # else work for us is on its way
                        self._free -= 1
                        return
                work = self._work.get()


class Listener(socketserver.TCPServer):
    """One listening socket; ``speak`` maps ``tcp`` and ``http`` to what serves a connection."""

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(
        self,
        options: ListenerOptions,
        dispatcher: Dispatcher,
        access: Access,
        crowd: Crowd,
        hands: Hands,
        speak: Mapping[str, Speak],
    ) -> None:
        """Bind and listen; requests are answered once `serve_forever` runs. Raises: ConfigError."""
        self.dispatcher = dispatcher
        self.options = options  # it and access may be replaced while connections are served
        self.access = access
        self.crowd = crowd
        self._hands = hands
        self._speak = speak
        self._after_a_while = threading.Event()
        where = f"{options.hostname or '*'} port {options.port}"
        try:
            found = socket.getaddrinfo(options.hostname or "0.0.0.0", options.port, type=socket.SOCK_STREAM)
            family, *_, address = min(found)  # IPv4 first
            self.address_family = family
            # The handler class is never made: `finish_request` does its work.
            super().__init__(cast(tuple[str, int], address), socketserver.BaseRequestHandler)
        except OSError as error:
            raise Unavailable(f"cannot listen on {where}: {error.strerror}") from None
        except ValueError as error:  # what cannot be a name at all, such as 127.0..1
            raise ConfigError(f"cannot listen on {where}: {error}") from None
        log.info("listening on %s (%s)", where_from(self.server_address), options.protocol)

    def permit(self, client: str, authorization: str | None) -> str:
        """Return a client, with its name if its token has one. Raises: Denied. See `Access.permit`."""
        name = self.access.permit(client.rpartition(":")[0].strip("[]"), self.options.allow, authorization)
        return f"{client} ({name})" if name else client

    def serve(self) -> None:
        """Accept connections until `stop`, without waking up for anything else."""
        self.serve_forever(poll_interval=LONG)

    def stop(self) -> None:
        """Accept nothing more. Called by another thread than the one that serves."""
        self.socket.shutdown(socket.SHUT_RDWR)  # which wakes that one
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                log.error("cannot accept a connection: %s", error.strerror)
                self._after_a_while.wait(0.1)  # it stays pending: without this rest the loop would spin
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.crowd.enter():
            log.warning("connection from %s refused: %d are open", where_from(client_address), self.crowd.most)
            self.shutdown_request(request)
            return
        try:
            self._hands.give(lambda: self._serve(request, client_address))
        except RuntimeError:  # no thread could be started
            self.crowd.leave()
            raise

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # a fault of ours must not take the thread, or the count of connections, with it
            self.handle_error(request, client_address)
        finally:
            self.close_request(request)
            self.crowd.leave()

    def finish_request(self, request: Any, client_address: Any) -> None:
        client = where_from(client_address)
        intake = Intake(request, self.dispatcher.config.daemon.client_timeout)
        try:
            protocol = _told_apart(intake) if self.options.protocol == "both" else self.options.protocol
            self._speak[protocol](self, request, intake, client)
        except OSError as error:
            log.debug("connection from %s ended: %s", client, error)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("serving %s failed", where_from(client_address))


def _told_apart(intake: Intake) -> str:
    """Say by the first bytes whether a client speaks HTTP: a method, a blank, then ``/``, ``*`` or ``http://``."""
    seen = intake.receive()
    while _HTTP_BEGINNING.fullmatch(seen):
        try:
            more = intake.receive(patience=FRAGMENT_PATIENCE)
        except TimeoutError:
            break
        if not more:
            break
        seen += more
    intake.unread(seen)
    return "http" if _HTTP.match(seen) else "tcp"


def where_from(address: Any) -> str:
    """Return a socket address as people write it."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
