# SPDX-License-Identifier: MIT
"""Whatever a fence agent of ClusterLabs drives (``fence_apc_snmp``, ``fence_ipmilan``, …): some 80 kinds of devices.

An agent gets its options on standard input, so that a password is in no argument and no environment. Which options it
has, it says itself: one that it does not have is refused, since it would only be passed over. An agent that wants a
``plug`` gets the port as that; any other is for one machine, whose port is ``1``.

Source: the fence agents' interface as they document it, and what they print as metadata.
Tested: with Debian's fence_dummy, fence_apc_snmp against net-snmp's agent and fence_ipmilan against ipmi_sim; with a
program that stands in for an agent.
Quirks: an agent takes its time, and has time-outs of its own (``login_timeout``, ``power_timeout``). States and names
of all plugs come at once where an agent's ``list-status`` looks at them, else one by one. Watts are not told.

    "rack": {"driver": "fence", "agent": "fence_apc_snmp", "options": {"ip": "192.0.2.82", "community": "private"}},
    "gw1": {"driver": "fence", "agent": "fence_ipmilan",
            "options": {"ip": "192.0.2.83", "username": "admin", "password": "secret", "lanplus": 1}}
"""

from __future__ import annotations

import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from pdudaemon.drivers.driver import Named, PDUDriver, hook
from pdudaemon.drivers.ports import decimal
from pdudaemon.drivers.readings import Identity, OutletReading, label
from pdudaemon.errors import DeviceError, DeviceTimeout, LoginRefused, PermanentError, TransientError
from pdudaemon.power import State
from pdudaemon.settings import Kind, Setting, near, text
from pdudaemon.transports import command
from pdudaemon.transports.command import Output

_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"  # where agents are, and a user's PATH is not
_OURS = ("action", "plug", "port")  # what we say ourselves
_OFF = 2  # the exit status for: off; and for bad arguments, but with other words
_SAYS_OFF, _SAYS_ON = (re.compile(rf"^Status: {word}\s*$", re.MULTILINE) for word in ("OFF", "ON"))
_REFUSED = {3: "login refused", 10: "it wants a password", 11: "the user may not do that", 12: "it wants a UUID"}
_NOT_LET_IN = (3, 10, 11)
_NOISE = re.compile(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ )?(?:ERROR: )?(?:Failed: )?")
_STATES = {"on": State.ON, "off": State.OFF}
_PORT = r"[A-Za-z0-9_.:+/#@-]{1,100}"  # no comma: that would be two plugs


def _options(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str | int | float) for each in value.values()):
        raise ValueError("is not an object of texts and numbers")
    for name, each in value.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise ValueError(f"{name!r} is not the name of an option")
        if not str(each).isprintable():
            raise ValueError(f"{name}: the value has more than one line, or no text")
    return {name: str(int(each) if isinstance(each, bool) else each) for name, each in value.items()}


@dataclass(frozen=True)
class _Agent:
    """What an agent says of itself."""

    words: str
    options: frozenset[str]
    required: frozenset[str]
    actions: frozenset[str]

    @property
    def has_plugs(self) -> bool:
        return bool(self.required & {"plug", "port"})


_known: dict[tuple[str, int], _Agent] = {}
"""What agents said of themselves, by program and when that was last changed: to ask takes a tenth of a second."""


