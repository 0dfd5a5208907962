# SPDX-License-Identifier: MIT
"""Scripts of platforms, in real shells: what reaches them, what comes of them, and what nobody else gets to see."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers import hooks
from pdudaemon.drivers.platform import Platform
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.engine import pool
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.errors import DeviceTimeout, PermanentError, TransientError
from pdudaemon.power import Action, State
from pdudaemon.transports import command
from pdudaemon.transports.deadline import Deadline
from tests.support.patience import with_patience
from tests.support.process import Daemon, eventually, in_parallel
from tests.support.rack import awaited, submitted

SECRET = "tops3cret pass"


def machine(seconds: float = 120, **settings: Any) -> Platform:
    """Return a driver that may act for some seconds."""
    driver = Platform("node01", {"driver": "platform", **settings})
    driver.deadline = Deadline(seconds)
    return driver


def script(text: str) -> str:
    """Return a text as a block of YAML, below a key at the second level."""
    return "|\n" + "".join(f"      {line}\n" for line in text.splitlines())


# -- what reaches a script


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "",
        "a b  c",
        " x ",
        "it's",
        'say "hi"',
        "$(touch marker)",
        "`touch marker`",
        "; touch marker;",
        "'; touch marker; '",
        '"; touch marker; "',
        "&& touch marker #",
        "$HOME ${HOME} $",
        "one\ntwo\n\n",
        "touch marker\n",
        "tab\tand\r",
        "back\\slash \\n \\",
        "*",
        "~",
        "-n",
        "!x %s %%",
        "grün ☃ \U0001f600",
        "a=b",
        "x" * 100_000,
    ],
)
def test_a_value_arrives_unchanged_and_is_never_run(tmp_path: Path, value: str) -> None:
    (tmp_path / "marker").touch()
    (tmp_path / "marker").unlink()
    text = 'printf %s "$v" > shell; sh -c \'printf %s "$v"\' > child; w=$v; printf %s "$w" > assigned'
    machine(power_on=text, folder=str(tmp_path), values={"v": value}).handle("on", 1)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == dict.fromkeys(
        ("shell", "child", "assigned"), value.encode()
    )


def test_scripts_written_for_openflight_work(tmp_path: Path) -> None:
    """Plain words, numbers, several commands, loops, here-documents, and a variable that is set again."""
    text = """
if [ "$count" -gt 2 ]
then
  region=${region}-1
