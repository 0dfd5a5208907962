# SPDX-License-Identifier: MIT
"""OpenFlight Power's topology files: read unchanged, with every trap of YAML, alone and beside a configuration file."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pdudaemon import arguments, cli
from pdudaemon.config import reader, topology, yamlfile
from pdudaemon.config.model import Config
from pdudaemon.errors import ConfigError, RequestError
from pdudaemon.power import Outlet
from pdudaemon.server import access

# What power-server 1.0.0 installs, with more nodes; the keys that nobody reads are from its documentation.
SHIPPED = """\
platforms:
  aws:
    variables: [ec2_id, region]
    power_on: aws ec2 start-instances --instance-ids "$ec2_id" --region "$region"
    power_off: aws ec2 stop-instances --instance-ids "$ec2_id" --region "$region"
    restart: aws ec2 reboot-instances --instance-ids "$ec2_id" --region "$region"
    status_off_exit_code: 123
    status: |
      state=$(aws ec2 describe-instances --instance-ids "$ec2_id" --region "$region")
      if [ "$state" == '"running"' ]; then
        exit 0
      fi
      exit 123
  azure:
    variables: [resource_group, name]
    power_on: az vm start --resource-group "$resource_group" --name "$name"
    power_off: az vm stop --resource-group "$resource_group" --name "$name"
    restart: az vm restart --resource-group "$resource_group" --name "$name"
  ipmi:
    variables:
    - name
    - ipmi_username
    status: ipmitool -H "${name}-bmc" -U "$ipmi_username" -E chassis power status -I lanplus
static_nodes:
  node01: {ec2_id: i-0a3f, region: eu-west-1, platform: aws}
  gpu01:
    platform: azure
    resource_group: my-group
  metal01:
    platform: ipmi
    ipmi_username: admin
    ipmi_password: s3cret
    name: something-else
  badnode:
    platform: unknown
"""

FAULTY = "static_nodes.n: platforms.p has faults"
ONE = "platforms: {sim: {variables: [name, a, b], status: 'true'}}\n"


def load(folder: Path, text: str, whole: Any = None, **overrides: Any) -> Config:
    """Load a topology, alone or beside a configuration file."""
    (folder / "topology.yaml").write_text(text)
    if whole is None:
        return reader.load("", {"topology": str(folder / "topology.yaml"), **overrides})
    (folder / "conf").write_text(json.dumps({"daemon": {"topology": "topology.yaml"}, **whole}))
    return reader.load(str(folder / "conf"), overrides)


def told(lines: tuple[str, ...]) -> list[str]:
    """Return faults or warnings without the names of the files."""
    assert all(Path(line.partition(": ")[0]).parent.is_dir() for line in lines), lines
    return [line.partition(": ")[2] for line in lines]


def values(conf: Config, name: str) -> dict[str, str]:
    """Return the variables that a node's scripts get."""
    pdu = conf.pdus[name]
    assert pdu.driver is not None, pdu.fault
    return dict(vars(pdu.driver(name, pdu.settings))["values"])


def test_a_shipped_file_is_read_unchanged(tmp_path: Path) -> None:
    conf = load(tmp_path, SHIPPED)
    assert list(conf.nodes) == list(conf.pdus) == ["node01", "gpu01", "metal01", "badnode"]
    assert told(conf.faults) == ["static_nodes.badnode: platform: there is no platform 'unknown'"]
    assert not conf.warnings
    assert values(conf, "node01") == {"ec2_id": "i-0a3f", "region": "eu-west-1"}
    assert values(conf, "gpu01") == {"resource_group": "my-group", "name": "gpu01"}
    assert values(conf, "metal01") == {"name": "metal01", "ipmi_username": "admin"}
    aws = conf.pdus["node01"].settings
    assert aws["status"].splitlines()[1] == """if [ "$state" == '"running"' ]; then"""
    assert aws["status_off_exit_code"] == "123" and "status_off_exit_code" not in conf.pdus["gpu01"].settings
    assert Path(aws["folder"]) == tmp_path.resolve()
    for pdu in conf.pdus.values():
        if not pdu.fault:
            assert (pdu.options.timeout, pdu.options.retries) == (50, 1)
    assert str(conf.node("node01").outlets[0]) == "node01 port 1"
    with pytest.raises(RequestError, match=r"'badnode' is disabled by its configuration: .*no platform 'unknown'"):
        conf.node("badnode")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("a: off, b: on", "off on"),
        ("a: yes, b: No", "yes No"),
        ("a: true, b: 'true'", "true true"),
        ("a: 007, b: 7", "007 7"),
        ("a: 0x1F, b: 1_000", "0x1F 1_000"),
        ("a: 1e3, b: 10.0", "1e3 10.0"),
        ("a: 22:22:22, b: 2020-02-28", "22:22:22 2020-02-28"),
        ("a: .inf, b: -0", ".inf -0"),
        ("a: ~, b:", " "),
        ("a: null, b: ''", " "),
        ("a: !!str ~, b: !!int 0", "~ 0"),
        ("a: '$(id)', b: x", "$(id) x"),
    ],
)
def test_values_are_what_was_written(tmp_path: Path, keys: str, found: str) -> None:
    conf = load(tmp_path, f"{ONE}static_nodes: {{n: {{platform: sim, {keys}}}}}\n")
    a, b = found.split(" ")
    assert values(conf, "n") == {"name": "n", "a": a, "b": b}
    assert not conf.faults


