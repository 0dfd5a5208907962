# SPDX-License-Identifier: MIT
"""Upgrades to these packages: from our own former ones, and from Debian's; and the way back.

Runs in a container, after `test_boot`, which has purged what it found: ``make test-boot``. Our former packages are built
by ``tests/vm/former``, on the release of the machine that builds them: in a newer one they are what it had before it
was upgraded itself.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ROOT, Reply, eventually
from tests.vm.base import FORMER
from tests.vm.clients import Clients
from tests.vm.service import CONF, DEBS, DUMMY, STATE, Service, apt, mode, outlets, run, systemctl

OURS = Path("/mnt/host/in")
SECRET = CONF.parent / "secret"
UNIT = Path("/etc/systemd/system/pdudaemon.service.d")
RECORD = STATE / "record"
GO = STATE / "go"
SLOW = f"while ! test -e {GO}; do sleep 0.2; done; echo %s >> {RECORD}"
KEEP = (
    "--option=Dpkg::Options::=--force-confold"  # what is asked where the file that the package brings has changed, too
)

LISTENER = {"protocol": "both", "hostname": "127.0.0.1", "port": 16421, "allow": ["127.0.0.1"]}

# With a comment, as everybody's is; of what the first package knew.
CONFIGURATION = "# The lab's.\n" + json.dumps(
    {
        "daemon": {"jwt_secret_file": str(SECRET), "listeners": [LISTENER]},
        "pdus": {
            "pdu": DUMMY,
            "slow": {"driver": "localcmdline", "cmd_on": SLOW, "cmd_off": "exit 1", "timeout": 900},
        },
        "aliases": {"board7": {"hostname": "pdu", "port": 7}},
        "nodes": {"switch": {"hostname": "pdu", "port": 8, "locked": True}},
    }
)


@pytest.fixture(autouse=True)
def purged() -> None:
    """Begin with nothing of ours."""
    run("dpkg", "--purge", "pdudaemon", "pdudaemon-client")
    shutil.rmtree(UNIT, ignore_errors=True)


def former(name: str) -> list[str]:
    """Return our own former packages."""
    found = sorted(map(str, (OURS / name).glob("*.deb")))
    if not found:
        pytest.skip("they are built from the history, and the clone that this is has not all of it")
    return found


def at_work() -> Service:
    """Return the installed service, configured as a lab's, with a token and with settings of its unit."""
    SECRET.write_text("a-secret-of-thirty-two-characters-or-more")
    SECRET.chmod(0o600)
    run("chown", "pdudaemon", str(SECRET))
    CONF.write_text(CONFIGURATION)
    UNIT.mkdir()
    (UNIT / "lab.conf").write_text("[Service]\nEnvironment=LAB=ours\n")
    systemctl("daemon-reload")
    systemctl("restart", "pdudaemon")
    service = Service()
    service.token = run("pdudaemon", "--token", "--name", "lab").split()[-1]
    return service


def request(service: Service, number: str) -> Any:
    """Return a request as the API tells of it."""
    return service.http(f"/api/v1/requests/{number}").json


def still_owed(service: Service, number: str) -> None:
    """See that a request has yet to switch on, and end it."""
    assert request(service, number)["state"] == "waiting"
    assert service.http(f"/api/v1/requests/{number}", "DELETE").status == 409
    assert service.http(f"/api/v1/requests/{number}?half=on", "DELETE").status == 200


class Waiting:
    """Somebody who asks for something and waits for the answer."""

    def __init__(self, service: Service, *words: Any, **more: Any) -> None:
        self.answers: list[Reply] = []
        self._thread = threading.Thread(target=lambda: self.answers.append(service.power(*words, **more)))
        self._thread.start()

    def answer(self) -> Reply:
        """Return it."""
        self._thread.join()
        return self.answers[0]