fi
for word in $words; do echo "<$word>"; done > found
cat >> found << END
${name}-bmc $region $unset
END
test "$(cat found)" && test -z "$empty"
"""
    values = {"name": "node01", "count": 3, "region": "eu-west", "words": "a b", "empty": ""}
    machine(power_on=text, folder=str(tmp_path), values=values).handle("on", 1)
    assert (tmp_path / "found").read_text() == "<a>\n<b>\nnode01-bmc eu-west-1 \n"


def test_the_environment_of_the_daemon_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPMI_PASSWORD", "of the daemon")
    monkeypatch.setenv("REGION", "of the daemon")
    text = 'printf %s "$IPMI_PASSWORD, $REGION" > found'
    machine(power_on=text, folder=str(tmp_path), values={"REGION": "of the node"}).handle("on", 1)
    assert (tmp_path / "found").read_text() == "of the daemon, of the node"


def test_a_script_has_no_input_and_runs_where_it_is_told_to(tmp_path: Path) -> None:
    machine(power_on="cat > read; pwd -P > where", folder=str(tmp_path)).handle("on", 1)
    assert (tmp_path / "read").read_bytes() == b""
    assert (tmp_path / "where").read_text() == f"{tmp_path.resolve()}\n"
    with pytest.raises(PermanentError, match=r"cannot run a command: No such file or directory: .*/absent"):
        machine(power_on="true", folder=str(tmp_path / "absent")).handle("on", 1)


def test_no_value_is_in_any_command_line(tmp_path: Path) -> None:
    text = "sh -c 'sleep 0.01; cat /proc/[0-9]*/cmdline > seen 2> /dev/null'; test -n \"$password\""
    machine(power_on=text, folder=str(tmp_path), values={"password": SECRET, "plain": "pl4in"}).handle("on", 1)
    seen = (tmp_path / "seen").read_text(errors="replace")
    assert 'test -n "$password"' in seen and SECRET not in seen and "pl4in" not in seen


# -- what comes of a script


@pytest.mark.parametrize(
    ("text", "switched", "state"),
    [
        ("true", "", "on"),
        ("exit 111", "ended with exit status 111", "off"),
        ("exit 1", "ended with exit status 1", "ended with exit status 1"),
        ("exit 123", "ended with exit status 123", "ended with exit status 123"),
        ("no-such-program", "ended with exit status 127", "ended with exit status 127"),
        ("/etc/passwd", "ended with exit status 126", "ended with exit status 126"),
        ("if", "ended with exit status 2", "ended with exit status 2"),
        ("kill -9 $$", "was killed by signal 9", "was killed by signal 9"),
        ("kill -15 $$", "was killed by signal 15", "was killed by signal 15"),
        ("", "there is no {} for platform sim", "there is no status for platform sim"),
    ],
)
def test_what_an_exit_status_means(text: str, switched: str, state: str) -> None:
    driver = machine(platform="sim", power_on=text, power_off=text, restart=text, status=text)
    for action, name in (("on", "power_on"), ("off", "power_off"), ("reboot", "restart")):
        if not switched:
            assert driver.handle(action, 1) is None
            continue
        with pytest.raises(PermanentError) as failed:
            driver.handle(action, 1)
        assert str(failed.value) == (switched.format(name) if "{}" in switched else f"{name} {switched}")
    if state in ("on", "off"):
        assert driver.handle("status", 1) == state
    else:
        with pytest.raises(PermanentError, match=state):
            driver.handle("status", 1)


def test_the_off_code_is_the_platforms_own() -> None:
    assert machine(status="exit 123", status_off_exit_code="123").handle("status", 1) == "off"
    with pytest.raises(PermanentError):
        machine(status="exit 111", status_off_exit_code=123).handle("status", 1)
    with pytest.raises(PermanentError, match="power_on ended with exit status 123"):
        machine(power_on="exit 123", status_off_exit_code=123).handle("on", 1)


def test_a_script_may_say_that_its_failure_may_pass() -> None:
    for code, given in ((75, {}), (9, {"status_transient_exit_code": "9"})):
        text = f"echo why >&2; exit {code}"
        driver = machine(power_on=text, power_off=text, restart=text, status=text, **given)
        for action, name in (("on", "power_on"), ("off", "power_off"), ("reboot", "restart"), ("status", "status")):
            with pytest.raises(TransientError) as failed:
                driver.handle(action, 1)
            assert failed.value.told == f"{name} ended with exit status {code}: why"
    with pytest.raises(PermanentError):
        machine(power_on="exit 75", status_transient_exit_code=9).handle("on", 1)
    assert machine(status="exit 75", status_off_exit_code=75).handle("status", 1) == "off"


def test_a_machine_may_be_asked_to_shut_down(tmp_path: Path) -> None:
    settings = {"driver": "platform", "status": "exit 0"}
    assert not hooks.traits(Platform, settings).shuts_down
    assert hooks.traits(Platform, {**settings, "power_soft": "exit 0"}).shuts_down


def test_what_is_not_there_cannot_be_done(tmp_path: Path) -> None:
    (tmp_path / "conf").write_text(
        '{"pdus": {"n": {"driver": "platform"}, "v": {"driver": "platform", "verify": true}}}'
    )
    conf = reader.load(str(tmp_path / "conf"))
    assert not conf.pdus["n"].readable and "cannot be verified" in conf.pdus["v"].fault
    with pytest.raises(PermanentError, match="there is no power_on for platform of this PDU"):
        machine().handle("on", 1)


def test_a_script_that_takes_too_long_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    text = "trap '' TERM; sleep 100 & echo $$ $! > pids; sh -c 'sleep 100; touch late'"

    def attempt(seconds: float) -> None:
        with pytest.raises(DeviceTimeout, match=rf"no answer within {seconds:g} s"):
            machine(seconds, power_on=text, folder=str(tmp_path)).handle("on", 1)
        pids = (tmp_path / "pids").read_text().split()
        assert len(pids) == 2
        eventually(lambda: not any(runs(pid) for pid in pids))

    with_patience(attempt, 0.4)
    assert not (tmp_path / "late").exists()


def test_what_it_has_complained_until_then_is_told(daemon: Callable[..., Daemon]) -> None:
    text = 'echo "  trying"; echo "waits for $password\n at $region" >&2; sleep 60'
    values = {"password": SECRET, "region": "eu"}

    def attempt(seconds: float) -> None:
        with pytest.raises(DeviceTimeout) as late:
            machine(seconds, power_on=text, values=values).handle("on", 1)
        assert late.value.told == f"no answer within {seconds:g} s: waits for ***; at eu"
        started = daemon({"n": {"driver": "platform", "power_on": text, "values": values, "timeout": seconds}})
        reply = started.power("on", "n", 1)
        assert (reply.status, reply.text) == (504, f"n: no answer within {seconds:g} s: waits for ***; at eu\n")
        eventually(lambda: f"no answer within {seconds:g} s\n" in started.log_text())
        assert "waits for" not in started.log_text()

    with_patience(attempt, 1)


def runs(pid: str) -> bool:
    """Whether a process is alive; one that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_script_leaves_running_does_not_hold_it_up(tmp_path: Path) -> None:
    machine(5, power_on="sleep 30 & echo $! > pid", folder=str(tmp_path)).handle("on", 1)
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, 9)


