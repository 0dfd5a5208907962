# SPDX-License-Identifier: MIT
"""What a proxy says of who asks by it: ``Forwarded`` (RFC 7239) or ``X-Forwarded-For``, and ``X-Forwarded-Prefix``.

Anybody can send these headers, so they count only from a peer that is configured as a proxy, and of a chain of
addresses only the last one that is not such a proxy itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping

from pdudaemon.errors import RequestError
from pdudaemon.server.access import UNIX, within
from pdudaemon.server.client import Client
from pdudaemon.settings import Proxies

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){1,10}/?")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+(?:%[A-Za-z0-9._-]{1,32})?")
_PAIR = re.compile(r'([a-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,"\s]*)', re.IGNORECASE)
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')


def is_proxy(address: str, proxies: Proxies) -> bool:
    """Whether an address is that of a proxy which is trusted."""
    if address == UNIX:
        return UNIX in proxies
    return within(address, tuple(each for each in proxies if not isinstance(each, str)))


def client_of(peer: Client, headers: Mapping[str, str], proxies: Proxies) -> Client:
    """Return who asks, if the ``peer`` is a proxy that says so, else the peer. Raises: RequestError."""
    if not is_proxy(peer.address, proxies):
        return peer
    named = [_client(headers.get("x-forwarded-for", "").split(","), proxies)]
    named.append(_client(_for(headers.get("forwarded", "")), proxies))
    found = {each for each in named if each}
    if len(found) > 1:  # one of them is the client's own, which the proxy has passed on
        raise RequestError("Forwarded and X-Forwarded-For differ: the proxy must remove the one that it does not set")
    return Client(found.pop(), 0) if found else peer


def prefix_of(peer: Client, headers: Mapping[str, str], proxies: Proxies) -> str:
    """Return the path below which a proxy has us, empty if there is none."""
    prefix = headers.get("x-forwarded-prefix", "")
    if _PREFIX.fullmatch(prefix) and is_proxy(peer.address, proxies):
        return prefix.removesuffix("/")
    return ""


def is_secure(peer: Client, headers: Mapping[str, str], proxies: Proxies) -> bool:
    """Whether a proxy says that who asks did so by https."""
    said = headers.get("x-forwarded-proto", "") or _last(headers.get("forwarded", ""), "proto")
    return said.lower() == "https" and is_proxy(peer.address, proxies)


def _client(chain: Iterable[str], proxies: Proxies) -> str:
    """Return the last address of a chain that is no proxy of ours; empty if that is none, or not an address."""
    for text in reversed([*chain]):
        address = _address(text.strip())
        if not address or not is_proxy(address, proxies):
            return address
    return ""


def _for(header: str) -> Iterator[str]:
    for element in _ELEMENT.findall(header):
        yield _value(element, "for")


def _last(header: str, name: str) -> str:
    """Return what the last proxy says of something."""
    return _value(["", *_ELEMENT.findall(header)][-1], name)


def _value(element: str, name: str) -> str:
    return next((value.strip('"') for each, value in _PAIR.findall(element) if each.lower() == name), "")


def _address(text: str) -> str:
    """Return the address in a text such as ``192.0.2.1:80`` and ``[2001:db8::1]:80``; empty if there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if not _ADDRESS.fullmatch(text):  # as a zone, an IPv6 address may have any text, such as the name of somebody else
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
