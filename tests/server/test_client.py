# SPDX-License-Identifier: MIT
"""`Client`: who asks, in words, and who is the same."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.server.client import Client


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("192.0.2.1", 7), "192.0.2.1:7"),
        (("2001:db8::1", 7), "[2001:db8::1]:7"),
        (("unix", 0), "unix"),
        (("192.0.2.1", 7, "ci"), "192.0.2.1:7 (ci)"),
        (("2001:db8::1", 0, "ci", ("a",)), "[2001:db8::1] (ci)"),
    ],
)
def test_who_asks_is_told_in_words(given: Any, text: str) -> None:
    client = Client(*given)
    assert str(client) == client.text == text and "text=" not in repr(client)


def test_who_is_the_same() -> None:
    one = Client("192.0.2.1", 7, "ci", ("a",))
    assert one == Client("192.0.2.1", 7, "ci", ("a",)) and len({one, Client("192.0.2.1", 7, "ci", ("a",))}) == 1
    assert one.roles == ("a",) and Client("192.0.2.1", 7).roles is None and Client("192.0.2.1", 7).name == ""
    for other in (("192.0.2.2", 7, "ci", ("a",)), ("192.0.2.1", 8, "ci", ("a",)), ("192.0.2.1", 7, "ci", None)):
        assert one != Client(*other)
