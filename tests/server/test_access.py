# SPDX-License-Identifier: MIT
"""Who may ask: tokens made by hand as others make them, and every way in, refused without one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import itertools
import json
import os
import random
import re
import socket
import string
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from pdudaemon import cli
from pdudaemon.config import reader
from pdudaemon.config.oidc import OIDC
from pdudaemon.errors import ConfigError, Denied, Unavailable
from pdudaemon.server import access, oidc, openflight, routes
from pdudaemon.server.access import Access
from tests.support.ports import free_ports
from tests.support.process import ROOT, Daemon, eventually, full_disk, in_parallel
from tests.support.provider import AUDIENCE, ISSUER, jwk, rsa_key
from tests.support.sampling import some
from tests.support.tokens import SECRET, encoded, good, later, made

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
MADE = 0o600 if os.geteuid() else 0o640
"""The mode of a file with a secret that we make: root's is for the group of its folder as well."""


def bad_tokens() -> dict[str, str]:
    """Return what is no token, by the reason; made now, since what is in them ends."""
    return {
        "none at all": "",
        "garbage": "x",
        "three times garbage": "a.b.c",
        "empty parts": "..",
        "not ASCII": "ä.ö.ü",
        "none": f"{encoded(json.dumps({'alg': 'none'}).encode())}.{encoded(json.dumps({'exp': later()}).encode())}.",
        "None": made({"exp": later()}, header={"alg": "None"}),
        "HS512": made({"exp": later()}, header={"alg": "HS512"}, signed_by="HS512"),
        "HS384": made({"exp": later()}, header={"alg": "HS384"}, signed_by="HS384"),
        "HS256 that says HS512": made({"exp": later()}, header={"alg": "HS512"}),
        "RS256": made({"exp": later()}, header={"alg": "RS256"}),
        "an algorithm that is none": made({"exp": later()}, header={"alg": ["HS256"]}),
        "no algorithm": made({"exp": later()}, header={"typ": "JWT"}),
        "a header that is a list": made({"exp": later()}, header=[1]),
        "a deep header": f"{encoded(b'[' * 40000)}.e30.AA",
        "an unknown must": made({"exp": later()}, header={"alg": "HS256", "crit": ["x"], "x": 1}),
        "another secret": made({"exp": later()}, secret=f"{SECRET}x"),
        "no secret": made({"exp": later()}, secret=""),
        "expired": made({"exp": later(-10)}),
        "long expired": made({"exp": 0}),
        "expired before it began": made({"exp": -5}),
        "no end": made({"admin": None}),
        "null as end": made({"exp": None}),
        "a word as end": made({"exp": "never"}),
        "a list as end": made({"exp": [later()]}),
        "an object as end": made({"exp": {}}),
        "endless": made({"exp": float("inf")}),
        "not a number": made({"exp": float("nan")}),
        "not yet": made({"exp": later(2000), "nbf": later(1000)}),
        "a word as beginning": made({"exp": later(), "nbf": "now"}),
        "a list as claims": made([later()]),
        "a text as claims": made("exp"),
    }


def bad_headers() -> dict[str, str]:
    """Return headers that let nobody in, by the reason."""
    return {
        **{why: f"Bearer {token}" for why, token in bad_tokens().items()},
        "no header": "",
        "Basic": f"Basic {good()}",
        "no scheme": good(),
        "the scheme alone": "Bearer",
        "two": f"Bearer {good()}, Bearer {good()}",
        "signature cut": f"Bearer {good()[:-2]}",
        "claims changed": f"Bearer {good().replace('.', '.x', 1)}",
    }


@pytest.mark.parametrize(
    ("address", "allow", "why"),
    [
        ("127.0.0.1", "", ""),
        ("127.0.0.1", "127.0.0.0/8", ""),
        ("::ffff:127.0.0.1", "127.0.0.0/8", ""),
        ("fe80::1%eth0", "fe80::/10", ""),
        ("192.0.2.1", "127.0.0.0/8", "192.0.2.1 is not in the networks that are allowed here"),
        ("::1", "127.0.0.0/8", "::1 is not in the networks that are allowed here"),
        (access.UNIX, "127.0.0.0/8", ""),
        (access.UNIX, "", ""),
    ],
)
def test_without_tokens_the_network_says_who_may(address: str, allow: str, why: str) -> None:
    networks = (ipaddress.ip_network(allow),) if allow else ()
    if not why:
        assert Access().permit(address, networks, None) == Access().permit(address, networks, "") == ("", None)
        return
    with pytest.raises(Denied) as denied:
        Access().permit(address, networks, "")
    assert (denied.value.http_status, str(denied.value)) == (403, why)


