# SPDX-License-Identifier: MIT
"""How a client of HTTP proves who it is: Digest (RFC 7616, RFC 2069) and Basic.

The digest handler of urllib knows no SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping

_PART = re.compile(r'([^\s,="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?')  # of WWW-Authenticate
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}  # the better one first


def authorization(asked: list[dict[str, str]], method: str, target: str, username: str, password: str) -> str:
    """Return the header that answers the best challenge that we know, empty if none. No challenge: Basic."""
    usable = [
        challenge
        for name in _ALGORITHMS
        for challenge in asked
        if challenge["scheme"] == "digest"
        and challenge.get("algorithm", "MD5").upper().removesuffix("-SESS") == name
        and "auth" in challenge.get("qop", "auth").replace(",", " ").lower().split()
    ]
    if usable:
        return _digest(usable[0], method, target, username, password, os.urandom(16).hex())
    if not asked or any(challenge["scheme"] == "basic" for challenge in asked):
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    return ""


def challenges(headers: list[str]) -> list[dict[str, str]]:
    """Return what the challenges of WWW-Authenticate headers hold, each with its ``scheme``; several may share one."""
    found: list[dict[str, str]] = []
    for part in _PART.finditer(", ".join(headers)):
        word, quoted, plain = part.groups()
        if quoted is None and plain is None:
            found.append({"scheme": word.lower()})
        elif found:
            found[-1][word.lower()] = plain or re.sub(r"\\(.)", r"\1", quoted)
    return found


def _digest(asked: Mapping[str, str], method: str, target: str, username: str, password: str, cnonce: str) -> str:
    """Return the Authorization header of RFC 7616, or of RFC 2069 where no ``qop`` was offered."""
    algorithm = asked.get("algorithm", "MD5").upper()
    session = algorithm.endswith("-SESS")
    function = _ALGORITHMS[algorithm.removesuffix("-SESS")]

    def digest(*parts: str) -> str:
        return hashlib.new(function, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce, count = asked.get("realm", ""), asked.get("nonce", ""), "00000001"
    secret = digest(username, realm, password)
    if session:
        secret = digest(secret, nonce, cnonce)
    between = (nonce, count, cnonce, "auth") if "qop" in asked else (nonce,)
    fields = {"username": username, "realm": realm, "nonce": nonce, "uri": target}
    fields["response"] = digest(secret, *between, digest(method, target))
    if "opaque" in asked:
        fields["opaque"] = asked["opaque"]
    if "qop" in asked or session:
        fields["cnonce"] = cnonce
    said = [f'{name}="{_escaped(value)}"' for name, value in fields.items()]
    said += ["qop=auth", f"nc={count}"] if "qop" in asked else []
    said += [f"algorithm={asked['algorithm']}"] if "algorithm" in asked else []
    return "Digest " + ", ".join(said)


def _escaped(value: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", value)
