# SPDX-License-Identifier: MIT
"""What a site answers, taken one by one: why it cannot be asked, where a list ends, and how much of it is too much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from pdudaemon.engine.front import sitereading
from pdudaemon.engine.front.sitemirror import Mirror, Translation
from pdudaemon.errors import SiteUnreachable
from pdudaemon.power import State
from pdudaemon.transports.asking import Asker, Lost, Reply
from tests.support.lyingsite import HAS

PROBLEM = {"content-type": "application/problem+json; charset=utf-8"}
TEXT = {"content-type": "text/plain"}


class Site:
    """Answers what is in ``says``, by what is asked for."""

    def __init__(self, **says: Reply) -> None:
        self.says = says
        self.asked: list[str] = []

    async def ask(self, method: str, target: str) -> Reply:
        self.asked.append(f"{method} {target}")
        path, _, query = target.rpartition("/")[2].partition("?")
        return self.says.get(f"{path} {query}") or self.says[path]

    def told(self) -> Reply:
        return asyncio.run(sitereading.told(cast(Asker, self), "/api/v1/it"))

    def pages(self) -> list[Mapping[str, Any]]:
        async def every(pages: AsyncIterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
            return [each async for each in pages]

        return asyncio.run(every(sitereading.pages(cast(Asker, self), "/api/v1/it")))

    def described(self) -> tuple[list[str], str]:
        return asyncio.run(sitereading.described(cast(Asker, self)))


def reply(said: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, said if isinstance(said, bytes) else json.dumps(said).encode())


def test_a_good_answer_is_that() -> None:
    for status in (200, 299):
        site = Site(it=reply({}, status))
        assert site.told().status == status and site.asked == ["GET /api/v1/it"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Reply(503, PROBLEM, b'{"detail": "it\\nis full"}'), "it\\nis full"),
        (Reply(401, PROBLEM, b'{"detail": "who are you"}'), "it refuses the token of this front: who are you"),
        (Reply(403, {}, b"<html>"), "it refuses the token of this front: it answers 403"),
        (Reply(402, {}, b""), "it answers 402"),
        (Reply(404, TEXT, b" \nnothing here\nat all"), "it answers 404: nothing here"),
        (Reply(400, TEXT, b"x" * 199 + b"yz"), f"it answers 400: {'x' * 199}y"),
        (Reply(400, TEXT, b"\xff\x07"), "it answers 400: \ufffd\\x07"),
        (Reply(399, TEXT, b"x"), "it leads elsewhere (399): nowhere"),
        (
            Reply(300, {"location": "https://a/" + "b" * 300}, b""),
            f"it leads elsewhere (300): https://a/{'b' * 190}… (110 more characters)",
        ),
    ],
)
def test_why_it_cannot_be_asked(answer: Reply, why: str) -> None:
    with pytest.raises(SiteUnreachable) as raised:
        Site(it=answer).told()
    assert str(raised.value) == why


def test_a_list_is_read_page_by_page_until_there_is_no_next() -> None:
    def link(query: str) -> dict[str, str]:
        return {"link": f'</x?before=1>; rel="prev", </api/v1/it?{query}>; rel="next"'}

    site = Site(
        it=reply([{"n": 1}, {"n": 2}], **link("after=2")),
        **{"it after=2": reply([{"n": 3}], **link("after=3")), "it after=3": reply([], **link("after=3"))},
    )
    assert [each["n"] for each in site.pages()] == [1, 2, 3]
    assert site.asked == ["GET /api/v1/it?limit=1000", "GET /api/v1/it?after=2", "GET /api/v1/it?after=3"]
    assert len(Site(it=reply([1, 2], link="nothing")).pages()) == 2


def test_a_list_that_is_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitereading, "MOST", 4)
    more = {"link": '</api/v1/it?more>; rel="next"'}
    site = Site(it=reply([1, 2], **more), **{"it more": reply([3, 4])})
    assert site.pages() == [1, 2, 3, 4]
    site.says["it more"] = reply([3, 4, 5])
    with pytest.raises(SiteUnreachable, match=r"^it has too much to tell of its it$"):
        site.pages()


def test_a_list_that_is_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"link": '</api/v1/it?more>; rel="next"'}
    site = Site(it=reply(["x" * 10], **more), **{"it more": reply(["y" * 10])})
    assert len(Site(it=reply(["x" * 1024] * 2048)).pages()) == 2048
    monkeypatch.setattr(sitereading, "MOST_BYTES", 28)
    assert len(site.pages()) == 2
    monkeypatch.setattr(sitereading, "MOST_BYTES", 27)
    with pytest.raises(SiteUnreachable, match="too much"):
        site.pages()


def test_which_daemons_it_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Site(sites=reply({"daemons": ["a", 7], "names": "n"})).described() == (["a", "7"], "n")
    assert Site(sites=reply({"daemons": []})).described() == ([], "")
    assert Site(sites=reply(b"<html>", 404)).described() == ([], ""), "it is too old to be a front"
    monkeypatch.setattr(sitereading, "MOST_DAEMONS", 2)
    site = Site(sites=reply({"daemons": ["a" * 101, "b", "c"], "names": "n" * 1001}))
    assert site.described() == (["a" * 100, "b"], "n" * 1000)
    with pytest.raises(Lost, match="is not JSON"):
        Site(sites=reply(b"<html>")).described()


def test_all_that_it_has_is_read() -> None:
    site = Site(**{path.rpartition("/")[2]: reply(said) for path, said in HAS.items()})
    found = asyncio.run(sitereading.mirror(cast(Asker, site), Mirror(Translation("berlin", True)), 1000.0))
    assert found.pdus["berlin/p1"].outlets["1"].state is State.ON and found.pdus["berlin/p1"].reachable
    assert [*found.nodes] == ["berlin/board1"] and found.groups == {"berlin/rack1": ("berlin/board1",)}
    assert [each.partition("?")[0] for each in site.asked] == [
        f"GET /api/v1/{what}" for what in ("pdus", "outlets", "nodes", "groups")
    ]
