# SPDX-License-Identifier: MIT
"""What a front reads of a site as a whole: lists in pages, and which daemons the site leads to."""

from __future__ import annotations

import re

from pdudaemon.engine.sitemirror import Mirror, Record
from pdudaemon.errors import SiteUnreachable
from pdudaemon.transports.asking import Asker, Reply

PAGE = 1000

_NEXT = re.compile(r'<[^>?]*\?([^>]*)>; *rel="next"')


async def told(asker: Asker, target: str) -> Reply:
    """Return a good answer. Raises: Unsent, Lost, SiteUnreachable: what the site says instead."""
    reply = await asker.ask("GET", target)
    if reply.status < 300:
        return reply
    kind, why = reply.headers.get("content-type", ""), ""
    if kind.startswith("application/problem+json"):
        why = str(reply.json().get("detail"))
    elif kind.startswith("text/plain"):  # such as a server that wants TLS
        why = reply.body[:200].decode(errors="replace").strip().partition("\n")[0]
    why = f"it answers {reply.status}{why and f': {why}'}"
    raise SiteUnreachable(f"it refuses the token of this front: {why}" if reply.status in (401, 403) else why)


async def pages(asker: Asker, target: str) -> list[Record]:
    """Return all of a list. Raises: as `told`."""
    found: list[Record] = []
    query = f"limit={PAGE}"
    while query:
        reply = await told(asker, f"{target}?{query}")
        found += reply.json()
        following = _NEXT.search(reply.headers.get("link", ""))
        query = following[1] if following else ""
    return found


async def described(asker: Asker) -> tuple[list[str], str]:
    """Return the ids of the daemons that a site leads to, and a text that is another whenever its names are.

    There is none of both if it is too old to be a front. Raises: as `told`.
    """
    reply = await asker.ask("GET", "/api/v1/sites")
    said = reply.json() if reply.status == 200 else {"daemons": ()}
    return [*map(str, said["daemons"])], str(said.get("names") or "")


async def mirror(asker: Asker, before: Mirror, now: float) -> Mirror:
    """Return all that a site has, in place of what it had before. Raises: as `told`; many, if it makes no sense."""
    found = Mirror(before.translation)
    pdus, outlets, nodes = [await pages(asker, f"/api/v1/{kind}") for kind in ("pdus", "outlets", "nodes")]
    groups = (await told(asker, "/api/v1/groups")).json()
    found.load(pdus, outlets, nodes, groups, now, before)
    return found
