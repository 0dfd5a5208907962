# SPDX-License-Identifier: MIT
"""All families of fakes: the modules of `tests.devices` that say for which drivers they are."""

from __future__ import annotations

import importlib
import pkgutil

from tests import devices

FAMILIES = [
    module
    for found in pkgutil.iter_modules(devices.__path__)
    if hasattr(module := importlib.import_module(f"tests.devices.{found.name}"), "NAMES")
]
