# SPDX-License-Identifier: MIT
"""SNMP: the transport and the generic drivers against net-snmp, snmpsim and an agent of our own.

The whole file runs with pysnmp 7.1 and with 4.4.12 of Debian 12: it needs nothing but pytest beside them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import strategies
from pdudaemon.drivers.snmp import SNMP
from pdudaemon.drivers.snmpoutlet import OutletRow, Put, SNMPDriver
from pdudaemon.drivers.snmpsymbols import SYMBOLS
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import snmpengine
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmp import OID, Agent, Community, Syntax, User
from tests.devices import snmp as outlets
from tests.devices.base import snmp as fake
from tests.devices.base.device import Mood
from tests.peers import snmp as peers
from tests.peers.snmp import AUTH, PRIV, Snmpd, snmpd, snmpsim
from tests.support import snmpmessage as wire
from tests.support.action import begun
from tests.support.ports import free_ports
from tests.support.process import ROOT, Daemon, eventually
from tests.support.snmpmessage import numbered, request_of

E = "1.3.6.1.4.1"
CTL = f"{E}.318.1.1.4.4.2.1.3"
RPDU2_CONTROL = f"{E}.318.1.1.26.9.2.4.1.5"
RPDU2_STATUS = f"{E}.318.1.1.26.9.2.3.1.5"
PRIVATE = Community("private")


@pytest.fixture(scope="module")
def net_snmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snmpd]:
    with snmpd(tmp_path_factory.mktemp("snmpd") / "agent") as running:
        yield running


def at(port: int, login: Community | User = PRIVATE, patience: float = 5.0) -> Agent:
    return Agent("127.0.0.1", port, login, patience)


def switch(agent: Agent, outlet: int, value: int | str = 1, syntax: Syntax = Syntax.INTEGER) -> None:
    agent.set(f"{CTL}.{outlet}", value, syntax, Deadline(60))


def driver(name: str, hostname: str = "127.0.0.1", seconds: float = 60, **settings: Any) -> SNMPDriver:
    whole = {"driver": name, **settings}
    made = strategies.find(name)(hostname, whole)
    assert isinstance(made, SNMPDriver)
    assert made.faults(whole) == {}
    return begun(made, seconds)


# The transport, against net-snmp


@pytest.mark.parametrize("version", ["1", "2c"])
def test_set_and_get(net_snmp: Snmpd, version: str) -> None:
    agent = at(net_snmp.port, Community("private", version))
    for state, value in (("on", 1), ("off", 2), ("on", 1)):
        switch(agent, 1, value)
        assert net_snmp.outlets["1"] == state
        assert agent.get(f".{CTL}.1", Deadline(60)) == value
    assert agent.get("1.3.6.1.2.1.1.5.0", Deadline(60)) == socket.gethostname()
    assert agent.get("1.3.6.1.2.1.1.2.0", Deadline(60)) == f"{E}.8072.3.2.10"


@pytest.mark.parametrize(
    ("community", "version", "what", "words"),
    [
        ("private", "1", lambda agent: switch(agent, 99), "refused SET {}.99: noSuchName"),
        ("private", "1", lambda agent: switch(agent, 1, 9), "refused SET {}.1: badValue"),
        ("public", "1", lambda agent: switch(agent, 1), "refused SET {}.1: noSuchName"),
        ("private", "2c", lambda agent: switch(agent, 99), "refused SET {}.99: notWritable"),
        ("private", "2c", lambda agent: switch(agent, 1, 9), "refused SET {}.1: wrongValue"),
        ("private", "2c", lambda agent: switch(agent, 1, 1, Syntax.UNSIGNED), "refused SET {}.1: wrongType"),
        ("public", "2c", lambda agent: switch(agent, 1), "refused SET {}.1: noAccess"),
        ("public", "1", lambda agent: agent.get(f"{CTL}.99", Deadline(60)), "refused GET {}.99: noSuchName"),
        ("public", "2c", lambda agent: agent.get(f"{CTL}.99", Deadline(60)), "refused GET {}.99: noSuchInstance"),
        ("public", "2c", lambda agent: agent.get(f"{E}.4711.1", Deadline(60)), f"refused GET {E}.4711.1: noSuchObject"),
    ],
)
def test_refusals(net_snmp: Snmpd, community: str, version: str, what: Callable[[Agent], object], words: str) -> None:
    with pytest.raises(PermanentError) as told:
        what(at(net_snmp.port, Community(community, version)))
    assert str(told.value) == f"127.0.0.1:{net_snmp.port} {words.format(CTL)}"


USERS = {
    "md5_des": [User("md5_des", AUTH, PRIV), User("md5_des", AUTH, PRIV, "USM_AUTH_HMAC96_MD5", "USM_PRIV_CBC56_DES")],
    "md5_des_old": [User("md5_des", AUTH, PRIV, "usmHMACMD5AuthProtocol", "usmDESPrivProtocol")],
    "sha_aes": [User("sha_aes", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB128_AES")],
    "sha_aes_old": [User("sha_aes", AUTH, PRIV, "usmHMACSHAAuthProtocol", "usmAesCfb128Protocol")],
    "sha224_des": [
        User("sha224_des", AUTH, PRIV, "USM_AUTH_HMAC128_SHA224"),
        User("sha224_des", AUTH, PRIV, "usmHMAC128SHA224AuthProtocol"),
    ],
    "sha256_aes": [
        User("sha256_aes", AUTH, PRIV, "USM_AUTH_HMAC192_SHA256", "USM_PRIV_CFB128_AES"),
        User("sha256_aes", AUTH, PRIV, "usmHMAC192SHA256AuthProtocol", "USM_PRIV_CFB128_AES"),
    ],
    "sha384_aes": [
        User("sha384_aes", AUTH, PRIV, "USM_AUTH_HMAC256_SHA384", "USM_PRIV_CFB128_AES"),
        User("sha384_aes", AUTH, PRIV, "usmHMAC256SHA384AuthProtocol", "USM_PRIV_CFB128_AES"),
    ],
    "sha512_only": [
        User("sha512_only", AUTH, "", "USM_AUTH_HMAC384_SHA512"),
        User("sha512_only", AUTH, "unused here", "usmHMAC384SHA512AuthProtocol", "USM_PRIV_NONE"),
        User("sha512_only", AUTH, "unused here", "usmHMAC384SHA512AuthProtocol", "usmNoPrivProtocol"),
    ],
    # Where SHA's 20 bytes are too few for a key, the two ways to extend them differ. What pysnmp calls Reeder's (by
    # whose name Cisco's goes) is what net-snmp does without "-C".
    "sha_aes192": [
        User("sha_aes192", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB192_AES"),
        User("sha_aes192", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "usmAesCfb192Protocol"),
    ],
    "sha_aes256": [
        User("sha_aes256", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB256_AES"),
        User("sha_aes256", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "usmAesCfb256Protocol"),
    ],
    "sha_aes192c": [
        User("sha_aes192c", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB192_AES_BLUMENTHAL"),
        User("sha_aes192c", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "usmAesBlumenthalCfb192Protocol"),
    ],
    "sha_aes256c": [
        User("sha_aes256c", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB256_AES_BLUMENTHAL"),
        User("sha_aes256c", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "usmAesBlumenthalCfb256Protocol"),
    ],
    "plain": [
        User("plain"),
        User("plain", "unused here", "", "USM_AUTH_NONE"),
        User("plain", "x" * 8, "", "usmNoAuthProtocol"),
    ],
}


@pytest.mark.parametrize("users", USERS.values(), ids=USERS)
def test_users_of_v3(net_snmp: Snmpd, users: list[User]) -> None:
    for number, user in enumerate(users):
        switch(at(net_snmp.port, user), 3, 1 + number % 2)
        assert net_snmp.outlets["3"] == ("off" if number % 2 else "on")


@pytest.mark.parametrize(
    ("user", "error", "words"),
    [
        (
            User("sha_aes", "not the one", PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB128_AES"),
            PermanentError,
            "wrongDigest",
        ),
        (User("sha_aes", AUTH, PRIV, "USM_AUTH_HMAC192_SHA256", "USM_PRIV_CFB128_AES"), PermanentError, "wrongDigest"),
        (User("nobody", AUTH, PRIV), PermanentError, "unknownUserName"),
        (User("sha_aes", AUTH, "", "USM_AUTH_HMAC96_SHA"), PermanentError, "authorizationError"),
        (User("sha_aes"), PermanentError, "authorizationError"),
        (
            User("sha_aes", AUTH, "not the one", "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB128_AES"),
            DeviceTimeout,
            "a wrong privacy passphrase is not answered either",
        ),
    ],
    ids=["passphrase", "protocol", "user", "not encrypted", "not signed", "privacy"],
)
def test_logins_refused(net_snmp: Snmpd, user: User, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"127.0.0.1:{net_snmp.port} .*{words}") as told:
        switch(at(net_snmp.port, user, 0.6 if error is DeviceTimeout else 5.0), 3)
    assert "not the one" not in str(told.value) + repr(user)


def test_a_wrong_community_is_silence(net_snmp: Snmpd) -> None:
    with pytest.raises(DeviceTimeout) as told:
        switch(at(net_snmp.port, Community("sesame"), 0.5), 1)
    where = f"no answer from 127.0.0.1:{net_snmp.port} to SET {CTL}.1 within 0.5 s"
    assert str(told.value) == f"{where} (a wrong community is not answered either)"


def test_a_restarted_agent_and_another_one_at_the_same_address(tmp_path: Path) -> None:
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    login = User("sha_aes", AUTH, PRIV, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB128_AES")
    agent = at(port, login)
    for number, boots in enumerate((5, 6, 1)):
        with snmpd(tmp_path / f"same{number}", port, "80001f8804aa01", boots):
            switch(agent, 1)
    with snmpd(tmp_path / "other", port, "80001f8804bb02"):
        with pytest.raises(DeviceTimeout):  # pysnmp does not hear an agent that it takes for a false one ...
            switch(at(port, login, 1.0), 1)
        switch(agent, 1)  # ... and is made to forget


# The transport, against an agent of our own


def test_silence_ends_with_the_patience_and_with_the_deadline() -> None:
    with fake.Agent(Mood.DEAF) as deaf:
        for patience, seconds in ((0.4, 10), (10, 0.4)):
            begun = time.monotonic()
            with pytest.raises(DeviceTimeout, match=r"within 0\.4 s"):
                at(deaf.port, patience=patience).get(f"{CTL}.1", Deadline(seconds))
            assert time.monotonic() - begun < 8
        assert deaf.sessions == 8  # four times each
        time.sleep(0.6)
        assert deaf.sessions == 8  # and nothing is sent when nobody waits any more


def test_lost_messages_are_sent_again() -> None:
    with fake.Agent(lose=3) as agent:
        switch(at(agent.port, Community(fake.COMMUNITY), 1.2), 1)
        assert agent.outlets["1"] == "on"
        assert agent.sessions == 4


def test_an_answer_to_the_first_of_them_counts() -> None:
    with fake.Agent(late=1.3) as agent:  # the answer to the second comes too late
        switch(at(agent.port, Community(fake.COMMUNITY), 1.5), 1)


@pytest.fixture
def slow_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process engines that take their time to be made, as on a busy machine."""
    kind = snmpengine.engines()._kind

    class Slow(kind):  # type: ignore[misc, valid-type]
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            threading.Event().wait(2.2)
            super().__init__(loop)

    fresh = snmpengine.Engines(Slow)
    monkeypatch.setattr(snmpengine, "engines", lambda: fresh)


