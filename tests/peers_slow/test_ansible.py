# SPDX-License-Identifier: MIT
"""Ansible itself, following the guide; ``ANSIBLE`` names its folder of programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.devices.rack import Rack
from tests.support.guides import Guide


def test_the_guide(tmp_path: Path) -> None:
    program = Path(os.environ.get("ANSIBLE", ""), "ansible-playbook")
    if not program.exists():
        pytest.skip("ansible is not installed (ANSIBLE=.../bin)")
    with Rack() as rack, Guide("ansible", tmp_path / "guide", {**rack.places, "localhost": "localhost"}) as guide:
        rack.outlets["3"] = "on"
        guide.program("ansible-playbook", f'ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_NOCOLOR=1 {program} "$@"')
        seen: list[list[str]] = []
        guide.follow({"ansible-playbook -i inventory.ini restart.yml": lambda: seen.append([*rack.acts])})
        assert seen == [["1 on", "2 on", "2 off", "2 on"]] and rack.on == {"1", "2", "3"}
        rack.outlets["1"] = "off"
        rack.login = "netio:changed"
        code, said = guide.run("ansible-playbook -i inventory.ini on.yml")
        assert code == 2 and "login refused" in said, said
