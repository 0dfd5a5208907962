# SPDX-License-Identifier: MIT
"""Programs on the daemon's own host, each in a process group of its own that is killed at the deadline.

What a program prints goes to an unlinked temporary file, not to a pipe: a command that leaves something running in the
background would hold a pipe open, and we wait for the command itself alone. Of what is printed without end, only the
beginning and the end are kept.

``hold`` is a file descriptor that the program inherits. The PDU's lock is given here, so that a program which outlives
a killed daemon keeps the PDU locked for the next one, which finds the program's process group written in the file and
ends it when its time is over (see `pdudaemon.transports.lockfile`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

from pdudaemon.environment import for_others
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.transports import lockfile
from pdudaemon.transports.deadline import Deadline

OUTPUT_LIMIT = 65536
_DISK_LIMIT = 64 * OUTPUT_LIMIT
_TERMINATE_GRACE = 1.0
_LOOK = 5.0  # seconds to find a command
_PLAIN_WORD = re.compile(r"[\w./-]+")
_SLICE = 0.1  # seconds between two looks at how much was printed

_live: set[int] = set()
_live_lock = threading.Lock()
_kills = 0  # how often all were killed


class Output(NamedTuple):
    """How a program ended: its exit status (negative: the signal that killed it) and the start of what it printed.

    Of a program that failed it is the end, where the reason is. ``complaints`` is the end of what it wrote to standard
    error, if that was to be kept apart.
    """

    status: int
    text: str
    complaints: str = ""

    @property
    def last_line(self) -> str:
        """The last line with something on it, as an explanation fit for one line; empty if there is none."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""


class Program:
    """A program that was started, and what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], printed: IO[bytes], complained: IO[bytes] | None) -> None:
        self._process = process
        self._printed = printed
        self._complained = complained

    def finish(self, deadline: Deadline) -> Output:
        """Wait for its end. Raises: DeviceTimeout when the deadline passed."""
        while not _ended(self._process, deadline.spell(), self._files):
            if not deadline.goes_on():
                raise deadline.passed()
        status = self._process.returncode
        return Output(status, _read(self._printed, from_end=status != 0), self.complaints)

    def kill(self) -> None:
        """Kill what there still is of its process group, unless it has come to its end."""
        if self._process.returncode is not None:
            return
        _signal_group(self._process.pid, signal.SIGTERM)
        _ended(self._process, _TERMINATE_GRACE, self._files)
        _signal_group(self._process.pid, signal.SIGKILL)  # also whatever of the group outlived its leader
        self._process.kill()  # one that leads no group yet
        self._process.wait()

    @property
    def text(self) -> str:
        """The end of what it has printed so far."""
        return _read(self._printed, from_end=True)

    @property
    def complaints(self) -> str:
        """The end of what it has written to standard error so far, if that is kept apart."""
        return "" if self._complained is None else _read(self._complained, from_end=True)

    @property
    def _files(self) -> list[IO[bytes]]:
        return [file for file in (self._printed, self._complained) if file is not None]


def run(
    command: str | Sequence[str],
    deadline: Deadline,
    *,
    hold: int | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    apart: bool = False,
    told: bytes = b"",
) -> Output:
    """Run a program (a list of arguments) or a shell text (a string) to its end, in a ``folder`` if one is given.

    ``apart``: keep what it writes to standard error apart. ``told`` is what it reads on standard input.

    Raises: DeviceTimeout when the deadline passed (the whole process group is dead by then); PermanentError when the
    program cannot be started.
    """
    deadline.remaining()
    with started(command, hold=hold, environment=environment, folder=folder, apart=apart, told=told) as program:
        return program.finish(deadline)


def missing(program: str, folders: Iterable[str] = ()) -> str:
    """Say that a program is not installed, where it is not; it may be in some ``folders`` beside those of the path."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    found = shutil.which(program, path=path)
    return "" if found else f"the program {program}, which this driver needs, is not installed"


