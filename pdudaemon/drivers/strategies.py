# SPDX-License-Identifier: MIT
"""`find` tells which class drives what a configuration names, and `names` what it may name.

Built-in drivers are the modules beside this one, and those in the packages beside it. A module registers its words when
it is imported, which takes all of them longer than the rest of a start: `pdudaemon.drivers.index` says which module has
a word, so that one is imported when it is named. A file that is put here is not in that table, and is imported at once.

Others come in from installed packages through the entry-point group ``pdudaemon.driver``, the entry's name being the
value of ``driver``; such an entry is preferred to a built-in driver. Whatever such a package does is a fault of the
PDUs that it should drive.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import logging
import os
import pkgutil
from collections.abc import Iterable, Iterator

from pdudaemon import drivers
from pdudaemon.drivers import hooks, index
from pdudaemon.drivers.driver import PDUDriver, registered
from pdudaemon.errors import described
from pdudaemon.settings import near

log = logging.getLogger("pdud.drivers")

_GROUP = "pdudaemon.driver"


def modules() -> list[str]:
    """Return the names of the modules that may have a driver, all that there are."""
    found = _below(drivers.__path__, f"{drivers.__name__}.")
    return [each for each in found if each != __name__]


def _below(folders: Iterable[str], prefix: str) -> Iterator[str]:
    for module in pkgutil.iter_modules(folders, prefix):
        yield module.name
        if module.ispkg:
            name = module.name.removeprefix(prefix)
            yield from _below([os.path.join(folder, name) for folder in folders], f"{module.name}.")


for _module in {*modules()} - {f"{drivers.__name__}.{each}" for each in (*index.DRIVERS.values(), *index.OTHERS)}:
    importlib.import_module(_module)


@functools.cache
def load() -> None:
    """Have every built-in driver registered."""
    for module in modules():
        importlib.import_module(module)


def names() -> list[str]:
    """Return every driver name that a configuration can use here, sorted."""
    return sorted({*registered, *index.DRIVERS, *_plugins()})


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
    if name not in registered:
        _import(name)
    if name in registered:
        return registered[name]
    failed = ""
    for taker in _subclasses(PDUDriver):
        try:
            if hooks.accepts(taker, name):
                return taker
        except ValueError as error:
            failed = f"; {taker.__module__}.{taker.__name__}: {error}"
    raise ValueError(f"there is no driver {name!r}{near(name, names())}{failed}")


def _import(name: str) -> None:
    """Import the module that has a driver; all of them for a name that none has, which a class may yet accept."""
    try:
        if name in index.DRIVERS:
            importlib.import_module(f"{drivers.__name__}.{index.DRIVERS[name]}")
        else:
            load()
    except Exception as error:  # the files are not those of this program any more, or not all of them
        raise ValueError(f"driver {name!r} cannot be loaded: {described(error)}") from error


@functools.cache
def _plugins() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Return the installed entries by name; one that is found twice on the path, unchanged, counts once."""
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry in _entries():
        same = found.setdefault(entry.name, [])
        if all(entry.value != other.value for other in same):
            same.append(entry)
    return found


def _entries() -> list[importlib.metadata.EntryPoint]:
    """Return all installed entries; where a package has a file of them that cannot be read, those of the others."""
    try:
        return [*importlib.metadata.entry_points(group=_GROUP)]
    except Exception:  # from the inside of the library, which is not made for such files: below it is said whose it is
        found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for package in importlib.metadata.distributions():
        name = "a package without a name"
        try:
            name = package.name or name
            found.setdefault(name, [*package.entry_points.select(group=_GROUP)])
        except Exception as error:
            where = getattr(package, "_path", "")  # not all kinds of packages have one
            log.warning("the entry points of %s cannot be read: %s%s", name, described(error), where and f" ({where})")
    return [entry for entries in found.values() for entry in entries]


def _loaded(entry: importlib.metadata.EntryPoint) -> type[PDUDriver]:
    try:
        driver = entry.load()
    except ModuleNotFoundError as error:
        missing = f"the Python module {error.name!r} is not installed"
        raise ValueError(f"driver {entry.name!r} cannot be loaded from {entry.value}: {missing}") from error
    except BaseException as error:  # an installed package's own code
        raise ValueError(f"driver {entry.name!r} cannot be loaded from {entry.value}: {described(error)}") from error
    if not (isinstance(driver, type) and issubclass(driver, PDUDriver) and hooks.accepts(driver, entry.name)):
        raise ValueError(f"{entry.value} is not a PDUDriver that accepts {entry.name!r}")
    return driver


def _subclasses(base: type[PDUDriver]) -> Iterator[type[PDUDriver]]:
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
