# SPDX-License-Identifier: MIT
"""A client that looks at all PDUs again and again: ``python -m tests.bench.poller PORT PDUS PAUSE FILE``.

Each time it has seen as many PDUs as there are it adds a byte to the file and pauses for so many seconds. Where the
list comes in pages it asks for the next one ``after`` the last name of the one before.
"""

from __future__ import annotations

import http.client
import re
import sys
import time
from pathlib import Path

PATH = "/api/v1/pdus"
NAME = re.compile(rb'"name": ?"([^"]+)"')


def poll(port: int, pdus: int, pause: float, file: Path) -> None:
    """Poll for ever."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with file.open("ab", buffering=0) as seen:
        while True:
            path, count = PATH, 0
            while count < pdus:
                connection.request("GET", path)
                page = connection.getresponse().read()
                last = page.rfind(b'"name"')
                if last < 0:
                    break
                count += page.count(b'"name"')
                found = NAME.match(page, last)
                path = f"{PATH}?after={found[1].decode()}" if found else PATH
            seen.write(b"x" if count >= pdus else b"")
            time.sleep(pause)


if __name__ == "__main__":
    poll(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
