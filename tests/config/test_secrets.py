# SPDX-License-Identifier: MIT
"""Secrets by reference, everywhere: each setting that is declared as one may stand in a file, or be a credential.

They are found by their declarations, so that a driver which is new is tried as well.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pdudaemon.config import reader, schema
from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.sites import SiteOptions
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.errors import ConfigError
from pdudaemon.settings import Setting, declared
from tests.devices.base.device import Mood
from tests.devices.base.families import FAMILIES
from tests.support.sampling import some

DRIVERS = sorted(
    {strategies.find(name) for name in strategies.names()}, key=lambda each: (each.__module__, each.__qualname__)
)
SCHEMA = jsonschema.Draft202012Validator(schema.schema())
TEXT = "0123456789abcdef0123456789ABCDEF"  # which every one of them takes: a text, hex digits, a passphrase


def secrets(driver: type[PDUDriver]) -> dict[str, Setting[Any]]:
    """Return the settings of a driver that are secrets."""
    return {name: each for name, each in declared(driver).items() if each.secret and not each.obsolete}


def once_declared() -> list[tuple[type[PDUDriver], str]]:
    """Return each secret with a driver that has it, and with some of those that have it from the same place."""
    alike: dict[int, list[tuple[type[PDUDriver], str]]] = {}
    for driver in DRIVERS:
        for name, setting in secrets(driver).items():
            alike.setdefault(id(setting), []).append((driver, name))
    return [each for those in alike.values() for each in some(those, 7)]


DECLARED = once_declared()


def needed(driver: type[PDUDriver]) -> dict[str, Any]:
    """Return settings with which a PDU of a driver has no faults, as a test of the driver has them."""
    for family in FAMILIES:
        if names := [name for name in family.NAMES if name in driver.models]:
            with family.case(names[0], Mood.WELL) as case:
                return {**case.settings, "driver": names[0]}
    return {"driver": next(iter(driver.models))}


def loaded(folder: Path, pdu: dict[str, Any], checking: bool = False) -> reader.Config:
    path = folder / "pdudaemon.conf"
    path.write_text(json.dumps({"daemon": {}, "pdus": {"one": pdu}}))
    return reader.load(str(path), checking=checking)


@pytest.mark.parametrize(("driver", "name"), DECLARED, ids=[f"{driver.__name__}.{name}" for driver, name in DECLARED])
def test_a_secret_may_stand_elsewhere(
    driver: type[PDUDriver], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "word").write_text(f"{TEXT}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = needed(driver)
    plain = PDUDriver.configured.__func__(driver, {**settings, name: whole(settings, name, TEXT)})  # type: ignore[attr-defined]
    for elsewhere in ({"file": "word"}, {"file": str(tmp_path / "word")}, {"credential": "word"}):
        given = {**settings, name: whole(settings, name, elsewhere)}
        conf = loaded(tmp_path, given)
        assert conf.faults == (), given
        pdu = conf.pdus["one"]
        assert getattr(driver.configured(pdu.settings), name) == getattr(plain, name)
        assert any(TEXT in each for each in pdu.secrets)
        assert TEXT not in repr(pdu) + repr(conf)
    assert SCHEMA.is_valid({"pdus": {"one": given}})
    lost = loaded(tmp_path, {**settings, name: whole(settings, name, {"file": "none"})})
    assert any(re.search(r"the file 'none' cannot be read: No such file", str(each)) for each in lost.faults)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")  # as for whoever looks at the configuration of the service
    seen = loaded(tmp_path, {**settings, name: whole(settings, name, {"credential": "word"})}, checking=True)
    assert seen.faults == () and "only the service can see this credential" in str(seen.warnings)


def whole(settings: dict[str, Any], name: str, value: object) -> object:
    """Return the value of a setting: some have several secrets, by names."""
    return {"X-Key": value} if isinstance(settings.get(name), dict) or name == "headers" else value


# Settings that sound like secrets, and what they are instead.
NO_SECRETS = {
    "sshkey": "the path of a file",
    "hostkeys": "whether keys of hosts must be known",
    "verify_hostkey": "whether the key of a host must be known",
    "auth_protocol": "the name of an algorithm",
    "priv_protocol": "the name of an algorithm",
    "privilege": "a level",
    "login_version": "a number",
}
SOUNDS = re.compile(r"pass|token|secret|key|community|\bpin\b|psk|credential|auth|priv|cookie|header|login|kg")


def test_what_sounds_like_a_secret_is_one() -> None:
    for options in (*DRIVERS, BrokerOptions, SiteOptions):
        for name, setting in declared(options).items():
            if SOUNDS.search(name) and not setting.secret and not setting.obsolete:
                assert name in NO_SECRETS, f"{options.__name__}.{name}: {setting.help}"


def test_secrets_that_are_no_pdu_s(tmp_path: Path) -> None:
    (tmp_path / "word").write_text(TEXT)
    path = tmp_path / "pdudaemon.conf"
    broker = {"host": "broker", "password": {"file": "word"}}
    sites = {"north": {"url": "https://north:16421", "token": {"file": "word"}}}
    platform = {"driver": "platform", "power_on": "true", "values": {"IPMI_PASSWORD": {"file": "word"}}}
    written = {"daemon": {}, "mqtt": broker, "sites": sites, "pdus": {"bmc": platform}}
    path.write_text(json.dumps(written))
    conf = reader.load(str(path))
    assert conf.faults == () and TEXT not in repr(conf)
    assert conf.broker is not None and conf.broker.password == TEXT
    assert conf.sites["north"].token == TEXT
    assert conf.pdus["bmc"].settings["values"]["IPMI_PASSWORD"] == TEXT
    assert SCHEMA.is_valid(written)


def test_a_secret_that_its_setting_does_not_take_is_not_shown(tmp_path: Path) -> None:
    """However short it is: what stands in a file is a secret, whatever it was given for."""
    (tmp_path / "word").write_text("pw")
    path = tmp_path / "pdudaemon.conf"
    word = {"file": "word"}
    pdus = {"a": {"driver": "dummy", "retries": word}, "b": {"driver": "dummy", "outlets": word, "locked": word}}
    path.write_text(json.dumps({"mqtt": {"host": "broker", "port": word}, "sites": {"n": {"url": word}}, "pdus": pdus}))
    with pytest.raises(ConfigError) as caught:
        reader.load(str(path))
    told = str(caught.value)
    assert told.count("is not usable as given (which must not be shown)") == 5 and "'pw'" not in told, told