@pytest.mark.usefixtures("slow_engines")
@pytest.mark.parametrize(
    "login",
    [
        Community(fake.COMMUNITY, "1"),
        Community(fake.COMMUNITY),
        User(fake.USER, fake.PASSPHRASE, "", "USM_AUTH_HMAC96_SHA"),
    ],
    ids=["1", "2c", "3"],
)
def test_the_first_question_of_a_process_has_all_its_time(login: Community | User) -> None:
    """The time of the agent, and of the action, begins when there is an engine to ask with."""
    with fake.Agent(late=0.1) as agent:
        deadline = Deadline(2.0)
        at(agent.port, login, 2.0).set(f"{CTL}.1", 1, Syntax.INTEGER, deadline)
        assert agent.outlets["1"] == "on"
        assert at(agent.port, login, 2.0).get(f"{CTL}.1", deadline) == 1


@pytest.mark.usefixtures("slow_engines")
def test_a_deaf_agent_is_asked_at_intervals_however_long_the_engine_took() -> None:
    with fake.Agent(Mood.DEAF) as deaf:
        begun = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"within 1 s"):
            switch(at(deaf.port, patience=1.0), 1)
        assert time.monotonic() - begun > 3.0
        assert deaf.sessions == 4


@pytest.mark.usefixtures("slow_engines")
def test_nobody_pays_for_the_engines_of_others() -> None:
    """Each user of SNMPv3 has an engine, and all are made on one thread: whoever is first waits for the last as well."""
    users = [User(fake.USER, passphrase, "", "USM_AUTH_HMAC96_SHA") for passphrase in ("the first one", "the second")]
    with fake.Agent(late=0.1, passphrase="the first one") as agent, ThreadPoolExecutor(3) as workers:
        logins = [*users, Community(fake.COMMUNITY)]
        asked = [
            workers.submit(switch, at(agent.port, login, 2.0), outlet) for outlet, login in enumerate(logins, start=1)
        ]
        assert isinstance(asked[1].exception(), PermanentError)  # not a time-out
        assert [asked[0].exception(), asked[2].exception()] == [None, None]
        assert [port for port, state in agent.outlets.items() if state == "on"] == ["1", "3"]


