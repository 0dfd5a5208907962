# SPDX-License-Identifier: MIT
"""Ubiquiti mFi power strips: what the device makes of a shell command, and a program ``ssh`` that stands in for both.

The device's shell is a real one, for which the files of ``/proc/power`` are those of a folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import CONTENT, SSH, StandIn, first_in_path

NAMES = ["ubntmfi3port", "ubntmfi6port", "ubntmfi8port"]
ALIKE = NAMES  # the same but for how many there are
MOODS = [*Mood]
OUTLETS = {"ubntmfi3port": 3, "ubntmfi6port": 6, "ubntmfi8port": 8}
PASSWORD = "ubnt-secret"

DEVICE = f"""\
#!/bin/sh
# What the device makes of a command, which is $1.
{CONTENT}\
cd "${{0%/*}}"
relay=${{1##*/proc/power/}}
relay=${{relay%\\'}}
case $1 in
*" > /proc/power/"*)
    if [ ! -e "power/$relay" ]; then
        echo "sh: can't create /proc/power/$relay: nonexistent directory" >&2
        exit 1
    fi
    content mood
    if [ "$content" = refusing ]; then echo "sh: write error: Operation not permitted" >&2; exit 1; fi
    ;;
esac
command= rest=$1
while [ "${{rest#*/proc/power}}" != "$rest" ]; do
    command=$command${{rest%%/proc/power*}}$PWD/power rest=${{rest#*/proc/power}}
done
eval "$command$rest"
"""


class Outlets(MutableMapping[str, str]):
    """The relays, as ``on`` and ``off``."""

    def __init__(self, folder: Path, outlets: int) -> None:
        self._relays = {str(number): folder / f"relay{number}" for number in range(1, outlets + 1)}
        self.update(dict.fromkeys(self._relays, "off"))

    def __getitem__(self, port: str) -> str:
        return {"0": "off", "1": "on"}[self._relays[port].read_text().strip()]

    def __setitem__(self, port: str, state: str) -> None:
        self._relays[port].write_text({"off": "0\n", "on": "1\n"}[state])

    def __delitem__(self, port: str) -> None:
        self._relays.pop(port).unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(self._relays)

    def __len__(self) -> int:
        return len(self._relays)


class MPower(StandIn):
    """The device in a folder, with the programs ``device`` and ``ssh``."""

    def __init__(self, folder: Path, mood: Mood = Mood.WELL, outlets: int = 3, password: str = PASSWORD) -> None:
        super().__init__(folder, "ssh", SSH.replace("sleep 0.1 ", "sleep 0.02 "), mood)
        (folder / "device").write_text(DEVICE)
        (folder / "device").chmod(0o755)
        (folder / "password").write_text(password)
        (folder / "power").mkdir()
        self.outlets = Outlets(folder / "power", outlets)
        for name, value in {"active_pwr2": "12.347", "v_rms2": "229.9", "i_rms2": "0.0571"}.items():
            (folder / "power" / name).write_text(f"{value}\n")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Put the programs into a folder of their own, where they are found first."""
    last = OUTLETS[name]
    with tempfile.TemporaryDirectory() as folder, first_in_path(Path(folder)):
        device = MPower(Path(folder), mood, last)
        settings = {"driver": name, "password": PASSWORD, "verify_hostkey": False}
        bad = ["0", str(last + 1), "-1", "2;reboot", "relay1"]
        readings = {"2": {"watts": 12.347, "volts": 229.9, "amps": 0.057}}
        yield Case(device, "mfi.lab", settings, [*device.outlets], bad, [PASSWORD], readings=readings)
