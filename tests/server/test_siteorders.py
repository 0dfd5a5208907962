# SPDX-License-Identifier: MIT
"""A front passes orders on to its sites, each once, whatever happens to the connection in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.fronts import Front, order
from tests.support.process import Daemon, Reply, eventually


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Iterator[Front]:
    made = Front(daemon)
    yield made
    made.close()


def test_a_node_and_a_port_are_switched_at_their_site_by_every_way_in(lab: Front) -> None:
    berlin = lab.add("berlin")
    front = lab.begin({"own": {"driver": "dummy"}}, nodes={"mine": {"hostname": "own", "port": 1}})
    reply = order(front, alias="berlin/board1")
    assert reply.status == 201 and reply.json["id"] == "berlin/1" and reply.json["state"] == "done"
    assert reply.json["target"] == "berlin/board1 (berlin/p1 port 1)"
    assert reply.json["outlets"] == [{"pdu": "berlin/p1", "port": "1"}]
    assert reply.headers["Location"] == "/api/v1/requests/berlin/1"
    assert front.http("/api/v1/requests/berlin/1").json == reply.json
    assert front.power("on", "berlin/p1", "02").text == "OK - accepted request\n"
    assert front.http("/power/control/on?alias=berlin/board3").headers["X-Request-Id"] == "berlin/3"
    assert front.tcp("berlin/board4 on\n") == "ack\n"
    assert berlin.outlets() == dict.fromkeys("1234", "on")
    assert front.tcp("berlin/p1 03 off\nberlin/board3 status\nberlin/p1 4 status\n") == "ack\noff\non\n"
    assert front.power("status", "berlin/p1", 3).text == "off\n"
    assert order(front, alias="mine").json["id"] == 1  # its own PDUs are as ever
    assert "berlin" not in front.http("/api/v1/requests/1").text


def test_what_a_site_says_is_passed_on(lab: Front) -> None:
    lab.add(
        "berlin",
        {"no": {"driver": "dummy", "refuse": "relay welded", "retries": 1}, "deaf": {"driver": "dummy", "deaf": True}},
        nodes={"core": {"hostname": "p1", "port": 4, "locked": {"reason": "core switch"}}},
    )
    front = lab.begin()
    reply = front.power("on", "berlin/no", 1)
    assert reply.status == 502 and reply.text == "berlin: no: relay welded\n" and reply.headers["X-Request-Id"]
    locked = order(front, alias="berlin/core")
    assert locked.status == 403 and locked.json["type"] == "urn:pdudaemon:locked" and "core switch" in locked.text
    assert front.tcp("berlin/p1 4 on\n") == "nack: berlin: p1 port 4 is locked by the configuration: core switch\n"
    assert "'9' is not a port" in front.power("on", "berlin/p1", 9).text
    wrong = order(front, hostname="berlin/p1", port=9)
    assert wrong.status == 422 and wrong.json["field"] == "port" and "berlin: p1: '9' is not a port" in wrong.text
    late = order(front, hostname="berlin/deaf", port=1, wait=4)
    assert late.status == 504 and late.json["type"] == "urn:pdudaemon:not-done", late.text
    assert late.json["request"].startswith("berlin/")
    accepted = order(front, hostname="berlin/deaf", port=2, wait=0)
    assert accepted.status == 202 and accepted.json["ended"] is None
    unknown = front.http("/power/control/on?alias=berlin/board7")
    assert unknown.status == 503 and "did you mean 'berlin/board" in unknown.text


def test_the_result_of_what_takes_long_comes_when_it_is_there(lab: Front) -> None:
    lab.add(
        "berlin",
        {
            "slow": {"driver": "dummy", "slow": 3},
            "bad": {"driver": "localcmdline", "cmd_on": "sleep 3; false", "cmd_off": "true", "retries": 1},
        },
    )
    front = lab.begin()
    began = time.monotonic()
    assert order(front, hostname="berlin/slow", port=1).json["state"] == "done"
    assert time.monotonic() - began > 3
    failed = order(front, hostname="berlin/bad", port=1)
    assert failed.status == 502 and failed.json["type"] == "urn:pdudaemon:device-failed", failed.text
    rebooted = order(front, "reboot", alias="berlin/board1", delay=4, wait=4)
    assert rebooted.status == 201 and lab.sites["berlin"].outlets()["1"] == "on"


def test_who_hears_that_it_is_done_sees_so_at_once(lab: Front) -> None:
    lab.add("berlin")
    front = lab.begin()
    for number in range(20):
        action = ("on", "off", "reboot")[number % 3]
        state = "off" if action == "off" else "on"
        words = {"delay": 0} if action == "reboot" else {}
        if number % 2:
            assert order(front, action, alias="berlin/board1", **words).status == 201
        else:
            assert order(front, action, nodes="berlin/board[1-2]", **words).status == 201
        assert front.http("/api/v1/nodes/berlin%2Fboard1").json["state"] == state, number
        if not number % 2:
            assert front.http("/api/v1/nodes/berlin%2Fboard2").json["state"] == state, number


def test_a_key_is_the_clients_own(lab: Front) -> None:
    lab.add("berlin")
    front = lab.begin()
    first, second = order(front, key="k1", alias="berlin/board1"), order(front, key="k1", alias="berlin/board1")
    assert (first.status, second.status) == (201, 200) and first.json["id"] == second.json["id"]
    other = order(front, key="k1", alias="berlin/board2")
    assert other.status == 422 and other.json["type"] == "urn:pdudaemon:key-used"
    assert lab.tries("berlin") == 1


def test_an_order_is_done_once_at_a_site_that_keeps_no_history(lab: Front) -> None:
    berlin = lab.add("berlin", daemon={"history": 0})
    front, link = lab.begin(), lab.links["berlin"]
    link.down, link.refuses_then = 0, True  # the answer is lost, and there is no way to the site for a while
    told: list[Reply] = []
    waiting = threading.Thread(target=lambda: told.append(order(front, "reboot", alias="berlin/board2", delay=0.1)))
    waiting.start()
    lab.tried("berlin", 2)
    for port in (3, 4, 3, 4):
        assert berlin.power("on", "p1", port).status == 200
    eventually(lambda: len(berlin.http("/api/v1/requests").json) <= 2)  # those without a key are forgotten
    link.refuses = False
    waiting.join(60)
    assert told[0].status == 201 and lab.tries("berlin") == 6, told[0].text


def test_a_site_that_hangs_holds_up_its_own_alone(lab: Front) -> None:
    lab.add("berlin")
    lab.add("munich")
    front = lab.begin()
    lab.links["berlin"].hang()
    told: list[Reply] = []
    waiting = threading.Thread(target=lambda: told.append(order(front, alias="berlin/board1", wait=3)))
    waiting.start()
    began = time.monotonic()
    for _ in range(20):
        assert order(front, alias="munich/board1").status == 201
        assert front.http("/api/v1/nodes").status == 200
    assert time.monotonic() - began < 3 or not waiting.is_alive()
    both = front.http("/?nodes=berlin/board2,munich/board2&wait=5", "PATCH").json["data"]
    assert [each["attributes"]["success"] for each in both] == [False, True]
    waiting.join(30)
    assert told[0].status == 504 and told[0].json["type"] == "urn:pdudaemon:unanswered", told[0].text
    lab.links["berlin"].flow()


def test_a_site_that_is_away_is_told_and_comes_back(lab: Front) -> None:
    lab.add("berlin")
    lab.add("munich")
    front = lab.begin()
    assert order(front, alias="berlin/board1").status == 201
    eventually(lambda: front.http("/api/v1/nodes/berlin%2Fboard1").json["state"] == "on")
    lab.sites["berlin"].stop()
    eventually(lambda: not lab.site("berlin")["reachable"])
    node = front.http("/api/v1/nodes/berlin%2Fboard1").json
    assert (node["state"], node["source"], node["feeds"][0]["watts"]) == ("unknown", "none", None)
    pdu = front.http("/api/v1/pdus/berlin%2Fp1").json
    assert pdu["reachable"] is False and pdu["reason"].startswith("berlin cannot be asked: ")
    refused = order(front, alias="berlin/board1")
    assert (
        refused.status == 503
        and refused.json["type"] == "urn:pdudaemon:site-unreachable"
        and refused.headers["Retry-After"]
    )
    assert front.tcp("berlin/board1 on\n").startswith("nack: berlin cannot be asked: ")
    assert front.http("/power/control/status?alias=berlin/board1").status == 503
    mixed = front.http("/?nodes=berlin/board2,munich/board2", "PATCH").json["data"]
    assert [each["attributes"]["success"] for each in mixed] == [False, True]
    lab.restart("berlin")
    lab.reached("berlin")
    assert order(front, "off", alias="berlin/board1").status == 201
    assert order(front, alias="munich/board1").status == 201


def test_a_request_under_way_is_told_although_its_site_is_started_anew(lab: Front) -> None:
    berlin = lab.add("berlin")
    front = lab.begin()
    told: list[Reply] = []
    waiting = threading.Thread(target=lambda: told.append(order(front, "reboot", alias="berlin/board1", delay=4)))
    waiting.start()
    eventually(lambda: berlin.http("/api/v1/requests").json)
    berlin.kill()
    lab.restart("berlin")
    waiting.join(60)
    assert told[0].status == 201 and told[0].json["state"] == "done", told[0].text
    assert berlin.outlets()["1"] == "on"


def test_who_waits_when_the_front_stops_hears_that_it_goes_on(lab: Front) -> None:
    berlin = lab.add("berlin", {"slow": {"driver": "dummy", "slow": 4}}, nodes={"s1": {"hostname": "slow", "port": 1}})
    front = lab.begin()
    told: list[Reply] = []
    calls = [
        lambda: told.append(order(front, hostname="berlin/slow", port=2)),
        lambda: told.append(front.http("/?nodes=berlin/s1", "PATCH")),
    ]
    threads = [threading.Thread(target=call) for call in calls]
    for each in threads:
        each.start()
    eventually(lambda: len(berlin.http("/api/v1/requests").json) == 2)
    time.sleep(0.2)  # for the answer that they are accepted
    assert front.stop() == 0
    for each in threads:
        each.join(30)
    replies = {reply.status == 200: reply for reply in told}
    stopped = replies[False].json
    assert stopped["type"] in ("urn:pdudaemon:stopping", "urn:pdudaemon:unanswered"), stopped
    entry = replies[True].json["data"][0]["attributes"]
    assert not entry["success"] and entry["pending"] and "accepted as command berlin/1" in entry["error"], entry
    eventually(lambda: {each["state"] for each in berlin.http("/api/v1/requests").json} == {"done"})
    assert "is still running at exit" not in front.log_text()


def test_a_changed_token_leaves_the_names_known(lab: Front) -> None:
    lab.add("berlin")
    front = lab.begin()
    settings = {**front.settings, "sites": {"berlin": {"url": lab.links["berlin"].url, "token": "x.y.z"}}}
    front.configure(settings)
    assert front.process is not None
    front.process.send_signal(1)
    eventually(lambda: "has been taken over" in front.log_text())
    lab.reached("berlin")
    assert "there is no" not in front.log_text()
    assert order(front, alias="berlin/board1").status == 201
    front.configure({**settings, "sites": {}})
    front.process.send_signal(1)
    eventually(lambda: front.http("/api/v1/sites").json["sites"] == [])
    assert "there is no alias or node 'berlin/board1'" in order(front, alias="berlin/board1").text


def test_that_a_site_hangs_is_noticed_when_something_is_not_answered(lab: Front) -> None:
    lab.add("berlin")
    front = lab.begin()
    lab.links["berlin"].hang()
    assert order(front, alias="berlin/board1", wait=0.5).status == 504
    began = time.monotonic()
    eventually(lambda: not lab.site("berlin")["reachable"])
    assert "does not answer" in lab.site("berlin")["reason"]
    assert order(front, alias="berlin/board1").status == 503
    assert time.monotonic() - began < 20  # without that it takes 25 s
    lab.links["berlin"].flow()
    lab.reached("berlin")
    assert order(front, "off", alias="berlin/board1").status == 201


def test_who_waits_for_a_slow_device_takes_no_connection_from_others(lab: Front) -> None:
    lab.add("berlin", {"deaf": {"driver": "dummy", "deaf": True, "outlets": 100, "timeout": 60}})
    front = lab.begin()
    told: list[Reply] = []
    threads = [
        threading.Thread(target=lambda port=port: told.append(order(front, hostname="berlin/deaf", port=port, wait=20)))  # type: ignore[misc]
        for port in range(1, 101)
    ]
    for each in threads:
        each.start()
    eventually(lambda: len(lab.sites["berlin"].http("/api/v1/requests?pdu=deaf").json) == 100)
    began = time.monotonic()
    for number in range(10):
        assert order(front, ("on", "off")[number % 2], alias="berlin/board1").status == 201
    assert time.monotonic() - began < 10 or all(each.is_alive() for each in threads), "these waited for the others"
    for each in threads:
        each.join(60)
    assert {(reply.status, reply.json["type"]) for reply in told} == {(504, "urn:pdudaemon:not-done")}
    assert all(reply.json["request"].startswith("berlin/") for reply in told) and len(told) == 100
