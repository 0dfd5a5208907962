# SPDX-License-Identifier: MIT
"""Ubiquiti mFi power strips by ssh: mPower (3 outlets), mPower PRO for Europe (6) and for America (8).

Source: the files below ``/proc/power`` as several public programs are known to use them.
Tested: against a fake ssh, and a real sshd that speaks old algorithms only, with a fake device behind it.
Quirks: power, voltage and current are told for each outlet. The device has an old dropbear, so what old ssh servers
need is allowed. With ``verify_hostkey`` its key must be known to the daemon's user (``ssh-keyscan``), or stand in the
file ``known_hosts``.

    "192.0.2.66": {"driver": "ubntmfi6port", "username": "ubnt", "password": "secret", "verify_hostkey": false}
"""

from __future__ import annotations

import logging

from pdudaemon.drivers.driver import Numbered, PDUDriver, hook
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import OutletReading, quantity
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, text
from pdudaemon.transports import ssh
from pdudaemon.transports.command import Output

log = logging.getLogger("pdud.ubiquiti")

_FILES = _RELAY, _WATTS, _VOLTS, _AMPS = "relay", "active_pwr", "v_rms", "i_rms"
_VALUES = {"on": "1", "off": "0"}
_STATES = {"1": State.ON, "0": State.OFF}


class UbiquitiMFi(PDUDriver):
    """The row of a model is its number of outlets."""

    models = {"ubntmfi3port": 3, "ubntmfi6port": 6, "ubntmfi8port": 8}
    ports = Numbered(lambda row: row)

    sshport = tcp_port(22, "the ssh server")
    username = Setting(text, "ubnt", "user to log in as")
    password = Setting(text, "ubnt", "password of that user, where no key is accepted", secret=True)
    sshkey = Setting(text, "", "file with the private key (else those of the daemon's user)")
    verify_hostkey = Setting(boolean, True, "refuse a host key that is not known, instead of warning")
    known_hosts = Setting(text, "", "file with the known host keys (else that of the daemon's user)")

    @hook
    def lacks(self) -> str:
        return ssh.missing()

    def port_interaction(self, command: str, port_number: int) -> None:
        self._run(f"sh -c 'echo {_VALUES[command]} > /proc/power/relay{port_number:d}'")
        self.confirm(port_number, State(command), within=3)

    def port_status(self, port_number: int) -> State:
        remote = f"cat /proc/power/relay{port_number:d}"
        said = self._run(remote).last_line
        if said[:1] not in _STATES:
            raise TransientError(f"{self.hostname} answered {said[:40]!r} to {remote!r}")
        return _STATES[said[:1]]

    def read_outlets(self) -> list[OutletReading]:
        outlets = range(1, self.row + 1)
        files = " ".join(f"{kind}{outlet}" for kind in _FILES for outlet in outlets)
        loop = f"for file in {files}; do echo $file $(cat /proc/power/$file 2>/dev/null); done"
        lines = [line.split() for line in self._run(loop).text.splitlines()]
        said = {words[0]: words[1] for words in lines if len(words) == 2}
        if not any(file.startswith(_RELAY) for file in said):
            raise TransientError(f"{self.hostname} does not tell the state of any outlet")
        return [
            OutletReading(
                str(outlet),
                state=_STATES.get(said.get(f"{_RELAY}{outlet}", "")[:1], State.UNKNOWN),
                watts=quantity(said.get(f"{_WATTS}{outlet}")),
                volts=quantity(said.get(f"{_VOLTS}{outlet}")),
                amps=quantity(said.get(f"{_AMPS}{outlet}")),
            )
            for outlet in outlets
        ]

    def _run(self, remote: str) -> Output:
        """Run a command on the device. Raises: PermanentError if it fails."""
        if not self.verify_hostkey:
            log.warning("%s: the host key is not checked (verify_hostkey)", self.hostname)
        login = ssh.Login(
            host=self.hostname,
            port=self.sshport,
            username=self.username,
            password=self.password,
            key=self.sshkey,
            host_keys="yes" if self.verify_hostkey else "no",
            known_hosts=self.known_hosts,
            old_algorithms=True,
        )
        output = ssh.run(login, remote, self.deadline, hold=self.lock_fd)
        if output.status != 0:
            why = f": {output.last_line}" if output.last_line else ""
            raise PermanentError(f"{remote!r} on {self.hostname} exited with {output.status}{why}")
        return output
