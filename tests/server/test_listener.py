# SPDX-License-Identifier: MIT
"""`Listener`: what it binds, who comes by it, whom it lets ask, and what another configuration makes of it."""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.errors import Denied, Unavailable
from pdudaemon.server import unixsocket
from pdudaemon.server.access import Access, certified
from pdudaemon.server.client import Client
from pdudaemon.server.listener import Listener
from pdudaemon.server.refusals import Refusals
from pdudaemon.server.tls import TLSSocket
from tests.support.certificate import self_signed
from tests.support.process import descriptors, eventually
from tests.support.tokens import SECRET, good

HERE = Client("127.0.0.1", 7)
Make = Callable[..., Listener]


@pytest.fixture
def make() -> Iterator[Make]:
    """A function that makes a listener, on any free port unless its options say otherwise."""
    made: list[Listener] = []

    def listener(access: Access | None = None, **words: Any) -> Listener:
        made.append(Listener(options(**words), access or Access(), Refusals(lambda when, call: None)))
        return made[-1]

    yield listener
    for each in made:
        each.server_close()


def options(**words: Any) -> ListenerOptions:
    where = {} if "socket" in words else {"port": 0}
    return ListenerOptions({"protocol": "both", **where, **words})


def accepted(listener: Listener) -> tuple[Any, Any]:
    """Return the connection of a client that has come, as the acceptor gets it."""
    result: list[tuple[Any, Any]] = []

    def take() -> bool:
        try:
            result.append(listener.get_request())
        except BlockingIOError:
            return False
        return True

    eventually(take)
    return result[0]


def test_who_comes_by_an_address_is_called_by_his_own(make: Make) -> None:
    listener = make()
    with socket.create_connection(listener.server_address, 30) as client:
        sock, address = accepted(listener)
        with sock:
            assert address == client.getsockname() and isinstance(sock, socket.socket)
    with pytest.raises(BlockingIOError):
        listener.get_request()