@pytest.mark.parametrize("why", bad_headers())
def test_what_is_no_token(why: str) -> None:
    with pytest.raises(Denied) as denied:
        Access(SECRET).permit("127.0.0.1", (ipaddress.ip_network("127.0.0.0/8"),), bad_headers()[why])
    assert denied.value.http_status == 401
    assert ("expired" in str(denied.value)) is (why in ("expired", "long expired", "expired before it began"))
    assert SECRET not in str(denied.value)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({}, ""),
        ({"exp": lambda: str(later())}, ""),
        ({"exp": lambda: time.time() + 100.5}, ""),
        ({"nbf": lambda: later(-10), "iat": lambda: later(100), "aud": "x", "iss": "y", "jti": 3}, ""),
        ({"admin": True, "sub": 3}, ""),
        ({"sub": "alice"}, "alice"),
        ({"sub": "Alice  Bee"}, "Alice Bee"),
        ({"sub": "a\nb"}, ""),
        ({"sub": "x" * 200}, "x" * 100),
    ],
)
def test_what_is_a_token_and_whose(claims: dict[str, Any], name: str) -> None:
    now = {word: claim() if callable(claim) else claim for word, claim in claims.items()}
    assert Access(SECRET).permit("192.0.2.1", (), f"Bearer {good(**now)}") == (name, None)


