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
        "pduclient --daemon lab --command re",
        "pduclient --daemon lab o",
        f"pduclient on --ca-file {tmp_path}/la",
        "pduclient on --token ",
        "pduclient on --key ",
        "pduclient cancel ",
    )
    assert offers[:2] == ["list status on off restart cancel", "restart"]
    assert offers[5:] == ["reboot", "", f"{tmp_path}/lab.pem", "", "", ""]
    for offer, words in zip(offers[2:5], (["list", "-h"], ["-h"], ["cancel", "-h"]), strict=True):
        assert sorted(offer.split()) == sorted({*re.findall("--[a-z-]+", client(*words).out)})


def test_completion_of_names() -> None:
    names = ["gateway1", "node01", "node02", "$(touch evil)", "`id`", "-x"]
    nodes = [{"id": name, "attributes": {"name": name}} for name in names]
    groups = [{"id": name, "attributes": {"nodes": ["node01"]}} for name in ("all", "compute")]
    with PowerServer({"GET /nodes": reply({"data": nodes}), "GET /groups": reply({"data": groups})}) as server:
        url = f"--url {server.url}"
        offers = completed(
            f"{CLIENT} status {url} no",
            f"{CLIENT} off --timeout 5 node01,n",
            f"{CLIENT} --url={server.url} on 'gate",
            f"{CLIENT} on {url} -g ",
            f"{CLIENT} list {url} ",
            PDUCLIENT_URL=server.url,
            PATH=os.environ["PATH"],
        )
        assert offers == ["node01 node02", "node01,node01 node01,node02", "gateway1", "all compute", ""]
        assert server.asked == ["GET /nodes"] * 3 + ["GET /groups"]


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
