# SPDX-License-Identifier: MIT
"""Which of powerman's devices are for which drivers of ours, and what a line ``device`` says of their settings.

`KINDS` is by the name of the specification, as powerman's own device files have it. What is not there, or is reached
in a way that the driver does not know (a serial line, a program that nobody here knows), stays powerman's to switch.

Logins are a part of powerman's device files, and not of what is read here: see `Kind.login`.

Source: powerman.conf(5), redfishpower(8), httppower(8), ipmipower(8), freeipmi.conf(5); `share/drivers.md`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pdudaemon.config.powermanfile import Device
from pdudaemon.drivers import strategies

HOST_PORT = re.compile(r"\[?(?P<host>[^\s/\]]+?)\]?(?::(?P<port>[0-9]{1,5}))?")
_FREEIPMI = Path("/etc/freeipmi/freeipmi.conf")
_TELNET = 23


class Taken(NamedTuple):
    """What a device amounts to. ``each``: every plug is a device of its own, and its name the address; its only outlet
    is ``port``, and if ``shared`` it is one of several that are the same device.

    ``named``: the name of the PDU is its address. ``notes`` is what is to be told, for people.
    """

    settings: dict[str, Any]
    each: bool = False
    port: str = "1"
    shared: bool = False
    named: str = ""
    notes: tuple[str, ...] = ()


class Kind(NamedTuple):
    """A kind of device: the driver, how its settings are found, and what its login is, if that is not told."""

    driver: str
    found: Callable[[Device, str], Taken | None]
    login: str = "user name and password are those usual for {driver}: powerman's are in its device file"


def taken(device: Device) -> Taken | str:
    """Return what a device is for us, or why none of our drivers is for it."""
    kind = KINDS.get(device.kind)
    if kind is None or kind.driver not in strategies.names():
        instead = INSTEAD.get(device.kind, "")
        return f"no driver of ours is known for {device.kind!r}" + (f"; {instead}" if instead else "")
    found = kind.found(device, kind.driver)
    if found is None:
        return f"{kind.driver} does not know the way to it, {device.where!r}"
    return found._replace(notes=(*found.notes, kind.login.format(driver=kind.driver))) if kind.login else found


def _address(device: Device) -> tuple[str, int] | None:
    """Return the host and the port that a device is at, 0 for none; None: it is not reached by TCP."""
    match = None if device.command or device.where.startswith("/") else HOST_PORT.fullmatch(device.where)
    return None if match is None else (match["host"], int(match["port"] or 0))


def _console(device: Device, driver: str) -> Taken | None:
    """A command line by telnet."""
    if (address := _address(device)) is None:
        return None
    host, port = address
    return Taken(
        {
            "driver": driver,
            "ip": host,
            "transport": "telnet",
            **_port("port", port, _TELNET),
        }
    )


def _menus(device: Device, driver: str) -> Taken | None:
    """A driver of the existing daemon, whose address is the name of the PDU."""
    if (address := _address(device)) is None:
        return None
    host, port = address
    return Taken({"driver": driver, **_port("telnetport", port, _TELNET)}, named=host)


def _powerman(device: Device, driver: str) -> Taken | None:
    """Another powermand."""
    if (address := _address(device)) is None:
        return None
    host, port = address
    return Taken({"driver": driver, "ip": host, **_port("port", port, 10101)})


def _port(key: str, port: int, usual: int) -> dict[str, int]:
    return {} if port in (0, usual) else {key: port}


def _web(device: Device, driver: str) -> Taken | None:
    """What httppower speaks with."""
    options = _options(device.command, {"-u": "url", "--url": "url"})
    match = re.fullmatch(r"(https?)://([^/@\s]+)/?", options.get("url", ""))
    if match is None or not _runs(device, "httppower"):
        return None
    return Taken({"driver": driver, "ip": match[2], "protocol": match[1]})


def _agent(device: Device, driver: str) -> Taken | None:
    """What a program asks by SNMP."""
    words = _WORDS_OF_HOSTS | {"-c": "community", "--community": "community"}
    options = _options(device.command, words)
    address = HOST_PORT.fullmatch(options.pop("host", ""))
    if address is None or not _runs(device, "snmp"):
        return None
    port = int(address["port"] or 0)
    return Taken({"driver": driver, **_port("snmpport", port, 161), **options}, named=address["host"])


_WORDS_OF_HOSTS = {"-h": "host", "--hostname": "host", "--host": "host"}
_WORDS_OF_IPMIPOWER = _WORDS_OF_HOSTS | {
    "-u": "username",
    "--username": "username",
    "-p": "password",
    "--password": "password",
    "-k": "kg",
    "--k-g": "kg",
    "-I": "cipher",
    "--cipher-suite-id": "cipher",
    "-l": "privilege",
    "--privilege-level": "privilege",
    "-D": "protocol",
    "--driver-type": "protocol",
    "--config-file": "file",
}
_WORDS_OF_FREEIPMI = {
    "username": "username",
    "password": "password",
    "k_g": "kg",
    "cipher-suite-id": "cipher",
    "privilege-level": "privilege",
    "driver-type": "protocol",
}


def _ipmipower(device: Device, driver: str) -> Taken | None:
    """BMCs that ipmipower speaks with, each by itself."""
    if not _runs(device, "ipmipower"):
        return None
    options = _options(device.command, _WORDS_OF_IPMIPOWER)
    file = Path(options.pop("file", "") or _FREEIPMI)
    notes = []
    try:
        options = {**_freeipmi(file), **options}
    except OSError as error:
        if file != _FREEIPMI:
            notes.append(f"{file}: {error.strerror}")
    if "username" not in options:
        notes.append("neither its line nor FreeIPMI's configuration has a user name and a password: add them")
    if options.pop("protocol", "LAN_2_0").upper() != "LAN_2_0":
        notes.append("these are spoken with by IPMI 2.0, which nearly all BMCs know")
    if options.get("cipher", "auto") not in ("3", "17"):
        options.pop("cipher", None)
    settings: dict[str, Any] = {"driver": driver}
    for key in ("username", "password", "kg", "cipher"):
        if options.get(key):
            settings[key] = options[key]
    if options.get("privilege", "").lower() in ("user", "administrator", "admin"):
        settings["privilege"] = {"user": "user"}.get(options["privilege"].lower(), "administrator")
    return Taken(settings, each=True, notes=tuple(notes))


def _freeipmi(path: Path) -> dict[str, str]:
    """Return what a configuration of FreeIPMI says, in our words. Raises: OSError."""
    found = {}
    for line in path.read_text(errors="replace").splitlines():
        key, value, *_ = [*line.split(maxsplit=1), "", ""]
        if key.lower() in _WORDS_OF_FREEIPMI and value.strip():
            found[_WORDS_OF_FREEIPMI[key.lower()]] = value.strip()
    return found


def _redfishpower(device: Device, driver: str) -> Taken | None:
    """BMCs that redfishpower speaks with, each by itself."""
    return Taken({"driver": driver}, each=True, notes=(_CERTIFICATES,)) if _runs(device, "redfishpower") else None


def _windom(port: str) -> Callable[[Device, str], Taken | None]:
    """One of the nodes behind a BMC."""

    def found(device: Device, driver: str) -> Taken | None:
        one = _redfishpower(device, driver)
        return None if one is None else one._replace(port=port, shared=True)

    return found


def _switch(device: Device, driver: str) -> Taken | None:
    """A switch that RANCID logs in to, whose name comes last."""
    host = device.command.split()[-1:]
    if not _runs(device, "clogin") or not (address := HOST_PORT.fullmatch("".join(host))):
        return None
    return Taken({"driver": driver, "ip": address["host"]})


def _redfish(device: Device, driver: str) -> Taken | None:
    """A BMC that httppower speaks with."""
    found = _web(device, driver)
    return None if found is None else found._replace(notes=(_CERTIFICATES,))


_CERTIFICATES = "certificates are checked: give ca_file, fingerprint or insecure"
_ADD_LOGIN = "add username and password: powerman's are in its device file"
_ADD_COMMUNITY = "add the community that may write, if it is not the usual one"

KINDS: Mapping[str, Kind] = {
    **{word: Kind("apc7952", _menus) for word in ("apc", "apcnew", "apc7900v3")},
    "apc7900": Kind("apc7900", _menus),
    "apc7920": Kind("apc7920", _menus),
    "apcold": Kind("apc9210", _menus),
    "apc-snmp": Kind("apc_masterswitch", _agent, _ADD_COMMUNITY),
    "apc8941": Kind("apc_rpdu2", _agent, _ADD_COMMUNITY),
    "baytech-snmp": Kind("baytech_mrp", _agent, _ADD_COMMUNITY),
    "eaton-epdu-blue-switched": Kind("eaton_pulizzi", _agent, _ADD_COMMUNITY),
    "eaton-revelation-snmp": Kind("eaton_revelation", _agent, _ADD_COMMUNITY),
    "raritan-px4316": Kind("raritan_px1", _agent, _ADD_COMMUNITY),
    "raritan-px5523": Kind("raritan_px1", _agent, _ADD_COMMUNITY),
    "sentry_cdu": Kind("sentry_cli", _console),
    "wti": Kind("wti_cli", _console),
    **{
        word: Kind("baytech_cli", _console)
        for word in ("baytech", "baytech-rpc3-nc", "baytech-rpc18d-nc", "baytech-rpc22", "baytech-rpc28-nc")
    },
    **{word: Kind("cyclades_cli", _console) for word in ("pm8", "pm10", "pm20", "pm42")},
    **{word: Kind("dli_http", _web) for word in ("dli", "dli4")},
    "ipmipower": Kind("ipmi", _ipmipower, ""),
    "redfish-supermicro": Kind("redfish", _redfish, _ADD_LOGIN),
    "redfishpower-supermicro": Kind("redfish", _redfishpower, _ADD_LOGIN),
    "redfishpower-cray-r272z30": Kind("redfish", _redfishpower, _ADD_LOGIN),
    "redfishpower-cray-windom-node0": Kind("redfish", _windom("Node0"), _ADD_LOGIN),
    "redfishpower-cray-windom-node1": Kind("redfish", _windom("Node1"), _ADD_LOGIN),
    "rancid-cisco-poe": Kind("cisco_poe", _switch, "add username and password: RANCID's are in .cloginrc"),
    "powerman": Kind("powerman", _powerman, ""),
}

_A_BMC = "its machines may speak IPMI or Redfish as well, for the driver ipmi or redfish"
_A_SCRIPT = "a platform of a topology runs virsh"

INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("hpilo", "ilom", "lom", "openbmc", "ipmi", "ipmipowerserial", "ibmbladecenter"), _A_BMC),
    **dict.fromkeys(("kvm", "kvm-ssh"), _A_SCRIPT),
    **dict.fromkeys(
        ("apcpdu", "apcpdu3"), "apc_cli (command line) or apc7952 (menus) may be for it, or apc_rpdu2 (SNMP)"
    ),
}
"""What may do where a kind has no row."""


def _runs(device: Device, program: str) -> bool:
    """Whether a program called so is run, by itself or by another one (sudo); it may be a name of something as well."""
    first, *others = device.command.split() or [""]
    return any(program in Path(word).name for word in (first, *(word for word in others if word.startswith("/"))))


def _options(command: str, known: Mapping[str, str]) -> dict[str, str]:
    """Return the values of those options of a command that are known, in our words."""
    try:
        words = iter(shlex.split(command))
    except ValueError:
        return {}
    return dict(_values(words, known))


def _values(words: Iterator[str], known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals and name in known:
            yield known[name], value
        elif word in known:
            yield known[word], next(words, "")
        elif len(word) > 2 and word[:2] in known and not word.startswith("--"):  # -uNAME
            yield known[word[:2]], word[2:]
