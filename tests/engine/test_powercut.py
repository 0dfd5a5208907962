# SPDX-License-Identifier: MIT
"""The power is cut at random moments under load: what was promised to outlive that does.

Promised is: where the off of a reboot may have reached a device, its on comes; with ``fsync: "all"`` nothing that was
acknowledged is lost; what is on record as done is not done again; and the daemon starts, whatever the disk has. Now and
then the disk does not take what it is given, and says so once.

``CUTS`` says how many there are, ``CUTS_SEED`` which; ``CUTS_REPORT`` names a file for the figures (``make test-cuts``): of
``acked`` requests so many were ``lost``, of those that nobody had promised more than that they outlive the daemon; so
many boards were ``owed`` their on, and so many actions ``resumed``.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pdudaemon.engine.storage.store import Store
from pdudaemon.power import Action, Phase
from tests.support.lossydisk import LossyDisk
from tests.support.plugins import Recorded
from tests.support.process import Daemon, at_rest

CUTS = int(os.environ.get("CUTS", "8"))
SEED = int(os.environ.get("CUTS_SEED", "0"))
CHAINS = 4
PDUS = {"pdu0": {"takes": 0.002}, "pdu1": {"takes": 0.02}, "pdu2": {"takes": 0.05}}
REBOOTED = ("1", "2")  # ports that are only ever rebooted, hence are on in the end
PORTS = (*REBOOTED, "3", "4")

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


class Acked(NamedTuple):
    """A request that the daemon has said yes to."""

    id: int
    action: str
    outlets: list[tuple[str, str]]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(SEED * CHAINS, (SEED + 1) * CHAINS))
def test_the_power_is_cut_at_random_moments_under_load(
    daemon: Callable[..., Daemon], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    fsync = ("reboot", "all")[seed % 2]
    disk = LossyDisk(tmp_path, chance)
    started, plugin = _farm(daemon, disk, fsync)
    figures: Counter[str] = Counter()
    started.environment |= disk.environment
    started.start()
    for number in range(-(-CUTS // CHAINS)):
        acked = _under_load(started, chance, disk.fails)
        how = disk.cut()
        where = f"seed {seed}, cut {number} (fsync {fsync!r}, what was not synced is there: {how})"
        numbers, left = _on_disk(disk, tmp_path / "copy")
        lost = [each for each in acked if each.id not in numbers]
        owed = _owed(plugin)
        figures += Counter(cuts=1, acked=len(acked), lost=len(lost), owed=len(owed))
        assert fsync != "all" or not lost, f"{where}: lost: {lost}"
        for outlet in owed:
            assert left[outlet].endswith("o"), f"{where}: {outlet} may be off, and nobody is to switch it on"
        before = len(plugin.seen("end"))
        started.environment |= disk.environment
        started.start()
        at_rest(started)
        done = _words(plugin, before)
        for outlet in {*done, *left}:
            assert re.fullmatch(left[outlet], done[outlet]), f"{where}: {outlet}: {done[outlet]} for {left[outlet]}"
        assert not _owed(plugin), where
        figures["resumed"] += sum(map(len, done.values()))
    if report := os.environ.get("CUTS_REPORT"):
        with open(report, "a") as file:
            told = {"seed": seed, "fsync": fsync, "cuts": 0, "acked": 0, "lost": 0, "owed": 0, "resumed": 0, **figures}
            file.write(f"* {json.dumps(told)}\n")


def _farm(daemon: Callable[..., Daemon], disk: LossyDisk, fsync: str) -> tuple[Daemon, Recorded]:
    nodes = {
        f"{kind}{port}": {"feeds": [{"hostname": pdu, "port": port} for pdu in PDUS]}
        for kind, ports in (("fed", REBOOTED), ("any", PORTS[2:]))
        for port in ports
    }
    started = daemon({}, start=False, fsync=fsync, max_queue=100000, nodes=nodes)
    plugin = Recorded(started)
    started.settings["pdus"] = {name: plugin.settings(**pdu) for name, pdu in PDUS.items()}
    started.configure(started.settings)
    started.real = True
    started.db = disk.folder / "store.db"
    return started, plugin


def _under_load(started: Daemon, chance: random.Random, fails: Path) -> list[Acked]:
    """Ask for much of everything until the daemon is killed; return what was acknowledged. The disk ``fails`` or not."""
    acked: list[Acked] = []
    stopping = threading.Event()

    def client(chance: random.Random) -> None:
        while not stopping.wait(chance.uniform(0.0, 0.1)):
            asked = _asked(chance)
            with suppress(OSError, http.client.HTTPException, ValueError):
                acked.extend(_acked(started, asked))

    clients = [threading.Thread(target=client, args=(random.Random(chance.random()),)) for _ in range(6)]
    for thread in clients:
        thread.start()
    stopping.wait(chance.uniform(0.0, 1.0))
    if chance.random() < 0.3:
        fails.touch()
        stopping.wait(chance.uniform(0.0, 0.3))
        fails.unlink()
        stopping.wait(chance.uniform(0.0, 1.0))
    started.kill()
    stopping.set()
    for thread in clients:
        thread.join(60)
    return acked


def _asked(chance: random.Random) -> dict[str, Any]:
    wait = chance.choice([0, 0, 5])
    only = chance.random() < 0.5
    port = chance.choice(REBOOTED if only else PORTS[2:])
    action = "reboot" if only else chance.choice(["on", "off", "reboot"])
    asked: dict[str, Any] = {"action": action, "wait": wait}
    if action == "reboot":
        asked["delay"] = chance.choice([0, 0.05, 0.3])
    if chance.random() < 0.3:
        return {**asked, "nodes": [f"{'fed' if only else 'any'}{port}" for port in (REBOOTED if only else PORTS[2:])]}
    return {**asked, "hostname": chance.choice([*PDUS]), "port": port}


def _acked(started: Daemon, asked: dict[str, Any]) -> list[Acked]:
    reply = started.http("/api/v1/requests", "POST", json.dumps(asked), Content_Type="application/json")
    document = reply.json
    if reply.status == 503 and document.get("type") == "urn:pdudaemon:store":
        return []  # the disk fails
    assert reply.status in (200, 201, 202, 207), document
    if "nodes" not in asked:
        return [Acked(document["id"], asked["action"], [(asked["hostname"], asked["port"])])]
    return [
        Acked(each["request"], asked["action"], [(pdu, each["name"][-1]) for pdu in PDUS])
        for each in document["nodes"]
        if each["request"]
    ]


def _on_disk(disk: LossyDisk, folder: Path) -> tuple[set[int], dict[tuple[str, str], str]]:
    """Return the numbers of all requests on the disk, and patterns of what each outlet is to be made yet.

    A board that is off for a request which has to wait, be it for other outlets, may be switched on until then.
    """
    for path in (folder, folder.with_name("image")):  # which stays, for who wants to know what was wrong
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(disk.folder, path)
    store = Store(str(folder / "store.db"))
    try:
        numbers = {row["id"] for row in store.rows(1_000_000)}
        left: dict[tuple[str, str], str] = defaultdict(str)
        for request in store.live():
            for outlet in request.remaining:
                word = {Action.ON: "o", Action.OFF: "f", Action.REBOOT: "fo"}[request.action]
                before = "o?" if outlet in request.debts else ""
                left[outlet.pdu, outlet.port] += "o" if request.phase is Phase.ON else before + word
        return numbers, left
    finally:
        store.close()


def _words(plugin: Recorded, after: int) -> dict[tuple[str, str], str]:
    """Return what each outlet was made since so many lines."""
    words: dict[tuple[str, str], str] = defaultdict(str)
    for each in plugin.seen("end")[after:]:
        words[each.pdu, each.port] += "o" if each.command == "on" else "f"
    return words


def _owed(plugin: Recorded) -> list[tuple[str, str]]:
    """Return the outlets, of those that are only rebooted, that may be off."""
    last = {(each.pdu, each.port): each for each in plugin.seen()}
    return [outlet for outlet, each in last.items() if outlet[1] in REBOOTED and each.command == "off"]
