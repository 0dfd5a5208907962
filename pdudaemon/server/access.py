# SPDX-License-Identifier: MIT
"""Who may ask: `Access.permit` is asked for every request, whichever way it comes in.

With ``jwt_secret_file``, every request needs a token: a JWT signed with that secret by HS256, which must say until when
it is valid (``exp``), and may say whose it is (``sub``) and which ``roles`` he has, without which he may do everything.
OpenFlight Power's own tokens are such. The text protocol cannot carry one, so it is refused but for the networks in its
listener's ``allow``; without tokens these bound whom both protocols serve, if there are any.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import secrets
import stat
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from pdudaemon import sharedfiles
from pdudaemon.errors import ConfigError, Denied, Unavailable
from pdudaemon.server.oidc import Issuer
from pdudaemon.settings import Network

OPENFLIGHT = Path("/opt/flight/etc/power-server.conf")
"""Where OpenFlight Power itself keeps its secret."""

UNIX = "unix"
"""The address of all who come by a UNIX socket: whom its file lets in, no networks concern."""

MOST_VERIFIED = 1000
"""Most tokens that are known to be good."""

MOST_ROLES = 32
"""Most roles that one token may have."""

_TAKEN_OVER = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?jwt_shared_secret[ \t]*[=:][ \t]*(['"]?)(.*?)\1[ \t]*(?:(?<![^ \t])#.*)?\r?$""",
    re.MULTILINE,
)
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


class Holder(NamedTuple):
    """Who asks, as far as it is known, and the names of his roles; None: he has none, and may do everything."""

    name: str = ""
    roles: tuple[str, ...] | None = None


class Certified(NamedTuple):
    """Who has shown a certificate, and its serial number."""

    holder: Holder
    number: str


def certified(name: str, units: tuple[str, ...], number: str) -> Certified:
    """Return who has shown a certificate with a common name; each organizational unit is the name of a role."""
    return Certified(Holder(_name(name), units or None), number)


