# SPDX-License-Identifier: MIT
"""`Mutations`: what somebody might send who means harm, or whose cable is bad, made of what is good.

Bytes are flipped, cut, doubled and put in the place of others; values of JSON are exchanged for such as break programs.
All of it by one chance, so that a seed repeats it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

TOKENS = [
    b"\0", b"\r\n", b"\n", b"\r\n\r\n", b"\xff", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"%00", b"%", b"%zz", b"%0a", b"\\u0000", b"\\ud800",
    b"../../etc/passwd", b"'", b'"', b"\\", b";", b"$(reboot)", b"`id`", b"{{7*7}}", b"<script>", b"-1", b"0", b"00", b"1e309", b"-0", b"NaN",
    b"99999999999999999999", b"0x1", b"1.5", b"on", b"off", b"reboot", b"status", b"null", b"true", b"[", b"]", b"{", b"}", b"[[[[[[[[", b"@*", b"!", b"&", b"^", b",",
    b"[1-99999999]", b"[09-010]", b"[1-9/0]", b"name:", b"HTTP/1.1", b"GET ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"\x1b[2J", b"\x7f", b"\xe2\x80\xae", b"\xf0\x9f\x92\xa9", b"&lt;", b"*a", b"&a ", b"<<: ", b"!!python/object:x", b"- ", b": ", b"|\n", b"#", b"\t",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", " ", "0", "01", "-1", "1e9", "\0", "\n", "a" * 300,
    "\ud800", "é", "💩", "../x", "@*", "node[1-3]", "x[1-99999999]", "name:x", [], {}, [[]], [None], {"": None}, {"a": {"a": {}}}, ["x"] * 50, [[[[[[]]]]]],
]  # fmt: skip


class Mutations:
    """``others`` are good ones, of which parts are taken."""

    def __init__(self, chance: random.Random, others: Sequence[bytes] = ()) -> None:
        self.chance = chance
        self._others = others
        self._ways: list[Callable[[bytearray], None]] = [self._flip, self._drop, self._double, self._token, self._token]
        self._ways += [self._cut, self._random, self._splice, self._long]

    def of(self, data: bytes) -> bytes:
        """Return other bytes."""
        found = bytearray(data)
        for _ in range(self.chance.choice((1, 1, 1, 2, 3, 8))):
            self.chance.choice(self._ways)(found)
        return bytes(found)

    def of_json(self, value: Any) -> bytes:
        """Return the JSON of a value in which some are exchanged, or that broken."""
        found = json.loads(json.dumps(value))
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            found = self._exchange(found)
        text = json.dumps(found).encode()
        return text if self.chance.random() < 0.7 else self.of(text)

    def _place(self, data: bytearray) -> tuple[int, int]:
        """Return a begin and an end, mostly not far from each other."""
        begin = self.chance.randrange(len(data) + 1)
        return begin, min(len(data), begin + self.chance.choice((1, 1, 2, 4, 8, 64)))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)

    def _drop(self, data: bytearray) -> None:
        begin, end = self._place(data)
        del data[begin:end]

    def _double(self, data: bytearray) -> None:
        begin, end = self._place(data)
        data[begin:begin] = data[begin:end] * self.chance.choice((1, 1, 2, 20))

    def _token(self, data: bytearray) -> None:
        begin, end = self._place(data)
        data[begin : end if self.chance.random() < 0.5 else begin] = self.chance.choice(TOKENS)

    def _cut(self, data: bytearray) -> None:
        del data[self.chance.randrange(len(data) + 1) :]

    def _random(self, data: bytearray) -> None:
        begin, end = self._place(data)
        data[begin:end] = self.chance.randbytes(end - begin)

    def _splice(self, data: bytearray) -> None:
        if self._others:
            other = self.chance.choice(self._others)
            begin, end = self._place(data)
            data[begin:end] = other[self.chance.randrange(len(other) + 1) :]

    def _long(self, data: bytearray) -> None:
        if self.chance.random() < 0.1:
            begin, end = self._place(data)
            data[begin:end] = (data[begin:end] or b"A") * self.chance.choice((300, 5000, 70000))

    def _exchange(self, value: Any) -> Any:
        """Return a value of which something, however deep it is, is another one."""
        if not isinstance(value, dict | list) or not value or self.chance.random() < 0.05:
            return self.chance.choice(VALUES)
        if isinstance(value, list):
            place = self.chance.randrange(len(value))
            return [*value[:place], self._exchange(value[place]), *value[place + 1 :]]
        value = {**value}
        key = self.chance.choice([*value])
        what = self.chance.random()
        if what < 0.1:
            del value[key]
        elif what < 0.2:
            word = self.chance.choice(VALUES)
            value[word if isinstance(word, str) else key + "x"] = value.pop(key)
        else:
            value[key] = self._exchange(value[key])
        return value
