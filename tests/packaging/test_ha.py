# SPDX-License-Identifier: MIT
"""The agent for Pacemaker as a script: what it says of itself, and what it does with what systemd and the daemon say.

systemctl, curl and pdudaemon are played by scripts here; `tests.vm.test_ha` has the real ones, and the real Pacemaker.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support.process import ROOT
from tests.vm.figures import Round, done_again, table

HA = ROOT / "share" / "ha"
AGENT = HA / "pdudaemon"

SUCCESS, GENERIC, ARGS, UNIMPLEMENTED, INSTALLED, CONFIGURED, NOT_RUNNING = 0, 1, 2, 3, 5, 6, 7

# Of ClusterLabs' functions those that are used, in their least form.
FUNCTIONS = """\
OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_ARGS=2 OCF_ERR_UNIMPLEMENTED=3 OCF_ERR_INSTALLED=5 OCF_ERR_CONFIGURED=6 OCF_NOT_RUNNING=7
ocf_exit_reason() { echo "reason: $*" >&2; }
ocf_log() { echo "log: $*" >&2; }
ocf_is_decimal() { case "$1" in "" | *[!0-9]*) false ;; *) true ;; esac; }
"""

# A systemd whose unit's state is a file: systemctl changes it as the real one would.
SYSTEMCTL = """\
echo "$@" >>"$PLAY/calls"
case "$*" in
*--property=ActiveState*) cat "$PLAY/state" ;;
*--property=MainPID*) cat "$PLAY/pid" ;;
*--property=ExecMainStatus*) cat "$PLAY/code" ;;
*--property=TriggeredBy*) cat "$PLAY/triggers" ;;
"is-enabled pdudaemon.service") cat "$PLAY/enabled"; grep -q enabled "$PLAY/enabled" ;;
is-enabled*) cat "$PLAY/socket" ;;
is-active*) cat "$PLAY/listening" ;;
cat*) test -e "$PLAY/unit" ;;
start*)
    read -r code rest <"$PLAY/starts"
    echo "$rest" >"$PLAY/starts"
    echo "${code:=0}" >"$PLAY/code"
    if [ "$code" = 0 ]; then echo active >"$PLAY/state"; else echo failed >"$PLAY/state"; exit 1; fi ;;
