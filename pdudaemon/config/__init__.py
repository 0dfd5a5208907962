# SPDX-License-Identifier: MIT
"""What is configured: the files, read and checked, and what they amount to."""