class Access:
    """The one rule for all listeners.

    Of the ``secrets`` the first signs tokens and all verify them; without any, no tokens are asked for. ``revoked`` are
    names, or ids, of tokens that are not taken any more. Tokens of an ``issuer`` are taken as well.
    """

    def __init__(self, *secrets: str, revoked: Iterable[str] = (), issuer: Issuer | None = None) -> None:
        self.issuer = issuer
        self._secrets = (*filter(None, secrets),)
        self.by_token = bool(self._secrets) or issuer is not None  # whether tokens are asked for
        self._revoked = frozenset(revoked)
        self._verified_before: dict[str, tuple[Holder, float]] = {}  # of our own tokens, until when they are good

    def permit(
        self, address: str, allow: tuple[Network, ...], authorization: str | None, certified: Certified | None = None
    ) -> Holder:
        """Return who holds the token, nobody in particular without one.

        ``authorization`` is the header of that name, empty if there is none; None: the protocol has no such thing.
        ``certified`` is who has shown a certificate, which takes the place of a token. Raises: Denied.
        """
        if certified is not None and not authorization:
            if not self._revoked.isdisjoint((certified.holder.name, certified.number)):
                raise Denied(401, "the certificate has been revoked")
            return certified.holder
        if not self.by_token:
            if allow and address != UNIX and not within(address, allow):
                raise Denied(403, f"{address} is not in the networks that are allowed here")
            return Holder()
        if authorization is None:
            if not within(address, allow):
                raise Denied(403, f"a token is needed, so this is for HTTP; {address} is in no network allowed here")
            return Holder()
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise Denied(401, "a token is needed: Authorization: Bearer TOKEN")
        return self._holder(bearer[1])

    def token(self, claims: Mapping[str, Any]) -> str:
        """Return a token with some claims, such as `claims` makes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a secret that is shorter than is thought good today: it is in use
            return str(_library().encode({**claims}, self._secrets[0], algorithm="HS256"))

    def _holder(self, token: str) -> Holder:
        """Return who holds a token. To verify one takes longer than all else of a request. Raises: Denied."""
        found = self._verified_before.get(token)
        if found is not None and time.time() < found[1]:
            return found[0]
        holder, until = self._verified_anew(token)
        if until:
            if len(self._verified_before) >= MOST_VERIFIED:
                self._verified_before.clear()
            self._verified_before[token] = (holder, until)
        return holder

    def _verified_anew(self, token: str) -> tuple[Holder, float]:
        """Return who holds a token, and until when that is sure: 0 for one whose issuer may change its keys."""
        jwt = _library()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = jwt.get_unverified_header(token)
                if "crit" in header:  # must be understood, says it; old releases do not look
                    raise jwt.InvalidTokenError("crit")
                issuer = self.issuer if header.get("alg") != "HS256" else None
                claims = issuer.claims(token, header) if issuer else self._verified(jwt, token)
        except jwt.ExpiredSignatureError:
            raise Denied(401, "the token has expired") from None
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError):  # older releases let these pass
            raise Denied(401, "the token is not valid here") from None
        words = ("sub", "jti", issuer.options.name_claim if issuer else "sub")
        if any(isinstance(claims.get(word), str) and claims[word] in self._revoked for word in words):
            raise Denied(401, "the token has been revoked")
        if issuer:
            return Holder(_name(claims.get(issuer.options.name_claim)), issuer.roles(claims)), 0
        roles = _roles(claims["roles"]) if "roles" in claims else None
        return Holder(_name(claims.get("sub")), roles), int(claims["exp"])

    def _verified(self, jwt: ModuleType, token: str) -> dict[str, Any]:
        """Return the claims of a token, by the secret that it is signed with. Raises: what the library does."""
        if not self._secrets:
            raise jwt.InvalidTokenError("HS256")
        options = {"require": ["exp"], **{f"verify_{claim}": False for claim in ("aud", "iat", "jti", "sub")}}
        for secret in self._secrets[:-1]:
            with contextlib.suppress(jwt.InvalidSignatureError):
                return dict(jwt.decode(token, secret, algorithms=["HS256"], options=options))
        return dict(jwt.decode(token, self._secrets[-1], algorithms=["HS256"], options=options))


def claims(days: float, name: str = "", roles: Sequence[str] = ()) -> dict[str, Any]:
    """Return the claims of a new token; without ``roles``, its holder may do everything."""
    made: dict[str, Any] = {"admin": None, "exp": int(time.time() + days * 86400), "jti": secrets.token_urlsafe(9)}
    return made | ({"sub": name} if name else {}) | ({"roles": [*roles]} if roles else {})


def _name(claim: object) -> str:
    return " ".join(claim.split())[:100] if isinstance(claim, str) and claim.isprintable() else ""


def _roles(claim: object) -> tuple[str, ...]:
    """Return the roles that a claim names: one, or a list. What is neither must not pass for nothing to be observed."""
    given = [claim] if isinstance(claim, str) else claim
    if not isinstance(given, list) or len(given) > MOST_ROLES or not all(isinstance(role, str) for role in given):
        raise Denied(401, "the token is not valid here: its roles are no list of names")
    return tuple(dict.fromkeys(given))


def from_file(path: Path, revoked: Iterable[str] = (), issuer: Issuer | None = None) -> Access:
    """Return the access that the secrets in a file give; a file that is not there is made, with a new secret.

    The file holds nothing but secrets, one a line, or is OpenFlight Power's own configuration. Raises: ConfigError.
    """
    _library()
    try:
        sharedfiles.create(path, f"{secrets.token_urlsafe(32)}\n")
    except OSError as error:
        kind = Unavailable if error.errno in _MAY_PASS else ConfigError
        raise kind(f"jwt_secret_file: {path}: {error.strerror}") from None
    return Access(*_read(path), revoked=revoked, issuer=issuer)


def check(path: Path) -> None:
    """Look at a file as `from_file` does, but make none. Raises: ConfigError."""
    _library()
    if os.path.lexists(path):
        _read(path)


def _read(path: Path) -> list[str]:
    try:
        with os.fdopen(sharedfiles.opened(path, os.O_RDONLY), encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(65536)
    except OSError as error:
        raise ConfigError(f"jwt_secret_file: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"jwt_secret_file: {path}: is not a text") from None
    if mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise ConfigError(f"jwt_secret_file: {path}: others can read or change it; chmod it to 0600 or 0640")
    found = _TAKEN_OVER.search(text)
    held = [found[2].strip()] if found else [line.strip() for line in text.splitlines() if line.strip()]
    if not any(held) or "\0" in text:  # as an earlier version left it when there was no room, or the power went
        remedy = "put back the one that it held, or remove the file: a new secret is made, and tokens made before end"
        raise ConfigError(f"jwt_secret_file: {path}: holds no secret; {remedy}")
    if not found and any(len(secret.split()) > 1 for secret in held):
        raise ConfigError(f"jwt_secret_file: {path}: holds no secret: a line of it is more than one word")
    return held


def _library() -> ModuleType:
    try:
        import jwt
    except ImportError:
        raise ConfigError("jwt_secret_file: for tokens the package PyJWT is needed (Debian: python3-jwt)") from None
    return jwt


def within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of some networks; that of IPv4 in IPv6 counts as IPv4."""
    if not networks or address == UNIX:
        return False
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in networks)
