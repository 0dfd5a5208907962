# SPDX-License-Identifier: MIT
"""``pdudaemon --print-file``: the files that go with the daemon, for who installed it by pip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from pdudaemon import cli
from tests.support.process import ROOT


def test_each_file_is_the_one_that_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--print-file"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {"60-pdudaemon.rules", "pdudaemon.conf", "pdudaemon.service", "topology.yaml"} <= {*names}
    files = Path(str(resources.files("pdudaemon"))) / "files"
    assert sorted(str(each.relative_to(files)) for each in (*files.glob("*.*"), *files.glob("*/*"))) == names
    for folder in ("guides", "ha", "kubernetes"):
        assert {f"{folder}/{each.name}" for each in (ROOT / "share" / folder).iterdir()} <= {*names}
    for name in names:
        assert cli.main(["--print-file", name]) == 0
        shipped = ROOT / ("debian" if name.endswith((".service", ".sysusers")) else "share") / name
        assert capsys.readouterr().out == shipped.read_text()


def test_what_a_printed_page_leads_to_is_printed_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--print-file"])
    names = capsys.readouterr().out.splitlines()
    for name in names:
        cli.main(["--print-file", name])
        text = capsys.readouterr().out
        for link in re.findall(r"\]\(([\w./-]+\.\w+)(?:#[\w-]+)?\)", text) if name.endswith(".md") else ():
            assert os.path.normpath(os.path.join(os.path.dirname(name), link)) in names, f"{name}: {link}"


def test_the_unit_has_the_path_of_the_program_that_prints_it() -> None:
    program = str(Path(sys.executable).parent / "pdudaemon")
    printed = subprocess.run([program, "--print-file", "pdudaemon.service"], capture_output=True, text=True, check=True)
    shipped = (ROOT / "debian" / "pdudaemon.service").read_text()
    assert f"\nExecStart={program} --journal " in printed.stdout and "/usr/bin/" not in printed.stdout
    assert printed.stdout.replace(program, "/usr/bin/pdudaemon") == shipped


def test_a_name_that_there_is_not_is_told_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--print-file", "pdudaemon.servic"]) == 2
    out, err = capsys.readouterr()
    assert not out and "there is no file 'pdudaemon.servic'; did you mean 'pdudaemon.service'?; there are" in err
