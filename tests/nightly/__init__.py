# SPDX-License-Identifier: MIT
"""What runs by night: see `tests.nightly.__main__`."""