@pytest.mark.parametrize("name", ["off", "on", "yes", "no", "null", "1", "1.0", "true", "ä"])
def test_any_word_can_be_the_name_of_a_platform_or_a_node(tmp_path: Path, name: str) -> None:
    conf = load(
        tmp_path, f"platforms: {{{name}: {{variables: [name]}}}}\nstatic_nodes: {{{name}: {{platform: '{name}'}}}}"
    )
    assert list(conf.nodes) == [name] and not conf.faults
    assert values(conf, name) == {"name": name}
    if name != "null":
        conf = load(tmp_path, f"platforms: {{{name}: {{}}}}\nstatic_nodes: {{n: {{platform: {name}}}}}")
        assert conf.node("n")


@pytest.mark.parametrize("name", ["~", "<", "=", "a b", "a,b"])
def test_a_node_that_could_not_be_addressed_is_disabled_alone(tmp_path: Path, name: str) -> None:
    conf = load(
        tmp_path,
        f"platforms: {{'{name}': {{}}}}\nstatic_nodes: {{'{name}': {{platform: '{name}'}}, n: {{platform: '{name}'}}}}",
    )
    why = "not a valid node name: letters, digits and _ . - only"
    assert told(conf.faults) == [f"static_nodes.{name}: {why}"]
    assert conf.node("n")
    with pytest.raises(RequestError, match=why):
        conf.node(name)


def test_faults_of_a_platform_without_nodes_are_told(tmp_path: Path) -> None:
    conf = load(tmp_path, "platforms: {p: {timeout: 0}}")
    assert told(conf.faults) == ["platforms.p.timeout: 0 is not within 0.1 and 3600 seconds"]


def test_names_with_dashes_underscores_and_points_can_be_asked_for(tmp_path: Path) -> None:
    names = ["gw-1", "gw_1", "gw.1", "10.0.0.1", "-x"]
    conf = load(tmp_path, ONE + f"static_nodes: {{{', '.join(f'{name}: {{platform: sim}}' for name in names)}}}")
    assert conf.named(",".join(names)) == (names, [])
    assert [conf.node(name).name for name in names] == names


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("extra: 1\n", ["extra: unknown key"]),
        ("nodes: {}\n", ["nodes: unknown key"]),
        ("staticnodes: {}\n", ["staticnodes: unknown key; did you mean 'static_nodes'?"]),
    ],
)
def test_unknown_sections_are_warnings(tmp_path: Path, text: str, warnings: list[str]) -> None:
    conf = load(tmp_path, ONE + text)
    assert told(conf.warnings) == warnings and not conf.faults and not conf.nodes


