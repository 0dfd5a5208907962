# SPDX-License-Identifier: MIT
"""Several servers that are places of one daemon: what broke off is asked for again, by its key, wherever the daemon is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, commands, result
from tests.support.client import GOES_ON, Ran, ask, client
from tests.support.ports import free_ports
from tests.support.process import Daemon, eventually


class Spare:
    """A daemon that is at the first place, and later at the second, with what it has on record."""

    def __init__(self, daemon: Callable[..., Daemon]) -> None:
        self.ports = free_ports(2)
        acts = {"cmd_on": "sleep 0.2; echo on %s >>acted", "cmd_off": "echo off %s >>acted"}
        self.daemon = daemon(
            {"rack": {"driver": "localcmdline", **acts}},
            nodes={f"board{port}": {"hostname": "rack", "port": port} for port in range(1, 5)},
            port=self.ports[0],
            start=False,
        )
        self.move(0)
        self.url = ",".join(f"http://127.0.0.1:{port}" for port in self.ports)

    def move(self, place: int) -> None:
        """Start the daemon at a place."""
        self.daemon.settings["daemon"]["port"] = self.ports[place]
        self.daemon.configure(self.daemon.settings)
        self.daemon.start()

    def acted(self) -> list[str]:
        """Return what was done to outlets, in order."""
        path = self.daemon.folder / "acted"
        return path.read_text().splitlines() if path.exists() else []

    def off(self, *ports: int) -> None:
        """Wait until outlets are off, and that is on record: what is under way at a kill is done again."""
        wanted = {str(port) for port in ports}

        def switched() -> set[str]:
            every = self.daemon.http("/api/v1/requests").json
            return {outlet["port"] for each in every for outlet in each["switched"] if outlet["state"] == "off"}

        eventually(lambda: wanted <= switched())

    def ask(self, *words: str) -> tuple[threading.Thread, list[Ran]]:
        """Run the client beside; return what runs it, and what is there when it has ended."""
        ran: list[Ran] = []
        thread = threading.Thread(target=lambda: ran.append(client(*words, f"--url={self.url}")))
        thread.start()
        return thread, ran


@pytest.fixture
def spare(daemon: Callable[..., Daemon]) -> Spare:
    return Spare(daemon)


@pytest.mark.parametrize("place", [0, 1])
def test_it_hears_from_the_next_one_what_became_of_it(spare: Spare, place: int) -> None:
    """Killed in the middle of a reboot, and started again there or elsewhere."""
    thread, ran = spare.ask("restart", "--yes", "board[1-2]", "-v")
    spare.off(1, 2)
    spare.daemon.kill()
    spare.move(place)
    thread.join(30)
    told = f"pduclient: http://127.0.0.1:{spare.ports[0]}: the answer ended early; asking what became of it"
    assert [each[:2] for each in ran] == [(0, "board1 Restarting\nboard2 Restarting\n")]
    assert told in ran[0].err
    assert sorted(spare.acted()) == ["off 1", "off 2", "on 1", "on 2"]
    assert len(spare.daemon.http("/api/v1/requests").json) == 2


def test_states_and_lists_are_asked_for_again(spare: Spare) -> None:
    """Nothing is switched by that, so that it does not matter what kind of server it is."""
    for words, out in (("status a", "a On\n"), ("list", "a\n")):
        reply = commands(result("a"))
        with StreamServer(end=End.RESET) as first, PowerServer(reply) as second:
            first.lines = []
            ran = ask(f"{first.url},{second.url}", words)
            assert ran[:2] == (0, out) and len(first.asked) == len(second.asked) == 1
    assert client("list", f"--url={spare.url}").out.split() == [f"board{port}" for port in range(1, 5)]


def test_what_may_be_no_pdudaemon_is_sent_nothing_twice(spare: Spare) -> None:
    with PowerServer(commands(result("a"))) as other:
        url = f"http://127.0.0.1:{spare.ports[0]},{other.url}"
        ran: list[Ran] = []
        thread = threading.Thread(target=lambda: ran.append(client("restart", "-y", "board1", f"--url={url}", "-v")))
        thread.start()
        spare.off(1)
        spare.daemon.kill()
        eventually(lambda: other.asked)
        spare.move(0)
        thread.join(30)
        assert ran[0][:2] == (0, "board1 Restarting\n") and {*other.asked} == {"GET /healthz"}
        assert spare.acted() == ["off 1", "on 1"]
    with StreamServer(end=End.RESET) as first:
        first.lines = []
        refused = ask(f"{first.url},http://127.0.0.1:{spare.ports[0]}", "on board1")
        assert (refused.code, refused.out) == (2, "") and refused.err.endswith(f"{GOES_ON}\n")
        assert first.asked == ["GET /healthz", "PATCH /?nodes=board1"]


def test_all_of_it_ends_in_time(spare: Spare) -> None:
    """Where no place answers any more, it says in the end what it had said without another place to ask."""
    thread, ran = spare.ask("restart", "--yes", "board1", "--timeout=6", "--json")
    spare.off(1)
    spare.daemon.kill()
    thread.join(30)
    (told,) = ran
    document = json.loads(told.out)
    assert told.code == 1 and document["ok"] is False and document["id"] == 1
    goes_on = "command 1 goes on; pduclient cancel 1 takes back what has not begun"
    assert document["error"] == f"board1: not known: the answer ended early; {goes_on}"
