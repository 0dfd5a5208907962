# SPDX-License-Identifier: MIT
"""`TLSSocket` by itself: a client of OpenSSL's at the other end of a pair, step by step, without a daemon."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import ListenerOptions
from pdudaemon.errors import ConfigError
from pdudaemon.server import tls
from pdudaemon.server.tls import TLSSocket
from tests.support.certificate import Authority, trusting


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def options(lab: Authority) -> ListenerOptions:
    certificate, key = lab.issue("server")
    return options_of(certificate, key)


def options_of(certificate: object, key: object, client_ca: object = "") -> ListenerOptions:
    words = {"certificate": str(certificate), "key": str(key), "client_ca": str(client_ca)}
    return ListenerOptions({"protocol": "both", **words})


class Client:
    """A client that says and hears what it is told to, when it is told to."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def does(self, step: Callable[[], Any]) -> Any:
        """Take a step as far as it can be taken, and send what comes of it; None: it wants more of the other side."""
        try:
            return step()
        except ssl.SSLWantReadError:
            return None
        finally:
            if said := self.outgoing.read():
                self.socket.sendall(said)

    def hears(self) -> bool:
        """Take in what has come; return whether more may come."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return True
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()
        return bool(data)


class Pair:
    """Both ends, and what the server's was told of handshakes that failed."""

    def __init__(self, options: ListenerOptions, client: ssl.SSLContext) -> None:
        ours, theirs = socket.socketpair()
        self.told: list[str] = []
        context = tls.context(options)
        assert context is not None
        self.context = context
        self.server = TLSSocket(ours, context, self.told.append)
        self.server.setblocking(False)
        theirs.setblocking(False)
        self.client = Client(theirs, client)

    def taken(self) -> bytes | None:
        """Return what the server's end receives, None if there is nothing yet."""
        try:
            return self.server.recv(1 << 16)
        except BlockingIOError:
            return None

    def shake(self) -> None:
        while self.client.does(lambda: self.client.tls.do_handshake() or True) is None:
            assert self.taken() is None and self.client.hears()
        assert self.taken() is None


@pytest.fixture
def make(options: ListenerOptions, lab: Authority) -> Iterator[Callable[..., Pair]]:
    """A function that makes a pair; ``alpn``: what the client would like to speak over TLS; ``shown``: a certificate."""
    made: list[Pair] = []

    def pair(*alpn: str, shown: tuple[Path, Path] | None = None) -> Pair:
        context = trusting(lab.certificate)
        if alpn:
            context.set_alpn_protocols([*alpn])
        if shown:
            context.load_cert_chain(*shown)
        made.append(Pair(options_of(options.certificate, options.key, lab.certificate), context))
        return made[-1]

    yield pair
    for each in made:
        each.server.close()
        each.client.socket.close()


def test_who_would_like_http_2_is_told_that_it_is_http_1(make: Callable[..., Pair]) -> None:
    pair = make("h2", "http/1.1")
    pair.shake()
    assert pair.client.tls.selected_alpn_protocol() == "http/1.1"


def test_nobody_is_waited_for(make: Callable[..., Pair]) -> None:
    pair = make()
    with pytest.raises(BlockingIOError):
        pair.server.recv(100)
    assert not pair.client.does(pair.client.tls.do_handshake) and pair.taken() is None
    with pytest.raises(ConnectionAbortedError):  # at this point, there is nobody to read it
        pair.server.send(b"ack\n")
    pair.shake()
    assert pair.taken() is None and pair.server.send(b"ack\n") == 4
    assert pair.client.hears() and pair.client.does(lambda: pair.client.tls.read(100)) == b"ack\n"
    assert pair.client.does(lambda: pair.client.tls.write(b"pdu 1 on\n")) == 9 and pair.taken() == b"pdu 1 on\n"


def test_what_the_network_does_not_take_comes_again_and_arrives_once(make: Callable[..., Pair]) -> None:
    """No more is made than the network takes, but for a record."""
    pair = make()
    pair.shake()
    whole = os.urandom(3_000_001)
    left, found, refused = whole, b"", 0
    while len(found) < len(whole):
        try:
            sent = pair.server.send(left)
            assert sent > 0
            left = left[sent:]
        except BlockingIOError:
            refused += 1
            assert pair.client.hears()
            while data := pair.client.does(lambda: pair.client.tls.read(1 << 20)):
                found += data
    assert found == whole and refused >= 3 and not left


def test_what_was_said_before_the_client_left_is_taken_and_answered(make: Callable[..., Pair]) -> None:
    """Though it left without a word of TLS that it would; one that still listens is told that this is all."""
    pair = make()
    pair.shake()
    pair.client.does(lambda: pair.client.tls.write(b"pdu 1 on\n"))
    pair.client.socket.shutdown(socket.SHUT_WR)
    assert pair.taken() == b"pdu 1 on\n" and pair.taken() == b""
    assert pair.server.send(b"ack\n") == 4
    pair.server.shutdown(socket.SHUT_WR)
    assert pair.client.hears() and pair.client.does(lambda: pair.client.tls.read(100)) == b"ack\n"
    assert pair.client.does(lambda: pair.client.tls.read(100)) == b"", "it ended in the words of TLS"
    assert not pair.client.hears() and not pair.told


