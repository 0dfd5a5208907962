# SPDX-License-Identifier: MIT
"""Requests and commands of all sites and of our own, as one: the newest first, in pages.

Where a page ends is said for each place, ``12,berlin/17``, so that nobody has to remember it. A site that cannot be
asked is named in a header, and holds up the others no longer than sites have to tell what they know.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from pdudaemon.config.front import FrontConfig, SitePDU
from pdudaemon.config.sites import owner
from pdudaemon.drivers.readings import label
from pdudaemon.errors import Forbidden, NoSuchRequest, PDUDaemonError, RequestError
from pdudaemon.ranges import folded
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.server.rights import Rights
from pdudaemon.server.siteviews import ANSWER, Several, is_elsewhere

if TYPE_CHECKING:
    from pdudaemon.engine.front.site import Site
    from pdudaemon.engine.front.sitequestions import Listed

Record = dict[str, Any]

MISSING = "X-Unreachable-Sites"
_PLACE = re.compile(r"((?:[\w.-]+/)*)([0-9]{1,18})")
_PASSED = ("action", "state", "client", "since", "until")
_NEXT = re.compile(r'[?&]after=([^&>]*)[^>]*>; *rel="next"')
_SITE = re.compile(r"[\w./-]{1,1000}")
_ANEW = str(10**18 - 1)  # behind which a place begins
_LONGEST = 30_000  # characters of names that a site is asked for


def places(text: str) -> dict[str, str]:
    """Return where each site's part ends that is spelled in a text, by the site; our own by an empty text.

    Raises: Misdirected.
    """
    found: dict[str, str] = {}
    for each in filter(None, text.split(",")):
        if not _PLACE.fullmatch(each):
            raise Misdirected(400, f"after: {each[:20]!r} is not the number of a request")
        site, slash, number = each.partition("/")
        site, number = (site, number) if slash else ("", each)
        found[site] = f"{found[site]},{number}" if site in found else number  # it may be a front itself
    return found


def is_at_site(exchange: HTTPExchange, name: str) -> bool:
    """Whether the name of a node or a PDU is that of one at a site, of today or of former days."""
    return bool(_site_of(exchange, name))


def _site_of(exchange: HTTPExchange, name: str) -> str:
    config = exchange.dispatcher.config
    if not isinstance(config, FrontConfig):
        return ""
    node = config.nodes.get(name)
    pdu = config.pdus.get(node.feeds[0].pdu if node is not None and node.feeds else name)
    return pdu.site if isinstance(pdu, SitePDU) else owner(name, config.sites)


def show(
    exchange: HTTPExchange,
    here: list[Record],
    most: int,
    after: Mapping[str, str],
    nodes: Collection[str] | None,
    pdus: Collection[str] | None,
) -> None:
    """Answer with the newest of what is ``here`` and what the sites have, ``most`` of it behind some places."""
    sites = {site.name: site for site in exchange.dispatcher.sites}
    first = "after" not in exchange.words
    questions = {}
    for name, site in sites.items():
        words = {word: exchange.words[word] for word in _PASSED if word in exchange.words} | {"limit": str(most)}
        for word, names in (("node", nodes), ("pdu", pdus)):
            if names is not None:
                words[word] = folded(
                    site.translation.theirs(each) for each in names if _site_of(exchange, each) == name
                )
        if any(words.get(word) == "" for word in ("node", "pdu")) or not (first or name in after):
            continue
        if sum(map(len, words.values())) > _LONGEST:
            raise RequestError(f"{name}: these are too many names for one question")
        if after.get(name):
            words["after"] = after[name]
        questions[name] = (site, "GET", f"/api/v1/requests?{urlencode(words)}")

    def understood(name: str, told: Listed) -> _Told:
        return _told_by(sites[name], told, exchange.rights)

    def made(found: dict[str, _Told], errors: dict[str, PDUDaemonError]) -> Answer:
        return _page(exchange, here, most, after, found, errors)

    Several(exchange, understood, made).ask(questions)


class _Told(NamedTuple):
    """What a site has for a page; ``behind`` is where it goes on, if there is ``more``; ``missing`` are sites of it."""

    records: list[Record]
    behind: str
    more: bool
    missing: list[str]


def _told_by(site: Site, told: Listed, rights: Rights) -> _Told:
    """Return what a site has, in our words. Raises: many errors, if that makes no sense."""
    records = [site.translation.request(record) for record in told]
    for record in records:
        float(record["accepted"] or 0.0)
        rights.sees_record(record)
    link = _NEXT.search(told.headers.get("link", ""))
    named = told.headers.get(MISSING.lower(), "").split(", ")
    away = [f"{site.name}/{each}" for each in named if _SITE.fullmatch(each)]
    return _Told(records, unquote(link[1]) if link else "", bool(link), away)


def _page(
    exchange: HTTPExchange,
    here: list[Record],
    most: int,
    after: Mapping[str, str],
    found: Mapping[str, _Told],
    errors: Mapping[str, PDUDaemonError],
) -> Answer:
    rights = exchange.rights
    parts = {"": _Part("", here, after.get("", ""), "", len(here) == most)}
    missing = [*errors]
    for name, told in found.items():
        parts[name] = _Part(name, told.records, after.get(name, ""), told.behind, told.more)
        missing += told.missing
    # The order of each part is kept, whatever its clock was set to.
    every = heapq.merge(*(part.each() for part in parts.values()), key=lambda each: -(each[1]["accepted"] or 0.0))
    page = [*itertools.islice(every, most)]
    for part, record in page:
        part.shown(record)
    headers = {}
    if page and (next(every, None) is not None or any(part.more for part in parts.values())):
        begun = ",".join(item for part in parts.values() for item in part.ends())
        headers["Link"] = f'</api/v1/requests?{urlencode({**exchange.words, "after": begun})}>; rel="next"'
    if missing:
        headers[MISSING] = ", ".join(sorted(missing))
    return Answer(200, [rights.shown(record) for _, record in page if rights.sees_record(record)], headers)


class _Part:
    """What one site, or we, have for a page; and where the next one goes on: at a site that is a front, in each place.

    ``after`` is where this one began, ``behind`` where it would go on if all of it was shown, if there is ``more``.
    """

    def __init__(self, name: str, records: list[Record], after: str, behind: str, more: bool) -> None:
        self.more = more
        self._name = name
        self._records = records
        self._ends: dict[str, str] = {}  # the number of the last one that was shown, by place
        for item in filter(None, after.split(",")):
            place, _, number = item.rpartition("/")
            self._ends[place] = number
        others = [*filter(None, behind.split(",")), *(self._number(record) for record in records)]
        for item in others:
            self._ends.setdefault(item.rpartition("/")[0], _ANEW)

    def _number(self, record: Record) -> str:
        return str(record["id"]).removeprefix(f"{self._name}/" if self._name else "")

    def each(self) -> Iterator[tuple[_Part, Record]]:
        """Yield the records, the newest first."""
        for record in self._records:
            yield self, record

    def shown(self, record: Record) -> None:
        """Note that a record is on the page."""
        place, _, number = self._number(record).rpartition("/")
        self._ends[place] = number

    def ends(self) -> Iterator[str]:
        """Yield where to go on."""
        for place, number in self._ends.items():
            yield "/".join(filter(None, (self._name, place, number)))


# Commands


def command(exchange: HTTPExchange, number: str, here: Callable[[int], Record], half: str | None = None) -> None:
    """Show a command whose parts are at sites, or here; ``half`` not None: take it back.

    ``here`` shows, or takes back, the part that is here. A part of a site that cannot be asked is not shown.
    """
    parts = [part for part in number.split(",") if part]
    theirs = {part: exchange.dispatcher.sites.numbered(part) for part in parts if is_elsewhere(part)}
    if half is None or exchange.rights.everything:
        method = "GET" if half is None else "DELETE"
        query = f"?half={half}" if half else ""
        questions = {
            part: (site, method, f"/api/v1/commands/{quote(there)}{query}") for part, (site, there) in theirs.items()
        }
    else:
        raise Forbidden("a command at several sites is taken back by who may do everything; take back its requests")

    def made(found: dict[str, Record], errors: dict[str, PDUDaemonError]) -> Answer:
        own = [here(int(part)) for part in parts if part not in theirs]
        told = [*own, *(found[part] for part in parts if part in found)]
        nodes = [node for record in told for node in record["nodes"] if exchange.rights.sees_node(node["name"])]
        if not nodes:
            raise next(iter(errors.values()), NoSuchRequest(f"there is no command {number}"))
        first = told[0]
        running = any(node["ended"] is None for node in nodes)
        headers = {MISSING: ", ".join(sorted(theirs[part][0].name for part in errors))} if errors else {}
        record = {"id": number, **{word: first[word] for word in ("action", "client", "accepted")}}
        return Answer(200, {**record, "state": "running" if running or errors else "ended", "nodes": nodes}, headers)

    Several(exchange, lambda part, record: _part(theirs[part][0], record), made).ask(questions, ANSWER)


def _part(site: Site, record: Record) -> Record:
    """Return a command of a site in our words. Raises: many errors, if that makes no sense."""
    translation = site.translation
    nodes = [
        {
            **node,
            "name": translation.name(node["name"]),
            "request": translation.number(node["request"]),
            "ended": translation.time(node["ended"]),
        }
        for node in record["nodes"]
    ]
    words = {word: label(record[word]) or "" for word in ("action", "client")}
    return {**words, "accepted": translation.time(record["accepted"]), "nodes": nodes}
