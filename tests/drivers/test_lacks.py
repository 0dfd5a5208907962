# SPDX-License-Identifier: MIT
"""What drivers act through: whoever has a program run, or speaks by a broker, says whether that is there.

Such drivers are found by what their modules import, so that the next one is not forgotten.
"""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers import hooks, strategies
from pdudaemon.drivers.driver import PDUDriver
from tests.devices.base.device import Mood
from tests.devices.base.families import FAMILIES
from tests.support.ports import free_ports
from tests.support.process import ROOT

FAKES = {name: family for family in FAMILIES for name in family.NAMES}
THROUGH = {f"pdudaemon.transports.{name}" for name in ("command", "console", "mqtt", "ssh", "terminal")}
OWN: dict[str, dict[str, Any]] = {
    "localcmdline": {"cmd_on": "no-such-program-here %s"},
    "platform": {"power_on": "true", "restart": "no-such-program-here"},
}
HERE: dict[str, dict[str, Any]] = {
    "localcmdline": {"cmd_on": "true %s"},
    "platform": {"power_on": "cd /; true", "status": "test -e $X"},
}


IMPORT = re.compile(r"^\s*from (pdudaemon\.[\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)


@functools.cache
def imported(name: str) -> frozenset[str]:
    """Return the modules that a module imports, and those that the drivers among these do."""
    found: set[str] = set()
    for module, names in IMPORT.findall(_path(name).read_text()):
        inner = (f"{module}.{each}" for each in re.findall(r"\w+", names))
        found |= {module, *(each for each in inner if _path(each).exists())}
    for each in [*found]:
        if each.startswith("pdudaemon.drivers."):
            found |= imported(each)
    return frozenset(found)


@functools.cache
def _path(name: str) -> Path:
    """Return where a module is, or would be."""
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def acting() -> list[str]:
    """Return the drivers that act through a program or a broker."""
    found = []
    for name in strategies.names():
        modules = {
            base.__module__ for base in strategies.find(name).__mro__ if base.__module__.startswith("pdudaemon.")
        }
        if THROUGH & {*modules, *(each for module in modules for each in imported(module))}:
            found.append(name)
    return found


ACTING = acting()


def test_drivers_that_are_known_to_act_through_something_are_found() -> None:
    known = {"acme", "apc_cli", "bcu", "fence", "kasa", "localcmdline", "platform", "uhubctl", "wti_cli", "zigbee2mqtt"}
    assert known <= {*ACTING} and not {"dummy", "netio4", "apc7952", "snmpv1", "shelly_gen2"} & {*ACTING}


@pytest.mark.parametrize("name", ACTING)
def test_it_says_what_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = strategies.find(name)
    assert driver.lacks is not PDUDriver.lacks, f"{name} acts through a program or a broker, and does not say so"
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    (port,) = free_ports(1)
    if name in OWN:
        said = hooks.lacks(driver, {"driver": name, **OWN[name]})
        assert said is not None and said.endswith("the shell knows no command no-such-program-here")
        return
    with FAKES[name].case(name, Mood.WELL) as case:
        settings = {key: value for key, value in case.settings.items() if key != "transport"}
        if "pdudaemon.transports.mqtt" in imported(driver.__module__):
            settings |= {"ip": "127.0.0.1", "port": port}
        if name == "baytech_cli":
            settings["transport"] = "ssh"
        said = hooks.lacks(driver, settings)
    assert said and "\n" not in said and ("is not installed" in said or said.startswith("there is no broker"))


@pytest.mark.parametrize("name", ACTING)
def test_it_says_when_all_is_there(name: str) -> None:
    driver = strategies.find(name)
    if name in HERE:
        assert hooks.lacks(driver, {"driver": name, **HERE[name]}) == ""
        return
    with FAKES[name].case(name, Mood.WELL) as case:
        assert hooks.lacks(driver, case.settings) == ""


@pytest.mark.parametrize("name", ["icstation-4", "lcus-1", "reset_cable"])
def test_a_line_that_cannot_be_read(name: str) -> None:
    """Nothing that is asked of these would tell that there is none."""
    driver = strategies.find(name)
    with FAKES[name].case(name, Mood.WELL) as case:
        assert hooks.lacks(driver, case.settings) == ""
    assert hooks.lacks(driver, {"driver": name, "device": "/dev/absent"}) == "there is no serial line /dev/absent"
    assert hooks.lacks(driver, {"driver": name, "device": "socket://192.0.2.1:1"}) is None
