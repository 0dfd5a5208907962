# SPDX-License-Identifier: MIT
"""A fence agent as a program that stands in for one, with plugs; its words and exit statuses are those of ClusterLabs'."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from tests.devices.base.device import Case, Mood
from tests.devices.base.program import CONTENT, StandIn, first_in_path

NAMES = ["fence"]
MOODS = [*Mood]
PORTS_ARE_NAMES = True  # of virtual machines, say
PASSWORD = "fence=of 7"
AGENT = "fence_fake"
NAMED = {"1": "Web, front", "2": "Web, back", "vm.3": ""}

PROGRAM = f"""\
#!/bin/sh
# Options come as lines NAME=VALUE on standard input, and nothing comes as arguments.
{CONTENT}\
cd "${{0%/*}}"
echo "call $*" >>received
while IFS= read -r line; do
    echo "$line" >>options
    name=${{line%%=*}} value=${{line#*=}}
    case $name in action) action=$value ;; plug) plug=$value ;; password) password=$value ;; esac
done
log() {{ echo "2026-11-30 00:06:19,709 ERROR: $1" >&2; echo >&2; }}
state() {{ content "state.$1"; case $content in on) state=ON ;; *) state=OFF ;; esac; }}
content mood
mood=$content
case $mood in
deaf) exec sleep 60 ;;
garbled) echo '~{{ pow'; exit 0 ;;
slow) sleep 0.02 ;;
gone) log 'Failed: Unable to connect/login to fencing device'; exit 4 ;;
esac
if [ "$action" = metadata ]; then exec cat metadata; fi
if [ "$mood" = busy ]; then log 'Connection timed out'; exit 5; fi
content password
if [ "$password" != "$content" ]; then log "Unable to connect/login to fencing device"; exit 3; fi
content plugs
case $action in
list) for plug in $content; do content "name.$plug"; echo "$plug,$content"; done; exit ;;
list-status) for plug in $content; do state "$plug"; content "name.$plug"; echo "$plug,$content,$state"; done; exit ;;
esac
if [ ! -e "state.$plug" ]; then log 'Failed: You have to enter plug number or machine identification'; exit 1; fi
if [ "$action" = status ]; then
    state "$plug"
    echo "Status: $state"
    if [ "$state" = OFF ]; then exit 2; fi
    exit
fi
case $action in
on | off)
    if [ "$mood" = refusing ]; then log 'Failed: the user has no privileges for that'; exit 11; fi
    echo "$action" >"state.$plug"; state "$plug"; echo "Success: Powered $state" ;;
*) log "Failed: Unrecognised action '$action'"; log "Please use '-h' for usage"; exit 1 ;;
esac
"""

METADATA = """\
<?xml version="1.0" ?>
<resource-agent name="fence_fake" shortdesc="Fence agent for a fake" >
<longdesc>fence_fake</longdesc>
<parameters>
	<parameter name="action" unique="0" required="1">
		<getopt mixed="-o, --action=[action]" />
		<content type="string" default="reboot"  />
	</parameter>
	<parameter name="ip" unique="0" required="0" obsoletes="ipaddr"><content type="string" /></parameter>
	<parameter name="password" unique="0" required="0" obsoletes="passwd"><content type="string" /></parameter>
	<parameter name="plug" unique="0" required="REQUIRED" obsoletes="port"><content type="string" /></parameter>
</parameters>
<actions>
	<action name="on" automatic="0"/>
	<action name="off" />
	<action name="status" />
	LISTS
</actions>
</resource-agent>
"""


class Outlets(MutableMapping[str, str]):
    """The plugs, each in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.update(dict.fromkeys(NAMED, "off"))

    def __getitem__(self, port: str) -> str:
        try:
            return (self._folder / f"state.{port}").read_text().strip()
        except FileNotFoundError:
            raise KeyError(port) from None

    def __setitem__(self, port: str, state: str) -> None:
        (self._folder / f"state.{port}").write_text(f"{state}\n")

    def __delitem__(self, port: str) -> None:
        (self._folder / f"state.{port}").unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(NAMED)

    def __len__(self) -> int:
        return len(NAMED)


class Agent(StandIn):
    """An agent in a folder. ``lists``: the actions by which it tells of its plugs; without ``plugs`` it has none."""

    def __init__(
        self, folder: Path, mood: Mood = Mood.WELL, lists: tuple[str, ...] = ("list", "list-status"), plugs: bool = True
    ) -> None:
        super().__init__(folder, AGENT, PROGRAM, mood)
        actions = "".join(f'<action name="{action}" />' for action in lists)
        (folder / "metadata").write_text(METADATA.replace("LISTS", actions).replace("REQUIRED", str(int(plugs))))
        (folder / "password").write_text("changed" if mood is Mood.WRONG_PASSWORD else PASSWORD)
        (folder / "plugs").write_text(" ".join(NAMED))
        (folder / "options").touch()
        for port, name in NAMED.items():
            (folder / f"name.{port}").write_text(name)
        self.outlets = Outlets(folder)

    @property
    def options(self) -> list[str]:
        """All that it was told on standard input, in lines."""
        return (self.folder / "options").read_text().splitlines()


@contextmanager
def case(name: str, mood: Mood) -> Iterator[Case]:
    """Put an agent into a folder of its own, where it is found first."""
    with tempfile.TemporaryDirectory() as folder, first_in_path(Path(folder)):
        agent = Agent(Path(folder), mood)
        settings = {"driver": name, "agent": AGENT, "options": {"ip": "192.0.2.82", "password": PASSWORD}}
        bad = ["1,2", "a b", "$(id)", "1=2", "é"]
        names = {port: name for port, name in NAMED.items() if name}
        identity = ("", f"{AGENT}: Fence agent for a fake", "", "")
        yield Case(agent, "rack", settings, [*NAMED], bad, [PASSWORD], names, identity=identity)
