# SPDX-License-Identifier: MIT
"""Reads the log that SQLite keeps beside a database in WAL mode (``NAME-wal``), also where it is damaged.

SQLite reads it up to the first frame that is not as it should be, and forgets everything behind that one without a
word. Here each frame is judged by itself: the check sum of a frame begins with that of the frame before it, which is
there to read even if that frame is damaged.

The format is that of https://www.sqlite.org/fileformat.html#the_write_ahead_log: a header of 32 bytes, then frames of
24 bytes and one page. A log is written over from its beginning once it has been taken over into the database; the first
salt grows by one then, and what is left of the frames before is of no account.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

HEADER = 32
FRAME_HEADER = 24
LITTLE, BIG = 0x377F0682, 0x377F0683  # the last bit says in what order the check sums read the words
MOST_GENERATIONS = 1 << 20  # by how much the salt of a frame that is left over may differ

Sum = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """One page as a transaction left it; ``pages`` is the size of the database after it, 0 within a transaction."""

    number: int
    page: int
    pages: int
    image: bytes
    good: bool


@dataclass
class Log:
    """What a log holds: the frames of its present generation, up to the last that could be one.

    ``readable`` is how many frames SQLite itself reads.
    """

    page_size: int
    frames: list[Frame] = field(default_factory=list)
    readable: int = 0
    header_good: bool = True

    @property
    def whole(self) -> int:
        """How many frames there are up to the last transaction that is known to be whole."""
        return max((frame.number for frame in self.frames if frame.good and frame.pages), default=0)

    @property
    def lost(self) -> list[Frame]:
        """The damaged frames whose page does not stand in a later good one."""
        later = {frame.page: frame.number for frame in self.frames[: self.whole] if frame.good}
        return [frame for frame in self.frames if not frame.good and later.get(frame.page, 0) < frame.number]

    def trouble(self) -> str:
        """Return what is wrong, empty if SQLite reads all that there is."""
        if self.whole > self.readable:
            what = f"frame {self.readable + 1} of {len(self.frames)}" if self.header_good else "the header"
            return f"{what} of its log is damaged"
        if not self.header_good:
            return "its log cannot be read: the header is damaged"
        if any(not frame.good for frame in self.frames):
            return f"frame {self.whole + 1} of its log, behind all that can be read, is cut off or damaged"
        return ""

    def applied(self, database: bytes, frames: int, damaged: bool = False) -> bytearray:
        """Return the database with so many frames of the log taken over; the damaged among them only if asked for."""
        image = bytearray(database)
        most = len(database) // self.page_size + len(self.frames)
        taken = [frame for frame in self.frames[:frames] if frame.good or (damaged and 0 < frame.page <= most)]
        while taken and not (taken[-1].good and taken[-1].pages):
            taken.pop()
        for frame in taken:
            end = frame.page * self.page_size
            image.extend(bytes(max(0, end - len(image))))
            image[end - self.page_size : end] = frame.image
        if taken:
            size = taken[-1].pages * self.page_size
            image.extend(bytes(max(0, size - len(image))))
            del image[size:]
        return image


def read(path: Path, page_size: int) -> Log:
    """Read a log; one that is not there is empty. ``page_size`` is that of the database, if the log does not say it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if len(data) < HEADER:
        return Log(page_size)
    magic, _, given_size, _, *salts = struct.unpack(">6I", data[:24])
    stored: Sum = struct.unpack(">2I", data[24:HEADER])
    for order in "<>":
        header = _sum((0, 0), data[:24], order)
        good = magic in (LITTLE, BIG) and stored == header
        log = Log(given_size if good and given_size else page_size, header_good=good)
        _judge(log, data, order, (salts[0], salts[1]), [stored, header])
        if log.header_good or log.whole:
            break
    return log


def _judge(log: Log, data: bytes, order: str, salts: Sum, candidates: list[Sum]) -> None:
    """Fill in the frames; ``salts`` are those of the header, ``candidates`` the check sums that may precede a frame."""
    generation = salts if log.header_good else None
    follows = True  # on something of this generation
    strict = log.header_good
    for number, start in enumerate(range(HEADER, len(data), FRAME_HEADER + log.page_size), 1):
        whole = data[start : start + FRAME_HEADER + log.page_size]
        if len(whole) < FRAME_HEADER + log.page_size:
            return  # it was cut off while it was written: nobody had been told of it
        page, pages, salt, other_salt, *rest = struct.unpack(">6I", whole[:FRAME_HEADER])
        stored = (rest[0], rest[1])
        content = whole[:8] + whole[FRAME_HEADER:]
        sums: list[Sum] = []
        for candidate in candidates:
            sums.append(_sum(candidate, content, order))
            if sums[-1] == stored:
                break
        fits = stored in sums and page > 0
        if fits and generation is None:
            generation = (salt, other_salt)
        ours = (salt, other_salt) == generation
        good = fits and (ours or follows)
        strict = strict and ours and fits
        log.readable = number if strict else log.readable
        if good and len(sums) > 1 and log.frames:  # so the one before was good but for its own check sum
            former = log.frames[-1]
            log.frames[-1] = Frame(former.number, former.page, former.pages, former.image, True)
        if not good and generation and 0 < (generation[0] - salt) % (1 << 32) < MOST_GENERATIONS:
            return
        log.frames.append(Frame(number, page, pages, whole[FRAME_HEADER:], good))
        follows = good
        candidates = [stored] if good else [stored, sums[0]]


def _sum(before: Sum, data: bytes, order: str) -> Sum:
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
