# SPDX-License-Identifier: MIT
"""What drivers recognise, and the pages that they look at for that: each fetched once, and no login sent."""

from __future__ import annotations

from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers.driver import PDUDriver, hook
from pdudaemon.drivers.network import NetworkDevice
from pdudaemon.drivers.recognition import Recognised
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.transports import pages as transport
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.pages import Pages
from tests.devices import shelly
from tests.devices.base.device import Mood
from tests.support.process import eventually


def family(returned: Any) -> type[PDUDriver]:
    class Family(PDUDriver):
        models = {"a-family-of-test-recognition": None}

        @classmethod
        def probe(cls, address: str, deadline: Deadline, pages: Pages) -> Any:
            if isinstance(returned, Exception):
                raise returned
            return returned

    return Family


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        (RuntimeError("oops"), "the driver fails at probe: RuntimeError: oops"),
        (5, "the driver fails at probe: TypeError: it returned something of type 'int'"),
        (Recognised({"driver": object()}), "the driver fails at probe: TypeError"),
    ],
)
def test_a_driver_that_fails_is_a_fault_in_words(returned: Any, fault: str, words: None) -> None:
    with pytest.raises(ValueError, match=fault):
        hooks.recognised(family(returned), "192.0.2.1", Deadline(1), Pages("192.0.2.1", Deadline(1)))


def test_what_does_not_answer_is_none_of_the_family(words: None) -> None:
    asked = family(PermanentError("no"))
    assert hooks.recognises(asked) and not hooks.recognises(PDUDriver)
    assert hooks.recognised(asked, "192.0.2.1", Deadline(1), Pages("192.0.2.1", Deadline(1))) is None


def test_a_class_of_the_existing_daemon_is_not_asked() -> None:
    class Old(PDUDriver):
        @classmethod
        def accepts(cls, drivername: str) -> bool:
            return False

        @classmethod
        def probe(cls) -> None:  # type: ignore[override]
            raise AssertionError

    assert not hooks.recognises(Old)


def test_a_page_is_fetched_once() -> None:
    with shelly.Shelly() as device:
        pages = Pages(f"127.0.0.1:{device.port}", Deadline(10))
        assert pages.json("/shelly")["gen"] == pages.json("/shelly")["gen"] == 2
        assert pages.get("/nothing", port=443) is not None  # the port of the address is the only one
        assert [request.target for request in device.requests] == ["/shelly", "/nothing"]
        assert pages.server == "a web server"


def test_a_server_that_does_not_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_PATIENCE", 0.8)
    with shelly.Shelly(Mood.DEAF) as device:
        pages = Pages(f"127.0.0.1:{device.port}", Deadline(30))
        assert pages.get("/") is pages.get("/shelly") is pages.get("/rpc") is None
        assert pages.silent and pages.server == ""
        eventually(lambda: device.sessions == 1)


@pytest.mark.parametrize("port", [22, 23, 1234, 9999, 17494])
def test_what_is_no_web_server_is_not_sent_a_request(port: int) -> None:
    assert Pages(f"192.0.2.1:{port}", Deadline(60)).get("/") is None


class Acting(NetworkDevice):
    """Says what it lacks as a test wants it."""

    said: Any = None

    @hook
    def lacks(self) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.mark.parametrize("said", [None, "", "the program x is not installed"])
def test_what_a_driver_lacks(said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acting, "said", said)
    assert hooks.lacks(Acting, {}) == said


@pytest.mark.parametrize("said", [5, ["x"], RuntimeError("oops")])
def test_what_a_driver_must_not_say_it_lacks(said: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Acting, "said", said)
    with pytest.raises(ValueError, match="the driver fails at lacks: "):
        hooks.lacks(Acting, {})


def test_a_hook_without_its_mark_is_told() -> None:
    with pytest.raises(TypeError, match="`lacks` is asked before there is a device: write @hook above it"):

        class Unmarked(NetworkDevice):
            def lacks(self) -> str:  # type: ignore[override]
                return ""


def test_what_a_driver_raises_outside_the_engine_is_an_error_of_a_device() -> None:
    def fails(error: BaseException) -> None:
        raise error

    for error, kind, words in (
        (PermanentError("no"), PermanentError, "no"),
        (ZeroDivisionError("x"), TransientError, "ZeroDivisionError: x"),
        (SystemExit(3), TransientError, "SystemExit: 3"),
    ):
        with pytest.raises(kind, match=f"^{words}$"):
            hooks.carried_out(lambda error=error: fails(error))
