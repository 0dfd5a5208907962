# SPDX-License-Identifier: MIT
"""`LossyDisk`: a folder whose power can be cut. What a program did to it since its last fsync may be there, or may not.

A program that is killed leaves all that it has written, since the kernel has it; after a power cut there is what the disk
has. So a program is run with ``lossydisk.c`` loaded before the C library, which writes down what it writes, and a cut
puts into the folder what a disk may have then: all that was there when an fsync of the file began that has ended; and of
the rest all, nothing, a beginning, or some sectors and others not, in no order; nothing of what an fsync was for that
has failed, though the program reads it, and the next fsync succeeds. Names are kept in order, as file systems
with a journal do it, and are there for certain after an fsync of the folder.

It is another boot then: the id of that and the clock that counts from it are others. It takes a C compiler.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("@c7xQQQ")
_SOURCE = Path(__file__).with_suffix(".c")
HOW = ("all", "nothing", "beginning", "some", "some", "some")


@dataclass
class _Change:
    """What was written to a file, or, with no data, to what length that was cut. ``number`` is the order of all."""

    number: int
    offset: int
    data: bytes | None


@dataclass(eq=False)
class _File:
    content: bytes = b""
    changes: list[_Change] = field(default_factory=list)

    def settle(self, until: int) -> None:
        """Have what was changed before become what the disk has."""
        settled = [each for each in self.changes if each.number < until]
        self.changes = [each for each in self.changes if each.number >= until]
        self.content = _changed(self.content, settled)


class LossyDisk:
    """``environment`` is for the program, one run of it at a time; ``cut`` is called when that is dead.

    While there is a file ``fails``, an fsync fails.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        self._chance = chance
        self._journal = folder / "journal"
        self._boot = folder / "boot"
        self.fails = folder / "fails"
        self._library = folder / "lossydisk.so"
        compiled = ["cc", "-O1", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE), "-ldl"]
        subprocess.run(compiled, check=True)
        self._names: dict[str, _File] = {}
        self._start()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program whose writes are to be lossy."""
        return {
            "LD_PRELOAD": str(self._library),
            "LOSSY_FOLDER": str(self.folder),
            "LOSSY_JOURNAL": str(self._journal),
            "LOSSY_BOOT": str(self._boot),
            "LOSSY_FAILS": str(self.fails),
            "LOSSY_UPTIME": str(self._chance.uniform(5, 1e6) - time.clock_gettime(time.CLOCK_BOOTTIME)),
        }

    def cut(self) -> str:
        """Cut the power: put into the folder what the disk may have. Return what it was made of."""
        names, history = self._read()
        how = self._chance.choice(HOW)
        share = self._chance.choice((0.1, 0.5, 0.9))
        last = self._chance.randrange(len(history) + 1) if how == "beginning" else 0
        kept = {"all": len(history), "nothing": 0, "beginning": last}.get(how)
        if kept is None:
            kept = self._chance.randrange(len(history) + 1)
        for number, (old, new) in enumerate(history):
            if number < kept:
                _renamed(names, old, new)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        end = max((each.number for file in names.values() for each in file.changes), default=0) + 1
        end = {"all": end, "nothing": 0, "beginning": self._chance.randrange(end + 1)}.get(how, end)
        for name, file in names.items():
            some = [each for each in file.changes if each.number < end]
            if how == "some":
                some = [part for each in some for part in self._sectors(each) if self._chance.random() < share]
            (self.folder / name).write_bytes(_changed(file.content, some))
        self._start()
        return how

    def _start(self) -> None:
        """Begin a boot, whose disk has what is in the folder."""
        self._journal.unlink(missing_ok=True)
        self._boot.write_text(f"{uuid.UUID(int=self._chance.getrandbits(128))}\n")
        self._names = {path.name: _File(path.read_bytes()) for path in self.folder.iterdir() if path.is_file()}

    def _read(self) -> tuple[dict[str, _File], list[tuple[str, str | _File]]]:
        """Return the files by the names that are certain, and the changes of names that are not."""
        data = self._journal.read_bytes() if self._journal.exists() else b""
        certain, now = {**self._names}, {**self._names}
        history: list[tuple[str, str | _File]] = []
        settled = 0  # of the history
        files: dict[int, _File] = {}
        syncs: dict[int, tuple[int, int]] = {}
        at = number = 0
        while at + _HEAD.size <= len(data):
            what, inode, offset, size = _HEAD.unpack_from(data, at)
            payload = data[at + _HEAD.size : at + _HEAD.size + size]
            at += _HEAD.size + size
            if at > len(data):
                break  # cut off by its death
            number += 1
            match what:
                case b"O":
                    name = payload.decode()
                    if name not in now:
                        history.append((name, _File()))
                        _renamed(now, *history[-1])
                    files[inode] = now[name]
                case b"R":
                    old, new = payload.decode().split("\0")
                    history.append((old, new))
                    _renamed(now, old, new)
                case b"U":
                    history.append((payload.decode(), ""))
                    _renamed(now, *history[-1])
                case b"W" if inode in files:
                    files[inode].changes.append(_Change(number, offset, payload))
                case b"T" if inode in files:
                    files[inode].changes.append(_Change(number, offset, None))
                case b"F" if inode in files:
                    files[inode].changes.clear()
                case b"B":
                    syncs[offset] = number, len(history)
                case b"E" if inode in files:
                    files[inode].settle(syncs[offset][0])
                case b"E" if inode == self.folder.stat().st_ino:
                    for each in history[settled : syncs[offset][1]]:
                        _renamed(certain, *each)
                    settled = max(settled, syncs[offset][1])
        return certain, history[settled:]

    def _sectors(self, change: _Change) -> list[_Change]:
        if change.data is None:
            return [change]
        found, at = [], 0
        while at < len(change.data):
            end = at + SECTOR - (change.offset + at) % SECTOR
            found.append(_Change(change.number, change.offset + at, change.data[at:end]))
            at = end
        return found


def _renamed(names: dict[str, _File], old: str, new: str | _File) -> None:
    """Have a file get a name: a new one, or another one; ``""``: no name."""
    if isinstance(new, _File):
        names[old] = new
    elif new:
        names[new] = names.pop(old)
    else:
        names.pop(old, None)


def _changed(content: bytes, changes: list[_Change]) -> bytes:
    image = bytearray(content)
    for each in changes:
        if each.data is None:
            del image[each.offset :]
            image.extend(bytes(max(0, each.offset - len(image))))
        else:
            image.extend(bytes(max(0, each.offset - len(image))))
            image[each.offset : each.offset + len(each.data)] = each.data
    return bytes(image)
