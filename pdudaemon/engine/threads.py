# SPDX-License-Identifier: MIT
"""Threads of the engine: a machine may refuse one, which ends nothing: whoever wants it asks again later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("pdud.dispatcher")

PAUSE = 1.0  # seconds before asking again for a thread that the machine would not give


def started(call: Callable[[], object], name: str, whose: object) -> threading.Thread | None:
    """Return a daemon thread that makes a call; None, and log ``whose`` it would be, if there is none to be had."""
    try:
        thread = threading.Thread(target=call, name=name, daemon=True)
        thread.start()
    except RuntimeError as error:
        log.error("%s: %s", whose, error)
        return None
    return thread
