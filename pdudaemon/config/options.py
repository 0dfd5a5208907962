# SPDX-License-Identifier: MIT
"""The options of the daemon and of its listeners, as the section ``daemon`` has them."""

from __future__ import annotations

from pdudaemon.config.oidc import provider
from pdudaemon.settings import (
    Kind,
    Options,
    Setting,
    choice,
    integer,
    mode,
    names,
    networks,
    proxies,
    seconds,
    sites,
    text,
)

PROTOCOLS = ("tcp", "http", "both")
LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR")
LONGEST_WAIT = 86400.0


def _level(value: object) -> str:
    """Take a level as the existing daemon does, to which a text that it does not know means ERROR."""
    if isinstance(value, str) and value.strip() and value.upper() not in LEVELS:
        return "ERROR"
    return choice(*LEVELS).convert(value)


level = Kind(" ".join(LEVELS), _level)


class DaemonOptions(Options):
    """The ``daemon`` section. What is beyond a bound (``max_…``) is refused or answered early, in words."""

    hostname = Setting(text, "127.0.0.1", "address to listen on; `0.0.0.0` or `::` for all")
    port = Setting(integer(0, 65535), 16421, "TCP port to listen on")
    listener = Setting(choice(*PROTOCOLS), "tcp", "protocol spoken there; `both` tells them apart by the first bytes")
    logging_level = Setting(level, "INFO", "least level that is logged; any other word means `ERROR`")
    dbname = Setting(text, "pdudaemon", "file of the store, below the state directory if relative")
    wait = Setting(seconds(0, 3600), 600.0, "how long an answer waits for the result; 0: accepted is enough", unit="s")
    fsync = Setting(
        choice("reboot", "all"), "reboot", "what must be on the disk itself first: the off of a reboot, or all requests"
    )
    resume_age = Setting(
        seconds(0, 86400 * 365), 600.0, "an on or off overdue by more than this is not resumed at a start", unit="s"
    )
    give_up = Setting(seconds(0, 86400 * 365), 3600.0, "how long a failing on half of a reboot is kept up", unit="s")
    max_delay = Setting(seconds(0, 86400), 3600.0, "longest `delay` of a request", unit="s")
    max_connections = Setting(integer(1, 1000000), 1000, "connections at a time, of all listeners")
    max_connections_per_address = Setting(
        integer(0, 1000000), 0, "connections at a time from one address; 0: a quarter of `max_connections`"
    )
    client_timeout = Setting(seconds(0.1, 3600), 30.0, "time for a client to send a whole request", unit="s")
    max_queue = Setting(integer(1, 1000000), 1000, "requests accepted and not ended, for one PDU")
    max_queue_per_address = Setting(
        integer(0, 1000000),
        0,
        "requests of one address accepted and not ended, for one PDU; 0: a quarter of `max_queue`, at least 32",
    )
    history = Setting(integer(0, 10000000), 10000, "ended requests that are remembered")
    history_days = Setting(
        integer(0, 36500), 0, "days for which ended requests are remembered; 0: as long as `history` has room"
    )
    topology = Setting(text, "", "an OpenFlight Power `topology.yaml`, whose nodes, platforms and groups are added")
    groups_file = Setting(
        text, "", "groups of ClusterShell: a `cluster.yaml`, or a `groups.conf` with the files in its `autodir`"
    )
    jwt_secret_file = Setting(
        text, "", "with it every request needs a token signed with the secret in this file, which is made if missing"
    )
    revoked = Setting(names, (), "names or ids (`jti`) of tokens that are not taken any more")
    oidc = Setting(
        provider, None, "an OpenID Connect provider whose tokens are taken: `issuer`, `audience`, `keys`, `role_claim`"
    )
    metrics_allow = Setting(networks, (), "networks from where `/metrics` needs no token")
    trusted_proxies = Setting(
        proxies, (), "proxies whose word for who asks counts: networks, and `unix` for whoever comes by a UNIX socket"
    )
    origins = Setting(
        sites, (), "origins such as `http://wiki:8080` whose pages may switch; names by which browsers may come here"
    )
    max_waiters = Setting(integer(0, 100000), 512, "", obsolete="waiting costs no thread")
    max_waiters_per_pdu = Setting(integer(0, 100000), 32, "", obsolete="waiting costs no thread")


class ListenerOptions(Options):
    """One entry of ``daemon.listeners``, which replaces ``hostname``, ``port`` and ``listener``."""

    protocol = Setting(choice(*PROTOCOLS), "tcp", "protocol spoken there", required=True)
    hostname = Setting(text, "127.0.0.1", "address to listen on")
    port = Setting(integer(0, 65535), 16421, "TCP port to listen on")
    allow = Setting(networks, (), "networks from where the text protocol may be spoken, if not from everywhere")
    certificate = Setting(text, "", "with it TLS is spoken there: PEM file with the certificate and its chain")
    key = Setting(text, "", "PEM file with its key, if that is not in the same file")
    socket = Setting(text, "", "path of a UNIX socket to listen on, in place of `hostname` and `port`")
    socket_mode = Setting(mode, "0660", "mode of that socket's file")
    socket_owner = Setting(text, "", "its owner, `USER`, `USER:GROUP` or `:GROUP`, if not the daemon's own user")
    client_ca = Setting(text, "", "PEM file with the CA whose certificates clients may show in place of a token")
