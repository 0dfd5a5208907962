# SPDX-License-Identifier: MIT
"""``pdudaemon --check --online``: whether each configured PDU answers, lets us in, and has the outlets that are used.

Nothing is switched. The device lock is taken as for every action, so that a daemon which runs meanwhile is not
disturbed; each PDU has a bounded time, and many are asked at a time.
"""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pdudaemon.config.credentials import placeholders
from pdudaemon.config.model import Config, PDUConfig
from pdudaemon.drivers import hooks
from pdudaemon.drivers.driver import PDUDriver, legacy
from pdudaemon.engine.device import Device
from pdudaemon.engine.fleet import device_path
from pdudaemon.engine.pool import Pool
from pdudaemon.errors import DeviceError, LoginRefused, PermanentError
from pdudaemon.parallel import in_parallel
from pdudaemon.settings import without
from pdudaemon.transports.deadline import Deadline, begin

_AT_A_TIME = 128
_SECONDS = 15.0  # for one PDU; the wait for its lock, beside a daemon, has as many
_SHOWN = 10  # outlets in one line

Used = Mapping[str, Sequence[str]]
"""The ports of a PDU that are used, each with the names of the nodes and aliases that do so."""


@dataclass(frozen=True)
class Finding:
    """What came of asking a PDU: whether all is well with it, and a line for people."""

    well: bool
    text: str


def check_online(conf: Config, locks: Path) -> int:
    """Print a line for each configured PDU that is not disabled; return 0 if all is well with them, else 1."""
    used: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for node in conf.nodes.values():
        for feed in () if node.fault else node.feeds:
            used[feed.pdu][feed.port].append(node.name)
    devices: dict[Path, list[PDUConfig]] = {}
    for pdu in conf.pdus.values():
        if pdu.driver is not None:
            devices.setdefault(device_path(pdu, locks), []).append(pdu)
    pools: dict[tuple[str, int], Pool] = {}
    for pdu in conf.pdus.values():
        if pdu.traits.pool is not None:
            pools.setdefault(pdu.traits.pool, Pool(pdu.traits.pool[1]))

    def asked(path: Path) -> list[Finding]:
        device = Device(path)
        try:
            return [_asked(pdu, used[pdu.name], device, pools) for pdu in devices[path]]
        finally:
            device.close()

    longest = max(map(len, devices.values()), default=0)
    bound = 2 * _SECONDS * longest * (1 + len(devices) // _AT_A_TIME)
    all_well = True
    for path, findings in in_parallel(asked, [*devices], _AT_A_TIME, bound):
        late = Finding(False, f"does not answer: nothing came back within {bound:g} s")
        for pdu, finding in zip(devices[path], findings or [late] * len(devices[path]), strict=True):
            print(f"{pdu.name}: {without(pdu.secrets, finding.text)}", flush=True)
            all_well = all_well and finding.well
    return 0 if all_well else 1


def _asked(pdu: PDUConfig, used: Used, device: Device, pools: Mapping[tuple[str, int], Pool]) -> Finding:
    """Ask a PDU, or say why it is not asked."""
    assert pdu.driver is not None, "a disabled PDU is not asked"
    if hidden := placeholders(pdu.settings):
        return Finding(True, f"not asked: only the service can see its {', '.join(sorted(hidden))}")
    try:
        lacks = hooks.lacks(pdu.driver, pdu.settings)
    except ValueError as error:
        return Finding(False, f"cannot be asked: {error}")
    if lacks:
        return Finding(False, f"cannot act: {lacks}")
    there = "" if lacks is None else "; what it acts through is there"
    if not (pdu.traits.reads_state or pdu.traits.reads_outlets):
        return Finding(True, f"not asked: nothing can be read from it{there}")
    place = nullcontext() if pdu.traits.pool is None else pools[pdu.traits.pool].place()
    try:
        with device.lock, place:
            lock = device.take(_SECONDS, threading.Event())
            try:
                return _read(pdu, pdu.driver, used, lock)
            finally:
                device.release(keep=False)
    except LoginRefused as error:
        return Finding(False, f"refuses the login: {error}")
    except PermanentError as error:
        return Finding(False, f"answers, but does not do: {error}")
    except DeviceError as error:
        return Finding(False, f"does not answer: {error}")


def _read(pdu: PDUConfig, kind: type[PDUDriver], used: Used, lock: int | None) -> Finding:
    """Read what there is. Raises: DeviceError, whatever the driver raises."""
    deadline = Deadline(min(_SECONDS, pdu.options.timeout))
    begin(deadline)
    driver = hooks.carried_out(lambda: kind(pdu.name, copy.deepcopy(dict(pdu.settings))))
    driver.deadline, driver.lock_fd = deadline, lock
    if pdu.traits.reads_outlets:
        told = hooks.carried_out(driver.read_outlets)
        known = {each.port for each in told} | {each.name for each in told if each.name}
        missing = [port for port in used if port not in known and f"{port}".removeprefix("name:") not in known]
        count = f", {len(told)} outlets"
    else:
        missing, count = [*used], ""
        if not used:
            return Finding(True, "not asked: it does not say which outlets it has, and none is used")
    if pdu.traits.reads_state:  # a port may have another name there, and be as good
        missing = [port for port in missing if not _is_there(driver, port)]
    if missing:
        shown = ", ".join(f"{port} ({', '.join(used[port])})" for port in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        return Finding(False, f"answers{count}, but has fewer outlets than are used: there is no {shown}{more}")
    return Finding(True, f"answers{_who(driver, kind)}{count}")


def _is_there(driver: PDUDriver, port: str) -> bool:
    """Whether the state of a port can be read. Raises: DeviceError, but for what says that there is no such port."""
    given = int(port) if port.isdecimal() and str(int(port)) == port else port
    try:
        hooks.carried_out(lambda: driver.handle("status", given))
    except LoginRefused:
        raise
    except PermanentError:
        return False
    return True


def _who(driver: PDUDriver, kind: type[PDUDriver]) -> str:
    """Return who a device says it is, if it does."""
    try:
        identity = None if legacy(kind) else hooks.carried_out(driver.identify)
    except DeviceError:
        return ""
    return f", {identity}" if identity and str(identity) else ""