def test_the_token_of_openflights_documentation_is_understood() -> None:
    """Its header is ``{"alg":"HS256"}`` and its claims are ``admin`` and ``exp``; it has expired in 2020."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJhZG1pbiI6bnVsbCwiZXhwIjoxNTgxODcyNjA2fQ"
    signature = encoded(hmac.new(SECRET.encode(), token.encode(), hashlib.sha256).digest())
    with pytest.raises(Denied, match="the token has expired"):
        Access(SECRET).permit("127.0.0.1", (), f"Bearer {token}.{signature}")


def test_a_new_token_is_one_of_openflights() -> None:
    before = int(time.time())
    header, claims, signature = Access(SECRET).token(access.claims(30)).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) in ({"alg": "HS256"}, {"alg": "HS256", "typ": "JWT"})
    found = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert [*found] == ["admin", "exp", "jti"] and found["admin"] is None and re.fullmatch(r"[\w-]{12}", found["jti"])
    assert before + 30 * 86400 <= found["exp"] <= time.time() + 30 * 86400
    assert signature == encoded(hmac.new(SECRET.encode(), f"{header}.{claims}".encode(), hashlib.sha256).digest())
    assert Access(SECRET).permit("127.0.0.1", (), f"Bearer {Access(SECRET).token(access.claims(1, 'bob'))}") == (
        "bob",
        None,
    )


def test_several_secrets_of_which_the_first_signs() -> None:
    both = Access("new", SECRET)
    for token in (both.token(access.claims(1)), good(), made({"exp": later()}, "new")):
        assert both.permit("192.0.2.1", (), f"Bearer {token}") == ("", None)
    with pytest.raises(Denied, match="the token is not valid here"):
        Access(SECRET).permit("192.0.2.1", (), f"Bearer {both.token(access.claims(1))}")
    for why, token in bad_tokens().items():
        with pytest.raises(Denied, match="expired" if "expired" in why else "not valid here|a token is needed"):
            both.permit("192.0.2.1", (), f"Bearer {token}")


@pytest.mark.parametrize(
    ("claims", "revoked"),
    [
        ({"sub": "ci-7"}, True),
        ({"sub": "ci-8", "jti": "id-1"}, True),
        ({"jti": "id-1"}, True),
        ({"sub": "ci-8", "jti": "id-2"}, False),
        ({}, False),
        ({"sub": ["ci-7"], "jti": {"id-1": 1}}, False),
    ],
)
def test_what_is_revoked(claims: dict[str, Any], revoked: bool) -> None:
    may = Access("new", SECRET, revoked=("ci-7", "id-1"))
    if revoked:
        with pytest.raises(Denied, match="the token has been revoked"):
            may.permit("192.0.2.1", (), f"Bearer {good(**claims)}")
    else:
        assert may.permit("192.0.2.1", (), f"Bearer {good(**claims)}")


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        ("viewer", ("viewer",)),
        (["viewer", "ci", "viewer"], ("viewer", "ci")),
        ([], ()),
        ([f"r{number}" for number in range(32)], tuple(f"r{number}" for number in range(32))),
        ([f"r{number}" for number in range(33)], None),
        (["viewer", 5], None),
        ({"viewer": True}, None),
        (5, None),
        (None, None),
    ],
)
def test_roles_are_a_list_of_names_or_nothing_is_allowed(claim: Any, roles: tuple[str, ...] | None) -> None:
    if roles is None:
        with pytest.raises(Denied, match="the token is not valid here: its roles are no list of names") as denied:
            Access(SECRET).permit("192.0.2.1", (), f"Bearer {good(roles=claim)}")
        assert denied.value.http_status == 401
    else:
        assert Access(SECRET).permit("192.0.2.1", (), f"Bearer {good(roles=claim)}") == ("", roles)


def test_short_secrets_are_in_use_and_nobody_is_told_of_each_token() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        may = Access("short")
        assert may.permit("192.0.2.1", (), f"Bearer {may.token(access.claims(1, 'alice'))}") == ("alice", None)


def test_a_certificate_takes_the_place_of_a_token_until_it_is_revoked() -> None:
    alice = access.certified("alice", ("ci",), "10AF")
    for may in (Access(SECRET, revoked=("bob", "10A")), Access()):
        assert may.permit("192.0.2.1", (), "", alice) == ("alice", ("ci",))
        assert may.permit("192.0.2.1", (), None, access.certified("alice", (), "10AF")) == ("alice", None)
    for revoked in ("alice", "10AF"):
        with pytest.raises(Denied, match="the certificate has been revoked") as denied:
            Access(SECRET, revoked=(revoked,)).permit("192.0.2.1", (), "", alice)
        assert denied.value.http_status == 401
    assert Access(SECRET).permit("192.0.2.1", (), f"Bearer {good(sub='bob')}", alice) == ("bob", None)


def test_tokens_of_a_provider_alone_and_beside_a_secret(tmp_path: Path) -> None:
    key = rsa_key()
    (tmp_path / "keys").write_text(json.dumps({"keys": [jwk(key, "one")]}))
    issuer = oidc.Issuer(OIDC(ISSUER, AUDIENCE, str(tmp_path / "keys"), name_claim="email"))
    whole = {"iss": ISSUER, "aud": AUDIENCE, "exp": later(), "sub": "7", "jti": "id-1", "email": "bob", "roles": ["ci"]}
    provided = f"Bearer {jwt.encode(whole, key, 'RS256', headers={'kid': 'one'})}"
    alone, both = Access(issuer=issuer), Access(SECRET, issuer=issuer)
    for may in (alone, both):
        assert may.permit("192.0.2.1", (), provided) == ("bob", ("ci",))
        with pytest.raises(Denied, match="a token is needed: Authorization: Bearer TOKEN"):
            may.permit("192.0.2.1", (), "")
    assert both.permit("192.0.2.1", (), f"Bearer {good(sub='alice')}") == ("alice", None)
    with pytest.raises(Denied, match="the token is not valid here"):
        alone.permit("192.0.2.1", (), f"Bearer {good(sub='alice')}")
    for revoked in ("bob", "7", "id-1"):
        with pytest.raises(Denied, match="the token has been revoked"):
            Access(issuer=issuer, revoked=(revoked,)).permit("192.0.2.1", (), provided)


def mutated(token: str, rng: random.Random) -> str:
    """Return a token that somebody, or the network, has changed."""
    header, claims, signature = token.split(".")
    match rng.randrange(6):
        case 0:  # some characters, of those that tokens are made of and others
            letters = [*token]
            for _ in range(rng.randrange(1, 4)):
                letters[rng.randrange(len(letters))] = rng.choice(f"{string.ascii_letters}{string.digits}-_.=+/ \x00ä")
            return "".join(letters)
        case 1:
            at = rng.randrange(len(token))
            return token[:at] + token[at + rng.randrange(1, 9) :]
        case 2:
            return ".".join(rng.choices([header, claims, signature, "", "e30"], k=rng.randrange(1, 6)))
        case 3:  # what it says, under the old signature
            whole = json.loads(base64.urlsafe_b64decode(claims + "=="))
            word = rng.choice([*whole, "roles", "exp", "sub", "crit"])
            whole[word] = rng.choice([None, True, [], {}, -1, 2**70, 1e999, "", "admin", ["ci"], [["x"]], later()])
            return f"{header}.{encoded(json.dumps(whole).encode())}.{signature}"
        case 4:
            algorithm = rng.choice(["none", "HS512", "RS256", "ES256", "hs256", "", None, 5, [], {}, "HS256\x00"])
            return f"{encoded(json.dumps({'alg': algorithm, 'kid': rng.choice(['one', '', 0, []])}).encode())}.{claims}.{signature}"
        case _:
            junk = rng.randbytes(rng.randrange(40))
            return ".".join(
                rng.choice([part, encoded(junk), junk.decode("latin-1")]) for part in (header, claims, signature)
            )


def test_tokens_that_are_not_quite_ones(tmp_path: Path) -> None:
    """Many of them, 100,000 by night: each is refused as such, or is the same token in other letters, as base64 allows."""
    rng = random.Random(15)
    key = rsa_key()
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(key, "one")]}))
    (tmp_path / "conf").write_text(
        json.dumps({"daemon": {"oidc": {"issuer": ISSUER, "audience": AUDIENCE, "keys": "keys.json"}}, "pdus": {}})
    )
    may = Access("new", SECRET, issuer=oidc.issuer_of(reader.load(str(tmp_path / "conf"))))
    provided = {"iss": ISSUER, "aud": AUDIENCE, "exp": later(), "sub": "bob", "roles": ["ci"]}
    tokens = {
        good(sub="alice", roles=["viewer"]): ("alice", ("viewer",)),
        jwt.encode(provided, key, "RS256", headers={"kid": "one"}): ("bob", ("ci",)),
    }
    let_in = 0
    for number in some(range(100000), 20):
        token, holder = [*tokens.items()][number % 2]
        changed = mutated(token, rng)
        try:
            assert may.permit("192.0.2.1", (), f"Bearer {changed}") == holder, changed
        except Denied as error:
            assert error.http_status == 401
        else:
            let_in += 1
            kept = [base64.urlsafe_b64decode(part + "==") for part in changed.split(".")]
            assert kept == [base64.urlsafe_b64decode(part + "==") for part in token.split(".")], changed
    assert let_in < 5000


def test_a_token_that_was_good_before_is_so_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    may, end = Access(SECRET), later(100)
    bearer = f"Bearer {good(exp=end, sub='alice')}"
    assert may.permit("192.0.2.1", (), bearer) == ("alice", None)
    may._secrets = ("another",)  # by which it is not verified a second time
    assert may.permit("192.0.2.1", (), bearer) == ("alice", None)
    for over in (0, 1):
        monkeypatch.setattr(access.time, "time", lambda over=over: end + over)
        with pytest.raises(Denied):
            may.permit("192.0.2.1", (), bearer)


def test_tokens_that_are_known_are_no_more_than_so_many() -> None:
    may = Access(SECRET)
    for number in range(access.MOST_VERIFIED + 10):
        assert may.permit("192.0.2.1", (), f"Bearer {good(sub=f'n{number}')}") == (f"n{number}", None)
    assert len(may._verified_before) == 10


NETWORKS = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "2001:db8::/32")))


@pytest.mark.parametrize(
    ("address", "within"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.3.7", False),
        ("::192.0.2.7", False),
        ("fe80::1%eth0", False),
        ("::1", False),
    ],
)
def test_networks(address: str, within: bool) -> None:
    """They let in who cannot carry a token; where no tokens are asked for, they bound both protocols."""
    for secret, authorization in ((SECRET, None), ("", None), ("", "")):
        if within:
            assert Access(secret).permit(address, NETWORKS, authorization) == ("", None)
        else:
            with pytest.raises(Denied) as denied:
                Access(secret).permit(address, NETWORKS, authorization)
            assert denied.value.http_status == 403
    with pytest.raises(Denied):
        Access(SECRET).permit(address, NETWORKS, "")
    assert Access(SECRET).permit(address, NETWORKS, f"Bearer {good()}") == ("", None)
    assert Access().permit(address, (), None) == Access().permit(address, (), "") == ("", None)
    with pytest.raises(Denied):
        Access(SECRET).permit(address, (), None)


# -- the file with the secret


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (SECRET, SECRET),
        (f"  {SECRET}\n\n", SECRET),
        (f"jwt_shared_secret='{SECRET}'\ntopology_config=/opt/flight/etc/power-server/topology.yaml\n", SECRET),
        (f'topology_config=/x\nexport jwt_shared_secret="{SECRET}"\n', SECRET),
        (f"jwt_shared_secret={SECRET}\r\n", SECRET),
        (f"jwt_shared_secret: {SECRET}\n", SECRET),
        (f"---\nproduction:\n  jwt_shared_secret: {SECRET}  # keep\n", SECRET),
        (f"# jwt_shared_secret: old\njwt_shared_secret : '{SECRET}' # new\n", SECRET),
        ("jwt_shared_secret='two words'\n", "two words"),
        ("jwt_shared_secret=a#b\n", "a#b"),
        ("", None),
        ("\n \n", None),
        ("two words\n", None),
        (f"{SECRET}\ntwo words\n", None),
        (f"new\n\n{SECRET}\nold\n", SECRET),
        ("jwt_shared_secret=\ntopology_config=/x\n", None),
        ("jwt_shared_secret: ''\n", None),
        ("# jwt_shared_secret: old\n", None),
    ],
)
def test_the_secret_in_a_file(tmp_path: Path, text: str, secret: str | None) -> None:
    path = tmp_path / "secret"
    path.write_bytes(text.encode())
    path.chmod(0o600)
    if secret is None:
        with pytest.raises(ConfigError, match="holds no secret"):
            access.from_file(path)
    else:
        access.from_file(path).permit("127.0.0.1", (), f"Bearer {made({'exp': later()}, secret)}")


def test_a_missing_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "state" / "secret"
    token = access.from_file(path).token(access.claims(1))
    assert path.stat().st_mode & 0o777 == MADE and len(path.read_text().strip()) >= 32
    access.from_file(path).permit("127.0.0.1", (), f"Bearer {token}")
    other = access.from_file(tmp_path / "other")
    with pytest.raises(Denied):
        other.permit("127.0.0.1", (), f"Bearer {token}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make it for others")
def test_a_secret_made_by_root_can_be_read_by_the_service(tmp_path: Path) -> None:
    """Its folder, such as /var/lib/pdudaemon, has the group of the service."""
    os.chown(tmp_path, 1234, 5678)
    access.from_file(tmp_path / "secret")
    made = (tmp_path / "secret").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (0, 5678, 0o640)
    access.from_file(tmp_path / "secret")


def test_without_room_no_half_of_a_secret_is_left(tmp_path: Path) -> None:
    """The machine may have some later, so a service is started again then."""
    path = tmp_path / "secret"
    with full_disk(), pytest.raises(Unavailable, match=f"jwt_secret_file: {path}: File too large"):
        access.from_file(path)
    assert not [*tmp_path.iterdir()]
    access.from_file(path)
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("moment", ["fdopen", "fsync", "link"])
def test_killed_while_the_secret_is_made(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "secret"
    text = f"""