def test_a_deaf_agent_delays_nobody_else() -> None:
    with fake.Agent(Mood.DEAF) as deaf, fake.Agent() as well, ThreadPoolExecutor(9) as workers:
        waiting = workers.submit(switch, at(deaf.port, patience=1.5), 1)
        agent = at(well.port, Community(fake.COMMUNITY))
        list(workers.map(lambda number: switch(agent, 1 + number % 8, 1 + number // 8 % 2), range(80)))
        assert not waiting.done()
        assert len([pdu for pdu in well.pdus if pdu.tag == wire.SET]) == 80
        with pytest.raises(DeviceTimeout):
            waiting.result()


def test_two_users_of_one_name() -> None:
    with fake.Agent(passphrase="the first passphrase") as first, fake.Agent(passphrase="the second one") as second:
        for _ in range(2):
            for agent, passphrase in ((first, "the first passphrase"), (second, "the second one")):
                switch(at(agent.port, User(fake.USER, passphrase, "", "USM_AUTH_HMAC96_SHA")), 1)
        with pytest.raises(PermanentError, match="wrongDigest"):
            switch(at(first.port, User(fake.USER, "the second one", "", "USM_AUTH_HMAC96_SHA")), 1)


def test_ipv6() -> None:
    try:
        agent = fake.Agent(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with agent:
        switch(Agent("::1", agent.port, Community(fake.COMMUNITY), 5), 1)
        with pytest.raises(PermanentError, match=re.escape(f"[::1]:{agent.port} refused")):
            switch(Agent("::1", agent.port, Community(fake.COMMUNITY), 5), 99)
        row = {"oid": f"{CTL}.*", "onsetting": 1, "offsetting": 2}
        in_brackets = driver("snmpv2c", "[::1]", community=fake.COMMUNITY, snmpport=agent.port, **row)
        in_brackets.handle("on", 2)
        assert agent.outlets["2"] == "on"
        with pytest.raises(PermanentError, match=re.escape(f"[::1]:{agent.port} refused")) as told:
            in_brackets.handle("on", 99)
        assert "[[" not in str(told.value)


@pytest.mark.parametrize("host", ["pdu.invalid", "a..b", "x" * 70])
def test_a_name_that_is_not_known(host: str) -> None:
    with pytest.raises(TransientError, match=f"^{re.escape(host)} is not found: "):
        Agent(host, 161, PRIVATE, 1.0).get(f"{CTL}.1", Deadline(60))


@pytest.mark.parametrize("version", ["1", "2c"])
def test_a_community_beyond_ascii_is_sent_as_utf_8(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "COMMUNITY", "gemeinschäft€")
    with fake.Agent() as agent:
        switch(at(agent.port, Community(fake.COMMUNITY, version)), 1)
        assert agent.outlets["1"] == "on"


def test_passphrases_beyond_ascii_are_sent_as_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth, priv = "schlüssel€1", "schlüssel€2"
    monkeypatch.setattr(peers, "AUTH", auth)
    monkeypatch.setattr(peers, "PRIV", priv)
    with snmpd(tmp_path / "agent") as agent:
        switch(at(agent.port, User("sha_aes", auth, priv, "USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB128_AES")), 1)
        assert agent.outlets["1"] == "on"


@pytest.mark.parametrize("user", [User("me", "short"), User("me", AUTH, "short")], ids=["auth", "priv"])
def test_a_login_that_pysnmp_does_not_take_is_told_of_each_time(user: User) -> None:
    with fake.Agent() as agent:
        for _ in range(3):
            with pytest.raises(TransientError, match="wrongValueError") as told:
                switch(at(agent.port, user, 1.0), 1)
            assert "short" not in str(told.value)
        assert not agent.sessions


class Untrue(fake.Agent):
    """Confirms what was not asked for."""

    def respond(self, pdu: wire.PDU, version: int) -> wire.PDU:
        return pdu.answered(0, (wire.INTEGER, b"\x07"))


class Elsewhere(fake.Agent):
    """Answers of another object."""

    def respond(self, pdu: wire.PDU, version: int) -> wire.PDU:
        return super().respond(pdu, version)._replace(name=f"{CTL}.8")


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Untrue, f"answered 7 to SET {CTL}.1 = 1"), (Elsewhere, f"gave no value at SET {CTL}.1")],
)
def test_what_is_not_confirmed_is_not_done(kind: type[fake.Agent], words: str) -> None:
    with kind() as agent, pytest.raises(TransientError, match=words):
        switch(at(agent.port, Community(fake.COMMUNITY)), 1)


def run_without(module: str, port: int, home: Path, then: str = "") -> subprocess.CompletedProcess[str]:
    """SET in a process of its own that cannot import something."""
    script = (
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "from tests.transports.test_snmp import *\n"
        "try:\n"
        f"    switch(at({port}, User('sha_aes', AUTH, PRIV, 'USM_AUTH_HMAC96_SHA', 'USM_PRIV_CFB128_AES')), 5)\n"
        f"    {then or 'pass'}\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home)}
    command = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (("pysnmp",), "PermanentError SNMP needs the package pysnmp, which cannot be imported: "),
        (
            ("cryptography", "Cryptodome"),
            "PermanentError SNMPv3 privacy needs the package (cryptography|pycryptodomex) .extra snmp-privacy.",
        ),
    ],
)
def test_a_missing_package_is_told(net_snmp: Snmpd, tmp_path: Path, modules: tuple[str, ...], words: str) -> None:
    told = "".join(run_without(module, net_snmp.port, tmp_path).stdout for module in modules)
    assert re.match(words, told), told


