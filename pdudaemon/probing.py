# SPDX-License-Identifier: MIT
"""``pdudaemon --probe``: which driver fits the devices at some addresses, and their configuration, ready to be pasted.

The configuration goes to standard output, as the JSON that stands behind ``"pdus":``; what the devices are, their
outlets, and what does not answer, to standard error, in lines for people. Devices are only looked at: nothing is
switched, and no login is tried but the communities that were given, for reading.

Many addresses are asked at a time, each for a bounded time, so that a network with nothing in it is soon done with.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.drivers.snmp import found as snmp
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.errors import ConfigError, DeviceError, DeviceTimeout
from pdudaemon.parallel import in_parallel
from pdudaemon.ranges import expanded
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages

MOST = 1024
"""Most addresses that are asked in one go."""

READ_COMMUNITY = "public"  # as agents are delivered, for reading alone
_AT_A_TIME = 128
_SECONDS = 30.0  # for one address
_SECONDS_OF_A_DRIVER, _OF_A_PROTOCOL, _OF_A_SILENT_HOST = 5.0, 2.0, 1.0
_SHOWN = 20  # addresses in one line
_WITH_PORT = re.compile(r"(.+):([0-9]{1,5})")


@dataclass
class Answer:
    """What came of one address: the devices that were recognised there, or what it is instead."""

    found: list[Recognised] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def probe(words: Sequence[str], communities: Sequence[str]) -> int:
    """Ask the addresses that some words stand for and print what was found; return 0 if anything was.

    Raises: ConfigError.
    """
    addresses = expand(words)
    given = dict(map(_community, communities)) or {READ_COMMUNITY: READ_COMMUNITY}
    pdus: dict[str, dict[str, Any]] = {}
    silent: list[str] = []
    bound = _SECONDS * -(-len(addresses) // _AT_A_TIME)
    for address, answer in in_parallel(lambda address: ask(address, [*given]), addresses, _AT_A_TIME, bound):
        if answer is None or not (answer.found or answer.strangers or answer.faults):
            silent.append(address)
            continue
        for fault in answer.faults:
            _tell(f"{address}: {fault}")
        if answer.strangers and not answer.found:
            _tell(f"{address}: {'; '.join(answer.strangers)}")
        for number, found in enumerate(sorted(answer.found, key=lambda each: -len(each.outlets))):
            named = {key: given.get(said, said) for key, said in found.settings.items() if key == "community"}
            _add(pdus, address, replace(found, settings={**found.settings, **named}), also=number > 0)
    if silent:
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        _tell(f"no answer from {', '.join(silent[:_SHOWN])}{more}")
    print(json.dumps(pdus, indent=4))
    return 0 if pdus else 1


def expand(words: Sequence[str]) -> list[str]:
    """Return the addresses that words stand for, each once: a host, ``host:port``, a range, or a network.

    Raises: ConfigError, quoting what is wrong, also for more than `MOST`.
    """
    found: list[str] = []
    for word in words:
        try:
            found += itertools.islice(_expanded(word), MOST + 1)
        except ValueError as error:
            raise ConfigError(f"--probe: {error}") from None
        if len(found) > MOST:
            raise ConfigError(f"--probe: {word!r}: more than {MOST} addresses at a time")
    if not found:
        raise ConfigError(f"--probe: {' '.join(words)!r} names no address")
    return list(dict.fromkeys(found))


def _expanded(word: str) -> Iterator[str]:
    if "/" in word:
        network = ipaddress.ip_network(word, strict=False)
        if network.num_addresses > MOST + 2:
            raise ValueError(f"{word!r} has more than {MOST} addresses")
        return map(str, network.hosts())
    if _is_address(word):
        return iter([word.strip("[]")])
    host, port = word, ""
    if with_port := _WITH_PORT.fullmatch(word):
        host, port = with_port[1], f":{with_port[2]}"
        if not 0 < int(with_port[2]) < 65536:
            raise ValueError(f"{word!r}: {with_port[2]} is not a port")
    if _is_address(host):
        return iter([word])
    return (f"{name}{port}" for name in expanded(host))


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word[1:-1] if word.startswith("[") and word.endswith("]") else word)
    except ValueError:
        return False
    return True


def _community(word: str) -> tuple[str, str | dict[str, str]]:
    """Return the community that a word stands for, and how it is to stand in a configuration."""
    if not word.startswith("@"):
        return word, word
    try:
        community = Path(word[1:]).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text"
        raise ConfigError(f"--community: the file {word[1:]!r} cannot be read: {why}") from None
    return community, {"file": os.path.abspath(word[1:])}


def ask(address: str, communities: Sequence[str]) -> Answer:
    """Ask one address in all ways that there are. Any thread may call."""
    answer = Answer()
    try:
        pages = Pages(address, Deadline(_SECONDS))
        _ask_agent(answer, pages, [each for each in communities if each])
        if not (answer.found and pages.port):  # at that port there is an agent, and nothing else
            _ask_drivers(answer, address, pages)
    except DeviceError as error:
        answer.faults.append(str(error))
    return answer


def _ask_agent(answer: Answer, pages: Pages, communities: Sequence[str]) -> None:
    deadline = Deadline(_SECONDS)
    for community in communities:
        try:
            found = snmp.recognised(pages.host, pages.port, community, deadline)
        except DeviceTimeout:  # after it had introduced itself
            continue
        except DeviceError as error:  # it fits no driver, or is not SNMP, or the name is not known
            answer.strangers.append(str(error))
            return
        if found is not None:
            answer.found.append(_with_community(found, community))
            return


def _with_community(found: Recognised, community: str) -> Recognised:
    """Return a device with the community, unless the driver's own will do."""
    own = strategies.find(str(found.settings["driver"])).models[str(found.settings["driver"])].community
    usual = own and community in (own, READ_COMMUNITY)
    settings = found.settings if usual else {**found.settings, "community": community}
    return Recognised(settings, found.identity, found.outlets, found.wants)


