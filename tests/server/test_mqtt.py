# SPDX-License-Identifier: MIT
"""The broker is told what there is and what happens, and asks; against mosquitto."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import tls
from pdudaemon.transports.mqtt import Account, Message, Session
from tests.peers.mosquitto import PASSWORD, USER, mosquitto
from tests.peers.server import listening
from tests.support.fronts import Front
from tests.support.ports import free_ports
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET

pytest.importorskip("paho.mqtt.client", reason="needs the Python package paho-mqtt")

PDUS: dict[str, Any] = {
    "a": {"driver": "dummy", "names": {"1": "router"}, "watts": {"1": 5.5}},
    "b/+#": {"driver": "dummy"},
}
NODES = {
    "twin": {"feeds": [{"hostname": "a", "port": 2}, {"hostname": "b/+#", "port": 2}]},
    "kept": {"hostname": "a", "port": 4, "locked": True},
}


class Hearing:
    """Somebody at the broker: ``told`` is the last that was said in each topic."""

    def __init__(self, port: int, **account: Any) -> None:
        self.told: dict[str, str] = {}
        self._session = Session(Account("127.0.0.1", port, **account), Deadline(60))

    def __enter__(self) -> Hearing:
        self._session.__enter__()
        self._session.subscribe(["#"])
        return self

    def __exit__(self, *words: object) -> None:
        self._session.__exit__(*words)

    def until(self, topic: str, payload: str | None = None, seconds: float = 60) -> str:
        """Return what is said in a topic, as soon as it is this; any text, if None."""
        until = time.monotonic() + seconds
        while topic not in self.told or (payload is not None and self.told[topic] != payload):
            self._session.deadline = Deadline(max(0.0, until - time.monotonic()))
            self._take(self._session.receive(f"{topic} {payload}; told is {self.told}"))
        return self.told[topic]

    def quiet(self, seconds: float) -> None:
        """Hear all that is said within some seconds."""
        self._session.deadline = Deadline(seconds)
        while True:
            try:
                self._take(self._session.receive("anything"))
            except DeviceTimeout:
                return

    def say(self, topic: str, payload: str, retain: bool = False) -> None:
        self._session.deadline = Deadline(60)
        self._session.publish(topic, payload, retain=retain)

    def _take(self, message: Message) -> None:
        self.told[message.topic] = message.text
        if not message.text:
            del self.told[message.topic]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path / "mosquitto") as port:
        yield port


def lab(daemon: Callable[..., Daemon], port: int, mqtt: dict[str, Any] | None = None, **words: Any) -> Daemon:
    """Return a daemon that speaks with a broker."""
    roles = words.pop("roles", {})
    started = daemon(PDUS, nodes=NODES, start=False, **words)
    started.settings |= {"mqtt": {"host": "127.0.0.1", "port": port, **(mqtt or {})}, "roles": roles}
    started.configure(started.settings)
    started.start()
    return started


def test_states_and_readings_are_kept_by_the_broker(daemon: Callable[..., Daemon], broker: int) -> None:
    started = lab(daemon, broker)
    assert started.power("on", "a", 1).status == 200
    started.http("/api/v1/pdus/a?fresh=1")
    with Hearing(broker) as one:
        one.until("pdudaemon/outlet/a/1/state", "on")
        while json.loads(one.until("pdudaemon/outlet/a/1/readings"))["watts"] != 5.5:
            one.quiet(0.2)
        one.until("pdudaemon/status", "online")
        one.until("pdudaemon/pdu/a/status", "online")
    with Hearing(broker) as later:  # which the broker tells by itself
        later.until("pdudaemon/outlet/a/1/state", "on")
        started.power("off", "a", 1)
        later.until("pdudaemon/outlet/a/1/state", "off")
        started.http("/power/control/on?alias=twin")
        later.until("pdudaemon/node/twin/state", "on")
        later.until("pdudaemon/outlet/b%2F%2B%23/2/state", "on")


def test_commands_switch_and_are_answered(daemon: Callable[..., Daemon], broker: int) -> None:
    started = lab(daemon, broker)
    with Hearing(broker) as one:
        one.until("pdudaemon/status", "online")
        one.say("pdudaemon/outlet/a/1/set", "ON")
        one.until("pdudaemon/outlet/a/1/state", "on")
        assert json.loads(one.until("pdudaemon/outlet/a/1/result")) == {"request": 1, "state": "done", "reason": None}
        one.say("pdudaemon/outlet/b%2F%2B%23/3/set", "on")
        one.until("pdudaemon/outlet/b%2F%2B%23/3/state", "on")
        one.say("pdudaemon/node/twin/set", "off")
        assert json.loads(one.until("pdudaemon/node/twin/result"))["state"] == "done"
    records = started.http("/api/v1/requests?client=mqtt 127.0.0.1".replace(" ", "%20")).json
    assert [(each["action"], each["target"].split()[0]) for each in records][1:] == [("on", "b/+#"), ("on", "a")]


def test_what_is_at_sites_is_told_and_switched_by_them(daemon: Callable[..., Daemon], broker: int) -> None:
    with closing(Front(daemon)) as labs:
        berlin = labs.add("berlin", {"bad": {"driver": "dummy", "refuse": "relay welded", "retries": 1}})
        front = labs.begin(mqtt={"host": "127.0.0.1", "port": broker}, daemon={"wait": 5})
        link, outlet, node = labs.links["berlin"], "pdudaemon/outlet/berlin%2Fp1/3", "pdudaemon/node/berlin%2Fboard3"
        with Hearing(broker) as one:
            one.until(f"{outlet}/state")
            one.say(f"{outlet}/set", "on")
            assert json.loads(one.until(f"{outlet}/result")) == {"request": "berlin/1", "state": "done", "reason": None}
            one.until(f"{outlet}/state", "on")
            link.down = 30  # the answer is lost
            one.say(f"{node}/set", "off")
            assert json.loads(one.until(f"{node}/result")) == {"request": "berlin/2", "state": "done", "reason": None}
            one.until(f"{node}/state", "off")
            assert link.cuts == 1 and labs.tries("berlin") == 2
            one.say(f"{node}/set", "reboot")
            eventually(lambda: berlin.outlets()["3"] == "on" and labs.tries("berlin") == 4)
            one.say("pdudaemon/outlet/berlin%2Fbad/1/set", "on")
            bad = json.loads(one.until("pdudaemon/outlet/berlin%2Fbad/1/result"))
            assert (bad["request"], bad["state"]) == ("berlin/4", "failed") and "relay welded" in bad["reason"]
            berlin.stop()
            one.until(f"{outlet}/state", "unknown")
            one.say(f"{outlet}/set", "off")
            away = json.loads(one.until(f"{outlet}/result"))
            while away["state"] == "done":
                one.quiet(0.2)
                away = json.loads(one.told[f"{outlet}/result"])
            assert away["state"] == "refused" and away["reason"].startswith("berlin cannot be asked: "), away
    eventually(lambda: f"request berlin/1: on berlin/p1 port 3 for mqtt 127.0.0.1:{broker} done" in front.log_text())


@pytest.mark.parametrize(
    "topic, payload, why",
    [
        ("outlet/a/1", "perhaps", "'perhaps' is none of on, off, reboot"),
        ("outlet/a/1", "status", "'status' is none of"),
        ("outlet/a/99", "on", "99"),
        ("outlet/none/1", "on", "there is no PDU 'none'"),
        ("node/none", "on", "there is no alias or node 'none'"),
        ("node/kept", "on", "locked"),
        ("outlet/a/4", "on", "locked"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    shared: tuple[Daemon, int], topic: str, payload: str, why: str
) -> None:
    started, port = shared
    with Hearing(port) as one:
        one.until("pdudaemon/status", "online")
        one.say(f"pdudaemon/{topic}/set", payload)
        result = json.loads(one.until(f"pdudaemon/{topic}/result"))
    assert result["state"] == "refused" and why in result["reason"]
    assert started.http("/api/v1/requests").json == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, int]]:
    """Yield a daemon that is never to switch anything, and the port of its broker."""
    folder = tmp_path_factory.mktemp("shared")
    with mosquitto(folder / "mosquitto") as port:
        started = Daemon(folder, PDUS, nodes=NODES)
        started.settings["mqtt"] = {"host": "127.0.0.1", "port": port}
        started.configure(started.settings)
        started.start()
        yield started, port
        started.kill()


def test_a_command_that_the_broker_had_kept_is_not_obeyed(daemon: Callable[..., Daemon], broker: int) -> None:
    with Hearing(broker) as one:
        one.say("pdudaemon/outlet/a/1/set", "off", retain=True)
        started = lab(daemon, broker)
        one.until("pdudaemon/status", "online")
        eventually(lambda: "a command that the broker had kept was not obeyed" in started.log.read_text())
    assert started.http("/api/v1/requests").json == []


def test_home_assistant_is_told_what_there_is(shared: tuple[Daemon, int]) -> None:
    _, port = shared
    with Hearing(port) as one:
        one.until("pdudaemon/status", "online")
        one.until("homeassistant/switch/pdudaemon_outlet_a_1/config")
        one.until("homeassistant/sensor/pdudaemon_outlet_a_1_watts/config")
        one.until("homeassistant/binary_sensor/pdudaemon_outlet_a_4/config")  # locked
        one.quiet(0.5)
        found = {topic: json.loads(text) for topic, text in one.told.items() if topic.startswith("homeassistant/")}
        for each in found.values():
            one.until(each["state_topic"])
    numbers = [each["unique_id"] for each in found.values()]
    assert len({*numbers}) == len(numbers)
    switch = found["homeassistant/switch/pdudaemon_outlet_a_1/config"]
    assert switch["name"] == "router" and switch["command_topic"] == "pdudaemon/outlet/a/1/set"
    for each in found.values():
        assert each["availability"][0] == {"topic": "pdudaemon/status"}
    assert not [topic for topic in found if "switch" in topic and "_kept" in topic]


def test_the_loss_of_the_daemon_is_told_by_the_broker_and_its_end_by_itself(
    daemon: Callable[..., Daemon], broker: int
) -> None:
    started = lab(daemon, broker)
    with Hearing(broker) as one:
        one.until("pdudaemon/status", "online")
        started.kill()
        one.until("pdudaemon/status", "offline")
        started.start()
        one.until("pdudaemon/status", "online")
        assert started.stop() == 0
        one.until("pdudaemon/status", "offline")


def test_what_is_gone_after_a_reload_is_forgotten_by_the_broker(daemon: Callable[..., Daemon], broker: int) -> None:
    started = lab(daemon, broker)
    with Hearing(broker) as one:
        one.until("pdudaemon/node/twin/state")
        del started.settings["nodes"]["twin"]  # type: ignore[attr-defined]
        started.configure(started.settings)
        assert started.process is not None
        started.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 60
        while "pdudaemon/node/twin/state" in one.told:
            assert time.monotonic() < until
            one.quiet(0.2)
        started.settings["mqtt"]["topic"] = "lab"  # type: ignore[index]
        started.configure(started.settings)
        started.process.send_signal(signal.SIGHUP)
        one.until("lab/status", "online")
        one.until("pdudaemon/status", "offline")


def test_a_login_and_tls(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    with mosquitto(tmp_path / "mosquitto", login=True, tls=True) as port:
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        account = {"secure": True, "ca_file": str(tmp_path / "mosquitto" / "cert.pem"), "username": USER}
        started = lab(daemon, port, {**account, "password": {"file": str(tmp_path / "password")}})
        context = tls(ca_file=str(tmp_path / "mosquitto" / "cert.pem"))
        with Hearing(port, username=USER, password=PASSWORD, tls=context) as one:
            one.until("pdudaemon/status", "online")
        started.stop()
        started.settings["mqtt"]["password"] = "wrong:8"  # type: ignore[index]
        started.configure(started.settings)
        started.start()
        eventually(lambda: "login refused by the broker" in started.log.read_text())
        assert PASSWORD not in started.log.read_text() and "wrong:8" not in started.log.read_text()


def test_roles_bound_what_is_shown_and_done(daemon: Callable[..., Daemon], broker: int) -> None:
    roles = {"lab": {"pdus": ["a"], "may": ["on", "status"]}}
    lab(daemon, broker, {"roles": ["lab"]}, roles=roles, secret=SECRET)
    with Hearing(broker) as one:
        one.until("pdudaemon/outlet/a/1/state")
        one.say("pdudaemon/outlet/a/1/set", "on")
        one.until("pdudaemon/outlet/a/1/state", "on")
        one.say("pdudaemon/outlet/a/1/set", "off")
        while "may not" not in one.told.get("pdudaemon/outlet/a/1/result", ""):
            one.quiet(0.2)
        assert "may not switch off" in one.told["pdudaemon/outlet/a/1/result"]
        assert one.told["pdudaemon/outlet/a/1/state"] == "on" and "b%2F" not in "".join(one.told)


def test_what_a_role_does_not_see_the_broker_is_not_told(daemon: Callable[..., Daemon], broker: int) -> None:
    started = lab(daemon, broker)
    started.stop()
    started.settings["nodes"] = {"mine": {"hostname": "a", "port": 2}, "others": {"hostname": "a", "port": 2}}
    started.settings["roles"] = {"lab": {"nodes": "mine", "may": ["on", "status"]}}
    started.settings["mqtt"]["roles"] = ["lab"]
    started.configure(started.settings)
    started.start()
    assert started.http("/api/v1/pdus/a?fresh=1").status == 200
    with Hearing(broker) as one:
        found = {}
        while found.get("name") != "mine":  # the broker has kept what the daemon before has told
            found = json.loads(one.until(topic := "homeassistant/switch/pdudaemon_outlet_a_2/config"))
            del one.told[topic]
        assert found["name"] == "mine" and [*found["device"]] == ["identifiers", "name"]
        for name in ("router", "rooter"):  # one that there is, and one like it
            one.say(f"pdudaemon/outlet/a/name:{name}/set", "on")
            told = json.loads(one.until(f"pdudaemon/outlet/a/name:{name}/result"))
            assert told == {
                "request": None,
                "state": "refused",
                "reason": f"a port name:{name}: there is no such outlet",
            }


def test_where_tokens_are_needed_nobody_switches_without_a_role(daemon: Callable[..., Daemon], broker: int) -> None:
    lab(daemon, broker, secret=SECRET)
    with Hearing(broker) as one:
        one.until("pdudaemon/outlet/a/1/state")
        one.say("pdudaemon/outlet/a/1/set", "on")
        assert json.loads(one.until("pdudaemon/outlet/a/1/result"))["state"] == "refused"


def test_a_broker_that_is_away_or_hangs_costs_nobody_anything(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for port in (deaf.getsockname()[1], *free_ports()):
            started = lab(daemon, port)
            assert started.power("on", "a", 1).status == 200
            assert started.http("/healthz").status == 200
            began = time.monotonic()
            assert started.stop() == 0 and time.monotonic() - began < 40  # it is not waited for
    assert "connection refused by the broker" in started.log.read_text()


def test_a_broker_that_comes_back_is_told_everything(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    with mosquitto(tmp_path / "first") as port:
        started = lab(daemon, port)
        with Hearing(port) as one:
            one.until("pdudaemon/status", "online")
    eventually(lambda: "it is tried again" in started.log.read_text())
    started.power("on", "a", 3)
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
    with listening([str(program), "-c", str(tmp_path / "first" / "conf")], port), Hearing(port) as again:
        again.until("pdudaemon/outlet/a/3/state", "on")
        again.until("pdudaemon/status", "online")
