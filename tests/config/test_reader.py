# SPDX-License-Identifier: MIT
"""Configuration: old files unchanged, all faults at once, and what a fault disables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import listing
from pdudaemon.config import model as config
from pdudaemon.config import reader
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.power import Outlet

OLD = """{
  "daemon": {"hostname": "0.0.0.0", "port": "16421", "dbname": "pdudaemon", "logging_level": "DEBUG"},
  "pdus": {
    "192.168.10.2": {"driver": "localcmdline", "cmd_on": "echo '%s on' >> /tmp/pdu", "cmd_off": "echo '%s off' >> /tmp/pdu"},
    "nothing": {"driver": "localcmdline"},
    "patient": {"driver": "localcmdline", "retries": "10", "retrydelay": 1}
  },
  "aliases": {"board": {"hostname": "192.168.10.2", "port": 0}, "other": {"hostname": "patient", "port": "a1"}}
}"""


def load(tmp_path: Path, whole: Any, **overrides: Any) -> config.Config:
    """Load a configuration given as text or as an object."""
    path = tmp_path / "pdudaemon.conf"
    path.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return reader.load(str(path), overrides)


def faults(tmp_path: Path, whole: Any) -> tuple[str, ...]:
    """Return the fatal faults of a configuration, without the path and the line."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, whole)
    found = (fault.removeprefix(str(tmp_path / "pdudaemon.conf")) for fault in caught.value.faults)
    return tuple(re.sub("^:[0-9]+: ", ": ", fault) for fault in found)


def test_an_old_file_is_read_unchanged(tmp_path: Path) -> None:
    conf = load(tmp_path, OLD)
    assert not conf.faults and not conf.warnings
    (listener,) = conf.listeners
    assert (listener.hostname, listener.port, listener.protocol) == ("0.0.0.0", 16421, "tcp")
    assert conf.pdus["patient"].options.retries == 10
    assert conf.pdus["nothing"].options.retries == 5 and conf.pdus["nothing"].options.retrydelay == 5
    assert [str(outlet) for outlet in conf.node("board").outlets] == ["192.168.10.2 port 0"]


def test_command_line_overrides(tmp_path: Path) -> None:
    assert load(tmp_path, OLD, listener="http").listeners[0].protocol == "http"


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    whole = {
        "daemon": {"port": 70000, "wait": "nan", "listener": "htp", "logging_level": True},
        "pdus": {"a": {"driver": "dumy"}, "b": {"driver": "dummy", "outlets": 0}, "c": []},
        "aliases": {"x": {"hostname": "aa", "port": 1}},
    }
    assert faults(tmp_path, whole) == (
        ": daemon.port: 70000 is not within 0 and 65535",
        ": daemon.listener: 'htp' is none of tcp, http, both; did you mean 'http'?",
        ": daemon.logging_level: True is none of DEBUG, INFO, WARN, WARNING, ERROR",
        ": daemon.wait: 'nan' is not a number of seconds",
        ": pdus.a.driver: there is no driver 'dumy'; did you mean 'dummy'?",
        ": pdus.b.outlets: 0 is not within 1 and 10000",
        ": pdus.c: must be a JSON object",
        ": aliases.x: there is no PDU 'aa'; did you mean 'a'?",
    )


