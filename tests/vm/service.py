# SPDX-License-Identifier: MIT
"""The service that the package has installed on this machine, which is one of `tests.vm.machine`, and its tools."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.support.process import Daemon

CONF = Path("/etc/pdudaemon/pdudaemon.conf")
STATE = Path("/var/lib/pdudaemon")
DEBS = sorted(Path("/srv/debs").glob("*.deb"))
OUTLETS = STATE / "outlets"
DUMMY = {"driver": "dummy", "file": str(OUTLETS)}

_DROP_IN = Path("/run/systemd/system/pdudaemon.service.d/test.conf")
_UNIT = Path("/etc/systemd/system/pdudaemon.service")


def run(*command: str, code: int | None = 0, typed: str = "") -> str:
    """Return what a program prints, which ends with ``code``, if that is not None; ``typed`` is typed into it."""
    done = subprocess.run(command, input=typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert code in (None, done.returncode), done.stdout
    return done.stdout


def systemctl(*words: str) -> str:
    """Have systemd do something."""
    return run("systemctl", *words)


def apt(*words: str, typed: str = "") -> str:
    """Have apt do something, without asking whether to."""
    return run("apt-get", "--yes", "--no-install-recommends", "--allow-downgrades", *words, typed=typed)


def outlets() -> dict[str, str]:
    """Return the outlets of the dummy PDU."""
    return dict(json.loads(OUTLETS.read_text())) if OUTLETS.exists() else {}


def mode(path: Path) -> str:
    """Return permissions, user and group."""
    return f"{stat.S_IMODE(path.stat().st_mode):o} {path.owner()}:{path.group()}"


class Service(Daemon):
    """What is asked of the daemon is asked of the service."""

    def __init__(self) -> None:
        self.conf = CONF
        self.port = 16421
        self.token = ""
        self._original = CONF.read_text()
        self._cursor = run("journalctl", "--lines=0", "--show-cursor").split()[-1]

    def configure(self, whole: Any) -> None:
        """Write the configuration: a text, or what is to stand in it beside the daemon section."""
        daemon = {"hostname": "127.0.0.1", "port": self.port, "listener": "both"}
        super().configure(whole if isinstance(whole, str) else {"daemon": daemon, **whole})

    def drop_in(self, *lines: str) -> None:
        """Add lines to the service's section of the unit, from the next start on."""
        _DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        _DROP_IN.write_text("\n".join(["[Service]", *lines, ""]))
        systemctl("daemon-reload")

    def unit(self, text: str) -> None:
        """Have a unit in place of the package's, from the next start on."""
        _UNIT.write_text(text)
        systemctl("daemon-reload")

    def undo(self) -> None:
        """Undo all this, end what is unfinished, and start as installed, if it still is."""
        for path in (_DROP_IN, _UNIT):
            path.unlink(missing_ok=True)
        systemctl("daemon-reload")
        run("systemctl", "stop", "pdudaemon", code=None)
        run("systemctl", "reset-failed", "pdudaemon", code=None)
        for path in STATE.iterdir():
            if path.is_file():
                path.unlink()
        if CONF.exists():
            CONF.write_text(self._original)
        if Path("/usr/bin/pdudaemon").exists():
            systemctl("start", "pdudaemon")

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return systemctl("show", f"--property={name}", "--value", "pdudaemon").strip()

    @property
    def main(self) -> int:
        """The main process of the service that is up; 0: it is not."""
        return int(self.show("MainPID")) if self.show("ActiveState") == "active" else 0

    def answers(self) -> bool:
        """Return whether it does yet; a unit that does not notify is active before that."""
        try:
            self.http("/")
        except ConnectionRefusedError:
            return False
        return True

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of the journal that the unit has made since."""
        lines = run("journalctl", f"--after-cursor={self._cursor}", "--unit=pdudaemon", "--output=json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def journal(self) -> str:
        """Return the messages of these as they are now."""
        run("journalctl", "--sync")
        return "\n".join(entry["MESSAGE"] for entry in self.entries())

    def told(self, *patterns: str) -> str:
        """Return the journal as soon as it has all these patterns, which may be a moment after what it tells of."""
        missing, journal, give_up = list(patterns), "", time.monotonic() + 20
        while missing:
            assert time.monotonic() < give_up, f"the journal has not {missing}:\n{journal}"
            journal = self.journal()
            missing = [pattern for pattern in missing if not re.search(pattern, journal)]
        return journal
