# SPDX-License-Identifier: MIT
"""One file for each family of devices. A file put here is found by itself: see `pdudaemon.drivers.strategies`."""
