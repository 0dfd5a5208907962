# SPDX-License-Identifier: MIT
"""The JSON Schema of the configuration: what the reader takes is valid, and what it refuses mostly is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pdudaemon import cli
from pdudaemon.config import jsonfile, schema
from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.faults import Faults
from pdudaemon.config.options import DaemonOptions, ListenerOptions
from pdudaemon.config.sites import SiteOptions
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUOptions
from pdudaemon.settings import declared, read
from tests.support.docs import ROOT, example

SCHEMA: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _schema(capsys: pytest.CaptureFixture[str]) -> None:
    """What ``pdudaemon --schema`` prints, once."""
    if not SCHEMA:
        assert cli.main(["--schema"]) == 0
        SCHEMA.update(json.loads(capsys.readouterr().out))


def wrong(whole: Any) -> list[str]:
    """Return where a configuration is not valid, and why."""
    found = jsonschema.Draft202012Validator(SCHEMA).iter_errors(whole)
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in found]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_shipped_configuration_and_the_examples_of_the_readme_are_valid() -> None:
    assert not wrong(jsonfile.read(str(ROOT / "share" / "pdudaemon.conf"), Faults()))
    examples = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert examples
    for text in examples:
        whole = json.loads(text)
        assert not wrong({"pdus": whole} if not {*whole} & {"pdus", "daemon", *jsonfile.SECTIONS} else whole), text


@pytest.mark.parametrize("module", sorted({strategies.find(name).__module__ for name in strategies.names()}))
def test_the_example_of_every_driver_is_valid(module: str) -> None:
    if module.startswith("pdudaemon.") and (fragment := example(module)):
        assert not wrong({"pdus": json.loads(f"{{{fragment}}}")})


def test_an_old_file_is_valid(tmp_path: Path) -> None:
    whole = {
        "daemon": {"hostname": "0.0.0.0", "port": "16421", "dbname": "pdudaemon", "logging_level": "debug"},
        "pdus": {
            "a": {"driver": "apc7952", "telnetport": "5023", "retries": "10", "password": None, "username": ""},
            "b": {"driver": "of a plugin", "anything": {"at": ["all"]}},
            "c": {"driver": "apc7952", "password": {"file": "apc.secret"}, "locked": ["8", 9], "verify": "true"},
        },
        "aliases": {"board": {"hostname": "a", "port": 1}},
        "nodes": {"server": {"feeds": [{"hostname": "a", "port": "2"}, {"hostname": "b", "port": 3}]}},
        "groups": {"rack": "board,server", "all": ["@rack"]},
    }
    assert not wrong(whole)


@pytest.mark.parametrize(
    ("whole", "place"),
    [
        ({"daemon": {"port": 70000}}, "daemon.port"),
        ({"daemon": {"wait": -1}}, "daemon.wait"),
        ({"pdus": {"a": {}}}, "pdus.a"),
        ({"pdus": {"a": {"driver": "apc7952", "telnetprt": 23}}}, "pdus.a"),
        ({"pdus": {"a": {"driver": "dummy", "outlets": 0}}}, "pdus.a.outlets"),
        ({"pdus": {"a": {"driver": "dummy", "retries": [1]}}}, "pdus.a.retries"),
        ({"pdus": {"a": {"driver": "uhubctl"}}}, "pdus.a"),
        ({"nodes": {"n": {"hostname": "a"}}}, "nodes.n"),
        ({"daemon": {"listeners": [{"port": 1}]}}, "daemon.listeners.0"),
    ],
)
def test_what_the_reader_tells_an_editor_tells_as_well(whole: Any, place: str) -> None:
    assert any(line.startswith(f"{place}:") for line in wrong(whole)), wrong(whole)


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 1.5, 2, 161, 70000, 10**20, "", "  ", "\t", ",", "0", "1", "+5", "-5", " 5 ", "1_0",
    "_1", "5.5", ".5", "5.", ".", "1e3", "0x10", "٣", "true", "True", "TRUE", "yes", "null", [], [1], ["1"], [""], [1.5],
    [None], {}, {"a": 1}, {"reason": "x"}, {"reason": ""}, {"reason": "x", "ports": ["1"]}, {"ports": [1]}, "ä", "a\nb",
    "http", "HTTP", " http", "0660", "660", "9999", "192.0.2.1", ["192.0.2.0/24"], ["unix"], ["http://lab:1"], "lab, x",
    "tcp", "debug", "a" * 64, "Reboot", "all", "1.3.6.1", "name:x", "https://lab:1", "GET /on",
]  # fmt: skip


@pytest.mark.parametrize("owner", [DaemonOptions, ListenerOptions, SiteOptions, BrokerOptions, PDUOptions])
def test_what_a_setting_takes_is_valid(owner: type) -> None:
    """And what it refuses is not, where its kind can say so."""
    known = schema._properties(owner)
    for name, setting in declared(owner).items():
        validator = jsonschema.Draft202012Validator({**known[name], "$defs": SCHEMA["$defs"]})
        for value in VALUES:
            faulty = name in read(owner, {name: value})[1]
            valid = validator.is_valid(value)
            assert faulty or valid, (name, value)
            if setting.kind.says == "true or false" or set(setting.kind.says.split()) <= {
                "tcp",
                "http",
                "both",
                "all",
                "reboot",
            }:
                assert faulty != valid or value == 1.0, (name, value)


def test_what_drivers_take_is_valid() -> None:
    for kind in {strategies.find(name) for name in strategies.names()}:
        known = schema._properties(kind)
        for name in declared(kind):
            validator = jsonschema.Draft202012Validator({**known[name], "$defs": SCHEMA["$defs"]})
            for value in VALUES:
                assert name in read(kind, {name: value})[1] or validator.is_valid(value), (kind, name, value)


@pytest.mark.parametrize("section", ["daemon", "aliases", "nodes", "groups", "roles", "sites"])
def test_a_section_that_is_null_is_none(section: str) -> None:
    assert not wrong({"pdus": {}, section: None})


@pytest.mark.parametrize(
    "whole",
    [
        {"daemon": {"port": {"credential": "port"}}},
        {"daemon": {"listeners": [{"protocol": "http", "certificate": {"file": "a.pem"}}]}},
        {"daemon": {"listener": "htp"}},
        {"nodes": {"n": {"hostname": "a", "port": 1, "locked": "yes"}}},
        {"groups": {"g": {"stagger": 1}}},
        {"groups": {"g": [1]}},
        {"pdus": {"a": {"driver": "dummy", "locked": {"reason": ""}}}},
    ],
)
def test_what_the_reader_refuses_is_not_valid(whole: Any) -> None:
    assert wrong(whole)
