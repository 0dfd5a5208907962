# SPDX-License-Identifier: MIT
"""Which of the sockets that are handed over are taken, shut, kept and given up; and listeners that take them.

By real programs and a service manager it is tried in `test_handover`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.errors import ConfigError, Unavailable
from pdudaemon.server import handover
from pdudaemon.server.access import Access
from pdudaemon.server.handover import Handover, address_of, name_of
from pdudaemon.server.listener import Listener
from pdudaemon.server.refusals import Refusals
from tests.support.ports import free_ports

FIRST = 300  # of the descriptors here, of which the others are in use


class Manager:
    """A service manager: what it was asked to ``keep``, by name, and what it was asked to ``drop``."""

    present = True

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.dropped: list[str] = []

    def keep(self, name: str, descriptor: int) -> None:
        self.kept[name] = os.stat(descriptor).st_ino

    def drop(self, name: str) -> None:
        self.dropped.append(name)


HandOver = Callable[..., Handover]


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def hand_over(monkeypatch: pytest.MonkeyPatch, manager: Manager) -> Iterator[HandOver]:
    """A function that hands over sockets by names, and takes what is wanted at some listeners."""
    monkeypatch.setattr(handover, "FIRST", FIRST)
    made: list[Handover] = []

    def hand_over(
        *named: tuple[str | None, socket.socket], wanted: tuple[ListenerOptions, ...] = (), **words: str
    ) -> Handover:
        for number, (_, sock) in enumerate(named, FIRST):
            os.dup2(sock.fileno(), number, inheritable=True)
        names = ":".join(name for name, _ in named if name is not None)
        told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": names, **words}
        for word, text in told.items():
            monkeypatch.setenv(word, text)
        made.append(Handover(manager, wanted))
        return made[-1]

    yield hand_over
    for each in made:
        for handed in each._handed:
            handed.socket.close()


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def options(**words: Any) -> ListenerOptions:
    return ListenerOptions({"protocol": "tcp", **words})


def listener(given: ListenerOptions, handover: Handover) -> Listener:
    return Listener(given, Access(), Refusals(lambda when, call: None), handover)


def refused(where: Any) -> bool:
    """Whether nobody listens at a place."""
    with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as sock:
        sock.settimeout(30)
        try:
            sock.connect(where)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        return False


def test_a_socket_at_a_wanted_address_is_taken_once(
    hand_over: HandOver, sockets: ExitStack, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = (sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
    where = one.getsockname()
    wanted = (options(hostname="127.0.0.1", port=where[1]), options(hostname="127.0..1", port=1))
    found = hand_over(("pdudaemon.socket", one), ("pdudaemon-x", other), wanted=wanted)
    gone = other.getsockname()
    (told,) = caplog.messages
    assert told == (
        f"nothing is served at 127.0.0.1 port {gone[1]} (pdudaemon-x), as the service manager hands it over: "
        "no listener is configured there"
    )
    assert refused(gone) and manager.dropped == ["pdudaemon-x"]
    assert found.take(gone) is None and found.take(("127.0.0.2", where[1])) is None
    taken = found.take(where)
    assert taken is not None and taken.name == "pdudaemon.socket" and taken.of_unit
    assert not os.get_inheritable(taken.socket.fileno()) and found.take(where) is None
    taken.socket.close()
    assert not refused(where)  # it is the same socket that was handed over


def test_what_a_daemon_of_another_version_has_named_is_taken_by_its_address(
    hand_over: HandOver, sockets: ExitStack
) -> None:
    one = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    where = one.getsockname()
    found = hand_over(("pdudaemon-other", one), wanted=(options(hostname="127.0.0.1", port=where[1]),))
    taken = found.take(where)
    assert taken is not None and not taken.of_unit
    taken.socket.close()


def test_a_unit_is_asked_for_nothing_of_what_is_shut(
    hand_over: HandOver, sockets: ExitStack, manager: Manager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    file = sockets.enter_context(socket.socket(socket.AF_UNIX))
    file.bind(str(tmp_path / "s"))
    file.listen()
    nowhere = sockets.enter_context(socket.socket(socket.AF_UNIX))
    nowhere.bind(f"\0{tmp_path}")
    nowhere.listen()
    hand_over(("unit", one), ("", file), ("", nowhere))
    assert refused(one.getsockname()) and refused(str(tmp_path / "s")) and not manager.dropped
    places = [each.partition("served at ")[2].partition(", as the")[0] for each in caplog.messages]
    assert places[0].startswith("127.0.0.1 port") and places[0].endswith(" (unit)")
    assert places[1] == f"{tmp_path / 's'} (without a name)"
    assert places[2] == f"@{tmp_path} (without a name)" and len(places) == 3


def test_what_is_no_listening_socket_is_not_taken(
    hand_over: HandOver, sockets: ExitStack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datagrams = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    deaf = sockets.enter_context(socket.socket())
    plain: Any = sockets.enter_context((tmp_path / "plain").open("w"))
    well = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    where = well.getsockname()
    wanted = (options(hostname="127.0.0.1", port=where[1]),)
    packets = sockets.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    packets.bind(str(tmp_path / "packets"))
    packets.listen()
    given = (("datagrams", datagrams), ("deaf", deaf), ("plain", plain), ("packets", packets), (None, well))
    found = hand_over(*given, wanted=wanted, LISTEN_FDS="6")
    assert [each.partition(", handed over as ")[::2] for each in caplog.messages] == [
        (f"descriptor {FIRST}", "'datagrams', is not taken: nobody can connect there"),
        (f"descriptor {FIRST + 1}", "'deaf', is not taken: nobody can connect there"),
        (f"descriptor {FIRST + 2}", "'plain', is not taken: Socket operation on non-socket"),
        (f"descriptor {FIRST + 3}", "'packets', is not taken: nobody can connect there"),
        (f"descriptor {FIRST + 5}", "'', is not taken: Bad file descriptor"),
    ]
    for number in (FIRST, FIRST + 1, FIRST + 3):
        with pytest.raises(OSError):
            os.fstat(number)
    taken = found.take(where)
    assert taken is not None and (taken.name, taken.of_unit) == ("", True)
    taken.socket.close()
    os.close(FIRST + 2)


@pytest.mark.parametrize("words", [{"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "x"}, {"LISTEN_FDS": ""}])
def test_what_is_handed_to_another_process_is_not_ours(
    hand_over: HandOver, sockets: ExitStack, words: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    one = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    found = hand_over(("unit", one), **words)
    assert found.take(one.getsockname()) is None and not refused(one.getsockname()) and not caplog.messages
    os.close(FIRST)


def test_what_is_kept_has_a_name_for_its_place(manager: Manager, tmp_path: Path, sockets: ExitStack) -> None:
    found = Handover(manager)
    one = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    (tmp_path / "s").touch()
    (tmp_path / "t").touch()
    names = [
        found.keep(where, one.fileno()) for where in (("a", 1), ("a", 2), str(tmp_path / "s"), str(tmp_path / "t"))
    ]
    assert len({*names}) == 4 and all(name.startswith("pdudaemon-") for name in names)
    assert {*manager.kept} == {*names} and {*manager.kept.values()} == {os.fstat(one.fileno()).st_ino}
    assert name_of(("a", 1)) == names[0] and name_of(str(tmp_path / "s")) == names[2]
    assert name_of(("127.0.0.1", 16421)) == "pdudaemon-a5515565876ae2fa", "so that the next version finds it"
    (tmp_path / "s").rename(tmp_path / "old")
    (tmp_path / "s").touch()
    assert name_of(str(tmp_path / "s")) != names[2], "another file is another place"
    assert found.keep(("a", 0), one.fileno()) == "" and len(manager.kept) == 4


def test_what_is_closed_stays_with_the_manager_when_the_daemon_leaves(manager: Manager) -> None:
    found = Handover(manager)
    assert not found.given_up("") and not manager.dropped
    assert not found.given_up("x") and manager.dropped == ["x"]
    found.leaving = True
    assert found.given_up("x") is True and found.given_up("") is False and manager.dropped == ["x"]
    nobody = Handover()
    nobody.keep(("a", 1), 0)
    assert nobody.given_up("x") is False
    nobody.leaving = True
    assert nobody.given_up("x") is False


def test_the_address_of_a_listener() -> None:
    assert address_of(options(hostname="127.0.0.1", port=7)) == (socket.AF_INET, ("127.0.0.1", 7))
    assert address_of(options(hostname="", port=7)) == (socket.AF_INET, ("0.0.0.0", 7))
    assert address_of(options(hostname="::1", port=7)) == (socket.AF_INET6, ("::1", 7, 0, 0))
    assert address_of(options(hostname="localhost", port=7))[0] == socket.AF_INET


def test_a_listener_takes_what_is_handed_over_and_leaves_it(
    hand_over: HandOver, sockets: ExitStack, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = (sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
    wanted = tuple(options(hostname="127.0.0.1", port=each.getsockname()[1]) for each in (one, other))
    kept = name_of(one.getsockname())
    found = hand_over((kept, one), ("unit", other), wanted=wanted)
    caplog.set_level("INFO")
    before, unit = (listener(each, found) for each in wanted)
    assert [each.partition(" (")[2] for each in caplog.messages] == [
        "tcp, as the daemon before hands over)",
        "tcp, as unit hands over)",
    ]
    for own, given in ((before, one), (unit, other)):
        assert os.fstat(own.fileno()).st_ino == os.fstat(given.fileno()).st_ino
        assert own.server_address == given.getsockname() and not own.socket.getblocking()
    assert {*manager.kept} == {kept}  # that of the unit is the unit's
    found.leaving = True
    for each in (before, unit):
        each.server_close()
    assert not manager.dropped and not refused(one.getsockname())


def test_a_listener_that_is_given_up_is_kept_no_more(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found, port = Handover(manager), free_ports()[0]
    own = listener(options(hostname="127.0.0.1", port=port), found)
    assert caplog.messages == [f"listening on 127.0.0.1:{port} (tcp)"]
    assert manager.kept == {name_of(("127.0.0.1", port)): os.fstat(own.fileno()).st_ino}
    own.server_close()
    assert manager.dropped == [*manager.kept] and refused(("127.0.0.1", port))


def test_a_file_that_is_handed_over_is_taken_if_it_is_the_same(
    hand_over: HandOver, sockets: ExitStack, manager: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    first = listener(options(socket=str(path), socket_mode="0600"), Handover(manager))
    (name,) = manager.kept
    kept = sockets.enter_context(first.socket.dup())
    wanted = options(socket=str(path), socket_mode="0660")
    found = hand_over((name, kept), wanted=(wanted,))
    again = listener(wanted, found)
    assert path.stat().st_mode & 0o777 == 0o660 and os.fstat(again.fileno()).st_ino == os.fstat(kept.fileno()).st_ino
    found.leaving = True
    again.server_close()
    assert path.exists() and not refused(str(path))
    other = Handover(manager)
    assert other.take(str(path)) is None
    path.unlink()
    path.touch()
    found = hand_over((name, kept), wanted=(wanted,))
    assert found.take(str(path)) is None and manager.dropped == [name], "another file"
    path.unlink()
    found = hand_over((name, kept), wanted=(wanted,))
    assert found.take(str(path)) is None, "no file"
    first.server_close()


def test_a_file_of_a_unit_is_left_as_it_is(
    hand_over: HandOver, sockets: ExitStack, manager: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    unit = sockets.enter_context(socket.socket(socket.AF_UNIX))
    unit.bind(str(path))
    unit.listen()
    path.chmod(0o640)
    wanted = options(socket=str(path), socket_mode="0666")
    own = listener(wanted, hand_over(("unit", unit), wanted=(wanted,)))
    own.renew(options(socket=str(path), socket_mode="0600"), Access(), None)
    assert path.stat().st_mode & 0o777 == 0o640
    own.server_close()
    assert path.exists() and not manager.kept and not manager.dropped


def test_where_nobody_can_listen(tmp_path: Path, sockets: ExitStack) -> None:
    taken = sockets.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    for words, kind, why in (
        ({"hostname": "127.0.0.1", "port": taken}, Unavailable, f"127.0.0.1 port {taken}: Address already in use"),
        ({"hostname": "192.0.2.1", "port": 1}, Unavailable, "192.0.2.1 port 1: Cannot assign requested address"),
        ({"hostname": "127.0..1", "port": 7}, ConfigError, "127.0..1 port 7: "),
        ({"socket": str(tmp_path / "no" / "s")}, Unavailable, f"{tmp_path / 'no' / 's'}: No such file or directory"),
    ):
        with pytest.raises(kind) as error:
            listener(options(**words), Handover())
        assert str(error.value).startswith(f"cannot listen on {why}"), error.value
    assert not [*tmp_path.iterdir()]
