# SPDX-License-Identifier: MIT
"""Tests of the engine."""
