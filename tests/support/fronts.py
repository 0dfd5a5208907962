# SPDX-License-Identifier: MIT
"""A front, its sites, and a proxy between them for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.cutting import Cutting
from tests.support.process import Daemon, Reply, eventually
from tests.support.tokens import later, made

JSON = {"Content_Type": "application/json"}


def order(daemon: Daemon, action: str = "on", key: str = "", **words: Any) -> Reply:
    """Have something switched by ``POST /api/v1/requests``."""
    headers = {**JSON, **({"Idempotency_Key": key} if key else {})}
    return daemon.http("/api/v1/requests", "POST", json.dumps({"action": action, **words}), **headers)


class Front:
    """Some sites, each behind a proxy, and a front of them. The PDU ``p1`` of a site keeps its outlets in a file."""

    def __init__(self, daemon: Callable[..., Daemon]) -> None:
        self._daemon = daemon
        self.sites: dict[str, Daemon] = {}
        self.links: dict[str, Cutting] = {}
        self.front: Daemon

    def add(self, name: str, pdus: dict[str, Any] | None = None, **more: Any) -> Daemon:
        site = self._daemon({}, start=False)
        site.settings["pdus"] = {
            "p1": {"driver": "dummy", "outlets": 4, "file": str(site.folder / "outlets"), "retries": 1},
            **(pdus or {}),
        }
        site.settings |= {"nodes": {"board[1-4]": {"hostname": "p1", "port": "[1-4]"}, **more.pop("nodes", {})}}
        site.settings["groups"] = {"rack1": "board[1-2]", **more.pop("groups", {})}
        secret = more.pop("secret", "")
        site.settings["daemon"] |= more.pop("daemon", {})
        site.settings |= more
        _secret(site, secret)
        site.configure(site.settings)
        site.start()
        self.sites[name], self.links[name] = site, Cutting(site.port)
        return site

    def begin(self, pdus: dict[str, Any] | None = None, sites: dict[str, Any] | None = None, **more: Any) -> Daemon:
        self.front = front = self._daemon(pdus or {}, start=False)
        configured = {name: {"url": link.url} for name, link in self.links.items()}
        for name, options in (sites or {}).items():
            configured[name] = {**configured.get(name, {}), **options}
        front.settings["daemon"] |= more.pop("daemon", {})
        _secret(front, more.pop("secret", ""))
        daemon = front.settings["daemon"]
        front.configure({**front.settings, "daemon": daemon, "sites": configured, **more})
        front.start()
        for name in self.links:
            self.reached(name)
        return front

    def site(self, name: str) -> dict[str, Any]:
        found = {each["name"]: each for each in self.front.http("/api/v1/sites").json["sites"]}
        return dict(found.get(name, {"reachable": False, "reason": "it is no site"}))

    def reached(self, name: str) -> None:
        eventually(lambda: self.site(name)["reachable"])

    def restart(self, name: str) -> None:
        """Have a site begin anew, on its store, at another port."""
        self.sites[name].start()
        self.links[name].target = self.sites[name].port

    def tries(self, name: str) -> int:
        """Return how often a site has asked its device for something to be switched."""
        lines = self.sites[name].http("/metrics").text.splitlines()
        return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("pdudaemon_tries_total"))

    def tried(self, name: str, times: int) -> None:
        """Wait until a site has asked its device so often."""
        eventually(lambda: self.tries(name) >= times)

    def close(self) -> None:
        for link in self.links.values():
            link.__exit__()


@contextmanager
def front_of_berlin(
    factory: pytest.TempPathFactory, pdus: dict[str, Any], nodes: dict[str, Any] | None = None
) -> Iterator[Front]:
    """Run a front, for a whole file, of a site that has more PDUs, and nodes, and has been asked for something."""
    started: list[Daemon] = []

    def daemon(pdus: dict[str, Any], start: bool = True, **more: Any) -> Daemon:
        started.append(Daemon(factory.mktemp("front"), pdus, **more))
        return started[-1]

    made = Front(daemon)
    made.add("berlin", pdus, nodes=nodes or {})
    front = made.begin(
        {"own": {"driver": "dummy"}},
        nodes={"mine": {"hostname": "own", "port": 1}},
        groups={"every": "mine,@berlin/rack1"},
    )
    assert front.http("/?nodes=berlin/board1", "PATCH").status == 200
    yield made
    made.close()
    for each in started:
        each.kill()


def _secret(daemon: Daemon, secret: str) -> None:
    """Have a daemon ask for tokens that are signed with a secret; what a test asks has one."""
    if secret:
        (daemon.folder / "secret").write_text(secret)
        (daemon.folder / "secret").chmod(0o600)
        daemon.settings["daemon"]["jwt_secret_file"] = "secret"
        daemon.token = made({"exp": later()}, secret)
