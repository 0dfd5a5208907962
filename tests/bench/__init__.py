# SPDX-License-Identifier: MIT
"""How fast the daemon is, as ratios to peers measured beside it in the same run; see `__main__`."""
