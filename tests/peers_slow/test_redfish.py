# SPDX-License-Identifier: MIT
"""The driver `redfish` against the emulator of sushy-tools, over TLS with a certificate of its own."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pdudaemon.drivers.redfish import Redfish
from pdudaemon.errors import PermanentError
from pdudaemon.power import State
from tests.peers.redfish import BMC, sushy
from tests.support.action import begun
from tests.support.process import Daemon


def driver(bmc: BMC, **settings: Any) -> Redfish:
    place = {"driver": "redfish", "ip": urlsplit(bmc.url).netloc, "username": bmc.user, "password": bmc.password}
    return begun(Redfish("node", {**place, **settings}), 90)


def test_an_emulator_that_nobody_here_wrote(tmp_path: Path) -> None:
    with sushy(tmp_path / "bmc", "admin", 'pa"ss\\wo:rd') as bmc:
        made = driver(bmc, ca_file=str(bmc.certificate))
        assert made.port_status(1) is State.OFF
        made.port_on(1)
        assert bmc.power == "On"
        made = driver(bmc, ca_file=str(bmc.certificate), restart="reset")
        made.port_reboot(1)
        assert bmc.power == "On"
        made.deadline = begun(made, 90).deadline
        made.port_off(1)
        assert bmc.power == "Off"

        (outlet,) = driver(bmc, ca_file=str(bmc.certificate)).read_outlets()
        assert (outlet.port, outlet.state) == ("1", State.OFF) and outlet.name
        pinned = hashlib.sha256(ssl.PEM_cert_to_DER_cert(bmc.certificate.read_text())).hexdigest()
        assert driver(bmc, fingerprint=pinned).port_status(1) is State.OFF
        assert driver(bmc, insecure=True).port_status(1) is State.OFF
        with pytest.raises(PermanentError, match=r"^the certificate of \S+ is not trusted: its fingerprint is "):
            driver(bmc, fingerprint="00" * 32).port_on(1)
        with pytest.raises(PermanentError, match=r"^the certificate of \S+ is not trusted: "):
            driver(bmc).port_on(1)
        with pytest.raises(PermanentError, match=r"^login refused by \S+ "):
            driver(bmc, insecure=True, password="wrong").port_on(1)
        assert bmc.power == "Off"


def test_a_machine_that_is_asked_to_shut_down(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    with sushy(tmp_path / "bmc", "admin", "secret", power="On") as bmc:
        settings = {"driver": "redfish", "ip": urlsplit(bmc.url).netloc, "ca_file": str(bmc.certificate)}
        lab = daemon({"bmc": {**settings, "username": "admin", "password": "secret"}})
        for action, power in (("off", "Off"), ("reboot", "On")):
            body = json.dumps({"hostname": "bmc", "port": 1, "action": action, "soft": 60})
            answer = lab.http("/api/v1/requests", "POST", body, Content_Type="application/json").json
            assert answer["state"] == "done" and bmc.power == power
            told = "was off already" if action == "reboot" else "shut down by itself after "
            assert answer["reason"].startswith(told)
