# SPDX-License-Identifier: MIT
"""Settings: suggestions for mistyped words, whose cost does not grow with the number of words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.errors import RequestError
from pdudaemon.power import Target
from pdudaemon.settings import MOST_COMPARED, near


class Counted(dict[str, Any]):
    """Names that can be looked up, but not gone through; ``lookups`` counts."""

    lookups = 0

    def __contains__(self, name: object) -> bool:
        self.lookups += 1
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("each name was looked at")


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each word that is compared with another is added."""
    words: list[str] = []

    class Matcher(difflib.SequenceMatcher[str]):
        def set_seq1(self, a: Any) -> None:
            if a:
                words.append(a)
            super().set_seq1(a)

    monkeypatch.setattr(difflib, "SequenceMatcher", Matcher)
    return words


MANY = {f"node{number:05}": number for number in range(20000)}


@pytest.mark.parametrize("word", ["nod04211", "node042111", "nodee04211", "Node04211", "ndoe04211", "node0421"])
def test_of_many_words_one_typing_mistake_away_is_found(word: str) -> None:
    suggested = near(word, MANY)
    assert suggested.startswith("; did you mean 'node") and suggested.split("'")[1] in MANY
    assert "node04211" in suggested or word == "node0421"


@pytest.mark.parametrize(
    "word", ["nodx04211", "", "x", "nothing of the kind", "n" * 250, "0" * 60000, "ä" * 100, "\ud800"]
)
def test_the_cost_of_a_suggestion_does_not_grow_with_the_words(word: str, compared: list[str]) -> None:
    words = Counted(MANY)
    near(word, words)
    assert words.lookups <= 3000 and len(compared) <= MOST_COMPARED


def test_of_few_words_the_most_alike_is_found(compared: list[str]) -> None:
    assert near("controll", ["on", "control", "off"]) == "; did you mean 'control'?"
    assert near("powr-contrl", ["on", "power_control", "off"]) == "; did you mean 'power_control'?"
    assert near("w" * 100000, ["on", "control"]) == ""
    assert compared and max(map(len, compared)) <= len("power_control")


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("pdus", lambda conf: conf.target("nod00007", 1)),
        ("nodes", lambda conf: conf.node("nod00007")),
        ("nodes", lambda conf: conf.current(Target("node00007", (), words=("nod00007",)))),
        ("pdus", lambda conf: conf.current(Target("node00007", (), words=("nod00007", 1)))),
    ],
)
def test_a_request_for_what_there_is_not_goes_through_no_names(
    tmp_path: Path, compared: list[str], name: str, ask: Callable[[Config], object]
) -> None:
    conf = load(tmp_path)
    names = Counted(MANY)
    with pytest.raises(RequestError, match="did you mean 'node00007'"):
        ask(replace(conf, **{name: names}))
    assert names.lookups <= 3000 and len(compared) <= MOST_COMPARED


def load(tmp_path: Path) -> Config:
    """Return a configuration with one PDU."""
    (tmp_path / "conf").write_text(json.dumps({"pdus": {"pdu": {"driver": "dummy"}}}))
    return reader.load(str(tmp_path / "conf"))
