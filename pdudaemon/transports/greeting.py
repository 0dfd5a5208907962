# SPDX-License-Identifier: MIT
"""What consoles and services say first, by which a device is told from the one that a driver was meant for.

A driver that waits for something else would wait for all of its time, and be tried again.

Source: the devices of our own drivers; RFC 4253 (ssh), RFC 9112 (HTTP).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pdudaemon.errors import PermanentError
from pdudaemon.transports.tcp import Stream

AT_LINE = r"(?<![^\r\n])"
"""Where a line begins; takes no character, so that of two patterns neither comes before the other by that."""

GREETINGS = {
    "an ssh server": rf"{AT_LINE}SSH-\d",
    "a web server": rf"{AT_LINE}HTTP/\d",
    "the KSHELL of a NETIO, which the driver netio4 speaks": rf"{AT_LINE}100 HELLO\b",
    "a netBooter of Synaccess, which the driver synnetbooter speaks": rf"{AT_LINE}Synaccess\b",
    "a console of APC, which drivers as apc7952 and apc8959 speak": rf"{AT_LINE}User Name\s+:",
}
"""What a device is, in words, and the regular expression for what it says."""

LOGIN = {"a console that asks for a login in other words": rf"{AT_LINE}(?i:user ?name|user id|[\w.-]+ login|login)\s*:"}
PROMPT = {"a console with a prompt": rf"{AT_LINE}[\w.@-]*>"}


def others(own: str) -> dict[str, str]:
    """Return how consoles greet that are not a driver's own, which is the one with a certain name in its words."""
    return {words: pattern for words, pattern in {**GREETINGS, **LOGIN}.items() if own not in words}


def check(stream: Stream, text: str, strangers: Mapping[str, str]) -> None:
    """Take leave of a device that greets as a stranger does. Raises: PermanentError for such a one."""
    for words, pattern in strangers.items():
        if found := re.search(pattern, text):
            raise take_leave(stream, words, found[0])


def take_leave(stream: Stream, words: str, shown: str) -> PermanentError:
    """Take leave of a stranger; return the error to raise. One that asks who is there has no session yet."""
    if not shown.endswith(":"):
        with stream.farewell():
            stream.send(b"quit\r\nexit\r\nlogout\r\n", "the logout")
            while stream.receive("the logout"):
                pass
    return PermanentError(f"{stream.peer} is {words}: it is not what this driver is for")