# -- what is told of it, and to whom


def test_complaints_are_told_in_one_line_and_without_secrets() -> None:
    values = {"password": SECRET, "ssh_key": "line one\nline two\n", "region": "eu"}
    text = 'echo said; printf "  no route\\n\\n $password and $region\\n$ssh_key" >&2; exit 3'
    with pytest.raises(PermanentError) as failed:
        machine(status=text, values=values).handle("status", 1)
    assert str(failed.value) == "status ended with exit status 3"
    assert failed.value.told == "status ended with exit status 3: no route; *** and eu; ***"


def test_a_secret_is_hidden_before_the_text_is_cut() -> None:
    """The last 500 characters are told: they must not begin in the middle of a secret."""
    for length in range(480, 500):
        text = f'printf "%s" "$password"; printf "%s%{length}s" "$password" x >&2; exit 1'
        with pytest.raises(PermanentError) as failed:
            machine(power_on=text, values={"password": SECRET}).handle("on", 1)
        assert "pass" not in failed.value.told and len(failed.value.private) <= 500


def test_complaints_that_are_no_text_or_endless() -> None:
    with pytest.raises(PermanentError) as failed:
        machine(power_on="printf 'a\\377b' >&2; exit 1").handle("on", 1)
    assert failed.value.private == "a\ufffdb"
    with pytest.raises(PermanentError) as failed:
        machine(power_on="head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").handle("on", 1)
    assert failed.value.private == "x" * 500


ENDLESS = "head -c %d /dev/zero | tr '\\0' x"


def test_the_reason_comes_last_however_much_comes_before() -> None:
    text = f"echo first; {ENDLESS % 1_000_000}; echo; echo the reason"
    with pytest.raises(PermanentError) as failed:
        machine(power_on=f"({text}) >&2; exit 1").handle("on", 1)
    assert failed.value.private.endswith("xxx; the reason")
    assert command.run(f"{text}; exit 1", Deadline(20)).last_line == "the reason"
    assert command.run(text, Deadline(20)).text.startswith("first\nxxx")


