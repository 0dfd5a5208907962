# SPDX-License-Identifier: MIT
"""`read_first` over a pair of sockets: a request goes on once the names are read, or cannot be, or take too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.engine.inventory import NamesUnknown
from pdudaemon.errors import Busy, Locked, PDUDaemonError, RequestError, TransientError
from pdudaemon.power import Outlet, Target
from pdudaemon.server.connections import Exchange
from pdudaemon.server.naming import GRACE, read_first, resolved
from tests.support.pair import Pair, connected, unanswered

Told = Callable[[PDUDaemonError | None], None]


class Asking(Exchange):
    """What a client is ``told``, and how often his request went on."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.connection)
        self.pair = pair
        self.told: list[str] = []
        self.went_on = 0
        self.fault: Exception | None = None

    def refuse(self, error: PDUDaemonError) -> None:
        self.told.append(str(error))

    def go_on(self) -> None:
        self.went_on += 1
        if self.fault is not None:
            raise self.fault


class Surveys:
    """PDUs whose names are not known, by the seconds that each may take; what is to be told of each is in ``asked``."""

    def __init__(self, **unread: float) -> None:
        self.unread = lambda _: [*unread]
        self.config: Any = SimpleNamespace(
            pdus={name: SimpleNamespace(options=SimpleNamespace(timeout=seconds)) for name, seconds in unread.items()}
        )
        self.surveys = self
        self.asked: dict[str, Told] = {}
        self.refusing: set[str] = set()

    def ask(self, name: str, told: Told) -> None:
        if name in self.refusing:
            raise Busy(f"{name} is stuck")
        self.asked[name] = told


class Resolving:
    """What finds out which outlets are meant, or says why it cannot."""

    def __init__(self, error: RequestError | None) -> None:
        self.surveys = self
        self.config = "the configuration"
        self._error = error

    def resolved(self, target: Target, config: object, *, switching: bool) -> Target:
        assert config == "the configuration" and switching
        if self._error is not None:
            raise self._error
        return Target(f"{target.name} found", target.outlets)


@pytest.mark.parametrize(
    ("error", "whole", "told"),
    [
        (None, (), "x found"),
        (NamesUnknown("a", "they are not read"), (), "they are not read"),
        (RequestError("others: a, b"), ("a", "b"), "others: a, b"),
        (RequestError("others: a, b"), ("a",), "x: there is no such outlet"),
        (Locked("others: a, b"), (), "x: there is no such outlet"),
    ],
)
def test_why_a_name_means_nothing_is_for_who_may_see_all(
    error: RequestError | None, whole: tuple[str, ...], told: str
) -> None:
    dispatcher: Any = Resolving(error)
    rights: Any = SimpleNamespace(sees_whole=whole.__contains__)
    target = Target("x", (Outlet("a", "name:x"), Outlet("b", "name:x")))
    if error is None:
        assert resolved(dispatcher, target, rights, switching=True).name == told
        return
    with pytest.raises(type(error)) as refused:
        resolved(dispatcher, target, rights, switching=True)
    assert str(refused.value) == told


@pytest.fixture
def asking() -> Iterator[Asking]:
    speech: Any = None
    with connected(lambda _: speech) as pair:
        yield Asking(pair)


def first(surveys: Any, asking: Asking) -> bool:
    return read_first(surveys, asking, [], asking.go_on)


def test_nothing_to_read_is_no_reason_to_wait(asking: Asking) -> None:
    assert first(Surveys(), asking) is False and not asking.went_on and asking.late is None


def test_it_goes_on_when_all_are_read_or_cannot_be(asking: Asking) -> None:
    surveys = Surveys(a=5.0, b=9.0, c=3.0)
    surveys.refusing.add("c")
    assert first(surveys, asking) is True
    assert asking.pair.has(9.0 + GRACE)
    surveys.asked["a"](None)
    assert not asking.went_on
    surveys.asked["b"](TransientError("b does not answer"))
    assert asking.went_on == 1 and not asking.told


def test_it_goes_on_once_although_it_was_late(asking: Asking) -> None:
    surveys = Surveys(a=5.0)
    first(surveys, asking)
    assert asking.late is not None
    asking.late()
    later: Any = asking.connection.connections
    later.done_later.pop()()
    assert asking.went_on == 1
    surveys.asked["a"](None)
    assert asking.went_on == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (RequestError("there is no outlet called 'x'"), "there is no outlet called 'x'"),
        (KeyError("x"), "internal error: see the log of the daemon"),
    ],
)
def test_why_it_does_not_go_on_is_told(
    asking: Asking, fault: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    surveys = Surveys(a=5.0)
    asking.fault = fault
    first(surveys, asking)
    surveys.asked["a"](None)
    assert asking.told == [told] and not unanswered(asking)
    logged = [each.message for each in caplog.records if each.exc_info]
    assert logged == ([] if isinstance(fault, PDUDaemonError) else ["a request could not be handed over"])


@pytest.mark.parametrize("fault", [RequestError("no"), KeyError("x")])
def test_who_has_been_answered_is_not_told_once_more(asking: Asking, fault: Exception) -> None:
    surveys = Surveys(a=5.0)
    asking.fault = fault
    first(surveys, asking)
    assert unanswered(asking)
    surveys.asked["a"](None)
    assert asking.went_on == 1 and not asking.told
