# SPDX-License-Identifier: MIT
"""Real programs that the tests talk to, and what stands in for devices in the same way."""
