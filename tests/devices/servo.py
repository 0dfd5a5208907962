# SPDX-License-Identifier: MIT
"""servod: the XML-RPC methods ``set`` and ``get``, and the controls of a board. A board runs while it is not reset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.devices.base.device import Case, Mood
from tests.devices.base.web import Answer, Request, WebDevice

NAMES = ["SERVO"]
MOODS = [Mood.WELL, Mood.DEAF, Mood.REFUSING, Mood.GARBLED, Mood.SLOW, Mood.BUSY, Mood.GONE]

INVERSE = {"on": "off", "off": "on"}


class Servod(WebDevice):
    """One board: cold_reset is what its only outlet hangs on, the other controls are in ``controls``."""

    def __init__(self, mood: Mood = Mood.WELL) -> None:
        super().__init__(mood)
        self.outlets = {"1": "off"}
        self.controls = {"warm_reset": "on", "power_state": "off"}
        self.calls: list[tuple[str, ...]] = []
        self.returns = "<boolean>1</boolean>"

    def answer(self, request: Request) -> Answer:
        if request.method != "POST" or request.target not in ("/", "/RPC2"):
            return Answer(404)
        if request.headers.get("content-type") != "text/xml":
            return Answer(400)
        method = re.findall(r"<methodName>(\w+)</methodName>", request.body.decode())
        words = re.findall(r"<param>\s*<value><string>(\w+)</string></value>\s*</param>", request.body.decode())
        self.calls.append((*method, *words))
        control = words[0]
        if self.mood is Mood.REFUSING or control not in ("cold_reset", *self.controls):
            return fault(f"&lt;class 'NameError'&gt;:No control named {control}")
        if method == ["set"]:
            self.put(control, words[1])
            return value(self.returns)
        if control == "power_state":
            return fault("power_state can not be read")
        return value(f"<string>{self.controls.get(control, INVERSE[self.outlets['1']])}</string>")

    def put(self, control: str, word: str) -> None:
        """Set a control."""
        if control == "cold_reset":
            self.outlets["1"] = INVERSE[word]
        else:
            self.controls[control] = word


def value(xml: str) -> Answer:
    """Return what a method returns."""
    head = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n"
    return Answer(200, f"{head}<value>{xml}</value>\n</param>\n</params>\n</methodResponse>\n")


def fault(text: str) -> Answer:
    """Return how a method fails."""
    members = (
        "<member><name>faultCode</name><value><int>1</int></value></member>"
        f"<member><name>faultString</name><value><string>{text}</string></value></member>"
    )
    xml = f"<methodResponse><fault><value><struct>{members}</struct></value></fault></methodResponse>"
    return Answer(200, f"<?xml version='1.0'?>\n{xml}\n")


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Run a board's daemon."""
    with Servod(mood) as device:
        settings = {"driver": name, "ip": "127.0.0.1", "port": str(device.port), "ctrls": ["cold_reset"]}
        yield Case(device, "board", settings, [*device.outlets], ["a/b", "-1", "a.b"])
