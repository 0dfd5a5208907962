# SPDX-License-Identifier: MIT
"""The section ``mqtt``: the broker that is told what there is, and by which it may be switched."""

from __future__ import annotations

from pdudaemon.drivers.network import TLSDevice
from pdudaemon.settings import Kind, Options, Setting, boolean, integer, text

_LONGEST = 100


def _topic(value: object) -> str:
    if not isinstance(value, str) or not value.strip("/") or not value.isprintable() or len(value) > _LONGEST:
        raise ValueError(f"{value!r} is not a topic")
    if {*value} & {*"+#"}:
        raise ValueError(f"{value!r} is not a topic: it has a wildcard")
    return value.strip("/")


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{value!r} is not a list of roles")
    return tuple(value)


topic = Kind("topic", _topic, steady=True)
roles = Kind("list of roles", _roles)


class BrokerOptions(Options):
    """The broker, and what is said there. ``password`` may stand elsewhere, as those of PDUs."""

    host = Setting(text, "", "address of the broker", required=True)
    port = Setting(integer(1, 65535), 1883, "TCP port of the broker (8883 with TLS, usually)")
    secure = Setting(boolean, False, "speak TLS with the broker")
    ca_file = TLSDevice.ca_file
    fingerprint = TLSDevice.fingerprint
    insecure = TLSDevice.insecure
    username = Setting(text, "", "user name at the broker")
    password = Setting(text, "", "password at the broker", secret=True)
    topic = Setting(topic, "pdudaemon", "what the topics begin with")
    discovery = Setting(text, "homeassistant", "where Home Assistant looks for what there is; empty: it is not told")
    roles = Setting(
        roles,
        (),
        "what is shown, and may be switched from there; without roles it is everything, but where requests need a token"
        " nothing may be switched",
    )