@pytest.mark.parametrize("at_once", [True, False])
def test_who_says_that_nothing_more_comes_is_believed_and_answered(make: Callable[..., Pair], at_once: bool) -> None:
    """In one segment with what it asks for, or in one of its own; it goes on listening."""
    pair = make()
    pair.shake()
    pair.client.tls.write(b"pdu 1 on\n")
    if not at_once:
        pair.client.socket.sendall(pair.client.outgoing.read())
        assert pair.taken() == b"pdu 1 on\n" and pair.taken() is None
    pair.client.does(pair.client.tls.unwrap)
    found = [pair.taken() for _ in range(3)]
    assert [*filter(None, found)] == [b"pdu 1 on\n"] * at_once and found[-1] == b""
    assert pair.server.send(b"ack\n") == 4
    pair.server.shutdown(socket.SHUT_WR)
    assert pair.client.hears() and pair.client.incoming.pending > 4


def test_who_a_client_is_by_the_certificate_that_it_shows(make: Callable[..., Pair], lab: Authority) -> None:
    pair = make(shown=lab.issue("alice", "/O=lab/OU=ci/CN=alice/OU=viewer"))
    assert tls.certified(pair.server) is None
    pair.shake()
    assert tls.certified(pair.server) == (("alice", ("ci", "viewer")), f"{lab.last:04X}")
    nobody = make()
    nobody.shake()
    assert tls.certified(nobody.server) is None and tls.certified(nobody.client.socket) is None


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"pdu 1 on\n", rb"nack: this port speaks TLS\n"),
        (b"GET / HTTP/1.1\r\n\r\n", rb"HTTP/1\.1 400 (?s:.*)\r\n\r\nthis port speaks TLS: ask by https://\n?"),
    ],
)
def test_who_does_not_speak_tls_is_told_so_in_his_own_words(
    make: Callable[..., Pair], said: bytes, answer: bytes
) -> None:
    pair = make()
    pair.client.socket.sendall(said)
    with pytest.raises(ConnectionAbortedError):
        pair.server.recv(100)
    assert pair.told == ["did not begin with TLS"] and re.fullmatch(answer, pair.client.socket.recv(1000))


def test_one_that_says_nothing_and_one_that_is_closed(make: Callable[..., Pair]) -> None:
    pair = make()
    assert pair.server.fileno() > 2
    pair.client.socket.shutdown(socket.SHUT_WR)
    assert pair.taken() == b""
    other = make()
    other.shake()
    other.server.close()
    assert other.server.fileno() == -1
    with pytest.raises(ConnectionAbortedError):
        other.server.send(b"ack\n")
    assert not other.client.hears() or not other.client.hears(), "behind what was said before nothing comes"


@pytest.mark.parametrize("hears", [True, False])
def test_who_does_not_listen_to_what_tls_itself_says_is_put_off(
    make: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, hears: bool
) -> None:
    """Such as answers to new keys; here, what the network has not taken of an answer is as good."""
    pair = make()
    pair.shake()
    with pytest.raises(BlockingIOError):
        while True:
            pair.server.send(bytes(1 << 20))
    pair.client.tls.write(b"pdu 1 on\n")
    pair.client.socket.sendall(pair.client.outgoing.read())
    if not hears:
        monkeypatch.setattr(tls, "MOST_UNSENT", 100)
        for use in (lambda: pair.server.send(b"x"), lambda: pair.server.recv(100)):
            with pytest.raises(ConnectionAbortedError, match="makes us speak, and does not listen"):
                use()
    else:
        assert pair.taken() == b"pdu 1 on\n"


def test_what_a_client_said_before_it_went_counts(make: Callable[..., Pair]) -> None:
    """Though it does not hear any more what TLS has to say at the end of a handshake."""
    pair = make()
    while pair.client.does(lambda: pair.client.tls.do_handshake() or True) is None:
        assert pair.taken() is None and pair.client.hears()
    pair.client.does(lambda: pair.client.tls.write(b"pdu 1 on\n"))
    pair.client.socket.close()
    assert pair.taken() == b"pdu 1 on\n"


