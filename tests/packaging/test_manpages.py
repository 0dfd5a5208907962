# SPDX-License-Identifier: MIT
"""The manual pages and the completion are whole and true: every option, every key, no warning, examples that load."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pexpect
import pytest

from pdudaemon.config import reader, topology
from pdudaemon.config.broker import BrokerOptions
from pdudaemon.config.options import LEVELS, PROTOCOLS, DaemonOptions, ListenerOptions
from pdudaemon.config.sites import SiteOptions
from pdudaemon.drivers import strategies
from pdudaemon.drivers.driver import PDUOptions, registered
from pdudaemon.drivers.snmpoutlet import SNMPDriver
from pdudaemon.power import Action
from pdudaemon.settings import declared
from tests.support.completion import asking
from tests.support.docs import ROFF
from tests.support.process import ROOT

PAGES = sorted((ROOT / "share" / "man").iterdir())
DAEMON, CONF, CLIENT = (ROOT / "share" / "man" / name for name in ("pdudaemon.8", "pdudaemon.conf.5", "pduclient.1"))
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][a-z-]*")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [*map(str, command)],
        env={**ENVIRONMENT, **environment},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def needed(program: str, package: str) -> str:
    """Return the path of a program, or skip the test."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing (Debian: {package})")
    return path


def source(page: Path) -> str:
    """Return the source of a page with its characters as a reader sees them."""
    text = page.read_text().replace("\\&", "").replace("\\%", "")
    for character, escaped in sorted(ROFF.items(), key=lambda pair: pair[0] == "\\"):
        text = text.replace(escaped, character)
    return text


