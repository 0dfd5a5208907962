# SPDX-License-Identifier: MIT
"""The completion in bash of a program."""

from __future__ import annotations

from tests.support.process import ROOT

_SCRIPT = """
source "$1"
complete -p {program}
shift
for line; do
    COMP_LINE=$line COMP_POINT=${{#line}} COMP_WORDS=($line) COMP_CWORD=0
    _{program}
    echo "${{COMPREPLY[*]}}"
done
"""


def asking(program: str, *lines: str) -> list[str]:
    """Return the command that tells how a program is registered, and what bash offers at the end of each line."""
    return ["bash", "-c", _SCRIPT.format(program=program), "bash", str(ROOT / "share" / f"{program}.bash"), *lines]
