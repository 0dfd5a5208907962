# SPDX-License-Identifier: MIT
"""Who asks, where a proxy says so: by the headers, and by nginx and HAProxy as we ship their configuration."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.errors import RequestError
from pdudaemon.server import forwarded
from pdudaemon.server.client import Client
from pdudaemon.settings import Proxies
from tests.peers.proxies import haproxy, nginx
from tests.support.certificate import Authority, trusting
from tests.support.ports import free_ports
from tests.support.process import Daemon, Reply, eventually
from tests.support.tokens import SECRET, good

PROXIES: Proxies = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:f::/48"), "unix")


@pytest.mark.parametrize("peer", ["10.0.0.1", "2001:db8:f::1", "::ffff:10.0.0.1", "unix"])
@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({"x-forwarded-for": "192.0.2.7"}, "192.0.2.7"),
        ({"x-forwarded-for": "203.0.113.9, 192.0.2.7"}, "192.0.2.7"),
        ({"x-forwarded-for": "203.0.113.9, 192.0.2.7, 10.0.0.2,10.0.0.3"}, "192.0.2.7"),
        ({"x-forwarded-for": "2001:db8::7"}, "2001:db8::7"),
        ({"x-forwarded-for": "[2001:db8::7]:4711"}, "2001:db8::7"),
        ({"x-forwarded-for": "192.0.2.7:4711"}, "192.0.2.7"),
        ({"forwarded": "for=192.0.2.7"}, "192.0.2.7"),
        ({"forwarded": 'for=203.0.113.9, For="[2001:db8::7]:4711";proto=https;by=10.0.0.1'}, "2001:db8::7"),
        ({"forwarded": 'proto=https;for="192.0.2.7:80", for=10.0.0.2'}, "192.0.2.7"),
        ({"forwarded": 'host="a,b;for=9.9.9.9";for=192.0.2.7'}, "192.0.2.7"),
        ({"forwarded": "for=192.0.2.7", "x-forwarded-for": "192.0.2.7"}, "192.0.2.7"),
        ({"forwarded": "for=192.0.2.7", "x-forwarded-for": "192.0.2.8"}, None),
        ({}, ""),
        ({"x-forwarded-for": ""}, ""),
        ({"x-forwarded-for": "unknown"}, ""),
        ({"x-forwarded-for": "unix"}, ""),
        ({"x-forwarded-for": "192.0.2.7, nonsense"}, ""),
        ({"x-forwarded-for": "10.0.0.5"}, ""),
        ({"forwarded": "for=_hidden"}, ""),
        ({"x-forwarded-for": "fe80::1%eth0"}, "fe80::1%eth0"),
        ({"x-forwarded-for": "fe80::1%x (admin)"}, ""),
        ({"forwarded": 'for="[fe80::1%<b>]"'}, ""),
        ({"forwarded": "proto=https"}, ""),
        ({"forwarded": 'for="'}, ""),
        ({"forwarded": "for=192.0.2.7, proto=https"}, ""),
        ({"x-forwarded-for": "," * 10000}, ""),
    ],
)
def test_who_asks_by_a_proxy(peer: str, headers: dict[str, str], client: str | None) -> None:
    if client is None:
        with pytest.raises(RequestError, match="differ"):
            forwarded.client_of(Client(peer, 5), headers, PROXIES)
    else:
        expected = Client(client, 0) if client else Client(peer, 5)
        assert forwarded.client_of(Client(peer, 5), headers, PROXIES) == expected
    stranger = Client("192.0.2.1", 5)
    assert forwarded.client_of(stranger, headers, PROXIES) is stranger
    assert forwarded.client_of(Client(peer, 5), headers, ()) == Client(peer, 5)


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ("/pdu", "/pdu"),
        ("/pdu/", "/pdu"),
        ("/a/b-c", "/a/b-c"),
        ("", ""),
        ("/", ""),
        ("//evil.example", ""),
        ("https://evil.example", ""),
        ("/a b", ""),
        ("/a\r\nX: y", ""),
        ("pdu", ""),
        ("/a" * 11, ""),
    ],
)
def test_the_prefix(given: str, prefix: str) -> None:
    assert forwarded.prefix_of(Client("10.0.0.1", 5), {"x-forwarded-prefix": given}, PROXIES) == prefix
    assert forwarded.prefix_of(Client("192.0.2.1", 5), {"x-forwarded-prefix": given}, PROXIES) == ""


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({"x-forwarded-proto": "https"}, True),
        ({"x-forwarded-proto": "HTTPS"}, True),
        ({"x-forwarded-proto": "http"}, False),
        ({"forwarded": "for=192.0.2.7;proto=https"}, True),
        ({"forwarded": 'proto=https, for=192.0.2.7;proto="http"'}, False),
        ({}, False),
    ],
)
def test_whether_it_was_https(headers: dict[str, str], secure: bool) -> None:
    assert forwarded.is_secure(Client("10.0.0.1", 5), headers, PROXIES) is secure
    assert not forwarded.is_secure(Client("192.0.2.1", 5), headers, PROXIES)


def test_the_word_of_a_proxy_counts_for_log_limits_and_location(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, trusted_proxies=["127.0.0.1"], max_queue_per_address=1)
    said = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Prefix": "/pdu"}
    path = "/power/control/on?hostname=pdu&port=1&delay=100&wait=0"
    reply = started.http(path, **said)
    assert (reply.status, reply.headers["Location"]) == (200, "/pdu/api/v1/requests/1")
    assert started.http("/api/v1/requests/1").json["client"] == "192.0.2.7"
    reply = started.http(path, **said)
    assert (reply.status, "its queue is full for 192.0.2.7" in reply.text) == (503, True)
    assert started.http(path, X_Forwarded_For="192.0.2.8").headers["Location"] == "/api/v1/requests/2"
    reply = started.http("/api/v1/pdus?limit=1", X_Forwarded_Prefix="/pdu")
    assert reply.headers["Link"].startswith("</pdu/api/v1/pdus?")
    reply = started.http("/nodes", X_Forwarded_For="192.0.2.8", Forwarded="for=9.9.9.9")
    assert reply.status == 503 and "differ" in reply.text
    elsewhere = http.client.HTTPConnection("127.0.0.1", started.port, timeout=60, source_address=("127.0.0.2", 0))
    elsewhere.request("GET", path, headers={"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Prefix": "/pdu"})
    answer = elsewhere.getresponse()
    assert (answer.status, answer.getheader("Location")) == (200, "/api/v1/requests/3")
    assert started.http("/api/v1/requests/3").json["client"].startswith("127.0.0.2:")


class Web:
    """HTTPS to a proxy."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str) -> None:
        self.port, self.context, self.token = port, context, token

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        source = ("127.0.0.5", 0)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=60, context=self.context, source_address=source
        )
        every = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection.request(method, path, headers=every)
        response = connection.getresponse()
        found = {name.title(): value for name, value in response.getheaders()}  # HAProxy writes them small
        reply = Reply(response.status, response.read().decode(), found)
        connection.close()
        return reply

    def check(self, started: Daemon) -> None:
        """Try what goes by a proxy."""
        reply = self.ask(
            "/pdu/power/control/on?hostname=pdu&port=1", X_Forwarded_For="9.9.9.9", Forwarded="for=9.9.9.8"
        )
        assert (reply.status, reply.text) == (200, "OK - accepted request\n")
        assert reply.headers["Location"] == "/pdu/api/v1/requests/1"
        record = self.ask(reply.headers["Location"]).json
        assert (record["client"], record["state"]) == ("127.0.0.5 (alice)", "done")
        lines = self.ask("/pdu/?nodes=board", "PATCH", Accept="application/x-ndjson").text.splitlines()
        assert [json.loads(line).get("id") for line in lines] == [None, "board"]
        assert started.outlets() == {"1": "on", "2": "on"}
        assert self.ask("/power/control/off?hostname=pdu&port=1").status == 404
        origin = f"https://127.0.0.1:{self.port}"
        browser = {"User_Agent": "Mozilla/5.0", "Accept": "text/html"}
        off = "/pdu/power/control/off?hostname=pdu&port=1"
        for evil in ("https://evil.example", origin.replace("https", "http")):
            assert self.ask(off, "POST", Origin=evil, **browser).status == 403
        assert self.ask(off, "POST", Origin=origin, Sec_Fetch_Site="same-origin", **browser).status == 200
        self.token = "x.y.z"
        assert self.ask("/pdu/api/v1/pdus").status == 401
        eventually(
            lambda: re.search(r"GET /api/v1/pdus from 127\.0\.0\.5: the token is not valid here", started.log_text())
        )


