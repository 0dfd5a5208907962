# SPDX-License-Identifier: MIT
"""Ways in from the network: a daemon that runs, a broker beside it, and the client, whose daemon is a liar.

At the end of each the daemon is well, has logged no traceback, and is no larger than it was.
"""

from __future__ import annotations

import errno
import http.client as http_client
import json
import random
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.mqtt import Account, Session, is_topic
from tests.nightly.mutations import Mutations
from tests.nightly.way import Way
from tests.peers.mosquitto import mosquitto
from tests.support.certificate import self_signed
from tests.support.growth import steady
from tests.support.process import PDUCLIENT, Daemon, eventually
from tests.support.tokens import SECRET, later, made

PDUS = {
    "pdu01": {"driver": "dummy", "outlets": 8, "names": {"3": "router"}, "watts": {"3": 5.5}},
    "moody": {"driver": "dummy", "flaky": 1, "retries": 1, "retrydelay": 0},
}
NODES = {"node[1-4]": {"hostname": "pdu01", "port": "[1-4]"}, "twin": {"feeds": [{"hostname": "pdu01", "port": 5}]}}
GROUPS = {"rack1": ["node[1-4]"], "all": ["@rack1", "twin"]}
BOUNDS = {"max_delay": 0.1, "wait": 0.05, "max_connections_per_address": 1000, "max_queue_per_address": 1000}
PATIENCE = 20.0

TEXTS = [
    b"pdu01 1 on", b"pdu01 03 off\n", b"pdu01 1 reboot 0\r\n", b"router status", b"pdu01 1 on wait=0\npdu01 2 status\n", b"board7 reboot 0 wait=1 key=abc\n",
    b"pdu01 name:router status\n", b"moody 1 on delay=0\n", b"twin reboot delay=0.05 soft=0 hard=false\n",
]  # fmt: skip
HEADS = [
    "GET /power/control/on?hostname=pdu01&port=3", "GET /power/control/reboot?alias=board7&delay=0&wait=1", "GET /power/control/status?hostname=pdu01&port=name:router",
    "GET /api/v1/pdus?after=pdu01&limit=1", "GET /api/v1/pdus/pdu01?fresh=1", "GET /api/v1/pdus/pdu01/outlets/3", "GET /api/v1/pdus/pdu01/watts", "GET /api/v1/outlets",
    "GET /api/v1/nodes?names=node[1-3]!node2&groups=rack1&limit=5", "GET /api/v1/nodes/node1", "GET /api/v1/groups", "GET /api/v1/requests?pdu=pdu01&action=on&state=done&since=0&limit=3",
    "GET /api/v1/requests/1", "DELETE /api/v1/requests/1", "GET /api/v1/commands/1", "DELETE /api/v1/commands/1", "GET /metrics", "GET /", "GET /healthz", "HEAD /readyz",
    "GET /openapi.json", "PATCH /power?nodes=node[1-4]", "GET /power?nodes=twin", "DELETE /power?groups=all", "OPTIONS /api/v1/pdus", "GET http://host/api/v1/pdus",
]  # fmt: skip
HEADERS = 'Host: localhost\r\nConnection: close\r\nAccept: application/json\r\nIdempotency-Key: "k{}"\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nIf-None-Match: "x"\r\n'
BODIES: list[dict[str, Any]] = [
    {"action": "on", "hostname": "pdu01", "port": "3", "wait": 1}, {"action": "reboot", "nodes": ["node[1-2]", "twin"], "groups": ["rack1"], "delay": 0, "key": "abc", "wait": 1},
    {"action": "off", "alias": "board7", "wait": 0}, {"action": "restart", "hostname": "pdu01", "port": 1, "delay": 0.05, "soft": 0, "hard": True},
]  # fmt: skip


@contextmanager
def running(
    folder: Path, asked: Callable[[int, str], Any] | None = None, broker: int = 0, **settings: Any
) -> Iterator[Daemon]:
    """Run a daemon, which must be as well at the end as it was; ``asked`` asks one that speaks TLS."""
    started = Daemon(
        folder, PDUS, {"board7": {"hostname": "pdu01", "port": "7"}}, NODES, GROUPS, **{**BOUNDS, **settings}
    )
    if broker:
        started.configure({**started.settings, "mqtt": {"host": "127.0.0.1", "port": broker}})
    started.start()
    try:
        with steady(started):
            yield started
        assert started.process is not None and started.process.poll() is None, started.log_text()[-2000:]
        healthy = asked(started.port, "/healthz") if asked else started.http("/healthz")
        assert healthy.status == 200
        log = started.log_text()
        found = re.search(r".*(Traceback|internal error|assert)[\s\S]{0,2000}", log)
        assert not found, found[0]
        assert log.isprintable() or {*log} - {"\n"} == {each for each in log if each.isprintable()}, (
            "control characters"
        )
        assert started.stop() == 0
    finally:
        started.kill()