import os, signal
from pathlib import Path
from pdudaemon.server import access
os.{moment} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
access.from_file(Path({str(path)!r}))
"""
    assert subprocess.run([sys.executable, "-c", text], cwd=ROOT).returncode == -9
    assert not path.exists()
    assert access.from_file(path).token(access.claims(1))


def test_daemons_that_race_for_a_secret_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "state" / "secret"
    made = in_parallel([lambda: access.from_file(path)] * 8)
    for each in made:
        each.permit("127.0.0.1", (), f"Bearer {made[0].token(access.claims(1))}")
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_pipe_that_nobody_writes_to_holds_no_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret", 0o600)
    with pytest.raises(ConfigError, match="holds no secret"):
        access.from_file(tmp_path / "secret")


@pytest.mark.parametrize("text", ["", "\n", "\0" * 44, "abc\0\0\0"])
def test_what_a_start_without_room_left_is_told_and_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no secret; put back the one that it held, or remove the file"):
        access.from_file(path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("mode", "safe"),
    [(0o600, True), (0o400, True), (0o640, True), (0o440, True), (0o644, False), (0o604, False), (0o660, False), (0o602, False), (0o601, False), (0o666, False)],
)  # fmt: skip
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int, safe: bool) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(mode)
    if safe:
        assert access.from_file(path)
        return
    with pytest.raises(ConfigError, match="others can read or change it; chmod it to 0600"):
        access.from_file(path)


def test_a_file_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    (tmp_path / "file").chmod(0o600)
    for path, fault in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file", "is not a text"),
        (tmp_path / "file" / "secret", "File exists|Not a directory"),
    ):
        with pytest.raises(ConfigError, match=f"jwt_secret_file: {path}: ({fault})"):
            access.from_file(path)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigError, match=r"for tokens the package PyJWT is needed \(Debian: python3-jwt\)"):
        access.from_file(tmp_path / "secret")


# -- the command line


@pytest.mark.parametrize(
    ("text", "mode", "fault"),
    [
        (None, 0, ""),
        (SECRET, 0o640, ""),
        (SECRET, 0o644, "others can read or change it; chmod it to 0600 or 0640"),
        ("two words", 0o600, "holds no secret: a line of it is more than one word"),
    ],
)
def test_the_secret_is_checked_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, mode: int, fault: str
) -> None:
    conf, secret = tmp_path / "conf", tmp_path / "secret"
    conf.write_text('{"daemon": {"jwt_secret_file": "secret"}, "pdus": {}}')
    if text is not None:
        secret.write_text(text)
        secret.chmod(mode)
    assert cli.main([f"--conf={conf}", "--check"]) == (2 if fault else 0)
    out = capsys.readouterr().out
    assert out == (
        f"{conf}: daemon.jwt_secret_file: {secret}: {fault}\n" if fault else f"{conf}: 0 PDUs, 0 nodes, no faults\n"
    )
    assert secret.exists() is (text is not None)


def test_without_the_library_it_is_said_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    for look in (access.check, access.from_file):
        with pytest.raises(ConfigError, match=r"^jwt_secret_file: for tokens the package PyJWT is needed"):
            look(tmp_path / "secret")
    assert not [*tmp_path.iterdir()]


def test_a_token_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "conf"
    conf.write_text('{"daemon": {"jwt_secret_file": "secret"}, "pdus": {}}')

    def printed(*arguments: str) -> dict[str, Any]:
        assert cli.main([f"--conf={conf}", "--token", *arguments]) == 0
        out, err = capsys.readouterr()
        assert err == "" and re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", out)
        Access((tmp_path / "secret").read_text().strip()).permit("127.0.0.1", (), f"Bearer {out.strip()}")
        return dict(json.loads(base64.urlsafe_b64decode(out.split(".")[1] + "==")))

    claims = printed()
    assert claims.keys() == {"admin", "exp", "jti"} and abs(claims["exp"] - time.time() - 30 * 86400) < 60
    claims = printed("--days", "365", "--name", "alice")
    assert claims["sub"] == "alice" and abs(claims["exp"] - time.time() - 365 * 86400) < 60
    for bad in (
        ["--days", "0"],
        ["--days", "-1"],
        ["--days", "x"],
        ["--days", "1.5"],
        ["--days", "99999"],
        ["--name", "a\nb"],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([f"--conf={conf}", "--token", *bad])
        assert ended.value.code == 2
    conf.write_text('{"pdus": {}}')
    assert cli.main([f"--conf={conf}", "--token"]) == 2
    assert "daemon.jwt_secret_file is not set" in capsys.readouterr().err


# -- every way in


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("guarded")
    one = Daemon(
        folder,
        {"pdu": {"driver": "dummy", "file": str(folder / "outlets")}},
        {"board": {"hostname": "pdu", "port": 2}},
        groups={"g": "board"},
        secret=SECRET,
    )
    (folder / "outlets").write_text('{"1": "on", "2": "off"}')
    one.start()
    yield one
    one.kill()


def paths() -> list[str]:
    """Return a path for each of ROUTES, each choice in it, and some that are none."""
    found = []
    for pattern, _ in routes.ROUTES:
        text = (
            re.sub(r"\(\?:([^()|]*)\)\?", r"(|\1)", pattern.pattern)
            .replace("[0-9]{1,18}", "1")
            .replace("[\\w./-]*", "")
            .replace("[\\w./,-]*", "")
            .replace("/ui/(.*)", "/ui/(page.js)")
        )
        for kind, name in (("pdus", "pdu"), ("nodes", "board"), ("outlets", "1")):
            text = re.sub(rf"{kind}/(\(?)\[\^/\]\+", rf"{kind}/\g<1>{name}", text)
        parts = [part.split("|") for part in re.split(r"[()]", text)]
        some = ["".join(choice) for choice in itertools.product(*parts)]
        assert all(pattern.fullmatch(path) for path in some), f"teach this test to spell {pattern.pattern}"
        found += some
    assert len(found) >= len(routes.ROUTES)
    return [
        *found,
        "/nothing",
        "/api/v1/",
        "/power/control/",
        "//",
        "/nodes/",
        "/%6eodes",
        "*",
        "http://x/api/v1/pdus",
    ]


def from_elsewhere(daemon: Daemon) -> http.client.HTTPConnection:
    """Return a connection from an address of its own: who is refused again and again is told slower."""
    source = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    return http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60, source_address=(source, 0))


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, authorization: str, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Make one request of many on a connection."""
    connection.putrequest(method, path)
    if authorization:
        connection.putheader("Authorization", authorization.encode("utf-8"))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    return response.status, response.read().decode(), dict(response.getheaders())


