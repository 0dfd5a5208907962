# SPDX-License-Identifier: MIT
"""Things with a web server of their own: one that answers in JSON with a token, one with a form, words and Basic."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["rest"]
MOODS = [*Mood]
TOKEN = "tok/en+7"


class Relays(WebDevice):
    """Four relays counted from 0: ``PUT /v1/relays/0 {"on":true}``, all of them in ``GET /v1/status``."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {str(number): "off" for number in range(1, 5)}
        self.said: dict[str, object] = {"ok": True}

    def answer(self, request: Request) -> Answer:
        token = "changed" if self.mood is Mood.WRONG_PASSWORD else TOKEN
        if request.headers.get("authorization") != f"Bearer {token}":
            return Answer(401, "who are you?")
        if (request.method, request.target) == ("GET", "/v1/status"):
            relays = [{"ison": state == "on"} for state in self.outlets.values()]
            meters = [{"power": 12.5 * number, "text": "230.1 V"} for number in range(len(relays))]
            return Answer(200, json.dumps({"relays": relays, "meters": meters}))
        found = re.fullmatch(r"/v1/relays/([0-3])", request.target)
        if request.method != "PUT" or not found:
            return Answer(404)
        if self.mood is Mood.REFUSING:
            return Answer(409, "locked")
        self.outlets[str(int(found[1]) + 1)] = "on" if json.loads(request.body)["on"] else "off"
        return Answer(200, json.dumps(self.said))


class Sockets(WebDevice):
    """Sockets with names, ``POST /set`` with a form, ``GET /get?socket=NAME`` in words; Basic."""

    def __init__(self) -> None:
        super().__init__(login="user:word")
        self.outlets = {"left": "off", "a.b": "off"}

    def answer(self, request: Request) -> Answer:
        if request.target == "/set":
            form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            self.outlets[form["socket"]] = form["to"]
            return Answer(200, "<html>done</html>")
        name = request.target.removeprefix("/get?socket=")
        if name not in self.outlets:
            return Answer(404)
        return Answer(200, "".join(f'<p id="{each}">{state.upper()}</p>' for each, state in self.outlets.items()))


def settings_of(device: WebDevice) -> dict[str, object]:
    """Return the settings for relays."""
    return {
        "driver": "rest",
        "url": f"http://127.0.0.1:{device.port}/v1",
        "outlets": 4,
        "password": TOKEN,
        "headers": {"Authorization": "Bearer {password}", "Content-Type": "application/json"},
        "on": 'PUT /relays/{index} {"on":true}',
        "off": 'PUT /relays/{index} {"on":false}',
        "done": "/ok",
        "status": "GET /status",
        "state": "/relays/{index}/ison",
        "watts": "/meters/{index}/power",
    }


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run four relays."""
    with Relays(mood) as device:
        readings = {str(number): {"watts": 12.5 * (number - 1)} for number in range(1, 5)}
        bad = ["0", "5", "x", "-1", "1?x", "1/2"]
        yield Case(device, "bench", settings_of(device), [*device.outlets], bad, [TOKEN], readings=readings)
