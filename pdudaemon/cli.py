# SPDX-License-Identifier: MIT
"""The command line: options, the order of starting and stopping, signals, and the ways to run without a daemon.

Exit codes: 0 as asked; 1 the device did not do it, or not all came home; 2 the command line or the configuration does
not allow it; 75 the machine does not, which may pass by itself: an address, a port, the store; 129, 130 and 143
interrupted.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

from pdudaemon import (
    arguments,
    drive,
    environment,
    health,
    importing,
    journal,
    listing,
    online,
    onlinesites,
    probing,
    sharedfiles,
)
from pdudaemon.config import model as config
from pdudaemon.config import reader, topology
from pdudaemon.config.model import Config
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storefiles import copied
from pdudaemon.errors import ConfigError, StoreError
from pdudaemon.logs import LineFormatter, LogWriter
from pdudaemon.server import access, issued
from pdudaemon.service import Service, permitted, tell_faults
from pdudaemon.settings import near
from pdudaemon.signals import SignalPipe

log = logging.getLogger("pdud")

OPENFLIGHT_PORT = 6302


def main(words: list[str] | None = None) -> int:
    """Run as the command line says; return the exit code."""
    parser = arguments.parser()
    options = parser.parse_args(words)
    if options.drive and not options.request:
        parser.error("--drive needs --request")
    if alone := arguments.alone(options):
        parser.error(alone)
    if not arguments.serves(options):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    if options.conf and not (options.check or options.check_start):  # a reload finds it wherever a driver has gone
        options.conf = os.path.abspath(options.conf)
    if options.topology:
        options.topology = os.path.abspath(options.topology)
    _open_standard_files()
    serving = False
    try:
        if options.list_drivers is not None:
            return _printed(listing.list_drivers(options.list_drivers))
        if options.schema:
            return _printed(listing.schema())
        if options.print_file is not None:
            return _printed(listing.print_file(options.print_file))
        if options.list_devices:
            return _printed(listing.list_devices())
        if options.import_:
            return _printed(importing.translate(options.import_, options.output or "", options.keep_powerman))
        if options.probe:
            return _printed(probing.probe(options.probe, options.community))
        conf = _config(options)
        if options.token:
            return _printed(_token(conf, options))
        if options.tokens:
            return _printed(_tokens(conf))
        if options.check_start:
            return _printed(listing.check_start(conf))
        if options.check:
            return _printed(_check(conf, options))
        if options.health:
            return _printed(health.tell(conf))
        if options.unfinished:
            return _printed(_unfinished(_store_path(conf, options.dbfile)))
        if options.drive:
            _log_to(options.loglevel or "WARNING", options)
            return drive.carry_out(conf, options, _lock_folder(_store_path(conf, options.dbfile)))
        _log_to(conf.daemon.logging_level, options)
        serving = True
        return _serve(conf, _store_path(conf, options.dbfile), options)
    except (ConfigError, StoreError) as error:
        for line in (*str(error).splitlines(), *getattr(error, "warnings", ())):
            print(f"pdudaemon: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # of what is not a daemon, which minds its signals itself
        return 128 + signal.SIGINT
    except OSError as error:  # in printing: whatever else fails is told where it does
        if serving:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # who reads it, such as head, has seen enough
            return 0
        print(f"pdudaemon: the answer cannot be written: {error.strerror or error}", file=sys.stderr)
        return os.EX_TEMPFAIL


def _open_standard_files() -> None:
    """Open those of standard input, output and error that are closed: a store in their place would be printed to."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _check(conf: Config, options: argparse.Namespace) -> int:
    """Check a configuration, and what it is about if that is wanted; return the exit code, the greater of both."""
    code = listing.check(conf)
    if options.online:
        environment.keep()
        code = max(code, online.check_online(conf, _lock_folder(_store_path(conf, options.dbfile))))
        code = max(code, onlinesites.check_sites(conf))
    return code


def _config(options: argparse.Namespace) -> Config:
    """Return the configuration that the options name: a file, or nothing but a topology with what that needs."""
    overrides = {"logging_level": options.loglevel, "listener": options.listener}
    path = options.conf or arguments.DEFAULT_CONF
    if options.topology:
        overrides["topology"] = options.topology
    elif not options.conf and not os.path.exists(path) and topology.OPENFLIGHT.exists():
        overrides["topology"] = str(topology.OPENFLIGHT)
    given: dict[str, object] = {key: value for key, value in overrides.items() if value}
    if "topology" in given and not options.conf:
        path = ""
        secret = access.OPENFLIGHT if access.OPENFLIGHT.exists() else config.state_folder() / "jwt_secret"
        given = {"listener": "http", "port": OPENFLIGHT_PORT, "jwt_secret_file": str(secret), **given}
    return reader.load(path, given, checking=options.check or options.check_start)


def _token(conf: Config, options: argparse.Namespace) -> int:
    secret_file = _secret_file(conf)
    for role in options.role:
        if role not in conf.roles:
            raise ConfigError(f"{conf.path}: there is no role {role!r}{near(role, conf.roles)}")
    claims = access.claims(options.days or arguments.DAYS, options.name or "", options.role)
    print(permitted(conf).token(claims))
    try:
        issued.add(secret_file, claims)
    except OSError as error:
        where = issued.beside(secret_file)
        print(f"pdudaemon: --tokens will not list it: {where}: {error.strerror}", file=sys.stderr)
    return 0


def _tokens(conf: Config) -> int:
    for line in issued.lines(_secret_file(conf), conf.daemon.revoked):
        print(line)
    return 0


def _secret_file(conf: Config) -> Path:
    if conf.secret_file is None:
        raise ConfigError(f"{conf.path}: daemon.jwt_secret_file is not set: no tokens are asked for")
    return conf.secret_file


def _printed(code: int) -> int:
    sys.stdout.flush()
    return code


def _log_to(level: str, options: argparse.Namespace) -> None:
    try:
        writer = LogWriter(options.logfile or "", journal.here() if options.journal else None)
    except OSError as error:
        raise ConfigError(f"cannot log to {options.logfile}: {error.strerror}") from None
    writer.setFormatter(LineFormatter(options.journal))
    logging.basicConfig(handlers=[writer], level=logging.getLevelName(level))
    logging.raiseExceptions = False  # a log that cannot be written is no reason to print tracebacks
    # What the standard library's manual says to leave out for speed: nothing of it is in our lines.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _store_path(conf: Config, dbfile: str | None) -> str:
    return os.path.abspath(dbfile) if dbfile else str(config.state_folder() / conf.daemon.dbname)


def _lock_folder(store_path: str) -> Path:
    folder = Path(f"{store_path}.locks")
    try:
        with sharedfiles.place(folder / "any", make=True):
            return folder
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}") from None


def _store(path: str, history: int = 10000, history_days: int = 0) -> Store:
    """Return the store; root, beside a service that has a user of its own, goes into its folder as that user."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # to open a FIFO would take for ever
            raise StoreError(f"the store cannot be opened: it is not a plain file: {path}")
        with sharedfiles.as_owner(Path(path), "-wal", "-shm", "-journal"):
            return Store(path, history, history_days)
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
    signals = SignalPipe(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    tell_faults(conf)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a hardened unit may forbid it, and says LimitNOFILE= itself
        log.info("the limit of open files stays as it is: %s", error)
    store = _store(store_path, conf.daemon.history, conf.daemon.history_days)
    Service(conf, store, _lock_folder(store_path)).run(signals, lambda: _config(options))
    return 0
