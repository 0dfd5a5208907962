# SPDX-License-Identifier: MIT
"""GPIO chips that the kernel simulates (``gpio-sim``): what it takes to have them, and what they tell of their lines.

Debian's kernel leaves that module out, so the host builds it, in seconds, out of Debian's own packages of the source and the
headers of the kernel that the machine boots: `module`, which needs gcc and make. Inside, root makes a `Chip`. All between
it and the daemon is the kernel's.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from pathlib import Path

from tests.vm.base import FOLDER, HERE, program

FROM_HOST = Path("/mnt/host/gpio-sim.ko")
_CHIPS = Path("/sys/kernel/config/gpio-sim")
_LINES = Path("/sys/kernel/debug/gpio")

# The interrupts that it simulates are a part of the kernel that is left out as well, so they are built in. One function
# that they call is not for modules; this one, which is, does the same.
_SOURCES = ("drivers/gpio/gpio-sim.c", "drivers/gpio/gpiolib.h", "kernel/irq/irq_sim.c")
_BUILD = """\
set -e
for package in *.deb; do dpkg-deb --extract $package .; done
tar -xJf usr/src/linux-source-*.tar.xz --strip-components=1 --wildcards {sources}
mkdir module
cp {files} module
mv module/gpio-sim.c module/chips.c
sed -i 's/handle_simple_irq(irq_to_desc(\\([a-z]*\\)))/generic_handle_irq(\\1)/' module/irq_sim.c
printf '%s\\n' 'obj-m := gpio-sim.o' 'gpio-sim-y := chips.o irq_sim.o' >module/Kbuild
mount -t overlay overlay -o lowerdir=usr:/usr /usr
make --silent -C /usr/src/linux-headers-{release} M=$PWD/module modules
"""


def module() -> Path:
    """Return the module for the kernel of the base, which must have been built; build it at first use."""
    (release,) = (folder.name for folder in (FOLDER / HERE / "tree" / "lib" / "modules").iterdir())
    installed = (FOLDER / HERE / "tree" / "var" / "lib" / "dpkg" / "status").read_text()
    version = re.search(rf"^Package: linux-image-{re.escape(release)}\n(?:.+\n)*?Version: (.+)", installed, re.M)
    assert version, f"the base has no package linux-image-{release}"
    built = FOLDER / f"gpio-sim-{version[1]}.ko"
    if not built.exists():
        for name in ("gcc", "make"):
            program(name, name)
        with tempfile.TemporaryDirectory(dir=FOLDER) as work:
            _build(Path(work), release, version[1]).replace(built)
    return built


def _build(work: Path, release: str, version: str) -> Path:
    headers = f"linux-headers-{release}"
    source = f"linux-source-{'.'.join(release.split('.')[:2])}"
    get = ["apt-get", "download", "--quiet=2", "--option=APT::Sandbox::User=root"]
    subprocess.run([*get, f"{headers}={version}", f"{source}={version}"], cwd=work, check=True)
    (archive,) = work.glob(f"{headers}_*.deb")
    needed = subprocess.run(["dpkg-deb", "-f", archive, "Depends"], check=True, capture_output=True, text=True)
    parts = re.findall(r"linux-(?:headers|kbuild)-[\w.+-]+", needed.stdout)
    subprocess.run([*get, *(f"{part}={version}" for part in parts)], cwd=work, check=True)
    sources = " ".join(f"'*/{name}'" for name in _SOURCES)
    script = _BUILD.format(sources=sources, files=" ".join(_SOURCES), release=release)
    subprocess.run(["unshare", "--mount", "sh", "-c", script], cwd=work, check=True, stdin=subprocess.DEVNULL)
    return work / "module" / "gpio-sim.ko"


def load_module() -> None:
    """Have the machine know such chips; root inside."""
    subprocess.run(["modprobe", "configfs"], check=True)
    subprocess.run(["insmod", FROM_HOST], check=True)


class Chip:
    """A chip. ``path`` and ``label`` are what it is called while it is there."""

    _numbers = itertools.count()

    def __init__(self, label: str, lines: int) -> None:
        self.label = label
        self._folder = _CHIPS / f"chip{next(self._numbers)}"
        self._bank = self._folder / "bank"
        self._bank.mkdir(parents=True)
        (self._bank / "num_lines").write_text(str(lines))
        (self._bank / "label").write_text(label)

    def plug(self) -> None:
        """Have it there."""
        (self._folder / "live").write_text("1")
        subprocess.run(["udevadm", "settle"], check=True)

    def unplug(self) -> None:
        """Have it gone, whoever holds lines of it."""
        (self._folder / "live").write_text("0")
        subprocess.run(["udevadm", "settle"], check=True)

    @property
    def path(self) -> str:
        return f"/dev/{self._name}"

    @property
    def _name(self) -> str:
        return (self._bank / "chip_name").read_text().strip()

    def _line(self, line: int, attribute: str) -> Path:
        device = (self._folder / "dev_name").read_text().strip()
        return Path("/sys/devices/platform", device, self._name, f"sim_gpio{line}", attribute)

    def level(self, line: int) -> str:
        """Return whether a line is ``high`` or ``low``."""
        return {"1": "high", "0": "low"}[self._line(line, "value").read_text().strip()]

    def pull(self, line: int, level: str) -> None:
        """Put something at a line that makes it ``high`` or ``low`` as long as nobody drives it."""
        self._line(line, "pull").write_text({"high": "pull-up", "low": "pull-down"}[level])

    def told(self, line: int) -> tuple[str, str]:
        """Return who holds a line, and whether it is ``in`` or ``out``; two empty texts if nobody does."""
        lines = _LINES.read_text()
        chip = re.search(rf"^{self._name}: GPIOs (\d+)-.*\n((?: .*\n?)*)", lines, re.M)
        assert chip, lines
        held = re.search(rf"^ gpio-{int(chip[1]) + line} +\(.*\|(.*?) *\) (in|out) ", chip[2], re.M)
        return (held[1], held[2]) if held else ("", "")