@pytest.mark.parametrize(
    ("whole", "fault"),
    [
        ('{"pdus": {,}}', ":1:11: not valid JSON: Expecting property name enclosed in double quotes"),
        ("", ": is empty, and must be a JSON object with the sections daemon, pdus and aliases"),
        ("// {}\n", ": is empty, and must be a JSON object with the sections daemon, pdus and aliases"),
        ("[]", ": must be a JSON object with the sections daemon, pdus and aliases"),
        ("[" * 100000, ": not usable JSON: nested too deeply"),
        ('{"daemon": []}', ": daemon: must be a JSON object"),
        ('{"pdu": {}}', ": pdus: is missing; did you mean 'pdu'?"),
        ('{"pdus": {}, "pdus": {}}', ": pdus: duplicate key"),
        ('{"daemon": {"port": 1, "port": 2}, "pdus": {}}', ": daemon.port: duplicate key"),
        ('{"daemon": {"listeners": []}, "pdus": {}}', ": daemon.listeners: must be a list of at least one listener"),
        (
            '{"daemon": {"listeners": [{}]}, "pdus": {}}',
            ": daemon.listeners[0].protocol: is missing: protocol spoken there",
        ),
        ('{"daemon": {"wait": 1e999}, "pdus": {}}', ": daemon.wait: inf is not within 0 and 3600 seconds"),
        (f'{{"daemon": {{"wait": {"9" * 400}}}, "pdus": {{}}}}', ": daemon.wait: inf is not within 0 and 3600 seconds"),
        (
            f'{{"daemon": {{"wait": {"9" * 5000}}}, "pdus": {{}}}}',
            ": daemon.wait: inf is not within 0 and 3600 seconds",
        ),
        (f'{{"daemon": {{"port": -{"9" * 5000}}}, "pdus": {{}}}}', ": daemon.port: -inf is not a whole number"),
        (
            '{"daemon": {"jwt_secret_file": "a\\u0000"}}',
            ": daemon.jwt_secret_file: 'a\\x00' has a NUL or a lone surrogate, which no text can have",
        ),
        (
            '{"daemon": {"topology": "a\\u0000"}}',
            ": daemon.topology: 'a\\x00' has a NUL or a lone surrogate, which no text can have",
        ),
        (
            '{"daemon": {"listeners": [{"protocol": "tcp", "port": 1, "port": 2}]}, "pdus": {}}',
            ": daemon.listeners[0].port: duplicate key",
        ),
        ('{"daemon": {"oidc": {"issuer": "a", "issuer": "b"}}, "pdus": {}}', ": daemon.oidc.issuer: duplicate key"),
        (
            '{"daemon": {"listeners": [{"protocol": "tcp", "port": 1}, {"protocol": "tcp", "port": 2},'
            ' {"protocol": "http", "hostname": "127.0.0.1", "port": "1"}]}, "pdus": {}}',
            ": daemon.listeners[2]: listens where listeners[0] does",
        ),
        (
            '{"daemon": {"listeners": [{"protocol": "tcp", "socket": "/run/a"}, {"protocol": "http", "socket": "/run/a"}]},'
            ' "pdus": {}}',
            ": daemon.listeners[1]: listens where listeners[0] does",
        ),
    ],
)
def test_fatal_faults(tmp_path: Path, whole: str, fault: str) -> None:
    assert fault in faults(tmp_path, whole)


def test_a_key_stands_once_in_whatever_object_it_is(tmp_path: Path) -> None:
    rest = '"driver": "rest", "url": "http://lab", "on": "GET /", "off": "GET /", "headers"'
    conf = load(
        tmp_path,
        f'{{"pdus": {{"a": {{{rest}: {{"A": "1", "A": "2"}}}}, "b": {{{rest}: {{"A": "1", "B": "2"}}}},'
        ' "c": {"driver": "dummy", "locked": {"reason": "x", "reason": "y"}}},'
        ' "nodes": {"n": {"hostname": "b", "port": 1, "locked": {"reason": "x", "reason": "y"}}},'
        ' "groups": {"g": {"nodes": "n", "nodes": "n"}}, "roles": {"r": {"nodes": "n", "may": ["on"], "may": ["off"]}},'
        ' "sites": {"s": {"url": "http://lab", "x": {"a": 1, "a": 2}}}}',
    )
    assert [each.split(": ", 1)[1] for each in conf.faults] == [
        "sites.s.x.a: duplicate key",
        "pdus.a.headers.A: duplicate key",
        "pdus.c.locked.reason: duplicate key",
        "nodes.n: locked.reason: duplicate key",
        "groups.g: nodes: duplicate key",
        "roles.r: may: duplicate key",
    ]


def test_listeners_at_ports_that_the_machine_chooses_are_several(tmp_path: Path) -> None:
    assert not load(tmp_path, {"daemon": {"listeners": [{"protocol": "tcp", "port": 0}] * 2}, "pdus": {}}).faults


