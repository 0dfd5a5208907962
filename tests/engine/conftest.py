# SPDX-License-Identifier: MIT
"""A rack for each test that wants one, ended after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.rack import Rack


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Callable[..., Rack]]:
    """Return a function that makes a rack of some PDUs: ``rack("a", "b", **daemon_settings)``."""
    made: list[Rack] = []

    def make(*names: str, settings: Mapping[str, Any] | None = None, **daemon: Any) -> Rack:
        made.append(Rack(tmp_path, dict.fromkeys(names, settings or {}), **daemon))
        return made[-1]

    yield make
    for each in made:
        for event in each.held.values():
            event.set()
        each.stop()
