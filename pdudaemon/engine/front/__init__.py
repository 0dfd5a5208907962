# SPDX-License-Identifier: MIT
"""What the front of other sites does: passes on what is to be switched there, and mirrors what there is."""
