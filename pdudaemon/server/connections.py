# SPDX-License-Identifier: MIT
"""`Connections`: the one thread that serves the clients of all listeners; `Connection`: one of these clients.

The thread accepts, reads, has requests taken apart and hands all that came in one round to the dispatcher in one go.
The answer is sent by whoever has it, in any thread, straight to the socket. What the socket does not take, and what a
client had sent ahead, is left to the thread, which an eventfd wakes. Between two rounds it does what costs less here
than in a thread of its own.

A connection costs a socket and an object, whether its client waits for an hour, dribbles, or is deaf. It has one
request under way at the most, an `Exchange`. While it has, only who answers that writes to it, in whatever thread;
everything else belongs to the selector's thread.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from pdudaemon.config.options import DaemonOptions
from pdudaemon.engine import threads
from pdudaemon.errors import PDUDaemonError
from pdudaemon.server.acceptor import Acceptor
from pdudaemon.server.client import Client
from pdudaemon.server.listener import Listener
from pdudaemon.server.rights import EVERYTHING, Rights

log = logging.getLogger("pdud.listener")

CHUNK = 65536
READ_AHEAD = 65536  # bytes that a client may send ahead of the answer that it waits for
THREAD_PAUSE = 1.0  # seconds before asking again for a thread that the machine would not give
LINGER = 2.0  # seconds for a client to close what we have closed
POOL = 2  # threads for answers that take long to make
_LOST = select.EPOLLHUP | select.EPOLLERR


class Speech(Protocol):
    """A protocol as it is spoken on one connection. Called by the selector's thread only."""

    def take(self) -> bool:
        """Begin the next request that has come whole; return whether there was one."""
        ...

    def expired(self) -> bool:
        """The time for the rest of a request is over; return whether there is something to answer all the same."""
        ...


class _Silence:
    """What is spoken on a connection that is closed."""

    def take(self) -> bool:
        return False

    def expired(self) -> bool:
        return False


SILENCE = _Silence()


@dataclass(slots=True, eq=False)
class Exchange(ABC):
    """One request, and the one answer to it. ``rights`` are those of who asks.

    ``late`` is called by the selector's thread if there is no answer when the time of the connection is over.
    """

    connection: Connection
    rights: Rights = field(default=EVERYTHING, init=False)
    late: Callable[[], None] | None = field(default=None, init=False)
    _unanswered: threading.Lock = field(default_factory=threading.Lock, init=False)

    @abstractmethod
    def refuse(self, error: PDUDaemonError) -> None:
        """Answer by an error. Called by `settle`."""

    def settle(self, answer: Callable[..., None], *told: Any) -> None:
        """Have the answer given by a call, unless there has been one: who comes first gives it. Any thread."""
        if self._unanswered.acquire(blocking=False):
            answer(*told)

    def within(self, seconds: float, late: Callable[[], None]) -> None:
        """Have ``late`` called, by a thread of the pool, if the request is still under way in some seconds.

        Any thread, before anybody can have given the answer: the time of the connection is its next request's then.
        The selector's own thread sets `late` itself, and gives the connection some seconds.
        """
        connections = self.connection.connections
        self.late = partial(connections.later, late)
        self.connection.deadline = time.monotonic() + seconds
        connections.attend(self.connection)


class Connection:
    """One client's connection. Fields belong to the selector's thread, but for the last four."""

    __slots__ = (
        "client", "closing", "connections", "deadline", "ended", "entry", "exchange", "listener", "received", "socket",
        "speech", "unsent", "watched",
    )  # fmt: skip

    def __init__(
        self,
        connections: Connections,
        listener: Listener,
        sock: socket.socket,
        client: Client,
        speech: Callable[[Connection], Speech],
    ) -> None:
        self.connections = connections
        self.listener = listener
        self.socket = sock
        self.client = client
        self.received = bytearray()
        self.ended = False  # the client has said that it sends nothing more
        self.watched = select.EPOLLIN
        self.entry = float("inf")  # when the selector's thread looks at the deadline next
        self.deadline = 0.0  # monotonic time by which the client must have sent a request, or is told what is known
        self.unsent: deque[bytes] = deque()
        self.exchange: Exchange | None = None  # the request under way
        self.closing = False  # the connection ends when everything is sent
        self.speech = speech(self)

    def close(self) -> None:
        """Let go of the socket, and of what knows the connection.

        It is kept until its deadline is looked at. What would have to be looked for as garbage then stays for good if
        there is a reload before: see `gc.freeze`.
        """
        self.socket.close()
        self.speech = SILENCE

    def write(self, data: bytes, last: bool = False, close: bool = False) -> None:
        """Send a part of the answer to the request under way. Called by whoever answers it.

        The ``last`` part ends the request, and with ``close`` the connection as well.
        """
        sent = 0
        if not self.unsent:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                pass
            except OSError:  # the client has gone
                sent = len(data)
                self.closing = True
        if sent < len(data):
            self.unsent.append(data[sent:])
            self.connections.attend(self)
        if not last:
            return
        self.closing = self.closing or close
        self.deadline = time.monotonic() + self.connections.options.client_timeout
        if self.exchange is not None:
            self.exchange.late = None  # which knows the exchange: so that it need not be looked for as garbage
        self.exchange = None  # only now look at what has come: the selector's thread does it the other way round
        if self.closing or self.received or self.ended:
            self.connections.attend(self)
        elif self.deadline < self.entry:
            self.connections.attend(self, at_once=False)


