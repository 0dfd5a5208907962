# SPDX-License-Identifier: MIT
"""`Handover`: listening sockets that the service manager has, so that no client is refused while there is no daemon.

Who connects during a restart, an upgrade or after a crash waits in the queue of such a socket for the next daemon. They
come as sd_listen_fds(3) says. There are two kinds: those of a unit ``pdudaemon.socket``, if there is one, and those
that the daemon before has given away to be kept (``FDSTORE`` in sd_notify(3)); the name of these tells what they are.

The configuration says where the daemon listens, and the sockets do not: one at an address where no listener is wanted
is shut, and that is told, so that clients are refused there and do not wait for ever.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from pdudaemon.config.options import ListenerOptions
from pdudaemon.environment import own

log = logging.getLogger("pdud.listener")

FIRST = 3  # the descriptor of the first that is handed over
MOST = 1024
OURS = "pdudaemon-"  # how the names of those begin that a daemon has given away


class Manager(Protocol):
    """What is asked of the service manager."""

    @property
    def present(self) -> bool:
        """Whether there is one."""

    def keep(self, name: str, descriptor: int) -> None:
        """Keep a socket."""

    def drop(self, name: str) -> None:
        """Keep it no more."""


class Nobody:
    """In place of a service manager, where there is none."""

    present = False

    def keep(self, name: str, descriptor: int) -> None:
        """Do nothing."""

    def drop(self, name: str) -> None:
        """Do nothing."""


class Handed(NamedTuple):
    """A socket that was handed over, and its name: that of a unit, if it is none of `OURS`."""

    name: str
    socket: socket.socket

    @property
    def of_unit(self) -> bool:
        """Whether it belongs to a unit, and not to a daemon before."""
        return not self.name.startswith(OURS)

    def __str__(self) -> str:
        where = self.socket.getsockname()
        # One without a file is spelled as systemd spells it.
        place = f"{where[0]} port {where[1]}" if isinstance(where, tuple) else os.fsdecode(where).replace("\0", "@")
        return f"{place} ({self.name or 'without a name'})"


class Handover:
    """The sockets that were handed over and nobody has taken, and those that are kept. Used by the main thread.

    ``leaving`` is set when the daemon stops: from then on those that it closes stay with the manager.
    """

    def __init__(self, manager: Manager | None = None, wanted: Iterable[ListenerOptions] = ()) -> None:
        """Take what is handed over; shut what is not at one of the addresses ``wanted``."""
        self.leaving = False
        self._manager = manager or Nobody()
        self._handed = [*_handed()]
        if not self._handed:
            return
        places = {where for options in wanted if (where := _place(options))}
        for handed in [*self._handed]:
            if not any(_is_at(handed, where) for where in places):
                self._handed.remove(handed)
                self._shut(handed)

    def take(self, where: Any) -> Handed | None:
        """Return the socket at an address, or at a path, that was handed over; None if there is none."""
        found = next((each for each in self._handed if _is_at(each, where)), None)
        if found is not None:
            self._handed.remove(found)
        return found

    def keep(self, where: Any, descriptor: int) -> str:
        """Have the manager keep a listening socket that is now at an address, or at a path; return the name of it."""
        name = name_of(where)
        if not isinstance(where, str) and where[1] == 0:
            return ""  # any free port: the next daemon need not have the same
        self._manager.keep(name, descriptor)
        return name

    def given_up(self, name: str) -> bool:
        """Note that the daemon closes the socket of that name; return whether the manager goes on to have it."""
        if name and not self.leaving:
            self._manager.drop(name)
        return bool(name) and self.leaving and self._manager.present

    def _shut(self, handed: Handed) -> None:
        why = "no listener is configured there"
        log.warning("nothing is served at %s, as the service manager hands it over: %s", str(handed), why)
        with suppress(OSError):
            handed.socket.shutdown(socket.SHUT_RDWR)
        if not handed.of_unit:
            self._manager.drop(handed.name)
        handed.socket.close()


def address_of(options: ListenerOptions) -> tuple[int, tuple[Any, ...]]:
    """Return family and address of a listener that has no path. Raises: OSError, ValueError."""
    found = socket.getaddrinfo(options.hostname or "0.0.0.0", options.port, type=socket.SOCK_STREAM)
    family, *_, where = min(found)  # IPv4 first
    return family, where


def name_of(where: Any) -> str:
    """Return the name under which a socket at an address, or at a path, is kept.

    That of a file has its inode: it was bound by another name, and somebody may have put another one in its place.
    """
    digest = hashlib.blake2s(repr(where).encode(), digest_size=8).hexdigest()
    return f"{OURS}{digest}-{os.lstat(where).st_ino}" if isinstance(where, str) else f"{OURS}{digest}"


def _place(options: ListenerOptions) -> Any:
    """Return where a listener is wanted; None if that cannot be told, of which it will complain itself."""
    if options.socket:
        return options.socket
    with suppress(OSError, ValueError):
        return address_of(options)[1]
    return None


def _is_at(handed: Handed, where: Any) -> bool:
    if isinstance(where, str) and not handed.of_unit:
        with suppress(OSError):
            return handed.name == name_of(where)
        return False
    return bool(handed.socket.getsockname() == where)


def _handed() -> Iterator[Handed]:
    """Yield the listening sockets that the manager has handed over to this very process."""
    count = own("LISTEN_FDS")
    if own("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return
    names = own("LISTEN_FDNAMES").split(":")
    for number in range(min(int(count), MOST)):
        name = names[number] if number < len(names) else ""
        try:
            os.set_inheritable(FIRST + number, False)
            sock = socket.socket(fileno=FIRST + number)
            listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            _not_taken(FIRST + number, name, str(error.strerror))
            continue
        if listens:
            yield Handed(name, sock)
        else:
            _not_taken(FIRST + number, name, "nobody can connect there")
            sock.close()


def _not_taken(descriptor: int, name: str, why: str) -> None:
    log.warning("descriptor %d, handed over as %r, is not taken: %s", descriptor, name, why)
