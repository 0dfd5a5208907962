# SPDX-License-Identifier: MIT
"""The installed service in its sandbox, with what may be hindered by one: USB, serial lines, ssh, ipmitool.

Runs in a virtual machine, whose kernel has the devices: ``make test-boot``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices import acme, numato
from tests.peers.ipmi import CIPHER, ipmi_sim
from tests.peers.ssh import keygen, sshd
from tests.support.process import eventually
from tests.vm import boards
from tests.vm.gadgets import Cable, load_modules
from tests.vm.service import CONF, STATE, Service, run, systemctl

PASSWORD = "notinthelog"

# What the sandbox leaves of the machine.
SANDBOX = [
    'touch "$HOME/x" /tmp/x',
    "! touch /etc/x",
    "! touch /srv/x",
    "! ls /root",
    "! ls /home/somebody",
    "! test -e /proc/1",
    "! test -e /proc/sys",
    "! test -e /tmp/of-others",
    "! head -c 1 /dev/vda",
    "! dmesg",
    "! unshare --user true",
    "grep -q '^CapBnd:.0*$' /proc/self/status",
    "grep -q '^NoNewPrivs:.1$' /proc/self/status",
    "grep -q '^Seccomp:.2$' /proc/self/status",
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Return the service, which was started before there was any device, or a kernel module for one."""
    service = Service()
    assert service.main and not Path("/dev/ttyACM0").exists()
    yield service
    service.undo()


def switched(service: Service, pdu: str, port: str) -> list[str]:
    """Switch a port on and off, and return what it is then said to be, each time; or what went wrong."""
    said = []
    for action in ("on", "off"):
        reply = service.power(action, pdu, port)
        said.append(service.power("status", pdu, port).text if reply.status == 200 else reply.text)
    return said


def configure(service: Service, **pdus: object) -> None:
    """Have the service drive these PDUs, without a new start."""
    before = service.main
    service.configure({"pdus": pdus})
    systemctl("reload", "pdudaemon")
    eventually(lambda: {pdu["name"] for pdu in service.http("/api/v1/pdus").json} == {*pdus})
    assert service.main == before


@pytest.mark.parametrize("line", SANDBOX)
def test_the_sandbox(line: str, service: Service) -> None:
    for folder in ("/home/somebody", "/tmp/of-others"):
        Path(folder).mkdir(mode=0o755, exist_ok=True)
    configure(service, sandbox={"driver": "platform", "power_on": line})
    reply = service.power("on", "sandbox", 1)
    assert reply.status == 200, reply.text


def test_relays_on_usb(service: Service) -> None:
    """A board of V-USB, by libusb; one on a serial line (CDC-ACM). Both are plugged in later than the service started."""
    load_modules()
    with numato.Module(8) as module:
        line = Cable(module.path, "2a19:0c02", "Numato Lab", "8 Channel USB Relay Module", "NLRL001")
        board, hub = boards.VUSBRelay("BITFT", 8), boards.YKUSH("YK20345")
        for gadget in (line, board, hub):
            gadget.plug()
        configure(
            service,
            serial={"driver": "NumatoUSB8", "device": line.path, "retries": 1},
            usb={"driver": "vusbhid", "serial": "BITFT", "retries": 1},
            hid={"driver": "YKUSH", "serial": "YK20345", "retries": 1},
        )
        assert switched(service, "serial", "3") == ["on\n", "off\n"]
        assert switched(service, "usb", "7") == ["on\n", "off\n"]
        assert switched(service, "hid", "2") == ["on\n", "off\n"]
        assert service.power("on", "usb", "7").status == 200
        assert service.power("on", "serial", "3").status == 200
        assert (board.outlets["7"], module.outlets["3"]) == ("on", "on")


def test_a_device_behind_ssh(service: Service, tmp_path: Path) -> None:
    """By a key in the home of the service's user, where the host is remembered as well."""
    device = acme.Acme(tmp_path)
    home = STATE / ".ssh"
    run("install", "--directory", "--owner=pdudaemon", "--mode=0700", str(home))
    with sshd(tmp_path, f'ForceCommand {tmp_path}/device "$SSH_ORIGINAL_COMMAND"') as server:
        key = keygen(home / "id_ed25519")
        shutil.chown(key, "pdudaemon")
        (tmp_path / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        pdu = {"driver": "acme", "username": server.user, "sshport": server.port, "retries": 1}
        configure(service, **{"127.0.0.1": pdu})
        assert switched(service, "127.0.0.1", "8") == ["on\n", "off\n"]
        assert device.outlets["8"] == "off"
        assert "found" in run("ssh-keygen", "-F", f"[127.0.0.1]:{server.port}", "-f", str(home / "known_hosts"))


def test_a_machine_behind_ipmitool(service: Service, tmp_path: Path) -> None:
    (CONF.parent / "bmc.secret").write_text(PASSWORD)
    run("chown", "pdudaemon", str(CONF.parent / "bmc.secret"))
    with ipmi_sim(tmp_path / "bmc", "admin", PASSWORD) as bmc:
        ask = f"ipmitool -I lanplus -H 127.0.0.1 -p {bmc.port} -C {CIPHER} -U admin -E chassis power"
        status = f"case $({ask} status) in *on) ;; *off) exit 111 ;; *) exit 1 ;; esac"
        scripts = {"power_on": f"{ask} on", "power_off": f"{ask} off", "status": status}
        values = {"IPMI_PASSWORD": {"file": "bmc.secret"}}
        configure(service, machine={"driver": "platform", "values": values, **scripts})
        assert switched(service, "machine", "1") == ["on\n", "off\n"]
        assert service.power("on", "machine", 1).status == 200 and bmc.power == "on"
    assert PASSWORD not in service.journal()
