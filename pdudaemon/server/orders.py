# SPDX-License-Identifier: MIT
"""Orders: from the words of a client, whichever way they come in, to a request or a question, and back to its answer.

All that clients ask for in one turn of the selector's thread is handed to the dispatcher in one go (`Orders`).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pdudaemon.config.model import Config
from pdudaemon.config.options import LONGEST_WAIT
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Answer, Look
from pdudaemon.errors import Forbidden, PDUDaemonError, RequestError
from pdudaemon.power import Action, Request, Submission, Target
from pdudaemon.server import siteorders
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Exchange
from pdudaemon.server.naming import read_first
from pdudaemon.server.pace import Pace
from pdudaemon.server.rights import EVERYTHING, Rights, RightsTable
from pdudaemon.server.watchers import Watchers
from pdudaemon.settings import near, parse_seconds

log = logging.getLogger("pdud.listener")

REBOOT_DELAY = 5.0
WORDS = ("hostname", "port", "alias", "delay", "wait", "key", "soft", "hard")
LONGEST_KEY = 200
ACTIONS = {**{action.value: action for action in Action}, "get-status": Action.STATUS, "restart": Action.REBOOT}
"""The words for an action, whichever way they come in."""

_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_DIGITS = re.compile(r"\d+(?:_\d+)*")


class Order(NamedTuple):
    """What a client asks for, checked. ``delay`` in seconds; ``wait`` None if the client did not say.

    ``key``: what was accepted with the same one before is not accepted once more, but told of. ``postponed`` is the
    delay if the client itself asked for it, 0 if not, and ``soft``: nobody is told that this takes too long. ``soft``
    and ``hard`` are as in a `Submission`.
    """

    action: Action
    target: Target
    delay: float
    wait: float | None
    postponed: float
    key: str
    soft: float | None
    hard: bool


def order(
    config: Config, action: str, words: Mapping[str, str], rights: Rights = EVERYTHING, *, numbers: bool = False
) -> Order:
    """Return the order for an action and the words that go with it: of `WORDS`, others are of no concern.

    A blank word is as good as none; what may not be seen by ``rights`` is not there. ``numbers``: a port of digits, as
    ``int`` takes them, is a number, as drivers written for the existing daemon get it from the text protocol.

    Raises: RequestError, naming the word that is wrong.
    """
    if not rights.everything:
        config = rights.view(config)
    wanted = ACTIONS.get(action)
    if wanted is None:
        raise RequestError(f"{action!r} is none of {', '.join(Action)}{near(action, ACTIONS)}")
    delay = duration(words, "delay", config.daemon.max_delay) if "delay" in words else None
    wait = duration(words, "wait", LONGEST_WAIT) if "wait" in words else None
    usual = REBOOT_DELAY if wanted is Action.REBOOT else 0.0
    hostname, port, alias = words.get("hostname", ""), words.get("port", ""), words.get("alias", "")
    if alias.strip():
        if hostname.strip() or port.strip():
            raise RequestError("give either alias, or hostname and port")
        target = config.node(alias)
    elif not hostname.strip() or not port.strip():
        raise RequestError(f"{'port' if hostname.strip() else 'hostname'} is missing")
    else:
        place = hostname, int(port) if numbers and _DIGITS.fullmatch(port) else port
        target = config.found.get(place) or config.target(*place)
    given = key(words) if "key" in words else ""
    soft, hard = None, True
    if "soft" in words or "hard" in words:
        soft, hard = softly(words, wanted, config.daemon.max_delay)
    postponed = (delay or 0.0) + (soft or 0.0)
    return Order(wanted, target, usual if delay is None else delay, wait, postponed, given, soft, hard)


def softly(words: Mapping[str, str], action: Action, most: float) -> tuple[float | None, bool]:
    """Return ``soft`` and ``hard`` of a `Submission` by the words of those names. Raises: RequestError."""
    soft = duration(words, "soft", most) if "soft" in words else None
    said = words.get("hard", "").strip().lower()
    if said and said not in _TRUTHS:
        raise RequestError(f"hard: {said[:20]!r} is none of {', '.join(_TRUTHS)}")
    check_softly(action, soft, said)
    return soft, _TRUTHS.get(said, True)


def check_softly(action: Action, soft: float | None, hard: object) -> None:
    """Raises: RequestError if this action cannot be asked for in this way; ``hard`` is empty or None if not given."""
    if soft is None and hard not in ("", None):
        raise RequestError("hard: means nothing without soft")
    if soft is not None and action not in (Action.OFF, Action.REBOOT):
        raise RequestError(f"soft: is for off and reboot, not for {action}")


def key(words: Mapping[str, str]) -> str:
    """Return the idempotency key that was given, empty if there is none. Raises: RequestError."""
    given = words.get("key", "").strip()
    if len(given) > LONGEST_KEY or not given.isprintable() or not given.isascii():
        raise RequestError(f"key: must be at most {LONGEST_KEY} printable characters of ASCII")
    return given


def duration(words: Mapping[str, str], word: str, most: float) -> float | None:
    """Return the seconds that a word gives, None if it is not there, or blank. Raises: RequestError."""
    if not words.get(word, "").strip():
        return None
    try:
        return parse_seconds(words[word], most)
    except ValueError as error:
        raise RequestError(f"{word}: {error}") from None


Told = Callable[[Request, PDUDaemonError | None], None]
"""Is told, once, what became of a request: why it failed, or that it goes on. None: it is done; or it is accepted, if
no more was to be waited for."""


class Orders:
    """The orders of one turn of the selector's thread, which alone calls all of this but `rights`; and the watchers."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.pace = Pace()
        self._rights = RightsTable()
        self.watchers = Watchers(dispatcher, self.rights)
        self._orders: list[_Wanted] = []
        self._submissions: list[Submission] = []
        self._looks: list[Look] = []
        self._looking: list[Exchange] = []

    def rights(self, client: Client) -> Rights:
        """Return what a client may see and switch, by the configuration as it is now. Any thread."""
        return EVERYTHING if client.roles is None else self._rights.of(self.dispatcher.config, client.roles)

    def carry_out(self, asked: Order, client: Client, exchange: Exchange, told: Told, *, read: bool = False) -> None:
        """Have an order accepted, and its client told by ``told``; by the exchange itself if it is refused.

        ``read``: what its target's outlets are called has been read. Raises: Forbidden.
        """
        action, target, config = asked.action, asked.target, self.dispatcher.config
        if not exchange.rights.everything:
            check_may(exchange, action, target)
        wait = config.daemon.wait if asked.wait is None else asked.wait
        if config.sites and (site := self.dispatcher.sites.of(target, config)) is not None:
            siteorders.carry_out(site, asked, wait, client, exchange, told)
            return
        if not read and (target.by_name or config.named_pdus):
            again = partial(self.carry_out, asked, client, exchange, told, read=True)
            if read_first(self.dispatcher, exchange, [target], again):
                return
        wanted = _Wanted(exchange, told, wait + asked.postponed if wait else 0.0, self.dispatcher)
        waiter = None
        if wait:
            waiter, exchange.late = partial(exchange.settle, told), wanted.late
            exchange.connection.connections.give(exchange.connection, wanted.seconds)
        self._orders.append(wanted)
        self._submissions.append(
            Submission(
                action,
                target,
                asked.delay,
                client.text,
                client.address,
                waiter,
                key=asked.key,
                soft=asked.soft,
                hard=asked.hard,
            )
        )

    def look(self, asked: Order, exchange: Exchange, told: Callable[[Answer], None], *, read: bool = False) -> None:
        """Have the state of a target asked for, and its client told. Raises: Forbidden."""
        target, config = asked.target, self.dispatcher.config
        if not exchange.rights.everything:
            check_may(exchange, asked.action, target)
        if config.sites and (site := self.dispatcher.sites.of(target, config)) is not None:
            siteorders.look(site, asked, exchange, told)
            return
        if not read and (target.by_name or config.named_pdus):
            again = partial(self.look, asked, exchange, told, read=True)
            if read_first(self.dispatcher, exchange, [target], again):
                return
        look = Look(target.outlets, partial(exchange.settle, told))
        wait = self.dispatcher.patience(target) if asked.wait is None else asked.wait
        self._looks.append(look)
        self._looking.append(exchange)
        exchange.late = lambda: self.dispatcher.give_up([look], wait)
        exchange.connection.connections.give(exchange.connection, wait)

    def hand_over(self) -> bool:
        """Hand the orders of this turn to the dispatcher; return whether there were any."""
        if not self._looks and not self._orders:
            return False
        self.pace.served = time.monotonic()
        looks, looking, orders, submissions = self._looks, self._looking, self._orders, self._submissions
        self._looks, self._looking, self._orders, self._submissions = [], [], [], []
        try:
            if looks:
                self.dispatcher.ask(looks)
            if orders:
                for wanted, request in zip(orders, self.dispatcher.submit(submissions), strict=True):
                    if isinstance(request, PDUDaemonError):
                        wanted.exchange.settle(wanted.exchange.refuse, request)
                    elif wanted.seconds:
                        wanted.request = request
                    else:
                        wanted.exchange.settle(wanted.told, request, None)
        except Exception:  # a fault of ours: who has not been answered must not wait for ever
            log.exception("%d requests and %d questions could not be handed over", len(orders), len(looks))
            for exchange in looking + [wanted.exchange for wanted in orders]:
                exchange.settle(exchange.refuse, PDUDaemonError("internal error: see the log of the daemon"))
        return True


def check_may(exchange: Exchange, action: Action, target: Target) -> None:
    """Raises: Forbidden if who asks may not do this with a target."""
    if reason := exchange.rights.may(action, target.outlets):
        raise Forbidden(reason)


@dataclass(slots=True, eq=False)
class _Wanted:
    """An order on its way, and who is told of it: within some ``seconds``, 0: as soon as it is accepted."""

    exchange: Exchange
    told: Told
    seconds: float
    dispatcher: Dispatcher
    request: Request | None = None

    def late(self) -> None:
        """Tell how the request stands, as the time of whoever asked is over."""
        if self.request is None:  # it is handed over in this very turn
            self.exchange.connection.connections.give(self.exchange.connection, self.seconds)
        else:
            self.exchange.settle(self.told, self.request, self.dispatcher.so_far(self.request, self.seconds))
