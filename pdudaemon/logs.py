# SPDX-License-Identifier: MIT
"""Where log lines go: one thread formats and writes what has gathered, so that no disk or full pipe holds up a PDU.

What a message holds may come from a client, a device or a script. Whatever that is, a line is printable and bounded.
At the end everything is written; before a ``kill -9`` the last hundredth of a second may be lost: the store has the
truth.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import threading
import time
from collections import deque
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pdudaemon import journal, sharedfiles
from pdudaemon.errors import printable

GATHER = 0.01  # seconds for which lines gather before they are written
PATIENCE = 1.0  # seconds for a log that takes nothing, at the end of the program
MOST_WAITING = 20000  # lines that wait for a log that takes none; what comes then is counted and lost

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def _shown(message: object) -> str:
    return ascii(message)[:200] if isinstance(message, str) else type(message).__name__


def priority(record: logging.LogRecord) -> int:
    """Return how the journal calls the level of a record."""
    return _PRIORITIES.get(record.levelno, 6)


class LineFormatter(logging.Formatter):
    """One line for each record, and one for each line of a traceback; marked with its priority for the journal."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal
        self._second = 0, ""  # the last that was spelled: most lines of a busy daemon share theirs with those before

    def format(self, record: logging.LogRecord) -> str:
        lines = self.lines(record)
        if self._journal:
            mark = f"<{priority(record)}>"
            lines = [mark + line for line in lines]
        return "\n".join(lines)

    def lines(self, record: logging.LogRecord) -> list[str]:
        """Return what a record says, without a mark."""
        line = f"{record.name}: {printable(record.getMessage())}"
        if not self._journal:
            line = f"{self._time(record)} {record.levelname} {line}"
        lines = [printable(line)]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        if record.stack_info:
            lines += self.formatStack(record.stack_info).split("\n")
        return [lines[0], *(f"  {printable(line)}" for line in lines[1:])]  # none of them looks like another's

    def _time(self, record: logging.LogRecord) -> str:
        """Return when a record was made, as `logging.Formatter.formatTime` has it."""
        second = int(record.created)
        if second != self._second[0]:
            self._second = second, time.strftime(self.default_time_format, time.localtime(second))
        return f"{self._second[1]},{int(record.msecs):03d}"


class LogWriter(logging.Handler):
    """Takes records from any thread and has one of its own write them, to a file if it has one, else standard error.

    A file that has been rotated is opened anew. Without a file, a journal (``to``), if there is one, gets entries with
    their fields. What cannot be written there goes to standard error.
    """

    def __init__(self, path: str = "", to: journal.Journal | None = None) -> None:
        """Raises: OSError if the file cannot be opened."""
        super().__init__()
        self._journal = None if path else to
        self._file = _LogFile(path, errors="backslashreplace") if path else None
        self._error = sys.stderr  # as it is now: a driver may put anything in its place
        self._waiting: deque[logging.LogRecord] = deque()
        self._lost = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record without the lock of a handler: what `emit` does is one operation of a deque."""
        wanted = self.filter(record)
        if wanted:
            self.emit(wanted if isinstance(wanted, logging.LogRecord) else record)
        return bool(wanted)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; what it is made of is turned into text now, since it may change."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        try:
            record.msg = record.getMessage()
        except Exception as error:  # a driver's line, or what it holds: whoever logs is not to fail for that
            record.msg = f"a line that cannot be put into words ({type(error).__name__}): {_shown(record.msg)}"
        record.args = None
        self._waiting.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Write what waits, unless another thread has been at that for too long."""
        if not self._writing.acquire(timeout=PATIENCE):
            return
        try:
            records = [self._waiting.popleft() for _ in range(len(self._waiting))]
            lines = [self.format(record) for record in records if not self._sent(record)]
            if self._lost:
                lines.append(f"{self._lost} lines of the log were lost: it took none for too long")
                self._lost = 0
            if lines:
                self._write("".join(f"{line}\n" for line in lines))
        finally:
            self._writing.release()

    def close(self) -> None:
        """Write what waits and stop; called by `logging.shutdown` at the end of the program."""
        self._closing.set()
        self._wake.set()
        self._thread.join(PATIENCE)
        self.flush()
        if self._journal is not None:
            self._journal.close()
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(GATHER)
            self._wake.clear()
            self.flush()

    def _sent(self, record: logging.LogRecord) -> bool:
        """Send a record to the journal, if there is one; return whether that has taken it."""
        if self._journal is None or not isinstance(self.formatter, LineFormatter):
            return False
        message = "\n".join(self.formatter.lines(record))
        return self._journal.send(journal.entry(record, message, priority(record)))

    def _write(self, text: str) -> None:
        if self._file is not None and self._file.write(text):
            return
        try:
            self._error.write(text)
            self._error.flush()
        except (OSError, ValueError):
            return  # nobody is left who could be told


class _LogFile(logging.handlers.WatchedFileHandler):
    """The file: it may be rotated by others, and must not be a link that somebody has put there for root."""

    def _open(self) -> TextIOWrapper[Any]:
        if os.path.dirname(self.baseFilename) in ("/dev", "/dev/fd", "/proc/self/fd"):  # what we have open already
            return super()._open()
        descriptor = sharedfiles.opened(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        return TextIOWrapper(open(descriptor, "ab"), encoding=self.encoding, errors=self.errors)

    def write(self, text: str) -> bool:
        """Write a text; return whether that was possible."""
        try:
            if self.stream is None:
                self.stream = self._open()
            self.reopenIfNeeded()
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # ValueError: a file that failed as it was closed
            self.stream = None  # the next text opens it
            return False
        return True
