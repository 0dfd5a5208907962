# SPDX-License-Identifier: MIT
"""`MQTTDevice`: what devices have in common that are reached through an MQTT broker.

A broker keeps what was last said of a device, however long ago that was, and says so: such a state counts only while
the device's availability, which the broker changes when the device is lost, says that it is there. A device that is
known not to be there is not asked anything. Nothing that we publish is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import NetworkDevice, TLSDevice, tcp_port
from pdudaemon.errors import DeviceError, DeviceTimeout, TransientError
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.mqtt import Account, Message, Session, is_topic
from pdudaemon.transports.tcp import Connection

Found = TypeVar("Found")

_LOOK = 5.0  # seconds for the broker to take a connection
_THERE = {"online": True, "offline": False}


class MQTTDevice(NetworkDevice, TLSDevice):
    """A device by the name of ``topic``; ``ip`` is the broker's address."""

    ip = Setting(text, "", "address of the broker", required=True)
    port = tcp_port(1883, "the broker (8883 with TLS, usually)")
    secure = Setting(boolean, False, "speak TLS with the broker")
    username = Setting(text, "", "user name at the broker")
    password = Setting(text, "", "password at the broker", secret=True)
    topic = Setting(text, "", "what the device is called in its topics, if that is not the name of the PDU")

    @hook
    def faults(self) -> dict[str, str]:
        return {**super().faults(), **wrong_topics(topic=self.topic)}

    @hook
    def lacks(self) -> str:
        try:
            with Connection(self.ip, self.port, Deadline(_LOOK)):
                return ""
        except DeviceError as error:
            return f"there is no broker: {error}"

    @property
    def device(self) -> str:
        """What the device is called in its topics."""
        return self.topic or self.hostname

    @contextmanager
    def session(self, *topics: str) -> Iterator[Exchange]:
        """Connect to the broker, and hear what is said in some topics."""
        tls = self.tls() if self.secure else None
        account = Account(self.ip, self.port, self.username, self.password, tls)
        with Session(account, self.deadline) as session:
            session.subscribe(topics)
            yield Exchange(session, self.device)


def wrong_topics(**given: str) -> dict[str, str]:
    """Return what is wrong with settings that are parts of topics, by name; empty ones are not given."""
    wrong = {key: part for key, part in given.items() if part and not is_topic(part)}
    return {key: f"{part[:100]!r} cannot be in a topic" for key, part in wrong.items()}


class Exchange:
    """Questions and answers by way of a broker; ``source`` is whose answers they are, as errors begin."""

    def __init__(self, session: Session, device: str) -> None:
        self.source = f"{device} by {session.peer}"
        self._session = session

    def say(self, topic: str, payload: str, step: str) -> None:
        """Publish something, which is not kept."""
        self._session.publish(topic, payload, step=step)

    def wait_for(self, wanted: Callable[[Message], Found | None], step: str) -> Found:
        """Return what is found in the first message in which that is."""
        while (found := wanted(self._session.receive(step))) is None:
            pass
        return found

    def gather(self, quiet: float, enough: Callable[[Mapping[str, str]], bool], step: str) -> dict[str, str]:
        """Return what was said last, by topic, when that is enough or nothing has come for so many seconds."""
        whole = self._session.deadline
        found: dict[str, str] = {}
        try:
            while not enough(found):
                self._session.deadline = whole.within(quiet)
                message = self._session.receive(step)
                found[message.topic] = message.text
        except DeviceTimeout:
            whole.remaining()
        finally:
            self._session.deadline = whole
        return found

    def gone(self) -> TransientError:
        """Return the error for a device that is known not to be there."""
        return TransientError(f"{self.source} is offline")


def object_in(said: str) -> Mapping[str, Any]:
    """Return the JSON object that a message is, empty if it is none."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def availability(said: str) -> bool | None:
    """Return whether a message says that something is there, as a word or in JSON; None: it says neither."""
    word = object_in(said).get("state", said)
    return _THERE.get(str(word).strip().lower())
