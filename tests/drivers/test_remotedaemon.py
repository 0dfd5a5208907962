# SPDX-License-Identifier: MIT
"""A PDU of another daemon: this one's, with tokens, and orders whose answers get lost."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import remotedaemon
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.remotedaemon import RemoteDaemon, RemoteNodes
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.remotedaemon import TOKEN, Remote
from tests.support.action import begun
from tests.support.process import Daemon, eventually


def driver(port: int, seconds: float = 120, **settings: Any) -> RemoteDaemon:
    whole = {"driver": "pdudaemon", "url": f"http://127.0.0.1:{port}", "pdu": "rack7", "token": TOKEN, **settings}
    return begun(RemoteDaemon("annex", whole), seconds)


def test_behind_another_daemon(daemon: Any) -> None:
    far: Daemon = daemon(
        {
            "rack7": {
                "driver": "dummy",
                "outlets": 3,
                "names": {"1": "router"},
                "watts": {"1": 12.5},
            },
            "sick": {"driver": "dummy", "refuse": "no relay", "retries": 1},
            "mute": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
        }
    )
    pdu = {"driver": "pdudaemon", "url": f"http://127.0.0.1:{far.port}"}
    near: Daemon = daemon({"annex": {**pdu, "pdu": "rack7"}, "sick": pdu, "mute": pdu})
    for action in ("on", "off", "on"):
        assert near.power(action, "annex", "02", wait=20).status == 200
        assert far.power("status", "rack7", "2").text.strip() == action
        assert near.power("status", "annex", "2").text.strip() == action
    told = near.http("/api/v1/pdus/annex?fresh=1").json
    assert [(each["port"], each["name"], each["state"], each["watts"]) for each in told["outlets"]] == [
        ("1", "router", "off", 0.0),
        ("2", None, "on", None),
        ("3", None, "off", None),
    ]
    assert told["identity"]["model"] == "dummy" and told["inlets"][0]["name"] == "total"
    refused = near.power("on", "sick", "1", wait=20)
    assert refused.status == 502 and "sick: no relay (502)" in refused.text
    nobody = near.power("on", "annex", "9", wait=20)
    assert nobody.status == 502 and "'9' is not a port: this PDU has 1 to 3 (503)" in nobody.text
    assert near.power("on", "mute", "1", wait=20).status == 200
    assert near.power("status", "mute", "1").text.strip() == "unknown"  # of which the far one has only what it said


def test_nodes_of_another_daemon(daemon: Any) -> None:
    feeds = [{"hostname": "rack7", "port": 1}, {"hostname": "rack7", "port": 2}]
    far: Daemon = daemon(
        {"rack7": {"driver": "dummy", "outlets": 3, "watts": {"1": 10, "2": 2.5}}},
        aliases={"lamp": {"hostname": "rack7", "port": "3"}},
        nodes={"web-1": {"feeds": feeds}},
    )
    near: Daemon = daemon({"annex": {"driver": "pdudaemon_nodes", "url": f"http://127.0.0.1:{far.port}"}})
    assert near.power("on", "annex", "web-1", wait=20).status == 200
    assert [far.power("status", "rack7", port).text.strip() for port in (1, 2, 3)] == ["on", "on", "off"]
    assert near.power("status", "annex", "web-1").text.strip() == "on"
    assert near.power("status", "annex", "lamp").text.strip() == "off"

    def told() -> dict[str, Any]:
        outlets = near.http("/api/v1/pdus/annex?fresh=1").json["outlets"]
        return {each["port"]: (each["state"], each["watts"]) for each in outlets}

    eventually(lambda: told() == {"lamp": ("off", None), "web-1": ("on", 12.5)})  # the far one reads behind its answer
    nobody = near.power("on", "annex", "web-2", wait=20)
    assert nobody.status == 502 and "web-2" in nobody.text


def test_nodes_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotedaemon, "_PAGE", 2)
    with Remote() as device:
        device.outlets = {f"n{number}": "off" for number in range(1, 6)}
        settings = {"driver": "pdudaemon_nodes", "url": f"http://127.0.0.1:{device.port}", "token": TOKEN}
        told = begun(RemoteNodes("annex", settings)).read_outlets()
        assert [each.port for each in told] == [*device.outlets] and len(device.requests) == 3


def test_an_answer_that_gets_lost() -> None:
    with Remote() as device:
        device.lost = 2
        annex = driver(device.port)
        for _ in range(2):
            with pytest.raises(TransientError):
                annex.port_on(1)
        annex.port_on(1)
        assert device.orders == ["on 1"]
        annex.port_on(1)
        annex.port_off(1)
        assert device.orders == ["on 1", "on 1", "off 1"]


@pytest.mark.parametrize(
    ("problem", "kind", "again"),
    [
        ((504, "not-done", "accepted as request 3, not done after 1 s; it goes on"), DeviceTimeout, 1),
        ((503, "stopping", "the daemon stops"), TransientError, 1),
        ((504, "device-timeout", "no answer within 3 s"), DeviceTimeout, 2),
        ((502, "device-failed", "flaky"), TransientError, 2),
        ((503, "busy", "the queue is full"), TransientError, 2),
        ((502, "device-refused", "relay welded"), PermanentError, 2),
        ((403, "locked", "rack7 is locked"), PermanentError, 2),
    ],
)
def test_what_the_other_daemon_says(problem: tuple[int, str, str], kind: type[Exception], again: int) -> None:
    """One that goes on is waited for by its key; what has failed is asked for anew."""
    with Remote() as device:
        device.problem = problem
        annex = driver(device.port)
        for _ in range(2):
            with pytest.raises(kind, match=rf"{problem[2]} \({problem[0]}\)$"):
                annex.port_on(1)
        assert len(device.keys) == again


def test_an_order_waits_less_than_we_do() -> None:
    with Remote() as device:
        driver(device.port, seconds=10).port_on(1)
        assert "&wait=9.0" in device.requests[0].target or "&wait=8." in device.requests[0].target


def test_a_state_that_it_does_not_read() -> None:
    with Remote() as device:
        device.source = "commanded"
        assert driver(device.port).port_status(1) is State.UNKNOWN
        assert driver(device.port).read_outlets()[0] == OutletReading(
            "1", "router", State.UNKNOWN, watts=12.5, amps=0.05
        )


def test_a_pdu_that_the_existing_daemon_does_not_have() -> None:
    class Existing(Remote):
        def answer(self, request: Any) -> Any:
            return super().answer(request)._replace(status=500, body="Invalid request")

    with (
        Existing() as device,
        pytest.raises(PermanentError, match=r"at GET /power/control/on: Invalid request \(500\)$"),
    ):
        driver(device.port, existing=True).port_on(1)


def test_the_existing_daemon() -> None:
    settings = {"driver": "pdudaemon", "url": "http://old:16421", "existing": True}
    assert not RemoteDaemon.reads_state(settings) and not RemoteDaemon.reads_outlets(settings)
    with Remote() as device:
        old = driver(device.port, existing=True)
        old.port_on(2)
        assert device.outlets["2"] == "on" and "wait=" not in device.requests[0].target
        assert old.read_inlets() == [] and old.identify() is None


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"outlets":7}', '{"outlets":[{"port":"1"}]}'])
def test_answers_that_tell_nothing(said: str) -> None:
    class Odd(Remote):
        def answer(self, request: Any) -> Any:
            return super().answer(request)._replace(body=said)

    with Odd() as device, pytest.raises(TransientError):
        driver(device.port).read_outlets()
