# SPDX-License-Identifier: MIT
"""PDUDaemon: one queue and one thread for each power distribution unit, one request language for all of them."""

__version__ = "2.0.0.dev0"