def unknown_to_shell(
    texts: Mapping[str, str], *, folder: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Say that the shell knows no command of the name with which one of some texts begins; empty if it does, or may.

    The texts are by name. Only a plain word is asked for: what the shell would have to expand first is not looked at.
    Raises: as `run`.
    """
    path = (environment or {}).get("PATH", os.environ.get("PATH", os.defpath))
    for name, text in texts.items():
        word = next(iter(text.split()), "")
        if _PLAIN_WORD.fullmatch(word) and not _known_to_shell(word, folder, path):
            return f"{name}: the shell knows no command {word}"
    return ""


@functools.lru_cache(maxsize=256)
def _known_to_shell(word: str, folder: str | None, path: str) -> bool:
    """Whether a word is a command there; asked once for the thousands of nodes of a platform."""
    question = ["/bin/sh", "-c", 'command -v -- "$1"', "sh", word]
    return run(question, Deadline(_LOOK), folder=folder, environment={"PATH": path}).status == 0


@contextlib.contextmanager
def started(
    command: str | Sequence[str],
    *,
    hold: int | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    apart: bool = False,
    terminal: int | None = None,
    there: bool = False,
    told: bytes = b"",
) -> Iterator[Program]:
    """Start a program; its process group is dead in the end. A ``terminal`` becomes its input and its controlling one.

    ``told`` is what it reads on standard input otherwise. ``there``: what it prints goes to that terminal as well.

    Raises: PermanentError when the program cannot be started; TransientError if it cannot be written into the held file
    what is held for it, or the daemon leaves just now.
    """
    # A terminal is made the controlling one by a program, since to do it here, between fork and exec, is not safe.
    leader = () if terminal is None or isinstance(command, str) else ("setsid", "-c")
    with contextlib.ExitStack() as files:
        printed = files.enter_context(_unlinked_file())
        complained = files.enter_context(_unlinked_file()) if apart else None
        given = files.enter_context(_in_memory(told)) if told else None
        kills = _kills
        try:
            process = subprocess.Popen(
                command if isinstance(command, str) else [*leader, *command],
                shell=isinstance(command, str),
                stdin=given or (subprocess.DEVNULL if terminal is None else terminal),
                stdout=terminal if there else printed,
                stderr=complained or subprocess.STDOUT,
                cwd=folder,
                start_new_session=not leader,
                pass_fds=() if hold is None else (hold,),
                env={**for_others(), **(environment or {})},
            )
        except OSError as error:
            raise PermanentError(f"cannot run a command: {error.strerror}: {error.filename}") from None
        program = Program(process, printed, complained)
        try:
            with _live_lock:
                _live.add(process.pid)
            if kills != _kills:  # just now: it was not among them
                raise TransientError("the daemon is stopping")
            if hold is not None:
                _sign(hold, process.pid)
            yield program
        finally:
            with _live_lock:
                _live.discard(process.pid)
            program.kill()


def _read(file: IO[bytes], *, from_end: bool) -> str:
    start = max(0, os.fstat(file.fileno()).st_size - OUTPUT_LIMIT) if from_end else 0
    text = os.pread(file.fileno(), OUTPUT_LIMIT, start).decode(errors="replace")
    return text.replace("\0", "")  # as which a hole is read


def _trim(file: IO[bytes]) -> None:
    """Once it takes much of the disk, make a hole between the beginning and the end of what is printed.

    The program does not notice, and goes on behind it.
    """
    found = os.fstat(file.fileno())
    if min(found.st_size, found.st_blocks * 512) > _DISK_LIMIT:
        end = found.st_size - OUTPUT_LIMIT
        kept = os.pread(file.fileno(), OUTPUT_LIMIT, end)
        os.ftruncate(file.fileno(), OUTPUT_LIMIT)
        with contextlib.suppress(OSError):  # there may be no room even for that
            os.pwrite(file.fileno(), kept, end)


def _unlinked_file() -> IO[bytes]:
    try:  # in one call, where the file system can do that; tempfile does the same with many
        return os.fdopen(os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b", 0)
    except OSError:
        return tempfile.TemporaryFile(buffering=0)


def _in_memory(data: bytes) -> IO[bytes]:
    """Return a file to be read, which no disk ever has: there may be a password in it."""
    file = os.fdopen(os.memfd_create("told", os.MFD_CLOEXEC), "w+b", 0)
    file.write(data)
    file.seek(0)
    return file


def kill_all() -> int:
    """Kill every process group started here and not yet ended; return how many. For the end of the daemon."""
    global _kills
    with _live_lock:
        _kills += 1
        for pid in _live:
            _signal_group(pid, signal.SIGKILL)
        return len(_live)


def _sign(hold: int, group: int) -> None:
    """Write into the held file which process group it is held for. Raises: TransientError."""
    try:
        lockfile.sign(hold, group)
    except OSError as error:
        raise TransientError(f"a command was ended: the lock file cannot be written: {error.strerror}") from None


def _ended(process: subprocess.Popen[bytes], seconds: float, files: Iterable[IO[bytes]]) -> bool:
    """Wait for the process; return whether it ended in time. What it prints to ``files`` is kept small meanwhile."""
    until = time.monotonic() + seconds
    while not _ends_within(process, max(0.0, min(_SLICE, until - time.monotonic()))):
        if time.monotonic() >= until:
            return False
        for file in files:
            _trim(file)
    return True


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the process; return whether it ended in time. A pidfd wakes us at once, where Popen.wait() polls."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
    finally:
        os.close(pidfd)
    process.wait()
    return True


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of the group has ended by itself
        os.killpg(pid, number)
