# SPDX-License-Identifier: MIT
"""What a driver class declares, read when it is defined: its words, its hooks, and whether all of it can work.

A mistake fails there, with a message that says what to write instead, so that it does not wait for the first request.
A class written for the existing daemon declares nothing of ours, and its attributes are its own: see `legacy`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from pdudaemon.drivers import index
from pdudaemon.drivers.options import PDUOptions
from pdudaemon.drivers.ports import Ports
from pdudaemon.settings import Setting, declared, read

P = ParamSpec("P")
R = TypeVar("R")

registered: dict[str, type[Any]] = {}
"""Configuration word -> class, filled as classes are defined: those of modules that were not imported are not in it."""

_legacy: set[type] = set()
_HOOKS = (
    "canonical_port",
    "faults",
    "reads_state",
    "reads_outlets",
    "restarts",
    "shuts_down",
    "pool",
    "converses",
    "lacks",
)
# attributes of every driver
_NOT_SETTINGS = (
    "settings",
    "deadline",
    "lock_fd",
    "last_told",
    "models",
    "usb_ids",
    "usb_chips",
    "defaults",
    "stable_names",
)
_BASE = (f"{__package__}.driver", "builtins")  # where `PDUDriver` is defined, and object


class hook(Generic[P, R]):
    """A method that is asked before there is a device: ``self`` has the settings and the row, and nothing else.

    It takes one argument more than it has, of a class and of an instance: the settings as they stand in the file, by
    which it is then asked. That is how class methods of plugins, which have them, call the hook of their base.
    """

    def __init__(self, method: Callable[Concatenate[Any, P], R]) -> None:
        self._method: Callable[..., R] = method
        self._arguments = len(inspect.signature(method).parameters) - 1
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[..., R]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: Any) -> Callable[..., R]:
        def asked(*arguments: Any) -> R:
            if len(arguments) == self._arguments:
                return self._method(instance, *arguments)
            *others, settings = arguments
            return self._method(owner.configured(settings), *others)

        return asked


def define(driver: type[Any]) -> None:
    """Take the declarations of a class over. Raises: TypeError for what cannot work."""
    if mistake := _mistake(driver):
        raise TypeError(f"{driver.__name__}: {mistake}")
    for word in _words(driver):
        module = f"{__package__}.{index.DRIVERS.get(word, '')}"
        if word in index.DRIVERS and driver.__module__ != module:
            importlib.import_module(module)
        if word in registered:
            raise TypeError(f"driver {word!r} is defined by both {registered[word].__name__} and {driver.__name__}")
        registered[word] = driver
    if not _declares_ours(driver):
        _legacy.add(driver)


def legacy(driver: type[Any]) -> bool:
    """Whether a class was written for the existing daemon: neither it nor a base of it declares anything of ours.

    Ours are ``models``, settings, ``ports`` and ``canonical_port``.
    """
    return driver in _legacy


def _declares_ours(driver: type[Any]) -> bool:
    return _has_ours(driver) or any(base in registered.values() for base in driver.__mro__)


def _has_ours(driver: type[Any]) -> bool:
    declares_ports = any(isinstance(vars(base).get("ports"), Ports) for base in _bases(driver))
    return bool(declared(driver)) or declares_ports or _defines(driver, "canonical_port")


def _bases(driver: type[Any]) -> Iterable[type[Any]]:
    return (base for base in driver.__mro__ if base.__module__ not in _BASE)


def _defines(driver: type[Any], name: str) -> bool:
    """Whether a class, or a base of it before `PDUDriver`, has something of its own by a name."""
    return any(name in vars(base) for base in _bases(driver))


def _words(driver: type[Any]) -> Iterable[str]:
    """Return the configuration words that a class brings; an attribute of that name may be a stranger's own."""
    return () if _decides_alone(driver) else vars(driver).get("models", ())


def _decides_alone(driver: type[Any]) -> bool:
    """Whether a third-party class says what it accepts and nothing else of ours: its attributes are its own."""
    ours = driver.__module__.startswith(f"{__package__}.") or _has_ours(driver)
    return _defines(driver, "accepts") and not ours


def _mistake(driver: type[Any]) -> str:
    """Return what cannot work of the declarations of a class, in words; empty if nothing."""
    for name in declared(driver):
        if name in declared(PDUOptions):
            return f"the setting {name!r} hides the option of that name, which every PDU has: give it another name"
        if name in _NOT_SETTINGS or any(_acts(vars(base).get(name)) for base in driver.__mro__):
            return f"{name!r} is a setting and would hide what drivers have by that name: give it another name"
    if _decides_alone(driver):
        return ""
    own = vars(driver)
    if "model" in own and "models" not in own and isinstance(own["model"], Mapping):
        return "`model` means nothing; did you mean `models`?"
    if not isinstance(driver.models, Mapping) or not all(isinstance(word, str) and word for word in driver.models):
        return f"`models` is {driver.models!r}; it must be a dict, of each driver name to what is different about it"
    for name in ("usb_ids", "usb_chips"):
        if not isinstance(getattr(driver, name), list | tuple):
            return f"`{name}` is {getattr(driver, name)!r}; it must be a tuple of texts"
    if not isinstance(driver.defaults, Mapping):
        return f"`defaults` is {driver.defaults!r}; it must be a dict, of options of every PDU to values"
    wrong = read(PDUOptions, {"driver": "any", **driver.defaults})[1]
    wrong |= {name: "is no option of every PDU" for name in driver.defaults if name not in declared(PDUOptions)}
    if wrong:
        return "; ".join(f"`defaults`: {name}: {fault}" for name, fault in wrong.items())
    return _mistake_of_hooks(driver) if driver.models or _declares_ours(driver) else ""


def _mistake_of_hooks(driver: type[Any]) -> str:
    for name in _HOOKS:
        if inspect.isfunction(vars(driver).get(name)):
            return f"`{name}` is asked before there is a device: write @hook above it"
    if isinstance(driver.ports, Ports):
        return driver.ports.mistake(driver.models)
    decides = isinstance(driver.ports, Setting) or _defines(driver, "canonical_port")
    return "" if decides else f"`ports` is {driver.ports!r}; it must be Numbered(...) or Named(...)"


def _acts(value: object) -> bool:
    return callable(value) or isinstance(value, classmethod | staticmethod | property | hook)
