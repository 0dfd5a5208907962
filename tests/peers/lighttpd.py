# SPDX-License-Identifier: MIT
"""lighttpd, a web server that nobody here wrote, with logins by Basic and Digest, and TLS."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.peers.server import listening
from tests.support.certificate import self_signed
from tests.support.ports import free_ports

CGI = """
import json, os, sys
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0)).decode()
names = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "HTTP_HOST", "HTTP_X_CSRF", "REMOTE_USER", "AUTH_TYPE")
names += ("REMOTE_PORT",)
sys.stdout.write("Content-Type: application/json\\r\\n\\r\\n")
json.dump({"body": body, **{name: os.environ.get(name, "") for name in names}}, sys.stdout)
"""

CONFIGURATION = """
server.document-root = "{root}/www"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{root}/errors"
server.modules = ("mod_auth", "mod_authn_file", "mod_cgi", "mod_redirect", "mod_openssl")
cgi.assign = (".py" => "{python}")
url.redirect = ("^/moved$" => "http://127.0.0.1:{port}/open.py?password=hunter2")
$SERVER["socket"] == "127.0.0.1:{tls_port}" {{ ssl.engine = "enable" ssl.pemfile = "{root}/server.pem" }}
$HTTP["url"] =~ "^/basic" {{
    auth.backend = "plain"
    auth.backend.plain.userfile = "{root}/plain"
    auth.require = ("/basic" => ("method" => "basic", "realm" => "PDU", "require" => "valid-user"))
}}
$HTTP["url"] =~ "^/md5" {{
    auth.backend = "htdigest"
    auth.backend.htdigest.userfile = "{root}/md5"
    auth.require = ("/md5" => (
        "method" => "digest", "realm" => "PDU", "require" => "valid-user", "algorithm" => "MD5"
    ))
}}
$HTTP["url"] =~ "^/sha256" {{
    auth.backend = "htdigest"
    auth.backend.htdigest.userfile = "{root}/sha256"
    auth.require = ("/sha256" => (
        "method" => "digest", "realm" => "PDU", "require" => "valid-user", "algorithm" => "SHA-256"
    ))
}}
"""


class Lighttpd(NamedTuple):
    """A running server: ``/open.py`` answers all, ``/basic.py``, ``/md5.py``, ``/sha256.py`` want admin:s3cret pass."""

    port: int
    tls_port: int
    certificate: str

    username = "admin"
    password = "s3cret: pass"


@contextmanager
def lighttpd(folder: Path) -> Iterator[Lighttpd]:
    """Run lighttpd with a self-signed certificate for 127.0.0.1; skip the test where it is not installed."""
    if not shutil.which("lighttpd") or not shutil.which("openssl"):
        pytest.skip("needs the Debian packages lighttpd, lighttpd-mod-openssl and openssl")
    www = folder / "www"
    www.mkdir()
    for name in ("open", "basic", "md5", "sha256"):
        (www / f"{name}.py").write_text(CGI)
    (www / "big").write_bytes(b"x" * 5_000_000)
    secret = f"admin:PDU:{Lighttpd.password}".encode()
    (folder / "plain").write_text(f"admin:{Lighttpd.password}\n")
    (folder / "md5").write_text(f"admin:PDU:{hashlib.md5(secret).hexdigest()}\n")
    (folder / "sha256").write_text(f"admin:PDU:{hashlib.sha256(secret).hexdigest()}\n")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    self_signed(key, certificate)
    (folder / "server.pem").write_text(key.read_text() + certificate.read_text())
    port, tls_port = free_ports(2)
    conf = folder / "lighttpd.conf"
    conf.write_text(CONFIGURATION.format(root=folder, port=port, tls_port=tls_port, python=sys.executable))
    with listening(["lighttpd", "-D", "-f", str(conf)], port):
        yield Lighttpd(port, tls_port, str(certificate))