def test_every_route_is_refused_without_a_token(guarded: Daemon) -> None:
    """The words of all routes at a time: whatever is served before the token is looked at would act, or complain."""
    bad = ["", f"Bearer {bad_tokens()['none']}", f"Bearer {bad_tokens()['another secret']}"]
    words = "?hostname=pdu&port=1&nodes=board&groups=g&wait=0"
    for path, method, authorization in itertools.product(paths(), METHODS, bad):
        if path.startswith(("/livez", "/healthz", "/readyz", "/ui/")) and method in ("GET", "HEAD"):
            continue
        connection = from_elsewhere(guarded)
        for query in ("", words):
            status, text, headers = asked(connection, method, path + query, authorization)
            why = (method, path, authorization, status, text)
            if path in openflight.PATHS:
                assert (status, text) == (403, "" if method == "HEAD" else "Forbidden"), why
                assert headers["Content-Type"] == "text/html;charset=utf-8", why
                assert headers["X-Content-Type-Options"] == "nosniff" and headers["Content-Length"] == "9", why
            else:
                assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), why
                assert headers["Content-Type"] == "application/problem+json", why
                if method != "HEAD":
                    assert json.loads(text)["type"] == "urn:pdudaemon:denied" and json.loads(text)["status"] == 401, why
        connection.close()
    assert guarded.outlets() == {"1": "on", "2": "off"}
    assert guarded.http("/api/v1/requests", Authorization=f"Bearer {good()}").json == []