def test_no_mib_is_looked_for_and_the_process_ends_quietly(net_snmp: Snmpd, tmp_path: Path) -> None:
    run = run_without("nothing", net_snmp.port, tmp_path, "print('done', 'pysmi' in sys.modules)")
    assert (run.stdout, run.stderr) == ("done False\n", "")
    assert [*tmp_path.iterdir()] == []


# The drivers


@pytest.mark.parametrize("name", outlets.NAMES)
def test_on_off_status(name: str) -> None:
    with outlets.case(name, Mood.WELL) as case:
        made = driver(hostname=case.hostname, name=case.settings.pop("driver"), **case.settings)
        made.handle("on", 3)
        assert case.device.outlets == {str(n): "on" if n == 3 else "off" for n in range(1, 9)}
        assert made.handle("status", 3) is State.ON
        case.device.outlets["3"] = "off"
        assert made.handle("status", "3") is State.OFF
        made.handle("on", "4")
        made.handle("off", "4")
        assert case.device.outlets["4"] == "off"


@pytest.mark.parametrize(
    ("name", "given", "sent"), [("snmpv1", {}, 1), ("snmpv1", {"version": "1"}, 0), ("snmpv2c", {}, 1)]
)
def test_the_version_that_is_sent(name: str, given: Mapping[str, Any], sent: int) -> None:
    with outlets.case(name, Mood.WELL) as case:
        made = driver(hostname=case.hostname, name=case.settings.pop("driver"), **case.settings, **given)
        made.handle("on", 3)
        assert case.device.versions == [sent]
        if sent == 0:
            with pytest.raises(PermanentError, match="noSuchName"):
                made.handle("on", 9)


def sample() -> list[tuple[bytes, bytes]]:
    """The conversation of the facts sheet: community private, outlet 3 is SET to 1 and read."""
    steps = json.loads((ROOT / "tests" / "data" / "snmp_v2c.json").read_text())
    return [(bytes.fromhex(step["tx"]), bytes.fromhex(step["rx"])) for step in steps]


def test_the_sample_conversation_and_the_driver() -> None:
    heard = []

    def answer(agent: socket.socket) -> None:
        for _, reply in sample():
            data, sender = agent.recvfrom(65535)
            heard.append(data)
            agent.sendto(numbered(reply, request_of(data)), sender)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer, args=(agent,), daemon=True)
        thread.start()
        symbol = {"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl", "onsetting": "1", "offsetting": 2}
        made = driver("snmpv1", community="private", snmpport=agent.getsockname()[1], **symbol)
        made.handle("on", 3)
        assert made.handle("status", 3) is State.ON
        thread.join(5)
    assert heard == [numbered(asked, request_of(data)) for (asked, _), data in zip(sample(), heard, strict=True)]


def test_the_sample_conversation_and_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "COMMUNITY", "private")
    with fake.Agent() as agent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        for asked, reply in sample():
            asking.sendto(asked, ("127.0.0.1", agent.port))
            assert asking.recv(65535) == reply


