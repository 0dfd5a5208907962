# SPDX-License-Identifier: MIT
"""`Issuer`: which of a provider's keys count, when they are read anew, and what of a token is held against them.

With daemons and a provider that has moods it is tried in `test_oidc`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pdudaemon.config.oidc import OIDC
from pdudaemon.errors import ConfigError, Denied
from pdudaemon.server import oidc
from pdudaemon.server.oidc import LEEWAY, PAUSE, REFRESH, Issuer
from tests.support.process import eventually
from tests.support.provider import AUDIENCE, ISSUER, jwk, rsa_key

RSA = rsa_key()
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())

Make = Callable[..., Issuer]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A function that makes an issuer whose keys are in a file."""
    made: list[Issuer] = []

    def issuer(*keys: dict[str, Any], role_claim: str = "roles") -> Issuer:
        publish(tmp_path, *keys)
        made.append(Issuer(OIDC(ISSUER, AUDIENCE, str(tmp_path / "keys"), role_claim)))
        return made[-1]

    yield issuer
    for each in made:
        each.close()


def publish(folder: Path, *keys: dict[str, Any], text: str = "") -> None:
    beside = folder / "beside"
    beside.write_text(text or json.dumps({"keys": keys}))
    beside.rename(folder / "keys")


def claims(issuer: Issuer, key: Any = RSA, kid: object = "one", alg: str = "RS256", **more: Any) -> dict[str, Any]:
    """Return what an issuer finds in a token."""
    whole = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, **more}
    header = {} if kid is None else {"kid": kid}
    return issuer.claims(jwt.encode(whole, key, alg, headers={"kid": str(kid)}), header)


