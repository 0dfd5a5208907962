# SPDX-License-Identifier: MIT
"""Completion in bash, zsh and fish: the real shells, asked at the end of a line."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pexpect
import pytest

from tests.devices.openflight import PowerServer, reply
from tests.support.client import CLIENT, client, run
from tests.support.completion import asking
from tests.support.process import ROOT


def completed(*lines: str, **environment: str) -> list[str]:
    """Return what bash offers at the end of each line."""
    ran = run(asking("pduclient", *lines), **environment)
    assert (ran.code, ran.err) == (0, "")
    registered, *offers = ran.out.splitlines()
    assert registered == "complete -F _pduclient pduclient"
    return offers


def test_completion_of_commands_and_options(tmp_path: Path) -> None:
    (tmp_path / "lab.pem").touch()
    offers = completed(
        "pduclient ",
        "pduclient re",
        "pduclient status --",
        "pduclient --daemon lab --",
        "pduclient cancel --",
        *(f"pduclient {word} --" for word in ("pdus", "outlets", "show", "history", "watch")),
        "pduclient --daemon lab --command re",
        "pduclient --daemon lab o",
        f"pduclient on --ca-file {tmp_path}/la",
        "pduclient on --token ",
        "pduclient on --key ",
        "pduclient cancel ",
    )
    verbs = "list status on off restart cancel pdus outlets show history watch"
    assert offers[:2] == [verbs, "restart"]
    assert offers[10:] == ["reboot", "", f"{tmp_path}/lab.pem", "", "", ""]
    helps = [["list", "-h"], ["-h"], *([word, "-h"] for word in ("cancel", *verbs.split()[6:]))]
    for offer, words in zip(offers[2:10], helps, strict=True):
        assert sorted(offer.split()) == sorted({*re.findall("--[a-z-]+", client(*words).out)})


def test_completion_of_names() -> None:
    names = ["gateway1", "node01", "node02", "$(touch evil)", "`id`", "-x"]
    nodes = [{"id": name, "attributes": {"name": name}} for name in names]
    groups = [{"id": name, "attributes": {"nodes": ["node01"]}} for name in ("all", "compute")]
    pdus = [{"name": name, "driver": "dummy", "state": "ready"} for name in ("apc7", "apc8", "`id`", "relay")]
    replies = {"GET /nodes": reply({"data": nodes}), "GET /groups": reply({"data": groups})}
    with PowerServer({**replies, "GET /api/v1/pdus?limit=1000": reply(pdus)}) as server:
        url = f"--url {server.url}"
        offers = completed(
            f"{CLIENT} status {url} no",
            f"{CLIENT} off --timeout 5 node01,n",
            f"{CLIENT} --url={server.url} on 'gate",
            f"{CLIENT} on {url} -g ",
            f"{CLIENT} list {url} ",
            f"{CLIENT} outlets {url} ap",
            f"{CLIENT} show {url} gate",
            PDUCLIENT_URL=server.url,
            PATH=os.environ["PATH"],
        )
        assert offers == [
            "node01 node02",
            "node01,node01 node01,node02",
            "gateway1",
            "all compute",
            "",
            "apc7 apc8",
            "gateway1",
        ]
        asked = [*["GET /nodes"] * 3, "GET /groups", "GET /api/v1/pdus?limit=1000", "GET /nodes"]
        assert server.asked == asked


def test_completion_without_a_server() -> None:
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        offers = completed(
            f"{CLIENT} on --url http://127.0.0.1:1 ",
            f"{CLIENT} on --url http://127.0.0.1:{port} ",
            "/nonexistent/pduclient on ",
            PATH=os.environ["PATH"],
        )
    assert offers == ["", "", ""] and time.monotonic() - begin < 30


# In zsh and fish

VERBS = "list status on off restart cancel pdus outlets show history watch".split()
NAMES = ["gateway1", "node01", "node02", "$(touch evil)", "`id`"]
REPLIES = {
    "GET /nodes": reply({"data": [{"id": name, "attributes": {"name": name}} for name in NAMES]}),
    "GET /groups": reply({"data": [{"id": "compute", "attributes": {"nodes": ["node01"]}}]}),
    "GET /api/v1/pdus?limit=1000": reply([{"name": n, "driver": "d", "state": "ready"} for n in ("apc7", "`id`", "b")]),
}


def shell(name: str) -> str:
    """Return the path of a shell, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs the Debian package {name}")
    return path


