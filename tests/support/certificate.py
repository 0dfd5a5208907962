# SPDX-License-Identifier: MIT
"""A certificate for a TLS server on loopback."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(key: Path, certificate: Path) -> None:
    """Make a key and a certificate for 127.0.0.1, with openssl."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
