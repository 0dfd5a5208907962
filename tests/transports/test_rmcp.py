# SPDX-License-Identifier: MIT
"""Sessions with a BMC that loses packets, is old, has no room, or wants something else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import datagrams, rmcp
from pdudaemon.transports.datagrams import Steps
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.ipmimessage import Answer
from pdudaemon.transports.rmcp import ADMINISTRATOR, Login, Session, talk
from tests.devices.base.device import Mood
from tests.devices.ipmi import PASSWORD, USER, LanBMC
from tests.support.patience import with_patience
from tests.support.process import eventually, nothing_left_behind

STATUS = (0x00, 0x01, b"", "the status")
CONTROL = (0x00, 0x02)
ON, OFF = (*CONTROL, b"\x01", "on"), (*CONTROL, b"\x00", "off")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 20.0)  # nothing is sent twice because an answer is late
    monkeypatch.setattr(rmcp, "_REST", 0.05)
    with nothing_left_behind():
        yield


def ask(
    bmc: LanBMC, *commands: tuple[int, int, bytes, str], seconds: float = 20, password: str = PASSWORD, **login: Any
) -> list[Answer]:
    """Ask all of it in one session, with the privilege for orders if there are any; a cycle is not sent again."""

    def act(session: Session) -> Steps[list[Answer]]:
        if any(each[:2] == CONTROL for each in commands):
            yield from session.raise_privilege()
        found = []
        for each in commands:
            found.append((yield from session.command(*each, once=each[:3] == (*CONTROL, b"\x02"))))
        agreed.append(session.suite)
        return found

    return talk("127.0.0.1", bmc.port, Deadline(seconds), Login(USER, password, **login), act).carried_on()


agreed: list[int] = []
"""The cipher suites of all sessions so far."""


@pytest.mark.parametrize(
    ("knows", "asked", "taken"), [((17, 3), 0, 17), ((3,), 0, 3), ((17, 3), 3, 3), ((17,), 17, 17)]
)
def test_suites(knows: tuple[int, ...], asked: int, taken: int) -> None:
    with LanBMC(suites=knows) as bmc:
        (said,) = ask(bmc, STATUS, suite=asked)
        assert agreed[-1] == taken and said.data[0] & 1 == 0
        eventually(lambda: not bmc.talks)  # the session is closed


def test_a_suite_that_it_does_not_have() -> None:
    for knows, asked in (((3,), 17), ((17,), 3), ((), 0)):
        with LanBMC(suites=knows) as bmc, pytest.raises(PermanentError, match=r"refuses the cipher suite: .*\(0x11\)$"):
            ask(bmc, STATUS, suite=asked)


def test_a_weaker_suite_is_not_taken_for_the_one_that_was_asked_for() -> None:
    class Weak(LanBMC):
        def open(self, payload: bytes) -> bytes:
            said = super().open(payload)
            return said[:24] + b"\0" + said[25:]  # no integrity

    with Weak() as bmc, pytest.raises(PermanentError, match=r"does not agree on cipher suite 3$"):
        ask(bmc, STATUS)


@pytest.mark.parametrize("lost", range(8))
def test_packets_that_are_lost_are_sent_again(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 0.1)

    class Lossy(LanBMC):
        heard = 0

        def answers(self, packet: bytes) -> list[bytes]:
            self.heard += 1
            said = super().answers(packet)
            return [] if self.heard == lost + 1 else said

    with Lossy() as bmc:
        done, state = ask(bmc, ON, STATUS)
        assert done.code == 0 and state.data[0] & 1 == 1
        eventually(lambda: not any(talk.k1 for talk in [*bmc.talks.values()]))  # but for one that was opened twice


def test_what_must_not_be_done_twice_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmcp, "_ONCE_SECONDS", 0.5)
    with LanBMC() as bmc:
        bmc.outlets["1"] = "on"
        bmc.deaf_to = CONTROL
        with pytest.raises(PermanentError, match=r"^no answer from \S+ at a cycle, which may have been done$"):
            ask(bmc, (*CONTROL, b"\x02", "a cycle"))
        assert [each[2] for each in bmc.asked if each[:2] == CONTROL] == [b"\x02"]


def test_an_order_that_may_be_done_twice_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(LanBMC):
        def carried_out(self, talk: Any, message: bytes) -> bytes:
            said = super().carried_out(talk, message)
            self.deaf_to = CONTROL if len([each for each in self.asked if each[:2] == CONTROL]) == 1 else None
            return said

    def attempt(seconds: float) -> None:
        monkeypatch.setattr(datagrams, "_FIRST_WAIT", seconds)
        with Deaf() as bmc:
            assert ask(bmc, ON, seconds=60)[0].code == 0
            assert [each[2] for each in bmc.asked if each[:2] == CONTROL] == [b"\x01"] * 2

    with_patience(attempt, 0.1)


def test_answers_that_come_twice_or_late_answer_nothing_else() -> None:
    class Twice(LanBMC):
        earlier: tuple[bytes, ...] = ()

        def answers(self, packet: bytes) -> list[bytes]:
            said = super().answers(packet)
            repeated, self.earlier = [*self.earlier, *said, *said], (*self.earlier, *said)
            return repeated

    with Twice() as bmc:
        said = ask(bmc, ON, STATUS, OFF, STATUS, ON, STATUS)
        assert [each.code for each in said] == [0] * 6 and [each.data[0] & 1 for each in said[1::2]] == [1, 0, 1]


def test_a_wrong_password_is_told_without_it() -> None:
    with LanBMC() as bmc:
        with pytest.raises(PermanentError) as caught:
            ask(bmc, STATUS, password="something-else")
        assert str(caught.value) == f"login refused by 127.0.0.1:{bmc.port}: the password does not match"
        eventually(lambda: not bmc.talks)  # what was begun was ended
        bmc.username = "somebody"
        with pytest.raises(PermanentError, match=r"^login refused by \S+: there is no such user, or .*\(0x0d\)$"):
            ask(bmc, STATUS)


def test_a_key_of_the_bmc() -> None:
    with LanBMC() as bmc:
        bmc.key = b"0123456789abcdefghij"
        assert ask(bmc, STATUS, key=bmc.key)[0].code == 0
        with pytest.raises(TransientError, match=r"the last proof does not match; is there a key \(kg\)\?$"):
            ask(bmc, STATUS)


def test_a_privilege_that_the_user_does_not_have() -> None:
    with LanBMC() as bmc, pytest.raises(PermanentError, match=r"^login refused by .*this privilege \(0x0a\)$"):
        ask(bmc, STATUS, privilege=ADMINISTRATOR)


def test_a_bmc_that_knows_ipmi_1_5_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmcp, "_EXPLAIN_SECONDS", 30.0)
    with LanBMC() as bmc:
        bmc.modern = False
        with pytest.raises(
            PermanentError, match=r"^127\.0\.0\.1:\d+ knows IPMI 1\.5 alone, whose sessions are not encr"
        ):
            ask(bmc, STATUS, seconds=0.3)


def test_no_room_for_another_session() -> None:
    class Full(LanBMC):
        refused = 0

        def open(self, payload: bytes) -> bytes:
            self.refused += 1
            self.mood = Mood.BUSY if self.refused < 3 else Mood.WELL
            return super().open(payload)

    with Full(Mood.BUSY) as bmc:
        assert ask(bmc, STATUS)[0].code == 0 and bmc.refused == 3
    with (
        LanBMC(Mood.BUSY) as bmc,
        pytest.raises(TransientError, match=r"opening a session: it has no room .*\(0x01\)$"),
    ):
        ask(bmc, STATUS)


def test_a_busy_bmc_is_asked_again() -> None:
    class Busy(LanBMC):
        def carried_out(self, talk: Any, message: bytes) -> bytes:
            said = super().carried_out(talk, message)
            return b"\xc0" if len(self.asked) < 3 else said

    with Busy() as bmc:
        assert ask(bmc, STATUS)[0].code == 0 and len([each for each in bmc.asked if each[:2] == (0, 1)]) == 3


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 0.1)
    monkeypatch.setattr(rmcp, "_EXPLAIN_SECONDS", 0.3)
    with (
        LanBMC(Mood.DEAF) as bmc,
        pytest.raises(DeviceTimeout, match=r"^no answer from \S+ at opening a session within"),
    ):
        ask(bmc, STATUS, seconds=0.3)
    with LanBMC(Mood.GONE) as bmc, pytest.raises(TransientError, match=r"^nobody listens at 127.0.0.1:\d+ \(UDP\)$"):
        ask(bmc, STATUS)
    with pytest.raises(TransientError, match=r"^cannot resolve 'no\.such\.invalid': "):
        talk("no.such.invalid", 623, Deadline(5), Login(USER, PASSWORD), lambda session: session.raise_privilege())


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
