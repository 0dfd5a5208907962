# SPDX-License-Identifier: MIT
"""TP-Link Kasa: the cipher, the conversations against driver and fake, names and numbers of outlets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.drivers import tplink
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.tplink import TPLink
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Scripted, conversation
from tests.devices.tplink import DEVICE_ID, Plug, plain, scrambled
from tests.support.action import begun
from tests.support.process import Daemon

STRIP = ("Plug 1", "Plug 2", "Küche", "2", "Plug 2")


def driver(device: Any, seconds: float = 120, **settings: object) -> TPLink:
    return begun(TPLink("127.0.0.1", {"driver": "tplink", "port": device.port, **settings}), seconds)


def wire(text: str) -> bytes:
    data = scrambled(text)
    return len(data).to_bytes(4, "big") + data


class OneEach(Scripted):
    """Plays one exchange for each connection."""

    def converse(self, connection: socket.socket) -> None:
        with self.lock:  # the next one is asked for as soon as this one is answered
            whole, self.exchanges = self.exchanges, self.exchanges[:1]
            super().converse(connection)
            self.exchanges = whole[1:]


def test_the_cipher() -> None:
    assert bytes(tplink._encrypted(b"{")) == b"\xd0"
    question = '{"system":{"get_sysinfo":{}}}'
    sent = bytes.fromhex("d0f281f88bff9af7d5ef94b6d1b4c09fec95e68fe187e8caf08bf68bf6")
    assert bytes(tplink._encrypted(question.encode())) == scrambled(question) == sent
    assert bytes(tplink._decrypted(sent)).decode() == plain(sent) == question


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("plug", 1),
        ("plug", "Bench lamp"),
        ("strip", 2),
        ("strip", "Plug 2"),
        ("strip_device_id", 2),
        ("strip_short_ids", 2),
    ],
)
def test_the_conversations_against_the_driver(name: str, port: Any) -> None:
    exchanges = [(wire(asked), wire(said)) for asked, said in conversation(f"tplink_{name}")]
    with OneEach(exchanges) as device:
        driver(device).port_on(port)
    assert device.played == len(exchanges)
    assert bytes(device.received) == b"".join(asked for asked, _ in exchanges)


@pytest.mark.parametrize("name", ["plug", "strip", "strip_device_id", "strip_short_ids"])
def test_the_conversations_against_the_fake(name: str) -> None:
    with Plug(*(() if name == "plug" else ("Plug 1", "Plug 2", "Plug 3"))) as device:
        for asked, said in conversation(f"tplink_{name}"):
            with socket.create_connection(("127.0.0.1", device.port), 30) as client, client.makefile("rb") as file:
                client.sendall(wire(asked))
                answer = plain(file.read(int.from_bytes(file.read(4), "big")))
            assert answer == said or '"get_sysinfo":{"err_code":0,' in answer
        assert "on" in device.outlets.values()


@pytest.mark.parametrize("short", [False, True])
def test_each_outlet_of_a_strip(short: bool) -> None:
    with Plug("Plug 1", "Plug 2", "Küche", short=short) as device:
        for number, name in enumerate(device.aliases, 1):
            for port in (number, name):
                driver(device).port_on(port)
                assert [other for other, state in device.outlets.items() if state == "on"] == [str(number)]
                assert driver(device).port_status(port) is State.ON
                device.outlets[str(number)] = "off"
                assert driver(device).port_status(port) is State.OFF
            driver(device).port_on(number)
            driver(device).port_off(name)
            assert "on" not in device.outlets.values()


def test_a_single_plug() -> None:
    with Plug() as device:
        for port in (1, "Bench lamp"):
            driver(device).port_on(port)
            assert device.outlets == {"1": "on"}
            assert driver(device).port_status(port) is State.ON
            driver(device).port_off(port)
            assert driver(device).port_status(port) is State.OFF


def test_a_name_comes_before_a_number_and_must_be_one_outlets() -> None:
    with Plug(*STRIP) as device:
        driver(device).port_on(2)
        assert device.outlets["4"] == "on" and device.outlets["2"] == "off"
        with pytest.raises(PermanentError, match=r"has more than one outlet 'Plug 2'; use their numbers$"):
            driver(device).port_on("Plug 2")


@pytest.mark.parametrize("port", [0, 3, "Plug 3", "plug 1", "Strip"])
def test_an_outlet_that_is_not_there(port: Any) -> None:
    with Plug("Plug 1", "Plug 2") as device:
        why = f"^127.0.0.1:{device.port} has no outlet {port!r}: it has 1 'Plug 1', 2 'Plug 2'$"
        with pytest.raises(PermanentError, match=why):
            driver(device).port_on(port)
        assert {*device.outlets.values()} == {"off"}


@pytest.mark.parametrize("locked", [[1], ["01"], ["Plug 1"], [f"{DEVICE_ID}00"], True])
def test_what_is_locked_is_so_by_all_its_names(locked: object) -> None:
    with Plug("Plug 1", "Plug 2") as device:
        made = driver(device, locked=locked)
        for port in (1, "Plug 1"):
            for act in (made.port_on, made.port_off):
                with pytest.raises(PermanentError) as caught:
                    act(port)
                words = f"127.0.0.1:{device.port}: outlet 1 'Plug 1' is locked by the configuration"
                assert str(caught.value) == words
            assert made.port_status(port) is State.OFF
        if locked is not True:
            made.port_on("Plug 2")
        assert device.outlets == {"1": "off", "2": "off" if locked is True else "on"}
    with Plug() as device:
        driver(device, locked=False).port_on(1)
        with pytest.raises(PermanentError, match=r": outlet 1 'Bench lamp' is locked by the configuration$"):
            driver(device, locked=["Bench lamp"]).port_off(1)
        assert device.outlets == {"1": "on"}


def test_what_is_locked_is_not_switched_over_http(daemon: Callable[..., Daemon]) -> None:
    with Plug("Plug 1", "Plug 2") as device:
        started = daemon({"strip": {"driver": "tplink", "ip": "127.0.0.1", "port": device.port, "locked": [1]}})
        assert started.power("on", "strip", "1").status == 403
        assert started.power("on", "strip", "Plug%201").status == 502
        assert started.power("on", "strip", "Plug%202").status == 200
        assert device.outlets == {"1": "off", "2": "on"}


def test_a_long_answer_in_pieces() -> None:
    with Plug("Plug 1", mood=Mood.SLOW) as device:
        device.padding = "x" * 10000
        driver(device).port_on(1)
        assert device.outlets["1"] == "on"


def test_refusals() -> None:
    with Plug(mood=Mood.REFUSING) as device:
        with pytest.raises(PermanentError, match=f"^127.0.0.1:{device.port} refused switching 'Bench lamp': error -3$"):
            driver(device).port_on(1)
        assert device.outlets["1"] == "off"
    with Plug() as device, pytest.raises(PermanentError, match=r"refused asking: error -2$"):
        driver(device)._ask({"system": {"nothing": {}}}, "asking")


@pytest.mark.parametrize(
    "said",
    [
        wire("not JSON"),
        wire("[]"),
        wire('{"system":{}}'),
        wire('{"system":{"get_sysinfo":{"err_code":0}}}'),
        wire('{"system":{"get_sysinfo":{"err_code":0,"alias":"a","relay_state":2}}}'),
        wire('{"system":{"get_sysinfo":{"err_code":0,"deviceId":"A","children":[1]}}}'),
        wire('{"system":{"get_sysinfo":{"err_code":0,"children":[{"id":"00","alias":"a","state":1}]}}}'),
        b"\0\0\0\x02\xff\xfe",
    ],
)
def test_nonsense(said: bytes) -> None:
    with (
        Scripted([(wire('{"system":{"get_sysinfo":{}}}'), said)]) as device,
        pytest.raises(TransientError, match=f"^127.0.0.1:{device.port} answered nonsense at asking for the outlets$"),
    ):
        driver(device).port_on(1)


def test_an_answer_without_end() -> None:
    with (
        Scripted([(wire('{"system":{"get_sysinfo":{}}}'), b"\xff\xff\xff\xff")]) as device,
        pytest.raises(TransientError, match=f"^127.0.0.1:{device.port} sends too much at asking for the outlets$"),
    ):
        driver(device).port_on(1)


@pytest.mark.parametrize("mood", [Mood.GONE, Mood.DEAF, Mood.GARBLED, Mood.BUSY])
def test_trouble(mood: Mood) -> None:
    with Plug("Plug 1", mood=mood) as device:
        for act in (TPLink.port_on, TPLink.port_off, TPLink.port_status):
            with pytest.raises(TransientError, match=f"127.0.0.1:{device.port}") as caught:
                act(driver(device, 0.3 if mood is Mood.DEAF else 30), 1)
            assert isinstance(caught.value, DeviceTimeout) == (mood is Mood.DEAF)
            assert mood is not Mood.GONE or "the driver for it is kasa" in str(caught.value)


def test_ports_are_names() -> None:
    for port, canonical in {"03": "3", "Plug 1": "Plug 1", "Küche / Tür": "Küche / Tür", "$(id)": "$(id)"}.items():
        assert TPLink.canonical_port(port, {}) == canonical
    for port in ("", " ", " 1", "a ", "Plug\t1", "1\n2", "x\0", "x" * 101):
        with pytest.raises(ValueError, match=r"is not a port: the name of an outlet, or its number$"):
            TPLink.canonical_port(port, {})


def test_a_name_with_a_blank_over_http_and_as_an_alias(daemon: Callable[..., Daemon]) -> None:
    with Plug("Plug 1", "Plug 2") as device:
        pdus = {"strip": {"driver": "tplink", "ip": "127.0.0.1", "port": device.port}}
        started = daemon(pdus, {"board": {"hostname": "strip", "port": "Plug 1"}})
        assert started.power("on", "strip", "Plug%202").status == 200
        assert started.http("/power/control/on?alias=board").status == 200
        assert device.outlets == {"1": "on", "2": "on"}


def test_a_strip_without_meters_is_asked_for_one_only() -> None:
    with Plug("a", "b") as device:
        assert driver(device).read_outlets() == [
            OutletReading("1", "a", State.OFF),
            OutletReading("2", "b", State.OFF),
        ]
        assert device.sessions == 2


def test_the_meter_of_a_plug_in_the_units_of_old_firmware() -> None:
    with Plug() as device:
        device.realtime = {"voltage": 230.1, "current": 0.051, "power": 11.7, "total": 0.734}
        assert driver(device).read_outlets() == [OutletReading("1", "Bench lamp", State.OFF, 11.7, 230.1, 0.051, 734)]
