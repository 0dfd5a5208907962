# SPDX-License-Identifier: MIT
"""Which module a driver is in: found without importing all of them, and all the same whatever the table does not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pdudaemon.drivers import index, strategies
from tests.support.process import ROOT

HERE = """
from pdudaemon.drivers.driver import Numbered, PDUDriver

class Here(PDUDriver):
    models = {"just_put_here": 4}
    ports = Numbered(lambda row: row)
"""

ASK = """
import sys
from pdudaemon import drivers

def imported():
    return {each.removeprefix("pdudaemon.drivers.") for each in sys.modules} & {*index.DRIVERS.values()}

drivers.__path__.append(sys.argv[1])
from pdudaemon.drivers import index, strategies
assert not imported()
assert {"just_put_here", "dummy", "apc7952"} <= {*strategies.names()}
assert strategies.find("just_put_here").__module__ == "pdudaemon.drivers.here" and not imported()
assert strategies.find("shelly_gen2").__module__ == "pdudaemon.drivers.shelly" and imported() == {"shelly"}

from pdudaemon.drivers.driver import PDUDriver
try:
    class Second(PDUDriver):
        models = {"dummy": None}
except TypeError as error:
    print(error)
assert imported() == {"shelly", "dummy"}
assert strategies.find("clewareusbswitch4").models.keys() == {"ClewareUsbSwitch4"}
assert imported() == {*index.DRIVERS.values()}
"""


def test_a_driver_is_imported_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(HERE)
    ran = subprocess.run([sys.executable, "-c", ASK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("driver 'dummy' is defined by both Dummy and Second\n", "")


def test_files_that_are_no_more_are_a_fault_of_what_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a package is removed, or another release installed, and the daemon that runs reads its configuration."""
    monkeypatch.setitem(index.DRIVERS, "lost", "nowhere")
    with pytest.raises(ValueError, match=r"driver .lost. cannot be loaded: .*pdudaemon\.drivers\.nowhere"):
        strategies.find("lost")
