# SPDX-License-Identifier: MIT
"""``pdudaemon --check --online`` for sites: whether each answers, trusts us and is trusted, and where it leads.

Each is asked what it shows to anybody with our token, all at a time, in bounded time. Nothing is switched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from pdudaemon import __version__, health
from pdudaemon.config.model import Config
from pdudaemon.config.sites import SiteOptions
from pdudaemon.engine.front.sitemirror import ahead
from pdudaemon.errors import DeviceError, PDUDaemonError, PermanentError
from pdudaemon.parallel import in_parallel
from pdudaemon.server import access
from pdudaemon.service import permitted
from pdudaemon.settings import without
from pdudaemon.transports.deadline import Deadline
from pdudaemon.transports.http import Client, Response, tls

_AT_A_TIME = 32
_SECONDS = 15.0  # for one site
_MOST = 1000  # PDUs and nodes that are counted
_REFUSED = (401, 403)
_SHORT = 3600.0  # seconds for which the token is good by which the daemon here is asked


@dataclass(frozen=True)
class Found:
    """What came of asking a site; ``daemons`` are those that it leads to, itself first."""

    well: bool
    text: str
    daemons: tuple[str, ...] = ()


def check_sites(conf: Config) -> int:
    """Print a line for each site; return 0 if all is well with them, else 1."""
    own = _own(conf) if conf.sites else ""
    names = [*conf.sites]
    bound = 3 * _SECONDS * (1 + len(names) // _AT_A_TIME)
    by_daemon: dict[str, str] = {}
    all_well = True
    for name, found in in_parallel(lambda name: _asked(conf.sites[name]), names, _AT_A_TIME, bound):
        well, text = (found.well, found.text) if found else (False, f"does not answer within {bound:g} s")
        daemons = found.daemons if found else ()
        if own and own in daemons:
            well, text = False, f"{text}; it leads back to the daemon of this configuration"
        elif daemons and daemons[0] in by_daemon:
            text += f"; it is the same daemon as {by_daemon[daemons[0]]}"
        by_daemon |= {daemons[0]: name} if daemons else {}
        secret = conf.sites[name].token
        print(f"{name}: {without([secret] if secret else [], text)}", flush=True)
        all_well = all_well and well
    return 0 if all_well else 1


def _asked(site: SiteOptions) -> Found:
    try:
        return _found(site)
    except PermanentError as error:
        return Found(False, f"cannot be asked: {error}")
    except DeviceError as error:
        return Found(False, f"does not answer: {error}")
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return Found(False, "cannot be asked: it is no pdudaemon, what it says is not understood")


def _found(site: SiteOptions) -> Found:
    """Ask a site. Raises: DeviceError; many errors, if what it says makes no sense."""
    url = site.url
    secure = None
    if url.secure:
        secure = tls(check=not site.insecure, ca_file=site.ca_file, fingerprint=site.fingerprint)
    client = Client(url.host, Deadline(_SECONDS), port=url.port, secure=secure)
    headers = {"Authorization": f"Bearer {site.token}"} if site.token else {}

    def ask(path: str) -> Response:
        return client.request("GET", f"{url.path}{path}", headers=headers, also=range(400, 600))

    reply = ask("/api/v1/sites")
    server, _, version = reply.headers.get("Server", "").partition("/")
    if reply.status in _REFUSED:
        why = f"refuses the token: {_detail(reply)}" if site.token else f"wants a token: {_detail(reply)}"
        return Found(False, why)
    if reply.status == 404 and server == "pdudaemon":
        return Found(False, f"cannot be asked: pdudaemon {version} is too old to be a site")
    if reply.status >= 400:
        return Found(False, f"cannot be asked: {_detail(reply)}")
    if server != "pdudaemon":
        return Found(False, "cannot be asked: it is no pdudaemon")
    daemons = tuple(str(each) for each in reply.json()["daemons"])
    other = "" if version == __version__ else f", this is {__version__}"
    shown = [_counted(kind, ask(f"/api/v1/{kind.lower()}?limit={_MOST}")) for kind in ("PDUs", "nodes")]
    trusted = ", whoever it is (insecure)" if url.secure and site.insecure else ""
    off = ahead(reply.headers.get("Date", ""), time.time())
    clock = f"; its clock is {off:+.0f} s off ours" if off else ""
    return Found(True, f"answers{trusted}, pdudaemon {version}{other}, {', '.join(shown)}{clock}", daemons)


def _counted(kind: str, reply: Response) -> str:
    count = len(reply.json()) if reply.status == 200 else 0
    return f"{count}{' or more' if 'next' in reply.headers.get('Link', '') else ''} {kind}"


def _detail(reply: Response) -> str:
    kind = reply.headers.get("Content-Type", "")
    said: Mapping[str, Any] = reply.json() if "problem" in kind else {}
    text = str(said.get("detail") or (reply.text.strip().partition("\n")[0][:200] if "text/plain" in kind else ""))
    return text or f"it answers {reply.status}"


def _own(conf: Config) -> str:
    """Return the id of the daemon that runs by this configuration; empty if none does, or it does not tell."""
    for listener in conf.listeners:
        if listener.protocol == "tcp":
            continue
        try:
            claims = access.claims(_SHORT / 86400, "check")
            token = permitted(conf).token(claims) if conf.secret_file is not None else ""
            status, text = health.answer(listener, "/api/v1/sites", token)
            if status == 200:
                return str(json.loads(text)["daemons"][0])
        except (OSError, HTTPException, PDUDaemonError, LookupError, TypeError, ValueError):
            continue
    return ""
