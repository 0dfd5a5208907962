# SPDX-License-Identifier: MIT
"""Every guide is whole, found and followed by a test; and following one fails when it is not true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.guides import GUIDES, Guide, blocks, commands
from tests.support.process import ROOT

PAGES = sorted(GUIDES.glob("*.md"))
LONGEST = 110  # lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_is_short_found_and_followed(page: Path) -> None:
    text = page.read_text()
    found = [*blocks(page)]
    assert len(text.splitlines()) <= LONGEST and text.count("```") == 2 * len(found)
    assert all(each.place or (each.language == "console" and [*commands(each.text)]) for each in found)
    assert f"(share/guides/{page.name})" in (ROOT / "README.md").read_text()
    tests = [*(ROOT / "tests" / "guides").glob("test_*.py"), *(ROOT / "tests" / "peers_slow").glob("test_*.py")]
    assert any(f'Guide("{page.stem}"' in each.read_text() for each in tests), "no test follows it"


def followed(tmp_path: Path, text: str) -> Guide:
    """Return a guide with some text, when it has been followed."""
    guide = Guide("none", tmp_path / "guide", {"192.0.2.9": "127.0.0.1"})
    guide.page = tmp_path / "none.md"
    guide.page.write_text(text)
    with guide:
        guide.follow()
    return guide


def test_files_have_their_places_and_commands_their_answers(tmp_path: Path) -> None:
    text = (
        'Some words.\n\n```sh /etc/lab/greet\n#!/bin/sh\necho "$1 to lab.example.org and 192.0.2.9"\n```\n\n'
        "```console\n$ export WHAT=Welcome\n$ /etc/lab/greet $WHAT\nWelcome to ... and 192.0.2.9\n"
        "$ cat /etc/lab/none\n...No such file...\n[exit status 1]\n$ echo a \\\n> b\na b\n```\n"
    )
    guide = followed(tmp_path, text)
    assert guide.said.startswith(f"Welcome to {guide.address} and 127.0.0.1\n")
    assert guide.path("/etc/lab/greet") == tmp_path / "guide" / "etc" / "lab" / "greet"


@pytest.mark.parametrize(
    "block", ["$ echo a\nb", "$ false", "$ true\n[exit status 1]", "$ cat <~/none\n...", "$ echo a b\na...c"]
)
def test_what_is_not_true_fails(block: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"none\.md:1: "):
        followed(tmp_path, f"```console\n{block}\n```\n")


def test_a_service_is_the_real_daemon(tmp_path: Path) -> None:
    text = (
        '```json /etc/pdudaemon/pdudaemon.conf\n{"daemon": {"hostname": "0.0.0.0"}, "pdus": {"a": {"driver": "dummy"}}}\n```\n'
        "```console\n$ sudo systemctl restart pdudaemon\n$ pduclient --daemon localhost --hostname a --port 1 --command on\n"
        "Command sent successfully.\n$ pduclient --daemon localhost --hostname a --port 1 --command status\non\n"
        '$ sed -i \'s/"a"/"b"/\' /etc/pdudaemon/pdudaemon.conf\n$ sudo systemctl reload pdudaemon\n'
        "$ pduclient --daemon localhost --hostname b --port 1 --command status\noff\n$ sudo systemctl stop pdudaemon\n```\n"
    )
    followed(tmp_path, text)
