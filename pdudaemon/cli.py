# SPDX-License-Identifier: MIT
"""The command line: options, the order of starting and stopping, signals, and the ways to run without a daemon.

Exit codes: 0 as asked; 1 the device did not do it, or not all came home; 2 the command line or the configuration does
not allow it; 75 the machine does not, which may pass by itself: an address, a port, the store; 130 and 143 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import logging.handlers
import os
import resource
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pdudaemon import __version__, environment, listing, sharedfiles
from pdudaemon.config import model as config
from pdudaemon.config import reader, topology
from pdudaemon.config.model import LEVELS, PROTOCOLS, Config, DaemonOptions
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.store import MEMORY, Store, copied
from pdudaemon.errors import (
    ConfigError,
    Conflict,
    PDUDaemonError,
    RequestError,
    StoreError,
)
from pdudaemon.power import Action, Request
from pdudaemon.server import access
from pdudaemon.server.listener import WORDS, Order, order
from pdudaemon.service import News, Service, permitted, tell_faults
from pdudaemon.settings import read

log = logging.getLogger("pdud")

DEFAULT_CONF = "/etc/pdudaemon/pdudaemon.conf"
OPENFLIGHT_PORT = 6302
MOST_DAYS = 36500

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.drive and not options.request:
        parser.error("--drive needs --request")
    try:
        if options.list_drivers is not None:
            return _printed(listing.list_drivers(options.list_drivers))
        if options.list_devices:
            return _printed(listing.list_devices())
        conf = _config(options)
        if options.token:
            return _printed(_token(conf, options.days, options.name))
        if options.check_start:
            return _printed(listing.check_start(conf))
        if options.check:
            return _printed(listing.check(conf))
        if options.unfinished:
            return _printed(_unfinished(_store_path(conf, options.dbfile)))
        if options.drive:
            _log_to(options.loglevel or "WARNING", options)
            return _drive(conf, options)
        _log_to(conf.daemon.logging_level, options)
        return _serve(conf, _store_path(conf, options.dbfile), options)
    except (ConfigError, StoreError) as error:
        for line in (*str(error).splitlines(), *getattr(error, "warnings", ())):
            print(f"pdudaemon: {line}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # who reads what we print, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _config(options: argparse.Namespace) -> Config:
    """Return the configuration that the options name: a file, or nothing but a topology with what that needs."""
    overrides = {"logging_level": options.loglevel, "listener": options.listener}
    path = options.conf or DEFAULT_CONF
    if options.topology:
        overrides["topology"] = os.path.abspath(options.topology)
    elif not options.conf and not os.path.exists(path) and topology.OPENFLIGHT.exists():
        overrides["topology"] = str(topology.OPENFLIGHT)
    given: dict[str, object] = {key: value for key, value in overrides.items() if value}
    if "topology" in given and not options.conf:
        path = ""
        secret = access.OPENFLIGHT if access.OPENFLIGHT.exists() else config.state_folder() / "jwt_secret"
        given = {"listener": "http", "port": OPENFLIGHT_PORT, "jwt_secret_file": str(secret), **given}
    return reader.load(path, given, checking=options.check or options.check_start)


def _token(conf: Config, days: int, name: str) -> int:
    if not conf.daemon.jwt_secret_file:
        raise ConfigError(f"{conf.path}: daemon.jwt_secret_file is not set: no tokens are asked for")
    print(permitted(conf).token(days, name))
    return 0


def _printed(code: int) -> int:
    sys.stdout.flush()
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pdudaemon", description="Queueing power control of PDUs.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"pdudaemon {__version__}")
    parser.add_argument("--conf", "-c", metavar="FILE", help=f"configuration ({DEFAULT_CONF})")
    parser.add_argument(
        "--topology", metavar="FILE", help="OpenFlight Power's topology; without --conf it is all the configuration"
    )
    parser.add_argument("--dbfile", "-d", metavar="FILE", help="the store, instead of the configuration's dbname")
    parser.add_argument("--listener", choices=PROTOCOLS, help="protocol, instead of the configuration's")
    parser.add_argument("--journal", "-j", action="store_true", help="log for the systemd journal, on standard error")
    parser.add_argument("--logfile", metavar="FILE", help="log to a file instead of standard error")
    parser.add_argument("--loglevel", choices=LEVELS, help="least level that is logged")
    parser.add_argument("--check", action="store_true", help="check the configuration strictly and exit")
    parser.add_argument("--check-start", action="store_true", help="check only what would prevent a start, and exit")
    parser.add_argument(
        "--unfinished", action="store_true", help="print the requests on record that must switch on yet, and exit"
    )
    parser.add_argument(
        "--list-drivers", nargs="?", const="", metavar="NAME", help="print the drivers, or the settings of one"
    )
    parser.add_argument(
        "--list-devices", action="store_true", help="print the USB devices found here, with the settings for them"
    )
    token = parser.add_argument_group("tokens")
    token.add_argument("--token", action="store_true", help="print a new token for clients and exit")
    token.add_argument("--days", type=_days, default=30, help="how long it is valid (%(default)s)")
    token.add_argument("--name", default="", type=_name, help="whose it is, for the log")
    drive = parser.add_argument_group("without a daemon")
    drive.add_argument("--drive", action="store_true", help="carry out one request and exit")
    drive.add_argument("--hostname", help="name of the PDU in the configuration")
    drive.add_argument("--port", help="port of the PDU")
    drive.add_argument("--alias", help="alias in the configuration, instead of --hostname and --port")
    drive.add_argument("--request", metavar="|".join(Action), help="what to do")
    drive.add_argument("--wait", metavar="SECONDS", help="how long to wait for the result (as long as it takes)")
    drive.add_argument("--delay", metavar="SECONDS", help="before an on or off; between the halves of a reboot (5)")
    drive.add_argument("--retries", metavar="N", help="tries in all, instead of the configuration's")
    drive.add_argument("--retry-delay", metavar="SECONDS", help="between two tries, instead of the configuration's")
    return parser


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {MOST_DAYS}")
    return int(text)


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > 100:
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is no name: at most 100 printable characters")
    return text


def _log_to(level: str, options: argparse.Namespace) -> None:
    handler: logging.Handler = logging.StreamHandler()
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if options.logfile:
        try:
            handler = _LogFile(options.logfile)
        except OSError as error:
            raise ConfigError(f"cannot log to {options.logfile}: {error.strerror}") from None
    if options.journal:
        form = "%(name)s: %(message)s"
        handler.setFormatter(_JournalFormatter(form))
    else:
        handler.setFormatter(logging.Formatter(form))
    logging.basicConfig(handlers=[handler], level=logging.getLevelName(level))
    logging.raiseExceptions = False  # a log that cannot be written is no reason to print tracebacks
    # What the standard library's manual says to leave out for speed: nothing of it is in our lines.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class _LogFile(logging.handlers.WatchedFileHandler):
    """Opens the file anew after a rotation; what cannot be written to it goes to standard error, and never raises."""

    def _open(self) -> TextIOWrapper[Any]:
        if os.path.dirname(self.baseFilename) in ("/dev", "/dev/fd", "/proc/self/fd"):  # what we have open already
            return super()._open()
        descriptor = sharedfiles.opened(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        return TextIOWrapper(open(descriptor, "ab"), encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except (OSError, ValueError):  # of the opening; ValueError: a file that failed as it was closed
            self.stream = None  # the next line opens it
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        spare = logging.StreamHandler()
        spare.setFormatter(self.formatter)
        spare.emit(record)


class _JournalFormatter(logging.Formatter):
    """Marks every line with its priority, as systemd reads it from a service's standard error."""

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in super().format(record).splitlines())


