# SPDX-License-Identifier: MIT
"""What tests of several drivers need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pdudaemon.drivers import declarations


@pytest.fixture
def words() -> Iterator[None]:
    """Forget the words of the classes that a test defines."""
    before = {**declarations.registered}
    yield
    declarations.registered.clear()
    declarations.registered.update(before)