def sections(page: Path) -> dict[str, str]:
    """Return the sections and subsections of a page by their headings."""
    parts = re.split(r"^\.S[hs] (.*)\n", source(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: Path) -> list[str]:
    """Return what is shown letter for letter."""
    return re.findall(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", source(page), re.MULTILINE)


def items(text: str, macro: str) -> set[str]:
    """Return the words of a macro that begin the items of lists."""
    lines = re.findall(r"^\.It (.*)", text, re.MULTILINE)
    named = [line for line in lines if line.startswith(f"{macro} ")]
    return {word for line in named for word in re.findall(r"[\w/-]+", line.partition(" No ")[0])[1:]}


def options(page: Path, *headings: str) -> set[str]:
    """Return the options that some sections describe."""
    found = sections(page)
    lines = [line for heading in headings for line in re.findall(r"^\.It (.*Fl .*)", found[heading], re.MULTILINE)]
    return {f"-{word}" for line in lines for word in re.findall(r"Fl (-?[A-Za-z][a-z-]*)", line)}


LOOKING = ("pdus", "outlets", "show", "history", "watch")
HELP = {
    "pdudaemon": [sys.executable, "-m", "pdudaemon", "--help"],
    "pduclient": [sys.executable, ROOT / "pduclient", "--help"],
    "pduclient list": [sys.executable, ROOT / "pduclient", "list", "--help"],
    **{f"pduclient {word}": [sys.executable, ROOT / "pduclient", word, "--help"] for word in ("cancel", *LOOKING)},
}


@functools.cache
def helped(program: str) -> set[str]:
    """Return the options that a program's own help has."""
    ran = run(*HELP[program], COLUMNS="200")
    assert ran.returncode == 0
    return set(OPTION.findall(ran.stdout))


# The pages as pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_has_no_warnings(page: Path) -> None:
    ran = run(needed("man", "man-db"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page)
    assert ran.stdout and (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_has_no_warnings(page: Path) -> None:
    ran = run(needed("mandoc", "mandoc"), "-T", "lint", "-W", "warning", page)
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_whatis_finds_a_page(page: Path) -> None:
    ran = run(needed("lexgrog", "man-db"), page)
    assert f'"{page.stem} - ' in ran.stdout and ran.returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_shown_letter_for_letter_can_be_copied(page: Path) -> None:
    ran = run(needed("man", "man-db"), "-E", "UTF-8", "-l", page)
    shown = "\n".join(line.strip() for line in ran.stdout.splitlines())
    for block in blocks(page):
        assert "\n".join(line.strip() for line in block.splitlines()) in shown
    assert "\\" not in re.sub(r'\\("|$)', "", shown, flags=re.MULTILINE), "not of JSON or a shell"


# Options


def test_the_page_of_the_daemon_has_its_options() -> None:
    assert options(
        DAEMON, "OPTIONS", "Questions", "New devices", "From another program", "Tokens", "Without a daemon"
    ) == helped("pdudaemon")
    assert options(DAEMON, *sections(DAEMON)) == helped("pdudaemon")


def test_the_page_of_the_client_has_the_options_of_both_interfaces() -> None:
    assert options(CLIENT, "PDUS AND PORTS") == helped("pduclient")
    assert options(CLIENT, "NODES") == helped("pduclient list")
    looking = set().union(*(helped(f"pduclient {word}") for word in LOOKING))
    assert options(CLIENT, "LOOKING") == looking - helped("pduclient cancel") and helped("pduclient cancel") <= looking


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_no_other_options(page: Path) -> None:
    known = {program: helped(program) for program in HELP}
    clients = set().union(*(found for program, found in known.items() if program.startswith("pduclient")))
    its_own = clients if page == CLIENT else known["pdudaemon"]
    assert {f"-{word}" for word in re.findall(r"Fl (-?[A-Za-z][a-z-]*)", source(page))} <= its_own
    for program, words in re.findall(r"(pdudaemon|pduclient) ([^\n)]*)", source(page)):
        about_nodes = program == "pduclient" and not words.startswith("--daemon")
        word = words.split()[0] if words.split()[0] in LOOKING else "list"
        assert set(OPTION.findall(words)) <= known[f"pduclient {word}" if about_nodes else program], words


def test_the_page_of_the_client_has_its_variables() -> None:
    variables = set(re.findall(r"PDUCLIENT_[A-Z_]+", run(*HELP["pduclient list"]).stdout))
    assert variables and variables <= items(sections(CLIENT)["ENVIRONMENT"], "Ev")


# Keys


def test_every_key_stands_in_the_page_of_the_configuration() -> None:
    found = {heading: items(text, "Cm") for heading, text in sections(CONF).items()}
    assert found["DESCRIPTION"] == {"daemon", "pdus", "aliases", "nodes", "groups", "roles", "sites", "mqtt"}
    assert found["DAEMON"] == {*declared(DaemonOptions), "listeners"}
    assert found["Listeners"] == {*declared(ListenerOptions)}
    assert found["PDUS"] == {*declared(PDUOptions)}
    assert found["SITES"] == {*declared(SiteOptions)}
    assert found["MQTT"] == {*declared(BrokerOptions)}
    assert found["NODES AND ALIASES"] == {"hostname", "port", "feeds", "locked"}
    assert found["TOPOLOGY"] == {*topology.SECTIONS, *topology._PLATFORM_KEYS}


def test_every_driver_stands_there_with_its_keys() -> None:
    found = {name: items(text, "Cm") for heading, text in sections(CONF).items() for name in heading.split()}
    shared = items(sections(CONF)["Settings of SNMP PDUs"], "Cm")
    for name, driver in registered.items():
        assert (found[name] or (shared if issubclass(driver, SNMPDriver) else set())) == {*declared(driver)}, name


def test_every_example_of_a_configuration_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "rack1").write_text("secret\n")
    examples = blocks(CONF)
    topologies = [each for each in examples if "platforms:" in each]
    assert len(topologies) == 1 and len(examples) > 40
    (tmp_path / "topology.yaml").write_text(topologies[0])
    for example in examples:
        if example in topologies:
            continue
        (tmp_path / "conf").write_text(example if example.startswith("{") else f'{{"pdus": {{\n{example}\n}}}}')
        conf = reader.load(str(tmp_path / "conf"))
        assert (conf.faults, conf.warnings) == ((), ()), example
        if "topology" in example:
            assert conf.target("gw1", "1") and conf.groups["all"] == ("gw1",)


# Completion

COMPLETION = ROOT / "share" / "pdudaemon.bash"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "lab.conf"
    path.write_text(
        textwrap.dedent("""\
            {
                # A lab.
                "pdus": {"pdu01": {}, "pdu02": {}, "192.0.2.7:23": {}, "a rack": {}, "$(touch evil)": {}, "bad\\nname": {}},
                // Its boards.
                "aliases": {"board7": {}},
                "nodes": {"board8": {}, "web": {}}
            }
        """)
    )
    return path


def completed(*lines: str) -> list[str]:
    """Return what bash offers at the end of each line."""
    ran = run(*asking("pdudaemon", *lines))
    assert (ran.returncode, ran.stderr) == (0, "")
    registered, *offers = ran.stdout.splitlines()
    assert registered == "complete -F _pdudaemon pdudaemon"
    return offers


def test_completion_of_options_and_their_words(tmp_path: Path) -> None:
    offers = completed(
        "pdudaemon ",
        "pdudaemon --check --lis",
        "pdudaemon --listener ",
        "pdudaemon --listener=b",
        "pdudaemon --loglevel WARN",
        "pdudaemon --drive --request ",
        "pdudaemon --delay ",
    )
    assert {*offers[0].split()} == {option for option in helped("pdudaemon") if option.startswith("--")}
    assert offers[1] == "--listener --list-drivers --list-devices"
    assert offers[2:4] == [" ".join(PROTOCOLS), "both"]
    assert offers[4:] == [" ".join(level for level in LEVELS if level.startswith("WARN")), " ".join(Action), ""]


def test_completion_of_files(conf: Path) -> None:
    folder = conf.parent
    (folder / "other").mkdir()
    for option in ("--conf ", "--conf=", "-c ", "--topology ", "--dbfile ", "-d ", "--logfile="):
        offers = completed(f"pdudaemon {option}{folder}/", f"pdudaemon {option}{folder}/l")
        assert [{*offer.split()} for offer in offers] == [{str(conf), f"{folder}/other"}, {str(conf)}]


def test_completion_of_drivers(tmp_path: Path) -> None:
    program = tmp_path / "pdudaemon"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pdudaemon "$@"\n')
    program.chmod(0o755)
    offers = completed(
        f"{program} --list-drivers ",
        f"{program} --list-drivers apc79",
        f"{program} --list-drivers --lo",
        "/nonexistent/pdudaemon --list-drivers ",
    )
    assert offers[0].split() == strategies.names()
    assert offers[1:] == ["apc7900 apc7920 apc7921 apc7932 apc7952", "--logfile --loglevel", ""]


def test_completion_of_names(conf: Path) -> None:
    (conf.parent / "broken").write_text('{"pdus": ')
    (conf.parent / "odd").write_text(json.dumps({"pdus": 3}))
    offers = completed(
        f"pdudaemon --conf {conf} --drive --hostname ",
        f"pdudaemon -c {conf} --hostname=pdu",
        f"pdudaemon --drive --conf={conf} --hostname a",
        f"pdudaemon --drive --conf={conf} --hostname 192.0.2.7:",
        f"pdudaemon --conf={conf} --alias ",
        f"pdudaemon --conf={conf} --alias board",
        *(f"pdudaemon --conf={conf.parent}/{name} --hostname " for name in ("broken", "odd", "missing", "")),
    )
    assert offers == [
        r"pdu01 pdu02 192.0.2.7:23 a\ rack \$\(touch\ evil\)",
        "pdu01 pdu02",
        r"a\ rack",
        "23",
        "board7 board8 web",
        "board7 board8",
        *[""] * 4,
    ]


def test_completion_at_a_terminal(conf: Path) -> None:
    """Here readline has its say: which part of a word is replaced, and what is added behind it."""
    its_own = {**ENVIRONMENT, "HOME": str(conf.parent), "HISTFILE": "", "INPUTRC": "/dev/null", "TERM": "dumb"}
    shell = pexpect.spawn("bash", ["--norc", "-i"], timeout=300, encoding="utf-8", echo=False, env=its_own)
    try:
        shell.sendline("bind 'set enable-bracketed-paste off'; pdudaemon() { echo; printf '<%s>' \"$@\"; echo; }")
        shell.sendline(f"source {COMPLETION}")
        for typed, got in (
            (f"--conf={conf.parent}/l\t --ho\t192.0.2.7:\t", [f"--conf={conf}", "--hostname", "192.0.2.7:23"]),
            (f"-c {conf.parent}/l\t--alias w\t--request=re\t", ["-c", f"{conf}", "--alias", "web", "--request=reboot"]),
            (f"--conf {conf} --hostname=pdu\t1 --drive", ["--conf", f"{conf}", "--hostname=pdu01", "--drive"]),
            (f"--conf {conf} --hostname a\t--drive", ["--conf", f"{conf}", "--hostname", "a rack", "--drive"]),
        ):
            shell.sendline(f"pdudaemon {typed}")
            shell.expect_exact("\n" + "".join(f"<{word}>" for word in got))
    finally:
        shell.close(force=True)
