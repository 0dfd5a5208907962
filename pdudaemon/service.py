# SPDX-License-Identifier: MIT
"""`Service`: the daemon as it runs, from the first listener to the last word; reloads, the watchdog.

A reload (SIGHUP) bears what a start bears: a fault that would prevent a start changes nothing, any other disables what
it is in. It switches nothing.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pdudaemon import __version__
from pdudaemon.config.faults import unplaced
from pdudaemon.config.model import Config
from pdudaemon.config.options import ListenerOptions
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import PDUDaemonError
from pdudaemon.notify import Notifier
from pdudaemon.server import access, mqtt, protocols, tls
from pdudaemon.server.access import Access
from pdudaemon.server.connections import Connections
from pdudaemon.server.handover import Handover
from pdudaemon.server.listener import Listener
from pdudaemon.server.metrics import LogLines
from pdudaemon.server.oidc import Issuer, issuer_of
from pdudaemon.server.orders import Orders
from pdudaemon.server.refusals import Refusals
from pdudaemon.signals import SignalPipe

log = logging.getLogger("pdud")

GARBAGE = 10_000, 3, 33
"""When garbage is looked for, not among what the configuration amounts to: after so many new objects among these, every
third time also among those that were new the times before. Every tenth, as is usual, keeps everybody waiting for 12 ms
when there are many requests."""
STOP_BOUND = 10.0
LAST_WORDS = 1.0  # seconds for answers that are on their way to clients when the daemon leaves
LAST_CLIENT = 0.1  # seconds for who has connected to ask, before it is told that the daemon is stopping
PULSE = 10.0  # seconds within which a daemon that is well answers the watchdog's question


# A listener, by its address, port, and how many there are before it with the same (port 0 is any free one).
Address = tuple[str, int, int]
UNIX_PORT = -1  # that of a UNIX socket, whose address is its path


class Service:
    """The daemon, made of a configuration and a store. All of it is used by the main thread."""

    def __init__(self, conf: Config, store: Store, locks: Path) -> None:
        """Bind every listener; nothing is served yet. Raises: ConfigError."""
        self._conf = conf
        self._store = store
        logging.getLogger().addHandler(LogLines())
        may = permitted(conf)
        self._issuer = may.issuer
        self._notifier = Notifier()
        self._reloaded = ""  # what went wrong in the last reload, for who asks systemd how the service is
        self._handover = Handover(self._notifier, conf.listeners)
        self._dispatcher = Dispatcher(conf, store, locks)
        self._broker: mqtt.Bridge | None = None
        self._orders = orders = Orders(self._dispatcher)
        self._connections = Connections(
            conf.daemon, functools.partial(protocols.speech, orders), orders.hand_over, self._dispatcher.work
        )
        self._dispatcher.led_by(self._connections)
        self._refusals = Refusals(self._connections.at)
        places = _places(conf.listeners)
        self._listeners = dict(zip(places, self._bound(places.values(), may), strict=True))

    def run(self, signals: SignalPipe, reread: Callable[[], Config]) -> None:
        """Serve until a signal ends it; ``reread`` returns the configuration as it stands now."""
        self._dispatcher.start()
        self._dispatcher.sites.start()
        self._connections.start()
        if self._issuer is not None:
            self._issuer.start()
        for listener in self._listeners.values():
            self._connections.add(listener)
        log.info("pdudaemon %s has started: %d PDUs, store %s", __version__, len(self._conf.pdus), self._store.path)
        self._bridge()
        self._notifier.ready(self._dispatcher.summary())
        gc.set_threshold(*GARBAGE)
        gc.freeze()
        while True:
            number = signals.within(self._notifier.beat)
            if number is None:
                self._beat()
            elif number == signal.SIGHUP:
                self._reload(reread, signals)
            else:
                log.info("%s: stopping", signal.Signals(number).name)
                break
        self._stop()

    def _beat(self) -> None:
        pulse = self._dispatcher.pulse(PULSE)
        if pulse.hangs:
            log.critical("%s: the watchdog is not fed", pulse.hangs)
            self._notifier.status(pulse.hangs)
            return
        if pulse.store:  # a new start would not help: it needs the store, and this daemon still knows what is owed
            log.critical("no request is accepted: %s", pulse.store)
        self._notifier.alive("; ".join(filter(None, (pulse.store, self._reloaded, self._dispatcher.summary()))))

    def _reload(self, reread: Callable[[], Config], signals: SignalPipe) -> None:
        """Take over the configuration as it stands now.

        Nobody searches for garbage then, which would keep everybody waiting, the longer the more PDUs there are. What
        the configuration was before goes without that.
        """
        gc.collect()
        gc.disable()
        try:
            if self._take_over(reread, signals):
                gc.freeze()
        finally:
            gc.enable()

    def _take_over(self, reread: Callable[[], Config], signals: SignalPipe) -> bool:
        """Return whether there is another configuration now."""
        log.info("SIGHUP: reading the configuration again")
        self._notifier.reloading()
        try:
            conf = reread()
            if signals.pressing:
                log.info("nothing was changed: the daemon is told to stop")
                return False
            may = permitted(conf, self._issuer)
            new = self._exchanged(_places(conf.listeners), may)
        except PDUDaemonError as error:
            for line in str(error).splitlines():
                log.error("%s", line)
            for line in getattr(error, "warnings", ()):
                log.warning("%s", line)
            log.error("nothing was changed: the configuration has faults that would prevent a start")
            self._has_reloaded(f"not reloaded: {str(error).splitlines()[0]}")
            return False
        except Exception as error:  # a fault of ours must not end what works; beyond this point there is no way back
            log.exception("nothing was changed: the configuration cannot be taken over")
            self._has_reloaded(f"not reloaded: {type(error).__name__}")
            return False
        self._take_issuer(may.issuer)
        new_faults = tell_faults(conf, self._conf)
        if conf.daemon.dbname != self._conf.daemon.dbname:
            log.warning("%s: daemon.dbname: another store needs a restart", conf.path)
        self._dispatcher.reload(conf)
        self._conf = conf
        self._bridge()
        self._connections.options = conf.daemon
        logging.getLogger().setLevel(conf.daemon.logging_level)
        for listener in new:
            self._connections.add(listener)
        log.info("the configuration has been taken over: %d PDUs", len(conf.pdus))
        self._has_reloaded(f"reloaded with a new fault: {new_faults[0]}" if new_faults else "")
        return True

    def _has_reloaded(self, trouble: str) -> None:
        self._reloaded = trouble
        self._notifier.ready("; ".join(filter(None, (trouble, self._dispatcher.summary()))))

    def _take_issuer(self, issuer: Issuer | None) -> None:
        """Have the keys of an issuer kept up to date, in place of those of the one before."""
        if issuer is not self._issuer:
            if self._issuer is not None:
                self._issuer.close()
            if issuer is not None:
                issuer.start()
            self._issuer = issuer

    def _stop(self) -> None:
        if self._issuer is not None:
            self._issuer.close()
        self._notifier.stopping()
        self._handover.leaving = True
        for listener in self._listeners.values():
            self._connections.remove(listener)
        if self._notifier.present:  # who connects from now on is the next daemon's; who did just before is served
            time.sleep(LAST_CLIENT)
        absent, owed = self._dispatcher.close(STOP_BOUND, self._last_words)
        self._refusals.close()
        for name in absent:
            log.error("%s is still running at exit", name)
        log.info("pdudaemon has stopped")
        self._notifier.status(f"stopped; {'; '.join(owed)}" if owed else "stopped")

    def _bridge(self) -> None:
        """Speak with the broker that the configuration has, and with no other."""
        options = self._conf.broker
        by_token = any(listener.access.by_token for listener in self._listeners.values())
        if self._broker is not None and (self._broker.options, self._broker.by_token) != (options, by_token):
            self._leave_broker()
        if self._broker is None and options is not None:
            self._broker = mqtt.Bridge(options, self._dispatcher, by_token)
            try:
                self._broker.start()
            except RuntimeError as error:
                log.error("no MQTT: the machine has no thread for that: %s", error)

    def _leave_broker(self) -> None:
        if self._broker is not None and not self._broker.close():
            log.error("%s is still running at exit", self._broker)
        self._broker = None

    def _last_words(self) -> None:
        self._leave_broker()
        if not self._orders.watchers.close():
            log.error("%s is still running at exit", self._orders.watchers)
        self._connections.close(LAST_WORDS)

    def _exchanged(self, wanted: Mapping[Address, ListenerOptions], may: Access) -> list[Listener]:
        """Stop listeners that are no more, and return the new ones, bound. Raises: ConfigError: it is all as before."""
        contexts = {place: tls.context(options) for place, options in wanted.items()}
        new = {place: options for place, options in wanted.items() if place not in self._listeners}
        going = {place: listener for place, listener in self._listeners.items() if place not in wanted}
        # A port must be free before it can be had at another address.
        moved = {place for place in going if place[1] in {port for _, port, _ in new} - {UNIX_PORT}}
        for place in moved:
            self._connections.remove(self._listeners.pop(place))
        with contextlib.ExitStack() as on_failure:
            for place in moved:
                on_failure.callback(self._bring_back, place, going[place])
            bound = self._bound(new.values(), may)
            on_failure.pop_all()
        for place in going.keys() - moved:
            self._connections.remove(self._listeners.pop(place))
        for listener in going.values():
            listener.renew(listener.options, may, listener.context)  # the connections that it has go on
        for place, listener in self._listeners.items():
            listener.renew(wanted[place], may, contexts[place])
        self._listeners |= zip(new, bound, strict=True)
        return bound

    def _bring_back(self, place: Address, stopped: Listener) -> None:
        (self._listeners[place],) = self._bound([stopped.options], stopped.access)
        self._connections.add(self._listeners[place])

    def _bound(self, options: Iterable[ListenerOptions], may: Access) -> list[Listener]:
        """Return listeners, all of them or none. Raises: ConfigError."""
        found: list[Listener] = []
        with contextlib.ExitStack() as on_failure:
            for each in options:
                found.append(Listener(each, may, self._refusals, self._handover))
                on_failure.callback(found[-1].server_close)
            on_failure.pop_all()
        return found


def permitted(conf: Config, before: Issuer | None = None) -> Access:
    """Return who may ask; an issuer of tokens is the one ``before``, with what it knows, if it is the same still.

    Raises: ConfigError.
    """
    issuer = issuer_of(conf)
    if issuer is not None and before is not None and issuer.options == before.options and before.options.by_url:
        issuer = before
    if conf.secret_file is None:
        return Access(revoked=conf.daemon.revoked, issuer=issuer)
    return access.from_file(conf.secret_file, conf.daemon.revoked, issuer)


def tell_faults(conf: Config, before: Config | None = None) -> list[str]:
    """Log the faults and warnings of a configuration that were not there before; return the faults."""
    told = set() if before is None else {*map(unplaced, (*before.faults, *before.warnings))}
    faults = [line for line in conf.faults if unplaced(line) not in told]
    for line in faults:
        log.error("%s", line)
    if len(faults) < len(conf.faults):
        log.error("%d faults are as before", len(conf.faults) - len(faults))
    for line in conf.warnings:
        if unplaced(line) not in told:
            log.warning("%s", line)
    return faults


def _places(listeners: Iterable[ListenerOptions]) -> dict[Address, ListenerOptions]:
    found: dict[Address, ListenerOptions] = {}
    for each in listeners:
        where = (each.socket, UNIX_PORT) if each.socket else (each.hostname, each.port)
        number = sum(where == place[:2] for place in found)
        found[*where, number] = each
    return found
