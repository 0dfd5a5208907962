# SPDX-License-Identifier: MIT
"""Which module a driver is in: found without importing all of them, and all the same whatever the table does not know."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pdudaemon.drivers import index, strategies
from tests.support.process import ROOT, install_plugin

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


PLUGIN = """
from pdudaemon.drivers.driver import PDUDriver

class Driver(PDUDriver):
    @classmethod
    def accepts(cls, drivername):
        return drivername == "installed"
"""

FIND = """
import sys
if "finder" in sys.argv:  # that of who has packages of another kind
    from importlib.metadata import DistributionFinder, PathDistribution
    from pathlib import Path
    class Finder(DistributionFinder):
        find_spec = staticmethod(lambda *_: None)
        find_distributions = staticmethod(lambda *_: [PathDistribution(each) for each in Path(sys.argv[2]).glob("*-info")])
    sys.meta_path.append(Finder())
from pdudaemon.drivers import strategies
try:
    print(strategies.find("installed").__module__, "installed" in strategies.names())
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["folder", "old folder", "archive", "finder", "none"])
def test_an_installed_driver_is_found_whatever_its_package_is(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    install_plugin(folder, "installedplugin", PLUGIN, {"installed": "Driver"})
    (made,) = folder.glob("*.dist-info")
    path = str(folder)
    if kind == "old folder":
        made.rename(made.with_suffix(".egg-info"))
    elif kind == "archive":
        path = shutil.make_archive(str(tmp_path / "archive"), "zip", folder)
    elif kind in ("finder", "none"):
        (tmp_path / "elsewhere").mkdir()
        made.rename(tmp_path / "elsewhere" / made.name)
    command = [sys.executable, "-c", FIND, kind, str(tmp_path / "elsewhere")]
    environment = {"PYTHONPATH": f"{ROOT}:{path}", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    found = "there is no driver 'installed'\n" if kind == "none" else "installedplugin True\n"
    assert (ran.stdout, ran.stderr) == (found, "")
