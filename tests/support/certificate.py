# SPDX-License-Identifier: MIT
"""Certificates, made with openssl: for a TLS server on loopback, and of an authority of its own."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

EC = "-newkey ec -pkeyopt ec_paramgen_curve:P-256"  # which takes a tenth of the time of RSA


def self_signed(key: Path, certificate: Path, kind: str = EC) -> None:
    """Make a key and a certificate for 127.0.0.1, with openssl."""
    _openssl(
        f"req -x509 {kind} -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        f" -keyout {key} -out {certificate}"
    )


class Authority:
    """A CA in a folder, whose certificates are for servers on loopback and for clients; ``last``: the last's number."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        self.last = 1000
        _openssl(f"req -x509 {EC} -nodes -days 2 -subj /CN=lab -keyout {self._key} -out {self.certificate}")

    def issue(self, name: str, subject: str = "", days: int = 2) -> tuple[Path, Path]:
        """Return the files of a certificate, for loopback addresses and localhost, and of its key."""
        key, request, certificate = (self._folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        extensions = self._folder / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl(f"req {EC} -nodes -subj {subject or '/CN=' + name} -keyout {key} -out {request}")
        self.last += 1
        _openssl(
            f"x509 -req -in {request} -CA {self.certificate} -CAkey {self._key} -set_serial {self.last}"
            f" -days {days} -extfile {extensions} -out {certificate}"
        )
        return certificate, key


def trusting(certificate: Path) -> ssl.SSLContext:
    """Return what a client trusts a CA by, which need not say what its key is for: Python wants that from 3.13 on."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _openssl(words: str) -> None:
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
