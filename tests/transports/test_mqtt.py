# SPDX-License-Identifier: MIT
"""MQTT: against mosquitto, with the releases 1 and 2 of paho-mqtt where both are there."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import tls
from pdudaemon.transports.mqtt import Account, Message, Session, is_topic
from tests.devices.base.scripted import Puppet
from tests.peers.mosquitto import PASSWORD, USER, mosquitto
from tests.support.process import nothing_left_behind

pytest.importorskip("paho.mqtt.client", reason="needs the Python package paho-mqtt")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with mosquitto(tmp_path_factory.mktemp("mosquitto") / "open") as port:
        yield port


def session(port: int, seconds: float = 20, **words: Any) -> Session:
    will = words.pop("will", None)
    return Session(Account("127.0.0.1", port, **words), Deadline(seconds), will=will)


def test_what_is_kept_and_what_is_not(broker: int) -> None:
    with session(broker) as one, session(broker) as two:
        one.publish("kept/a", "on", retain=True)
        one.publish("kept/b", "lost")
        two.subscribe(["kept/#"])
        assert two.receive("the state") == Message("kept/a", b"on", True)
        one.publish("kept/b", b"\xff")
        assert two.receive("the state") == Message("kept/b", b"\xff")
        one.publish("kept/a", "", retain=True)
        assert two.receive("the state") == Message("kept/a", b"")


def test_many_messages(broker: int) -> None:
    with session(broker) as one, session(broker) as two:
        two.subscribe(["many/+", "other"])
        for number in range(300):
            one.publish(f"many/{number}", str(number) * 100)
        assert [two.receive("numbers").text for _ in range(300)] == [str(number) * 100 for number in range(300)]


def test_a_will(broker: int) -> None:
    with session(broker) as watcher:
        watcher.subscribe(["pdud/status"])
        with session(broker, will=Message("pdud/status", b"offline")) as lost:
            lost.publish("pdud/status", "online", retain=True)
            assert watcher.receive("the birth").text == "online"
            lost._client.socket().shutdown(socket.SHUT_RDWR)
            assert watcher.receive("the will").text == "offline"
            with pytest.raises(TransientError, match=r"^connection closed by the broker 127"):
                lost.receive("more")
        watcher.publish("pdud/status", "", retain=True)


def test_nothing_comes(broker: int) -> None:
    with session(broker) as one:
        one.subscribe(["silence"])
        one.deadline = Deadline(0.3)
        with pytest.raises(DeviceTimeout, match=r"^no answer from the broker \S+ at the state within 0\.3 s$"):
            one.receive("the state")


def test_what_came_while_we_stood_still_is_heard(broker: int) -> None:
    with session(broker) as one, session(broker) as two:
        two.subscribe(["late/#"])
        one.publish("late/a", "on")
        select.select([two._client.socket()], [], [], 60)
        two.deadline = Deadline(0)
        assert two.receive("the state") == Message("late/a", b"on")
        with pytest.raises(DeviceTimeout):
            two.receive("the state")


def test_nothing_is_left_behind(broker: int) -> None:
    with session(broker) as one:
        one.publish("x", "y")
    with nothing_left_behind():
        for _ in range(5):
            with session(broker) as one:
                one.subscribe(["x"])
            with pytest.raises(TransientError), session(1):
                pass


def test_a_login(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker", login=True) as port:
        with session(port, username=USER, password=PASSWORD) as one:
            one.publish("a", "b")
        for login in ({}, {"username": USER, "password": "wrong"}):
            with pytest.raises(LoginRefused, match=rf"^login refused by the broker 127.0.0.1:{port}$"):
                session(port, **login).__enter__()
    assert PASSWORD not in repr(Account("x", password=PASSWORD))


def test_tls(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker", tls=True) as port:
        with session(port, tls=tls(ca_file=str(tmp_path / "broker" / "cert.pem"))) as one:
            one.subscribe(["a"])
            one.publish("a", "x" * 100000)
            assert len(one.receive("it").payload) == 100000
        with pytest.raises(PermanentError, match=r"^the certificate of the broker \S+ is not trusted"):
            session(port, tls=tls()).__enter__()


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda device, connection: None, DeviceTimeout),
        (lambda device, connection: connection.shutdown(socket.SHUT_RDWR), TransientError),
        (lambda device, connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20), TransientError),
        (lambda device, connection: connection.sendall(b"\x20\x02\x00\x05"), LoginRefused),
        (lambda device, connection: connection.sendall(b"\x20\x02\x00\x03"), TransientError),
    ],
)
def test_what_is_no_broker(act: Any, kind: type[Exception]) -> None:
    with Puppet(act) as device, pytest.raises(kind) as caught:
        session(device.port, seconds=1 if kind is DeviceTimeout else 30).__enter__()
    assert type(caught.value) is kind and "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    "packet",
    ["3000", "300100", "3003ffff61", "320500016100", "30030001ff", "4000", "400100", "5000", "9000", "90020001", "b000", "2000", "6201", "f000", "00"],
)  # fmt: skip
def test_packets_that_are_not_as_they_should_be(packet: str) -> None:
    """The package looks into them as they come, and raises whatever that leads to."""
    said = b"\x20\x02\x00\x00" + bytes.fromhex(packet)
    with Puppet(lambda device, connection: connection.sendall(said)) as device:
        try:
            with session(device.port, seconds=0.5) as one:
                one.receive("the state")
        except TransientError as error:
            assert "127.0.0.1" in str(error)


def test_nobody_there() -> None:
    with pytest.raises(TransientError, match=r"^connection refused by the broker 127\.0\.0\.1:1$"):
        session(1).__enter__()
    with pytest.raises(TransientError, match=r"^no connection to the broker nowhere\.invalid:1883: "):
        Session(Account("nowhere.invalid"), Deadline(20)).__enter__()


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "a\nb", "x" * 70000])
def test_what_is_no_topic(broker: int, topic: str) -> None:
    assert not is_topic(topic)
    with session(broker) as one, pytest.raises(PermanentError, match=r"is not a topic$"):
        one.publish(topic, "x")


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(PermanentError, match=r"^the Python package paho-mqtt, which this needs, is not installed"):
        session(1).__enter__()
