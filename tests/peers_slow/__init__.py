# SPDX-License-Identifier: MIT
"""Tests with real peers that take long to install or to start: `make test-peers` runs them, `make test` does not."""