stop*) echo inactive >"$PLAY/state" ;;
kill*) echo failed >"$PLAY/state" ;;
esac
"""


class Play:
    """A node of a cluster, as the agent sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        functions = folder / "lib" / "heartbeat"
        functions.mkdir(parents=True)
        (functions / "ocf-shellfuncs").write_text(FUNCTIONS)
        for name, text in (
            ("state", "inactive"),
            ("code", "0"),
            ("pid", "7"),
            ("enabled", "disabled"),
            ("triggers", ""),
            ("socket", "disabled"),
            ("listening", "inactive"),
            ("clock", "1000"),
            ("words", ""),
            ("unit", ""),
            ("starts", ""),
        ):
            self.write(name, text)
        # The drop-in goes into the folder of the test, and the machine is one that systemd runs.
        agent = AGENT.read_text().replace("/run/systemd/system", f"{folder}/run")
        (folder / "run").mkdir()
        (folder / "agent").write_text(agent)
        self.program("systemctl", SYSTEMCTL)
        self.program("pdudaemon", "exit 0")
        # A second passes with each pause.
        self.program("sleep", 'expr "$(cat "$PLAY/clock")" + 1 >"$PLAY/now"; cat "$PLAY/now" >"$PLAY/clock"')
        self.program("date", 'cat "$PLAY/clock"')
        self.program("journalctl", 'cat "$PLAY/words"')

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"{text}\n")

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, action: str, **more: str) -> tuple[int, str]:
        """Run the agent; return its code and what it says."""
        environment = {
            "PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "OCF_ROOT": str(self.folder),
            "PLAY": str(self.folder),
            "HA_RSCTMP": str(self.folder),
        }
        done = subprocess.run(
            ["/bin/sh", self.folder / "agent", action],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    def calls(self, word: str) -> list[str]:
        """Return what systemctl was asked for that begins with a word."""
        return [line for line in (self.folder / "calls").read_text().splitlines() if line.split()[0] == word]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def test_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: shellcheck)")
    done = subprocess.run(["shellcheck", AGENT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_it_says_what_it_has(play: Play) -> None:
    code, text = play.run("meta-data")
    said = ElementTree.fromstring(text)
    assert (code, said.get("name")) == (0, "pdudaemon")
    defaults = dict(re.findall(r'^: "\$\{OCF_RESKEY_(\w+)=(.*)\}"$', AGENT.read_text(), re.MULTILINE))
    told = {each.get("name", ""): each.find("content") for each in said.iter("parameter")}
    assert {name: content is not None and content.get("default") for name, content in told.items()} == defaults
    assert {each.get("name") for each in said.iter("action")} == {
        "start",
        "stop",
        "monitor",
        "meta-data",
        "validate-all",
    }
    assert play.run("usage")[0] == SUCCESS and play.run("promote")[0] == UNIMPLEMENTED


def test_the_example_gives_what_the_agent_takes(play: Play) -> None:
    said = ElementTree.fromstring(play.run("meta-data")[1])
    example = re.sub(r"\\\n", " ", (HA / "cluster.crm").read_text())
    daemon = next(line for line in example.splitlines() if "ocf:pdudaemon:pdudaemon" in line)
    given = re.search(r"params (.*?) op ", daemon)
    assert given and {word.split("=")[0] for word in given[1].split()} < {
        each.get("name") for each in said.iter("parameter")
    }
    least = {each.get("name"): int(str(each.get("timeout")).rstrip("s")) for each in said.iter("action")}
    for action, seconds in re.findall(r"op (\w+)(?: interval=\d+s)? timeout=(\d+)s", daemon):
        assert int(seconds) >= least[action]


@pytest.mark.parametrize(
    ("state", "code"),
    [("inactive", NOT_RUNNING), ("failed", NOT_RUNNING), ("active", SUCCESS), ("activating", GENERIC)],
)
def test_monitor(play: Play, state: str, code: int) -> None:
    play.write("state", state)
    assert play.run("monitor")[0] == code


def test_a_deep_monitor_asks_the_daemon(play: Play) -> None:
    play.write("state", "active")
    deep = {"OCF_CHECK_LEVEL": "10"}
    assert play.run("monitor", **deep)[0] == SUCCESS
    play.program("pdudaemon", "echo 503: the timetable does not turn; exit 1")
    code, text = play.run("monitor", **deep)
    assert code == GENERIC and "the daemon is not well: 503: the timetable does not turn" in text
    assert play.run("monitor")[0] == SUCCESS  # the other one looks at the unit alone
    play.program("pdudaemon", "echo 503: No space left on device; exit 75")
    assert play.run("monitor", **deep)[0] == SUCCESS  # a new start would not help
    play.program("pdudaemon", "exec /bin/sleep 30")
    code, text = play.run("monitor", OCF_RESKEY_patience="1", **deep)
    assert code == GENERIC and "no answer within 1 s" in text


def test_a_url_is_asked_by_curl(play: Play) -> None:
    play.write("state", "active")
    play.program("curl", 'echo "$@" >"$PLAY/asked"; exit "$(cat "$PLAY/curl")"')
    url = {"OCF_RESKEY_health_url": "http://127.0.0.1:1/healthz", "OCF_CHECK_LEVEL": "10"}
    for curl, code in (("0", SUCCESS), ("22", GENERIC), ("28", GENERIC)):
        play.write("curl", curl)
        assert play.run("monitor", **url)[0] == code
    asked = (play.folder / "asked").read_text().split()
    assert asked[-1] == url["OCF_RESKEY_health_url"] and asked[asked.index("--max-time") + 1] == "3"


def test_start(play: Play) -> None:
    assert play.run("start")[0] == SUCCESS
    drop_in = play.folder / "run" / "pdudaemon.service.d" / "50-cluster.conf"
    assert "Restart=no" in drop_in.read_text() and len(play.calls("daemon-reload")) == 1
    assert play.run("start")[0] == SUCCESS and len(play.calls("start")) == 1  # it runs
    play.write("state", "inactive")
    assert play.run("start")[0] == SUCCESS and len(play.calls("daemon-reload")) == 1


def test_what_may_pass_is_tried_again_and_what_does_not_is_said(play: Play) -> None:
    play.write("starts", "75 75")
    code, text = play.run("start")
    assert code == SUCCESS and len(play.calls("start")) == 3 and text.count("does not start, exit code 75") == 1
    play.write("state", "inactive")
    play.write("starts", "2")
    play.program("pdudaemon", "echo pdudaemon.conf: daemon.port: no number; exit 2")
    code, text = play.run("start")
    assert code == ARGS and "reason: pdudaemon.conf: daemon.port: no number" in text


def test_without_its_file_system_it_does_not_start(play: Play) -> None:
    """The daemon would begin an empty store below the mount point, and know of no debt."""
    code, text = play.run("start", OCF_RESKEY_mount=str(play.folder))
    assert code == GENERIC and f"reason: nothing is mounted on {play.folder}\n" in text
    assert play.calls("start") == []
    assert play.run("start", OCF_RESKEY_mount="/proc/")[0] == SUCCESS


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("cannot listen on 0.0.0.0 port 16421: Address already in use", range(15, 17)),
        ("/var/lib/pdudaemon/pdudaemon: the store is in use by another pdudaemon", range(80, 82)),
    ],
)
def test_what_does_not_pass_is_told_before_the_patience_is_over(play: Play, words: str, seconds: range) -> None:
    """Pacemaker gives no reason for a start that it has to end; a node that cannot is soon left for the other."""
    play.write("starts", "75 " * 500)
    play.write("words", words)
    code, text = play.run("start", OCF_RESKEY_CRM_meta_timeout="90000")
    assert code == GENERIC and f"reason: pdudaemon.service does not start, exit code 75: {words}\n" in text
    assert int((play.folder / "clock").read_text()) - 1000 in seconds
    assert any(
        path.read_text().count("the store is in use by") for path in (ROOT / "pdudaemon" / "engine").rglob("*.py")
    )