V2 = {"community": "private", "onsetting": 1, "offsetting": 2}


@pytest.mark.parametrize(
    ("settings", "port", "control", "status"),
    [
        ({"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, "3", f"{CTL}.3", None),
        (
            {"mib": "PowerNet-MIB", "controlpoint": "rPDUOutletControlOutletCommand"},
            "3",
            f"{E}.318.1.1.12.3.3.1.1.4.3",
            f"{E}.318.1.1.12.3.5.1.1.4.3",
        ),
        (
            {"mib": "PowerNet-MIB", "controlpoint": "rPDU2OutletSwitchedControlCommand"},
            "24",
            f"{RPDU2_CONTROL}.24",
            f"{RPDU2_STATUS}.24",
        ),
        (
            {"mib": "PowerNet-MIB", "controlpoint": "sPDUOutletControlMSPOutletCommand"},
            "1.1.5",
            f"{E}.318.1.1.6.5.1.1.5.1.1.5",
            f"{E}.318.1.1.6.7.1.1.5.1.1.5",
        ),
        (
            {"mib": "CPS-MIB", "controlpoint": "ePDUOutletControlOutletCommand"},
            "8",
            f"{E}.3808.1.1.3.3.3.1.1.4.8",
            f"{E}.3808.1.1.3.3.5.1.1.4.8",
        ),
        ({"oid": ".1.3.6.1.2.1.105.1.1.1.3.1.*"}, "7", "1.3.6.1.2.1.105.1.1.1.3.1.7", None),
        (
            {"mib": "Sentry3-MIB", "controlpoint": "outletControlAction"},
            "1.2.5",
            f"{E}.1718.3.2.3.1.11.1.2.5",
            f"{E}.1718.3.2.3.1.5.1.2.5",
        ),
        (
            {"mib": "Sentry4-MIB", "controlpoint": "st4OutletControlAction"},
            "1.1.5",
            f"{E}.1718.4.1.8.5.1.2.1.1.5",
            f"{E}.1718.4.1.8.3.1.1.1.1.5",
        ),
        (
            {"mib": "PDU2-MIB", "controlpoint": "switchingOperation", "offsetting": 0},
            "1.5",
            f"{E}.13742.6.4.1.2.1.2.1.5",
            f"{E}.13742.6.4.1.2.1.3.1.5",
        ),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet*Status", "inside_number": "yes", "static_ending": "0"},
            "8",
            f"{E}.21317.1.3.2.2.2.2.9.0",
            None,
        ),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet*Status", "inside_number": True, "static_ending": 0},
            "9",
            f"{E}.21317.1.3.2.2.2.2.11.0",
            None,
        ),
        (
            {"mib": "Pulizzi", "controlpoint": "outlet*Command", "inside_number": 1, "static_ending": 0},
            "2",
            f"{E}.20677.2.6.2.3.0",
            f"{E}.20677.2.6.3.3.0",
        ),
        ({"oid": f"{RPDU2_CONTROL}.*"}, "3", f"{RPDU2_CONTROL}.3", f"{RPDU2_STATUS}.3"),
        ({"oid": f".{RPDU2_CONTROL}.*"}, "3", f"{RPDU2_CONTROL}.3", f"{RPDU2_STATUS}.3"),
        (
            {"oid": f"{E}.850.1.1.3.2.3.3.1.1.6.1.*"},
            "4",
            f"{E}.850.1.1.3.2.3.3.1.1.6.1.4",
            f"{E}.850.1.1.3.2.3.3.1.1.4.1.4",
        ),
        ({"oid": f"{E}.4711.*.2.*.0"}, "6", f"{E}.4711.6.2.6.0", None),
        ({"oid": f"{CTL}.*", "status_oid": f"{E}.4711.*"}, "6", f"{CTL}.6", f"{E}.4711.6"),
        ({"oid": f".{CTL}.*", "status_oid": f".{E}.4711.*"}, "6", f"{CTL}.6", f"{E}.4711.6"),
        ({"oid": "", "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, "3", f"{CTL}.3", None),
    ],
)
def test_where_a_port_is(settings: dict[str, Any], port: str, control: str, status: str | None) -> None:
    whole = {"driver": "snmpv2c", **V2, **settings}
    assert SNMP.faults(whole) == {}
    assert SNMP.canonical_port(port, whole) == port
    row = SNMP("pdu", whole).row_of(port)
    assert row.puts("on", port) == [Put(control, 1)]
    assert (row.status or control) == (status or control)
    assert SNMP.reads_state(whole)


@pytest.mark.parametrize(
    ("settings", "value", "state"),
    [
        ({"oid": f"{E}.4711.*"}, "1", State.ON),
        ({"oid": f"{E}.4711.*"}, "2", State.OFF),
        ({"oid": f"{E}.4711.*"}, "3", State.UNKNOWN),
        ({"oid": f"{RPDU2_CONTROL}.*"}, "2", State.ON),
        ({"oid": f"{RPDU2_CONTROL}.*"}, "1", State.OFF),
        ({"oid": f"{RPDU2_CONTROL}.*", "onsetting": 2, "offsetting": 1}, "2", State.OFF),  # wired the other way round
        ({"oid": f".{RPDU2_CONTROL}.*", "onsetting": 2, "offsetting": 1}, "2", State.OFF),
        ({"oid": f"{CTL}.*", "onsetting": 2, "offsetting": 1}, "2", State.ON),
        ({"oid": f"{E}.4711.*", "status_on": 7, "status_off": "8"}, "7", State.ON),
        ({"oid": f"{E}.4711.*", "status_on": 7, "status_off": "8"}, "8", State.OFF),
        ({"oid": f"{E}.4711.*", "status_on": 7, "status_off": "8"}, "1", State.UNKNOWN),
        ({"oid": f"{E}.4711.*", "status_oid": f"{E}.4712.*", "status_off": 0}, "0", State.OFF),
        ({"oid": f"{E}.4711.*", "status_on": "closed"}, "closed", State.ON),
        ({"mib": "Sentry3-MIB", "controlpoint": "outletControlAction"}, "2", None),  # about to go off
        ({"oid": f".{E}.1718.3.2.3.1.11.1.1.*"}, "2", None),
    ],
)
def test_what_a_value_means(settings: dict[str, Any], value: str, state: State | None) -> None:
    assert SNMP("pdu", {"driver": "snmpv2c", **V2, **settings}).row_of("1").meant(value) is state


def test_a_column_that_tells_no_state() -> None:
    whole = {"driver": "snmpv1", **V2, "mib": "PowerNet-MIB", "controlpoint": "sPDUMasterControlSwitch"}
    assert SNMP.faults(whole) == {}
    assert not SNMP.reads_state(whole)
    with pytest.raises(PermanentError, match="cannot be read"):
        SNMP("pdu", whole).port_status(0)


@pytest.mark.parametrize(
    ("name", "settings", "key", "words"),
    [
        ("snmpv1", {"onsetting": 1, "offsetting": 2, "oid": f"{CTL}.*"}, "community", "is missing"),
        ("snmpv3", {**V2, "oid": f"{CTL}.*"}, "username", "is missing"),
        ("snmpv3", {**V2, "oid": f"{CTL}.*", "username": "me", "privpassphrase": PRIV}, "privpassphrase", "signed"),
        ("snmpv3", {**V2, "oid": f"{CTL}.*", "username": "me", "authpassphrase": "geheim!"}, "authpassphrase", "short"),
        (
            "snmpv3",
            {**V2, "oid": f"{CTL}.*", "username": "me", "authpassphrase": AUTH, "privpassphrase": "geheim!"},
            "privpassphrase",
            "is too short: SNMPv3 has no passphrase of fewer than 8 characters",
        ),
        ("snmpv3", {**V2, "oid": f"{CTL}.*", "username": "x" * 33}, "username", "is too long"),
        ("snmpv2c", V2, "oid", "is missing"),
        ("snmpv2c", {**V2, "oid": f"{CTL}.*", "mib": "PowerNet-MIB"}, "mib", "beside oid"),
        ("snmpv2c", {**V2, "oid": "PowerNet-MIB::sPDUOutletCtl.*"}, "oid", "is not a numeric OID"),
        ("snmpv2c", {**V2, "oid": f"{CTL}.*", "status_oid": "1.*.x"}, "status_oid", "is not a numeric OID"),
        ("snmpv2c", {**V2, "oid": f"{CTL}.3", "status_oid": f"{E}.4711.*"}, "status_oid", "it is one object"),
        (
            "snmpv2c",
            {**V2, "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtrl"},
            "controlpoint",
            "PowerNet-MIB sPDUOutletCtrl is not known here; did you mean 'PowerNet-MIB sPDUOutletCtl'?",
        ),
        (
            "snmpv2c",
            {**V2, "mib": "EATON-EPDU-MIB", "controlpoint": "outletControlOnCmd"},
            "controlpoint",
            "given as oid",
        ),
    ],
)
def test_faults_of_the_settings(name: str, settings: dict[str, Any], key: str, words: str) -> None:
    found = SNMP.faults({"driver": name, **settings})
    assert [*found] == [key]
    assert words in found[key]
    assert "geheim" not in found[key]


def test_the_longest_user_and_the_shortest_passphrase() -> None:
    login = {"username": "x" * 32, "authpassphrase": "x" * 8, "privpassphrase": "€€€"}  # of 9 bytes
    assert SNMP.faults({"driver": "snmpv3", **V2, "oid": f"{CTL}.*", **login}) == {}


@pytest.mark.parametrize(
    ("settings", "good", "bad"),
    [
        (
            {"oid": f"{CTL}.*"},
            {"03": "3", "0": "0", "01.2": "1.2"},
            ["x", "", "-1", "1.", ".1", "1..2", "1 2", "4294967296"],
        ),
        ({"oid": f"{CTL}.3"}, {"03": "1", "7": "1", "board": "1"}, ["-1", "a b"]),
        ({"oid": None, "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, {"03": "3", "1.2": "1.2"}, ["abc"]),
        ({"oid": "", "mib": "PowerNet-MIB", "controlpoint": "sPDUOutletCtl"}, {"03": "3"}, ["abc"]),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet2Status", "inside_number": True, "static_ending": 0},
            {"03": "1", "board": "1"},
            ["-1"],
        ),
        (
            {"mib": "ATEN-PE-CFG", "controlpoint": "outlet*Status", "inside_number": True, "static_ending": 0},
            {"03": "3", "24": "24"},
            ["0", "25", "1.1", "x"],
        ),
    ],
)
def test_ports(settings: dict[str, Any], good: dict[str, str], bad: list[str]) -> None:
    whole = {"driver": "snmpv1", **V2, **settings}
    assert {port: SNMP.canonical_port(port, whole) for port in good} == good
    for port in bad:
        with pytest.raises(ValueError, match=re.escape(repr(port))):
            SNMP.canonical_port(port, whole)


def test_one_object_has_one_port(daemon: Callable[..., Daemon]) -> None:
    with fake.Agent() as agent:
        settings = {"driver": "snmpv1", "community": fake.COMMUNITY, "snmpport": agent.port}
        settings |= {"oid": f".{CTL}.3", "onsetting": 1, "offsetting": 2}
        started = daemon({"127.0.0.1": settings, "127.0.0.2": {**settings, "locked": [7]}})
        assert started.power("on", "127.0.0.1", "board").status == 200
        assert agent.outlets["3"] == "on"
        assert started.power("status", "127.0.0.1", 8).text == "on\n"
        assert started.power("off", "127.0.0.2", 8).status == 403
        assert agent.outlets["3"] == "on"


# Rows: the shapes that the tables of other families will have. They are not registered: no configuration may name them.


class Rows(SNMPDriver):
    """A family that is nothing but rows."""


ON, OFF = State.ON, State.OFF
Rows.models = {
    "eaton_epdu": OutletRow(
        on=(Put(f"{E}.534.6.6.7.6.6.1.4.{{strap}}.{{n}}", 0),),
        off=(Put(f"{E}.534.6.6.7.6.6.1.3.{{strap}}.{{n}}", 0),),
        status=f"{E}.534.6.6.7.6.6.1.2.{{strap}}.{{n}}",
        states={1: ON, 0: OFF},
        pending=(2, 3),
        parts={"strap": 0},
        version="1",
    ),
    "apc_rpdu2": OutletRow(RPDU2_CONTROL + ".{n}", 1, 2, RPDU2_STATUS + ".{n}", {2: ON, 1: OFF}, outlets=8),
    "digipower": OutletRow(f"{E}.17420.1.2.9.{{pdu}}.13.0", parts={"pdu": 1}, syntax=Syntax.OCTETS, separator=","),
    "gauge": OutletRow(f"{E}.99999.7.{{n}}", 1, 0, syntax=Syntax.UNSIGNED),
    "shifted": OutletRow(f"{E}.99999.7.{{n+1}}", 1, 0, first=0, outlets=8, syntax=Syntax.UNSIGNED),
    "user": OutletRow(CTL + ".{n}", 1, 2, version="3"),
    "write_only": OutletRow(CTL + ".{n}", 1, 2, status=""),
}


def by_row(name: str, port: int, **settings: Any) -> Rows:
    made = Rows("127.0.0.1", {"driver": name, "snmpport": port, **settings})
    assert Rows.faults(made.settings) == {}
    return begun(made, 60)


@pytest.mark.parametrize(
    ("name", "port", "outlet"),
    [
        ("eaton_epdu", 6, "6"),
        ("eaton_epdu", "0.7", "7"),
        ("apc_rpdu2", 6, "6"),
        ("digipower", 6, "6"),
        ("digipower", "1.7", "7"),
        ("gauge", 6, "6"),
        ("shifted", 6, "7"),
    ],
)
def test_the_shapes_of_rows(net_snmp: Snmpd, name: str, port: int | str, outlet: str) -> None:
    for n in net_snmp.outlets:
        net_snmp.flip(n, "off")
    net_snmp.flip("8", "on")
    others = {n: state for n, state in net_snmp.outlets.items() if n != outlet}
    made = by_row(name, net_snmp.port)
    for state in ("on", "off", "on"):
        made.handle(state, port)
        assert net_snmp.outlets == {**others, outlet: state}
        assert made.handle("status", port) is State(state)
    net_snmp.flip(outlet, "off")
    assert made.handle("status", port) is State.OFF


EATON = f"{E}.534.6.6.7.6.6.1"
TABLES = {  # the same, typed from the facts sheets
    "eaton_epdu": fake.Table(
        on=(f"{EATON}.4.{{n}}", 0),
        off=(f"{EATON}.3.{{n}}", 0),
        status=f"{EATON}.2.{{n}}",
        states={1: "on", 0: "off"},
        pending=3,
        ports={"1": "0.1", "0.7": "0.7"},
    ),
    "apc_rpdu2": fake.Table(f"{RPDU2_CONTROL}.{{n}}", status=f"{RPDU2_STATUS}.{{n}}", states={2: "on", 1: "off"}),
    "gauge": fake.Table(f"{E}.99999.7.{{n}}", off=0, kind=wire.UNSIGNED),
    "shifted": fake.Table(f"{E}.99999.7.{{n}}", off=0, kind=wire.UNSIGNED, ports={"0": "1", "7": "8"}),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_shapes_of_rows_and_the_agent_by_their_tables(name: str) -> None:
    with fake.Agent(table=TABLES[name], lag=1 if name == "eaton_epdu" else 0) as agent:
        made = by_row(name, agent.port, community=fake.COMMUNITY)
        for port in agent.outlets:
            for state in ("on", "off", "on"):
                made.handle(state, port)
                assert agent.outlets[port] == state
                assert made.handle("status", port) is State(state)
                assert [*agent.outlets.values()].count("on") == [*agent.outlets].index(port) + (state == "on")


def test_a_pending_state_is_read_until_it_has_settled(net_snmp: Snmpd) -> None:
    made = by_row("eaton_epdu", net_snmp.port)
    made.handle("off", 6)
    (net_snmp.folder / "pending").write_text("1")
    begun = time.monotonic()
    assert made.handle("status", 6) is State.OFF
    assert 0.4 < time.monotonic() - begun < 20
    (net_snmp.folder / "pending").write_text("99")
    made.deadline = Deadline(0.8)
    assert made.handle("status", 6) is State.UNKNOWN
    (net_snmp.folder / "pending").write_text("0")


def test_an_outlet_that_the_string_does_not_have(net_snmp: Snmpd) -> None:
    made = by_row("digipower", net_snmp.port)
    for action in ("on", "status"):
        with pytest.raises(PermanentError, match="there is no outlet 9: the device tells of 8"):
            made.handle(action, 9)


class Absent(fake.Agent):
    """Has one string, in which its second outlet is absent."""

    def respond(self, pdu: wire.PDU, version: int) -> wire.PDU:
        self.pdus.append(pdu)
        return pdu.answered(0, (wire.OCTETS, b"1,-1,0"))


def test_an_outlet_that_is_absent() -> None:
    with Absent() as agent:
        made = by_row("digipower", agent.port, community=fake.COMMUNITY)
        with pytest.raises(PermanentError, match="outlet 2 cannot be switched: the device has '-1' for it"):
            made.handle("on", 2)
        assert made.handle("status", 2) is State.UNKNOWN
        assert {pdu.tag for pdu in agent.pdus} == {wire.GET}


def test_the_login_of_a_row() -> None:
    assert by_row("gauge", 1).login() == Community("private", "2c")
    assert by_row("eaton_epdu", 1).login() == Community("private", "1")
    assert by_row("eaton_epdu", 1, version="2C", community="other").login() == Community("other", "2c")
    assert by_row("user", 1, username="me").login() == User("me")
    assert by_row("gauge", 1, version=3, username="me", authpassphrase=AUTH).login() == User("me", AUTH)
    assert Rows.faults({"driver": "user"}) == {"username": "is missing: user of SNMPv3"}


def test_a_row_that_cannot_be_read() -> None:
    assert not Rows.reads_state({"driver": "write_only"})
    with pytest.raises(PermanentError, match="cannot be read"):
        by_row("write_only", 1).handle("status", 1)


def test_the_ports_of_rows() -> None:
    for name, good, bad in (
        ("eaton_epdu", {"06": "6", "0.6": "6", "00.06": "6", "1.6": "1.6"}, ["0", "1.2.6", "x"]),
        ("apc_rpdu2", {"1": "1", "8": "8"}, ["0", "9", "1.1"]),
        ("shifted", {"0": "0", "7": "7"}, ["8"]),
    ):
        settings = {"driver": name}
        assert {port: Rows.canonical_port(port, settings) for port in good} == good
        for port in bad:
            with pytest.raises(ValueError, match=re.escape(repr(port))):
                Rows.canonical_port(port, settings)


@pytest.mark.parametrize("name", strategies.names())
def test_every_row_makes_whole_oids(name: str) -> None:
    row = getattr(strategies.find(name), "models", {}).get(name)
    if isinstance(row, OutletRow) and strategies.find(name) is not SNMP:
        port = str(row.first)
        oids = [put.oid for put in (*row.puts("on", port), *row.puts("off", port))]
        for oid in [*oids, *([row.filled(row.status, port)] if row.status else [])]:
            assert OID.fullmatch(oid), oid


def test_the_symbols_are_whole_oids() -> None:
    for column in SYMBOLS.values():
        assert OID.fullmatch(column.oid), column
        assert not column.status or OID.fullmatch(column.status), column


# All of it


def test_snmpsim(tmp_path: Path) -> None:
    with snmpsim(tmp_path / "snmpsim") as port:
        logins = [
            Community("private"),
            Community("private", "1"),
            User("md5_3des", AUTH, PRIV, "", "USM_PRIV_CBC168_3DES"),
            User("md5_3des", AUTH, PRIV, "", "usm3DESEDEPrivProtocol"),
            User("sha224_aes", AUTH, PRIV, "USM_AUTH_HMAC128_SHA224", "USM_PRIV_CFB128_AES"),
        ]
        for outlet, login in enumerate(logins, 1):
            agent = at(port, login)
            assert agent.get(f"{CTL}.{outlet}", Deadline(60)) == 2
            switch(agent, outlet, 1)
            assert agent.get(f"{CTL}.{outlet}", Deadline(60)) == 1
        made = driver("snmpv1", community="private", snmpport=port, oid=f"{CTL}.*", onsetting=1, offsetting=2)
        made.handle("off", 1)
        assert made.handle("status", 1) is State.OFF


def test_the_daemon(net_snmp: Snmpd, daemon: Callable[..., Daemon]) -> None:
    user = {"username": "sha_aes", "authpassphrase": AUTH, "auth_protocol": "USM_AUTH_HMAC96_SHA"}
    user |= {"privpassphrase": PRIV, "priv_protocol": "USM_PRIV_CFB128_AES"}
    settings = {
        "driver": "snmpv3",
        "snmpport": net_snmp.port,
        "oid": f".{RPDU2_CONTROL}.*",
        "onsetting": 1,
        "offsetting": 2,
    }
    started = daemon({"127.0.0.1": {**settings, **user, "verify": True}})
    assert started.power("on", "127.0.0.1", 2).status == 200
    assert net_snmp.outlets["2"] == "on"
    net_snmp.flip("2", "off")
    assert started.power("status", "127.0.0.1", 2).text == "off\n"
    assert started.power("on", "127.0.0.1", "x").status == 503
    bad = started.power("on", "127.0.0.1", 99)
    assert (bad.status, bad.text.count("notWritable")) == (502, 1), bad
    run = started.run("--drive", "--hostname=127.0.0.1", "--port=2", "--request=on")
    assert run.returncode == 0, run
    assert "Traceback" not in run.stderr
    eventually(lambda: net_snmp.outlets["2"] == "on")
    assert started.stop() == 0
    assert AUTH not in started.log_text()
    assert PRIV not in started.log_text()
