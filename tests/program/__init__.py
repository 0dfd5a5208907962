# SPDX-License-Identifier: MIT
"""Tests of the program: its options, signals, and ways to run."""
