# SPDX-License-Identifier: MIT
"""The documentation is true: its tables are those of the declarations, its examples load, its commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pdudaemon.config import reader
from tests.support.docs import ROOT, TABLES, rewritten


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
