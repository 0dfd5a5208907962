# SPDX-License-Identifier: MIT
"""Home Assistant itself, driven by the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pdudaemon.config import reader
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import Action, State
from pdudaemon.probing import ask
from tests.devices.rack import Rack
from tests.peers.homeassistant import HomeAssistant, homeassistant
from tests.peers.mosquitto import PASSWORD, USER, mosquitto
from tests.support.guides import Guide
from tests.support.process import Daemon, eventually
from tests.support.rack import awaited, submitted


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeAssistant]:
    with homeassistant(tmp_path_factory.mktemp("ha") / "config") as running:
        yield running


@pytest.fixture
def dispatcher(server: HomeAssistant, tmp_path: Path) -> Iterator[Dispatcher]:
    home = {"driver": "home-assistant-http", "hostname": "127.0.0.1", "port": server.port, "retries": 1}
    pdus = {"home": {**home, "api_key": server.token}, "stranger": {**home, "api_key": "eyJ.no.token"}}
    (tmp_path / "conf").write_text(json.dumps({"pdus": pdus}))
    conf = reader.load(str(tmp_path / "conf"))
    assert not conf.faults and not conf.warnings
    one = Dispatcher(conf, Store(MEMORY), tmp_path)
    one.start()
    yield one
    assert one.close(5) == ([], [])


def order(dispatcher: Dispatcher, action: Action, port: str, pdu: str = "home") -> None:
    """Switch. Raises: why it failed."""
    assert awaited(dispatcher, submitted(dispatcher, action, dispatcher.config.target(pdu, port), 0), 30)


def read(dispatcher: Dispatcher, port: str, pdu: str = "home") -> State:
    """Return the state. Raises: why it cannot be told."""
    return dispatcher.look(dispatcher.config.target(pdu, port), 30).state


def test_switching_and_reading(server: HomeAssistant, dispatcher: Dispatcher) -> None:
    for action in (Action.ON, Action.ON, Action.OFF, Action.REBOOT):
        order(dispatcher, action, "outlet1")
        expected = "off" if action is Action.OFF else "on"
        assert server.state("switch.outlet1") == server.state("input_boolean.relay1") == expected
        assert read(dispatcher, "switch.outlet1") == expected
    server.switch("off")
    assert read(dispatcher, "outlet1") is State.OFF


def test_it_is_probed(server: HomeAssistant) -> None:
    (found,) = ask(f"127.0.0.1:{server.port}", []).found
    assert found.settings["driver"] == "home-assistant-http" and found.settings["port"] == server.port


def test_a_switch_that_is_not_there(dispatcher: Dispatcher) -> None:
    for action in (Action.ON, Action.OFF):
        with pytest.raises(PermanentError, match=r"^home: \S+ at GET /api/states/switch.nothing: there is no such "):
            order(dispatcher, action, "nothing")
    with pytest.raises(PermanentError, match="there is no such switch"):
        read(dispatcher, "nothing")


def test_a_token_that_is_not_valid(server: HomeAssistant, dispatcher: Dispatcher) -> None:
    with pytest.raises(PermanentError, match=r"^stranger: login refused by \S+ at GET \S+ \(401\): the api_key is not"):
        order(dispatcher, Action.ON, "outlet1", "stranger")
    with pytest.raises(PermanentError, match="login refused"):
        read(dispatcher, "outlet1", "stranger")
    assert server.state("switch.outlet1") == "off"


def test_states_that_are_neither_on_nor_off(server: HomeAssistant, dispatcher: Dispatcher) -> None:
    server.tell("switch.blind", "unknown")
    assert server.state("switch.away") == "unavailable"
    assert read(dispatcher, "away") is read(dispatcher, "blind") is State.UNKNOWN
    with pytest.raises(TransientError, match=r"/api/states/switch.away: the switch is unavailable$"):
        order(dispatcher, Action.ON, "away")
    with pytest.raises(TransientError, match=r"^home: port blind is still unknown after on$"):
        order(dispatcher, Action.ON, "blind")


def test_it_shows_the_outlets_as_switches_with_their_watts(
    server: HomeAssistant, daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Through a broker, with nothing configured there but that broker."""
    with mosquitto(tmp_path / "broker") as port:
        pdus = {"pdu01": {"driver": "dummy", "outlets": 4, "names": {"3": "lamp"}, "watts": {"3": 7.5}, "poll": 1}}
        lab = daemon(pdus, start=False)
        lab.settings["mqtt"] = {"host": "127.0.0.1", "port": port}
        lab.configure(lab.settings)
        lab.start()
        server.add_broker(port)
        switch = eventually(lambda: next((each for each in server.entities() if each.endswith("pdu01_3")), ""), 60)
        assert switch.startswith("switch.") and server.attributes(switch)["friendly_name"].endswith("lamp")
        assert eventually(lambda: server.state(switch) == "off", 60)  # until it is available, nothing is done
        server.call("switch/turn_on", switch)
        assert eventually(lambda: lab.http("/api/v1/pdus/pdu01/outlets/3").json["state"] == "on", 60)
        assert eventually(lambda: server.state(switch) == "on", 60)
        power = f"sensor.{switch.partition('.')[2]}_watts"
        assert eventually(lambda: power in server.entities() and float(server.state(power)) == 7.5, 60)
        assert server.attributes(power)["unit_of_measurement"] == "W"
        assert lab.power("off", "pdu01", 3).status == 200
        assert eventually(lambda: server.state(switch) == "off", 60)
        lab.kill()
        assert eventually(lambda: server.state(switch) == "unavailable", 60)


def watts(server: HomeAssistant, name: str) -> list[str]:
    """Return what the sensor of an outlet tells."""
    return [state for each, state in server.entities().items() if each.endswith(f"{name}_watts")]


def test_the_guide(tmp_path: Path) -> None:
    """With a server of its own: it has one broker."""
    with ExitStack() as ends:
        rack = ends.enter_context(Rack())
        port = ends.enter_context(mosquitto(tmp_path / "broker", login=True))
        server = ends.enter_context(homeassistant(tmp_path / "ha"))
        broker = f'"host": "127.0.0.1", "port": {port}'
        places = {**rack.places, '"host": "homeassistant.local"': broker, "secret of pdu": PASSWORD}
        guide = ends.enter_context(Guide("homeassistant", tmp_path / "guide", places))
        guide.follow()
        assert rack.acts == ["3 on"]
        server.add_broker(port, username=USER, password=PASSWORD)
        switch = eventually(lambda: next((each for each in server.entities() if each.endswith("printer")), ""), 60)
        assert eventually(lambda: server.state(switch) == "on", 60)
        server.call("switch/turn_off", switch)
        assert eventually(lambda: not rack.on, 60)
        assert eventually(lambda: server.state(switch) == "off", 60)
        assert eventually(lambda: watts(server, "rack1_3") == ["12.0"], 60), server.entities()
        assert {each.split(".")[0] for each in server.entities() if each.endswith("rack1_1")} == {"binary_sensor"}