@pytest.mark.parametrize(
    ("platform", "node", "faults", "warnings"),
    [
        ("{power-on: x}", "", [], ["platforms.p.power-on: unknown key; did you mean 'power_on'?"]),
        ("{power_on: }", "", [], []),
        ("{timeout: 5, parallel: 7}", "", [], []),
        ("{variables: [a]}", "", [], ["static_nodes.n: has no a, which its platform p names: it is empty"]),
        ("{variables: [a]}", "a: [1]", ["static_nodes.n: a: must be a text or a number"], []),
        ("{variables: [a]}", "b: [1]", [], ["static_nodes.n: has no a, which its platform p names: it is empty"]),
        ("{variables: a}", "", ["platforms.p.variables: must be a list of names", FAULTY], []),
        ("{variables: [[a]]}", "", ["platforms.p.variables: must be a list of names", FAULTY], []),
        ("{variables: [a-b]}", "", ["platforms.p.variables: 'a-b' cannot be the name of a shell variable", FAULTY], []),
        ("{power_on: [x]}", "", ["platforms.p.power_on: ['x'] is not a text", FAULTY], []),
        ("{status_off_exit_code: 0}", "", ["platforms.p.status_off_exit_code: 0 is not within 1 and 255", FAULTY], []),
        ("{status_off_exit_code: off}", "", ["platforms.p.status_off_exit_code: 'off' is not a whole number", FAULTY], []),
        ("{status_transient_exit_code: 256}", "", ["platforms.p.status_transient_exit_code: 256 is not within 1 and 255", FAULTY], []),
        ("{status_off_exit_code: 3, status_transient_exit_code: 3}", "", ["platforms.p.status_transient_exit_code: 3 is the status_off_exit_code as well", FAULTY], []),
        ("{status_off_exit_code: 75}", "", [], []),
        ("{retries: 3, retrydelay: 0.5, verify: yes, min_interval: 2, status: 'true'}", "", [], []),
        ("{retries: many}", "", ["platforms.p.retries: 'many' is not a whole number", FAULTY], []),
        ("{retrydelay: -1}", "", ["platforms.p.retrydelay: '-1' is not a number of seconds", FAULTY], []),
        ("{min_interval: soon}", "", ["platforms.p.min_interval: 'soon' is not a number of seconds", FAULTY], []),
        ("{verify: maybe}", "", ["platforms.p.verify: 'maybe' is neither true nor false", FAULTY], []),
        ("{verify: true}", "", ["static_nodes.n.verify: the state of this PDU cannot be read, so it cannot be verified"], []),
        ("{retrys: 3}", "", [], ["platforms.p.retrys: unknown key; did you mean 'retries'?"]),
        ("{}", "retries: many", ["static_nodes.n.retries: 'many' is not a whole number"], []),
        ("{}", "retrydelay: [1]", ["static_nodes.n.retrydelay: ['1'] is not a number of seconds"], []),
        ("{}", "verify: perhaps", ["static_nodes.n.verify: 'perhaps' is neither true nor false"], []),
        ("{variables: [retries]}", "retries: many", [], []),
        ("{parallel: 0}", "", ["platforms.p.parallel: 0 is not within 1 and 10000", FAULTY], []),
        ("{timeout: soon}", "", ["platforms.p.timeout: 'soon' is not a number of seconds", FAULTY], []),
        (
            "{variables: [a-b, c d], timeout: 0, power_on: [x], parallel: 0}",
            "",
            [
                "platforms.p.variables: 'a-b' cannot be the name of a shell variable",
                "platforms.p.variables: 'c d' cannot be the name of a shell variable",
                "platforms.p.power_on: ['x'] is not a text",
                "platforms.p.parallel: 0 is not within 1 and 10000",
                "platforms.p.timeout: 0 is not within 0.1 and 3600 seconds",
                FAULTY,
            ],
            [],
        ),
        ("[]", "", ["platforms.p: must be a map", FAULTY], []),
        ("", "", ["platforms.p: must be a map", FAULTY], []),
    ],
)  # fmt: skip
def test_faults_of_a_platform_are_those_of_its_nodes(
    tmp_path: Path, platform: str, node: str, faults: list[str], warnings: list[str]
) -> None:
    others = "fine: {platform: good}, n: {platform: p"
    conf = load(tmp_path, f"platforms: {{good: {{}}, p: {platform}}}\nstatic_nodes: {{{others}, {node}}}}}")
    assert (told(conf.faults), told(conf.warnings)) == (faults, warnings)
    assert conf.node("fine")
    if faults:
        with pytest.raises(RequestError, match="'n' is disabled"):
            conf.node("n")


def test_a_platform_may_have_a_driver_in_place_of_scripts(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """\
platforms:
  bmc: {driver: ipmi, ip: "{name}-bmc", username: admin, password: "{name}", timeout: 20, restart: reset}
static_nodes:
  n1: {platform: bmc, password: 12345678, cipher: 3, retries: 2}
  n2: {platform: bmc, ip: 192.0.2.2, locked: yes, usrname: x}
""",
    )
    assert not found.faults
    assert [text.partition(": ")[2] for text in found.warnings] == [
        "static_nodes.n2.usrname: unknown key; did you mean 'username'?"
    ]
    n1, n2 = found.pdus["n1"], found.pdus["n2"]
    assert n1.settings == {
        "driver": "ipmi",
        "ip": "n1-bmc",
        "username": "admin",
        "password": "12345678",
        "timeout": "20",
        "restart": "reset",
        "cipher": "3",
        "retries": "2",
    }
    assert n2.settings["ip"] == "192.0.2.2" and n2.settings["password"] == "{name}"
    assert found.nodes["n1"].feeds == (Outlet("n1", "1"),) and found.nodes["n2"].locked
    assert n1.traits.restarts


