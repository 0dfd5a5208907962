# SPDX-License-Identifier: MIT
"""Completion in bash."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

from tests.devices.openflight import PowerServer, reply
from tests.support.client import CLIENT, client, run
from tests.support.completion import asking


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