@pytest.mark.parametrize("why", bad_headers())
def test_whatever_is_wrong_with_the_token(guarded: Daemon, why: str) -> None:
    connection = from_elsewhere(guarded)
    status, text, _ = asked(connection, "DELETE", "/?nodes=board", bad_headers()[why])
    assert (status, text) == (403, "Forbidden")
    status, text, headers = asked(connection, "GET", "/power/control/off?hostname=pdu&port=1", bad_headers()[why])
    assert status == 401 and headers["Content-Type"] == "application/problem+json"
    assert json.loads(text)["detail"].startswith(("the token ", "a token is needed"))
    connection.close()
    assert guarded.outlets() == {"1": "on", "2": "off"}


def test_with_a_token_every_route_answers(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, {"board": {"hostname": "pdu", "port": 2}}, secret=SECRET)
    started.token = good(sub="Alice Bee")
    assert started.http("/?nodes=board", "PATCH").headers["X-Command-Id"] == "1"
    for path in paths()[:-8]:
        if path == "/api/v1/events":  # which has no end
            continue
        reply = started.http(path + "?hostname=pdu&port=1&delay=0" * path.startswith("/power"))
        assert reply.status == (404 if path.endswith("requests/1") and reply.status == 404 else 200), (path, reply)
    assert started.http("/nothing").status == 404
    assert started.http("/?nodes=board", "PATCH").json["data"][0]["attributes"]["success"] is True
    told = re.compile(r"request \d+: .* for 127\.0\.0\.1:\d+ \(Alice Bee\) done")
    # On, off and reboot of the legacy routes, and the two above.
    log = eventually(lambda: len(told.findall(text := started.log_text())) >= 5 and text)
    assert len(told.findall(log)) == 5
    assert re.search(r"GET /nothing from 127\.0\.0\.1:\d+ \(Alice Bee\): there is nothing at", log)
    assert started.http("/?nodes=ghost", "DELETE").status == 200
    eventually(
        lambda: re.search(
            r"off ghost from 127\.0\.0\.1:\d+ \(Alice Bee\): there is no alias or node", started.log_text()
        )
    )
    (record, *_) = started.http("/api/v1/requests").json
    assert record["target"] == "board (pdu port 2)" and re.fullmatch(
        r"127\.0\.0\.1:\d+ \(Alice Bee\)", record["client"]
    )
    secret, signature = SECRET, started.token.rpartition(".")[2]
    assert secret not in started.log_text() and signature not in started.log_text()


