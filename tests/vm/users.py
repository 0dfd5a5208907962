# SPDX-License-Identifier: MIT
"""Users who are not root, and the udev rules that let members of a group in, as the head of their file says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.process import ROOT, Daemon

GROUP = "pdudaemon"
RULES = "60-pdudaemon.rules"


class DaemonOf(Daemon):
    """A daemon that a user runs who is not root."""

    def __init__(self, user: str, *groups: str, pdus: dict[str, Any]) -> None:
        subprocess.run(["groupadd", "--force", "--system", GROUP], check=True)
        subprocess.run(["useradd", "--user-group", f"--groups={','.join(groups)}", user], check=True)
        self.user = user
        folder = Path("/srv", user)
        folder.mkdir()
        super().__init__(folder, pdus)
        self.real = True
        shutil.chown(folder, user, user)

    def command(self, *arguments: str) -> list[str]:
        become = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        return [*become, *super().command(*arguments)]


def let_in(**instead: str) -> None:
    """Install the rules, and have udev act on them. One that is commented out counts where its word has another given."""
    rules = (ROOT / "share" / RULES).read_text()
    for word, other in instead.items():
        rules, found = re.subn(rf'^#(SUBSYSTEM==.*)"{word}"', rf'\1"{other}"', rules, flags=re.M)
        assert found, f"{RULES} has no rule for {word}"
    Path("/etc/udev/rules.d", RULES).write_text(rules)
    for command in ("control --reload", "trigger", "settle"):
        subprocess.run(["udevadm", *command.split()], check=True)
