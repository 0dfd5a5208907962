# SPDX-License-Identifier: MIT
"""`CommandLine`: a device with a command line for people, which is reached by ssh or by telnet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pdudaemon.drivers.driver import hook
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.settings import Setting, boolean, choice, integer, text
from pdudaemon.transports import ssh, telnet
from pdudaemon.transports.dialogue import Dialogue, Login


class CommandLine(NetworkDevice):
    """The way in. A subclass declares ``username`` and ``password``, and what is said."""

    username: str
    password: str

    transport = Setting(choice("ssh", "telnet"), "ssh", "how the command line is reached")
    port = Setting(integer(0, 65535), 0, "TCP port of it, if it is not the usual one (0: 22 or 23)")
    sshkey = Setting(text, "", "file with the private key (else those of the daemon's user)")
    verify_hostkey = Setting(boolean, True, "refuse an ssh host key that is not known")
    known_hosts = Setting(text, "", "file with the known host keys (else that of the daemon's user)")
    old_algorithms = Setting(boolean, False, "take what old ssh servers have")

    @hook
    def lacks(self) -> str:
        return ssh.missing() if self.transport == "ssh" else ""

    @contextmanager
    def connected(
        self,
        login: Login,
        log_out: Callable[[Dialogue], None],
        account: tuple[str, str] | None = None,
        *,
        again: bool = False,
    ) -> Iterator[Dialogue]:
        """Log in, as the settings say or with another ``account``; yield at the prompt; log out in any case.

        ``login`` is what telnet asks; its prompt is that of ssh as well, where it may be asked ``again``.
        """
        username, password = account or (self.username, self.password)
        if self.transport == "telnet":
            with (
                telnet.session(self.host, self.port or 23, self.deadline) as console,
                console.logged_in(login, username, password, lambda: log_out(console)),
            ):
                yield console
            return
        there = ssh.Login(
            host=self.host,
            port=self.port or 22,
            username=username,
            password=password,
            key=self.sshkey,
            host_keys="yes" if self.verify_hostkey else "no",
            known_hosts=self.known_hosts,
            old_algorithms=self.old_algorithms,
        )
        ready = rf"{login.ready}|{login.name}" if again else login.ready
        with ssh.console(there, ready, self.deadline, hold=self.lock_fd) as console:
            if again and re.fullmatch(login.name, console.shown):
                with console.logged_in(login, username, password, lambda: log_out(console), asked=True):
                    yield console
                return
            try:
                yield console
            finally:
                console.leave(lambda: log_out(console))
