# SPDX-License-Identifier: MIT
"""``pdudaemon --print-file``: the files that go with the daemon, for who installed it by pip."""

from __future__ import annotations

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
    assert sorted(str(each.relative_to(files)) for each in (*files.glob("*.*"), *files.glob("guides/*"))) == names
    assert {f"guides/{each.name}" for each in (ROOT / "share" / "guides").iterdir()} <= {*names}
    for name in names:
        assert cli.main(["--print-file", name]) == 0
        shipped = ROOT / ("debian" if name.endswith(".service") else "share") / name
        assert capsys.readouterr().out == shipped.read_text()


def test_a_name_that_there_is_not_is_told_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--print-file", "pdudaemon.servic"]) == 2
    out, err = capsys.readouterr()
    assert not out and "there is no file 'pdudaemon.servic'; did you mean 'pdudaemon.service'?; there are" in err
