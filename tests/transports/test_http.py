# SPDX-License-Identifier: MIT
"""The HTTP transport: against lighttpd (logins, TLS, CGI), and against servers that misbehave in every other way."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.transports import httplogin
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, tls
from tests.devices.base.device import Mood
from tests.devices.base.scripted import Puppet
from tests.devices.base.web import Answer, Request, WebDevice
from tests.peers.lighttpd import Lighttpd, lighttpd
from tests.peers.server import listening
from tests.support.certificate import self_signed
from tests.support.patience import with_patience
from tests.support.ports import free_ports
from tests.support.process import ROOT, nothing_left_behind

SECRET = Lighttpd.password


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lighttpd]:
    with lighttpd(tmp_path_factory.mktemp("lighttpd")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_descriptor_left(request: pytest.FixtureRequest) -> Any:
    if "server" in request.fixturenames:
        request.getfixturevalue("server")
    with nothing_left_behind():
        yield


def client(port: int, seconds: float = 60, **options: Any) -> Client:
    return Client("127.0.0.1", Deadline(seconds), port=port, **options)


# lighttpd


def test_methods_and_bodies(server: Lighttpd) -> None:
    device = client(server.port)
    got = device.request("GET", "/open.py?a=1&b=two%20words").json()
    assert (got["REQUEST_METHOD"], got["QUERY_STRING"], got["body"]) == ("GET", "a=1&b=two%20words", "")
    assert got["HTTP_HOST"] == f"127.0.0.1:{server.port}"
    got = device.request("PATCH", "/open.py", json={"control_action": "on"}, headers={"X-CSRF": "x"}).json()
    assert (got["REQUEST_METHOD"], got["CONTENT_TYPE"]) == ("PATCH", "application/json")
    assert (got["body"], got["HTTP_X_CSRF"]) == ('{"control_action":"on"}', "x")
    got = device.request("POST", "/open.py", form={"value": "a b&c"}).json()
    assert (got["CONTENT_TYPE"], got["body"]) == ("application/x-www-form-urlencoded", "value=a+b%26c")
    assert device.request("POST", "/open.py").json()["body"] == ""
    assert device.request("PUT", "/open.py", json=[]).json()["body"] == "[]"


@pytest.mark.parametrize("page", ["basic", "md5", "sha256"])
def test_logins(server: Lighttpd, page: str) -> None:
    device = client(server.port, username="admin", password=SECRET)
    for _ in range(2):
        got = device.request("POST", f"/{page}.py?x=1", json={"on": True}).json()
        assert got["REMOTE_USER"] == "admin" and got["body"] == '{"on":true}'
        assert got["AUTH_TYPE"] == ("Basic" if page == "basic" else "Digest")


@pytest.mark.parametrize("page", ["basic", "sha256"])
def test_refused_logins(server: Lighttpd, page: str) -> None:
    refused = rf"^login refused by 127.0.0.1:{server.port} at GET /{page}.py \(401\)"
    with pytest.raises(PermanentError, match=refused + "$"):
        client(server.port, username="admin", password="no such password").request("GET", f"/{page}.py?pw=hunter2")
    with pytest.raises(PermanentError, match=refused + ": it asks for a user name and a password$"):
        client(server.port).request("GET", f"/{page}.py?pw=hunter2")


def test_a_login_is_not_sent_unasked(server: Lighttpd) -> None:
    device = client(server.port, username="admin", password=SECRET)
    assert device.request("GET", "/open.py").json()["REMOTE_USER"] == ""


def test_noes(server: Lighttpd) -> None:
    device = client(server.port)
    peer = f"127.0.0.1:{server.port}"
    with pytest.raises(PermanentError, match=f"^{peer} at GET /nothing: answered 404 Not Found$"):
        device.request("GET", "/nothing?pw=hunter2")
    with pytest.raises(PermanentError, match=rf"redirected to http://{peer}/open.py \(301\)$"):
        device.request("GET", "/moved")
    with pytest.raises(TransientError, match=f"^{peer} at GET /big: the answer has more than"):
        device.request("GET", "/big")
    with pytest.raises(TransientError, match=f"^no TLS with {peer}: "):
        client(server.port, secure=tls()).request("GET", "/open.py")


def test_tls(server: Lighttpd) -> None:
    trusting = tls(ca_file=server.certificate)
    assert client(server.tls_port, secure=trusting).request("GET", "/open.py").status == 200
    assert client(server.tls_port, secure=tls(check=False)).request("GET", "/open.py").status == 200
    with pytest.raises(PermanentError, match=f"^the certificate of 127.0.0.1:{server.tls_port} is not trusted: self"):
        client(server.tls_port, secure=tls()).request("GET", "/open.py")
    with pytest.raises(PermanentError, match=r"is not trusted: .*'localhost'"):
        Client("localhost", Deadline(30), port=server.tls_port, secure=trusting).request("GET", "/open.py")
    with pytest.raises(TransientError, match="connection closed by"):  # plain HTTP to a TLS port
        client(server.tls_port).request("GET", "/open.py")


def test_a_certificate_by_its_fingerprint(server: Lighttpd) -> None:
    found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(server.certificate).read_text())).hexdigest()
    assert client(server.tls_port, secure=tls(fingerprint=found)).request("GET", "/open.py").status == 200
    other = tls(fingerprint="0" * 64)
    with pytest.raises(PermanentError, match=rf" is not trusted: its fingerprint is {found}$"):
        client(server.tls_port, secure=other).request("GET", "/open.py")


def test_a_kept_connection(server: Lighttpd) -> None:
    with client(server.port, username="admin", password=SECRET) as kept:
        ports = {kept.request("GET", f"/{page}.py").json()["REMOTE_PORT"] for page in ("open", "basic", "sha256")}
        with pytest.raises(PermanentError, match="404"):
            kept.request("GET", "/nothing")
        assert kept.request("POST", "/open.py", json=1).json()["REMOTE_PORT"] in ports and len(ports) == 1
    unkept = client(server.port)
    assert len({unkept.request("GET", "/open.py").json()["REMOTE_PORT"] for _ in range(2)}) == 2


def test_a_login_by_basic_goes_along_once_it_was_taken() -> None:
    class Strict(WebDevice):
        def answer(self, request: Request) -> Answer:
            return Answer(200, "hello")

    with Strict(login="admin:word") as device:
        with client(device.port, username="admin", password="word") as kept:
            for _ in range(3):
                kept.request("POST", "/x", body=b"y")
        assert ["authorization" in each.headers for each in device.requests] == [False, True, True, True]
        for _ in range(2):
            client(device.port, username="admin", password="word").request("GET", "/x")
        assert ["authorization" in each.headers for each in device.requests[4:]] == [False, True, False, True]


def test_a_kept_connection_that_has_gone() -> None:
    """What may be asked twice is asked on a new one; an order is not, since it may have been carried out."""

    def serve(puppet: Puppet, connection: socket.socket) -> None:
        puppet.receive(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if puppet.sessions in (1, 3):
            puppet.receive(connection)
            connection.shutdown(socket.SHUT_RDWR)

    with Puppet(serve) as device, client(device.port) as kept:
        assert [kept.request("GET", "/").text for _ in range(2)] == ["ok", "ok"] and device.sessions == 2
    with Puppet(serve) as device, client(device.port) as kept:
        assert kept.request("GET", "/").text == "ok"
        with pytest.raises(TransientError, match=r"^connection closed by .* at POST /$"):
            kept.request("POST", "/", json=1)
        assert device.sessions == 1


def test_tls_of_old_devices(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs the Debian package openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    self_signed(key, certificate, "-newkey rsa:2048")
    offers = {
        "-tls1_2": "AES256-GCM-SHA384",  # no forward secrecy, which Python by itself insists on
        "-tls1": "AES128-SHA:@SECLEVEL=0",
    }
    for (version, ciphers), port in zip(offers.items(), free_ports(2), strict=True):
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", version, "-cipher", ciphers]
        with listening([*command, "-key", str(key), "-cert", str(certificate)], port):
            assert "s_server" in client(port, secure=tls(check=False)).request("GET", "/").text
            trusting = client(port, secure=tls(ca_file=str(certificate)))
            if version == "-tls1_2":
                assert "s_server" in trusting.request("GET", "/").text
            else:
                with pytest.raises(TransientError, match=r"^no TLS with"):
                    trusting.request("GET", "/")


def test_a_ca_file_is_read_again_when_it_has_changed(server: Lighttpd, tmp_path: Path) -> None:
    key, ca = tmp_path / "key.pem", tmp_path / "ca.pem"
    self_signed(key, ca)
    with pytest.raises(PermanentError, match="is not trusted"):
        client(server.tls_port, secure=tls(ca_file=str(ca))).request("GET", "/open.py")
    assert tls(ca_file=str(ca)) is tls(ca_file=str(ca))
    ca.write_text(Path(server.certificate).read_text())
    assert client(server.tls_port, secure=tls(ca_file=str(ca))).request("GET", "/open.py").status == 200


def test_ca_file_that_is_not_there() -> None:
    with pytest.raises(PermanentError, match=r"^the CA file '/no/such.pem' cannot be used: No such file or directory$"):
        tls(ca_file="/no/such.pem")


def test_proxies_of_the_environment_are_not_asked(server: Lighttpd, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    assert client(server.port).request("GET", "/open.py").status == 200


# Digest, in the forms that lighttpd does not have


def test_rfc7616_examples() -> None:
    asked = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    responses = {
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, response in responses.items():
        challenge = {**asked, "algorithm": algorithm}
        header = httplogin._digest(challenge, "GET", "/dir/index.html", "Mufasa", "Circle of Life", cnonce)
        assert f'response="{response}"' in header and f"algorithm={algorithm}" in header
        assert f'opaque="{asked["opaque"]}"' in header and f'cnonce="{cnonce}"' in header


def fields_of(header: str) -> dict[str, str]:
    return {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)}


class DigestDevice(WebDevice):
    """Asks for Digest with ``challenges``; judges by its own reading of RFC 7616."""

    def __init__(self, *challenges: str, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.challenges = challenges
        self.stale = 0

    def answer(self, request: Request) -> Answer:
        sent = request.headers.get("authorization", "")
        if sent.startswith("Digest ") and self.right(fields_of(sent), request):
            if not self.stale:
                return Answer(200, "in")
            self.stale -= 1
            again = [f"{challenge}, stale=TRUE" for challenge in self.challenges]
            return Answer(401, headers=tuple(f"WWW-Authenticate: {challenge}" for challenge in again))
        return Answer(401, headers=tuple(f"WWW-Authenticate: {challenge}" for challenge in self.challenges))

    @staticmethod
    def right(said: dict[str, str], request: Request) -> bool:
        algorithm = said.get("algorithm", "").lower()
        function = hashlib.sha256 if algorithm.startswith("sha-256") else hashlib.md5

        def h(text: str) -> str:
            return function(text.encode()).hexdigest()

        a1 = h(f"{said['username']}:{said['realm']}:{SECRET}")
        if algorithm.endswith("-sess"):
            a1 = h(f"{a1}:{said['nonce']}:{said['cnonce']}")
        a2 = h(f"{request.method}:{request.target}")
        middle = f"{said['nonce']}:{said['nc']}:{said['cnonce']}:{said['qop']}" if "qop" in said else said["nonce"]
        return said["uri"] == request.target and said["response"] == h(f"{a1}:{middle}:{a2}")


@pytest.mark.parametrize(
    "challenge",
    [
        'Digest realm="PDU", nonce="abc"',  # RFC 2069
        'Digest realm="PDU", nonce="abc", qop="auth"',
        'Digest realm="PDU", nonce="abc", algorithm=MD5-sess, qop="auth"',
        'Digest realm="PDU", nonce="abc", algorithm=MD5-sess',
        'Digest realm="PDU", nonce="abc", algorithm=SHA-256, qop="auth-int,auth", opaque="x,y"',
        'digest realm = "PDU" , nonce="abc",algorithm="sha-256-SESS",qop=auth',
        'Basic realm="a, b", Digest realm="PDU", nonce="abc"',
        'Negotiate, Digest realm="PDU", nonce="abc", qop="auth", Basic realm=""',
    ],
)
def test_digests(challenge: str) -> None:
    with DigestDevice(challenge) as device:
        options = {"username": "admin", "password": SECRET}
        assert client(device.port, **options).request("GET", "/cm?a=b%20c").text == "in"
        assert len(device.requests) == 2
        assert "authorization" not in device.requests[0].headers
        device.stale = 1
        assert client(device.port, **options).request("POST", "/rpc", json={"id": 1}).text == "in"
        device.stale = 5  # for ever stale: given up
        with pytest.raises(PermanentError, match="login refused"):
            client(device.port, **options).request("GET", "/")
        assert SECRET.encode() not in device.received


def test_the_better_algorithm_is_taken() -> None:
    weak, strong = 'Digest realm="PDU", nonce="abc"', 'Digest realm="PDU", nonce="abc", algorithm=SHA-256'
    with DigestDevice(weak, strong, 'Basic realm="PDU"') as device:
        client(device.port, username="admin", password=SECRET).request("GET", "/")
        assert fields_of(device.requests[-1].headers["authorization"])["algorithm"] == "SHA-256"


@pytest.mark.parametrize("challenge", ["Negotiate", 'Digest realm="PDU", nonce="abc", algorithm=SHA-512-256'])
def test_logins_of_other_kinds(challenge: str) -> None:
    with (
        DigestDevice(challenge) as device,
        pytest.raises(PermanentError, match=r"asks for an unknown kind of login$"),
    ):
        client(device.port, username="admin", password=SECRET).request("GET", "/")


def test_a_401_without_a_challenge_means_basic() -> None:
    class Curt(WebDevice):
        def answer(self, request: Request) -> Answer:
            return Answer(200 if request.headers.get("authorization") == "Basic dMO8cjpwOnc=" else 401)

    with Curt() as device:
        assert client(device.port, username="tür", password="p:w").request("GET", "/").status == 200


def test_a_user_name_with_line_breaks_goes_nowhere() -> None:
    with DigestDevice('Digest realm="PDU", nonce="abc"') as device:
        with pytest.raises(PermanentError, match=r"^GET / for \S+ has a character that HTTP does not allow$"):
            client(device.port, username="a\r\nX-Evil: 1", password=SECRET).request("GET", "/")
        with pytest.raises(PermanentError, match="does not allow"):
            client(device.port).request("GET", "/", headers={"Authorization": "Bearer a\nb"})
        assert len(device.requests) == 1
        with pytest.raises(PermanentError):
            client(device.port, username='a"b\\c', password=SECRET).request("GET", "/a b\r\nX: y#z/ä")
        assert device.requests[-1].target == "/a%20b%0D%0AX:%20y%23z/%C3%A4"
        assert r'username="a\"b\\c"' in device.requests[-1].headers["authorization"]


# servers that misbehave


class Raw(WebDevice):
    """Answers each request with bytes of a test's choice, or lets the test do it."""

    def __init__(self, said: bytes | Callable[[Raw, socket.socket], None]) -> None:
        super().__init__()
        self.said = said

    def converse(self, connection: socket.socket) -> None:
        self._request(connection)
        if callable(self.said):
            self.said(self, connection)
        else:
            connection.sendall(self.said)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"hello\r\n\r\n",
        b"\x00\xff\xfe",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 500 Oops\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_nonsense(said: bytes) -> None:
    with Raw(said) as device:
        with pytest.raises(TransientError, match=f"127.0.0.1:{device.port}.* at GET /x") as caught:
            client(device.port).request("GET", "/x?pw=hunter2")
        assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)
        assert not isinstance(caught.value, DeviceTimeout)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200\r\nContent-Type: text/plain\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello and more",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_sloppy_but_clear(said: bytes) -> None:
    with Raw(said) as device:
        assert client(device.port).request("GET", "/").text == "hello"