def _store_path(conf: Config, dbfile: str | None) -> str:
    return os.path.abspath(dbfile) if dbfile else str(config.state_folder() / conf.daemon.dbname)


def _lock_folder(store_path: str) -> Path:
    folder = Path(f"{store_path}.locks")
    try:
        with sharedfiles.place(folder / "any", make=True):
            return folder
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}") from None


def _store(path: str, history: int = 10000) -> Store:
    """Return the store; root, beside a service that has a user of its own, goes into its folder as that user."""
    try:
        with sharedfiles.as_owner(Path(path), "-wal", "-shm", "-journal"):
            return Store(path, history)
    except OSError as error:
        raise StoreError(f"the store cannot be opened: {error.strerror}: {path}") from None


def _unfinished(store_path: str) -> int:
    """Print the requests on record that have yet to switch something on; return 1 if there are any, or may be.

    The record is copied and then read, for a daemon that runs keeps it to itself. So a daemon that hangs, or speaks
    only to who has a token, is no obstacle, and nothing keeps one from starting meanwhile.
    """
    if not os.path.exists(store_path):
        return 0
    heard = _Heard(logging.CRITICAL)
    logging.basicConfig(handlers=[heard])
    with tempfile.TemporaryDirectory(prefix="pdudaemon-") as folder:
        copy = copied(store_path, folder)
        try:
            store = Store(copy)
            try:
                owed = [request for request in store.live() if request.must_switch_on]
            finally:
                store.close()
        except StoreError as error:
            raise StoreError(str(error).replace(copy, store_path)) from None
    for request in owed:
        print(f"{request}: still to be switched on")
    for line in heard.lines:  # the store is damaged; what of it is kept is a copy's
        print(f"pdudaemon: {line.replace(copy, store_path).partition('; it is kept as ')[0]}", file=sys.stderr)
    return 1 if owed or heard.lines else 0