def test_ciphers_that_do_not_authenticate_what_they_hide_are_refused(lab: Authority, options: ListenerOptions) -> None:
    context = trusting(lab.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    pair = Pair(options, context)
    pair.client.does(pair.client.tls.do_handshake)
    with pytest.raises(ssl.SSLError):
        pair.server.recv(1 << 16)
    assert pair.told == ["failed in its handshake: no shared cipher"]
    pair.server.close()
    pair.client.socket.close()


def test_a_client_that_leaves_in_its_handshake(make: Callable[..., Pair]) -> None:
    pair = make()
    pair.client.does(pair.client.tls.do_handshake)
    assert pair.taken() is None
    pair.client.socket.shutdown(socket.SHUT_WR)
    assert pair.taken() == b""
    pair.server.shutdown(socket.SHUT_WR)  # which has nothing to say to it
    while pair.client.hears():
        continue
    assert not pair.told


def test_a_part_of_the_first_record_costs_no_more_than_its_bytes(make: Callable[..., Pair]) -> None:
    pair = make()
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.tls.do_handshake()
    for part in re.findall(rb"(?s).{1,100}", pair.client.outgoing.read()):
        assert pair.context.session_stats()["accept"] == 0
        pair.client.socket.sendall(part)
        assert pair.taken() is None
    assert pair.context.session_stats()["accept"] == 1
    pair.shake()
    longest = make()
    longest.client.socket.sendall(b"\x16\x03\x01\x40\x00" + bytes(100))
    assert longest.taken() is None and longest.context.session_stats()["accept"] == 0


@pytest.mark.parametrize("head", [b"\x16\x02\x00\x00\x10", b"\x16\x03\x01\xff\xff"])
def test_a_head_that_no_record_has_is_refused_as_soon_as_it_is_there(make: Callable[..., Pair], head: bytes) -> None:
    pair = make()
    for number in range(4):
        pair.client.socket.sendall(head[number : number + 1])
        assert pair.taken() is None and not pair.told
    pair.client.socket.sendall(head[4:])
    with pytest.raises(ssl.SSLError):
        pair.server.recv(100)
    (told,) = pair.told
    assert told.startswith("failed in its handshake: ") and "damaged" not in told


def test_what_is_damaged_is_said_to_be(options: ListenerOptions, tmp_path: Path) -> None:
    key = tmp_path / "key"
    first, *data, last = Path(options.key).read_text().splitlines()
    key.write_text("\n".join([first, *reversed(data), last, ""]))
    with pytest.raises(ConfigError, match=rf"^key: {key}: cannot be used: the data is damaged$"):
        tls.context(options_of(options.certificate, key))


ENCRYPTED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG=\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"certificate": "none.pem"}, "certificate: none.pem: No such file or directory"),
        ({"key": "none.key"}, "key: none.key: No such file or directory"),
        ({"client_ca": "none.pem"}, "client_ca: none.pem: No such file or directory"),
        ({"certificate": "text"}, "certificate: text: holds no certificate in the form of PEM"),
        ({"key": "text"}, "key: text: holds no private key in the form of PEM"),
        ({"client_ca": "text"}, "client_ca: text: holds no certificate in the form of PEM"),
        ({"client_ca": "damaged"}, "client_ca: damaged: cannot be used: the data is damaged"),
        ({"key": "encrypted"}, "key: encrypted: is encrypted: store it without a passphrase"),
        ({"key": "other"}, "key: other: does not belong to the certificate"),
        ({"certificate": "", "key": ""}, ""),
        ({"certificate": "", "key": "text"}, "key: has no effect without a certificate"),
        ({"certificate": "", "key": "", "client_ca": "text"}, "client_ca: has no effect without a certificate"),
    ],
)
def test_files_that_cannot_be_used(
    lab: Authority,
    options: ListenerOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    fault: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no such thing")
    (tmp_path / "damaged").write_text("-----BEGIN CERTIFICATE-----\nMIG=\n-----END CERTIFICATE-----\n")
    (tmp_path / "encrypted").write_text(ENCRYPTED)
    shutil.copy(lab.certificate.with_name("ca.key"), tmp_path / "other")
    words = {"certificate": options.certificate, "key": options.key, **given}
    if not fault:
        assert tls.context(options_of(**words)) is None
        return
    with pytest.raises(ConfigError) as refused:
        tls.context(options_of(**words))
    assert str(refused.value) == fault


def test_key_and_certificate_in_one_file(options: ListenerOptions, tmp_path: Path) -> None:
    """Beside what people have written into it."""
    both = tmp_path / "both.pem"
    both.write_text("\n".join(["of the lab", *(Path(path).read_text() for path in (options.key, options.certificate))]))
    assert tls.context(options_of(both, "")) is not None
    told = tmp_path / "told.pem"
    told.write_text("its key is ENCRYPTED elsewhere\n" + Path(options.certificate).read_text())
    assert tls.context(options_of(told, options.key)) is not None


def test_a_key_that_goes_while_it_is_looked_at(
    options: ListenerOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    shutil.copy(options.key, key)

    load = ssl.SSLContext.load_cert_chain

    def late(*arguments: Any, **more: Any) -> None:
        key.unlink()
        load(*arguments, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", late)
    with pytest.raises(ConfigError, match=rf"^key: {key}: No such file or directory$"):
        tls.context(options_of(options.certificate, key))
