# SPDX-License-Identifier: MIT
"""What tests are made with."""
