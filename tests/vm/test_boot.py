# SPDX-License-Identifier: MIT
"""The packages in a booted Debian: installed, used, hurt, removed and purged.

Runs in a container, in the order of this file: ``make test-boot``. What needs Debian's kernel is in `test_hardened`,
upgrades are in `test_upgrade`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT, eventually
from tests.vm.clients import Clients
from tests.vm.service import CONF, DEBS, DUMMY, STATE, Service, apt, mode, outlets, run, systemctl

# What units of the existing daemon look like.
OLD_UNIT = f"""\
[Service]
ExecStart=/usr/sbin/pdudaemon --journal --dbfile={STATE}/pdudaemon.db --conf={CONF}
Type=simple
DynamicUser=yes
StateDirectory=pdudaemon
ProtectHome=true
Restart=on-abnormal
"""


@pytest.fixture
def service() -> Iterator[Service]:
    """Return the installed service, running with one dummy PDU, ``pdu``; what was configured is undone after."""
    service = Service()
    service.configure({"pdus": {"pdu": DUMMY}})
    systemctl("restart", "pdudaemon")
    yield service
    service.undo()


def rebooting(service: Service, port: int, delay: float) -> None:
    """Return when a reboot of the dummy PDU's port has switched it off; its on half is due after the delay."""
    assert service.power("on", "pdu", port).status == 200
    assert service.power("reboot", "pdu", port, delay=delay, wait=0).status == 200
    eventually(lambda: outlets()[str(port)] == "off")


def test_it_runs_as_installed() -> None:
    """This is the first test, so nothing was touched yet."""
    assert [systemctl(word, "pdudaemon").strip() for word in ("is-active", "is-enabled")] == ["active", "enabled"]
    assert [mode(path) for path in (CONF.parent, CONF)] == ["750 root:pdudaemon", "640 root:pdudaemon"]
    assert mode(STATE) == "750 pdudaemon:pdudaemon"
    service = Service()
    assert service.show("User") == "pdudaemon" and "0 PDUs" in service.show("StatusText")
    assert run("ss", "--no-header", "--listening", "--tcp", "--numeric").split()[3] == "127.0.0.1:16421"
    assert service.http("/api/v1/pdus").json == [] and "no faults" in run("pdudaemon", "--check")
    assert run("systemd-analyze", "verify", "--man=no", "pdudaemon.service", "pdudaemon.socket") == ""
    assert run("systemctl", "is-enabled", "pdudaemon.socket", code=1).strip() == "disabled"
    exposed = run("systemd-analyze", "security", "--offline=true", "/lib/systemd/system/pdudaemon.service")
    assert float(re.findall(r"exposure level for pdudaemon.service: ([0-9.]+)", exposed)[0]) <= 1.5, exposed


def test_the_packages_own_test() -> None:
    """What autopkgtest would run: the four ways."""
    conf = CONF.read_text()
    run(str(ROOT / "debian" / "tests" / "four-ways"))
    CONF.write_text(conf)


def test_the_journal_can_be_asked_what_became_of_whose_request(service: Service) -> None:
    assert service.power("on", "pdu", 3).status == 200 and service.power("off", "pdu", 99).status == 503
    ask = ["journalctl", "--output=json", "PDU=pdu", "OUTLET=pdu:3", "RESULT=done", "--lines=1"]
    entry = json.loads(eventually(lambda: run(*ask)))
    assert (entry["ACTION"], entry["CLIENT"], entry["PRIORITY"]) == ("on", "127.0.0.1", "6")
    assert entry["_SYSTEMD_UNIT"] == "pdudaemon.service" and service.told(re.escape(entry["MESSAGE"]))


def test_reload(service: Service) -> None:
    service.configure({"pdus": {"pdu": DUMMY, "other": {"driver": "dummy"}}})
    before = service.main
    systemctl("reload", "pdudaemon")
    assert eventually(lambda: service.power("on", "other", 1).status == 200)
    service.configure({"pdus": {"pdu": {"driver": "dumy"}, "other": {"driver": "dummy"}}})
    systemctl("reload", "pdudaemon")
    eventually(lambda: "reloaded with a new fault" in service.show("StatusText"))
    assert service.told("dumy") and service.power("on", "pdu", 1).status == 503
    service.configure('{"daemon": {"port": "x"}, "pdus": {}}')
    assert subprocess.run(["systemctl", "reload", "pdudaemon"], stderr=subprocess.DEVNULL).returncode == 1
    assert service.told("daemon.port: 'x' is not a whole number") and service.show("ActiveState") == "active"
    assert (service.power("off", "other", 1).status, service.main) == (200, before)


