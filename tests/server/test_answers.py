# SPDX-License-Identifier: MIT
"""An answer is true: yes after waiting means done, and what is not done is told as that, with the reason so far."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import DaemonOptions
from tests.support.client import client
from tests.support.plugins import recorded
from tests.support.process import Daemon, eventually, in_parallel

JSON = {"Accept": "application/json"}


def test_the_default_is_longer_than_the_tries_of_any_usual_device() -> None:
    assert DaemonOptions().wait == 600.0


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [
        ({"deaf": True, "timeout": 3600}, r"pdu: the device has not answered yet"),
        ({"deaf": True, "timeout": 0.2, "retrydelay": 60}, r"pdu: no answer within 0\.2 s"),
        ({"flaky": 1, "retrydelay": 60}, r"pdu: flaky: action 1 failed"),
    ],
)
def test_a_device_that_does_not_answer(daemon: Callable[..., Daemon], pdu: dict[str, Any], reason: str) -> None:
    started = daemon({"pdu": {"driver": "dummy", **pdu}})
    plain = started.power("on", "pdu", 1, wait=4)
    assert plain.status == 504
    assert re.fullmatch(f"accepted as request 1, not done after 4 s: {reason}; it goes on\n", plain.text), plain
    assert (plain.headers["X-Request-Id"], plain.headers["Location"]) == ("1", "/api/v1/requests/1")
    assert re.fullmatch(
        "nack: accepted as request 2, not done after 0.5 s: (queued behind request 1|pdu: the device is busy); it goes on\n",
        started.tcp("pdu 1 off wait=0.5"),
    )
    document = started.http("/power/control/reboot?hostname=pdu&port=1&wait=0.2", **JSON)
    assert (document.status, document.headers["Content-Type"]) == (504, "application/problem+json")
    assert (document.json["type"], document.json["request"]) == ("urn:pdudaemon:not-done", 3)
    assert "accepted as request 3, not done after 0.2 s: " in document.json["detail"]
    states = [each["state"] for each in started.http("/api/v1/requests").json]
    assert len(states) == 3 and not {"done", "failed"} & {*states}


def test_accepted_is_all_that_zero_means(daemon: Callable[..., Daemon]) -> None:
    """Of a request, and of the daemon; even if the failure is known by then."""
    started = daemon({"dead": {"driver": "dummy", "deaf": True}, "no": {"driver": "dummy", "refuse": "no"}})
    for pdu in ("dead", "no"):
        assert started.power("on", pdu, 1, wait=0).text == "OK - accepted request\n"
        assert started.tcp(f"{pdu} 1 on wait=0") == "ack\n"
        assert started.http(f"/power/control/on?hostname={pdu}&port=1&wait=0", **JSON).json["state"] != "done"
    started.stop()
    started.settings["daemon"]["wait"] = 0
    started.configure(started.settings)
    started.start()
    assert (started.power("on", "dead", 1).status, started.tcp("dead 1 on")) == (200, "ack\n")
    assert started.power("on", "dead", 1, wait=0.1).status == 504


def test_the_delay_that_a_client_asked_for_is_not_counted(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}}, wait=3)
    replies = in_parallel(
        [
            lambda: started.power("reboot", "pdu", 1, delay=4),
            lambda: started.power("on", "pdu", 2, delay=4),
            lambda: started.tcp("pdu 3 reboot 4 wait=3"),
            lambda: started.tcp("pdu 4 off delay=4"),
            lambda: started.power("reboot", "pdu", 5),  # 5 seconds, which nobody asked for
        ]
    )
    assert [replies[0].status, replies[1].status, *replies[2:4]] == [200, 200, "ack\n", "ack\n"]
    assert replies[4].status == 504
    assert re.search(r"not done after 3 s: pdu port 5 is off, and is switched on in \d s; it goes on", replies[4].text)
    seen = plugin.by_outlet()
    assert (seen["pdu", "1"], seen["pdu", "2"], seen["pdu", "3"], seen["pdu", "4"]) == ("fo", "o", "fo", "f")
    assert eventually(lambda: plugin.by_outlet()["pdu", "5"] == "fo")


def test_whoever_asks_may_wait(daemon: Callable[..., Daemon]) -> None:
    """The bounds of old on those who wait are taken, and mean nothing any more."""
    started = daemon({"dead": {"driver": "dummy", "deaf": True, "timeout": 60}}, max_waiters=1, max_waiters_per_pdu=1)
    eventually(lambda: "max_waiters_per_pdu: means nothing any more" in started.log_text())
    answers = in_parallel([lambda port=port: started.tcp(f"dead {port} on wait=4") for port in range(1, 9)])
    assert all("not done after 4 s" in answer for answer in answers), answers


def test_a_record_that_is_forgotten_makes_nothing_undone(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, history=0)
    for _ in range(130):
        reply = started.http("/power/control/on?hostname=pdu&port=1", **JSON)
        assert (reply.status, reply.json["state"]) == (200, "done")


def shared(daemon: Callable[..., Daemon], tmp_path: Path) -> tuple[Daemon, Any]:
    """Return a daemon whose nodes share outlets: ``one`` and ``same`` all, ``left`` and ``right`` the middle one."""
    started, plugin = recorded(daemon, {"pdu": {}, "bad": {"refuses": str(tmp_path / "refuses")}})
    feeds = {"left": "12", "right": "23", "odd": "7"}
    started.settings["nodes"] = {
        name: {"feeds": [{"hostname": "pdu", "port": int(port)} for port in ports]} for name, ports in feeds.items()
    }
    started.settings["nodes"]["right"]["feeds"].append({"hostname": "bad", "port": 1})
    started.settings["aliases"] = {
        name: {"hostname": "pdu", "port": port} for name, port in (("one", 4), ("same", "04"))
    }
    started.settings["groups"] = {"blades": "one,same", "mixed": "left,right,odd"}
    started.stop()
    started.configure(started.settings)
    started.start()
    return started, plugin


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "PUT"])
def test_names_of_one_outlet_switch_it_once(daemon: Callable[..., Daemon], tmp_path: Path, method: str) -> None:
    started, plugin = shared(daemon, tmp_path)
    seen = {"PATCH": "o", "DELETE": "f", "PUT": "fo"}[method]
    told = [each["attributes"] for each in started.http("/?groups=blades", method).json["data"]]
    assert [(each["node-name"], each["success"], each["error"]) for each in told] == [
        ("one", True, None),
        ("same", True, None),
    ]
    assert {each["request"] for each in told} == {1}
    assert plugin.by_outlet() == {("pdu", "4"): seen}
    told = [each["attributes"] for each in started.http("/?groups=mixed", method).json["data"]]
    assert [each["success"] for each in told] == [True] * 3
    outlets = [("pdu", "1"), ("pdu", "2"), ("pdu", "3"), ("pdu", "7"), ("bad", "1")]
    assert {each: plugin.by_outlet()[each] for each in outlets} == dict.fromkeys(outlets, seen)
    assert len(started.http("/api/v1/requests").json) == 3


def test_each_name_is_told_what_became_of_its_own_outlets(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    started, _ = shared(daemon, tmp_path)
    (tmp_path / "refuses").touch()
    told = {each["id"]: each["attributes"] for each in started.http("/?groups=mixed", "PATCH").json["data"]}
    assert {name: each["success"] for name, each in told.items()} == {"left": True, "right": False, "odd": True}
    assert "refused, for now" in told["right"]["error"] and told["left"]["error"] is None
    late = started.http("/?nodes=left,right&wait=0.3", "PUT").json["data"]
    assert {(each["attributes"]["success"], each["attributes"]["pending"]) for each in late} == {(False, True)}


def test_words_that_one_way_in_knows_every_way_in_knows(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    assert started.tcp("pdu 1 restart delay=0.1 wait=9") == "ack\n"
    assert started.tcp("pdu 2 reboot wait=9 delay=0.1\npdu 1_0 on delay=\npdu \u0661\u0662 on wait=\n") == "ack\n" * 3
    assert started.power("restart", "pdu", 3, delay=0.1).status == 200
    drive = "--drive --hostname pdu --port 4 --request restart --delay 0.1 --wait 9 --retries= --alias="
    assert started.run(*drive.split()).returncode == 0
    seen = plugin.by_outlet()
    assert [seen["pdu", port] for port in "1234"] == ["fo"] * 4 and seen["pdu", "10"] == seen["pdu", "12"] == "o"
    assert started.tcp("pdu 1 get-status") == started.tcp("pdu 1 status") == "on\n"
    assert started.run("--drive", "--hostname=pdu", "--port=1", "--request=get-status").stdout == "unknown\n"
    assert started.tcp("pdu 1 reboot 5 delay=5").startswith("nack: ")


def test_drive_that_waits_no_longer_leaves_no_board_off(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    ended = started.run(*"--drive --hostname pdu --port 1 --request reboot --wait 3".split())
    assert (ended.returncode, plugin.by_outlet()) == (1, {("pdu", "1"): "fo"})
    assert ended.stderr == "pdudaemon: not done after 3 s, switching on at once\n"


def test_a_name_of_a_group_is_told_as_one(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, {"x": {"hostname": "pdu", "port": 1}}, groups={"blades": "x"})
    why = "there is no alias or node 'blades'; it is the name of a group: pduclient -g, or groups="
    assert started.http("/?nodes=blades").json["data"][0]["attributes"]["error"] == why
    assert started.tcp("blades on") == f"nack: {why}\n"


def test_pduclient_tells_what_is_under_way(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy", "deaf": True}}, {"slow": {"hostname": "pdu", "port": 1}})
    url = f"--url=http://127.0.0.1:{started.port}"
    ran = client("on", "slow", "--timeout=1", url)
    why = "accepted as request 1, not done after 1 s: pdu: the device has not answered yet; it goes on"
    assert ran == (1, "slow Under way\n", f"pduclient: slow: {why}\n")
    told = json.loads(client("restart", "slow", "--timeout=0.5", "--json", url).out)
    assert (told["ok"], told["nodes"][0]["result"], told["nodes"][0]["request"]) == (False, "under way", 2)
    ran = client(f"--daemon=127.0.0.1:{started.port}", "--alias=slow", "--command=on", "--wait=0.5")
    assert ran.code == 127 and "replied: nack: accepted as request 3, not done after 0.5 s: " in ran.out