def lab(daemon: Callable[..., Daemon], **settings: Any) -> Daemon:
    nodes = {"board": {"hostname": "pdu", "port": 2}}
    started = daemon({}, nodes=nodes, secret=SECRET, start=False, **settings)
    started.settings["pdus"] = {"pdu": {"driver": "dummy", "file": str(started.folder / "outlets")}}
    (started.folder / "outlets").write_text("{}")
    return started


def test_nginx_with_tls_and_a_prefix_in_front_of_a_unix_socket(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    started = lab(daemon, trusted_proxies=["unix"])
    file = started.folder / "http.socket"
    (port,) = free_ports(1)
    started.settings["daemon"]["listeners"] = [
        {"protocol": "both", "port": started.port},
        {"protocol": "http", "socket": "http.socket"},
    ]
    for word in ("hostname", "port", "listener"):
        del started.settings["daemon"][word]
    started.configure(started.settings)
    started.start()
    eventually(file.exists)
    context = trusting(authority.certificate)
    with nginx(tmp_path / "nginx", port, file, *authority.issue("server")):
        Web(port, context, good(sub="alice")).check(started)


def test_haproxy_with_tls_and_a_prefix_and_for_the_text_protocol(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    started = lab(daemon, trusted_proxies=["127.0.0.1"])
    started.settings["daemon"]["listeners"] = [{"protocol": "both", "port": 0, "allow": ["127.0.0.1"]}]
    for word in ("hostname", "port", "listener"):
        del started.settings["daemon"][word]
    started.configure(started.settings)
    started.start()
    port, text_port = free_ports(2)
    certificate, key = authority.issue("server")
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    context = trusting(authority.certificate)
    with haproxy(tmp_path / "haproxy", port, text_port, started.port, both, authority.certificate):
        Web(port, context, good(sub="alice")).check(started)

        def said(text: str) -> str:
            with (
                socket.create_connection(("127.0.0.1", text_port), timeout=60) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as sock,
            ):
                sock.sendall(text.encode())
                return sock.makefile().read()

        with pytest.raises((ssl.SSLError, OSError)):
            said("pdu 3 on\n")
        context.load_cert_chain(*authority.issue("alice"))
        assert said("pdu 3 on\n") == "ack\n" and started.outlets()["3"] == "on"
