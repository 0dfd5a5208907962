# SPDX-License-Identifier: MIT
"""Numato Lab relay modules by Ethernet or WiFi: telnet, and the commands of those by USB.

Source: as `pdudaemon.drivers.numato`.
Tested: against a fake only; from documentation, untried on a module.
Quirks: there is one session at a time, and no logout. Whether a command is echoed is not known, so it may be.

    "hall": {"driver": "numato_eth-16", "ip": "192.0.2.118", "password": "secret"}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pdudaemon.drivers.network import NetworkDevice, login, tcp_port
from pdudaemon.drivers.numato import DIGITS, LETTERS, Ask, Module
from pdudaemon.transports import telnet
from pdudaemon.transports.dialogue import Login
from pdudaemon.transports.greeting import AT_LINE, GREETINGS
from pdudaemon.transports.tcp import in_words


class NumatoEthernet(NetworkDevice, Module):
    """A module by Ethernet or WiFi."""

    models = {
        "numato_eth-8": tuple(DIGITS[:8]),
        "numato_eth-16": tuple(DIGITS),
        "numato_eth-32": tuple(LETTERS[:32]),
    }

    port = tcp_port(23, "telnet")
    username, password = login("admin", "admin", "telnet")

    @property
    def peer(self) -> str:
        return in_words(self.host, self.port)

    @contextlib.contextmanager
    def session(self) -> Iterator[Ask]:
        prompt = rf"{AT_LINE}>"
        login = Login(name=r"User Name:", password=r"Password:", ready=prompt, strangers=GREETINGS)
        with (
            telnet.session(self.host, self.port, self.deadline) as console,
            console.logged_in(login, self.username, self.password, lambda: None),  # who goes has left
        ):

            def ask(command: str) -> str:
                console.line(command, repr(command))
                return console.expect(repr(command), {"prompt": prompt}).before.strip().removeprefix(command).strip()

            yield ask