@pytest.mark.parametrize("name", ["first", "last"])
def test_upgrade_from_our_own(name: str) -> None:
    """In the middle of its work: a board is off in a reboot, requests wait in line, a client waits for its answer."""
    apt("install", *former(name))
    service = at_work()
    before = service.main
    for port in (2, 3, 4):
        assert service.power("on", "pdu", port).status == 200
    numbers = [service.power("on", "slow", port, wait=0).headers["X-Request-Id"] for port in range(1, 9)]
    assert service.power("off", "pdu", 2).status == 200
    assert service.power("reboot", "pdu", 3, delay=20, wait=0).status == 200
    waiting = Waiting(service, "reboot", "pdu", 4, delay=3600)
    eventually(lambda: outlets()["4"] == "off")
    clients = Clients(str(service.port), token=service.token)
    eventually(lambda: clients.said.total() > 20)

    said = apt("install", *([KEEP] if name == "first" else []), *map(str, DEBS))
    assert not re.search("daemon-reload|WARNING|[Ff]ailed", said), said
    assert service.main not in (0, before)
    answered = clients.said.total()
    eventually(lambda: clients.said.total() > answered + 20)
    told = clients.end()
    assert told.pop("OK - accepted request") > 40, told
    answer = waiting.answer()
    if name == "last":  # the first did not have systemd keep its sockets, and said yes when it stopped
        assert not [text for text in told if "Refused" in text], told
        assert answer.status in (503, 504) and "accepted as request" in answer.text, answer

    assert not RECORD.exists() and request(service, numbers[-1])["state"] == "waiting"
    GO.touch()
    eventually(lambda: all(request(service, number)["state"] == "done" for number in numbers), 60)
    assert RECORD.read_text().split() == [str(port) for port in range(1, 9)]  # each once, in order
    eventually(lambda: outlets()["3"] == "on", 60)
    assert service.power("status", "pdu", 2).text == "off\n" and outlets()["4"] == "off"
    still_owed(service, answer.headers["X-Request-Id"])
    assert service.http("/power/control/on?alias=switch").status == 403
    assert service.http("/power/control/on?alias=board7").status == 200
    assert service.tcp("pdu 5 on\n") == "ack\n"
    token, service.token = service.token, ""
    assert service.power("on", "pdu", 5).status == 401
    service.token = token
    assert CONF.read_text() == CONFIGURATION
    assert [mode(path) for path in (CONF.parent, CONF, SECRET)] == [
        "750 root:pdudaemon", "640 root:pdudaemon", "600 pdudaemon:root",
    ]  # fmt: skip
    assert "LAB=ours" in service.show("Environment")
    assert run("dpkg", "--verify", "pdudaemon", "pdudaemon-client", code=None).split() == ["??5??????", "c", str(CONF)]


@pytest.mark.parametrize("name", ["first", "last", "Debian's"])
def test_back_to_an_older_version_and_forth(name: str) -> None:
    """What is off is told. One that cannot read the record says so and leaves it alone."""
    older = [*map(str, Path(FORMER).glob("*.deb"))] if name == "Debian's" else former(name)
    apt("install", *map(str, DEBS))
    service = at_work()
    assert service.power("on", "pdu", 1).status == 200
    number = service.power("reboot", "pdu", 1, delay=3600, wait=0).headers["X-Request-Id"]
    eventually(lambda: outlets()["1"] == "off")
    said = apt("install", KEEP, *older)
    assert re.search(r"WARNING: boards may be off that .*\n.*pdu port 1: still to be switched on", said), said
    if name == "first":
        service.told("written by a newer pdudaemon")
    elif name == "last":
        assert service.main
    assert "WARNING" not in apt("install", KEEP, *map(str, DEBS))
    assert outlets()["1"] == "off"
    still_owed(service, number)


@pytest.mark.parametrize("kept_by", ["--force-confold", "the default answer"])
def test_upgrade_from_debians_own(kept_by: str) -> None:
    """Its configuration was edited, as everybody's is; ``kept_by`` is how that is kept."""
    run("userdel", "pdudaemon", code=None)
    apt("install", *map(str, Path(FORMER).glob("*.deb")))
    old = json.loads(CONF.read_text())
    record = STATE / "record"
    commands = {f"cmd_{state}": f"echo %s {state} >> {record}" for state in ("on", "off")}
    edited = json.dumps({**old, "pdus": {**old["pdus"], "mine": {"driver": "localcmdline", **commands}}}, indent=4)
    CONF.write_text(edited)
    systemctl("restart", "pdudaemon")
    service = Service()
    eventually(service.answers)
    assert service.power("on", "mine", 1).status == 200
    eventually(lambda: record.exists() and record.read_text() == "1 on\n")
    assert STATE.is_symlink()  # that of a dynamic user

    if kept_by == "--force-confold":
        said = apt("install", KEEP, *map(str, DEBS))
    else:
        said = apt("install", "--option=Dpkg::Use-Pty=0", *map(str, DEBS), typed="\n")
    assert "daemon-reload" not in said
    assert CONF.read_text() == edited
    assert [mode(path) for path in (CONF.parent, CONF)] == ["750 root:pdudaemon", "640 root:pdudaemon"]
    assert not STATE.is_symlink() and mode(STATE) == "750 pdudaemon:pdudaemon"
    assert Path(f"/proc/{service.main}").owner() == "pdudaemon" == record.owner()
    assert service.power("off", "mine", 1).text == "OK - accepted request\n"
    assert record.read_text() == "1 on\n1 off\n"
    assert run("dpkg", "--verify", "pdudaemon", "pdudaemon-client", code=None).split() == ["??5??????", "c", str(CONF)]


def test_upgrade_of_a_configuration_that_nobody_edited() -> None:
    apt("install", *map(str, Path(FORMER).glob("*.deb")))
    apt("install", *(str(deb) for deb in DEBS if deb.name.startswith("pdudaemon_")))
    service = Service()
    assert CONF.read_text() == (ROOT / "debian" / "pdudaemon.conf").read_text()
    assert [path.name for path in CONF.parent.iterdir()] == [CONF.name]
    assert service.http("/api/v1/pdus").json == []
    service.configure({"pdus": {"pdu": DUMMY}})
    systemctl("reload", "pdudaemon")
    client = "pduclient --daemon localhost --hostname pdu --port 1 --command on"  # Debian's own, which has stayed
    eventually(lambda: service.http("/api/v1/pdus").json)
    assert "Command sent successfully." in run(*client.split()) and outlets()["1"] == "on"
