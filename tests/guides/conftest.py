# SPDX-License-Identifier: MIT
"""The rack of most guides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices.rack import Rack


@pytest.fixture
def rack() -> Iterator[Rack]:
    with Rack() as device:
        yield device
