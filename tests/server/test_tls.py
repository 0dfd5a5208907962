# SPDX-License-Identifier: MIT
"""TLS on the listeners: what `openssl s_client` and Python's own client get, and what hostile ones do not."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.server import access
from pdudaemon.server.access import Access
from tests.support.certificate import Authority, trusting
from tests.support.growth import steady
from tests.support.process import Daemon, Reply, eventually, in_parallel
from tests.support.tokens import SECRET, good, later, made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def tls(daemon: Callable[..., Daemon], lab: Authority) -> Callable[..., Daemon]:
    """Return what makes daemons with one listener, for both protocols, that speaks TLS; ``listener`` is more of it."""

    def make(listener: dict[str, Any] | None = None, start: bool = True, **settings: Any) -> Daemon:
        certificate, key = lab.issue("server")
        one = daemon({}, nodes={"board": {"hostname": "pdu", "port": 2}}, start=False, **settings)
        one.settings["pdus"] = {"pdu": {"driver": "dummy", "file": str(one.folder / "outlets")}}
        one.settings["roles"] = {"ci": {"nodes": "board", "may": ["on"]}}
        for each, name in ((certificate, "server.pem"), (key, "server.key")):
            shutil.copy(each, one.folder / name)
        shutil.copy(lab.certificate, one.folder / "ca.pem")
        given = {"protocol": "both", "port": 0, "certificate": "server.pem", "key": "server.key", **(listener or {})}
        for word in ("hostname", "port", "listener"):
            del one.settings["daemon"][word]
        one.settings["daemon"]["listeners"] = [given]
        one.configure(one.settings)
        (one.folder / "outlets").write_text("{}")
        if start:
            one.start()
        return one

    return make


def client(lab: Authority, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = trusting(lab.certificate)
    if shown:
        context.load_cert_chain(*shown)
    return context


def https(
    daemon: Daemon, path: str, context: ssl.SSLContext, token: str = "", method: str = "GET", source: str = "127.0.0.1"
) -> Reply:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", daemon.port, timeout=60, context=context, source_address=(source, 0)
    )
    connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    reply = Reply(response.status, response.read().decode(), dict(response.getheaders()))
    connection.close()
    return reply


def said(daemon: Daemon, text: str, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", daemon.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(text.encode())
        return sock.makefile().read()


def s_client(port: int, *options: str, text: str = "") -> str:
    """Return all that openssl says, and what it was answered."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    return ran.stdout + ran.stderr


def clean(daemon: Daemon) -> str:
    """Return the log, in which nothing of ours has failed."""
    log = daemon.log_text()
    assert "Traceback" not in log and not re.search("serving .* failed", log), log
    return log


def test_both_protocols_over_tls(tls: Callable[..., Daemon], lab: Authority) -> None:
    started, context = tls(), client(lab)
    assert https(started, "/power/control/on?hostname=pdu&port=1", context).text == "OK - accepted request\n"
    assert https(started, "/?nodes=board", context, method="PATCH").json["data"][0]["attributes"]["success"]
    assert said(started, "pdu 3 on\n", context) == "ack\n" and said(started, "pdu 3 status", context) == "on\n"
    assert said(started, "pdu 3 off\npdu 3 status\nboard status\n", context) == "ack\noff\non\n"
    assert started.outlets() == {"1": "on", "2": "on", "3": "off"}
    log = clean(started)
    assert re.search(r"listening on 127\.0\.0\.1:\d+ \(both, TLS\)", log)