def test_an_editor_may_be_told_where_the_schema_is(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.json").write_text('{"$schema": "../schema.json", "pdus": {"b": {"driver": "dummy"}}}')
    conf = load(tmp_path, '{"$schema": "schema.json", "pdus": {"a": {"driver": "dummy"}}}')
    assert not conf.faults and not conf.warnings and [*conf.pdus] == ["a", "b"]


def test_a_faulty_entry_disables_itself_alone(tmp_path: Path) -> None:
    conf = load(
        tmp_path,
        '{"pdus": {"good": {"driver": "dummy"}, "bad": {"driver": "dummy", "retries": -1}, "none": {},'
        ' "twice": {"driver": "dummy"}, "twice": {"driver": "dummy"}, "blind": {"driver": "localcmdline", "verify": "true"}},'
        ' "aliases": {"a": {"hostname": "bad", "port": 1}, "b": {"hostname": "good", "port": 9}, "c": {"hostname": "good"}}}',
    )
    assert conf.target("good", "03").outlets[0].port == "3"
    for name, why in {
        "bad": "retries: -1 is not within",
        "none": "driver: is missing",
        "twice": "duplicate key",
        "blind": "verify: the state of this PDU cannot be read",
    }.items():
        with pytest.raises(RequestError, match=why):
            conf.target(name, "1")
    for name in "abc":
        with pytest.raises(RequestError, match="disabled"):
            conf.node(name)
    assert len(conf.faults) == 7


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ('"locked": 5', "locked: 5 is neither true, false nor a list of ports"),
        ('"locked": {"ports": [1]}', "locked: an object must have a reason, and may have ports"),
        ('"locked": {"reason": ""}', "locked: an object must have a reason, and may have ports"),
        ('"locked": {"reason": "x", "port": 1}', "locked: an object must have a reason, and may have ports"),
        ('"locked": {"reason": 5}', "locked: reason: 5 is not a text of at most 200 printable characters"),
        ('"locked": {"reason": "x", "ports": {"reason": "y"}}', "locked: ports: must be a list of ports"),
        ('"locked": {"reason": "x", "ports": [9]}', "locked: '9' is not a port: this PDU has 1 to 8"),
        ('"locked": [9]', "locked: '9' is not a port: this PDU has 1 to 8"),
        (f'"locked": [{"9" * 5000}]', "locked: [inf] is neither true, false nor a list of ports"),
        (f'"timeout": {"9" * 400}', "timeout: inf is not within 0.1 and 3600 seconds"),
    ],
)
def test_nothing_in_a_file_is_more_than_a_fault(tmp_path: Path, keys: str, fault: str) -> None:
    conf = load(tmp_path, f'{{"pdus": {{"a": {{"driver": "dummy", {keys}}}, "b": {{"driver": "dummy"}}}}}}')
    assert [line.partition(": ")[2].removeprefix("pdus.a").lstrip(".: ") for line in conf.faults] == [fault]
    assert conf.target("b", "1")


def test_what_is_nested_deeply_is_a_fault(tmp_path: Path) -> None:
    """Of the whole file, or of the PDU where Python's JSON goes deeper than the rest of it."""
    nested = '{"x": ' * 3000 + "1" + "}" * 3000
    try:
        told = load(tmp_path, f'{{"pdus": {{"a": {{"driver": "dummy", "x": {nested}}}}}}}').faults
    except ConfigError as error:
        told = error.faults
    (fault,) = told
    assert "nested too deeply" in fault


def test_names_with_a_lone_surrogate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed = {"hostname": "pdu", "port": 1}
    bad = "a\ud800"
    sections = {
        "aliases": {bad: feed},
        "nodes": {bad: feed, "n": {**feed, bad: 1}},
        "groups": {bad: "n", "g": bad},
    }
    conf = load(tmp_path, {"pdus": {bad: {"driver": "dummy"}, "pdu": {"driver": "dummy", bad: 1}}, **sections, bad: 1})
    assert listing.check(conf) == 2
    lines = [line.partition(": ")[2] for line in capsys.readouterr().out.encode().decode().splitlines()]
    assert lines == [
        *(
            f"{section}.a\\ud800: not valid Unicode: a lone surrogate"
            for section in ("pdus", "aliases", "nodes", "groups")
        ),
        r"groups.g: 'a\ud800' is not a valid name: letters, digits and _ . - only",
        *(rf"{place}a\ud800: unknown key" for place in ("pdus.pdu.", "nodes.n.", "")),
    ]
    assert [*conf.pdus] == ["pdu"] and [*conf.nodes] == ["n"] and not conf.groups


def test_what_a_disabled_pdu_says_does_not_hang_on_the_name_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "lab: the one"
    folder.mkdir()
    conf = load(folder, {"pdus": {"a: b": {"driver": "dummy", "retries": -1, "outlets": 0}}})
    found = ["pdus.a: b.retries: -1 is not within 0 and 1000", "pdus.a: b.outlets: 0 is not within 1 and 10000"]
    assert conf.faults == tuple(f"{folder}/pdudaemon.conf:1: {fault}" for fault in found)
    with pytest.raises(RequestError) as refused:
        conf.target("a: b", 1)
    assert str(refused.value) == f"a: b: disabled by its configuration: {'; '.join(found)}"


