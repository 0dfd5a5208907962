# SPDX-License-Identifier: MIT
"""Importing this module registers every driver; `find` tells which class drives what a configuration names.

Built-in drivers are the modules beside this one. Others come in from installed packages through the entry-point group
``pdudaemon.driver``, the entry's name being the value of ``driver``; such an entry is preferred to a built-in driver.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterator

from pdudaemon import drivers
from pdudaemon.drivers.driver import PDUDriver, registered
from pdudaemon.settings import near

for _module in pkgutil.iter_modules(drivers.__path__, f"{drivers.__name__}."):
    if _module.name != __name__:
        importlib.import_module(_module.name)


def names() -> list[str]:
    """Return every driver name that a configuration can use here, sorted."""
    return sorted({*registered, *_plugins()})


@functools.cache
def find(name: str) -> type[PDUDriver]:
    """Return the class for a configuration's ``driver``.

    Raises: ValueError, saying why there is none.
    """
    entries = _plugins().get(name, [])
    if len(entries) > 1:
        packages = ", ".join(sorted(entry.value for entry in entries))
        raise ValueError(f"driver {name!r} is offered by more than one installed package: {packages}")
    for entry in entries:
        return _loaded(entry)
    if name in registered:
        return registered[name]
    for taker in _subclasses(PDUDriver):
        if taker.accepts(name):
            return taker
    raise ValueError(f"there is no driver {name!r}{near(name, names())}")


@functools.cache
def _plugins() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Return the installed entries by name; one that is found twice on the path, unchanged, counts once."""
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry in importlib.metadata.entry_points(group="pdudaemon.driver"):
        same = found.setdefault(entry.name, [])
        if all(entry.value != other.value for other in same):
            same.append(entry)
    return found


def _loaded(entry: importlib.metadata.EntryPoint) -> type[PDUDriver]:
    try:
        driver = entry.load()
    except Exception as error:  # an installed package's own code: whatever it raises is the fault of that PDU alone
        raise ValueError(f"driver {entry.name!r} cannot be loaded from {entry.value}: {error!r}") from error
    if not (isinstance(driver, type) and issubclass(driver, PDUDriver) and driver.accepts(entry.name)):
        raise ValueError(f"{entry.value} is no PDUDriver that accepts {entry.name!r}")
    return driver


def _subclasses(base: type[PDUDriver]) -> Iterator[type[PDUDriver]]:
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
