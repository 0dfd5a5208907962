# SPDX-License-Identifier: MIT
"""What fakes are made of: moods, outlets, and a real socket, terminal or bus for each way to reach a device."""
