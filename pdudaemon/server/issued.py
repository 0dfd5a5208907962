# SPDX-License-Identifier: MIT
"""The list of the tokens that ``--token`` has made: a file beside the secret, a line of JSON for each.

It holds no token and no secret, only what is needed to revoke one: its id, its name, its roles and until when it is
good. The daemon itself does not read it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pdudaemon import sharedfiles
from pdudaemon.errors import ConfigError


def beside(secret_file: Path) -> Path:
    """Return the list that belongs to a file with secrets."""
    return secret_file.with_name(f"{secret_file.name}.tokens")


def add(secret_file: Path, claims: Mapping[str, Any]) -> None:
    """Write down the claims of a new token. Raises: OSError."""
    kept = {"jti": claims["jti"], "sub": claims.get("sub", ""), "roles": claims.get("roles"), "exp": claims["exp"]}
    path = beside(secret_file)
    with os.fdopen(sharedfiles.opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "a") as file:
        file.write(f"{json.dumps(kept)}\n")


def lines(secret_file: Path, revoked: Collection[str]) -> Iterator[str]:
    """Yield a line for people for each token that has not expired, the oldest first. Raises: ConfigError."""
    path = beside(secret_file)
    try:
        with os.fdopen(sharedfiles.opened(path, os.O_RDONLY), encoding="utf-8", errors="replace") as file:
            found = [*map(_parsed, file)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    for each in found:
        if each is not None and each["exp"] > time.time():
            until = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["exp"]))
            roles = "everything" if each["roles"] is None else ",".join(each["roles"])
            gone = " (revoked)" if {each["jti"], each["sub"]} & {*revoked} else ""
            yield f"{each['jti']}  until {until}  {roles}  {each['sub']}".rstrip() + gone


def _parsed(line: str) -> dict[str, Any] | None:
    """Return what a line holds; None if it is not one of ours."""
    try:
        found = json.loads(line)
        texts = [found["jti"], found["sub"], *(found["roles"] or ())]
        good = all(isinstance(text, str) and text.isprintable() for text in texts) and isinstance(found["exp"], int)
        return dict(found) if good and found["exp"] < 1 << 36 else None
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
