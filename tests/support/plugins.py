# SPDX-License-Identifier: MIT
"""Drivers as third parties wrote them for the existing daemon, installed as plugins; and what judges their records.

``RECORDER`` writes down what its outlets see, and can be told, by a file named ``kill`` beside the record, to kill the
whole daemon before or after a certain call.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.process import Daemon, install_plugin

RECORDER = """
import json, os, signal, time
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.storage.store import Store


class Recorder(PDUDriver):
    def __init__(self, hostname, settings):
        self.hostname = hostname
        self.settings = settings
        super(Recorder, self).__init__()

    @classmethod
    def accepts(cls, drivername):
        return drivername == "recorder"

    def note(self, what, command, port):
        line = f"{time.monotonic():.6f} {what} {command} {self.hostname} {port}\\n"
        descriptor = os.open(self.settings["record"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def port_interaction(self, command, port_number):
        self.note("begin", command, port_number)
        time.sleep(self.settings.get("takes", 0))
        while not os.path.exists(self.settings.get("until", "/")):
            time.sleep(0.02)
        if any(os.path.exists(self.settings.get(key, "")) for key in ("refuses", f"refuses_{command}")):
            self.note("refused", command, port_number)
            raise RuntimeError("refused, for now")
        fails = self.settings.get("fails")
        if fails and os.path.exists(fails):
            os.unlink(fails)
            self.note("refused", command, port_number)
            raise RuntimeError("failed once")
        self.note("end", command, port_number)


def deadly(cls, name):
    original = getattr(cls, name)

    def wrapped(*arguments, **keywords):
        die("before", name)
        result = original(*arguments, **keywords)
        die("after", name)
        return result

    setattr(cls, name, wrapped)


def die(when, name):
    try:
        with open(os.environ["KILL_FILE"]) as file:
            wanted = json.load(file)
    except (OSError, KeyError, ValueError):
        return
    if [when, name] == wanted[:2]:
        wanted[2] -= 1
        if wanted[2] > 0:
            with open(os.environ["KILL_FILE"], "w") as file:
                json.dump(wanted, file)
        else:
            os.unlink(os.environ["KILL_FILE"])
            os.kill(os.getpid(), signal.SIGKILL)


for name in ("add_all", "flush", "sync"):
    deadly(Store, name)
deadly(Recorder, "port_interaction")
"""


def recorded(
    daemon: Callable[..., Daemon], pdus: dict[str, dict[str, Any]], **settings: Any
) -> tuple[Daemon, Recorded]:
    """Start a daemon whose PDUs are recorders with some settings; ``settings`` are those of a `Daemon`."""
    started = daemon({}, start=False, **settings)
    plugin = Recorded(started)
    started.settings["pdus"] = {name: plugin.settings(**pdu) for name, pdu in pdus.items()}
    started.configure(started.settings)
    started.start()
    return started, plugin


class Seen(NamedTuple):
    """One line of a record."""

    time: float
    what: str
    command: str
    pdu: str
    port: str


class Recorded:
    """The recorder plugin of one daemon: what the outlets saw, judged."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.record = daemon.folder / "record"
        self.kill_file = daemon.folder / "kill"
        install_plugin(daemon.plugins, "recorderplugin", RECORDER, {"recorder": "Recorder"})
        daemon.environment["KILL_FILE"] = str(self.kill_file)

    def settings(self, **settings: Any) -> dict[str, Any]:
        """Return the settings of a PDU that this plugin drives."""
        return {"driver": "recorder", "record": str(self.record), "retries": 1, "retrydelay": 0, **settings}

    def kill_at(self, when: str, call: str, count: int = 1) -> None:
        """Arrange the death of the daemon ``before`` or ``after`` the so-manieth call of a method."""
        self.kill_file.write_text(json.dumps([when, call, count]))

    def seen(self, *what: str) -> list[Seen]:
        """Return what was seen, of some kinds only if named."""
        return [each for each in read_record(self.record) if not what or each.what in what]

    def by_outlet(self) -> dict[tuple[str, str], str]:
        """Return what each outlet was made, as a word of ``o`` (on) and ``f`` (off)."""
        words: dict[tuple[str, str], str] = defaultdict(str)
        for each in self.seen("end"):
            words[each.pdu, each.port] += "o" if each.command == "on" else "f"
        return words


def read_record(path: Path) -> list[Seen]:
    """Return the lines of a record; a line that a death cut off does not count."""
    if not path.exists():
        return []
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    return [Seen(float(line[0]), *line[1:]) for line in lines if len(line) == 5]


def assert_no_overlap(seen: list[Seen]) -> None:
    """Check that no two actions of one PDU ran at a time, by the order of the lines; a death ends what had begun."""
    open_action: dict[str, Seen] = {}
    for each in seen:
        if each.what == "begin":
            assert each.pdu not in open_action, (open_action[each.pdu], each)
            open_action[each.pdu] = each
        else:
            open_action.pop(each.pdu, None)


def language(requests: list[tuple[str, bool]]) -> re.Pattern[str]:
    """Return the pattern of what an outlet may see of (action, acknowledged) requests, carried out at least once each."""
    patterns = {"on": "o+", "off": "f+", "reboot": "f+o+"}
    return re.compile("".join(f"({patterns[action]})" + ("" if acked else "?") for action, acked in requests))


def in_order(asked: list[tuple[str, bool]], seen: str) -> bool:
    """Whether an outlet has seen its requests in order, each at least once if it was acknowledged.

    What `language` says, for histories of which a pattern would take for ever, as one does that has much to leave out.
    """
    places = {0}  # in what was seen, up to which the requests so far may reach
    for action, acked in asked:
        reached = set() if acked else {*places}
        for place in places:
            ends = {place}
            for letter in {"on": "o", "off": "f", "reboot": "fo"}[action]:
                ends = {end for begin in ends for end in _run(seen, begin, letter)}
            reached |= ends
        places = reached
    return len(seen) in places


def _run(seen: str, begin: int, letter: str) -> list[int]:
    """Return where a run of a letter may end, of one at least."""
    end = begin
    while end < len(seen) and seen[end] == letter:
        end += 1
    return [*range(begin + 1, end + 1)]