@pytest.mark.parametrize(
    ("platform", "node", "fault"),
    [
        ("driver: ipmy", "", "platforms.p.driver: there is no driver 'ipmy'; did you mean 'ipmi'?"),
        ("driver: platform", "", "platforms.p.driver: platform is none for a platform"),
        ("driver: ipmi, power_on: 'true'", "", "platforms.p.power_on: contradicts the driver ipmi"),
        ("driver: ipmi, port: 0", "", "platforms.p.port: 0 is not within 1 and 65535"),
        ("driver: ipmi, timeout: never", "", "platforms.p.timeout: 'never' is not a number of seconds"),
        ("driver: ipmi", ", cipher: 5", "static_nodes.n.cipher: '5' is none of auto, 17, 3"),
        ("driver: ipmi", ", password: {file: /none}", "static_nodes.n: password: the file '/none' cannot be read"),
        ("driver: shelly_gen1, username: x", ", retries: x", "static_nodes.n.retries: 'x' is not a whole number"),
    ],
)
def test_faults_of_a_platform_with_a_driver(tmp_path: Path, platform: str, node: str, fault: str) -> None:
    found = load(tmp_path, f"platforms: {{p: {{{platform}}}}}\nstatic_nodes: {{n: {{platform: p{node}}}}}\n")
    assert fault in found.faults[0], found.faults
    assert found.pdus["n"].fault


def test_what_every_pdu_can_be_given(tmp_path: Path) -> None:
    """A platform can be given it, and a node, whose own word counts; a variable by such a name is for the scripts."""
    options = "timeout: 7, retries: 3, retrydelay: 0.5, verify: yes, min_interval: 2"
    conf = load(
        tmp_path,
        f"platforms: {{p: {{{options}, status: 'true'}}, v: {{variables: [retries], timeout: 9}}}}\n"
        "static_nodes: {a: {platform: p}, b: {platform: p, retries: 5, verify: off, min_interval: , timeout: 8},\n"
        "  c: {platform: v, retries: 4, retrydelay: 1}}\n",
    )
    assert not conf.faults and not conf.warnings
    found = {name: pdu.options for name, pdu in conf.pdus.items()}
    values_of = ("timeout", "retries", "retrydelay", "verify", "min_interval")
    assert {name: [getattr(each, key) for key in values_of] for name, each in found.items()} == {
        "a": [7, 3, 0.5, True, 2],
        "b": [8, 5, 0.5, False, 2],
        "c": [9, 1, 1, False, 0],
    }
    assert values(conf, "c") == {"retries": "4"}


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ("", "platform: is missing"),
        ("~", "platform: is missing"),
        ("{}", "platform: is missing"),
        ("{platform: }", "platform: is missing"),
        ("{platform: simm}", "platform: there is no platform 'simm'; did you mean 'sim'?"),
        ("{platform: [sim]}", "platform: there is no platform ['sim']; did you mean 'sim'?"),
        ("sim", "must be a map"),
        ("[sim]", "must be a map"),
    ],
)
def test_a_faulty_node_is_listed_and_disabled_alone(tmp_path: Path, node: str, fault: str) -> None:
    conf = load(tmp_path, f"{ONE}static_nodes:\n  fine: {{platform: sim, a: 1, b: 1}}\n  n: {node}\n")
    assert told(conf.faults) == [f"static_nodes.n: {fault}"] and list(conf.nodes) == ["fine", "n"]
    assert conf.node("fine")
    with pytest.raises(RequestError) as refused:
        conf.node("n")
    assert fault in str(refused.value)


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    conf = load(
        tmp_path,
        """\
platforms:
  sim: &sim {variables: [name, a, b], power_on: one, status_off_exit_code: 3}
  other: {<<: *sim, power_on: two}
  third: {<<: *sim, status_off_exit_code: 4}
static_nodes:
  n1: &n1 {platform: other, a: x, b: y}
  n2: &n2 {<<: *n1, b: z}
  n3: {<<: [*n2, *n1], a: w}
  n4: *n1
""",
    )
    assert not conf.faults and not conf.warnings
    assert [values(conf, name)["a"] + values(conf, name)["b"] for name in conf.nodes] == ["xy", "xz", "wz", "xy"]
    assert conf.pdus["n3"].settings["power_on"] == "two" and conf.pdus["n4"].settings["status_off_exit_code"] == "3"


