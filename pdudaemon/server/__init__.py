# SPDX-License-Identifier: MIT
"""What clients speak: listeners and their connections, HTTP and text, orders, and who may give them."""
