# SPDX-License-Identifier: MIT
"""Tests of the drivers, against devices of `tests.devices` and real programs."""
