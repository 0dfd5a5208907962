# SPDX-License-Identifier: MIT
"""`Sites`: the other daemons that this one is a front of, and the configuration with what they have.

A front keeps no truth of theirs. What it shows is a mirror, and what it is asked for is accepted when the site has.
"""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pdudaemon.config.front import FrontConfig, combined, is_of
from pdudaemon.config.model import Config
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.inventory import Inventory
from pdudaemon.engine.outlets import KnownPDU
from pdudaemon.errors import NoSuchRequest
from pdudaemon.power import Target

if TYPE_CHECKING:
    from pdudaemon.engine.front.site import Site

log = logging.getLogger("pdud.sites")

GRACE = 2.0  # seconds for the thread of a site to end


class Sites:
    """All sites. Any thread, but for `start`, `change` and `close`.

    ``take`` is told the configuration with what the sites have, whenever that is another.
    """

    def __init__(
        self, config: Config, events: Events, inventory: Inventory, clock: Clock, take: Callable[[Config], None]
    ) -> None:
        self.daemon = uuid.uuid4().hex  # by which a front that leads back to itself is found out
        self.names = 0  # how often what there is has become another
        self._local = config
        self._events = events
        self._inventory = inventory
        self._clock = clock
        self._take = take
        self._sites: dict[str, Site] = {}
        self._faults: list[str] = []
        self._lock = threading.Lock()  # of making a configuration, which takes as long as there are names

    def start(self) -> None:
        """Begin to follow the sites."""
        self.change(self._local)

    def change(self, config: Config) -> None:
        """Go on with another configuration, once begun."""
        before = self._sites
        kept = {name: site for name, site in before.items() if config.sites.get(name) == site.options}
        new = {name: self._site(name, config) for name in config.sites if name not in kept}
        for name, site in new.items():
            if name in before and before[name].options.prefix == site.options.prefix:
                site.take_over(before[name])
        with self._lock:
            self._local = config
            self._sites = {name: kept.get(name) or new[name] for name in config.sites}
        self._combine()
        for site in new.values():
            try:
                site.start()
            except RuntimeError as error:
                log.error("%s: the machine has no thread for that: %s", site.name, error)
        _closed([site for name, site in before.items() if name not in kept])

    def close(self) -> list[str]:
        """Let go of all sites; return the names of the threads that still run."""
        return _closed([*self])

    def _site(self, name: str, config: Config) -> Site:
        from pdudaemon.engine.front.site import Site  # with asyncio, which a daemon without sites does without

        return Site(name, config.sites[name], self.daemon, self._events, self._clock, self._changed)

    def _changed(self, why: str) -> None:
        """Take in that a site has other names than before, or can be asked, or not any more."""
        self._combine()
        self._events.reload(why)

    def _combine(self) -> None:
        with self._lock:
            sites = self._sites
            config, faults = combined(
                self._local, {name: site.mirror.names(site.trouble) for name, site in sites.items()}
            )
            shown: dict[str, KnownPDU] = {}
            for name, site in sites.items():
                theirs = site.mirror.without_states(_away(site)) if site.trouble else site.mirror.pdus
                shown |= {pdu: known for pdu, known in theirs.items() if is_of(name, config.pdus.get(pdu))}
            self.names += 1
            self._inventory.elsewhere = shown
            self._events.figures.keep(config.pdus)
            self._take(config)
            new, self._faults = ([each for each in faults if each not in self._faults], faults)
        for each in new:
            log.error("%s", each)

    # For whoever asks.

    def __bool__(self) -> bool:
        return bool(self._sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites.values())

    def of(self, target: Target, config: Config) -> Site | None:
        """Return the site that a target is at, None for here."""
        if not isinstance(config, FrontConfig):
            return None
        return self._sites.get(config.site_of(target))

    def named(self, name: str) -> Site | None:
        """Return a site by its name, None if there is none any more."""
        return self._sites.get(name)

    def parts(self, targets: Mapping[str, Target], config: Config) -> dict[Site | None, dict[str, Target]]:
        """Return targets by the site that they are at; None: here."""
        found: dict[Site | None, dict[str, Target]] = {}
        for name, target in targets.items():
            found.setdefault(self.of(target, config), {})[name] = target
        return found

    def numbered(self, number: str) -> tuple[Site, str]:
        """Return the site of a request or a command, and the number that it has there. Raises: NoSuchRequest."""
        name, _, theirs = number.partition("/")
        if name not in self._sites:
            raise NoSuchRequest(f"there is no site {name!r}" if theirs else f"{number!r} is the number of nothing")
        return self._sites[name], theirs

    def every_pdu(
        self,
        local: Callable[[str, int | None, Callable[[str], bool]], Iterator[dict[str, Any]]],
        after: str = "",
        most: int | None = None,
        wanted: Callable[[str], bool] = bool,
    ) -> Iterator[dict[str, Any]]:
        """Yield the records of the ``local`` PDUs, as `LiveRecords.each_pdu` does, and then those of the sites'."""
        if not self._sites:
            return local(after, most, wanted)
        here = iter(()) if after in self._inventory.elsewhere else local(after, most, wanted)
        return itertools.islice(itertools.chain(here, self.records(after, wanted)), most)

    def records(self, after: str = "", wanted: Callable[[str], bool] = bool) -> Iterator[dict[str, Any]]:
        """Yield a record for each PDU at a site, as `LiveRecords.each_pdu` does, behind ``after`` if it is one."""
        configured = self._inventory.elsewhere
        found = [(site, [each for each in site.mirror.records.items() if each[0] in configured]) for site in self]
        behind = all(name != after for _, records in found for name, _ in records)
        for site, records in found:
            for name, record in records:
                if behind and wanted(name):
                    yield {**record, "requests": 0 if site.trouble else record["requests"]}
                behind = behind or name == after

    def last(self, node: str) -> dict[str, Any] | None:
        """Return the record of the last request of a node at a site, as far as it is known."""
        return next((site.mirror.last[node] for site in self if node in site.mirror.last), None)

    def look(self, names: Iterable[str]) -> None:
        """Somebody looks at PDUs: have their sites be asked for what is too old."""
        config = self._inventory.elsewhere
        if any(name in config for name in names):
            for site in self:
                site.look()

    def faults(self, site: str) -> list[str]:
        """Return what of a site collides, in words."""
        return [each for each in self._faults if each.startswith(f"{site}: ")]


def _closed(sites: list[Site]) -> list[str]:
    """Let go of sites; return the names of the threads that still run."""
    for site in sites:
        site.stop()
    return [str(site) for site in sites if not site.ended(GRACE)]


def _away(site: Site) -> str:
    return f"{site.name} cannot be asked: {site.trouble}"
