# SPDX-License-Identifier: MIT
"""Devices behind an MQTT broker: through mosquitto, and what is kept of a device that is not there any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import esphomemqtt
from pdudaemon.drivers.esphomemqtt import ESPHomeMQTT
from pdudaemon.drivers.mqttdevice import MQTTDevice
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.tasmotamqtt import TasmotaMQTT
from pdudaemon.drivers.zigbee2mqtt import Zigbee2MQTT
from pdudaemon.errors import DeviceError, DeviceTimeout, TransientError
from pdudaemon.power import State
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.mqtt import Account, Session
from tests.devices import zigbee2mqtt as zigbee
from tests.devices.base.broker import BehindBroker
from tests.devices.esphomemqtt import Relays
from tests.devices.tasmotamqtt import Plug
from tests.peers.mosquitto import PASSWORD, USER, mosquitto
from tests.support.action import begun
from tests.support.patience import with_patience
from tests.support.process import Daemon

pytest.importorskip("paho.mqtt.client", reason="needs the Python package paho-mqtt")

LAMP = {"driver": "zigbee2mqtt", "topic": zigbee.NAME}
BENCH = {"driver": "esphome-mqtt", "topic": "lab/bench"}
DESK = {"driver": "tasmota-mqtt", "topic": "desk", "relays": 4}


def driver(kind: type[MQTTDevice], port: int, seconds: float = 120, **settings: Any) -> Any:
    login = {"ip": "127.0.0.1", "port": port, "username": "pdu", "password": "bro/ker 7"}
    return begun(kind("any", {**login, **settings}), seconds)


@contextmanager
def on_mosquitto(port: int, device: BehindBroker) -> Iterator[None]:
    """Let a fake device be there, on a broker that nobody here wrote."""
    ready, ending = threading.Event(), threading.Event()

    def live() -> None:
        with Session(Account("127.0.0.1", port, USER, PASSWORD), Deadline(60)) as session:
            for topic, text in device.kept().items():
                session.publish(topic, text, retain=True)
            lamp = f"zigbee2mqtt/{zigbee.NAME}"
            session.subscribe(["cmnd/#", f"{lamp}/set", f"{lamp}/get", "lab/bench/switch/+/command"])
            ready.set()
            while not ending.is_set():
                session.deadline = Deadline(0.1)
                try:
                    message = session.receive("an order")
                except DeviceError:
                    continue
                session.deadline = Deadline(20)
                assert not message.retained
                for topic, text in device.heard(message.topic, message.text).items():
                    session.publish(topic, text, retain=isinstance(device, Relays))

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        ending.set()
        thread.join(20)


@pytest.mark.parametrize(
    ("made", "settings", "ports"),
    [(Plug, DESK, ["1", "4"]), (zigbee.Double, LAMP, ["1", "l2"]), (Relays, BENCH, ["relay_1", "relay_2"])],
)
def test_through_mosquitto(
    made: type[BehindBroker], settings: dict[str, Any], ports: list[str], tmp_path: Path, daemon: Any
) -> None:
    device = made()
    with mosquitto(tmp_path / "broker", login=True) as port, on_mosquitto(port, device):
        login = {"ip": "127.0.0.1", "port": port, "username": USER, "password": PASSWORD}
        running: Daemon = daemon({"plug": {**settings, **login}})
        for outlet in ports:
            for action in ("on", "off", "off", "on"):
                answer = running.power(action, "plug", outlet, wait=20)
                assert answer.status == 200, answer.text
                assert device.outlets[outlet] == action
                assert running.power("status", "plug", outlet).text.strip() == action
        assert PASSWORD not in running.log_text()
        kinds = {"tasmota-mqtt": TasmotaMQTT, "zigbee2mqtt": Zigbee2MQTT, "esphome-mqtt": ESPHomeMQTT}
        told = driver(kinds[settings["driver"]], **{**settings, **login}).read_outlets()
        assert {each.port: each.state for each in told} == device.outlets


def test_what_is_published_is_never_kept() -> None:
    for made, settings, kind, port in (
        (Plug, DESK, TasmotaMQTT, 1),
        (zigbee.Double, LAMP, Zigbee2MQTT, 1),
        (Relays, BENCH, ESPHomeMQTT, "relay_1"),
    ):
        with made(password="bro/ker 7") as device:  # type: ignore[abstract]
            driver(kind, device.port, **settings).port_on(port)
            assert device.heard_topics and not any(kept for _, _, kept in device.heard_topics)


@pytest.mark.parametrize(
    ("made", "settings", "kind", "port"),
    [(Plug, DESK, TasmotaMQTT, 1), (zigbee.Double, LAMP, Zigbee2MQTT, 1), (Relays, BENCH, ESPHomeMQTT, "relay_1")],
)
def test_a_device_that_is_offline(made: Any, settings: dict[str, Any], kind: Any, port: Any) -> None:
    with made() as device:
        device.there = {Plug: "Offline", zigbee.Double: '{"state":"offline"}', Relays: "offline"}[made]
        offline = driver(kind, device.port, **settings)
        for ask in (lambda: offline.port_on(port), lambda: offline.port_status(port), offline.read_outlets):
            with pytest.raises(TransientError, match=r"by the broker \S+ is offline$"):
                ask()


def test_what_is_kept_and_told_late_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esphomemqtt, "_QUIET", 0.05)
    for before in ("off", "on"):
        with Relays() as device:
            device.late = True
            device.outlets["relay_1"] = before
            driver(ESPHomeMQTT, device.port, **BENCH).port_on("relay_1")
            assert device.outlets["relay_1"] == "on"
            device.there, device.obeys = "offline", False
            with pytest.raises(TransientError, match=r"by the broker \S+ is offline$"):
                driver(ESPHomeMQTT, device.port, **BENCH).port_on("relay_1")


def test_a_broker_that_tells_less_than_the_last_time_is_listened_to_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def attempt(seconds: float) -> None:
        monkeypatch.setattr(esphomemqtt, "_QUIET", seconds)
        with Relays() as device:
            made = driver(ESPHomeMQTT, device.port, **BENCH)
            assert {each.port for each in made.read_outlets()} == {*device.outlets}
            device.pause = 2 * seconds
            assert {each.port for each in begun(made, 120).read_outlets()} == {*device.outlets}
            device.pause = 0.0
            del device.outlets["relay_2"]
            assert [each.port for each in begun(made, 120).read_outlets()] == ["relay_1"]

    with_patience(attempt, 0.2)


def test_states_that_are_kept_and_old() -> None:
    with Plug() as device:
        device.old = {"stat/desk/RESULT": '{"POWER1":"ON"}', "stat/desk/STATUS11": '{"StatusSTS":{"POWER1":"ON"}}'}
        assert driver(TasmotaMQTT, device.port, **DESK).port_status(1) is State.OFF
        assert driver(TasmotaMQTT, device.port, **DESK).read_outlets()[0].state is State.OFF
    with zigbee.Double() as device:
        device.old = {f"zigbee2mqtt/{zigbee.NAME}": '{"state":"ON"}'}
        assert driver(Zigbee2MQTT, device.port, **LAMP).port_status(1) is State.OFF
    with Relays() as device:
        device.there = ""
        with pytest.raises(TransientError, match=r"the broker does not know whether it is there$"):
            driver(ESPHomeMQTT, device.port, **BENCH).port_status("relay_1")


def test_another_full_topic() -> None:
    with Plug(full_topic="lab/desk/{}") as device:
        device.full_topic = "lab/desk/{}/"
        plug = driver(TasmotaMQTT, device.port, **DESK, full_topic="lab/%topic%/%prefix%")
        plug.port_on(2)
        assert device.outlets["2"] == "on"
        assert TasmotaMQTT.faults({**DESK, "ip": "x", "full_topic": "%topic%/x"}).keys() == {"full_topic"}


def test_zigbee2mqtt_says_why() -> None:
    with zigbee.Double() as device:
        device.fails = True
        with pytest.raises(TransientError, match=r"failed: 'Error: no route'$"):
            driver(Zigbee2MQTT, device.port, **LAMP).port_on(1)
        device.fails, device.bridge = False, '{"state":"offline"}'
        with pytest.raises(TransientError, match=r"is offline$"):
            driver(Zigbee2MQTT, device.port, **LAMP).port_on(1)


def test_a_plug_that_is_not_there() -> None:
    def attempt(seconds: float) -> None:
        with (
            zigbee.Double() as device,
            pytest.raises(DeviceTimeout, match=r"^no answer from the broker \S+ at reading the"),
        ):
            driver(Zigbee2MQTT, device.port, seconds=seconds, **{**LAMP, "topic": "nobody"}).port_status(1)

    with_patience(attempt, 0.5)


def test_a_switch_that_does_not_obey() -> None:
    with Relays() as device:
        device.obeys = False
        with pytest.raises(DeviceTimeout):
            driver(ESPHomeMQTT, device.port, seconds=1, **BENCH).port_on("relay_1")
        with pytest.raises(TransientError, match=r"the broker knows of no switch relay_9$"):
            driver(ESPHomeMQTT, device.port, **BENCH).port_status("relay_9")


def test_sensors_that_measure_nothing_now() -> None:
    with Relays() as device:
        sensors = {"relay_1": {"watts": "relay_1_power", "amps": "relay_1_current", "volts": "none"}}
        assert driver(ESPHomeMQTT, device.port, **BENCH, sensors=sensors).read_outlets() == [
            OutletReading("relay_1", state=State.OFF, watts=12.5),
            OutletReading("relay_2", state=State.OFF),
        ]


@pytest.mark.parametrize(
    ("kind", "settings", "key"),
    [
        (TasmotaMQTT, {"topic": "a/+"}, "topic"),
        (TasmotaMQTT, {"full_topic": "%prefix%/%topic%/#"}, "full_topic"),
        (Zigbee2MQTT, {"base": "#"}, "base"),
        (ESPHomeMQTT, {"sensors": {"a": {"watt_hours": "b"}}}, "sensors"),
        (ESPHomeMQTT, {"sensors": {"A b": {"watts": "b"}}}, "sensors"),
        (ESPHomeMQTT, {"insecure": True, "ca_file": "x"}, "insecure"),
    ],
)
def test_settings_that_cannot_work(kind: type[MQTTDevice], settings: dict[str, Any], key: str) -> None:
    assert kind.faults({"ip": "broker", **settings}).keys() == {key}
