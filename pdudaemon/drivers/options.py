# SPDX-License-Identifier: MIT
"""What every PDU can be given in the configuration, whichever driver it has."""

from __future__ import annotations

from pdudaemon.settings import Options, Setting, boolean, integer, locks, seconds, text


class PDUOptions(Options):
    """The options of every PDU; those of a driver are declared by its class."""

    driver = Setting(text, "", "name of the driver (`pdudaemon --list-drivers`)", required=True)
    retries = Setting(integer(0, 1000), 5, "how often an action is tried in all (0 counts as 1)")
    retrydelay = Setting(seconds(0, 3600), 5.0, "pause between two tries", unit="s")
    timeout = Setting(seconds(0.1, 3600), 60.0, "how long one try may take at the device", unit="s")
    verify = Setting(boolean, False, "read the state back after switching until it is as asked")
    min_interval = Setting(seconds(0, 3600), 0.0, "rest of the device between two actions", unit="s")
    refresh = Setting(
        seconds(0, 86400), 30.0, "a look at what is older has the outlets read, behind the look; 0: never", unit="s"
    )
    poll = Setting(seconds(0, 86400), 0.0, "read the outlets as often as this, whoever looks; 0: never", unit="s")
    locked = Setting(locks, False, "refuse to switch this PDU: `true`, or a list of some ports of it")
    lock = Setting(text, "", "PDUs with the same word here are one device: never two of them at a time")
    stagger = Setting(seconds(0, 3600), 0.0, "between two ons, since what is switched on draws most at first", unit="s")
    stagger_with = Setting(text, "", "PDUs with the same word here have their ons staggered together")
