# SPDX-License-Identifier: MIT
"""Tokens of an OpenID Connect provider: a key server of our own, that rotates its keys, hangs and fails."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pdudaemon import cli
from pdudaemon.config import reader
from pdudaemon.errors import ConfigError
from pdudaemon.server import oidc
from pdudaemon.server.access import Access
from tests.support.process import Daemon, Reply, eventually
from tests.support.provider import AUDIENCE, ISSUER, jwk, rsa_key
from tests.support.tokens import SECRET, good, later, made

RSA = rsa_key()
OTHER = rsa_key(1)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())


class KeyServer:
    """A provider's keys at a URL. ``keys`` is what it publishes; ``mood``: well, broken, or hanging."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [jwk(RSA, "one"), jwk(P256, "two")]
        self.mood = "well"
        self.asked = 0
        self.let_go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                if outer.mood == "hanging":
                    outer.let_go.wait(60)
                body = json.dumps({"keys": outer.keys}).encode() if outer.mood != "broken" else b"<html>"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/certs"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    one = KeyServer()
    yield one
    one.close()


def token(key: Any = RSA, kid: str | None = "one", alg: str = "RS256", **claims: Any) -> str:
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": later(),
        "sub": "f3a1",
        "preferred_username": "alice",
        "roles": ["ci"],
        **claims,
    }
    whole = {word: value for word, value in whole.items() if value is not None}
    return jwt.encode(whole, key, alg, headers={"kid": kid} if kid else None)


def options(keys: str, **more: str) -> dict[str, str]:
    return {"issuer": ISSUER, "audience": AUDIENCE, "keys": keys, "name_claim": "preferred_username", **more}


def started(daemon: Callable[..., Daemon], keys: str, secret: str = "", **more: str) -> Daemon:
    one = daemon({"pdu": {"driver": "dummy"}}, secret=secret, start=False, oidc=options(keys, **more))
    one.settings["nodes"] = {"board": {"hostname": "pdu", "port": 1}}
    one.settings["roles"] = {"ci": {"nodes": "board", "may": ["on"]}, "admin": {"pdus": "*", "may": ["off"]}}
    one.configure(one.settings)
    one.start()
    return one


def ask(daemon: Daemon, token: str, path: str = "/power/control/on?alias=board") -> Reply:
    return daemon.http(path, Authorization=f"Bearer {token}")


def test_tokens_of_a_provider_and_their_roles(daemon: Callable[..., Daemon], server: KeyServer) -> None:
    one = started(daemon, server.url)
    eventually(lambda: ask(one, token()).status == 200)
    assert ask(one, token(P256, "two", "ES256")).status == 200
    assert ask(one, token(), "/power/control/on?hostname=pdu&port=2").status == 403
    assert ask(one, token(roles="admin"), "/power/control/off?hostname=pdu&port=2").status == 200
    for roles in (None, [], {}, 5, ["x"] * 100, [["ci"]]):  # without a role, nothing: it is not one of our own
        assert ask(one, token(roles=roles)).status == 503, roles
    assert ask(one, token(aud=["x", AUDIENCE])).status == 200
    assert one.http("/api/v1/requests/1", Authorization=f"Bearer {token()}").json["client"].endswith("(alice)")
    assert one.http("/api/v1/pdus").status == 401
    assert one.http("/api/v1/pdus", Authorization=f"Bearer {good()}").status == 401


def test_a_role_claim_within_an_object(daemon: Callable[..., Daemon], server: KeyServer) -> None:
    one = started(daemon, server.url, role_claim="realm_access.roles")
    eventually(lambda: ask(one, token(realm_access={"roles": ["offline_access", "ci"]})).status == 200)
    assert ask(one, token(realm_access={"roles": "ci"})).status == 200
    for wrong in ({"realm_access": ["ci"]}, {"realm_access": {"role": ["ci"]}}, {"roles": ["ci"]}):
        assert ask(one, token(**wrong)).status == 503


def bad() -> dict[str, str]:
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "another key": token(OTHER),
        "a key of another kind": token(P256, "one", "ES256"),
        "the public key as a secret": made(
            {"iss": ISSUER, "aud": AUDIENCE, "exp": later()}, public.decode(), {"alg": "HS256", "kid": "one"}
        ),
        "HS256 that says RS256": made(
            {"iss": ISSUER, "aud": AUDIENCE, "exp": later()}, public.decode(), {"alg": "RS256", "kid": "one"}
        ),
        "RS512": token(alg="RS512"),
        "PS256": token(alg="PS256"),
        "ES384 by P-384": token(P384, "three", "ES384"),
        "none": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": later()}, "", "none", headers={"kid": "one"}),
        "a kid that is a list": jwt.encode({"exp": later()}, RSA, "RS256", headers={"kid": "nine"}),
        "another issuer": token(iss="https://evil.example.org"),
        "no issuer": token(iss=None),
        "another audience": token(aud="grafana"),
        "no audience": token(aud=None),
        "expired": token(exp=later(-60)),
        "no end": token(exp=None),
        "not yet": token(nbf=later(600)),
        "no kid": token(kid=None),
    }


