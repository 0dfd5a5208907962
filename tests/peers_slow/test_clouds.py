# SPDX-License-Identifier: MIT
"""The platforms that are shipped for clouds and Redfish: moto with the real aws, the emulator of sushy-tools, real az."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.moto import REGION, moto
from tests.peers.redfish import sushy
from tests.peers.shipped import Cluster
from tests.support.process import Daemon, eventually

Make = Callable[..., Daemon]


def test_aws(daemon: Make, tmp_path: Path) -> None:
    with moto(tmp_path / "moto") as cloud:
        one, two = cloud.instance(), cloud.instance()
        node = {"platform": "aws", "region": REGION}
        nodes = {"a": {**node, "ec2_id": one}, "b": {"platform": "aws", "ec2_id": two}, "c": {**node, "ec2_id": "i-0"}}
        nodes["far"] = {**node, "ec2_id": one, "region": "us-east-2"}
        cluster = Cluster(
            daemon, nodes, {**cloud.environment, "AWS_DEFAULT_REGION": REGION, "AWS_DEFAULT_OUTPUT": "table"}
        )
        assert cluster.state("a") == "on"
        for _ in range(2):
            assert cluster.switch("off", "a") is None
            assert (cloud.state(one), cloud.state(two)) == ("stopped", "running")
        assert cluster.state("a") == "off"
        assert cluster.switch("on", "a") is None and cloud.state(one) == "running"
        assert cluster.switch("restart", "a") is None and cloud.state(one) == "running"
        cloud.aws("stop-instances", "--instance-ids", one)
        assert (
            cloud.state(one) == "stopped" and cluster.switch("restart", "a") is None and cloud.state(one) == "running"
        )
        assert cluster.switch("off", "b") is None and (cloud.state(one), cloud.state(two)) == ("running", "stopped")
        cloud.aws("terminate-instances", "--instance-ids", two)
        assert cluster.state("b") == f"status ended with exit status 1: {two} is terminated"
        for name, told in (("c", "'i-0' does not exist"), ("far", f"'{one}' does not exist")):
            for command in ("on", "off", "restart"):
                assert str(cluster.switch(command, name)).endswith(f"The instance ID {told}")
            assert cluster.state(name).endswith(f"The instance ID {told}")


def test_redfish_with_a_certificate_of_its_own(daemon: Make, tmp_path: Path) -> None:
    """The emulator does what it is told some seconds later, so it is asked until then, and told little."""
    with sushy(tmp_path / "bmc", "admin", 'pa"ss\\wo:rd') as bmc:
        node = {
            "platform": "redfish",
            "redfish_url": bmc.url,
            "redfish_username": "admin",
            "redfish_password": bmc.password,
        }
        known = {**node, "redfish_ca": str(bmc.certificate)}
        nodes = {"a": known, "unknown": node, "stranger": {**known, "redfish_password": "password"}}
        cluster = Cluster(daemon, nodes)
        assert (bmc.power, cluster.state("a")) == ("Off", "off")
        assert "self-signed certificate" in str(cluster.switch("on", "unknown"))
        for command in ("on", "off", "restart"):
            assert str(cluster.switch(command, "stranger")).endswith("The requested URL returned error: 401")
        assert cluster.switch("off", "a") is None and cluster.state("a") == "off"
        for state, power in (("on", "On"), ("off", "Off")):
            assert cluster.switch(state, "a") is None
            eventually(lambda power=power: bmc.power == power)
            assert cluster.state("a") == state
        bmc.reset("On")
        eventually(lambda: bmc.power == "On")
        assert cluster.state("a") == "on" and cluster.switch("restart", "a") is None
        eventually(lambda: bmc.power == "Off")  # on its way
        eventually(lambda: bmc.power == "On")
        bmc.reset("ForceOff")
        eventually(lambda: bmc.power == "Off")
        assert cluster.switch("restart", "a") is None
        eventually(lambda: bmc.power == "On")


def test_the_real_az_takes_the_arguments(daemon: Make, tmp_path: Path) -> None:
    """There is no cloud for it, so it comes as far as to say that nobody is logged in."""
    programs = os.environ.get("AZ", "")
    if not programs or shutil.which("az", path=programs) is None:
        pytest.skip("az is not installed (AZ=.../bin, with azure-cli)")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "AZURE_CONFIG_DIR": str(tmp_path)}
    environment["AZURE_CORE_COLLECT_TELEMETRY"] = "no"
    cluster = Cluster(daemon, {"a": {"platform": "azure", "resource_group": "group"}}, environment)
    for command in ("on", "off", "restart"):
        assert "Please run 'az login'" in str(cluster.switch(command, "a"))
    assert "Please run 'az login'" in cluster.state("a")
