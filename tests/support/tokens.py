# SPDX-License-Identifier: MIT
"""Tokens such as OpenFlight makes, without any library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

SECRET = "c2VjcmV0IG9mIGEgdGVzdA=="  # as OpenFlight's package makes them: short
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def encoded(data: bytes) -> str:
    """Return bytes as they stand in a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def made(claims: Any, secret: str = SECRET, header: Any = None, signed_by: str = "HS256") -> str:
    """Return a token, as RFC 7519 has it, without any library."""
    text = ".".join(encoded(json.dumps(part).encode()) for part in (header or {"alg": "HS256"}, claims))
    return f"{text}.{encoded(hmac.new(secret.encode(), text.encode(), HASHES[signed_by]).digest())}"


def later(seconds: float = 1000) -> int:
    """Return a time from now."""
    return int(time.time() + seconds)


def good(**claims: Any) -> str:
    """Return a token such as OpenFlight's ``rake token:user`` prints."""
    return made({"admin": None, "exp": later(), **claims})
