# SPDX-License-Identifier: MIT
"""The options of the command line, each with its line of ``--help``."""

from __future__ import annotations

import argparse

from pdudaemon import __version__, probing
from pdudaemon.config.options import LEVELS, PROTOCOLS
from pdudaemon.power import Action

DEFAULT_CONF = "/etc/pdudaemon/pdudaemon.conf"
DAYS = 30
MOST_DAYS = 36500

_ANSWERS = (
    *("check", "check_start", "drive", "health", "import_", "list_devices", "list_drivers", "print_file", "probe"),
    *("schema", "token", "tokens", "unfinished"),
)
_NEED = {
    "check": "online",
    "probe": "community",
    "import_": "output keep_powerman",
    "token": "days name role",
    "drive": "hostname port alias request wait delay retries retry_delay",
}


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(prog="pdudaemon", description="Queueing power control of PDUs.", allow_abbrev=False)
    made.add_argument("--version", action="version", version=f"pdudaemon {__version__}")
    made.add_argument("--conf", "-c", metavar="FILE", help=f"configuration ({DEFAULT_CONF})")
    made.add_argument(
        "--topology", metavar="FILE", help="OpenFlight Power's topology; without --conf it is all the configuration"
    )
    made.add_argument("--dbfile", "-d", metavar="FILE", help="the store, instead of the configuration's dbname")
    made.add_argument("--listener", choices=PROTOCOLS, help="protocol, instead of the configuration's")
    made.add_argument("--journal", "-j", action="store_true", help="log for the systemd journal, on standard error")
    made.add_argument("--logfile", metavar="FILE", help="log to a file instead of standard error")
    made.add_argument("--loglevel", choices=LEVELS, help="least level that is logged")
    made.add_argument("--check", action="store_true", help="check the configuration strictly and exit")
    made.add_argument("--online", action="store_true", help="with --check: ask PDUs and sites, too; switches nothing")
    made.add_argument("--check-start", action="store_true", help="check only what would prevent a start, and exit")
    made.add_argument("--health", action="store_true", help="ask the daemon of it how it is, and exit")
    made.add_argument(
        "--unfinished", action="store_true", help="print the requests on record that must switch on yet, and exit"
    )
    made.add_argument(
        "--list-drivers",
        nargs="*",
        metavar="WORD",
        help="print the drivers, the settings of one, or those for a maker or model",
    )
    made.add_argument(
        "--list-devices", action="store_true", help="print the USB devices found here, with the settings for them"
    )
    made.add_argument("--schema", action="store_true", help="print the JSON Schema of the configuration, for editors")
    made.add_argument(
        "--print-file", nargs="?", const="", metavar="NAME", help="print a file that goes with it, or their names"
    )
    probe = made.add_argument_group("new devices")
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
    other = made.add_argument_group("from another program")
    other.add_argument(
        "--import",
        dest="import_",
        metavar="FILE",
        help="print the configuration that one of powerman amounts to; what does not fit, on standard error",
    )
    other.add_argument("--output", metavar="FILE", help="with --import: write it to a new file")
    other.add_argument("--keep-powerman", action="store_true", help="with --import: leave all devices to powerman")
    token = made.add_argument_group("tokens")
    token.add_argument("--token", action="store_true", help="print a new token for clients and exit")
    token.add_argument("--tokens", action="store_true", help="print the tokens made so far that are still valid")
    token.add_argument("--days", type=_days, help=f"how long it is valid ({DAYS})")
    token.add_argument("--name", type=_name, help="whose it is, for the log")
    token.add_argument(
        "--role", action="append", default=[], metavar="ROLE", help="what it is good for; without one, everything"
    )
    drive = made.add_argument_group("without a daemon")
    drive.add_argument("--drive", action="store_true", help="carry out one request and exit")
    drive.add_argument("--hostname", help="name of the PDU in the configuration")
    drive.add_argument("--port", help="port of the PDU")
    drive.add_argument("--alias", help="alias in the configuration, instead of --hostname and --port")
    drive.add_argument("--request", metavar="|".join(Action), help="what to do")
    drive.add_argument("--wait", metavar="SECONDS", help="how long to wait for the result (as long as it takes)")
    drive.add_argument("--delay", metavar="SECONDS", help="before an on or off; between the halves of a reboot (5)")
    drive.add_argument("--retries", metavar="N", help="tries in all, instead of the configuration's")
    drive.add_argument("--retry-delay", metavar="SECONDS", help="between two tries, instead of the configuration's")
    return made


def serves(options: argparse.Namespace) -> bool:
    """Whether it is the daemon itself that the options ask for, and not one answer."""
    return not any(_given(options, each) for each in _ANSWERS)


def alone(options: argparse.Namespace) -> str:
    """Return what is wrong with options that mean something beside another one only, which is not there."""
    for other, these in _NEED.items():
        for each in these.split():
            if _given(options, each) and not _given(options, other):
                return f"{_spelled(each)} needs {_spelled(other)}"
    return ""


def _given(options: argparse.Namespace, name: str) -> bool:
    found = getattr(options, name)
    return found is not None and found is not False and found != []


def _spelled(name: str) -> str:
    return f"--{name.rstrip('_').replace('_', '-')}"


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {MOST_DAYS}")
    return int(text)


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > 100:
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is no name: at most 100 printable characters")
    return text
