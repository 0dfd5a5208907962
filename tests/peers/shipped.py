# SPDX-License-Identifier: MIT
"""The platforms of ``share/topology.yaml``, word by word, with nodes of a test's own, behind a real daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from tests.support.process import ROOT, Daemon

SHIPPED = ROOT / "share" / "topology.yaml"
VERBS = {"status": "GET", "on": "PATCH", "off": "DELETE", "restart": "PUT"}


class Cluster:
    """A daemon with some nodes, driven as OpenFlight's client does it. ``environment`` is added to the daemon's."""

    def __init__(
        self, make: Callable[..., Daemon], nodes: dict[str, Any], environment: dict[str, str] | None = None
    ) -> None:
        platforms = yaml.safe_load(SHIPPED.read_text())["platforms"]
        topology = json.dumps({"static_nodes": nodes, "platforms": platforms})  # JSON is YAML
        self.daemon = make({}, start=False, topology=topology)
        self.daemon.environment.update(environment or {})
        self.daemon.start()

    def ask(self, command: str, name: str) -> Any:
        """Return the attributes that a command is answered with for a node."""
        reply = self.daemon.http(f"/?nodes={name}", VERBS[command])
        assert reply.status == 200, reply
        [entry] = reply.json["data"]
        return entry["attributes"]

    def switch(self, command: str, name: str) -> str | None:
        """Switch a node; return why it failed, None if it did not."""
        found = self.ask(command, name)
        assert found["success"] is (found["error"] is None), found
        return found["error"] and str(found["error"])

    def softly(self, action: str, name: str, seconds: float) -> str:
        """Have a node shut down, or switched off after some seconds; return what it came to."""
        body = json.dumps({"action": action, "nodes": name, "soft": seconds})
        reply = self.daemon.http("/api/v1/requests", "POST", body, Content_Type="application/json")
        return str(reply.json["nodes"][0]["reason"])

    def state(self, name: str) -> str:
        """Return "on", "off", or why the state of a node cannot be told."""
        found = self.ask("status", name)
        assert found["success"] is (found["error"] is None), found
        return str(found["error"] or {True: "on", False: "off"}[found["running"]])
