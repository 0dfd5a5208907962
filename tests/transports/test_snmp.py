# SPDX-License-Identifier: MIT
"""SNMP, the transport: against net-snmp, snmpsim and an agent of our own.

The whole file runs with pysnmp 7.1 and with 4.4.12 of Debian 12: it needs nothing but pytest beside them.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import snmpengine
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.snmp import Agent, Community, Syntax, User
from tests.devices.base import snmp as fake
from tests.devices.base.device import Mood
from tests.peers import snmp as peers
from tests.peers.snmp import AUTH, PRIV, Snmpd, snmpd, snmpsim
from tests.support import snmpmessage as wire
from tests.support.patience import with_patience
from tests.support.ports import free_ports
from tests.support.process import ROOT, eventually

E = "1.3.6.1.4.1"
CTL = f"{E}.318.1.1.4.4.2.1.3"
RPDU2_CONTROL = f"{E}.318.1.1.26.9.2.4.1.5"
RPDU2_STATUS = f"{E}.318.1.1.26.9.2.3.1.5"
PRIVATE = Community("private")
SHA_AES = ("USM_AUTH_HMAC96_SHA", "USM_PRIV_CFB128_AES")


@pytest.fixture(scope="module", autouse=True)
def compiled_once() -> Iterator[None]:
    """Have pysnmp compile its two dozen MIBs once, and not for each engine anew, which is half of what one takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pysnmp.smi.builder.compile", functools.cache(compile), raising=False)
        yield


def at(port: int, login: Community | User = PRIVATE, patience: float = 5.0) -> Agent:
    return Agent("127.0.0.1", port, login, patience)


def switch(agent: Agent, outlet: int, value: int | str = 1, syntax: Syntax = Syntax.INTEGER) -> None:
    agent.set(f"{CTL}.{outlet}", value, syntax, Deadline(60))


# Against net-snmp


@pytest.mark.parametrize("version", ["1", "2c"])
def test_set_and_get(net_snmp: Snmpd, version: str) -> None:
    agent = at(net_snmp.port, Community("private", version))
    for state, value in (("on", 1), ("off", 2), ("on", 1)):
        switch(agent, 1, value)
        assert net_snmp.outlets["1"] == state
        assert agent.get(f".{CTL}.1", Deadline(60)) == value
    assert agent.get("1.3.6.1.2.1.1.5.0", Deadline(60)) == socket.gethostname()
    assert agent.get("1.3.6.1.2.1.1.2.0", Deadline(60)) == f"{E}.8072.3.2.10"


@pytest.mark.parametrize("login", [Community("private", "1"), PRIVATE, User("sha_aes", AUTH, PRIV, *SHA_AES)])
@pytest.mark.parametrize("bulk", [True, False])
def test_columns_and_many_objects_at_once(net_snmp: Snmpd, login: Community | User, bulk: bool) -> None:
    for n in net_snmp.outlets:
        net_snmp.flip(n, "on" if n in "28" else "off")
    agent = at(net_snmp.port, login)
    wanted = {(int(n),): 1 if n in "28" else 2 for n in net_snmp.outlets}
    reversed_ = {index: 3 - value for index, value in wanted.items()}
    columns = [CTL, f".{RPDU2_STATUS}", f"{E}.318.1.1.99", CTL]
    assert agent.columns(columns, Deadline(60), bulk) == [wanted, reversed_, {}, wanted]
    assert agent.columns([f"{E}.534.6.6.7.6.6.1.2"], Deadline(60), bulk)[0].keys() == {(0, n) for n in range(1, 9)}
    oids = [f"{CTL}.{n}" for n in range(1, 9)] + [f"{CTL}.9", f"{RPDU2_STATUS}.2", f"{E}.9.9", f"{CTL}.1", f"{CTL}.2"]
    assert agent.values(oids, Deadline(60)) == [2, 1, 2, 2, 2, 2, 2, 1, None, 2, None, 2, 1]
    assert agent.columns([], Deadline(60)) == [] and agent.values([], Deadline(60)) == []


class Circling(fake.Agent):
    """Has the same object after each."""

    def _next(self, name: str) -> str:
        return f"{CTL}.1"


class Narrow(fake.Agent):
    """Has room for one object in an answer, and says so."""

    def respond(self, pdu: wire.PDU, version: int) -> wire.PDU:
        much = len(pdu.objects) * (pdu.index or 1 if pdu.tag == wire.BULK else 1) > 1
        return pdu.answered(wire.TOO_BIG) if much else super().respond(pdu, version)


class Vague(fake.Agent):
    """Says that some object is not there, and not which."""

    def respond(self, pdu: wire.PDU, version: int) -> wire.PDU:
        answer = super().respond(pdu, version)
        return answer._replace(index=0) if answer.status else answer


@pytest.mark.parametrize("version", ["1", "2c"])
@pytest.mark.parametrize("kind", [Narrow, Vague, fake.Agent])
def test_columns_of_an_agent_with_limits(kind: type[fake.Agent], version: str) -> None:
    with kind() as agent:
        asked = at(agent.port, Community(fake.COMMUNITY, version))
        wanted = {(n,): 2 for n in range(1, 9)}
        assert asked.columns([f"{E}.9", CTL, f"{E}.999", CTL], Deadline(60)) == [{}, wanted, {}, wanted]
        assert asked.values([f"{CTL}.1", f"{E}.9.1", f"{CTL}.8", f"{CTL}.9"], Deadline(60)) == [2, None, 2, None]