@pytest.mark.parametrize("long", ["", "_of_this_machine"], ids=["short keys", "long keys"])
@pytest.mark.parametrize(
    ("merge", "own", "expected"),
    [
        ("[*one, *two]", "", "1 1 2 -"),  # earlier in the list wins
        ("[*two, *one]", "", "2 1 2 -"),
        ("[*two, *one]", "a: o", "o 1 2 -"),  # the map's own keys win over all
        ("*nested", "", "n 1 2 n"),  # and over all those of a map that is merged in its turn
        ("[*nested, *two]", "d: o", "n 1 2 o"),
        ("[*two, *nested]", "", "2 1 2 n"),
        ("[*one, *nested]", "", "1 1 2 n"),
        ("[*one, *one]", "b: o", "1 o - -"),
        ("[{a: i}, *one]", "", "i 1 - -"),
        ("{a: i, <<: *nested}", "", "i 1 2 n"),
        ("[]", "", "- - - -"),
    ],
)
def test_who_wins_in_a_merge(tmp_path: Path, merge: str, own: str, expected: str, long: str) -> None:
    """The rule is ours, whatever the release of PyYAML that reads the file: 6.0.4 has another."""
    text = f"""\
platforms: {{sim: {{variables: [a, b, c, d], power_on: "true ${{a:-}} ${{b:-}} ${{c:-}} ${{d:-}}"}}}}
one: &one {{a: 1, b: 1}}
two: &two {{a: 2, c: 2}}
nested: &nested {{<<: [*one, *two], a: n, d: n}}
static_nodes:
  n: {{{own}{own and ", "}<<: {merge}, platform: sim}}
  m: {{platform: sim, <<: {merge}{own and ", "}{own}}}
"""
    conf = load(tmp_path, re.sub(r"\b([abcd])(?=[:,\]])", rf"\1{long}", text))
    assert not conf.faults
    for node in conf.nodes:
        assert " ".join(values(conf, node)[key + long] or "-" for key in "abcd") == expected


def test_merges_take_no_longer_than_the_file_is_long(tmp_path: Path) -> None:
    """What they merge is looked at once: a release that copies it takes 2**30 steps."""
    chain = "".join(f"b{i}: &b{i} {{<<: [*b{i - 1}, *b{i - 1}], k{i}: {i}}}\n" for i in range(1, 60))
    wide = ", ".join(f"*w{i}" for i in range(1000))
    text = f"b0: &b0 {{a: x}}\n{chain}" + "".join(f"w{i}: &w{i} {{<<: *b{i % 60}}}\n" for i in range(1000))
    conf = load(
        tmp_path,
        f"{text}platforms: {{sim: {{variables: [a, k1], power_on: one}}}}\n"
        f"static_nodes:\n  deep: {{<<: [*b59, *b59], platform: sim}}\n  wide: {{<<: [{wide}], platform: sim}}\n",
    )
    assert not conf.faults
    assert [values(conf, name) for name in ("deep", "wide")] == [{"a": "x", "k1": "1"}] * 2


@pytest.mark.parametrize(
    "line", ["b{0}: &b{0} [*b{1}, *b{1}]", "b{0}: &b{0} {{x: *b{1}, y: *b{1}}}", "b{0}: &b{0} {{<<: *b{1}, k{0}: 1}}"]
)
def test_a_short_file_that_amounts_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(yamlfile, "MOST_WRITTEN_OUT", 10000)
    first = "b0: &b0 [x]" if "[" in line else "b0: &b0 {x: y}"
    lines = "\n".join([first, *(line.format(number, number - 1) for number in range(1, 200 if "<<" in line else 50))])
    with pytest.raises(ConfigError, match="aliases and merges make too much of it"):
        load(tmp_path, f"{lines}\n{ONE}")


def test_nodes_of_an_old_topology(tmp_path: Path) -> None:
    """OpenFlight Power's README calls the section so; its program does not know it."""
    old = "platforms: {sim: {power_on: one}}\nnodes: {a: {platform: sim}}\n"
    conf = load(tmp_path, old)
    assert [*conf.nodes] == ["a"] and not conf.faults
    (warning,) = conf.warnings
    assert "nodes: is read as static_nodes" in warning
    conf = load(tmp_path, old + "static_nodes: {b: {platform: sim}}\n")
    (fault,) = conf.faults
    assert [*conf.nodes] == ["b"] and "nodes: is not read beside static_nodes" in fault and not conf.warnings


