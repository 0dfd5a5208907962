# SPDX-License-Identifier: MIT
"""Devices that are reached by a program: one that stands in for it, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.devices.base.console import Console, Left, Terminal
from tests.devices.base.device import Device, Mood

CONTENT = """\
content() { content=; IFS= read -r content <"$1"; }  # of a file with one line, without a process for it
"""

SSH = f"""\
#!/bin/sh
# ssh, to the device beside it: messages go to the file of -E, a password is asked for on the terminal.
{CONTENT}\
here=${{0%/*}}
printf '%s\\n' "$*" >>"$here/received"
log=/dev/stderr
while [ "$1" != -- ]; do
    case $1 in
    -E) log=$2; shift 2 ;;
    -o | -p | -l) shift 2 ;;
    *) shift ;;
    esac
done
host=$2
shift 2
fail() {{ echo "$1" >>"$log"; exit 255; }}
content "$here/mood"
mood=$content
case $mood in
deaf) exec sleep 60 ;;
gone) fail "ssh: connect to host $host port 22: Connection refused" ;;
busy) fail "kex_exchange_identification: Connection closed by remote host" ;;
garbled) fail "kex_exchange_identification: banner line contains invalid characters" ;;
slow) sleep 0.1 ;;
esac
if [ -s "$here/password" ]; then
    stty -echo </dev/tty
    printf "%s's password: " "$host" >/dev/tty
    read -r given </dev/tty
    content "$here/password"
    if [ "$given" != "$content" ] || [ "$mood" = "wrong password" ]; then
        fail "root@$host: Permission denied (publickey,password)."
    fi
fi
exec "$here/device" "$*"
"""


CONSOLE = """\
#!/bin/bash
# The terminal of the one who is let in is that of a fake console, which listens at a port.
stty raw -echo inlcr
exec 3<>/dev/tcp/127.0.0.1/{port} 4<&0
cat <&3 &
shown=$!
cat <&4 >&3 &
wait "$shown"
kill $!
"""


class StandIn:
    """A program in a folder, which reads its mood from the file ``mood`` and writes its arguments to ``received``."""

    def __init__(self, folder: Path, name: str, text: str, mood: Mood = Mood.WELL) -> None:
        self.folder = folder
        self.mood = mood
        self.program = folder / name
        self.program.write_text(text)
        self.program.chmod(0o755)

    @property
    def mood(self) -> Mood:
        return Mood((self.folder / "mood").read_text())

    @mood.setter
    def mood(self, mood: Mood) -> None:
        (self.folder / "mood").write_text(mood)

    @property
    def received(self) -> bytes:
        """The arguments that it was called with, a line for each call."""
        log = self.folder / "received"
        return log.read_bytes() if log.exists() else b""

    @property
    def calls(self) -> list[str]:
        return self.received.decode().splitlines()

    @property
    def sessions(self) -> int:
        return len(self.calls)


class Ended(NamedTuple):
    """What a program says, on which descriptor, and what it ends with."""

    text: str
    status: int = 0
    descriptor: int = 1


class Played(Device):
    """A program in a folder that has its words and part of its environment carried out here, and says and ends so.

    ``act`` is what it does: by its words and the variables whose names begin with ``prefix``. It is deaf where that
    returns None.
    """

    SCRIPT = """\
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
{{
    printf '%s\\0' $# "$@"
    for name in ${{!{prefix}@}}; do printf '%s=%s\\0' "$name" "${{!name}}"; done
    printf '\\0'
}} >&3
read -r status descriptor <&3
IFS= read -r -d '' text <&3
printf '%s' "$text" >&"$descriptor"
exit "$status"
"""

    def __init__(self, path: Path, prefix: str, act: Callable[[list[str], dict[str, str]], Ended | None]) -> None:
        super().__init__()
        self._act = act
        path.write_text(self.SCRIPT.format(port=self.port, prefix=prefix))
        path.chmod(0o755)

    def converse(self, connection: socket.socket) -> None:
        data = b""
        while not data.endswith(b"\0\0"):
            data += self.receive(connection)
        count, *rest = data.decode()[:-2].split("\0")
        words, variables = rest[: int(count)], rest[int(count) :]
        ended = self._act(words, dict(each.split("=", 1) for each in variables))
        if ended is None:
            self.closing.wait()
        else:
            connection.sendall(f"{ended.status} {ended.descriptor}\n{ended.text}".encode())


@contextmanager
def first_in_path(folder: Path) -> Iterator[None]:
    """Let programs be found in a folder before all others."""
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
    try:
        yield
    finally:
        os.environ["PATH"] = path


def console_of(device: Console, folder: Path) -> Path:
    """Write a program that is a console for one who has logged in; from now on it is no other."""

    def converse(connection: socket.socket) -> None:
        device.terminal = Terminal(device, connection)
        with contextlib.suppress(Left):
            device.session()

    vars(device)["converse"] = converse
    path = folder / "console"
    path.write_text(CONSOLE.format(port=device.port))
    path.chmod(0o755)
    return path
