# SPDX-License-Identifier: MIT
"""What pduclient shows of a real daemon: PDUs, outlets, nodes, history; and names as ClusterShell's users write them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.client import Ran, client
from tests.support.process import Daemon, eventually


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Daemon:
    nodes = {f"node{n:02}": {"hostname": "rack", "port": n} for n in range(1, 8)}
    nodes["gw"] = {"feeds": [{"hostname": "rack", "port": 8}, {"hostname": "spare", "port": 1}]}
    made = daemon({}, nodes=nodes, groups={"odd": "node[01-07/2]", "all": "*"}, start=False)
    file = str(made.folder / "outlets")
    made.settings["pdus"] = {
        "rack": {"driver": "dummy", "file": file, "outlets": 8, "names": {"8": "door"}, "watts": {"8": 12.5}},
        "spare": {"driver": "dummy", "locked": True},
    }
    made.configure(made.settings)
    (made.folder / "outlets").write_text("{}")
    made.start()
    return made


def test_what_is_shown(lab: Daemon) -> None:
    def run(*words: str) -> Ran:
        ran = client(*words, f"--url=http://127.0.0.1:{lab.port}")
        assert ran.err == ""
        return ran

    assert run("on", "node01", "node02").code == 0
    first, *pdus = run("pdus").out.splitlines()
    assert first.split()[:3] == ["PDU", "DRIVER", "STATE"]
    assert [line.split()[:4] for line in pdus] == [["rack", "dummy", "ready", "8"], ["spare", "dummy", "ready", "8"]]
    assert run("pdus", "--names").out == "rack\nspare\n"
    _, *outlets = run("outlets", "rack", "--fresh").out.splitlines()
    assert outlets[0].split()[:3] == ["1", "node01", "on"] and outlets[7].split()[:4] == ["8", "door", "gw", "off"]
    shown = run("show", "node01").out
    assert shown.startswith("node01: on, ") and "in @odd, @all" in shown
    assert [line.split()[3] for line in shown.splitlines() if "127.0.0.1" in line] == ["on"]
    document = json.loads(run("show", "gw", "--json").out)
    assert [feed["pdu"] for feed in document["node"]["feeds"]] == ["rack", "spare"] and document["requests"] == []
    assert "locked" in run("show", "gw").out
    history = run("history", "@odd").out.splitlines()
    assert len(history) == 2 and "node01" in history[1]
    assert len(run("history").out.splitlines()) == 3 and len(run("history", "--since", "1h").out.splitlines()) == 3
    for word in ("outlets", "show"):
        ran = client(word, "nix", f"--url=http://127.0.0.1:{lab.port}")
        assert (ran.code, ran.out) == (1, "") and "there is no" in ran.err


def test_failures_in_the_history(lab: Daemon) -> None:
    lab.settings["pdus"]["dead"] = {"driver": "dummy", "deaf": True, "timeout": 0.5, "retries": 1}
    lab.settings["nodes"]["dead"] = {"hostname": "dead", "port": 1}
    lab.configure(lab.settings)
    assert lab.stop() == 0
    lab.start()
    url = f"--url=http://127.0.0.1:{lab.port}"
    assert client("on", "dead", "node01", url).code == 1
    failed = client("history", "--failed", url).out.splitlines()
    assert len(failed) == 2 and " dead " in failed[1] and " failed " in failed[1] and "no answer" in failed[1]


def test_names_as_clustershell_has_them(lab: Daemon) -> None:
    url = f"--url=http://127.0.0.1:{lab.port}"

    def on() -> list[int]:
        return sorted(int(port) for port, state in lab.outlets().items() if state == "on")

    def switched(*words: str) -> list[int]:
        assert client("off", "node*", "--yes", url).code == 0
        ran = client("on", *words, url)
        assert (ran.code, ran.err) == (0, "")
        return on()

    assert switched("node[01-07/3]") == [1, 4, 7]
    assert switched("node*", "-x", "node[02-06]") == [1, 7]
    assert switched("@odd!node03") == [1, 5, 7]
    assert switched("@odd&node[01-04]") == [1, 3]
    assert switched("@odd^node[01-03]") == [2, 5, 7]
    assert switched("-g", "odd", "-x", "node07", "-x", "node05") == [1, 3]
    assert switched("@*", "-x", "gw,@odd") == [2, 4, 6]
    status = client("status", "--fold", "-x", "gw", url)
    assert status == (0, "on: node[02,04,06]\noff: node[01,03,05,07]\n", "")
    assert client("off", "node[01-07]", "node[09-010]", "--yes", url).code == 2 and on() == [2, 4, 6]


def test_not_waiting(lab: Daemon) -> None:
    url = f"--url=http://127.0.0.1:{lab.port}"
    ran = client("on", "node*", "--no-wait", url)
    assert (ran.code, ran.err) == (0, "")
    number = int(ran.out)
    eventually(lambda: lab.http(f"/api/v1/commands/{number}").json["state"] == "ended")
    assert client("cancel", str(number), url).out.count("Done") == 7
    assert client("on", "gw", "node01", "--no-wait", url).code == 1