def test_columns_of_an_agent_that_goes_round_in_circles_or_does_not_answer() -> None:
    with Circling() as agent, pytest.raises(TransientError, match="goes round in circles at GETBULK"):
        at(agent.port, Community(fake.COMMUNITY)).columns([CTL], Deadline(60))
    with fake.Agent(Mood.DEAF) as agent, pytest.raises(DeviceTimeout, match=r"no answer from .* to GETBULK"):
        at(agent.port, Community(fake.COMMUNITY), 0.3).columns([CTL], Deadline(60))
    with fake.Agent(Mood.BUSY) as agent, pytest.raises(TransientError, match=r"refused GETBULK .*resourceUnavailable"):
        at(agent.port, Community(fake.COMMUNITY)).columns([CTL, f"{E}.9"], Deadline(60))


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


# Against an agent of our own


def test_silence_ends_with_the_patience_and_with_the_deadline() -> None:
    with fake.Agent(Mood.DEAF) as deaf:
        for patience, seconds in ((0.4, 60), (60, 2)):
            begun = time.monotonic()
            with pytest.raises(DeviceTimeout, match=rf"within {min(patience, seconds)} s"):
                at(deaf.port, patience=patience).get(f"{CTL}.1", Deadline(seconds))
            assert time.monotonic() - begun < 30
        eventually(lambda: deaf.sessions == 8)  # four times each
        time.sleep(0.6)
        assert deaf.sessions == 8  # and nothing is sent when nobody waits any more


def test_lost_messages_are_sent_again() -> None:
    def attempt(seconds: float) -> None:
        with fake.Agent(lose=3) as agent:
            switch(at(agent.port, Community(fake.COMMUNITY), seconds), 1)
            assert agent.outlets["1"] == "on"
            assert agent.sessions == 4

    with_patience(attempt, 1.2)


def test_an_answer_to_the_first_of_them_counts() -> None:
    def attempt(seconds: float) -> None:
        with fake.Agent(late=seconds * 0.87) as agent:  # the answer to the second comes too late
            switch(at(agent.port, Community(fake.COMMUNITY), seconds), 1)

    with_patience(attempt, 1.5)


@pytest.fixture
def slow_engines(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what gives the process engines that take so many seconds to be made, as on a busy machine."""
    kind = snmpengine.engines()._kind

    def make(seconds: float) -> None:
        class Slow(kind):  # type: ignore[misc, valid-type]
            def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
                threading.Event().wait(seconds)
                super().__init__(loop)

        monkeypatch.setattr(snmpengine, "_MAKING", 600.0)
        fresh = snmpengine.Engines(Slow)
        monkeypatch.setattr(snmpengine, "engines", lambda: fresh)

    return make


@pytest.mark.parametrize(
    "login",
    [
        Community(fake.COMMUNITY, "1"),
        Community(fake.COMMUNITY),
        User(fake.USER, fake.PASSPHRASE, "", "USM_AUTH_HMAC96_SHA"),
    ],
    ids=["1", "2c", "3"],
)
def test_the_first_question_of_a_process_has_all_its_time(
    login: Community | User, slow_engines: Callable[[float], None]
) -> None:
    """The time of the agent, and of the action, begins when there is an engine to ask with."""

    def attempt(seconds: float) -> None:
        slow_engines(seconds + 0.2)
        with fake.Agent(late=0.1) as agent:
            deadline = Deadline(seconds)
            at(agent.port, login, seconds).set(f"{CTL}.1", 1, Syntax.INTEGER, deadline)
            assert agent.outlets["1"] == "on"
            assert at(agent.port, login, seconds).get(f"{CTL}.1", deadline) == 1

    with_patience(attempt, 1.5)


def test_a_deaf_agent_is_asked_at_intervals_however_long_the_engine_took(slow_engines: Callable[[float], None]) -> None:
    slow_engines(2.2)
    with fake.Agent(Mood.DEAF) as deaf:
        begun = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"within 1 s"):
            switch(at(deaf.port, patience=1.0), 1)
        assert time.monotonic() - begun > 3.0
        eventually(lambda: deaf.sessions == 4)


@pytest.mark.long
def test_nobody_pays_for_the_engines_of_others(slow_engines: Callable[[float], None]) -> None:
    """Each user of SNMPv3 has an engine, and all are made on one thread: whoever is first waits for the last as well."""
    users = [User(fake.USER, passphrase, "", "USM_AUTH_HMAC96_SHA") for passphrase in ("the first one", "the second")]
    logins = [*users, Community(fake.COMMUNITY)]

    def attempt(seconds: float) -> None:
        slow_engines(seconds + 0.2)
        with fake.Agent(late=0.1, passphrase="the first one") as agent, ThreadPoolExecutor(3) as workers:
            asked = [
                workers.submit(switch, at(agent.port, login, seconds), outlet)
                for outlet, login in enumerate(logins, start=1)
            ]
            assert isinstance(asked[1].exception(), PermanentError)  # not a time-out
            assert [asked[0].exception(), asked[2].exception()] == [None, None]
            assert [port for port, state in agent.outlets.items() if state == "on"] == ["1", "3"]

    with_patience(attempt, 2.0)


@pytest.mark.long
def test_a_deaf_agent_delays_nobody_else() -> None:
    with fake.Agent(Mood.DEAF) as deaf, fake.Agent() as well, ThreadPoolExecutor(9) as workers:
        waiting = workers.submit(switch, at(deaf.port, patience=6.0), 1)
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


@pytest.mark.parametrize("host", ["pdu.invalid", "a..b", "x" * 70])
def test_a_name_that_is_not_known(host: str) -> None:
    with pytest.raises(TransientError, match=f"^cannot resolve {re.escape(repr(host))}: "):
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
