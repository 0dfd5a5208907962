# SPDX-License-Identifier: MIT
"""Pages of records: how many are asked for, and where the next ones are."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.server.api import MOST_RECORDS, limit, linked
from pdudaemon.server.messages import Misdirected
from pdudaemon.server.pace import Pace


def exchange(**words: str) -> Any:
    return SimpleNamespace(words=words, orders=SimpleNamespace(pace=Pace()))


@pytest.mark.parametrize(
    ("given", "most"),
    [({}, 1000), ({"limit": ""}, 1000), ({"limit": "1"}, 1), ({"limit": "1000"}, 1000), ({"limit": "0050"}, 50)],
)
def test_so_many_are_asked_for(given: dict[str, str], most: int) -> None:
    assert limit(exchange(**given)) == most
    assert limit(exchange(**given), 7) == (most if given.get("limit") else 7)


@pytest.mark.parametrize("given", ["0", "1001", "9999", "-1", "+5", "1.0", "x", "00001", "²", " 5"])
def test_what_is_no_number_of_records(given: str) -> None:
    with pytest.raises(Misdirected) as refused:
        limit(exchange(limit=given))
    assert refused.value.http_status == 400
    assert str(refused.value) == f"limit: {given!r} is not within 1 and {MOST_RECORDS}"
    with pytest.raises(Misdirected, match=f"^limit: '{'9' * 20}' is not"):
        limit(exchange(limit="9" * 50))


def test_the_next_page_is_told_if_there_may_be_one() -> None:
    records: list[dict[str, Any]] = [{"name": "a"}, {"name": "b"}, {"name": "b/ü &"}]
    whole = linked(exchange(), "/api/v1/pdus", records, 4)
    assert (whole.status, whole.headers) == (200, {}) and json.loads(bytes(whole.body)) == records
    page = linked(exchange(limit="2", after="x", group="g"), "/api/v1/pdus", records, 3)
    assert page.headers == {"Link": '</api/v1/pdus?limit=2&after=b%2F%C3%BC%20%26&group=g>; rel="next"'}
    assert linked(exchange(), "/", [], 1).body == b"[]\n"
