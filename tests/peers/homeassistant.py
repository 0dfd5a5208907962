# SPDX-License-Identifier: MIT
"""Home Assistant itself, with switches that are made of nothing.

It wants some 80 packages of its own, hence a virtual environment of its own; ``HOMEASSISTANT`` says where its program
``hass`` is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.ports import free_ports
from tests.support.process import eventually

USERNAME, PASSWORD = "pdu", "secretpw"

CONFIGURATION = """
homeassistant:
  name: bench
  latitude: 0
  longitude: 0
  elevation: 0
  unit_system: metric
  time_zone: UTC
  auth_providers: [{{type: homeassistant}}]
http: {{server_host: 127.0.0.1, server_port: {port}}}
api:
auth:
config:
input_boolean: {{relay1: {{name: Relay 1}}}}
switch:
  - platform: template
    switches:
      outlet1: &outlet
        value_template: "{{{{ is_state('input_boolean.relay1', 'on') }}}}"
        turn_on: {{service: input_boolean.turn_on, target: {{entity_id: input_boolean.relay1}}}}
        turn_off: {{service: input_boolean.turn_off, target: {{entity_id: input_boolean.relay1}}}}
      away:
        <<: *outlet
        availability_template: "{{{{ false }}}}"
"""


class HomeAssistant(NamedTuple):
    """A running server: its TCP port, and an access token for half an hour."""

    port: int
    token: str

    def state(self, entity: str) -> str:
        """Return the state of an entity."""
        return str(self._asked(f"/api/states/{entity}")["state"])

    def tell(self, entity: str, state: str) -> None:
        """Say what the state of an entity is; one that is not there comes to be, with nothing behind it."""
        self._asked(f"/api/states/{entity}", {"state": state})

    def attributes(self, entity: str) -> dict[str, Any]:
        """Return what else is known of an entity."""
        return dict(self._asked(f"/api/states/{entity}")["attributes"])

    def entities(self) -> dict[str, str]:
        """Return the states of all entities."""
        return {each["entity_id"]: each["state"] for each in self._asked("/api/states")}

    def call(self, service: str, entity: str) -> None:
        """Have something done with an entity, as a button of its web pages has: ``switch/turn_on``."""
        self._asked(f"/api/services/{service}", {"entity_id": entity})

    def add_broker(self, port: int, **login: str) -> None:
        """Have it use an MQTT broker, as its web pages do when one is added; with a username and a password."""
        flow = self._asked("/api/config/config_entries/flow", {"handler": "mqtt", "show_advanced_options": False})
        entered = {"broker": "127.0.0.1", "port": port, **login}
        told = self._asked(f"/api/config/config_entries/flow/{flow['flow_id']}", entered)
        assert told["type"] == "create_entry", told

    def switch(self, state: str) -> None:
        """Switch what is behind the switches."""
        self._asked(f"/api/services/input_boolean/turn_{state}", {"entity_id": "input_boolean.relay1"})

    def _asked(self, path: str, order: object = None) -> Any:
        body = None if order is None else json.dumps(order).encode()
        return _asked(self.port, path, body, {"Authorization": f"Bearer {self.token}"})


@contextmanager
def homeassistant(folder: Path) -> Iterator[HomeAssistant]:
    """Run Home Assistant with a user and the switches outlet1 and away, which cannot be reached."""
    program = shutil.which(os.environ.get("HOMEASSISTANT", "hass"))
    if program is None:
        pytest.skip("Home Assistant is not installed (HOMEASSISTANT=.../bin/hass)")
    folder.mkdir()
    (port,) = free_ports()
    (folder / "configuration.yaml").write_text(CONFIGURATION.format(port=port))
    adding = [program, "--script", "auth", "-c", str(folder), "add", USERNAME, PASSWORD]
    subprocess.run(adding, check=True, capture_output=True, timeout=60)
    with (folder / "printed").open("wb") as printed:
        # With --skip-pip, what it needs must have been installed with it: nothing is fetched while tests run.
        process = subprocess.Popen([program, "-c", str(folder), "--skip-pip"], stdout=printed, stderr=printed)
    try:
        started: list[HomeAssistant] = []

        def ready() -> bool:
            assert process.poll() is None, (folder / "printed").read_text()
            try:
                if not started:
                    started.append(HomeAssistant(port, _token(port)))
                return started[0].state("switch.outlet1") == "off"
            except OSError:  # not yet: refused, or an HTTPError
                return False

        eventually(ready, 60)
        yield started[0]
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _token(port: int) -> str:
    """Log in as its web pages do, and return an access token."""
    client = f"http://127.0.0.1:{port}/"
    flow = {"client_id": client, "handler": ["homeassistant", None], "redirect_uri": client}
    number = _asked(port, "/auth/login_flow", json.dumps(flow).encode())["flow_id"]
    login = {"client_id": client, "username": USERNAME, "password": PASSWORD}
    code = _asked(port, f"/auth/login_flow/{number}", json.dumps(login).encode())["result"]
    grant = {"grant_type": "authorization_code", "code": code, "client_id": client}
    return str(_asked(port, "/auth/token", urllib.parse.urlencode(grant).encode())["access_token"])


def _asked(port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, dict(headers or {}))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        return json.load(response)
