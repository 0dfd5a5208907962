# SPDX-License-Identifier: MIT
"""``uhubctl`` as a program that stands in for it, with one device that is a hub of USB 2 and a hub of USB 3.

Its words, and what it ends with when there is no such hub, are those of uhubctl 2.5.0.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import CONTENT, StandIn, first_in_path

NAMES = ["uhubctl"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
PORTS = ["1", "2", "3", "4"]

PROGRAM = f"""\
#!/bin/sh
# uhubctl --location L [--ports N [--action on|off]]
{CONTENT}\
cd "${{0%/*}}"
printf '%s\\n' "$*" >>received
location= ports='1 2 3 4' action=
while [ $# -gt 0 ]; do
    case $1 in
    -l | --location) location=$2 ;;
    -p | --port | --ports) ports=$2 ;;
    -a | --action) action=$2 ;;
    *) printf "uhubctl: unrecognized option '%s'\\nRun with -h to get usage info.\\n" "$1" >&2; exit 1 ;;
    esac
    shift 2
done
content location
hub=$content
content mood
mood=$content
case $mood in
deaf) exec sleep 60 ;;
garbled) echo "~{{ pow"; exit 0 ;;
slow) sleep 0.01 ;;
esac
if [ "$mood" = refusing ]; then location=; fi
if [ "$mood" = gone ] || [ "$location" != "$hub" ]; then
    printf 'No compatible devices detected at location %s!\\nRun with -h to get usage info.\\n' "$location" >&2
    if [ "$mood" = refusing ]; then echo "There were permission problems while accessing USB." >&2; fi
    exit 1
fi
if [ "$mood" = busy ]; then
    echo "Current status for hub $location [05e3:0610 GenesysLogic USB2.1 Hub, USB 2.10, 4 ports, ppps]"
    echo "cannot read port $ports status, Pipe error (-9)" >&2
    exit 0
fi
content attached
attached=$content
blocks() {{
    echo "$1 status for hub $location [05e3:0610 GenesysLogic USB2.1 Hub, USB 2.10, 4 ports, ppps]"
    block usb2 "off" power
    echo "$1 status for hub 2-2.4.4 [05e3:0612 GenesysLogic USB3.1 Hub, USB 3.10, 4 ports, ppps]"
    block usb3 "off" "power U0"
}}
block() {{
    for port in $ports; do
        if [ ! -e "$1.$port" ]; then continue; fi
        content "$1.$port"
        if [ "$content" = on ]; then echo "  Port $port: 0100 $3$attached"
        else echo "  Port $port: 0000 $2$attached"; fi
    done
}}
blocks Current
if [ -n "$action" ]; then
    echo "Sent power $action request"
    content obeying
    for hub in $content; do
        if [ -e "$hub.$ports" ]; then echo "$action" >"$hub.$ports"; fi
    done
    blocks New
fi
"""


class Outlets(MutableMapping[str, str]):
    """The ports, each of which is on if it is in one of the two hubs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.update(dict.fromkeys(PORTS, "off"))

    def __getitem__(self, port: str) -> str:
        if port not in PORTS:
            raise KeyError(port)
        states = {(self._folder / f"{hub}.{port}").read_text().strip() for hub in ("usb2", "usb3")}
        return "on" if "on" in states else "off"

    def __setitem__(self, port: str, state: str) -> None:
        for hub in ("usb2", "usb3"):
            (self._folder / f"{hub}.{port}").write_text(f"{state}\n")

    def __delitem__(self, port: str) -> None:
        for hub in ("usb2", "usb3"):
            (self._folder / f"{hub}.{port}").unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(PORTS)

    def __len__(self) -> int:
        return len(PORTS)


class Hub(StandIn):
    """A hub at 1-2.4.4. ``attached``: what its ports show behind their flags; ``obeying``: which of it does as told."""

    def __init__(self, folder: Path, mood: Mood = Mood.WELL, attached: str = "", obeying: str = "usb2 usb3") -> None:
        super().__init__(folder, "uhubctl", PROGRAM, mood)
        (folder / "location").write_text("1-2.4.4")
        (folder / "attached").write_text(attached)
        (folder / "obeying").write_text(obeying)
        self.outlets = Outlets(folder)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Put the program into a folder of its own, where it is found first."""
    with tempfile.TemporaryDirectory() as folder, first_in_path(Path(folder)):
        hub = Hub(Path(folder), mood)
        settings = {"driver": name, "location": "1-2.4.4"}
        bad = ["0", "15", "-1", "x", "1-2", "1,2"]
        yield Case(hub, "hub", settings, PORTS, bad, identity=("", "GenesysLogic USB2.1 Hub", "", ""))
