# SPDX-License-Identifier: MIT
"""BayLibre ACME: the device's scripts as a shell text that sshd can run, and a program ``ssh`` that stands in for both.

The GPIOs are files in a folder; probe N has number 489 + 2 * (N - 1).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import SSH, StandIn, first_in_path

NAMES = ["acme"]
MOODS = [*Mood]
PASSWORD = "acme-secret"
GPIOS = {"1": 489, "2": 491, "3": 493, "4": 495, "5": 497, "6": 499, "7": 501, "8": 503}

DEVICE = """\
#!/bin/sh
# What the device makes of a command, which is $1.
cd "${0%/*}"
set_gpio() {
    read -r mood <mood
    if [ "$mood" = refusing ]; then echo "probe $2: no cape found" >&2; exit 1; fi
    case $2 in
    [1-8]) echo "$1" >gpio$((489 + 2 * ($2 - 1))) ;;
    *) echo "usage: dut-switch-on|off PROBE" >&2; exit 2 ;;
    esac
}
case $1 in
"dut-switch-on "*) set_gpio 1 "${1#dut-switch-on }" ;;
"dut-switch-off "*) set_gpio 0 "${1#dut-switch-off }" ;;
"cat /sys/class/gpio/gpio"*/value)
    number=${1#cat /sys/class/gpio/gpio}
    if ! cat "gpio${number%/value}" 2>/dev/null; then echo "cat: can't open" >&2; exit 1; fi
    ;;
"for file in /sys/class/gpio/gpio"*) eval "$(printf '%s' "$1" | sed 's#/sys/class/gpio/\\(gpio[0-9]*\\)/value#\\1#g')" ;;
*) echo "sh: $1: not found" >&2; exit 127 ;;
esac
"""


class Outlets(MutableMapping[str, str]):
    """The GPIOs of the probes, as ``on`` and ``off``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.update(dict.fromkeys(GPIOS, "off"))

    def __getitem__(self, port: str) -> str:
        return {"0": "off", "1": "on"}[(self._folder / f"gpio{GPIOS[port]}").read_text().strip()]

    def __setitem__(self, port: str, state: str) -> None:
        (self._folder / f"gpio{GPIOS[port]}").write_text({"off": "0\n", "on": "1\n"}[state])

    def __delitem__(self, port: str) -> None:
        (self._folder / f"gpio{GPIOS[port]}").unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(GPIOS)

    def __len__(self) -> int:
        return len(GPIOS)


class Acme(StandIn):
    """The device in a folder, with the programs ``device`` and ``ssh``."""

    def __init__(self, folder: Path, mood: Mood = Mood.WELL, password: str = PASSWORD) -> None:
        super().__init__(folder, "ssh", SSH, mood)
        (folder / "password").write_text(password)
        self.outlets = Outlets(folder)
        (folder / "device").write_text(DEVICE)
        (folder / "device").chmod(0o755)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder, first_in_path(Path(folder)):
        device = Acme(Path(folder), mood)
        settings = {"driver": name, "password": PASSWORD}
        yield Case(device, "acme.lab", settings, [*GPIOS], ["0", "9", "-1", "2;reboot", "x"], [PASSWORD])
