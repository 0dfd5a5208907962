# SPDX-License-Identifier: MIT
"""The guides of ``share/guides``, each followed to the letter, with devices that have outlets."""
