# SPDX-License-Identifier: MIT
"""Anything with a web server: what is asked for, where the answer is looked for, and settings that cannot work."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers import rest as module
from pdudaemon.drivers.rest import REST
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import read, secret_values
from tests.devices.base.web import Answer, Request, WebDevice
from tests.devices.rest import TOKEN, Relays, Sockets, settings_of
from tests.devices.shellygen1 import Shelly
from tests.devices.tasmota import Tasmota
from tests.support.action import begun


def driver(device: WebDevice, seconds: float = 120, **settings: Any) -> REST:
    return begun(REST("bench", read_in({**settings_of(device), **settings})), seconds)


def read_in(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings that are not None."""
    return {key: value for key, value in settings.items() if value is not None}


FORM = {
    "password": "word",
    "username": "user",
    "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    "outlets": None,
    "on": "POST /set socket={port}&to=on",
    "off": "POST /set socket={port}&to=off",
    "done": "done</html>",
    "status": "GET /get?socket={port}",
    "state": '<p id="{port}">(\\w+)</p>',
    "watts": None,
}


def test_a_form_and_a_pattern() -> None:
    with Sockets() as device:
        sockets = driver(device, url=f"http://127.0.0.1:{device.port}", **FORM)
        sockets.port_on("a.b")
        assert device.outlets == {"left": "off", "a.b": "on"}
        assert sockets.port_status("a.b") is State.ON and sockets.port_status("left") is State.OFF
        device.outlets["axb"] = device.outlets.pop("a.b")  # a dot of a port is no pattern
        device.outlets["a.b"] = "standby"
        assert sockets.port_status("a.b") is State.UNKNOWN
        del device.outlets["a.b"]
        with pytest.raises(PermanentError, match=r"at GET /get: answered 404"):
            sockets.port_status("a.b")


def test_a_shelly_as_the_documentation_has_it() -> None:
    example = re.search(r'"bench": (\{.*?\}),\n    "api"', module.__doc__ or "", re.DOTALL)
    assert example is not None
    with Shelly(login="admin:secret") as device:
        where = {"url": f"http://127.0.0.1:{device.port}", "username": "admin", "password": "secret"}
        bench = begun(REST("bench", {**json.loads(example[1]), **where}))
        bench.port_on(2)
        assert device.outlets == {"0": "off", "1": "on", "2": "off", "3": "off"}
        assert bench.port_status(2) is State.ON and bench.port_status(1) is State.OFF
        told = bench.read_outlets()[1]
        assert (told.port, told.state, told.watts) == ("2", State.ON, 12.5)


def test_a_tasmota() -> None:
    with Tasmota(4, password="secret") as device:
        login = "user={username}&password={password}"
        settings = {
            "driver": "rest",
            "url": f"http://127.0.0.1:{device.port}",
            "username": "admin",
            "password": "secret",
            "on": f"GET /cm?cmnd=Power{{port}}%20on&{login}",
            "off": f"GET /cm?cmnd=Power{{port}}%20off&{login}",
            "done": "/POWER{port}",
            "status": f"GET /cm?cmnd=Power{{port}}&{login}",
            "state": "/POWER{port}",
        }
        plug = begun(REST("plug", settings))
        plug.port_on(3)
        assert device.outlets["3"] == "on" and plug.port_status(3) is State.ON
        with pytest.raises(PermanentError, match=r"at GET /cm: the answer has no /POWER\{port\}$"):
            plug.port_on(9)


def test_what_is_sent() -> None:
    with Relays() as device:
        driver(device).port_on(3)
        (request,) = device.requests
        assert (request.method, request.target, request.body) == ("PUT", "/v1/relays/2", b'{"on":true}')
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["content-type"] == "application/json"


def test_all_outlets_by_one_question() -> None:
    with Relays() as device:
        device.outlets["2"] = "on"
        told = driver(device, volts="/meters/{index}/text").read_outlets()
        assert len(device.requests) == 1
        assert [(each.port, each.state, each.watts, each.volts) for each in told] == [
            ("1", State.OFF, 0.0, None),
            ("2", State.ON, 12.5, None),
            ("3", State.OFF, 25.0, None),
            ("4", State.OFF, 37.5, None),
        ]


@pytest.mark.parametrize("said", [{"ok": False}, {"fine": True}, {"ok": None}, []])
def test_an_answer_without_what_says_done(said: Any) -> None:
    with Relays() as device:
        device.said = said
        with pytest.raises(PermanentError, match=r"at PUT /v1/relays/0: the answer has no /ok$"):
            driver(device).port_on(1)


class Saying(WebDevice):
    """Answers everything with one text."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.said = said

    def answer(self, request: Request) -> Answer:
        return Answer(200, self.said)


@pytest.mark.parametrize(
    ("said", "place", "state"),
    [
        ("ON\n", None, State.ON),
        ("0", None, State.OFF),
        ("", None, State.UNKNOWN),
        ('{"a/b":[{"~":true}]}', "/a~1b/0/~0", State.ON),
        ('{"a":1}', "/a", State.ON),
        ('{"a":null}', "/a", None),
        ('{"a":[]}', "/a", None),
        ("not json", "/a", None),
        ("[" * 100000, "/0", None),
        ("power=off;", r"power=(\w+)", State.OFF),
        ("power=off;", r"on|off", State.OFF),
        ("power=off;", r"volts=(\w+)", None),
    ],
)
def test_where_the_state_is(said: str, place: str | None, state: State | None) -> None:
    with Saying(said) as device:
        rest = driver(device, state=place, watts=None)
        if state is not None:
            assert rest.port_status(1) is state
            return
        with pytest.raises(TransientError, match=r"at GET /v1/status: the answer does not tell the state of 1$"):
            rest.port_status(1)


def test_words_of_its_own() -> None:
    with Saying("Closed") as device:
        assert driver(device, state=None, watts=None, on_words=["closed"], off_words="open").port_status(1) is State.ON


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://user:word@x"}, "url"),
        ({"url": "http://x/?a=b"}, "url"),
        ({"url": "http://x:99999"}, "url"),
        ({"on": "PUT"}, "on"),
        ({"on": "STEAL /x"}, "on"),
        ({"on": None}, "on"),
        ({"state": "(", "status": "GET /"}, "state"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": "b\r\nc: d"}}, "headers"),
        ({"on_words": []}, "on_words"),
        ({"status": None}, "state"),
        ({"insecure": True, "ca_file": "x"}, "insecure"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], key: str) -> None:
    whole = read_in({**settings_of(Relays()), **settings})
    assert key in hooks.faults(REST, whole)


def test_no_secret_is_shown() -> None:
    headers = {"Cookie": "session=abcdef"}
    assert {"session=abcdef", TOKEN} <= {*secret_values(REST, {"password": TOKEN, "headers": headers})}
    found = read(REST, {"url": "http://user:hidden@x"})[1]["url"]
    assert "hidden" not in found


def test_an_index_of_a_name() -> None:
    with Relays() as device:
        rest = driver(device, outlets=None)
        assert REST.canonical_port("left", read_in({**settings_of(device), "outlets": None})) == "left"
        with pytest.raises(PermanentError, match=r"\{index\} needs a number as the port, not 'left'$"):
            rest.port_on("left")
        assert not device.received
