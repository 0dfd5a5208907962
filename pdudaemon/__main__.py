# SPDX-License-Identifier: MIT
"""Where the program begins, also as ``python3 -m pdudaemon``.

It takes a moment until it is loaded, and longer until a large configuration is read. A SIGHUP that comes meanwhile asks
for what is done anyway, and must not end the program: it waits until the daemon takes signals.
"""

import signal
import sys


def main() -> int:
    """Run as the command line says; return the exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    from pdudaemon import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
