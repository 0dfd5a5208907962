# SPDX-License-Identifier: MIT
"""Credentials of systemd: secrets that only the service can see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pdudaemon.config import credentials, textfile
from pdudaemon.config.faults import Faults
from pdudaemon.errors import ConfigError
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


def test_a_secret_is_utf_8_wherever_the_daemon_runs_and_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "word").write_bytes("\ufeffgeheim: ä\r\n".encode())
    code = "import sys; from pathlib import Path; from pdudaemon.config import credentials as c; "
    code += f"found = c.resolved({{'password': {{'file': 'word'}}}}, Path({str(tmp_path)!r})); print(ascii(found['password']))"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ascii("geheim: ä")
    with pytest.raises(ValueError, match=r"password: the file '/dev/zero' cannot be read: is larger than \d+ bytes"):
        credentials.resolved({"password": {"file": "/dev/zero"}}, tmp_path)


def test_a_file_without_an_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "MOST", 1000)
    faults = Faults()
    with pytest.raises(ConfigError, match="/dev/zero: cannot be read: is larger than 1000 bytes"):
        textfile.read("/dev/zero", faults)