def test_no_content() -> None:
    with Raw(b"HTTP/1.1 204 No Content\r\n\r\n") as device:
        response = client(device.port).request("POST", "/jaws", json={})
        assert (response.status, response.body) == (204, b"")
        with pytest.raises(TransientError, match=r"at POST /jaws: the answer is not JSON$"):
            response.json()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"0010000000000000", "0010000000000000"),
        (b"<html>\r\nRelay-01: ON\r\n</html>", "<html>\r\nRelay-01: ON\r\n</html>"),
        (b"", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ],
)
def test_bare_answers(said: bytes, body: str) -> None:
    with Raw(said) as device:
        assert client(device.port).request("GET", "/30000/99", bare=True).text == body


@pytest.mark.parametrize(
    "said",
    [b"", b"nonsense", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200],
)
def test_an_answer_that_breaks_off_leaves_nothing_for_the_garbage_collector_to_tell(said: bytes) -> None:
    """Which Python 3.13 has it do, and earlier ones in development mode: a traceback in the log."""
    words = """if True:
        import gc, sys
        from pdudaemon.errors import TransientError
        from pdudaemon.transports.deadline import Deadline
        from pdudaemon.transports.http import Client
        gc.disable()
        try:
            Client("127.0.0.1", Deadline(60), port=int(sys.argv[1])).request("GET", "/")
        except TransientError as error:
            error.again = error  # as what keeps an error is kept by it
            print(error)
        gc.collect()
    """
    with Raw(said) as device:
        command = [sys.executable, "-X", "dev", "-c", words, str(device.port)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "127.0.0.1" in ran.stdout and not ran.stderr


def test_other_statuses_where_they_are_wanted() -> None:
    with Raw(b'HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n{"code":1}'[:-1]) as device:
        assert client(device.port).request("POST", "/rpc", also=[404]).status == 404
        with pytest.raises(PermanentError, match="404"):
            client(device.port).request("POST", "/rpc", also=[500])


def test_an_answer_without_end() -> None:
    def talk(device: Raw, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        while not device.closing.is_set():
            connection.sendall(b"x" * 65536)

    with Raw(talk) as device, pytest.raises(TransientError):
        client(device.port, 30).request("GET", "/")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_one_deadline_however_slowly_it_dribbles(start: bytes) -> None:
    def dribble(device: Raw, connection: socket.socket) -> None:
        connection.sendall(start)
        while not device.closing.wait(0.02):
            connection.sendall(b"H")

    def attempt(seconds: float) -> None:
        with Raw(dribble) as device:
            begun = time.monotonic()
            why = f"^no answer from 127.0.0.1:{device.port} at GET /cm within {seconds:g} s$"
            with pytest.raises(DeviceTimeout, match=why):
                client(device.port, seconds).request("GET", "/cm?user=a&password=hunter2")
            assert time.monotonic() - begun < seconds + 20

    with_patience(attempt, 0.4)


@pytest.mark.parametrize("status", [s for s in HTTPStatus if 400 <= s < 500 and s not in (401, 403, 408, 429)][:8])
def test_other_noes_are_for_good(status: HTTPStatus) -> None:
    with (
        Raw(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as device,
        pytest.raises(PermanentError, match=f"at GET /: answered {status.value} {status.phrase}$"),
    ):
        client(device.port).request("GET", "/")


def test_a_request_leaves_in_one_piece() -> None:
    class Tiny(WebDevice):
        def converse(self, connection: socket.socket) -> None:
            self.receive(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with Tiny() as device:
        client(device.port).request("POST", "/netio.json", json={"Outputs": []})
        assert bytes(device.received).endswith(b'\r\n\r\n{"Outputs":[]}')


@pytest.mark.parametrize(
    ("address", "peer", "host"),
    [
        ("192.0.2.1", "192.0.2.1:80", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1:8080", "192.0.2.1:8080"),
        ("pdu.example", "pdu.example:80", "pdu.example"),
        ("[2001:db8::1]", "[2001:db8::1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]:81", "[2001:db8::1]:81", "[2001:db8::1]:81"),
        ("2001:db8::1", "[2001:db8::1]:80", "[2001:db8::1]"),
    ],
)
def test_addresses(address: str, peer: str, host: str) -> None:
    device = Client(address, Deadline(1))
    assert (device.peer, device._host_header()) == (peer, host)


@pytest.mark.parametrize("address", ["", "a:b", "a:70000", "a:0", "http://a", "a/b", "u:p@a", "[::1", "::1]:x", "a b"])
def test_no_addresses(address: str) -> None:
    with pytest.raises(PermanentError, match=r"is not an address$"):
        Client(address, Deadline(1))


# a body without end


class Endless(WebDevice):
    """Sends a piece of a body again and again, ``pause`` seconds apart, so many times, and then nothing."""

    def __init__(self, pieces: int, pause: float = 0.0) -> None:
        super().__init__()
        self.pieces = pieces
        self.pause = pause

    def converse(self, connection: socket.socket) -> None:
        self._request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(self.pieces):
            connection.sendall(b"data: 1\n\n")
            self.closing.wait(self.pause)
        self.receive(connection)


def test_a_body_is_what_came_until_all_is_quiet() -> None:
    def attempt(seconds: float) -> None:
        with Endless(3) as device:
            assert client(device.port).request("GET", "/events", quiet=seconds).text == "data: 1\n\n" * 3

    with_patience(attempt, 0.2)


def test_a_body_that_is_never_quiet_has_an_end() -> None:
    def attempt(seconds: float) -> None:
        with Endless(100_000, 0.01) as device:
            assert client(device.port, 600).request("GET", "/events", quiet=seconds).text.startswith("data: 1\n\n" * 2)

    with_patience(attempt, 0.2)


def test_a_body_of_which_nothing_comes() -> None:
    with Endless(0) as device, pytest.raises(DeviceTimeout):
        client(device.port, 0.5).request("GET", "/events", quiet=0.1)