def test_a_secret_from_a_credential(service: Service) -> None:
    (CONF.parent / "bmc.secret").write_text("open sesame\n")
    values = {"PASSWORD": {"credential": "bmc"}}
    service.configure(
        {"pdus": {"bmc": {"driver": "platform", "power_on": 'test "$PASSWORD" = "open sesame"', "values": values}}}
    )
    service.drop_in(f"LoadCredential=bmc:{CONF.parent}/bmc.secret")
    systemctl("restart", "pdudaemon")
    reply = service.power("on", "bmc", 1)
    assert reply.status == 200, reply.text


def test_log_lines_have_priorities(service: Service) -> None:
    service.configure({"pdus": {"pdu": {"driver": "dummy", "refuse": "no", "retries": 1}}})
    systemctl("restart", "pdudaemon")
    service.power("on", "pdu", 1)

    def both() -> bool:  # the journal may have them a moment later
        found = {entry["PRIORITY"]: entry["MESSAGE"] for entry in service.entries() if entry["_COMM"] == "pdudaemon"}
        return "has started" in found.get("6", "") and "no" in found.get("3", found.get("4", ""))

    eventually(both)


def test_killed_in_the_middle_of_a_reboot(service: Service) -> None:
    rebooting(service, 1, delay=10)
    before = service.main
    os.kill(before, signal.SIGKILL)
    eventually(lambda: service.main not in (0, before))
    assert outlets()["1"] == "off"
    eventually(lambda: outlets()["1"] == "on")


def test_the_watchdog(service: Service) -> None:
    service.drop_in("WatchdogSec=2")
    systemctl("restart", "pdudaemon")
    rebooting(service, 2, delay=1)
    before = service.main
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: service.main not in (0, before))
    service.told("Watchdog timeout")
    eventually(lambda: outlets()["2"] == "on")


def test_reloads_do_not_starve_the_watchdog(service: Service) -> None:
    service.drop_in("WatchdogSec=2")
    systemctl("restart", "pdudaemon")
    before, end = service.main, time.monotonic() + 4
    while time.monotonic() < end:
        systemctl("reload", "pdudaemon")
        time.sleep(0.2)
    assert service.main == before, service.journal()


def test_root_may_drive_beside_the_service(service: Service) -> None:
    """With the service's store, so that they take turns."""
    words = "--drive --hostname pdu --port 8 --request on --dbfile"
    run("pdudaemon", *words.split(), str(STATE / "pdudaemon"))
    assert service.power("status", "pdu", 8).text == "on\n"
    assert service.power("off", "pdu", 8).status == 200


