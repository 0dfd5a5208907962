# SPDX-License-Identifier: MIT
"""pduclient on a terminal: progress, the question before nodes go down, Ctrl-C."""

from __future__ import annotations

import signal

import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, cluster, result
from tests.support.client import GOES_ON, ask
from tests.support.process import eventually
from tests.support.terminal import terminal


def test_progress() -> None:
    with StreamServer(*cluster(3), pause=0.05) as server:
        with terminal(server.url, "status node[01-03]") as client:
            ran = client.end()
        counts = "".join(f"\rstatus: {n} of 3 nodes\x1b[K" for n in (0, 1, 2, 3))
        assert ran == (0, "node01 On\nnode02 On\nnode03 On\n", f"{counts}\r\x1b[K")
        for environment in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
            with terminal(server.url, "status node[01-03]", **environment) as client:
                assert client.end().err == ""
        assert ask(server.url, "status node[01-03]", TERM="xterm").err == ""
    with StreamServer(result("a")) as server, terminal(server.url, "status a") as client:
        assert client.end() == (0, "a On\n", "")


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("off node[01-03],node05", "off: 4 nodes, node[01-03],node05? [y/N] "),
        ("restart a b", "restart: 2 nodes, a,b? [y/N] "),
        ("off -g rack1", "off: all nodes of rack1? [y/N] "),
        ("off @rack1", "off: all nodes of @rack1? [y/N] "),
    ],
)
def test_confirmation(words: str, question: str) -> None:
    with StreamServer(result("a", "power_off")) as server:
        for answer in ("\n", "n\n", "maybe\n", "\x04"):
            with terminal(server.url, words) as client:
                eventually(lambda client=client: client.screen == f"pduclient: {question}")
                client.type(answer)
                ran = client.end()
            assert (ran.code, ran.out) == (2, "") and ran.err.endswith("pduclient: nothing was sent\n")
        assert server.asked == []
        with terminal(server.url, words) as client:
            eventually(lambda: client.screen == f"pduclient: {question}")
            client.type("y\n")
            assert client.end().code == 0
        assert len(server.asked) == 1


@pytest.mark.parametrize("words", ["off a", "off node[07]", "off -y a,b", "on a,b", "status a,b"])
def test_no_confirmation(words: str) -> None:
    with StreamServer(result("a")) as server:
        with terminal(server.url, words) as client:
            assert client.end()[::2] == (0, "")
        assert ask(server.url, "restart a,b").err == ""


def test_interrupt() -> None:
    with StreamServer(result("node01", "power_on"), count=3, end=End.HOLD) as server:
        with terminal(server.url, "on node[01-03]") as client:
            eventually(lambda: "1 of 3" in client.screen)
            client.process.send_signal(signal.SIGINT)
            ran = client.end()
        assert (ran.code, ran.out) == (130, "node01 Starting\n")
        assert ran.err.endswith(f"\r\x1b[Kpduclient: node[02-03]: not known: interrupted{GOES_ON}\n")
    with PowerServer(b"") as idle, terminal(idle.url, "off a -g") as client:
        eventually(lambda: "? [y/N]" in client.screen)
        client.process.send_signal(signal.SIGINT)
        ran = client.end()
        assert (
            ran[:2] == (130, "")
            and ran.err.endswith("\npduclient: interrupted; nothing was sent\n")
            and idle.asked == []
        )


def test_interrupt_before_any_answer() -> None:
    for words, more in (("on a", GOES_ON), ("status a", "")):
        with StreamServer(end=End.HOLD) as server:
            server.lines = []
            with terminal(server.url, words) as client:
                eventually(lambda server=server: server.asked)
                client.process.send_signal(signal.SIGINT)
                assert client.end() == (130, "", f"pduclient: interrupted{more}\n")
