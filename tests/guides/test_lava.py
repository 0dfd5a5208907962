# SPDX-License-Identifier: MIT
"""The guides for LAVA and lava-docker: their commands, run as LAVA's dispatcher runs them, by our client and by theirs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.devices.rack import Rack
from tests.peers.formerclient import former_client
from tests.support.guides import Guide

JOB = {"power_off": ["{} off"], "power_on": ["{} on"], "hard_reset": ["{} off", "{} on"]}
"""The commands of a device, and what its outlet is to do for each."""


def check(guide: Guide, commands: Mapping[str, str], rack: Rack, port: str) -> None:
    """Run the commands of a device as the dispatcher does: their words, no shell; the exit status says if it was done."""
    for name, acts in JOB.items():
        rack.acts.clear()
        words = shlex.split(commands[f"{name}_command"])
        done = subprocess.run(words, env=guide.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        assert rack.acts == [act.format(port) for act in acts], name


@pytest.mark.long
@pytest.mark.parametrize("client", ["ours", "theirs"])
def test_the_guide_for_lava(client: str, rack: Rack, tmp_path: Path) -> None:
    with Guide("lava", tmp_path / "guide", rack.places) as guide:
        guide.follow()
        assert rack.on == {"3"}
        if client == "theirs":
            guide.program("pduclient", f'{former_client()} "$@"')
        dictionary = guide.path("/etc/lava-server/dispatcher-config/devices/bbb-01.jinja2").read_text()
        check(guide, dict(re.findall(r"{% set (\w+) = '(.*)' %}", dictionary)), rack, "3")


@pytest.mark.long
@pytest.mark.parametrize("client", ["ours", "theirs"])
def test_the_guide_for_lava_docker(client: str, rack: Rack, tmp_path: Path) -> None:
    with Guide("kernelci", tmp_path / "guide", rack.places) as guide:
        guide.follow()
        assert rack.on == {"1"}
        if client == "theirs":
            guide.program("pduclient", f'{former_client()} "$@"')
        for number, board in enumerate(yaml.safe_load(guide.path("boards.yaml").read_text())["boards"], 1):
            check(guide, board["pdu_generic"], rack, str(number))
