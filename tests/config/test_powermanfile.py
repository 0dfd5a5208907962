# SPDX-License-Identifier: MIT
"""powerman's configuration as words, devices, nodes and aliases; and what is no such configuration, by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdudaemon.config import powermanfile
from pdudaemon.errors import ConfigError

WHOLE = r"""# a comment "with quotes"
include "types.dev"  # and another
tcpwrappers yes
plug_log_level "info"
listen "0.0.0.0:10102" device "pow0" "script" "pow0:23"
device "pow1" "script" "/dev/ttyS0" "9600,8n1"
device "pow2"
   "script" "/usr/bin/conman -Q -j \"rpc 0\" |&"
node "pengra[0-3],login" "pow0" "[1-4] 7"
node "p10" "pow1"
alias "all" "pengra[0-3] p10"
"""

TYPES = r"""specification "script" {
    timeout 2.0
    plug name { "0" "1" "a b" }
    script on { send "on %s\n" expect "plug name { \"9\" }" delay 1.5 ifoff { send "} {" } }
}
specification "plain" { script status_all { foreachplug { setplugstate $1 on="^1" } } }
"""


def load(folder: Path, text: str) -> powermanfile.PowermanFile:
    (folder / "powerman.conf").write_text(text)
    return powermanfile.load(str(folder / "powerman.conf"))


def test_all_that_there_is(tmp_path: Path) -> None:
    (tmp_path / "types.dev").write_text(TYPES)
    found = load(tmp_path, WHOLE)
    assert found.plugs == {"script": ["0", "1", "a b"], "plain": []}
    assert [(each.name, each.kind, each.where, each.flags, each.place.line) for each in found.devices.values()] == [
        ("pow0", "script", "pow0:23", "", 5),
        ("pow1", "script", "/dev/ttyS0", "9600,8n1", 6),
        ("pow2", "script", '/usr/bin/conman -Q -j "rpc 0" |&', "", 7),
    ]
    assert [each.command for each in found.devices.values()] == ["", "", '/usr/bin/conman -Q -j "rpc 0"']
    assert found.nodes[0].names == ["pengra0", "pengra1", "pengra2", "pengra3", "login"]
    assert found.nodes[0].plugs == ["1", "2", "3", "4", "7"]
    assert (found.nodes[1].names, found.nodes[1].plugs) == (["p10"], [])
    assert [(name, members) for name, members, _ in found.aliases] == [
        ("all", ["pengra0", "pengra1", "pengra2", "pengra3", "p10"])
    ]
    assert [text for text, _ in found.listen] == ["0.0.0.0:10102"]
    assert [(text, place.line) for text, place in found.other] == [("tcpwrappers yes", 3), ("plug_log_level info", 4)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b c", ["a", "b", "c"]),
        ("n[08-10]x", ["n08x", "n09x", "n10x"]),
        ("n[1,3-4]", ["n1", "n3", "n4"]),
        ("192.0.2.[7-8]:623", ["192.0.2.7:623", "192.0.2.8:623"]),
        ("", []),
    ],
)
def test_lists_of_hosts(text: str, names: list[str]) -> None:
    assert powermanfile.hosts(text) == names


@pytest.mark.parametrize("text", ["n[1-2", "n]1", "n[1-2]r[1-2]", "n[2-1]", "n[x]", "n[0-99999]"])
def test_what_is_no_list_of_hosts(text: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|downwards|neither a number|more than 10000"):
        powermanfile.hosts(text)


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ('\nnode "a', 2, "a text in double quotes does not end on its line"),
        ('node "a"\n\ndevice "b" "c" "d"', 1, "node has too few texts in double quotes"),
        ("\n\nnodes", 3, "'nodes' is no word of powerman's configuration"),
        ('"node"', 1, "is no word of powerman's configuration"),
        ('device "a" "b" "c" device "a" "b" "c"', 1, "there is a device 'a' already"),
        ('\nspecification "x" { script on {', 2, "a specification that does not end"),
        ('node "n[2-1]" "d"', 1, "runs downwards"),
        ("include", 1, "include has too few"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/powerman.conf:{line}: ") and fault in str(error.value)


def test_a_file_that_is_not_there_is_noted_and_one_that_includes_itself_refused(tmp_path: Path) -> None:
    found = load(tmp_path, '\ninclude "none.dev"\nalias "a" "b"')
    assert [(text, place.line) for text, place in found.missing] == [
        (f"{tmp_path}/none.dev: cannot be read: No such file or directory", 2)
    ]
    with pytest.raises(ConfigError, match="includes itself"):
        load(tmp_path, 'include "powerman.conf"')
    with pytest.raises(ConfigError, match="cannot be read"):
        powermanfile.load(str(tmp_path / "other"))
