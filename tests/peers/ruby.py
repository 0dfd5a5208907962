# SPDX-License-Identifier: MIT
"""Debian's Ruby with Faraday, the HTTP library of OpenFlight's client, which asks as that was recorded to ask.

OpenFlight's own client is no package of any registry. Whoever has it names its program in ``OPENFLIGHT_POWER``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import NamedTuple

import pytest

_CLIENT = """
require 'faraday'
require 'json'
connection = Faraday.new(url: ENV['BASE_URL'], headers: { 'Authorization' => "Bearer #{ENV['TOKEN']}" })
verb, path, parameters = JSON.parse(ARGV[0])
reply = connection.run_request(verb.to_sym, path, nil, nil) { |request| request.params.update(parameters) }
type = reply.headers['Content-Type'].to_s
puts JSON.generate({ status: reply.status, type: type, body: type.match?(/\\bjson$/) ? JSON.parse(reply.body) : reply.body })
"""


class Told(NamedTuple):
    """What Ruby made of a reply: status, content type, and the body, as JSON where its type ends so."""

    status: int
    type: str
    body: object


def faraday(base_url: str, token: str, verb: str, path: str, **parameters: str) -> Told:
    """Make a request by Faraday, or skip the test."""
    if (
        shutil.which("ruby") is None
        or subprocess.run(["ruby", "-e", "require 'faraday'"], capture_output=True).returncode
    ):
        pytest.skip("Ruby with Faraday is missing (Debian: ruby ruby-faraday)")
    environment = {"BASE_URL": base_url, "TOKEN": token, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    command = ["ruby", "-e", _CLIENT, json.dumps([verb, path, parameters])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return Told(**json.loads(done.stdout))


def openflight_client() -> str:
    """Return the program of OpenFlight's own client, or skip the test."""
    program = os.environ.get("OPENFLIGHT_POWER", "")
    if shutil.which(program) is None:
        pytest.skip("OpenFlight's client is not here (OPENFLIGHT_POWER=.../bin/power)")
    return program
