# SPDX-License-Identifier: MIT
"""NXP's ``bcu`` as a program that stands in for it, with the one board that it controls in files beside it.

Like the real one it ends with 0 even when it failed. The board listens only after ``init``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import CONTENT, StandIn

NAMES = ["bcu"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]
PORTS_ARE_NAMES = True  # whatever they are, they are one reset line

PROGRAM = f"""\
#!/bin/sh
# bcu COMMAND WORDS -id=PATH -board=NAME
{CONTENT}\
cd "${{0%/*}}"
printf '%s\\n' "$*" >>received
words=
for word in "$@"; do
    case $word in
    -id=*)
        content id
        [ "${{word#-id=}}" = "$content" ] || {{ echo "failed to open device at ${{word#-id=}}"; echo done; exit 0; }}
        ;;
    -board=*) [ "${{word#-board=}}" = imx8mpevk ] || {{ echo "${{word#-board=}} does not match the EEPROM"; exit 1; }} ;;
    *) words="$words $word" ;;
    esac
done
set -- $words
content mood
case $content in
deaf) exec sleep 60 ;;
garbled) echo "~{{ pow"; exit 0 ;;
slow) sleep 0.01 ;;
busy) echo "set gpio failed, error = 0xffffffff"; echo "get gpio failed, error = 0xffffffff"; echo done; exit 0 ;;
gone) echo "$1: error building device linked list"; echo done; exit 0 ;;
refusing) if [ "$1" = set_gpio ]; then echo "failed to find gpio path"; echo done; exit 0; fi ;;
esac
case $1 in
init)
    if [ -n "$2" ] && [ "$2" != emmc ]; then echo "failed to find boot mode $2"; echo done; exit 0; fi
    echo yes >listening
    ;;
set_gpio | get_level)
    content gpio
    if [ "$2" != "$content" ]; then echo "failed to find gpio path"; echo done; exit 0; fi
    if [ "$1" = get_level ]; then
        content level
        if [ "$content" = 1 ]; then echo "get $2 level=HIGH"; else echo "get $2 level=LOW"; fi
    else
        case $3 in
        0 | 1)
            if [ -e listening ]; then echo "$3" >level; fi
            echo "$2 gpio set to $3 successfully"
            ;;
        *) echo "please enter a valid output state: 0 or 1" ;;
        esac
    fi
    ;;
*) echo "could not understand command: $1" ;;
esac
echo done
"""


class Outlets(MutableMapping[str, str]):
    """The one outlet, ``1``, which is on or off as the level in the file ``level`` says; ``levels`` tells how."""

    def __init__(self, folder: Path, levels: Mapping[str, str]) -> None:
        self._level = folder / "level"
        self._levels = dict(levels)

    def __getitem__(self, port: str) -> str:
        if port != "1":
            raise KeyError(port)
        level = self._level.read_text().strip()
        return next(state for state, value in self._levels.items() if value == level)

    def __setitem__(self, port: str, state: str) -> None:
        if port != "1":
            raise KeyError(port)
        self._level.write_text(f"{self._levels[state]}\n")

    def __delitem__(self, port: str) -> None:
        raise TypeError("an outlet stays")

    def __iter__(self) -> Iterator[str]:
        return iter(["1"])

    def __len__(self) -> int:
        return 1


class Board(StandIn):
    """A board at USB path 3-7.1, an imx8mpevk. Its reset line is called ``gpio``; ``levels``: what on and off are."""

    def __init__(self, folder: Path, mood: Mood = Mood.WELL, gpio: str = "reset", on_level: int = 1) -> None:
        super().__init__(folder, "bcu", PROGRAM, mood)
        for name, text in (("id", "3-7.1"), ("gpio", gpio)):
            (folder / name).write_text(text)
        self.outlets = Outlets(folder, {"on": str(on_level), "off": str(1 - on_level)})
        self.outlets["1"] = "off"


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Put the program into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        board = Board(Path(folder), mood)
        settings = {"driver": name, "bcu_exe": str(board.program), "id": "3-7.1", "board": "imx8mpevk"}
        yield Case(board, "evk", settings, ["1"], ["-1", "1;2", "1 2"])
