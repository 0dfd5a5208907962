# SPDX-License-Identifier: MIT
"""MQTT by way of a broker: one session, for one action or for as long as its owner likes.

The package paho-mqtt speaks the protocol (3.1.1); its releases 1 and 2 differ in what they call back with, and nowhere
else that matters here. It is given no thread: whoever has the session turns it, within the deadline of the action, by
waiting for something. What a broker keeps (retained messages) comes first, after a subscription; what it then says
about a device may be from long ago, so each message tells whether it was kept.

A name, a topic or a text with a NUL, or a topic with a wildcard in it, is refused before it is sent.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from pdudaemon.errors import ConnectionRefused, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.tcp import in_words

KEEPALIVE = 60
"""Seconds after which a broker asks what became of us, at most one and a half times as many."""

_LONGEST = 65535  # bytes of a topic
_LARGEST = 4 * 1024 * 1024  # bytes of a message that is kept
_LOGIN_REFUSED = (4, 5, 134, 135)  # of MQTT 3.1.1, and as the reasons of MQTT 5 by which releases 2 tell them
_REFUSED = 128  # from which on an answer to a subscription is a no
_SENSELESS = (ValueError, LookupError, TypeError, AttributeError, NameError, RuntimeError, struct.error)
"""What the package raises of packets that are not as they should be: it does not look first."""
_TURN = 0.5  # seconds between two looks at what keeps the session alive


class Message(NamedTuple):
    """What was published; ``retained``: the broker had kept it, from before the subscription."""

    topic: str
    payload: bytes
    retained: bool = False

    @property
    def text(self) -> str:
        """The payload as UTF-8; what is none comes as replacement characters."""
        return self.payload.decode(errors="replace")


@dataclass(frozen=True)
class Account:
    """Where a broker is and who we are there; ``tls`` is what `pdudaemon.transports.http.tls` returned."""

    host: str
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    client_id: str = ""


class Session:
    """A session with a broker, within ``with``. ``will`` is published by the broker, and kept, when we are lost.

    Whoever has it may set ``deadline`` anew, for what comes next. Raises, from every method: DeviceTimeout when that
    has passed; TransientError when the connection is lost; PermanentError for what the broker refuses.
    """

    def __init__(self, account: Account, deadline: Deadline, *, will: Message | None = None) -> None:
        self.peer = f"the broker {in_words(account.host.strip('[]'), account.port)}"
        self.deadline = deadline
        self._account = account
        self._will = will
        self._client: Any = None
        self._answers: dict[str | int, Any] = {}
        self._messages: deque[Message] = deque()
        self._looked: Deadline | None = None  # the one after which we have looked once more

    def __enter__(self) -> Self:
        self._client = _client(self._account.client_id or f"pdudaemon-{os.urandom(6).hex()}")
        try:
            self._connect()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def subscribe(self, topics: Sequence[str], step: str = "the subscription") -> None:
        """Have what is published to some topics, which may have wildcards, sent to us; return when that is agreed."""
        for topic in topics:
            _check(topic, wild=True)
        _, number = self._client.subscribe([(topic, 1) for topic in topics])
        self._turn_until(lambda: number in self._answers, step)
        refused = [topic for topic, code in zip(topics, self._answers.pop(number), strict=False) if code >= _REFUSED]
        if refused:
            raise PermanentError(f"{self.peer} refuses to tell of {refused[0]}")

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, step: str = "publishing") -> None:
        """Publish; return when the broker has it."""
        _check(topic)
        published = self._client.publish(topic, payload, qos=1, retain=retain)
        self._turn_until(published.is_published, step)

    def receive(self, step: str) -> Message:
        """Return the next message, waiting for it if need be."""
        self._turn_until(lambda: bool(self._messages), step)
        return self._messages.popleft()

    def _connect(self) -> None:
        client, account = self._client, self._account
        if account.username:
            client.username_pw_set(account.username, account.password)
        if account.tls is not None:
            client.tls_set_context(account.tls)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        client.on_connect = lambda *words: self._answers.update(connected=_code(words[3]))
        client.on_subscribe = lambda *words: self._answers.update({words[2]: [_code(each) for each in words[3]]})
        client.on_message = self._heard
        step = "the connection"
        if hasattr(client, "connect_timeout"):  # since release 2; before, it is 5 s
            client.connect_timeout = self.deadline.remaining()
        try:
            client.connect(account.host.strip("[]"), account.port, KEEPALIVE)
        except ssl.SSLCertVerificationError as error:
            raise PermanentError(f"the certificate of {self.peer} is not trusted: {error.verify_message}") from None
        except TimeoutError:
            raise self._silent(step) from None
        except ConnectionRefusedError:
            raise ConnectionRefused(f"connection refused by {self.peer}") from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise TransientError(f"no connection to {self.peer}: {why}") from None
        self._turn_until(lambda: "connected" in self._answers, step)
        if code := self._answers.pop("connected"):
            if code in _LOGIN_REFUSED:
                raise LoginRefused(f"login refused by {self.peer}")
            raise TransientError(f"{self.peer} does not take us: reason {code}")

    def _turn_until(self, done: Callable[[], bool], step: str) -> None:
        while not done():
            connection: socket.socket | None = self._client.socket()
            if connection is None:
                refused = self._answers.get("connected") in _LOGIN_REFUSED
                raise LoginRefused(f"login refused by {self.peer}") if refused else self._lost(step)
            try:
                seconds = min(self.deadline.remaining(), _TURN)
            except DeviceTimeout:
                if self._looked is self.deadline:
                    raise self._silent(step) from None
                self._looked, seconds = self.deadline, 0.0  # what has come while this process stood still
            if not (isinstance(connection, ssl.SSLSocket) and connection.pending()):
                poll = select.poll()
                poll.register(connection, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
                poll.poll(seconds * 1000)
            try:
                failed = self._client.loop_read() or self._client.loop_write() or self._client.loop_misc()
            except _SENSELESS as error:
                told = f"{type(error).__name__}: {error}"
                raise TransientError(f"{self.peer} says what is not MQTT at {step}: {told:.100}") from None
            if failed and not done() and "connected" not in self._answers:
                raise self._lost(step)

    def _heard(self, *words: Any) -> None:
        message = words[2]
        if len(message.payload) <= _LARGEST:
            self._messages.append(Message(message.topic, bytes(message.payload), bool(message.retain)))

    def _lost(self, step: str) -> TransientError:
        return TransientError(f"connection closed by {self.peer} at {step}")

    def _silent(self, step: str) -> DeviceTimeout:
        return DeviceTimeout(f"no answer from {self.peer} at {step} within {self.deadline.seconds:g} s")

    def _close(self) -> None:
        """Take leave; the package closes the connection when that is sent."""
        client, self._client = self._client, None
        client.disconnect()
        if (connection := client.socket()) is not None:
            connection.close()
        client.on_connect = client.on_subscribe = client.on_message = None


def is_topic(text: str) -> bool:
    """Whether something can be published to a topic of that name."""
    return bool(text) and len(text.encode()) <= _LONGEST and not set("+#\0") & set(text) and text.isprintable()


def _check(topic: str, wild: bool = False) -> None:
    if not is_topic(topic.replace("+", "_").replace("#", "_") if wild else topic):
        raise PermanentError(f"{topic[:100]!r} is not a topic")


def _code(reason: Any) -> int:
    """Return the number of a reason, which releases 2 have as an object."""
    return int(getattr(reason, "value", reason))


def _client(client_id: str) -> Any:
    try:
        import paho.mqtt.client as paho
    except ImportError:
        why = "which this needs, is not installed (pip install 'pdudaemon[mqtt]', Debian: python3-paho-mqtt)"
        raise PermanentError(f"the Python package paho-mqtt, {why}") from None
    made: Any = paho.Client
    version = getattr(paho, "CallbackAPIVersion", None)  # since release 2
    return made(client_id) if version is None else made(version.VERSION2, client_id)