def test_a_merge_into_what_stands_higher_up_is_no_duplicate(tmp_path: Path) -> None:
    text = "base: &base {a: 1}\nall: {one: &one {<<: *base, a: 2}}\nsome: {<<: *one}\n"
    assert not load(tmp_path, text + ONE).faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("static_nodes: {}\n", "platforms: is missing"),
        ("platform: {}\n", "platforms: is missing; did you mean 'platform'?"),
        ("platforms: []\n", "platforms: must be a map"),
        ("platforms: {}\nstatic_nodes: [a]\n", "static_nodes: must be a map"),
        ("platforms: {}\ngroups: x\n", "groups: must be a map"),
        ("", "must be a map of static_nodes and platforms"),
        ("- a\n", "must be a map of static_nodes and platforms"),
        ("text\n", "must be a map of static_nodes and platforms"),
        ("platforms: {\n", "not valid YAML: expected the node content, but found '<stream end>'"),
        ("platforms:\n\tx: 1\n", "not valid YAML: found character '\\t' that cannot start any token"),
        ("platforms: {}\n---\nplatforms: {}\n", "not valid YAML: but found another document"),
        ("platforms: *p\n", "not valid YAML: found undefined alias 'p'"),
        ("platforms: !ruby/object {}\n", "not valid YAML: could not determine a constructor for the tag '!ruby/object'"),
        ("platforms: {<<: text}\n", "not valid YAML: expected a mapping or list of mappings for merging, but found scalar"),
        ("platforms: !!map text\n", "not valid YAML: expected a mapping node, but found scalar"),
        ("platforms:\n  ? [a]\n  : {}\n", "not valid YAML: a key that is not a text"),
        ("platforms:\n  ? {a: b}\n  : {}\n", "not valid YAML: a key that is not a text"),
        ('platforms:\n  "\\ud800": {}\n', "not valid YAML: a key that is not a text"),
        ("platforms:\n  '': {}\n", "not valid YAML: a key that is not a text"),
        ("platforms: {<<: [{}, text]}\n", "not valid YAML: expected a mapping for merging, but found scalar"),
        ("platforms: &p {<<: *p}\n", "not valid YAML: a map merged into itself"),
        ("platforms: &p {a: {<<: *p}}\n", "not valid YAML: a map merged into itself"),
        ("a: &a {}\nplatforms: {<<: *a, <<: *a}\n", "not valid YAML: duplicate key '<<'"),
        ("platforms: {a: {}, b: {}, a: {}}\n", "not valid YAML: duplicate key 'a'"),
        ("platforms: {}\nstatic_nodes:\n  n: {a: 1, a: 1}\n", "not valid YAML: duplicate key 'a'"),
        ("platforms: {}\nplatforms: {}\n", "not valid YAML: duplicate key 'platforms'"),
        ("platforms: \x00\n", "not valid YAML: unacceptable character #x0000"),
        ("platforms: " + "[" * 1000, "not usable YAML: nested too deeply"),
    ],
)  # fmt: skip
def test_what_concerns_the_whole_file_is_fatal(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    (line,) = raised.value.faults
    assert line.startswith(f"{tmp_path}/topology.yaml:") and fault in line and "\n" not in line


def test_where_in_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, "platforms: {}\nstatic_nodes:\n  n1: {}\n  n1: {}\n")
    assert str(raised.value) == f"{tmp_path}/topology.yaml:4:3: not valid YAML: duplicate key 'n1'"


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, content, fault in (
        (tmp_path / "absent", None, "cannot be read: No such file or directory"),
        (tmp_path, None, "cannot be read: Is a directory"),
        (tmp_path / "latin", b"a: \xe4\n", "not valid UTF-8 at byte 3"),
    ):
        if content:
            path.write_bytes(content)
        with pytest.raises(ConfigError) as raised:
            reader.load("", {"topology": str(path)})
        assert str(raised.value) == f"{path}: {fault}"
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbfplatforms: {}\n")
    assert not reader.load("", {"topology": str(tmp_path / "marked")}).warnings
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"to read it the package PyYAML is needed \(Debian: python3-yaml\)"):
        load(tmp_path, ONE)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    nodes = "static_nodes: {n1: {platform: x}, n2: , n3: {platform: q}}\ngroups: {g: 'n[1-4]', h: 'n['}\n"
    conf = load(tmp_path, f"platforms: {{q: {{variables: 3, nonsense: 1}}}}\n{nodes}more: 1\n")
    assert told(conf.faults) == [
        "platforms.q.variables: must be a list of names",
        "static_nodes.n1: platform: there is no platform 'x'",
        "static_nodes.n2: platform: is missing",
        "static_nodes.n3: platforms.q has faults",
        "groups.g: there is no node 'n4'",
        "groups.h: 'n[' has a bracket too many or too few",
    ]
    assert told(conf.warnings) == [
        "more: unknown key",
        "platforms.q.nonsense: unknown key",
    ]
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, "platforms: [", {"daemon": {"topology": "topology.yaml", "port": "x"}, "pdus": {"p": {}}})
    fatal = told(raised.value.faults)
    assert len(fatal) == 3 and "daemon.port" in fatal[0] and "not valid YAML" in fatal[1] and "pdus.p" in fatal[2]