def exchanged(port: int, data: bytes) -> bytes:
    """Send bytes and their end, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                received += more
        except OSError as error:  # because of what came behind that which was refused
            assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN), error
        return received


def good_http(answer: bytes) -> None:
    """Check the answers of one connection."""
    statuses = re.findall(rb"(?:\A|\n|\})HTTP/1\.[01] (\d{3}) ", answer)
    assert not answer or statuses, answer[:300]
    assert b"500" not in statuses, answer[:500]


@contextmanager
def text(folder: Path, chance: random.Random) -> Iterator[Way]:
    """The text protocol, by TCP."""
    mutations = Mutations(chance, TEXTS)
    with running(folder) as started:

        def feed(data: bytes) -> None:
            answer = exchanged(started.port, data)
            if answer.startswith(b"HTTP/"):  # what was made of it begins like one of these
                good_http(answer)
                return
            for line in answer.decode().splitlines():
                assert re.match(r"ack$|nack\b|on$|off$|unknown$", line), line

        yield Way(lambda: mutations.of(chance.choice(TEXTS)), feed)


@contextmanager
def http(folder: Path, chance: random.Random) -> Iterator[Way]:
    """Heads of HTTP, on a listener that takes texts as well."""
    heads = [f"{head} HTTP/1.1\r\n{HEADERS}\r\n".encode() for head in HEADS]
    mutations = Mutations(chance, heads)
    with running(folder) as started:

        def feed(data: bytes) -> None:
            answer = exchanged(started.port, data)
            if not re.match(rb"(ack|nack.*|on|off|unknown)\n", answer):
                good_http(answer)

        yield Way(lambda: mutations.of(chance.choice(heads)), feed)


@contextmanager
def json_bodies(folder: Path, chance: random.Random) -> Iterator[Way]:
    """JSON of ``POST /api/v1/requests``, with a token."""
    mutations = Mutations(chance, [json.dumps(each).encode() for each in BODIES])
    with running(folder, listener="http", secret=SECRET) as started:
        token = made({"exp": later(10**6)})
        head = f"POST /api/v1/requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: "

        def feed(data: bytes) -> None:
            answer = exchanged(started.port, f"{head}{len(data)}\r\n\r\n".encode() + data)
            good_http(answer)
            document = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert isinstance(document, dict), answer[:300]

        yield Way(lambda: mutations.of_json(chance.choice(BODIES)), feed)


@contextmanager
def tls(folder: Path, chance: random.Random) -> Iterator[Way]:
    """The hello of TLS, and what comes instead of it."""
    self_signed(folder / "key.pem", folder / "cert.pem")
    context = ssl.create_default_context()
    out = ssl.MemoryBIO()
    context.check_hostname = False
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        hello = out.read()
    mutations = Mutations(chance, [hello, b"GET / HTTP/1.1\r\n\r\n"])
    secure = {"protocol": "http", "hostname": "127.0.0.1", "port": 0, "certificate": "cert.pem", "key": "key.pem"}
    with running(folder, secured, listeners=[secure]) as started:

        def feed(data: bytes) -> None:
            exchanged(started.port, data)

        yield Way(lambda: mutations.of(hello), feed)


def secured(port: int, path: str) -> Any:
    """Make a request over TLS, whoever the server is; return an object with a status."""
    context = ssl._create_unverified_context()
    connection = http_client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse()
    finally:
        connection.close()


@contextmanager
def mqtt(folder: Path, chance: random.Random) -> Iterator[Way]:
    """Topics and payloads of a broker: of each that is a command something is told."""
    topics = ["pdudaemon/outlet/pdu01/3/set", "pdudaemon/node/node1/set", "pdudaemon/outlet/nobody/1/set"]
    payloads = [b"on", b"off", b"reboot", b"ON", b" off "]
    mutations = Mutations(chance, payloads)
    with ExitStack() as stack:
        port = stack.enter_context(mosquitto(folder / "broker"))
        started = stack.enter_context(running(folder, broker=port))
        session = stack.enter_context(Session(Account("127.0.0.1", port), Deadline(PATIENCE)))
        session.subscribe(["pdudaemon/status"])
        session.receive("the birth of the daemon")  # by then it has subscribed
        fed = 0

        def draw() -> bytes:
            topic = chance.choice(topics)
            if chance.random() < 0.5:
                words = topic.encode().split(b"/")
                place = chance.choice((2, 3)) if len(words) > 4 else 2
                words[place] = mutations.of(words[place]).replace(b"/", b"") or b"x"
                made = b"/".join(words).decode(errors="replace")
                topic = made if is_topic(made) else topic  # no broker passes others on
            return topic.encode() + b"\0" + mutations.of(chance.choice(payloads))

        def feed(data: bytes) -> None:
            nonlocal fed
            topic, _, payload = data.partition(b"\0")
            session.deadline = Deadline(PATIENCE)
            session.publish(topic.decode(), payload, retain=False)
            fed += 1
            if fed % 50 == 0:  # what is sent too fast a broker throws away
                said = f"mark {fed}"
                session.publish("pdudaemon/node/nobody/set", said, retain=False)
                eventually(lambda: said in started.log.read_text()[-200_000:], 60)

        yield Way(draw, feed)


@contextmanager
def ndjson(folder: Path, chance: random.Random) -> Iterator[Way]:
    """What the client reads of a daemon: lists, events, and errors, in JSON and a line each."""
    event = {
        "id": 1,
        "time": 1.5,
        "kind": "ended",
        "request": 7,
        "action": "on",
        "target": "node1",
        "outlets": ["pdu01:1"],
    }
    event |= {"nodes": ["node1"], "client": "x", "state": "done", "reason": None, "command": None, "owed": []}
    outlet: dict[str, Any] = {
        "pdu": "pdu01",
        "port": "1",
        "name": None,
        "nodes": ["node1"],
        "locked": False,
        "reason": None,
    }
    outlet |= {"state": "on", "source": "device", "time": 1.5, "age": 2.0, "watts": 5.5, "volts": None, "amps": None}
    node = {"name": "node1", "groups": [], "feeds": [outlet], "state": "on", "source": "device", "last_request": None}
    documents: list[Any] = [event, [outlet], [node], {"node1": node}, {"title": "x", "detail": "y", "status": 404}]
    mutations = Mutations(chance, [json.dumps(each).encode() for each in documents])
    ways = [
        ["status", "node1"],
        ["watch"],
        ["pdus"],
        ["outlets", "pdu01"],
        ["show", "node1"],
        ["history"],
        ["on", "node1"],
    ]

    def draw() -> bytes:
        lines = b"\n".join(mutations.of_json(chance.choice(documents)) for _ in range(chance.randrange(1, 4)))
        return (
            chance.choice((b"200", b"200", b"200", b"404", b"503"))
            + b"\0"
            + bytes([chance.randrange(len(ways))])
            + lines
        )

    with liar() as (port, said):

        def feed(data: bytes) -> None:
            status, _, rest = data.partition(b"\0")
            kind = b"application/x-ndjson" if rest[0] % 2 else b"application/json"
            said[0] = (
                b"HTTP/1.1 " + status + b" x\r\nConnection: close\r\nContent-Type: " + kind + b"\r\n\r\n" + rest[1:]
            )
            command = [*ways[rest[0] % len(ways)], "--url", f"http://127.0.0.1:{port}"]
            environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb"}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            client = PDUCLIENT.start(command, environment, folder, **pipes)
            try:
                out, err = client.communicate(timeout=PATIENCE if "watch" not in command else 0.5)
            except subprocess.TimeoutExpired:
                assert "watch" in command, command  # which tries again for ever
                client.terminate()
                out, err = client.communicate(timeout=PATIENCE)
            assert b"Traceback" not in err, err.decode(errors="replace")
            assert client.returncode is not None and client.returncode < 128, (client.returncode, err)
            assert b"\x1b" not in out, out[:300]

        yield Way(draw, feed)


@contextmanager
def liar() -> Iterator[tuple[int, list[bytes]]]:
    """Serve the same to everybody: what the list has at the moment."""
    said = [b""]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    try:
                        connection.recv(65536)
                        connection.sendall(said[0])
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1]), said
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
