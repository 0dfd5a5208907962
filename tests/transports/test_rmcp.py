# SPDX-License-Identifier: MIT
"""Sessions with a BMC that loses packets, is old, has no room, or wants something else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import rmcp
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.rmcp import ADMINISTRATOR, Login, Session
from tests.devices.base.device import Mood
from tests.devices.ipmi import PASSWORD, USER, LanBMC
from tests.support.process import nothing_left_behind

STATUS = (0x00, 0x01, b"", "the status")
CONTROL = (0x00, 0x02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(rmcp, "_FIRST_WAIT", 0.1)
    monkeypatch.setattr(rmcp, "_REST", 0.05)
    monkeypatch.setattr(rmcp, "_EXPLAIN_SECONDS", 0.3)
    with nothing_left_behind():
        yield


def session(bmc: LanBMC, seconds: float = 20, password: str = PASSWORD, **login: Any) -> Session:
    return Session("127.0.0.1", bmc.port, Deadline(seconds), Login(USER, password, **login))


@pytest.mark.parametrize(
    ("knows", "asked", "agreed"), [((17, 3), 0, 17), ((3,), 0, 3), ((17, 3), 3, 3), ((17,), 17, 17)]
)
def test_suites(knows: tuple[int, ...], asked: int, agreed: int) -> None:
    with LanBMC(suites=knows) as bmc:
        with session(bmc, suite=asked) as talk:
            assert talk.suite == agreed and talk.command(*STATUS).data[0] & 1 == 0
        assert not bmc.talks, "the session is closed"


def test_a_suite_that_it_does_not_have() -> None:
    for knows, asked in (((3,), 17), ((17,), 3), ((), 0)):
        with LanBMC(suites=knows) as bmc, pytest.raises(PermanentError, match=r"refuses the cipher suite: .*\(0x11\)$"):
            session(bmc, suite=asked).__enter__()


def test_a_weaker_suite_is_not_taken_for_the_one_that_was_asked_for() -> None:
    class Weak(LanBMC):
        def open(self, payload: bytes) -> bytes:
            said = super().open(payload)
            return said[:24] + b"\0" + said[25:]  # no integrity

    with Weak() as bmc, pytest.raises(PermanentError, match=r"does not agree on cipher suite 3$"):
        session(bmc).__enter__()


@pytest.mark.parametrize("lost", range(8))
def test_packets_that_are_lost_are_sent_again(lost: int) -> None:
    class Lossy(LanBMC):
        heard = 0

        def answers(self, packet: bytes) -> list[bytes]:
            self.heard += 1
            said = super().answers(packet)
            return [] if self.heard == lost + 1 else said

    with Lossy() as bmc:
        with session(bmc) as talk:
            talk.raise_privilege()
            assert talk.command(*CONTROL, b"\x01", "on").code == 0
            assert talk.command(*STATUS).data[0] & 1 == 1
        assert all(not talk.k1 for talk in bmc.talks.values()), "but for one that was opened twice"


def test_what_must_not_be_done_twice_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmcp, "_ONCE_SECONDS", 0.5)
    with LanBMC() as bmc:
        bmc.outlets["1"] = "on"
        bmc.deaf_to = CONTROL
        with session(bmc) as talk:
            talk.raise_privilege()
            with pytest.raises(PermanentError, match=r"^no answer from \S+ at a cycle, which may have been done$"):
                talk.command(*CONTROL, b"\x02", "a cycle", once=True)
        assert [each[2] for each in bmc.asked if each[:2] == CONTROL] == [b"\x02"]


def test_an_order_that_may_be_done_twice_is_sent_again() -> None:
    class Deaf(LanBMC):
        def carried_out(self, talk: Any, message: bytes) -> bytes:
            said = super().carried_out(talk, message)
            self.deaf_to = CONTROL if len([each for each in self.asked if each[:2] == CONTROL]) == 1 else None
            return said

    with Deaf() as bmc:
        with session(bmc) as talk:
            talk.raise_privilege()
            assert talk.command(*CONTROL, b"\x01", "on").code == 0
        assert [each[2] for each in bmc.asked if each[:2] == CONTROL] == [b"\x01"] * 2


def test_answers_that_come_twice_or_late_answer_nothing_else() -> None:
    class Twice(LanBMC):
        earlier: tuple[bytes, ...] = ()

        def answers(self, packet: bytes) -> list[bytes]:
            said = super().answers(packet)
            repeated, self.earlier = [*self.earlier, *said, *said], (*self.earlier, *said)
            return repeated

    with Twice() as bmc, session(bmc) as talk:
        talk.raise_privilege()
        for order, state in ((b"\x01", 1), (b"\x00", 0), (b"\x01", 1)):
            assert talk.command(*CONTROL, order, "an order").code == 0
            assert talk.command(*STATUS).data[0] & 1 == state


def test_a_wrong_password_is_told_without_it() -> None:
    with LanBMC() as bmc:
        with pytest.raises(PermanentError) as caught:
            session(bmc, password="something-else").__enter__()
        assert str(caught.value) == f"login refused by 127.0.0.1:{bmc.port}: the password does not match"
        with session(bmc):
            assert len(bmc.talks) == 1, "what was begun before was ended"
        bmc.username = "somebody"
        with pytest.raises(PermanentError, match=r"^login refused by \S+: there is no such user, or .*\(0x0d\)$"):
            session(bmc).__enter__()


def test_a_key_of_the_bmc() -> None:
    with LanBMC() as bmc:
        bmc.key = b"0123456789abcdefghij"
        with session(bmc, key=bmc.key) as talk:
            assert talk.command(*STATUS).code == 0
        with pytest.raises(TransientError, match=r"the last proof does not match; is there a key \(kg\)\?$"):
            session(bmc).__enter__()


def test_a_privilege_that_the_user_does_not_have() -> None:
    with LanBMC() as bmc, pytest.raises(PermanentError, match=r"^login refused by .*this privilege \(0x0a\)$"):
        session(bmc, privilege=ADMINISTRATOR).__enter__()


def test_a_bmc_that_knows_ipmi_1_5_alone() -> None:
    with LanBMC() as bmc:
        bmc.modern = False
        with pytest.raises(
            PermanentError, match=r"^127\.0\.0\.1:\d+ knows IPMI 1\.5 alone, whose sessions are not encr"
        ):
            session(bmc, seconds=0.3).__enter__()


def test_no_room_for_another_session() -> None:
    class Full(LanBMC):
        refused = 0

        def open(self, payload: bytes) -> bytes:
            self.refused += 1
            self.mood = Mood.BUSY if self.refused < 3 else Mood.WELL
            return super().open(payload)

    with Full(Mood.BUSY) as bmc, session(bmc) as talk:
        assert talk.command(*STATUS).code == 0 and bmc.refused == 3
    with (
        LanBMC(Mood.BUSY) as bmc,
        pytest.raises(TransientError, match=r"opening a session: it has no room .*\(0x01\)$"),
    ):
        session(bmc).__enter__()


def test_a_busy_bmc_is_asked_again() -> None:
    class Busy(LanBMC):
        def carried_out(self, talk: Any, message: bytes) -> bytes:
            said = super().carried_out(talk, message)
            return b"\xc0" if len(self.asked) < 3 else said

    with Busy() as bmc, session(bmc) as talk:
        assert talk.command(*STATUS).code == 0 and len(bmc.asked) == 3


def test_nobody_answers() -> None:
    with (
        LanBMC(Mood.DEAF) as bmc,
        pytest.raises(DeviceTimeout, match=r"^no answer from \S+ at opening a session within"),
    ):
        session(bmc, seconds=0.3).__enter__()
    with LanBMC(Mood.GONE) as bmc, pytest.raises(TransientError, match=r"^nobody listens at 127.0.0.1:\d+ \(UDP\)$"):
        session(bmc).__enter__()
    with pytest.raises(TransientError, match=r"^cannot resolve 'no\.such\.invalid': "):
        Session("no.such.invalid", 623, Deadline(5), Login(USER, PASSWORD)).__enter__()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0xC0, TransientError, "node busy (0xc0)"),
        (0xD4, PermanentError, "the privilege is not sufficient (0xd4)"),
        (0x99, PermanentError, "completion code (0x99)"),
    ],
)
def test_completion_codes(code: int, kind: type[Exception], words: str) -> None:
    error = rmcp.refusal("bmc:623", "the order 'on'", code)
    assert type(error) is kind and re.fullmatch(r"bmc:623 refuses the order 'on': .*", str(error))
    assert str(error).endswith(words)
