# SPDX-License-Identifier: MIT
"""What each driver is for, maker and models, and the search in it, for ``pdudaemon --list-drivers WORDS``.

Makers write their models as people do, ``AP84xx to AP89xx``: whoever looks for an AP8641 finds it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver, legacy
from pdudaemon.drivers.snmprow import OutletRow

_RANGE = re.compile(r"\b([A-Za-z]+-?)([0-9]+)(x*) to ([A-Za-z]+-?)([0-9]+)(x*)\b")
_FAMILY = re.compile(r"[a-z]+-?[0-9]+x+")
_WIDEST = 1000  # models of a range


def about(name: str, driver: type[PDUDriver]) -> str:
    """Return what a driver is for, in words: maker and models; empty if its class does not say."""
    row = {} if legacy(driver) else driver.models.get(name)
    if words := getattr(row, "about", ""):
        made = [each.labels.maker for each in (row, *row.variants)] if isinstance(row, OutletRow) else []
        maker = next(filter(None, made), "")
        return str(words) if maker.lower() in str(words).lower() else f"{maker} {words}"
    text = getattr(sys.modules.get(driver.__module__), "__doc__", "") or driver.__doc__
    return " ".join(str(text or "").strip().partition("\n\n")[0].split())


def search(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and purpose of each driver in which all words are found: in its name, its makers, its models."""
    wanted = [part for word in words for part in word.lower().split()]
    for name in strategies.names():
        try:
            purpose = about(name, strategies.find(name))
        except ValueError:  # of a package that is broken; its name is all there is
            purpose = ""
        text = f"{name} {purpose}".lower()
        families = {*_FAMILY.findall(text), *_within_ranges(f"{name} {purpose}")}
        if all(word in text or any(_is_of(word, family) for family in families) for word in wanted):
            yield name, purpose


def _within_ranges(text: str) -> Iterator[str]:
    """Yield each family of models that a range stands for: of AP84xx to AP86xx ap84xx, ap85xx and ap86xx."""
    for letters, first, open_, other, last, also_open in _RANGE.findall(text):
        alike = (letters, len(first), open_) == (other, len(last), also_open)
        if alike and int(first) <= int(last) < int(first) + _WIDEST:
            for number in range(int(first), int(last) + 1):
                yield f"{letters}{number:0{len(first)}}{open_}".lower()


def _is_of(model: str, family: str) -> bool:
    """Whether a model, or the beginning of one, is of a family: ap8641 and ap86 of ap86xx."""
    known = family.rstrip("x")
    return model[: len(known)] == known[: len(model)] and (len(model) <= len(family) or model.startswith(known))