def fish(*lines: str, **environment: str) -> list[list[str]]:
    """Return what fish offers at the end of each line."""
    asked = "; ".join(f"complete -C '{line}'; echo ---" for line in lines)
    ran = subprocess.run(
        [shell("fish"), "--no-config", "-c", f"source {ROOT}/share/pduclient.fish; {asked}"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return [[line.partition("\t")[0] for line in part.split("\n") if line] for part in ran.stdout.split("---\n")[:-1]]


def test_fish_completes_commands_and_options() -> None:
    verbs, listed, *options = fish("pduclient ", "pduclient re", *(f"pduclient {word} --" for word in ("", *VERBS)))
    assert (sorted(verbs), listed) == (sorted(VERBS), ["restart"])
    for offers, words in zip(options, ([], *([word] for word in VERBS)), strict=True):
        assert sorted(offers) == sorted({*re.findall("--[a-z-]+", client(*words, "-h").out)}), words


def test_fish_completes_names() -> None:
    with PowerServer(REPLIES) as server:
        offers = fish(
            f"{CLIENT} status --url {server.url} no",
            f"{CLIENT} off node01,n",
            f"{CLIENT} on -g ",
            f"{CLIENT} on -x ",
            f"{CLIENT} --url={server.url} outlets ",
            f"{CLIENT} cancel ",
            "/nonexistent/pduclient on ",
            "pduclient --daemon lab --command re",
            PDUCLIENT_URL=server.url,
        )
    plain = ["gateway1", "node01", "node02"]
    assert offers[:4] == [plain[1:], ["node01,node01", "node01,node02"], ["compute"], plain]
    assert offers[4:] == [["apc7", "b"], [], [], ["reboot"]]


def test_zsh_completes_at_a_terminal() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "dumb"}
    with PowerServer(REPLIES) as server:
        environment["PDUCLIENT_URL"] = server.url
        zsh = pexpect.spawn(
            shell("zsh"), ["-f", "-i"], timeout=30, encoding="utf-8", echo=False, env=environment, dimensions=(50, 300)
        )
        try:
            zsh.sendline(
                f"PS1='> '; fpath=({ROOT}/share $fpath); autoload -Uz compinit; compinit -u -D; setopt no_auto_menu;"
                "bindkey '^A' beginning-of-line; show() { print; printf '<%s>' \"$@\"; print; }; print -r rea''dy"
            )
            zsh.expect_exact("ready")
            for typed, got in (
                ("pduclient hi\t", ["history"]),
                ("pduclient outlets --fr\t", ["outlets", "--fresh"]),
                ("pduclient on --no-w\t", ["on", "--no-wait"]),
                ("pduclient --daemon lab --command reb\t", ["--daemon", "lab", "--command", "reboot"]),
                ("pduclient --ali\t", ["--alias"]),
                ("pduclient history --since yes\t", ["history", "--since", "yesterday"]),
                (f"{CLIENT} status gat\t", ["status", "gateway1"]),
                (f"{CLIENT} off gateway1,gat\t", ["off", "gateway1,gateway1"]),
                (f"{CLIENT} on -x gat\t", ["on", "-x", "gateway1"]),
                (f"{CLIENT} on -g com\t", ["on", "-g", "compute"]),
                (f"{CLIENT} --url {server.url} outlets ap\t", ["--url", server.url, "outlets", "apc7"]),
                (f"{CLIENT} show '$\t", ["show", "$"]),
            ):
                zsh.send(typed)
                zsh.send("\x01show " + ("\x05'" if typed.endswith("$\t") else "") + "\r")
                zsh.expect_exact("\n" + "".join(f"<{word}>" for word in (typed.split()[0], *got)))
        finally:
            zsh.close(force=True)


def test_zsh_knows_every_option() -> None:
    known = {*re.findall("--[a-z-]+", client("-h").out)}
    for word in VERBS:
        known |= {*re.findall("--[a-z-]+", client(word, "-h").out)}
    assert {*re.findall(r"[{',(](--[a-z-]+)", (ROOT / "share" / "_pduclient").read_text())} >= known
