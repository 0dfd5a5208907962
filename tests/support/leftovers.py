# SPDX-License-Identifier: MIT
"""What a test leaves behind in its process, and others stumble over later, is an error of that test.

Fixtures of a whole file may well change something for as long as it lasts, so that there is judged when a file ends;
what is looked at after each test says which of them it was. Then it is put right as far as may be, so that one test
fails, and not all that follow.
"""

from __future__ import annotations

import contextlib
import gc
import locale
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from pdudaemon.drivers import declarations

_MANAGER = logging.root.manager
_SIGNALS = [*map(int, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2))]  # fmt: skip
_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_CORE)


class Kept(NamedTuple):
    """Something of the process: how it is looked at, and how it is put as it was."""

    name: str
    look: Callable[[], Any]
    put: Callable[[Any], object]


def _loggers() -> dict[str, tuple[int, bool, bool]]:
    """Return what is unlike a new logger's, of ours below the root. Libraries set that of their own when imported."""
    made = [each for name, each in _MANAGER.loggerDict.items() if name.startswith("pdud")]
    found = {
        each.name: (each.level, each.propagate, each.disabled) for each in made if isinstance(each, logging.Logger)
    }
    return {name: each for name, each in found.items() if each != (logging.NOTSET, True, False)}


def _put_loggers(before: dict[str, tuple[int, bool, bool]]) -> None:
    for name in {*before, *_loggers()}:
        logger = logging.getLogger(name)
        level, logger.propagate, logger.disabled = before.get(name, (logging.NOTSET, True, False))
        logger.setLevel(level)


def _stale() -> bool:
    """Whether a logger goes by what was so once: whoever sets a level by hand leaves that to those after him."""
    made = [logging.root, *(each for each in _MANAGER.loggerDict.values() if isinstance(each, logging.Logger))]
    return any(
        kept != (_MANAGER.disable < level and level >= each.getEffectiveLevel())
        for each in made
        for level, kept in each._cache.items()  # type: ignore[attr-defined]
    )


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "(deleted)"


def _put_environment(before: dict[bytes, bytes]) -> None:
    os.environb.clear()
    os.environb.update(before)


def _put_handlers(before: list[logging.Handler]) -> None:
    logging.root.handlers[:] = before


def _put_path(before: list[str]) -> None:
    sys.path[:] = before


def _put_signals(before: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, before, strict=True):
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _put_limits(before: list[tuple[int, int]]) -> None:
    for number, limits in zip(_LIMITS, before, strict=True):
        resource.setrlimit(number, limits)


def _put_hooks(before: tuple[Any, Any]) -> None:
    sys.excepthook, threading.excepthook = before


def _put_words(before: list[str]) -> None:
    for word in {*declarations.registered} - {*before}:
        del declarations.registered[word]


KEPT = (
    Kept("the level from which logging is disabled", lambda: _MANAGER.disable, logging.disable),
    Kept("the level of the root logger", lambda: logging.root.level, logging.root.setLevel),
    Kept("the handlers of the root logger", lambda: [*logging.root.handlers], _put_handlers),
    Kept("our loggers", _loggers, _put_loggers),
    Kept("loggers that go by an old level", _stale, lambda _: _MANAGER._clear_cache()),  # type: ignore[attr-defined]
    Kept("the environment", lambda: {**os.environ._data}, _put_environment),
    Kept("the working directory", _folder, os.chdir),
    Kept("sys.path", lambda: [*sys.path], _put_path),
    Kept("handlers of signals", lambda: [signal.getsignal(each) for each in _SIGNALS], _put_signals),
    Kept("blocked signals", lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()), lambda was: signal.pthread_sigmask(signal.SIG_SETMASK, was)),
    Kept("limits of the process", lambda: [resource.getrlimit(each) for each in _LIMITS], _put_limits),
    Kept("hooks for exceptions", lambda: (sys.excepthook, threading.excepthook), _put_hooks),
    Kept("the time-out of new sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
    Kept("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda was: locale.setlocale(locale.LC_ALL, was)),
    Kept("the words of drivers", lambda: [*declarations.registered], _put_words),
    Kept("whether garbage is collected", gc.isenabled, lambda was: gc.enable() if was else gc.disable()),
)  # fmt: skip


class Leftovers:
    """Compares what there is with what there was before the file, in one process."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None
        self._since: dict[str, str] = {}

    # Wrappers of the old kind: the pluggy of Debian 12 has no other.

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        if self._before is None:
            self._before = [each.look() for each in KEPT]
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        yield
        self._judge(item, nextitem is None or nextitem.path != item.path)

    def _judge(self, item: pytest.Item, last: bool) -> None:
        """Compare; at the end of a file, put things right and fail."""
        assert self._before is not None
        changed = {}
        for kept, before in zip(KEPT, self._before, strict=True):
            if (now := kept.look()) != before:
                changed[kept.name] = f"{_brief(before)}, now {_brief(now)}"
                self._since.setdefault(kept.name, item.name)
            else:
                self._since.pop(kept.name, None)
        if not last:
            return
        for kept, before in zip(KEPT, self._before, strict=True):
            if kept.name in changed:
                with contextlib.suppress(OSError, ValueError):
                    kept.put(before)
        since, self._before, self._since = self._since, None, {}
        if changed:
            pytest.fail(
                "\n".join(f"{since[name]} leaves {name} changed: {how}" for name, how in changed.items()), False
            )


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Leftovers())
