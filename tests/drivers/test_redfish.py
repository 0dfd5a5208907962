# SPDX-License-Identifier: MIT
"""The driver `redfish`: what BMCs do differently, and what of theirs is given back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdudaemon.drivers import hooks
from pdudaemon.drivers import redfish as module
from pdudaemon.drivers.readings import Identity, OutletReading
from pdudaemon.drivers.redfish import Redfish
from pdudaemon.drivers.redfishpdu import RedfishPDU
from pdudaemon.errors import PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.transports import redfish as transport
from tests.devices.base.device import Mood
from tests.devices.base.web import Answer, Request
from tests.devices.redfish import BMC, PASSWORD, SESSIONS, USER
from tests.devices.redfishpdu import RackPDU
from tests.support.action import begun, hurried, recognised
from tests.support.process import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOK", 0.02)
    monkeypatch.setattr(transport, "_NEXT_LOOK", 0.02)


def driver(device: Any, seconds: float = 120, **settings: Any) -> Redfish:
    place = {"driver": "redfish", "ip": f"127.0.0.1:{device.port}", "protocol": "http"}
    return begun(Redfish("node", {**place, "username": USER, "password": PASSWORD, **settings}), seconds)


def test_each_action_is_one_session_that_is_ended() -> None:
    with BMC() as bmc:
        made = driver(bmc)
        made.port_on(1)
        eventually(lambda: not bmc.open)
        methods = [(each.method, each.target) for each in bmc.requests]
        assert methods.count(("POST", SESSIONS)) == methods.count(("DELETE", f"{SESSIONS}/1")) == 1
        bmc.requests.clear()
        made.port_status(1)
        assert ("GET", "/redfish/v1/") not in [(each.method, each.target) for each in bmc.requests], "it is known"


def test_a_session_is_ended_after_a_failure_and_when_the_time_is_over() -> None:
    with BMC(Mood.REFUSING) as bmc:
        with pytest.raises(PermanentError, match=r"Reset: answered 403: The account may not do that$"):
            driver(bmc).port_on(1)
        eventually(lambda: not bmc.open)
    with BMC() as bmc:
        bmc.lag = 10000
        with pytest.raises(TransientError, match=r"^127.0.0.1:\d+: the system is not on after the order$"):
            hurried(driver(bmc), 0.5).port_on(1)
        eventually(lambda: not bmc.open and [each.method for each in bmc.requests][-1] == "DELETE")


def test_a_wrong_password_is_tried_once() -> None:
    with BMC() as bmc:
        with pytest.raises(PermanentError) as caught:
            driver(bmc, password="wrong").port_on(1)
        assert str(caught.value) == (
            f"login refused by 127.0.0.1:{bmc.port} at POST {SESSIONS} (401): The login was not right"
        )
        assert [each.target for each in bmc.requests].count(SESSIONS) == 1


def test_a_service_without_sessions() -> None:
    with BMC() as bmc:
        bmc.with_sessions, bmc.login = False, f"{USER}:{PASSWORD}"
        driver(bmc).port_on(1)
        assert bmc.outlets["1"] == "on"
        with pytest.raises(PermanentError, match=r"^login refused by \S+ at GET \S+ \(401\)$"):
            driver(bmc, password="wrong").port_status(1)


def test_what_is_so_already_is_not_told_again() -> None:
    with BMC() as bmc:
        for _ in range(2):
            driver(bmc).port_on(1)
        for _ in range(2):
            driver(bmc).port_off(1)
        assert bmc.resets == ["On", "ForceOff"]


def test_a_machine_that_takes_its_time() -> None:
    with BMC() as bmc:
        bmc.lag = 3
        driver(bmc).port_on(1)
        assert bmc.outlets["1"] == "on"
        bmc.states["1"] = "PoweringOff"
        assert driver(bmc).port_status(1) is State.UNKNOWN


@pytest.mark.parametrize("by_information", [False, True], ids=["in the action", "by ActionInfo"])
@pytest.mark.parametrize(
    ("restart", "takes", "reset"),
    [
        ("cycle", ["On", "ForceOff", "PowerCycle", "ForceRestart"], "PowerCycle"),
        ("cycle", ["On", "ForceOff", "ForceRestart"], "ForceRestart"),
        ("reset", ["On", "PowerCycle", "ForceRestart"], "ForceRestart"),
    ],
)
def test_reboots(restart: str, takes: list[str], reset: str, by_information: bool) -> None:
    with BMC() as bmc:
        bmc.takes, bmc.by_information = takes, by_information
        driver(bmc, restart=restart).port_reboot(1)
        assert bmc.resets == ["On"], "what is off is switched on"
        driver(bmc, restart=restart).port_reboot(1)
        assert bmc.resets == ["On", reset] and bmc.outlets["1"] == "on"


def test_resets_that_it_does_not_take() -> None:
    with BMC() as bmc:
        bmc.takes = ["ForceOn", "GracefulShutdown"]
        driver(bmc).port_on(1)
        assert bmc.resets == ["ForceOn"]
        with pytest.raises(
            PermanentError, match=r"takes none of PowerCycle, ForceRestart, but ForceOn, GracefulShutdown$"
        ):
            driver(bmc).port_reboot(1)
        with pytest.raises(PermanentError, match=r"takes none of ForceOff, but ForceOn, GracefulShutdown$"):
            driver(bmc).port_off(1)
        driver(bmc).port_shutdown(1)
        assert bmc.resets == ["ForceOn", "GracefulShutdown"]
    assert not hooks.traits(Redfish, {"driver": "redfish", "restart": "off-on"}).restarts


def test_a_task_is_waited_for() -> None:
    with BMC() as bmc:
        bmc.tasks = ["New", "Running", "Running", "Completed"]
        driver(bmc).port_on(1)
        assert bmc.tasks == [] and bmc.outlets["1"] == "on"
        bmc.tasks = ["Running", "Exception"]
        with pytest.raises(PermanentError, match=r"the task ended as Exception: The fan is on fire$"):
            driver(bmc, restart="reset").port_reboot(1)


def test_a_refusal_of_what_has_come_true_by_itself() -> None:
    class Early(BMC):
        def act(self, path: str, body: dict[str, Any]) -> Answer | None:
            super().act(path, body)
            return self.error(409, "Base.1.8.PropertyValueNotAllowed", "The server is already on")

    with Early() as bmc:
        driver(bmc).port_on(1)
        assert bmc.outlets["1"] == "on"


def test_several_machines_behind_one_bmc() -> None:
    with BMC(ids=("Node1", "Node2")) as bmc:
        driver(bmc).port_on("Node2")
        assert bmc.outlets == {"Node1": "off", "Node2": "on"}
        drawn = {"watts": 344.0, "watt_hours": 2500.0}
        assert driver(bmc).read_outlets() == [
            OutletReading("Node1", "web-Node1", State.OFF, **drawn),
            OutletReading("Node2", "web-Node2", State.ON, **drawn),
        ]
        with pytest.raises(PermanentError, match=r"has no system '1', but Node1, Node2$"):
            driver(bmc).port_on(1)


def test_watts_of_old_services() -> None:
    with BMC() as bmc:
        bmc.metrics = False
        assert driver(bmc).read_outlets() == [OutletReading("1", "web-437XR1138R2", State.OFF, watts=344.0)]


def test_links_that_lead_elsewhere_are_not_followed() -> None:
    """Whoever answers in the place of the BMC gets no session of somebody else."""

    class Elsewhere(BMC):
        def answer(self, request: Request) -> Answer:
            if request.target.startswith("/redfish/v1/Systems/"):
                return Answer(308, headers=("Location: http://192.0.2.1/redfish/v1/Systems/1",))
            return super().answer(request)

    with (
        Elsewhere() as bmc,
        pytest.raises(PermanentError, match=r"leads to 'http://192.0.2.1/.*not a place of its own$"),
    ):
        driver(bmc).port_status(1)


def test_a_redirection_within_the_service() -> None:
    class Slash(BMC):
        def answer(self, request: Request) -> Answer:
            if request.target == "/redfish/v1/Systems":
                return Answer(308, headers=("Location: /redfish/v1/Systems/",))
            if request.target == "/redfish/v1/Systems/":
                return self.told(self.resources()["/redfish/v1/Systems"])
            return super().answer(request)

    with Slash() as bmc:
        assert driver(bmc).port_status(1) is State.OFF


def test_a_busy_service_is_asked_again() -> None:
    class Busy(BMC):
        left = 2

        def answer(self, request: Request) -> Answer:
            if request.target == "/redfish/v1/Systems" and self.left:
                self.left -= 1
                return Answer(503, headers=("Retry-After: 1",))
            return super().answer(request)

    with Busy() as bmc:
        assert driver(bmc).port_status(1) is State.OFF


@pytest.mark.parametrize("said", ["[]", "{}", '{"Systems": 1}', '{"Systems": {"@odata.id": 5}}', '{"Links": []}'])
def test_roots_that_tell_nothing(said: str) -> None:
    class Odd(BMC):
        def _judged(self, request: Request) -> Answer:
            return Answer(200, said)

    with Odd() as bmc, pytest.raises((PermanentError, TransientError), match=r"^127.0.0.1:\d+ "):
        driver(bmc, username="").port_status(1)


def test_settings_of_trust() -> None:
    base = {"driver": "redfish", "username": "a", "password": "b"}
    assert not hooks.faults(Redfish, {**base, "fingerprint": ":".join(["ab"] * 32)})
    assert [*hooks.faults(Redfish, {**base, "fingerprint": "abc"})] == ["fingerprint"]
    assert hooks.faults(Redfish, {**base, "ca_file": "x", "insecure": True}) == {
        "insecure": "contradicts ca_file: one of them says what is trusted"
    }
    assert "PASSWORD" not in json.dumps(hooks.faults(Redfish, {**base, "restart": "x"}))


@pytest.mark.long
def test_recognised_without_a_login() -> None:
    with BMC() as bmc:
        found = recognised(Redfish, bmc.port)
        assert found is not None and found.identity == Identity("Contoso", "BMC")
        eventually(lambda: not bmc.open)
        assert found.settings == {"driver": "redfish", "protocol": "http", "ip": f"127.0.0.1:{bmc.port}"}
        assert recognised(RedfishPDU, bmc.port) is None
    with RackPDU() as pdu:
        assert recognised(Redfish, pdu.port) is None and not pdu.open
        found = recognised(RedfishPDU, pdu.port)
        assert found is not None and found.settings["driver"] == "redfish_pdu" and found.wants
