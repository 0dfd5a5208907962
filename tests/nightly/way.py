# SPDX-License-Identifier: MIT
"""`Way`: what a way in has to say of itself to be tried with hostile inputs."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple


class Way(NamedTuple):
    """``draw`` makes an input; ``feed`` gives it to who takes it, and raises if that does what it must not."""

    draw: Callable[[], bytes]
    feed: Callable[[bytes], None]


Kind = Callable[[Path, random.Random], AbstractContextManager[Way]]
"""Opens a way, in a folder of its own; at its end it raises if something is not as it was."""