def test_groups(tmp_path: Path) -> None:
    nodes = "static_nodes: {n1: {platform: sim}, n2: {platform: sim}, gw: {platform: sim}}\n"
    conf = load(tmp_path, f"{ONE}{nodes}groups: {{all: ['gw', '@compute'], compute: 'n[1-2]', none: ''}}\n")
    assert conf.groups == {"all": ("gw", "n1", "n2"), "compute": ("n1", "n2"), "none": ()} and not conf.faults


# -- beside a configuration file


def test_groups_of_either_file_may_name_those_of_the_other(tmp_path: Path) -> None:
    nodes = "static_nodes: {n01: {platform: sim}, n03: {platform: sim}}\n"
    ours = {"web": "n01", "mix": "@metal,web1", "deep": "@all", "two": "n01", "bad": "@two", "self": "@round"}
    whole = {"pdus": {"pdu": {"driver": "dummy"}}, "nodes": {"web1": {"hostname": "pdu", "port": 1}}, "groups": ours}
    conf = load(
        tmp_path,
        f"{ONE}{nodes}groups: {{metal: 'n[03,01]', all: '@mix', two: n03, worse: '@two', round: '@self'}}",
        whole,
    )
    assert told(conf.faults) == [
        "groups.two: duplicate key",
        "groups.bad: duplicate group 'two'",
        "groups.self: is a part of itself: self -> round -> self",
        "groups.worse: duplicate group 'two'",
        "groups.round: is a part of itself: round -> self -> round",
    ]
    mixed = ("n03", "n01", "web1")
    assert conf.groups == {"web": ("n01",), "mix": mixed, "deep": mixed, "metal": mixed[:2], "all": mixed}


def test_beside_a_configuration_file(tmp_path: Path) -> None:
    nodes = "static_nodes: {n1: {platform: sim, a: 1, b: 2}, n2: {platform: sim, a: 1, b: 2}}\ngroups: {g: n1}\n"
    whole = {
        "pdus": {"pdu": {"driver": "dummy"}},
        "aliases": {"board": {"hostname": "pdu", "port": 1}, "also": {"hostname": "n2", "port": 1}},
        "nodes": {"server": {"feeds": [{"hostname": "pdu", "port": 2}, {"hostname": "n1", "port": 1}]}},
        "groups": {"boards": "board,n[1-2]"},
    }
    conf = load(tmp_path, ONE + nodes, whole)
    assert not conf.faults and not conf.warnings
    assert list(conf.nodes) == ["board", "also", "server", "n1", "n2"] and list(conf.pdus) == ["pdu", "n1", "n2"]
    assert conf.groups == {"boards": ("board", "n1", "n2"), "g": ("n1",)}
    assert conf.node("also").outlets == conf.node("n2").outlets
    assert [str(outlet) for outlet in conf.node("server").outlets] == ["pdu port 2", "n1 port 1"]
    assert conf.target("n1", "1") and conf.listeners[0].port == 16421
    with pytest.raises(RequestError, match="a machine has one, 1"):
        conf.target("n1", "2")


def test_pdus_may_be_missing_only_beside_a_topology(tmp_path: Path) -> None:
    assert load(tmp_path, ONE, {}).pdus == {}
    with pytest.raises(ConfigError, match="pdus: is missing"):
        load(tmp_path, ONE, {"daemon": {}})


def test_a_name_that_two_have_switches_nothing(tmp_path: Path) -> None:
    """Above all, a node must not become port 1 of a PDU that happens to have its name."""
    nodes = ", ".join(f"n{number}: {{platform: sim, a: 1, b: 1}}" for number in range(1, 5))
    whole = {
        "pdus": {"n1": {"driver": "dummy"}, "pdu": {"driver": "dummy"}},
        "aliases": {"n2": {"hostname": "pdu", "port": 2}, "same": {"hostname": "pdu", "port": 3}},
        "nodes": {"n3": {"hostname": "pdu", "port": 4}, "same": {"hostname": "pdu", "port": 5}},
        "groups": {"g": "n4", "h": "n4"},
    }
    conf = load(tmp_path, f"{ONE}static_nodes: {{{nodes}}}\ngroups: {{g: n4, i: n4}}\n", whole)
    assert told(conf.faults) == [
        "static_nodes.n1: there is a PDU of this name already",
        "nodes.same: there is an alias or node of this name already",
        "static_nodes.n2: there is an alias or node of this name already",
        "static_nodes.n3: there is an alias or node of this name already",
        "groups.g: duplicate key",
    ]
    for name in ("n1", "n2", "n3", "same"):
        with pytest.raises(RequestError, match="is disabled by its configuration"):
            conf.node(name)
    assert conf.target("n1", "1") and conf.node("n4")
    assert conf.groups == {"h": ("n4",), "i": ("n4",)} and conf.named("", "g,h") == (["n4"], ["g"])


