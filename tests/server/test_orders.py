# SPDX-License-Identifier: MIT
"""`order`: what the words of a client mean, and which one is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.errors import RequestError
from pdudaemon.power import Action, Outlet
from pdudaemon.server.orders import LONGEST_KEY, check_softly, duration, key, order, softly


@pytest.fixture
def config(tmp_path: Path) -> Config:
    pdus = {"pdu": {"driver": "dummy", "outlets": 8}}
    nodes = {"board": {"hostname": "pdu", "port": 3}}
    (tmp_path / "conf").write_text(json.dumps({"daemon": {"max_delay": 100}, "pdus": pdus, "nodes": nodes}))
    found = reader.load(str(tmp_path / "conf"))
    assert not found.faults
    return found


def asked(config: Config, action: str = "off", **words: str) -> Any:
    """Return the order for port 1 of the PDU, unless the words say otherwise; or the text of its refusal."""
    place = {} if {"alias", "hostname", "port"} & {*words} else {"hostname": "pdu", "port": "1"}
    try:
        return order(config, action, {**place, **words})
    except RequestError as error:
        return str(error)


@pytest.mark.parametrize(
    ("word", "action", "delay"),
    [
        ("on", Action.ON, 0.0),
        ("off", Action.OFF, 0.0),
        ("reboot", Action.REBOOT, 5.0),
        ("restart", Action.REBOOT, 5.0),
        ("status", Action.STATUS, 0.0),
        ("get-status", Action.STATUS, 0.0),
    ],
)
def test_each_action_has_its_words_and_its_usual_delay(config: Config, word: str, action: Action, delay: float) -> None:
    found = asked(config, word)
    assert (found.action, found.delay, found.postponed, found.wait) == (action, delay, 0.0, None)
    assert found.target.outlets == (Outlet("pdu", "1"),) and (found.key, found.soft, found.hard) == ("", None, True)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("of", "'of' is none of on, off, reboot, status; did you mean 'off'?"),
        ("ON", "'ON' is none of on, off, reboot, status"),
        ("", "'' is none of on, off, reboot, status"),
    ],
)
def test_what_is_no_action(config: Config, word: str, text: str) -> None:
    assert str(asked(config, word)).startswith(text)


@pytest.mark.parametrize(
    ("words", "delay", "postponed", "wait"),
    [
        ({"delay": "0"}, 0.0, 0.0, None),
        ({"delay": "7.5"}, 7.5, 7.5, None),
        ({"delay": " "}, 5.0, 0.0, None),
        ({"delay": "100", "wait": "3"}, 100.0, 100.0, 3.0),
        ({"wait": "0"}, 5.0, 0.0, 0.0),
        ({"wait": ""}, 5.0, 0.0, None),
        ({"soft": "30"}, 5.0, 30.0, None),
        ({"soft": "30", "delay": "2"}, 2.0, 32.0, None),
    ],
)
def test_how_long_a_reboot_takes_and_is_waited_for(
    config: Config, words: dict[str, str], delay: float, postponed: float, wait: float | None
) -> None:
    found = asked(config, "reboot", **words)
    assert (found.delay, found.postponed, found.wait) == (delay, postponed, wait)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"delay": "101"}, "delay: "),
        ({"delay": "-1"}, "delay: "),
        ({"delay": "soon"}, "delay: "),
        ({"wait": "x"}, "wait: "),
        ({"soft": "101"}, "soft: "),
        ({"key": "k" * (LONGEST_KEY + 1)}, "key: must be at most 200 printable characters of ASCII"),
        ({"key": "é"}, "key: must be at most 200 printable characters of ASCII"),
        ({"key": "a\tb"}, "key: must be at most 200 printable characters of ASCII"),
        ({"hard": "maybe"}, "hard: 'maybe' is none of true, 1, yes, false, 0, no"),
        ({"hard": "x" * 50, "soft": "1"}, f"hard: '{'x' * 20}' is none of"),
        ({"hard": "no"}, "hard: means nothing without soft"),
        ({"hostname": "pdu"}, "port is missing"),
        ({"hostname": "pdu", "port": " "}, "port is missing"),
        ({"port": "1"}, "hostname is missing"),
        ({"hostname": " ", "port": "1"}, "hostname is missing"),
        ({"alias": "board", "port": "1"}, "give either alias, or hostname and port"),
        ({"alias": "board", "hostname": "pdu"}, "give either alias, or hostname and port"),
        ({"alias": "bord"}, "there is no alias or node 'bord'; did you mean 'board'?"),
        ({"hostname": "pdu", "port": "9"}, "pdu: "),
    ],
)
def test_the_word_that_is_wrong_is_named(config: Config, words: dict[str, str], text: str) -> None:
    found = asked(config, "off", **words)
    assert isinstance(found, str) and found.startswith(text)


def test_a_target_is_a_node_or_a_port(config: Config) -> None:
    assert asked(config, alias="board").target.outlets == (Outlet("pdu", "3"),)
    assert asked(config, alias="board", hostname=" ", port="").target.outlets == (Outlet("pdu", "3"),)
    assert asked(config, alias=" ", hostname="pdu", port="04").target.outlets == (Outlet("pdu", "4"),)


@pytest.mark.parametrize(("port", "numbers", "given"), [("07", False, "07"), ("07", True, 7), ("0_8", True, 8)])
def test_digits_are_a_number_to_old_drivers_over_tcp(config: Config, port: str, numbers: bool, given: Any) -> None:
    pdu = config.pdus["pdu"]
    old = replace(config, pdus={"pdu": replace(pdu, traits=replace(pdu.traits, legacy=True))})
    found = order(old, "on", {"hostname": "pdu", "port": port}, numbers=numbers).target.outlets[0].given
    assert found == given and type(found) is type(given)


@pytest.mark.parametrize(
    ("said", "hard"),
    [("", True), ("true", True), ("1", True), ("Yes", True), ("false", False), (" 0 ", False), ("NO", False)],
)
def test_what_does_not_shut_down_is_switched_off_unless_it_is_said_not_to_be(said: str, hard: bool) -> None:
    for action in (Action.OFF, Action.REBOOT):
        assert softly({"soft": "10", "hard": said}, action, 60) == (10.0, hard)
    assert softly({"soft": "10"}, Action.OFF, 60) == (10.0, True)
    assert softly({"soft": "", "hard": ""}, Action.ON, 60) == (None, True)


@pytest.mark.parametrize("action", [Action.ON, Action.STATUS])
def test_only_what_goes_off_can_be_asked_to(action: Action) -> None:
    with pytest.raises(RequestError, match=f"^soft: is for off and reboot, not for {action}$"):
        softly({"soft": "0"}, action, 60)
    check_softly(action, None, "")
    check_softly(action, None, None)
    for hard in (True, False, "no"):
        with pytest.raises(RequestError, match=r"^hard: means nothing without soft$"):
            check_softly(Action.OFF, None, hard)
        check_softly(Action.OFF, 0.0, hard)


def test_a_key_is_taken_without_blanks_around_it() -> None:
    assert key({}) == key({"key": " "}) == "" and key({"key": " a b "}) == "a b"
    assert key({"key": "k" * LONGEST_KEY}) == "k" * LONGEST_KEY


def test_a_duration_that_is_blank_is_not_given() -> None:
    assert duration({}, "wait", 10) is duration({"wait": " "}, "wait", 10) is None
    assert duration({"wait": "10"}, "wait", 10) == 10.0 and duration({"wait": "0"}, "wait", 10) == 0.0


def test_a_key_may_have_so_many_characters() -> None:
    assert key({"key": "k" * 200}) == "k" * 200
    with pytest.raises(RequestError):
        key({"key": "k" * 201})
