# SPDX-License-Identifier: MIT
"""Labs that use the daemon of `tests.vm.cluster` while that is hurt, and a watch that measures for how long nobody answers.

A lab asks again with the same key until it is told something, and remembers what it was told. Some speak HTTP, at the
address that moves; the others run ``pduclient``, which knows both nodes by their own addresses.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.vm import namespaces
from tests.vm.cluster import ADDRESS, PATIENCE, ROOT

PORT = 16421
CLIENTS = ["15", "16"]  # outlets of labs that run pduclient
COMMAND = f"curl --silent --fail --max-time 5 http://{namespaces.ADDRESS}:8000"
CONF = {
    "daemon": {"hostname": "0.0.0.0", "port": PORT, "listener": "both"},
    "pdus": {"rack": {"driver": "localcmdline", "cmd_on": f"{COMMAND}/on/%s", "cmd_off": f"{COMMAND}/off/%s"}},
    "nodes": {f"board{port}": {"hostname": "rack", "port": port} for port in CLIENTS},
}

WAIT = 20.0  # seconds that a lab waits for what it has asked for
AGAIN = 0.2  # seconds after which it asks again
URL = f"http://10.77.0.1:{PORT},http://10.77.0.2:{PORT}"
WORDS = {"on": ["on"], "off": ["off", "--yes"], "reboot": ["restart", "--yes"]}  # of pduclient
RENEWED = "asking what became of it"  # says pduclient where an answer broke off
_SILENCE = 0.5  # seconds after which the watch takes no answer for none


class Told(NamedTuple):
    """What the daemon said of a request that it has accepted."""

    number: int
    action: str
    port: str
    status: int


class Outage(NamedTuple):
    """When nobody answered, in monotonic seconds."""

    begun: float
    ended: float


def ask(method: str, path: str, body: object = None, seconds: float = WAIT + 10) -> tuple[int, Any]:
    """Ask the daemon, at the address that moves. Raises: OSError, HTTPException, if nobody answers."""
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=seconds)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else text
    finally:
        connection.close()


def insist(key: str, action: str, port: str, wait: float, **more: float) -> Told:
    """Ask for something until the daemon has accepted it, with one key."""
    order = {"action": action, "hostname": "rack", "port": port, "key": key, "wait": wait, **more}
    while True:
        try:
            status, said = ask("POST", "/api/v1/requests", order)
        except (OSError, http.client.HTTPException):
            time.sleep(AGAIN)
            continue
        number = said.get("id") or said.get("request") if isinstance(said, dict) else None
        if number:
            return Told(number, action, port, status)
        assert status in (409, 503), (status, said)
        time.sleep(AGAIN)


class Labs:
    """Some labs, each with an outlet of its own, which all the time want something.

    ``nodes`` are the outlets of those that run ``pduclient``. It is counted how often that ``runs``, ends ``untold``, and
    has ``renewed`` what broke off: heard, perhaps from the other node, what had become of it.
    """

    def __init__(self, ports: list[str], nodes: list[str], seed: int) -> None:
        self.told: list[Told] = []
        self.runs = self.untold = self.renewed = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed: list[BaseException] = []
        asked = [(port, insist) for port in ports] + [(port, self._run) for port in nodes]
        self._threads = [threading.Thread(target=self._work, args=(*each, seed)) for each in asked]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Have all come to their end. Raises: what one of them did not expect."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _run(self, key: str, action: str, port: str, wait: float, **_: float) -> Told:
        """Ask by pduclient, and run it again until it has been told."""
        command = [sys.executable, str(ROOT / "pduclient"), *WORDS[action], f"board{port}", f"--url={URL}", "--json"]
        while True:
            ran = subprocess.run([*command, f"--key={key}"], capture_output=True, text=True, timeout=3 * PATIENCE)
            (node,) = json.loads(ran.stdout).get("nodes") or [{}]
            with self._lock:
                self.runs += 1
                self.renewed += RENEWED in ran.stderr and "request" in node
                self.untold += "request" not in node
            if "request" in node:
                return Told(node["request"], action, port, 200 if node["ok"] else 504)
            assert ran.returncode in (1, 2), ran
            time.sleep(AGAIN)

    def _work(self, port: str, asking: Callable[..., Told], seed: int) -> None:
        dice = random.Random(f"{seed} {port}")
        try:
            for number in itertools.count():
                if self._over.wait(dice.uniform(0.0, 0.5)):
                    return
                action = dice.choice(("on", "off", "reboot"))
                more = {"delay": 1.0} if action == "reboot" else {}
                self.told.append(asking(f"{seed}-{port}-{number}", action, port, WAIT, **more))
        except BaseException as error:
            self._failed.append(error)


class Watch:
    """Asks ``/healthz`` all the time."""

    def __init__(self) -> None:
        self.outages: list[Outage] = []
        self.since: float | None = None  # when nobody answered any more; None: somebody does
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def longest(self, since: float) -> float:
        """Return how long the longest outage took of those that began at some time or later."""
        return max(
            (outage.ended - outage.begun for outage in self.outages if outage.begun >= since - _SILENCE), default=0.0
        )

    def _work(self) -> None:
        while not self._over.wait(0.05):
            begun = time.monotonic()
            try:
                well = ask("GET", "/healthz", seconds=_SILENCE)[0] == 200
            except (OSError, http.client.HTTPException):
                well = False
            if not well and self.since is None:
                self.since = begun
            elif well and self.since is not None:
                self.outages.append(Outage(self.since, time.monotonic()))
                self.since = None