def test_endless_output_does_not_fill_the_disk() -> None:
    """Each part is printed while somebody looks, and what is left is what a reader wants: beginning and end."""
    seen = f"while test $(stat -Lc %b /proc/self/fd/3) -gt {10_000_000 // 512}; do sleep 0.05; done 3>&1"
    part = f"{ENDLESS % 30_000_000}; {seen}; echo"
    text = f"echo first; {part}; {part}; echo last; (echo first; {part}; echo last) >&2; exit 3"
    deadline = Deadline(60)
    before = on_disk()
    with command.started(text, apart=True) as program:
        ended = program.finish(deadline)
        assert 0 < on_disk() - before < 10_000_000
    assert ended.status == 3 and ended.text.endswith("x\nlast\n") and ended.complaints.endswith("x\nlast\n")
    with command.started(f"echo first; {part}; echo last", apart=True) as program:
        ended = program.finish(deadline)
        assert 0 < on_disk() - before < 10_000_000
    assert ended.status == 0 and ended.text.startswith("first\nxxx")


def on_disk() -> int:
    """Return how many bytes those files take that this process has open and that have no name."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.fstat(int(descriptor)))
    return sum(each.st_blocks * 512 for each in found if stat.S_ISREG(each.st_mode) and not each.st_nlink)


def test_values_and_output_are_in_the_log_at_debug_only_and_secrets_never(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    values = {
        "password": SECRET,
        "ipmi_token": "t0ken",
        "snmp_community": "c0mmunity",
        "api_key": "k3ykey",
        "region": "eu-north",
    }
    text = 'echo "$region" "$password" "$ipmi_token"; echo complaint "$snmp_community" "$api_key" >&2; exit 3'
    with pytest.raises(PermanentError):
        machine(power_on=text, values=values).handle("on", 1)
    (line,) = caplog.records
    assert line.levelno == logging.DEBUG
    assert line.getMessage() == (
        "node01: power_on ended with 3, said 'eu-north *** ***\\n' and complained 'complaint *** ***\\n'"
    )


def test_who_asked_hears_the_reason_and_the_log_does_not(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    fails = 'echo "output of $name"; echo "no $password for $region" >&2; exit 4'
    platform = {"power_on": fails, "power_off": "exit 0", "restart": fails, "status": fails}
    lines = "".join(f"    {key}: {script(text)}" for key, text in platform.items())
    started = daemon(
        {},
        topology=f"platforms:\n  sim:\n    variables: [name, region, password]\n{lines}"
        f"static_nodes: {{n1: {{platform: sim, region: the-region, password: '{SECRET}'}}}}\n",
        logging_level="INFO",
    )
    told = "n1: {} ended with exit status 4: no *** for the-region\n"
    assert started.http("/power/control/on?alias=n1").text == told.format("power_on")
    assert started.http("/power/control/status?alias=n1").text == told.format("status")
    reply = started.http("/power/control/reboot?hostname=n1&port=1", Accept="application/json")
    assert (reply.status, reply.json["detail"]) == (502, told.format("restart").strip())
    assert started.tcp("n1 on") == "nack: " + told.format("power_on")
    assert started.tcp("n1 status") == "nack: " + told.format("status")
    assert started.http("/api/v1/requests/1").json["reason"] == told.format("power_on").strip()
    for method, name in (("GET", "status"), ("PATCH", "power_on"), ("PUT", "restart")):
        (entry,) = started.http("/?nodes=n1", method).json["data"]
        assert entry["attributes"]["error"] == told.format(name).strip().removeprefix("n1: ")
    log = started.log_text()
    assert "n1: power_on ended with exit status 4\n" in log
    assert not [word for word in (SECRET, "the-region", "output of", "for the") if word in log]
    started.stop()
    drive = started.run("--drive", "--alias=n1", "--request=on")
    assert drive.returncode == 1 and drive.stderr.endswith("\npdudaemon: " + told.format("power_on"))
    assert drive.stderr.count("region") == 1
    drive = started.run("--drive", "--alias=n1", "--request=status", "--loglevel=DEBUG")
    assert drive.returncode == 1 and "output of n1" in drive.stderr and SECRET not in drive.stderr
    assert started.run("--drive", "--alias=n1", "--request=off").returncode == 0


def test_a_debt_tells_the_reason_as_well(daemon: Callable[..., Daemon]) -> None:
    """Without a restart script a reboot is off, delay and on; an on that fails is tried again, and who waits is told."""
    started = daemon({"n": {"driver": "platform", "power_off": "true", "power_on": "echo why >&2; exit 1"}})
    reply = started.power("reboot", "n", 1, delay=0)
    told = "n: power_on ended with exit status 1; the port may be off, on is tried again: why\n"
    assert (reply.status, reply.text) == (502, told)
    assert "why" not in "".join(line for line in started.log_text().splitlines() if " DEBUG " not in line)


# -- the engine's promises


def test_a_no_is_for_good_and_a_silence_too_unless_told_otherwise(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    count = f"echo x >> {tmp_path}/$name; "
    one = {"driver": "platform", "retrydelay": 0}

    def attempt(seconds: float) -> None:
        hangs = {**one, "power_on": f"{count} sleep 90", "timeout": seconds}
        started = daemon(
            {
                "fails": {**one, "power_on": f"{count} exit 1", "values": {"name": "fails"}, "retries": 3},
                "hangs": {**hangs, "values": {"name": "hangs"}},
                "again": {**hangs, "values": {"name": "again"}, "retries": 2},
            }
        )
        for name in ("fails", "hangs", "again"):
            (tmp_path / name).unlink(missing_ok=True)
        assert started.power("on", "fails", 1).status == 502
        assert started.power("on", "hangs", 1).status == 504
        assert started.power("on", "again", 1).status == 504
        tries = {name: len((tmp_path / name).read_text().split()) for name in ("fails", "hangs", "again")}
        assert tries == {"fails": 1, "hangs": 1, "again": 2}

    with_patience(attempt)


def test_a_failure_that_may_pass_is_tried_again(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """On, off, restart and status; as often as `retries` says, for the platform or for one of its nodes."""
    text = f"echo x >> {tmp_path}/$name; test $(wc -l < {tmp_path}/$name) -ge $after || exit 75"
    lines = "".join(f"    {key}: {script(text)}" for key in ("power_on", "power_off", "restart", "status"))
    started = daemon(
        {},
        topology=f"platforms:\n  sim:\n    variables: [name, after]\n    retries: 3\n    retrydelay: 0\n{lines}"
        "static_nodes:\n  a: {platform: sim, after: 3}\n  b: {platform: sim, after: 4}\n"
        "  c: {platform: sim, after: 4, retries: 4}\n  d: {platform: sim, after: 2, retries: 1}\n",
    )
    for method, name in (("PATCH", "power_on"), ("DELETE", "power_off"), ("PUT", "restart"), ("GET", "status")):
        entries = [entry["attributes"] for entry in started.http("/?nodes=a,b,c,d", method).json["data"]]
        failed = f"{name} ended with exit status 75"
        assert [entry["error"] for entry in entries] == [None, failed, None, failed]
        tries = [(tmp_path / each).read_text().count("x") for each in "abcd"]
        assert tries == [3, 3, 4, 1]
        for each in "abcd":
            (tmp_path / each).unlink()


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_verify_waits_for_a_machine_that_is_on_its_way(
    daemon: Callable[..., Daemon], tmp_path: Path, method: str
) -> None:
    """Its state cannot be told at first, then is the old one, then as asked; of another it always is the old one."""
    status = f"""