def test_a_probe_needs_nothing_that_the_daemon_needs(play: Play) -> None:
    """Where it does not run, no store is mounted, the configuration has a fault, and perhaps there is no unit."""
    play.program("pdudaemon", "exit 2")
    for _ in range(2):
        code, text = play.run("monitor", OCF_RESKEY_mount=str(play.folder), OCF_RESKEY_CRM_meta_interval="0")
        assert (code, text) == (NOT_RUNNING, "")
        assert play.run("stop", OCF_RESKEY_mount=str(play.folder))[0] == SUCCESS
        (play.folder / "unit").unlink(missing_ok=True)
    assert play.run("notify")[0] == play.run("demote")[0] == play.run("reload")[0] == UNIMPLEMENTED


def test_where_systemd_does_not_run(play: Play) -> None:
    (play.folder / "run").rmdir()
    for action in ("start", "stop", "monitor", "validate-all"):
        code, text = play.run(action)
        assert code == INSTALLED and "this node is not run by systemd" in text
    assert play.run("meta-data")[0] == SUCCESS


def test_one_that_is_well_is_asked_to_end_and_one_that_is_not_is_killed(play: Play) -> None:
    play.write("state", "active")
    assert play.run("stop")[0] == SUCCESS
    assert play.calls("kill") == [] and len(play.calls("stop")) == 1
    assert play.run("stop")[0] == SUCCESS  # none is there
    play.write("state", "active")
    play.program("pdudaemon", "echo no; exit 1")
    assert play.run("stop")[0] == SUCCESS
    assert play.calls("kill") == ["kill --signal=SIGKILL pdudaemon.service"]


