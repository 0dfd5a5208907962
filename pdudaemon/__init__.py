# SPDX-License-Identifier: MIT
"""PDUDaemon: one queue and one thread for each power distribution unit, one request language for all of them."""

import importlib

__version__ = "2.0.0"


def __getattr__(name: str) -> object:
    """Offer `PDUDriver` to the authors of plugins, loaded only for those who ask."""
    if name == "PDUDriver":
        return importlib.import_module("pdudaemon.drivers.driver").PDUDriver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
