# SPDX-License-Identifier: MIT
"""What outlives us: requests and what became of them, in one SQLite file that is looked after, searched and mended."""
