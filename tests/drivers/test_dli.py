# SPDX-License-Identifier: MIT
"""Digital Loggers: relays that lag, pages and logins of several generations, and what only they have."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.dlihttp import DLIHttp
from pdudaemon.drivers.dlirest import DLIRest
from pdudaemon.drivers.readings import OutletReading
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from tests.devices.base.device import Mood
from tests.devices.dlihttp import CHALLENGE, PASSWORD, PowerSwitch
from tests.devices.dlirest import ProSwitch
from tests.support.action import begun, hurried, recognised
from tests.support.certificate import self_signed


def rest(device: ProSwitch, seconds: float = 120, **settings: Any) -> DLIRest:
    place = {"driver": "dli_rest", "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
    return begun(DLIRest("dli", {**place, **settings}), seconds)


def pages(device: PowerSwitch, seconds: float = 120, **settings: Any) -> DLIHttp:
    place = {"driver": "dli_http", "ip": f"127.0.0.1:{device.port}", "password": PASSWORD}
    return begun(DLIHttp("dli", {**place, **settings}), seconds)


def test_the_first_outlet_is_0_on_the_wire() -> None:
    with ProSwitch() as device:
        rest(device).port_on(1)
        assert [each.target for each in device.requests if each.method == "PUT"] == [
            "/restapi/relay/outlets/0/state/"
        ] * 2  # the first of them was asked for a login
        assert device.outlets["1"] == "on" and device.requests[-1].headers["x-csrf"]


def test_a_relay_that_lags_is_waited_for() -> None:
    with ProSwitch() as device:
        device.lag = 2
        rest(device).port_on(8)
        assert device.outlets["8"] == "on"
        device.lag = 1000
        with pytest.raises(TransientError, match=r"^port 8 is still on after off$"):
            hurried(rest(device), 0.4).port_off(8)


def test_over_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    self_signed(key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Secure(ProSwitch):
        def converse(self, connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                super().converse(secured)

    pinned = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
    with Secure() as device:
        for trust in ({"fingerprint": pinned}, {"ca_file": str(certificate)}, {"insecure": True}):
            device.outlets["5"] = "off"
            rest(device, protocol="https", **trust).port_on(5)
            assert device.outlets["5"] == "on"
        device.outlets["5"] = "off"
        with pytest.raises(PermanentError, match=r"^the certificate of \S+ is not trusted: "):
            rest(device, protocol="https").port_on(5)
        assert device.outlets["5"] == "off"


def test_an_outlet_that_is_not_there() -> None:
    with ProSwitch() as device, pytest.raises(PermanentError, match=r"outlets/8/state/: answered 404 Not Found$"):
        rest(device).port_on(9)


def test_a_model_without_meters() -> None:
    with ProSwitch() as device:
        device.metered = False
        assert rest(device).read_inlets() == []


def test_the_proof_of_the_form() -> None:
    assert hashlib.md5(b"abcadmin1234abc").hexdigest() == "8e51bc64745cde88dccbb8a0fa113cd9"
    with PowerSwitch() as device:
        pages(device).port_on(3)
        assert device.outlets["3"] == "on" and PASSWORD.encode() not in device.received
        assert CHALLENGE.encode() not in device.received
        with pytest.raises(PermanentError, match=r"^login refused by 127.0.0.1:\d+ at POST /login.tgi$"):
            pages(device, password="wrong").port_status(3)


@pytest.mark.parametrize("form", [True, False], ids=["form", "basic"])
@pytest.mark.parametrize("page", ["table", "comment", "status"])
def test_pages_of_all_generations(page: str, form: bool) -> None:
    with PowerSwitch(form=form, page=page) as device:
        made = pages(device)
        made.port_on(2)
        made.port_on(8)
        made.port_off(2)
        assert [*device.outlets.values()] == ["off"] * 7 + ["on"]
        names = device.names if page == "table" else {}
        assert made.read_outlets() == [
            OutletReading(port, names.get(port), State(state)) for port, state in device.outlets.items()
        ]
        assert made.port_status(8) is State.ON


def test_a_locked_outlet() -> None:
    with PowerSwitch(Mood.REFUSING, page="comment") as device:
        with pytest.raises(PermanentError, match=r"^outlet 4 is locked at the device$"):
            pages(device).port_on(4)
        assert pages(device).port_status(4) is State.OFF


def test_a_page_of_something_else() -> None:
    with PowerSwitch(page="none") as device, pytest.raises(TransientError, match=r"at GET /status: .*does not tell"):
        pages(device).port_status(4)


def test_pages_recognised_by_the_form_of_their_login() -> None:
    with PowerSwitch() as device:
        found = recognised(DLIHttp, device.port)
        assert found is not None and found.settings == {"driver": "dli_http", "ip": f"127.0.0.1:{device.port}"}
        assert b"login.tgi" not in device.received
    with ProSwitch() as better:
        assert recognised(DLIHttp, better.port) is None and recognised(DLIRest, better.port) is not None
