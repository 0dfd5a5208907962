# SPDX-License-Identifier: MIT
"""``make nightly``: all that CI has no time for, one after the other, with a report. ``PARTS="soak cuts"`` runs some.

Sizes are in the environment (`SIZES`), so that a part can be tried in a minute: ``make nightly PARTS=kills KILLS=20``.
``SEED`` is the chance of all parts, by default the day; the report says how to repeat a part that has failed. What a
part prints is kept beside the report; lines of it that begin with ``* `` are its figures.

A part that takes longer than ``LIMIT`` hours has failed: it is interrupted, so that it says where it hangs, then
killed, and the next one has its turn. The exit code is 1 if a part has failed. One that cannot run here (exit code 75:
those with machines, for who may not mount) is told as left out, which is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "dist" / "nightly"
LEFT_OUT = 75
MOUNTS = f"unshare --mount true || exit {LEFT_OUT}"  # who may not mount has no machines
_SUMMARY = re.compile(r"^[= ]*\d+ (passed|failed|skipped|errors?)\b|\b\d+ mutants\b")
SHOWN = 60  # lines of what a failed part has printed last
HUNG = 124  # as timeout(1) says it
LAST_WORDS = 60.0  # seconds in which a part that is interrupted says where it hangs

SIZES = {
    "KILLS": "1000",  # kill -9 under load
    "CUTS": "200",  # power cuts
    "SITES": "all",  # bytes at which connections to sites are cut, in each direction of each way to ask; or a number
    "HOSTILE": "100000",  # inputs on each way in; those that take longer have their share of that
    "WIRES": "3",  # points at which a device goes mad, for each way of that and each driver
    "FUZZ": "20000",  # examples of each property of a parser
    "SOAK": "3600",  # seconds
    "ROUNDS": "100",  # in which one of two nodes is killed
    "MUTANTS": "10",  # of each module of engine and server, by chance
    "NOTICED": "97",  # per cent of these, at least
    "LIMIT": "4",  # hours of a part
}


def parts(sizes: dict[str, str], seed: int) -> dict[str, str]:
    """Return the command line of each part, in the order in which they run."""
    python = shlex.quote(sys.executable)
    pytest = f"{python} -m pytest -q -p no:cacheprovider"
    return {
        "kills": f"KILLS={sizes['KILLS']} KILLS_SEED={seed} {pytest} --workers 2 -k random_moments tests/engine/test_crash.py",
        "cuts": f"CUTS_SEED={seed} make test-cuts CUTS={sizes['CUTS']}",
        "sites": f"FRONT_CUTS={sizes['SITES']} FRONT_SEED={seed} {pytest} --workers 4 tests/engine/front/test_siterequests.py",
        "hostile": f"{python} -m tests.nightly.hostile --count {sizes['HOSTILE']} --seed {seed}",
        "wires": f"HOSTILE_POINTS={sizes['WIRES']} HOSTILE_SEED={seed} {pytest} --workers 4 tests/drivers/test_hostile.py",
        "cases": f"EVERY_CASE=1 {pytest} --workers 4 {' '.join(sampled())}",
        "fuzz": f"{python} -m tests.nightly.fuzz --examples {sizes['FUZZ']} --seed {seed}",
        "soak": f"{python} -m tests.nightly.soak --seconds {sizes['SOAK']} --seed {seed}",
        "peers": "make test-peers",
        "pythons": f"{python} -m tests.nightly.pythons",
        "usb": f"{MOUNTS}; make test-usb",
        "boot": f"{MOUNTS}; make test-boot",
        "trixie": f"{MOUNTS}; make test-boot RELEASE=trixie MACHINES=container",
        "ha": f"{MOUNTS}; HA_ROUNDS={sizes['ROUNDS']} make test-ha",
        "container": f"{MOUNTS}; make test-container",
        "mutation": f"{python} -m tests.mutation --sample {sizes['MUTANTS']} --seed {seed} --least {sizes['NOTICED']} "
        f"--tests tests/engine tests/server -- {' '.join(mutated())}",
        "bench": "make bench",
    }


def sampled() -> list[str]:
    """Return the test files of which `make test` has a sample."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "tests.support.sampling import" in path.read_text()]


