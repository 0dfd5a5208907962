# SPDX-License-Identifier: MIT
"""What each start of a daemon does alike, done once where its forks are made; libraries keep what they found out by it."""

from __future__ import annotations

import importlib.metadata

from pdudaemon import arguments

importlib.metadata.entry_points(group="pdudaemon.driver")
arguments.parser()
