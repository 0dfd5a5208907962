# SPDX-License-Identifier: MIT
"""Credentials of systemd: secrets that only the service can see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pdudaemon.config import credentials
from tests.support.process import Daemon


def test_a_credential_that_only_the_service_can_see_is_no_fault(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    secret = {"credential": "apc"}
    values = {"driver": "platform", "power_on": "true", "values": {"word": secret}}
    checked = daemon(
        {
            "snmp": {"driver": "apc7952", "password": secret},
            "typed": {"driver": "dummy", "outlets": secret},
            "p": values,
        },
        start=False,
    )
    for arguments in (("--check",), ("--check-start",)):
        assert checked.run(*arguments).returncode == 0
    told = checked.run("--check").stdout
    for key in ("snmp.password", "typed.outlets", "p.values"):
        assert f"pdus.{key}: only the service can see this credential" in told
    assert "3 PDUs" in told and "no faults" in told
    checked.start()
    assert "only the service can see the credential 'apc'" in checked.power("on", "snmp", 1).text
    checked.stop()
    checked.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path)  # that of the service: what is not there is a fault
    assert "the credential 'apc' cannot be read" in checked.run("--check").stdout
    checked.environment.clear()
    checked.configure({"pdus": {"snmp": {"driver": "snmpv1", "community": {"credential": "../apc"}}}})
    assert checked.run("--check").returncode == 2


def test_a_credential_is_seen_however_deep_it_stands() -> None:
    nested: object = credentials.Placeholder("credential")
    for _ in range(100_000):
        nested = {"in": nested}
    assert credentials.placeholders({"a": nested, "b": {"c": "d"}}) == {"a"}
