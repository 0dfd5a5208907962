# SPDX-License-Identifier: MIT
"""Every route and method, by each kind of listener and protocol, with each kind of credential: the exact answer.

The table says what who may do everything, who may look, and who may switch this node or another one is answered; all
credentials come down to one of these, or to none. A route that is not in the table is a failure. By day each credential
has one half of the table at some listeners, and the other half at the others.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from pdudaemon.server import access, routes
from pdudaemon.server.access import Access
from tests.support.certificate import Authority, trusting
from tests.support.ports import free_ports
from tests.support.process import Daemon, Reply, eventually
from tests.support.provider import AUDIENCE, ISSUER, jwk, rsa_key
from tests.support.sampling import part
from tests.support.tokens import SECRET, good, later, made

LATE = range(4, 9)
SECOND = "thesecondsecretinthefile"
PROVIDER = rsa_key()
ROLES = {
    "viewer": {"nodes": "*", "may": ["status"]},
    "ci": {"nodes": "board,late[4-8]", "may": ["on", "off", "reboot"]},
    "other": {"nodes": "elsewhere", "may": ["on", "off", "reboot"]},
}


def issued(*roles: str, name: str = "") -> str:
    return Access(SECRET).token(access.claims(1, name, roles))


def provided(*roles: str) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": later(), "sub": "bob", "roles": roles}
    return jwt.encode(claims, PROVIDER, "RS256", headers={"kid": "one"})


CREDENTIALS = {
    "none": ("", "denied"),
    "expired": (made({"exp": later(-9)}), "denied"),
    "wrong": (made({"exp": later()}, "x"), "denied"),
    "revoked": (issued(name="mallory"), "denied"),
    "token": (good(), "all"),
    "second secret": (made({"exp": later()}, SECOND), "all"),
    "viewer": (issued("viewer"), "viewer"),
    "ci for this node": (issued("ci"), "ci"),
    "ci for another": (issued("other"), "other"),
    "a role that is gone": (issued("gone"), "nothing"),
    "OIDC": (provided("ci"), "ci"),
    "OIDC without a role": (provided(), "nothing"),
    "certificate": ("", "all"),
    "certificate for this node": ("", "ci"),
}
BY_CERTIFICATE = ("certificate", "certificate for this node")
LISTENERS = ("plain", "tls", "client_ca", "unix")


def combinations() -> list[tuple[str, str]]:
    return [
        (listener, credential)
        for listener in LISTENERS
        for credential in CREDENTIALS
        if credential not in BY_CERTIFICATE or listener == "client_ca"
    ]


class Row(NamedTuple):
    """What a method of a path is answered: a status, or the status and a part of the text, by what one may.

    ``denied`` None: 401, or what OpenFlight says.
    """

    method: str
    path: str
    all: Any
    viewer: Any
    ci: Any
    other: Any
    nothing: Any
    denied: Any = None
    body: Any = None


def may_not(role: str, doing: str) -> tuple[int, str]:
    return 403, f"the role {role} may not {doing} pdu port 2"


NO_NODE = (503, "there is no alias or node 'board'")
NO_PDU = (503, "there is no PDU 'pdu'")
OK = (200, "OK - accepted request")
NOT_FOUND = (404, "there is no ")
SWITCH = {"on": "switch on", "off": "switch off", "reboot": "reboot"}
BOARD, ELSE, BOTH = '"board"', '"elsewhere"', '"board"'


def entry(success: bool, error: str = "") -> tuple[int, str]:
    return 200, '"success":true,' if success else f'"error":"{error}'


def table() -> list[Row]:
    rows = []
    for action, doing in SWITCH.items():
        for method in ("GET", "POST"):
            path = f"/power/control/{action}?alias=board&delay=0"
            rows.append(Row(method, path, OK, may_not("viewer", doing), OK, NO_NODE, NO_NODE))
            path = f"/power/control/{action}?hostname=pdu&port=2&delay=0"
            rows.append(Row(method, path, OK, may_not("viewer", doing), OK, NO_PDU, NO_PDU))
            path = f"/power/control/{action}?hostname=pdu&port=3&delay=0"
            hidden = [(403, f"the role {role} may not {doing} pdu port 3") for role in ("viewer", "ci")]
            rows.append(Row(method, path, OK, *hidden, NO_PDU, NO_PDU))
    for word in ("status", "get-status"):
        for method in ("GET", "POST"):
            rows.append(Row(method, f"/power/control/{word}?alias=board", 200, 200, 200, NO_NODE, NO_NODE))
        rows.append(Row("HEAD", f"/power/control/{word}?alias=board", 200, 200, 200, 503, 503))
    for path, here, there in (
        ("/api/v1/pdus", '"pdu"', '"pdu2"'),
        ("/api/v1/nodes", BOARD, ELSE),
        ("/api/v1/groups", BOARD, ELSE),
        ("/api/v1/outlets", BOARD, ELSE),
        ("/nodes", BOARD, ELSE),
        ("/groups", BOARD, ELSE),
    ):
        empty = '{"data":[]}' if path in ("/nodes", "/groups") else "{}" if path.endswith("groups") else "[]"
        listed = ((200, here), (200, here), (200, here), (200, there), (200, empty))
        rows.append(Row("GET", path, *listed))
        rows.append(Row("HEAD", path, 200, 200, 200, 200, 200))
    for path in (
        "/api/v1/pdus/pdu",
        "/api/v1/pdus/pdu/watts",
        "/api/v1/pdus/pdu/outlets/2",
        "/api/v1/nodes/board",
        "/api/v1/requests/1",
        "/api/v1/commands/1",
    ):
        rows.append(Row("GET", path, 200, 200, 200, NOT_FOUND, NOT_FOUND))
        rows.append(Row("HEAD", path, 200, 200, 200, 404, 404))
    rows += [
        Row("GET", "/api/v1/requests", (200, '"board (pdu port 2)"'), (200, '"board (pdu'), (200, '"board (pdu'), (200, "["), (200, "[]")),
        Row("HEAD", "/api/v1/requests", 200, 200, 200, 200, 200),
        Row("HEAD", "/api/v1/events", 200, 200, 200, 200, 200),
        Row("DELETE", "/api/v1/requests/1", (409, "cannot be cancelled"), may_not("viewer", "switch on"), (409, "cannot be cancelled"), NOT_FOUND, NOT_FOUND),
        Row("DELETE", "/api/v1/commands/1", 200, 200, 200, NOT_FOUND, NOT_FOUND),
        Row("POST", "/api/v1/requests", (201, '"done"'), may_not("viewer", "switch on"), (201, '"done"'), (422, NO_NODE[1]), (422, NO_NODE[1]), body={"action": "on", "alias": "board"}),
        Row("GET", "/?nodes=board", entry(True), entry(True), entry(True), entry(False, NO_NODE[1]), entry(False, NO_NODE[1])),
        Row("HEAD", "/?nodes=board", 200, 200, 200, 200, 200),
        Row("GET", "/metrics", (200, "pdudaemon_"), 200, 200, 200, 200),
        Row("HEAD", "/metrics", 200, 200, 200, 200, 200),
        Row("GET", "/api/v1/sites", *[(200, '"sites": []')] * 5),
        Row("HEAD", "/api/v1/sites", 200, 200, 200, 200, 200),
    ]  # fmt: skip
    # A reboot takes five seconds, for which nobody else is to wait who comes next.
    for method, doing, node, port in (
        ("PATCH", "switch on", "board", "2"),
        ("DELETE", "switch off", "board", "2"),
        ("PUT", "reboot", "lateNUMBER", "NUMBER"),
    ):
        gone = entry(False, f"there is no alias or node '{node}'")
        refused = entry(False, f"the role viewer may not {doing} pdu port {port}")
        rows.append(Row(method, f"/?nodes={node}&wait=0", entry(True), refused, entry(True), gone, gone))
    for path in ("/livez", "/healthz", "/readyz"):
        rows.append(Row("GET", path, *[(200, "ok\n")] * 5, denied=(200, "ok\n")))
        rows.append(Row("HEAD", path, *[200] * 5, denied=200))
    for method in ("GET", "HEAD"):
        rows.append(Row(method, "/ui/page.js", *[200] * 5, denied=200))
    return rows


TABLE = table()


def test_the_table_has_every_route_and_method() -> None:
    tried = {(row.method, row.path.partition("?")[0]) for row in TABLE} | {
        ("GET", "/api/v1/events")
    }  # which has no end
    for pattern, methods in routes.ROUTES:
        for method in methods:
            assert any(method == each and pattern.fullmatch(path) for each, path in tried), (method, pattern.pattern)


class Lab(NamedTuple):
    """A daemon with a listener of each kind, and what clients need."""

    daemon: Daemon
    authority: Authority
    ports: dict[str, int]

    def context(self, credential: str) -> ssl.SSLContext:
        context = trusting(self.authority.certificate)
        if credential in BY_CERTIFICATE:
            subject = "/CN=carol" if credential == "certificate" else "/OU=ci/CN=carol"
            context.load_cert_chain(*self.authority.issue(credential.replace(" ", "-"), subject))
        return context

    def connected(self, listener: str, context: ssl.SSLContext) -> socket.socket:
        """Return a connection, over TCP from an address of its own: who is refused often is told slower."""
        if listener == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(30)
            sock.connect(str(self.daemon.folder / "s"))
            return sock
        plain = socket.create_connection(("127.0.0.1", self.ports[listener]), 30, source_address=(elsewhere(), 0))
        return plain if listener == "plain" else context.wrap_socket(plain, server_hostname="localhost")


def elsewhere() -> str:
    return f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    authority = Authority(folder / "ca")
    certificate, key = authority.issue("server")
    (folder / "keys.json").write_text(json.dumps({"keys": [jwk(PROVIDER, "one")]}))
    ports = dict(zip(LISTENERS[:3], free_ports(3), strict=True))
    speaks = {"protocol": "both", "certificate": str(certificate), "key": str(key)}
    one = Daemon(
        folder,
        {"pdu": {"driver": "dummy"}, "pdu2": {"driver": "dummy"}},
        nodes={
            "board": {"hostname": "pdu", "port": 2},
            "elsewhere": {"hostname": "pdu2", "port": 1},
            **{f"late{port}": {"hostname": "pdu", "port": port} for port in LATE},
        },
        groups={"here": "board", "there": "elsewhere"},
        oidc={"issuer": ISSUER, "audience": AUDIENCE, "keys": "keys.json"},
        secret=f"{SECRET}\n{SECOND}\n",
        revoked=["mallory"],
        trusted_proxies=["unix"],
        listeners=[
            {"protocol": "both", "port": ports["plain"]},
            {**speaks, "port": ports["tls"]},
            {**speaks, "port": ports["client_ca"], "client_ca": str(authority.certificate)},
            {"protocol": "both", "socket": "s"},
        ],
        history=100000,
    )
    one.settings["roles"] = ROLES
    for word in ("hostname", "port", "listener"):
        del one.settings["daemon"][word]
    one.configure(one.settings)
    one.start()
    one.token = good()
    assert one.http("/?nodes=board", "PATCH").headers["X-Command-Id"] == "1"
    eventually(lambda: one.http("/api/v1/nodes/board").json["state"] == "on")
    yield Lab(one, authority, ports)
    log = one.log_text()
    assert "Traceback" not in log and "internal error" not in log
    assert not [token for token, _ in CREDENTIALS.values() if token and token.rpartition(".")[2] in log]
    assert one.stop() == 0


def asked(lab: Lab, listener: str, sock: socket.socket, row: Row, token: str) -> Reply:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = sock
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if listener == "unix":
        headers["X-Forwarded-For"] = elsewhere()
    body = None if row.body is None else json.dumps(row.body)
    if body:
        headers["Content-Type"] = "application/json"
    connection.request(row.method, row.path, body, headers)
    response = connection.getresponse()
    return Reply(response.status, response.read().decode(), dict(response.getheaders()))


@pytest.mark.parametrize(("listener", "credential"), combinations())
def test_every_route(lab: Lab, listener: str, credential: str) -> None:
    token, right = CREDENTIALS[credential]
    context = lab.context(credential)
    sock, wrong = lab.connected(listener, context), []
    own = str(LATE[combinations().index((listener, credential)) % len(LATE)])
    half = (LISTENERS.index(listener) + [*CREDENTIALS].index(credential)) % 2
    rows = TABLE if credential in BY_CERTIFICATE else part(TABLE, half, 2)
    for number, row in enumerate(each._replace(path=each.path.replace("NUMBER", own)) for each in rows):
        if number % 8 == 7 and listener != "unix":
            sock.close()
            sock = lab.connected(listener, context)
        reply = asked(lab, listener, sock, row, token)
        expected = getattr(row, right)
        if right == "denied" and expected is None:
            openflights = row.path.partition("?")[0] in ("/", "/nodes", "/groups")
            why = {
                "none": "a token is needed",
                "expired": "the token has expired",
                "revoked": "the token has been revoked",
            }
            expected = (403, "Forbidden") if openflights else (401, why.get(credential, "the token is not valid here"))
            expected = expected[0] if row.method == "HEAD" else expected
        status, text = expected if isinstance(expected, tuple) else (expected, "")
        text = text.replace("NUMBER", own)
        if reply.status != status or text not in reply.text:
            wrong.append((row.method, row.path, status, text, reply.status, reply.text[:300]))
    sock.close()
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(("listener", "credential"), combinations())
def test_every_method_that_is_for_no_route(lab: Lab, listener: str, credential: str) -> None:
    token, right = CREDENTIALS[credential]
    context = lab.context(credential)
    for path in ("/api/v1/pdus", "/healthz", "/api/v1/nodes/board", "/nothing"):
        with lab.connected(listener, context) as sock:
            for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "BREW"):
                reply = asked(lab, listener, sock, Row(method, path, 0, 0, 0, 0, 0), token)
                assert reply.status == (401 if right == "denied" else 404 if path == "/nothing" else 405), reply


@pytest.mark.parametrize(("listener", "credential"), combinations())
def test_the_text_protocol(lab: Lab, listener: str, credential: str) -> None:
    token, right = CREDENTIALS[credential]
    context = lab.context(credential)
    assert lab.daemon.http("/?nodes=board", "PATCH").status == 200  # whatever others have made of it

    def said(*lines: str) -> list[str]:
        handed_in = [f"token {token}"] if token else []
        with lab.connected(listener, context) as sock:
            sock.sendall("".join(f"{line}\n" for line in (*handed_in, *lines)).encode())
            return sock.makefile().read().splitlines()

    answers = said("board on", "pdu 3 on", "elsewhere status", "board status")
    if listener == "plain" and token:
        assert answers == ["nack: a token is taken over TLS only"]
    elif right == "denied":
        why = {
            "none": "a token is needed, so this is for HTTP",
            "expired": "the token has expired",
            "revoked": "the token has been revoked",
        }
        assert {re.sub("; .*", "", each) for each in answers} == {
            f"nack: {why.get(credential, 'the token is not valid here')}"
        }
        assert len(answers) == (1 if token else 4)
    else:
        no_board, no_else = (f"nack: there is no alias or node '{name}'" for name in ("board", "elsewhere"))
        assert answers == {
            "all": ["ack", "ack", answers[2], "on"],
            "viewer": ["nack: the role viewer may not switch on pdu port 2", "nack: the role viewer may not switch on pdu port 3", answers[2], "on"],
            "ci": ["ack", "nack: the role ci may not switch on pdu port 3", no_else, "on"],
            "other": [no_board, answers[1], answers[2], no_board],
            "nothing": [no_board, answers[1], no_else, no_board],
        }[right]  # fmt: skip
        assert answers[1].startswith(("ack", "nack: the role", "nack: there is no PDU 'pdu'"))
        assert answers[2] in ("on", "off", "unknown", no_else)


def test_the_lab_is_as_the_table_has_it(lab: Lab) -> None:
    assert Path(lab.daemon.folder / "s").is_socket()
    assert lab.daemon.http("/api/v1/requests?limit=1000").status == 200
