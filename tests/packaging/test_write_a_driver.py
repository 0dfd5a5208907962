# SPDX-License-Identifier: MIT
"""The page "Write a driver", followed to the letter by a newcomer: its code runs against devices with outlets."""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Callable

from tests.devices.base import snmp
from tests.devices.base.device import Device
from tests.support.docs import ROOT
from tests.support.process import Daemon, install_plugin

PAGE = (ROOT / "share" / "write-a-driver.md").read_text()


def block(kind: str) -> str:
    """Return the code block of the page that is marked with a word."""
    found = re.search(rf"```\w+ {kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found, kind
    return found[1]


def install(daemon: Daemon) -> None:
    """Install both modules with the entry points of the page."""
    entries = tomllib.loads(block("entry"))["project"]["entry-points"]["pdudaemon.driver"]
    for module, kind in (("mybrand", "row"), ("relaybox", "class")):
        own = {word: value.partition(":")[2] for word, value in entries.items() if value.startswith(f"{module}:")}
        assert own
        install_plugin(daemon.plugins, module, block(kind), own)


class RelayBox(Device):
    """The device that the page describes."""

    def converse(self, connection: socket.socket) -> None:
        logged_in = False
        for line in connection.makefile():
            words = line.split()
            if words == ["LOGIN", "secret"]:
                logged_in, answer = True, "OK"
            elif not logged_in:
                answer = "ERR"
            elif words[0] == "SET":
                self.outlets[words[1]] = "on" if words[2] == "1" else "off"
                answer = "OK"
            else:
                answer = "1" if self.outlets.get(words[1]) == "on" else "0"
            connection.sendall(f"{answer}\n".encode())


def test_the_class_of_the_page_drives_its_device(daemon: Callable[..., Daemon]) -> None:
    with RelayBox() as box:
        settings = {"driver": "relaybox-4", "ip": "127.0.0.1", "tcpport": box.port, "password": "secret"}
        started = daemon(
            {"bench": settings, "locked": {**settings, "password": "guess"}, "typo": {**settings, "tcport": 1}},
            start=False,
        )
        install(started)
        assert "tcpport" in started.run("--list-drivers", "relaybox-4").stdout
        assert "did you mean 'tcpport'?" in started.run("--check").stdout
        assert started.run("--drive", "--hostname=bench", "--port=3", "--request=on").returncode == 0
        assert box.outlets == {"3": "on"}
        started.start()
        assert started.tcp("bench 03 status") == "on\n"
        assert started.tcp("bench 3 off") == "ack\n"
        assert box.outlets == {"3": "off"}
        box.outlets["3"] = "on"
        assert started.tcp("bench 3 status") == "on\n"
        assert started.tcp("bench 5 on") == "nack: bench: '5' is not a port: this PDU has 1 to 4\n"
        assert started.tcp("locked 1 on") == "nack: locked: login refused\n"
        assert "secret" not in started.log_text()


MYBRAND = "1.3.6.1.4.1.99999.1.2.1"
TABLE = snmp.Table(f"{MYBRAND}.4.{{n}}", status=f"{MYBRAND}.5.{{n}}", states={7: "on", 8: "off"}, pending=9)


def test_the_row_of_the_page_drives_an_agent(daemon: Callable[..., Daemon]) -> None:
    with snmp.Agent(table=TABLE, lag=1) as agent:
        settings = {"driver": "mybrand-8", "community": snmp.COMMUNITY, "snmpport": agent.port}
        started = daemon({"127.0.0.1": settings}, start=False)
        install(started)
        started.start()
        assert started.tcp("127.0.0.1 8 on") == "ack\n"
        assert agent.outlets["8"] == "on"
        assert started.tcp("127.0.0.1 08 status") == "on\n"
        assert started.tcp("127.0.0.1 8 off") == "ack\n"
        assert agent.outlets["8"] == "off"
        assert started.tcp("127.0.0.1 8 status") == "off\n"
        assert started.tcp("127.0.0.1 9 on").startswith("nack: 127.0.0.1: '9' is not a port")
