# SPDX-License-Identifier: MIT
"""Which of its two interfaces a command line of pduclient means."""

from __future__ import annotations

import runpy

import pytest

from tests.support.client import CLIENT, MISSING, NODES_USAGE, USAGE, client


@pytest.mark.parametrize(
    ("words", "err"),
    [
        ("on", f"{NODES_USAGE}pduclient: error: insufficient arguments for command 'on'\n"),
        ("-fy off --nodes", f"{NODES_USAGE}pduclient: error: insufficient arguments for command 'off'\n"),
        ("list node01", f"{NODES_USAGE}pduclient: error: excess arguments for command 'list'\n"),
        ("on node01 --bogus", f"{NODES_USAGE}pduclient: error: unrecognized arguments: --bogus\n"),
        ("--url http://x restart", f"{NODES_USAGE}pduclient: error: insufficient arguments for command 'restart'\n"),
        ("list -x a", f"{NODES_USAGE}pduclient: error: argument --exclude: not for command 'list'\n"),
        ("status --no-wait a", f"{NODES_USAGE}pduclient: error: argument --no-wait: not for command 'status'\n"),
        ("on a --timeout 1h", f"{NODES_USAGE}pduclient: error: argument --timeout: '1h' is not a number of seconds\n"),
        ("bogus", f"{NODES_USAGE}pduclient: error: invalid command 'bogus'\n"),
        ("histroy", f"{NODES_USAGE}pduclient: error: invalid command 'histroy'; history?\n"),
        ("--json -y bogus", f"{NODES_USAGE}pduclient: error: invalid command 'bogus'\n"),
        ("on a --hostname b --port 1 --command on", None),
    ],
)
def test_calls_for_nodes(words: str, err: str | None) -> None:
    ran = client(*words.split())
    assert (ran.code, ran.out) == (2, "") and ran.err.startswith(NODES_USAGE)
    assert err is None or ran.err == err


@pytest.mark.parametrize("command", ["show", "outlets", "cancel"])
@pytest.mark.parametrize("blank", ["", " "])
def test_blank_is_not_given_as_when_a_variable_is_empty(command: str, blank: str) -> None:
    """No server is asked."""
    ran = client(command, blank, "--url", "http://127.0.0.1:1")
    assert (ran.code, ran.out) == (2, "") and ran.err.startswith(f"Usage: pduclient {command} ")
    assert ran.err.endswith(f"pduclient: error: insufficient arguments for command '{command}'\n")


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        ("", (1, MISSING, "")),
        ("frob node01", (1, MISSING, "")),
        ("frob --hostname x", (1, MISSING, "")),
        ("--command on --hostname x --port 1", (1, MISSING, "")),
        ("--hostname on --port 1 --command on", (1, MISSING, "")),
        ("--timeout 5 --command on", (1, MISSING, "")),
        (
            "--timeout 1h on --daemon x",
            (2, "", f"{USAGE}pduclient: error: argument --timeout: '1h' is not a number of seconds\n"),
        ),
        ("-y", (2, "", f"{USAGE}pduclient: error: no such option: -y\n")),
    ],
)
def test_calls_of_the_existing_client(words: str, ran: tuple[int, str, str]) -> None:
    assert client(*words.split()) == ran


@pytest.mark.parametrize(
    "options", ["--daemon={} --host x --po 1 --com on", "--timeout 5 --da {} --alias=x --command on"]
)
@pytest.mark.parametrize("verb", ["list", "status", "on", "off", "restart"])
def test_a_call_with_a_daemon_is_one_of_the_existing_client(options: str, verb: str) -> None:
    meant = runpy.run_path(str(CLIENT))["find_command"]
    words = options.format("127.0.0.1:1").split()
    for place in range(len(words) + 1):
        assert not meant([*words[:place], verb, *words[place:]])
    assert meant([verb, "x"]) and meant(["--url=x", "-gv", "--timeout", "5", "--json", verb, "x"])


def test_help() -> None:
    ran = client("status", "--help")
    assert (ran.code, ran.err) == (0, "") and ran.out.startswith(NODES_USAGE)
    for word in ("groups", "verbose", "fold", "yes", "json", "url", "token", "ca-file", "timeout", "config"):
        assert f" --{word}" in ran.out
    assert max(map(len, ran.out.splitlines())) < 80
    assert "pduclient list -h" in client("-h").out
    for words in ("help", "help status", "-y help"):
        assert client(*words.split()) == ran
