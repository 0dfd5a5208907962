# SPDX-License-Identifier: MIT
"""The files of the page as they are served, and which requests are for it; what it does is in `test_page`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.server import pages
from pdudaemon.server.messages import Head, Misdirected

HTML = {"accept": "text/HTML,application/xhtml+xml"}


@pytest.mark.parametrize(
    ("head", "concerned"),
    [
        (Head("GET", "/ui/"), True),
        (Head("HEAD", "/ui/page.js?x=y"), True),
        (Head("POST", "/ui/"), False),
        (Head("GET", "/ui"), False),
        (Head("GET", "/", headers=HTML), True),
        (Head("HEAD", "/?x=y", headers=HTML), True),
        (Head("PATCH", "/", headers=HTML), False),
        (Head("GET", "/", headers={"accept": "*/*"}), False),
        (Head("GET", "/"), False),
        (Head("GET", "/?nodes=n1", headers=HTML), False),
        (Head("GET", "/?x=y&groups=", headers=HTML), False),
        (Head("GET", "/nodes", headers=HTML), False),
    ],
)
def test_which_requests_are_for_the_page(head: Head, concerned: bool) -> None:
    assert pages.concerned(head) is concerned


def served(path: str) -> Any:
    exchange: Any = SimpleNamespace(path=path)
    return pages.file(exchange, path.removeprefix("/ui/").removeprefix("/"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("", "text/html; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
    ],
)
def test_each_file_has_its_type_and_is_shut_off_from_others(name: str, kind: str) -> None:
    answer = served(f"/ui/{name}")
    assert (answer.status, answer.content_type) == (200, kind) and len(answer.body) > 100
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["X-Frame-Options"] == "DENY"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    answer.headers["X"] = "y"
    assert "X" not in served(f"/ui/{name}").headers


def test_the_page_finds_its_files_from_wherever_it_is() -> None:
    below, above = served("/ui/").body, served("/").body
    assert b'<base href="./">' in below and b'<base href="ui/">' in above
    assert above == below.replace(b'<base href="./">', b'<base href="ui/">') and served("/ui/index.html").body == below


@pytest.mark.parametrize("name", ["none.js", "__init__.py", "page", "x"])
def test_there_is_nothing_else(name: str) -> None:
    with pytest.raises(Misdirected, match=f"there is nothing at '/ui/{name}'") as refused:
        served(f"/ui/{name}")
    assert refused.value.http_status == 404
