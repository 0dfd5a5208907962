# SPDX-License-Identifier: MIT
"""``pdudaemon --list-drivers WORDS``: by name, maker or model; and that every driver can be found so."""

from __future__ import annotations

import pytest

from pdudaemon.catalogue import about, search
from pdudaemon.cli import main
from pdudaemon.drivers import strategies
from pdudaemon.drivers.snmp.found import FoundOut
from pdudaemon.drivers.snmpoutlet import SNMPDriver


def found(*words: str) -> set[str]:
    return {name for name, _ in search(words)}


def test_by_name_maker_and_model() -> None:
    assert {"apc_rpdu2", "apc8959"} <= found("ap8")
    assert {"apc_rpdu2"} <= found("AP8641") & found("ap86") & found("apdu9953")
    assert {"apc_rpdu2"} <= found("ap85") & found("ap8841x") & found("AP8999")
    for other in ("ap7641", "ap90", "ap9", "apx8641", "8641"):
        assert "apc_rpdu2" not in found(other), other
    assert "gude" in found("gude", "8035") and "gude" not in found("gude", "8046")
    assert "bachmann_bluenet2" in found("BN5000") and "bachmann_bluenet2" not in found("BN9501") | found("BN500")
    assert "apc_rpdu" in found("ap7920")
    assert {"raritan_px1", "raritan_px2", "xerus"} <= found("raritan") and "apc_rpdu2" not in found("raritan")
    assert found("shelly", "plug") == found("shelly plug") and "shelly_gen2" in found("shelly plug")
    assert "LindyIPowerClassic8" in found("LINDY", "32657") and "tasmota" in found("tasmota")
    assert found("switched", "server technology") and not found("no maker of that name")


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-drivers", "shelly", "plug"]) == 0
    assert "shelly_gen2: Shelly switches and plugs of the second generation" in capsys.readouterr().out
    assert main(["--list-drivers", "apc_rpdu2"]) == 0
    one = capsys.readouterr().out
    assert one.startswith("apc_rpdu2: APC Rack PDU 2G") and "  snmpport" in one
    assert main(["--list-drivers", "no", "such", "maker"]) == 2
    assert "no driver is known for 'no such maker'" in capsys.readouterr().err


MAKERLESS = {"poe_snmp", "ifmib"}  # of whoever makes a switch


@pytest.mark.parametrize("name", strategies.names())
def test_every_driver_has_maker_and_models(name: str) -> None:
    driver = strategies.find(name)
    words = about(name, driver)
    assert len(words) > 8 and words == words.strip() and "\n" not in words
    if issubclass(driver, SNMPDriver) and driver is not FoundOut and name in driver.models and "snmpv" not in name:
        row = driver.models[name]
        assert row.about, "a row says in `about` for which models it is"
        makers = {each.labels.maker for each in row.variants or (row,)}
        assert "" not in makers or name in MAKERLESS, "a row says in `labels` who makes it"
        assert all(maker in words for maker in makers)
