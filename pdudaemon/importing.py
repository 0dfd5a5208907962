# SPDX-License-Identifier: MIT
"""``pdudaemon --import FILE``: powerman's configuration, as one of ours.

Devices for which there is a driver of ours become PDUs of it. All others stay powerman's: for each of them there is a
PDU with the driver ``powerman``, which has powermand switch its nodes. Aliases become groups. The configuration goes to
standard output, or into a new file that nobody else may read, since there may be passwords in it. What of it needs a
hand, and what could not be taken over, goes to standard error, each with its line in powerman's file.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pdudaemon.config import powermanfile
from pdudaemon.config.faults import Faults, Location
from pdudaemon.config.jsonfile import Object
from pdudaemon.config.nodes import check_name
from pdudaemon.config.pdus import pdu as read_pdu
from pdudaemon.config.powermandevices import HOST_PORT, Taken, taken
from pdudaemon.config.powermanfile import Device, Nodes, Place, PowermanFile
from pdudaemon.drivers.powerman import Powerman
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.ranges import expanded, is_name

_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})([^0-9]*)", re.DOTALL)
_ANYWHERE = ("0.0.0.0", "*", "::")
_HERE = "127.0.0.1"


def translate(path: str, target: str, keep: bool) -> int:
    """Print a configuration, or write it to ``target`` if that is not empty; return 1 if something is left out.

    ``keep``: all devices stay powerman's. Raises: ConfigError.
    """
    whole = Translation(powermanfile.load(path), keep)
    text = json.dumps(whole.configuration(), indent=4) + "\n"
    if target:
        _write(target, text)
    else:
        print(text, end="")
    for line in (*whole.left_out, *whole.notes):
        print(f"pdudaemon: {line}", file=sys.stderr)
    counts = f"{len(whole.pdus)} PDUs, {len(whole.feeds)} nodes, {len(whole.groups)} groups"
    print(f"pdudaemon: {path}: {counts}; left out: {len(whole.left_out)}", file=sys.stderr)
    return 1 if whole.left_out else 0


def _write(target: str, text: str) -> None:
    try:
        with open(
            os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
            "w",
            encoding="utf-8",
        ) as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror}") from None


class Translation:
    """What a file of powerman's amounts to: ``pdus``, the feed of each node, ``groups``.

    ``left_out`` and ``notes`` are lines for people. ``keep``: all devices stay powerman's.
    """

    def __init__(self, file: PowermanFile, keep: bool) -> None:
        self.pdus: dict[str, dict[str, Any]] = {}
        self.feeds: dict[str, tuple[str, str]] = {}  # by node: PDU and port, in the order of the file
        self.groups: dict[str, str] = {}
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self._file = file
        self._keep = keep
        for text, place in file.other:
            self._note(place, f"{text}: has no counterpart here")
        for text, place in file.missing:
            self._note(place, f"include: {text}")
        for text, place in file.listen:
            self._note(
                place,
                f"listen {text}: where we listen is in daemon.hostname and daemon.port",
            )
        plugs = self._plugs()
        for name, device in file.devices.items():
            if name in plugs:
                self._add_device(device, plugs[name])
            else:
                self._note(device.place, f"{name}: no node is behind it")
        self._add_groups()

    def configuration(self) -> dict[str, Any]:
        """Return it as a configuration file has it."""
        nodes = {}
        for key, pdus, ports in _rows(self.feeds):
            nodes[key] = {"hostname": pdus, "port": ports}
        daemon = {"hostname": "127.0.0.1", "port": 16421, "listener": "both"}
        return {
            "daemon": daemon,
            "pdus": self.pdus,
            "nodes": nodes,
            "groups": self.groups,
        }

    def _leave_out(self, place: Place, text: str) -> None:
        self.left_out.append(f"{place}: not taken over: {text}")

    def _note(self, place: Place, text: str) -> None:
        self.notes.append(f"{place}: {text}")

    def _plugs(self) -> dict[str, dict[str, str]]:
        """Return, by device, the plug of each node."""
        found: dict[str, dict[str, str]] = {}
        seen: dict[str, Place] = {}
        for line in self._file.nodes:
            device = self._file.devices.get(line.device)
            if device is None:
                names = ",".join(line.names)
                self._leave_out(line.place, f"node {names[:60]}: there is no device {line.device!r}")
                continue
            there = found.setdefault(device.name, {})
            plugs = line.plugs or self._free_plugs(line, device, there)
            if len(plugs) != len(line.names):
                self._leave_out(line.place, f"{len(line.names)} nodes for {len(plugs)} plugs")
                continue
            for name, plug in zip(line.names, plugs, strict=True):
                if name in seen:
                    self._leave_out(line.place, f"there is a node {name!r} already: {seen[name]}")
                elif fault := check_name(name):
                    self._leave_out(line.place, f"{name[:60]!r}: {fault}")
                else:
                    seen[name] = line.place
                    there[name] = plug
        return {name: plugs for name, plugs in found.items() if plugs}

    def _free_plugs(self, line: Nodes, device: Device, used: Mapping[str, str]) -> list[str]:
        """Return the plugs of nodes that do not name theirs: the next ones, or those that are called as they are."""
        plugs = self._file.plugs.get(device.kind, [])
        free = [plug for plug in plugs if plug not in used.values()]
        return free[: len(line.names)] if plugs else line.names

    def _add_device(self, device: Device, plugs: Mapping[str, str]) -> None:
        found = "" if self._keep else taken(device)
        if isinstance(found, Taken):
            pdus, feeds = _ours(device, found, plugs)
            found = self._add(pdus, feeds) or found
        if isinstance(found, Taken):
            for note in found.notes:
                self._note(device.place, f"{device.name}: {note}")
            return
        if found:
            self._note(device.place, f"{device.name}: stays powerman's: {found}")
        host, port = self._server()
        settings = {
            "driver": "powerman",
            "ip": host,
            "port": port,
            "nodes": _folded([*plugs]),
        }
        if wrong := self._add({device.name: settings}, {node: (device.name, node) for node in plugs}):
            self._leave_out(device.place, f"{device.name}: {wrong}")

    def _add(self, pdus: Mapping[str, dict[str, Any]], feeds: Mapping[str, tuple[str, str]]) -> str:
        """Add PDUs and the nodes on them, or return what is wrong with that."""
        for name, settings in pdus.items():
            if name in self.pdus:
                return f"there is a PDU {name!r} already"
            faults = Faults()
            pdu = read_pdu(name, Object(settings.items()), Location("").within(name), faults)
            if pdu.fault or faults.warnings:
                return pdu.fault or faults.warnings[0]
            for hostname, port in feeds.values():
                try:
                    if hostname == name:
                        pdu.outlet(port)
                except RequestError as error:
                    return str(error)
        self.pdus |= pdus
        self.feeds |= feeds
        return ""

    def _server(self) -> tuple[str, int]:
        """Return where powermand listens, for who is on its machine."""
        for text, _ in self._file.listen:
            if (match := HOST_PORT.fullmatch(text)) and match["port"]:
                return _HERE if match["host"] in _ANYWHERE else match["host"], int(match["port"])
        return _HERE, Powerman.port.default

    def _add_groups(self) -> None:
        for name, members, place in self._file.aliases:
            unknown = [member for member in members if member not in self.feeds]
            if not is_name(name):
                self._leave_out(
                    place,
                    f"alias {name[:60]!r}: not a valid group name: letters, digits and _ . - only",
                )
            elif name in self.groups:
                self._leave_out(place, f"there is an alias {name!r} already")
            elif unknown:
                self._leave_out(place, f"alias {name}: there is no node {unknown[0]!r}")
            else:
                self.groups[name] = _folded(members)


def _ours(
    device: Device, found: Taken, plugs: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, str]]]:
    """Return the PDUs that a device is for a driver of ours, and the feed of each node."""
    if not found.each:
        name = found.named or device.name
        return {name: found.settings}, {node: (name, plug) for node, plug in plugs.items()}
    pdus = {}
    for node, plug in plugs.items():
        match = HOST_PORT.fullmatch(plug) if found.settings["driver"] == "ipmi" else None
        place = {"ip": plug} if match is None else {"ip": match["host"], **_given(port=match["port"])}
        pdus[node] = {**found.settings, **place, **({"lock": plug} if found.shared else {})}
    return pdus, {node: (node, found.port) for node in plugs}


def _given(port: str | None) -> dict[str, int]:
    return {"port": int(port)} if port else {}


def _rows(feeds: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, Any, Any]]:
    """Yield entries that stand for the nodes, of which those in a row are one: names, PDUs, ports."""

    def kind(item: tuple[str, tuple[str, str]]) -> tuple[str, str]:
        node, (pdu, _) = item
        match = _NUMBERED.fullmatch(node)
        return (match[1] if match else node), ("" if pdu == node else pdu)

    for _, items in itertools.groupby(feeds.items(), kind):
        row = dict(items)
        text = _folded([*row])
        if len(row) == 1 or "," in re.sub(r"\[[^]]*\]", "", text):  # one, or names that no range stands for
            for node, (pdu, port) in row.items():
                yield node, pdu, port
            continue
        pdus, ports = ([each[part] for each in row.values()] for part in (0, 1))
        yield (
            text,
            (text if pdus == [*row] else pdus[0]),
            (ports[0] if len({*ports}) == 1 else _listed(ports)),
        )


def _listed(values: list[str]) -> str | list[str]:
    """Return values as a range where that says the same."""
    text = _folded(values)
    return text if "[" in text and "," not in re.sub(r"\[[^]]*\]", "", text) else values


def _folded(names: Sequence[str]) -> str:
    """Return names as one text, in their order, with ranges where they are in a row."""
    parts: list[str] = []
    split = [(name, _NUMBERED.fullmatch(name)) for name in names]
    for key, items in itertools.groupby(split, lambda each: each[1] and (each[1][1], each[1][3])):
        each = [*items]
        numbers = [match[2] for _, match in each if match]
        text = f"{key[0]}[{_ranges(numbers)}]{key[1]}" if key and len(numbers) > 1 else ""
        try:
            good = bool(text) and expanded(text) == [name for name, _ in each]
        except ValueError:
            good = False
        parts += [text] if good else [name for name, _ in each]
    return ",".join(parts)


def _ranges(numbers: Sequence[str]) -> str:
    """Return numbers as ranges: ``01-03,07``."""
    found: list[list[str]] = []
    for number in numbers:
        last = found[-1][-1] if found else ""
        follows = last and int(number) == int(last) + 1 and (len(number) == len(last) or not last.startswith("0"))
        if follows and not (len(number) != len(last) and number.startswith("0")):
            found[-1].append(number)
        else:
            found.append([number])
    return ",".join(each[0] if len(each) == 1 else f"{each[0]}-{each[-1]}" for each in found)
