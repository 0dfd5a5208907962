# SPDX-License-Identifier: MIT
"""The installed service in its sandbox, with what may be hindered by one: USB, serial lines, ssh, ipmitool.

Runs in a virtual machine, whose kernel has the devices: ``make test-boot``.
"""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.devices import acme, numato
from tests.peers.ipmi import CIPHER, ipmi_sim
from tests.peers.ssh import keygen, sshd
from tests.support.certificate import self_signed
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


def test_there_are_descriptors_and_tasks_enough(service: Service) -> None:
    """What the unit asks for is what the kernel gives."""
    limits = Path(f"/proc/{service.main}/limits").read_text()
    open_files = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert open_files.split()[3:5] == [service.show("LimitNOFILE")] * 2 == ["65536"] * 2
    tasks = Path("/sys/fs/cgroup", service.show("ControlGroup").lstrip("/"), "pids.max")
    assert tasks.read_text().strip() == service.show("TasksMax") == "32768"


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
    assert PASSWORD not in service.told("machine.* done after")


def test_a_unix_socket_for_a_proxy_and_tls_of_its_own(service: Service, tmp_path: Path) -> None:
    """As share/nginx.conf says: the folder gives the socket its group. The key is one that only the service can read."""
    socket = Path("/run/pdudaemon-http/socket")
    run("install", "--directory", "--mode=2750", "--owner=pdudaemon", "--group=www-data", str(socket.parent))
    key, certificate = CONF.parent / "key.pem", CONF.parent / "certificate.pem"
    self_signed(key, certificate)
    run("chown", "pdudaemon:", str(key), str(certificate))
    key.chmod(0o600)
    tls = {"protocol": "http", "hostname": "127.0.0.1", "port": 16422, "certificate": str(certificate), "key": str(key)}
    plain = {"protocol": "both", "hostname": "127.0.0.1", "port": service.port}
    listeners = [plain, tls, {"protocol": "http", "socket": str(socket)}]
    CONF.write_text(json.dumps({"daemon": {"listeners": listeners}, "pdus": {"demo": {"driver": "dummy"}}}))
    service.drop_in(f"ReadWritePaths={socket.parent}")
    systemctl("restart", "pdudaemon")
    found = socket.stat()
    assert (stat.S_IMODE(found.st_mode), socket.owner(), socket.group()) == (0o660, "pdudaemon", "www-data")

    ask = ["curl", "--silent", "--show-error", "--fail"]
    by_socket = [*ask, "--unix-socket", str(socket), "http://localhost/power/control/on?hostname=demo&port=1"]
    assert run("runuser", "-u", "www-data", "--", *by_socket) == "OK - accepted request\n"
    run("runuser", "-u", "nobody", "--", *by_socket, code=7)  # curl: could not connect
    status = "https://127.0.0.1:16422/power/control/status?hostname=demo&port=1"
    assert run(*ask, "--cacert", str(certificate), status) == "on\n"
    systemctl("stop", "pdudaemon")
    run(*by_socket, code=7)  # its file stays for a restart, and is nobody's
    for path in (key, certificate):
        path.unlink()