def test_null_is_not_set_and_digits_are_a_text(tmp_path: Path) -> None:
    pdu = {"driver": "devantech_eth008", "ip": "192.0.2.1", "password": None}
    conf = load(tmp_path, {"pdus": {"a": pdu, "b": {**pdu, "password": 1234}}})
    assert not conf.faults
    assert [conf.pdus[name].settings.get("password", "") for name in "ab"] == ["", 1234]
    assert load(tmp_path, {"pdus": {"t": {"driver": "tasmota", "port_count": None}}}).target("t", "1").outlets


@pytest.mark.parametrize("password", [["x-secret"], 1.5, True, "x-secret\ud800"])
def test_a_secret_that_is_none_is_told_without_its_value(tmp_path: Path, password: object) -> None:
    conf = load(tmp_path, {"pdus": {"a": {"driver": "devantech_eth008", "ip": "192.0.2.1", "password": password}}})
    (fault,) = conf.faults
    assert "pdus.a.password: is not usable as given (which must not be shown); wanted: text" in fault


def test_unknown_keys_are_warnings_with_a_near_match(tmp_path: Path) -> None:
    conf = load(tmp_path, {"daemon": {"wiat": 1}, "pdus": {"a": {"driver": "dummy", "retrys": 1}}, "alias": {}})
    assert not conf.faults
    assert [warning.partition(": ")[2] for warning in conf.warnings] == [
        "daemon.wiat: unknown key; did you mean 'wait'?",
        "pdus.a.retrys: unknown key; did you mean 'retries'?",
        "alias: unknown key; did you mean 'aliases'?",
    ]


def test_an_obsolete_key_is_accepted_with_any_value_and_warned_of(tmp_path: Path) -> None:
    conf = load(tmp_path, {"daemon": {"max_waiters_per_pdu": "many", "max_waiters": 3}, "pdus": {}})
    assert not conf.faults
    assert sorted(warning.partition(": ")[2] for warning in conf.warnings) == [
        "daemon.max_waiters: means nothing any more: waiting costs no thread",
        "daemon.max_waiters_per_pdu: means nothing any more: waiting costs no thread",
    ]


def test_the_bounds_of_one_address_follow_those_of_all_unless_they_are_given(tmp_path: Path) -> None:
    given = {"max_connections": 1000000, "max_connections_per_address": 1000000, "max_queue_per_address": "1000000"}
    daemon = load(tmp_path, {"daemon": given, "pdus": {}}).daemon
    assert (daemon.max_connections, daemon.max_connections_per_address) == (1000000, 1000000)
    assert daemon.max_queue_per_address == 1000000
    daemon = load(tmp_path, {"pdus": {}}).daemon
    assert (daemon.max_connections_per_address, daemon.max_queue_per_address) == (0, 0)
    wrong = {"max_connections": 1000001, "max_connections_per_address": -1, "max_queue_per_address": 1000001}
    assert faults(tmp_path, {"daemon": wrong, "pdus": {}}) == (
        ": daemon.max_connections: 1000001 is not within 1 and 1000000",
        ": daemon.max_connections_per_address: -1 is not within 0 and 1000000",
        ": daemon.max_queue_per_address: 1000001 is not within 0 and 1000000",
    )


@pytest.mark.parametrize("state", [{"STATE_DIRECTORY": "{}/a:/other"}, {"XDG_STATE_HOME": "{}"}, {"HOME": "{}"}])
def test_a_relative_store_lives_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, str]
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in state.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    expected = {"STATE_DIRECTORY": "a", "XDG_STATE_HOME": "pdudaemon", "HOME": ".local/state/pdudaemon"}
    assert config.state_folder() == tmp_path / expected[next(iter(state))]


def test_faults_have_the_line_of_their_key_and_a_missing_one_that_of_what_it_is_missing_in(tmp_path: Path) -> None:
    text = """{
    # what it is for
    "daemon": {"listeners": [
        {"protocol": "tcp"},
        {"protocol": "http",
         "port": 99999, "x": "a, \\"b\\": {"}
    ]},
    "pdus": {
        "a": {"driver": "dummy",
              "retries": -1},

        "b\\u0041": {"outlets": 3},
        "c": 3}
}"""
    (tmp_path / "pdudaemon.conf").write_text(text)
    with pytest.raises(ConfigError) as caught:
        reader.load(str(tmp_path / "pdudaemon.conf"))
    found = [line.removeprefix(f"{tmp_path}/pdudaemon.conf:").partition(": ")[::2] for line in caught.value.faults]
    assert [(line, text.partition(": ")[0]) for line, text in found] == [
        ("6", "daemon.listeners[1].port"), ("10", "pdus.a.retries"), ("12", "pdus.bA.driver"), ("13", "pdus.c"),
    ]  # fmt: skip
    assert any(
        line.startswith(f"{tmp_path}/pdudaemon.conf:6: daemon.listeners[1].x: ") for line in caught.value.warnings
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"pdus": {"a": {"driver": "dummy",}}}', "1:34"),
        ('{"pdus": {},\n\n}', "1:12"),
        ('{"daemon": {"listeners": [{"protocol": "tcp"}\n   ,   ]}}', "2:4"),
    ],
)
def test_a_comma_behind_the_last_entry_is_told_as_such(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "pdudaemon.conf").write_text(text)
    with pytest.raises(ConfigError, match=f":{place}: not valid JSON: a comma behind the last entry: remove it"):
        reader.load(str(tmp_path / "pdudaemon.conf"))


