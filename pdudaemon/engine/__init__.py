# SPDX-License-Identifier: MIT
"""What happens: requests in their order, the workers that carry them out, the store that outlives us, and who waits."""
