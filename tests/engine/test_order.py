# SPDX-License-Identifier: MIT
"""Order and independence, on the real process, judged by what the outlets saw."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.plugins import Seen, assert_no_overlap, recorded
from tests.support.process import Daemon, eventually, in_parallel


def test_one_hanging_pdu_of_a_hundred_delays_no_other(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """The hanging one gets requests all the while; the others' answers come as when all is well."""
    pdus = {f"pdu{number}": {} for number in range(99)} | {"hung": {"until": str(tmp_path / "never")}}
    started, plugin = recorded(daemon, pdus)

    def times() -> list[float]:
        found = []
        for number in range(99):
            before = time.monotonic()
            assert started.power("on", f"pdu{number}", 1).status == 200
            found.append(time.monotonic() - before)
        return found

    well = times()
    for port in range(20):
        assert started.tcp(f"hung {port} on wait=0") == "ack\n"
    eventually(lambda: any(each.pdu == "hung" for each in plugin.seen("begin")))
    hanging = times()
    assert not [each for each in plugin.seen("end") if each.pdu == "hung"]
    assert statistics.median(hanging) < 1 + 5 * statistics.median(well)  # not a timing: no end if one waited for it


def test_forty_requests_to_one_pdu_keep_their_order_and_never_overlap(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 0.02}})
    actions = [("on" if number % 3 else "off") for number in range(40)]
    for number, action in enumerate(actions):
        assert started.tcp(f"pdu {number % 4} {action} wait=0") == "ack\n"
    eventually(lambda: len(plugin.seen("end")) == 40)
    assert_no_overlap(plugin.seen())
    for port in range(4):
        expected = "".join("o" if action == "on" else "f" for action in actions[port::4])
        assert plugin.by_outlet()["pdu", str(port)] == expected


def test_forty_clients_at_a_time_never_overlap(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 0.01}}, max_waiters_per_pdu=40)
    answers = in_parallel([lambda port=port: started.tcp(f"pdu {port} on") for port in range(40)])
    assert answers == ["ack\n"] * 40
    eventually(lambda: len(plugin.seen("end")) == 40)
    assert_no_overlap(plugin.seen())


def test_off_during_a_reboot_runs_after_it_and_other_ports_go_on(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    reboot = started.power("reboot", "pdu", 1, delay=6, wait=0)
    assert reboot.status == 200
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "f")
    assert started.power("off", "pdu", 1, wait=0).status == 200
    for _ in range(5):
        assert started.power("on", "pdu", 2).status == 200
    assert plugin.by_outlet() == {("pdu", "1"): "f", ("pdu", "2"): "ooooo"}
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "fof")


def test_two_reboots_of_one_port_have_their_full_off_times(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 0.05}})
    answers = in_parallel([lambda: started.tcp("pdu 1 reboot 0.7"), lambda: started.tcp("pdu 01 reboot 0.7")])
    assert answers == ["ack\n", "ack\n"]
    assert plugin.by_outlet() == {("pdu", "1"): "fofo"}
    assert all(time >= 0.7 for time in off_times(plugin.seen()))


def off_times(seen: list[Seen]) -> list[float]:
    """Return the time from the end of each off to the beginning of the on that follows it."""
    lines = [each for each in seen if each.what == ("end" if each.command == "off" else "begin")]
    return [
        after.time - before.time
        for before, after in itertools.pairwise(lines)
        if (before.command, after.command) == ("off", "on")
    ]


def test_other_ports_go_on_during_a_retry_pause(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    started, plugin = recorded(daemon, {"pdu": {"fails": str(fails), "retries": 2, "retrydelay": 5}})
    assert started.tcp("pdu 1 on wait=0") == "ack\n"
    eventually(lambda: plugin.seen("refused"))
    assert started.tcp("pdu 1 off wait=0") == "ack\n"
    assert started.tcp("pdu 2 on") == "ack\n"
    assert plugin.by_outlet() == {("pdu", "2"): "o"}
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "of")


def test_delay_postpones_an_on_and_what_follows_it(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    before = time.monotonic()
    assert started.tcp("pdu 1 on 0.6 wait=0") == "ack\n"
    assert started.tcp("pdu 1 off") == "ack\n"
    first, second = plugin.seen("end")
    assert (first.command, second.command) == ("on", "off")
    assert first.time - before >= 0.6


def test_pdus_with_the_same_lock_are_one_device(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {name: {"lock": "box", "takes": 0.03} for name in ("left", "right")})
    in_parallel([lambda n=number: started.tcp(f"{('left', 'right')[n % 2]} {n} on") for number in range(16)])
    assert_no_overlap([each._replace(pdu="box") for each in plugin.seen()])
    assert len(plugin.seen("end")) == 16


def test_min_interval_gives_the_device_its_rest(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"min_interval": 0.3}})
    in_parallel([lambda port=port: started.tcp(f"pdu {port} on") for port in range(4)])
    ends = [each.time for each in plugin.seen("end")]
    begins = [each.time for each in plugin.seen("begin")]
    assert all(begin - end >= 0.3 for end, begin in zip(ends, begins[1:], strict=False))
