# SPDX-License-Identifier: MIT
"""Tests of the front of sites."""