echo x >> {tmp_path}/$name.looks
test $name = a || exit 111
case $(wc -l < {tmp_path}/$name.looks) in
  1) echo "is on its way" >&2; exit 1 ;;
  2) exit 75 ;;
  3) exit 111 ;;
esac
"""
    lines = "".join(f"    {key}: echo x >> {tmp_path}/$name\n" for key in ("power_on", "restart"))
    lines += f"    status: {script(status)}"
    started = daemon(
        {},
        topology=f"platforms:\n  sim:\n    variables: [name]\n    verify: true\n    timeout: 30\n{lines}"
        "static_nodes:\n  a: {platform: sim}\n  b: {platform: sim, timeout: 4}\n  c: {platform: sim, verify: no}\n",
    )
    entries = [entry["attributes"] for entry in started.http("/?nodes=a,b,c", method).json["data"]]
    assert [entry["error"] for entry in entries] == [None, "port 1 is still off after on", None]
    assert not (tmp_path / "c.looks").exists() and (tmp_path / "a").read_text() == "x\n"


def test_after_a_crash_a_restart_is_interrupted_and_an_on_done_again(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    dies = f"echo $name >> {tmp_path}/record; test -e {tmp_path}/well || kill -9 $PPID"
    platform = f"platforms: {{sim: {{variables: [name], power_on: '{dies}', restart: '{dies}'}}}}\n"
    started = daemon({}, topology=platform + "static_nodes: {n1: {platform: sim}, n2: {platform: sim}}\n")
    assert started.tcp("n1 reboot") == ""
    assert started.process is not None
    assert started.process.wait(10) == -9
    started.start()
    assert started.http("/api/v1/requests/1").json["state"] == "interrupted"
    assert started.tcp("n2 on") == ""
    assert started.process.wait(10) == -9
    (tmp_path / "well").touch()
    started.start()
    eventually(lambda: started.http("/api/v1/requests/2").json["state"] == "done")
    assert started.tcp("n1 reboot") == "ack\n"
    assert (tmp_path / "record").read_text().split() == ["n1", "n2", "n2", "n1"]


def test_after_a_crash_a_script_has_all_its_time_whatever_was_waited_for(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """One try is all that there is: in it the script of the last run is waited for, then killed, then this one acts."""
    text = f"echo begin >> {tmp_path}/record; test -e {tmp_path}/well || sleep 100; echo end >> {tmp_path}/record"
    started = daemon({"n": {"driver": "platform", "power_on": text, "timeout": 3}})
    assert started.tcp("n 1 on wait=0") == "ack\n"
    (lock,) = eventually(lambda: [*started.folder.glob("*.locks/n")])
    eventually(
        lambda: lock.read_text().split()[4:5] not in ([], ["0"]) and (tmp_path / "record").exists()
    )  # with the group
    started.kill()
    (tmp_path / "well").touch()
    started.start()
    eventually(lambda: started.http("/api/v1/requests/1").json["ended"])
    assert started.http("/api/v1/requests/1").json["state"] == "done", started.log_text()
    assert (tmp_path / "record").read_text().split() == ["begin", "begin", "end"]
    eventually(lambda: "a command of an earlier run, killed now" in started.log_text())


BUSY = """
mkdir "busy/$name" || echo overlap >> faults
: > "seen/$name"
ls busy | wc -l >> counts
until [ $(ls seen | wc -l) -ge $least ]; do sleep 0.02; done
ls busy | wc -l >> counts
rmdir "busy/$name"
"""


def test_nodes_run_in_parallel_up_to_the_bound_and_one_node_never_with_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes on before four have been there, and there are never more than four, however slow the machine is."""
    monkeypatch.setattr(pool, "PATIENCE", 600)
    for name in ("busy", "seen"):
        (tmp_path / name).mkdir()
    lines = "".join(f"    {key}: {script(BUSY)}" for key in ("power_on", "power_off", "status"))
    nodes = "".join(f"  n{number}: {{platform: sim, least: 4}}\n" for number in range(8))
    (tmp_path / "topology.yaml").write_text(
        f"platforms:\n  sim:\n    parallel: 4\n    variables: [name, least]\n{lines}static_nodes:\n{nodes}"
    )
    dispatcher = Dispatcher(reader.load("", {"topology": str(tmp_path / "topology.yaml")}), Store(MEMORY))
    dispatcher.start()
    targets = [dispatcher.config.node(f"n{number}") for number in range(8)]
    calls: list[Callable[[], Any]] = [partial(dispatcher.look, target, 60) for target in targets]
    for action in (Action.ON, Action.OFF):
        requests = [submitted(dispatcher, action, target) for target in targets]
        calls += [partial(awaited, dispatcher, request, 60) for request in requests]
    assert len(in_parallel(calls)) == 24
    assert dispatcher.close(5) == ([], [])
    assert not (tmp_path / "faults").exists()
    counts = Counter((tmp_path / "counts").read_text().split())
    assert max(map(int, counts)) == 4


