# SPDX-License-Identifier: MIT
"""``python3 -m pdudaemon``."""

import sys

from pdudaemon.cli import main

sys.exit(main())
