# SPDX-License-Identifier: MIT
"""Questions to a site whose answers are passed on as they are, and what it says instead, as an error of ours.

All of it is done by the site's thread, which tells the result itself: nobody else waits for a site.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from pdudaemon.engine.front.sitemirror import Translation
from pdudaemon.engine.front.siteorders import NONSENSE
from pdudaemon.errors import (
    Busy,
    DeviceError,
    DeviceTimeout,
    PDUDaemonError,
    RequestError,
    SiteUnreachable,
    Unanswered,
    of_kind,
    printable,
)
from pdudaemon.power import Action, Target
from pdudaemon.ranges import folded
from pdudaemon.transports.asking import Asker, Lost, Reply, Unsent

log = logging.getLogger("pdud.sites")

Heard = Callable[[Any, PDUDaemonError | None], None]
"""Is told what a site says, or why there is nothing, by the site's thread."""

StateTold = Callable[[str, Mapping[str, Any] | PDUDaemonError], None]
"""Is told what a site says of a node, or why there is nothing, by the site's thread."""


class Listed(list[Any]):
    """A list that a site tells, with the headers that go with it."""

    def __init__(self, found: list[Any], headers: Mapping[str, str]) -> None:
        super().__init__(found)
        self.headers = headers


class Asked(Protocol):
    """The site, as it is known here."""

    name: str
    trouble: str
    asker: Asker
    translation: Translation

    def doubt(self) -> None: ...

    def switched(self, number: str, target: Target, action: Action) -> None: ...


async def ask(site: Asked, method: str, target: str, seconds: float, late: float, heard: Heard) -> None:
    """Put a question, and tell the answer; ``late`` are seconds beyond those that the site has."""
    try:
        async with asyncio.timeout(seconds + late):
            reply = await site.asker.ask(method, target)
        if reply.status >= 300:
            raise refusal(site.name, reply)
        found = reply.json()
        heard(Listed(found, reply.headers) if isinstance(found, list) else found, None)
        return
    except asyncio.CancelledError:
        heard(None, _let_go(site))
        raise
    except (PDUDaemonError, Unsent, Lost, TimeoutError, *NONSENSE) as wrong:
        error = _why_not(site, wrong, seconds)
    heard(None, error)


async def states(site: Asked, names: list[str], wait: float, late: float, told: StateTold) -> None:
    """Ask for the states of nodes, by the site's names; tell what it says of each as soon as it does."""
    left = dict.fromkeys(names)
    query = urlencode({"nodes": folded(names), "wait": f"{wait:g}"})
    error: PDUDaemonError
    try:
        async with asyncio.timeout(wait + late):
            headers = {"Accept": "application/x-ndjson"}
            async with site.asker.stream("GET", f"/?{query}", headers=headers) as (status, head, lines):
                if status != 200:
                    raise refusal(site.name, Reply(status, head, b"\n".join([line async for line in lines])))
                async for line in lines:
                    said = Reply(status, head, line).json()
                    if (name := str(said.get("id"))) in left:
                        told(name, dict(said["attributes"]))
                        del left[name]
        error = Unanswered(f"{site.name}: it says nothing of it")
    except asyncio.CancelledError:
        for name in left:
            told(name, _let_go(site))
        raise
    except (PDUDaemonError, Unsent, Lost, TimeoutError, *NONSENSE) as wrong:
        error = _why_not(site, wrong, wait)
    for name in left:
        told(name, error)


def _why_not(site: Asked, wrong: Exception, seconds: float) -> PDUDaemonError:
    """Return why a site has not said within some seconds what it was asked."""
    if isinstance(wrong, PDUDaemonError):
        return wrong
    if isinstance(wrong, Unsent):
        return SiteUnreachable(f"{site.name} cannot be asked: {wrong}")
    if isinstance(wrong, Lost):
        return Unanswered(f"{site.name}: {wrong}")
    if isinstance(wrong, TimeoutError):
        site.doubt()
        return DeviceTimeout(f"{site.name}: no answer within {seconds:g} s")
    log.debug("%s: %r", site.name, wrong, exc_info=wrong)
    return Unanswered(f"{site.name}: what it says is not understood")


def _let_go(site: Asked) -> Busy:
    return Busy(f"{site.name}: the daemon is stopping, or has let go of it")


def refusal(site: str, reply: Reply) -> PDUDaemonError:
    """Return what a site says instead of doing something, as an error of ours."""
    try:
        said = reply.json()
        kind, why = (str(said["type"]).removeprefix("urn:pdudaemon:"), printable(str(said["detail"])))
    except (Lost, LookupError, TypeError):
        return SiteUnreachable(f"{site} cannot be asked: it answers {reply.status}")
    if kind == "denied":
        return SiteUnreachable(f"{site} cannot be asked: it refuses the token of this front: {why}")
    if kind in ("bad-field", "misdirected"):
        return RequestError(f"{site}: {why.removeprefix(str(said.get('field')) + ': ')}")
    error = of_kind(kind, f"{site}: {why}")
    if type(error) is not PDUDaemonError:
        return error
    return RequestError(str(error)) if reply.status < 500 else Unanswered(str(error))


def failure(kind: str | None, text: str) -> PDUDaemonError:
    """Return the error of a request that a site has ended; of a kind that is not known here, it is the device's."""
    error = of_kind(kind, text)
    return error if type(error) is not PDUDaemonError else DeviceError(text)