def test_what_cannot_start_is_not_tried_again(service: Service) -> None:
    service.configure("{")
    assert subprocess.run(["systemctl", "restart", "pdudaemon"], stderr=subprocess.DEVNULL).returncode == 1
    assert [service.show(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")] == ["failed", "2", "0"]
    service.told(f"{CONF}:1:2: not valid JSON")


def test_a_stop_names_what_is_unfinished(service: Service) -> None:
    rebooting(service, 3, delay=1)
    rebooting(service, 4, delay=60)
    systemctl("stop", "pdudaemon")
    assert (outlets()["3"], outlets()["4"]) == ("on", "off")
    assert re.search(r"pdu .*4", service.show("StatusText"))
    service.told(r"pdu .*4.*switched on")


def test_a_new_version_in_the_middle_of_a_reboot(service: Service) -> None:
    rebooting(service, 5, delay=3)
    before = service.main
    assert "daemon-reload" not in apt("install", "--reinstall", *map(str, DEBS))
    assert service.main not in (0, before)
    eventually(lambda: outlets()["5"] == "on")


def test_no_client_is_refused_while_the_daemon_is_away(service: Service) -> None:
    """For restarts, upgrades and after a crash."""
    file = "/run/pdudaemon-http/socket"
    run("install", "--directory", "--owner=pdudaemon", "/run/pdudaemon-http")
    listeners = [{"protocol": "both", "port": service.port}, {"protocol": "http", "socket": file}]
    service.configure(json.dumps({"daemon": {"listeners": listeners}, "pdus": {"pdu": DUMMY}}))
    service.drop_in("ReadWritePaths=/run/pdudaemon-http")
    systemctl("restart", "pdudaemon")
    clients = Clients(str(service.port), file)
    before = service.main
    try:
        for _ in range(3):
            systemctl("restart", "pdudaemon")
        apt("install", "--reinstall", *map(str, DEBS))
        killed = service.main
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: service.main not in (0, killed, before))
        answered = clients.said.total()
        eventually(lambda: clients.said.total() > answered + 20)
    finally:
        said = clients.end()
    assert said.pop("OK - accepted request") > 100, said
    told = [text for text in said if text.endswith(("when it starts again", "the daemon is stopping"))]
    assert said.total() - sum(said[text] for text in told) <= 2, said  # those who were being served as it was killed
    assert said["the daemon is stopping"] <= 2, said  # connected before, and came with what they wanted too late
    assert not [text for text in said if "Refused" in text], said
    systemctl("stop", "pdudaemon")
    with pytest.raises(ConnectionRefusedError):
        service.http("/")


def test_a_socket_of_systemd_at_a_port_that_the_daemon_may_not_have(service: Service) -> None:
    """It starts the daemon with the first client, and stays while the package is upgraded.

    An address that the configuration has not is told and refused.
    """
    drop_in = Path("/run/systemd/system/pdudaemon.socket.d/test.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Socket]\nListenStream=\nListenStream=127.0.0.1:80\nListenStream=127.0.0.1:81\n")
    listeners = [{"protocol": "http", "port": 80}, {"protocol": "both", "port": service.port}]
    service.configure(json.dumps({"daemon": {"listeners": listeners}, "pdus": {"pdu": DUMMY}}))
    systemctl("daemon-reload")
    systemctl("stop", "pdudaemon")
    systemctl("start", "pdudaemon.socket")
    try:
        assert not service.main
        ask = ["curl", "--silent", "--show-error", "--fail", "http://127.0.0.1/power/control/on?hostname=pdu&port=1"]
        assert run(*ask) == "OK - accepted request\n" and service.main
        service.told(r"nothing is served at 127.0.0.1 port 81 \(pdudaemon.socket\)")
        service.told(r"listening on 127.0.0.1:80 \(http, as pdudaemon.socket hands over\)")
        run("curl", "--silent", "http://127.0.0.1:81/", code=7)  # could not connect
        assert service.power("off", "pdu", 1).status == 200
        clients, before = Clients("80"), service.main
        said = apt("install", "--reinstall", *map(str, DEBS))
        eventually(lambda: service.main not in (0, before))
        told = clients.end()
        assert "ailed" not in said and not [text for text in told if "Refused" in text], (said, told)
        assert run(*ask) == "OK - accepted request\n"
    finally:
        systemctl("stop", "pdudaemon.socket", "pdudaemon.service")
        drop_in.unlink()
        systemctl("daemon-reload")


@pytest.mark.parametrize("whole", [False, True], ids=["drop-in", "unit"])
def test_units_of_the_existing_daemon(service: Service, whole: bool) -> None:
    if whole:
        service.unit(OLD_UNIT)
    else:
        service.drop_in("ExecStart=", OLD_UNIT.splitlines()[1])
    systemctl("restart", "pdudaemon")
    assert eventually(lambda: service.answers() and service.power("on", "pdu", 6).status == 200)
    assert outlets()["6"] == "on" and (STATE / "pdudaemon.db").exists()


def test_removal_tells_of_a_board_that_is_off(service: Service) -> None:
    rebooting(service, 7, delay=15)
    said = apt("remove", "pdudaemon")
    assert re.search(r"WARNING: boards may be off.*\n.*pdu .*7", said), said
    assert (outlets()["7"], CONF.exists()) == ("off", True)
    apt("install", *map(str, DEBS))
    eventually(lambda: outlets()["7"] == "on")


def test_removal_knows_the_store_of_the_service(service: Service) -> None:
    service.drop_in("ExecStart=", f"ExecStart=/usr/bin/pdudaemon --journal --dbfile={STATE}/other.db --conf={CONF}")
    systemctl("restart", "pdudaemon")
    rebooting(service, 8, delay=60)
    said = apt("remove", "pdudaemon")
    assert re.search(r"WARNING: boards may be off.*\n.*pdu .*8", said), said
    apt("install", *map(str, DEBS))


def test_purge() -> None:
    assert "WARNING" not in apt("purge", "pdudaemon", "pdudaemon-client")
    left = [path for path in (CONF.parent, STATE, Path("/lib/systemd/system/pdudaemon.service")) if path.exists()]
    assert not left and run("getent", "passwd", "pdudaemon")
    assert not run("systemctl", "list-unit-files", "--no-legend", "pdudaemon.service", code=None)
    assert "pdudaemon" not in run("systemctl", "--failed", "--no-legend")
