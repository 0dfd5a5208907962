# SPDX-License-Identifier: MIT
"""Wheel and sdist: nothing is left out, and the index would take them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.process import ROOT

NOT_IN_ARCHIVES = {".gitignore"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both archives, from a copy of what git tracks."""
    folder = tmp_path_factory.mktemp("dist")
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "source" / name, follow_symlinks=False)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "source")],
        check=True,
        capture_output=True,
    )
    return folder


def tracked() -> set[str]:
    """Return what git tracks, or, where this is an sdist that has been unpacked, what that has."""
    if (ROOT / "PKG-INFO").exists():
        names = (ROOT / "pdudaemon.egg-info" / "SOURCES.txt").read_text().splitlines()
        return {name for name in names if not name.startswith("pdudaemon.egg-info/")}
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in found.split("\0") if name and (ROOT / name).exists()}


def test_the_sdist_has_all_that_is_needed_to_build_test_and_package(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
        links = [each.name for each in file.getmembers() if each.issym() or each.islnk()]
    assert tracked() - names <= NOT_IN_ARCHIVES
    assert not links


def test_the_wheel_has_manuals_completion_and_the_files_that_are_printed(dist: Path) -> None:
    (archive,) = dist.glob("*.whl")
    with zipfile.ZipFile(archive) as file:
        names = {name.partition(".data/")[2] or name for name in file.namelist()}
        unit = file.read("pdudaemon/files/pdudaemon.service")
    assert {f"data/share/man/man{section}/{name}.{section}" for name, section in MANUALS} <= names
    assert {f"data/share/bash-completion/completions/{name}.bash" for name in ("pdudaemon", "pduclient")} <= names
    shells = {"data/share/zsh/site-functions/_pduclient", "data/share/fish/vendor_completions.d/pduclient.fish"}
    assert shells <= names
    packaged = {name for name in tracked() if name.startswith("pdudaemon/")}
    folders = {name for name in packaged if (ROOT / name).is_dir()}  # links to such
    packaged |= {f"{name}/{each.name}" for name in folders for each in (ROOT / name).iterdir()}
    assert packaged - folders <= names
    assert unit == (ROOT / "debian" / "pdudaemon.service").read_bytes()


MANUALS = (("pduclient", 1), ("pdudaemon.conf", 5), ("pdudaemon", 8))


def test_the_index_would_take_them(dist: Path) -> None:
    archives = [str(each) for pattern in ("*.whl", "*.tar.gz") for each in dist.glob(pattern)]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *archives], capture_output=True, text=True
    )
    assert checked.returncode == 0 and checked.stdout.count("PASSED") == 2, checked.stdout + checked.stderr


def test_a_wheel_in_an_environment_of_its_own(dist: Path, tmp_path: Path) -> None:
    """By pip, without an index: what the wheel depends on is where the tests have it."""
    (wheel,) = dist.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    (packages,) = (tmp_path / "own" / "lib").glob("python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", str(tmp_path / "own"), "install", "--no-index", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    (packages / "depends.pth").write_text(sysconfig.get_path("purelib"))
    program = str(tmp_path / "own" / "bin" / "pdudaemon")

    def told(*arguments: str) -> str:
        return subprocess.run([*arguments], check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    assert str(packages) in told(str(tmp_path / "own" / "bin" / "python"), "-c", "import pdudaemon; print(pdudaemon)")
    for name, section in MANUALS:
        page = told("man", "-M", str(tmp_path / "own" / "share" / "man"), "-w", str(section), name)
        assert page.strip() == str(tmp_path / "own" / "share" / "man" / f"man{section}" / f"{name}.{section}")
    unit = told(program, "--print-file", "pdudaemon.service")
    (line,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    conf = tmp_path / "pdudaemon.conf"
    conf.write_text(
        json.dumps(
            {"daemon": {"dbname": "store"}, "pdus": {"p": {"driver": "localcmdline", "cmd_on": "echo %s >told"}}}
        )
    )
    command = shlex.split(line.replace("/etc/pdudaemon/pdudaemon.conf", str(conf)))
    assert command[0] == program
    told(*command, "--drive", "--hostname", "p", "--port", "2", "--request", "on")
    assert (tmp_path / "told").read_text() == "2\n"
