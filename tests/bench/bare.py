# SPDX-License-Identifier: MIT
"""Servers that do nothing, as fast as the standard library's threads allow: ``python -m tests.bench.bare http PORT``.

Stock ``ThreadingHTTPServer`` and ``ThreadingTCPServer`` with what any sensible user would set: a listen queue for all
clients, no log, and each answer sent in one piece (else Nagle's algorithm alone costs 40 ms).
"""

from __future__ import annotations

import http.server
import resource
import socketserver
import sys


class Http(http.server.BaseHTTPRequestHandler):
    """Answers every GET as a daemon does that has accepted something, and ``/used`` by what the process has used."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = b"OK - accepted request\n"
        if self.path == "/used":
            used = resource.getrusage(resource.RUSAGE_SELF)
            body = f"{used.ru_utime + used.ru_stime} {used.ru_nvcsw}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Tcp(socketserver.BaseRequestHandler):
    """Answers whatever comes first by ``ack``."""

    def handle(self) -> None:
        if self.request.recv(1024):
            self.request.sendall(b"ack\n")


if __name__ == "__main__":
    protocol, port = sys.argv[1:]
    kind = http.server.ThreadingHTTPServer if protocol == "http" else socketserver.ThreadingTCPServer
    kind.request_queue_size = 512
    kind.daemon_threads = True
    kind(("127.0.0.1", int(port)), Http if protocol == "http" else Tcp).serve_forever()