@pytest.mark.parametrize(
    ("word", "locked"),
    [("true", True), ("yes", True), ("on", True), ("false", False), ("No", False), ("off", False), ("False", False), ("~", False), ("core switch", True)],
)  # fmt: skip
def test_a_locked_node(tmp_path: Path, word: str, locked: bool) -> None:
    conf = load(tmp_path, f"{ONE}static_nodes: {{n: {{platform: sim, locked: {word}, a: 1, b: 1}}}}\n")
    assert bool(conf.node("n").locked) is locked and bool(conf.target("n", "1").locked) is locked
    assert conf.node("n").locked.endswith("by the configuration: core switch") is (word == "core switch")


# -- on the command line


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the program within this process; return its exit code and what it printed."""
    code = cli.main([*arguments])
    return code, *capsys.readouterr()


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(SHIPPED)
    code, out, err = run(capsys, f"--topology={path}", "--check")
    assert (code, err) == (2, "")
    assert out == f"{path}:34: static_nodes.badnode: platform: there is no platform 'unknown'\n"
    path.write_text(SHIPPED.replace("platform: unknown", "platform: ipmi\n    ipmi_username: x") + "more: 1\n")
    code, out, err = run(capsys, f"--topology={path}", "--check")
    assert (code, err) == (0, "")
    assert out == f"{path}:37: more: unknown key\n{path}: 4 PDUs, 4 nodes, no faults\n"
    path.write_text("a: [")
    code, out, err = run(capsys, f"--topology={path}", "--check")
    assert (code, out) == (2, "") and err.startswith(f"pdudaemon: {path}:1:5: not valid YAML: ")
    assert run(capsys, f"--topology={tmp_path}/absent", "--check")[0] == 2


def test_alone_it_is_served_as_openflight_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a configuration file: HTTP on OpenFlight's port, with tokens."""
    parsed = arguments.parser().parse_args
    path = tmp_path / "topology.yaml"
    path.write_text(ONE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    conf = cli._config(parsed(["--topology=topology.yaml"]))
    assert [(each.protocol, each.port) for each in conf.listeners] == [("http", 6302)]
    assert conf.daemon.jwt_secret_file == str(tmp_path / "state" / "pdudaemon" / "jwt_secret")
    assert cli._config(parsed(["--topology=topology.yaml", "--listener=both"])).listeners[0].protocol == "both"
    # its own path, if there is neither an option nor a configuration file of ours
    monkeypatch.setattr(arguments, "DEFAULT_CONF", str(tmp_path / "pdudaemon.conf"))
    monkeypatch.setattr(topology, "OPENFLIGHT", path)
    monkeypatch.setattr(access, "OPENFLIGHT", tmp_path / "power-server.conf")
    (tmp_path / "power-server.conf").write_text("jwt_shared_secret='c2VjcmV0c2VjcmV0c2VjcmV0'\n")
    conf = cli._config(parsed([]))
    assert conf.path == str(path) and conf.daemon.jwt_secret_file == str(tmp_path / "power-server.conf")
    (tmp_path / "pdudaemon.conf").write_text('{"pdus": {}}')
    assert cli._config(parsed([])).path == str(tmp_path / "pdudaemon.conf")
    # beside a file it changes nothing else
    conf = cli._config(parsed([f"--conf={tmp_path}/pdudaemon.conf", f"--topology={path}"]))
    assert (conf.listeners[0].port, conf.daemon.jwt_secret_file) == (16421, "")
    assert conf.daemon.topology == str(path)


def test_on_an_empty_machine_the_first_token_is_made_from_a_topology_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(access, "OPENFLIGHT", tmp_path / "absent")
    (tmp_path / "topology.yaml").write_text(ONE)
    code, out, err = run(capsys, f"--topology={tmp_path}/topology.yaml", "--token")
    assert (code, err) == (0, "") and out.count(".") == 2
    secret = tmp_path / "state" / "pdudaemon" / "jwt_secret"
    assert secret.stat().st_mode & 0o777 == (0o600 if os.geteuid() else 0o640)
    access.from_file(secret).permit("192.0.2.1", (), f"Bearer {out.strip()}")