def test_the_text_protocol_is_refused_also_where_both_are_spoken(guarded: Daemon) -> None:
    for text in (
        "pdu 1 off",
        "pdu 1 off\n",
        "board on",
        "pdu 1 status",
        "nonsense\n",
        "Bearer x\n",
        "pdu 1 off 0\npdu 1 off\n",
    ):
        answers = guarded.tcp(text).splitlines()
        assert answers and {*answers} == {
            "nack: a token is needed, so this is for HTTP; 127.0.0.1 is in no network allowed here"
        }
    assert guarded.outlets() == {"1": "on", "2": "off"}


def listening(daemon: Daemon, *listeners: dict[str, Any]) -> list[int]:
    """Start a daemon with several listeners; return their ports."""
    ports = free_ports(len(listeners))
    daemon.settings["daemon"]["listeners"] = [
        {"port": port, **each} for port, each in zip(ports, listeners, strict=True)
    ]
    for key in ("hostname", "port", "listener"):
        daemon.settings["daemon"].pop(key, None)
    daemon.configure(daemon.settings)
    daemon.start()
    return ports


def said(address: str, port: int, text: str) -> str:
    """Speak the text protocol."""
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(text.encode())
        return connection.makefile().read()


def test_each_listener_has_networks_of_its_own(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET, start=False)
    ports = listening(
        started,
        {"protocol": "tcp"},
        {"protocol": "tcp", "allow": ["192.0.2.0/24", "127.0.0.0/8"]},
        {"protocol": "tcp", "allow": ["192.0.2.0/24"]},
        {"protocol": "both", "allow": ["127.0.0.1/32"]},
        {"protocol": "http", "allow": ["127.0.0.1"]},
    )
    nack = "nack: a token is needed, so this is for HTTP; 127.0.0.1 is in no network allowed here\n"
    assert [said("127.0.0.1", port, "pdu 1 on") for port in ports[:4]] == [nack, "ack\n", nack, "ack\n"]
    for port in ports[3:]:  # being allowed to speak the text protocol is no token
        started.port = port
        assert started.http("/power/control/off?hostname=pdu&port=1").status == 401
        assert started.http("/?nodes=x", "DELETE").status == 403
        assert started.http("/healthz", Authorization=f"Bearer {good()}").text == "ok\n"


