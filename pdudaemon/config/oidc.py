# SPDX-License-Identifier: MIT
"""`OIDC`: the OpenID Connect provider whose tokens are taken, as ``daemon.oidc`` names it."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pdudaemon.settings import Kind, near

_KEYS = ("issuer", "audience", "keys", "role_claim", "name_claim")
_CLAIM = re.compile(r"[\w.:/-]{1,200}")


class OIDC(NamedTuple):
    """``keys`` is the URL of its public keys (a JWK set), or a file with such.

    ``role_claim`` holds the names of roles, ``name_claim`` whose a token is; a dot leads into an object.
    """

    issuer: str
    audience: str
    keys: str
    role_claim: str = "roles"
    name_claim: str = "sub"

    @property
    def by_url(self) -> bool:
        """Whether the keys are asked for at a URL."""
        return "://" in self.keys


def _oidc(value: object) -> OIDC | None:
    if value is None or isinstance(value, OIDC):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object with issuer, audience and keys")
    for key, each in value.items():
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}{near(str(key), _KEYS)}")
        if not isinstance(each, str) or not each:
            raise ValueError(f"{key}: must be a text")
    for key in _KEYS[:3]:
        if key not in value:
            raise ValueError(f"{key}: is missing")
    for key in _KEYS[3:]:
        if not _CLAIM.fullmatch(value.get(key, "x")):
            raise ValueError(f"{key}: {value[key][:50]!r} cannot be the name of a claim")
    if "://" in value["keys"] and not _is_safe(value["keys"]):
        raise ValueError("keys: must be a file, or a URL with https; http is for this machine only")
    given: dict[str, Any] = value
    return OIDC(**given)


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can put in keys of his own."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "http":
            return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
        return parts.scheme == "https" and bool(parts.hostname)
    except ValueError:
        return False


provider = Kind(
    "object",
    _oidc,
    schema={"type": "object", "properties": {key: {"type": "string"} for key in _KEYS}, "required": [*_KEYS[:3]]},
)
