# SPDX-License-Identifier: MIT
"""Pages of strangers: what a browser asks for because a page of another site made it ask is refused.

Any page can have a visitor's browser send a request here: a link, an image, a form, a script. Browsers say where such a
request comes from, in headers that a page cannot change; no other client sends them. To a name without TLS, such as
``http://lab``, they send fewer: then only what a person asks for in the address bar accepts ``text/html`` first.

A page can also have its own name lead here (DNS rebinding), so that the browser takes our answers for the page's own.
Without tokens, names are therefore known ones.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from pdudaemon.errors import CrossSite
from pdudaemon.server.messages import Head

_PORTS = {"http": 80, "https": 443}
_SHOWN = ("sec-fetch-site", "origin", "referer")
_AHEAD = ("sec-purpose", "purpose", "x-moz")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(?::[0-9]{0,5})?", re.IGNORECASE)


def check(head: Head, switches: bool, origins: Iterable[str], name: str | None, secure: bool = False) -> None:
    """Refuse a request that a page of strangers may have made.

    ``origins`` as the setting of that name holds them; ``name`` is what the listener is called in the configuration,
    None where tokens are asked for; ``secure``: it came by https, so that a page of this machine's did, too. May ask
    the name service, for the name of this machine, if a browser came by a name that is not in the configuration.
    Raises: CrossSite.
    """
    if not head.of_browser:
        return
    headers = head.headers
    shown = {each: headers[each] for each in _SHOWN if headers.get(each)}
    host = headers.get("host", "")
    if name is not None and host and not _known(host, origins, name):
        raise CrossSite(f"{host[:100]!r} is no name of this machine; if it is, it must stand in daemon.origins")
    if switches:
        _check_source(headers, shown, host, origins, secure)


def _check_source(
    headers: Mapping[str, str], shown: Mapping[str, str], host: str, origins: Iterable[str], secure: bool
) -> None:
    if any("prefetch" in headers.get(each, "").lower() for each in _AHEAD):
        raise CrossSite("a browser asks for this ahead of whoever uses it: nothing was done")
    trusted = False
    for each in ("origin", "referer"):
        if each in shown:
            source = _origin(shown[each])
            scheme = source[0] if source else ""
            if source and source in {_origin(one, scheme) for one in origins}:
                trusted = True
            elif not source or source != _origin(host, "https" if secure else scheme):
                raise _foreign(each, shown[each])
    site = shown.get("sec-fetch-site", "none").lower()
    if site not in ("none", "same-origin") and not trusted:
        raise _foreign("sec-fetch-site", site)
    if not shown and not headers.get("accept", "").lower().startswith("text/html"):
        raise CrossSite(
            "a page may have made a browser ask for this (Mozilla, without text/html first in Accept): nothing was done"
        )


def _foreign(header: str, value: str) -> CrossSite:
    return CrossSite(
        f"a page of another site made a browser ask for this ({header.title()}: {value[:100]!r}): nothing was done;"
        " if that site may, its origin must stand in daemon.origins"
    )


def _origin(text: str, scheme: str = "") -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL, or of a mere host under a scheme; None if it has no such origin."""
    try:
        parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port


def _known(host: str, origins: Iterable[str], name: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    asked = match[1].strip("[]").lower()
    try:
        ipaddress.ip_address(asked)
    except ValueError:
        asked = asked.removesuffix(".")
        return any(asked == each.lower().removesuffix(".") for each in _names(origins, name))
    return True


def _names(origins: Iterable[str], name: str) -> Iterator[str]:
    """Yield the names by which a browser may come here, the one that may take long last."""
    yield from ("localhost", name)
    for each in origins:
        found = _origin(each, "http")
        if found:
            yield found[1]
    machine = socket.gethostname()
    yield from (machine, machine.partition(".")[0])
    yield _full_name(int(time.monotonic() // 60))


@functools.lru_cache(maxsize=1)
def _full_name(minute: int) -> str:
    """Return the name of this machine with its domain, asked for once a ``minute``: the name service may be slow."""
    return socket.getfqdn()