def test_without_tokens_the_networks_bound_both_protocols(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    ports = listening(started, {"protocol": "both", "allow": ["192.0.2.0/24"]}, {"protocol": "both"})
    refused = "127.0.0.1 is not in the networks that are allowed here"
    assert [said("127.0.0.1", port, "pdu 1 on") for port in ports] == [f"nack: {refused}\n", "ack\n"]
    for started.port, statuses in zip(ports, ((403, 403), (200, 200)), strict=True):
        reply = started.http("/power/control/on?hostname=pdu&port=1")
        assert (reply.status, started.http("/nodes").status) == statuses
        assert reply.status == 200 or reply.json["detail"] == refused


@pytest.mark.parametrize("secret", [SECRET, ""])
def test_ipv4_clients_of_an_ipv6_listener_are_known_by_their_own_addresses(
    daemon: Callable[..., Daemon], secret: str
) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=secret, start=False)
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True):
            pass
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    ports = listening(
        started, *({"protocol": "both", "hostname": "::", "allow": [network]} for network in ("127.0.0.0/8", "::1"))
    )
    answers = [said(address, port, "pdu 1 on")[:4] for port in ports for address in ("127.0.0.1", "::1")]
    assert answers == ["ack\n", "nack", "nack", "ack\n"]


def test_what_prevents_a_start(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    started = daemon({}, secret=SECRET, start=False)
    (started.folder / "secret").chmod(0o644)
    ended = started.run()
    assert ended.returncode == 2 and "others can read or change it" in ended.stderr and SECRET not in ended.stderr
    (started.folder / "secret").unlink()
    started.start()
    assert (started.folder / "secret").stat().st_mode & 0o777 == MADE
    ended = started.run("--token", "--name=bob")
    started.token = ended.stdout.strip()
    assert started.http("/nodes").status == 200
    started.settings["daemon"]["listeners"] = [{"protocol": "tcp", "allow": ["127.0.0.1/8"]}]
    started.configure(started.settings)
    assert started.run().returncode == 2
    assert eventually(lambda: started.http("/healthz").text) == "ok\n"
