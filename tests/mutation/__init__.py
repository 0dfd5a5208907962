# SPDX-License-Identifier: MIT
"""A small mutation tester: does any test notice if one thing in the source is changed? See `tests.mutation.__main__`."""
