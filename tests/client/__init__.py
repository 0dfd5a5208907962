# SPDX-License-Identifier: MIT
"""Tests of pduclient."""
