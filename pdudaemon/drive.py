# SPDX-License-Identifier: MIT
"""``pdudaemon --drive``: one request without a daemon, by the same engine, with a store in memory."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path

from pdudaemon import environment
from pdudaemon.config.model import Config
from pdudaemon.config.options import DaemonOptions
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import ConfigError, Conflict, PDUDaemonError, RequestError
from pdudaemon.power import Action, Request, Submission
from pdudaemon.server.orders import WORDS, Order, order
from pdudaemon.settings import read
from pdudaemon.signals import SignalPipe


def carry_out(conf: Config, options: argparse.Namespace, locks: Path) -> int:
    """Carry out the request that the options name; return 0 only if the device did it. Raises: ConfigError."""
    environment.keep()
    words = {word: getattr(options, word, None) or "" for word in WORDS}
    try:
        asked = order(conf, options.request, words)
        if asked.wait == 0:
            raise RequestError("wait: there is no daemon that would go on: 0 is no time to do anything in")
        conf = _with_retries(conf, options)
    except RequestError as error:
        hint = "; what sites have is for a daemon to switch: nothing is passed on from here" if conf.sites else ""
        raise ConfigError(f"{error}{hint}") from None
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # the terminal has gone, and there is no nohup
        numbers.append(signal.SIGHUP)
    signals = SignalPipe(*numbers)
    dispatcher = Dispatcher(conf, Store(MEMORY), locks)
    dispatcher.start()
    try:
        unread = dispatcher.surveys.unread([asked.target])
        dispatcher.surveys.read(unread, max((conf.pdus[name].options.timeout for name in unread), default=0.0) + 1)
        if asked.action is Action.STATUS:
            reading = dispatcher.look(asked.target, asked.wait)
            print(reading.state)
            if reading.mixed:
                _tell(reading.mixed)
            return 0 if reading.source == "device" else 1
        return _switch(dispatcher, signals, asked)
    except PDUDaemonError as error:
        _tell(error.told)
        return 1
    finally:
        dispatcher.close(0)


def _with_retries(conf: Config, options: argparse.Namespace) -> Config:
    """Return the configuration with the command line's retries, and with nothing kept up after the last of them."""
    given = {"retries": options.retries, "retrydelay": options.retry_delay}
    given = {key: value for key, value in given.items() if value}
    faults = read(PDUOptions, {"driver": "", **given})[1]
    if faults:
        raise ConfigError(*(f"--{'retries' if key == 'retries' else 'retry-delay'}: {faults[key]}" for key in faults))
    pdus = {name: replace(pdu, options=PDUOptions({**vars(pdu.options), **given})) for name, pdu in conf.pdus.items()}
    return replace(conf, pdus=pdus, daemon=DaemonOptions({**vars(conf.daemon), "give_up": 0}))


def _switch(dispatcher: Dispatcher, signals: SignalPipe, asked: Order) -> int:
    """Have an order carried out; wait for its end, that of the wait, or a signal. A reboot under way then switches on
    at once.
    """
    results: list[PDUDaemonError | None] = []

    def settled(_: Request, trouble: PDUDaemonError | None) -> None:
        results.append(trouble)
        signals.put(0)

    submission = Submission(asked.action, asked.target, asked.delay, "the command line", waiter=settled)
    (request,) = dispatcher.submit([submission])
    if isinstance(request, PDUDaemonError):
        raise request
    wait = None if asked.wait is None else asked.wait + asked.postponed
    number = signals.within(wait)
    if number == 0:
        if results[0] is not None:
            raise results[0]
        return 0
    over = f"not done after {wait:g} s" if number is None else "interrupted"
    with contextlib.suppress(Conflict):  # it is being carried out, or owes an on
        dispatcher.cancel(request.id)
    if request.started is None:
        _tell(f"{over}: nothing was switched")
    elif request.action is not Action.REBOOT:
        _tell(f"{over}: it is not known whether the device acted")
    else:
        _tell(f"{over}, switching on at once")
        dispatcher.hurry(request)
        while signals.get() != 0:
            _tell("waiting for the port to be on")
        if request.error is not None:
            _tell(request.error.told)
    return 1 if number is None else 128 + number


def _tell(text: str) -> None:
    """Say something on standard error, behind what has been logged; who does not read that must not hear of success."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    with contextlib.suppress(OSError):
        print(f"pdudaemon: {text}", file=sys.stderr, flush=True)
