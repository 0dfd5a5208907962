# SPDX-License-Identifier: MIT
"""nginx and HAProxy, run by the files that we ship, with other places in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.server import listening
from tests.support.process import ROOT

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 200; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/pdudaemon.conf;
}}
"""


def _placed(name: str, places: Mapping[str, str]) -> str:
    """Return a file that we ship, with other places in it."""
    text = (ROOT / "share" / name).read_text()
    for ours, other in places.items():
        assert ours in text, f"{name} has no {ours}"
        text = text.replace(ours, other)
    return text


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def nginx(folder: Path, port: int, socket: Path, certificate: Path, key: Path) -> Iterator[None]:
    """Run nginx in front of a UNIX socket."""
    places = {
        "unix:/run/pdudaemon-http/socket;": f"unix:{socket};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/certs/pdu.pem": str(certificate),
        "/etc/ssl/private/pdu.key": str(key),
    }
    with nginx_with(folder, port, _placed("nginx.conf", places)):
        yield


@contextmanager
def nginx_with(folder: Path, port: int, site: str) -> Iterator[None]:
    """Run nginx with one site, the text of a file in ``conf.d``, that has it listen on a port."""
    program = _program("nginx")
    folder.mkdir()
    (folder / "pdudaemon.conf").write_text(site)
    user = "user root;\n" if os.geteuid() == 0 else ""  # whose socket it is
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder) + user)
    with listening([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], port):
        yield


@contextmanager
def haproxy(folder: Path, port: int, text_port: int, daemon: int, both: Path, ca: Path) -> Iterator[None]:
    """Run HAProxy in front of a port; ``both`` is a file with certificate and key."""
    program = _program("haproxy")
    folder.mkdir()
    places = {
        "127.0.0.1:16421": f"127.0.0.1:{daemon}",
        "bind :443": f"bind 127.0.0.1:{port}",
        "bind :16422": f"bind 127.0.0.1:{text_port}",
        "/etc/ssl/private/pdu.pem": str(both),
        "/etc/ssl/certs/lab-ca.pem": str(ca),
    }
    path = folder / "haproxy.cfg"
    path.write_text(_placed("haproxy.cfg", places))
    subprocess.run([program, "-c", "-f", str(path)], check=True, capture_output=True)
    with listening([program, "-db", "-f", str(path)], port):
        yield