def test_what_the_monitor_has_found_is_not_asked_again(play: Play) -> None:
    play.write("state", "active")
    play.program("pdudaemon", "echo no; exit 1")
    assert play.run("monitor", OCF_CHECK_LEVEL="10")[0] == GENERIC
    play.program("pdudaemon", 'touch "$PLAY/asked"')
    assert play.run("stop")[0] == SUCCESS and len(play.calls("kill")) == 1
    assert not (play.folder / "asked").exists()
    play.write("state", "active")
    play.write("pid", "8")  # the next one
    assert play.run("stop")[0] == SUCCESS and len(play.calls("kill")) == 1
    assert (play.folder / "asked").exists()


def test_what_cannot_be(play: Play) -> None:
    assert play.run("validate-all")[0] == SUCCESS
    play.write("enabled", "enabled")
    code, text = play.run("validate-all")
    assert code == play.run("start")[0] == INSTALLED and "systemctl disable pdudaemon.service" in text
    play.write("enabled", "disabled")
    for name, good, bad in (("socket", "disabled", "enabled"), ("listening", "inactive", "active")):
        play.write(name, bad)
        code, text = play.run("validate-all")
        assert code == play.run("start")[0] == INSTALLED and "systemctl disable --now pdudaemon.socket" in text
        play.write("triggers", "pdus.socket")
        assert "systemctl disable --now pdus.socket" in play.run("validate-all")[1]
        play.write("triggers", "")
        play.write(name, good)
    assert play.run("validate-all", OCF_RESKEY_patience="soon")[0] == CONFIGURED
    assert play.run("validate-all", OCF_RESKEY_mount="var/lib/pdudaemon")[0] == CONFIGURED
    bare = play.folder / "bare"
    bare.mkdir()
    for name in ("cat", "grep"):
        (bare / name).symlink_to(str(shutil.which(name)))
    code, text = play.run(
        "validate-all", OCF_RESKEY_health_url="http://[::1]/healthz", PATH=f"{play.folder}/bin:{bare}"
    )
    assert code == INSTALLED and "reason: health_url needs curl" in text
    play.program("pdudaemon", "echo the configuration has a fault; echo and another; exit 2")
    code, text = play.run("validate-all")
    assert code == ARGS and "reason: the configuration has a fault and another\n" in text
    (play.folder / "unit").unlink()
    assert play.run("validate-all", OCF_RESKEY_unit="pdus")[0] == INSTALLED
    assert play.calls("cat")[-1] == "cat pdus.service"


def test_what_is_seen_in_the_rounds_is_judged() -> None:
    """What a node was at when it was hurt may be done again by the other; a reboot is not, and nothing is left out."""
    assert done_again(["on", "reboot", "off"], ["on", "off", "on", "off"]) == 0
    assert done_again(["on", "on", "reboot"], ["on", "on", "off", "off", "off", "on"]) == 2
    for acted in (["on", "off"], ["on", "off", "on", "off", "on"], ["off", "on"], ["on", "off", "on", "on", "off"]):
        with pytest.raises(AssertionError):
            done_again(["on", "reboot"], acted)
    with pytest.raises(AssertionError):
        done_again(["on", "on"], ["on"])
    head, cut, every = table([Round("cut", float(number), 0.25) for number in range(1, 102)])
    assert cut.split() == ["cut", "101", "1.0", "51.0", "100.0", "101.0", "0.2", "0.2", "0.2", "0.2"]
    assert every.split()[1:] == cut.split()[1:] and len({len(line) for line in (cut, every)}) == 1 < len(head)