def _ask_drivers(answer: Answer, address: str, pages: Pages) -> None:
    pages.get("/")
    for driver in recognisers():
        seconds = _OF_A_SILENT_HOST if pages.silent else _SECONDS_OF_A_DRIVER
        if pages.port and not pages.server:  # it is one of the protocols that are of one maker each
            seconds = min(seconds, _OF_A_PROTOCOL)
        deadline = Deadline(seconds)
        try:
            found = hooks.recognised(driver, address, deadline, pages)
        except ValueError as error:
            answer.faults.append(f"{driver.__module__}: {error}")
            continue
        if found is not None:
            answer.found.append(found)
    if pages.server:
        answer.strangers.append(f"no driver recognises its web server ({' '.join(pages.server.split())[:60]!r})")


def recognisers() -> list[type[PDUDriver]]:
    """Return the classes that can say of a device that it is one of theirs."""
    found: dict[type[PDUDriver], None] = {}
    for name in strategies.names():
        try:
            driver = strategies.find(name)
        except ValueError:  # of a package that is broken; whoever configures it is told
            continue
        if not issubclass(driver, SNMPDriver) and hooks.recognises(driver):
            found[driver] = None
    return [*found]


def _add(pdus: dict[str, dict[str, Any]], address: str, found: Recognised, also: bool) -> None:
    """Tell of a device, and add its configuration, unless there is one by that name."""
    name = _host(address)
    driver = found.settings["driver"]
    if also:
        _tell(f"{address}: can be driven by {driver} as well: {json.dumps(dict(found.settings))}")
        return
    if name in pdus:
        _tell(f"{address}: left out of the configuration, which has a {name} already")
    pdus.setdefault(name, dict(found.settings))
    count = f", {len(found.outlets)} outlets" if found.outlets else ""
    who = f", {found.identity}" if str(found.identity) else ""
    _tell(f"{address}: {driver}{who}{count}")
    for outlet in found.outlets:
        _tell(f"  {_line(outlet)}")
    if found.wants:
        _tell(f"  to be added: {found.wants}")


def _host(address: str) -> str:
    return address if _is_address(address) else address.rpartition(":")[0].strip("[]") or address


def _line(outlet: OutletReading) -> str:
    watts = f"{outlet.watts:g} W" if outlet.watts is not None else ""
    return "  ".join(filter(None, (outlet.port, outlet.name, str(outlet.state or ""), watts)))


def _tell(text: str) -> None:
    print(f"pdudaemon: {text}" if not text.startswith("  ") else text, file=sys.stderr, flush=True)