def mutated() -> list[str]:
    """Return the source files of which mutants are tried."""
    return sorted(
        str(path.relative_to(ROOT))
        for folder in ("engine", "server")
        for path in (ROOT / "pdudaemon" / folder).rglob("*.py")
        if path.name != "__init__.py"
    )


class Ended(NamedTuple):
    """What became of a part."""

    name: str
    command: str
    code: int
    seconds: float
    printed: list[str]

    @property
    def result(self) -> str:
        """One word, or two."""
        return {0: "passed", LEFT_OUT: "left out", HUNG: "HANGS"}.get(self.code, "FAILED")

    @property
    def failed(self) -> bool:
        """Whether somebody has to look at it."""
        return self.code not in (0, LEFT_OUT)

    @property
    def figures(self) -> list[str]:
        """The lines that say how much there was."""
        told = [line[2:] for line in self.printed if line.startswith("* ")]
        summaries = [line.strip("= ") for line in self.printed if _SUMMARY.search(line)]
        return told or summaries[-1:]


def run(name: str, command: str, limit: float) -> Ended:
    """Run a part for so many seconds at most; what it prints goes to a file as it comes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.log"
    begun = time.monotonic()
    with path.open("wb") as log:
        # A group of its own, so that all of it can be ended; Ctrl-C ends it by us.
        part = subprocess.Popen(
            command, shell=True, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = part.wait(limit)
        except subprocess.TimeoutExpired:
            code = HUNG
        finally:
            _end(part)
    printed = path.read_text(errors="replace").splitlines()
    return Ended(name, command, code, time.monotonic() - begun, printed)


def _end(part: subprocess.Popen[bytes]) -> None:
    """Interrupt what is left of a part, wait a while for what it has to say, and kill the rest."""
    if part.returncode is None:
        os.killpg(part.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.wait(LAST_WORDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(part.pid, signal.SIGKILL)
    part.wait()


def report(ended: list[Ended], seed: int, sizes: dict[str, str]) -> str:
    """Return the report, in Markdown: what has failed first, then all parts, then how each of those failed."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    failed = [each.name for each in ended if each.failed]
    lines = [f"# Nightly of {time.strftime('%Y-%m-%d %H:%M')}, {commit.stdout.strip()}, seed {seed}", ""]
    lines += [f"{len(failed)} of {len(ended)} parts have failed: {', '.join(failed) or 'none'}.", ""]
    lines += ["| part | result | took | figures |", "| --- | --- | --- | --- |"]
    for each in ended:
        figures = "; ".join(each.figures).replace("|", "\\|")
        lines.append(f"| {each.name} | {each.result} | {each.seconds:.0f} s | {figures} |")
    others = "".join(f" {name}={size}" for name, size in sizes.items() if size != SIZES[name])
    for each in ended:
        if each.failed:
            told = (line.replace("```", "'''")[:400] for line in each.printed[-SHOWN:])
            how = f"hangs: ended after {each.seconds:.0f} s" if each.code == HUNG else f"has failed ({each.code})"
            lines += ["", f"## {each.name} {how}", "", f"All that it printed: `{FOLDER / each.name}.log`"]
            lines += ["", f"Once more: `make nightly PARTS={each.name} SEED={seed}{others}`, which is `{each.command}`"]
            lines += ["", "```", *told, "```"]
    return "\n".join([*lines, ""])


def main() -> int:
    """Run as the command line says."""
    seed = int(os.environ.get("SEED") or time.time() // 86400)
    sizes = {name: os.environ.get(name) or size for name, size in SIZES.items()}
    known = parts(sizes, seed)
    says = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(
        prog="python -m tests.nightly", description=says, epilog=f"Parts: {', '.join(known)}."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="run these alone", default=[])
    wanted = parser.parse_args().parts or [*known]
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"there is no part {unknown[0]}: {', '.join(known)}")
    ended = []
    for name in wanted:
        print(f"{time.strftime('%H:%M')} {name}: {known[name]}", flush=True)
        ended.append(run(name, known[name], float(sizes["LIMIT"]) * 3600))
        print(f"{name}: {ended[-1].result} after {ended[-1].seconds:.0f} s: {'; '.join(ended[-1].figures)}", flush=True)
        (FOLDER / "report.md").write_text(report(ended, seed, sizes))
    print((FOLDER / "report.md").read_text())
    return int(any(each.failed for each in ended))


if __name__ == "__main__":
    sys.exit(main())
