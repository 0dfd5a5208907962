# SPDX-License-Identifier: MIT
"""BayLibre ACME: a cape with eight power probes on a BeagleBone, by ssh.

Source: the scripts of baylibre-acme/acme-utils, which are on the device.
Tested: against a fake ssh, and a real sshd with a fake device behind it.
Quirks: the account is root, with a key or an empty password. The state is read from the GPIO that the scripts set; an
    image whose GPIOs are counted from another base cannot say, and the state is then unknown.

    "acme.lab": {"driver": "acme", "username": "root"}
"""

from __future__ import annotations

from pdudaemon.drivers.driver import Numbered, PDUDriver, hook
from pdudaemon.drivers.network import tcp_port
from pdudaemon.drivers.readings import OutletReading, stated
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Setting, boolean, choice, text
from pdudaemon.transports import ssh
from pdudaemon.transports.command import Output

PROBES = 8
_GPIO_OF_FIRST = 489
_STATES = {"1": State.ON, "0": State.OFF}


class Acme(PDUDriver):
    """Runs the device's own scripts; their exit status is its answer."""

    models = {"acme": None}
    ports = Numbered(PROBES)

    username = Setting(text, "root", "user to log in as")
    password = Setting(text, "", "password of that user, where no key is accepted", secret=True)
    sshport = tcp_port(22, "the ssh server")
    sshkey = Setting(text, "", "file with the private key (else those of the daemon's user)")
    hostkeys = Setting(choice(*ssh.HOST_KEYS), "accept-new", "host key must be known: `yes`, `no`, or learn a new one")
    known_hosts = Setting(text, "", "file with the known host keys (else that of the daemon's user)")
    old_algorithms = Setting(boolean, False, "allow what old ssh servers need and ssh no longer offers")

    @hook
    def lacks(self) -> str:
        return ssh.missing()

    def port_interaction(self, command: str, port_number: int) -> None:
        script = f"dut-switch-{command} {port_number:d}"
        output = self._run(script)
        if output.status != 0:
            why = f": {output.last_line}" if output.last_line else ""
            raise PermanentError(f"{script} on {self.hostname} exited with {output.status}{why}")

    def port_status(self, port_number: int) -> State:
        output = self._run(f"cat {_value(port_number)}")
        return _STATES.get(output.last_line, State.UNKNOWN) if output.status == 0 else State.UNKNOWN

    def read_outlets(self) -> list[OutletReading]:
        files = " ".join(map(_value, range(1, PROBES + 1)))
        said = self._run(f"for file in {files}; do echo $(cat $file 2>/dev/null); done").text.split("\n")
        lines = [line.strip() for line in said][:PROBES]
        if len(lines) < PROBES:
            raise TransientError(f"{self.hostname} told the values of {len(lines)} GPIOs only")
        return stated({probe: _STATES.get(line, State.UNKNOWN) for probe, line in enumerate(lines, 1)})

    def _run(self, remote: str) -> Output:
        login = ssh.Login(
            host=self.hostname,
            port=self.sshport,
            username=self.username,
            password=self.password,
            key=self.sshkey,
            host_keys=self.hostkeys,
            known_hosts=self.known_hosts,
            old_algorithms=self.old_algorithms,
        )
        return ssh.run(login, remote, self.deadline, hold=self.lock_fd)


def _value(probe: int) -> str:
    """Return the file that tells whether a probe is on."""
    return f"/sys/class/gpio/gpio{_GPIO_OF_FIRST + 2 * (probe - 1):d}/value"
