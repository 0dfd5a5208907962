# SPDX-License-Identifier: MIT
"""``make nightly``: all that CI has no time for, one after the other, with a report. ``PARTS="soak cuts"`` runs some.

Sizes are in the environment (`SIZES`), so that a part can be tried in a minute: ``make nightly PARTS=kills KILLS=20``.
``SEED`` is the chance of all parts, by default the day; the report says how to repeat a part that has failed. What a
part prints is kept beside the report; lines of it that begin with ``* `` are its figures.

The exit code is 1 if a part has failed. One that cannot run here (exit code 75: those with machines, for who
may not mount) is told as left out, which is no failure.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "dist" / "nightly"
LEFT_OUT = 75
MOUNTS = f"unshare --mount true || exit {LEFT_OUT}"  # who may not mount has no machines
SHOWN = 60  # lines of what a failed part has printed last

SIZES = {
    "KILLS": "1000",  # kill -9 under load
    "CUTS": "200",  # power cuts
    "HOSTILE": "100000",  # inputs on each way in; those that take longer have their share of that
    "WIRES": "3",  # points at which a device goes mad, for each way of that and each driver
    "FUZZ": "20000",  # examples of each property of a parser
    "SOAK": "3600",  # seconds
    "ROUNDS": "100",  # in which one of two nodes is killed
    "MUTATED": "3",  # source files, others each night
    "MUTANTS": "60",  # of each, by chance
}


def parts(sizes: dict[str, str], seed: int) -> dict[str, str]:
    """Return the command line of each part, in the order in which they run."""
    python = shlex.quote(sys.executable)
    pytest = f"{python} -m pytest -q -p no:cacheprovider"
    return {
        "kills": f"KILLS={sizes['KILLS']} KILLS_SEED={seed} {pytest} --workers 2 -k random_moments tests/engine/test_crash.py",
        "cuts": f"CUTS_SEED={seed} make test-cuts CUTS={sizes['CUTS']}",
        "hostile": f"{python} -m tests.nightly.hostile --count {sizes['HOSTILE']} --seed {seed}",
        "wires": f"HOSTILE_POINTS={sizes['WIRES']} HOSTILE_SEED={seed} {pytest} --workers 4 tests/drivers/test_hostile.py",
        "fuzz": f"{python} -m tests.nightly.fuzz --examples {sizes['FUZZ']} --seed {seed}",
        "soak": f"{python} -m tests.nightly.soak --seconds {sizes['SOAK']} --seed {seed}",
        "peers": "make test-peers",
        "usb": f"{MOUNTS}; make test-usb",
        "boot": f"{MOUNTS}; make test-boot",
        "trixie": f"{MOUNTS}; make test-boot RELEASE=trixie MACHINES=container",
        "ha": f"{MOUNTS}; HA_ROUNDS={sizes['ROUNDS']} make test-ha",
        "container": f"{MOUNTS}; make test-container",
        "mutation": f"{python} -m tests.mutation --sample {sizes['MUTANTS']} --seed {seed} "
        + " ".join(in_turn(int(sizes["MUTATED"]), seed)),
        "bench": "make bench",
    }


def in_turn(number: int, seed: int) -> list[str]:
    """Return some source files with tests of their own, others for each day, all of them within some weeks."""
    files = sorted(
        str(path.relative_to(ROOT))
        for folder in ("engine", "server", "config", "transports")
        for path in (ROOT / "pdudaemon" / folder).glob("*.py")
        if (ROOT / "tests" / folder / f"test_{path.name}").exists()
    )
    first = seed * number % len(files)
    return [*itertools.islice(itertools.cycle(files), first, first + number)]


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
        return {0: "passed", LEFT_OUT: "left out"}.get(self.code, "FAILED")

    @property
    def figures(self) -> list[str]:
        """The lines that say how much there was."""
        told = [line[2:] for line in self.printed if line.startswith("* ")]
        summaries = [line.strip("= ") for line in self.printed if re.search(r"\d+ (passed|failed|mutants)\b", line)]
        return told or summaries[-1:]


def run(name: str, command: str) -> Ended:
    """Run a part; what it prints goes to a file as it comes."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.log"
    begun = time.monotonic()
    with path.open("wb") as log:
        code = subprocess.call(
            command, shell=True, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    printed = path.read_text(errors="replace").splitlines()
    return Ended(name, command, code, time.monotonic() - begun, printed)


def report(ended: list[Ended], seed: int) -> str:
    """Return the report, in Markdown."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    lines = [f"# Nightly of {time.strftime('%Y-%m-%d %H:%M')}, {commit.stdout.strip()}, seed {seed}", ""]
    lines += ["| part | result | took | figures |", "| --- | --- | --- | --- |"]
    for each in ended:
        figures = "; ".join(each.figures).replace("|", "\\|")
        lines.append(f"| {each.name} | {each.result} | {each.seconds:.0f} s | {figures} |")
    for each in ended:
        if each.code not in (0, LEFT_OUT):
            told = (line.replace("```", "'''")[:400] for line in each.printed[-SHOWN:])
            again = f"Once more: `{each.command}`"
            lines += ["", f"## {each.name} has failed ({each.code})", "", again, "", "```", *told, "```"]
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
        print(f"{name}: {known[name]}", flush=True)
        ended.append(run(name, known[name]))
        print(f"{name}: {ended[-1].result} after {ended[-1].seconds:.0f} s: {'; '.join(ended[-1].figures)}", flush=True)
        (FOLDER / "report.md").write_text(report(ended, seed))
    print((FOLDER / "report.md").read_text())
    return int(any(each.result == "FAILED" for each in ended))


if __name__ == "__main__":
    sys.exit(main())
