# SPDX-License-Identifier: MIT
"""`Wanted`: what a site is asked to switch, and `SiteRequest`: what it has accepted.

Whoever answers clients knows these without what asks sites, which is loaded when there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pdudaemon.power import Request

Record = dict[str, Any]

NONSENSE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError)
"""What is raised when something of a site is taken in that makes no sense."""


@dataclass(eq=False)
class SiteRequest(Request):
    """A request that a site has accepted; ``record`` is what the site says of it, in our words."""

    record: Record = field(default_factory=dict)

    @property
    def number(self) -> int | str:
        return str(self.record["id"])


@dataclass(frozen=True)
class Wanted:
    """What a site is asked for: the ``body`` of a ``POST``, and the ``key`` that it goes by.

    ``seconds`` is the time for it, ``wait`` that without the delays which were asked for; 0: it is enough that it is
    accepted. ``moments``: it may be done in no time.
    """

    body: Mapping[str, Any]
    key: str
    seconds: float
    wait: float
    moments: bool
    headers: Mapping[str, str]
