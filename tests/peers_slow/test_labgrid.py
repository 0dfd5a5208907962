# SPDX-License-Identifier: MIT
"""labgrid itself: the guide, with coordinator, exporter, client and pytest plugin."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.devices.rack import Rack
from tests.peers.labgrid import Units, labgrid
from tests.support.guides import Guide


def test_the_guide(tmp_path: Path) -> None:
    programs = labgrid()
    with ExitStack() as ends:
        rack = ends.enter_context(Rack())
        guide = ends.enter_context(Guide("labgrid", tmp_path / "guide", rack.places))
        for name in ("labgrid-client", "pytest"):
            guide.program(name, f'{programs / name} "$@"')
        guide.services |= Units(guide.address, guide.path("/etc/labgrid/exporter.yaml"), tmp_path, ends).orders
        guide.environment |= {"LG_USERNAME": "you", "LG_HOSTNAME": "desk"}
        seen: list[list[str]] = []
        guide.follow({"labgrid-client power on": lambda: seen.append([*rack.acts])})
        assert seen == [["3 on"]]
        assert rack.acts == ["3 on", "3 off", "3 on", "4 on", "4 off", "4 on"]
        code, said = guide.run("LG_PLACE=board labgrid-client power off")
        assert code != 0 and rack.on == {"3", "4"}, said  # which has been released


def test_a_failure_at_the_device_is_one_there(tmp_path: Path) -> None:
    programs = labgrid()
    with Rack() as rack, Guide("labgrid", tmp_path / "guide", rack.places) as guide:
        guide.program("python-of-labgrid", f'{programs / "python"} "$@"')
        guide.conf.parent.mkdir(parents=True)
        pdu = f'{{"driver": "netiojson", "ip": "127.0.0.1", "port": {rack.port}, "password": "wrong", "retries": 1}}'
        guide.conf.write_text(
            f'{{"daemon": {{"hostname": "{guide.address}", "listener": "http"}}, "pdus": {{"rack1": {pdu}}}}}'
        )
        guide.daemon.order("start")
        (guide.home / "drive.py").write_text(DRIVE.format(address=guide.address))
        code, said = guide.run("python-of-labgrid drive.py")
        assert code == 0 and said == "502\nnot implemented\n" and not rack.acts, said


DRIVE = """
from labgrid import Target
from labgrid.driver.powerdriver import PDUDaemonDriver
from labgrid.resource.power import PDUDaemonPort
from requests import HTTPError

target = Target("main")
PDUDaemonPort(target, name=None, host="{address}", pdu="rack1", index=1)
driver = PDUDaemonDriver(target, name=None)
target.activate(driver)
try:
    driver.on()
except HTTPError as error:
    print(error.response.status_code)
try:
    driver.get()
except NotImplementedError:
    print("not implemented")
"""