class Connections:
    """All clients. ``speech`` makes what speaks the protocol of a connection; ``round_ended`` is called when all that
    had come has been taken in, and returns whether that may have answered somebody. ``work`` is what the thread does
    besides, when it has served the clients or is woken; if that returns a call, the thread is left to that for good, as
    another one serves in its place: see `Carrier`.
    """

    def __init__(
        self,
        options: DaemonOptions,
        speech: Callable[[Connection], Speech],
        round_ended: Callable[[], bool],
        work: Callable[[], Callable[[], None] | None],
    ) -> None:
        self.options = options  # replaced by a reload
        self._pool = ThreadPoolExecutor(POOL, thread_name_prefix="answer")
        self._speech = speech
        self._round_ended = round_ended
        self._work = work
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._rung = False
        self._open: dict[int, Connection] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._acceptor = Acceptor(self._epoll, self.at, self._begin)
        self._attended: deque[Connection] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._leave_by = float("inf")
        self._left = False
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def __str__(self) -> str:
        return "the thread that serves the clients"

    # Called by any thread.

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def call(self, what: Callable[[], None]) -> None:
        """Have the selector's thread make a call."""
        self._calls.append(what)
        self.wake()

    def later(self, what: Callable[[], None]) -> None:
        """Have a thread of the pool make a call that may take long."""
        try:
            self._pool.submit(what)
        except RuntimeError as error:  # no thread is to be had: the call waits for one, which we ask for again
            if self._leave_by == float("inf"):
                log.error("an answer waits: %s", error)
                self.call(lambda: self.at(time.monotonic() + THREAD_PAUSE, lambda: self.later(lambda: None)))

    def attend(self, connection: Connection, at_once: bool = True) -> None:
        """Have the selector's thread look after a connection, at once or when it wakes up next."""
        self._attended.append(connection)
        if at_once:
            self.wake()

    def add(self, listener: Listener) -> None:
        """Accept the connections of a listener from now on."""
        self.call(lambda: self._acceptor.watch(listener))

    def remove(self, listener: Listener) -> None:
        """Accept nothing more of a listener, and return when it is closed. Its connections go on."""
        done = threading.Event()

        def forget() -> None:
            self._acceptor.forget(listener)
            listener.server_close()
            done.set()

        self.call(forget)
        done.wait()

    def close(self, seconds: float) -> bool:
        """Give answers that are on their way some time, and end all connections; return whether the thread ended."""
        self.call(lambda: setattr(self, "_leave_by", time.monotonic() + seconds))
        self._thread.join(seconds + LINGER)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Have the selector's thread take another turn."""
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._bell, 1)

    def succeed(self) -> threading.Thread | None:
        """Have another thread serve in place of the one that is at its `work`; return it, None: none is to be had."""
        thread = threads.started(self._run, "connections", self)
        if thread is not None:
            self._thread = thread
            os.eventfd_write(self._bell, 1)  # what the one before has not come to must not wait for the next event
        return thread

    # Called by the selector's thread.

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Make a call at a point in monotonic time."""
        heapq.heappush(self._heap, (when, next(self._numbers), call))

    def give(self, connection: Connection, seconds: float) -> None:
        """Give a client, or who answers it, some seconds from now on."""
        connection.deadline = time.monotonic() + seconds
        if connection.deadline < connection.entry:
            self._time(connection)

    def _run(self) -> None:
        while not self._left:
            try:
                self._turn()
                instead = self._work()
            except Exception:  # this thread serves every client: no fault of ours with one of them may end it
                log.exception("serving clients failed")
                os.eventfd_write(self._bell, 1)  # what the turn has not come to must not wait for the next event
                continue
            if instead is not None:
                instead()
                return
        for connection in [*self._open.values()]:
            self._drop(connection)
        self._epoll.close()

    def _turn(self) -> None:
        """Take in what has happened since the last turn."""
        until = min(self._heap[0][0] if self._heap else float("inf"), self._leave_by)
        wait = None if until == float("inf") else max(0.0, until - time.monotonic())
        if self._acceptor.doubtful:
            wait = 0.0
        listeners: list[Listener] = []
        for number, event in self._epoll.poll(wait):
            if (connection := self._open.get(number)) is not None:
                self._serve(connection, event)
            elif number == self._bell:
                os.eventfd_read(self._bell)
                self._rung = False  # and only then look at what there is: who rings does it the other way round
            elif (listener := self._acceptor.listeners.get(number)) is not None:
                listeners.append(listener)
        if self._acceptor.doubtful:
            self._acceptor.decide(self.options)
        for listener in listeners:
            self._acceptor.accept(listener, self.options)
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
        for _ in range(len(self._calls)):
            self._calls.popleft()()
        if self._attended:
            self._attend()
        while self._round_ended() and self._attended:  # what is answered at once lets the client's next request begin
            self._attend()
        if self._leave_by < float("inf"):
            waiting = any(each.exchange or each.unsent for each in self._open.values())
            self._left = not waiting or time.monotonic() >= self._leave_by

    def _attend(self) -> None:
        for _ in range(len(self._attended)):
            connection = self._attended.popleft()
            if self._is_open(connection):
                self._serve(connection)

    def _serve(self, connection: Connection, event: int = 0) -> None:
        """Read what a client has sent, begin what has come whole, and see what to wait for."""
        try:
            if event & (select.EPOLLIN | _LOST):
                try:
                    data = connection.socket.recv(CHUNK)
                except BlockingIOError:
                    return
                except OSError:
                    self._drop(connection)
                    return
                connection.received += data
                if not data:
                    connection.ended = True
                    if event & _LOST:
                        self._drop(connection)
                        return
            if connection.unsent and not self._send(connection):
                return
            # Who does not read what he has asked for gets no more of it made.
            while not (connection.exchange or connection.closing or connection.unsent) and connection.speech.take():
                pass
            if (connection.ended or connection.closing) and not self._linger(connection):
                return
            watched = select.EPOLLOUT if connection.unsent else 0
            ahead = connection.exchange is not None and len(connection.received) >= READ_AHEAD
            if not (connection.ended or connection.unsent or ahead):
                watched |= select.EPOLLIN
            if watched != connection.watched:
                connection.watched = watched
                self._epoll.modify(connection.socket, watched)
            if connection.deadline < connection.entry:
                self._time(connection)
        except Exception:  # a fault of ours is the end of this connection alone
            log.exception("serving %s failed", connection.client)
            self._drop(connection)

    def _send(self, connection: Connection) -> bool:
        """Send what is unsent, as far as the socket takes it; return whether the client is still there."""
        while connection.unsent:
            data = connection.unsent[0]
            try:
                sent = connection.socket.send(data)
            except BlockingIOError:
                break
            except OSError:
                self._drop(connection)
                return False
            if sent == len(data):
                connection.unsent.popleft()
            else:
                connection.unsent[0] = data[sent:]
        return True

    def _linger(self, connection: Connection) -> bool:
        """End a connection of which one side has closed, once all is answered and sent; return whether it goes on.

        One that we close goes on until its client has heard of that, and closes it, too.
        """
        if connection.exchange or connection.unsent:
            return True
        if not connection.ended:
            with suppress(OSError):  # unless it has gone: say that nothing more comes
                connection.socket.shutdown(socket.SHUT_WR)
                connection.received.clear()
                connection.deadline = min(connection.deadline, time.monotonic() + LINGER)
                return True
        self._drop(connection)
        return False

    def _begin(self, listener: Listener, sock: socket.socket, client: Client) -> None:
        connection = Connection(self, listener, sock, client, self._speech)
        self._open[sock.fileno()] = connection
        self._epoll.register(sock, connection.watched)
        self.give(connection, self.options.client_timeout)

    def _time(self, connection: Connection) -> None:
        """See that the deadline of a connection is looked at when it has come."""
        connection.entry = connection.deadline
        self.at(connection.deadline, partial(self._expire, connection))

    def _expire(self, connection: Connection) -> None:
        connection.entry = float("inf")
        if not self._is_open(connection):
            return
        exchange = connection.exchange
        if connection.deadline > time.monotonic():  # it has been moved meanwhile
            if connection.deadline < float("inf"):
                self._time(connection)
        elif connection.unsent or connection.closing:
            self._drop(connection)  # it does not read, or does not close
        elif exchange is not None:
            connection.deadline = float("inf")
            if (late := exchange.late) is not None:
                late()
        elif connection.speech.expired():
            self.give(connection, self.options.client_timeout)
            self.attend(connection)
        else:
            self._drop(connection)

    def _is_open(self, connection: Connection) -> bool:
        return self._open.get(connection.socket.fileno()) is connection

    def _drop(self, connection: Connection) -> None:
        """End a connection, whatever is unsent."""
        if self._is_open(connection):
            del self._open[connection.socket.fileno()]
            self._acceptor.ended(connection.client)
            with suppress(OSError):  # code of somebody else, such as a driver, has closed it
                self._epoll.unregister(connection.socket)
            connection.close()
