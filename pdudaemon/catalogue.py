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

_RANGE = re.compile(r"\b([a-z]*-?)([0-9]+)x* to \1([0-9]+)x*\b")
_FAMILY = re.compile(r"\b([a-z]+-?[0-9]+)x+\b")
_MODEL = re.compile(r"([a-z]*-?)([0-9]+)[a-z0-9-]*")


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
        if all(word in text or _is_meant(word, text) for word in wanted):
            yield name, purpose


def _is_meant(model: str, text: str) -> bool:
    """Whether a model is of a family that a text names (AP84xx), or between two others (AP84xx to AP89xx)."""
    if any(model.startswith(family) for family in _FAMILY.findall(text)):
        return True
    found = _MODEL.fullmatch(model)
    return found is not None and any(
        letters == found[1] and len(first) == len(last) <= len(found[2]) and first <= found[2][: len(first)] <= last
        for letters, first, last in _RANGE.findall(text)
    )
