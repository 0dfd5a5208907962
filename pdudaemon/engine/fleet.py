# SPDX-License-Identifier: MIT
"""`Fleet`: the runners of all PDUs, and what they share: a device where several PDUs are one, a pool where only some
may act at a time.

Made before the start; after that everything is called with the dispatcher's lock held.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote
from weakref import WeakValueDictionary

from pdudaemon.config.model import PDUConfig
from pdudaemon.engine.device import Device
from pdudaemon.engine.pool import Pool
from pdudaemon.engine.runner import PDURunner
from pdudaemon.errors import Busy, PDUDaemonError

log = logging.getLogger("pdud.dispatcher")


def _file_name(name: str) -> str:
    """Return the name of a file for any name, which has at most 255 bytes and is not that of a folder."""
    quoted = quote(name, safe="")
    if len(quoted) > 200:
        return f"{quoted[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def _device_name(pdu: PDUConfig) -> str:
    return pdu.options.lock or pdu.name


def device_path(pdu: PDUConfig, locks: Path) -> Path:
    """Return the lock file of the device that a PDU is."""
    return locks / _file_name(_device_name(pdu))


class Fleet:
    """``pdus`` and ``runners`` by name: those configured, and those not any more that have not ended what they have.

    A PDU that is disabled has no runner, and one that a reload disables is as before until it has ended what it has.
    ``runner`` makes one; ``locks`` is the folder for the lock files of the devices, None for none.
    """

    def __init__(
        self,
        pdus: Mapping[str, PDUConfig],
        locks: Path | None,
        runner: Callable[[PDUConfig, Device, Pool | None], PDURunner],
    ) -> None:
        self.pdus: dict[str, PDUConfig] = {}
        self.runners: dict[str, PDURunner] = {}
        self.closing = False  # the daemon stops: nothing new is for any PDU
        self.leaving: set[str] = set()  # those not configured any more, or disabled, but not let go yet
        self.devices: WeakValueDictionary[str, Device] = WeakValueDictionary()  # as long as a worker has to do with one
        self._users: Counter[str] = Counter()  # of the devices, by name
        self._pools: dict[tuple[str, int], Pool] = {}
        self._locks = locks
        self._runner = runner
        self._configured: Mapping[str, PDUConfig] = pdus
        self.change(pdus)

    def change(self, pdus: Mapping[str, PDUConfig]) -> None:
        """Have these PDUs from now on; one that has changed is another from its next action on."""
        self._configured = pdus
        self.leaving = {name for name in self.pdus if name not in pdus or pdus[name].driver is None}
        for name, pdu in pdus.items():
            if (pdu.driver is None and name in self.runners) or self.pdus.get(name) is pdu:
                continue
            former, self.pdus[name] = self.pdus.get(name), pdu
            if pdu.driver is None:
                continue
            self._users[_device_name(pdu)] += 1
            if former is not None:
                self._part(former)
            if name not in self.runners:
                self.runners[name] = self._runner(pdu, self._device(pdu), self._pool(pdu))
            elif former != pdu:
                self.runners[name].change(pdu, self._device(pdu), self._pool(pdu))
                log.info("%s: its configuration has changed", name)

    def check(self, name: str, stuck: type[PDUDaemonError] = Busy) -> None:
        """Raises: Busy if a PDU takes nothing now; the kind of error named by ``stuck`` if it is that."""
        runner = self.runners.get(name)
        if self.closing:
            raise Busy("the daemon is stopping")
        if runner is None:
            raise Busy(f"{name} is not configured any more")
        if runner.device.stuck:
            raise stuck(f"{name}: stuck: an action has not come back from the device")

    def let_go(self, name: str, load: int) -> None:
        """Part with one of those leaving, unless there is something left for it to do."""
        if load:
            return
        self.leaving.remove(name)
        runner = self.runners.pop(name, None)
        if runner is not None:
            runner.stop()
        self._part(self.pdus[name])
        if name in self._configured:
            self.pdus[name] = self._configured[name]
        else:
            del self.pdus[name]
            log.info("%s is not configured any more, and has gone", name)

    def state(self, name: str) -> str:
        """Return ``ready``, ``stuck``, ``leaving`` or ``disabled``."""
        if name not in self.runners:
            return "disabled"
        if self.runners[name].device.stuck:
            return "stuck"
        return "leaving" if name in self.leaving else "ready"

    def disabled(self, name: str) -> bool:
        """Whether a PDU is configured, and disabled."""
        return name in self.pdus and self.pdus[name].driver is None

    def stuck(self) -> list[str]:
        """Return the names of those of which an action does not come back."""
        return sorted(name for name, runner in self.runners.items() if runner.device.stuck)

    def sharing(self, device: Device) -> set[str]:
        """Return the names of those that are one device."""
        return {name for name, runner in self.runners.items() if runner.device is device}

    def _device(self, pdu: PDUConfig) -> Device:
        name = _device_name(pdu)
        device = self.devices.get(name)
        if device is None:
            device = self.devices[name] = Device(None if self._locks is None else device_path(pdu, self._locks))
        device.remember()
        return device

    def _part(self, pdu: PDUConfig) -> None:
        """Forget the device that a PDU had, unless it had none or others have it as well."""
        if pdu.driver is None:
            return
        name = _device_name(pdu)
        self._users[name] -= 1
        if not self._users[name]:
            del self._users[name]
            device = self.devices.get(name)
            if device is not None:
                device.forget()

    def _pool(self, pdu: PDUConfig) -> Pool | None:
        pool = pdu.traits.pool
        if pool is not None and pool not in self._pools:
            self._pools[pool] = Pool(pool[1])
        return None if pool is None else self._pools[pool]
