# SPDX-License-Identifier: MIT
"""Which rows make sense, of all that a damaged disk, an older release or somebody with an editor may leave."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from pdudaemon.engine.storage import storerows, storeschema
from pdudaemon.engine.storage.store import ADD_COMMAND, command_values, upsert, values, without_halves
from pdudaemon.errors import DeviceTimeout
from pdudaemon.power import Action, Asked, Command, Outcome, Outlet, Phase, Request, Soft, State
from tests.support.stores import ACCEPTED, asked, end

A, B = Outlet("a", "1"), Outlet("b", "2")
SOFT = {"seconds": 60.0, "hard": True, "asked": [["a", "1", 5.0, 6.0, "why"]], "became": [["a", "1", "shut down"]]}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(storeschema.fresh())
        one.row_factory = sqlite3.Row
        yield one


def row(database: sqlite3.Connection, request: Request, **columns: Any) -> sqlite3.Row:
    """Return the row of a request, some columns of which are something else."""
    database.execute(upsert(1), values(request, request, 7, 3))
    for name, value in columns.items():
        database.execute(f"UPDATE request SET {name} = ?", (value,))
    (found,) = database.execute("SELECT * FROM request")
    assert isinstance(found, sqlite3.Row)
    return found


def reboot() -> Request:
    return asked("reboot", A, B, names=("n",), key="k", delay=5.0)


def paying() -> Request:
    """Return a request that is over, but for the on that it owes."""
    request = reboot()
    request.outcome, request.debts, request.error = Outcome.FAILED, {A}, DeviceTimeout("no answer")
    return request


FINE: dict[str, tuple[Request, dict[str, Any]]] = {
    "reboot": (reboot(), {}),
    "done": (end(reboot()), {}),
    "owing": (paying(), {"outcome": "failed"}),
    "superseded": (paying(), {"outcome": "superseded"}),
    "given up": (paying(), {"outcome": "given up"}),
    "without a command": (reboot(), {"command": None}),
    "long ago": (reboot(), {"accepted_uptime": -5e6, "off_ended_uptime": -1.0}),
    "at the beginning": (reboot(), {"delay": 0.0, "accepted": 0, "off_ended": 0.0}),
    "restart": (reboot(), {"phase": "restart"}),
    "soft": (reboot(), {"soft": json.dumps(SOFT)}),
    "soft in no time": (reboot(), {"soft": json.dumps({**SOFT, "seconds": 0.0, "hard": False})}),
    "asked before the start": (reboot(), {"soft": json.dumps({**SOFT, "asked": [["a", "1", 5.0, -6.0, ""]]})}),
    "nothing left": (reboot(), {"outlets": "[]"}),
    "switched": (reboot(), {"switched": '[["b", "2", "off", 5]]'}),
}


@pytest.mark.parametrize("name", FINE)
def test_what_makes_sense(database: sqlite3.Connection, name: str) -> None:
    request, columns = FINE[name]
    storerows.check(row(database, request, **columns))


SENSELESS: dict[str, tuple[Request, dict[str, Any], str]] = {
    **{
        f"{column} {value!r}": (end(reboot()), {column: value}, "a time is none")
        for column in ("delay", "accepted", "started", "off_ended", "ended")
        for value in (-0.5, float("inf"), "soon")
    },
    "uptime": (reboot(), {"accepted_uptime": float("inf")}, "a time is none"),
    "other uptime": (reboot(), {"off_ended_uptime": "x"}, "a time is none"),
    "told": (reboot(), {"switched": '[["a", "1", "on", -1]]'}, "a time is none"),
    "told never": (reboot(), {"switched": '[["a", "1", "on", "x"]]'}, "a time is none"),
    "soft": (reboot(), {"soft": json.dumps({**SOFT, "seconds": -1.0})}, "a time is none"),
    "asked": (reboot(), {"soft": json.dumps({**SOFT, "asked": [["a", "1", -1.0, 0.0, ""]]})}, "a time is none"),
    "asked then": (reboot(), {"soft": json.dumps({**SOFT, "asked": [["a", "1", 1.0, "x", ""]]})}, "a time is none"),
    "bytes": (reboot(), {"client": b"x"}, "what should be text is none"),
    "command": (reboot(), {"command": "x"}, "its command is none"),
    "half a command": (reboot(), {"command": 1.5}, "its command is none"),
    "no outlets": (reboot(), {"all_outlets": "[]", "outlets": "[]"}, "its outlets are none"),
    "other outlets": (reboot(), {"outlets": '[["c", "1"]]'}, "its outlets are none"),
    "other debts": (reboot(), {"debts": '[["c", "1"]]'}, "its outlets are none"),
    "other told": (reboot(), {"switched": '[["c", "1", "on", 1]]'}, "its outlets are none"),
    "other asked": (reboot(), {"soft": json.dumps({**SOFT, "asked": [["c", "1", 1.0, 1.0, ""]]})}, "its outlets are"),
    "other became": (reboot(), {"soft": json.dumps({**SOFT, "became": [["c", "1", "x"]]})}, "its outlets are"),
    "numbers": (reboot(), {"all_outlets": '[[1, "1"]]', "outlets": '[[1, "1"]]'}, "its outlets are none"),
    "on for off": (asked("on", A), {"phase": "off"}, "on and off do not go together"),
    "off for on": (asked("off", A), {"phase": "on"}, "off and on do not go together"),
    "restart for on": (asked("on", A), {"phase": "restart"}, "on and restart do not go together"),
    "hard": (reboot(), {"soft": json.dumps({**SOFT, "hard": 1})}, "how it shuts down is none"),
    "complaint": (reboot(), {"soft": json.dumps({**SOFT, "asked": [["a", "1", 1.0, 1.0, 5]]})}, "how it shuts down is"),
    "said": (reboot(), {"soft": json.dumps({**SOFT, "became": [["a", "1", 5]]})}, "how it shuts down is none"),
    "ended without an end": (reboot(), {"outcome": "done"}, "it has ended and has not"),
    "cancelled without an end": (reboot(), {"outcome": "cancelled"}, "it has ended and has not"),
    "ended somehow": (reboot(), {"ended": 5.0}, "it has ended and has not"),
    "names": (reboot(), {"names": "[5]"}, "its names are none"),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_what_makes_none(database: sqlite3.Connection, name: str) -> None:
    request, columns, why = SENSELESS[name]
    with pytest.raises(ValueError, match=why):
        storerows.check(row(database, request, **columns))


@pytest.mark.parametrize(
    "columns",
    [
        {"all_outlets": '[["a", 1]]'},
        {"all_outlets": '[["a", ["1"]]]'},
        {"all_outlets": "[" * 100_000},
        {"outlets": "5"},
        {"action": "explode"},
        {"soft": json.dumps({**SOFT, "seconds": 10**400})},
        {"soft": "5"},
        {"soft": '{"asked": [], "became": []}'},
    ],
)
def test_whatever_it_is_it_is_one_of_the_errors_that_say_so(
    database: sqlite3.Connection, columns: dict[str, Any]
) -> None:
    with pytest.raises(storerows.SENSELESS):
        storerows.check(row(database, reboot(), **columns))


def test_text_that_is_none(database: sqlite3.Connection) -> None:
    database.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    database.execute(upsert(1), values(reboot(), reboot(), 7, 3))
    database.execute("UPDATE request SET client = CAST(x'41FF' AS TEXT)")
    (found,) = database.execute("SELECT * FROM request")
    with pytest.raises(ValueError):
        storerows.check(found)


def test_how_softly_it_went_is_read_as_it_was(database: sqlite3.Connection) -> None:
    request = reboot()
    request.soft = Soft(60.0, False, {A: Asked(5.0, 6.0, "why"), B: Asked(7.0, -8.0)}, {A: "shut down"})
    found = storerows.request_of(row(database, request)).soft
    assert found is not None and (found.seconds, found.hard, found.asked, found.became) == (
        60.0,
        False,
        request.soft.asked,
        request.soft.became,
    )
    assert storerows.request_of(row(database, request, soft=None)).soft is None


def test_what_has_ended_is_settled_and_has_a_key_or_none(database: sqlite3.Connection) -> None:
    going = storerows.request_of(row(database, reboot()))
    assert (going.settled, going.key, going.names, going.outcome, going.error) == (False, "k", ("n",), None, None)
    done = storerows.request_of(row(database, end(reboot()), key=None))
    assert (done.settled, done.key, done.outcome, done.error) == (True, "", Outcome.DONE, None)


def test_a_row_of_an_earlier_version_is_read(database: sqlite3.Connection) -> None:
    whole = dict(row(database, end(reboot())))
    added = (
        "boot",
        "accepted_uptime",
        "off_ended_uptime",
        "debts",
        "switched",
        "command",
        "names",
        "key",
        "kind",
        "soft",
    )
    database.execute("CREATE TABLE former (" + ", ".join(name for name in whole if name not in added) + ")")
    values = [value for name, value in whole.items() if name not in added]
    database.execute(f"INSERT INTO former VALUES ({', '.join('?' * len(values))})", values)
    (former,) = database.execute("SELECT * FROM former")
    found = storerows.request_of(former)
    assert (found.boot, found.accepted_uptime, found.off_ended_uptime) == ("", 0.0, None)
    assert (found.debts, found.switched, found.command, found.names, found.key) == (set(), {}, None, (), "")
    assert found.soft is None and found.target.outlets == (A, B) and found.phase is Phase.OFF


def test_half_a_character_is_written_as_a_question_mark() -> None:
    assert without_halves(["a\ud83d", "fine", 5, None, 1.5]) == ["a?", "fine", 5, None, 1.5]


def test_a_command_is_read_as_it_was(database: sqlite3.Connection) -> None:
    for number, key in ((1, "k"), (2, "")):
        command = Command(Action.OFF, "ann", ACCEPTED, ("n1", "n2"), key)
        database.execute(ADD_COMMAND, command_values(command, number))
    one, other = map(storerows.command_of, database.execute("SELECT * FROM command ORDER BY id"))
    assert (one.action, one.client, one.accepted, one.names, one.key, one.id) == (
        Action.OFF,
        "ann",
        ACCEPTED,
        ("n1", "n2"),
        "k",
        1,
    )
    assert (other.key, other.id) == ("", 2)
    assert [each for (each,) in database.execute("SELECT key FROM command ORDER BY id")] == ["k", None]


def test_a_record_for_people(database: sqlite3.Connection) -> None:
    request = paying()
    request.switched = {A: (State.OFF, 5.0)}
    request.soft = Soft(60.0, True, {}, {A: "shut down by itself"})
    found = storerows.record_of(row(database, request))
    assert found == {
        "id": 7, "action": "reboot", "target": request.target.name, "delay": 5.0, "client": "a client",
        "outlets": [{"pdu": "a", "port": "1"}, {"pdu": "b", "port": "2"}], "accepted": ACCEPTED, "ended": None,
        "switched": [{"pdu": "a", "port": "1", "state": "off"}], "owed": [{"pdu": "a", "port": "1"}],
        "state": "accepted", "reason": "no answer", "command": 3, "soft": 60.0, "hard": True, "due": None,
    }  # fmt: skip
    request.error = None
    assert storerows.record_of(row(database, request))["reason"] == "shut down by itself"
    plain = storerows.record_of(row(database, end(reboot())))
    assert (plain["state"], plain["reason"], plain["soft"], plain["hard"]) == ("done", None, None, None)
    request.soft = Soft(5.0)
    assert storerows.record_of(row(database, request))["reason"] is None


@pytest.mark.parametrize(
    ("column", "value"),
    [("all_outlets", '[["' + "x" * 500), ("debts", "[5]"), ("switched", '[["a", "1", "on", 1, 2]]'), ("soft", "[]")],
)
def test_a_record_that_makes_no_sense_says_so(database: sqlite3.Connection, column: str, value: str) -> None:
    found = storerows.record_of(row(database, end(reboot()), **{column: value}))
    assert found["reason"].startswith("the record makes no sense: ") and len(found["reason"]) <= 200
    assert (found["id"], found["state"]) == (7, "done")