def test_who_comes_by_a_file_is_called_by_its_kind(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "s"
    listener = make(socket=str(path), socket_mode="0640")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and [*tmp_path.iterdir()] == [path]
    assert caplog.messages == [f"listening on {path} (both)"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        sock, address = accepted(listener)
        with sock:
            assert address == ("unix", 0)
    listener.server_close()
    assert not [*tmp_path.iterdir()]


def test_who_is_to_speak_tls_and_does_not_is_noted(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    self_signed(tmp_path / "key", tmp_path / "pem")
    caplog.set_level(logging.INFO)
    listener = make(certificate=str(tmp_path / "pem"), key=str(tmp_path / "key"))
    port = listener.server_address[1]
    assert caplog.messages == [f"listening on 127.0.0.1:{port} (both, TLS)"]
    with socket.create_connection(listener.server_address, 30) as client:
        sock, address = accepted(listener)
        assert isinstance(sock, TLSSocket) and address == client.getsockname()
        client.sendall(b"pdu 1 on\n")
        eventually(lambda: refuses(sock))
        assert caplog.messages[1:] == [f"127.0.0.1:{client.getsockname()[1]} did not begin with TLS"]
        sock.close()
        assert client.recv(100) == b"nack: this port speaks TLS\n"


def refuses(sock: TLSSocket) -> bool:
    try:
        sock.recv(100)
    except BlockingIOError:
        return False
    except ConnectionAbortedError:
        return True
    return False


def test_whether_everybody_may_ask(make: Make) -> None:
    assert make().open
    assert not make(Access(SECRET)).open
    assert not make(allow=["127.0.0.0/8"]).open
    listener = make()
    listener.renew(options(allow=["127.0.0.0/8"]), Access(), None)
    assert not listener.open
    listener.renew(options(), Access(SECRET), None)
    assert not listener.open
    listener.renew(options(), Access(), None)
    assert listener.open


def test_whom_it_lets_ask(make: Make) -> None:
    assert make().permit(HERE, "") is HERE and make().permit(HERE, None) is HERE
    by_network = make(allow=["192.0.2.0/24"])
    assert by_network.permit(Client("192.0.2.7", 7), None) == Client("192.0.2.7", 7)
    with pytest.raises(Denied, match=r"127\.0\.0\.1 is not in the networks that are allowed here") as denied:
        by_network.permit(HERE, None)
    assert denied.value.http_status == 403
    by_token = make(Access(SECRET))
    named = by_token.permit(HERE, f"Bearer {good(sub='ann')}")
    assert (named.name, named.roles, named.text) == ("ann", None, "127.0.0.1:7 (ann)")
    roles = by_token.permit(HERE, f"Bearer {good(roles=['a', 'b'])}")
    assert (roles.name, roles.roles, roles.address) == ("", ("a", "b"), "127.0.0.1")
    assert by_token.permit(HERE, f"Bearer {good(roles=[])}").roles == ()
    assert by_token.permit(HERE, f"Bearer {good()}") is HERE
    with pytest.raises(Denied, match="a token is needed"):
        by_token.permit(HERE, "")


def test_whom_a_certificate_lets_ask(make: Make) -> None:
    """Which is wanted where there are no tokens, and takes the place of one where there are."""
    shown = certified("ann", ("a",), "77")
    listener = make()
    listener.renew(options(client_ca="/ca"), Access(), None)
    assert not listener.open
    with pytest.raises(Denied, match="a certificate is needed here") as denied:
        listener.permit(HERE, "")
    assert denied.value.http_status == 403
    for access in (Access(), Access(SECRET)):
        listener.renew(options(client_ca="/ca"), access, None)
        found = listener.permit(HERE, "", shown)
        assert (found.name, found.roles) == ("ann", ("a",))
    assert listener.permit(HERE, f"Bearer {good(sub='bob')}", shown).name == "bob"
    with pytest.raises(Denied, match="a token is needed"):
        listener.permit(HERE, "")
    listener.renew(options(client_ca="/ca"), Access(revoked=["77"]), None)
    with pytest.raises(Denied, match="the certificate has been revoked"):
        listener.permit(HERE, "", shown)


def test_its_file_is_as_the_configuration_says(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"
    listener = make(socket=str(path), socket_mode="0600")
    listener.renew(options(socket=str(path), socket_mode="0666"), Access(), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 and listener.options.socket_mode == "0666"
    path.chmod(0o640)
    listener.renew(options(socket=str(path), socket_mode="0666"), Access(SECRET), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and not listener.open, "the same options: it is left alone"
    other = options(socket=str(path), socket_mode="0600", socket_owner="nobody-of-that-name")
    listener.renew(other, Access(), None)
    assert [each for each in caplog.messages if "socket_owner" in each or str(path) in each] == [
        f"{path}: socket_owner: getpwnam(): name not found: 'nobody-of-that-name'"
    ]
    assert listener.options is other and listener.open


def test_a_file_that_cannot_be_dressed_leaves_nothing(make: Make, tmp_path: Path) -> None:
    before = descriptors()
    for owner, why in (("nobody-such", "getpwnam"), (":nobody-such", "getgrnam")):
        with pytest.raises(Unavailable, match=f"cannot listen on .*: socket_owner: {why}"):
            make(socket=str(tmp_path / "s"), socket_owner=owner)
        assert not [*tmp_path.iterdir()] and descriptors() <= before


def test_a_file_is_given_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where that is asked for: the service may not even ask the kernel to leave it as it is."""
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda *words: given.append(words))
    path = str(tmp_path / "s")
    (tmp_path / "s").touch()
    for owner in ("", "root", "root:root", ":root"):
        unixsocket.dress(path, options(socket=path, socket_owner=owner))
    assert given == [(path, 0, -1), (path, 0, 0), (path, -1, 0)]


def test_a_path_has_to_fit(tmp_path: Path) -> None:
    folder = str(tmp_path)
    longest = f"{folder}/{'x' * (107 - len(folder) - 1)}"
    unixsocket.check(longest)
    for path in (f"{longest}x", f"{folder}/{'x' * (99 - len(folder))}/s"):
        with pytest.raises(OSError, match="the path is too long for a socket") as error:
            unixsocket.check(path)
        assert error.value.strerror == "the path is too long for a socket"


def test_only_its_own_file_is_taken_away(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = make(socket=str(path))
    path.rename(tmp_path / "old")
    path.touch()
    listener.server_close()
    assert path.exists()
    again = make(socket=str(tmp_path / "t"))
    (tmp_path / "t").unlink()
    again.server_close()  # nothing is there any more


def test_what_nobody_listens_at_is_taken_over(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        with pytest.raises(Unavailable, match="Address already in use"):
            left.listen()
            make(socket=str(path))
    listener = make(socket=str(path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        accepted(listener)[0].close()


def test_who_is_too_busy_to_answer_listens_all_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as clients:
        busy.bind(path)
        busy.listen(0)
        with suppress(BlockingIOError):
            for _ in range(100):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
        with pytest.raises(OSError):
            unixsocket.check(path)
