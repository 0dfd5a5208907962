# SPDX-License-Identifier: MIT
"""Who may ask: `Access.permit` is asked for every request, whichever way it comes in.

With ``jwt_secret_file``, every request needs a token: a JWT signed with that secret by HS256, which must say until when
it is valid (``exp``), and may say whose it is (``sub``) and which ``roles`` he has, without which he may do everything.
OpenFlight Power's own tokens are such. The text protocol cannot carry one, so it is refused but for the networks in its
listener's ``allow``; without tokens these bound whom both protocols serve, if there are any.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import secrets
import stat
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from pdudaemon import sharedfiles
from pdudaemon.errors import ConfigError, Denied, Unavailable
from pdudaemon.settings import Network

OPENFLIGHT = Path("/opt/flight/etc/power-server.conf")
"""Where OpenFlight Power itself keeps its secret."""

MOST_ROLES = 32
"""Most roles that one token may have."""

_TAKEN_OVER = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?jwt_shared_secret[ \t]*[=:][ \t]*(['"]?)(.*?)\1[ \t]*(?:(?<![^ \t])#.*)?\r?$""",
    re.MULTILINE,
)
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


class Holder(NamedTuple):
    """Whose a token is, if it says so, and the names of its roles; None: it has none, and is good for everything."""

    name: str = ""
    roles: tuple[str, ...] | None = None


class Access:
    """The one rule for all listeners. ``secret`` is what tokens are signed with; empty: none are asked for."""

    def __init__(self, secret: str = "") -> None:
        self._secret = secret

    @property
    def by_token(self) -> bool:
        """Whether tokens are asked for."""
        return bool(self._secret)

    def permit(self, address: str, allow: tuple[Network, ...], authorization: str | None) -> Holder:
        """Return who holds the token, nobody in particular without one.

        ``authorization`` is the header of that name, empty if there is none; None: the protocol has no such thing.
        Raises: Denied.
        """
        if not self._secret:
            if allow and not _within(address, allow):
                raise Denied(403, f"{address} is not in the networks that are allowed here")
            return Holder()
        if authorization is None:
            if not _within(address, allow):
                raise Denied(403, f"a token is needed, so this is for HTTP; {address} is in no network allowed here")
            return Holder()
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise Denied(401, "a token is needed: Authorization: Bearer TOKEN")
        return self._holder(bearer[1])

    def token(self, days: float, name: str = "", roles: Sequence[str] = ()) -> str:
        """Return a new token; without ``roles``, its holder may do everything."""
        jwt = _library()
        claims: dict[str, Any] = {"admin": None, "exp": int(time.time() + days * 86400)}
        claims |= {"sub": name} if name else {}
        claims |= {"roles": [*roles]} if roles else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a secret that is shorter than is thought good today: it is in use
            return str(jwt.encode(claims, self._secret, algorithm="HS256"))

    def _holder(self, token: str) -> Holder:
        jwt = _library()
        options = {"require": ["exp"], **{f"verify_{claim}": False for claim in ("aud", "iat", "jti", "sub")}}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if "crit" in jwt.get_unverified_header(token):  # must be understood, says it; old releases do not look
                    raise jwt.InvalidTokenError("crit")
                claims = jwt.decode(token, self._secret, algorithms=["HS256"], options=options)
        except jwt.ExpiredSignatureError:
            raise Denied(401, "the token has expired") from None
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError):  # older releases let these pass
            raise Denied(401, "the token is not valid here") from None
        return Holder(_name(claims.get("sub")), _roles(claims["roles"]) if "roles" in claims else None)


def _name(claim: object) -> str:
    return " ".join(claim.split())[:100] if isinstance(claim, str) and claim.isprintable() else ""


def _roles(claim: object) -> tuple[str, ...]:
    """Return the roles that a claim names: one, or a list. What is neither must not pass for nothing to be observed."""
    given = [claim] if isinstance(claim, str) else claim
    if not isinstance(given, list) or len(given) > MOST_ROLES or not all(isinstance(role, str) for role in given):
        raise Denied(401, "the token is not valid here: its roles are no list of names")
    return tuple(dict.fromkeys(given))


def from_file(path: Path) -> Access:
    """Return the access that the secret in a file gives; a file that is not there is made, with a new secret.

    The file holds nothing but the secret, or is OpenFlight Power's own configuration. Raises: ConfigError.
    """
    _library()
    try:
        sharedfiles.create(path, f"{secrets.token_urlsafe(32)}\n")
    except OSError as error:
        kind = Unavailable if error.errno in _MAY_PASS else ConfigError
        raise kind(f"jwt_secret_file: {path}: {error.strerror}") from None
    return Access(_read(path))


def check(path: Path) -> None:
    """Look at a file as `from_file` does, but make none. Raises: ConfigError."""
    _library()
    if os.path.lexists(path):
        _read(path)


def _read(path: Path) -> str:
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
    secret = (found[2] if found else text).strip()
    if not secret or "\0" in secret:  # as an earlier version left it when there was no room, or the power went
        remedy = "put back the one that it held, or remove the file: a new secret is made, and tokens made before end"
        raise ConfigError(f"jwt_secret_file: {path}: holds no secret; {remedy}")
    if not found and len(secret.split()) > 1:
        raise ConfigError(f"jwt_secret_file: {path}: holds no secret: it is more than one word")
    return secret


def _library() -> ModuleType:
    try:
        import jwt
    except ImportError:
        raise ConfigError("jwt_secret_file: for tokens the package PyJWT is needed (Debian: python3-jwt)") from None
    return jwt


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in network for network in networks)
