# SPDX-License-Identifier: MIT
"""`Issuer`: tokens of an OpenID Connect provider, verified by its public keys.

The keys are kept, and read again by a thread of its own: from time to time, and soon after a token has come that is
signed by one which is not known, as after a rotation. No request waits for the provider; while it cannot be reached,
the keys that are known go on. What a key is for is pinned by its kind: RS256 for RSA, ES256 for P-256.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from pdudaemon import sharedfiles
from pdudaemon.config.model import Config
from pdudaemon.config.oidc import OIDC
from pdudaemon.errors import ConfigError, Denied

log = logging.getLogger("pdud.oidc")

REFRESH = 300.0  # seconds after which the keys are read again
PAUSE = 10.0  # seconds at least between two readings, whatever tokens come
PATIENCE = 10.0  # seconds for the provider to answer
LEEWAY = 30  # seconds by which its clock and ours may differ
MOST_KEYS = 100
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}


class Issuer:
    """A provider. `claims` may be called by any thread."""

    def __init__(self, options: OIDC) -> None:
        """Read the keys, if they are a file's. Raises: ConfigError."""
        self.options = options
        self._keys: dict[str, tuple[str, Any]] = {}  # algorithm and key, by its id
        self._known = False
        self._trouble = ""
        self._wanted = threading.Event()
        self._left = threading.Event()
        library()
        if not options.by_url:
            self._read()
            if self._trouble:
                raise ConfigError(f"oidc: keys: {self._trouble}")
        self._thread = threading.Thread(target=self._run, name="oidc", daemon=True)

    def __str__(self) -> str:
        return f"the thread that reads the keys of {self.options.issuer}"

    def start(self) -> None:
        """Begin to keep the keys up to date."""
        self._thread.start()

    def close(self) -> None:
        """Let the thread end as soon as it can; it does nothing that anybody must wait for."""
        self._left.set()
        self._wanted.set()

    def claims(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        """Return the claims of a token. Raises: Denied, and what the library raises."""
        kid = header.get("kid")
        found = self._keys.get(kid) if isinstance(kid, str) else None
        if kid is None and len(self._keys) == 1:
            (found,) = self._keys.values()
        if found is None:
            self._wanted.set()
            why = "" if self._known else ", of which none could be read yet"
            raise Denied(401, f"the token is signed by none of the keys of the issuer{why}")
        algorithm, key = found
        options = {"require": ["exp", "iss", "aud"], "verify_iat": False}
        for claim in ("jti", "sub"):
            options[f"verify_{claim}"] = False
        return dict(
            library().decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self.options.audience,
                issuer=self.options.issuer,
                leeway=LEEWAY,
                options=options,
            )
        )

    def roles(self, claims: dict[str, Any]) -> tuple[str, ...]:
        """Return the roles that the claim of the configuration names; without it, none, which is nothing."""
        found: Any = claims
        for part in self.options.role_claim.split(".") if self.options.role_claim not in claims else ():
            found = found.get(part) if isinstance(found, dict) else None
        if found is claims:
            found = claims[self.options.role_claim]
        given = [found] if isinstance(found, str) else found
        return tuple(dict.fromkeys(each for each in given if isinstance(each, str))) if isinstance(given, list) else ()

    def _run(self) -> None:
        while not self._left.is_set():
            began = time.monotonic()
            self._wanted.clear()
            self._read()
            self._wanted.wait(REFRESH)
            self._left.wait(max(0.0, began + PAUSE - time.monotonic()))

    def _read(self) -> None:
        """Read the keys; those that are known stay if that fails."""
        try:
            keys = dict(_usable(_fetched(self.options)))
            if not keys:
                raise ValueError("there is no key for RS256 or ES256 among them")
        except Exception as error:  # whatever the library, or the provider, comes up with
            told = " ".join(f"{self.options.keys}: {error}".split())[:300]
            if told != self._trouble:
                log.error("%s", told)
            self._trouble = told
            return
        if keys.keys() != self._keys.keys():
            log.info("%s: %d keys", self.options.keys, len(keys))
        self._trouble = ""
        self._keys, self._known = keys, True


def issuer_of(conf: Config) -> Issuer | None:
    """Return the provider of a configuration, None if it has none. Raises: ConfigError."""
    options = conf.daemon.oidc
    if options is None:
        return None
    return Issuer(options if options.by_url else options._replace(keys=str(Path(conf.path).parent / options.keys)))


def _fetched(options: OIDC) -> Iterable[Any]:
    jwt = library()
    if not options.by_url:
        with open(options.keys, "rb", opener=sharedfiles.unwaiting) as file:
            return list(jwt.PyJWKSet.from_dict(json.loads(file.read())).keys)
    try:
        client = jwt.PyJWKClient(options.keys, timeout=PATIENCE)
    except TypeError:  # that of Debian 12 has no such bound: only this thread waits
        client = jwt.PyJWKClient(options.keys)
    return list(client.get_jwk_set().keys)


def _usable(keys: Iterable[Any]) -> Iterable[tuple[str, tuple[str, Any]]]:
    """Yield those keys that may have signed a token, by their ids."""
    for each in list(keys)[:MOST_KEYS]:
        algorithm = _ALGORITHMS.get(each.key_type)
        wrong_curve = algorithm == "ES256" and each._jwk_data.get("crv") != "P-256"
        if algorithm and not wrong_curve and each.public_key_use in (None, "sig"):
            yield each.key_id or "", (algorithm, each.key)


def library() -> ModuleType:
    """Return the library, with what it needs for public keys. Raises: ConfigError."""
    try:
        import jwt

        if not jwt.algorithms.has_crypto:
            raise ImportError
    except ImportError:
        needed = "the packages PyJWT and cryptography are needed (Debian: python3-jwt, python3-cryptography)"
        raise ConfigError(f"oidc: {needed}") from None
    return jwt