@pytest.mark.long
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "PUT"])
def test_dead_nodes_do_not_hold_up_the_live_ones(daemon: Callable[..., Daemon], tmp_path: Path, method: str) -> None:
    """Far more than there are places, and each of them takes longer than anybody waits here."""
    text = f"echo x >> {tmp_path}/begun; test $name = live || sleep 600"
    lines = "".join(f"    {key}: {script(text)}" for key in ("power_on", "power_off", "restart", "status"))
    nodes = "".join(f"  {name}: {{platform: sim}}\n" for name in ("live", *(f"dead{number}" for number in range(6))))
    sim = f"  sim:\n    parallel: 2\n    timeout: 600\n    variables: [name]\n{lines}"
    started = daemon({}, topology=f"platforms:\n{sim}static_nodes:\n{nodes}")
    waiting = [partial(started.http, f"/?nodes=dead{number}&wait=1", method) for number in range(6)]
    in_parallel(waiting)
    (entry,) = started.http("/?nodes=live&wait=60", method).json["data"]
    assert entry["attributes"]["success"], entry
    assert len((tmp_path / "begun").read_text().split()) <= 7


def test_the_bound_is_one_for_each_platform(tmp_path: Path) -> None:
    nodes = "static_nodes: {n: {platform: a}, m: {platform: b}}\n"
    (tmp_path / "topology.yaml").write_text("platforms: {a: {}, b: {parallel: 3, timeout: 7}}\n" + nodes)
    conf = reader.load("", {"topology": str(tmp_path / "topology.yaml")})
    pools = [pdu.driver.pool(pdu.settings) for pdu in conf.pdus.values() if pdu.driver]
    assert pools == [("a", 50), ("b", 3)]
    assert [pdu.options.timeout for pdu in conf.pdus.values()] == [50, 7]
    assert Platform.pool({"driver": "platform"}) is None


