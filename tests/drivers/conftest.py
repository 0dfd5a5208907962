# SPDX-License-Identifier: MIT
"""What drivers conclude from a device that says nothing for a moment, in tests on a machine that may itself stand still."""

from __future__ import annotations

import pytest

from pdudaemon.drivers import cleware, conrad, egpmslan
from pdudaemon.engine import dispatcher
from pdudaemon.transports import dialogue, snmpengine


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no driver take a late device for one that waits for a key, is out of step, or has another session.

    A test in which a device is one sets the time anew.
    """
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 30.0)
    monkeypatch.setattr(dialogue, "PATIENCE", 60.0)
    monkeypatch.setattr(snmpengine, "_SHARES", (1.0,))  # nothing is sent twice because an answer is late
    monkeypatch.setattr(cleware, "_STATE_SECONDS", 20.0)
    monkeypatch.setattr(conrad, "_PATIENCE", 20.0)
    monkeypatch.setattr(egpmslan, "_NEXT_KNOCK", 20.0)
