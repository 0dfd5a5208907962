# SPDX-License-Identifier: MIT
"""Settings that do not stand in the configuration itself: ``{"credential": NAME}`` and ``{"file": PATH}``.

A credential is one of the systemd service (LoadCredential), a file is looked for beside the configuration. Of either,
the text counts, without a line end at its end, and it is a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdudaemon.config import textfile
from pdudaemon.environment import own
from pdudaemon.settings import Secret

LONGEST = 1 << 20  # bytes of a secret


class Placeholder(Secret):
    """Stands for a credential that only the service can see, where a configuration is checked from elsewhere."""


def resolved(settings: Mapping[str, Any], folder: Path, checking: bool = False) -> dict[str, Any]:
    """Return settings with the texts that stand elsewhere put in. Raises: ValueError, naming the key.

    ``checking``: nothing will be done with them, so that a credential of the service may be a `Placeholder`.
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        # The variables of a platform's scripts may have these very names.
        if isinstance(value, dict) and [*value] in (["credential"], ["file"]) and key != "values":
            ((kind, name),) = value.items()
            found[key] = _read(key, kind, str(name), folder, checking)
        else:
            found[key] = resolved(value, folder, checking) if isinstance(value, dict) else value
    return found


def placeholders(settings: Mapping[str, Any]) -> set[str]:
    """Return the keys whose value, or a part of it, is a credential that only the service can see."""
    found = set()
    for key, value in settings.items():
        inside = [value]  # one by one, since they may be nested deeper than calls can be
        while inside:
            each = inside.pop()
            if isinstance(each, Placeholder):
                found.add(key)
                break
            if isinstance(each, dict):
                inside += each.values()
    return found


def _read(key: str, kind: str, name: str, folder: Path, checking: bool) -> Secret:
    if kind == "credential":
        folder = Path(own("CREDENTIALS_DIRECTORY"))
        if name != Path(name).name:
            raise ValueError(f"{key}: there is no credential {name!r}: the service was given none of that name")
        if not folder.name and checking:
            return Placeholder("credential")
        if not folder.name:
            raise ValueError(f"{key}: only the service can see the credential {name!r}")
    try:
        return Secret(textfile.content(folder / name, LONGEST).removesuffix("\n"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text"
        raise ValueError(f"{key}: the {kind} {name!r} cannot be read: {why}") from None
