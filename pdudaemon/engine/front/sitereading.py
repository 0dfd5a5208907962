# SPDX-License-Identifier: MIT
"""What a front reads of a site as a whole: lists in pages, and which daemons the site leads to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from pdudaemon.engine.front.sitemirror import Mirror, Record
from pdudaemon.errors import SiteUnreachable, printable
from pdudaemon.transports.asking import Asker, Reply

PAGE = 1000
MOST = 300_000  # entries of a list
MOST_BYTES = 256 * 1024 * 1024
MOST_DAEMONS = 10_000

_NEXT = re.compile(r'<[^>?]*\?([^>]*)>; *rel="next"')


async def told(asker: Asker, target: str) -> Reply:
    """Return a good answer. Raises: Unsent, Lost, SiteUnreachable: what the site says instead."""
    reply = await asker.ask("GET", target)
    check(reply)
    return reply


def check(reply: Reply) -> None:
    """Raises: SiteUnreachable if an answer is none that is good: what the site says."""
    if reply.status < 300:
        return
    kind, why = reply.headers.get("content-type", ""), f"it answers {reply.status}"
    if kind.startswith("application/problem+json"):
        why = printable(str(reply.json().get("detail")))
    elif reply.status < 400:
        why = f"it leads elsewhere ({reply.status}): {printable(reply.headers.get('location', 'nowhere'), 200)}"
    elif kind.startswith("text/plain"):  # such as a server that wants TLS
        first = reply.body[:200].decode(errors="replace").strip().partition("\n")[0]
        why += f": {printable(first)}"
    raise SiteUnreachable(f"it refuses the token of this front: {why}" if reply.status in (401, 403) else why)


async def pages(asker: Asker, target: str) -> AsyncIterator[Record]:
    """Yield all of a list, without having more than a page of it. Raises: as `told`, also if it has no end."""
    count = size = 0
    query = f"limit={PAGE}"
    while query:
        reply = await told(asker, f"{target}?{query}")
        found = reply.json()
        count, size = count + len(found), size + len(reply.body)
        if count > MOST or size > MOST_BYTES:
            raise SiteUnreachable(f"it has too much to tell of its {target.rpartition('/')[2]}")
        for each in found:
            yield each
        following = _NEXT.search(reply.headers.get("link", ""))
        query = following[1] if following and found else ""


async def described(asker: Asker) -> tuple[list[str], str]:
    """Return the ids of the daemons that a site leads to, and a text that is another whenever its names are.

    There is none of both if it is too old to be a front. Raises: as `told`.
    """
    reply = await asker.ask("GET", "/api/v1/sites")
    said = reply.json() if reply.status == 200 else {"daemons": ()}
    return [str(each)[:100] for each in said["daemons"][:MOST_DAEMONS]], str(said.get("names") or "")[:1000]


async def mirror(asker: Asker, before: Mirror, now: float) -> Mirror:
    """Return all that a site has, in place of what it had before. Raises: as `told`; many, if it makes no sense."""
    found = Mirror(before.translation)
    async for each in pages(asker, "/api/v1/pdus"):
        found.begin(each, now, before)
    async for each in pages(asker, "/api/v1/outlets"):
        found.outlet(each, now)
    async for each in pages(asker, "/api/v1/nodes"):
        found.node(each, now)
    for name, members in (await told(asker, "/api/v1/groups")).json().items():
        found.group(name, members)
    return found
