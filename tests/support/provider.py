# SPDX-License-Identifier: MIT
"""What an OpenID Connect provider publishes."""

from __future__ import annotations

import functools
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.tokens import encoded

ISSUER, AUDIENCE = "https://sso.example.org/realms/lab", "pdudaemon"


@functools.cache
def rsa_key(which: int = 0) -> rsa.RSAPrivateKey:
    """Return a key, the same to whoever asks for that one: to make it takes long."""
    return rsa.generate_private_key(65537, 2048)


def number(value: int, size: int = 0) -> str:
    """Return a number as it stands in a key."""
    return encoded(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Return a public key as providers publish it, as RFC 7517 has it."""
    public = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "kid": kid, "use": "sig", "n": number(public.n), "e": number(public.e), **more}
    size = (key.curve.key_size + 7) // 8
    curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[key.curve.name]
    return {"kty": "EC", "kid": kid, "crv": curve, "x": number(public.x, size), "y": number(public.y, size), **more}