def test_what_no_token_is_held_against(make: Make) -> None:
    """When it was issued, which differs from clock to clock, and the kinds of claims that only ever are told."""
    issuer = make(jwk(RSA, "one"))
    told = {"iat": int(time.time()) + 6000, "sub": 7, "jti": 7}
    assert {**claims(issuer, **told), **told} == claims(issuer, **told)
    assert claims(issuer, exp=int(time.time()) - LEEWAY // 2)
    assert claims(issuer, nbf=int(time.time()) + LEEWAY // 2)
    for word, seconds in (("exp", -LEEWAY - 30), ("nbf", LEEWAY + 30)):
        with pytest.raises(jwt.InvalidTokenError):
            claims(issuer, **{word: int(time.time()) + seconds})


def test_a_token_may_leave_out_which_key_it_is_if_there_is_one(make: Make) -> None:
    assert claims(make(jwk(RSA, "one")), kid=None)
    two = make(jwk(RSA, "one"), jwk(P256, "two"))
    assert claims(two) and claims(two, P256, "two", "ES256")
    for issuer, kid in ((two, None), (two, "three"), (make(jwk(RSA, "one")), "two"), (two, ["one"]), (two, 7)):
        with pytest.raises(Denied, match=r"^the token is signed by none of the keys of the issuer$") as denied:
            claims(issuer, kid=kid)
        assert denied.value.http_status == 401


def test_which_keys_count(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    unused = {word: said for word, said in jwk(RSA, "any").items() if word != "use"}
    strange = [jwk(P384, "large"), jwk(RSA, "enc", use="enc"), {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}]
    issuer = make(*strange, unused, jwk(P256, "two"))
    assert claims(issuer, kid="any") and claims(issuer, P256, "two", "ES256")
    for key, kid, algorithm in ((P384, "large", "ES384"), (RSA, "enc", "RS256"), ("secret" * 9, "secret", "HS256")):
        with pytest.raises(Denied):
            claims(issuer, key, kid, algorithm)
    nameless = {word: said for word, said in jwk(RSA, "x").items() if word != "kid"}
    assert claims(make(nameless), kid=None) and claims(make(nameless), kid="")
    monkeypatch.setattr(oidc, "MOST_KEYS", 2)
    issuer = make(jwk(RSA, "one"), jwk(RSA, "two"), jwk(RSA, "three"))
    assert claims(issuer, kid="two")
    with pytest.raises(Denied):
        claims(issuer, kid="three")
    with pytest.raises(ConfigError, match=r"oidc: keys: .*: there is no key for RS256 or ES256 among them"):
        make(*strange)


@pytest.mark.parametrize(
    ("claim", "told", "roles"),
    [
        ("roles", {"roles": ["a", "b", "a"]}, ("a", "b")),
        ("roles", {"roles": "a"}, ("a",)),
        ("roles", {"roles": ["a", 7, None]}, ("a",)),
        ("roles", {"roles": {"a": 1}}, ()),
        ("roles", {}, ()),
        ("x.roles", {"x": {"roles": ["a"]}}, ("a",)),
        ("x.roles", {"x.roles": ["b"], "x": {"roles": ["a"]}}, ("b",)),
        ("x.y.roles", {"x": {"y": {"roles": "a"}}}, ("a",)),
        ("x.y.roles", {"x": {"y": ["roles"]}}, ()),
        ("x.roles", {"x": "roles"}, ()),
        ("", {"": ["a"]}, ("a",)),
    ],
)
def test_roles_are_what_the_claim_says(make: Make, claim: str, told: dict[str, Any], roles: tuple[str, ...]) -> None:
    assert make(jwk(RSA, "one"), role_claim=claim).roles(told) == roles


def test_keys_are_read_anew_by_a_thread_that_ends_at_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(oidc, "PAUSE", 0.0)
    caplog.set_level(logging.INFO)
    issuer = make(jwk(RSA, "one"))
    assert str(issuer) == f"the thread that reads the keys of {ISSUER}"
    issuer.start()
    publish(tmp_path, jwk(RSA, "new"))

    def known() -> bool:
        try:
            return bool(claims(issuer, kid="new"))
        except Denied:  # which has them read
            return False

    eventually(known)
    with pytest.raises(Denied):
        claims(issuer, kid="one")
    before = len(caplog.messages)
    publish(tmp_path, text="{")
    for _ in range(3):
        with pytest.raises(Denied):
            claims(issuer, kid="one")
    eventually(lambda: len(caplog.messages) > before)
    assert caplog.messages[before].startswith(f"{tmp_path / 'keys'}: Expecting") and claims(issuer, kid="new")
    with pytest.raises(Denied):
        claims(issuer, kid="one")
    publish(tmp_path, jwk(RSA, "last"), jwk(P256, "two"))
    eventually(lambda: claims_or_none(issuer))
    told = [each.removeprefix(f"{tmp_path / 'keys'}: ") for each in caplog.messages]
    assert told[0] == told[1] == "1 keys" and told[-1] == "2 keys" and len(told) == before + 2
    assert issuer._thread.daemon and issuer._thread.is_alive()
    issuer.close()
    issuer._thread.join(60)
    assert not issuer._thread.is_alive()


def claims_or_none(issuer: Issuer) -> Any:
    try:
        return claims(issuer, kid="last")
    except Denied:
        return None


def test_keys_are_read_anew_from_time_to_time(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "PAUSE", 0.0)
    monkeypatch.setattr(oidc, "REFRESH", 0.05)
    issuer = make(jwk(RSA, "one"))
    issuer.start()
    publish(tmp_path, jwk(RSA, "new"))
    eventually(lambda: "new" in issuer._keys)


class Signal:
    """An event that nobody waits for: what was done with it is noted, and that takes some seconds."""

    def __init__(self, clock: list[float], done: list[Any], *took: float) -> None:
        self._clock, self._done, self._took = clock, done, iter(took)

    def clear(self) -> None:
        self._done.append("clear")

    def wait(self, seconds: float) -> None:
        self._done.append(seconds)
        self._clock[0] += next(self._took, 0.0)

    def is_set(self) -> bool:
        return self._done.count("read") == 3

    def set(self) -> None:
        self._done.append("set")


def test_keys_are_read_when_they_are_wanted_and_no_more_than_now_and_then(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, clock, done = make(jwk(RSA, "one")), [1000.0], list[Any]()
    monkeypatch.setattr(oidc, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(issuer, "_wanted", Signal(clock, done, 3.0, 20.0, 0.0))
    monkeypatch.setattr(issuer, "_left", Signal(clock, done))
    monkeypatch.setattr(issuer, "_read", lambda: done.append("read"))
    issuer._run()
    assert done == [
        *("clear", "read", REFRESH, PAUSE - 3.0),
        *("clear", "read", REFRESH, 0.0),
        *("clear", "read", REFRESH, PAUSE),
    ]


def test_a_token_by_a_key_that_is_not_known_has_them_read(make: Make) -> None:
    issuer = make(jwk(RSA, "one"))
    assert claims(issuer) and not issuer._wanted.is_set()
    with pytest.raises(Denied):
        claims(issuer, kid="none")
    assert issuer._wanted.is_set()


def test_before_the_keys_have_been_read_it_is_said_so() -> None:
    issuer = Issuer(OIDC(ISSUER, AUDIENCE, "https://login.example/keys", "roles"))
    for known, why in ((False, ", of which none could be read yet"), (True, "")):
        issuer._known = issuer._known or known
        with pytest.raises(Denied) as denied:
            claims(issuer)
        assert str(denied.value) == f"the token is signed by none of the keys of the issuer{why}"


def test_trouble_is_told_once_and_again_when_it_was_over(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = make(jwk(RSA, "one"))
    caplog.clear()
    for text, told in (("{", 1), ("{", 1), ("[]", 2), ("{", 3), ("", 3), ("{", 4)):
        publish(tmp_path, *([jwk(RSA, "one")] if not text else []), text=text)
        issuer._read()
        assert len(caplog.messages) == told and "one" in issuer._keys
    assert all(each.startswith(f"{tmp_path / 'keys'}: ") for each in caplog.messages)


def test_without_the_library_there_is_no_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt.algorithms, "has_crypto", False)
    with pytest.raises(ConfigError, match="the packages PyJWT and cryptography are needed"):
        Issuer(OIDC(ISSUER, AUDIENCE, "https://sso.example.org/keys"))
