# SPDX-License-Identifier: MIT
"""pduclient on a terminal: progress, the question before nodes go down, Ctrl-C."""

from __future__ import annotations

import re
import signal

import pexpect
import pytest

from tests.devices.openflight import End, PowerServer, StreamServer, cluster, commands, reply, result
from tests.support.client import GOES_ON, NOWHERE, PROGRAM, ask
from tests.support.process import eventually
from tests.support.terminal import terminal


def test_progress() -> None:
    with StreamServer(*cluster(3), pause=2.5) as server, terminal(server.url, "status node[01-03]") as client:
        ran = client.end()
        assert ran[:2] == (0, "node01 On\nnode02 On\nnode03 On\n") and ran.err.endswith("\r\x1b[K")
        lines = ran.err.split("\x1b[K")
        assert all(re.fullmatch(r"\rstatus: [0-3] of 3 nodes, \d+ s|\r|", line) for line in lines), lines
        assert "\rstatus: 2 of 3 nodes, " in ran.err
    with StreamServer(*cluster(3), pause=0.8) as server:
        for environment in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
            with terminal(server.url, "status node[01-03]", **environment) as client:
                assert client.end().err == ""
        assert ask(server.url, "status node[01-03]", TERM="xterm").err == ""


def test_what_is_quick_shows_no_progress() -> None:
    """Unless this machine is not."""

    def shown() -> str:
        with StreamServer(result("a")) as server, terminal(server.url, "status a") as client:
            ran = client.end()
        assert ran[:2] == (0, "a On\n")
        return ran.err

    eventually(lambda: shown() == "")


def test_colours() -> None:
    """On a terminal alone; a table is as wide with them as without."""
    results = [result("a"), result("b", running=False), result("c", success=False, error="no answer")]
    pdus = [{"name": "apc7", "driver": "dummy", "state": "stuck"}, {"name": "b", "driver": "dummy", "state": "ready"}]
    replies = {"GET /?nodes=a%2Cb%2Cc": commands(*results), "GET /api/v1/pdus?limit=1000": reply(pdus)}
    with PowerServer(replies) as server:

        def shown(words: str, **environment: str) -> list[str]:
            run = [*PROGRAM[1:], *words.split(), f"--url={server.url}"]
            env = {**NOWHERE, "TERM": "xterm", **environment}
            return [
                line.rstrip() for line in pexpect.run(PROGRAM[0] + " " + " ".join(run), env=env).decode().splitlines()
            ]

        table = shown("status a b c")
        assert table[:3] == ["a \x1b[32mOn     \x1b[0m", "b Off", "c \x1b[33mUnknown\x1b[0m"]
        assert "\x1b[31mstuck\x1b[0m" in shown("pdus")[1] and "\x1b[32mready\x1b[0m" in shown("pdus")[2]
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            assert not any("\x1b" in line for words in ("status a b c", "pdus") for line in shown(words, **environment))
        assert "\x1b" not in ask(server.url, "status a b c", TERM="xterm").out


@pytest.mark.parametrize("words", ["on a", "list", "cancel 7", "pdus", "show a", "history"])
def test_progress_of_what_keeps_silent(words: str) -> None:
    with StreamServer(end=End.HOLD) as server:
        server.lines = []
        with terminal(server.url, words) as client:
            eventually(lambda: re.search(r"^\r[a-z ]+: waiting, [1-9] s\x1b\[K", client.screen))
            client.process.send_signal(signal.SIGINT)
            ran = client.end()
        assert (ran.code, ran.out) == (130, "") and "\r\x1b[Kpduclient: interrupted" in ran.err


@pytest.mark.parametrize(
    ("words", "question", "known"),
    [
        ("off node[01-03],node05", "off: 4 nodes, node[01-03],node05? [y/N] ", None),
        ("restart a b", "restart: 2 nodes, a,b? [y/N] ", None),
        ("off -g rack1", "off: all nodes of rack1? [y/N] ", None),
        ("off @rack1", "off: all nodes of @rack1? [y/N] ", None),
        ("off @rack1 -x b", "off: 3 nodes, node[1-3]? [y/N] ", "names=%40rack1%21b"),
        ("off -g rack1", "off: 3 nodes, node[1-3]? [y/N] ", "groups=rack1"),
        ("off 'node*'", "off: 3 nodes, node[1-3]? [y/N] ", "names=node%2A"),
    ],
)
def test_confirmation(words: str, question: str, known: str | None) -> None:
    """Where names are for the server to know, it is asked for them."""
    listed = {f"GET /api/v1/nodes?{known}&limit=1000": reply([{"name": f"node{n}"} for n in (1, 2, 3)])}
    with PowerServer({**(listed if known else {}), "": commands(result("a", "power_off"))}) as server:
        for answer in ("\n", "n\n", "maybe\n", "\x04"):
            with terminal(server.url, words) as client:
                eventually(lambda client=client: client.screen == f"pduclient: {question}")
                client.type(answer)
                ran = client.end()
            assert (ran.code, ran.out) == (2, "") and ran.err.endswith("pduclient: nothing was sent\n")
        assert not any(line.startswith(("PUT", "DELETE")) for line in server.asked)
        with terminal(server.url, words) as client:
            eventually(lambda: client.screen == f"pduclient: {question}")
            client.type("y\n")
            assert client.end().code == 0
        *looks, switched = server.asked
        assert switched.startswith(("PUT", "DELETE")) and all("/api/v1/nodes?" in look for look in looks)


@pytest.mark.parametrize("words", ["off a", "off node[07]", "off -y a,b", "on a,b", "status a,b"])
def test_no_confirmation(words: str) -> None:
    with StreamServer(result("a")) as server:
        with terminal(server.url, words) as client:
            ran = client.end()
        assert ran.code == 0 and "?" not in ran.err
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
            and idle.asked == ["GET /api/v1/nodes?groups=a&limit=1000"]
        )


def test_interrupt_before_any_answer() -> None:
    for words, more in (("on a", GOES_ON), ("status a", "")):
        with StreamServer(end=End.HOLD) as server:
            server.lines = []
            with terminal(server.url, words) as client:
                eventually(lambda server=server: server.asked)
                client.process.send_signal(signal.SIGINT)
                assert client.end() == (130, "", f"pduclient: interrupted{more}\n")
