# SPDX-License-Identifier: MIT
"""The command line: options, the order of starting and stopping, signals, and the ways to run without a daemon.

Exit codes: 0 as asked; 1 the device did not do it, or not all came home; 2 the command line or the configuration does
not allow it; 75 the machine does not, which may pass by itself: an address, a port, the store; 130 and 143 interrupted.
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
    __version__,
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
from pdudaemon.config.options import LEVELS, PROTOCOLS
from pdudaemon.engine.store import Store
from pdudaemon.engine.storefiles import copied
from pdudaemon.errors import ConfigError, StoreError
from pdudaemon.logs import LineFormatter, LogWriter
from pdudaemon.power import Action
from pdudaemon.server import access, issued
from pdudaemon.service import Service, SignalPipe, permitted, tell_faults
from pdudaemon.settings import near

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
    if (options.output or options.keep_powerman) and not options.import_:
        parser.error("--output and --keep-powerman need --import")
    if options.online and not options.check:
        parser.error("--online needs --check")
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
        return _serve(conf, _store_path(conf, options.dbfile), options)
    except (ConfigError, StoreError) as error:
        for line in (*str(error).splitlines(), *getattr(error, "warnings", ())):
            print(f"pdudaemon: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # of what is not a daemon, which minds its signals itself
        return 128 + signal.SIGINT
    except BrokenPipeError:  # who reads what we print, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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


def _token(conf: Config, options: argparse.Namespace) -> int:
    secret_file = _secret_file(conf)
    for role in options.role:
        if role not in conf.roles:
            raise ConfigError(f"{conf.path}: there is no role {role!r}{near(role, conf.roles)}")
    claims = access.claims(options.days, options.name, options.role)
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
    parser.add_argument("--online", action="store_true", help="with --check: ask PDUs and sites, too; switches nothing")
    parser.add_argument("--check-start", action="store_true", help="check only what would prevent a start, and exit")
    parser.add_argument("--health", action="store_true", help="ask the daemon of it how it is, and exit")
    parser.add_argument(
        "--unfinished", action="store_true", help="print the requests on record that must switch on yet, and exit"
    )
    parser.add_argument(
        "--list-drivers",
        nargs="*",
        metavar="WORD",
        help="print the drivers, the settings of one, or those for a maker or model",
    )
    parser.add_argument(
        "--list-devices", action="store_true", help="print the USB devices found here, with the settings for them"
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the configuration, for editors")
    parser.add_argument(
        "--print-file", nargs="?", const="", metavar="NAME", help="print a file that goes with it, or their names"
    )
    probe = parser.add_argument_group("new devices")
    probe.add_argument(
        "--probe",
        nargs="+",
        metavar="ADDRESS",
        help="print the configuration of the PDUs found at addresses, ranges or networks; switches nothing",
    )
    probe.add_argument(
        "--community",
        action="append",
        default=[],
        metavar="WORD",
        help=f"SNMP community for reading, or @FILE that holds it ({probing.READ_COMMUNITY})",
    )
    other = parser.add_argument_group("from another program")
    other.add_argument(
        "--import",
        dest="import_",
        metavar="FILE",
        help="print the configuration that one of powerman amounts to; what does not fit, on standard error",
    )
    other.add_argument("--output", metavar="FILE", help="with --import: write it to a new file")
    other.add_argument("--keep-powerman", action="store_true", help="with --import: leave all devices to powerman")
    token = parser.add_argument_group("tokens")
    token.add_argument("--token", action="store_true", help="print a new token for clients and exit")
    token.add_argument("--tokens", action="store_true", help="print the tokens made so far that are still valid")
    token.add_argument("--days", type=_days, default=30, help="how long it is valid (%(default)s)")
    token.add_argument("--name", default="", type=_name, help="whose it is, for the log")
    token.add_argument(
        "--role", action="append", default=[], metavar="ROLE", help="what it is good for; without one, everything"
    )
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
