# SPDX-License-Identifier: MIT
"""The guide for who comes from powerman, beside the real powermand, with two BMCs and its own simulator of a PDU."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.devices.ipmi import PASSWORD, USER, LanBMC
from tests.peers import powerman
from tests.support.guides import Guide
from tests.support.ports import free_ports


def test_the_guide(tmp_path: Path) -> None:
    (port,) = free_ports()
    with ExitStack() as ends:
        bmcs = [ends.enter_context(LanBMC()) for _ in range(2)]
        places = {
            f"/etc/powerman/{name}.dev": f"/etc/powerman/{device}.dev"
            for name, device in (("icebox3", "vpc"), ("ipmipower", "ipmipower"))
        }
        places |= {'"icebox3"': '"vpc"', '"ice0:1010"': '"/usr/sbin/vpcd |&"', "'icebox3'": "'vpc'"}
        places |= {"127.0.0.1:10101": f"127.0.0.1:{port}"}
        places |= {"bmc[1-2]": ",".join(f"127.0.0.1:{bmc.port}" for bmc in bmcs)}
        guide = ends.enter_context(Guide("powerman", tmp_path / "guide", places))
        guide.program("chgrp", "true")
        login = guide.path("/etc/freeipmi/lab.conf")
        login.parent.mkdir(parents=True)
        login.write_text(f"username {USER}\npassword {PASSWORD}\ncipher-suite-id 17\n")
        guide.conf.parent.mkdir(parents=True)
        place = "/etc/powerman/powerman.conf"
        guide.program("powerman", f'/usr/bin/powerman -h 127.0.0.1:{port} "$@"')

        def moved() -> None:
            guide.conf.write_text(
                guide.conf.read_text().replace('"hostname": "127.0.0.1"', f'"hostname": "{guide.address}"')
            )

        translate = f"sudo pdudaemon --import {place} --output /etc/pdudaemon/pdudaemon.conf"
        served = powerman.served(guide.path(place), port)
        guide.follow({place: lambda: ends.enter_context(served), translate: moved})
        assert [bmc.outlets["1"] for bmc in bmcs] == ["on", "off"]