def test_many_requests_on_one_connection_and_what_is_sent_ahead(tls: Callable[..., Daemon], lab: Authority) -> None:
    started = tls()
    with (
        socket.create_connection(("127.0.0.1", started.port), timeout=60) as plain,
        client(lab).wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        one = b"GET /power/control/status?hostname=pdu&port=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        sock.sendall(one * 200)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 200:
            more = sock.recv(65536)
            assert more, received
            received += more
    clean(started)


def test_an_answer_that_the_network_does_not_take_at_once(tls: Callable[..., Daemon], lab: Authority) -> None:
    """Several megabytes, to a client that reads them late and little by little: every byte in order."""
    started = tls(start=False)
    started.settings["nodes"] = {f"n{number:06}": {"hostname": "pdu", "port": 1} for number in range(30000)}
    started.settings["roles"] = {}
    started.configure(started.settings)
    started.start()
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(60)
    plain.connect(("127.0.0.1", started.port))
    with client(lab).wrap_socket(plain, server_hostname="localhost") as sock:
        sock.sendall(b"GET /nodes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while more := sock.recv(5000):
            received += more
    body = received.partition(b"\r\n\r\n")[2].decode()
    assert re.findall(r'"id":"(n\d+)"', body) == [f"n{number:06}" for number in range(30000)]
    clean(started)


@pytest.mark.parametrize(
    ("options", "agreed"),
    [
        (["-tls1_3"], "TLSv1.3"),
        (["-tls1_2"], "TLSv1.2"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ""),
        (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], ""),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], ""),
        (["-tls1_2", "-cipher", "AES128-GCM-SHA256:NULL:@SECLEVEL=0"], ""),
    ],
)
def test_what_openssl_agrees_on(tls: Callable[..., Daemon], options: list[str], agreed: str) -> None:
    started = tls()
    out = s_client(started.port, "-ign_eof", *options, text="pdu 1 on\n")
    assert ("ack" in out.splitlines()) is bool(agreed), out
    if agreed:
        assert re.search(rf"(New|Protocol|Cipher).*{agreed}", out), out
    else:
        assert re.search("alert (protocol version|handshake failure)|no protocols available|no cipher match", out), out
        eventually(lambda: re.search(r"127\.0\.0\.1:\d+ failed in its handshake: ", started.log_text()))
    clean(started)


def test_a_client_cannot_renegotiate(tls: Callable[..., Daemon]) -> None:
    started = tls({"protocol": "http"})
    out = s_client(started.port, "-tls1_2", text="R\nGET /healthz HTTP/1.1\n\n")
    assert "RENEGOTIATING" in out and re.search("no renegotiation|handshake failure|unexpected message", out), out
    clean(started)


def test_a_client_that_makes_us_change_keys(tls: Callable[..., Daemon]) -> None:
    started = tls({"protocol": "http"})
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{started.port}", "-tls1_3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as other:
        assert other.stdin is not None and other.stdout is not None
        for written, awaited in (
            (b"K\n", b"KEYUPDATE"),
            (b"K\n", b"KEYUPDATE"),
            (b"GET /healthz HTTP/1.1\n\n", b"ok\n"),
        ):
            other.stdin.write(written)
            other.stdin.flush()
            assert any(line.endswith(awaited) or line.strip() == awaited for line in other.stdout), awaited
        other.stdin.close()
        other.terminate()
    clean(started)


def test_what_a_client_of_python_and_one_of_openssl_send_and_leave_at_once_is_done(
    tls: Callable[..., Daemon], lab: Authority
) -> None:
    started = tls()
    for port in range(1, 6):
        with (
            socket.create_connection(("127.0.0.1", started.port), timeout=60) as plain,
            client(lab).wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(f"pdu {port} on\n".encode())
    eventually(lambda: started.outlets() == {str(port): "on" for port in range(1, 6)})
    clean(started)


def test_pages_of_other_sites_are_refused_over_tls_as_well(tls: Callable[..., Daemon], lab: Authority) -> None:
    """A certificate is shown by a browser for whoever makes it ask."""
    started = tls({"client_ca": "ca.pem"})
    context, origin = client(lab, lab.issue("alice")), f"https://127.0.0.1:{started.port}"
    path, browser = "/power/control/on?hostname=pdu&port=1", {"User-Agent": "Mozilla/5.0"}
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": origin.replace("https", "http")}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({}, 403),
        ({"Host": "rebound.example", "Origin": "https://rebound.example"}, 403),
        ({"Origin": origin, "Sec-Fetch-Site": "same-origin"}, 200),
    ):
        connection = http.client.HTTPSConnection("127.0.0.1", started.port, timeout=60, context=context)
        connection.request("POST", path, headers={**browser, **headers})
        response = connection.getresponse()
        assert (response.status, response.read().startswith(b"OK")) == (status, status == 200), headers
        assert started.outlets() == ({"1": "on"} if status == 200 else {})
        connection.close()
    clean(started)


