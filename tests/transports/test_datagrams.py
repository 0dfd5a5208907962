# SPDX-License-Identifier: MIT
"""Conversations over UDP: many at a time by one thread, each with its own time, its own faults and its own end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import datagrams
from pdudaemon.transports.datagrams import Conversation, Question, Steps, connected, soon
from pdudaemon.transports.deadline import Deadline
from tests.support.patience import with_patience
from tests.support.process import eventually, nothing_left_behind


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 20.0)  # nothing is sent twice because an answer is late
    with nothing_left_behind():
        yield


@contextmanager
def echo(answers: Callable[[bytes], Iterable[bytes]]) -> Iterator[int]:
    """Answer every packet; yield the port."""
    closing = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.settimeout(0.05)

        def serve() -> None:
            while not closing.is_set():
                try:
                    packet, client = here.recvfrom(4096)
                except TimeoutError:
                    continue
                for answer in answers(packet):
                    here.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(here.getsockname()[1])
        finally:
            closing.set()
            thread.join()


def question(said: bytes, wanted: bytes, deadline: Deadline, once: bool = False) -> Question[bytes]:
    return Question(lambda: said, lambda got: got if got == wanted else None, f"asking {said!r}", deadline, once)


def carry(port: int, steps: Steps[object], seconds: float = 10, stopping: threading.Event | None = None) -> object:
    line = connected("127.0.0.1", port, "device")
    try:
        return Conversation(steps, line, "device", Deadline(seconds, stopping)).carried_on()
    finally:
        assert line.fileno() == -1


def test_many_at_a_time_by_one_thread() -> None:
    def steps(number: int) -> Steps[int]:
        for turn in range(3):
            said = b"%d/%d" % (number, turn)
            yield question(said, b"=" + said, Deadline(20))
        threads.add(threading.current_thread().name)
        return number

    threads: set[str] = set()
    with echo(lambda packet: [b"=" + packet]) as port, ThreadPoolExecutor(100) as pool:
        assert [*pool.map(lambda number: carry(port, steps(number)), range(300))] == [*range(300)]
    assert threads == {"datagrams"}


def test_what_is_lost_is_sent_again_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def third(packet: bytes) -> list[bytes]:
        heard.append(packet)
        return [b"noise"] if len(heard) < 3 else [b"ok"]

    def steps(once: bool = False) -> Steps[bytes]:
        return (yield question(b"?", b"ok", Deadline(0.5 if once else 60), once))

    def attempt(seconds: float) -> None:
        monkeypatch.setattr(datagrams, "_FIRST_WAIT", seconds)
        heard.clear()
        with echo(third) as port:
            assert carry(port, steps(), 60) == b"ok" and heard == [b"?"] * 3
            heard.clear()
            with pytest.raises(DeviceTimeout, match=r"^no answer from device at asking b'\?' within 0.5 s$"):
                carry(port, steps(once=True))
            eventually(lambda: heard == [b"?"])

    with_patience(attempt, 0.1)


def test_a_fault_in_one_conversation_is_none_of_the_others() -> None:
    def broken(where: str) -> Steps[None]:
        def packet() -> bytes:
            return b"%d" % (1 // 0 if where == "packet" else 1)

        def understood(got: bytes) -> bytes:
            return b"%d" % (1 // 0 if where == "answer" else 1)

        yield Question(packet, understood, "a fault", Deadline(10))
        if where == "steps":
            raise ZeroDivisionError

    said: list[object] = []

    def wait() -> None:
        with pytest.raises(DeviceTimeout):
            carry(port, patient())
        said.append("waited")

    def patient() -> Steps[None]:
        yield question(b"?", b"never", Deadline(1))

    with echo(lambda packet: [packet]) as port:
        thread = threading.Thread(target=wait)
        thread.start()
        for where in ("packet", "answer", "steps"):
            with pytest.raises(ZeroDivisionError):
                carry(port, broken(where))
        thread.join()
    assert said == ["waited"]


def test_errors_go_into_the_conversation() -> None:
    def steps() -> Steps[str]:
        try:
            yield question(b"?", b"never", Deadline(0.2))
        except DeviceTimeout:
            yield question(b"!", b"!", Deadline(10))
            return "recovered"
        raise AssertionError

    with echo(lambda packet: [packet]) as port:
        assert carry(port, steps()) == "recovered"


def test_a_refusal_is_what_the_caller_gets() -> None:
    def steps() -> Steps[None]:
        yield question(b"?", b"?", Deadline(10))
        raise PermanentError("no")

    with echo(lambda packet: [packet]) as port, pytest.raises(PermanentError, match=r"^no$"):
        carry(port, steps())


def test_nobody_listens() -> None:
    def steps() -> Steps[None]:
        yield question(b"?", b"?", Deadline(10))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = int(gone.getsockname()[1])
    with pytest.raises(TransientError, match=r"^nobody listens at device \(UDP\)$"):
        carry(port, steps())


def test_a_pause_ends_when_the_daemon_stops() -> None:
    told: list[str] = []

    def steps() -> Steps[str]:
        yield question(b"1", b"1", Deadline(10))
        yield 0.05
        yield question(b"2", b"2", Deadline(10))
        timer.start()
        try:
            yield 60.0
        except TransientError as error:
            told.append(str(error))
            yield question(b"3", b"3", Deadline(10))
            raise
        raise AssertionError

    stopping = threading.Event()
    timer = threading.Timer(0.3, stopping.set)
    with echo(lambda packet: [packet]) as port:
        begun = time.monotonic()
        with pytest.raises(TransientError, match=r"^interrupted, since the daemon stops$"):
            carry(port, steps(), 90, stopping)
        timer.join()
    assert told == ["interrupted, since the daemon stops"] and time.monotonic() - begun < 50


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[127.0.0.1]"])
def test_a_device_is_where_its_address_or_name_leads(host: str) -> None:
    def steps() -> Steps[bytes]:
        found: bytes = yield question(b"?", b"?", Deadline(10))
        return found

    with echo(lambda packet: [packet]) as port, connected(host, port, "device") as line:
        assert line.getpeername() == ("127.0.0.1", port) and not line.getblocking()
        assert Conversation(steps(), line, "device", Deadline(10)).carried_on() == b"?"


@pytest.mark.parametrize("host", ["300.1.1.1", "no such host", "a\0b", "", "x" * 70])
def test_a_host_that_there_is_not(host: str) -> None:
    with pytest.raises(TransientError, match=r"^cannot resolve |^no way to device: "):
        connected(host, 623, "device").close()


def test_after_questions_that_are_answered_a_late_one_is_asked_again_in_its_own_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[bytes] = []
    sent: list[float] = []

    def answers(packet: bytes) -> list[bytes]:
        heard.append(packet)
        return [packet] if packet != b"lost" or heard.count(b"lost") == 3 else []

    def lost() -> bytes:
        sent.append(time.monotonic())
        return b"lost"

    def steps() -> Steps[None]:
        for said in (b"1", b"2", b"3"):
            yield question(said, said, Deadline(60))
        yield Question(lost, lambda got: got if got == b"lost" else None, "asking", Deadline(60))
        yield question(b"4", b"4", Deadline(60))

    def attempt(seconds: float) -> None:
        monkeypatch.setattr(datagrams, "_FIRST_WAIT", seconds)
        heard.clear()
        sent.clear()
        with echo(answers) as port:
            carry(port, steps(), 60)
        assert heard == [b"1", b"2", b"3", b"lost", b"lost", b"lost", b"4"]
        first, second, third = sent
        assert second - first >= seconds and third - second >= 1.5 * seconds  # later each time, and when it is due

    with_patience(attempt, 0.1)


def test_a_question_with_less_time_than_the_one_before_is_not_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def steps() -> Steps[str]:
        yield question(b"1", b"1", Deadline(60))
        try:
            yield question(b"2", b"never", Deadline(0.01), once=True)
        except DeviceTimeout as error:
            return str(error)
        raise AssertionError

    monkeypatch.setattr(datagrams, "_FIRST_WAIT", 50.0)  # until the first is looked at
    begun = time.monotonic()
    with echo(lambda packet: [packet]) as port:
        assert carry(port, steps(), 60) == "no answer from device at asking b'2' within 0.01 s"
    assert time.monotonic() - begun < 40


def test_a_pause_lasts_no_longer_than_the_deadline_and_there_is_none_past_it() -> None:
    def steps() -> Steps[str]:
        yield 60.0
        try:
            yield 60.0
        except DeviceTimeout as error:
            return str(error)
        raise AssertionError

    def attempt(seconds: float) -> None:
        begun = time.monotonic()
        with echo(lambda packet: [packet]) as port:
            assert carry(port, steps(), seconds) == f"no answer within {seconds:g} s"
        assert seconds <= time.monotonic() - begun < 40

    with_patience(attempt)


def test_what_comes_during_a_pause_answers_nothing() -> None:
    """Nor is it an error that nobody listens then."""
    heard: list[bytes] = []

    def twice(packet: bytes) -> list[bytes]:
        heard.append(packet)
        return [packet, b"late", b"late"]

    def steps(seconds: float) -> Steps[list[bytes]]:
        got = [(yield question(b"1", b"1", Deadline(10)))]
        yield seconds
        got.append((yield Question(lambda: b"2", lambda said: said, "anything", Deadline(10))))
        return got

    def attempt(seconds: float) -> None:
        heard.clear()
        with echo(twice) as port:
            assert carry(port, steps(seconds), 60) == [b"1", b"2"]
        assert heard == [b"1", b"2"]

    with_patience(attempt)


def test_an_answer_behind_others_is_not_late_because_the_thread_was() -> None:
    answered, go_on = threading.Event(), threading.Event()
    deadline = Deadline(0.2)

    def answers(packet: bytes) -> Iterator[bytes]:
        yield from [b"noise"] * 5
        yield packet
        answered.set()

    def packet() -> bytes:
        assert soon(lambda: go_on.wait(60))
        return b"?"

    def steps() -> Steps[bytes]:
        return (yield Question(packet, lambda got: got if got == b"?" else None, "asking", deadline, once=True))

    with echo(answers) as port, ThreadPoolExecutor(1) as pool:
        said = pool.submit(carry, port, steps(), 60)
        assert answered.wait(60)
        while time.monotonic() < deadline.when:
            threading.Event().wait(0.05)
        go_on.set()
        assert said.result(60) == b"?"


def test_calls_are_made_by_the_thread_in_order_and_once_if_they_wait_already() -> None:
    made: list[tuple[str, str]] = []
    ended = threading.Event()

    def note(what: str) -> None:
        made.append((what, threading.current_thread().name))

    def later() -> None:
        note("later")

    def first() -> None:
        for _ in range(3):
            assert soon(later)
        assert soon(ended.set)
        note("first")

    assert soon(first) and ended.wait(30)
    assert made == [("first", "datagrams"), ("later", "datagrams")]


def test_one_conversation_after_another_is_begun_by_the_thread() -> None:
    left = 50
    done = threading.Event()
    said: list[bytes] = []

    def steps() -> Steps[bytes]:
        return (yield question(b"?", b"?", Deadline(20)))

    def begin() -> None:
        line = connected("127.0.0.1", port, "device")
        one: Conversation[bytes] = Conversation(steps(), line, "device", Deadline(20))
        one.begin(lambda: follow(one))

    def follow(one: Conversation[bytes]) -> None:
        nonlocal left
        said.append(one.outcome())
        left -= 1
        if left:
            begin()
        else:
            done.set()

    with echo(lambda packet: [packet]) as port:
        begin()
        assert done.wait(60)
    assert said == [b"?"] * 50


def test_one_that_follows_another_and_ends_at_once_is_told_as_well() -> None:
    def broken() -> Steps[None]:
        yield Question(lambda: b"%d" % (1 // 0), lambda got: got, "a fault", Deadline(20))

    def begin(left: int) -> None:
        line = connected("127.0.0.1", port, "device")
        one = Conversation(broken(), line, "device", Deadline(20))
        one.begin(lambda: follow(one, left))

    def follow(one: Conversation[None], left: int) -> None:
        with pytest.raises(ZeroDivisionError):
            one.outcome()
        if left:
            begin(left - 1)
        else:
            done.set()

    done = threading.Event()
    with echo(lambda packet: []) as port:
        begin(3)
        assert done.wait(30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_ends_what_is_under_way_and_another_thread_goes_on() -> None:
    def steps() -> Steps[None]:
        asked.release()
        yield question(b"?", b"never", Deadline(60))

    def fault() -> None:
        assert soon(after.set)
        raise ZeroDivisionError

    raised: list[BaseException] = []

    def wait() -> None:
        try:
            carry(port, steps(), 60)
        except ZeroDivisionError as error:
            raised.append(error)

    asked, after = threading.Semaphore(0), threading.Event()
    with echo(lambda packet: [packet]) as port:
        waits = [threading.Thread(target=wait) for _ in range(3)]
        for each in waits:
            each.start()
        assert all(asked.acquire(timeout=30) for _ in waits)
        assert soon(fault) and after.wait(30)
        for each in waits:
            each.join(60)
        assert len(raised) == 3
        assert carry(port, iter_once()) == b"again"


def iter_once() -> Steps[bytes]:
    return (yield question(b"again", b"again", Deadline(20)))


def test_without_a_thread_it_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with echo(lambda packet: [packet]) as port:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert soon(lambda: None) is False
            with pytest.raises(TransientError, match=r"^no thread for it$"):
                carry(port, iter_once())
        assert carry(port, iter_once()) == b"again"