def test_files_of_the_folder_beside_add_to_the_sections(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "rack2.json").write_text(
        '{"pdus": {"p2": {"driver": "dummy"}}, "nodes": {"n2": {"hostname": "p1", "port": 2}}, "groups": {"g": "n2"}}'
    )
    (tmp_path / "conf.d" / "rack3.json").write_text('{"pdus": {"p3": {"driver": "dumy"},\n"p4": {"driver": "dummy"}}}')
    (tmp_path / "conf.d" / "rack3.json~").write_text("left by an editor")
    conf = load(tmp_path, {"pdus": {"p1": {"driver": "dummy"}}})
    assert [*conf.pdus] == ["p1", "p2", "p3", "p4"] and conf.groups == {"g": ("n2",)}
    assert conf.node("n2").outlets == (Outlet("p1", "2"),)
    (fault,) = conf.faults
    assert fault.startswith(f"{tmp_path}/conf.d/rack3.json:1: pdus.p3.driver: there is no driver 'dumy'")


def test_what_an_editor_has_in_the_folder_while_it_is_at_work_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / ".#lab.json").symlink_to("me@host.1234:1764500000")  # as Emacs does
    (tmp_path / "conf.d" / ".lab.json").write_text("{")
    (tmp_path / "conf.d" / "lab.json").write_text('{"pdus": {"b": {"driver": "dummy"}}}')
    conf = load(tmp_path, '{"pdus": {"a": {"driver": "dummy"}}}')
    assert not conf.faults and [*conf.pdus] == ["a", "b"]


def test_what_two_files_have_is_disabled_and_both_are_named(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "conf.d" / f"{name}.json").write_text(
            '{"pdus": {"twice": {"driver": "dummy"}, "p1": {"driver": "dummy"}}}'
        )
    conf = load(tmp_path, {"pdus": {"p1": {"driver": "dummy"}}})
    assert conf.pdus["twice"].driver is None and conf.pdus["p1"].driver is None
    told = "\n".join(conf.faults)
    assert f"{tmp_path}/conf.d/b.json:1: pdus.twice: duplicate key: it is in {tmp_path}/conf.d/a.json as well" in told
    assert f"{tmp_path}/conf.d/a.json:1: pdus.p1: duplicate key: it is in {tmp_path}/pdudaemon.conf as well" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"daemon": {}}', ":1: daemon: belongs into the file that is given by --conf"),
        ('{"pdu": {}}', ":1: pdu: unknown key"),
        ('{"pdus": []}', ":1: pdus: must be a JSON object"),
        ("{", ":1:2: not valid JSON"),
    ],
)
def test_a_file_of_the_folder_with_faults_prevents_a_start(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"conf.d/x.json{told}")):
        load(tmp_path, {"pdus": {}})


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "‮x", "A" * 70_000, "[1,3-5]Expect: 100-continue\r\n"])
def test_whatever_stands_in_a_file_a_fault_is_one_bounded_line(tmp_path: Path, name: str) -> None:
    whole = {
        "pdus": {"pdu": {"driver": "dummy", name: 1}, name: {"driver": name}},
        "nodes": {name: {"hostname": name, "port": name}},
        "groups": {name: [name]},
    }
    conf = load(tmp_path, whole)
    assert len(conf.faults) >= 3 and conf.warnings
    for line in (*conf.faults, *conf.warnings, *(pdu.fault for pdu in conf.pdus.values())):
        assert line.isprintable() and len(line) < 2000, line


def test_a_driver_that_is_a_number_is_one_that_there_is_not(tmp_path: Path) -> None:
    conf = load(tmp_path, {"pdus": {"pdu": {"driver": 5}, "other": {"driver": 1e300}, "well": {"driver": "dummy"}}})
    assert conf.pdus["pdu"].fault == "pdus.pdu.driver: there is no driver '5'"
    assert conf.pdus["other"].fault and not conf.pdus["well"].fault
