# SPDX-License-Identifier: MIT
"""Tests of what is shipped: packages, documentation, and the source itself."""
