# SPDX-License-Identifier: MIT
"""`Fields`: what a JSON body says, and each slip by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pdudaemon.server.jsonbody import JSON, BadField, Fields
from pdudaemon.server.messages import Misdirected

LONG = "z" * 60
KNOWN = ("action", "wait", "key", "nodes", "hard")


def fields(body: str | bytes, content_type: str = JSON) -> Fields:
    return Fields(body if isinstance(body, bytes) else body.encode(), content_type, KNOWN)


def refused(call: Callable[[], Any]) -> tuple[int, str | None, str]:
    """Return the status, the field and the text by which a call refuses."""
    with pytest.raises(Misdirected) as error:
        call()
    assert (error.value.kind == "bad-field") is isinstance(error.value, BadField)
    return error.value.http_status, error.value.field, str(error.value)


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8", " application/json ;x"])
def test_a_body_of_json_is_read(content_type: str) -> None:
    found = fields('{"action": "on", "wait": null}', content_type)
    assert "action" in found and "wait" not in found and "key" not in found
    assert found.text("action") == "on" and found.text("wait") is None and found.text("key") is None


@pytest.mark.parametrize("content_type", ["", "text/plain", "text/json", "application/json-patch"])
def test_what_is_not_said_to_be_json_is_refused(content_type: str) -> None:
    assert refused(lambda: fields("{}", content_type)) == (415, None, "a body must be application/json")


@pytest.mark.parametrize(
    ("body", "field", "text"),
    [
        (b"\xff", None, "the body is not UTF-8"),
        ("[" * 100_000, None, "the body is nested too deep"),
        (
            "{",
            None,
            "the body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ('{"wait": NaN}', None, "the body is not JSON: NaN is not JSON"),
        ('{"wait": -Infinity}', None, "the body is not JSON: -Infinity is not JSON"),
        ("[]", None, "the body is not a JSON object"),
        ('"on"', None, "the body is not a JSON object"),
        ('{"acton": 1}', "acton", "acton: unknown field; did you mean 'action'?"),
        (f'{{"{LONG}": 1}}', LONG[:50], f"{LONG[:50]}: unknown field"),
        ('{"key": 1, "wait": 1, "key": 1}', "key", "key: is there twice"),
        (f'{{"nodes": {{"{LONG}": 1, "{LONG}": 1}}}}', LONG[:50], f"{LONG[:50]}: is there twice"),
    ],
)
def test_what_is_wrong_with_a_body(body: str | bytes, field: str | None, text: str) -> None:
    assert refused(lambda: fields(body)) == (400, field, text)


def test_a_number_of_thousands_of_digits_is_refused_in_a_line() -> None:
    status, field, text = refused(lambda: fields('{"wait": %s}' % ("9" * 5000)))
    assert (status, field) == (400, None) and text.startswith("the body is not JSON: Exceeds the limit")
    assert len(text) <= len("the body is not JSON: ") + 100


@pytest.mark.parametrize(
    ("ask", "value", "found"),
    [
        ("text", '"a"', "a"),
        ("text", '""', ""),
        ("text", "1", "is not a text"),
        ("text", "true", "is not a text"),
        ("text", '"a\\u0000"', "has a NUL or a lone surrogate, which no text can have"),
        ("text", '"\\ud83d"', "has a NUL or a lone surrogate, which no text can have"),
        ("word", '"7"', "7"),
        ("word", "7", "7"),
        ("word", "0", "0"),
        ("word", "true", "is not a text"),
        ("word", "7.0", "is not a text"),
        ("word", "null", None),
        ("texts", '"a"', "a"),
        ("texts", '["a", "b"]', ["a", "b"]),
        ("texts", "[]", []),
        ("texts", "null", None),
        ("texts", '["a", 1]', "is not a list of texts"),
        ("texts", '["a", "\\u0000"]', "has a NUL or a lone surrogate, which no text can have"),
        ("texts", "{}", "is not a text"),
        ("truth", "true", True),
        ("truth", "false", False),
        ("truth", "null", None),
        ("truth", "0", "is neither true nor false"),
        ("truth", '"true"', "is neither true nor false"),
    ],
)
def test_what_a_field_is(ask: str, value: str, found: Any) -> None:
    read = fields(f'{{"key": {value}}}')
    if isinstance(found, str) and " " in found:
        assert refused(lambda: getattr(read, ask)("key")) == (400, "key", f"key: {found}")
    else:
        assert getattr(read, ask)("key") == found
        assert getattr(read, ask)("wait") is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("0", 0.0),
        ("60", 60.0),
        ("1.5", 1.5),
        ("null", None),
        ("60.1", "is not within 0 and 60 seconds"),
        ("-0.1", "is not within 0 and 60 seconds"),
        ("true", "is not a number of seconds"),
        ('"5"', "is not a number of seconds"),
    ],
)
def test_seconds(value: str, found: Any) -> None:
    read = fields(f'{{"wait": {value}}}')
    if isinstance(found, str):
        assert refused(lambda: read.seconds("wait", 60)) == (400, "wait", f"wait: {found}")
    else:
        assert read.seconds("wait", 60) == found and not isinstance(read.seconds("wait", 60), int)


def test_a_fault_of_the_whole_has_no_field_in_front() -> None:
    assert (
        str(BadField("", "nothing is named", 422)) == "nothing is named" and BadField("", "x", 422).http_status == 422
    )
