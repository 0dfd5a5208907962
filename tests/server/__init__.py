# SPDX-License-Identifier: MIT
"""Tests of what clients speak."""