@pytest.mark.parametrize("why", bad())
def test_what_is_no_token_of_the_provider(tmp_path: Path, why: str) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [jwk(RSA, "one"), jwk(P256, "two"), jwk(P384, "three")]}))
    conf = tmp_path / "conf"
    conf.write_text(json.dumps({"daemon": {"oidc": options("keys.json")}, "pdus": {}}))
    may = Access(issuer=oidc.issuer_of(reader.load(str(conf))))
    assert may.permit("192.0.2.1", (), f"Bearer {token()}") == ("alice", ("ci",))
    with pytest.raises(Exception, match="token") as denied:
        may.permit("192.0.2.1", (), f"Bearer {bad()[why]}")
    assert type(denied.value).__name__ == "Denied"


def test_keys_are_rotated_while_no_request_waits(daemon: Callable[..., Daemon], server: KeyServer) -> None:
    one = started(daemon, server.url)
    eventually(lambda: ask(one, token()).status == 200)
    server.keys = [jwk(OTHER, "new"), jwk(P256, "two")]
    reply = ask(one, token(OTHER, "new"))
    assert reply.status == 401 and "signed by none of the keys of the issuer" in reply.text
    eventually(lambda: ask_from(one, token(OTHER, "new")) == 200, 40)
    assert ask_from(one, token()) == 401  # the old one is gone
    asked = server.asked
    for _ in range(20):  # strange keys do not make us ask each time
        ask_from(one, token(OTHER, "never"))
    assert server.asked <= asked + 1
    server.mood = "hanging"
    began = time.monotonic()
    assert ask_from(one, token(OTHER, "never")) == 401 and ask_from(one, token(OTHER, "new")) == 200
    assert time.monotonic() - began < 30
    server.let_go.set()
    server.mood = "broken"
    assert ask_from(one, token(OTHER, "new")) == 200
    assert one.process is not None
    one.process.send_signal(signal.SIGHUP)  # the keys that are known stay
    eventually(lambda: "has been taken over" in one.log_text())
    assert ask_from(one, token(OTHER, "new")) == 200
    assert one.stop() == 0


def ask_from(daemon: Daemon, token: str) -> int:
    """Ask from an address of its own: who is refused again and again is told slower."""
    source = (f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}", 0)
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60, source_address=source)
    connection.request("GET", "/power/control/status?alias=board", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_provider_that_cannot_be_reached_is_told_and_asked_again(
    daemon: Callable[..., Daemon], server: KeyServer
) -> None:
    server.mood = "broken"
    one = started(daemon, server.url, secret=SECRET)
    assert ask(one, good()).status == 200  # our own go on
    reply = ask(one, token())
    assert reply.status == 401 and "of which none could be read yet" in reply.text
    eventually(lambda: server.url in one.log_text())
    server.mood = "well"
    eventually(lambda: ask_from(one, token()) == 200, 40)


def test_tokens_of_both_kinds_and_revoked_ones(daemon: Callable[..., Daemon], server: KeyServer) -> None:
    one = started(daemon, server.url, secret=SECRET)
    eventually(lambda: ask(one, token()).status == 200)
    assert ask(one, good()).status == 200
    one.settings["daemon"]["revoked"] = ["alice"]
    one.configure(one.settings)
    assert one.process is not None
    one.process.send_signal(signal.SIGHUP)
    eventually(lambda: ask_from(one, token()) == 401)
    assert ask_from(one, token(preferred_username="bob")) == 200 and ask_from(one, good()) == 200


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([], "must be a JSON object with issuer, audience and keys"),
        ({"issuer": "x", "audience": "y"}, "keys: is missing"),
        ({"issuer": "x", "audience": "y", "keys": 5}, "keys: must be a text"),
        ({"issuer": "x", "audience": "y", "keys": "z", "key": "z"}, "unknown key 'key'; did you mean 'keys'?"),
        (
            {"issuer": "x", "audience": "y", "keys": "http://sso.example.org/certs"},
            "keys: must be a file, or a URL with https",
        ),
        (
            {"issuer": "x", "audience": "y", "keys": "ftp://sso.example.org/certs"},
            "keys: must be a file, or a URL with https",
        ),
        ({"issuer": "x", "audience": "y", "keys": "none.json"}, "none.json: [Errno 2] No such file"),
        ({"issuer": "x", "audience": "y", "keys": "conf"}, "conf: "),
        ({"issuer": "x", "audience": "y", "keys": "empty"}, "empty: "),
        (
            {"issuer": "x", "audience": "y", "keys": "z", "role_claim": "a b"},
            "role_claim: 'a b' cannot be the name of a claim",
        ),
    ],
)
def test_what_is_wrong_with_a_provider(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: Any, fault: str
) -> None:
    conf = tmp_path / "conf"
    (tmp_path / "empty").write_text(json.dumps({"keys": [jwk(P384, "x")]}))
    conf.write_text(json.dumps({"daemon": {"oidc": given}, "pdus": {}}))
    assert cli.main([f"--conf={conf}", "--check"]) == 2
    out = capsys.readouterr()
    assert fault in out.out + out.err and "daemon.oidc" in out.out + out.err


def test_without_the_libraries_it_is_said_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt.algorithms, "has_crypto", False)
    with pytest.raises(ConfigError, match="the packages PyJWT and cryptography are needed"):
        oidc.library()
