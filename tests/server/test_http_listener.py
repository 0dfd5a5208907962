# SPDX-License-Identifier: MIT
"""HTTP, over real sockets: the legacy routes, the JSON API, keep-alive, and what is refused."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.support.process import Daemon, eventually

FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("http")
    pdus = {
        "pdu01": {"driver": "dummy", "file": str(folder / "outlets")},
        "blind": {"driver": "localcmdline", "cmd_on": "true", "cmd_off": "true"},
        "refusing": {"driver": "dummy", "refuse": "the breaker is out"},
        "deaf": {"driver": "dummy", "deaf": True, "timeout": 0.5, "retries": 1},
        "slow": {"driver": "dummy", "slow": 3},
        "broken": {"driver": "nosuchdriver"},
    }
    (folder / "outlets").write_text('{"3": "on"}')
    one = Daemon(folder, pdus, {"board7": {"hostname": "pdu01", "port": 7}, "zero": {"hostname": "blind", "port": 0}})
    one.start()
    yield one
    one.kill()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("on?hostname=pdu01&port=1", 200, "OK - accepted request\n"),
        ("on?hostname=pdu01&port=01", 200, "OK - accepted request\n"),
        ("off?alias=board7", 200, "OK - accepted request\n"),
        ("reboot?hostname=pdu01&port=2&delay=0.1", 200, "OK - accepted request\n"),
        ("on?hostname=pdu01&port=1&delay=0&wait=30", 200, "OK - accepted request\n"),
        ("on?hostname=slow&port=1&wait=0", 200, "OK - accepted request\n"),
        ("status?hostname=pdu01&port=03", 200, "on\n"),
        ("get-status?alias=board7", 200, "off\n"),
        ("status?hostname=pdu01&port=8", 200, "off\n"),
        ("status?alias=zero", 200, "unknown\n"),
        ("on?hostname=refusing&port=1", 502, "refusing: the breaker is out\n"),
        ("status?hostname=refusing&port=1", 502, "refusing: the breaker is out\n"),
        ("on?hostname=deaf&port=1", 504, "deaf: no answer within 0.5 s\n"),
        ("status?hostname=deaf&port=1", 504, "deaf: no answer within 0.5 s\n"),
        ("status?hostname=slow&port=1&wait=0.1", 504, "slow: no answer within 0.1 s\n"),
        ("on?hostname=broken&port=1", 503, "broken: disabled by its configuration: pdus.broken.driver: there is no driver 'nosuchdriver'\n"),
        ("on?hostname=pdu1&port=1", 503, "there is no PDU 'pdu1'; did you mean 'pdu01'?\n"),
        ("on?hostname=pdu01&port=9", 503, "pdu01: '9' is not a port: this PDU has 1 to 8\n"),
        ("on?alias=board8", 503, "there is no alias or node 'board8'; did you mean 'board7'?\n"),
        ("on?alias=board7&hostname=pdu01", 503, "give either alias, or hostname and port\n"),
        ("on?hostname=pdu01", 503, "port is missing\n"),
        ("on?hostname=&port=1", 503, "hostname is missing\n"),
        ("on", 503, "hostname is missing\n"),
        # What the existing daemon lets pass from its clients: others than it knows, several, blank ones.
        ("on?hostname=pdu01&port=1&_=17&hostnames=x", 200, "OK - accepted request\n"),
        ("on?hostname=pdu01&port=1&port=99", 200, "OK - accepted request\n"),
        ("on?port=&hostname=pdu01&port=1&port=99", 200, "OK - accepted request\n"),
        ("status?hostname=pdu01&port=3&_=17&port=8", 200, "on\n"),
        ("on?hostname=pdu01&port=1&delay=&wait=", 200, "OK - accepted request\n"),
        ("on?alias=board7&hostname=&port=%20&delay=%20", 200, "OK - accepted request\n"),
        ("status?hostname=pdu01&port=3&alias=&wait=", 200, "on\n"),
        ("restart?hostname=pdu01&port=2&delay=0", 200, "OK - accepted request\n"),
        *((f"reboot?hostname=pdu01&port=3&delay={quote(bad)}", 503, f"delay: {bad!r} is not a number of seconds\n") for bad in ("nan", "inf", "-5", "1e3", "abc", "5 ", "0x1", "١")),
        ("reboot?hostname=pdu01&port=3&delay=3600.1", 503, "delay: 3600.1 seconds is more than the 3600 allowed\n"),
        ("on?hostname=pdu01&port=3&wait=-1", 503, "wait: '-1' is not a number of seconds\n"),
        ("on?hostname=blind&port=$(id)", 503, "blind: '$(id)' is not a port: letters, digits and _ . : + / - only, not beginning with -\n"),
        ("frobnicate?hostname=pdu01&port=1", 404, "there is nothing at '/power/control/frobnicate'\n"),
    ],
)  # fmt: skip
def test_legacy_answers(started: Daemon, path: str, status: int, text: str) -> None:
    reply = started.http(f"/power/control/{path}")
    assert (reply.status, reply.text) == (status, text)
    accepted = status in (200, 502, 504) and "status" not in path
    assert ("X-Request-Id" in reply.headers) is accepted
    if accepted:
        assert reply.headers["Location"] == f"/api/v1/requests/{reply.headers['X-Request-Id']}"


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/api/v1/groups",
        "/api/v1/requests",
        "/api/v1/requests/1",
        "/power/control/status?hostname=pdu01&port=1",
        "/power/control/get-status?alias=nobody",
        "/api/v1/requests/999999",
        "/nodes",
    ],
)
def test_head_is_answered_like_get_without_a_body(started: Daemon, path: str) -> None:
    started.power("on", "pdu01", 1)
    get, head = started.http(path), started.http(path, "HEAD")
    assert head.text == "" and get.text
    assert (head.status, head.headers["Content-Type"]) == (get.status, get.headers["Content-Type"])
    assert head.headers["Content-Length"] == str(len(get.text.encode()))


def test_status_takes_post_as_well(started: Daemon) -> None:
    started.power("on", "pdu01", 1)
    assert started.http("/power/control/status", "POST", "hostname=pdu01&port=1", **FORM).text == "on\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET http://x:1/power/control/status?hostname=pdu01&port=1 HTTP/1.0\r\n\r\n"],
        [b"GET HTTPS://x/power/control/status?hostname=pdu01&port=1 HTTP/1.0\r\n\r\n"],
        [b"GET htt", b"p:", b"//x/power/control/status?hostname=pdu01&port=1 HTTP/1.0\r\n\r\n"],
        [b"GET http:/", b"/x/power/control/status?hostname=pdu01&port=1 HTTP/1.0\r\n\r\n"],
    ],
)
def test_the_absolute_form_of_a_target(started: Daemon, pieces: list[bytes]) -> None:
    started.power("on", "pdu01", 1)
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)
        assert connection.makefile("rb").read().endswith(b"\r\n\r\non\n")


def test_a_target_may_have_names_as_they_are_typed(started: Daemon) -> None:
    for line, told in (
        ("/power/control/on?hostname=büro à&port=1".encode(), "400"),
        ("/power/control/on?hostname=büro-à&port=1".encode(), "there is no PDU 'büro-à'"),
        (b"/power/control/on?hostname=b%C3%BCro&port=1", "there is no PDU 'büro'"),
        (b"/power/control/on?hostname=b\xfcro&port=1", "there is no PDU 'b\ufffdro'"),
    ):
        with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
            connection.sendall(b"GET " + line + b" HTTP/1.0\r\n\r\n")
            assert told in connection.makefile("rb").read().decode()


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_switch_nothing(started: Daemon, method: str) -> None:
    started.power("off", "pdu01", 6)
    before = [each["id"] for each in started.http("/api/v1/requests").json]
    reply = started.http("/power/control/on?hostname=pdu01&port=6", method)
    assert reply.status == 405 and reply.headers["Allow"] == "GET, POST"
    assert started.outlets()["6"] == "off"
    assert [each["id"] for each in started.http("/api/v1/requests").json] == before


def test_post_takes_the_words_from_query_or_form(started: Daemon) -> None:
    assert started.http("/power/control/on?hostname=pdu01&port=4", "POST").status == 200
    assert started.http("/power/control/off", "POST", "hostname=pdu01&port=5", **FORM).status == 200
    assert started.outlets()["4"] == "on" and started.outlets()["5"] == "off"
    assert started.http("/power/control/on?port=4", "POST", "hostname=pdu01&port=5", **FORM).status == 503
    reply = started.http("/power/control/on", "POST", '{"hostname": "pdu01"}', Content_Type="application/json")
    assert (reply.status, reply.text) == (503, "a body must be application/x-www-form-urlencoded\n")


def test_status_tells_json_clients_where_it_comes_from(started: Daemon) -> None:
    accept = {"Accept": "application/json"}
    started.power("on", "pdu01", 1)
    reading = started.http("/power/control/status?hostname=pdu01&port=01", **accept).json
    assert reading.pop("time") > 1.7e9
    assert reading == {"pdu": "pdu01", "port": "1", "state": "on", "source": "device"}
    path = "/power/control/status?hostname=blind&port=a"
    assert started.http(path, **accept).json["source"] == "none"
    started.power("off", "blind", "a")
    reading = started.http(path, **accept).json
    assert (reading["state"], reading["source"]) == ("off", "commanded")
    started.power("reboot", "blind", "a", delay=0)
    assert started.http(path, **accept).json["state"] == "on"


def test_what_one_outlet_was_told_is_not_taken_for_another(started: Daemon) -> None:
    started.power("on", "blind", "relayA1")
    started.power("on", "blind", "RELAY_1")
    assert started.power("status", "blind", "relay_1").text == "unknown\n"
    assert started.power("status", "blind", "relayA1").text == "on\n"


def test_an_outlet_changed_behind_our_back_is_read_as_it_is(started: Daemon) -> None:
    started.power("on", "pdu01", 1)
    (started.folder / "outlets").write_text(json.dumps({**started.outlets(), "1": "off"}))
    assert started.power("status", "pdu01", 1).text == "off\n"


def test_problem_documents(started: Daemon) -> None:
    reply = started.http("/power/control/on?hostname=refusing&port=1", Accept="application/json")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json == {
        "type": "urn:pdudaemon:device-refused",
        "title": "Bad Gateway",
        "status": 502,
        "detail": "refusing: the breaker is out",
        "request": int(reply.headers["X-Request-Id"]),
    }
    reply = started.http("/api/v1/requests/999999")
    assert (reply.status, reply.json["type"]) == (404, "urn:pdudaemon:no-such-request")
    assert started.http("/api/v1/nothing").headers["Content-Type"] == "application/problem+json"
    for limit in ("0", "x", "1001", "-1", "²", "1" * 5000):
        assert started.http(f"/api/v1/requests?limit={quote(limit)}").status == 400


def test_the_api_takes_no_parameter_that_it_does_not_know(started: Daemon) -> None:
    for path in ("pdus?limit=1&_=17", "requests?limits=1", "requests?limit=1&limit=2", "requests/1?x=y"):
        reply = started.http(f"/api/v1/{path}")
        assert reply.status >= 400 and "state" not in reply.text, path
    assert "did you mean 'limit'?" in started.http("/api/v1/requests?limits=1").text
    assert started.http("/api/v1/requests?limit=").status == 200


def test_a_word_given_twice_in_a_post_is_refused(started: Daemon) -> None:
    started.power("off", "pdu01", 4)
    assert started.http("/power/control/on?hostname=pdu01&port=4&port=5", "POST").status == 503
    assert started.outlets()["4"] == "off"


def test_the_api_lists_pdus_and_requests(started: Daemon) -> None:
    by_name = {pdu["name"]: pdu for pdu in started.http("/api/v1/pdus").json}
    assert by_name["pdu01"]["state"] == "ready" and by_name["pdu01"]["readable"] is True
    assert by_name["broken"]["state"] == "disabled" and "nosuchdriver" in by_name["broken"]["reason"]
    reply = started.power("on", "slow", 3, wait=0)
    location = reply.headers["Location"]
    record = started.http(location).json
    assert (record["action"], record["target"], record["ended"]) == ("on", "slow port 3", None)
    assert record["outlets"] == [{"pdu": "slow", "port": "3"}]
    assert started.http("/api/v1/requests?limit=1").json[0]["id"] == record["id"]
    assert eventually(lambda: started.http(location).json["state"] == "done")
    assert started.http("/healthz").text == "ok\n"


def test_cancel(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy", "slow": 3}})
    running = started.power("on", "pdu", 1, wait=0).headers["Location"]
    eventually(lambda: started.http(running).json["state"] == "running")
    waiting = started.power("off", "pdu", 1, wait=0).headers["Location"]
    postponed = started.power("off", "pdu", 2, wait=0, delay=100).headers["Location"]
    assert started.http(running, "DELETE").status == 409
    assert started.http(waiting, "DELETE").json["state"] == "cancelled"
    assert started.http(postponed, "DELETE").json["state"] == "cancelled"
    assert started.http(postponed, "DELETE").status == 409
    assert started.http("/api/v1/requests/99", "DELETE").status == 404
    assert started.http(postponed + "?half=off", "DELETE").status == 400
    eventually(lambda: started.http(running).json["state"] == "done")
    assert started.power("status", "pdu", 1).text == "on\n"


def test_keep_alive_survives_errors_and_pipelining(started: Daemon) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", started.port, timeout=60)
    sockets = set()
    for path in ("/power/control/on?hostname=pdu01&port=1", "/nothing", "/power/control/on?port=1", "/healthz"):
        connection.request("GET", path)
        connection.getresponse().read()
        sockets.add(connection.sock)
    assert len(sockets) == 1
    connection.close()
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as pipe:
        one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        pipe.sendall(one + one.replace(b"\r\nHost", b"\r\nContent-Length: 3\r\nHost") + b"abc")
        pipe.sendall(one.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost"))
        assert pipe.makefile("rb").read().count(b"ok\n") == 3


def test_what_old_and_careful_clients_send(started: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\n\n")
        assert connection.makefile("rb").read().endswith(b"Connection: close\r\n\r\nok\n")
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        form = b"hostname=pdu01&port=2"
        connection.sendall(
            b"POST /power/control/on HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
            b"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(form)
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(form)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /power/control/on HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /power/control/on HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n", 413),
        (b"POST /power/control/on HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /power/control/on HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"BREW /power/control/on HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", 400),
        (b"GET * HTTP/1.1\r\n\r\n", 404),
        (b"GET http://x/nothing HTTP/1.1\r\n\r\n", 404),
    ],
)
def test_bad_http_is_refused_in_form(started: Daemon, raw: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", started.port), timeout=60) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.makefile("rb").read()
        except ConnectionResetError:
            return
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
    assert b"Traceback" not in answer


def test_a_secret_never_shows(daemon: Callable[..., Daemon]) -> None:
    secret = "tops3cret"
    started = daemon(
        {
            "pdu": {"driver": "localcmdline", "cmd_on": "echo $PW; exit 3", "password": secret, "retries": 1},
            "faulty": {"driver": "dummy", "retries": "x", "password": secret},
        },
        start=False,
    )
    started.environment["PW"] = f"login {secret} refused"
    started.start()
    reply = started.power("on", "pdu", 1)
    assert (reply.status, reply.text) == (502, "pdu: cmd_on exited with 3: login *** refused\n")
    shown = [
        started.http(path).text
        for path in ("/api/v1/pdus", "/api/v1/requests", "/power/control/on?hostname=faulty&port=1")
    ]
    assert secret not in "".join(shown) + started.log_text()