class _Heard(logging.Handler):
    """Keeps what is logged, for who tells it in other words."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _serve(conf: Config, store_path: str, options: argparse.Namespace) -> int:
    """Run the daemon until a signal ends it."""
    environment.keep()
    news = News(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    tell_faults(conf)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a hardened unit may forbid it, and says LimitNOFILE= itself
        log.info("the limit of open files stays as it is: %s", error)
    store = _store(store_path, conf.daemon.history)
    Service(conf, store, _lock_folder(store_path)).run(news, lambda: _config(options))
    return 0


def _drive(conf: Config, options: argparse.Namespace) -> int:
    """Carry out one request without a daemon; return 0 only if the device did it."""
    environment.keep()
    words = {word: getattr(options, word) or "" for word in WORDS}
    try:
        asked = order(conf, options.request, words)
        if asked.wait == 0:
            raise RequestError("wait: there is no daemon that would go on: 0 is no time to do anything in")
        conf = _with_retries(conf, options)
    except RequestError as error:
        raise ConfigError(str(error)) from None
    news = News(signal.SIGTERM, signal.SIGINT)
    dispatcher = Dispatcher(conf, Store(MEMORY), _lock_folder(_store_path(conf, options.dbfile)))
    dispatcher.start()
    try:
        if asked.action is Action.STATUS:
            reading = dispatcher.look(asked.target, asked.wait)
            print(reading.state)
            if reading.mixed:
                _tell(reading.mixed)
            return 0 if reading.source == "device" else 1
        request = dispatcher.submit(asked.action, asked.target, asked.delay, "the command line")
        return _await(dispatcher, request, news, asked)
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


def _await(dispatcher: Dispatcher, request: Request, news: News, asked: Order) -> int:
    """Wait for the end of a request, of the wait, or for a signal: a reboot under way then switches on at once."""

    def tell() -> None:
        request.settled.wait()
        news.put(0)

    threading.Thread(target=tell, name="settled", daemon=True).start()
    wait = None if asked.wait is None else asked.wait + asked.postponed
    number = news.within(wait)
    if number == 0:
        dispatcher.wait(request, 0)
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
        while news.get() != 0:
            _tell("waiting for the port to be on")
        if request.error is not None:
            _tell(request.error.told)
    return 1 if number is None else 128 + number


def _tell(text: str) -> None:
    """Say something on standard error, if it is read: who does not read it must not hear of success by that."""
    with contextlib.suppress(OSError):
        print(f"pdudaemon: {text}", file=sys.stderr, flush=True)