# -- what a machine draws


@pytest.mark.parametrize("status", ["exit 0", "exit 111", ""])
def test_what_a_machine_draws(status: str) -> None:
    read = 'echo watts=$bmc; echo; printf " amps=0.4\\nwatt_hours=1e3"'
    driver = machine(read=read, status=status, values={"bmc": "87.5"})
    state = {"exit 0": State.ON, "exit 111": State.OFF, "": None}[status]
    assert driver.read_outlets() == [OutletReading("1", state=state, watts=87.5, amps=0.4, watt_hours=1000)]


def test_a_machine_that_nobody_measures() -> None:
    assert machine(status="exit 0").read_outlets() == [OutletReading("1", state=State.ON)]
    with pytest.raises(PermanentError, match="neither a status nor a read script"):
        machine().read_outlets()


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("watts=", "read printed 'watts=', which is not a number"),
        ("watts=nan", "not a number"),
        ("watts=12 W", "not a number"),
        ("power=12", "read printed 'power=12', not one line NAME=NUMBER for each of some of `watts`"),
        ("12", "not one line NAME=NUMBER"),
        ("watts=1\nwatts=2", "'watts=2', not one line"),
        ("", "read printed nothing"),
    ],
)
def test_a_read_script_that_prints_something_else(printed: str, why: str) -> None:
    with pytest.raises(PermanentError, match=re.escape(why)):
        machine(read=f"printf '{printed}'").read_outlets()


def test_a_read_script_that_fails() -> None:
    with pytest.raises(PermanentError, match="read ended with exit status 3"):
        machine(read="echo watts=1; exit 3", status="exit 0").read_outlets()
    with pytest.raises(TransientError, match="read ended with exit status 75"):
        machine(read="exit 75").read_outlets()
