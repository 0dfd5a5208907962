# SPDX-License-Identifier: MIT
"""A site as its front finds it: over TLS, with a token or without, and what is none."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificate import Authority
from tests.support.fronts import Front, order
from tests.support.process import Daemon, eventually
from tests.support.tokens import SECRET


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Iterator[Front]:
    made = Front(daemon)
    yield made
    made.close()


def told(front: Daemon, name: str) -> Any:
    """Return why a site cannot be asked, once that is known."""

    def reason() -> Any:
        sites = {each["name"]: each for each in front.http("/api/v1/sites").json["sites"]}
        known = sites[name]["reason"]
        return known if known and "not been reached yet" not in known else None

    return eventually(reason)


def test_tls_is_checked_as_the_configuration_says(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    site = daemon({"p1": {"driver": "dummy"}}, start=False)
    listener = {"protocol": "http", "port": 0, "certificate": str(certificate), "key": str(key)}
    site.settings["daemon"] = {"listeners": [listener]}
    site.configure(site.settings)
    site.start()
    pem = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n")
    url = f"https://127.0.0.1:{site.port}"
    front = daemon({}, start=False)
    sites = {
        "pinned": {"url": url, "fingerprint": hashlib.sha256(pem).hexdigest()},
        "wrong": {"url": url, "fingerprint": "0" * 64},
        "unknown": {"url": url},
        "any": {"url": url, "insecure": True},
        "plain": {"url": f"http://127.0.0.1:{site.port}"},
    }
    front.configure({**front.settings, "sites": sites})
    front.start()
    eventually(lambda: front.http("/metrics").text.count("pdudaemon_site_up{") == 5)
    assert eventually(lambda: order(front, hostname="pinned/p1", port=1).status == 201)
    assert eventually(lambda: order(front, hostname="any/p1", port=1).status == 201)
    assert "fingerprint" in told(front, "wrong")
    assert "certificate" in told(front, "unknown").lower() or "TLS" in told(front, "unknown")
    assert told(front, "plain")


def test_a_token_that_is_wanted(lab: Front) -> None:
    lab.add("berlin", secret=SECRET)
    front = lab._daemon({}, start=False)
    front.configure({**front.settings, "sites": {"berlin": {"url": lab.links["berlin"].url}}})
    front.start()
    assert "it refuses the token of this front: " in told(front, "berlin")
    refused = order(front, alias="berlin/board1")
    assert refused.status == 503 and "it is not known what berlin has" in refused.text
    assert SECRET not in front.log_text()


@contextmanager
def serving(body: bytes, content_type: str = "text/html", status: int = 200) -> Iterator[str]:
    """Run a server that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "body, content_type, status",
    [
        (b"<h1>Welcome</h1>", "text/html", 200),
        (b"nothing", "text/plain", 404),
        (b"[]", "application/json", 200),
        (b'{"daemons": 7}', "application/json", 200),
        (b'[{"name": []}, 5, null]', "application/json", 200),
        (b'data: {"kind": "accepted", "request": 1}\n\n', "text/event-stream", 200),
        (b"[" * 100_000, "application/json", 200),
        (b"", "application/json", 500),
    ],
)
def test_what_is_no_pdudaemon_is_told(
    daemon: Callable[..., Daemon], body: bytes, content_type: str, status: int
) -> None:
    with serving(body, content_type, status) as url:
        front = daemon({"own": {"driver": "dummy"}}, start=False)
        front.configure({**front.settings, "sites": {"berlin": {"url": url}}})
        front.start()
        assert told(front, "berlin")
        assert front.power("on", "own", 1).status == 200
        assert front.http("/api/v1/nodes").status == front.http("/metrics").status == 200
        assert " ERROR " not in front.log_text(), front.log_text()


def test_a_certificate_that_has_changed_is_told_until_the_new_one_is_configured(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    prints = []
    for name in ("server", "new"):
        text = authority.issue(name)[0].read_text()
        der = ssl.PEM_cert_to_DER_cert(text.partition("-----END")[0] + "-----END CERTIFICATE-----\n")
        prints.append(hashlib.sha256(der).hexdigest())
    site = daemon({"p1": {"driver": "dummy"}}, start=False)
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    listener = {"protocol": "http", "hostname": "127.0.0.1", "certificate": str(certificate), "key": str(key)}
    site.settings["daemon"] = {"listeners": [{**listener, "port": 0}]}
    site.configure(site.settings)
    site.start()
    url, front = f"https://127.0.0.1:{site.port}", daemon({"own": {"driver": "dummy"}}, start=False)
    front.configure({**front.settings, "sites": {"berlin": {"url": url, "fingerprint": prints[0]}}})
    front.start()
    assert eventually(lambda: order(front, hostname="berlin/p1", port=1).status == 201)
    site.stop()
    certificate.write_text((tmp_path / "new.pem").read_text())
    key.write_text((tmp_path / "new.key").read_text())
    site.settings["daemon"] = {"listeners": [{**listener, "port": site.port}]}
    site.configure(site.settings)
    site.start()
    words = f"its fingerprint is {prints[1]}"
    eventually(lambda: words in str(told(front, "berlin")), 60)
    refused = order(front, hostname="berlin/p1", port=1)
    assert refused.status == 503 and words in refused.text and front.power("on", "own", 1).status == 200
    front.configure({**front.settings, "sites": {"berlin": {"url": url, "fingerprint": prints[1]}}})
    assert front.process is not None
    front.process.send_signal(1)
    assert eventually(lambda: order(front, hostname="berlin/p1", port=2).status == 201, 60)
