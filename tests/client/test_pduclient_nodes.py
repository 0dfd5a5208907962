# SPDX-License-Identifier: MIT
"""pduclient for nodes, as a program: against stand-ins for OpenFlight's server and for ours, and on a terminal.

``data/openflight.json`` has what OpenFlight's own client was seen to ask, what its server was seen to answer, and what
the client was seen to print then; the exit codes, and what is said beside the results, are ours.
"""

from __future__ import annotations

import json
import os
import pty
import random
import re
import runpy
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.ranges import expanded
from tests.devices.flood import Flood
from tests.devices.openflight import TOKEN, End, PowerServer, StreamServer, commands, reply, result
from tests.support.certificate import self_signed
from tests.support.client import CLIENT, MISSING, NOWHERE, USAGE, Ran, client
from tests.support.process import ROOT, eventually

PROGRAM = [sys.executable, "-I", "-S", str(CLIENT)]
RECORDED = json.loads((ROOT / "tests" / "data" / "openflight.json").read_text())
GOES_ON = "; the daemon goes on with what it has accepted"
NODES_USAGE = "Usage: pduclient list|status|on|off|restart NODES... [options]\n"


def run(*arguments: str, program: list[str] | None = None, **environment: Any) -> Ran:
    """Run the client, or another program, to its end, away from any terminal and any configuration."""
    if program is None:
        return client(*arguments, **environment)
    env = {**NOWHERE, **environment}
    done = subprocess.run(
        [*program, *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def ask(server: PowerServer, words: str, **environment: Any) -> Ran:
    """Run the client for a server, with a token."""
    return run(*shlex.split(words), f"--url={server.url}", f"--token={TOKEN}", **environment)


class Terminal:
    """The client with a terminal as its standard input and standard error; ``screen`` is what that has been shown."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.fd, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            env={**NOWHERE, "TERM": "xterm", **environment},
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
        )
        os.close(terminal)
        self.screen = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self.fd, 4096):
                self.screen += data.decode()
        except OSError:
            return  # nobody has the terminal any more

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> Ran:
        """Wait for the end of the client; the third of the results is the screen."""
        out, _ = self.process.communicate(timeout=20)
        self._reader.join(5)
        os.close(self.fd)
        return Ran(self.process.returncode, out, self.screen.replace("\r\n", "\n"))


@contextmanager
def terminal(server: PowerServer, words: str, **environment: str) -> Iterator[Terminal]:
    """Run the client for a server on a terminal."""
    made = Terminal(*shlex.split(words), f"--url={server.url}", **environment)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(10)


# The recorded conversations


@pytest.mark.parametrize("recorded", RECORDED, ids=[each["call"] for each in RECORDED])
def test_recorded(recorded: dict[str, Any]) -> None:
    said = reply(
        recorded["reply"], recorded.get("status", "200 OK"), recorded.get("type", "application/json; charset=utf-8")
    )
    with PowerServer(said) as server:
        ran = ask(server, recorded["call"])
        assert server.asked == [recorded["request"]]
        assert ran == (recorded["code"], recorded["out"], recorded.get("err", "").format(url=server.url))
        request = server.requests[0]
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["accept"] == "application/x-ndjson, application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.body == b""
        assert request.headers.get("content-length") == ("0" if request.method in ("PATCH", "PUT") else None)


def test_further_requests() -> None:
    with PowerServer(commands(result("a"))) as server:
        assert ask(server, "status 'a&groups=b'").code == 0
        assert ask(server, "status knödel").code == 0
        assert ask(server, "--timeout 2.5 status a -n b").code == 0
        assert ask(server, "list --timeout 2").code == 0
        assert ask(server, "status a", PDUCLIENT_URL="http://127.0.0.1:1").code == 0
        server.url += "/power/"
        assert ask(server, "status -g a").code == 0
        assert ask(server, "list").code == 0
        assert server.asked == [
            "GET /?nodes=a%26groups%3Db",
            "GET /?nodes=kn%C3%B6del",
            "GET /?nodes=a%2Cb&wait=2.5",
            "GET /nodes",
            "GET /?nodes=a",
            "GET /power/?groups=a",
            "GET /power/nodes",
        ]


def test_no_token_is_sent_if_there_is_none() -> None:
    with PowerServer(reply("Forbidden", "403 Forbidden", "text/html;charset=utf-8")) as server:
        ran = run("list", "--url", server.url)
        assert ran == (2, "", f"pduclient: {server.url}: a token is wanted, and none is set: Forbidden\n")
        assert "authorization" not in server.requests[0].headers


# Which interface is meant


@pytest.mark.parametrize(
    ("words", "err"),
    [
        ("on", f"{NODES_USAGE}pduclient: error: insufficient arguments for command 'on'\n"),
        ("-fy off --nodes", f"{NODES_USAGE}pduclient: error: insufficient arguments for command 'off'\n"),
        ("list node01", f"{NODES_USAGE}pduclient: error: excess arguments for command 'list'\n"),
        ("on node01 --bogus", f"{NODES_USAGE}pduclient: error: unrecognized arguments: --bogus\n"),
        ("--url http://x status", f"{NODES_USAGE}pduclient: error: insufficient arguments for command 'status'\n"),
        ("on a --timeout 1h", f"{NODES_USAGE}pduclient: error: argument --timeout: '1h' is not a number of seconds\n"),
        ("bogus", f"{NODES_USAGE}pduclient: error: invalid command 'bogus'\n"),
        ("--json -y bogus", f"{NODES_USAGE}pduclient: error: invalid command 'bogus'\n"),
        ("on a --hostname b --port 1 --command on", None),
    ],
)
def test_calls_for_nodes(words: str, err: str | None) -> None:
    ran = run(*words.split())
    assert (ran.code, ran.out) == (2, "") and ran.err.startswith(NODES_USAGE)
    assert err is None or ran.err == err


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        ("", (1, MISSING, "")),
        ("frob node01", (1, MISSING, "")),
        ("frob --hostname x", (1, MISSING, "")),
        ("--command on --hostname x --port 1", (1, MISSING, "")),
        ("--hostname on --port 1 --command on", (1, MISSING, "")),
        ("--timeout 5 --command on", (1, MISSING, "")),
        (
            "--timeout 1h on --daemon x",
            (2, "", f"{USAGE}pduclient: error: argument --timeout: '1h' is not a number of seconds\n"),
        ),
        ("-y", (2, "", f"{USAGE}pduclient: error: no such option: -y\n")),
    ],
)
def test_calls_of_the_existing_client(words: str, ran: tuple[int, str, str]) -> None:
    assert run(*words.split()) == ran


@pytest.mark.parametrize(
    "options", ["--daemon={} --host x --po 1 --com on", "--timeout 5 --da {} --alias=x --command on"]
)
@pytest.mark.parametrize("verb", ["list", "status", "on", "off", "restart"])
def test_a_call_with_a_daemon_is_one_of_the_existing_client(options: str, verb: str) -> None:
    meant = runpy.run_path(str(CLIENT))["find_command"]
    words = options.format("127.0.0.1:1").split()
    for place in range(len(words) + 1):
        assert not meant([*words[:place], verb, *words[place:]])
    assert meant([verb, "x"]) and meant(["--url=x", "-gv", "--timeout", "5", "--json", verb, "x"])


def test_help() -> None:
    ran = run("status", "--help")
    assert (ran.code, ran.err) == (0, "") and ran.out.startswith(NODES_USAGE)
    for word in ("groups", "verbose", "fold", "yes", "json", "url", "token", "ca-file", "timeout", "config"):
        assert f" --{word}" in ran.out
    assert max(map(len, ran.out.splitlines())) < 80
    assert "pduclient list -h" in run("-h").out
    for words in ("help", "help status", "-y help"):
        assert run(*words.split()) == ran


# A stream of results


def cluster(count: int, **attributes: Any) -> list[dict[str, Any]]:
    """Return results of node01 and so on, in no order."""
    results = [result(f"node{number:02}", **attributes) for number in range(1, count + 1)]
    return random.sample(results, count)


def test_a_stream_is_printed_in_the_order_asked_for() -> None:
    with StreamServer(*cluster(12), result("gateway1"), result("zoo", running=False)) as server:
        ran = ask(server, "status zoo node[07-12],gateway1 node[01-06]")
        names = [line.split()[0] for line in ran.out.splitlines()]
        assert names == [
            "zoo",
            *(f"node{n:02}" for n in (*range(7, 13),)),
            "gateway1",
            *(f"node0{n}" for n in range(1, 7)),
        ]
        assert ran.out.startswith("zoo      Off\nnode07   On \n") and (ran.code, ran.err) == (0, "")


def test_a_stream_of_groups_is_printed_in_natural_order() -> None:
    names = ["node10", "node9", "gpu2", "node01", "gpu11"]
    with StreamServer(*map(result, names), missing_groups=["ghost", "spook"]) as server:
        ran = ask(server, "status -g all ghost spook")
        assert [line.split()[0] for line in ran.out.splitlines()] == ["gpu2", "gpu11", "node01", "node9", "node10"]
        assert ran.err == "pduclient: ghost: no such group\npduclient: spook: no such group\n" and ran.code == 1


@pytest.mark.parametrize("words", ["-g all b", "@all,b", "odd[1-2"])
def test_a_stream_is_printed_in_the_order_of_its_server(words: str) -> None:
    names = ["node10", "b", "node9", "a"]
    with StreamServer(*map(result, sorted(names)), names=names) as server:
        ran = ask(server, f"status {words}")
        assert [line.split()[0] for line in ran.out.splitlines()] == names and ran.code == 0
    with StreamServer(result("a"), names=names, count=4, end=End.SHORT) as server:
        assert ask(server, f"status {words}").err == "pduclient: b,node[9-10]: not known: the answer ended early\n"


def test_missing_groups_without_a_stream() -> None:
    with PowerServer(commands(result("node01"), meta={"missing-groups": ["ghost"]})) as server:
        assert ask(server, "status -g all ghost") == (1, "node01 On\n", "pduclient: ghost: no such group\n")
    with StreamServer(missing_groups=["ghost"]) as server:
        assert ask(server, "status -g ghost") == (1, "\n", "pduclient: ghost: no such group\n")


def test_reasons_are_folded() -> None:
    dead = "connection refused by 192.0.2.7:623"
    results = [
        *cluster(9, action="power_off"),
        *(result(f"gpu{n}", "power_off", success=False, error=dead) for n in (9, 10, 11)),
        result("ghost", "power_off", success=False, missing=True),
        result("odd", "power_off", success=False, missing=True, error="there is no node 'odd'; 'old'?"),
        result("psu", "power_off", error="feed 2 was off already"),
    ]
    with StreamServer(*random.sample(results, len(results))) as server:
        ran = ask(server, "off -f ghost,node[01-09],gpu[9-11],odd,psu")
        assert ran.out == "stopping: node[01-09],psu\nfailed to stop: ghost,gpu[9-11],odd\n"
        assert ran.code == 1
        assert ran.err == (
            "pduclient: ghost: no such node\n"
            f"pduclient: gpu[9-11]: {dead}\n"
            "pduclient: odd: there is no node 'odd'; 'old'?\n"
            "pduclient: psu: feed 2 was off already\n"
        )


def test_a_remark_on_a_node_that_did_it_is_no_failure() -> None:
    with StreamServer(result("psu", "power_on", error="feed 2 was on already")) as server:
        assert ask(server, "on psu") == (0, "psu Starting\n", "pduclient: psu: feed 2 was on already\n")


def test_a_state_that_is_not_known_is_not_off() -> None:
    with PowerServer(commands(result("a", running=None), result("b", running=False))) as server:
        ran = ask(server, "status -f a,b")
        assert (ran.code, ran.out) == (1, "off: b\nunknown: a\n")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (End.SHORT, "the answer ended early"),
        (End.CLOSE, "the answer"),
        (End.HALF, "the answer"),
        (End.RESET, "Connection reset by peer"),
        (End.HOLD, "no answer within 0.2 s"),
    ],
)
def test_what_came_before_a_stream_broke_off_is_not_lost(end: End, why: str) -> None:
    came = [result("node01", "power_on"), result("node04", "power_on", success=False, error="locked")]
    with StreamServer(*came, count=5, pause=0.02, end=end) as server:
        begin = time.monotonic()
        ran = ask(server, "on node[01-05]" + " --timeout 0.2" * (end is End.HOLD))
        assert time.monotonic() - begin < 5
        assert ran.out == "node01 Starting       \nnode04 Failed to start\n"
        locked, unknown = ran.err.splitlines()
        assert locked == "pduclient: node04: locked"
        assert unknown.startswith(f"pduclient: node[02-03,05]: not known: {why}") and unknown.endswith(GOES_ON)
        assert ran.code == 1


def test_names_that_only_the_server_knows_are_counted() -> None:
    with StreamServer(result("node01"), count=5, end=End.CLOSE) as server:
        ran = ask(server, "status -g all")
        assert ran.err.startswith("pduclient: 4 of 5 nodes: not known: ") and GOES_ON not in ran.err


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET, End.HOLD])
def test_the_last_result_is_the_end(end: End) -> None:
    with StreamServer(result("node01"), end=end) as server:
        assert ask(server, "status node01") == (0, "node01 On\n", "")
    with StreamServer(end=end) as server:
        assert ask(server, "status -g empty") == (1, "\n", "pduclient: empty: no nodes\n")


def test_timeout_without_any_answer() -> None:
    with PowerServer(b"") as server, socket.create_server(("127.0.0.1", 0)) as deaf:
        server.url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        begin = time.monotonic()
        assert ask(server, "on a --timeout 0.2") == (
            2,
            "",
            f"pduclient: {server.url}: no answer within 0.2 s{GOES_ON}\n",
        )
        assert time.monotonic() - begin < 5


def test_many_nodes_take_no_time() -> None:
    with StreamServer(*cluster(2000)) as server:
        begin = time.monotonic()
        assert ask(server, "status -f node[01-2000] --timeout 20") == (0, "on: node[01-2000]\n", "")
        assert time.monotonic() - begin < 5


def test_names_too_many_for_a_request_are_folded() -> None:
    names = [f"node{number:04}" for number in range(1, 9001)]
    random.shuffle(names)
    with StreamServer(*map(result, sorted(names))) as server:
        ran = ask(server, f"status {' '.join(names)}")
        assert server.asked == ["GET /?nodes=node%5B0001-9000%5D"]
        assert [line.split()[0] for line in ran.out.splitlines()] == names and (ran.code, ran.err) == (0, "")


# JSON


def test_json() -> None:
    results = (result("b", running=False), result("a"), result("c", success=False, missing=True))
    document: dict[str, Any] = {
        "command": "status",
        "ok": False,
        "nodes": [
            {"name": "a", "ok": True, "result": "on", "error": None},
            {"name": "b", "ok": True, "result": "off", "error": None},
            {"name": "c", "ok": False, "result": "unknown", "error": "no such node"},
        ],
        "missing_groups": [],
        "error": None,
    }
    with StreamServer(*results) as server:
        ran = ask(server, "status --json a,b,c")
        assert (ran.code, json.loads(ran.out), ran.err) == (1, document, "pduclient: c: no such node\n")
    with StreamServer(*results[:2], count=3, end=End.SHORT, missing_groups=["ghost"]) as server:
        ran = ask(server, "status --json a,b,c")
        document.update(error="c: not known: the answer ended early", missing_groups=["ghost"])
        assert (ran.code, json.loads(ran.out)) == (1, {**document, "nodes": document["nodes"][:2]})
    ran = run("restart", "a", "--json", "--url=http://127.0.0.1:1")
    error = "http://127.0.0.1:1: Connection refused"
    document.update(command="restart", nodes=[], error=error, missing_groups=[])
    assert (ran.code, json.loads(ran.out), ran.err) == (2, document, f"pduclient: {error}\n")


def test_json_and_folded_lists() -> None:
    nodes = [{"id": f"node{n}", "attributes": {"name": f"node{n}"}} for n in (10, 9, 8)]
    group = {"id": "compute", "attributes": {"nodes": ["node8", "node9", "node10", "login"]}}
    with PowerServer({"GET /nodes": reply({"data": nodes}), "GET /groups": reply({"data": [group]})}) as server:
        document = {"command": "list", "ok": True, "missing_groups": [], "error": None}
        ran = ask(server, "list --json")
        names = [{"name": "node10"}, {"name": "node9"}, {"name": "node8"}]
        assert (ran.code, json.loads(ran.out)) == (0, {**document, "nodes": names})
        ran = ask(server, "list --json -g")
        members = {"name": "compute", "nodes": ["node8", "node9", "node10", "login"]}
        assert (ran.code, json.loads(ran.out)) == (0, {**document, "groups": [members]})
        assert ask(server, "list").out == "node10\nnode9\nnode8\n"
        assert ask(server, "list -f").out == "node[8-10]\n"
        assert ask(server, "list -gvf").out == "compute login,node[8-10]\n"


# Ranges


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("node01 node02 node03", "node[01-03]"),
        ("node1 node3 node5 node6 node7", "node[1,3,5-7]"),
        ("node9 node10 node11", "node[9-11]"),
        ("node09 node10 node11", "node[09-11]"),
        ("node098 node099 node100", "node[098-100]"),
        ("node1 node01 node2 node02", "node[01-02,1-2]"),
        ("node0 node00 node000", "node[0,00,000]"),
        ("node7", "node7"),
        ("login admin", "admin,login"),
        ("rack1n01 rack1n02 rack2n01 rack2n02", "rack[1-2]n[01-02]"),
        ("rack1n01 rack1n02 rack2n01", "rack1n[01-02],rack2n01"),
        ("r1n1-ipmi r1n2-ipmi r2n1-ipmi r2n2-ipmi", "r[1-2]n[1-2]-ipmi"),
        ("n999999998 n999999999 n1000000000 n1000000001", "n100000000[0-1],n[999999998-999999999]"),
        ("n12345678908 n12345678909 n12345678910", "n123456789[08-10]"),
        ("ip-10-0-0-8 ip-10-0-0-9 ip-10-0-0-10", "ip-10-0-0-[8-10]"),
        ("1 2 3", "[1-3]"),
    ],
)
def test_folded(names: str, text: str) -> None:
    client = runpy.run_path(str(CLIENT))
    assert client["fold_names"](names.split()[::-1]) == text
    assert sorted(client["expand_names"]([text])) == sorted(names.split()) == sorted(expanded(text))


def test_folded_and_expanded_again() -> None:
    client = runpy.run_path(str(CLIENT))
    for _ in range(300):
        formats = ["%d", "%02d", "%03d", "99999999%d", "%010d", "1234567890%02d"]
        numbers = [random.choice(formats) % random.randrange(120) for _ in range(20)]
        names = {f"r{random.randrange(3)}n{number}{random.choice(['', '-b', '7'])}" for number in numbers}
        text = client["fold_names"](names)
        assert set(client["expand_names"]([text])) == names == set(expanded(text)), text


@pytest.mark.parametrize("text", ["@all", "a[1-2", "a[x]", "a[1-]b[,]", "a[1-99999999999]", "a[1-999][1-999]", "a]"])
def test_names_that_are_for_the_server_to_expand(text: str) -> None:
    assert runpy.run_path(str(CLIENT))["expand_names"](["b", text]) == []


# Configuration


def test_where_settings_come_from(tmp_path: Path) -> None:
    home, openflight = tmp_path / "xdg" / "pdudaemon", tmp_path / "flight" / "opt" / "power-client" / "etc"
    for folder in (home, openflight):
        folder.mkdir(parents=True)
    copy = tmp_path / "pduclient"
    copy.write_text(CLIENT.read_text().replace("/opt/flight/", f"{tmp_path}/flight/"))
    program = [sys.executable, "-I", "-S", str(copy)]
    with PowerServer(commands()) as server:

        def seen(*arguments: str, **environment: str) -> str:
            ran = run("list", *arguments, program=program, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **environment)
            assert (ran.code, ran.err) == (0, "")
            target = server.requests[-1].target.partition("/nodes")[0].rpartition("/")[2]
            return f"{target} {server.requests[-1].headers['authorization'].split()[1]}"

        def written(file: Path, text: str) -> None:
            file.write_text(text.format(url=server.url))
            file.chmod(0o600)

        written(openflight / "config.yaml", "---\nbase_url: {url}/flight\njwt_token: flight\ndebug: true\n")
        assert seen() == "flight flight"
        written(home / "client.yaml", "# mine\n\nurl: '{url}/home'   # here\ncolour: no\ntoken:\n")
        assert seen() == "home flight"
        written(home / "client.yaml", '\ufeffbase_url : {url}/home\r\ntoken: "home#1"\r\n')
        assert seen() == "home home#1"
        assert seen(PDUCLIENT_URL=f"{server.url}/env", PDUCLIENT_TOKEN="env") == "env env"
        assert seen("--token=option", PDUCLIENT_URL=f"{server.url}/env", PDUCLIENT_TOKEN="env") == "env option"
        assert seen("--url", f"{server.url}/option", PDUCLIENT_URL=f"{server.url}/env") == "option home#1"
        written(tmp_path / "other", "url: {url}/other\njwt_token: other")
        assert seen(f"--config={tmp_path}/other", PDUCLIENT_TOKEN="") == "other other"


def test_timeout_and_ca_file_of_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    file.write_text("timeout: 7\nca_file: certificates/lab.pem\n")
    with PowerServer(commands(result("a"))) as server:
        assert run("status", "a", f"--config={file}", f"--url={server.url}").code == 0
        assert server.asked == ["GET /?nodes=a&wait=7"]
    ran = run("status", "a", f"--config={file}", "--url=https://127.0.0.1:1")
    assert ran == (2, "", f"pduclient: {tmp_path}/certificates/lab.pem: No such file or directory\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("url: x\nnodes:\n  - a\n", ":3: not 'key: value'"),
        ("url http://x\n", ":1: not 'key: value'"),
        ('token: "s3cret\n', ":1: not 'key: value'"),
        ("token: {a: s3cret}\n", ":1: not 'key: value'"),
        ("token: |\n  s3cret\n", ":1: not 'key: value'"),
        ("\ntimeout: 1h\n", ":2: '1h' is not a number of seconds"),
    ],
)
def test_faults_of_a_configuration(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "client.yaml"
    file.write_text(text)
    assert run("list", "--config", str(file)) == (2, "", f"pduclient: {file}{complaint}\n")


def test_configurations_that_cannot_be_read(tmp_path: Path) -> None:
    ran = run("list", "--config", f"{tmp_path}/nothing")
    assert ran == (2, "", f"pduclient: {tmp_path}/nothing: No such file or directory\n")
    (tmp_path / "pdudaemon" / "client.yaml").mkdir(parents=True)
    ran = run("list", "--url=http://127.0.0.1:1", XDG_CONFIG_HOME=str(tmp_path))
    warning = f"pduclient: warning: {tmp_path}/pdudaemon/client.yaml: Is a directory\n"
    assert ran == (2, "", warning + "pduclient: http://127.0.0.1:1: Connection refused\n")


def test_a_token_that_everybody_can_read(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    file.write_text(f"token: {TOKEN}\n")
    warning = f"pduclient: warning: {file} holds a token, and everybody can read it: chmod o-r\n"
    with PowerServer(commands()) as server:
        for mode, options, err in ((0o644, [], warning), (0o644, ["--token=x"], ""), (0o640, [], "")):
            file.chmod(mode)
            assert run("list", f"--config={file}", f"--url={server.url}", *options) == (0, "", err)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("lab:6302", "lab:6302"),
        ("ftp://lab", "ftp://lab"),
        ("http://", "http://"),
        ("http://lab:x", "http://lab:x"),
        ("http://lab:99999", "http://lab:99999"),
        ("http://lab/?a=b", "http://lab/?a=b"),
        ("http://us:s3cret@lab", "http://lab"),
        ("http://a b", "http://a b"),
    ],
)
def test_no_url(url: str, shown: str) -> None:
    ran = run("list", f"--url={url}")
    assert ran == (2, "", f"pduclient: {shown!r} is not a URL such as http://localhost:6302\n")


def test_a_refused_request() -> None:
    text = "Unrecognised nodes syntax: 'a&lt;b' is not a valid name: letters, digits and _ . - only"
    with PowerServer(reply(text, "400 Bad Request", "text/html;charset=utf-8")) as server:
        ran = ask(server, "on 'a<b'")
        assert ran == (2, "", f"pduclient: {server.url}: {text.replace('&lt;', '<')}\n")


def test_no_server() -> None:
    with PowerServer(b"nack: not a request\n") as server:
        assert ask(server, "list") == (2, "", f"pduclient: {server.url}: the answer is not HTTP\n")
    with PowerServer(reply("<html>the door</html>", kind="text/html")) as server:
        ran = ask(server, "list")
        assert ran == (2, "", f"pduclient: {server.url}: the answer is not JSON; is this the server of the nodes?\n")
    for body in ("[]", '{"data":[{"id":7}]}', "{", '{"data":7}', '{"data":[{"id":"a","attributes":7}]}'):
        with PowerServer(reply(body)) as server:
            ran = ask(server, "off a")
            assert ran == (2, "", f"pduclient: {server.url}: the answer is not understood{GOES_ON}\n")
    ran = run("on", "a", "--url=http://a..b")
    assert ran == (2, "", "pduclient: http://a..b: that is not a valid host name\n")


# Safety


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (
            "401 Unauthorized",
            "application/problem+json",
            '{"title":"t","detail":"expired yesterday"}',
            "expired yesterday",
        ),
        ("403 Forbidden", "application/problem+json", '{"title":"not for you"}', "not for you"),
        ("401 Unauthorized", "text/plain", "", "401 Unauthorized"),
        ("403 Forbidden", "text/plain", f"no good:\n  {TOKEN}\x1b[2J\n", "no good: (token)?[2J"),
    ],
)
def test_a_refused_token(status: str, kind: str, body: str, said: str) -> None:
    with PowerServer(reply(body, status, kind)) as server:
        ran = ask(server, "on a")
        assert ran == (2, "", f"pduclient: {server.url}: token refused: {said}\n")
        ran = ask(server, "on a --json")
        assert json.loads(ran.out)["error"] == f"{server.url}: token refused: {said}"


def test_why_a_token_is_refused() -> None:
    why = 'WWW-Authenticate: Bearer error="invalid_token", error_description="the token has expired"'
    with PowerServer(reply("Forbidden", "403 Forbidden", "text/html;charset=utf-8", why)) as server:
        assert ask(server, "on a") == (2, "", f"pduclient: {server.url}: token refused: the token has expired\n")


@pytest.mark.parametrize("token", ["s3cret\nX-Evil: 1", "s3cret token", "s3crét"])
def test_no_token(token: str) -> None:
    with PowerServer(commands()) as server:
        ran = run("list", f"--url={server.url}", PDUCLIENT_TOKEN=token)
        assert ran == (2, "", "pduclient: the token has characters in it that no token has\n")
        assert server.asked == []


def test_what_a_server_says_does_no_harm() -> None:
    evil = result("a\x1b[2Jb", success=False, error=f"first\nsecond \x07 {TOKEN} \x9b1m")
    with StreamServer(evil) as server:
        ran = ask(server, "status x")
        assert ran == (1, "a?[2Jb Unknown\n", "pduclient: a?[2Jb: first second ? (token) ?1m\n")


LATE = "accepted as request 7, not done after 1 s: slow: the device has not answered yet; it goes on"


def test_what_is_accepted_and_under_way_has_not_failed() -> None:
    late = result("slow", "power_on", success=False, error=LATE, request=7, pending=True)
    for answer in (StreamServer(late), PowerServer(commands(late))):
        with answer as server:
            assert ask(server, "on slow --timeout 1") == (1, "slow Under way\n", f"pduclient: slow: {LATE}\n")
            assert ask(server, "on slow -f").out == "under way: slow\n"
            ran = ask(server, "on slow --json")
            expected = {"name": "slow", "ok": False, "result": "under way", "error": LATE, "request": 7}
            assert (ran.code, json.loads(ran.out)["nodes"]) == (1, [expected])


def test_json_has_the_requests_id_whatever_became_of_it() -> None:
    results = [
        result("a", "restart", request=1),
        result("b", "restart", request=2, success=False, error="no"),
        result("c", "restart", success=False, error="locked"),
    ]
    with StreamServer(*results) as server:
        told = json.loads(ask(server, "restart a,b,c --json").out)["nodes"]
        assert [each.get("request") for each in told] == [1, 2, None]
        assert [each["result"] for each in told] == ["restarting", "failed to restart", "failed to restart"]
        assert ask(server, "reboot a,b,c").out == ask(server, "restart a,b,c").out


HOSTILE = [
    {"data": [result("\x1b[2J" * 500, error="\x1b]0;x\x07" * 5000)]},
    {"data": [result("1a" * 60000)] * 2},
    {"data": [{"id": {"\x1b": 1}, "attributes": {"success": "\x1b[2J", "error": ["\x1b[2J"], "request": "\x1b[2J"}}]},
    {"data": [{"id": "a", "attributes": []}]},
    {"data": {"\x1b[2J": 1}},
    {"data": None, "meta": 5},
    {"data": [result("a")], "meta": {"missing-groups": ["\x1b[2J"], "count": 1e999}},
    {"data": [], "meta": {"count": "9" * 5000}},
    [],
    "\x1b[2J",
]


@pytest.mark.parametrize("body", [*map(json.dumps, HOSTILE), "[" * 100000, '{"a":' * 100000, "9" * 5000, "\ufeff{}"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("words", ["status a", "list", "list -gv", "on a --json"])
def test_a_server_that_means_harm(body: str, kind: str, words: str) -> None:
    with PowerServer(reply(body, kind=kind)) as server:
        ran = ask(server, words)
        lines = [*ran.out.splitlines(), *ran.err.splitlines()]
        assert ran.code in (0, 1, 2) and "Traceback" not in ran.err
        assert all(line.isprintable() and len(line) < 4000 for line in lines)
        assert len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"["),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[", b"[],"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n", b"x"),
        (b'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{"meta":{"count":9e9}}\n', b" "),
        (b"HTTP/1.1 404 No\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_an_answer_without_an_end_is_left(beginning: bytes, rest: bytes) -> None:
    with Flood(beginning, rest) as server:
        ran = run("status", "a", f"--url=http://127.0.0.1:{server.port}")
        assert ran.code in (1, 2) and len(ran.err.splitlines()) == 1 and len(ran.err) < 2000, ran
        assert server.sent < 1 << 25


def test_blank_options_are_not_given() -> None:
    with PowerServer(commands(result("a"))) as server:
        ran = run("status", "a", "--timeout=", "--token=", "--url=", PDUCLIENT_URL=server.url, PDUCLIENT_TOKEN=TOKEN)
        assert ran == (0, "a On\n", "") and server.asked == ["GET /?nodes=a"]


def test_redirects_and_proxies_are_not_followed() -> None:
    with PowerServer(commands(result("a"))) as other:
        with PowerServer(reply("", "302 Found", "text/html", f"Location: {other.url}/")) as server:
            ran = ask(server, "on a")
            assert ran == (2, "", f"pduclient: {server.url}: 302 Found: not followed to {other.url}/\n")
        with PowerServer(commands(result("a"))) as server:
            assert ask(server, "status a", http_proxy=other.url, HTTP_PROXY=other.url, all_proxy=other.url).code == 0
        assert other.asked == []


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    try:
        self_signed(key, certificate)
    except FileNotFoundError:
        pytest.skip("needs the Debian package openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with PowerServer(commands(result("a")), context) as server:
        assert ask(server, f"status a --ca-file {certificate}") == (0, "a On\n", "")
        assert ask(server, "status a", PDUCLIENT_CA_FILE=str(certificate)) == (0, "a On\n", "")
        assert len(server.asked) == 2
        ran = ask(server, "on a")
        assert (ran.code, ran.out) == (2, "") and "certificate verify failed" in ran.err and GOES_ON not in ran.err
        assert ask(server, f"on a --ca-file {key}").code == 2
        server.url = server.url.replace("127.0.0.1", "localhost")
        assert "not valid for 'localhost'" in ask(server, f"on a --ca-file {certificate}").err
        assert len(server.asked) == 2


def test_a_reader_that_stops_early() -> None:
    with StreamServer(*cluster(5000)) as server:
        line = f"{shlex.join(PROGRAM)} status -g all --url={server.url} | head -1; echo ${{PIPESTATUS[0]}}"
        ran = run("-c", line, program=["bash"])
        assert ran == (0, "node01   On\n0\n", "")


def test_results_that_cannot_be_written() -> None:
    with PowerServer(commands(result("a", success=False, error="dead"))) as server, open("/dev/full", "w") as full:
        for more in ([], ["--json"]):
            words = [*PROGRAM, "status", "a", f"--url={server.url}", *more]
            done = subprocess.run(words, env=NOWHERE, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
            assert done.returncode == 2
            assert done.stderr == (
                "pduclient: the results cannot be written: No space left on device\npduclient: a: dead\n"
            )


# On a terminal


def test_progress() -> None:
    with StreamServer(*cluster(3), pause=0.05) as server:
        with terminal(server, "status node[01-03]") as client:
            ran = client.end()
        counts = "".join(f"\rstatus: {n} of 3 nodes\x1b[K" for n in (0, 1, 2, 3))
        assert ran == (0, "node01 On\nnode02 On\nnode03 On\n", f"{counts}\r\x1b[K")
        for environment in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
            with terminal(server, "status node[01-03]", **environment) as client:
                assert client.end().err == ""
        assert ask(server, "status node[01-03]", TERM="xterm").err == ""
    with StreamServer(result("a")) as server, terminal(server, "status a") as client:
        assert client.end() == (0, "a On\n", "")


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("off node[01-03],node05", "off: 4 nodes, node[01-03],node05? [y/N] "),
        ("restart a b", "restart: 2 nodes, a,b? [y/N] "),
        ("off -g rack1", "off: all nodes of rack1? [y/N] "),
        ("off @rack1", "off: all nodes of @rack1? [y/N] "),
    ],
)
def test_confirmation(words: str, question: str) -> None:
    with StreamServer(result("a", "power_off")) as server:
        for answer in ("\n", "n\n", "maybe\n", "\x04"):
            with terminal(server, words) as client:
                eventually(lambda client=client: client.screen == f"pduclient: {question}")
                client.type(answer)
                ran = client.end()
            assert (ran.code, ran.out) == (2, "") and ran.err.endswith("pduclient: nothing was sent\n")
        assert server.asked == []
        with terminal(server, words) as client:
            eventually(lambda: client.screen == f"pduclient: {question}")
            client.type("y\n")
            assert client.end().code == 0
        assert len(server.asked) == 1


@pytest.mark.parametrize("words", ["off a", "off node[07]", "off -y a,b", "on a,b", "status a,b"])
def test_no_confirmation(words: str) -> None:
    with StreamServer(result("a")) as server:
        with terminal(server, words) as client:
            assert client.end()[::2] == (0, "")
        assert ask(server, "restart a,b").err == ""


def test_interrupt() -> None:
    with StreamServer(result("node01", "power_on"), count=3, end=End.HOLD) as server:
        with terminal(server, "on node[01-03]") as client:
            eventually(lambda: "1 of 3" in client.screen)
            client.process.send_signal(signal.SIGINT)
            ran = client.end()
        assert (ran.code, ran.out) == (130, "node01 Starting\n")
        assert ran.err.endswith(f"\r\x1b[Kpduclient: node[02-03]: not known: interrupted{GOES_ON}\n")
    with PowerServer(b"") as idle, terminal(idle, "off a -g") as client:
        eventually(lambda: "? [y/N]" in client.screen)
        client.process.send_signal(signal.SIGINT)
        ran = client.end()
        assert (
            ran[:2] == (130, "")
            and ran.err.endswith("\npduclient: interrupted; nothing was sent\n")
            and idle.asked == []
        )


def test_interrupt_before_any_answer() -> None:
    for words, more in (("on a", GOES_ON), ("status a", "")):
        with StreamServer(end=End.HOLD) as server:
            server.lines = []
            with terminal(server, words) as client:
                eventually(lambda server=server: server.asked)
                client.process.send_signal(signal.SIGINT)
                assert client.end() == (130, "", f"pduclient: interrupted{more}\n")


# Completion

COMPLETION = ROOT / "share" / "pduclient.bash"
SCRIPT = """
source "$1"
complete -p pduclient
shift
for line; do
    COMP_LINE=$line COMP_POINT=${#line} COMP_WORDS=($line) COMP_CWORD=0
    _pduclient
    echo "${COMPREPLY[*]}"
done
"""


def completed(*lines: str, **environment: str) -> list[str]:
    """Return what bash offers at the end of each line."""
    ran = run("-c", SCRIPT, "bash", str(COMPLETION), *lines, program=["bash"], **environment)
    assert (ran.code, ran.err) == (0, "")
    registered, *offers = ran.out.splitlines()
    assert registered == "complete -F _pduclient pduclient"
    return offers


def test_completion_of_commands_and_options(tmp_path: Path) -> None:
    (tmp_path / "lab.pem").touch()
    offers = completed(
        "pduclient ",
        "pduclient re",
        "pduclient status --",
        "pduclient --daemon lab --",
        "pduclient --daemon lab --command re",
        "pduclient --daemon lab o",
        f"pduclient on --ca-file {tmp_path}/la",
        "pduclient on --token ",
    )
    assert offers[:2] == ["list status on off restart", "restart"]
    assert offers[4:] == ["reboot", "", f"{tmp_path}/lab.pem", ""]
    for offer, words in zip(offers[2:4], (["list", "-h"], ["-h"]), strict=True):
        assert sorted(offer.split()) == sorted({*re.findall("--[a-z-]+", run(*words).out)})


def test_completion_of_names() -> None:
    names = ["gateway1", "node01", "node02", "$(touch evil)", "`id`", "-x"]
    nodes = [{"id": name, "attributes": {"name": name}} for name in names]
    groups = [{"id": name, "attributes": {"nodes": ["node01"]}} for name in ("all", "compute")]
    with PowerServer({"GET /nodes": reply({"data": nodes}), "GET /groups": reply({"data": groups})}) as server:
        url = f"--url {server.url}"
        offers = completed(
            f"{CLIENT} status {url} no",
            f"{CLIENT} off --timeout 5 node01,n",
            f"{CLIENT} --url={server.url} on 'gate",
            f"{CLIENT} on {url} -g ",
            f"{CLIENT} list {url} ",
            PDUCLIENT_URL=server.url,
            PATH=os.environ["PATH"],
        )
        assert offers == ["node01 node02", "node01,node01 node01,node02", "gateway1", "all compute", ""]
        assert server.asked == ["GET /nodes"] * 3 + ["GET /groups"]


def test_completion_without_a_server() -> None:
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        offers = completed(
            f"{CLIENT} on --url http://127.0.0.1:1 ",
            f"{CLIENT} on --url http://127.0.0.1:{port} ",
            "/nonexistent/pduclient on ",
            PATH=os.environ["PATH"],
        )
    assert offers == ["", "", ""] and time.monotonic() - begin < 8
