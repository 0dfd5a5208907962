# SPDX-License-Identifier: MIT
"""A BMC with Redfish, as DSP0266 has it: sessions, systems and chassis, resets that take their time, tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["redfish", "redfish_chassis"]
MOODS = [*Mood]
USER, PASSWORD = "admin", "redfish:secret"
TOKEN = "0123456789abcdef"
SESSIONS = "/redfish/v1/SessionService/Sessions"
RESETS = {"On": "on", "ForceOn": "on", "ForceOff": "off", "GracefulShutdown": "off", "PushPowerButton": "toggle"}
RESETS |= {"PowerCycle": "on", "ForceRestart": "on"}


def link(path: str) -> dict[str, str]:
    """Return a link."""
    return {"@odata.id": path}


class RedfishService(WebDevice):
    """What all services have: a root without a login, sessions, errors. A subclass has ``resources`` and ``act``.

    ``with_sessions``: else it takes Basic. ``asked`` are the requests that were let in, without those for sessions.
    """

    def __init__(self, mood: Mood = Mood.WELL, with_sessions: bool = True) -> None:
        password = "changed" if mood is Mood.WRONG_PASSWORD else PASSWORD
        super().__init__(mood, "" if with_sessions else f"{USER}:{password}")
        self.with_sessions = with_sessions
        self.password = password
        self.open: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.tasks: list[str] = []  # states that a task has, one a look; none: an order is answered with 204

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return what there is, by path."""
        raise NotImplementedError

    def act(self, path: str, body: dict[str, Any]) -> Answer | None:
        """Carry out an action; None if there is no such."""
        raise NotImplementedError

    def root(self) -> dict[str, Any]:
        """Return what the first resource has of sessions and features."""
        links = {"Sessions": link(SESSIONS)} if self.with_sessions else {}
        return {"RedfishVersion": "1.9.0", "Vendor": "Contoso", "Product": "BMC", "Links": links}

    def _judged(self, request: Request) -> Answer:
        if request.target == "/redfish/v1/" and self.mood is not Mood.BUSY:  # no login is wanted
            return self.told({**self.root(), **self.resources()["/redfish/v1/"]})
        return super()._judged(request)

    def answer(self, request: Request) -> Answer:
        if self.with_sessions:
            if request.target == SESSIONS and request.method == "POST":
                return self.log_in(json.loads(request.body))
            path = request.target
            if request.headers.get("x-auth-token") not in self.open:
                return self.error(401, "Base.1.8.NoValidSession", "There is no valid session")
            if path.startswith(SESSIONS + "/") and request.method == "DELETE":
                self.open.discard(request.headers["x-auth-token"])
                return Answer(204)
        self.asked.append((request.method, request.target))
        if request.target == "/redfish/v1/TaskService/TaskMonitors/1":
            return self.task()
        if request.method == "POST":
            done = self.act(request.target, json.loads(request.body))
            if done is None:
                return self.error(404, "Base.1.8.ResourceMissingAtURI", "There is no such action")
            if done.status == 204 and self.tasks:
                return Answer(202, "{}", ("Location: /redfish/v1/TaskService/TaskMonitors/1", "Retry-After: 0"))
            return done
        path, _, query = request.target.partition("?")
        found = self.resources().get(path)
        if found is None or request.method != "GET":
            return self.error(404, "Base.1.8.ResourceMissingAtURI", f"There is nothing at {path}")
        if "$expand" in query:
            whole = [self.resources()[each["@odata.id"]] for each in found["Members"]]
            found = {**found, "Members": whole}
        return self.told(found)

    def log_in(self, body: dict[str, str]) -> Answer:
        """Open a session."""
        if (body.get("UserName"), body.get("Password")) != (USER, self.password):
            return self.error(401, "Base.1.8.AccessDenied", "The login was not right")
        self.open.add(TOKEN)
        return Answer(201, "{}", (f"X-Auth-Token: {TOKEN}", f"Location: {SESSIONS}/1"))

    def task(self) -> Answer:
        """Tell how far the task is."""
        state = self.tasks.pop(0)
        ended = not self.tasks or state in ("Completed", "Exception")
        messages = [{"Message": "The fan is on fire"}] if state == "Exception" else []
        return Answer(200 if ended else 202, json.dumps({"TaskState": state, "Messages": messages}))

    @staticmethod
    def error(status: int, code: str, message: str) -> Answer:
        """Return an error as Redfish tells it."""
        extended = [{"MessageId": code, "Message": message}]
        body = {"error": {"code": "Base.1.8.GeneralError", "message": "See", "@Message.ExtendedInfo": extended}}
        return Answer(status, json.dumps(body))

    @staticmethod
    def told(what: object) -> Answer:
        """Return an answer."""
        return Answer(200, json.dumps(what), ("Content-Type: application/json",))


