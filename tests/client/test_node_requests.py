# SPDX-License-Identifier: MIT
"""What pduclient asks a server of nodes, against stand-ins for OpenFlight's server and for ours.

``data/openflight.json`` has what OpenFlight's own client was seen to ask, what its server was seen to answer, and what
the client was seen to print then; the exit codes, and what is said beside the results, are ours.
"""

from __future__ import annotations

import json
import random
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.devices.openflight import PowerServer, StreamServer, commands, reply, result
from tests.support.certificate import self_signed
from tests.support.client import ENTRY, GOES_ON, TOKEN, ask, client
from tests.support.process import ROOT

RECORDED = json.loads((ROOT / "tests" / "data" / "openflight.json").read_text())


@pytest.mark.parametrize("recorded", RECORDED, ids=[each["call"] for each in RECORDED])
def test_recorded(recorded: dict[str, Any]) -> None:
    said = reply(
        recorded["reply"], recorded.get("status", "200 OK"), recorded.get("type", "application/json; charset=utf-8")
    )
    with PowerServer(said) as server:
        ran = ask(server.url, recorded["call"])
        assert server.asked == [recorded["request"]]
        assert ran == (recorded["code"], recorded["out"], recorded.get("err", "").format(url=server.url))
        request = server.requests[0]
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["accept"] == "application/x-ndjson, application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.body == b""
        assert request.headers.get("content-length") == ("0" if request.method in ("PATCH", "PUT") else None)


def test_further_requests() -> None:
    with PowerServer(commands(result("a"))) as server:
        assert ask(server.url, "status 'a&groups=b'").code == 0
        assert ask(server.url, "status knödel").code == 0
        assert ask(server.url, "--timeout 2.5 status a -n b").code == 0
        assert ask(server.url, "list --timeout 2").code == 0
        assert ask(server.url, "status a", PDUCLIENT_URL="http://127.0.0.1:1").code == 0
        server.url += "/power/"
        assert ask(server.url, "status -g a").code == 0
        assert ask(server.url, "list").code == 0
        assert server.asked == [
            "GET /?nodes=a%26groups%3Db",
            "GET /?nodes=kn%C3%B6del",
            "GET /?nodes=a%2Cb&wait=2.5",
            "GET /nodes",
            "GET /?nodes=a",
            "GET /power/?groups=a",
            "GET /power/nodes",
        ]


def test_no_token_is_sent_if_there_is_none() -> None:
    with PowerServer(reply("Forbidden", "403 Forbidden", "text/html;charset=utf-8")) as server:
        ran = client("list", "--url", server.url)
        assert ran == (2, "", f"pduclient: {server.url}: a token is wanted, and none is set: Forbidden\n{ENTRY}")
        assert "authorization" not in server.requests[0].headers


def test_blank_options_are_not_given() -> None:
    with PowerServer(commands(result("a"))) as server:
        ran = client("status", "a", "--timeout=", "--token=", "--url=", PDUCLIENT_URL=server.url, PDUCLIENT_TOKEN=TOKEN)
        assert ran == (0, "a On\n", "") and server.asked == ["GET /?nodes=a"]


def test_redirects_and_proxies_are_not_followed() -> None:
    with PowerServer(commands(result("a"))) as other:
        with PowerServer(reply("", "302 Found", "text/html", f"Location: {other.url}/")) as server:
            ran = ask(server.url, "on a")
            assert ran == (2, "", f"pduclient: {server.url}: 302 Found: not followed to {other.url}/\n")
        with PowerServer(commands(result("a"))) as server:
            assert (
                ask(server.url, "status a", http_proxy=other.url, HTTP_PROXY=other.url, all_proxy=other.url).code == 0
            )
        assert other.asked == []


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    try:
        self_signed(key, certificate)
    except FileNotFoundError:
        pytest.skip("needs the Debian package openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with PowerServer(commands(result("a")), context) as server:
        assert ask(server.url, f"status a --ca-file {certificate}") == (0, "a On\n", "")
        assert ask(server.url, "status a", PDUCLIENT_CA_FILE=str(certificate)) == (0, "a On\n", "")
        assert len(server.asked) == 2
        ran = ask(server.url, "on a")
        assert (ran.code, ran.out) == (2, "") and "certificate verify failed" in ran.err and GOES_ON not in ran.err
        assert ask(server.url, f"on a --ca-file {key}").code == 2
        server.url = server.url.replace("127.0.0.1", "localhost")
        assert "not valid for 'localhost'" in ask(server.url, f"on a --ca-file {certificate}").err
        assert len(server.asked) == 2


def test_names_too_many_for_a_request_are_folded() -> None:
    names = [f"node{number:04}" for number in range(1, 9001)]
    random.shuffle(names)
    with StreamServer(*map(result, sorted(names))) as server:
        ran = ask(server.url, f"status {' '.join(names)}")
        assert server.asked == ["GET /?nodes=node%5B0001-9000%5D"]
        assert [line.split()[0] for line in ran.out.splitlines()] == names and (ran.code, ran.err) == (0, "")