def test_who_does_not_speak_tls_is_told_so(tls: Callable[..., Daemon]) -> None:
    started = tls()
    reply = started.http("/power/control/on?hostname=pdu&port=1")
    assert (reply.status, reply.text) == (400, "this port speaks TLS: ask by https://\n")
    assert started.tcp("pdu 1 on\n") == "nack: this port speaks TLS\n"
    assert started.outlets() == {}
    eventually(lambda: re.search(r"127\.0\.0\.1:\d+ did not begin with TLS", clean(started)))


def test_a_renewed_certificate_is_taken_up_by_a_reload(
    tls: Callable[..., Daemon], lab: Authority, tmp_path: Path
) -> None:
    started = tls()
    held = http.client.HTTPSConnection("127.0.0.1", started.port, timeout=60, context=client(lab))
    held.request("GET", "/healthz")
    assert held.getresponse().read() == b"ok\n"

    def number() -> int:
        """Return the serial number of the certificate that is shown."""
        with (
            socket.create_connection(("127.0.0.1", started.port), timeout=60) as plain,
            client(lab).wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            found: Any = sock.getpeercert()
            return int(found["serialNumber"], 16)

    before = number()
    renewed, key = lab.issue("renewed")
    shutil.copy(renewed, started.folder / "server.pem")
    assert started.process is not None
    started.process.send_signal(signal.SIGHUP)  # without its key: nothing is changed
    eventually(lambda: "server.key: does not belong to the certificate" in started.log_text())
    assert number() == before
    shutil.copy(key, started.folder / "server.key")
    started.process.send_signal(signal.SIGHUP)
    eventually(lambda: number() != before)
    held.request("GET", "/healthz")
    assert held.getresponse().read() == b"ok\n"
    clean(started)


@pytest.mark.parametrize(
    ("listener", "fault"),
    [
        ({"certificate": "none.pem"}, r"certificate: \S+/none\.pem: No such file or directory"),
        ({"key": "encrypted.key"}, r"key: \S+/encrypted\.key: is encrypted: store it without a passphrase"),
    ],
)
def test_files_that_cannot_be_used(tls: Callable[..., Daemon], listener: dict[str, str], fault: str) -> None:
    """Two of those that `test_tls_socket` tries."""
    one = tls(listener, start=False)
    os.mkfifo(one.folder / "pipe")
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", "server.key", "-out", "encrypted.key"]
    subprocess.run(command, cwd=one.folder, check=True, capture_output=True)
    ran = one.run("--check")
    assert ran.returncode == 2 and re.search(rf"daemon\.listeners\[0\]\.{fault}", ran.stdout), ran
    ran = one.run()
    assert ran.returncode == 2 and re.search(fault, ran.stderr), ran


def test_a_certificate_takes_the_place_of_a_token(tls: Callable[..., Daemon], lab: Authority, tmp_path: Path) -> None:
    started = tls({"client_ca": "ca.pem"}, secret=SECRET, revoked=["mallory", "3EF"])
    alice, ci, mallory = lab.issue("alice"), lab.issue("ci-7", "/OU=ci/CN=ci-7"), lab.issue("mallory")
    path = "/power/control/on?hostname=pdu&port="
    assert https(started, f"{path}1", client(lab, alice)).status == 200
    assert https(started, f"{path}2", client(lab, ci)).status == 200
    reply = https(started, f"{path}3", client(lab, ci))
    assert (reply.status, reply.text) == (403, "the role ci may not switch on pdu port 3\n")
    reply = https(started, f"{path}3", client(lab, mallory))
    assert (reply.status, reply.json["detail"]) == (401, "the certificate has been revoked")
    assert https(started, f"{path}3", client(lab)).status == 401
    assert https(started, f"{path}4", client(lab), good()).status == 200
    assert https(started, f"{path}3", client(lab, alice), made({"exp": later()}, "x")).status == 401
    assert said(started, "pdu 5 on\n", client(lab, alice)) == "ack\n"
    assert (
        said(started, "pdu 6 on\nboard on\n", client(lab, ci))
        == "nack: the role ci may not switch on pdu port 6\nack\n"
    )
    assert started.outlets() == {"1": "on", "2": "on", "4": "on", "5": "on"}
    stranger = Authority(tmp_path / "stranger").issue("alice")
    with pytest.raises((ssl.SSLError, OSError)):
        https(started, "/healthz", client(lab, stranger), source="127.0.0.9")
    refused = r"127\.0\.0\.9:\d+ failed in its handshake: certificate verify failed"
    eventually(lambda: re.search(refused, started.log_text()))
    eventually(lambda: re.search(r"for 127\.0\.0\.1:\d+ \(alice\) done", clean(started)))


def test_without_tokens_a_certificate_is_needed(tls: Callable[..., Daemon], lab: Authority) -> None:
    started = tls({"client_ca": "ca.pem"})
    reply = https(started, "/nodes", client(lab))
    assert (reply.status, reply.text) == (403, "Forbidden")
    assert https(started, "/api/v1/pdus", client(lab)).json["detail"] == "a certificate is needed here"
    assert said(started, "pdu 1 on\n", client(lab)) == "nack: a certificate is needed here\n"
    assert https(started, "/healthz", client(lab)).text == https(started, "/readyz", client(lab)).text == "ok\n"
    assert https(started, "/healthz", client(lab), method="POST").status == 403
    assert started.outlets() == {}
    assert said(started, "pdu 1 on\n", client(lab, lab.issue("alice"))) == "ack\n"


def test_a_token_as_the_first_line_of_the_text_protocol(tls: Callable[..., Daemon], lab: Authority) -> None:
    started, context = tls(secret=SECRET), client(lab)
    token = Access(SECRET).token(access.claims(1, "ci-7", ["ci"]))
    assert said(started, f"token {token}\npdu 2 on\n", context) == "ack\n"
    assert said(started, f"token {token}\r\nboard on\nboard off\nboard status\n", context) == (
        "ack\nnack: the role ci may not switch off pdu port 2\non\n"
    )
    assert said(started, f"token {good(x='y' * 4000)}\npdu 3 on\n", context) == "ack\n"
    assert started.outlets() == {"2": "on", "3": "on"}
    needed = "nack: a token is needed, so this is for HTTP; 127.0.0.1 is in no network allowed here\n"
    for text, answer in (
        ("pdu 1 on\n", needed),
        (f"token {made({'exp': later()}, 'other')}\npdu 1 on\n", "nack: the token is not valid here\n"),
        (f"token {good(exp=later(-5))}\npdu 1 on\n", "nack: the token has expired\n"),
        ("token x\n", "nack: the token is not valid here\n"),
        (f"pdu 1 on\ntoken {token}\npdu 1 on\n", needed * 3),
    ):
        assert said(started, text, context).startswith(answer.partition("\n")[0]), text
    assert started.outlets() == {"2": "on", "3": "on"}
    assert token.rpartition(".")[2] not in clean(started)


def test_a_token_goes_over_tls_only(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, secret=SECRET)
    assert started.tcp(f"token {good()}\npdu 1 on\n") == "nack: a token is taken over TLS only\n"


HOSTILE = [
    b"\x16",
    b"\x16\x03\x01",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
    b"\x16\x03\x01\xff\xff" + b"\x01" * 70000,
    b"\x16\x03\x01\x00\x00" * 1000,
    b"\x16" * 100000,
    b"\x80\x2e\x01\x00\x02",
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x00" * 1000,
    b"\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"token x\n",
]


def test_hostile_handshakes(tls: Callable[..., Daemon], lab: Authority) -> None:
    """Also good ones with a byte changed, cut off, or fed a byte at a time: none hurts, none is told each time."""
    started = tls({"client_ca": "ca.pem"}, max_connections=2000, max_connections_per_address=2000)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client(lab).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    right = outgoing.read()
    rng = random.Random(15)
    attempts = list(HOSTILE)
    for _ in range(300):
        changed = bytearray(right)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        attempts.append(bytes(changed[: rng.choice([len(changed), rng.randrange(1, len(changed))])]))

    def attack(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", started.port), timeout=60) as sock:
            sock.sendall(data)
            if rng.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

    for data in attempts:
        with contextlib.suppress(OSError):
            attack(data)
    assert said(started, "pdu 1 on\n", client(lab, lab.issue("alice"))) == "ack\n"
    log = clean(started)
    assert len(log.splitlines()) < 100


def test_handshakes_that_never_end_cost_what_idle_clients_cost(tls: Callable[..., Daemon], lab: Authority) -> None:
    """Hundreds of them, dribbling: the others are served, no thread is made, and time ends them as it ends the idle."""
    started = tls({"protocol": "http"}, max_connections=1000, max_connections_per_address=900, client_timeout=5)
    assert started.process is not None
    tasks = Path(f"/proc/{started.process.pid}/task")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client(lab).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    right = outgoing.read()
    https(started, "/healthz", client(lab))
    before = len([*tasks.iterdir()])
    held = [socket.create_connection(("127.0.0.1", started.port), timeout=60) for _ in range(400)]
    for number, sock in enumerate(held):
        sock.sendall(right[: number % len(right)] or right[:1])
    assert https(started, "/power/control/on?hostname=pdu&port=1", client(lab)).status == 200
    assert len([*tasks.iterdir()]) <= before + 2
    for sock in held:
        try:
            while sock.recv(65536):
                pass
        except OSError:
            pass
        sock.close()
    clean(started)


def test_writers_in_many_threads_do_not_garble_a_connection(tls: Callable[..., Daemon], lab: Authority) -> None:
    """Answers come from workers, the pool and the selector's thread, while requests are read: 16 busy clients."""
    started = tls()
    until = time.monotonic() + 1

    def work(number: int) -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", started.port, timeout=60, context=client(lab))
        count = 0
        while not count or time.monotonic() < until:
            for path in (
                f"/power/control/on?hostname=pdu&port={number % 8 + 1}",
                "/api/v1/requests?limit=20",
                "/nodes",
            ):
                connection.request("GET", path)
                response = connection.getresponse()
                assert response.status == 200 and response.read()
            count += 1
        connection.close()
        return count

    counts = in_parallel([lambda number=number: work(number) for number in range(16)])
    assert all(counts), counts
    clean(started)


def test_who_begins_a_handshake_and_goes_leaves_no_memory_behind(tls: Callable[..., Daemon], lab: Authority) -> None:
    """What OpenSSL has of each is more than 50 KiB."""
    started = tls()
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client(lab).wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    hello = out.read()

    def begin(count: int) -> None:
        for number in range(count):
            with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
                connection.sendall(hello + b"\x16\x03\x03\x00\x02\x63\x63" * (number % 2))
                while connection.recv(65536) and not number % 2:
                    break

    begin(50)
    with steady(started):
        begin(1000)
    assert https(started, "/healthz", client(lab)).status == 200