class BMC(RedfishService):
    """A BMC, of one machine or of several, by their ids.

    ``takes`` are the resets that a machine takes, told in its action, or, ``by_information``, where that leads.
    ``lag``: how many looks a change takes. ``watts``: told in the way of ``metrics`` of new services, or of old ones.
    """

    def __init__(self, mood: Mood = Mood.WELL, kind: str = "Systems", ids: tuple[str, ...] = ("437XR1138R2",)) -> None:
        super().__init__(mood)
        self.kind = kind
        self.ids = ids
        self.ports = {"1": ids[0]} if len(ids) == 1 else {each: each for each in ids}
        self.outlets = dict.fromkeys(self.ports, "off")
        self.takes = ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle"]
        self.by_information = False
        self.lag = 0
        self.heeds = True  # whether a machine that is asked to shut down does
        self.metrics = True
        self.resets: list[str] = []
        self.states: dict[str, str] = {}  # port -> PowerState, where it is another than the outlet's
        self._moving: dict[str, tuple[str, int]] = {}

    def resources(self) -> dict[str, dict[str, Any]]:
        action = "ComputerSystem.Reset" if self.kind == "Systems" else "Chassis.Reset"
        there: dict[str, dict[str, Any]] = {
            "/redfish/v1/": {"Systems": link("/redfish/v1/Systems"), "Chassis": link("/redfish/v1/Chassis")},
            f"/redfish/v1/{self.kind}": {"Members": [link(f"/redfish/v1/{self.kind}/{each}") for each in self.ids]},
            "/redfish/v1/Managers/BMC": {"FirmwareVersion": "2.45"},
            "/redfish/v1/Chassis/1U": {**link("/redfish/v1/Chassis/1U"), **self.measured()},
            "/redfish/v1/Chassis/1U/EnvironmentMetrics": {
                "PowerWatts": {"Reading": 344},
                "EnergykWh": {"Reading": 2.5},
            },
            "/redfish/v1/Chassis/1U/Power": {"PowerControl": [{"PowerConsumedWatts": 344}]},
            "/redfish/v1/Info": {
                "Parameters": [{"Name": "Other"}, {"Name": "ResetType", "AllowableValues": self.takes}]
            },
        }
        told = (
            {"@Redfish.ActionInfo": "/redfish/v1/Info"}
            if self.by_information
            else {"ResetType@Redfish.AllowableValues": self.takes}
        )
        for port, each in self.ports.items():
            path = f"/redfish/v1/{self.kind}/{each}"
            there[path] = {
                **link(path),
                "Id": each,
                "Name": "Server",
                "HostName": f"web-{each}",
                "Manufacturer": "Contoso",
                "Model": "3500",
                "SerialNumber": "S42",
                "PowerState": self.states.get(port, self.outlets[port].capitalize()),
                "Links": {"Chassis": [link("/redfish/v1/Chassis/1U")], "ManagedBy": [link("/redfish/v1/Managers/BMC")]},
                "Actions": {f"#{action}": {"target": f"{path}/Actions/{action}", **told}},
            }
            if self.kind == "Chassis":
                there[path] |= self.measured()
        return there

    def measured(self) -> dict[str, Any]:
        """Return where the readings of a chassis are."""
        place = "EnvironmentMetrics" if self.metrics else "Power"
        return {place: link(f"/redfish/v1/Chassis/1U/{place}")}

    def answer(self, request: Request) -> Answer:
        if request.method == "GET" and re.fullmatch(rf"/redfish/v1/{self.kind}/[^/]+", request.target):
            for port, (state, looks) in [*self._moving.items()]:
                if looks:
                    self._moving[port] = (state, looks - 1)
                else:
                    self.outlets[port] = state
                    self.states.pop(port, None)
                    del self._moving[port]
        return super().answer(request)

    def act(self, path: str, body: dict[str, Any]) -> Answer | None:
        found = re.fullmatch(rf"/redfish/v1/{self.kind}/([^/]+)/Actions/(?:ComputerSystem|Chassis)\.Reset", path)
        port = next((port for port, each in self.ports.items() if found and each == found[1]), "")
        if not port:
            return None
        reset = body.get("ResetType")
        if self.mood is Mood.REFUSING:
            return self.error(403, "Base.1.8.InsufficientPrivilege", "The account may not do that")
        if reset not in self.takes:
            return self.error(400, "Base.1.8.ActionParameterNotSupported", f"ResetType {reset} is not supported")
        self.resets.append(reset)
        if reset in ("PowerCycle", "ForceRestart") and self.outlets[port] == "off":
            return self.error(409, "Base.1.8.ResourceInUse", "The server is off")
        if reset == "GracefulShutdown" and not self.heeds:
            return Answer(204)
        state = RESETS[reset]
        if state == "toggle":
            state = "off" if self.outlets[port] == "on" else "on"
        if self.lag:
            self._moving[port] = (state, self.lag)
            self.states[port] = "PoweringOn" if state == "on" else "PoweringOff"
        else:
            self.outlets[port] = state
        return Answer(204)


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a BMC of one machine."""
    with BMC(mood, "Systems" if name == "redfish" else "Chassis") as device:
        settings: dict[str, Any] = {"driver": name, "ip": f"127.0.0.1:{device.port}", "protocol": "http"}
        settings |= {"username": USER, "password": PASSWORD}
        yield Case(
            device,
            "node1",
            settings,
            ["1"],
            ["a b", "-1", "x/y", "..", ""],
            [PASSWORD],
            names={"1": "web-437XR1138R2"},
            readings={"1": {"watts": 344, "watt_hours": 2500}},
            identity=("Contoso", "3500", "S42", "2.45"),
        )
