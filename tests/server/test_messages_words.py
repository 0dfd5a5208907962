# SPDX-License-Identifier: MIT
"""The words of a query and a form, as each kind of route takes them."""

from __future__ import annotations

import pytest

from pdudaemon.errors import RequestError
from pdudaemon.server import messages
from pdudaemon.server.messages import FORM, Head, Misdirected

LEGACY, API, OPENFLIGHT = "/power/control/on", "/api/v1/requests", ("/", "/nodes", "/groups")


def words(
    target: str, method: str = "GET", body: bytes = b"", takes: tuple[str, ...] | None = None, **headers: str
) -> dict[str, str]:
    head = Head(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    last_counts = head.path in OPENFLIGHT
    found = dict(messages.words(head, body, takes, last_counts))
    if not last_counts:
        assert (head.words is None) is bool(body) and (head.words is None or dict(head.words) == found)
    return found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("a=b&c=d", {"a": "b", "c": "d"}),
        ("a=b&a=c", {"a": "b"}),
        ("a=&a=%20&a=c", {"a": "c"}),
        ("a=&b", {}),
        ("a=%C3%BC+x", {"a": "ü x"}),
        ("a=b?c=d", {"a": "b?c=d"}),
    ],
)
def test_of_the_legacy_routes_the_first_that_is_not_blank_counts(query: str, found: dict[str, str]) -> None:
    assert words(f"{LEGACY}?{query}") == found


def test_a_post_takes_no_word_twice_wherever_it_stands() -> None:
    assert words(f"{LEGACY}?a=b", "POST") == {"a": "b"}
    assert words(f"{LEGACY}?a=b", "POST", b"c=d", content_type=FORM) == {"a": "b", "c": "d"}
    assert words(LEGACY, "POST", b"a=&a=c", content_type=f"{FORM.upper()} ; charset=utf-8") == {"a": "c"}
    assert words(LEGACY, "POST", b"a=\xff", content_type=FORM) == {"a": "\ufffd"}
    for query, body in (("a=b&a=b", b""), ("a=b", b"a=c")):
        with pytest.raises(RequestError, match="a parameter is given more than once") as refused:
            words(f"{LEGACY}?{query}", "POST", body, content_type=FORM)
        assert refused.value.http_status == 503


def test_a_body_is_a_form_or_is_refused() -> None:
    for method in ("POST", "PATCH", "PUT"):
        for kind in ("text/plain", "application/json", ""):
            with pytest.raises(RequestError, match=f"a body must be {FORM}"):
                words(LEGACY, method, b"a=b", content_type=kind)
    assert words(f"{LEGACY}?a=b", "GET", b"a=c", content_type="text/plain") == {"a": "b"}
    assert words(f"{API}?a=b", "DELETE", b"c=d", content_type=FORM) == {"a": "b"}


def test_of_openflights_the_last_counts_from_any_method() -> None:
    for method in ("GET", "PATCH", "DELETE", "PUT"):
        assert words("/?nodes=a&nodes=&groups=x", method) == {"nodes": "", "groups": "x"}
        assert words("/?nodes=a", method, b"nodes=b&wait=5", content_type=FORM) == {"nodes": "b", "wait": "5"}
        assert words("/?nodes=a", method, b"nodes=b", content_type="text/plain") == {"nodes": "a"}
        assert words("/nodes?x=", method) == {"x": ""}


def test_the_api_takes_the_words_that_it_knows_and_each_once() -> None:
    takes = ("limit", "after")
    assert words(f"{API}?limit=5&after=", takes=takes) == {"limit": "5"}
    for query, why in (
        ("limit=5&limit=6", "a parameter is given more than once"),
        ("limits=5", "unknown parameter 'limits'; did you mean 'limit'?"),
        ("xyz=5", "unknown parameter 'xyz'"),
        (f"{'x' * 60}=5", f"unknown parameter '{'x' * 50}'"),
    ):
        for method in ("GET", "DELETE"):
            with pytest.raises(Misdirected) as refused:
                words(f"{API}?{query}", method, takes=takes)
            assert (refused.value.http_status, str(refused.value)) == (400, why)
    with pytest.raises(Misdirected):
        words("/metrics?x=1", takes=())
    assert words("/metrics?x=", takes=()) == {}
    assert words("/metrics?limit=1&limit=2", takes=takes) == {"limit": "1"}  # which is of no API


def test_an_idempotency_key_is_a_header_as_well() -> None:
    for given in ("k1", ' "k1" '):
        for also in ("", "&key=k1", "&key=%20k1", "&key="):
            assert words(f"{LEGACY}?a=b{also}", idempotency_key=given) == {"a": "b", "key": "k1"}
            assert words(f"/?nodes=a{also}", "PATCH", idempotency_key=given) == {"nodes": "a", "key": "k1"}
    assert words(f"{LEGACY}?key=k2", idempotency_key=" ") == {"key": "k2"} == words(f"{LEGACY}?key=k2")
    assert words(f"{API}?limit=5", takes=("limit",), idempotency_key="k1") == {"limit": "5"}
    for target, takes, status in ((LEGACY, None, 503), ("/", None, 400), (API, ("limit",), 400)):
        with pytest.raises(RequestError, match="key: differs from the header Idempotency-Key") as refused:
            words(f"{target}?key=k2", takes=takes, idempotency_key="k1")
        assert refused.value.http_status == status
