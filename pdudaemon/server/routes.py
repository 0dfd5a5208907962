# SPDX-License-Identifier: MIT
"""Which function serves which path and method: `ROUTES` is all there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pdudaemon.config.options import DaemonOptions
from pdudaemon.power import Action
from pdudaemon.server import (
    commands,
    control,
    devices,
    events,
    metrics,
    newrequests,
    openflight,
    pages,
    requests,
    siteviews,
)
from pdudaemon.server.access import within
from pdudaemon.server.client import Client
from pdudaemon.server.health import Health
from pdudaemon.server.http import Route, Serve, everybody
from pdudaemon.server.messages import Head, Misdirected

ALSO = {"/power/control/restart": "/power/control/reboot"}
"""Other names of paths."""


def _scrapers(client: Client, daemon: DaemonOptions) -> bool:
    return within(client.address, daemon.metrics_allow)


def _reading(serve: Serve, *methods: str, **more: Any) -> dict[str, Route]:
    return dict.fromkeys(("GET", "HEAD", *methods), Route(serve, switches=False, **more))


_openflight = partial(Route, slow=True, last_counts=True, forbidden=openflight.forbidden)

_COMMANDS = {
    **dict.fromkeys(("GET", "HEAD"), _openflight(openflight.command(Action.STATUS), switches=False)),
    "PATCH": _openflight(openflight.command(Action.ON)),
    "DELETE": _openflight(openflight.command(Action.OFF)),
    "PUT": _openflight(openflight.command(Action.REBOOT)),
}

_HEALTH = Health()
_PAGE = _reading(pages.file, open_to=everybody)
_PAGE_FOR_BROWSERS = replace(_PAGE["GET"], last_counts=True, forbidden=openflight.forbidden)

ROUTES: tuple[tuple[re.Pattern[str], Mapping[str, Route]], ...] = tuple(
    (re.compile(path), methods)
    for path, methods in (
        (r"/power/control/(on|off|reboot)", dict.fromkeys(("GET", "POST"), Route(control.control))),
        (r"/power/control/(?:get-)?(status)", _reading(control.status, "POST")),
        (r"/api/v1/(pdus)", _reading(devices.pdus, slow=True, takes=("after", "limit"))),
        (r"/api/v1/pdus/([^/]+)", _reading(devices.one_pdu, slow=True, takes=("fresh",))),
        (r"/api/v1/pdus/([^/]+)/watts", _reading(devices.watts, slow=True, takes=())),
        (r"/api/v1/pdus/([^/]+/outlets/[^/]+)", _reading(devices.one_outlet, slow=True, takes=("fresh",))),
        (r"/api/v1/(outlets)", _reading(devices.every_outlet, slow=True, takes=("after", "limit"))),
        (r"/api/v1/(nodes)", _reading(devices.nodes, slow=True, takes=("names", "groups", "after", "limit"))),
        (r"/api/v1/nodes/([^/]+)", _reading(devices.one_node, slow=True, takes=("fresh",))),
        (r"/api/v1/(groups)", _reading(devices.groups, slow=True, takes=())),
        (r"/api/v1/(events)", _reading(events.stream, slow=True, takes=events.WORDS)),
        (
            r"/api/v1/(requests)",
            {
                **_reading(requests.show, slow=True, takes=requests.WORDS),
                "POST": Route(newrequests.create, takes=(), json=True),
            },
        ),
        (
            r"/api/v1/requests/([\w./-]*[0-9]{1,18})",
            {
                **_reading(requests.one, slow=True, takes=()),
                "DELETE": Route(requests.cancel, slow=True, takes=("half",)),
            },
        ),
        (
            r"/api/v1/commands/([\w./,-]*[0-9]{1,18})",
            {
                **_reading(commands.show, slow=True, takes=()),
                "DELETE": Route(commands.cancel, slow=True, takes=("half",)),
            },
        ),
        (r"/api/v1/(sites)", _reading(siteviews.sites, slow=True, takes=())),
        (r"/(metrics)", _reading(metrics.metrics, slow=True, takes=(), open_to=_scrapers)),
        (r"/(livez)", _reading(_HEALTH.alive, slow=True, open_to=everybody)),
        (r"/(healthz)", _reading(_HEALTH.healthy, slow=True, open_to=everybody)),
        (r"/(readyz)", _reading(_HEALTH.ready, slow=True, open_to=everybody)),
        (r"/ui/(.*)", _PAGE),
        (r"/()", _COMMANDS),
        (r"/(nodes)", dict.fromkeys(("GET", "HEAD"), _openflight(openflight.nodes, switches=False))),
        (r"/(groups)", dict.fromkeys(("GET", "HEAD"), _openflight(openflight.groups, switches=False))),
    )
)


def find(head: Head) -> tuple[Route, str]:
    """Return what serves a request, and what of its path is not fixed. Raises: Misdirected."""
    path = ALSO.get(head.path, head.path)
    if path == "/" and pages.concerned(head):
        head.found = _PAGE_FOR_BROWSERS, ""
        return head.found
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if head.method in methods:
            head.found = methods[head.method], match[1]
            return head.found
        if path in openflight.PATHS:
            return _openflight(openflight.not_found, switches=False, slow=False), ""
        raise Misdirected(405, f"{head.method} is not for this path: nothing was done", {"Allow": ", ".join(methods)})
    raise Misdirected(404, f"there is nothing at {path!r}")