class Fence(PDUDriver):
    """Each action is a run of the agent."""

    models = {"fence": None}
    ports = Named(_PORT, "the name of one plug, or 1: letters, digits and _ . : + / # @ - only", decimal)

    agent = Setting(text, "", "name of the agent, such as `fence_apc_snmp`", required=True)
    options = Setting(
        Kind("object of texts", _options, steady=True), {}, "options of the agent, as its manual names them"
    )

    @hook
    def faults(self) -> dict[str, str]:
        if not re.fullmatch(r"fence_[a-z0-9_]+", self.agent):
            return {"agent": f"{self.agent!r} is not the name of a fence agent, such as fence_apc_snmp"}
        wrong = [name for name in self.options if name in _OURS]
        return {"options": f"{wrong[0]!r} is said by the daemon, for each request"} if wrong else {}

    @hook
    def lacks(self) -> str:
        if shutil.which(self.agent) or shutil.which(self.agent, path=_FOLDERS):
            return ""
        return f"the program {self.agent}, which this PDU needs, is not installed (Debian: fence-agents)"

    def port_interaction(self, command: str, port_number: str | int) -> None:
        self._done(self._run(command, port_number))

    def port_status(self, port_number: str | int) -> State:
        ended = self._run("status", port_number)
        if ended.status == _OFF and _SAYS_OFF.search(ended.text):
            return State.OFF
        if not _SAYS_ON.search(self._done(ended).text):
            raise TransientError(f"{self.agent} does not tell the state of {port_number}")
        return State.ON

    def read_outlets(self) -> list[OutletReading]:
        agent = self._metadata()
        if not agent.has_plugs:
            return [OutletReading("1", state=self.port_status("1"))]
        if "list-status" in agent.actions:
            told = [
                OutletReading(port, label(name), _STATES.get(state.strip().lower(), State.UNKNOWN))
                for port, name, state in self._listed("list-status", 3)
            ]
            if any(each.state is not State.UNKNOWN for each in told):  # many agents list plugs and look at none
                return told
        if "list" not in agent.actions:
            raise PermanentError(f"{self.agent} does not tell which plugs there are")
        return [OutletReading(port, label(name), self.port_status(port)) for port, name in self._listed("list", 2)]

    def identify(self) -> Identity:
        return Identity(model=f"{self.agent}: {self._metadata().words}")

    def _listed(self, action: str, size: int) -> list[list[str]]:
        """Return what an agent lists, which is a line of so many words for each plug; a name may have commas itself."""
        ended = self._done(self._run(action, None))
        separator = self.options.get("separator", ",")
        found = []
        for line in ended.text.splitlines():
            port, _, rest = line.partition(separator)
            words = rest.rsplit(separator, size - 2)
            if len(words) == size - 1 and re.fullmatch(_PORT, port, re.ASCII):
                found.append([port, *words])
        if not found:
            raise TransientError(f"{self.agent} lists no plug")
        return found

    def _run(self, action: str, port: str | int | None) -> Output:
        agent = self._metadata()
        if port is not None and not agent.has_plugs and str(port) != "1":
            raise PermanentError(f"there is no port {port}: {self.agent} is for one machine, whose port is 1")
        given = {"action": action, **self.options}
        if port is not None and agent.has_plugs:
            given["plug"] = str(port)
        said = "".join(f"{name}={value}\n" for name, value in given.items())
        return command.run([self._program], self.deadline, hold=self.lock_fd, apart=True, told=said.encode())

    def _done(self, ended: Output) -> Output:
        if ended.status == 0:
            return ended
        lines = [_NOISE.sub("", line).strip() for line in ended.complaints.splitlines()]
        lines = [line for line in lines if line and not line.startswith("Please use '-h'")]
        why = _REFUSED.get(ended.status, "") or (lines[-1][:200] if lines else f"it exited with {ended.status}")
        kind: type[DeviceError] = PermanentError if ended.status in _REFUSED else TransientError
        kind = LoginRefused if ended.status in _NOT_LET_IN else kind
        kind = DeviceTimeout if ended.status == 5 else kind
        raise kind(f"{self.agent}: {why}")

    @property
    def _program(self) -> str:
        if lacking := self.lacks():
            raise PermanentError(lacking)
        found = shutil.which(self.agent) or shutil.which(self.agent, path=_FOLDERS)
        assert found is not None
        return found

    def _metadata(self) -> _Agent:
        """Return what the agent says of itself. Raises: PermanentError if the options are not what it has."""
        program = self._program
        version = program, os.stat(program).st_mtime_ns
        agent = _known[version] = _known.get(version) or self._ask_metadata(program)
        for name in self.options:
            if name not in agent.options:
                raise PermanentError(f"{self.agent} has no option {name!r}{near(name, agent.options)}")
        return agent

    def _ask_metadata(self, program: str) -> _Agent:
        ended = command.run([program], self.deadline, hold=self.lock_fd, apart=True, told=b"action=metadata\n")
        try:
            root = ElementTree.fromstring(ended.text)
        except ElementTree.ParseError:
            self._done(ended)
            raise TransientError(f"{self.agent} does not say which options it has") from None
        options = {each.get("name", ""): each for each in root.iter("parameter")}
        return _Agent(
            label(root.get("shortdesc")) or "",
            frozenset(options),
            frozenset(name for name, each in options.items() if each.get("required") == "1"),
            frozenset(each.get("name", "") for each in root.iter("action")),
        )
