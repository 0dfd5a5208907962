# SPDX-License-Identifier: MIT
"""What the fork server starts is as a process that was started: everything that a program can see, its end and its signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.forkserver import Program
from tests.support.process import eventually

# A program that tells all that it can see, or ends in some way.
SOURCE = """
import json, os, signal, sys, threading, time

def main():
    word = sys.argv[1]
    if word == "raise":
        raise ValueError("so be it")
    if word == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    if word != "see":
        return int(word)
    print(json.dumps({
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "paths": [path for path in sys.path if path.startswith(os.environ.get("PYTHONPATH", "none"))],
        "descriptors": sorted(os.listdir("/proc/self/fd"))[:3],
        "group": os.getpgrp() == int(os.environ["GROUP"]),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "threads": threading.active_count(),
        "streams": [(each.encoding, each.errors, each.line_buffering) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "input": sys.stdin.read(),
    }))
    print("told", file=sys.stderr)
    return 0

if __name__ == "__main__":
    sys.exit(main())
"""
PIPES: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture
def started(tmp_path: Path) -> tuple[Path, Program]:
    """Return a program, and what forks it."""
    file = tmp_path / "program"
    file.write_text(SOURCE)
    return file, Program(str(file))


@pytest.mark.parametrize("more", [{}, {"PYTHONIOENCODING": "ascii:replace"}, {"PYTHONUNBUFFERED": "1"}, {"LANG": "C"}])
def test_a_child_sees_what_a_process_sees(started: tuple[Path, Program], tmp_path: Path, more: dict[str, str]) -> None:
    file, program = started
    env = {"PYTHONPATH": f"{tmp_path}/extra", "GROUP": str(os.getpgrp()), "KEY": "välue", **more}
    words = ["see", "a b", "ä"]
    options = {**PIPES, "env": env, "cwd": tmp_path, "stdin": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, file, *words], **options) as process:
        meant = process.communicate(timeout=30)
    with program.start(words, **options) as child:
        seen = child.communicate(timeout=30)
    assert json.loads(seen[0]) == json.loads(meant[0])
    assert (child.returncode, seen[1]) == (process.returncode, meant[1]) == (0, b"told\n")


@pytest.mark.parametrize("word", ["0", "3", "raise"])
def test_exit_codes(started: tuple[Path, Program], word: str) -> None:
    file, program = started
    ran = subprocess.run([sys.executable, file, word], capture_output=True, text=True)
    code, out, err = program.run(word, env={}, timeout=30)
    assert (code, out, err.splitlines()[-1:]) == (ran.returncode, "", ran.stderr.splitlines()[-1:])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_signals(started: tuple[Path, Program], number: int) -> None:
    _, program = started
    with program.start(["wait"], {}, **PIPES) as child:
        assert child.stdout is not None and child.stdout.readline() == b"waiting\n"
        assert child.poll() is None and os.path.exists(f"/proc/{child.pid}")
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.01)
        child.send_signal(number)
        assert child.wait(30) == -number == child.poll()
        eventually(lambda: not os.path.exists(f"/proc/{child.pid}"))
        child.kill()  # of what has ended is nothing
