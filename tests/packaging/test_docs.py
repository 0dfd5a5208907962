# SPDX-License-Identifier: MIT
"""The documentation is true: its tables are those of the declarations, its examples load, its commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.driver import registered
from tests.devices import snmprows
from tests.support.docs import ROOT, TABLES, on_what, rewritten

PAGES = sorted(str(each.relative_to(ROOT)) for each in (ROOT / "share").glob("**/*.md"))


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_are_those_of_the_declarations(page: str) -> None:
    assert (ROOT / page).read_text() == rewritten(page), "run make docs"


def test_the_demonstration_configuration_has_no_faults() -> None:
    conf = reader.load(str(ROOT / "share" / "pdudaemon.conf"))
    assert not conf.faults and not conf.warnings
    assert conf.listeners[0].hostname == "127.0.0.1" and conf.listeners[0].protocol == "both"
    assert conf.target("pdu01", "1")


def test_the_configurations_of_the_readme_have_no_faults(tmp_path: Path) -> None:
    examples = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert examples
    for example in examples:
        whole = json.loads(example)
        (tmp_path / "conf").write_text(json.dumps({"pdus": {}, **whole}))
        conf = reader.load(str(tmp_path / "conf"))
        assert not conf.faults and not conf.warnings, (conf.faults, conf.warnings)


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text())) <= targets


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    headings = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in re.findall(r"^#+ (.*)", text, re.M)}
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = link.partition("#")
        assert (ROOT / page).parent.joinpath(file).exists(), link
        assert file or heading in headings, link


def test_the_readme_is_a_front_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250, "details belong into manual pages and guides"


PLAYED_BY_ANOTHER: set[str] = set()
ON_WHAT = re.compile(
    r"\b(recording|simulator|simulation|emulator|fake|agent|server|daemon|sshd|shells?|moto|program|kernel)"
)


def test_every_driver_says_on_what_it_is_tested() -> None:
    for name in registered:
        if name != "dummy":
            assert ON_WHAT.search(on_what(name)), f"{name}: {on_what(name)!r} names no recording, simulator or fake"


def test_those_said_to_be_tested_on_a_recording_are() -> None:
    rows = {name for name in registered if "a recording of a real device" in on_what(name)}
    assert rows == {*snmprows.RECORDINGS} - PLAYED_BY_ANOTHER


def test_every_driver_is_in_the_index_by_its_makers() -> None:
    page = (ROOT / "share" / "drivers.md").read_text().partition("<!-- end -->")[0]
    table = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert {name for line in table for name in re.findall(r"`([\w-]+)`", line.split(" | ")[1])} == {*registered}
    makers = [line.lower() for line in table]
    assert makers == sorted(makers)
